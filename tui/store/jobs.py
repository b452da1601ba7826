"""The queue: wishes written by app and command line, facts by the worker."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tui.core import names
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import PaddockError
from tui.core.models import Endpoint, Job, JobKind, JobState, JobWish, Layer
from tui.store import codec
from tui.store.db import Database
from tui.text import clean_name

JOBS: Final = "jobs"
"""Topic: anything about jobs changed."""
WISHES: Final = "wishes"
"""Topic: something the worker must act on changed."""

_log = logging.getLogger("paddock.store")

_SELECT: Final = """SELECT id, kind, model, endpoint, arguments, wish, state, position, note, progress, attempts, failure,
    created_at, started_at, ended_at, due_at, asked_by FROM job"""
_ENDED: Final = tuple(state.value for state in JobState if state.ended)
_FIGURES: Final = ("total", "done", "percent", "rate", "average", "peak", "eta")


def _job(row: Sequence[Any]) -> Job:
    progress = codec.mapping(row[9])
    return Job(
        id=row[0],
        kind=JobKind(row[1]),
        model=row[2],
        endpoint=codec.load_endpoint(row[3]),
        arguments=codec.mapping(row[4]),
        wish=JobWish(row[5]),
        state=JobState(row[6]),
        position=row[7],
        note=row[8],
        layers=tuple(Layer(*layer) for layer in progress.get("layers", ())),
        history=tuple(progress.get("history", ())),
        attempts=row[10],
        failure=codec.load_failure(row[11]),
        created_at=row[12],
        started_at=row[13],
        ended_at=row[14],
        due_at=row[15],
        asked_by=row[16],
        **{key: progress[key] for key in _FIGURES if key in progress},
    )


def _progress(job: Job) -> str:
    figures: dict[str, Any] = {key: value for key in _FIGURES if (value := getattr(job, key)) is not None}
    figures["layers"] = [(layer.digest, layer.total, layer.completed) for layer in job.layers]
    figures["history"] = [round(value) for value in job.history]
    return codec.dump(figures)


def model_key(model: str) -> str:
    """What makes two spellings one entry of the queue."""
    try:
        return names.parse(model).key
    except PaddockError:
        return model.strip()


def provider_key(endpoint: Endpoint) -> str:
    """What makes two providers the same server."""
    return endpoint.url.rstrip("/").lower()


class JobTable:
    """The repository of jobs."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock
        self._unreadable: set[int] = set()

    def list(self) -> tuple[Job, ...]:
        """All jobs in the order of the queue."""
        return self._db.read(lambda connection: tuple(self._readable(connection.execute(f"{_SELECT} ORDER BY position, id"))))

    def _readable(self, rows: Iterable[Sequence[Any]]) -> Iterator[Job]:
        """The jobs of these rows; one that cannot be read (damage, a kind of a newer version) stays in the table and costs no other."""
        for row in rows:
            try:
                yield _job(row)
            except (ValueError, TypeError, KeyError, AttributeError):
                if row[0] not in self._unreadable:
                    self._unreadable.add(row[0])
                    _log.warning("entry %s of the queue cannot be read", row[0])

    def get(self, number: int) -> Job | None:
        """One job."""
        row = self._db.read(lambda connection: connection.execute(f"{_SELECT} WHERE id = ?", (number,)).fetchone())
        return None if row is None else _job(row)

    # --- wishes ----------------------------------------------------------------------------------------------------

    async def add(
        self, kind: JobKind, model: str, endpoint: Endpoint, arguments: Mapping[str, Any] | None = None, asked_by: str = ""
    ) -> Job:
        """Queue a job. One that is already there for this model and server, however spelled, is used again and goes on.

        An ended one makes room for the new entry at the end of the queue.
        """
        keys = (kind, provider_key(endpoint), model_key(model))
        same = "kind = ? AND provider_key = ? AND model_key = ?"

        def work(connection: sqlite3.Connection) -> Job:
            found = connection.execute(f"{_SELECT} WHERE {same}", keys).fetchone()
            if found is not None and not (job := _job(found)).state.ended:
                connection.execute("UPDATE job SET wish = ?, asked = asked + 1 WHERE id = ?", (JobWish.RUN, job.id))
                return replace(job, wish=JobWish.RUN)
            connection.execute(f"DELETE FROM job WHERE {same}", keys)
            cursor = connection.execute(
                "INSERT INTO job (kind, provider_key, model_key, model, endpoint, arguments, position, created_at, asked_by)"
                " VALUES (?, ?, ?, ?, ?, ?, (SELECT coalesce(max(position), 0) + 1 FROM job), ?, ?)",
                (*keys, names.normal(model), codec.dump(endpoint), codec.dump(arguments or {}), self._clock.time(), clean_name(asked_by)),
            )
            return _job(connection.execute(f"{_SELECT} WHERE id = ?", (cursor.lastrowid,)).fetchone())

        return await self._db.run(work, (JOBS, WISHES))

    async def wish(self, numbers: Iterable[int], wish: JobWish) -> None:
        """Say what is wanted of these jobs; ended ones stay as they are."""
        rows = [(wish, number, *_ENDED) for number in numbers]
        await self._db.run(
            lambda connection: connection.executemany(f"UPDATE job SET wish = ? WHERE id = ? AND {_NOT_ENDED}", rows), (JOBS, WISHES)
        )

    async def retry(self, numbers: Iterable[int]) -> None:
        """Have these jobs begin anew now, ended or not, with all their attempts."""
        rows = [(JobWish.RUN, number) for number in numbers]
        await self._db.run(
            lambda connection: connection.executemany("UPDATE job SET wish = ?, asked = asked + 1 WHERE id = ?", rows), (JOBS, WISHES)
        )

    async def move(self, number: int, where: str) -> None:
        """Change the order: `up`, `down` or `first`."""

        def work(connection: sqlite3.Connection) -> None:
            order = [row[0] for row in connection.execute("SELECT id FROM job ORDER BY position, id")]
            if number not in order:
                return
            at = order.index(number)
            order.insert({"up": max(0, at - 1), "down": at + 1, "first": 0}[where], order.pop(at))
            connection.executemany(
                "UPDATE job SET position = ? WHERE id = ? AND position <> ?", [(n, id, n) for n, id in enumerate(order, 1)]
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
        """At the worker's start: what was running waits for its turn again, in the old order."""
        await self._db.run(
            lambda connection: connection.execute(
                "UPDATE job SET state = ?, note = '' WHERE state IN (?, ?)", (JobState.WAITING, JobState.FETCHING, JobState.CHECKING)
            ),
            (JOBS,),
        )

    async def take_renewals(self) -> frozenset[int]:
        """The jobs whose user asked to begin anew: each is reset once and waits."""

        def work(connection: sqlite3.Connection) -> frozenset[int]:
            numbers = frozenset(row[0] for row in connection.execute("SELECT id FROM job WHERE asked > seen"))
            connection.execute(
                "UPDATE job SET seen = asked, attempts = 0, failure = NULL, due_at = NULL, ended_at = NULL, note = '',"
                " state = CASE WHEN state IN (?, ?) THEN state ELSE ? END WHERE asked > seen",
                (JobState.FETCHING, JobState.CHECKING, JobState.WAITING),
            )
            return numbers

        return await self._db.run(work, (JOBS,)) if self.renewals_wait() else frozenset()

    def renewals_wait(self) -> bool:
        """Whether somebody asked for a retry that was not looked at yet."""
        return self._db.read(lambda connection: connection.execute("SELECT 1 FROM job WHERE asked > seen LIMIT 1").fetchone()) is not None

    async def record(self, jobs: Sequence[Job], *, durable: bool = True) -> None:
        """Write the facts of jobs in one transaction; progress need not wait for the disk, changes of state do."""
        await self._db.run(lambda connection: _write_facts(connection, jobs), (JOBS,), durable)


_NOT_ENDED: Final = f"state NOT IN ({', '.join('?' * len(_ENDED))})"


def _write_facts(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    connection.executemany(
        "UPDATE job SET state = ?, note = ?, progress = ?, attempts = ?, failure = ?, started_at = ?, ended_at = ?, due_at = ?"
        " WHERE id = ?",
        [
            (
                job.state,
                job.note,
                _progress(job),
                job.attempts,
                codec.dump_failure(job.failure),
                job.started_at,
                job.ended_at,
                job.due_at,
                job.id,
            )
            for job in jobs
        ],
    )


def has_work(jobs: Iterable[Job]) -> bool:
    """Whether a worker has anything to do or to wait for."""
    return any(not job.state.ended and not (job.state is JobState.PAUSED and job.wish is JobWish.PAUSE) for job in jobs)
