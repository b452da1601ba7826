"""Deleting and bringing back, renaming, earlier versions: nothing is lost by a key."""

from __future__ import annotations

from tui.core.library import KeptModel
from tui.core.observe import Observable
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part


class Keeping(Part):
    """The trash and the versions of all providers."""

    def __init__(self, host: LibraryHost) -> None:
        super().__init__(host)
        self.kept: Observable[tuple[KeptModel, ...]] = Observable(())
