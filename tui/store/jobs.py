"""The queue: wishes written by app and command line, facts by the worker."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tui.core import names
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import LOADING, Ask, Job, JobKind, JobState, JobWish, circle
from tui.core.models import Endpoint
from tui.store import codec
from tui.store.db import Database
from tui.store.history import write_past
from tui.store.job_rows import SELECT, asks_text, job_of, outcome_of, plan_text, progress_of
from tui.text import clean_name

JOBS: Final = "jobs"
"""Topic: anything about jobs changed."""
WISHES: Final = "wishes"
"""Topic: something the worker must act on changed."""
LISTED: Final = 86_400.0
"""Seconds a done job stays in the list; the history keeps it longer."""

_log = logging.getLogger("paddock.store")

_ENDED: Final = tuple(state.value for state in JobState if state.ended)
_RUNNING: Final = tuple(state.value for state in JobState if state.running)


def model_key(model: str) -> str:
    """What makes two spellings one entry of the queue."""
    try:
        return names.parse(model).key
    except PaddockError:
        return model.strip()


def provider_key(endpoint: Endpoint) -> str:
    """What makes two providers the same server."""
    return endpoint.url.rstrip("/").lower().replace("://localhost", "://127.0.0.1", 1)


class JobTable:
    """The repository of jobs."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock
        self._known: dict[int, tuple[Sequence[Any], Job | None]] = {}

    def list(self) -> tuple[Job, ...]:
        """All jobs in the order of the queue; one that did not change since the last call is the same object."""
        rows = self._db.read(lambda connection: connection.execute(f"{SELECT} ORDER BY position, id").fetchall())
        known, self._known = self._known, {}
        return tuple(job for row in rows if (job := self._readable(row, known)) is not None)

    def _readable(self, row: Sequence[Any], known: Mapping[int, tuple[Sequence[Any], Job | None]]) -> Job | None:
        """The job of a row; one that cannot be read (damage, a kind of a newer version) stays in the table and costs no other."""
        before = known.get(row[0])
        if before is None or before[0] != row:
            try:
                before = (row, job_of(row))
            except (ValueError, TypeError, KeyError, AttributeError):
                before = (row, None)
                _log.warning("entry %s of the queue cannot be read", row[0])
        self._known[row[0]] = before
        return before[1]

    def get(self, number: int) -> Job | None:
        """One job."""
        row = self._db.read(lambda connection: connection.execute(f"{SELECT} WHERE id = ?", (number,)).fetchone())
        return None if row is None else job_of(row)

    # --- wishes ----------------------------------------------------------------------------------------------------

    async def add(
        self,
        kind: JobKind,
        model: str,
        endpoint: Endpoint,
        arguments: Mapping[str, Any] | None = None,
        asked_by: str = "",
        *,
        allowed: Iterable[Ask] = (),
        limit: int | None = None,
        after: int = 0,
        not_before: float | None = None,
    ) -> Job:
        """Queue a job. One that is already there for this model and server, however spelled, is used again and goes on.

        An ended one makes room for the new entry at the end of the queue. What is given beyond the name replaces what the entry had.
        """
        keys = (kind, provider_key(endpoint), model_key(model))
        same = "kind = ? AND provider_key = ? AND model_key = ?"
        said = frozenset(allowed)

        def work(connection: sqlite3.Connection) -> Job:
            found = connection.execute(f"{SELECT} WHERE {same}", keys).fetchone()
            if found is not None and not (job := job_of(found)).state.ended:
                connection.execute(
                    "UPDATE job SET endpoint = ?, wish = ?, asked = asked + 1, allowed = ?, rate_limit = ?, after_job = ?, not_before = ?,"
                    " arguments = ? WHERE id = ?",
                    (
                        codec.dump(endpoint),
                        JobWish.RUN,
                        asks_text(job.allowed | said),
                        job.limit if limit is None else limit,
                        after if after and not _circle(connection, job.id, after) else job.after,
                        not_before,
                        codec.dump(_arguments(job, arguments or {})),
                        job.id,
                    ),
                )
                return job_of(connection.execute(f"{SELECT} WHERE id = ?", (job.id,)).fetchone())
            connection.execute(f"DELETE FROM job WHERE {same}", keys)
            cursor = connection.execute(
                "INSERT INTO job (kind, provider_key, model_key, model, endpoint, arguments, position, created_at, asked_by, allowed,"
                " rate_limit, after_job, not_before)"
                " VALUES (?, ?, ?, ?, ?, ?, (SELECT coalesce(max(position), 0) + 1 FROM job), ?, ?, ?, ?, ?, ?)",
                (
                    *keys,
                    names.normal(model),
                    codec.dump(endpoint),
                    codec.dump(arguments or {}),
                    self._clock.time(),
                    clean_name(asked_by),
                    asks_text(said),
                    limit,
                    after,
                    not_before,
                ),
            )
            return job_of(connection.execute(f"{SELECT} WHERE id = ?", (cursor.lastrowid,)).fetchone())

        return await self._db.run(work, (JOBS, WISHES))

    async def wish(self, numbers: Iterable[int], wish: JobWish) -> None:
        """Say what is wanted of these jobs; ended ones stay as they are, unless they were asked for again and it was not seen yet."""
        rows = [(wish, number, *_ENDED) for number in numbers]
        query = f"UPDATE job SET wish = ? WHERE id = ? AND ({_NOT_ENDED} OR asked > seen)"
        await self._db.run(lambda connection: connection.executemany(query, rows), (JOBS, WISHES))

    async def retry(self, numbers: Iterable[int]) -> None:
        """Have these jobs begin anew now, ended or not, with all their attempts."""
        rows = [(JobWish.RUN, number) for number in numbers]
        await self._db.run(
            lambda connection: connection.executemany("UPDATE job SET wish = ?, asked = asked + 1 WHERE id = ?", rows), (JOBS, WISHES)
        )

    async def limit(self, numbers: Iterable[int], bytes_a_second: int | None) -> None:
        """Limit these pulls, each for itself; None lifts it. Other kinds cannot be paced: they have none."""
        rows = [(bytes_a_second, number) for number in numbers]
        await self._db.run(
            lambda connection: connection.executemany("UPDATE job SET rate_limit = ? WHERE id = ? AND kind = 'pull'", rows), (JOBS, WISHES)
        )

    async def start_at(self, numbers: Iterable[int], at: float | None) -> None:
        """Have these jobs wait until a time (epoch seconds); None for at once."""
        await self._change("not_before = ?", [(at, number) for number in numbers])

    async def chain(self, numbers: Iterable[int], after: int) -> None:
        """Have these jobs wait until another has ended, 0 for none; a circle is not made."""

        def work(connection: sqlite3.Connection) -> None:
            for number in numbers:
                if not _circle(connection, number, after):
                    connection.execute("UPDATE job SET after_job = ? WHERE id = ?", (after, number))

        await self._db.run(work, (JOBS, WISHES))

    async def warm_up(self, numbers: Iterable[int], on: bool) -> None:
        """Have these models loaded once they are there, or not."""
        await self._change("arguments = json_set(arguments, '$.warm_up', json(?))", [(codec.dump(on), number) for number in numbers])

    async def allow(self, numbers: Iterable[int]) -> None:
        """Say yes to everything these jobs ask."""
        everything = asks_text(frozenset(Ask))
        await self._change("allowed = ?", [(everything, number) for number in numbers])

    async def _change(self, what: str, rows: Sequence[tuple[Any, ...]]) -> None:
        await self._db.run(lambda connection: connection.executemany(f"UPDATE job SET {what} WHERE id = ?", rows), (JOBS, WISHES))

    async def move(self, numbers: Iterable[int], where: str) -> None:
        """Change the order: `up`, `down` or `first`; several keep their order among themselves, and ended ones are passed over."""
        chosen = set(numbers)

        def work(connection: sqlite3.Connection) -> None:
            rows = connection.execute("SELECT id, state FROM job ORDER BY position, id").fetchall()
            order = [row[0] for row in rows if row[1] not in _ENDED]
            moved = [number for number in order if number in chosen]
            if where == "first":
                order = moved + [number for number in order if number not in chosen]
            elif where == "up":
                for at in range(1, len(order)):
                    if order[at] in chosen and order[at - 1] not in chosen:
                        order[at - 1], order[at] = order[at], order[at - 1]
            else:
                for at in range(len(order) - 2, -1, -1):
                    if order[at] in chosen and order[at + 1] not in chosen:
                        order[at + 1], order[at] = order[at], order[at + 1]
            ended = [row[0] for row in rows if row[1] in _ENDED]
            new = iter(order)
            whole = [number if number in ended else next(new) for number in (row[0] for row in rows)]
            connection.executemany(
                "UPDATE job SET position = ? WHERE id = ? AND position <> ?", [(n, id, n) for n, id in enumerate(whole, 1)]
            )

        await self._db.run(work, (JOBS, WISHES))

    async def remove(self, numbers: Iterable[int]) -> int:
        """Drop ended jobs from the list; returns how many."""
        rows = [(number, *_ENDED) for number in numbers]
        return await self._db.run(
            lambda connection: connection.executemany(f"DELETE FROM job WHERE id = ? AND NOT ({_NOT_ENDED})", rows).rowcount, (JOBS, WISHES)
        )

    # --- facts (the worker's) --------------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """At the worker's start: what was running was interrupted and goes on in its turn; done jobs of yesterday leave the list."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE job SET state = ?, note = '' WHERE state IN (?, ?)", (JobState.INTERRUPTED, *_RUNNING))
            connection.execute("DELETE FROM job WHERE state = ? AND ended_at < ?", (JobState.DONE, self._clock.time() - LISTED))

        await self._db.run(work, (JOBS,))

    async def take_renewals(self) -> frozenset[int]:
        """The jobs whose user asked to begin anew: each is reset once and waits."""

        def work(connection: sqlite3.Connection) -> frozenset[int]:
            numbers = frozenset(row[0] for row in connection.execute("SELECT id FROM job WHERE asked > seen"))
            connection.execute(
                "UPDATE job SET seen = asked, attempts = 0, failure = NULL, due_at = NULL, ended_at = NULL, note = '',"
                " wait = '', outcome = '{}',"
                f" progress = CASE WHEN {_NOT_ENDED} THEN progress ELSE '{{}}' END,"
                f" started_at = CASE WHEN {_NOT_ENDED} THEN started_at ELSE NULL END,"
                " state = CASE WHEN state IN (?, ?) THEN state ELSE ? END WHERE asked > seen",
                (*_ENDED, *_ENDED, *_RUNNING, JobState.WAITING),
            )
            return numbers

        return await self._db.run(work, (JOBS,)) if self.renewals_wait() else frozenset()

    def renewals_wait(self) -> bool:
        """Whether somebody asked for a retry that was not looked at yet."""
        return self._db.read(lambda connection: connection.execute("SELECT 1 FROM job WHERE asked > seen LIMIT 1").fetchone()) is not None

    async def record(self, jobs: Sequence[Job], *, ended: Sequence[Job] = (), plans: Sequence[Job] = (), durable: bool = True) -> None:
        """Write the facts of jobs in one transaction, those that have just ended into the history too, and new plans.

        Progress need not wait for the disk, changes of state do.
        """

        def work(connection: sqlite3.Connection) -> None:
            _write_facts(connection, jobs)
            write_past(connection, ended)
            connection.executemany("UPDATE job SET plan = ? WHERE id = ?", [(plan_text(job.plan), job.id) for job in plans])

        await self._db.run(work, (JOBS,), durable)

    async def forget_changes(self, number: int) -> None:
        """Do not offer any more what could be applied again after an update."""
        query = "UPDATE job SET outcome = json_remove(outcome, '$.changes') WHERE id = ?"
        await self._db.run(lambda connection: connection.execute(query, (number,)), (JOBS, WISHES))


_NOT_ENDED: Final = f"state NOT IN ({', '.join('?' * len(_ENDED))})"


def _write_facts(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    connection.executemany(
        "UPDATE job SET state = ?, note = ?, progress = ?, attempts = ?, failure = ?, started_at = ?, ended_at = ?, due_at = ?, wait = ?,"
        " asks = ?, outcome = ? WHERE id = ?",
        [
            (
                job.state,
                job.note,
                progress_of(job),
                job.attempts,
                codec.dump_failure(job.failure),
                job.started_at,
                job.ended_at,
                job.due_at,
                job.wait,
                asks_text(job.asks),
                outcome_of(job),
                job.id,
            )
            for job in jobs
        ],
    )


def _arguments(job: Job, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an entry that is asked for again has to do: a pull goes on, a create is another one.

    Raises:
        PaddockError: It is being worked with other fields, and cannot be two.
    """
    if job.kind in (JobKind.PULL, JobKind.PUSH):
        return {**job.arguments, **arguments}
    if job.state.running and dict(job.arguments) != codec.mapping(codec.dump(arguments)):
        what = f"{job.model} is being made already, from something else"
        raise PaddockError.of(what, job.endpoint.name, "Wait until that has ended, or cancel it", FailureKind.BUSY)
    return arguments


def _circle(connection: sqlite3.Connection, number: int, after: int) -> bool:
    return circle(dict(connection.execute("SELECT id, after_job FROM job")), number, after)


def has_work(jobs: Iterable[Job]) -> bool:
    """Whether a worker has anything to do or to wait for."""
    return any(
        job.warmed == LOADING if job.state.ended else not (job.state is JobState.PAUSED and job.wish is JobWish.PAUSE) for job in jobs
    )
