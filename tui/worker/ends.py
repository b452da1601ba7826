"""How attempts end, and what becomes of their jobs: done, waiting for another try, paused, failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from tui.config.settings import Settings
from tui.core import partials
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind
from tui.core.jobs import JobState, JobWish, Wait
from tui.core.pulls import Phase
from tui.services.audit import Audit
from tui.store.jobs import provider_key
from tui.worker.attempt import DELAYS, DOWN_DELAYS, Attempt, delay, is_final, is_full, is_mismatch
from tui.worker.disks import LOOK_AT_DISK, Disks
from tui.worker.facts import Facts
from tui.worker.run import Run, waits_for_server

FULL_ELSEWHERE: Final = 600.0
"""Seconds until a server is asked again whose disk was full, and whose room we cannot see."""
PROGRESS_RESETS: Final = 64 * 10**6
"""Bytes that came after which earlier failures no longer count."""


class Ends:
    """Writes down what became of attempts."""

    def __init__(
        self,
        facts: Facts,
        runs: Mapping[int, Run],
        settings: Callable[[], Settings],
        disks: Disks,
        audit: Audit,
        clock: Clock,
        jitter: Callable[[float, float], float],
    ) -> None:
        self._facts = facts
        self._runs = runs
        self._settings = settings
        self._disks = disks
        self._audit = audit
        self._clock = clock
        self._jitter = jitter

    def done(self, run: Run, attempt: Attempt) -> None:
        """The server has it, and lists it."""
        job = run.job
        self._audit.write(job.kind, job.model, "done", server=job.endpoint.url, digest=attempt.digest)
        self._facts.set(run, digest=attempt.digest, changes=attempt.changes, failure=None, failures=0, percent=100.0)
        self.end(run, JobState.DONE, attempt.remark)

    def end(self, run: Run, state: JobState, note: str) -> None:
        """Nothing more happens by itself."""
        run.paced = False
        if state is JobState.CANCELLED:
            self._audit.write(run.job.kind, run.job.model, "cancelled", server=run.job.endpoint.url)
        nothing: dict[str, Any] = {"wait": Wait.NOTHING, "asks": frozenset(), "due_at": None, "rate": None, "eta": None}
        self._facts.set(run, state=state, note=note, ended_at=self._clock.time(), **nothing)
        self._facts.ended(run)

    def fail(self, run: Run, failure: Failure, note: str = "") -> None:
        """It ended without being done."""
        self._audit.write(run.job.kind, run.job.model, "failed", server=run.job.endpoint.url, why=failure.what)
        self._facts.set(run, failure=failure)
        self.end(run, JobState.FAILED, note or f"failed: {failure.what}")

    def pause(self, run: Run) -> None:
        """It rests because that was wished."""
        run.paced = False
        words = partials.kept(run.job, self._clock.time(), binary=self._settings().appearance.units == "binary")
        note = f"paused: {words}" if words else "paused"
        self._facts.set(run, state=JobState.PAUSED, wait=Wait.NOTHING, note=note, due_at=None, rate=None, eta=None)

    def wait(self, run: Run, seconds: float, wait: Wait, note: str, now: float, failure: Failure | None = None) -> None:
        """It is looked at again after so many seconds."""
        run.paced = False
        run.due, run.held = now + seconds, (wait, note)
        changes: dict[str, Any] = {} if failure is None else {"failure": failure}
        due_at = self._clock.time() + seconds
        self._facts.set(run, state=JobState.WAITING, wait=wait, note=note, due_at=due_at, asks=frozenset(), rate=None, eta=None, **changes)

    async def failed_with(self, run: Run, attempt: Attempt, failure: Failure, now: float) -> None:
        """An attempt ended in trouble."""
        down = failure.kind in (FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.LOADING) and not attempt.answered
        if down:
            run.downs += 1
            pause = delay(run.downs, DOWN_DELAYS, self._jitter)
            self.wait(run, pause, Wait.SERVER, waits_for_server(run.job, failure), now, failure=failure)
            return
        run.downs = 0
        if is_full(failure):
            await self._disk_full(run, failure, now)
        elif is_mismatch(failure):
            self._damaged(run, failure, now)
        elif is_final(failure) or attempt.may_have_acted(failure):
            self.fail(run, failure)
        elif failure.kind is FailureKind.INTERRUPTED and run.meter.progress(now).phase is Phase.CHECKING and not run.unclear:
            run.unclear = True
            self.wait(run, 1.0, Wait.RETRY, "unclear how it ended, asks again", now, failure=failure)
        else:
            self.missed(run, failure, now)

    def _damaged(self, run: Run, failure: Failure, now: float) -> None:
        """Once afresh: the server has thrown the damaged part away, and the tag may have moved, so what is expected is asked anew."""
        if run.again:
            self.fail(run, replace(failure, what="The download arrived damaged twice (checksum)"))
            return
        run.again = True
        run.meter.forget()
        self._facts.plan(run, None)
        self._facts.set(run, percent=None, done=0, layers=())
        note = "arrived damaged (checksum), loads the damaged part anew"
        self.wait(run, DOWN_DELAYS[0], Wait.RETRY, note, now, failure=failure)

    def missed(self, run: Run, failure: Failure, now: float) -> None:
        """A fault that may pass: wait longer each time, then give up."""
        retries = self._settings().pulls.retries
        failures = 1 if run.job.fetched > run.best + PROGRESS_RESETS else run.job.failures + 1
        run.best = run.job.fetched
        self._facts.set(run, failures=failures)
        if failures > retries:
            self.fail(run, failure, f"failed after {retries} {'retry' if retries == 1 else 'retries'}: {failure.what}")
            return
        pause = max(delay(failures, DELAYS, self._jitter), failure.retry_after or 0.0)
        self.wait(run, pause, Wait.RETRY, f"waits to retry ({failures} of {retries}): {failure.what}", now, failure=failure)

    async def _disk_full(self, run: Run, failure: Failure, now: float) -> None:
        """The whole queue of that server rests until there is room; where we see none missing, it is another disk, or a quota."""
        server, settings = provider_key(run.job.endpoint), self._settings()
        known = await self._disks.room(run.job, settings)
        if known is None or known.enough:
            seconds, note = FULL_ELSEWHERE, "waits for space: the server's disk is full; asks again every 10 minutes"
        else:
            seconds, note = LOOK_AT_DISK, known.sentence(binary=settings.appearance.units == "binary")
        for other in self._runs.values():
            if provider_key(other.job.endpoint) != server or other.job.state.ended:
                continue
            other.full = True
            if other is run or (other.may_begin and other.job.wish is JobWish.RUN):
                self.wait(other, seconds, Wait.SPACE, note, now, failure=failure if other is run else None)
