"""Configuring, exporting, backing up and importing models."""

from __future__ import annotations

from tui.services.library.part import Part


class Making(Part):
    """Makes models out of models and files, and files out of models."""
