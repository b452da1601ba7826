"""What pulls would mean, found out while a person still types: size, what is there already, room, and what the registry refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

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
from tui.services.space import room_for, to_come

if TYPE_CHECKING:
    from tui.services.plan import Planner

FRESH: Final = 60.0
"""Seconds an answer is shown without asking again."""
BRIEF: Final = 10.0
"""The same where the registry could not be asked."""
KEPT: Final = 100
AT_ONCE: Final = 3
SETTLE: Final = 0.15
"""Seconds a name waits for the next key: who types is asked about once, not at every letter."""
DISK_WITHIN: Final = 1.0


@dataclass(eq=False, slots=True)
class _Look:
    """One lookup; the newest of a key is the one that counts.

    Attributes:
        at: Monotonic seconds.
        how: What makes an answer another one: address of the server, `insecure`.
        typed_on: Set when the name was one key short of what was meant.
    """

    text: str
    at: float
    how: tuple[str, bool]
    typed_on: asyncio.Event
    fresh: float = FRESH


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
        self._looks: dict[PreviewKey, _Look] = {}
        self._typing: dict[str, _Look] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    def fresh(self, model: str, provider: str) -> Preview | None:
        """What was found out within the last minute; None where nothing was, or it is still asked for."""
        key = (provider, normal(model))
        look, preview = self._looks.get(key), self.found.value.get(key)
        if look is None or preview is None or (preview.plan is None and preview.failure is None):
            return None
        return preview if self._clock.monotonic() - look.at < look.fresh else None

    async def look(self, model: str, provider: str, insecure: bool) -> None:
        """Ask, unless the answer is fresh or on its way. A cancelled lookup leaves no trace.

        Raises:
            PaddockError: There is no such server.
        """
        connection = self._provider(provider)
        key, now = (provider, normal(model)), self._clock.monotonic()
        how = (connection.endpoint.url, insecure)
        last = self._looks.get(key)
        if last is not None and last.how == how and now - last.at < last.fresh and not last.typed_on.is_set():
            return
        typing = self._typing.get(provider)
        if typing is not None and _one_key(typing.text, model.strip()):
            typing.typed_on.set()
        self._looks.pop(key, None)  # to the end: the oldest is dropped first
        look = self._looks[key] = self._typing[provider] = _Look(model.strip(), now, how, asyncio.Event())
        if last is None or last.how != how:
            self._put(key, Preview())
        found: Preview | None = None
        try:
            if not await _settled(look):
                return
            async with self._turn:
                found = await self._found(connection, model, insecure)
        finally:
            if self._looks.get(key) is look:
                self._end(key, look, found)
            if self._typing.get(provider) is look:
                del self._typing[provider]

    def _end(self, key: PreviewKey, look: _Look, found: Preview | None) -> None:
        """Keep an answer; without one, nothing is known and the next to ask asks anew."""
        if found is not None:
            known = found.failure is not None or (found.plan is not None and bool(found.plan.layers))
            look.fresh = FRESH if known else BRIEF
            self._put(key, found)
            return
        del self._looks[key]
        self.found.set({other: preview for other, preview in self.found.value.items() if other != key})

    async def _found(self, connection: Provider, model: str, insecure: bool) -> Preview:
        try:
            plan = await self._planner().plan(connection, str(parse(model)), insecure=insecure)
        except PaddockError as error:
            return Preview(failure=error.failure)
        return await self._preview(connection, model, plan)

    async def _preview(self, connection: Provider, model: str, plan: Plan) -> Preview:
        settings = self._settings()
        preview = Preview(plan, asks=asks_before(settings, model, plan.total))
        if not self._disks:
            return preview
        job = Job(0, JobKind.PULL, normal(model), connection.endpoint, {}, JobWish.RUN, JobState.WAITING, 0, plan=plan)
        others = [other for other in self._queue() if not other.state.ended and other.wish is JobWish.RUN and not _same(other, job)]
        try:
            async with asyncio.timeout(DISK_WITHIN):
                room = await in_daemon_thread(lambda: room_for(job, settings, others))
        except TimeoutError:
            return preview
        if room is None:
            return preview
        needed = room.needed if plan.total is not None else None
        return replace(preview, free=room.free, needed=needed, queued=room.coming - to_come([job]))

    def _put(self, key: PreviewKey, preview: Preview) -> None:
        found = {**self.found.value, key: preview}
        while len(found) > KEPT:
            oldest = next(iter(self._looks))
            del self._looks[oldest]
            found.pop(oldest, None)
        self.found.set(found)


async def _settled(look: _Look) -> bool:
    """Whether nobody typed on."""
    try:
        async with asyncio.timeout(SETTLE):
            await look.typed_on.wait()
    except TimeoutError:
        return True
    return False


def _one_key(before: str, after: str) -> bool:
    """Whether one key at the end makes the one of the other."""
    return abs(len(before) - len(after)) == 1 and (after.startswith(before) or before.startswith(after))


def _same(one: Job, other: Job) -> bool:
    return one.model == other.model and one.endpoint.name == other.endpoint.name
