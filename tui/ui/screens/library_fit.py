"""What the Library's keys tell about what fits."""

from __future__ import annotations

from tui.ui.screens.library_base import LibraryBase


class FitVerbs(LibraryBase):
    """The table of what fits."""
