"""Alerts that last or lasted, and until when they are muted."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from tui.core.monitor import Alert
from tui.store.meta import Meta
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.store.db import Database

ALERTS: Final = "alerts"
LOG: Final = 200
"""Ended alerts that are shown."""
KEEP: Final = 30 * 86_400.0
"""Seconds that ended alerts are kept."""
UNWATCHED: Final = 180.0
"""Seconds after the last sign of whoever watches the rules, from which nobody does."""
_MUTED: Final = "alerts muted until"
_ALIVE: Final = "rules watched at"
_COLUMNS: Final = "id, rule, subject, figure, limit_value, started_at, ended_at, culprit, acknowledged"


class AlertTable:
    """The repository of alerts; their numbers are chosen by whoever watches the rules."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._meta = Meta(database)

    def open(self) -> tuple[Alert, ...]:
        """Those that last, newest first."""
        return self._list("ended_at IS NULL ORDER BY started_at DESC, id DESC")

    def lasting(self, now: float) -> tuple[Alert, ...]:
        """Those that last as far as is known: none where nobody watches the rules any more (`now` is in epoch seconds)."""
        watched = self.watched_at()
        return self.open() if watched is not None and abs(now - watched) <= UNWATCHED else ()

    def log(self) -> tuple[Alert, ...]:
        """Those that ended, newest first; at most `LOG`."""
        return self._list(f"ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT {LOG}")

    def _list(self, where: str) -> tuple[Alert, ...]:
        query = f"SELECT {_COLUMNS} FROM alert WHERE {where}"
        return self._db.read(lambda connection: tuple(_alert(row) for row in connection.execute(query)))

    def newest(self) -> int:
        """The highest number given so far."""
        found = self._db.read(lambda connection: connection.execute("SELECT max(id) FROM alert").fetchone())
        return int(found[0] or 0)

    async def put(self, alerts: Iterable[Alert]) -> None:
        """Write alerts as they are now; that somebody has seen one stays."""
        rows = [
            (one.id, clean_name(one.rule, 40), clean_name(one.subject, 200), one.figure, one.limit, one.started_at, one.ended_at,
             clean_name(one.culprit, 300), int(one.acknowledged))
            for one in alerts
        ]  # fmt: skip
        query = (
            f"INSERT INTO alert ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " figure = excluded.figure, limit_value = excluded.limit_value, ended_at = excluded.ended_at, culprit = excluded.culprit"
        )
        if rows:
            await self._db.run(lambda connection: connection.executemany(query, rows), (ALERTS,))

    async def acknowledge(self, ids: Iterable[int] = ()) -> None:
        """Mark alerts as seen; none: all."""
        numbers = [(number,) for number in ids]

        def work(connection: sqlite3.Connection) -> None:
            if numbers:
                connection.executemany("UPDATE alert SET acknowledged = 1 WHERE id = ?", numbers)
            else:
                connection.execute("UPDATE alert SET acknowledged = 1 WHERE acknowledged = 0")

        await self._db.run(work, (ALERTS,))

    async def prune(self, now: float) -> None:
        """Drop those that ended long ago."""
        await self._db.run(lambda connection: connection.execute("DELETE FROM alert WHERE ended_at < ?", (now - KEEP,)), (), durable=False)

    def muted_until(self) -> float | None:
        """Epoch seconds; None where they were never muted."""
        return _time(self._meta.get(_MUTED))

    async def mute(self, until: float | None) -> None:
        """Mute in all processes, until an epoch second; None ends it."""

        def work(connection: sqlite3.Connection) -> None:
            _set(connection, _MUTED, "" if until is None else f"{until:.3f}")

        await self._db.run(work, (ALERTS,))

    def watched_at(self) -> float | None:
        """Epoch seconds at which the rules were watched for the last time, to a minute."""
        return _time(self._meta.get(_ALIVE))

    async def watched(self, now: float) -> None:
        """Note that the rules are watched."""
        await self._db.run(lambda connection: _set(connection, _ALIVE, f"{now:.3f}"), (), durable=False)


def _set(connection: sqlite3.Connection, key: str, value: str) -> None:
    if value:
        query = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        connection.execute(query, (key, value))
    else:
        connection.execute("DELETE FROM meta WHERE key = ?", (key,))


def _time(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    return None


def _alert(row: Sequence[Any]) -> Alert:
    number, rule, subject, figure, limit, started, ended, culprit, seen = row
    return Alert(
        number, clean_name(rule, 40), clean_name(subject, 200), figure, limit, started, ended, clean_name(culprit, 300), bool(seen)
    )
