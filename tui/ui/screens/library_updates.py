"""What the Library's keys do about newer versions."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.services.asks import asks_before, reasons
from tui.services.pins import pinned
from tui.ui.screens import library_columns
from tui.ui.screens.library_base import LibraryBase


class UpdateVerbs(LibraryBase):
    """Update one or the marked ones."""

    VERBS = frozenset({"update"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "update", "update", id="library.update", tooltip="fetch what is newer of the model, or of the marked ones; asks"),
    ]

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action != "update":
            return super().refusal(action)
        if reason := self.refused_for(Capability.PULL, self.chosen):
            return reason
        if not any(library_columns.can_update(model) for model in self.chosen):
            return "It runs in a cloud: there is nothing to update."
        return ""

    def action_update(self) -> None:
        """Pull installed models again: what is newer is fetched; asks."""
        from tui.ui.widgets.confirm import ConfirmDialog

        models = [model for model in self.chosen if library_columns.can_update(model)]
        settings = self.services.config.current.value
        asks = {model: asks_before(settings, model.key, None) for model in models}

        def done(answer: str | None) -> None:
            if answer == "update":
                for model in models:
                    self.services.jobs.add(model.key, model.provider, asked_by="library, update", allowed=asks[model])
                self.views[0].table.clear_marks()

        if models:
            needed = reasons(settings, None, frozenset().union(*asks.values()))
            kept = [model.name for model in models if pinned(settings, model.provider, model.name)]
            question = f"{library_columns.update_question(models, kept)}{f' This asks because {needed}.' if needed else ''}"
            self.ask(ConfirmDialog(question, (("keep", "Not now"), ("update", "Update"))), done)
