"""The queue for app and command line: wishes, the view of it, and a worker where there is work."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import tui
from tui import __version__
from tui.config.paths import Paths
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import Job, JobKind, JobState, JobWish, PastJob, QueueView, Wait, WorkerState
from tui.core.models import Endpoint
from tui.core.observe import Observable
from tui.core.threads import in_daemon_thread
from tui.core.versions import numbers
from tui.services.changes import fields_of
from tui.services.locks import WORKER_LOCK, Holder, read_holder
from tui.store.db import Database
from tui.store.files import make_folder, open_private
from tui.store.history import History
from tui.store.jobs import JOBS, JobTable, has_work
from tui.store.meta import HAND_OVER, SERVERS, Meta, Servers, servers_have_work
from tui.store.schema import SCHEMA
from tui.text import clean_name

POLL: Final = 0.1
"""Seconds between two looks at the database; one costs microseconds where nothing changed."""
WATCH: Final = 1.0
"""Seconds between two looks at the worker."""
SPAWN_AGAIN: Final = 3.0
"""Seconds a started worker is given to take its lock before another is started."""


STEADY: Final = 60.0
"""Seconds a worker must live for earlier crashes to be forgotten; also the longest pause between two starts."""
MAX_LOG: Final = 1 << 20
"""Bytes of the worker's log until a new one is begun; one older is kept."""


class Jobs:
    """Verbs and view of the queue. Verbs are coroutines of the engine's loop; each is on disk when it returns.

    Attributes:
        view: The queue as it was at the last poll.
        failure: Why the database or the worker cannot be used at present, or None.
        logout_note: That logging out would end the worker here (S32), or empty.
    """

    def __init__(self, database: Database, paths: Paths, clock: Clock = SYSTEM, limit: Callable[[], int | None] = lambda: None) -> None:
        self.view: Observable[QueueView] = Observable(QueueView())
        self.failure: Observable[Failure | None] = Observable(None)
        self.logout_note: Observable[str] = Observable("")
        self._table = JobTable(database, clock)
        self._history = History(database)
        self._servers = Servers(database)
        self._meta = Meta(database)
        self._changes = database.changes()
        self._paths = paths
        self._clock = clock
        self._limit = limit
        self._child: subprocess.Popen[bytes] | None = None
        self._spawned_at = float("-inf")
        self._crashes = 0
        self._logind_note: str | None = None

    # --- verbs -----------------------------------------------------------------------------------------------------

    async def add(
        self,
        model: str,
        endpoint: Endpoint,
        kind: JobKind = JobKind.PULL,
        arguments: Mapping[str, Any] | None = None,
        asked_by: str = "",
        **more: Any,
    ) -> Job:
        """Queue a job and see that somebody works it; `more` as `JobTable.add` takes it.

        Raises:
            PaddockError: It could not be saved, or no worker could be started.
        """
        job = await self._table.add(kind, model, endpoint, arguments, asked_by, **more)
        await self._wished()
        return job

    async def pause(self, ids: Iterable[int]) -> None:
        """Wish that these jobs rest; their bytes are kept."""
        await self._table.wish(ids, JobWish.PAUSE)
        await self._wished()

    async def resume(self, ids: Iterable[int]) -> None:
        """Wish that these jobs go on."""
        await self._table.wish(ids, JobWish.RUN)
        await self._wished()

    async def cancel(self, ids: Iterable[int]) -> None:
        """Wish that these jobs end."""
        await self._table.wish(ids, JobWish.CANCEL)
        await self._wished()

    async def retry(self, ids: Iterable[int]) -> None:
        """Begin anew: failed, cancelled and done jobs, and at once those that wait for a retry."""
        await self._table.retry(ids)
        await self._wished()

    async def move(self, ids: Iterable[int], where: str) -> None:
        """Change the order: `up`, `down` or `first`."""
        await self._table.move(ids, where)
        await self._wished()

    async def limit(self, ids: Iterable[int], bytes_a_second: int | None) -> None:
        """Limit these jobs, each for itself; None lifts it."""
        await self._table.limit(ids, bytes_a_second)
        await self._wished()

    async def start_at(self, ids: Iterable[int], at: float | None) -> None:
        """Have them wait until a time (epoch seconds); None for at once."""
        await self._table.start_at(ids, at)
        await self._wished()

    async def chain(self, ids: Iterable[int], after: int) -> None:
        """Have them wait until another has ended; 0 for none."""
        await self._table.chain(ids, after)
        await self._wished()

    async def warm_up(self, ids: Iterable[int], on: bool) -> None:
        """Have these models loaded once they are there, or not."""
        await self._table.warm_up(ids, on)
        await self._wished()

    async def allow(self, ids: Iterable[int]) -> None:
        """Say yes to what they ask."""
        await self._table.allow(ids)
        await self._wished()

    async def apply_changes(self, job: int) -> None:
        """Queue a create that gives a model again what its update replaced.

        Raises:
            PaddockError: There is nothing to apply.
        """
        found = self._table.get(job)
        if found is None or not found.changes:
            raise PaddockError.of("There is nothing to apply again", str(job), "See paddock pulls", FailureKind.NOT_FOUND)
        await self.add(found.model, found.endpoint, JobKind.CREATE, fields_of(found.model, found.changes), "update")
        await self.forget_changes(job)

    async def forget_changes(self, job: int) -> None:
        """Do not offer to apply them any more."""
        await self._table.forget_changes(job)
        self.refresh()

    def past(self, text: str = "") -> tuple[PastJob, ...]:
        """The history: what ended, the newest first."""
        return self._history.search(text)

    async def remove(self, ids: Iterable[int]) -> None:
        """Drop ended jobs from the list."""
        await self._table.remove(ids)
        self.refresh()

    def get(self, job: int) -> Job | None:
        """One job as the database has it now."""
        return self._table.get(job)

    async def _wished(self) -> None:
        self.refresh()
        await self.ensure_worker()

    # --- the view --------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read the queue again."""
        self.view.set(queue_view(self._table.list(), self.worker(), self._clock.time(), self._limit()))

    def worker(self) -> WorkerState:
        """Who works the queue now."""
        holder = self._holder()
        if holder is None:
            crashed = f"the worker ended unexpectedly {self._crashes} times, see {clean_name(str(self._paths.logs / 'worker.log'))}"
            return WorkerState(False, note=crashed if self._crashes > 1 else self._logind_note or "")
        return WorkerState(True, holder.who.pid, holder.version, self._logind_note or "")

    async def follow(self) -> None:
        """Keep the view true and a worker alive while there is work, until cancelled."""
        looking = asyncio.ensure_future(self._look_at_logind())
        try:
            await self._follow()
        finally:
            looking.cancel()

    async def _follow(self) -> None:
        next_watch = 0.0
        moved = frozenset({JOBS})
        while True:
            try:
                moved |= self._changes.poll()
                if time.monotonic() >= next_watch:
                    next_watch = time.monotonic() + WATCH
                    await self.ensure_worker()
                    if self.worker() != self.view.value.worker:
                        moved |= {JOBS}
                if moved & {JOBS, SERVERS}:
                    self.refresh()
                moved = frozenset()
                self.failure.set(None)
            except PaddockError as error:
                self.failure.set(error.failure)
            await asyncio.sleep(POLL)

    # --- the worker ------------------------------------------------------------------------------------------------

    def _holder(self) -> Holder | None:
        return read_holder(self._paths.locks / WORKER_LOCK)

    async def ensure_worker(self) -> None:
        """Start a worker where there is work and none lives; ask one of an older version to hand over.

        Raises:
            PaddockError: The worker's log cannot be written, or the process cannot be started.
        """
        since = time.monotonic() - self._spawned_at
        if self._child is not None and (code := self._child.poll()) is not None:
            self._crashes += code > 0  # a signal came from outside and says nothing about the next start
            self._child = None
        holder = self._holder()
        if holder is not None:
            if since > STEADY:
                self._crashes = 0
            if _older(holder) and self._meta.get(HAND_OVER) != str(holder.who.pid):
                await self._meta.set(HAND_OVER, str(holder.who.pid))
            return
        if not has_work(self._table.list()) and not self._table.renewals_wait() and not servers_have_work(self._servers.list()):
            return
        if since < (SPAWN_AGAIN if self._child is not None else min(2.0**self._crashes, STEADY) if self._crashes else 0.0):
            return
        self._spawned_at = time.monotonic()
        self._child = spawn_worker(self._paths)

    async def _look_at_logind(self) -> None:
        """Once: does this machine end our processes at logout?"""
        if self._logind_note is None:
            self._logind_note = await in_daemon_thread(logout_note)
            self.logout_note.set(self._logind_note)


def queue_view(jobs: tuple[Job, ...], worker: WorkerState, now: float, limit: int | None) -> QueueView:
    """The queue as screens show it; what nobody works is interrupted, whatever the last worker wrote."""
    if not worker.running:
        jobs = tuple(replace(job, state=JobState.INTERRUPTED, rate=None, eta=None) if job.state.running else job for job in jobs)
    fetching = [job for job in jobs if job.state is JobState.FETCHING]
    rates = [job.rate for job in fetching if job.rate is not None]
    etas = [job.eta for job in fetching if job.eta is not None]
    pulls = [job for job in jobs if job.kind is JobKind.PULL and job.size is not None]
    going = [job for job in jobs if _goes_on(job)]
    sized = [job for job in pulls if _goes_on(job)]
    rate = sum(rates) if rates else None
    left = sum(_total(job) - _done(job) for job in sized)
    sure = rate is not None and rate >= 1000 and len(sized) == len(going) and not any(job.wait in _OPEN_ENDED for job in going)
    counted = [*sized, *_with_them(pulls, sized)]
    return QueueView(
        jobs=jobs,
        worker=worker,
        rate=rate,
        finish_at=now + max(etas) if etas and len(etas) == len(fetching) else None,
        all_at=now + left / rate if sure and rate and left else None,
        done=sum(_done(job) for job in counted),
        total=sum(_total(job) for job in counted),
        limit=limit,
    )


def _goes_on(job: Job) -> bool:
    return not job.state.ended and job.wish is JobWish.RUN and job.kind is JobKind.PULL


def _with_them(pulls: list[Job], going: list[Job]) -> list[Job]:
    """The pulls that were done since the queue last had nothing to do: the whole of which the percent is, until all is done."""
    found: list[Job] = []
    since = min((job.created_at for job in going), default=math.inf)
    for job in sorted((job for job in pulls if job.state is JobState.DONE), key=lambda job: -(job.ended_at or 0.0)):
        if (job.ended_at or 0.0) < since:
            break
        found.append(job)
        since = min(since, job.created_at)
    return found


_OPEN_ENDED: Final = (Wait.HOURS, Wait.START, Wait.SPACE, Wait.SERVER, Wait.KEY, Wait.NETWORK, Wait.ANSWER, Wait.LIMITS)
_FOLLOWED: Final = frozenset({"PADDOCK_MODELS__TRASH", "PADDOCK_MODELS__VERSIONS"})


def _total(job: Job) -> int:
    return job.size or 0


def _done(job: Job) -> int:
    return min(job.done or (job.plan.there if job.plan is not None else 0), _total(job))


def _older(holder: Holder) -> bool:
    return holder.schema < SCHEMA or (holder.schema == SCHEMA and (numbers(holder.version) or ()) < (numbers(__version__) or ()))


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker is given of an environment: settings only as far as they say what it may throw away, and when."""
    return {key: value for key, value in environ.items() if not (key.startswith("PADDOCK_") and "__" in key) or key in _FOLLOWED}


def spawn_worker(paths: Paths, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a worker for this home, in a session of its own.

    Raises:
        PaddockError: Its log cannot be opened, or the process cannot be started.
    """
    # The environment names the home, the demo's too; what a demo server "downloads" needs no room on this disk.
    command = [sys.executable, "-m", "tui", "worker", *(["--simulated"] if paths.demo else []), *arguments]
    # Not the user's folder: `-m` would import a package of that name from there.
    folder = Path(tui.__file__).resolve().parent.parent
    file = paths.logs / "worker.log"
    try:
        make_folder(paths.logs)
        if file.exists() and file.stat().st_size > MAX_LOG:
            file.replace(file.with_suffix(".log.1"))
        log = open_private(file, os.O_WRONLY | os.O_APPEND)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**worker_environment(os.environ), **paths.environment()},
                start_new_session=True,
            )
        finally:
            os.close(log)
    except OSError as error:
        raise PaddockError.of(
            "The worker could not be started", str(paths.logs), "Check the folder and the installation", details=str(error)
        ) from error


def make_way(paths: Paths, seconds: float = 6.0) -> bool:
    """Before the database is opened: end a worker of an older schema, so that a migration has it alone; False where it stays."""
    holder = read_holder(paths.locks / WORKER_LOCK)
    if holder is None or holder.schema >= SCHEMA:
        return True
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(holder.who.pid, signal.SIGTERM)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if read_holder(paths.locks / WORKER_LOCK) is None:
            return True
        time.sleep(0.02)
    return False


def logout_note() -> str:
    """Whether logging out would end downloads and servers here, as one sentence; empty where not. Asks logind, at most 2 s."""
    program = shutil.which("loginctl")
    if program is None:
        return ""
    answers = ""
    for question in (["show-user", str(os.getuid()), "-p", "Linger"], ["show", "-p", "KillUserProcesses"]):
        try:
            done = subprocess.run([program, *question], capture_output=True, text=True, errors="replace", timeout=1.0, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        answers += done.stdout
    if "KillUserProcesses=yes" not in answers or "Linger=yes" in answers:
        return ""
    return "this machine ends downloads and servers when you log out; `loginctl enable-linger` keeps them"
