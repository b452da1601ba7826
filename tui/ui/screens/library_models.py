"""What the Library's keys do with installed models in memory, and their names."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.ui.screens.library_base import LibraryBase

KEEP: Final = (
    ("5m", "5 minutes", ""),
    ("30m", "30 minutes", ""),
    ("1h", "1 hour", ""),
    ("24h", "24 hours", ""),
    ("forever", "forever", "until unloaded"),
)
_NEEDS: Final = {"load": Capability.LOAD, "unload": Capability.UNLOAD, "keep": Capability.KEEP_ALIVE}


class ModelVerbs(LibraryBase):
    """Load, unload, keep; copy the name; ask again."""

    VERBS = frozenset({*_NEEDS, "name"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("L", "load", "load", id="library.load", tooltip="load the model into memory"),
        Binding("U", "unload", "unload", id="library.unload", tooltip="take the model out of memory"),
        Binding("t", "keep", "keep", id="library.keep", tooltip="how long the model stays loaded"),
        Binding("y", "name", "copy name", show=False, id="library.name", tooltip="copy the name to the clipboard"),
    ]

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action == "name":
            return "" if self.table.highlighted is not None else "There is nothing to copy."
        if action not in _NEEDS:
            return super().refusal(action)
        chosen = self.chosen
        reason = self.refused_for(_NEEDS[action], chosen)
        if reason:
            return reason
        if action in ("unload", "keep") and not any(self.fits.is_loaded(model) for model in chosen):
            return "It is not loaded." if len(chosen) == 1 else "None of them is loaded."
        if action == "load" and all(self.fits.is_loaded(model) for model in chosen):
            return "It is loaded already."
        return ""

    def action_load(self) -> None:
        """Load what is not loaded."""
        for model in self.chosen:
            if not self.fits.is_loaded(model):
                self.services.registry.load(model.provider, model.key)

    def action_unload(self) -> None:
        """Unload what is loaded."""
        for model in self.chosen:
            if self.fits.is_loaded(model):
                self.services.registry.unload(model.provider, model.key)

    def action_keep(self) -> None:
        """Ask how long they stay loaded."""
        from tui.ui.widgets.confirm import ChoiceDialog

        loaded = [model for model in self.chosen if self.fits.is_loaded(model)]
        what = loaded[0].name if len(loaded) == 1 else f"{len(loaded)} models"

        def done(keep: str | None) -> None:
            for model in loaded if keep is not None else ():
                self.services.registry.keep(model.provider, model.key, keep or "")

        self.ask(ChoiceDialog(f"Keep {what} loaded after use for", KEEP), done)

    def action_name(self) -> None:
        """Copy names."""
        names = [model.name for model in self.chosen] or [self.view.title(self.table.highlighted)]
        self.app.copy_to_clipboard("\n".join(names))
