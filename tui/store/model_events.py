"""What happened to models: append-only, anyone writes; old ones go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.core.clock import SYSTEM, Clock
from tui.core.library import EventKind, ModelEvent
from tui.core.names import normal
from tui.text import clean_label, clean_name

if TYPE_CHECKING:
    import sqlite3

    from tui.store.db import Database

MODEL_EVENTS: Final = "model events"
MOST: Final = 100
"""Events of one model that are kept, the newest."""
GONE: Final = 365 * 86_400.0
"""Seconds that is known of a deleted model what happened to it."""
ALL: Final = 50_000
"""Events that are kept in all, the newest."""
_PRUNE: Final = """DELETE FROM model_event WHERE provider = ?1 AND model = ?2
    AND id <= (SELECT id FROM model_event WHERE provider = ?1 AND model = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)"""
_PRUNE_ALL: Final = "DELETE FROM model_event WHERE id <= (SELECT max(id) FROM model_event) - ?"
_PRUNE_GONE: Final = """DELETE FROM model_event WHERE (provider, model) IN (
    SELECT provider, model FROM model_event AS last WHERE kind = ? AND at < ?
    AND NOT EXISTS (SELECT 1 FROM model_event WHERE provider = last.provider AND model = last.model AND id > last.id))"""


class ModelEvents:
    """The repository of what happened to models.

    Each event prunes: of its model all but the newest `MOST`, of all models all but the newest `ALL`; a deletion also the models that were
    deleted `GONE` ago and did not come back. What is installed keeps its events however old they are: they say where it is from.
    """

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock

    async def add(self, provider: str, model: str, kind: EventKind, text: str = "", digest: str = "") -> None:
        """Append an event of now; see the class for what goes."""
        now, key = self._clock.time(), (clean_name(provider), normal(model))
        values = (now, *key, kind.value, clean_label(text, 500), clean_name(digest, 80))
        query = "INSERT INTO model_event (at, provider, model, kind, text, digest) VALUES (?, ?, ?, ?, ?, ?)"

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(query, values)
            connection.execute(_PRUNE, (*key, MOST))
            connection.execute(_PRUNE_ALL, (ALL,))
            if kind is EventKind.DELETED:
                connection.execute(_PRUNE_GONE, (EventKind.DELETED.value, now - GONE))

        await self._db.run(write, (MODEL_EVENTS,))

    def of(self, provider: str, model: str) -> tuple[ModelEvent, ...]:
        """What happened to a model, newest first."""
        query = "SELECT kind, at, text, digest FROM model_event WHERE provider = ? AND model = ? ORDER BY id DESC LIMIT ?"
        key = (clean_name(provider), normal(model))
        rows = self._db.read(lambda connection: connection.execute(query, (*key, MOST)).fetchall())
        kinds = {kind.value: kind for kind in EventKind}
        return tuple(ModelEvent(*key, kinds[row[0]], row[1], row[2], row[3]) for row in rows if row[0] in kinds)
