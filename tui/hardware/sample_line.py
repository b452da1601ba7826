"""A sample as the one line of JSON between the sampler and whoever reads it, read as strictly as what comes from a server."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from tui.hardware.sample import (
    Cgroup,
    Cpu,
    Disk,
    Gpu,
    GpuProcess,
    MachineProcess,
    Memory,
    MigInstance,
    Network,
    Power,
    Sample,
    Source,
)
from tui.text import clean_label, clean_name

VERSION: Final = 2
LINE_LIMIT: Final = 524_288
"""Bytes a line may have."""


def format_sample(sample: Sample) -> bytes:
    """Write a sample as its line."""
    return json.dumps({"v": VERSION, **vars(sample)}, separators=(",", ":"), allow_nan=False, default=vars).encode() + b"\n"


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


def _count(raw: Any) -> int | None:
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


def _maybe(reader: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda raw: None if raw is None else reader(raw)


_PERCENT: Final = _optional(0, 100)
_RATE: Final = _optional(0, 1e15)
_DEGREES: Final = _optional(-100, 300)
_CPU: Final = _object(
    Cpu,
    {
        "percent": _PERCENT,
        "cores": _list(lambda raw: _figure(raw, 0, 100), 8192),
        "count": _count,
        "physical": _count,
        "load": _list(lambda raw: _figure(raw, 0, 1e9), 3),
        "frequency": _RATE,
        "frequency_max": _RATE,
        "temperature": _DEGREES,
        "pressure": _PERCENT,
    },
)
_MEMORY: Final = _object(
    Memory,
    dict.fromkeys(("total", "used", "available", "cache", "swap_total", "swap_used"), _count)
    | {"swap_in": _RATE, "swap_out": _RATE, "pressure": _PERCENT, "pressure_full": _PERCENT},
)
_DISK: Final = _object(Disk, {"path": _name, "total": _count, "used": _count, "free": _count, "read": _RATE, "write": _RATE})
_CGROUP: Final = _object(
    Cgroup,
    {"version": _whole, "memory_limit": _count, "memory_used": _count, "cpu_limit": _RATE, "cpu_percent": _PERCENT},
)
_POWER: Final = _object(Power, {"on_battery": _maybe(_switch), "battery": _PERCENT, "profile": _name})
_MACHINE_PROCESS: Final = _object(
    MachineProcess, {"pid": _whole, "name": _name, "user": _name, "memory": _whole, "percent": _optional(0, 1e6)}
)
_PROCESS: Final = _object(
    GpuProcess, {"pid": _whole, "memory": _count, "percent": _PERCENT, "name": _name, "user": _name, "instance": _name}
)
_MIG: Final = _object(MigInstance, {"uuid": _name, "name": _name, "memory_total": _count, "memory_used": _count})
_GPU: Final = _object(
    Gpu,
    {
        "uuid": _name,
        "index": _whole,
        "name": _name,
        "source": _name,
        "percent": _PERCENT,
        "memory_total": _count,
        "memory_used": _count,
        "memory_percent": _PERCENT,
        "temperature": _DEGREES,
        "power": _RATE,
        "power_limit": _RATE,
        "fan": _PERCENT,
        "clock": _RATE,
        "clock_max": _RATE,
        "memory_clock": _RATE,
        "pcie_generation": _count,
        "pcie_generation_max": _count,
        "pcie_width": _count,
        "pcie_width_max": _count,
        "pcie_received": _RATE,
        "pcie_sent": _RATE,
        "throttle": _list(_name, 16),
        "ecc_corrected": _count,
        "ecc_uncorrected": _count,
        "mig": _list(_MIG, 16),
        "processes": _list(_PROCESS, 4096),
        "hidden": _whole,
        "unified": _switch,
        "lost": _switch,
        "note": _sentence,
    },
)
_SOURCE: Final = _object(Source, {"name": _name, "seconds": _RATE, "every": _RATE, "silent": _RATE, "note": _sentence})
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "time": lambda raw: _figure(raw, 0, 1e11),
    "seconds": _RATE,
    "cpu": _CPU,
    "memory": _MEMORY,
    "disks": _list(_DISK, 64),
    "network": _object(Network, {"received": _RATE, "sent": _RATE}),
    "gpus": _list(_GPU, 256),
    "gpu_note": _sentence,
    "cgroup": _maybe(_CGROUP),
    "power": _maybe(_POWER),
    "processes": _list(_MACHINE_PROCESS, 256),
    "hidden_processes": _whole,
    "sources": _list(_SOURCE, 64),
}
_SAMPLE: Final = _object(Sample, _READERS)


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
