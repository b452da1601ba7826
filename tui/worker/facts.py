"""The facts of the queue: changed in memory, written down together once a tick."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from tui.core.errors import PaddockError
from tui.core.jobs import Job, Plan
from tui.store.jobs import JobTable
from tui.worker.run import Run

_log = logging.getLogger("paddock.worker")


class Facts:
    """What changed since it was last written."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._changed: dict[int, Job] = {}
        self._past: list[Job] = []
        self._plans: dict[int, Job] = {}
        self._durable = False
        self._unsaved = ""

    @property
    def unwritten(self) -> bool:
        """Whether anything is not on disk yet."""
        return bool(self._changed or self._plans)

    def set(self, run: Run, *, durable: bool = True, **changes: Any) -> None:
        """Change a job; progress need not wait for the disk."""
        if any(getattr(run.job, name) != value for name, value in changes.items()):
            run.job = self._changed[run.job.id] = replace(run.job, **changes)
            self._durable = self._durable or durable

    def plan(self, run: Run, plan: Plan | None) -> None:
        """What a pull will fetch is known, or is not any more."""
        run.job = self._plans[run.job.id] = replace(run.job, plan=plan)

    def ended(self, run: Run) -> None:
        """The job goes into the history with the next write."""
        self._past.append(run.job)

    async def flush(self) -> None:
        """Write all of it in one transaction; what cannot be written now is kept for the next time."""
        if not self.unwritten:
            return
        jobs, past, plans, durable = tuple(self._changed.values()), tuple(self._past), tuple(self._plans.values()), self._durable
        self._changed, self._past, self._plans, self._durable = {}, [], {}, False
        try:
            await self._table.record(jobs, ended=past, plans=plans, durable=durable)
        except PaddockError as error:
            self._changed = {job.id: job for job in jobs} | self._changed
            self._past = [*past, *self._past]
            self._plans = {job.id: job for job in plans} | self._plans
            self._durable = True
            if error.failure.what != self._unsaved:
                _log.warning("%s", error.failure.sentence())
            self._unsaved = error.failure.what
        else:
            self._unsaved = ""
