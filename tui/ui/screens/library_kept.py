"""What the Library's keys do that could lose a model: a second name, deleting; asked first."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.core.errors import PaddockError
from tui.core.names import normal, parse
from tui.ui.screens import library_columns
from tui.ui.screens.library_base import LibraryBase

_NEEDS: Final = {"copy": Capability.COPY, "delete": Capability.DELETE}


class KeptVerbs(LibraryBase):
    """Copy and delete."""

    VERBS = frozenset(_NEEDS)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "copy", id="library.copy", tooltip="give the model a second name"),
        Binding("d", "delete", "delete", id="library.delete", tooltip="delete the model, or the marked ones; asks"),
    ]

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action not in _NEEDS:
            return super().refusal(action)
        chosen = self.chosen
        if reason := self.refused_for(_NEEDS[action], chosen):
            return reason
        if action == "copy" and len(chosen) > 1:
            return "Copy one model at a time; esc unmarks."
        return ""

    def action_copy(self) -> None:
        """Ask for the second name."""
        from tui.ui.widgets.confirm import InputDialog

        model, table = self.chosen[0], self.views[0].table

        def check(text: str) -> str | None:
            try:
                parse(text)
            except PaddockError as error:
                return f"{error.failure.what}. {error.failure.remedy}"
            taken = any(other.provider == model.provider and normal(other.name) == normal(text) for other in table.items)
            return f"{normal(text)} exists already" if taken else None

        def done(text: str | None) -> None:
            if text is not None:
                self.services.registry.copy(model.provider, model.key, normal(text))

        hint = "Takes no space: both names share the layers."
        self.ask(InputDialog(f"Copy {model.name} to", "", hint=hint, check=check), done)

    def action_delete(self) -> None:
        """Delete the marked ones, or the one under the cursor; asks."""
        from tui.ui.widgets.confirm import ConfirmDialog

        models, table = self.chosen, self.views[0].table
        shown = {(model.provider, model.key) for model in table.shown_items}
        hidden = [model for model in models if (model.provider, model.key) not in shown]
        question = library_columns.delete_question(models, hidden, self.fits, binary=self.binary)

        def done(answer: str | None) -> None:
            if answer != "delete":
                return
            for provider in dict.fromkeys(model.provider for model in models):
                self.services.registry.delete(provider, [model.key for model in models if model.provider == provider])
            table.clear_marks()

        self.ask(ConfirmDialog(question, (("keep", "Keep"), ("delete", "Delete"))), done)
