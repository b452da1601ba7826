"""What the parts of the Library have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.services.library.host import LibraryHost

if TYPE_CHECKING:
    from tui.store.db import Database


class Part:
    """One part of the Library; made before the first frame, so what that does not need is imported late."""

    def __init__(self, host: LibraryHost) -> None:
        self._host = host

    async def open(self, database: Database) -> None:
        """Read what is kept, once the database is there."""

    async def changed(self, topics: frozenset[str]) -> None:
        """Another process changed these topics of the database."""

    async def models_moved(self) -> None:
        """The lists of models changed; several changes at once are told once."""

    async def aclose(self) -> None:
        """End what runs."""
