"""What `[limits]` did, in whatever process: into the audit trail, and out of it onto the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tui.core.clock import Clock
from tui.core.monitor import Enforcement
from tui.core.observe import Observable
from tui.core.threads import in_daemon_thread
from tui.services.audit import NAME, Audit, Event
from tui.services.logs import redact
from tui.text import clean_label

KEPT: Final = 50
LOOK: Final = 3.0
"""Seconds between two looks whether the trail grew."""
DAY: Final = 86_400.0
"""Seconds for which a deed is shown: it stands there with a time of day."""
_PREFIX: Final = "limit "
_NEAR: Final = 1.0
"""Seconds by which the trail's time of what this process did may differ from its own."""


class Enforced:
    """The last things that limits did, newest first.

    Args:
        clock: Tells when.
        audit: Writes to the audit trail: what, to what, with which result.
    """

    def __init__(self, clock: Clock, audit: Callable[[str, str, str], None]) -> None:
        self.done: Observable[tuple[Enforcement, ...]] = Observable(())
        self._clock = clock
        self._audit = audit
        self._own: tuple[Enforcement, ...] = ()
        self._trail: tuple[Enforcement, ...] = ()

    def tell(self, what: str, target: str, why: str) -> None:
        """Note one: "warned", "asked", "refused", "unloaded", "not unloaded"."""
        self._audit(_PREFIX + what, target, why)
        done = Enforcement(self._clock.time(), what, clean_label(redact(target)), clean_label(redact(why)))
        self._own = (done, *self._own)[:KEPT]
        self._publish()

    async def follow(self, folder: Path) -> None:
        """Take over what the worker, other windows and earlier runs wrote into the trail of this folder, until cancelled."""
        seen: tuple[int, int] | None = None
        while True:
            now = await in_daemon_thread(lambda: _grown(folder / NAME))
            if now != seen:
                seen = now
                self.read(await in_daemon_thread(lambda: Audit.latest(folder, _PREFIX)))
            await asyncio.sleep(LOOK)

    def read(self, events: list[Event]) -> None:
        """Take over what the trail tells."""
        since = self._clock.time() - DAY
        news = [one for one in reversed(events) if one.at > since]
        self._trail = tuple(Enforcement(one.at, one.what.removeprefix(_PREFIX), one.target, one.result) for one in news[:KEPT])
        self._publish()

    def _publish(self) -> None:
        told = [one for one in self._own if not any(_same(one, other) for other in self._trail)]
        done = tuple(sorted((*told, *self._trail), key=lambda one: -one.at)[:KEPT])
        if done != self.done.value:
            self.done.set(done)


def _same(one: Enforcement, other: Enforcement) -> bool:
    return abs(one.at - other.at) < _NEAR and (one.what, one.target, one.why) == (other.what, other.target, other.why)


def _grown(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size
