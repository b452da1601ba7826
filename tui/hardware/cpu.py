"""The processor: use, load, frequency, temperature, and how long something waited for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tui.hardware import reading
from tui.hardware.reading import SLOW, share
from tui.hardware.sample import Cpu

_SHORTEST: Final = 0.2
"""Seconds; the kernel counts in hundredths."""
_AT_ONCE: Final = 16
"""Frequencies that are read each time: one file a core, which costs on large machines."""
_SENSORS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "scpi_sensors", "acpitz")
_ZONES: Final = ("x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal", "CPU-therm", "acpitz")
_PACKAGES: Final = ("Package", "Tctl", "Tdie", "CPU")

Times = list[int]


class Processor:
    """Measures the processor; percents are between two readings.

    Args:
        root: Where `/proc` and `/sys` are.
        clock: Monotonic seconds.
    """

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._proc = reading.has_proc(root)
        self._at = float("-inf")
        self._times: dict[str, Times] = {}
        self._looked = float("-inf")
        self._physical: tuple[int, int | None] = (0, None)
        self._policies: list[str] = []
        self._turn = 0
        self._fixed: float | None = None
        self._fastest: float | None = None
        self._sensors: list[str] = []

    def read(self, cores: bool = False) -> Cpu:
        """Measure since the last reading; too short a time tells nothing about percents.

        Args:
            cores: Also of each core, from the second reading on.
        """
        now = self._clock()
        count, all_of_them, each = self._use(now, cores)
        load = self._load()
        if not self._proc:
            from tui.hardware import elsewhere

            speed, fastest = elsewhere.frequency()
            return Cpu(all_of_them, each, load, speed, None, count, elsewhere.physical(), fastest)
        if now - self._looked >= SLOW:
            self._looked = now
            self._look()
        if count != self._physical[0]:
            self._physical = (count or 0, self._cores())
        return Cpu(
            percent=all_of_them,
            cores=each,
            load=load,
            frequency=self._frequency(),
            temperature=self._temperature(),
            count=count,
            physical=self._physical[1],
            frequency_max=self._fastest,
            pressure=reading.pressure(self._root, "cpu")[0],
        )

    def _use(self, now: float, cores: bool) -> tuple[int | None, float | None, tuple[float, ...]]:
        if self._proc:
            count, times = _stat(reading.text(self._root / "proc/stat"), cores)
        else:
            from tui.hardware import elsewhere

            count, times = elsewhere.times(cores)
        if now - self._at < _SHORTEST:
            return count, None, ()
        self._at = now
        before, self._times = self._times, times
        all_of_them = _percent(before.get("cpu"), times.get("cpu"))
        each = (_percent(before.get(name), found) for name, found in times.items() if name != "cpu")
        return count, all_of_them, tuple(value for value in each if value is not None)

    def _load(self) -> tuple[float, ...]:
        if not self._proc:
            try:
                return tuple(round(value, 2) for value in os.getloadavg())
            except (OSError, AttributeError):
                return ()
        words = [reading.decimal(word) for word in reading.text(self._root / "proc/loadavg", 256).split()[:3]]
        found = tuple(round(word, 2) for word in words if word is not None and word >= 0)
        return found if len(found) == 3 else ()

    def _look(self) -> None:
        """What hardly ever changes: which files to read, the highest frequency."""
        folder = f"{self._root}/sys/devices/system/cpu/cpufreq"
        policies = sorted((name for name in reading.names(folder) if name.startswith("policy")), key=lambda name: (len(name), name))
        self._policies = [f"{folder}/{name}" for name in policies]
        spread = self._policies[:: max(1, len(self._policies) // _AT_ONCE)]
        fastest = [_mhz(reading.number(f"{policy}/cpuinfo_max_freq")) for policy in spread]
        self._fastest = max((speed for speed in fastest if speed is not None), default=None)
        self._fixed = None if self._policies else _cpuinfo(reading.text(self._root / "proc/cpuinfo"))
        self._sensors = _sensors(self._root)

    def _frequency(self) -> float | None:
        """Mean over the cores; on large machines over some of them, others each time."""
        step = max(1, -(-len(self._policies) // _AT_ONCE))
        self._turn = (self._turn + 1) % step
        found = [_mhz(reading.number(f"{policy}/scaling_cur_freq")) for policy in self._policies[self._turn :: step]]
        known = [speed for speed in found if speed is not None]
        return round(sum(known) / len(known)) if known else self._fixed

    def _temperature(self) -> float | None:
        found = [reading.number(sensor) for sensor in self._sensors]
        known = [value / 1000 for value in found if value is not None and 0 < value < 150_000]
        return round(max(known), 1) if known else None

    def _cores(self) -> int | None:
        """Each core is named by the list of its threads."""
        folder = f"{self._root}/sys/devices/system/cpu"
        each = (
            reading.text(f"{folder}/{name}/topology/thread_siblings_list", 4096).strip()
            for name in reading.names(folder)
            if name[:3] == "cpu" and name[3:].isdecimal()
        )
        return len({threads for threads in each if threads}) or None


def _stat(lines: str, cores: bool) -> tuple[int | None, dict[str, Times]]:
    """`/proc/stat`: how many cores run, and the times by `cpu` and, where wanted, `cpu0`, `cpu1` …."""
    found: dict[str, Times] = {}
    for line in lines.splitlines() if cores else lines.splitlines()[:1]:
        if line[:3] != "cpu":
            break
        name, *words = line.split()
        times = [reading.whole(word) for word in words[:8]]  # guests' time is in their host's
        if len(times) >= 4 and None not in times:
            found[name] = [value or 0 for value in times]
    return lines.count("\ncpu") or None, found


def _percent(before: Times | None, after: Times | None) -> float | None:
    if before is None or after is None:
        return None
    spent = [max(0, new - old) for old, new in zip(before, after, strict=False)]  # a core that was away counts anew
    idle = sum(spent[3:5])
    return share(100 * (sum(spent) - idle) / sum(spent)) if sum(spent) else None


def _mhz(khz: int | None) -> float | None:
    return khz / 1000 if khz is not None and 0 < khz < 100_000_000 else None


def _cpuinfo(lines: str) -> float | None:
    """Machines without frequency scaling, most of them virtual, tell one that never changes."""
    words = (line.partition(":")[2] for line in lines.splitlines() if line.startswith("cpu MHz"))
    known = [value for value in map(reading.decimal, words) if value is not None and 0 < value < 100_000]
    return round(sum(known) / len(known)) if known else None


def _sensors(root: Path) -> list[str]:
    """The files with the temperature of the processor: of its packages where they are told, else of all its parts."""
    chips: dict[str, list[str]] = {}
    for name in reading.names(root / "sys/class/hwmon"):
        folder = f"{root}/sys/class/hwmon/{name}"
        chips.setdefault(reading.text(f"{folder}/name", 64).strip(), []).append(folder)
    known = next((name for name in _SENSORS if name in chips), None)
    if known is not None:
        parts = [f"{folder}/{part[:-6]}" for folder in chips[known] for part in reading.names(folder) if part.endswith("_input")]
        parts = [part for part in parts if "/temp" in part]
        whole = [part for part in parts if reading.text(f"{part}_label", 64).startswith(_PACKAGES)]
        if parts:
            return [f"{part}_input" for part in whole or parts]
    zones = [f"{root}/sys/class/thermal/{name}" for name in reading.names(root / "sys/class/thermal") if name.startswith("thermal_zone")]
    kinds = {zone: reading.text(f"{zone}/type", 64).strip() for zone in zones}
    kind = next((kind for kind in _ZONES if kind in kinds.values()), None)
    return [f"{zone}/temp" for zone in zones if kind is not None and kinds[zone] == kind]
