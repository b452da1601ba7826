"""What pulls would mean, found out while a person still types: size, what is there already, room, and what the registry refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tui.config.settings import Settings
from tui.core.clock import Clock
from tui.core.errors import PaddockError
from tui.core.jobs import Job, JobKind, JobState, JobWish, Plan
from tui.core.names import normal, parse
from tui.core.observe import Observable
from tui.core.threads import in_daemon_thread
from tui.providers.base import Provider
from tui.services.api import Preview, PreviewKey
from tui.services.asks import asks_before
from tui.services.space import room_for

if TYPE_CHECKING:
    from tui.services.plan import Planner

FRESH: Final = 60.0
"""Seconds an answer is shown without asking again."""
KEPT: Final = 100
DISK_WITHIN: Final = 1.0


class Previews:
    """The previews, as an observable; used on the engine's loop.

    Args:
        planner: Finds out what a pull will fetch.
        provider: A connection by name; raises where there is none.
        queue: The jobs of the queue now.
    """

    def __init__(
        self,
        planner: Callable[[], Planner],
        provider: Callable[[str], Provider],
        queue: Callable[[], tuple[Job, ...]],
        settings: Callable[[], Settings],
        clock: Clock,
        *,
        disks: bool = True,
    ) -> None:
        self.found: Observable[Mapping[PreviewKey, Preview]] = Observable({})
        self._planner = planner
        self._provider = provider
        self._queue = queue
        self._settings = settings
        self._clock = clock
        self._disks = disks
        self._looked_at: dict[PreviewKey, float] = {}

    async def look(self, model: str, provider: str, insecure: bool) -> None:
        """Ask, unless the answer is fresh or on its way.

        Raises:
            PaddockError: There is no such server.
        """
        key = (provider, normal(model))
        now = self._clock.monotonic()
        if now - self._looked_at.get(key, float("-inf")) < FRESH:
            return
        self._looked_at[key] = now
        connection = self._provider(provider)
        self._put(key, self.found.value.get(key, Preview()))
        try:
            plan = await self._planner().plan(connection, str(parse(model)), insecure=insecure)
        except PaddockError as error:
            self._put(key, Preview(failure=error.failure))
            return
        except BaseException:
            self._looked_at.pop(key, None)
            raise
        self._put(key, await self._preview(connection, model, plan))

    async def _preview(self, connection: Provider, model: str, plan: Plan) -> Preview:
        settings = self._settings()
        asks = asks_before(settings, model, plan.total)
        preview = Preview(plan, asks=asks)
        if not self._disks:
            return preview
        job = Job(0, JobKind.PULL, normal(model), connection.endpoint, {}, JobWish.RUN, JobState.WAITING, 0, plan=plan)
        others = [other for other in self._queue() if not other.state.ended and other.wish is JobWish.RUN and other.model != job.model]
        look = asyncio.ensure_future(in_daemon_thread(lambda: (room_for(job, settings, others), room_for(job, settings))))
        await asyncio.wait({look}, timeout=DISK_WITHIN)
        together, alone = look.result() if look.done() else (None, None)
        if together is None or alone is None:
            return preview
        return replace(preview, free=together.free, needed=together.needed, queued=together.coming - alone.coming)

    def _put(self, key: PreviewKey, preview: Preview) -> None:
        found: dict[PreviewKey, Any] = {**self.found.value, key: preview}
        while len(found) > KEPT:
            self._looked_at.pop(oldest := next(iter(found)), None)
            del found[oldest]
        self.found.set(found)
