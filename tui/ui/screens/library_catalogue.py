"""The Library's catalogue: what can be pulled, and pulling it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.core.names import normal
from tui.providers.library import CatalogueModel, load_library
from tui.services.api import pullers
from tui.ui.frame import Part
from tui.ui.screens import catalogue_view
from tui.ui.screens.library_base import LibraryBase, LibraryView
from tui.ui.screens.library_installed import InstalledView
from tui.ui.widgets.columns import Column
from tui.ui.widgets.detail import Fact
from tui.ui.widgets.rows import Rows


class CatalogueTable(Rows[CatalogueModel]):
    """Models that can be pulled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "pull", id="rows.open", tooltip="pull this model"),
    ]


class CatalogueView(LibraryView[CatalogueModel]):
    """Models that can be pulled."""

    NAME = "catalogue"
    TITLE = "Catalogue"

    def make(self) -> CatalogueTable:
        """See `LibraryView`."""
        return CatalogueTable(
            self.columns(80),
            key=lambda model: model.name,
            text=lambda model: f"{model.name} {model.words} {model.family} {model.licence}",
            markable=False,
            id="catalogue",
        )

    def columns(self, width: int) -> Sequence[Column[CatalogueModel]]:
        """See `LibraryView`."""
        return catalogue_view.columns(self.screen.fits, width, binary=self.screen.binary)

    def shown(self) -> None:
        """The list is read when it is first looked at."""
        if not self.table.total:
            self.table.set_items(load_library().models)

    def counts(self) -> list[Part]:
        """See `LibraryView`."""
        rows, day = self.table, catalogue_view.snapshot_day(load_library())
        return [(f"{f'{rows.shown} of ' if rows.shown != rows.total else ''}{rows.total} models, of {day}", "$foreground")]

    def facts(self, item: CatalogueModel) -> list[Fact]:
        """See `LibraryView`."""
        installed = frozenset(normal(model.name) for model in self.screen.services.registry.models.value)
        day = catalogue_view.snapshot_day(load_library())
        return catalogue_view.catalogue_facts(item, self.screen.fits, installed, day, binary=self.screen.binary)

    def entered(self, item: CatalogueModel) -> None:
        """Pull it."""
        if reason := self.screen.refusal("pull"):
            self.screen.say(reason)
        elif isinstance(self.screen, CatalogueVerbs):
            self.screen.action_pull()


class CatalogueVerbs(LibraryBase):
    """Pulling."""

    VERBS = frozenset({"pull"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "pull", "pull", id="library.pull", tooltip="pull a model by name, or the one of the catalogue under the cursor"),
    ]

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action != "pull":
            return super().refusal(action)
        return "" if pullers(self.services.registry) else "No provider here can pull models: " + self._why_no_pull()

    def _why_no_pull(self) -> str:
        states = self.services.registry.providers.value
        reasons = [reason for state in states if (reason := self.services.registry.can(state.name, Capability.PULL))]
        return "; ".join(dict.fromkeys(reasons)) or "none is there."

    def action_pull(self) -> None:
        """Ask which model, with the catalogue's under the cursor filled in."""
        from tui.ui.dialogs.pull import PullDialog

        item, name = self.table.highlighted, ""
        if isinstance(item, CatalogueModel):
            best = catalogue_view.largest(item, self.fits) or item.default
            name = f"{item.name}:{best.tag}" if best is not None else item.name
        first = self.views[0]
        provider = first.provider if isinstance(first, InstalledView) else ""
        self.ask(PullDialog(self.services, name, provider=provider, asked_by="library"))
