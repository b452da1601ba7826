"""The six screens."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from textual.app import App
from textual.screen import Screen

if TYPE_CHECKING:
    from tui.services.api import Services


def build_screen(app: App[int], name: str, services: Services) -> Screen[None]:
    """Build a screen; the first visit pays for its imports, start-up does not."""
    module = import_module(f"tui.ui.screens.{name}")
    made: Screen[None] = getattr(module, f"{name.title()}Screen")(services)
    # Textual would parse all styles twice more (50 ms) for a screen whose widgets are yet to take the present ones.
    made._css_update_count = app._css_update_count
    return made
