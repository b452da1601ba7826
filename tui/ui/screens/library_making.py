"""What the Library's keys make: another configuration, files, backups, models of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.ui.screens.library_base import LibraryBase

if TYPE_CHECKING:
    from tui.core.models import Model
    from tui.services.library.making import Opened
    from tui.ui.dialogs.configure import Configured
    from tui.ui.dialogs.import_model import Import

_OWN: Final = frozenset({"configure", "export", "back_up", "restore_backup", "import"})
_EXPORTS: Final = (
    ("modelfile", "Modelfile to a file", "FROM, options, system, template, messages"),
    ("gguf", "Where the GGUF lies", "its path on this machine, copied"),
    ("backup", "Back up with the configuration", "weights too, where the models folder can be read"),
)


class MakingVerbs(LibraryBase):
    """Configure, export, back up, import."""

    VERBS = _OWN
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "e", "configure", "configure", id="library.configure", tooltip="options, system prompt, template, keep-alive; as a diff first"
        ),
        Binding("E", "export", "export", show=False, id="library.export", tooltip="its Modelfile, where its weights lie, a backup"),
        Binding("I", "import", "import", show=False, id="library.import", tooltip="make a model of a GGUF, safetensors or a Modelfile"),
    ]
    MORE: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("configure", "Configure", "options, system prompt, template, stop words, keep-alive; as a diff first"),
        ("export", "Export", "its Modelfile, or where its weights lie"),
        ("import", "Import", "make a model of a GGUF, a folder with safetensors or a Modelfile"),
        ("back_up", "Back up", "the marked models and all configuration, to a folder or a .tar, with digests"),
        ("restore_backup", "Restore a backup", "every digest is compared first; nothing installed is replaced unasked"),
    )

    _copies = False
    """The next path that is found goes to the clipboard."""

    def start(self) -> None:
        """See `LibraryBase`."""
        super().start()
        self.follow(self.services.library.making.exported, self._exported, fps=10)

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action not in _OWN:
            return super().refusal(action)
        if action in ("import", "restore_backup"):
            return "" if self._makers() else "No server here can make models."
        if action == "back_up":
            return "A backup is being written or restored." if self.services.library.making.progress.value is not None else ""
        chosen = self.chosen
        if reason := self.refused_for(Capability.SHOW, chosen):
            return reason
        if len(chosen) > 1 and action == "configure":
            return "Configure one model at a time; esc unmarks."
        return ""

    def _makers(self) -> list[str]:
        """Servers that can make models, that of the chosen model and the default first."""
        registry = self.services.registry
        names = [state.name for state in registry.providers.value if not registry.can(state.name, Capability.CREATE)]
        first = [model.provider for model in self.chosen]
        default = registry.default()
        first += [default.name] if default is not None else []
        return list(dict.fromkeys([*(name for name in first if name in names), *names]))

    # --- configuring --------------------------------------------------------------------------------------------------

    def action_configure(self) -> None:
        """The form of the model's options and texts."""
        from tui.ui.dialogs.configure import ConfigureDialog

        model = self.chosen[0]
        reason = self.services.registry.can(model.provider, Capability.CREATE)
        refused = "It runs in a cloud." if model.remote else f"It cannot be made part of the model: {reason}." if reason else ""
        self.ask(ConfigureDialog(self.services, model, refused=refused), lambda found: self._configured(model, found))

    def _configured(self, model: Model, found: Configured | None) -> None:
        from tui.ui.dialogs.configure import HERE

        if found is None:
            return
        if found.place == HERE:
            self.services.library.making.configure(model.key, found.values)
        else:
            self.services.library.making.bake(model.provider, model.key, found.name, found.old, found.new)

    # --- exporting ----------------------------------------------------------------------------------------------------

    def action_export(self) -> None:
        """What to export; of several models a backup."""
        from tui.ui.widgets.confirm import ChoiceDialog

        models = self.chosen
        if len(models) > 1:
            self.action_back_up()
            return
        self.ask(ChoiceDialog(f"Export {models[0].name}", _EXPORTS), lambda what: self._export(models[0], what))

    def _export(self, model: Model, what: str | None) -> None:
        making = self.services.library.making
        if what == "gguf":
            self._copies = True
            making.find_weights(model.provider, model.key)
        elif what == "backup":
            self.action_back_up()
        elif what == "modelfile":
            from tui.services.library.exporting import file_name
            from tui.ui.dialogs.backup import PathDialog

            def done(path: str | None) -> None:
                if path is not None:
                    making.export_modelfile(model.provider, model.key, path)

            self.ask(PathDialog(f"Write the Modelfile of {model.name} to", f"~/{file_name(model.name)}"), done)

    def _exported(self, path: str) -> None:
        if path and self._copies:
            self._copies = False
            self.app.copy_to_clipboard(path)

    # --- backups ------------------------------------------------------------------------------------------------------

    def action_back_up(self) -> None:
        """The marked models, else the one under the cursor, and all configuration; asks where."""
        from tui.ui.dialogs.backup import PathDialog, ProgressDialog, where

        models = [model for model in self.chosen if not model.remote]
        names = models[0].name if len(models) == 1 else f"{len(models)} models" if models else ""
        what = f"Back up {f'{names} and ' if names else ''}the configuration to"
        hint = (
            "A folder, or a file that ends in .tar; it must not be there yet. Weights are in it where the models folder can be read here."
        )

        def done(path: str | None) -> None:
            if path is not None:
                progress = ProgressDialog(self.services)
                self.services.library.making.back_up([(model.provider, model.key) for model in models], path)
                self.ask(progress)

        self.ask(PathDialog(what, where(models), hint=hint), done)

    def action_restore_backup(self) -> None:
        """Ask which backup, then what of it."""
        from tui.ui.dialogs.backup import OpeningDialog, PathDialog

        def opened(found: Opened | None) -> None:
            if found is not None:
                self._choose(found)

        def done(path: str | None) -> None:
            if path is not None:
                self.services.library.making.open_backup(path)
                self.ask(OpeningDialog(self.services), opened)

        self.ask(PathDialog("Restore which backup?", "~/", hint="The folder or .tar that a backup wrote."), done)

    def _choose(self, opened: Opened) -> None:
        from tui.services.library.backup_words import target_of
        from tui.ui.dialogs.backup import CONFIG, ProgressDialog, choices
        from tui.ui.widgets.confirm import MarkDialog

        makers = self._makers()
        models = opened.index.models
        offered = choices(opened, makers, binary=self.binary)

        def done(marked: Sequence[str] | None) -> None:
            if marked:
                chosen = [models[int(mark)] for mark in marked if mark != CONFIG]
                places = {(one.provider, one.name): target_of(one, makers) for one in chosen}
                progress = ProgressDialog(self.services)
                self.services.library.making.restore(opened.path, places, config=CONFIG in marked)
                self.ask(progress)

        self.ask(MarkDialog(f"Restore on {makers[0]}" if len(makers) == 1 else "Restore", offered), done)

    # --- importing ----------------------------------------------------------------------------------------------------

    def action_import(self) -> None:
        """The dialog for a file."""
        from tui.ui.dialogs.import_model import ImportDialog

        def done(found: Import | None) -> None:
            if found is not None:
                self.services.library.making.make(found.provider, found.name, found.source)

        self.ask(ImportDialog(self.services, self._makers()), done)
