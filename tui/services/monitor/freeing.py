"""Room for a model: which loaded ones make way, asked first, unloaded one after the other, then it is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Location
from tui.core.monitor import Loaded, Take
from tui.core.names import same
from tui.core.record import record
from tui.hardware.sample import Sample
from tui.services.limits import LATE, Samples, Tell, heard
from tui.services.monitor.host import MonitorHost
from tui.services.monitor.idle import Unloading
from tui.services.monitor.uses import Uses
from tui.text import duration, size

KNOWN_WITHIN: Final = 10.0
"""Seconds to find out what a model takes."""
SHOWS_WITHIN: Final = 10.0
"""Seconds that a driver is given to show memory as free after an unload."""
LOOK: Final = 0.5
SHOWN: Final = 0.5
"""Share of a model's memory from which on it has come back: others take some meanwhile."""
NAMED: Final = 4


# --- pure -------------------------------------------------------------------------------------------------------------


@record(frozen=True)
class Free:
    """Bytes that are free, and in all: of all GPUs together, and of main memory. A GPU that shares main memory is none."""

    gpu: int = 0
    gpu_total: int = 0
    ram: int = 0


@record(frozen=True)
class Way:
    """What makes way.

    Attributes:
        unload: In this order.
        missing: Bytes that are missing even then; 0 where it fits.
        on_gpu: It is GPU memory that is missing; else both together.
    """

    unload: tuple[Loaded, ...] = ()
    missing: int = 0
    on_gpu: bool = False


def free_of(sample: Sample, keep: int = 0) -> Free:
    """What a sample says is free, `keep` bytes of each GPU left alone."""
    memory = sample.memory
    ram = memory.available if memory.available is not None else (memory.total or 0) - (memory.used or 0)
    gpus = [gpu for gpu in sample.gpus if gpu.memory_total and gpu.memory_used is not None and not gpu.lost and not gpu.unified]
    room = sum(max(0, (gpu.memory_total or 0) - (gpu.memory_used or 0) - keep) for gpu in gpus)
    return Free(room, sum(max(0, (gpu.memory_total or 0) - keep) for gpu in gpus), max(0, ram))


def frees(one: Loaded, on_gpu: bool) -> int:
    """Bytes that come back where it is unloaded."""
    model = one.model
    return (model.vram or 0) if on_gpu else max(model.size or 0, model.vram or 0)


def plan(loaded: Sequence[Loaded], take: Take, free: Free) -> Way:
    """What to unload so that a model fits, on the GPUs where it can.

    Args:
        loaded: What may be unloaded, the least recently used first.
        take: What the model takes.
        free: What is free.
    """
    need = sum(count for _uuid, count in take.gpu) + take.ram
    on_gpu = 0 < need <= free.gpu_total
    lacks = need - (free.gpu if on_gpu else free.gpu + free.ram)
    if on_gpu or not free.gpu_total:
        lacks = max(lacks, take.missing)  # with what the server leaves free itself
    chosen: list[Loaded] = []
    for one in loaded:
        if lacks <= sum(frees(other, on_gpu) for other in chosen):
            break
        if frees(one, on_gpu):
            chosen.append(one)
    for one in sorted(chosen, key=lambda one: frees(one, on_gpu)):  # what the others make needless stays
        if sum(frees(other, on_gpu) for other in chosen if other is not one) >= lacks:
            chosen.remove(one)
    back = sum(frees(one, on_gpu) for one in chosen)
    return Way(tuple(chosen), max(0, lacks - back), on_gpu)


# --- done -------------------------------------------------------------------------------------------------------------


class Freeing:
    """Makes room. Used on the engine's loop.

    Args:
        host: Asks, loads and unloads.
        uses: What is used.
        unloading: Says what may be unloaded.
        tell: Told every deed of a limit.
        would_take: What a model would take; None while that is not known.
        loaded: What is loaded on all providers.
        samples: Monotonic time and sample of the last minute, oldest first.
    """

    def __init__(
        self,
        host: MonitorHost,
        uses: Uses,
        unloading: Unloading,
        tell: Tell,
        would_take: Callable[[str, str], Take | None],
        loaded: Callable[[], Sequence[Loaded]],
        samples: Callable[[], Samples],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._host = host
        self._uses = uses
        self._unloading = unloading
        self._tell = tell
        self._would_take = would_take
        self._loaded = loaded
        self._samples = samples
        self._pause = pause
        self._for = ""

    async def make_room(self, provider: str, model: str) -> None:
        """See `api.MonitorApi`.

        Raises:
            PaddockError: It cannot be known what is missing, something would not go, or the model did not load.
        """
        if self._for:
            raise PaddockError.of(f"Room is being made for {self._for}", provider, "Wait until that is done", FailureKind.BUSY)
        self._for = model
        try:
            await self._make_room(provider, model)
        finally:
            self._for = ""

    async def _make_room(self, provider: str, model: str) -> None:
        if any(one.provider == provider and same(one.key, model) for one in self._host.watching.running.value):
            self._host.say(f"{model} is loaded already")
            return
        take, sample = await self._known(provider, model), self._newest()
        if sample is None:
            raise PaddockError.of(
                "It is not known what memory is free", "the sampler", "Switch monitor.enabled on", FailureKind.UNSUPPORTED
            )
        self._uses.look()
        way = plan(self._candidates(), take, free_of(sample, self._host.settings().limits.keep_free_vram or 0))
        if (way.unload or way.missing) and not await self._agreed(model, take, way):
            return
        for one in way.unload:
            if not await self._unload(one, model):
                return
        await self._host.load(provider, model)

    async def _known(self, provider: str, model: str) -> Take:
        state = self._host.watching.state(provider)
        if state is None or state.location is not Location.HERE:
            what = f"It is not known what memory {provider} has: it runs on another machine"
            raise PaddockError.of(what, provider, "Load the model as it is", FailureKind.UNSUPPORTED)
        until = self._host.clock.monotonic() + KNOWN_WITHIN
        while (take := self._would_take(provider, model)) is None:
            if self._host.clock.monotonic() >= until:
                what = f"It is not known how much memory {model} takes"
                raise PaddockError.of(what, provider, "Load it as it is", FailureKind.UNSUPPORTED)
            await self._pause(LOOK)
        return take

    def _newest(self) -> Sample | None:
        samples = self._samples()
        late = self._host.settings().monitor.interval + LATE
        if not samples or self._host.clock.monotonic() - samples[-1][0] > late:
            return None
        return heard(samples[-1][1])

    def _candidates(self) -> list[Loaded]:
        known = {(one.model.provider, one.model.key): one for one in self._loaded()}
        found = [model for model in sorted(self._uses.here(demo=self._host.demo), key=self._uses.order) if self._unloading.may(model)]
        return [known.get((model.provider, model.key)) or Loaded(model, here=True) for model in found]

    async def _agreed(self, model: str, take: Take, way: Way) -> bool:
        binary = self._host.settings().appearance.units == "binary"
        whole = f"{model} ({size(sum(count for _uuid, count in take.gpu) + take.ram, binary=binary)})"
        memory = "GPU memory" if way.on_gpu else "memory"
        lacking = f"{size(way.missing, binary=binary)} of {memory}"
        names = self._names(way, binary=binary)
        if not way.unload:
            text = f"{lacking} is missing for {whole}, and nothing that is loaded can make way. Load it all the same?"
            return await self._host.ask(text, (("keep", "Keep"), ("load", "Load"))) == "load"
        if way.missing:
            text = f"Unload {names}? {lacking} would still be missing for {whole}: it would not fit, or be slow."
        else:
            text = f"Unload {names} to make room for {whole}?"
        return await self._host.ask(text, (("keep", "Keep"), ("unload", "Unload and load"))) == "unload"

    def _names(self, way: Way, *, binary: bool) -> str:
        words = []
        for one in way.unload[:NAMED]:
            idle = self._uses.ago(one.model)
            since = f", idle {duration(idle)}" if idle is not None else ""
            words.append(f"{one.model.name} ({size(frees(one, way.on_gpu), binary=binary)}{since})")
        if len(way.unload) > NAMED:
            words.append(f"{len(way.unload) - NAMED} more")
        return " and ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} and {words[-1]}"

    async def _unload(self, one: Loaded, model: str) -> bool:
        """Unload one and wait until its memory has come back; False where the user stopped it, or nothing more is to be done."""
        gone = one.model
        now = next((other for other in self._host.watching.running.value if (other.provider, other.key) == (gone.provider, gone.key)), None)
        if now is None:
            return True
        if self._uses.busy(now):
            what = f"{gone.name} has begun to work meanwhile, so {model} was not loaded"
            raise PaddockError.of(what, gone.provider, "Try again when it is done", FailureKind.BUSY)
        before = self._used()
        await self._host.unload(gone.provider, gone.key)
        if any((other.provider, other.key) == (gone.provider, gone.key) for other in self._host.watching.running.value):
            self._host.say(f"{gone.name} was not unloaded, so {model} was not loaded")
            return False
        self._tell("unloaded", f"{gone.provider}/{gone.name}", f"to make room for {model}")
        await self._shown(before, frees(one, on_gpu=bool(gone.vram)))
        return True

    def _used(self) -> int | None:
        """Bytes in use: of the GPUs where there are any, else of main memory."""
        sample = self._newest()
        if sample is None:
            return None
        used = [gpu.memory_used for gpu in sample.gpus if gpu.memory_used is not None and not gpu.unified]
        return sum(used) if used else sample.memory.used

    async def _shown(self, before: int | None, freed: int) -> None:
        until = self._host.clock.monotonic() + SHOWS_WITHIN
        while before is not None and freed and self._host.clock.monotonic() < until:
            used = self._used()
            if used is not None and before - used >= SHOWN * freed:
                return
            await self._pause(LOOK)
