"""What the Library's keys do to make a model faster or smaller."""

from __future__ import annotations

from tui.ui.screens.library_base import LibraryBase


class TuningVerbs(LibraryBase):
    """Optimise and quantize."""
