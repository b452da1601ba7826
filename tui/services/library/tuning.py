"""Optimising a model for this machine, and quantizing it to smaller levels, measured before and after."""

from __future__ import annotations

from tui.services.library.part import Part


class Tuning(Part):
    """Proposals, levels and their benchmarks."""
