"""Means of figures over time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from tui.text import clean_name

if TYPE_CHECKING:
    from tui.store.db import Database

SAMPLES: Final = "samples"


class Samples:
    """The repository of means: by step in seconds, series and bucket (time divided by the step)."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def append(self, step: int, rows: Iterable[tuple[int, Mapping[str, float | None]]], *, keep: int | None = None) -> None:
        """Store the figures of buckets, and drop those more than `keep` buckets before the newest of them."""
        found = [(bucket, clean_name(name, 200), value) for bucket, values in rows for name, value in values.items() if value is not None]
        if not found:
            return
        newest = max(bucket for bucket, _name, _value in found)

        def work(connection: sqlite3.Connection) -> None:
            names = {name for _bucket, name, _value in found}
            connection.executemany("INSERT INTO series (name) VALUES (?) ON CONFLICT (name) DO NOTHING", [(name,) for name in names])
            numbers = dict(connection.execute("SELECT name, id FROM series").fetchall())
            connection.executemany(
                "INSERT INTO sample (step, at, series, value) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (step, at, series) DO UPDATE SET value = excluded.value",
                [(step, bucket, numbers[name], value) for bucket, name, value in found],
            )
            if keep is not None:
                connection.execute("DELETE FROM sample WHERE step = ? AND at <= ?", (step, newest - keep))

        await self._db.run(work, (SAMPLES,), durable=False)

    def read(self, step: int, first: int, last: int) -> dict[int, dict[str, float]]:
        """The figures of these buckets, by bucket and name."""
        query = (
            "SELECT sample.at, series.name, sample.value FROM sample JOIN series ON series.id = sample.series"
            " WHERE sample.step = ? AND sample.at BETWEEN ? AND ? ORDER BY sample.at"
        )
        found: dict[int, dict[str, float]] = {}
        for bucket, name, value in self._db.read(lambda connection: connection.execute(query, (step, first, last)).fetchall()):
            found.setdefault(bucket, {})[name] = value
        return found
