"""GPUs of Apple's computers: what the I/O registry tells without root (`ioreg`), and how much memory they may wire (`sysctl`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tui.hardware.cadence import RETRY
from tui.hardware.nvml import whole, within, words
from tui.hardware.sample import Gpu
from tui.hardware.tools import run

_IOREG: Final = ("/usr/sbin/ioreg", "-r", "-c", "IOAccelerator", "-d", "1", "-w", "0", "-a")
_SYSCTL: Final = ("/usr/sbin/sysctl", "-n")
_PATIENCE: Final = 3.0


def find(root: Path = Path("/")) -> Apple | None:
    """The source, on macOS."""
    return Apple() if sys.platform == "darwin" and root == Path("/") else None


class Apple:
    """Reads the GPUs of an Apple computer; never raises.

    Args:
        ask: Runs a program and gives what it writes; for tests.
        clock: Monotonic seconds.
    """

    name = "IOKit"
    vendor = "apple"

    def __init__(self, ask: Callable[..., bytes] = run, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._limit: int | None = None
        self._memory: int | None = None
        self._limits_at = float("-inf")
        self.note = ""

    def read(self, wanted: frozenset[str] = frozenset()) -> tuple[Gpu, ...]:
        """Measure; `note` says why there is nothing, where there is nothing.

        Args:
            wanted: Nothing of it is told here.
        """
        self._look_at_limits()
        found = parse(self._ask(_IOREG, _PATIENCE), self._limit or self._memory)
        self.note = "" if found else "the I/O registry tells of no GPU"
        return found

    def _look_at_limits(self) -> None:
        now = self._clock()
        if now - self._limits_at < RETRY:
            return
        self._limits_at = now
        megabytes = self._number("iogpu.wired_limit_mb")
        self._limit = megabytes * 2**20 if megabytes else None  # 0: what the system thinks right
        self._memory = self._number("hw.memsize") or None

    def _number(self, name: str) -> int | None:
        told = self._ask((*_SYSCTL, name), _PATIENCE).strip()
        return whole(int(told)) if told.isdigit() and len(told) < 20 else None


def parse(answer: bytes, memory: int | None) -> tuple[Gpu, ...]:
    """Read what `ioreg -a` writes.

    Args:
        answer: A property list of accelerators.
        memory: Bytes that a GPU may use of main memory, or all of it where it has no limit.
    """
    import plistlib  # 8 ms, only on a Mac

    try:
        found = plistlib.loads(answer) if answer else []
    except Exception:  # the parser raises whatever its parts do
        return ()
    told = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
    return tuple(_gpu(index, one, memory) for index, one in enumerate(told[:16]))


def _gpu(index: int, told: Mapping[str, Any], memory: int | None) -> Gpu:
    figures = told.get("PerformanceStatistics")
    figures = figures if isinstance(figures, Mapping) else {}
    shared = "In use system memory" in figures or "vramUsedBytes" not in figures
    used = whole(figures.get("In use system memory" if shared else "vramUsedBytes"))
    free = whole(figures.get("vramFreeBytes"))
    total = memory if shared else used + free if used is not None and free is not None else None
    cores = whole(told.get("gpu-core-count"), 1, 10_000)
    name = words(told.get("model")) or words(told.get("IOClass"))
    return Gpu(
        uuid=f"apple-{index}",
        index=index,
        name=f"{name}, {cores} cores" if cores and name else name,
        source=Apple.name,
        percent=within(figures.get("Device Utilization %"), 0, 100),
        memory_total=total,
        memory_used=used if used is None or total is None or used <= total else None,
        unified=shared,
        temperature=_positive(figures.get("Temperature(C)")),
        power=_positive(figures.get("Total Power(W)")),
        clock=_positive(figures.get("Core Clock(MHz)")),
    )


def _positive(raw: object) -> float | None:
    """Only cards of other makers tell these."""
    return within(raw, 1, 100_000)
