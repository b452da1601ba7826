"""What the Library's keys do about its table: menu, columns, order, saved filters, details, comparison; and a model's rank here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.capabilities import Ability, Capability
from tui.core.names import same
from tui.ui.screens import library_columns
from tui.ui.screens.library_installed import InstalledVerbs

if TYPE_CHECKING:
    from tui.core.models import Model
    from tui.ui.dialogs.menu import Entry
    from tui.ui.screens.settings_editor import Saved

MOST: Final = 4
"""Models that are compared at once."""
_SAVED: Final = frozenset({"columns", "pin", "make_default"})
"""Verbs that change the configuration."""


class TableVerbs(InstalledVerbs):
    """The table of installed models as its user wants it."""

    VERBS = frozenset({*_SAVED, "sort_by", "details", "compare", "warm_up"})
    MORE: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("details", "Everything about it", "architecture, template, licence, tensors, history; / searches"),
        ("compare", "Compare", "two to four marked models side by side"),
        ("warm_up", "Warm up and chat", "loads it, and opens the chat"),
        ("make_default", "Default model", "new conversations begin with it"),
        ("pin", "Pin, unpin", "never updated, never unloaded for room"),
        ("saved_filters", "Saved filters", "choose, save, drop"),
        ("columns", "Columns", "which are shown, in what order"),
        ("sort_by", "Sort by …", "any column, up or down; s takes the next one"),
        ("refresh", "Ask all servers again", "models, and what is loaded"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("equals_sign", "compare", "compare", id="library.compare", tooltip="two to four marked models side by side"),
        Binding("i", "details", "details", show=False, id="library.details", tooltip="everything known of the model, on a page"),
        Binding("W", "warm_up", "warm up", show=False, id="library.warm_up", tooltip="load the model, and chat with it"),
        Binding("asterisk", "make_default", "default", show=False, id="library.default", tooltip="begin new conversations with this model"),
        Binding("P", "pin", "pin", show=False, id="library.pin", tooltip="never update it, never unload it for room; again to unpin"),
        Binding("F", "saved_filters", "filters", show=False, id="library.filters", tooltip="saved filters: choose, save, drop"),
        Binding("C", "columns", "columns", show=False, id="library.columns", tooltip="which columns are shown, in what order"),
        Binding("S", "sort_by", "sort by", show=False, id="library.sort_by", tooltip="sort by any column, up or down"),
    ]

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action in ("columns", "sort_by"):
            return self.away or (self._may_save() if action == "columns" else "")
        if action == "compare":
            return self.away or ("" if 2 <= len(self.chosen) <= MOST else "Mark two to four models with space first.")
        if action == "warm_up":
            return self._no_warm_up()
        if action not in TableVerbs.VERBS:
            return super().refusal(action)
        if self.away:
            return self.away
        if not self.chosen or (action == "details" and self.table.highlighted is None):
            return "There is no model under the cursor."
        if action == "make_default":
            return self._no_default(self.chosen) or self._may_save()
        return self._may_save() if action in _SAVED else ""

    def _may_save(self) -> str:
        access = self.services.config.current.value.security.access
        return "" if access != "look" else "Nothing is changed: security.access is look."

    def _no_default(self, chosen: list[Model]) -> str:
        if len(chosen) > 1:
            return "Only one model can be the default; esc unmarks."
        able = self.first.known.abilities(chosen[0])
        return "It cannot chat." if able and Ability.COMPLETION not in able else ""

    def _no_warm_up(self) -> str:
        chosen = self.chosen
        if len(chosen) > 1:
            return "Chat with one model at a time; esc unmarks."
        if reason := self.refused_for(Capability.CHAT, chosen):
            return reason
        loaded = self.fits.is_loaded(chosen[0])
        return self._no_default(chosen) or ("" if loaded else self.refused_for(Capability.LOAD, chosen))

    # --- menu ---------------------------------------------------------------------------------------------------------

    def action_menu(self) -> None:
        """What can be done, with keys."""
        from tui.ui.dialogs.menu import MenuDialog

        def done(action: str | None) -> None:
            if action is not None:
                self.call_later(self.run_action, action)

        what = self.chosen
        names = f"{what[0].name} on {what[0].provider}" if len(what) == 1 else f"{len(what)} marked models" if what else self.view.TITLE
        self.ask(MenuDialog(names, sorted(self._entries(), key=lambda entry: bool(entry.reason))), done)

    def commands(self) -> Iterator[tuple[str, str]]:
        """What the palette offers besides keys: words and action of what only the menu has, and is possible now."""
        for entry in self._entries():
            if not entry.key and not entry.reason:
                yield f"{entry.title}: {entry.words}", entry.action

    def _entries(self) -> Iterator[Entry]:
        from tui.ui.dialogs.menu import Entry
        from tui.ui.frame import key_text

        keys: dict[str, str] = {}
        for _key, binding in self._bindings:
            keys.setdefault(binding.action, key_text(binding))
        seen: set[str] = set()
        for cls in type(self).__mro__:
            for action, title, words in vars(cls).get("MORE", ()):
                if action not in seen:
                    seen.add(action)
                    name = action.partition("(")[0]
                    reason = self.refusal(name) if name in self.VERBS else ""
                    yield Entry(action, keys.get(action, ""), title, words, reason)

    # --- columns, order, filters --------------------------------------------------------------------------------------

    def action_columns(self) -> None:
        """Choose and order the columns; seen at once, saved with enter."""
        from tui.ui.dialogs.columns import ColumnsDialog

        view, every = self.first, library_columns.every(self.first.known)
        before = " ".join(view.names)

        def preview(names: str | None) -> None:
            view.preview = names
            self.fit_columns(self.width)

        def done(names: str | None) -> None:
            if names == before:
                names = None  # what suits the width goes on doing so
            view.preview = names  # until the settings say the same
            self.fit_columns(self.width)
            if names is not None:
                kept = dict(self.services.config.current.value.appearance.columns)
                kept.pop("library", None)
                self.save("appearance.columns", {**kept, "library": names} if names else kept)

        choices = [(name, column.title, library_columns.WORDS[name]) for name, column in every.items()]
        self.ask(ColumnsDialog(choices, view.names, preview), done)

    def action_sort_by(self) -> None:
        """Choose what to sort by; the same again turns the order round."""
        from tui.ui.widgets.confirm import ChoiceDialog

        table, now = self.table, self.table.sorting
        every = library_columns.every(self.first.known)
        ways = {False: "up", True: "down"}

        def note(name: str) -> str:
            return f"{ways[now[1]]} now; again: {ways[not now[1]]}" if now is not None and now[0] == name else library_columns.WORDS[name]

        def done(name: str | None) -> None:
            if name is not None:
                again = now is not None and now[0] == name
                table.sort_by(name or None, not now[1] if again and now is not None else None)
                self.draw_head()

        choices = [(name, column.title, note(name)) for name, column in every.items() if column.sort_key is not None]
        self.ask(ChoiceDialog("Sort by", [("", "as the servers list them", ""), *choices], current=now[0] if now else ""), done)

    def action_saved_filters(self) -> None:
        """Use a saved filter, save the one in use, drop one."""
        from tui.ui.dialogs.filters import FiltersDialog

        def save(filters: dict[str, str]) -> None:
            if reason := self._may_save():
                self.say(reason)
            else:
                self.save("appearance.filters", filters)

        def done(text: str | None) -> None:
            if text is not None:
                self.use_filter(text)

        self.ask(FiltersDialog(self.services.config.current.value.appearance.filters, self.view.filter, save), done)

    # --- pages --------------------------------------------------------------------------------------------------------

    def action_details(self) -> None:
        """Everything about the model under the cursor."""
        from tui.ui.dialogs.model_page import ModelPage

        item = self.table.highlighted
        if item is not None:
            self.ask(ModelPage(self.first, item))

    def action_compare(self) -> None:
        """The marked models side by side."""
        from tui.ui.dialogs.model_compare import CompareModels

        self.ask(CompareModels(self.first, self.chosen))

    # --- rank ---------------------------------------------------------------------------------------------------------

    def action_warm_up(self) -> None:
        """Load it, and open the chat, which needs not wait for it."""
        model = self.chosen[0]
        if not self.fits.is_loaded(model):
            self.services.registry.load(model.provider, model.key)
        self.view.entered(model)

    def action_make_default(self) -> None:
        """Begin new conversations with it; again: no longer."""
        model = self.chosen[0]
        name = "" if self.first.known.is_default(model) else model.key
        words = f"New conversations begin with {model.name}." if name else f"{model.name} is no longer the default."
        self.save("general.default_model", name, words)

    def action_pin(self) -> None:
        """Pin what is chosen, or unpin it where all of it is pinned."""
        known, models = self.first.known, self.chosen
        pins = list(self.services.config.current.value.models.pinned)
        what = models[0].name if len(models) == 1 else f"{len(models)} models"
        if all(known.pinned(model) for model in models):
            pins = [pin for pin in pins if not any(_names(pin, model) for model in models)]
            self.save("models.pinned", pins, f"{what} may be updated, and unloaded for room, again.")
            return
        for model in models:
            if not known.pinned(model):
                twice = any(other.provider != model.provider and same(other.name, model.name) for other in self.first.table.items)
                pins.append(f"{model.provider}/{model.key}" if twice else model.key)
        self.save("models.pinned", pins, f"{what} will not be updated, and not be unloaded for room.")

    def save(self, key: str, value: object, words: str = "") -> None:
        """Save a setting without waiting for the disk; `words` are said when it is done."""
        from tui.ui.screens.settings_editor import in_background

        def work() -> str:
            note = self.services.config.set(key, value)
            return note or words

        in_background(self, work)

    def on_saved(self, message: Saved) -> None:
        """Say how it went."""
        if message.failure is not None:
            self.fail(message.failure)
        elif message.note:
            self.say(message.note)
        self.first.preview = None
        self.settings_moved()


def _names(pin: str, model: Model) -> bool:
    """Whether an entry of `models.pinned` means a model."""
    server, slash, rest = pin.partition("/")
    return same(pin, model.name) or bool(slash and server == model.provider and same(rest, model.name))
