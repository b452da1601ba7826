"""What happened to models: append-only, anyone writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.core.clock import SYSTEM, Clock
from tui.core.library import EventKind, ModelEvent
from tui.core.names import normal
from tui.text import clean_label, clean_name

if TYPE_CHECKING:
    from tui.store.db import Database

MODEL_EVENTS: Final = "model events"
MOST: Final = 100
"""Events of one model that are read."""


class ModelEvents:
    """The repository of what happened to models."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock

    async def add(self, provider: str, model: str, kind: EventKind, text: str = "", digest: str = "") -> None:
        """Append an event of now."""
        values = (self._clock.time(), clean_name(provider), normal(model), kind.value, clean_label(text, 500), clean_name(digest, 80))
        query = "INSERT INTO model_event (at, provider, model, kind, text, digest) VALUES (?, ?, ?, ?, ?, ?)"
        await self._db.run(lambda connection: connection.execute(query, values), (MODEL_EVENTS,))

    def of(self, provider: str, model: str) -> tuple[ModelEvent, ...]:
        """What happened to a model, newest first."""
        query = "SELECT kind, at, text, digest FROM model_event WHERE provider = ? AND model = ? ORDER BY id DESC LIMIT ?"
        key = (clean_name(provider), normal(model))
        rows = self._db.read(lambda connection: connection.execute(query, (*key, MOST)).fetchall())
        kinds = {kind.value: kind for kind in EventKind}
        return tuple(ModelEvent(*key, kinds[row[0]], row[1], row[2], row[3]) for row in rows if row[0] in kinds)
