"""Processor, memory, disks and network, from psutil; figures the system does not give are None."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from tui.hardware.sample import Cpu, Disk, Memory, Network
from tui.text import clean_name

T = TypeVar("T")
_SENSORS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "acpitz")

_SHORTEST: Final = 0.2
"""Seconds; the kernel counts in hundredths."""


def _try(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (OSError, psutil.Error, NotImplementedError, ValueError, KeyError, AttributeError, IndexError, RuntimeError, ArithmeticError):
        return None


def _share(percent: float) -> float:
    return round(min(100.0, max(0.0, percent)), 1)


def _real(path: str) -> str | None:
    """The nearest existing parent: a models folder may not exist yet."""
    place = Path(os.path.abspath(path))  # noqa: PTH100 - a hanging link must not be followed
    while not place.exists():
        if place == place.parent:
            return None
        place = place.parent
    return str(place)


class Machine:
    """Measures what psutil knows; rates are between two calls.

    Args:
        disks: Folders whose filesystems are watched; two on one filesystem count once.
    """

    def __init__(self, disks: Iterable[str] = ()) -> None:
        self._disks = tuple(disks)
        self._sensor: tuple[str, bool] = ("", False)
        self._io: tuple[float, dict[str, Any]] | None = None
        self._net: tuple[float, int, int] | None = None
        _try(lambda: psutil.cpu_percent(percpu=True))
        self._cpu_at = time.monotonic()

    def cpu(self) -> Cpu:
        """Measure the processor since the last call; too short a time tells nothing about percents."""
        now = time.monotonic()
        cores: tuple[float, ...] = ()
        if now - self._cpu_at >= _SHORTEST:
            self._cpu_at = now
            cores = tuple(_share(value) for value in _try(lambda: psutil.cpu_percent(percpu=True)) or ())
        frequency = _try(psutil.cpu_freq) if (os.cpu_count() or 1) <= 64 else None  # reads one file a core
        return Cpu(
            percent=_share(sum(cores) / len(cores)) if cores else None,
            cores=cores,
            load=tuple(round(value, 2) for value in _try(os.getloadavg) or ()),
            frequency=round(frequency.current, 0) if frequency and frequency.current > 0 else None,
            temperature=self._temperature(),
        )

    def _temperature(self) -> float | None:
        name, searched = self._sensor
        if searched and not name:
            return None
        read = getattr(psutil, "sensors_temperatures", None)
        found: dict[str, list[Any]] = (_try(read) or {}) if read else {}
        if not searched:
            name = next((known for known in _SENSORS if known in found), "")
            self._sensor = (name, True)
        values = [item.current for item in found.get(name, []) if item.current is not None and 0 < item.current < 150]
        return round(max(values), 1) if values else None

    def memory(self) -> Memory:
        """Measure memory and swap."""
        main, swap = _try(psutil.virtual_memory), _try(psutil.swap_memory)
        return Memory(
            total=main.total if main else None,
            used=max(0, main.total - main.available) if main else None,
            swap_total=swap.total if swap else None,
            swap_used=swap.used if swap else None,
        )

    def disks(self) -> tuple[Disk, ...]:
        """Measure space of the watched folders and traffic of their devices since the last call."""
        now = time.monotonic()
        counters = (_try(lambda: psutil.disk_io_counters(perdisk=True, nowrap=True)) or {}) if self._disks else {}
        found: dict[int, Disk] = {}
        for path in self._disks:
            with contextlib.suppress(OSError):
                real = _real(path)
                if real is None:
                    continue
                device = Path(real).stat().st_dev
                if device in found:
                    continue
                space = os.statvfs(real)
                total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
                used = (space.f_blocks - space.f_bfree) * space.f_frsize
                read, write = self._traffic(device, counters, now)
                found[device] = Disk(clean_name(path), total, used, free, read, write)
        self._io = (now, counters)
        return tuple(found.values())

    def _traffic(self, device: int, counters: dict[str, Any], now: float) -> tuple[float | None, float | None]:
        link = _try(lambda: str(Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").readlink()))
        name = link.rsplit("/", 1)[-1] if link else ""
        if self._io is None or name not in counters or name not in self._io[1] or now <= self._io[0]:
            return None, None
        before, after, seconds = self._io[1][name], counters[name], now - self._io[0]
        return (
            round(max(0, after.read_bytes - before.read_bytes) / seconds),
            round(max(0, after.write_bytes - before.write_bytes) / seconds),
        )

    def network(self) -> Network:
        """Measure traffic of all interfaces but loopback since the last call."""
        counters = _try(lambda: psutil.net_io_counters(pernic=True, nowrap=True))
        if counters is None:
            return Network()
        mine = [item for name, item in counters.items() if not (name == "lo" or name.startswith("lo0"))]
        now, received, sent = time.monotonic(), sum(item.bytes_recv for item in mine), sum(item.bytes_sent for item in mine)
        before, self._net = self._net, (now, received, sent)
        if before is None or now <= before[0]:
            return Network()
        seconds = now - before[0]
        return Network(round(max(0, received - before[1]) / seconds), round(max(0, sent - before[2]) / seconds))
