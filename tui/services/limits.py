"""[limits]: whether this machine is so full that a chat, a load or a pull should wait; figures, sentences, and what to do.

Only for servers on this machine; figures are averages over `OVER` seconds, of what was measured of them: less just after the
start, and the newest measurement (itself a mean over its interval) where `monitor.interval` is longer. Figures of a sampler, or
of a source of it, that does not answer are not used. With `count = "others"` what the models of the user's own servers use is
left out; what cannot be told apart is not counted against anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from tui.config.settings import Limits as LimitSettings
from tui.config.settings import Settings
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind
from tui.core.models import Endpoint, ProviderState, RunningModel, Severity
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.hardware.sample import GPU_PROCESSES, Cpu, Gpu, Memory, Sample
from tui.providers.discovery import held_by
from tui.providers.ports import Holder
from tui.services.machine import is_here, own_servers
from tui.services.own_use import OwnUse, own_use, processor_seconds
from tui.services.space import models_folder, runs_here
from tui.text import clean_name, size

if TYPE_CHECKING:
    from tui.core.observe import Observable

OVER: Final = 10.0
"""Seconds that figures are averaged over."""
PLENTY: Final = 50 * 10**9
"""Bytes free on a disk from which it is not full, whatever the percentage."""
APART: Final = 0.5
"""Seconds that the processor use of our own servers is measured over, where that decides."""
AGAIN: Final = 300.0
"""Seconds for which a yes, or a warning, counts for the same limits."""
PATIENCE: Final = 3.0
"""Seconds that measuring for a command may take."""
LATE: Final = 5.0
"""Seconds beyond its time after which a sampler, or a source of it, counts as silent."""
FOR_PULL: Final = frozenset({"cpu", "memory", "disk"})
"""What a pull takes: it is checked, it goes through the page cache and onto the disk. No GPU works for it, whoever keeps that busy."""

Samples = Sequence[tuple[float, Sample]]


@record(frozen=True)
class Breach:
    """A limit that is passed.

    Attributes:
        what: "cpu", "memory", "gpu", "gpu_memory", "disk" or "keep_free_vram".
        figure: Percent, or for `keep_free_vram` bytes.
        limit: In the same unit.
        sentence: "GPU memory 93 %, limit 90 %: alice's python has 5.9 GB".
    """

    what: str
    figure: float
    limit: float
    sentence: str


# --- pure ------------------------------------------------------------------------------------------------------------


def recent(samples: Samples, now: float, interval: float) -> Samples:
    """Those of the last `OVER` seconds, or the newest where it is not late; nothing where the sampler is silent.

    Args:
        samples: Monotonic time and sample, oldest first.
        now: Monotonic.
        interval: Seconds from one to the next.
    """
    known = [(at, sample) for at, sample in samples if at <= now + 1]
    if not known or now - known[-1][0] > interval + LATE:
        return ()
    return [(at, heard(sample)) for at, sample in known if at >= now - OVER or at == known[-1][0]]


def heard(sample: Sample) -> Sample:
    """A sample without what a source that is silent had said last."""
    silent = {name for source in sample.sources if source.silent > LATE for name in source.name.split(", ")}
    if not silent:
        return sample
    return replace(
        sample,
        cpu=Cpu() if "processor" in silent else sample.cpu,
        memory=Memory() if "memory" in silent else sample.memory,
        disks=() if "disks" in silent else sample.disks,
        gpus=tuple(gpu for gpu in sample.gpus if gpu.source not in silent),
    )


def average(values: Iterable[float | None]) -> float | None:
    """Mean of what is known."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def breaches(
    limits: LimitSettings,
    samples: Samples,
    own: OwnUse | None = None,
    need: int | None = None,
    *,
    cards: Collection[str] = (),
    binary: bool = False,
) -> tuple[Breach, ...]:
    """The limits that these samples pass, but the processor's (see `cpu_breach`).

    Args:
        limits: The settings.
        samples: Of the last `OVER` seconds, oldest first.
        own: What is ours and is left out; None: everything counts.
        need: Bytes of GPU memory that will be taken, 0 for none, None where not known.
        cards: Uuids of the GPUs that will be worked on; empty: any of them.
        binary: Sizes in GiB.
    """
    if not samples:
        return ()
    newest = samples[-1][1]
    gpus = [gpu for gpu in newest.gpus if not gpu.lost and (not cards or gpu.uuid in cards)]
    found = [
        _memory(limits, samples, own),
        *(breach for gpu in gpus for breach in _gpu(limits, samples, gpu, own)),
        *_disks(limits, newest, binary),
        _free_vram(limits, newest.memory, gpus, need, binary),
    ]
    return tuple(breach for breach in found if breach is not None)


def cpu_use(samples: Samples) -> float | None:
    """Average use of the processor in percent."""
    return average(sample.cpu.percent for _at, sample in samples)


def cpu_breach(limits: LimitSettings, used: float | None, ours: float | None = None) -> Breach | None:
    """The processor's limit; `ours` are the percent points of our own servers, None where they count."""
    if not limits.cpu or used is None:
        return None
    figure = max(0.0, used - (ours or 0.0))
    return _percent("cpu", "CPU", figure, limits.cpu, without=ours is not None and ours >= 1) if figure > limits.cpu else None


def _percent(what: str, name: str, figure: float, limit: int, *, without: bool = False, who: str = "") -> Breach:
    beside = " without our models" if without else ""
    return Breach(what, figure, limit, f"{name} {figure:.0f} %{beside}, limit {limit} %" + (f": {who}" if who else ""))


def _memory(limits: LimitSettings, samples: Samples, own: OwnUse | None) -> Breach | None:
    total = samples[-1][1].memory.total
    used = average(sample.memory.used for _at, sample in samples)
    if not limits.memory or not total or used is None:
        return None
    ours = min(own.memory, used) if own is not None else 0
    figure = 100 * (used - ours) / total
    return _percent("memory", "Memory", figure, limits.memory, without=ours > total / 100) if figure > limits.memory else None


def _gpu(limits: LimitSettings, samples: Samples, gpu: Gpu, own: OwnUse | None) -> Iterable[Breach | None]:
    if not limits.gpu:
        return
    name = f"GPU {gpu.index}" if len(samples[-1][1].gpus) > 1 else "GPU"
    same = [one for _at, sample in samples for one in sample.gpus if one.uuid == gpu.uuid]
    who = own.others.get(gpu.uuid, "") if own is not None else ""
    used = average(one.memory_used for one in same)
    if gpu.memory_total and used is not None and not gpu.unified:  # else it is main memory, which has its own limit
        ours = min(own.gpu_memory.get(gpu.uuid, 0), used) if own is not None else 0
        figure = 100 * (used - ours) / gpu.memory_total
        if figure > limits.gpu:
            yield _percent("gpu_memory", f"{name} memory", figure, limits.gpu, without=ours > 0, who=who)
    busy = average(one.percent for one in same)
    apart = own is None or gpu.uuid not in own.gpus  # a driver's percentage is of all processes together
    if busy is not None and busy > limits.gpu and apart:
        yield _percent("gpu", name, busy, limits.gpu, who=who)


def _disks(limits: LimitSettings, sample: Sample, binary: bool) -> Iterable[Breach]:
    for disk in sample.disks:
        if not limits.disk or not disk.total or disk.free is None or disk.free >= PLENTY:
            continue
        figure = 100 * (disk.total - disk.free) / disk.total
        if figure > limits.disk:
            yield _percent("disk", f"Disk {clean_name(disk.path, 60)}", figure, limits.disk, who=f"{size(disk.free, binary=binary)} free")


def _free_vram(limits: LimitSettings, memory: Memory, gpus: Sequence[Gpu], need: int | None, binary: bool) -> Breach | None:
    """The reserve of each GPU: a model goes to the one with most room, or, where it is too large for that, onto all of them."""
    keep = limits.keep_free_vram
    free = [room for gpu in gpus if (room := _free(gpu, memory)) is not None]
    if not keep or not free or need == 0:
        return None
    if not need:
        left = max(free)
    elif max(free) - need >= keep:
        return None
    else:
        left = max(0, sum(max(0, room - keep) for room in free) + keep - need)
    if left >= keep:
        return None
    then = (
        f"{size(left, binary=binary)} would be free, {size(need, binary=binary)} is needed"
        if need
        else f"{size(left, binary=binary)} is free"
    )
    return Breach("keep_free_vram", left, keep, f"GPU memory: {then}, limit {size(keep, binary=binary)} free")


def _free(gpu: Gpu, memory: Memory) -> int | None:
    if gpu.unified:
        if memory.available is not None:
            return memory.available
        return memory.total - memory.used if memory.total and memory.used is not None else None
    return gpu.memory_total - gpu.memory_used if gpu.memory_total and gpu.memory_used is not None else None


def sentence(found: Sequence[Breach]) -> str:
    """All of them on one line."""
    return "; ".join(breach.sentence for breach in found)


# --- in the app ------------------------------------------------------------------------------------------------------


class MonitorSide(Protocol):
    """What is needed of `monitor.Monitor`."""

    def samples(self) -> tuple[tuple[float, Sample], ...]:
        """Monotonic time and sample, oldest first."""
        ...


class WatchSide(Protocol):
    """What is needed of a `watch.Watch`."""

    holder: Holder | None

    async def examined(self) -> None:
        """Wait until it is known who holds the port, as far as that can be known."""


class RegistrySide(Protocol):
    """What is needed of `registry.Registry`."""

    providers: Observable[tuple[ProviderState, ...]]
    running: Observable[tuple[RunningModel, ...]]

    def state(self, name: str) -> ProviderState | None:
        """One provider's newest state."""

    def watch(self, name: str) -> Any:
        """Its `WatchSide`, or None."""


WHERE: Final = 2.0
"""Seconds a port is given to tell who holds it; then a server counts as elsewhere, as everywhere."""
Ask = Callable[[str, Sequence[tuple[str, str]]], Awaitable[str]]
Notice = Callable[[str, Severity], None]
Tell = Callable[[str, str, str], object]
"""Told what was done ("warned", "asked", "refused"), to what, and why."""


class Limits:
    """Checks before a chat, a load or a pull. Used on the engine's loop.

    `check` only measures; `allow` also does what `limits.action` says, and is what callers want:

        failure = await limits.allow(provider, need, what="sent", ask=host.ask, notice=host.notice)

    Args:
        settings: The running settings.
        tell: Told everything that a limit did.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        monitor: MonitorSide,
        registry: RegistrySide,
        *,
        tell: Tell = lambda _what, _target, _why: None,
        clock: Clock = SYSTEM,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._monitor = monitor
        self._registry = registry
        self._tell = tell
        self._clock = clock
        self._pause = pause
        self._known: dict[tuple[str, str], float] = {}
        self._yes: dict[tuple[str, str], float] = {}

    async def check(self, provider: str, need: int | None = None, cards: Collection[str] = ()) -> tuple[Breach, ...]:
        """The limits that are passed now; empty for servers elsewhere, and while nothing was measured.

        Args:
            provider: The server that will be asked.
            need: Bytes of GPU memory that a load will take; 0 where the model is loaded already.
            cards: Uuids of the GPUs that it will work on; empty: any of them.
        """
        await self._known_where(provider)
        settings = self._settings()
        state = self._registry.state(provider)
        samples = recent(self._monitor.samples(), self._clock.monotonic(), settings.monitor.interval)
        if state is None or not is_here(state) or not samples:
            return ()
        holders, vram = own_servers(self._registry)
        return await _measured(settings, samples, holders, vram, need, self._pause, cards)

    async def _known_where(self, provider: str) -> None:
        """A server that has just been found is on this machine or not once its port was looked at: what is sent at once waits for that."""
        watch: WatchSide | None = self._registry.watch(provider)
        if watch is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WHERE):
                    await watch.examined()

    async def allow(
        self,
        provider: str,
        need: int | None = None,
        *,
        model: str = "",
        what: str = "sent",
        cards: Collection[str] = (),
        only: Collection[str] = (),
        ask: Ask,
        notice: Notice,
    ) -> Failure | None:
        """Check, and do what `limits.action` says: None to go on, else the failure to show. A yes, or a warning, counts for `AGAIN`.

        Args:
            provider: See `check`.
            need: See `check`.
            model: What it is for, as it is told.
            what: Not done where it is refused: "sent", "loaded", "queued".
            cards: See `check`.
            only: The limits that count; empty: all.
            ask: Lets the user decide.
            notice: Tells the user.
        """
        found = tuple(breach for breach in await self.check(provider, need, cards) if not only or breach.what in only)
        now = self._clock.monotonic()
        target = f"{provider}/{model}" if model else provider
        self._known = {key: at for key, at in self._known.items() if now - at < AGAIN}
        action = self._settings().limits.action
        new = [breach for breach in found if (provider, breach.what) not in self._known]
        if not found or (action != "refuse" and not new):
            return None
        if action == "refuse":
            self._tell("refused", target, sentence(found))
            return refused(found, what)
        if action == "ask":
            choices = (("no", "No"), ("yes", "Yes, all the same"))
            yes = await ask(f"This machine is full: {sentence(found)}. Shall it be {what} all the same?", choices) == "yes"
            self._tell("asked", target, f"{sentence(found)}; the answer was {'yes' if yes else 'no'}")
            if not yes:
                return refused(found, what)
            self._yes |= {(provider, breach.what): self._clock.monotonic() for breach in found}
        else:
            self._tell("warned", target, sentence(found))
            notice(f"This machine is full: {sentence(found)}", Severity.WARNING)
        self._known |= {(provider, breach.what): self._clock.monotonic() for breach in found}
        return None

    def said_yes(self, provider: str, only: Collection[str]) -> bool:
        """Whether a yes of the user to one of these limits still counts."""
        now = self._clock.monotonic()
        return any(now - at < AGAIN for (name, what), at in self._yes.items() if name == provider and what in only)


def refused(found: Sequence[Breach], what: str = "sent") -> Failure:
    """The failure for what a limit refuses; its kind makes commands exit with 3."""
    return Failure(f"Not {what}: {sentence(found)}", "[limits]", "Wait until there is room, or change the limit", FailureKind.REFUSED)


async def _measured(
    settings: Settings,
    samples: Samples,
    holders: Sequence[Holder],
    vram: int,
    need: int | None,
    pause: Callable[[float], Awaitable[None]],
    cards: Collection[str] = (),
) -> tuple[Breach, ...]:
    limits, binary = settings.limits, settings.appearance.units == "binary"
    used = cpu_use(samples)
    own, ours = None, None
    full = breaches(limits, samples, None, need, cards=cards, binary=binary)
    cpu = cpu_breach(limits, used)
    if limits.count == "others" and (full or cpu):
        own = await in_daemon_thread(lambda: own_use(holders, samples[-1][1], vram, binary=binary))
        if cpu is not None and own.pids:
            ours = await _own_cpu(own.pids, pause)
        full = breaches(limits, samples, own, need, cards=cards, binary=binary)
        cpu = cpu_breach(limits, used, ours)
    return (*((cpu,) if cpu is not None else ()), *full)


async def _own_cpu(pids: frozenset[int], pause: Callable[[float], Awaitable[None]], seconds: float = APART) -> float:
    """Percent of all processors that these processes use, measured over so many seconds."""
    before, began = await in_daemon_thread(lambda: processor_seconds(pids)), time.monotonic()
    await pause(seconds)
    used = await in_daemon_thread(lambda: processor_seconds(pids)) - before
    return max(0.0, 100 * used / max(0.001, time.monotonic() - began) / (os.cpu_count() or 1))


# --- in a command ----------------------------------------------------------------------------------------------------


async def check_here(
    settings: Settings, endpoint: Endpoint, *, vram: int = 0, need: int | None = None, disks: Sequence[str] = ("/",)
) -> tuple[Breach, ...]:
    """`Limits.check` for a command, which has no monitor: measures for half a second, and at most for `PATIENCE`.

    Use it as `if (found := await check_here(...)) and not args.force: refuse`, where `limits.action` is not "warn"; then a
    line on standard error is enough.

    Args:
        settings: The running settings.
        endpoint: The server that will be asked.
        vram: Bytes that its models have on GPUs now.
        need: Bytes of GPU memory that a load will take; 0 where the model is loaded already.
        disks: Folders whose disks count.
    """
    limits = settings.limits
    if not runs_here(endpoint, settings) or not any((limits.cpu, limits.memory, limits.gpu, limits.disk, limits.keep_free_vram)):
        return ()
    try:
        async with asyncio.timeout(PATIENCE):
            sample = await in_daemon_thread(lambda: _sample(list(disks), settings.monitor.gpu))
            return await _measured(settings, ((0.0, sample),), await _holders(settings, endpoint.url), vram, need, asyncio.sleep)
    except TimeoutError:
        return ()


async def check_pull(
    settings: Settings, endpoint: Endpoint, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> tuple[Breach, ...]:
    """The limits of `FOR_PULL` that this machine passes, for the worker: measured for half a second, a busy processor for `OVER`."""
    limits = settings.limits
    if not runs_here(endpoint, settings) or not any((limits.cpu, limits.memory, limits.disk)):
        return ()
    holders = await _holders(settings, endpoint.url)

    def measured() -> Sample:
        folder = models_folder(endpoint, settings)
        return _sample([str(folder)] if folder is not None else [], gpu=False)

    sample = await in_daemon_thread(measured)
    found = await _measured(settings, ((0.0, sample),), holders, 0, 0, pause)
    if all(breach.what != "cpu" for breach in found):
        return found
    own = await in_daemon_thread(lambda: own_use(holders, sample, 0)) if limits.count == "others" else None
    busy, ours = await asyncio.gather(
        in_daemon_thread(lambda: _sample([], gpu=False, seconds=OVER)), _own_cpu(own.pids if own is not None else frozenset(), pause, OVER)
    )
    cpu = cpu_breach(limits, busy.cpu.percent, ours if own is not None else None)
    return (*((cpu,) if cpu is not None else ()), *(breach for breach in found if breach.what != "cpu"))


async def _holders(settings: Settings, url: str) -> list[Holder]:
    return await holders_here(settings, url) if settings.limits.count == "others" else []


async def holders_here(settings: Settings, url: str) -> list[Holder]:
    """Who holds the port of a server, and the ports of the servers of the user on this machine."""
    others = [Endpoint(name, one.kind, one.url) for name, one in settings.providers.items() if one.enabled]
    found = await asyncio.gather(*(held_by(place) for place in sorted({url, *(one.url for one in others if runs_here(one, settings))})))
    return [holder for holder in found if holder is not None]


def _sample(disks: list[str], gpu: bool, seconds: float = APART) -> Sample:
    from tui.hardware.once import sample_once

    return sample_once(disks, gpu, seconds, frozenset({GPU_PROCESSES}))
