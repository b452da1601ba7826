"""The parts together: real processes, samples by hand."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.services.test_figures import until
from tests.support.monitor_host import GB, FakeHost, running
from tui.core.clock import SYSTEM
from tui.core.models import Location, ModelDetail, Origin
from tui.core.monitor import RAM
from tui.core.observe import Observable
from tui.hardware.sample import CORES, GPU_PROCESSES, Gpu, GpuProcess, MachineProcess, Memory, Sample
from tui.providers.ports import Holder
from tui.services.api import MonitorView
from tui.services.monitor import whose as whose_module
from tui.services.monitor.whose import Whose

A = "a" * 64


class Lab(FakeHost):
    """What is watched, and what is published."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SYSTEM
        self.holder: Holder | None = None
        self.watching.watch = lambda name: SimpleNamespace(holder=self.holder)  # type: ignore[method-assign]
        self.latest: Observable[Any] = Observable(MonitorView())
        self.loaded: Observable[Any] = Observable(())
        self.maps: Observable[Any] = Observable(())
        self.servers: Observable[Any] = Observable({})
        self.machines: Observable[Any] = Observable({})
        self.profiles: Observable[Any] = Observable({})
        self.wants: dict[str, frozenset[str]] = {}
        self.wanted_so_far: list[frozenset[str]] = []
        self.whose = Whose(self, self, lambda: dict(self.wants), self.want)

    def detail(self, provider: str, model: str) -> Any:
        return ModelDetail(provider, model, weights_digest="sha256:" + A)

    def want(self, who: str, names: frozenset[str]) -> None:
        self.wants[who] = names
        self.wanted_so_far.append(names)

    async def shows(self, *names: str) -> None:
        self.wants["screen"] = frozenset(names)
        await self.whose.wanted()

    def sample(self, *processes: GpuProcess, used: float = 9, **more: Any) -> None:
        gpu = Gpu("G", 0, memory_total=24 * GB, memory_used=round(used * GB), processes=processes)
        self.latest.set(MonitorView(Sample(1.0, memory=Memory(64 * GB, 20 * GB), gpus=(gpu,), **more)))


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setattr(whose_module, "PAUSE", 0.005)
    monkeypatch.setattr(whose_module, "MAPS_EVERY", 0.02)
    found = Lab()
    going = asyncio.create_task(found.whose.run())
    yield found
    going.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await going


@pytest.fixture
def runner() -> Any:
    """A process that was given a blob, as a child of this one."""
    line = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", line, "runner", "--model", f"/blobs/sha256-{A}"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


async def test_a_model_is_found_in_the_process_that_holds_it(lab: Lab, runner: int) -> None:
    lab.holder = Holder(os.getpid())
    lab.load_models(running("m", 6), running("other", 0, 3))
    lab.sample(GpuProcess(runner, 7 * GB, name="runner", user="me"), GpuProcess(1, 1 * GB, name="Xorg", user="root"))
    found = await until(lambda: next((one for one in lab.loaded.value if one.pids), None))
    assert (found.model.name, found.cards, found.about, found.pids, found.here) == ("m", "GPU0", False, (runner,), True)
    assert lab.maps.value == ()  # nobody looks
    await lab.shows(GPU_PROCESSES)
    gpu, ram = await until(lambda: lab.maps.value)
    assert [(part.kind, part.name, part.size) for part in gpu.parts] == [("model", "m", 7 * GB), ("process", "Xorg", GB), ("rest", "", GB)]
    assert ram.where == RAM and sum(part.size for part in ram.parts) == ram.used
    await lab.shows()
    await until(lambda: lab.maps.value == ())


async def test_processes_on_gpus_are_wanted_while_a_new_model_is_looked_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whose_module, "WANTED_FOR", 0.03)
    lab.load_models(running("m", 6))
    lab.sample()
    await until(lambda: lab.wants.get("joining") == {GPU_PROCESSES})
    assert not lab.whose.looked()  # that is no screen
    lab.sample(used=8)
    await asyncio.sleep(0.04)
    lab.sample(used=7)
    await until(lambda: lab.wants.get("joining") == frozenset())
    lab.load_models(running("m", 6), running("n", 0, 2))
    await until(lambda: lab.wanted_so_far.count(frozenset({GPU_PROCESSES})) == 2)


async def test_what_was_found_stays_while_nobody_wants_the_processes(lab: Lab, runner: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whose_module, "JOINS_EVERY", 0.01)
    lab.holder = Holder(os.getpid())
    lab.load_models(running("m", 6))
    lab.sample(GpuProcess(runner, 7 * GB))
    await until(lambda: lab.loaded.value and lab.loaded.value[0].cards == "GPU0")
    for used in (6, 7, 8):
        lab.sample(used=used)
        await asyncio.sleep(0.03)
    assert lab.loaded.value[0].cards == "GPU0" and not lab.loaded.value[0].about


async def test_rule_10_a_model_elsewhere_is_in_no_map(lab: Lab) -> None:
    lab.watching.providers.set((lab.watching.of("lab", Location.ELSEWHERE), lab.watching.of("asked", Location.ASK)))
    lab.load_models(running("m", 6), running("n", 6, provider="asked"))
    lab.sample(GpuProcess(77, 6 * GB))
    await lab.shows(GPU_PROCESSES)
    maps = await until(lambda: lab.maps.value)
    assert all(part.kind != "model" for found in maps for part in found.parts)
    assert [one.here for one in lab.loaded.value] == [False, False]


async def test_the_demos_models_are_on_the_demos_gpu(lab: Lab) -> None:
    lab.demo = True
    lab.holder = Holder(os.getpid())
    lab.watching.providers.set((lab.watching.of("lab", origin=Origin.DEMO), lab.watching.of("real")))
    lab.load_models(running("m", 6), running("mine", 6, provider="real"))
    lab.sample(GpuProcess(os.getpid(), round(6.2 * GB), name="ollama", user="demo"))
    await lab.shows(GPU_PROCESSES)
    gpu, _ram = await until(lambda: lab.maps.value)
    assert [(part.kind, part.name) for part in gpu.parts] == [("model", "m"), ("rest", "")]
    assert gpu.parts[0].size == round(6.2 * GB)
    assert [one.here for one in lab.loaded.value] == [True, False]


async def test_rates_of_our_answers_and_profiles(lab: Lab) -> None:
    lab.profiles.set({("lab", "m"): SimpleNamespace(last_used=55.0)})
    lab.load_models(running("m", 0, 3, expires_at=None))
    found = await until(lambda: lab.loaded.value and lab.loaded.value[0])
    assert (found.own, found.rate, found.last_used) == (0, None, 55.0)
    lab.lives = [SimpleNamespace(provider="lab", model="m", phase="writing", timeline=SimpleNamespace(rate=12.5))]
    lab.sample()
    found = await until(lambda: lab.loaded.value[0].own and lab.loaded.value[0])
    assert found.rate == 12.5 and found.last_used > 1e9


async def test_a_model_that_goes_is_gone(lab: Lab, runner: int) -> None:
    lab.holder = Holder(os.getpid())
    lab.sample()
    lab.load_models(running("m", 6))
    await until(lambda: lab.loaded.value)
    lab.load_models()
    await until(lambda: not lab.loaded.value)


async def test_G09_a_holder_that_vanished_and_processes_of_others(lab: Lab) -> None:
    lab.holder = Holder(2**22 - 1)
    lab.load_models(running("m", 6))
    lab.sample(GpuProcess(2**22 - 2, round(6.3 * GB)), processes=(MachineProcess(1, "init", "root", GB),), hidden_processes=7)
    await lab.shows(GPU_PROCESSES, CORES)
    gpu, ram = await until(lambda: lab.maps.value)
    assert [(part.kind, part.about) for part in gpu.parts] == [("model", True), ("rest", False)]
    assert next(part for part in ram.parts if part.kind == "hidden").count == 7
    assert lab.loaded.value[0].pids == () and lab.loaded.value[0].about


async def test_thousands_of_processes_are_looked_at_less_often(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    spent, looks = [0.0], 0
    look = whose_module.look

    def dear(*args: Any, **more: Any) -> Any:
        nonlocal looks
        looks += 1
        spent[0] += 10.0  # for a quarter of an hour
        return look(*args, **more)

    monkeypatch.setattr(whose_module, "look", dear)
    monkeypatch.setattr(whose_module.time, "thread_time", lambda: spent[0])
    lab.load_models(running("m", 6))
    await lab.shows(GPU_PROCESSES)
    lab.sample()
    await until(lambda: lab.maps.value)
    before = looks
    lab.whose._looked_at -= 60.0  # a minute ago
    await lab.whose._turn()
    assert looks == before
    lab.whose._looked_at -= 1000.0
    await lab.whose._turn()
    assert looks == before + 1


async def test_it_goes_on_while_everything_moves(lab: Lab) -> None:
    lab.holder = Holder(os.getpid())
    await lab.shows(GPU_PROCESSES)
    for turn in range(30):
        lab.load_models(*(running(f"m{number}", number) for number in range(turn % 4)))
        lab.sample(*(GpuProcess(number, number * GB) for number in range(turn % 3)), used=turn % 24)
        states = lab.watching.providers.value
        lab.watching.providers.set(tuple(replace(one, latency=turn / 10) for one in states))
        await asyncio.sleep(0.002)
    lab.load_models(running("last", 1))
    await until(lambda: [one.model.name for one in lab.loaded.value] == ["last"])
