"""Processes of this machine: who has the most memory, who is on a GPU, and how many there are that cannot be seen.

A process may end at any moment, belong to somebody else or be outside this container; its name is text of others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from tui.core.record import record
from tui.hardware import reading
from tui.hardware.reading import SLOW
from tui.hardware.sample import Gpu, GpuProcess, MachineProcess
from tui.text import clean_name

SHOWN: Final = 24
"""Processes that are told."""
_LOOKED_AT: Final = 32
"""Largest ones by a quick look, of which the exact figures are read; twice, because two sizes count."""
_GROUPS: Final = 4096
"""Control groups in which hidden processes are counted at most."""
_INTERPRETERS: Final = ("python", "node", "java", "perl", "ruby", "bash", "sh")
_NAME: Final = 64
_NAMES: Final = 8192
"""Processes whose names are kept."""


@record(frozen=True)
class Who:
    """A process that can be seen: its name and account, cleaned."""

    name: str
    user: str


UNASKED: Final = Who("", "")
"""One that was not looked for yet."""


@record(frozen=True)
class Found:
    """Processes with much memory, largest first, and how many cannot be seen."""

    processes: tuple[MachineProcess, ...] = ()
    hidden: int = 0


class Names:
    """Names and accounts of processes, asked once for each.

    Args:
        root: Where `/proc` is.
        clock: Monotonic seconds.
    """

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = f"{str(root).rstrip('/')}/proc"
        self._has = reading.has_proc(root)
        self._clock = clock
        self._known: dict[int, tuple[float, str, Who | None]] = {}
        self._users: dict[int, str] = {}

    def who(self, pid: int) -> Who | None:
        """None for a process that is gone, hidden, or outside this container."""
        if not self._has:
            return _who_elsewhere(pid)
        now = self._clock()
        looked, born, who = self._known.get(pid, (float("-inf"), "", None))
        if now - looked < SLOW / 6 and (who is None or os.access(f"{self._proc}/{pid}", os.F_OK)):
            return who
        comm, words = stat(self._proc, pid)
        if len(words) < 20:
            born, who = "", None
        elif who is None or born != words[19]:  # when it began: another may have its number
            born, who = words[19], Who(self._name(pid, comm), self._user(pid))
        if len(self._known) >= _NAMES:
            self._known.clear()
        self._known[pid] = (now, born, who)
        return who

    def forget(self, but: Iterable[int]) -> None:
        """Forget all others."""
        keep = set(but)
        for pid in [pid for pid in self._known if pid not in keep]:
            del self._known[pid]

    def _name(self, pid: int, comm: str) -> str:
        words = reading.text(f"{self._proc}/{pid}/cmdline", 4096).split("\0")
        return clean_name(_program(words, comm), _NAME)

    def _user(self, pid: int) -> str:
        found = next((line for line in reading.text(f"{self._proc}/{pid}/status", 8192).splitlines() if line.startswith("Uid:")), "")
        words = found.split()
        number = reading.whole(words[1]) if len(words) > 1 else None
        if number is None:
            return ""
        if number not in self._users:
            if len(self._users) >= _NAMES:
                self._users.clear()
            self._users[number] = _account(number)
        return self._users[number]


def named(gpus: tuple[Gpu, ...], who: Callable[[int], Who | None]) -> tuple[Gpu, ...]:
    """The GPUs with names and accounts of their processes, and how many of these cannot be seen; see `Names.who`."""
    return tuple(_named(gpu, who) for gpu in gpus)


def _named(gpu: Gpu, who: Callable[[int], Who | None]) -> Gpu:
    if not gpu.processes:
        return gpu
    seen = [(process, who(process.pid)) for process in gpu.processes]
    told = tuple(
        process
        if known is None
        else GpuProcess(process.pid, process.memory, process.percent, process.name or known.name, known.user, process.instance)
        for process, known in seen
    )
    return replace(gpu, processes=told, hidden=sum(known is None for _process, known in seen))


class Processes:
    """Measures the largest processes; their use of the processor is between two readings.

    Args:
        root: Where `/proc` and `/sys` are.
        clock: Monotonic seconds.
    """

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._proc = f"{str(root).rstrip('/')}/proc"
        self._clock = clock
        self._names = Names(root, clock)
        self._before: dict[tuple[int, str], tuple[float, int]] = {}
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._counted = (float("-inf"), 0)

    def read(self) -> Found:
        """Measure since the last reading."""
        if not reading.has_proc(self._root):
            return Found(_largest_elsewhere())
        pids = [int(name) for name in os.listdir(self._proc) if name.isdecimal()] if os.path.isdir(self._proc) else []  # noqa: PTH208, PTH112
        sizes: list[tuple[int, int, int]] = []
        refused = 0
        for pid in pids:
            words = reading.text(f"{self._proc}/{pid}/statm", 256).split()
            if len(words) >= 3:
                resident, shared = reading.whole(words[1]) or 0, reading.whole(words[2]) or 0
                if resident > 0:
                    sizes.append((resident, resident - shared, pid))
            elif os.path.exists(f"{self._proc}/{pid}"):  # noqa: PTH110 - there, but not for us (hidepid=1)
                refused += 1
        likely = {pid for key in (0, 1) for *_, pid in sorted(sizes, key=lambda size: -size[key])[:_LOOKED_AT]}
        found = sorted(((self._memory(pid), pid) for pid in likely), reverse=True)[:SHOWN]
        return Found(self._told([(memory, pid) for memory, pid in found if memory > 0]), refused + self._hidden(set(pids)))

    def _told(self, largest: list[tuple[int, int]]) -> tuple[MachineProcess, ...]:
        told: list[MachineProcess] = []
        times: dict[tuple[int, str], tuple[float, int]] = {}
        for memory, pid in largest:
            who = self._names.who(pid)
            _comm, words = stat(self._proc, pid)
            if who is None or len(words) < 20:
                continue
            now, spent = self._clock(), sum(reading.whole(word) or 0 for word in words[11:13])
            key = (pid, words[19])
            times[key] = (now, spent)
            before = self._before.get(key)
            percent = None
            if before is not None and now > before[0]:
                percent = round(max(0.0, 100 * (spent - before[1]) / self._ticks / (now - before[0])), 1)
            told.append(MachineProcess(pid, who.name, who.user, memory, percent))
        self._before = times
        self._names.forget(pid for _memory, pid in largest)
        return tuple(told)

    def _memory(self, pid: int) -> int:
        """Bytes that only this process holds: anonymous and shared memory, not mapped files, which are given back."""
        kilobytes = dict(reading.pairs(reading.text(f"{self._proc}/{pid}/status", 8192)))
        if "RssAnon" in kilobytes:
            return max(0, kilobytes["RssAnon"] + kilobytes.get("RssShmem", 0)) * 1024
        words = reading.text(f"{self._proc}/{pid}/statm", 256).split()  # kernels before 4.5
        resident, shared = (reading.whole(word) or 0 for word in words[1:3]) if len(words) >= 3 else (0, 0)
        return max(0, resident - shared) * self._page

    def _hidden(self, seen: set[int]) -> int:
        """Processes that `/proc` does not show: the control groups count them still, those of other namespaces as 0."""
        now = self._clock()
        if now - self._counted[0] >= SLOW:
            self._counted = (now, self._count(seen))
        return self._counted[1]

    def _count(self, seen: set[int]) -> int:
        top = f"{str(self._root).rstrip('/')}/sys/fs/cgroup"
        tops = [top, *(f"{top}/{name}" for name in ("unified", "systemd", "pids"))]  # version 2; both; 1 with systemd; 1 without
        folders = [next((folder for folder in tops if len(_inside(folder)) > 0 and os.path.exists(f"{folder}/cgroup.procs")), top)]  # noqa: PTH110
        other = 0
        hidden: set[int] = set()
        for looked, folder in enumerate(folders):  # grows while it is walked
            if looked >= _GROUPS:
                break
            folders += _inside(folder)
            if looked == 0:  # the kernel's own are in the outermost
                continue
            for word in reading.text(f"{folder}/cgroup.procs").split():
                pid = reading.whole(word)
                other += pid == 0
                if pid and pid not in seen:
                    hidden.add(pid)
        return other + sum(1 for pid in hidden if not os.access(f"{self._proc}/{pid}", os.F_OK) and _lives(pid))


def _inside(folder: str) -> list[str]:
    """The folders in a folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def stat(proc: str, pid: int) -> tuple[str, list[str]]:
    """`/proc/PID/stat`: the name, which may hold anything, and the words after it; word 19 is when it began."""
    found = reading.text(f"{proc}/{pid}/stat", 4096)
    _, opened, rest = found.partition("(")
    comm, closed, words = rest.rpartition(")")
    return (comm, words.split()) if opened and closed else ("", [])


def _program(words: list[str], comm: str) -> str:
    """`python3 train.py` of `/usr/bin/python3 -u /srv/train.py --lr 1`; the kernel's short name where a process has no arguments."""
    first = words[0].rsplit("/", 1)[-1].split(" ")[0].removeprefix("-") if words else ""
    if not first or not (comm.startswith(first[:15]) or first.startswith(_INTERPRETERS)):
        return comm or first
    if first.startswith(_INTERPRETERS):
        for index, word in enumerate(words[1:-1] if words[-1:] == [""] else words[1:], 1):
            if word in ("-c", "-e"):  # what follows is a whole program
                return first
            if word == "-m":
                return f"{first} -m {words[index + 1]}" if index + 1 < len(words) else first
            if not word.startswith("-") and ("/" in word or "." in word):
                return f"{first} {word.rsplit('/', 1)[-1]}"
    return first


def _account(number: int) -> str:
    import pwd

    try:
        return clean_name(pwd.getpwuid(number).pw_name, _NAME)
    except (KeyError, OSError, OverflowError, ValueError):
        return str(number)


def _who_elsewhere(pid: int) -> Who | None:
    import psutil

    process = reading.attempt(lambda: psutil.Process(pid))
    name = reading.attempt(process.name) if process is not None else None
    user = reading.attempt(process.username) if process is not None else None
    return None if name is None else Who(clean_name(name, _NAME), clean_name(user or "", _NAME))


def _largest_elsewhere() -> tuple[MachineProcess, ...]:
    import psutil

    sizes = []
    for process in reading.attempt(lambda: list(psutil.process_iter())) or []:
        info = reading.attempt(process.memory_info)
        if info is not None:
            sizes.append((info.rss, process.pid))
    found = []
    for memory, pid in sorted(sizes, reverse=True)[:SHOWN]:
        who = _who_elsewhere(pid)
        if who is not None:
            found.append(MachineProcess(pid, who.name, who.user, memory))
    return tuple(found)


def _lives(pid: int) -> bool:
    """Somebody else's processes answer a signal that is none by refusing it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
