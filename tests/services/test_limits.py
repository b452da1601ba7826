"""[limits]: what counts, whose it is, and what is done about it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tui.services.limits as limits_module
from tui.config.settings import Limits as LimitSettings
from tui.config.settings import Settings, build
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind
from tui.core.models import Endpoint, Location, Origin, ProviderState, ProviderStatus, RunningModel, Severity
from tui.core.observe import Observable
from tui.hardware.sample import Cpu, Disk, Gpu, GpuProcess, Memory, Sample, Source
from tui.providers.ports import Holder
from tui.services import limits as module
from tui.services.limits import (
    AGAIN,
    FOR_PULL,
    Limits,
    breaches,
    check_here,
    check_pull,
    cpu_breach,
    cpu_use,
    heard,
    recent,
    refused,
    sentence,
)
from tui.services.own_use import Process, families, own_use, processes, processor_seconds

GB = 10**9


def gpu(used: float = 1, percent: float | None = 5, index: int = 0, processes: Sequence[tuple[int, float]] = ()) -> Gpu:
    held = tuple(GpuProcess(pid, round(memory * GB)) for pid, memory in processes)
    return Gpu(f"GPU-{index}", index, "RTX", percent, 24 * GB, round(used * GB), processes=held)


def sample(cpu: float | None = 5, memory: float = 4, gpus: Sequence[Gpu] = (gpu(),), disks: Sequence[Disk] = ()) -> Sample:
    return Sample(1.0, 1.0, Cpu(cpu), Memory(32 * GB, round(memory * GB)), tuple(disks), gpus=tuple(gpus))


def series(*samples: Sample) -> list[tuple[float, Sample]]:
    return [(float(number), one) for number, one in enumerate(samples)]


def said(found: Sequence[Any]) -> list[str]:
    return [breach.sentence for breach in found]


DEFAULTS = LimitSettings()


# --- the figures -------------------------------------------------------------------------------------------------------


def test_a_machine_with_room_passes_nothing() -> None:
    assert breaches(DEFAULTS, series(sample())) == ()
    assert breaches(DEFAULTS, ()) == ()
    assert cpu_breach(DEFAULTS, 80.0) is None
    assert cpu_breach(DEFAULTS, None) is None


def test_every_sentence_names_the_figure_and_the_limit() -> None:
    full = Disk("/srv/models", 1000 * GB, 960 * GB, 40 * GB)
    found = breaches(DEFAULTS, series(sample(memory=30, gpus=(gpu(22.32, 96),), disks=(full,))))
    assert said(found) == [
        "Memory 94 %, limit 80 %",
        "GPU memory 93 %, limit 90 %",
        "GPU 96 %, limit 90 %",
        "Disk /srv/models 96 %, limit 90 %: 40 GB free",
    ]
    breach = cpu_breach(DEFAULTS, 91.4)
    assert breach is not None and (breach.sentence, breach.figure, breach.limit) == ("CPU 91 %, limit 80 %", 91.4, 80)
    assert sentence(found[:2]) == "Memory 94 %, limit 80 %; GPU memory 93 %, limit 90 %"


def test_a_moment_is_no_average() -> None:
    calm, busy = sample(cpu=10, memory=4, gpus=(gpu(1, 0),)), sample(cpu=100, memory=31, gpus=(gpu(24, 100),))
    assert breaches(DEFAULTS, series(*[calm] * 9, busy)) == ()
    assert cpu_use(series(*[calm] * 9, busy)) == pytest.approx(19)
    assert cpu_use(series(sample(cpu=None))) is None


def test_0_is_no_limit() -> None:
    none = LimitSettings(cpu=0, memory=0, gpu=0, disk=0)
    full = Disk("/", 100 * GB, 99 * GB, GB)
    assert breaches(none, series(sample(100, 32, (gpu(24, 100),), (full,)))) == ()
    assert cpu_breach(none, 100.0) is None


def test_a_full_disk_with_plenty_of_room_is_not_full() -> None:
    assert breaches(DEFAULTS, series(sample(disks=(Disk("/", 10_000 * GB, 9_950 * GB, 50 * GB),)))) == ()
    assert breaches(DEFAULTS, series(sample(disks=(Disk("/", 10_000 * GB, 9_951 * GB, 49 * GB),))))


def test_several_gpus_are_told_apart_by_their_number() -> None:
    found = breaches(DEFAULTS, series(sample(gpus=(gpu(1), gpu(23, index=1)))))
    assert said(found) == ["GPU 1 memory 96 %, limit 90 %"]


def test_G08_figures_that_are_missing_are_no_breach() -> None:
    nothing = Sample(1.0, gpus=(Gpu("u", 0), Gpu("v", 1, lost=True, memory_total=1, memory_used=1)), disks=(Disk("/"),))
    assert breaches(LimitSettings(keep_free_vram=GB), series(nothing)) == ()


@pytest.mark.parametrize(
    ("used", "need", "expected"),
    [
        (10, 5, []),
        (10, 13, ["GPU memory: 1.0 GB would be free, 13 GB is needed, limit 2.0 GB free"]),
        (10, 20, ["GPU memory: 0 B would be free, 20 GB is needed, limit 2.0 GB free"]),
        (21, None, []),
        (23, None, ["GPU memory: 1.0 GB is free, limit 2.0 GB free"]),
        (23, 0, []),  # it is loaded: nothing more is taken
    ],
)
def test_some_gpu_memory_is_kept_free(used: float, need: int | None, expected: list[str]) -> None:
    wanted = LimitSettings(keep_free_vram=2 * GB, gpu=0)
    assert said(breaches(wanted, series(sample(gpus=(gpu(used),))), None, need * GB if need else need)) == expected


@pytest.mark.parametrize(
    ("used", "need", "left"),
    [
        ((23, 1), 10, None),  # it goes to the second, and the first is full of something else
        ((23, 1), 22, 1 * GB),  # it fits nowhere with the reserve kept
        ((12, 12), 20, None),  # on both, each keeps its reserve
        ((12, 12), 21, 1 * GB),
        ((23, 1), None, None),
        ((23, 23), None, 1 * GB),
    ],
)
def test_the_reserve_is_of_each_gpu(used: tuple[float, float], need: int | None, left: int | None) -> None:
    two = sample(gpus=(gpu(used[0]), gpu(used[1], index=1)))
    found = breaches(LimitSettings(keep_free_vram=2 * GB, gpu=0), series(two), None, need * GB if need else need)
    assert [breach.figure for breach in found] == ([] if left is None else [left])


def test_only_the_gpus_that_will_work_count() -> None:
    two = series(sample(gpus=(gpu(1), gpu(23, 99, index=1))))
    assert breaches(DEFAULTS, two, cards=("GPU-0",)) == ()
    assert [breach.what for breach in breaches(DEFAULTS, two, cards=("GPU-1",))] == ["gpu_memory", "gpu"]


def test_memory_that_a_gpu_shares_is_counted_once() -> None:
    shared = replace(gpu(31), memory_total=32 * GB, unified=True)
    full = series(sample(memory=31, gpus=(shared,)))
    assert [breach.what for breach in breaches(LimitSettings(keep_free_vram=2 * GB), full, need=GB)] == ["memory", "keep_free_vram"]
    assert breaches(LimitSettings(keep_free_vram=2 * GB), series(sample(memory=4, gpus=(shared,))), need=GB) == ()


def test_figures_of_a_source_that_is_silent_are_not_used() -> None:
    whole = replace(sample(99, 31, (replace(gpu(24, 100), source="NVML"),), (Disk("/", 100 * GB, 99 * GB, GB),)))
    for name, gone in (
        ("NVML", {"gpu", "gpu_memory"}),
        ("amdgpu, NVML", {"gpu", "gpu_memory"}),
        ("memory", {"memory"}),
        ("disks", {"disk"}),
    ):
        quiet = heard(replace(whole, sources=(Source(name, silent=9.0), Source("other"))))
        all_of_it, left = breaches(DEFAULTS, series(whole)), breaches(DEFAULTS, series(quiet))
        assert {breach.what for breach in all_of_it} - {breach.what for breach in left} == gone
    assert cpu_use(series(heard(replace(whole, sources=(Source("processor", silent=9.0),))))) is None
    assert heard(replace(whole, sources=(Source("NVML", silent=1.0),))).gpus == whole.gpus


@pytest.mark.parametrize(
    ("times", "now", "interval", "used"),
    [
        ((1, 2, 3), 3.5, 1, [1, 2, 3]),  # three seconds after the start that is all there is
        (range(30), 29.5, 1, list(range(20, 30))),
        ((0, 60), 100, 60, [60]),  # one a minute: the newest is the mean of its minute
        ((0, 60), 126, 60, []),  # silent
        ((1, 2), 8.5, 1, []),
        ((), 5, 1, []),
    ],
)
def test_averages_are_of_ten_seconds_as_far_as_they_were_measured(
    times: Sequence[float], now: float, interval: float, used: list[float]
) -> None:
    assert [at for at, _sample in recent([(float(at), sample()) for at in times], now, interval)] == used


# --- whose it is -------------------------------------------------------------------------------------------------------


class Proc:
    """A folder like /proc."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "self").mkdir()

    def add(self, pid: int, parent: int = 1, name: str = "x", memory: int = 0, seconds: float = 0) -> None:
        place = self.folder / str(pid)
        place.mkdir(exist_ok=True)
        ticks = round(seconds * os.sysconf("SC_CLK_TCK"))
        place.joinpath("stat").write_text(f"{pid} ({name}) S {parent} 0 0 0 0 0 0 0 0 0 {ticks} 0 0 0")
        place.joinpath("status").write_text(f"Name:\t{name}\nRssAnon:\t{memory // 1024} kB\nRssFile:\t999999999 kB\nRssShmem:\t0 kB\n")


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    made = Proc(tmp_path)
    made.add(10, 1, "ollama", GB)
    made.add(11, 10, "odd) name (", 2 * GB, seconds=40)
    made.add(12, 11, "grandchild")
    made.add(20, 1, "python", 9 * GB, seconds=99)
    return made


def test_G09_a_servers_processes_are_the_holder_of_its_port_and_its_descendants(proc: Proc) -> None:
    (proc.folder / "30").mkdir()  # vanished between list and read
    known = processes(proc.folder)
    assert known[11].name == "odd) name ("
    assert families([Holder(pid=10)], known) == {10, 11, 12}
    assert families([Holder(pid=10, is_ssh_tunnel=True)], known) == frozenset()
    assert families([Holder(pid=99)], known) == frozenset()
    assert processor_seconds({11, 20, 77}, proc.folder) == pytest.approx(139)
    assert processes(proc.folder / "nowhere") == {}


def test_a_hidden_holder_is_known_by_the_account_of_its_service() -> None:
    service = {10: Process(10, 1, 997, "ollama", 0), 20: Process(20, 1, 1000, "python", 0)}
    assert families([Holder(uid=997)], service) == {10}
    assert families([Holder(uid=1000)], service) == frozenset()  # a person's account has other things too
    assert families([Holder(uid=0)], service) == frozenset()


def test_what_is_ours_is_left_out_and_the_other_is_named(proc: Proc) -> None:
    now = sample(memory=30, gpus=(gpu(23, 99, processes=((11, 16), (20, 5.9))),))
    own = own_use([Holder(pid=10)], now, 0, proc=proc.folder)
    assert own.memory == pytest.approx(3 * GB, abs=4096)
    assert own.gpu_memory == {"GPU-0": 16 * GB}
    assert own.gpus == {"GPU-0"}
    assert own.others["GPU-0"].endswith("python has 5.9 GB")
    assert said(breaches(DEFAULTS, series(now), own)) == ["Memory 84 % without our models, limit 80 %"]
    strict = breaches(LimitSettings(gpu=20), series(now), own)
    assert said(strict)[1].startswith("GPU memory 29 % without our models, limit 20 %: your python has 5.9 GB")
    assert [breach.what for breach in strict] == ["memory", "gpu_memory"]  # who makes the GPU busy cannot be told


def test_the_use_of_a_gpu_that_is_all_others_counts(proc: Proc) -> None:
    now = sample(gpus=(gpu(6, 99, processes=((20, 5.9),)),))
    own = own_use([Holder(pid=10)], now, 0, proc=proc.folder)
    assert said(breaches(DEFAULTS, series(now), own)) == ["GPU 99 %, limit 90 %: your python has 5.9 GB"]


def test_what_the_driver_does_not_name_is_ours_as_far_as_the_server_says(proc: Proc) -> None:
    now = sample(gpus=(gpu(23, 99),))
    own = own_use([], now, 20 * GB, proc=proc.folder)
    assert own.gpu_memory == {"GPU-0": 20 * GB}
    assert breaches(DEFAULTS, series(now), own) == ()
    assert own_use([], now, 90 * GB, proc=proc.folder).gpu_memory == {"GPU-0": 23 * GB}


def test_our_share_of_the_processor_is_left_out() -> None:
    assert cpu_breach(DEFAULTS, 95.0, 60.0) is None
    breach = cpu_breach(DEFAULTS, 95.0, 10.0)
    assert breach is not None and breach.sentence == "CPU 85 % without our models, limit 80 %"


def test_C_the_real_proc_can_be_read() -> None:
    known = processes()
    if not known:
        pytest.skip("there is no /proc here")
    assert known[os.getpid()].uid == os.getuid()
    assert os.getpid() in families([Holder(pid=os.getppid())], known)
    assert own_use([Holder(pid=os.getpid())], sample(), 0).memory > 10**6


# --- in the app --------------------------------------------------------------------------------------------------------


class World:
    """A monitor and a registry by hand."""

    def __init__(self, settings: Settings, *samples: Sample) -> None:
        self.clock = ManualClock()
        self.clock.advance(100)
        self.given = [(self.clock.monotonic() - len(samples) + number, one) for number, one in enumerate(samples)]
        self.held: Holder | None = None
        self.providers: Observable[tuple[ProviderState, ...]] = Observable(
            (self._state("lab"), self._state("far", Location.ELSEWHERE), self._state("demo", origin=Origin.DEMO))
        )
        self.running: Observable[tuple[RunningModel, ...]] = Observable(())
        self.pauses: list[float] = []
        self.notices: list[tuple[str, Severity]] = []
        self.asked: list[str] = []
        self.choice = "no"
        self.told: list[tuple[str, str, str]] = []
        self.looked, self.seen = asyncio.Event(), asyncio.Event()
        self.seen.set()
        self.limits = Limits(lambda: settings, self, self, tell=self.tell, clock=self.clock, pause=self.pause)

    @staticmethod
    def _state(name: str, location: Location = Location.HERE, origin: Origin = Origin.CONFIG) -> ProviderState:
        return ProviderState(Endpoint(name, "ollama", "http://127.0.0.1:1"), origin, ProviderStatus.UP, location=location)

    def samples(self) -> tuple[tuple[float, Sample], ...]:
        return tuple(self.given)

    def state(self, name: str) -> ProviderState | None:
        return next((state for state in self.providers.value if state.name == name), None)

    def watch(self, name: str) -> Any:
        return self if name == "lab" else None

    async def examined(self) -> None:
        self.looked.set()
        await self.seen.wait()

    @property
    def holder(self) -> Holder | None:
        return self.held

    def tell(self, what: str, target: str, why: str) -> None:
        self.told.append((what, target, why))

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def ask(self, text: str, choices: Sequence[tuple[str, str]]) -> str:
        self.asked.append(text)
        assert choices[0][0] == "no"
        return self.choice

    def notice(self, text: str, severity: Severity) -> None:
        self.notices.append((text, severity))

    async def allow(self, provider: str = "lab", what: str = "sent", only: Collection[str] = ()) -> Any:
        return await self.limits.allow(provider, model="m:1b", what=what, only=only, ask=self.ask, notice=self.notice)


def acting(action: str, count: str = "all") -> Settings:
    return build({"limits": {"action": action, "count": count}})


FULL = sample(memory=30)


async def test_only_servers_of_this_machine_are_limited() -> None:
    world = World(acting("refuse"), FULL)
    assert await world.limits.check("lab")
    assert await world.limits.check("far") == await world.limits.check("demo") == await world.limits.check("none") == ()


async def test_old_samples_do_not_count() -> None:
    world = World(acting("refuse"), FULL)
    world.clock.advance(11)
    assert await world.limits.check("lab") == ()
    assert await World(acting("refuse")).limits.check("lab") == ()


async def test_refuse_says_what_and_why() -> None:
    world = World(acting("refuse"), FULL)
    failure = await world.allow(what="loaded")
    assert (failure.what, failure.kind) == ("Not loaded: Memory 94 %, limit 80 %", FailureKind.REFUSED)
    assert failure.remedy
    assert world.told == [("refused", "lab/m:1b", "Memory 94 %, limit 80 %")]


async def test_a_pull_does_not_care_for_gpus() -> None:
    world = World(acting("refuse"), sample(gpus=(gpu(24, 100),)))
    assert await world.allow(what="queued", only=FOR_PULL) is None
    assert await world.allow() is not None


async def test_ask_names_the_figure_and_the_limit_and_a_yes_counts_for_a_while() -> None:
    world = World(acting("ask"), FULL)
    failure = await world.allow()
    assert failure is not None and failure.kind is FailureKind.REFUSED
    assert world.asked == ["This machine is full: Memory 94 %, limit 80 %. Shall it be sent all the same?"]
    world.choice = "yes"
    assert await world.allow() is await world.allow() is None
    assert len(world.asked) == 2
    assert world.limits.said_yes("lab", FOR_PULL)
    assert [(what, why) for what, _target, why in world.told] == [
        ("asked", "Memory 94 %, limit 80 %; the answer was no"),
        ("asked", "Memory 94 %, limit 80 %; the answer was yes"),
    ]
    world.clock.advance(AGAIN)
    world.given = [(world.clock.monotonic(), FULL)]
    assert not world.limits.said_yes("lab", FOR_PULL)
    assert await world.allow() is None
    assert len(world.asked) == 3


async def test_a_yes_to_a_chat_on_a_busy_gpu_is_none_to_a_pull() -> None:
    world = World(acting("ask"), sample(gpus=(gpu(24, 100),)))
    world.choice = "yes"
    assert await world.allow() is None
    assert world.limits.said_yes("lab", {"gpu"})
    assert not world.limits.said_yes("lab", FOR_PULL)


async def test_warn_says_it_once_and_what_is_new_again() -> None:
    world = World(acting("warn"), FULL)
    assert await world.allow() is await world.allow() is None
    assert world.told == [("warned", "lab/m:1b", "Memory 94 %, limit 80 %")]
    assert world.notices == [("This machine is full: Memory 94 %, limit 80 %", Severity.WARNING)]
    world.given = [(world.clock.monotonic(), sample(cpu=99, memory=30))]
    assert await world.allow() is None
    assert len(world.notices) == 2
    assert "CPU 99 %" in world.notices[1][0]


@pytest.mark.parametrize(("used", "expected"), [(0.0, ["CPU 100 %, limit 80 %"]), (1000.0, [])])
async def test_the_processor_use_of_our_servers_is_only_measured_where_it_decides(
    monkeypatch: pytest.MonkeyPatch, used: float, expected: list[str]
) -> None:
    spent = iter([0.0, used])
    monkeypatch.setattr(module, "processor_seconds", lambda pids: next(spent))
    monkeypatch.setattr(module, "own_use", lambda *args, **more: own_use(*args, **more, known={7: Process(7, 1, 0, "ollama", 0)}))
    calm = World(acting("refuse", "others"), sample())
    calm.held = Holder(pid=7)
    assert await calm.limits.check("lab") == ()
    assert calm.pauses == []
    busy = World(acting("refuse", "others"), sample(cpu=99.9))
    busy.held = Holder(pid=7)
    assert said(await busy.limits.check("lab")) == expected
    assert busy.pauses == [module.APART]


async def test_models_of_our_servers_are_not_counted() -> None:
    world = World(acting("refuse", "others"), sample(gpus=(gpu(23),)))
    assert [breach.what for breach in await world.limits.check("lab")] == ["gpu_memory"]
    world.running.set((RunningModel("lab", "m", "m", vram=20 * GB), RunningModel("far", "m", "m", vram=20 * GB)))
    assert await world.limits.check("lab") == ()


# --- in a command ------------------------------------------------------------------------------------------------------


async def test_all_servers_of_the_user_are_ours_for_a_command_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    seen: list[Sequence[Holder]] = []

    async def held(url: str) -> Holder | None:
        asked.append(url)
        return Holder(pid=len(asked)) if not url.endswith(":3") else None

    async def measured(_settings: Settings, _samples: Any, holders: Sequence[Holder], *_more: Any) -> tuple[()]:
        seen.append(holders)
        return ()

    monkeypatch.setattr(module, "_sample", lambda disks, gpu, seconds=0.5: FULL)
    monkeypatch.setattr(module, "held_by", held)
    monkeypatch.setattr(module, "_measured", measured)
    table = {"kind": "ollama", "enabled": True}
    providers = {
        "lab": table | {"url": "http://127.0.0.1:1"},
        "two": table | {"url": "http://127.0.0.1:2"},
        "gone": table | {"url": "http://127.0.0.1:3"},
        "off": table | {"url": "http://127.0.0.1:4", "enabled": False},
        "far": table | {"url": "http://10.0.0.9:5"},
    }
    settings = build({"providers": providers})
    await check_here(settings, Endpoint("lab", "ollama", "http://127.0.0.1:1"))
    await check_pull(settings, Endpoint("lab", "ollama", "http://127.0.0.1:1"))
    assert asked == ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"] * 2
    assert [len(holders) for holders in seen] == [2, 2]


async def test_a_command_measures_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_sample", lambda disks, gpu: FULL)
    here, far = Endpoint("lab", "ollama", "http://127.0.0.1:1"), Endpoint("far", "ollama", "http://10.0.0.9:1")
    found = await check_here(acting("refuse"), here)
    assert said(found) == ["Memory 94 %, limit 80 %"]
    assert refused(found).kind is FailureKind.REFUSED
    assert await check_here(acting("refuse"), far) == ()
    off = build({"limits": {"cpu": 0, "memory": 0, "gpu": 0, "disk": 0}})
    assert await check_here(off, here) == ()


async def test_G04_a_driver_that_hangs_does_not_hold_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    hold = threading.Event()
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(module, "_sample", lambda disks, gpu: hold.wait(10) and FULL)
    async with asyncio.timeout(5):
        assert await check_here(acting("refuse"), Endpoint("lab", "ollama", "http://127.0.0.1:1")) == ()
    hold.set()


def test_the_real_machine_can_be_measured() -> None:
    found = module._sample(["/"], False)
    assert found.memory.total and found.cpu.percent is not None


async def test_what_is_sent_at_once_waits_until_it_is_known_where_the_server_is() -> None:
    """Just found, a server counts as elsewhere: without waiting, the first pull after a start would pass every limit."""
    world = World(acting("refuse"), FULL)
    here = world.providers.value
    world.providers.set((world._state("lab", Location.ASK),))
    world.seen.clear()
    checking = asyncio.ensure_future(world.limits.check("lab"))
    await asyncio.wait_for(world.looked.wait(), 5)
    world.providers.set(here)
    world.seen.set()
    assert said(await checking) == ["Memory 94 %, limit 80 %"]


async def test_a_port_that_never_tells_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "WHERE", 0.01)
    world = World(acting("refuse"), FULL)
    world.providers.set((world._state("lab", Location.ASK),))
    world.seen.clear()
    assert await asyncio.wait_for(world.limits.check("lab"), 5) == ()
