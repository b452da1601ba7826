"""What can be pulled: the dated list, a newer one on request, and Hugging Face."""

from __future__ import annotations

from tui.services.library.part import Part


class Catalogue(Part):
    """The list of models that can be pulled."""
