"""Servers we start and stop: wishes and what became of them. The worker does it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from tui.core.errors import PaddockError
from tui.core.observe import Observable
from tui.store.db import Database
from tui.store.meta import SERVERS, ServerRow, Servers

POLL: Final = 0.25


class ServerJobs:
    """Verbs and view of the servers. After a wish, call `Jobs.ensure_worker`."""

    def __init__(self, database: Database) -> None:
        self.view: Observable[tuple[ServerRow, ...]] = Observable(())
        self._table = Servers(database)
        self._changes = database.changes()

    async def start(
        self, name: str, program: str, address: str, arguments: Sequence[str] = ("serve",), environment: Mapping[str, str] | None = None
    ) -> None:
        """Wish that `program` serves at `address` (host:port); Ollama learns the address from OLLAMA_HOST."""
        await self._table.want(ServerRow(name, program, address, tuple(arguments), {"OLLAMA_HOST": address, **(environment or {})}))
        self.refresh()

    async def stop(self, name: str) -> None:
        """Wish that a server we started is stopped."""
        await self._table.stop(name)
        self.refresh()

    def refresh(self) -> None:
        """Read the servers again."""
        self.view.set(self._table.list())

    def log(self, name: str) -> str:
        """Path of a server's log, empty where we never started it."""
        return next((str(row.record.get("log", "")) for row in self._table.list() if row.name == name), "")

    async def follow(self) -> None:
        """Keep the view true until cancelled."""
        stale = True
        while True:
            try:
                if SERVERS in self._changes.poll() or stale:
                    stale = True
                    self.refresh()
                    stale = False
            except PaddockError:
                pass  # said by `Jobs.failure`, which reads the same database
            await asyncio.sleep(POLL)
