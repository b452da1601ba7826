"""The history of the queue: what ended, when, how fast, and from where it was asked."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from typing import Final

from tui.core.jobs import Job, PastJob
from tui.store import codec
from tui.store.db import Database
from tui.store.job_rows import PAST, past_of

KEPT: Final = 2000
"""Ended jobs that are remembered; older ones go."""

_log = logging.getLogger("paddock.store")


def write_past(connection: sqlite3.Connection, jobs: Iterable[Job]) -> None:
    """Remember jobs that have just ended, in the transaction that says so."""
    rows = [
        (
            job.id,
            job.kind,
            job.model,
            job.endpoint.name,
            job.endpoint.url,
            job.state,
            job.total,
            job.fetched,
            job.busy,
            job.attempts,
            job.asked_by,
            job.created_at,
            job.started_at,
            job.ended_at,
            codec.dump_failure(job.failure),
            job.digest,
        )
        for job in jobs
    ]
    if rows:
        connection.executemany(f"INSERT INTO job_history ({PAST.removeprefix('id, ')}) VALUES ({', '.join('?' * 16)})", rows)
        connection.execute("DELETE FROM job_history WHERE id <= (SELECT max(id) FROM job_history) - ?", (KEPT,))


class History:
    """The repository of ended jobs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def last_digest(self, job: Job) -> str:
        """The digest of a model when we pulled it last on the same server, or empty."""
        same = "kind = 'pull' AND state = 'done' AND model = ? AND url = ?"
        query = f"SELECT digest FROM job_history WHERE {same} ORDER BY ended_at DESC, id DESC LIMIT 1"
        row = self._db.read(lambda connection: connection.execute(query, (job.model, job.endpoint.url)).fetchone())
        return str(row[0]) if row is not None else ""

    def of(self, model: str, provider: str, url: str, limit: int = 50) -> tuple[PastJob, ...]:
        """What was done to a model on a server, newest first; `model` in its normal form."""
        same = "state = 'done' AND model = ? AND (provider = ? OR url = ?)"
        query = f"SELECT {PAST} FROM job_history WHERE {same} ORDER BY ended_at DESC, id DESC LIMIT ?"
        return self._read(query, (model, provider, url, limit))

    def search(self, text: str = "", limit: int = 500) -> tuple[PastJob, ...]:
        """The newest first: those that hold every word in model, provider, state, kind, where they were asked for, or failure."""
        patterns = [f"%{word.replace('!', '!!').replace('%', '!%').replace('_', '!_')}%" for word in text.split()]
        columns = "model || ' ' || provider || ' ' || state || ' ' || kind || ' ' || asked_by || ' ' || coalesce(failure, '')"
        where = " AND ".join([f"({columns}) LIKE ? ESCAPE '!'"] * len(patterns)) or "1"
        query = f"SELECT {PAST} FROM job_history WHERE {where} ORDER BY ended_at DESC, id DESC LIMIT ?"
        return self._read(query, (*patterns, limit))

    def _read(self, query: str, values: tuple[object, ...]) -> tuple[PastJob, ...]:
        found = []
        for row in self._db.read(lambda connection: connection.execute(query, values).fetchall()):
            try:
                found.append(past_of(row))
            except (ValueError, TypeError, KeyError, AttributeError):
                _log.warning("entry %s of the history cannot be read", row[0])
        return tuple(found)
