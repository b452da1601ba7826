"""The queue as the worker works it: one tick looks at wishes, attempts, room and time, and writes down what is."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from tui.config.settings import Settings
from tui.core import partials
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.hours import opens_at
from tui.core.jobs import Ask, Job, JobKind, JobState, JobWish, Plan, Wait
from tui.core.models import Endpoint
from tui.core.pace import Pace
from tui.core.pulls import Phase, PullMeter, Stall
from tui.providers.base import Provider
from tui.services.audit import Audit
from tui.services.plan import Planner
from tui.services.space import AFTER_FULL
from tui.store.db import Database
from tui.store.history import History
from tui.store.jobs import JobTable, has_work, provider_key
from tui.text import clean_name
from tui.worker.attempt import DELAYS, DOWN_DELAYS, Attempt, delay, is_final, is_full, is_mismatch
from tui.worker.disks import LOOK_AT_DISK, Disks
from tui.worker.gates import Gate, gate
from tui.worker.planning import Plans
from tui.worker.run import Run, doing, figures_of, stalled, waits_for_server

FULL_ELSEWHERE: Final = 600.0
"""Seconds until a server elsewhere whose disk was full is asked again."""
PROGRESS_RESETS: Final = 64 * 10**6
"""New bytes after which earlier failures no longer count."""
LONGEST_WAIT: Final = 400.0
"""Seconds; no due time of a retry lies further ahead, whatever the clock says."""
_CLOSED_AGAIN: Final = ("", "stall", "space", "hours", "pace")
"""Reasons for closing a stream that a stronger one may replace."""

_log = logging.getLogger("paddock.worker")


class Queue:
    """The queue of one worker. `tick` is called four times a second, and where there is `news`; it never waits for a server.

    Args:
        settings: The running settings.
        make: A connection from the snapshot of a provider.
        check: Raises where the key of a provider may not be sent, or is not there.
        planner: Finds out what pulls will fetch.
        space: Look at this machine's disks.
        demo: The servers are simulations: nothing leaves this machine.

    Attributes:
        news: An attempt ended: the next tick should not wait for its time.
    """

    def __init__(
        self,
        database: Database,
        settings: Callable[[], Settings],
        make: Callable[[Endpoint], Provider],
        check: Callable[[Endpoint], Awaitable[None]],
        planner: Planner,
        audit: Audit,
        clock: Clock = SYSTEM,
        jitter: Callable[[float, float], float] = random.uniform,
        *,
        space: bool = True,
        demo: bool = False,
    ) -> None:
        self.runs: dict[int, Run] = {}
        self.news = asyncio.Event()
        self._settings = settings
        self._make = make
        self._check = check
        self._audit = audit
        self._clock = clock
        self._jitter = jitter
        self._demo = demo
        self._table = JobTable(database, clock)
        self._history = History(database)
        self._plans = Plans(planner, make, clock)
        self._disks = Disks(on=space)
        self._pace = Pace(clock.monotonic())
        self._dirty: dict[int, Job] = {}
        self._past: list[Job] = []
        self._planned: dict[int, Job] = {}
        self._durable = False
        self._disk_looked_at = float("-inf")
        self._unsaved = ""

    async def open(self) -> None:
        """Take over what an earlier worker left."""
        await self._table.adopt()
        await self.read()

    @property
    def busy(self) -> bool:
        """Whether anything is left to do or to wait for."""
        return (
            bool(self._dirty)
            or has_work(run.job for run in self.runs.values())
            or any(run.warming is not None for run in self.runs.values())
        )

    # --- wishes ----------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read the wishes; facts in memory stand over those on disk."""
        await self._flush()
        renewed = await self._table.take_renewals()
        now = self._clock.monotonic()
        jobs = self._table.list()
        for gone in self.runs.keys() - {job.id for job in jobs}:
            self._plans.forget(gone)
            self._close(self.runs.pop(gone), "cancel")
        for job in jobs:
            run = self.runs.get(job.id)
            if run is None or (job.id in renewed and not run.placed):
                self.runs[job.id] = run = self._remember(job, now)
                self._uncancel(run)
                continue
            run.job = replace(
                run.job,
                wish=job.wish,
                position=job.position,
                arguments=job.arguments,
                limit=job.limit,
                after=job.after,
                not_before=job.not_before,
                allowed=job.allowed,
                changes=job.changes,
            )
            if job.id in renewed:
                run.failures = run.downs = 0
            self._uncancel(run)

    def _uncancel(self, run: Run) -> None:
        """A wish that came while its cancel was being written down (later ones leave what has ended as it is)."""
        if run.job.state is JobState.CANCELLED and run.job.wish is not JobWish.CANCEL:
            self._set(run, state=JobState.WAITING, note="", ended_at=None)

    def _remember(self, job: Job, now: float) -> Run:
        waits = job.wait in (Wait.RETRY, Wait.SERVER, Wait.SPACE) and job.due_at is not None
        wait = min(max(0.0, (job.due_at or 0.0) - self._clock.time()), LONGEST_WAIT) if waits else 0.0
        failures = min(job.attempts, self._settings().pulls.retries) if job.failure is not None else 0
        meter = PullMeter(now, fetched=job.fetched, busy=job.busy, history=job.history)
        return Run(job, meter, Pace(now), failures=failures, best=job.done, due=now + wait)

    # --- the tick --------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Do what is due. A database that cannot be written delays nothing but the writing."""
        self.news.clear()
        now = self._clock.monotonic()
        settings = self._settings()
        self._pace.set_limit(settings.pulls.bandwidth, now)
        self._take_plans()
        shut = opens_at(settings.pulls.only_between, self._clock.time()) is not None
        for run in list(self.runs.values()):
            if run.task is not None and run.task.done():
                await self._settle(run, now)
            self._obey(run, now)
            if run.placed:
                self._watch(run, now, shut=shut)
        await self._look_at_disks(now)
        self._plan_ahead()
        await self._start_due(now)
        await self._flush()

    def _obey(self, run: Run, now: float) -> None:
        job = run.job
        if job.state.ended or job.wish is JobWish.RUN:
            if job.state is JobState.PAUSED:
                run.due = now
                self._set(run, state=JobState.WAITING, wait=Wait.NOTHING, note="", due_at=None)
            return
        pausing = job.wish is JobWish.PAUSE
        if run.task is not None:
            self._close(run, "pause" if pausing else "cancel")
        elif pausing and job.state is not JobState.PAUSED:
            self._pause(run)
        elif not pausing:
            self._end(run, JobState.CANCELLED, "cancelled")

    def _watch(self, run: Run, now: float, *, shut: bool) -> None:
        """Carry the meter's figures over, end a stream on which nothing comes, and keep to limits and hours."""
        run.pace.set_limit(run.job.limit, now)
        limits = [limit for limit in (run.job.limit, self._settings().pulls.bandwidth) if limit is not None]
        run.meter.in_bursts(min(limits) if limits and run.job.kind is JobKind.PULL else None, now)
        figures = run.meter.progress(now)
        if run.paced:
            self._set(run, durable=False, note="pauses to keep to its limit", **figures_of(figures, run.job))
            if shut:
                self._leave(run, Wait.HOURS)
            elif self._pace.may_run(now) and run.pace.may_run(now):
                self._start(run, now)
            return
        state = JobState.CHECKING if figures.phase in (Phase.CHECKING, Phase.DONE) else JobState.FETCHING
        if run.attempt is not None and run.attempt.succeeded:
            state = JobState.CHECKING
        silent = run.attempt is not None and run.attempt.works
        note = doing(replace(figures, stall=Stall.NONE) if silent else figures, run.job.kind)
        self._set(run, durable=state is not run.job.state, state=state, note=note, **figures_of(figures, run.job))
        if figures.stall is Stall.RECONNECT and not silent and not run.reason:
            self._close(run, "stall")
        elif shut and state is JobState.FETCHING and run.job.kind in (JobKind.PULL, JobKind.PUSH):
            self._close(run, "hours")

    def _came(self, run: Run, count: int) -> None:
        """Bytes came: at the end of a turn every stream that spends from the same allowance is closed at once."""
        if run.job.kind is not JobKind.PULL:
            return
        now = self._clock.monotonic()
        self._pace.spend(count, now)
        run.pace.spend(count, now)
        if self._pace.paused:
            for other in self.runs.values():
                if other.job.kind is JobKind.PULL and other.job.state is JobState.FETCHING:
                    self._close(other, "pace")
        elif run.pace.paused:
            self._close(run, "pace")

    async def _look_at_disks(self, now: float) -> None:
        if now - self._disk_looked_at < LOOK_AT_DISK:
            return
        self._disk_looked_at = now
        settings = self._settings()
        fetching = [run for run in self.runs.values() if run.placed and run.job.state is JobState.FETCHING and not run.reason]
        for run in sorted(fetching, key=lambda run: -run.job.position):  # what came last makes room first
            room = await self._disks.room(run.job, settings, [other.job for other in fetching])
            if room is not None and not room.enough:
                fetching.remove(run)
                if run.paced:
                    self._leave(run, Wait.SPACE)
                else:
                    self._close(run, "space")

    # --- plans -----------------------------------------------------------------------------------------------------

    def _plan_ahead(self) -> None:
        """Know the sizes of what waits, and refuse early what the registry refuses."""
        for run in sorted(self.runs.values(), key=lambda run: run.job.position):
            job = run.job
            if run.may_begin and job.wish is JobWish.RUN and job.plan is None and self._plans.due(job) and not self._plans.begin(job):
                break

    def _take_plans(self) -> None:
        for number, found in self._plans.take():
            run = self.runs.get(number)
            if run is None or run.job.state.ended:
                continue
            if isinstance(found, Plan):
                run.job = self._planned[number] = replace(run.job, plan=found)
                run.meter.expect(found)
                if run.job.total is None and found.total is not None:
                    self._set(run, durable=False, total=found.total, done=found.total - (found.missing or 0))
            elif not run.placed:
                self._fail(run, found)

    # --- starting --------------------------------------------------------------------------------------------------

    async def _start_due(self, now: float) -> None:
        """Give the places that are free: to the server with the fewest running, and there to the first in its order."""
        settings = self._settings()
        jobs = {number: run.job for number, run in self.runs.items()}
        running = Counter(provider_key(run.job.endpoint) for run in self.runs.values() if run.placed)
        places = settings.pulls.at_once - running.total()
        ready: list[Run] = []
        for run in sorted(self.runs.values(), key=lambda run: run.job.position):
            if not run.may_begin or run.job.wish is not JobWish.RUN:
                continue
            shut = gate(run.job, jobs, settings, self._clock.time(), demo=self._demo)
            if shut is not None:
                self._hold(run, shut)
            elif run.due > now:
                self._keep_due_true(run, now)
            else:
                ready.append(run)
        while ready and places > 0:
            run = min(ready, key=lambda run: (running[provider_key(run.job.endpoint)], run.job.position))
            ready.remove(run)
            if await self._may_start(run, settings, now):
                places -= 1
                running[provider_key(run.job.endpoint)] += 1
        for run in ready:
            self._hold(run, Gate(Wait.PLACE, f"waits for a place ({settings.pulls.at_once} at once)"))

    def _hold(self, run: Run, shut: Gate) -> None:
        asks = shut.asks or frozenset[Ask]()
        durable = run.job.wait is not shut.wait
        self._set(run, durable=durable, state=JobState.WAITING, wait=shut.wait, note=shut.note, due_at=shut.due_at, asks=asks)

    def _keep_due_true(self, run: Run, now: float) -> None:
        """The clock may be set while we wait; the wait itself is measured by the other clock."""
        due_at = self._clock.time() + run.due - now
        if run.job.due_at is not None and abs(run.job.due_at - due_at) > 2.0:
            self._set(run, due_at=due_at)

    async def _may_start(self, run: Run, settings: Settings, now: float) -> bool:
        """Look at key, plan and room; start where all is well. True where it takes a place, if only to make its plan."""
        try:
            await self._check(run.job.endpoint)
        except PaddockError as error:
            source, _, name = run.job.endpoint.key.partition(":")
            missing = source == "env" and error.failure.kind is FailureKind.AUTH
            note = f"needs {clean_name(name)}" if missing else f"waits: {error.failure.what}"
            self._wait(run, LOOK_AT_DISK, Wait.KEY, note, now, failure=error.failure)
            return False
        if self._plans.working(run.job.id) or self._plans.due(run.job):
            self._plans.begin(run.job)
            self._set(run, durable=False, note="reads the manifest", wait=Wait.NOTHING, due_at=None)
            return True
        beside = [other.job for other in self.runs.values() if other.placed]
        room = await self._disks.room(run.job, settings, beside, AFTER_FULL if run.full else 0)
        if room is not None and not room.enough:
            self._wait(run, LOOK_AT_DISK, Wait.SPACE, room.sentence(binary=settings.appearance.units == "binary"), now)
            return False
        run.full = False
        self._start(run, now)
        return run.placed

    def _start(self, run: Run, now: float) -> None:
        job = run.job
        try:
            provider = self._make(job.endpoint)
        except PaddockError as error:
            run.paced = False
            self._fail(run, error.failure)
            return
        goes_on = run.paced
        run.meter.restart(now)
        if job.plan is not None:
            run.meter.expect(job.plan)
        run.reason, run.paced = "", False
        verify = self._settings().pulls.verify
        pulled = self._history.last_digest(job) if job.kind is JobKind.PULL and not goes_on else ""
        run.attempt = Attempt(job, provider, run.meter, self._clock, lambda count: self._came(run, count), verify=verify, pulled=pulled)
        run.task = asyncio.create_task(run.attempt.run(), name=f"job {job.id}")
        run.task.add_done_callback(lambda _task: self.news.set())
        if not job.attempts:
            self._audit.write(job.kind, job.model, "started", server=job.endpoint.url)
        started = job.started_at or self._clock.time()
        attempts = job.attempts + (not run.downs and not goes_on)
        self._set(
            run,
            durable=not goes_on,
            state=JobState.FETCHING,
            wait=Wait.NOTHING,
            asks=frozenset(),
            note="",
            attempts=attempts,
            started_at=started,
            due_at=None,
        )

    # --- how attempts end ------------------------------------------------------------------------------------------

    def _close(self, run: Run, reason: str) -> None:
        """Close the stream; the server keeps its bytes."""
        if run.task is not None and run.reason in _CLOSED_AGAIN and run.reason != reason:
            run.reason = reason
            run.task.cancel()

    def _leave(self, run: Run, wait: Wait) -> None:
        """Give the place away; `_start_due` says in the same tick what it waits for."""
        run.paced = False
        run.due = self._clock.monotonic()
        self._set(run, state=JobState.WAITING, wait=wait, note="", rate=None, eta=None)

    async def _settle(self, run: Run, now: float) -> None:
        """An attempt ended: write down what became of it."""
        task, attempt, reason = run.task, run.attempt, run.reason
        assert task is not None
        assert attempt is not None
        run.task = run.attempt = None
        run.reason = ""
        figures = figures_of(run.meter.progress(now), run.job)
        self._set(run, durable=False, **(figures if reason == "pace" else {**figures, "rate": None, "eta": None}))
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            self._done(run, attempt)
        elif reason == "end":
            self._set(run, state=JobState.INTERRUPTED, note="")
        elif reason in ("pause", "cancel"):
            self._set(run, state=JobState.WAITING)
            self._obey(run, now)
        elif reason == "pace" and task.cancelled():
            run.paced = True
        elif reason in ("space", "hours"):
            self._leave(run, Wait.SPACE if reason == "space" else Wait.HOURS)
        elif reason == "stall":
            self._missed(run, stalled(run.job), now)
        elif isinstance(error, PaddockError):
            await self._failed_with(run, attempt, error.failure, now)
        else:
            _log.error("attempt ended unexpectedly", exc_info=error)
            self._missed(run, Failure("The attempt ended by a fault of Paddock", run.job.model, "Please report it: see worker.log"), now)

    def _done(self, run: Run, attempt: Attempt) -> None:
        job = run.job
        self._audit.write(job.kind, job.model, "done", server=job.endpoint.url, digest=attempt.digest)
        self._set(run, digest=attempt.digest, changes=attempt.changes)
        self._end(run, JobState.DONE, "")
        if job.arguments.get("warm_up") and job.kind is not JobKind.PUSH:
            self._set(run, warmed="is being loaded")
            run.warming = asyncio.create_task(self._warm_up(run), name=f"load {job.model}")

    async def _warm_up(self, run: Run) -> None:
        """Pull, then load: what goes wrong here is said, and the pull is done all the same."""
        words = "loaded"
        try:
            provider = self._make(run.job.endpoint)
            try:
                await provider.load(run.job.model)
            finally:
                await provider.aclose()
        except PaddockError as error:
            words = f"not loaded: {error.failure.what}"
        finally:
            run.warming = None
            if self.runs.get(run.job.id) is run:  # not one that begins anew meanwhile
                self._set(run, warmed=words)

    async def _failed_with(self, run: Run, attempt: Attempt, failure: Failure, now: float) -> None:
        down = failure.kind in (FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.LOADING) and not attempt.answered
        if down:
            run.downs += 1
            pause = delay(run.downs, DOWN_DELAYS, self._jitter)
            self._wait(run, pause, Wait.SERVER, waits_for_server(run.job, failure), now, failure=failure)
            return
        run.downs = 0
        if is_full(failure):
            await self._disk_full(run, failure, now)
        elif is_mismatch(failure):
            if run.again:
                self._fail(run, replace(failure, what="The download arrived damaged twice (checksum)"))
            else:
                run.again = True
                run.job = replace(run.job, plan=None)  # the tag may have moved: what is expected is asked anew
                note = "arrived damaged (checksum), loads the damaged part anew"
                self._wait(run, DOWN_DELAYS[0], Wait.RETRY, note, now, failure=failure)
        elif is_final(failure) or attempt.may_have_acted(failure):
            self._fail(run, failure)
        elif failure.kind is FailureKind.INTERRUPTED and run.meter.progress(now).phase is Phase.CHECKING and not run.unclear:
            run.unclear = True
            self._wait(run, 1.0, Wait.RETRY, "unclear how it ended, asks again", now, failure=failure)
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
        self._wait(run, pause, Wait.RETRY, f"waits to retry ({run.failures} of {retries}): {failure.what}", now, failure=failure)

    async def _disk_full(self, run: Run, failure: Failure, now: float) -> None:
        """The whole queue of that server rests until there is room."""
        server = provider_key(run.job.endpoint)
        settings = self._settings()
        known = await self._disks.room(run.job, settings)
        for other in self.runs.values():
            if provider_key(other.job.endpoint) != server or other.job.state.ended:
                continue
            other.full = True
            if other is run or (other.may_begin and other.job.wish is JobWish.RUN):
                note = known.sentence() if known is not None else "waits: the server's disk is full; asks again every 10 minutes"
                self._wait(other, LOOK_AT_DISK if known is not None else FULL_ELSEWHERE, Wait.SPACE, note, now, failure=failure)

    def _wait(self, run: Run, seconds: float, wait: Wait, note: str, now: float, failure: Failure | None = None) -> None:
        run.due = now + seconds
        changes: dict[str, Any] = {} if failure is None else {"failure": failure}
        self._set(run, state=JobState.WAITING, wait=wait, note=note, due_at=self._clock.time() + seconds, asks=frozenset(), **changes)

    def _pause(self, run: Run) -> None:
        run.paced = False
        words = partials.kept(run.job, self._clock.time(), binary=self._settings().appearance.units == "binary")
        note = f"paused: {words}" if words else "paused"
        self._set(run, state=JobState.PAUSED, wait=Wait.NOTHING, note=note, due_at=None, rate=None, eta=None)

    def _fail(self, run: Run, failure: Failure, note: str = "") -> None:
        self._audit.write(run.job.kind, run.job.model, "failed", server=run.job.endpoint.url, why=failure.what)
        self._set(run, failure=failure)
        self._end(run, JobState.FAILED, note or f"failed: {failure.what}")

    def _end(self, run: Run, state: JobState, note: str) -> None:
        run.paced = False
        self._plans.forget(run.job.id)
        if state is JobState.CANCELLED:
            self._audit.write(run.job.kind, run.job.model, "cancelled", server=run.job.endpoint.url)
        if state is JobState.DONE:
            self._set(run, failure=None, percent=100.0)
        nothing: dict[str, Any] = {"wait": Wait.NOTHING, "asks": frozenset(), "due_at": None, "rate": None, "eta": None}
        self._set(run, state=state, note=note, ended_at=self._clock.time(), **nothing)
        self._past.append(run.job)

    # --- facts -----------------------------------------------------------------------------------------------------

    def _set(self, run: Run, *, durable: bool = True, **changes: Any) -> None:
        if any(getattr(run.job, name) != value for name, value in changes.items()):
            run.job = self._dirty[run.job.id] = replace(run.job, **changes)
            self._durable = self._durable or durable

    async def _flush(self) -> None:
        """Write the changed facts in one transaction; what cannot be written now is kept for the next tick."""
        if not self._dirty and not self._planned:
            return
        jobs, past, plans, durable = tuple(self._dirty.values()), tuple(self._past), tuple(self._planned.values()), self._durable
        self._dirty, self._past, self._planned, self._durable = {}, [], {}, False
        try:
            await self._table.record(jobs, ended=past, plans=plans, durable=durable)
        except PaddockError as error:
            self._dirty = {job.id: job for job in jobs} | self._dirty
            self._past = [*past, *self._past]
            self._planned = {job.id: job for job in plans} | self._planned
            self._durable = True
            if error.failure.what != self._unsaved:
                _log.warning("%s", error.failure.sentence())
            self._unsaved = error.failure.what
        else:
            self._unsaved = ""

    async def close(self) -> None:
        """Close every stream and write down where each job stands; at most about four seconds."""
        await self._plans.close()
        for run in self.runs.values():
            self._close(run, "end")
            if run.paced:
                run.paced = False
                self._set(run, state=JobState.INTERRUPTED, note="", rate=None, eta=None)
            if run.warming is not None:
                run.warming.cancel()
        tasks = [task for run in self.runs.values() for task in (run.task, run.warming) if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=3.0)
        now = self._clock.monotonic()
        for run in self.runs.values():
            if run.task is not None and run.task.done():
                await self._settle(run, now)
        await self._flush()
