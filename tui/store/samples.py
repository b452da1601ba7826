"""Figures over time."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from tui.store.db import Database

SAMPLES: Final = "samples"


class Samples:
    """The repository of samples: series of values by time (UTC epoch seconds)."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def append(self, at: float, values: Mapping[str, float | None], *, keep: float | None = None) -> None:
        """Store one value a series, and drop what is older than `keep` seconds before it."""
        rows = [(series, at, value) for series, value in values.items()]

        def work(connection: sqlite3.Connection) -> None:
            execute = connection.executemany
            execute(
                "INSERT INTO sample (series, at, value) VALUES (?, ?, ?) ON CONFLICT (series, at) DO UPDATE SET value = excluded.value",
                rows,
            )
            if keep is not None:
                execute("DELETE FROM sample WHERE series = ? AND at < ?", [(series, at - keep) for series in values])

        await self._db.run(work, (SAMPLES,), durable=False)

    def range(self, series: str, start: float, end: float) -> tuple[tuple[float, float | None], ...]:
        """The values of a series between two times, in order."""
        query = "SELECT at, value FROM sample WHERE series = ? AND at BETWEEN ? AND ? ORDER BY at"
        return self._db.read(lambda connection: tuple(connection.execute(query, (series, start, end)).fetchall()))
