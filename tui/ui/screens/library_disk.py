"""The Library's view of the disk, and checking what lies on it."""

from __future__ import annotations

from tui.ui.screens.library_base import LibraryBase


class DiskVerbs(LibraryBase):
    """Verify models, clean the disk."""
