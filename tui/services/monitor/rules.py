"""Who watches the rules: one process of a home, an app first, else a running worker. It writes the history and raises alerts.

`rules.lock` is held by whoever watches. `rules-app.lock` is held by the app that does, or waits for a worker to let go; a worker that
sees it held gives the rules up. Both end with their process, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tui.core.errors import PaddockError
from tui.core.models import Severity
from tui.core.monitor import AlertsView
from tui.core.observe import Observable
from tui.core.threads import in_daemon_thread
from tui.services.locks import Lock, read_holder, take
from tui.services.monitor.alarms import Alarms, RulesHost
from tui.services.monitor.keeping import Keeping
from tui.store.alerts import ALERTS, AlertTable

if TYPE_CHECKING:
    from tui.hardware.sample import Sample
    from tui.services.monitor.history import History
    from tui.store.db import Database

RULES_LOCK: Final = "rules.lock"
APP_LOCK: Final = "rules-app.lock"
TICK: Final = 1.0
"""Seconds between two looks at locks, providers and what is to be written."""
_LOG: Final = logging.getLogger("paddock.alerts")
HERE: Final = "this window"
WORKER: Final = "the worker"


class Rules:
    """Takes and gives up the rules, and publishes the alerts in every process. On the loop.

    Args:
        host: The hub, or a worker.
        history: Of this process; written while the rules are held here.
        view: Where the alerts are published.
        machine: This machine's name.
        want: Told what of `hardware.sample.WANTED` the rules need.
        app: Of an app; else of a worker, which makes way for one.
    """

    def __init__(
        self,
        host: RulesHost,
        history: History,
        database: Database,
        view: Observable[AlertsView],
        machine: str,
        *,
        want: Callable[[frozenset[str]], None] = lambda _names: None,
        app: bool = True,
    ) -> None:
        self._host = host
        self._view = view
        self._machine = machine
        self._want = want
        self._app = app
        self._table = AlertTable(database)
        self.keeping = Keeping(history, database, host.clock, host.say)
        self._locks: dict[str, Lock] = {}
        self._alarms: Alarms | None = None
        self._stored = AlertsView()
        self._closed = False
        self._said = ""

    @property
    def held(self) -> bool:
        """Whether this process watches the rules."""
        return self._alarms is not None

    async def run(self) -> None:
        """Watch, or wait for the rules, until cancelled or closed."""
        await self.changed(frozenset({ALERTS}))
        while not self._closed:
            await self.tick()
            await asyncio.sleep(TICK)

    async def tick(self) -> None:
        """Once a second."""
        if self._alarms is None:
            keeper = await in_daemon_thread(self._contend)
            if self._closed:
                self._let_go()
                return
            if RULES_LOCK in self._locks:
                alarms = Alarms(self._host, self._table, self._machine, self._want)
                await alarms.begin()
                if self._closed:
                    return
                self._alarms = alarms
        elif not self._app and await in_daemon_thread(lambda: read_holder(self._host.paths.locks / APP_LOCK)) is not None:
            keeper = WORKER
            await self.give_up()
        else:
            keeper = HERE if self._app else WORKER
        if self._alarms is not None:
            keeper = HERE if self._app else WORKER
            self._alarms.look()
            await self._alarms.flush()
            await self.keeping.write_if_due()
        self._publish(keeper)

    def _contend(self) -> str:
        """Try to get the rules; returns who has them. In a thread: a lock folder on a network may be slow."""
        folder = self._host.paths.locks
        try:
            if self._app and APP_LOCK not in self._locks:
                if (lock := take(folder / APP_LOCK)) is None:
                    other = read_holder(folder / APP_LOCK)
                    return f"another window (pid {other.who.pid})" if other is not None else ""
                self._locks[APP_LOCK] = lock
            if not self._app and (other := read_holder(folder / APP_LOCK)) is not None:
                return f"another window (pid {other.who.pid})"
            if RULES_LOCK not in self._locks and (lock := take(folder / RULES_LOCK)) is not None:
                self._locks[RULES_LOCK] = lock
            if RULES_LOCK in self._locks:
                return HERE if self._app else WORKER
            return WORKER if read_holder(folder / RULES_LOCK) is not None else ""
        except PaddockError as error:
            if error.failure.what != self._said:
                self._said = error.failure.what
                self._host.say(f"Alerts are not watched: {error.failure.sentence()}", Severity.WARNING)
            return ""

    def _let_go(self) -> None:
        for name in (RULES_LOCK, APP_LOCK):
            if (lock := self._locks.pop(name, None)) is not None:
                with contextlib.suppress(OSError):
                    lock.release()

    async def give_up(self) -> None:
        """Write what is not written, and let another process have the rules."""
        alarms, self._alarms = self._alarms, None
        if alarms is not None:
            await asyncio.gather(alarms.aclose(), self.keeping.finish())
        self._let_go()

    async def aclose(self) -> None:
        """The same, for good."""
        self._closed = True
        await self.give_up()

    # --- alerts -------------------------------------------------------------------------------------------------------

    def take(self, sample: Sample, interval: float) -> None:
        """Look at a new sample. A fault of the rules ends no measuring: it is logged once."""
        if self._alarms is None:
            return
        try:
            self._alarms.take(sample, interval)
        except Exception as error:
            if repr(error) != self._said:
                self._said = repr(error)
                _LOG.exception("a sample could not be looked at")
        self._publish(HERE if self._app else WORKER)

    async def changed(self, topics: frozenset[str]) -> None:
        """Parts of the database moved, here or in another process."""
        if ALERTS not in topics:
            return
        if self._alarms is not None:
            await self._alarms.reread()
        else:
            self._stored = AlertsView(self._table.open(), self._table.log(), self._table.muted_until())
        self._publish(self._view.value.keeper)

    def _publish(self, keeper: str) -> None:
        alarms = self._alarms
        found = self._stored if alarms is None else AlertsView(alarms.active, alarms.log, alarms.muted_until)
        muted = found.muted_until
        if muted is not None and muted <= self._host.clock.time():
            muted = None
        self._view.set(replace(found, muted_until=muted, keeper=keeper))

    async def acknowledge(self, ids: Iterable[int]) -> None:
        """Mark alerts as seen; none: all.

        Raises:
            PaddockError: It cannot be written.
        """
        numbers = tuple(ids)
        if self._alarms is not None:
            self._alarms.seen(numbers)
            self._publish(self._view.value.keeper)
        await self._table.acknowledge(numbers)

    async def mute(self, seconds: float) -> None:
        """Ring, tell and run nothing for so long, in all processes; 0 ends it.

        Raises:
            PaddockError: It cannot be written.
        """
        until = self._host.clock.time() + seconds if seconds > 0 else None
        if self._alarms is not None:
            self._alarms.muted_until = until
        self._stored = replace(self._stored, muted_until=until)
        self._publish(self._view.value.keeper)
        await self._table.mute(until)
