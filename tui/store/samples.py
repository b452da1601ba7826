"""Means of figures over time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from tui.text import clean_name

if TYPE_CHECKING:
    from tui.store.db import Database

SAMPLES: Final = "samples"
Rows = Iterable[tuple[int, Mapping[str, float | None]]]
"""Buckets (time divided by the step), and their figures by name."""


class Samples:
    """The repository of means: by step in seconds, series and bucket (time divided by the step)."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def append(self, step: int, rows: Rows, *, keep: int | None = None) -> None:
        """Store the figures of buckets, and drop those more than `keep` buckets before the newest of them."""
        await self.write({step: rows}, {} if keep is None else {step: keep})

    async def write(self, steps: Mapping[int, Rows], keep: Mapping[int, int]) -> None:
        """Store the figures of buckets of several steps, in one transaction.

        Args:
            steps: Buckets and their figures, by step.
            keep: How many buckets of a step stay, counted from the newest of those given; what is newer than that one is of a
                time that has not come, and is dropped too.
        """
        found = [
            (step, bucket, clean_name(name, 200), value)
            for step, rows in steps.items()
            for bucket, values in rows
            for name, value in values.items()
            if value is not None
        ]
        if not found:
            return
        newest: dict[int, int] = {}
        for step, bucket, _name, _value in found:
            newest[step] = max(newest.get(step, bucket), bucket)

        def work(connection: sqlite3.Connection) -> None:
            names = sorted({name for _step, _bucket, name, _value in found})
            connection.executemany("INSERT INTO series (name) VALUES (?) ON CONFLICT (name) DO NOTHING", [(name,) for name in names])
            numbers = dict(connection.execute("SELECT name, id FROM series").fetchall())
            connection.executemany(
                "INSERT INTO sample (step, at, series, value) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (step, at, series) DO UPDATE SET value = excluded.value",
                [(step, bucket, numbers[name], value) for step, bucket, name, value in found],
            )
            for step, count in keep.items():
                if step in newest:
                    connection.execute(
                        "DELETE FROM sample WHERE step = ? AND (at <= ? OR at > ?)", (step, newest[step] - count, newest[step])
                    )

        await self._db.run(work, (SAMPLES,), durable=False)

    async def forget_unused(self) -> None:
        """Drop the names of series of which nothing is kept any more."""
        query = "DELETE FROM series WHERE id NOT IN (SELECT series FROM sample)"  # all rows are read once, however many go
        await self._db.run(lambda connection: connection.execute(query), (), durable=False)

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

    async def each(self, step: int, first: int, last: int, take: Callable[[int, dict[str, float]], None]) -> None:
        """The same off the loop: `take` gets one bucket after the other, oldest first, in another thread."""
        query = "SELECT at, series, value FROM sample WHERE step = ? AND at BETWEEN ? AND ? ORDER BY at"

        def work(connection: sqlite3.Connection) -> None:
            names = dict(connection.execute("SELECT id, name FROM series").fetchall())
            for bucket, rows in groupby(connection.execute(query, (step, first, last)), itemgetter(0)):
                take(bucket, {names[series]: value for _at, series, value in rows})

        await self._db.read_async(work)
