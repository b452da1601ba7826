"""What do I have, and what fits?"""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from tui.ui.screens.library_base import LibraryView
from tui.ui.screens.library_catalogue import CatalogueTable, CatalogueView
from tui.ui.screens.library_disk import DiskVerbs, DiskView
from tui.ui.screens.library_fit import FitVerbs
from tui.ui.screens.library_hub import HubVerbs, HuggingFaceView
from tui.ui.screens.library_installed import InstalledView, ModelTable
from tui.ui.screens.library_kept import KeptVerbs
from tui.ui.screens.library_making import MakingVerbs
from tui.ui.screens.library_models import ModelVerbs
from tui.ui.screens.library_table import TableVerbs
from tui.ui.screens.library_tuning import TuningVerbs
from tui.ui.screens.library_updates import UpdateVerbs

__all__ = ["CatalogueTable", "LibraryScreen", "ModelTable", "only"]


def only(app: App[Any], provider: str) -> None:
    """Have the Library screen show one provider's models when it is shown next."""
    app._library_only = provider  # type: ignore[attr-defined]


class LibraryScreen(ModelVerbs, TableVerbs, TuningVerbs, DiskVerbs, FitVerbs, KeptVerbs, MakingVerbs, UpdateVerbs, HubVerbs):
    """Installed models of all providers, what can be pulled, and what lies on the disk."""

    HELP_LINES = (
        "FITS is an estimate for 8k of context on this machine. Marks apply a key to several rows, hidden ones too. A filter takes "
        "words and !words, >5g <8b >=32k, vision tools thinking embed complete, fits loaded pinned update, on:NAME quant:q4 licence:mit."
    )
    VERBS = (
        FitVerbs.VERBS
        | TuningVerbs.VERBS
        | MakingVerbs.VERBS
        | DiskVerbs.VERBS
        | KeptVerbs.VERBS
        | (ModelVerbs.VERBS | TableVerbs.VERBS | UpdateVerbs.VERBS | HubVerbs.VERBS)
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", id="library.filter", tooltip="show only rows that hold some words; esc clears"),
        Binding("right_square_bracket", "view(1)", "view", key_display="[ ]", id="library.next_view", tooltip="next view"),
        Binding("left_square_bracket", "view(-1)", "view", show=False, id="library.previous_view", tooltip="previous view"),
        Binding("o", "menu", "more", id="library.menu", tooltip="a menu of everything that can be done here"),
        Binding("r", "refresh", "refresh", show=False, id="library.refresh", tooltip="ask all providers again"),
    ]

    def make_views(self) -> tuple[LibraryView[Any], ...]:
        """See `LibraryBase`."""
        return (InstalledView(self), CatalogueView(self), DiskView(self), HuggingFaceView(self))

    def start(self) -> None:
        """Show what was asked for, then follow."""
        self._take_only()
        super().start()

    def on_screen_resume(self) -> None:
        """Another screen may have asked for one provider's models."""
        super().on_screen_resume()
        if self.is_mounted:
            self._take_only()

    def _take_only(self) -> None:
        wanted = getattr(self.app, "_library_only", None)
        if wanted is None:
            return
        only(self.app, None)  # type: ignore[arg-type]
        self.first.provider = wanted
        self.first.filter = ""
        self.show_view("installed")

    def action_refresh(self) -> None:
        """Ask again."""
        self.services.registry.refresh()
        self.services.library.disk.refresh()
