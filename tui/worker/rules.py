"""The rules while no app runs: a worker that has work anyway measures this machine, keeps the history and raises alerts.

Whether servers answer is not looked at here; an app does that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tui.core.clock import SYSTEM, Clock
from tui.core.errors import PaddockError
from tui.core.machine_name import machine_name
from tui.core.models import ProviderState, RunningModel, Severity
from tui.core.monitor import AlertsView
from tui.core.observe import Observable
from tui.services.limits import Samples, holders_here
from tui.services.monitor.history import History
from tui.services.monitor.rules import TICK, Rules
from tui.services.monitor.sampling import Sampling
from tui.worker.acting import OLLAMA

if TYPE_CHECKING:
    from tui.config.paths import Paths
    from tui.config.settings import Settings
    from tui.providers.ports import Holder
    from tui.services.audit import Audit
    from tui.services.chat.api import LiveAnswer
    from tui.store.db import Database

AFTER: Final = 10.0
"""Seconds of work until it looks whether anybody watches: for a short job no sampler is started."""
_log = logging.getLogger("paddock.worker")


class WorkerRules:
    """`alarms.RulesHost` of a worker, and the task that watches.

    Args:
        settings: The running settings.
        command: Makes the sampler's command line; tests give their own.
        act: Does what limits want done by itself, until cancelled, while the rules are watched here.
    """

    def __init__(
        self,
        database: Database,
        paths: Paths,
        settings: Callable[[], Settings],
        audit: Audit,
        *,
        clock: Clock = SYSTEM,
        command: Callable[[Settings], list[str]] | None = None,
        after: float = AFTER,
        act: Callable[[Callable[[], Samples]], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._act = act
        self.clock = clock
        self.paths = paths
        self.view: Observable[AlertsView] = Observable(AlertsView())
        self._database = database
        self._settings = settings
        self._audit = audit
        self._command = command
        self._after = after
        self._rules: Rules | None = None

    # --- its host -----------------------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """The running settings."""
        return self._settings()

    def live(self) -> Sequence[LiveAnswer]:
        """None: a worker writes no answers."""
        return ()

    def say(self, text: str, severity: Severity = Severity.INFO) -> None:
        """Into the worker's log."""
        _log.log(logging.INFO if severity is Severity.INFO else logging.WARNING, "%s", text)

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        """Write to the audit trail."""
        self._audit.write(what, target, result)

    def environ(self) -> Mapping[str, str]:
        """Of this process."""
        return os.environ

    def states(self) -> Sequence[ProviderState] | None:
        """None: nobody looks."""
        return None

    def running(self) -> Sequence[RunningModel]:
        """Nothing is known of loaded models."""
        return ()

    async def own_servers(self) -> tuple[Sequence[Holder], int]:
        """Who holds the ports of the configured providers on this machine; what their models have is known by process only."""
        return await holders_here(self._settings(), OLLAMA), 0

    # --- its life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch while no app does, until cancelled; whatever goes wrong here ends no download."""
        await asyncio.sleep(self._after)
        said = ""
        while True:
            try:
                await self._watch()
            except Exception as error:
                if repr(error) != said:
                    said = repr(error)
                    why = error.failure.sentence() if isinstance(error, PaddockError) else said
                    _log.warning("rules are not watched: %s", why, exc_info=None if isinstance(error, PaddockError) else error)
            await asyncio.sleep(self._after)

    async def _watch(self) -> None:
        history, sampling = History(), Sampling(self._settings, clock=self.clock, command=self._command)
        rules = self._rules = Rules(self, history, self._database, self.view, machine_name(), want=sampling.want, app=False)
        sampling.taken += [history.add, rules.take]
        changes = self._database.changes()
        sampler: asyncio.Task[None] | None = None
        acting: asyncio.Task[None] | None = None
        try:
            while True:
                await rules.changed(changes.poll())
                await rules.tick()
                if rules.held and (sampler is None or sampler.done()):
                    _log.info("watches the rules: no app does")
                    sampler = asyncio.create_task(sampling.run(), name="sampler")
                    if self._act is not None and (acting is None or acting.done()):
                        acting = asyncio.create_task(self._act(sampling.recent), name="limits")
                elif not rules.held and sampler is not None:
                    _log.info("an app watches the rules")
                    if acting is not None:  # at once: the app acts, too
                        await _end(acting)
                    await _end(sampler)
                    sampler = None
                await asyncio.sleep(TICK)
        finally:
            for task in (acting, sampler):
                if task is not None:
                    await _end(task)
            await rules.aclose()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
