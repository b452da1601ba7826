"""[limits] before a pull: whether this machine is too full for it, measured by the worker itself, off its loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tui.config.settings import Settings
from tui.core.clock import Clock
from tui.core.jobs import Ask, Job, JobKind, Wait
from tui.core.models import Endpoint
from tui.services.asks import YES
from tui.services.audit import Audit
from tui.services.limits import Breach, sentence
from tui.services.space import runs_here
from tui.worker.gates import Gate

FRESH: Final = 10.0
"""Seconds for which a measurement counts, and so the shortest time between two of them."""
WITHIN: Final = 30.0
"""Seconds a measurement may take; one that hangs keeps no pull waiting."""

Measure = Callable[[Settings, Endpoint], Awaitable[Sequence[Breach]]]
_log = logging.getLogger("paddock.worker")


class Fullness:
    """The limits that pulls pass, by server; only servers of this machine are looked at, and only before the first attempt.

    Args:
        measure: Finds the limits that are passed now, see `limits.check_pull`.
    """

    def __init__(self, settings: Callable[[], Settings], measure: Measure, audit: Audit, clock: Clock) -> None:
        self._settings = settings
        self._measure = measure
        self._audit = audit
        self._clock = clock
        self._found: dict[str, tuple[float, Sequence[Breach]]] = {}
        self._tasks: dict[str, asyncio.Task[Sequence[Breach]]] = {}
        self._noted: set[tuple[int, str]] = set()

    def gate(self, job: Job) -> Gate | None:
        """Why a pull that could start now must wait; it goes on by itself when there is room. None: it may start."""
        settings = self._settings()
        action = settings.limits.action
        if action == "warn" or job.attempts or Ask.LIMITS in job.allowed or not self._counts(job, settings):
            return None
        found = self._look(job, settings)
        if found is None:
            return Gate(Wait.NOTHING, "measures how full this machine is")
        if not found:
            return None
        words = f"this machine is full: {sentence(found)}"
        self._note(job, "asked" if action == "ask" else "refused", sentence(found))
        if action == "ask":
            return Gate(Wait.ANSWER, f"{YES}{words}", asks=frozenset({Ask.LIMITS}))
        return Gate(Wait.LIMITS, f"waits: {words}")

    def warning(self, job: Job) -> str | None:
        """What is to be said of a pull that runs all the same; empty for nothing, None while it is measured."""
        settings = self._settings()
        if settings.limits.action != "warn" or job.attempts > 1 or not self._counts(job, settings):
            return ""
        found = self._look(job, settings)
        if found:
            self._note(job, "warned", sentence(found))
            return f"this machine is full: {sentence(found)}"
        return None if found is None else ""

    def _counts(self, job: Job, settings: Settings) -> bool:
        limits = settings.limits
        return job.kind is JobKind.PULL and runs_here(job.endpoint, settings) and any((limits.cpu, limits.memory, limits.disk))

    def _look(self, job: Job, settings: Settings) -> Sequence[Breach] | None:
        """What was found last; None while nothing is known. Measures anew where that is too long ago."""
        server, now = job.endpoint.url, self._clock.monotonic()
        task = self._tasks.get(server)
        if task is not None and task.done():
            del self._tasks[server]
            self._found[server] = (now, self._result(task))
        known = self._found.get(server)
        if known is not None and 0 <= now - known[0] < FRESH:
            return known[1]
        if server not in self._tasks:
            self._tasks[server] = asyncio.create_task(self._within(settings, job.endpoint), name=f"measure {server}")
        return known[1] if known is not None and now - known[0] < FRESH + WITHIN else None

    async def _within(self, settings: Settings, endpoint: Endpoint) -> Sequence[Breach]:
        try:
            async with asyncio.timeout(WITHIN):
                return await self._measure(settings, endpoint)
        except TimeoutError:
            return ()

    @staticmethod
    def _result(task: asyncio.Task[Sequence[Breach]]) -> Sequence[Breach]:
        if task.cancelled():
            return ()
        error = task.exception()
        if error is None:
            return task.result()
        _log.error("this machine could not be measured", exc_info=error)
        return ()

    def _note(self, job: Job, what: str, why: str) -> None:
        """Once a job and deed, into the audit trail."""
        if (job.id, what) not in self._noted:
            self._noted.add((job.id, what))
            self._audit.write(f"limit {what}", f"{job.endpoint.name}/{job.model}", why)

    async def close(self) -> None:
        """Measure no more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
