"""The update radar: what the registries have that is newer."""

from __future__ import annotations

from collections.abc import Mapping

from tui.core.library import UpdateState
from tui.core.observe import Observable
from tui.services.api import ModelKey
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part


class Updates(Part):
    """Looks for newer versions, and has them pulled."""

    def __init__(self, host: LibraryHost) -> None:
        super().__init__(host)
        self.states: Observable[Mapping[ModelKey, UpdateState]] = Observable({})
