"""The history in the database: means read at the start, and written once a minute by whoever watches the rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tui.core.clock import Clock
from tui.core.errors import PaddockError
from tui.core.models import Severity
from tui.services.monitor.history import COARSE, History, Ring
from tui.store.samples import Samples

if TYPE_CHECKING:
    from tui.store.db import Database

EVERY: Final = 60.0
"""Seconds between two times of writing."""
BEFORE: Final = 180.0
"""Seconds of what it measured itself that a new keeper writes: the one before it may have been killed."""


async def stored_rings(database: Database, now: float) -> tuple[Ring, ...]:
    """The means that the database has, one ring a step; off the loop.

    Args:
        database: Where they are.
        now: Epoch seconds; what is newer is of a clock that was wrong.

    Raises:
        PaddockError: The database cannot be read.
    """
    samples = Samples(database)
    found = []
    for step, size in COARSE:
        last = int(now / step)
        ring = Ring(step, size)
        await samples.each(int(step), last - size + 1, last, ring.put)
        found.append(ring)
    return tuple(found)


class Keeping:
    """Reads and writes the history of one process.

    Args:
        say: Told once when it cannot be written.
    """

    def __init__(self, history: History, database: Database, clock: Clock, say: Callable[[str, Severity], None]) -> None:
        self._history = history
        self._database = database
        self._samples = Samples(database)
        self._clock = clock
        self._say = say
        self._said = False
        self._due = clock.monotonic() + EVERY
        self._from: dict[int, int] = {}
        self._tidied = False

    async def load(self) -> None:
        """Read what was measured before this program ran."""
        with contextlib.suppress(PaddockError):  # a damaged or busy database is told of elsewhere
            self._history.fill(await stored_rings(self._database, self._clock.time()))

    async def write_if_due(self) -> None:
        """Write the means that are finished, once a minute. Trouble is said once, and it is tried again."""
        if self._clock.monotonic() >= self._due:
            self._due = self._clock.monotonic() + EVERY
            await self.write()

    async def write(self, *, unfinished: bool = False) -> bool:
        """Write what is new since the last time; False where it did not work."""
        steps, keep = {}, {}
        newest: dict[int, int] = {}
        for ring, (seconds, size) in zip(self._history.coarse, COARSE, strict=True):
            step, last = int(seconds), ring.newest if unfinished else ring.newest - 1
            first = min(self._from.get(step, last - int(BEFORE / step)), last)
            rows = [(number, dict(ring.bucket(number))) for number in range(max(first, ring.first), last + 1)]
            steps[step], keep[step], newest[step] = [(number, values) for number, values in rows if values], size, last + 1
        try:
            await self._samples.write(steps, keep)
            if not self._tidied:
                self._tidied = True
                await self._samples.forget_unused()
        except PaddockError as error:
            if not self._said:
                self._said = True
                self._say(f"The history of figures is not kept: {error.failure.what}", Severity.WARNING)
            return False
        self._from, self._said = newest, False
        return True

    async def finish(self) -> None:
        """At the end: what is not finished too; waits a second at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.write(unfinished=True)
