"""Calls of NVIDIA's management library, and what its answers mean. Codes and bits as in nvml.h."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from tui.hardware.sample import GpuProcess, MigInstance
from tui.text import clean_label, clean_name

UNSUPPORTED_AGAIN: Final = 600.0
"""Seconds before a figure that a card does not have is asked for again."""
PROCESS_LIMIT: Final = 4096
_GONE: Final = (15, 16, 21)  # GPU_IS_LOST, RESET_REQUIRED, IN_USE by a reset
_NEVER: Final = (2, 3, 4, 13, 25)  # INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH
NOT_SUPPORTED: Final = 3
NOT_FOUND: Final = 6
_NOTES: Final = {
    2: "the GPU driver gives no data to this user",
    4: "no permission to ask the GPU driver",
    8: "a GPU has no power: check its cables",
    9: "the NVIDIA driver is not loaded",
    12: "the NVIDIA driver's library (libnvidia-ml.so.1) is not installed",
    13: "the NVIDIA driver is too old for these figures",
    15: "the GPU is lost: it fell off the bus; reboot, or reset it",
    16: "the GPU needs a reset",
    17: "the NVIDIA driver stopped the GPU's control device",
    18: "driver and library versions differ; reboot or reload the driver",
    21: "the GPU is being reset",
}
_UNKNOWN: Final = (0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
_THERMAL: Final = 0x20 | 0x40  # SW_THERMAL_SLOWDOWN, HW_THERMAL_SLOWDOWN
_POWER: Final = 0x04 | 0x80  # SW_POWER_CAP, HW_POWER_BRAKE_SLOWDOWN
_HARDWARE: Final = 0x08  # HW_SLOWDOWN; set beside the two above, too
_NONE: Final = 0x01 | 0x02 | 0x100  # idle, clocks that somebody chose, a display's clock
_PROFILE: Final = re.compile(r"\bMIG\s+(\S+)")
_LISTS: Final = tuple(f"nvmlDeviceGet{kind}RunningProcesses" for kind in ("Compute", "Graphics", "MPSCompute"))


class Lost(Exception):
    """The driver says that the card is gone."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def code_of(error: BaseException) -> int:
    """The driver's number for what went wrong; 999 (unknown) for anything else."""
    value = getattr(error, "value", None)
    return value if isinstance(value, int) else 999


def sentence(code: int) -> str:
    """What a code means, in words."""
    return _NOTES.get(code, f"the GPU driver refused (code {code})")


def words(raw: object, limit: int = 96) -> str:
    """A name or identifier of the driver, cleaned; empty where there is none."""
    if raw is None:
        return ""
    return clean_label(clean_name(raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw), limit), limit)


def within(raw: object, low: float, high: float) -> float | None:
    """A figure, or None where it is "not available" or cannot be."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or raw in _UNKNOWN or not low <= raw <= high:
        return None
    return float(raw)


def whole(raw: object, low: int = 0, high: int = 2**60) -> int | None:
    """The same for whole numbers: bytes and counts."""
    found = within(raw, low, high)
    return None if found is None else int(found)


def memory(raw: object) -> tuple[int | None, int | None]:
    """Total and used bytes of a memory structure; what cannot be is None."""
    total, used = whole(getattr(raw, "total", None)), whole(getattr(raw, "used", None))
    if not total or (used is not None and used > total):
        return total or None, None
    return total, used


def reasons(bits: object) -> tuple[str, ...]:
    """Why a card runs slower than it could, out of its clocks' event reasons."""
    if isinstance(bits, bool) or not isinstance(bits, int) or bits in _UNKNOWN or bits < 0:
        return ()
    found = [name for name, mask in (("thermal", _THERMAL), ("power", _POWER)) if bits & mask]
    if bits & _HARDWARE and not found:
        found.append("hardware")
    if bits & ~(_THERMAL | _POWER | _HARDWARE | _NONE):
        found.append("other")
    return tuple(found)


class Calls:
    """The library's functions: nothing but a lost card raises, and what a card does not support is not asked for each time.

    Args:
        library: The `pynvml` module, or what stands in for it.
        clock: Monotonic seconds.
    """

    def __init__(self, library: Any, clock: Callable[[], float]) -> None:
        self.library = library
        self._clock = clock
        self._without: dict[tuple[str, str, tuple[Any, ...]], tuple[float, int]] = {}

    def ask(self, card: str, function: str, *arguments: Any, apart: bool = True) -> Any:
        """Ask about a card; None where the function or its answer is missing.

        Args:
            card: Names the card (or instance) for what it does not support.
            function: Of the library.
            arguments: Its own; the handle first.
            apart: What is not supported may differ by the arguments after the handle.

        Raises:
            Lost: The card is gone.
        """
        key = (card, function, arguments[1:] if apart else ())
        since = self._without.get(key)
        if since is not None and self._clock() - since[0] < UNSUPPORTED_AGAIN:
            return None
        try:
            found = getattr(self.library, function)(*arguments)
        except UnicodeDecodeError as error:  # a name that is not text: cleaned by whoever shows it
            return error.object
        except Exception as error:  # the library's own kinds, ctypes', or none of its functions
            code = 13 if isinstance(error, AttributeError) else code_of(error)
            if code in _GONE:
                raise Lost(code) from None
            if code in _NEVER:
                self._without[key] = (self._clock(), code)
            return [] if code == NOT_FOUND else None
        self._without.pop(key, None)
        return found

    def first(self, card: str, functions: Iterable[str], *arguments: Any) -> Any:
        """The answer of the first of these functions that has one; older drivers have older ones."""
        for function in functions:
            found = self.ask(card, function, *arguments)
            if found is not None:
                return found
        return None

    def unsupported(self, card: str, function: str) -> bool:
        """Whether the card itself said that it has no such figure."""
        return self._without.get((card, function, ()), (0.0, 0))[1] == NOT_SUPPORTED

    def forget(self, card: str) -> None:
        """A card that is not there any more has no shortcomings to remember."""
        for key in [key for key in self._without if key[0] == card]:
            del self._without[key]


def processes(calls: Calls, card: str, handle: Any, instance: str = "") -> dict[int, GpuProcess]:
    """Every process that holds memory of a card or instance; one that is in several lists is told once, with its largest figure."""
    found: dict[int, GpuProcess] = {}
    for name in _LISTS:
        for item in calls.first(card, (name, f"{name}_v2"), handle) or ():
            pid = getattr(item, "pid", None)
            if not isinstance(pid, int) or not 0 < pid < 2**31 or len(found) >= PROCESS_LIMIT:
                continue
            held, before = whole(getattr(item, "usedGpuMemory", None)), found.get(pid)
            if before is None or (held or 0) > (before.memory or 0):
                found[pid] = GpuProcess(pid, held, instance=instance)
    return found


def shares(calls: Calls, card: str, handle: Any, since: int) -> tuple[dict[int, float | None] | None, int]:
    """Mean use of the card by each process since a moment, and the moment of the newest figure.

    Args:
        calls: The library.
        card: Its name.
        handle: Its handle.
        since: Microseconds since 1970, as the driver counts.

    Returns:
        Percent by pid of those that did something, None where the card does not tell it; and what to give as `since` the next time.
    """
    samples = calls.ask(card, "nvmlDeviceGetProcessUtilization", handle, since, apart=False)
    if samples is None:
        return None, since
    sums: dict[int, list[float]] = {}
    newest = since
    for item in samples:
        pid, at, used = getattr(item, "pid", None), getattr(item, "timeStamp", 0), within(getattr(item, "smUtil", None), 0, 100)
        if isinstance(pid, int) and pid > 0 and isinstance(at, int) and at > since:
            sums.setdefault(pid, []).extend([] if used is None else [used])
            newest = max(newest, at)
    return {pid: round(sum(figures) / len(figures), 1) if figures else None for pid, figures in sums.items()}, newest


def instances(calls: Calls, card: str, handle: Any) -> tuple[tuple[MigInstance, Any], ...]:
    """The MIG instances of a card with their handles; none where it is not divided."""
    mode = calls.ask(card, "nvmlDeviceGetMigMode", handle)
    if not mode or mode[0] != 1:
        return ()
    found = []
    for index in range(min(whole(calls.ask(card, "nvmlDeviceGetMaxMigDeviceCount", handle)) or 0, 16)):
        part = calls.ask(card, "nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        if not part:
            continue
        uuid = words(calls.ask(card, "nvmlDeviceGetUUID", part)) or f"{card} part {index}"
        name = words(calls.ask(uuid, "nvmlDeviceGetName", part))
        profile = _PROFILE.search(name)
        total, used = memory(calls.ask(uuid, "nvmlDeviceGetMemoryInfo", part))
        found.append((MigInstance(uuid, profile[1] if profile else name, total, used), part))
    return tuple(found)
