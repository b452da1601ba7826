"""What this machine is; asked once."""

from __future__ import annotations

import os
import platform
import socket

from tui.core.record import record
from tui.text import clean_name


@record(frozen=True)
class MachineFacts:
    """Facts that do not change while Paddock runs.

    Attributes:
        hostname: The short name of this machine.
        cores: Logical processors this process may use.
        memory: Bytes of main memory; None where not known.
        system: As in `Linux x86_64`.
    """

    hostname: str
    cores: int
    memory: int | None
    system: str


def machine_facts() -> MachineFacts:
    """Ask the system; GPUs are told by the sampler, because asking for them may hang."""
    import psutil  # 17 ms

    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cores = os.cpu_count() or 1
    try:
        memory: int | None = psutil.virtual_memory().total
    except (OSError, RuntimeError, ValueError):
        memory = None
    try:
        host = socket.gethostname().split(".")[0]
    except OSError:
        host = ""
    return MachineFacts(clean_name(host, 64) or "this machine", cores, memory, clean_name(f"{platform.system()} {platform.machine()}", 64))
