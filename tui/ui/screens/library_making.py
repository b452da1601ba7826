"""What the Library's keys make: another configuration, files, backups, models of files."""

from __future__ import annotations

from tui.ui.screens.library_base import LibraryBase


class MakingVerbs(LibraryBase):
    """Configure, export, back up, import."""
