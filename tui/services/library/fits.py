"""What fits on this machine: learned from loads, as a table of context by quantization, and as a recommendation."""

from __future__ import annotations

from tui.services.library.part import Part


class FitTables(Part):
    """Estimates that learn."""
