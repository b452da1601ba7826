"""The trash while no app runs: a worker that has work anyway deletes for good what was in it for its time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

from tui.core.clock import Clock
from tui.core.errors import PaddockError
from tui.core.models import Endpoint
from tui.providers.address import is_loopback
from tui.services.library.keeping_moves import Mover, server_of
from tui.services.library.keeping_trash import Steady, empty_due
from tui.services.registry import endpoint_of
from tui.store.model_moves import ModelMoves, MoveKind
from tui.worker.acting import OLLAMA

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.providers.base import Provider
    from tui.services.audit import Audit
    from tui.store.db import Database

AFTER: Final = 20.0
"""Seconds of work until it looks for the first time: an app that starts a worker looks itself."""
EVERY: Final = 3600.0
WITHIN: Final = 60.0
"""Seconds one server may take."""
_log = logging.getLogger("paddock.worker")


class Trash:
    """Empties what is due, on the servers where this home put something into the trash.

    Args:
        settings: The running settings.
        make: A connection from the snapshot of a provider.
        check: Raises where the key of a provider may not be sent.
        sure: Whether the time in the trash is what the configuration says.
    """

    def __init__(
        self,
        database: Database,
        settings: Callable[[], Settings],
        make: Callable[[Endpoint], Provider],
        check: Callable[[Endpoint], Awaitable[None]],
        audit: Audit,
        clock: Clock,
        sure: Callable[[], bool] = lambda: True,
    ) -> None:
        self._moves = ModelMoves(database, clock)
        self._settings = settings
        self._make = make
        self._check = check
        self._audit = audit
        self._clock = clock
        self._sure = sure
        self._steady = Steady(clock)

    async def run(self) -> None:
        """Look now and then, until cancelled; whatever goes wrong here ends no download."""
        await asyncio.sleep(AFTER)
        while True:
            try:
                await self.look()
            except Exception:
                _log.exception("trash")
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Once."""
        settings, now = self._settings(), self._clock.time()
        if settings.security.access in ("look", "use") or not self._sure() or self._steady.hold():
            return
        due = {move.server for move in self._moves.list() if move.kind is MoveKind.TRASH and move.at + settings.models.trash <= now}
        for endpoint in self._endpoints(settings) if due else ():
            if server_of(endpoint) in due:
                try:
                    async with asyncio.timeout(WITHIN):
                        await self._empty(endpoint, settings.models.trash, now)
                except (PaddockError, TimeoutError) as error:
                    _log.info("the trash of %s is not emptied now: %s", endpoint.name, error)

    @staticmethod
    def _endpoints(settings: Settings) -> Iterator[Endpoint]:
        for name, one in settings.providers.items():
            away = not is_loopback(one.url) or one.location == "elsewhere"
            if one.enabled and not (away and settings.general.network == "offline"):
                yield endpoint_of(name, one)
        if settings.general.discover and "ollama" not in settings.providers:
            yield Endpoint("ollama", "ollama", OLLAMA)

    async def _empty(self, endpoint: Endpoint, trash: float, now: float) -> None:
        await self._check(endpoint)
        provider = self._make(endpoint)
        try:
            mover = Mover(provider, self._audit, self._clock, _nothing, self._moves)
            for one in await empty_due(provider, mover, self._moves, trash, now):
                _log.info("out of the trash of %s: %s", endpoint.name, one.original)
        finally:
            await provider.aclose()


async def _nothing(_model: str) -> None:
    """What is in the trash is in no memory."""
