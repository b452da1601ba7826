"""What the Library's keys do that could lose a model: names, deleting, bringing back; asked first, and undone by `z`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.core.errors import PaddockError
from tui.core.kept import KeptKind, kept_of
from tui.core.library import KeptModel
from tui.core.models import Model
from tui.core.names import normal, parse
from tui.services.library.keeping_words import Deleting, delete_question, freed, versions_in
from tui.services.pins import pinned
from tui.ui.screens.library_installed import InstalledVerbs

_NEEDS: Final = {"copy": Capability.COPY, "delete": Capability.DELETE, "rename": Capability.DELETE, "versions": Capability.SHOW}
_OWN: Final = frozenset({*_NEEDS, "undo", "trash"})


class KeptVerbs(InstalledVerbs):
    """Copy, rename, delete, undo, the trash and earlier versions."""

    VERBS = _OWN
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "copy", id="library.copy", tooltip="give the model a second name"),
        Binding("d", "delete", "delete", id="library.delete", tooltip="delete the model, or the marked ones; asks"),
        Binding("R", "rename", "rename", show=False, id="library.rename", tooltip="give the model another name"),
        Binding("z", "undo", "undo", show=False, id="library.undo", tooltip="undo the last delete or rename, or open the trash's newest"),
        Binding("T", "trash", "trash", show=False, id="library.trash", tooltip="what was deleted, and earlier versions"),
        Binding("H", "versions", "versions", show=False, id="library.versions", tooltip="earlier versions of the model: go back, compare"),
    ]
    MORE: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("rename", "Rename", "give the model another name"),
        ("versions", "Earlier versions", "go back to one, compare, drop"),
        ("undo", "Undo", "the last delete or rename; else what came into the trash last"),
        ("trash", "Trash", "what was deleted, and all earlier versions"),
    )

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action not in _OWN:
            return super().refusal(action)
        keeping = self.services.library.keeping
        if action == "undo":
            trash = any(one.kind is KeptKind.TRASH for one in keeping.kept.value)
            return "" if keeping.undoable.value or trash else "There is nothing to undo, and the trash is empty."
        if action == "trash":
            return "" if keeping.kept.value else "The trash is empty, and no earlier versions are kept."
        chosen = self.chosen
        if reason := self.refused_for(_NEEDS[action], chosen):
            return reason
        if action != "delete" and len(chosen) > 1:
            return f"{'Look at the versions of' if action == 'versions' else action.capitalize()} one model at a time; esc unmarks."
        if action == "rename" and (reason := self.refused_for(Capability.COPY, chosen)):
            return reason
        if action == "versions" and not self._versions(chosen[0]):
            return f"No earlier version of it is kept. An update keeps {self._kept_at_updates()}."
        return ""

    def _kept_at_updates(self) -> str:
        count = self.services.config.current.value.models.versions
        return "none (models.versions = 0)" if not count else "one" if count == 1 else f"up to {count}"

    def _versions(self, model: Model) -> list[KeptModel]:
        return versions_in([one for one in self.services.library.keeping.kept.value if one.provider == model.provider], model.key)

    # --- names --------------------------------------------------------------------------------------------------------

    def action_copy(self) -> None:
        """Ask for the second name."""
        model = self.chosen[0]
        hint = "Takes no space: both names share the layers. R renames instead."
        self._ask_name(f"Copy {model.name} to", "", hint, model, self.services.library.keeping.copy)

    def action_rename(self) -> None:
        """Ask for the other name."""
        model = self.chosen[0]
        loaded = " It is loaded and will be unloaded first." if self.fits.is_loaded(model) else ""
        versions = len(self._versions(model))
        follow = f" Its {versions} earlier version{'' if versions == 1 else 's'} will follow." if versions else ""
        hint = f"Copied, checked, then deleted under the old name; z undoes it.{loaded}{follow}"
        self._ask_name(f"Rename {model.name} to", model.name, hint, model, self.services.library.keeping.rename, follows=True)

    def _ask_name(
        self, title: str, value: str, hint: str, model: Model, act: Callable[[str, str, str], None], *, follows: bool = False
    ) -> None:
        """Ask for a name, then act; `follows`: the cursor goes with the model to the new one."""
        from tui.ui.widgets.confirm import InputDialog

        table = self.views[0].table

        def check(text: str) -> str | None:
            try:
                parse(text)
            except PaddockError as error:
                return f"{error.failure.what}. {error.failure.remedy}"
            if kept_of(normal(text)) is not None:
                return "That is how Paddock names what it keeps"
            taken = any(other.provider == model.provider and normal(other.name) == normal(text) for other in table.items)
            return f"{normal(text)} exists already" if taken else None

        def done(text: str | None) -> None:
            if text is None:
                return
            if follows:
                self.first.follow_name((model.provider, model.key), normal(text))
            act(model.provider, model.key, normal(text))

        self.ask(InputDialog(title, value, hint=hint, check=check), done)

    # --- deleting -----------------------------------------------------------------------------------------------------

    def action_delete(self) -> None:
        """Delete the marked ones, or the one under the cursor; asks."""
        from tui.ui.widgets.confirm import ConfirmDialog

        models, table, keeping = self.chosen, self.views[0].table, self.services.library.keeping
        settings = self.services.config.current.value
        copies = all(not self.services.registry.can(provider, Capability.COPY) for provider in {model.provider for model in models})
        trash = settings.models.trash if copies else 0.0
        question = delete_question(self._deleting(models, trash), time.time(), binary=self.binary)
        choices = (("keep", "Keep"), ("trash", "Trash"), ("now", "Delete now")) if trash else (("keep", "Keep"), ("now", "Delete"))

        def done(answer: str | None) -> None:
            if answer in ("trash", "now"):
                keeping.delete([(model.provider, model.key) for model in models], now=answer == "now")
                table.clear_marks()

        self.ask(ConfirmDialog(question, choices), done)

    def _deleting(self, models: Sequence[Model], trash: float) -> Deleting:
        table, services = self.views[0].table, self.services
        shown = {(model.provider, model.key) for model in table.shown_items}
        everything = [*services.registry.models.value, *services.registry.kept.value]
        settings = services.config.current.value
        return Deleting(
            models,
            freed(models, everything, services.library.disk.freed, at_once=not trash),
            [model for model in models if (model.provider, model.key) not in shown],
            [model for model in models if self.fits.is_loaded(model)],
            [model for model in models if pinned(settings, model.provider, model.name)],
            sum(len(self._versions(model)) for model in models),
            trash,
        )

    # --- back ---------------------------------------------------------------------------------------------------------

    def action_undo(self) -> None:
        """Undo the last step; without one, what came into the trash last is offered."""
        self.first.follow_back()
        self.services.library.keeping.undo()

    def action_trash(self) -> None:
        """Show what is kept."""
        from tui.ui.dialogs.kept import KeptDialog

        self.ask(KeptDialog(self.services))

    def action_versions(self) -> None:
        """Show the earlier versions of the model."""
        from tui.ui.dialogs.kept import KeptDialog

        model = self.chosen[0]
        self.ask(KeptDialog(self.services, (model.provider, model.name)))
