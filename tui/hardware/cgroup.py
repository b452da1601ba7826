"""The control group this process runs in (containers, systemd units), versions 1 and 2: the tightest limit on the way up counts.

Documentation: admin-guide/cgroup-v2.rst, admin-guide/cgroup-v1/{memory,cpuacct}.rst and scheduler/sched-bwc.rst of Linux.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from tui.hardware import reading
from tui.hardware.reading import SLOW
from tui.hardware.sample import Cgroup

_DEPTH: Final = 32
"""Groups that are looked at on the way up."""
_CACHE: Final = {1: ("total_active_file", "total_inactive_file"), 2: ("active_file", "inactive_file", "slab_reclaimable")}
"""What the kernel gives back before anything suffers, in `memory.stat`."""
_OCTAL: Final = re.compile(r"\\([0-7]{3})")

Limit = tuple[float, str]
"""A limit, and the folder of the group that has it."""


class ControlGroup:
    """Measures the group; the use of processors is between two readings.

    Args:
        root: Where `/proc` and `/sys` are.
        clock: Monotonic seconds.
    """

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._looked = float("-inf")
        self._version = 2
        self._memory: Limit | None = None
        self._cpu: Limit | None = None
        self._used: tuple[str, float, int] | None = None

    def read(self) -> Cgroup | None:
        """Limits below the machine's own, and what is used of them; None where there is none."""
        now = self._clock()
        if now - self._looked >= SLOW / 6:
            self._looked = now
            self._look()
        if self._memory is None and self._cpu is None:
            return None
        return Cgroup(
            version=self._version,
            memory_limit=int(self._memory[0]) if self._memory else None,
            memory_used=self._memory_used(self._memory[1]) if self._memory else None,
            cpu_limit=round(self._cpu[0], 2) if self._cpu else None,
            cpu_percent=self._cpu_percent(self._cpu, now) if self._cpu else None,
        )

    def _look(self) -> None:
        groups = _groups(self._root)
        memory, cpu = groups.get("memory"), groups.get("cpu")
        sets = groups.get("cpuset")
        versions = [version for found in (memory, cpu, sets) if found for version, _folders in (found,)]
        self._version = max(versions, default=2)
        total = dict(reading.pairs(reading.text(self._root / "proc/meminfo", 4096))).get("MemTotal", 0) * 1024
        self._memory = _tightest(_memory_limit(memory[0], folder) for folder in memory[1]) if memory else None
        if self._memory and total and self._memory[0] >= total:
            self._memory = None
        found = [_quota(cpu[0], folder) for folder in cpu[1]] if cpu else []
        if sets and sets[1]:
            found.append(_cpuset(*sets))
        if found and found[-1] is not None and cpu and sets and cpu[0] == 1 and found[-1][1] == sets[1][0]:
            found[-1] = (found[-1][0], cpu[1][0])  # version 1 counts the use in another hierarchy
        self._cpu = _tightest(found)
        count = reading.text(self._root / "proc/stat").count("\ncpu")
        if self._cpu and count and self._cpu[0] >= count:
            self._cpu = None

    def _memory_used(self, folder: str) -> int | None:
        version = 1 if reading.number(f"{folder}/memory.limit_in_bytes") is not None else 2
        used = reading.number(f"{folder}/memory.usage_in_bytes" if version == 1 else f"{folder}/memory.current")
        if used is None:
            return None
        parts = dict(reading.pairs(reading.text(f"{folder}/memory.stat", 65_536)))
        return max(0, used - sum(max(0, parts.get(name, 0)) for name in _CACHE[version]))

    def _cpu_percent(self, limit: Limit, now: float) -> float | None:
        folder = limit[1]
        nanoseconds = reading.number(f"{folder}/cpuacct.usage")
        if nanoseconds is None:
            usage = dict(reading.pairs(reading.text(f"{folder}/cpu.stat", 4096))).get("usage_usec")
            nanoseconds = None if usage is None else usage * 1000
        before, self._used = self._used, None if nanoseconds is None else (folder, now, nanoseconds)
        if nanoseconds is None or before is None or before[0] != folder or now <= before[1]:
            return None
        return reading.share(100 * (nanoseconds - before[2]) / 1e9 / (now - before[1]) / limit[0])


def _tightest(limits: Iterable[Limit | None]) -> Limit | None:
    return min((limit for limit in limits if limit is not None and limit[0] > 0), default=None)


def _groups(root: Path) -> dict[str, tuple[int, list[str]]]:
    """By controller: the version, and the folders of our group and of those around it, ours first."""
    paths: dict[str, str] = {}
    for line in reading.text(root / "proc/self/cgroup", 65_536).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(",") if number != "0" else ("",):
            paths[controller] = path
    found: dict[str, tuple[int, list[str]]] = {}
    for kind, within, mount, options in _mounts(root):
        if kind == "cgroup":
            for controller in ("memory", "cpu", "cpuset"):
                if controller in options and controller in paths:
                    found[controller] = (1, _upwards(root, mount, within, paths[controller]))
    for kind, within, mount, _options in _mounts(root):
        if kind == "cgroup2" and "" in paths:
            folders = _upwards(root, mount, within, paths[""])
            for controller in ("memory", "cpu", "cpuset"):
                found.setdefault(controller, (2, folders))
    return found


def _mounts(root: Path) -> list[tuple[str, str, str, list[str]]]:
    """Kind, the group mounted, where, and its options, of each hierarchy: `/proc/self/mountinfo` (proc_pid_mountinfo(5))."""
    found = []
    for line in reading.text(root / "proc/self/mountinfo").splitlines():
        mount, _, filesystem = line.partition(" - ")
        words, kinds = mount.split(), filesystem.split()
        if len(words) > 4 and kinds and kinds[0] in ("cgroup", "cgroup2"):
            within, place = (_OCTAL.sub(lambda code: chr(int(code[1], 8)), word) for word in words[3:5])
            found.append((kinds[0], within, place, kinds[-1].split(",")))
    return found


def _upwards(root: Path, mount: str, within: str, path: str) -> list[str]:
    """The folders from our group up to the one that is mounted; in a container the paths of the host mean nothing."""
    top = f"{root}{mount}" if str(root) != "/" else mount
    inner = PurePosixPath(path)
    if within != "/" and inner.is_relative_to(within):
        inner = PurePosixPath("/") / inner.relative_to(within)
    parts = inner.parts[1:]
    if ".." in parts or not Path(f"{top}{inner}").is_dir():
        return [top]
    return ["/".join((top, *parts[:count])) for count in range(len(parts), -1, -1)][:_DEPTH]


def _memory_limit(version: int, folder: str) -> Limit | None:
    found = reading.number(f"{folder}/memory.limit_in_bytes" if version == 1 else f"{folder}/memory.max")
    return None if found is None else (float(found), folder)


def _quota(version: int, folder: str) -> Limit | None:
    if version == 1:
        quota, period = reading.number(f"{folder}/cpu.cfs_quota_us"), reading.number(f"{folder}/cpu.cfs_period_us")
    else:
        words = reading.text(f"{folder}/cpu.max", 64).split()
        quota, period = (reading.whole(words[0]), reading.whole(words[1])) if len(words) == 2 else (None, None)
    return (quota / period, folder) if quota is not None and period and quota > 0 and period > 0 else None


def _cpuset(version: int, folders: list[str]) -> Limit | None:
    """How many processors the group may run on; the kernel has cut it to what is there already."""
    file = "cpuset.effective_cpus" if version == 1 else "cpuset.cpus.effective"
    total = 0
    for part in reading.text(f"{folders[0]}/{file}", 16_384).strip().split(","):
        first, _, last = part.partition("-")
        low, high = reading.whole(first), reading.whole(last or first)
        if low is None or high is None or not 0 <= low <= high:
            return None
        total += high - low + 1
    return (float(total), folders[0])
