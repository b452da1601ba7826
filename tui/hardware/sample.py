"""One measurement of this machine, and its line of JSON between the sampler and the app.

Every figure may be None: not available here, or not now.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from tui.core.record import record
from tui.text import clean_label, clean_name

VERSION: Final = 1
LINE_LIMIT: Final = 262_144
"""Bytes a line may have."""


@record(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        percent: Of all cores together, 0 to 100.
        cores: Percent of each core.
        load: Averages over 1, 5 and 15 minutes.
        frequency: MHz.
        temperature: Celsius, of the package.
    """

    percent: float | None = None
    cores: tuple[float, ...] = ()
    load: tuple[float, ...] = ()
    frequency: float | None = None
    temperature: float | None = None


@record(frozen=True)
class Memory:
    """Main memory and swap, bytes; `used` is what is not available to programs."""

    total: int | None = None
    used: int | None = None
    swap_total: int | None = None
    swap_used: int | None = None


@record(frozen=True)
class Disk:
    """The filesystem that holds `path`: bytes, and bytes a second of its device."""

    path: str
    total: int | None = None
    used: int | None = None
    free: int | None = None
    read: float | None = None
    write: float | None = None


@record(frozen=True)
class Network:
    """All interfaces but loopback, bytes a second."""

    received: float | None = None
    sent: float | None = None


@record(frozen=True)
class GpuProcess:
    """A process on a GPU: its id and bytes of GPU memory."""

    pid: int
    memory: int | None = None


@record(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        uuid: Stable across reboots; rows follow it, not the index.
        index: The driver's number.
        percent: Share of the last moments in which something ran.
        memory_total: Bytes.
        memory_used: Bytes.
        temperature: Celsius.
        power: Watts.
        power_limit: Watts.
        clock: MHz of the processors.
        memory_clock: MHz.
        processes: Those that hold memory, as far as the driver tells.
        lost: The driver says that the card is gone; `note` says so in words.
    """

    uuid: str
    index: int
    name: str = ""
    percent: float | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    temperature: float | None = None
    power: float | None = None
    power_limit: float | None = None
    clock: float | None = None
    memory_clock: float | None = None
    processes: tuple[GpuProcess, ...] = ()
    lost: bool = False
    note: str = ""


@record(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        time: Seconds since 1970, UTC.
        seconds: Since the measurement before; None for the first, whose rates are missing.
        gpu_note: Why there is no GPU data, one sentence; empty where there is, or where none is wanted.
    """

    time: float
    seconds: float | None = None
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    disks: tuple[Disk, ...] = ()
    network: Network = Network()
    gpus: tuple[Gpu, ...] = ()
    gpu_note: str = ""


def format_sample(sample: Sample) -> bytes:
    """Write a sample as its line."""
    return json.dumps({"v": VERSION, **asdict(sample)}, separators=(",", ":"), allow_nan=False).encode() + b"\n"


class _Bad(ValueError):
    pass


def _figure(raw: Any, low: float, high: float) -> float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not math.isfinite(raw) or not low <= raw <= high:
        raise _Bad
    return float(raw)


def _optional(low: float, high: float) -> Callable[[Any], float | None]:
    return lambda raw: None if raw is None else _figure(raw, low, high)


def _whole(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw < 2**63:
        raise _Bad
    return raw


def _bytes(raw: Any) -> int | None:
    return None if raw is None else _whole(raw)


def _name(raw: Any) -> str:
    if not isinstance(raw, str):
        raise _Bad
    return clean_name(raw)


def _sentence(raw: Any) -> str:
    if not isinstance(raw, str):
        raise _Bad
    return clean_label(raw)


def _switch(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise _Bad
    return raw


def _list(item: Callable[[Any], Any], limit: int) -> Callable[[Any], tuple[Any, ...]]:
    def read(raw: Any) -> tuple[Any, ...]:
        if not isinstance(raw, list) or len(raw) > limit:
            raise _Bad
        return tuple(item(part) for part in raw)

    return read


def _object(made: Callable[..., Any], readers: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        if not isinstance(raw, dict):
            raise _Bad
        return made(**{name: reader(raw[name]) for name, reader in readers.items()})

    return read


_PERCENT: Final = _optional(0, 100)
_RATE: Final = _optional(0, 1e15)
_DEGREES: Final = _optional(-100, 300)
_CPU: Final = _object(
    Cpu,
    {
        "percent": _PERCENT,
        "cores": _list(lambda raw: _figure(raw, 0, 100), 8192),
        "load": _list(lambda raw: _figure(raw, 0, 1e9), 3),
        "frequency": _RATE,
        "temperature": _DEGREES,
    },
)
_MEMORY: Final = _object(Memory, {"total": _bytes, "used": _bytes, "swap_total": _bytes, "swap_used": _bytes})
_DISK: Final = _object(Disk, {"path": _name, "total": _bytes, "used": _bytes, "free": _bytes, "read": _RATE, "write": _RATE})
_PROCESS: Final = _object(GpuProcess, {"pid": _whole, "memory": _bytes})
_GPU: Final = _object(
    Gpu,
    {
        "uuid": _name,
        "index": _whole,
        "name": _name,
        "percent": _PERCENT,
        "memory_total": _bytes,
        "memory_used": _bytes,
        "temperature": _DEGREES,
        "power": _RATE,
        "power_limit": _RATE,
        "clock": _RATE,
        "memory_clock": _RATE,
        "processes": _list(_PROCESS, 4096),
        "lost": _switch,
        "note": _sentence,
    },
)
_SAMPLE: Final = _object(
    Sample,
    {
        "time": lambda raw: _figure(raw, 0, 1e11),
        "seconds": _RATE,
        "cpu": _CPU,
        "memory": _MEMORY,
        "disks": _list(_DISK, 64),
        "network": _object(Network, {"received": _RATE, "sent": _RATE}),
        "gpus": _list(_GPU, 256),
        "gpu_note": _sentence,
    },
)


def parse_sample(line: bytes) -> Sample | None:
    """Read a line of the sampler; None for anything that is not exactly one whole sample."""
    if len(line) > LINE_LIMIT:
        return None
    try:
        raw = json.loads(line)
        if not isinstance(raw, dict) or raw.get("v") != VERSION:
            return None
        found = _SAMPLE(raw)
    except (ValueError, KeyError, RecursionError, OverflowError):
        return None
    return found if isinstance(found, Sample) else None
