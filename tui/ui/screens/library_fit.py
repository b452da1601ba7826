"""What the Library's keys tell about what fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.core.fit import Variant
from tui.core.models import Model
from tui.providers.library import CatalogueModel
from tui.services.api import pullers
from tui.services.library.catalogue_search import weighty
from tui.ui.screens.catalogue_view import cloud_only
from tui.ui.screens.library_base import LibraryBase


class FitVerbs(LibraryBase):
    """The table of what fits."""

    VERBS = frozenset({"fit"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "fit", "fit", id="library.fit", tooltip="what fits: context by quantization, and the largest context"),
    ]

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action != "fit":
            return super().refusal(action)
        item = self.table.highlighted
        if isinstance(item, CatalogueModel):
            if cloud_only(item):
                return f"{item.name} runs in a cloud only: nothing must fit here."
            return "" if weighty(item) else f"The list does not say how large {item.name} is."
        if not isinstance(item, Model):
            return self.away or "There is no model under the cursor."
        if item.remote:
            return f"{item.name} runs in a cloud: nothing must fit here."
        if not item.size:
            return f"{item.provider} does not tell how large {item.name} is."
        if not self.fits.here(item.provider) and not self.fits.knows(item.provider):
            return f"{item.provider} is not on this machine: its memory is not known. Set providers.{item.provider}.vram."
        return ""

    def action_fit(self) -> None:
        """Show the table."""
        item = self.table.highlighted
        if isinstance(item, Model):
            if self.fits.detail(item) is None:
                self.services.registry.show(item.provider, item.key)
            self.show_fit(item.name, item.provider, self._installed(item))
        elif isinstance(item, CatalogueModel):
            self.show_fit(item.name, self._place(), self._offered(item))

    def show_fit(self, title: str, provider: str, variants: Callable[[], Sequence[Variant]]) -> None:
        """Show the table of these rows; pulling is offered where a provider can."""
        from tui.ui.dialogs.fit import FitDialog

        pull = self._pull if pullers(self.services.registry) else None
        self.ask(FitDialog(self.services, title, provider, variants, pull))

    def _place(self) -> str:
        """The provider on this machine that a pull would most likely go to."""
        names = [state.name for state in pullers(self.services.registry) if self.fits.here(state.name)]
        return names[0] if names else ""

    def _installed(self, model: Model) -> Callable[[], Sequence[Variant]]:
        from tui.services.library.fits_variants import of_installed

        registry, listed = self.services.registry, self.services.library.catalogue.view
        return lambda: of_installed(model, registry.details.value, registry.models.value, listed.value.list)

    def _offered(self, item: CatalogueModel) -> Callable[[], Sequence[Variant]]:
        from tui.services.library.fits_variants import of_catalogue

        registry = self.services.registry
        return lambda: of_catalogue(item, registry.models.value, registry.details.value)

    def _pull(self, name: str) -> None:
        from tui.ui.dialogs.pull import PullDialog

        self.ask(PullDialog(self.services, name, asked_by="library"))
