"""Whether a server is done with a request that was stopped: it may read the prompt to its end before it looks.

What shows it: llama.cpp's slots; of Ollama the time of unloading, which stands still while a request runs and is set anew
once the last one ended (ollama-api 5.1; recordings 13); a later request of ours that got its first token. Ollama sets it when
it lets go of the request, so at most the batch being computed comes after. Other servers show nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, Protocol

from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import RunningModel
from tui.core.names import same
from tui.core.record import record
from tui.providers.base import Provider
from tui.text import clean_name

PAUSES: Final = (0.3, 0.5, 1.0, 2.0)
"""Seconds before each look; the last one again and again."""
LONGEST: Final = 120.0
"""Seconds after which nobody looks any more."""
MOVED: Final = 0.5
"""Seconds by which the time of unloading moves at least when it is set anew; less is rounding."""


class Seen(StrEnum):
    """What one look tells."""

    FREE = "free"
    BUSY = "busy"
    NOTHING = "nothing"


class Settled(StrEnum):
    """How waiting for a server ended."""

    FREE = "free"
    UNSEEN = "unseen"  # this server does not show it
    LONG = "long"  # busy all the time; maybe with others' requests


class Surroundings(Protocol):
    """What is needed of `host.ChatHost`."""

    def provider(self, name: str) -> Provider | None:
        """A connection to a server."""

    def running(self) -> tuple[RunningModel, ...]:
        """Models in memory, of all servers."""
        ...


@record(frozen=True)
class Mark:
    """What was known of the server just before the request was stopped."""

    provider: str
    model: str
    loaded: bool
    expires_at: float | None


def find(provider: str, model: str, running: tuple[RunningModel, ...]) -> RunningModel | None:
    """The model in a list of what is in memory."""
    return next((one for one in running if one.provider == provider and (one.key == model or same(one.name, model))), None)


def look(mark: Mark, found: RunningModel | None) -> Seen:
    """What the server's list says; None: the model is not in it."""
    if found is None:
        return Seen.FREE  # unloaded, or its load was given up with the request
    if found.busy_slots is not None:
        return Seen.FREE if found.busy_slots == 0 else Seen.BUSY
    if found.stopping:
        return Seen.BUSY
    if found.expires_at is None:
        return Seen.NOTHING
    if mark.expires_at is None:
        return Seen.BUSY if mark.loaded else Seen.FREE
    return Seen.FREE if found.expires_at - mark.expires_at > MOVED else Seen.BUSY


async def _pause(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class Settling:
    """Looks at servers whose answers were stopped, only as long as needed. Used on the engine's loop.

    Args:
        host: Where connections and the list of what is in memory come from.
        pause: Waits for the event or so many seconds; tests give their own.
    """

    def __init__(
        self, host: Surroundings, clock: Clock = SYSTEM, pause: Callable[[asyncio.Event, float], Awaitable[None]] = _pause
    ) -> None:
        self._host = host
        self._clock = clock
        self._pause = pause
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = {}
        self._open: set[tuple[str, str]] = set()
        self._said: set[str] = set()

    def mark(self, provider: str, model: str) -> Mark:
        """What is known now; to be called right before an answer is stopped."""
        found = find(provider, model, self._host.running())
        return Mark(provider, model, found is not None, found.expires_at if found is not None else None)

    def proved(self, provider: str, model: str) -> bool:
        """A later request of ours got its first token: a server that works at one at a time is free of the earlier one.

        Returns:
            Whether something stopped there was not seen to be done before.
        """
        found, key = find(provider, model, self._host.running()), (provider, model)
        if key not in self._open or (found is not None and (found.slots or 1) > 1):
            return False
        self._open.discard(key)
        for event in self._waiting.get(key, ()):
            event.set()
        return True

    async def watch(self, mark: Mark) -> Settled:
        """Wait until the server is seen to be free, at most `LONGEST` seconds. Never raises a failure of the server."""
        connection = self._host.provider(mark.provider)
        if connection is None:
            return Settled.FREE
        proved, key = asyncio.Event(), (mark.provider, mark.model)
        self._open.add(key)
        if Capability.RUNNING not in connection.capabilities:
            return Settled.UNSEEN
        self._waiting.setdefault(key, set()).add(proved)
        try:
            settled = await self._until_free(mark, connection, proved)
            if settled is Settled.FREE:
                self._open.discard(key)
            return settled
        finally:
            self._waiting[key].discard(proved)
            if not self._waiting[key]:
                del self._waiting[key]

    async def _until_free(self, mark: Mark, connection: Provider, proved: asyncio.Event) -> Settled:
        began, looks = self._clock.monotonic(), 0
        while self._clock.monotonic() - began < LONGEST:
            await self._pause(proved, PAUSES[min(looks, len(PAUSES) - 1)])
            looks += 1
            if proved.is_set():
                return Settled.FREE
            try:
                seen = look(mark, find(mark.provider, mark.model, await connection.running()))
            except PaddockError as error:
                if error.failure.kind is FailureKind.UNREACHABLE:
                    return Settled.FREE
                continue
            if seen is not Seen.BUSY:
                return Settled.FREE if seen is Seen.FREE else Settled.UNSEEN
        return Settled.LONG

    def words(self, mark: Mark, settled: Settled) -> str:
        """What to say of the end; empty where nothing is, or was said of this server before."""
        name = clean_name(mark.provider)
        if settled is Settled.UNSEEN and mark.provider not in self._said:
            self._said.add(mark.provider)
            return f"{name} may still be reading the prompt: when it is free cannot be seen with this server"
        if settled is Settled.LONG:
            return f"{name} is still busy after 2 minutes; others may be using it"
        return ""
