"""Who uses a GPU: what the kernel tells of each open file of a graphics device (Documentation/gpu/drm-usage-stats.rst).

Only files of processes that this account may look into can be read: those of others are missing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tui.core.record import record
from tui.hardware.cadence import PROCESSES, PROCESSES_UNSEEN, SEARCH, SEARCH_SHARE, SEARCH_UNSEEN
from tui.hardware.reading import names, raw
from tui.hardware.sample import GpuProcess

_DEVICES: Final = ("/dev/dri/", "/dev/accel/")
_UNITS: Final = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_FIGURE: Final = re.compile(r"(\d{1,20})\s*([A-Za-z]*)")
_BEST: Final = ("resident", "memory", "total")
"""Which figure of a memory region is taken, the first that is told."""
_FILES: Final = 4096


@record(frozen=True)
class Client:
    """One user of a device, as one of its files tells.

    Attributes:
        device: Its place on the bus, or empty.
        number: The kernel's number of this user of that device; files that share it are one user.
        busy: Nanoseconds (or cycles) each engine has worked for it.
        clock: For engines counted in cycles: cycles that have gone by.
        capacity: Engines of each kind, where there is more than one.
        memory: Bytes by region, as in `vram`, `local0`, `gtt`, `system`.
    """

    driver: str
    device: str
    number: str
    busy: dict[str, int]
    clock: dict[str, int]
    capacity: dict[str, int]
    memory: dict[str, int]


def _figure(value: str) -> int | None:
    found = _FIGURE.match(value)
    return int(found[1]) * _UNITS[found[2]] if found and found[2] in _UNITS else None


def parse(content: str) -> Client | None:
    """Read what a file tells; None where it is not of a graphics device."""
    pairs: dict[str, str] = {}
    for line in content.splitlines()[:512]:
        key, colon, value = line.partition(":")
        if colon and key.startswith("drm-"):
            pairs[key[4:]] = value.strip()
    if "driver" not in pairs or "client-id" not in pairs:
        return None
    busy: dict[str, int] = {}
    clock: dict[str, int] = {}
    capacity: dict[str, int] = {}
    regions: dict[str, dict[str, int]] = {}
    for key, value in pairs.items():
        kind, _dash, name = key.partition("-")
        if kind == "engine" and name.startswith("capacity-"):
            capacity[name[9:]] = max(1, _figure(value) or 1)
        elif kind == "engine" and value.endswith("ns"):
            busy[name] = int(value.split()[0]) if value.split()[0].isdigit() else 0
        elif kind == "cycles":
            busy[name] = _figure(value) or 0
        elif kind == "total" and name.startswith("cycles-"):
            clock[name[7:]] = _figure(value) or 0
        elif kind in _BEST and (size := _figure(value)) is not None:
            regions.setdefault(name, {})[kind] = size
    memory = {region: next(told[kind] for kind in _BEST if kind in told) for region, told in regions.items()}
    return Client(pairs["driver"], pairs.get("pdev", ""), pairs["client-id"], busy, clock, capacity, memory)


@record(frozen=True)
class Use:
    """Who uses one device.

    Attributes:
        processes: Those that can be looked into.
        busy: Percent that its busiest engine worked for them; None at the first look.
        memory: Bytes they hold together, of the regions asked for.
    """

    processes: tuple[GpuProcess, ...] = ()
    busy: float | None = None
    memory: int = 0


class Clients:
    """Looks at all users of the devices of some drivers.

    Args:
        root: The folder with proc.
        drivers: Whose devices count, as in `amdgpu`.
        regions: Which memory of a device counts, by its place on the bus: beginnings of regions' names.
        clock: Monotonic seconds.
    """

    def __init__(self, root: Path, drivers: tuple[str, ...], regions: Callable[[str], tuple[str, ...]], clock: Callable[[], float]) -> None:
        self._proc = root / "proc"
        self._drivers = drivers
        self._regions = regions
        self._clock = clock
        self._files: tuple[tuple[int, str], ...] = ()
        self._searched_at = self._read_at = float("-inf")
        self._cost = 0.0
        self._before: dict[tuple[int, str, str], tuple[float, Client]] = {}
        self._found: dict[str, Use] = {}

    def read(self, shown: bool) -> dict[str, Use]:
        """Who uses each device, by its place on the bus; the last answer, itself, where it is still fresh.

        Args:
            shown: Somebody shows processes: look more often.
        """
        now = self._clock()
        if now - self._read_at >= (PROCESSES if shown else PROCESSES_UNSEEN):
            if now - self._searched_at >= max(SEARCH if shown else SEARCH_UNSEEN, self._cost / SEARCH_SHARE):
                begun = time.thread_time()
                self._files = tuple(self._search())[:_FILES]
                self._searched_at, self._cost = now, time.thread_time() - begun
            self._found = self._look(now)
            self._read_at = now
        return self._found

    def _search(self) -> Iterator[tuple[int, str]]:
        for pid in names(self._proc):
            if not pid.isdigit():
                continue
            folder = self._proc / pid / "fd"
            for number in names(folder):
                try:
                    target = os.readlink(f"{folder}/{number}")  # noqa: PTH115 - thousands of them
                except OSError:
                    continue
                if target.startswith(_DEVICES):
                    yield int(pid), number

    def _look(self, now: float) -> dict[str, Use]:
        clients: dict[tuple[int, str, str], Client] = {}
        for pid, number in self._files:
            client = parse(raw(f"{self._proc}/{pid}/fdinfo/{number}").decode("utf-8", "replace"))
            if client is not None and client.driver in self._drivers:
                clients[pid, client.device, client.number] = client
        engines: dict[str, dict[str, float]] = {}
        shares: dict[tuple[str, int], dict[str, float]] = {}
        held: dict[tuple[str, int], int] = {}
        for key, client in clients.items():
            pid, device, _number = key
            held[device, pid] = held.get((device, pid), 0) + self._memory(client)
            for engine, percent in _worked(self._before.get(key), (now, client)).items():
                for sums in (engines.setdefault(device, {}), shares.setdefault((device, pid), {})):
                    sums[engine] = sums.get(engine, 0.0) + percent
        self._before = {key: (now, client) for key, client in clients.items()}
        found: dict[str, Use] = {}
        for device in sorted({device for device, _pid in held}):
            processes = tuple(
                GpuProcess(pid, memory, _busiest(shares.get((device, pid))))
                for (of, pid), memory in sorted(held.items(), key=lambda item: -item[1])
                if of == device
            )
            found[device] = Use(processes, _busiest(engines.get(device)), sum(one.memory or 0 for one in processes))
        return found

    def _memory(self, client: Client) -> int:
        return sum(size for region, size in client.memory.items() if region.startswith(self._regions(client.device)))


def _worked(before: tuple[float, Client] | None, now: tuple[float, Client]) -> dict[str, float]:
    """Percent that each engine worked for a user between two looks."""
    if before is None or now[0] <= before[0]:
        return {}
    (then, old), (at, new) = before, now
    found: dict[str, float] = {}
    for engine, total in new.busy.items():
        passed = float(new.clock[engine] - old.clock.get(engine, 0)) if engine in new.clock else (at - then) * 1e9
        worked = total - old.busy.get(engine, 0)
        if passed > 0 and worked >= 0:
            found[engine] = min(100.0, 100 * worked / passed / new.capacity.get(engine, 1))
    return found


def _busiest(engines: dict[str, float] | None) -> float | None:
    return round(min(100.0, max(engines.values())), 1) if engines else None
