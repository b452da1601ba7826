"""What the servers of the user's own providers use of this machine, as far as the kernel and the driver tell.

A server's processes are the holder of its port and all its descendants; where the kernel hides the holder of another account,
all processes of that account, if it is a service's own (`ollama`). What cannot be told apart is counted as ours.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Final

from tui.core.record import record
from tui.hardware import reading
from tui.hardware.processes import stat
from tui.hardware.sample import Sample
from tui.providers.ports import FIRST_PERSON, Holder
from tui.text import clean_name, size

PROC: Final = Path("/proc")
LINE: Final = 65_536
"""Bytes of a command line that are read."""
WORD: Final = 4096
"""Characters of one word of it."""
WORDS: Final = 512
_TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@record(frozen=True)
class Process:
    """One process: who it belongs to, and seconds of processor time it had so far."""

    pid: int
    parent: int
    uid: int
    name: str
    seconds: float


@record(frozen=True)
class OwnUse:
    """What is ours.

    Attributes:
        pids: Processes of our servers.
        memory: Bytes of main memory that only they hold; pages of mapped files are nobody's.
        gpu_memory: Bytes on each GPU, by uuid.
        gpus: Uuids of the GPUs that they may be working on.
        others: Of each GPU, who else has most of its memory, in words: "alice's python has 5.9 GB".
    """

    pids: frozenset[int] = frozenset()
    memory: int = 0
    gpu_memory: Mapping[str, int] = field(default_factory=dict)
    gpus: frozenset[str] = frozenset()
    others: Mapping[str, str] = field(default_factory=dict)


@record(frozen=True)
class Held:
    """Bytes of main memory of a process: what only it holds, and pages of mapped files, which others may share."""

    private: int = 0
    mapped: int = 0


def processes(proc: Path = PROC) -> dict[int, Process]:
    """All processes that this account may see."""
    if not reading.has_proc(proc.parent):
        return _elsewhere()
    found: dict[int, Process] = {}
    for name in reading.names(proc):
        if not name.isdecimal():
            continue
        comm, words = stat(str(proc), int(name))
        try:
            uid = os.stat(f"{proc}/{name}").st_uid  # noqa: PTH116 - hundreds of them
            used = (int(words[11]) + int(words[12])) / _TICKS
            found[int(name)] = Process(int(name), int(words[1]), uid, clean_name(comm, 40), used)
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile, or is hidden
    return found


def _elsewhere() -> dict[int, Process]:
    import psutil

    found: dict[int, Process] = {}
    for one in reading.attempt(lambda: list(psutil.process_iter())) or []:
        parent, uids = reading.attempt(one.ppid), reading.attempt(one.uids)
        name, times = reading.attempt(one.name), reading.attempt(one.cpu_times)
        if parent is not None and uids is not None:
            seconds = times.user + times.system if times is not None else 0.0
            found[one.pid] = Process(one.pid, parent, uids.real, clean_name(name or "", 40), seconds)
    return found


def command_line(pid: int, proc: Path = PROC) -> tuple[str, ...]:
    """The words of a process's command line, cleaned; empty where it is hidden. What is said there was chosen by who started it."""
    if not reading.has_proc(proc.parent):
        import psutil

        return tuple(clean_name(word, WORD) for word in (reading.attempt(lambda: psutil.Process(pid).cmdline()) or [])[:WORDS])
    line = reading.text(f"{proc}/{pid}/cmdline", LINE)
    return tuple(clean_name(word, WORD) for word in line.rstrip("\0").split("\0")[:WORDS]) if line else ()


def held(pid: int, proc: Path = PROC) -> Held:
    """The main memory of a process; nothing where it is hidden."""
    if not reading.has_proc(proc.parent):
        import psutil

        info = reading.attempt(lambda: psutil.Process(pid).memory_info())
        return Held(info.rss) if info is not None else Held()
    told = dict(reading.pairs(reading.text(f"{proc}/{pid}/status", 8192)))
    return Held(max(0, told.get("RssAnon", 0) + told.get("RssShmem", 0)) * 1024, max(0, told.get("RssFile", 0)) * 1024)


def families(holders: Iterable[Holder], known: Mapping[int, Process]) -> frozenset[int]:
    """The processes of these servers."""
    roots: set[int] = set()
    for holder in holders:
        if holder.is_ssh_tunnel:
            continue
        if holder.pid is not None:
            roots.add(holder.pid)
        elif holder.uid is not None and 0 < holder.uid < FIRST_PERSON:
            roots |= {process.pid for process in known.values() if process.uid == holder.uid}
    return descendants((pid for pid in roots if pid in known), children_of(known))


def children_of(known: Mapping[int, Process]) -> dict[int, list[int]]:
    """Which processes each process began."""
    children: dict[int, list[int]] = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process.pid)
    return children


def descendants(roots: Iterable[int], children: Mapping[int, Sequence[int]]) -> frozenset[int]:
    """These processes and all that come from them."""
    family, left = set[int](), list(roots)
    while left:
        pid = left.pop()
        if pid not in family:
            family.add(pid)
            left += children.get(pid, ())
    return frozenset(family)


def processor_seconds(pids: Iterable[int], proc: Path = PROC) -> float:
    """Processor time that these processes had so far."""
    known = processes(proc)
    return sum(known[pid].seconds for pid in pids if pid in known)


def own_use(
    holders: Iterable[Holder],
    sample: Sample,
    vram: int,
    *,
    proc: Path = PROC,
    binary: bool = False,
    known: Mapping[int, Process] | None = None,
) -> OwnUse:
    """What is ours of a sample. Reads /proc for some milliseconds: call it off the loop.

    Args:
        holders: Of the ports of all providers on this machine.
        sample: The newest one.
        vram: Bytes of GPU memory that those servers say their models have, for what no process id tells.
        proc: Where the kernel's files are.
        binary: Sizes in GiB.
        known: All processes, where they were read already.
    """
    known = processes(proc) if known is None else known
    pids = families(holders, known)
    memory = sum(held(pid, proc).private for pid in pids)
    by_gpu: dict[str, int] = {}
    others: dict[str, str] = {}
    named = 0
    for gpu in sample.gpus:
        ours = sum(process.memory or 0 for process in gpu.processes if process.pid in pids)
        named += ours
        by_gpu[gpu.uuid] = ours
        foreign = [process for process in gpu.processes if process.pid not in pids and process.memory]
        if foreign:
            most = max(foreign, key=lambda process: process.memory or 0)
            others[gpu.uuid] = f"{_whose(most.pid, known)} has {size(most.memory, binary=binary)}"
    rest = max(0, vram - named)
    if rest:  # the driver does not name them: on which GPU they are cannot be told
        by_gpu = {gpu.uuid: min(by_gpu[gpu.uuid] + rest, gpu.memory_used or 0) for gpu in sample.gpus}
    return OwnUse(pids, memory, by_gpu, frozenset(uuid for uuid, held in by_gpu.items() if held), others if not rest else {})


def _whose(pid: int, known: Mapping[int, Process]) -> str:
    process = known.get(pid)
    if process is None:
        return f"process {pid}"
    try:
        user = clean_name(pwd.getpwuid(process.uid).pw_name, 40)
    except KeyError:
        user = f"uid {process.uid}"
    name = process.name or f"process {pid}"
    return f"your {name}" if process.uid == os.getuid() else f"{user}'s {name}"
