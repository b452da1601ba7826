"""The queue as the worker works it: one tick looks at wishes, attempts, room and time, and writes down what is."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from tui.config.settings import Settings
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError, limit_of
from tui.core.jobs import Ask, Job, JobKind, JobState, JobWish, Plan, Wait
from tui.core.models import Endpoint
from tui.core.pace import Pace
from tui.core.pulls import Phase, PullMeter, PullProgress, Stall
from tui.providers.base import Provider
from tui.services.audit import Audit
from tui.services.plan import Planner
from tui.services.space import AFTER_FULL
from tui.store.db import Database
from tui.store.history import History
from tui.store.jobs import JobTable, has_work, provider_key
from tui.text import clean_name
from tui.worker.attempt import Attempt
from tui.worker.disks import LOOK_AT_DISK, Disks
from tui.worker.earlier import Earlier
from tui.worker.ends import Ends
from tui.worker.facts import Facts
from tui.worker.fullness import Fullness, Measure
from tui.worker.gates import Gate, gate
from tui.worker.planning import Plans
from tui.worker.run import Run, check_limit, checks_too_long, doing, figures_of, half_made, stalled
from tui.worker.warmth import Warmth

LONGEST_WAIT: Final = 400.0
"""Seconds; no due time lies further ahead after a restart, whatever the clock says."""
_CLOSED_AGAIN: Final = ("", "stall", "space", "gate", "pace")
"""Reasons for closing a stream that a stronger one may replace."""
_STOPPING: Final = (Wait.NETWORK, Wait.HOURS)
"""Gates that also stop what runs."""

_log = logging.getLogger("paddock.worker")


class Queue:
    """The queue of one worker. `tick` is called four times a second, and where there is `news`; it never waits for a server.

    Args:
        settings: The running settings.
        make: A connection from the snapshot of a provider.
        check: Raises where the key of a provider may not be sent, or is not there.
        planner: Finds out what pulls will fetch.
        measure: Finds the limits that this machine passes; None: pulls are not limited.
        weigh: The same for loads after them.
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
        measure: Measure | None = None,
        weigh: Measure | None = None,
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
        self._facts = Facts(self._table)
        self._disks = Disks(on=space)
        self._plans = Plans(planner, make, check, clock)
        self._warmth = Warmth(self._facts, make, check, clock, settings, weigh)
        self._ends = Ends(self._facts, self.runs, settings, self._disks, audit, clock, jitter)
        self._fullness = Fullness(settings, measure, audit, clock) if measure is not None else None
        self._pace = Pace(clock.monotonic())
        self._disk_looked_at = float("-inf")

    async def open(self) -> None:
        """Take over what an earlier worker left."""
        await self._table.adopt()
        await self.read()
        for run in self.runs.values():
            self._warmth.take_up(run)
            if run.job.state is JobState.INTERRUPTED and run.job.kind in (JobKind.CREATE, JobKind.QUANTIZE):
                self._ends.fail(run, half_made(run.job))  # P34: it may have had its effect

    @property
    def busy(self) -> bool:
        """Whether anything is left to do or to wait for."""
        return self._facts.unwritten or has_work(run.job for run in self.runs.values())

    # --- wishes ----------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read the wishes; facts in memory stand over those on disk."""
        await self._facts.flush()
        renewed = await self._table.take_renewals()
        now = self._clock.monotonic()
        jobs = self._table.list()
        for number in self.runs.keys() - {job.id for job in jobs}:
            self._plans.forget(number)
            run = self.runs.pop(number)
            run.gone = True
            self._close(run, "cancel")
        for job in jobs:
            before = self.runs.get(job.id)
            if before is None or (job.id in renewed and not before.placed):
                if before is not None:
                    before.gone = True
                run = self.runs[job.id] = self._remember(job, now)
            else:
                run = before
                run.job = _with_wishes(run.job, job)
                if job.id in renewed:
                    run.downs = 0
                    self._facts.set(run, failures=0)
            self._uncancel(run)

    def _uncancel(self, run: Run) -> None:
        """A wish that came while its cancel was being written down (later ones leave what has ended as it is)."""
        if run.job.state is JobState.CANCELLED and run.job.wish is not JobWish.CANCEL:
            self._facts.set(run, state=JobState.WAITING, note="", ended_at=None)

    def _remember(self, job: Job, now: float) -> Run:
        waits = job.wait in (Wait.RETRY, Wait.SERVER, Wait.SPACE) and job.due_at is not None
        wait = min(max(0.0, (job.due_at or 0.0) - self._clock.time()), LONGEST_WAIT) if waits else 0.0
        meter = PullMeter(now, fetched=job.fetched, busy=job.busy, history=job.history, step=job.step, layers=job.layers)
        return Run(job, meter, Pace(now), best=job.fetched, due=now + wait, held=(job.wait, job.note) if waits else (Wait.NOTHING, ""))

    # --- the tick --------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Do what is due. A database that cannot be written delays nothing but the writing."""
        self.news.clear()
        now = self._clock.monotonic()
        self._pace.set_limit(self._settings().pulls.bandwidth, now)
        for run in list(self.runs.values()):
            if run.task is not None and run.task.done():
                await self._settle(run, now)
            self._obey(run, now)
            if run.placed:
                await self._watch(run, now)
        self._take_plans()
        await self._look_at_disks(now)
        await self._start_due(now)
        self._plan_ahead()  # what is left of the planner's time after those whose turn it is
        await self._facts.flush()

    def _obey(self, run: Run, now: float) -> None:
        job = run.job
        if job.state.ended or job.wish is JobWish.RUN:
            if job.state is JobState.PAUSED:
                run.due = now
                self._facts.set(run, state=JobState.WAITING, wait=Wait.NOTHING, note="", due_at=None)
            return
        pausing = job.wish is JobWish.PAUSE
        if run.task is not None:
            self._close(run, "pause" if pausing else "cancel")
        elif pausing and job.state is not JobState.PAUSED:
            self._ends.pause(run)
        elif not pausing:
            self._plans.forget(job.id)
            self._ends.end(run, JobState.CANCELLED, "cancelled")

    async def _watch(self, run: Run, now: float) -> None:
        """Carry the meter's figures over, end a stream on which nothing comes, and keep to limits, hours and the network."""
        run.pace.set_limit(run.job.limit, now)
        limited = run.job.limit is not None or self._settings().pulls.bandwidth is not None
        run.meter.in_bursts(limited and run.job.kind is JobKind.PULL, now)
        figures = run.meter.progress(now)
        shut = gate(run.job, {}, self._settings(), self._clock.time(), demo=self._demo)
        stops = shut is not None and shut.wait in _STOPPING
        if run.paced:
            self._facts.set(run, durable=False, note="pauses to keep to its limit", **figures_of(figures, run.job))
            if stops or (self._pace.may_run(now) and run.pace.may_run(now) and not await self._may_send(run, now)):
                self._leave(run)
            elif self._pace.may_run(now) and run.pace.may_run(now):
                self._start(run, now)
            return
        self._show(run, figures)
        if stops and run.job.state is JobState.FETCHING:
            self._close(run, "gate")
        elif not run.reason:
            self._end_silence(run, figures, now)

    def _show(self, run: Run, figures: PullProgress) -> None:
        assert run.attempt is not None
        checking = run.attempt.succeeded or figures.phase in (Phase.CHECKING, Phase.DONE)
        state = JobState.CHECKING if checking else JobState.FETCHING
        if run.warning is None:
            run.warning = self._fullness.warning(run.job) if self._fullness is not None else ""
        words = doing(replace(figures, stall=Stall.NONE) if run.attempt.works else figures, run.job.kind)
        note = "; ".join(part for part in (words, run.warning) if part)
        self._facts.set(run, durable=state is not run.job.state, state=state, note=note, **figures_of(figures, run.job))
        if run.job.failure is not None and run.job.fetched > run.began_at:
            self._facts.set(run, failure=None)  # it goes on: what went wrong before is over

    def _end_silence(self, run: Run, figures: PullProgress, now: float) -> None:
        """Close a stream on which no bytes come; while the server checks, only after the time that its check may take."""
        assert run.attempt is not None
        checking = run.job.state is JobState.CHECKING
        run.checking_since = (run.checking_since if run.checking_since is not None else now) if checking else None
        if run.attempt.works:
            return
        long = run.job.kind is JobKind.PULL and run.checking_since is not None and now - run.checking_since > check_limit(run.job)
        if figures.stall is Stall.RECONNECT or long:
            self._close(run, "stall")

    def _came(self, run: Run, count: int) -> None:
        """Bytes came: at the end of a turn every stream that spends from the same allowance is closed at once."""
        if run.job.kind is not JobKind.PULL:
            return
        now = self._clock.monotonic()
        self._pace.spend(count, now)
        run.pace.spend(count, now)
        for other in self.runs.values() if self._pace.paused else (run,) if run.pace.paused else ():
            if other.job.kind is JobKind.PULL and other.meter.phase is Phase.FETCHING:
                self._close(other, "pace")

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
                    self._leave(run)
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
            if run is None or not run.may_begin or run.job.wish is not JobWish.RUN:
                continue
            if isinstance(found, Plan):
                self._facts.plan(run, found)
                run.meter.expect(found)
                if run.job.total is None and found.total is not None:
                    self._facts.set(run, durable=False, total=found.total, done=found.there)
            else:
                self._ends.fail(run, found)

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
                self._hold(run, Gate(*run.held, due_at=self._due_at(run, now)))
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
        self._facts.set(run, durable=durable, state=JobState.WAITING, wait=shut.wait, note=shut.note, due_at=shut.due_at, asks=asks)

    def _due_at(self, run: Run, now: float) -> float:
        """When it is due by the clock on the wall, which may be set while we wait: the wait is measured by the other clock."""
        due_at = self._clock.time() + run.due - now
        return run.job.due_at if run.job.due_at is not None and abs(run.job.due_at - due_at) <= 2.0 else due_at

    async def _may_send(self, run: Run, now: float) -> bool:
        """Whether the key of its server may be sent there; else it waits."""
        try:
            await self._check(run.job.endpoint)
        except PaddockError as error:
            source, _, name = run.job.endpoint.key.partition(":")
            missing = source == "env" and error.failure.kind is FailureKind.AUTH
            note = f"needs {clean_name(name)}" if missing else f"waits: {error.failure.what}"
            self._ends.wait(run, LOOK_AT_DISK, Wait.KEY, note, now, failure=error.failure)
            return False
        return True

    async def _may_start(self, run: Run, settings: Settings, now: float) -> bool:
        """Look at key, plan, limits and room; start where all is well. True where it takes a place, if only to make its plan."""
        if not await self._may_send(run, now):
            return False
        if self._plans.working(run.job.id) or self._plans.due(run.job):
            self._plans.begin(run.job, turn=True)
            self._hold(run, Gate(Wait.NOTHING, "reads the manifest"))
            return True
        shut = self._fullness.gate(run.job) if self._fullness is not None else None
        if shut is not None:
            self._hold(run, shut)
            return False
        beside = [other.job for other in self.runs.values() if other.placed]
        room = await self._disks.room(run.job, settings, beside, AFTER_FULL if run.full else 0)
        if room is not None and not room.enough:
            self._ends.wait(run, LOOK_AT_DISK, Wait.SPACE, room.sentence(binary=settings.appearance.units == "binary"), now)
            return False
        run.full = False
        self._start(run, now)
        return run.placed

    def _start(self, run: Run, now: float) -> None:
        job = run.job
        try:
            provider = self._make(job.endpoint)
        except PaddockError as error:
            self._ends.fail(run, error.failure)
            return
        goes_on = run.paced
        run.meter.restart(now)
        if job.plan is not None:
            run.meter.expect(job.plan)
        run.reason, run.paced, run.checking_since, run.began_at = "", False, None, job.fetched
        pulled = self._history.last_digest(job) if job.kind is JobKind.PULL and run.before is None else ""
        run.attempt = Attempt(
            job,
            provider,
            run.meter,
            self._clock,
            lambda count: self._came(run, count),
            verify=self._settings().pulls.verify,
            pulled=pulled,
            before=run.before,
            earlier=Earlier(job, self._settings(), self._audit, self._clock),
        )
        run.task = asyncio.create_task(run.attempt.run(), name=f"job {job.id}")
        run.task.add_done_callback(lambda _task: self.news.set())
        if not job.attempts:
            self._audit.write(job.kind, job.model, "started", server=job.endpoint.url)
        self._facts.set(
            run,
            durable=not goes_on,
            state=JobState.FETCHING,
            wait=Wait.NOTHING,
            asks=frozenset(),
            note="",
            attempts=job.attempts + (not run.downs and not goes_on),
            started_at=job.started_at or self._clock.time(),
            due_at=None,
        )

    # --- how attempts end ------------------------------------------------------------------------------------------

    def _close(self, run: Run, reason: str) -> None:
        """Close the stream; the server keeps its bytes."""
        if run.task is not None and run.reason in _CLOSED_AGAIN and run.reason != reason:
            run.reason = reason
            run.task.cancel()

    def _leave(self, run: Run) -> None:
        """Give the place away; `_start_due` says in the same tick what it waits for."""
        if run.job.state is JobState.WAITING:
            return
        run.paced = False
        run.due = self._clock.monotonic()
        self._facts.set(run, state=JobState.WAITING, wait=Wait.NOTHING, note="", rate=None, eta=None)

    async def _settle(self, run: Run, now: float) -> None:
        """An attempt ended: write down what became of it."""
        task, attempt, reason = run.task, run.attempt, run.reason
        assert task is not None
        assert attempt is not None
        run.task = run.attempt = None
        run.reason = ""
        run.before = attempt.before
        figures = figures_of(run.meter.progress(now), run.job)
        self._facts.set(run, durable=False, **(figures if reason == "pace" else {**figures, "rate": None, "eta": None}))
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            self._plans.forget(run.job.id)
            self._ends.done(run, attempt)
            self._warmth.begin(run)
        elif reason == "end":
            self._facts.set(run, state=JobState.INTERRUPTED, note="")
        elif reason in ("pause", "cancel"):
            self._facts.set(run, state=JobState.WAITING)
            self._obey(run, now)
        elif reason == "pace" and task.cancelled():
            run.paced = True
        elif reason in ("space", "gate"):
            self._leave(run)
        elif reason == "stall":
            self._ends.missed(run, checks_too_long(run.job) if run.job.state is JobState.CHECKING else stalled(run.job), now)
        elif isinstance(error, PaddockError):
            await self._ends.failed_with(run, attempt, error.failure, now)
        else:
            _log.error("attempt ended unexpectedly", exc_info=error)
            limit = limit_of(error) if error is not None else None
            what = limit or Failure("The attempt ended by a fault of Paddock", run.job.model, "Please report it: see worker.log")
            self._ends.missed(run, what, now)

    async def close(self) -> None:
        """Close every stream and write down where each job stands; at most about four seconds."""
        await self._plans.close()
        if self._fullness is not None:
            await self._fullness.close()
        for run in self.runs.values():
            self._close(run, "end")
            if run.paced:
                run.paced = False
                self._facts.set(run, state=JobState.INTERRUPTED, note="", rate=None, eta=None)
            if run.warming is not None:
                run.warming.cancel()
        tasks = [task for run in self.runs.values() for task in (run.task, run.warming) if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=3.0)
        now = self._clock.monotonic()
        for run in self.runs.values():
            if run.task is not None and run.task.done():
                await self._settle(run, now)
        await self._facts.flush()


def _with_wishes(job: Job, read: Job) -> Job:
    """The facts of one, the wishes of the other."""
    return replace(
        job,
        endpoint=read.endpoint,
        arguments=read.arguments,
        wish=read.wish,
        position=read.position,
        limit=read.limit,
        after=read.after,
        not_before=read.not_before,
        allowed=read.allowed,
        changes=read.changes,
    )
