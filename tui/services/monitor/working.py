"""Whether processes of a server work right now: the last look before a model is unloaded that nobody was seen to use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from tui.core.threads import in_daemon_thread
from tui.providers.ports import Holder
from tui.services.own_use import families, processes, processor_seconds

SPAN: Final = 0.5
"""Seconds they are looked at."""
WORKS: Final = 0.1
"""Share of one core from which on they work: a server that waits takes a hundredth, one that writes a whole one."""


async def works(
    pids: Collection[int], holder: Holder | None, pause: Callable[[float], Awaitable[None]] = asyncio.sleep, span: float = SPAN
) -> bool:
    """Whether these processes use the processor; without any, all of the server that holds a port. False where they cannot be seen.

    Ollama tells of a request only when it has ended.
    """
    known = await in_daemon_thread(processes)
    family = frozenset(pids) if pids else families([holder] if holder is not None else [], known)
    before = sum(known[pid].seconds for pid in family if pid in known)
    if not family:
        return False
    await pause(span)
    return await in_daemon_thread(lambda: processor_seconds(family)) - before >= WORKS * span
