"""`limits.memory_pressure`: what to do when this machine runs out of memory.

It does when less than `SCARCE` percent is available, or everything waited for memory more than `STALLED` percent of the time
(PSI, `full`), or it swaps while less than `SHORT` percent is available; for `HELD` seconds. Only main memory (and GPU memory that
is main memory) counts: a full GPU is what people want, and whether a process waits for its memory nobody tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tui.core.models import RunningModel, Severity
from tui.hardware.sample import Sample
from tui.services.limits import LATE, Samples, Tell, heard
from tui.services.monitor.host import MonitorHost
from tui.services.monitor.idle import Unloading
from tui.services.monitor.uses import Uses
from tui.text import duration, size

SCARCE: Final = 5.0
STALLED: Final = 10.0
SHORT: Final = 10.0
SWAPS: Final = 1_000_000.0
"""Bytes a second of swapping that count."""
HELD: Final = 10.0
"""Seconds for which it must hold; and that memory is given to come back, before the next model is unloaded."""
CALM: Final = 60.0
"""Seconds without pressure after which it is over, and would be said anew."""


def squeezed(sample: Sample, *, binary: bool = False) -> str:
    """Why this machine is out of memory, in words; empty where it is not, or where that is not known."""
    memory = sample.memory
    available = memory.available
    if available is None and memory.total and memory.used is not None:
        available = memory.total - memory.used
    if not memory.total or available is None:
        return ""
    share = 100 * available / memory.total
    left = f"{size(available, binary=binary)} of {size(memory.total, binary=binary)} is available"
    if share < SCARCE:
        return left
    if memory.pressure_full is not None and memory.pressure_full > STALLED:
        return f"everything waits for memory {memory.pressure_full:.0f} % of the time, {left}"
    swapped = (memory.swap_in or 0.0) + (memory.swap_out or 0.0)
    if share < SHORT and swapped > SWAPS:
        return f"it swaps {size(swapped, binary=binary)}/s, {left}"
    return ""


def held(samples: Samples, now: float, interval: float) -> bool:
    """Whether all of the last `HELD` seconds were so; not where the sampler is silent."""
    if not samples or now - samples[-1][0] > interval + LATE:
        return False
    for at, sample in reversed(samples):
        if not squeezed(heard(sample)):
            return False
        if samples[-1][0] - at >= HELD:
            return True
    return False


class Pressure:
    """Watches main memory.

    Args:
        host: Knows the settings, and tells the user.
        uses: What is used; `look` is called before.
        unloading: Unloads.
        tell: Told every deed of a limit.
        samples: Monotonic time and sample of the last minute, oldest first.
    """

    def __init__(self, host: MonitorHost, uses: Uses, unloading: Unloading, tell: Tell, samples: Callable[[], Samples]) -> None:
        self._host = host
        self._uses = uses
        self._unloading = unloading
        self._tell = tell
        self._samples = samples
        self._last = float("-inf")
        self._said = False
        self._next = float("-inf")

    async def look(self) -> None:
        """Warn, or unload one model; to be called every few seconds."""
        settings, now = self._host.settings(), self._host.clock.monotonic()
        samples, action = self._samples(), settings.limits.memory_pressure
        binary = settings.appearance.units == "binary"
        if samples and squeezed(heard(samples[-1][1])):
            self._last = now
        elif now - self._last > CALM:
            self._said = False
        if action == "off" or self._host.demo or not held(samples, now, settings.monitor.interval):
            return
        why = squeezed(samples[-1][1], binary=binary)
        candidate = self._candidate(samples[-1][1])
        if action == "unload" and candidate is not None:
            if now >= self._next:
                await self._unloading.unload(candidate, f"this machine runs out of memory: {why}")
                self._next = self._host.clock.monotonic() + HELD
        elif not self._said:
            self._said = True
            self._warn(why, candidate, binary=binary)

    def _candidate(self, sample: Sample) -> RunningModel | None:
        """The least recently used model in main memory that may go."""
        unified = any(gpu.unified for gpu in sample.gpus)
        found = [model for model in self._uses.here() if self._uses.idle(model) is not None and self._unloading.may(model)]
        found = [model for model in found if model.size and (unified or model.size > (model.vram or 0))]
        return min(found, key=self._uses.order, default=None)

    def _warn(self, why: str, candidate: RunningModel | None, *, binary: bool) -> None:
        self._tell("warned", "memory", why)
        remedy = ""
        if candidate is not None:
            idle = self._uses.ago(candidate)
            remedy = f". {candidate.name} has {size(candidate.size, binary=binary)} and is idle for {duration(idle)}: it could be unloaded"
        self._host.say(f"This machine runs out of memory: {why}{remedy}", Severity.WARNING)
