"""Who a process is: pid, start time and boot id together, so that a number used again is never mistaken."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from tui.core.record import record


@record(frozen=True)
class Identity:
    """One process, for ever.

    Attributes:
        pid: Its number, which the system uses again later.
        start: Its start time as the system counts it (clock ticks since boot on Linux), opaque.
        boot: Which boot of this machine it belongs to, opaque.
    """

    pid: int
    start: str
    boot: str


@cache
def boot_id() -> str:
    """What distinguishes this boot of the machine from any other."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        import psutil  # only for systems without /proc

        return f"t{psutil.boot_time():.0f}"


def process_start(pid: int) -> str | None:
    """The start time of a process, None where there is no such process (a zombie is none)."""
    if not sys.platform.startswith("linux"):
        import psutil  # as above

        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
        except psutil.Error:
            return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")


def identify(pid: int) -> Identity | None:
    """The identity of a living process."""
    start = process_start(pid)
    return None if start is None else Identity(pid, start, boot_id())


def myself() -> Identity:
    """The identity of this process."""
    pid = os.getpid()
    return Identity(pid, process_start(pid) or "", boot_id())


def alive(who: Identity) -> bool:
    """Whether exactly this process still runs."""
    return who.pid > 0 and who.boot == boot_id() and process_start(who.pid) == who.start
