"""What lies on a server's disk: models with what they share, the trash, unfinished pulls, blobs no model uses."""

from __future__ import annotations

from collections.abc import Mapping

from tui.core.library import DiskShare, ModelOrigin
from tui.core.observe import Observable
from tui.services.api import ModelKey
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part


class Disk(Part):
    """Disk use, verification and origin of models."""

    def __init__(self, host: LibraryHost) -> None:
        super().__init__(host)
        self.shares: Observable[Mapping[ModelKey, DiskShare]] = Observable({})
        self.origins: Observable[Mapping[ModelKey, ModelOrigin]] = Observable({})
