"""What is gathered to tell why a model is slow: means, command lines, and never more than its time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chat.host import until
from tui.config.settings import Settings, build
from tui.core.clock import ManualClock
from tui.core.models import Location, ModelDetail, RunningModel
from tui.core.monitor import Loaded, Profile, SlowView
from tui.core.observe import Observable
from tui.hardware.sample import Cpu, Gpu, Memory, Sample
from tui.providers.ports import Holder
from tui.services.api import MonitorView
from tui.services.monitor import slow_facts
from tui.services.monitor.slow_facts import Slowness, command_lines, mean_of


def gpu(**changes: Any) -> Gpu:
    return Gpu("GPU-1", 0, **changes)


def test_means_of_what_goes_up_and_down() -> None:
    samples = [
        Sample(1.0, cpu=Cpu(10.0, physical=8), memory=Memory(9, 1, swap_in=2e6),
               gpus=(gpu(percent=90.0, clock=1000.0, throttle=("power",), pcie_generation=4),)),
        Sample(2.0, cpu=Cpu(30.0, physical=8), memory=Memory(9, 5, swap_in=4e6), gpus=(gpu(percent=None, throttle=("thermal",)),)),
        Sample(3.0, cpu=Cpu(None, physical=8), memory=Memory(9, 7), gpus=(gpu(percent=70.0, clock=2000.0, pcie_generation=1),)),
    ]  # fmt: skip
    mean = mean_of(samples)
    assert mean is not None
    assert (mean.time, mean.cpu.percent, mean.cpu.physical, mean.memory.used, mean.memory.swap_in) == (3.0, 20.0, 8, 7, 3e6)
    (card,) = mean.gpus
    assert (card.percent, card.clock, card.throttle, card.pcie_generation) == (80.0, 1500.0, ("power", "thermal"), 4)
    assert mean_of([]) is None


def process(proc: Path, pid: int, parent: int, *words: str) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} (server) S {parent} " + " ".join("0" * 30))
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))


def test_command_lines_of_what_is_gone_are_left_out(tmp_path: Path) -> None:
    process(tmp_path, 5, 1, "server", "-t", "4")
    assert command_lines([5, 6], tmp_path) == ["server\0-t\x004\0"]


class Verbs:
    """What the monitor tells."""

    def __init__(self) -> None:
        self.slow: Observable[SlowView | None] = Observable(None)
        self.latest: Observable[MonitorView] = Observable(MonitorView())
        self.loaded: Observable[tuple[Loaded, ...]] = Observable(())
        self.profiles: Observable[dict[tuple[str, str], Profile]] = Observable({})
        self.wanted: list[frozenset[str]] = []
        self.taken: tuple[tuple[float, Sample], ...] = ()

    def want(self, who: str, names: Any) -> None:
        assert who == "slow"
        self.wanted.append(frozenset(names))

    def samples(self) -> tuple[tuple[float, Sample], ...]:
        return self.taken

    def take(self, sample: Sample, at: float = 0.0) -> None:
        self.taken = (*self.taken, (at, sample))
        self.latest.set(MonitorView(sample, at, tick=self.latest.value.tick + 1))


class Bench:
    """One server here (pid 10 and its child), one elsewhere; no database."""

    def __init__(self, proc: Path, longest: float = 5.0) -> None:
        self.verbs = Verbs()
        self.settings = Settings()
        self.detail: ModelDetail | None = None
        self.live: list[Any] = []
        listed = (RunningModel("box", "a:1b", "a:1b", 100, 60, 4096), RunningModel("far", "a:1b", "a:1b", 100, 100, 4096))
        states = {
            "box": SimpleNamespace(name="box", location=Location.HERE),
            "far": SimpleNamespace(name="far", location=Location.ELSEWHERE),
        }
        watching = SimpleNamespace(
            running=Observable(listed), providers=Observable(tuple(states.values())), state=states.get,
            watch=lambda name: SimpleNamespace(holder=Holder(pid=10)) if name == "box" else None,
        )  # fmt: skip
        host: Any = SimpleNamespace(
            clock=ManualClock(), watching=watching, database=None, settings=lambda: self.settings, live=lambda: self.live,
            detail=lambda provider, model: self.detail,
        )  # fmt: skip
        self.slowness = Slowness(host, self.verbs, longest=longest, proc=proc)  # type: ignore[arg-type]


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(slow_facts, "LOOK", 0.001)
    process(tmp_path, 10, 1, "/usr/bin/ollama", "serve")
    process(tmp_path, 11, 10, "llama-server", "--model", "x", "--threads", "12", "-np", "2")
    process(tmp_path, 12, 1, "other", "-t", "3")
    return tmp_path


async def test_it_waits_for_a_sample_with_details_and_gives_the_wish_back(proc: Path) -> None:
    bench = Bench(proc)
    bench.verbs.take(Sample(1.0, cpu=Cpu(physical=8), gpus=(gpu(percent=50.0),)))
    looking = asyncio.ensure_future(bench.slowness.look("box", "a:1b"))
    await until(lambda: bench.verbs.slow.value is not None)
    assert bench.verbs.slow.value == SlowView("box", "a:1b")
    bench.verbs.take(Sample(2.0, cpu=Cpu(physical=8), gpus=(gpu(percent=50.0, pcie_received=1.0),)))
    await looking
    view = bench.verbs.slow.value
    assert view is not None
    told = {check.key: (check.state, check.figure) for check in view.checks}
    assert told["offload"] == ("cause", "40 % of it (40 B) is on the CPU")
    assert told["threads"] == ("cause", "12 threads (its command line) for 8 cores")
    assert bench.verbs.wanted == [slow_facts.WANTED, frozenset()]


async def test_what_hangs_is_not_waited_for(proc: Path) -> None:
    bench = Bench(proc, longest=0.02)
    await bench.slowness.look("box", "a:1b")
    view = bench.verbs.slow.value
    assert view is not None
    assert {check.key: check.state for check in view.checks}["swap"] == "unknown"
    assert bench.verbs.wanted[-1] == frozenset()


async def test_a_new_question_ends_the_one_before(proc: Path) -> None:
    bench = Bench(proc)
    seen: list[tuple[str, bool]] = []
    bench.verbs.slow.watch(lambda view: seen.append((view.provider, bool(view.checks))) if view else None)
    first = asyncio.ensure_future(bench.slowness.look("box", "a:1b"))
    await until(lambda: seen)
    await bench.slowness.look("far", "a:1b")
    bench.verbs.take(Sample(1.0))
    bench.verbs.take(Sample(2.0))
    await first
    assert seen == [("box", False), ("far", False), ("far", True)]


async def test_a_server_elsewhere_gets_nothing_of_this_machine(proc: Path) -> None:
    bench = Bench(proc)
    bench.verbs.take(Sample(1.0, gpus=(gpu(percent=99.0, throttle=("thermal",)),)))
    facts = bench.slowness.facts("far", "a:1b")
    assert (facts.here, facts.sample, facts.cards) == (False, None, ())
    assert [one.model.provider for one in facts.others] == []


@pytest.mark.parametrize(
    ("settings", "options", "lines", "threads", "told_by"),
    [
        ({}, (), (), None, ""),
        ({}, (), ("a\0-t\x004\0",), 4, "its command line"),
        ({}, (), ("a\0--threads=6\0", "b\0serve\0"), 6, "its command line"),
        ({}, (), ("a\0-t\x004\0", "b\0-t\x005\0"), None, ""),  # which of the two it is nobody knows
        ({}, (), ("a\0--threads-batch\x004\0", "b\0x-t\x004\0"), None, ""),
        ({}, (("num_thread", "2"),), ("a\0-t\x004\0",), 2, "num_thread of the model"),
        ({"chat": {"options": {"num_thread": 3}}}, (("num_thread", "2"),), (), 3, "num_thread of the settings"),
    ],
)
def test_who_set_the_threads(
    proc: Path, settings: dict[str, Any], options: tuple[tuple[str, str], ...], lines: tuple[str, ...], threads: int | None, told_by: str
) -> None:
    bench = Bench(proc)
    bench.settings = build(settings)
    bench.detail = ModelDetail("box", "a:1b", options=options)
    facts = bench.slowness.facts("box", "a:1b", frozenset(), lines)
    assert (facts.threads, facts.threads_of) == (threads, told_by)


def test_the_rate_is_of_what_is_written_now_else_what_the_server_tells(proc: Path) -> None:
    bench = Bench(proc)
    facts = bench.slowness.facts("box", "a:1b")
    assert (facts.rate, facts.writes) == (None, False)
    bench.verbs.loaded.set((Loaded(RunningModel("box", "a:1b", "a:1b", 100, 60), True, rate=20.0),))
    facts = bench.slowness.facts("box", "a:1b")
    assert (facts.rate, facts.writes, len(facts.others)) == (20.0, True, 0)
    bench.live = [SimpleNamespace(provider="box", model="a:1b", timeline=SimpleNamespace(rate=30.0))]
    assert bench.slowness.facts("box", "a:1b").rate == 30.0


def test_old_samples_say_nothing_of_now(proc: Path) -> None:
    bench = Bench(proc)
    bench.verbs.take(Sample(1.0, cpu=Cpu(10.0)), at=-11.0)
    assert bench.slowness.facts("box", "a:1b").sample is None
    bench.verbs.take(Sample(2.0, cpu=Cpu(20.0)), at=-9.0)
    sample = bench.slowness.facts("box", "a:1b").sample
    assert sample is not None and sample.cpu.percent == 20.0
