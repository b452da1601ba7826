"""NVIDIA GPUs through NVML (the `pynvml` module of nvidia-ml-py), imported on first use.

A call may hang or crash inside the driver: use this in the sampler's process only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tui.hardware.sample import Gpu, GpuProcess
from tui.text import clean_label, clean_name

RETRY: Final = 60.0
"""Seconds before a lost card, or a driver that refused, is asked again."""
_GONE: Final = (15, 16, 21)  # GPU_IS_LOST, RESET_REQUIRED, IN_USE by a reset (nvml.h, nvmlReturn_t)
_NOTES: Final = {
    2: "the GPU driver gives no data to this user",
    4: "no permission to ask the GPU driver",
    8: "a GPU has no power: check its cables",
    9: "the NVIDIA driver is not loaded",
    12: "the NVIDIA driver is not installed",
    15: "the GPU is lost: it fell off the bus; reboot, or reset it",
    16: "the GPU needs a reset",
    17: "the NVIDIA driver stopped the GPU's control device",
    18: "driver and library versions differ: reboot, or reload the driver",
}
_UNKNOWN_32: Final = 0xFFFF_FFFF
_UNKNOWN_64: Final = 0xFFFF_FFFF_FFFF_FFFF


def _code(error: BaseException) -> int:
    value = getattr(error, "value", None)
    return value if isinstance(value, int) else 999


def _text(raw: object) -> str:
    return clean_name(raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw), 96)


def _within(raw: object, low: float, high: float) -> float | None:
    known = isinstance(raw, (int, float)) and not isinstance(raw, bool) and raw not in (_UNKNOWN_32, _UNKNOWN_64)
    return float(raw) if known and low <= raw <= high else None  # type: ignore[arg-type, operator]


def _memory(raw: object) -> int | None:
    found = _within(raw, 0, 2**60)
    return None if found is None else int(found)


def find(root: Path = Path("/")) -> Nvidia | None:
    """The source, where something suggests an NVIDIA driver."""
    return Nvidia()


class Nvidia:
    """Reads all NVIDIA GPUs; never raises.

    Args:
        load: Imports the library; for tests.
        clock: Monotonic seconds.
    """

    name = "NVML"

    def __init__(self, load: Callable[[], Any] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load or _import
        self._clock = clock
        self._library: Any = None
        self._absent = False
        self._asked_at: float | None = None
        self._lost: dict[int, tuple[float, Gpu]] = {}
        self._known: dict[int, Gpu] = {}
        self.note = ""

    def read(self, wanted: frozenset[str] = frozenset()) -> tuple[Gpu, ...]:
        """Measure; `note` says why there is nothing, where there is nothing."""
        if not self._ready():
            return ()
        count = self._ask("nvmlDeviceGetCount")
        if not isinstance(count, int):
            self._give_up("the GPU driver does not count its GPUs")
            return ()
        self.note = "" if count else "no NVIDIA GPU"
        found = [self._gpu(index) for index in range(min(count, 256))]
        return tuple(sorted(found, key=lambda gpu: gpu.index))

    def _ready(self) -> bool:
        if self._library is not None:
            return True
        now = self._clock()
        if self._absent or (self._asked_at is not None and now - self._asked_at < RETRY):
            return False
        self._asked_at = now
        try:
            library = self._load()
        except ImportError:
            self._absent, self.note = True, "the library nvidia-ml-py is not installed"
            return False
        except Exception:  # a broken installation may raise anything
            self._absent, self.note = True, "the library nvidia-ml-py cannot be loaded"
            return False
        try:
            library.nvmlInit()
        except Exception as error:  # the library raises its own kinds, and ctypes' where the driver is odd
            code = _code(error)
            self.note = _NOTES.get(code, f"the GPU driver refused to start (code {code})")
            return False
        self._library = library
        return True

    def _give_up(self, note: str) -> None:
        library, self._library, self.note = self._library, None, note
        self._asked_at = self._clock()
        try:
            library.nvmlShutdown()
        except Exception:  # nothing is left to do for a driver in that state
            return

    def _ask(self, function: str, *arguments: Any) -> Any:
        """Call the library; None where the function or its answer is missing. A lost card raises."""
        try:
            return getattr(self._library, function)(*arguments)
        except Exception as error:
            if _code(error) in _GONE:
                raise _Lost(_code(error)) from None
            return None

    def _gpu(self, index: int) -> Gpu:
        now = self._clock()
        since, last = self._lost.get(index, (None, None))
        if since is not None and last is not None and now - since < RETRY:
            return last
        try:
            gpu = self._measure(index)
        except _Lost as lost:
            before = self._known.get(index)
            note = _NOTES.get(lost.code, "the GPU does not answer")
            gpu = Gpu(before.uuid if before else f"index {index}", index, before.name if before else "", lost=True, note=note)
            self._lost[index] = (now, gpu)
            return gpu
        self._lost.pop(index, None)
        self._known[index] = gpu
        return gpu

    def _measure(self, index: int) -> Gpu:
        handle = self._ask("nvmlDeviceGetHandleByIndex", index)
        if handle is None:
            return Gpu(f"index {index}", index, note="the driver does not give access to this GPU")
        library = self._library
        uuid = self._ask("nvmlDeviceGetUUID", handle)
        name = self._ask("nvmlDeviceGetName", handle)
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        total, used = _memory(getattr(memory, "total", None)), _memory(getattr(memory, "used", None))
        if not total or (used is not None and used > total):
            total, used = total or None, None
        rates = self._ask("nvmlDeviceGetUtilizationRates", handle)
        power = _within(self._ask("nvmlDeviceGetPowerUsage", handle), 0, 10_000_000)
        limit = _within(self._ask("nvmlDeviceGetEnforcedPowerLimit", handle), 1, 10_000_000)
        return Gpu(
            uuid=_text(uuid) if uuid else f"index {index}",
            index=index,
            name=clean_label(_text(name), 96) if name else "",
            percent=_within(getattr(rates, "gpu", None), 0, 100),
            memory_total=total,
            memory_used=used,
            temperature=_within(self._ask("nvmlDeviceGetTemperature", handle, getattr(library, "NVML_TEMPERATURE_GPU", 0)), 0, 200),
            power=None if power is None else round(power / 1000, 1),
            power_limit=None if limit is None else round(limit / 1000, 1),
            clock=_within(self._ask("nvmlDeviceGetClockInfo", handle, getattr(library, "NVML_CLOCK_SM", 1)), 0, 100_000),
            memory_clock=_within(self._ask("nvmlDeviceGetClockInfo", handle, getattr(library, "NVML_CLOCK_MEM", 2)), 0, 100_000),
            processes=self._processes(handle),
        )

    def _processes(self, handle: Any) -> tuple[GpuProcess, ...]:
        found: dict[int, GpuProcess] = {}
        for function in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            for item in self._ask(function, handle) or ():
                pid = getattr(item, "pid", None)
                if isinstance(pid, int) and 0 < pid < 2**31:
                    found[pid] = GpuProcess(pid, _memory(getattr(item, "usedGpuMemory", None)))
        return tuple(found.values())[:4096]


class _Lost(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _import() -> Any:
    import pynvml  # 42 ms and 2 MB, only where it is wanted

    return pynvml
