"""Main memory and swap: who has how much, what goes to and fro, and how long something waited for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tui.hardware import reading
from tui.hardware.sample import Memory


class MainMemory:
    """Measures memory; rates are between two readings.

    Args:
        root: Where `/proc` is.
        clock: Monotonic seconds.
    """

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._before: tuple[float, int, int] | None = None

    def read(self) -> Memory:
        """Measure since the last reading."""
        if not reading.has_proc(self._root):
            from tui.hardware import elsewhere

            found, moved = elsewhere.memory()
            came, went = self._swapped(moved)
            return replace(found, swap_in=came, swap_out=went)
        some, full = reading.pressure(self._root, "memory")
        found = _memory(dict(reading.pairs(reading.text(self._root / "proc/meminfo"))))
        came, went = self._swapped(self._moved())
        return replace(found, pressure=some, pressure_full=full, swap_in=came, swap_out=went)

    def _moved(self) -> tuple[int, int] | None:
        """Bytes read from and written to swap since the start; the kernel counts pages."""
        counts = dict.fromkeys(("pswpin", "pswpout"), -1)
        for line in reading.text(self._root / "proc/vmstat").splitlines():
            if line.startswith("pswp"):
                name, _, value = line.partition(" ")
                counts[name] = reading.whole(value) or 0
        page = os.sysconf("SC_PAGE_SIZE")
        return None if min(counts.values()) < 0 else (counts["pswpin"] * page, counts["pswpout"] * page)

    def _swapped(self, moved: tuple[int, int] | None) -> tuple[float | None, float | None]:
        now, before = self._clock(), self._before
        self._before = (now, *moved) if moved is not None else None
        if moved is None or before is None or now <= before[0]:
            return None, None
        seconds = now - before[0]
        return reading.per_second(before[1], moved[0], seconds), reading.per_second(before[2], moved[1], seconds)


def _memory(kilobytes: dict[str, int]) -> Memory:
    """`/proc/meminfo`; kernels before 3.14 do not tell what is available."""
    known = {name: value * 1024 for name, value in kilobytes.items() if 0 <= value < 2**50}
    total, free = known.get("MemTotal"), known.get("MemFree")
    parts = [known[name] for name in ("Buffers", "Cached", "SReclaimable") if name in known]
    cache = max(0, sum(parts) - known.get("Shmem", 0)) if parts else None
    available = known.get("MemAvailable", None if free is None else free + (cache or 0))
    if total is not None and available is not None:
        available = min(available, total)
    swap, unused = known.get("SwapTotal"), known.get("SwapFree")
    return Memory(
        total=total,
        used=total - available if total is not None and available is not None else None,
        swap_total=swap,
        swap_used=max(0, swap - unused) if swap is not None and unused is not None else None,
        available=available,
        cache=cache if cache is None or total is None else min(cache, total),
    )
