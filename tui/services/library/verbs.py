"""`LibraryApi`: the parts of the Library, and what they are told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tui.services.library.catalogue import Catalogue
from tui.services.library.disk import Disk
from tui.services.library.events import Events
from tui.services.library.fits import FitTables
from tui.services.library.host import LibraryHost
from tui.services.library.keeping import Keeping
from tui.services.library.making import Making
from tui.services.library.part import Part
from tui.services.library.tuning import Tuning
from tui.services.library.updates import Updates

if TYPE_CHECKING:
    from tui.store.db import Database

_LOG = logging.getLogger("paddock.library")


class Library:
    """Everything the Library screen and the commands ask for. Every verb of a part may be called from any thread."""

    def __init__(self, host: LibraryHost) -> None:
        self._host = host
        self._told = False
        self.events = Events(host)
        self.keeping = Keeping(host, self.events)
        self.updates = Updates(host, self.events)
        self.fits = FitTables(host)
        self.disk = Disk(host, self.events, self.updates, self.keeping)
        self.catalogue = Catalogue(host)
        self.making = Making(host, self.keeping, self.events)
        self.tuning = Tuning(host, self.fits)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them."""
        return (self.events, self.keeping, self.updates, self.fits, self.disk, self.catalogue, self.making, self.tuning)

    async def open(self, database: Database) -> None:
        """Open each part; one that fails is said, and the others work."""
        for part in self.parts:
            try:
                await part.open(database)
            except Exception:
                _LOG.exception("%s", type(part).__name__)
        for moved in (self._host.watching.models, self._host.watching.kept):
            moved.watch(lambda _value: self._moved())
        self._moved()

    def _moved(self) -> None:
        if not self._told:
            self._told = True
            self._host.engine.post(self._tell)

    async def _tell(self) -> None:
        self._told = False
        for part in self.parts:
            try:
                await part.models_moved()
            except Exception:
                _LOG.exception("%s", type(part).__name__)

    async def changed(self, topics: frozenset[str]) -> None:
        """Another process changed these topics of the database."""
        for part in self.parts:
            await part.changed(topics)

    async def aclose(self) -> None:
        """End what runs."""
        for part in self.parts:
            await part.aclose()
