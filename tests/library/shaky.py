"""An Ollama whose connection breaks at the n-th request, before or after the request had its effect, and stays away until repaired."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.chat.live import Ollama
from tests.support.fault_server import Exchange
from tui.core.clock import ManualClock
from tui.core.models import Endpoint
from tui.providers.base import Provider
from tui.providers.factory import make_provider
from tui.services.audit import Audit
from tui.services.library.keeping_moves import Mover
from tui.store.db import Database
from tui.store.model_moves import ModelMoves


class Shaky(Ollama):
    """`break_at` counts requests from `arm` on; 0: none breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.break_at = 0
        self.after = False
        self.down = False
        self.seen = 0
        self.before: dict[tuple[str, int], Any] = {}
        """What is done just before the n-th request of a path."""

    def arm(self, number: int, *, after: bool) -> None:
        self.break_at, self.after, self.seen = number, after, 0

    def repair(self) -> None:
        self.break_at, self.down = 0, False

    async def _any(self, exchange: Exchange) -> None:
        self.seen += 1
        path = exchange.request.path
        if act := self.before.pop((path, self.asked(path)), None):
            act()
        if self.down:
            exchange.reset()
            return
        if self.seen == self.break_at:
            self.down = True
            if self.after:
                await super()._any(_Mute(exchange))  # type: ignore[arg-type]
            exchange.reset()
            return
        await super()._any(exchange)


class _Mute:
    """An exchange whose answer goes nowhere."""

    def __init__(self, exchange: Exchange) -> None:
        self.request = exchange.request
        self.keep = True

    async def json(self, value: Any, status: int = 200) -> None:
        """Nobody hears it."""

    async def reply(self, *more: Any) -> None:
        """Nobody hears it."""


class Lab:
    """A server, a connection, a database and the moves."""

    def __init__(self, home: Path, name: str = "lab") -> None:
        self.name = name
        self.server = Shaky()
        self.clock = ManualClock()
        self.database = Database(home / "paddock.db")
        self.moves = ModelMoves(self.database, self.clock)
        self.audit = Audit(home, self.clock)
        self.unloaded: list[str] = []
        self.active: set[int] = set()
        self._made: list[Provider] = []

    async def open(self) -> Lab:
        await self.server.start()
        return self

    def provider(self) -> Provider:
        """Another connection, as another app has it."""
        made = make_provider(Endpoint(self.name, "ollama", self.server.url, retries=0), lambda _key: "", self.clock)
        self._made.append(made)
        return made

    def mover(self, moves: bool = True) -> Mover:
        async def unload(model: str) -> None:
            self.unloaded.append(model)

        return Mover(self.provider(), self.audit, self.clock, unload, self.moves if moves else None, self.active)

    @property
    def names(self) -> dict[str, str]:
        return self.server.names

    async def aclose(self) -> None:
        for provider in self._made:
            await provider.aclose()
        await self.database.aclose()
        await asyncio.sleep(0)
        await self.server.stop()
