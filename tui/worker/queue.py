"""The queue as the worker works it: one tick looks at wishes, attempts, room and time, and writes down what is."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from tui.config.settings import Settings
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import Job, JobState, JobWish
from tui.core.models import Endpoint
from tui.core.pulls import Phase, PullMeter, PullProgress, Stall
from tui.core.threads import in_daemon_thread
from tui.providers.base import Provider
from tui.services.audit import Audit
from tui.services.space import AFTER_FULL, Room, room_for
from tui.store.db import Database
from tui.store.jobs import JobTable, has_work, provider_key
from tui.text import clean_name, size
from tui.worker.attempt import DELAYS, DOWN_DELAYS, Attempt, delay, is_final, is_full, is_mismatch

LOOK_AT_DISK: Final = 10.0
"""Seconds between two looks at the room on a disk."""
DISK_WITHIN: Final = 1.0
"""Seconds a disk is given to say its room; one that hangs (a network folder) is taken as unknown."""
FULL_ELSEWHERE: Final = 600.0
"""Seconds until a server elsewhere whose disk was full is asked again."""
PROGRESS_RESETS: Final = 64 * 10**6
"""New bytes after which earlier failures no longer count."""
LONGEST_WAIT: Final = 400.0
"""Seconds; no due time lies further ahead, whatever the clock says."""

_log = logging.getLogger("paddock.worker")


@dataclass(slots=True)
class Run:
    """What the worker remembers of a job while it lives.

    Attributes:
        failures: In a row, without new bytes to speak of.
        best: Bytes when they were last counted.
        downs: Looks in a row at a server that did not answer.
        due: Monotonic time of the next look.
        reason: Why we closed the stream: `pause`, `cancel`, `stall`, `space`, `end`, or empty.
        again: The one fresh attempt after damaged bytes was used.
        unclear: The stream ended without a word and the model was asked for again at once.
        full: The disk was full, so more room is asked for.
    """

    job: Job
    meter: PullMeter
    attempt: Attempt | None = None
    task: asyncio.Task[None] | None = None
    failures: int = 0
    best: int = 0
    downs: int = 0
    due: float = 0.0
    reason: str = ""
    again: bool = False
    unclear: bool = False
    full: bool = False


class Queue:
    """The queue of one worker. `tick` is called four times a second and never waits for a server."""

    def __init__(
        self,
        database: Database,
        settings: Callable[[], Settings],
        make: Callable[[Endpoint], Provider],
        check: Callable[[Endpoint], Awaitable[None]],
        audit: Audit,
        clock: Clock = SYSTEM,
        jitter: Callable[[float, float], float] = random.uniform,
        *,
        space: bool = True,
    ) -> None:
        self.runs: dict[int, Run] = {}
        self._settings = settings
        self._make = make
        self._check = check
        self._audit = audit
        self._clock = clock
        self._jitter = jitter
        self._space = space
        self._table = JobTable(database, clock)
        self._dirty: dict[int, Job] = {}
        self._durable = False
        self._disk_looked_at = float("-inf")
        self._looks: dict[str, asyncio.Future[Room | None]] = {}
        self._unsaved = ""

    async def open(self) -> None:
        """Take over what an earlier worker left."""
        await self._table.adopt()
        await self.read()

    @property
    def busy(self) -> bool:
        """Whether anything is left to do or to wait for."""
        return bool(self._dirty) or has_work(run.job for run in self.runs.values())

    # --- wishes ----------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read the wishes; facts in memory stand over those on disk."""
        await self._flush()
        renewed = await self._table.take_renewals()
        now = self._clock.monotonic()
        jobs = self._table.list()
        for gone in self.runs.keys() - {job.id for job in jobs}:
            self._close(self.runs.pop(gone), "cancel")
        for job in jobs:
            run = self.runs.get(job.id)
            if run is None or (job.id in renewed and run.task is None):
                self.runs[job.id] = self._remember(job, now)
            else:
                run.job = replace(run.job, wish=job.wish, position=job.position)
                if job.id in renewed:
                    run.failures = run.downs = 0

    def _remember(self, job: Job, now: float) -> Run:
        wait = 0.0 if job.due_at is None else min(max(0.0, job.due_at - self._clock.time()), LONGEST_WAIT)
        failures = min(job.attempts, self._settings().pulls.retries) if job.failure is not None else 0
        return Run(job, PullMeter(now), failures=failures, best=job.done, due=now + wait)

    # --- the tick --------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Do what is due. A database that cannot be written delays nothing but the writing."""
        now = self._clock.monotonic()
        for run in list(self.runs.values()):
            if run.task is not None and run.task.done():
                await self._settle(run, now)
            self._obey(run, now)
            if run.task is not None:
                self._watch(run, now)
        await self._look_at_disks(now)
        await self._start_due(now)
        await self._flush()

    def _obey(self, run: Run, now: float) -> None:
        job = run.job
        if job.state.ended or job.wish is JobWish.RUN:
            if job.state is JobState.PAUSED:
                run.due = now
                self._set(run, state=JobState.WAITING, note="", due_at=None)
            return
        pausing = job.wish is JobWish.PAUSE
        if run.task is not None:
            self._close(run, "pause" if pausing else "cancel")
        elif pausing and job.state is not JobState.PAUSED:
            self._pause(run)
        elif not pausing:
            self._end(run, JobState.CANCELLED, "cancelled")

    def _watch(self, run: Run, now: float) -> None:
        """Carry the meter's figures over, and end a stream on which nothing comes."""
        figures = run.meter.progress(now)
        state = JobState.CHECKING if figures.phase in (Phase.CHECKING, Phase.DONE) else JobState.FETCHING
        if run.attempt is not None and run.attempt.succeeded:
            state = JobState.CHECKING
        self._set(run, durable=state is not run.job.state, state=state, note=_doing(figures), **_figures(figures, run.job))
        if figures.stall is Stall.RECONNECT and not run.reason:
            self._close(run, "stall")

    async def _look_at_disks(self, now: float) -> None:
        if now - self._disk_looked_at < LOOK_AT_DISK:
            return
        self._disk_looked_at = now
        settings = self._settings()
        for run in self.runs.values():
            if run.task is not None and run.job.state is JobState.FETCHING and not run.reason:
                room = await self._room(run.job, settings)
                if room is not None and not room.enough:
                    self._close(run, "space")

    async def _room(self, job: Job, settings: Settings, extra: int = 0) -> Room | None:
        """The room for a job; None where it is not known, or where the disk does not answer."""
        if not self._space:
            return None
        server = provider_key(job.endpoint)
        if server in self._looks and not self._looks[server].done():
            return None
        look = self._looks[server] = asyncio.ensure_future(in_daemon_thread(lambda: room_for(job, settings, extra=extra)))
        await asyncio.wait({look}, timeout=DISK_WITHIN)
        return look.result() if look.done() else None

    async def _start_due(self, now: float) -> None:
        settings = self._settings()
        places = settings.pulls.at_once - sum(run.task is not None for run in self.runs.values())
        for run in sorted(self.runs.values(), key=lambda run: run.job.position):
            job = run.job
            if job.state not in (JobState.WAITING, JobState.INTERRUPTED) or job.wish is not JobWish.RUN or run.task is not None:
                continue
            if run.due > now:
                self._keep_due_true(run, now)
            elif settings.general.network == "offline":
                self._set(run, durable=False, note="waits: general.network is offline", due_at=None)
            elif places <= 0:
                self._set(run, durable=False, note=f"waits for a place ({settings.pulls.at_once} at once)", due_at=None)
            elif await self._may_start(run, settings, now):
                self._start(run, now)
                places -= 1

    def _keep_due_true(self, run: Run, now: float) -> None:
        """The clock may be set while we wait; the wait itself is measured by the other clock."""
        due_at = self._clock.time() + run.due - now
        if run.job.due_at is not None and abs(run.job.due_at - due_at) > 2.0:
            self._set(run, due_at=due_at)

    async def _may_start(self, run: Run, settings: Settings, now: float) -> bool:
        try:
            await self._check(run.job.endpoint)
        except PaddockError as error:
            source, _, name = run.job.endpoint.key.partition(":")
            missing = source == "env" and error.failure.kind is FailureKind.AUTH
            note = f"needs {clean_name(name)}" if missing else f"waits: {error.failure.what}"
            self._wait(run, LOOK_AT_DISK, note, now, failure=error.failure)
            return False
        room = await self._room(run.job, settings, AFTER_FULL if run.full else 0)
        if room is not None and not room.enough:
            self._wait(run, LOOK_AT_DISK, room.sentence(), now)
            return False
        run.full = False
        return True

    def _start(self, run: Run, now: float) -> None:
        job = run.job
        try:
            provider = self._make(job.endpoint)
        except PaddockError as error:
            self._fail(run, error.failure)
            return
        run.meter.restart(now)
        run.reason = ""
        run.attempt = Attempt(job, provider, run.meter, self._clock, verify=self._settings().pulls.verify)
        run.task = asyncio.create_task(run.attempt.run(), name=f"job {job.id}")
        if not job.attempts:
            self._audit.write(job.kind, job.model, "started", server=job.endpoint.url)
        started = job.started_at or self._clock.time()
        self._set(run, state=JobState.FETCHING, note="", attempts=job.attempts + (not run.downs), started_at=started, due_at=None)

    # --- how attempts end ------------------------------------------------------------------------------------------

    def _close(self, run: Run, reason: str) -> None:
        """Close the stream; the server keeps its bytes."""
        if run.task is not None and run.reason in ("", "stall", "space"):
            run.reason = reason
            run.task.cancel()

    async def _settle(self, run: Run, now: float) -> None:
        """An attempt ended: write down what became of it."""
        task, attempt, reason = run.task, run.attempt, run.reason
        assert task is not None
        assert attempt is not None
        run.task = run.attempt = None
        run.reason = ""
        self._set(run, durable=False, **{**_figures(run.meter.progress(now), run.job), "rate": None, "eta": None})
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            self._audit.write(run.job.kind, run.job.model, "done", server=run.job.endpoint.url, digest=attempt.digest)
            self._end(run, JobState.DONE, "")
        elif reason == "end":
            self._set(run, state=JobState.WAITING, note="")
        elif reason in ("pause", "cancel"):
            self._set(run, state=JobState.WAITING)
            self._obey(run, now)
        elif reason == "space":
            run.due = now
            self._set(run, state=JobState.WAITING, note="waits for space")
        elif reason == "stall":
            self._missed(run, _stalled(run.job), now)
        elif isinstance(error, PaddockError):
            await self._failed_with(run, attempt, error.failure, now)
        else:
            _log.error("attempt ended unexpectedly", exc_info=error)
            self._missed(run, Failure("The attempt ended by a fault of Paddock", run.job.model, "Please report it: see worker.log"), now)

    async def _failed_with(self, run: Run, attempt: Attempt, failure: Failure, now: float) -> None:
        down = failure.kind in (FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.LOADING) and not attempt.answered
        if down:
            run.downs += 1
            self._wait(run, delay(run.downs, DOWN_DELAYS, self._jitter), _waits_for_server(run.job, failure), now, failure=failure)
            return
        run.downs = 0
        if is_full(failure):
            await self._disk_full(run, failure, now)
        elif is_mismatch(failure):
            if run.again:
                self._fail(run, replace(failure, what="The download arrived damaged twice (checksum)"))
            else:
                run.again = True
                self._wait(run, DOWN_DELAYS[0], "arrived damaged (checksum), loads the damaged part anew", now, failure=failure)
        elif is_final(failure):
            self._fail(run, failure)
        elif failure.kind is FailureKind.INTERRUPTED and run.meter.progress(now).phase is Phase.CHECKING and not run.unclear:
            run.unclear = True
            self._wait(run, 1.0, "unclear how it ended, asks again", now, failure=failure)
        else:
            self._missed(run, failure, now)

    def _missed(self, run: Run, failure: Failure, now: float) -> None:
        """A fault that may pass: wait longer each time, then give up."""
        retries = self._settings().pulls.retries
        if run.job.done > run.best + PROGRESS_RESETS:
            run.failures = 0
        run.best = max(run.best, run.job.done)
        run.failures += 1
        if run.failures > retries:
            self._fail(run, failure, f"failed after {retries} {'retry' if retries == 1 else 'retries'}: {failure.what}")
            return
        pause = max(delay(run.failures, DELAYS, self._jitter), failure.retry_after or 0.0)
        self._wait(run, pause, f"waits to retry ({run.failures} of {retries}): {failure.what}", now, failure=failure)

    async def _disk_full(self, run: Run, failure: Failure, now: float) -> None:
        """The whole queue of that server rests until there is room."""
        server = provider_key(run.job.endpoint)
        known = await self._room(run.job, self._settings())
        for other in self.runs.values():
            if provider_key(other.job.endpoint) != server or other.job.state.ended:
                continue
            other.full = True
            if other is run or (other.task is None and other.job.state is JobState.WAITING):
                note = known.sentence() if known is not None else "waits: the server's disk is full; asks again every 10 minutes"
                self._wait(other, LOOK_AT_DISK if known is not None else FULL_ELSEWHERE, note, now, failure=failure)

    def _wait(self, run: Run, seconds: float, note: str, now: float, failure: Failure | None = None) -> None:
        run.due = now + seconds
        changes: dict[str, Any] = {} if failure is None else {"failure": failure}
        self._set(run, state=JobState.WAITING, note=note, due_at=self._clock.time() + seconds, **changes)

    def _pause(self, run: Run) -> None:
        job = run.job
        kept = f", {size(job.done)} of {size(job.total)} kept until {job.endpoint.name} restarts" if job.total and job.done else ""
        self._set(run, state=JobState.PAUSED, note=f"paused{kept}", due_at=None, rate=None, eta=None)

    def _fail(self, run: Run, failure: Failure, note: str = "") -> None:
        self._audit.write(run.job.kind, run.job.model, "failed", server=run.job.endpoint.url, why=failure.what)
        self._set(run, failure=failure)
        self._end(run, JobState.FAILED, note or f"failed: {failure.what}")

    def _end(self, run: Run, state: JobState, note: str) -> None:
        if state is JobState.CANCELLED:
            self._audit.write(run.job.kind, run.job.model, "cancelled", server=run.job.endpoint.url)
        if state is JobState.DONE:
            self._set(run, failure=None, percent=100.0)
        self._set(run, state=state, note=note, ended_at=self._clock.time(), due_at=None, rate=None, eta=None)

    # --- facts -----------------------------------------------------------------------------------------------------

    def _set(self, run: Run, *, durable: bool = True, **changes: Any) -> None:
        job = replace(run.job, **changes)
        if job != run.job:
            run.job = job
            self._dirty[job.id] = job
            self._durable = self._durable or durable

    async def _flush(self) -> None:
        """Write the changed facts in one transaction; what cannot be written now is kept for the next tick."""
        if not self._dirty:
            return
        jobs, durable = tuple(self._dirty.values()), self._durable
        self._dirty, self._durable = {}, False
        try:
            await self._table.record(jobs, durable=durable)
        except PaddockError as error:
            self._dirty = {job.id: job for job in jobs} | self._dirty
            self._durable = True
            if error.failure.what != self._unsaved:
                _log.warning("%s", error.failure.sentence())
            self._unsaved = error.failure.what
        else:
            self._unsaved = ""

    async def close(self) -> None:
        """Close every stream and write down where each job stands; at most about four seconds."""
        for run in self.runs.values():
            self._close(run, "end")
        tasks = [run.task for run in self.runs.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=3.0)
        now = self._clock.monotonic()
        for run in self.runs.values():
            if run.task is not None and run.task.done():
                await self._settle(run, now)
        await self._flush()


def _figures(figures: PullProgress, job: Job) -> dict[str, Any]:
    if figures.total is None:
        return {"history": figures.history} if figures.history else {}
    return {
        "total": figures.total,
        "done": figures.done,
        "percent": figures.percent if figures.percent is not None else job.percent,
        "rate": figures.rate,
        "average": figures.average,
        "peak": figures.peak,
        "eta": figures.eta,
        "layers": figures.layers,
        "history": figures.history,
    }


def _doing(figures: PullProgress) -> str:
    if figures.stall is not Stall.NONE:
        return "stalled: no new bytes for 30s; reconnects after 90s"
    if figures.restarted:
        return "restarted by the server"
    if figures.phase is Phase.ASKING:
        return "asks for the manifest"
    return "checks what arrived" if figures.phase in (Phase.CHECKING, Phase.DONE) else ""


def _stalled(job: Job) -> Failure:
    return Failure("No new bytes for 90s", job.endpoint.url, "Check the server's network; it reconnects by itself", FailureKind.TIMEOUT)


def _waits_for_server(job: Job, failure: Failure) -> str:
    reason = failure.what.split(": ", 1)[-1]
    return f"waits for {job.endpoint.name} at {failure.where or job.endpoint.url}: {reason}"
