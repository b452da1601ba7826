"""Looks at the disks of servers on this machine, each in a thread: one that hangs is taken as unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from tui.config.settings import Settings
from tui.core.jobs import Job
from tui.core.threads import in_daemon_thread
from tui.services.space import Room, room_for
from tui.store.jobs import provider_key

LOOK_AT_DISK: Final = 10.0
"""Seconds between two looks at the room on a disk."""
DISK_WITHIN: Final = 1.0
"""Seconds a disk is given to say its room; one that hangs (a network folder) is taken as unknown."""


class Disks:
    """The looks under way; one for each server at a time."""

    def __init__(self, *, on: bool) -> None:
        self._on = on
        self._looks: dict[str, asyncio.Future[Room | None]] = {}

    async def room(self, job: Job, settings: Settings, others: Sequence[Job] = (), extra: int = 0) -> Room | None:
        """The room for a job beside others; None where it is not known, or where the disk does not answer."""
        if not self._on:
            return None
        server = provider_key(job.endpoint)
        if server in self._looks and not self._looks[server].done():
            return None
        look = self._looks[server] = asyncio.ensure_future(in_daemon_thread(lambda: room_for(job, settings, others, extra=extra)))
        await asyncio.wait({look}, timeout=DISK_WITHIN)
        return look.result() if look.done() else None
