"""Plans of the queue's pulls, made ahead of their turn: sizes are known, and what cannot be pulled is said, before anything runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from tui.core.clock import Clock
from tui.core.errors import Failure, PaddockError
from tui.core.jobs import Job, JobKind, Plan
from tui.core.models import Endpoint
from tui.providers.base import Provider
from tui.services.plan import Planner

AT_ONCE: Final = 2
STALE: Final = 600.0
"""Seconds after which a plan is made anew before its pull starts: tags move, and the server may have fetched meanwhile."""
UNKNOWN_STALE: Final = 60.0
"""The same for a plan without sizes: the registry may be within reach again."""

_log = logging.getLogger("paddock.worker")


class Plans:
    """The plans being made; `begin` and `take` are called by the queue's tick."""

    def __init__(
        self, planner: Planner, make: Callable[[Endpoint], Provider], check: Callable[[Endpoint], Awaitable[None]], clock: Clock
    ) -> None:
        self._planner = planner
        self._make = make
        self._check = check
        self._clock = clock
        self._tasks: dict[int, asyncio.Task[Plan]] = {}

    def due(self, job: Job) -> bool:
        """Whether a pull needs a plan, or a new one, before it starts."""
        if job.kind is not JobKind.PULL:
            return False
        plan = job.plan
        if plan is None:
            return True
        age = self._clock.time() - plan.made_at
        return not 0 <= age < (STALE if plan.layers else UNKNOWN_STALE)

    def working(self, number: int) -> bool:
        """Whether the plan of a job is being made."""
        return number in self._tasks

    def begin(self, job: Job, *, turn: bool = False) -> bool:
        """Make the plan of a job unless enough are being made; not so for one whose turn it is. Whether it is being made now."""
        if job.id not in self._tasks and (turn or len(self._tasks) < AT_ONCE):
            self._tasks[job.id] = asyncio.create_task(self._plan(job), name=f"plan {job.id}")
        return job.id in self._tasks

    def take(self) -> list[tuple[int, Plan | Failure]]:
        """What was found out since the last call: plans, or why a job will never be one."""
        found: list[tuple[int, Plan | Failure]] = []
        for number, task in list(self._tasks.items()):
            if not task.done():
                continue
            del self._tasks[number]
            error = None if task.cancelled() else task.exception()
            if isinstance(error, PaddockError):
                found.append((number, error.failure))
            elif error is not None:
                _log.error("a plan could not be made", exc_info=error)
                found.append((number, Plan(note="it could not be found out what it will fetch", made_at=self._clock.time())))
            elif not task.cancelled():
                found.append((number, task.result()))
        return found

    def forget(self, number: int) -> None:
        """The job is gone or has ended."""
        task = self._tasks.pop(number, None)
        if task is not None:
            task.cancel()

    async def _plan(self, job: Job) -> Plan:
        try:
            await self._check(job.endpoint)
        except PaddockError as error:  # it is said when its turn comes; until then nothing is sent there
            return Plan(note=f"its server is not asked: {error.failure.what}", made_at=self._clock.time())
        provider = self._make(job.endpoint)
        try:
            return await self._planner.plan(provider, job.model, insecure=bool(job.arguments.get("insecure")))
        finally:
            await provider.aclose()

    async def close(self) -> None:
        """End what is being asked."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
