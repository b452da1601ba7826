"""Pull, then load: a model that is there is loaded where that was asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from tui.config.settings import Settings
from tui.core.clock import Clock
from tui.core.errors import PaddockError
from tui.core.jobs import LOADING, Ask, JobKind, JobState
from tui.core.models import Endpoint
from tui.providers.base import Provider
from tui.services.limits import sentence
from tui.worker.facts import Facts
from tui.worker.fullness import Measure
from tui.worker.run import Run

STILL_WANTED: Final = 3600.0
"""Seconds after the pull in which a load that a killed worker left undone is begun again."""

_log = logging.getLogger("paddock.worker")


class Warmth:
    """Loads after pulls. What goes wrong here is said, and the pull is done all the same.

    Args:
        measure: Finds the limits that a load passes; None: loads are not limited.
    """

    def __init__(
        self,
        facts: Facts,
        make: Callable[[Endpoint], Provider],
        check: Callable[[Endpoint], Awaitable[None]],
        clock: Clock,
        settings: Callable[[], Settings],
        measure: Measure | None = None,
    ) -> None:
        self._settings = settings
        self._measure = measure
        self._facts = facts
        self._make = make
        self._check = check
        self._clock = clock

    def begin(self, run: Run) -> None:
        """Load what has just been pulled, where that was asked for."""
        if run.job.arguments.get("warm_up") and run.job.kind is not JobKind.PUSH:
            self._facts.set(run, warmed=LOADING)
            run.warming = asyncio.create_task(self._load(run), name=f"load {run.job.model}")

    def take_up(self, run: Run) -> None:
        """A worker that is gone had begun to load it."""
        job = run.job
        if job.state is not JobState.DONE or job.warmed != LOADING:
            return
        if 0 <= self._clock.time() - (job.ended_at or 0.0) < STILL_WANTED:
            self.begin(run)
        else:
            self._facts.set(run, warmed="not loaded: the worker ended meanwhile")

    async def _load(self, run: Run) -> None:
        try:
            await self._check(run.job.endpoint)
            full = await self._full(run)
            if full and self._settings().limits.action != "warn":
                raise PaddockError.of(full, run.job.endpoint.name, "Load it when there is room")
            provider = self._make(run.job.endpoint)
            try:
                await provider.load(run.job.model)
            finally:
                await provider.aclose()
            words = f"loaded, though {full}" if full else "loaded"
        except PaddockError as error:
            words = f"not loaded: {error.failure.what}"
        except Exception:
            _log.exception("a load after a pull")
            words = "not loaded: a fault of Paddock, see worker.log"
        finally:
            run.warming = None  # cancelled: another worker takes it up
        if not run.gone:
            self._facts.set(run, warmed=words)

    async def _full(self, run: Run) -> str:
        """What [limits] have to say, in words; nobody is there to ask, so what would ask is not loaded either."""
        if self._measure is None or Ask.LIMITS in run.job.allowed:
            return ""
        found = await self._measure(self._settings(), run.job.endpoint)
        return f"this machine is full: {sentence(found)}" if found else ""
