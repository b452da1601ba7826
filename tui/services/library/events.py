"""What happened to the models here: noted by whoever did it, read for the detail of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tui.core.library import EventKind, ModelEvent
from tui.core.observe import Observable
from tui.services.api import ModelKey
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part

if TYPE_CHECKING:
    from tui.store.db import Database
    from tui.store.model_events import ModelEvents


class Events(Part):
    """The history of models."""

    def __init__(self, host: LibraryHost) -> None:
        super().__init__(host)
        self.history: Observable[Mapping[ModelKey, tuple[ModelEvent, ...]]] = Observable({})
        self._table: ModelEvents | None = None

    async def open(self, database: Database) -> None:
        """See `Part`."""
        from tui.store.model_events import ModelEvents

        self._table = ModelEvents(database, self._host.clock)

    async def note(self, provider: str, model: str, kind: EventKind, text: str = "", digest: str = "") -> None:
        """Write down what was done to a model; without a database nothing is kept."""
        if self._table is not None:
            await self._table.add(provider, model, kind, text, digest)
