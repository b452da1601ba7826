"""How Paddock behaves: every setting with its value, range, source and description."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.config.problems import Problem
from tui.text import clean_name
from tui.ui.base import AppScreen
from tui.ui.frame import Line
from tui.ui.screens.parts import Rule
from tui.ui.screens.settings_editor import Saved, edit_file, in_background, may_be_unset, problem_of, typed_value
from tui.ui.screens.settings_rows import (
    Entry,
    Section,
    entry_columns,
    key_entries,
    known_bindings,
    problem_text,
    provider_entries,
    sections,
    setting_entries,
)
from tui.ui.widgets.columns import Column
from tui.ui.widgets.rows import Rows

_PROBLEMS_SHOWN = 3


class FindField(Input):
    """The field of the search over all settings; out of sight until asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave(True)", "end the search", id="settings.find_end", tooltip="end the search"),
        Binding("down", "leave(False)", "to the list", show=False, id="settings.find_list", tooltip="to what was found"),
    ]

    def action_leave(self, clear: bool) -> None:
        """Back to the list, with or without what was found."""
        screen = self.screen
        if isinstance(screen, SettingsScreen):
            screen.end_find(clear=clear)


class Detail(Vertical):
    """What the setting under the cursor does, and how to write it."""

    def compose(self) -> ComposeResult:
        """Description, TOML, variable."""
        yield Static(id="setting-doc", markup=False)
        yield Line(id="setting-toml")
        yield Line(id="setting-values")
        yield Line(id="setting-env")

    def show_entry(self, entry: Entry | None) -> None:
        """Draw an entry; None empties the pane."""
        self.query_one("#setting-doc", Static).update(Content(entry.doc if entry is not None else ""))
        toml, values, env = (self.query_one(f"#setting-{name}", Line) for name in ("toml", "values", "env"))
        if entry is None:
            for line in (toml, values, env):
                line.show()
            return
        table, text = entry.toml
        toml.show(("TOML   ", "$text-muted"), (f"{table}  {text}", "$foreground"))
        known = [("values ", "$text-muted"), (entry.allowed, "$foreground")] if entry.dotted and entry.section != "keys" else []
        default = [("   default " if known else "default ", "$text-muted"), (entry.default, "$foreground")] if entry.default else []
        values.show(*known, *default)
        env.show(*([("env    ", "$text-muted"), (entry.env, "$foreground")] if entry.env else []))


class SettingsScreen(AppScreen):
    """All settings by section."""

    NAME = "settings"
    HELP_LINES = "A change is saved and applied at once. What the environment or the command line sets wins over the file."
    AUTO_FOCUS = "#sections"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "default", "back to default", id="settings.default", tooltip="take the setting out of the file"),
        Binding("slash", "find", "find", id="settings.find", tooltip="find over all settings"),
        Binding("e", "edit", "edit the file", id="settings.edit", tooltip="open the file in $EDITOR"),
        Binding("y", "copy", "copy as TOML", id="settings.copy", tooltip="copy the setting as TOML"),
        Binding("left_square_bracket", "section(-1)", "section", show=False, id="settings.previous", tooltip="previous section"),
        Binding("right_square_bracket", "section(1)", "section", show=False, id="settings.next", tooltip="next section"),
    ]

    def __init__(self, services: Any) -> None:
        super().__init__(services)
        self._section = "general"
        self._find = ""
        self._bindings_by_id: dict[str, Binding] | None = None
        self._said = False

    def body(self) -> Iterator[Widget]:
        """Path, problems, sections and settings."""
        mark = self.ascii
        yield Line(id="settings-head")
        yield Static(id="settings-problems", markup=False)
        yield FindField(placeholder="find over all settings", id="settings-find", select_on_focus=False)
        with Horizontal(id="settings-body"):
            yield SectionTable(
                [Column("title", "", lambda section: section.title, min=8)],
                key=lambda section: section.key,
                header=False,
                markable=False,
                id="sections",
            )
            with Vertical(id="settings-right"):
                yield EntryTable(
                    entry_columns(full_names=False),
                    key=lambda entry: (entry.section, entry.name),
                    text=lambda entry: f"{entry.section}.{entry.name} {entry.dotted} {entry.value} {entry.doc}",
                    empty="Nothing is set here.",
                    gap=1,
                    markable=False,
                    id="entries",
                )
                yield Rule(ascii=mark, id="setting-rule")
                yield Detail(id="setting")

    def start(self) -> None:
        """Follow the settings."""
        self.query_one("#settings-find", FindField).cursor_blink = False
        self.query_one("#settings-right").set_class(self.ascii, "-ascii")
        self.query_one("#sections", SectionTable).set_items(sections(self.services.config.fields()))
        self._head("", "")
        self.follow(self.services.config.current, lambda _settings: self._fill(), fps=4)
        self.follow(self.services.config.problems, self._show_problems, fps=4)

    # --- drawing ------------------------------------------------------------------------------------------------------

    @property
    def _entries(self) -> Rows[Entry]:
        return self.query_one("#entries", EntryTable)

    @property
    def _entry(self) -> Entry | None:
        return self._entries.highlighted

    def _found(self) -> list[Entry]:
        store = self.services.config
        if self._find:
            return [*setting_entries(store), *provider_entries(store), *key_entries(store, self._keys())]
        if self._section == "providers":
            return list(provider_entries(store))
        if self._section == "keys":
            return list(key_entries(store, self._keys()))
        return [entry for entry in setting_entries(store) if entry.section == self._section]

    def _keys(self) -> dict[str, Binding]:
        if self._bindings_by_id is None:
            self._bindings_by_id = known_bindings()
        return self._bindings_by_id

    def _fill(self) -> None:
        table = self._entries
        table.set_columns(entry_columns(full_names=bool(self._find)))
        table.set_empty("No server is configured. Screen 1 adds one." if self._section == "providers" and not self._find else "nothing")
        table.set_items(self._found())
        table.set_filter(self._find)
        self._draw_detail()

    def _draw_detail(self) -> None:
        entry = self._entry
        self.query_one("#setting-rule", Rule).set_title(entry.dotted or entry.name if entry is not None else "")
        self.query_one("#setting", Detail).show_entry(entry)
        self.refresh_bindings()

    def _head(self, text: str, style: str) -> None:
        """The path, and how the last change went until the cursor moves on."""
        self._said = False
        width = self.size.width or 80
        path = clean_name(_home_path(self.services.config.paths.config_file))
        room = max(2, width - len(path) - len(text) - 2)
        if len(path) + len(text) + 4 > width:
            self.query_one("#settings-head", Line).show((f" {text}" if text else f" {path}", style or "$text-muted"))
        else:
            self.query_one("#settings-head", Line).show((f" {path}", "$text-muted"), (" " * room, ""), (text, style))

    def _show_problems(self, problems: Sequence[Problem]) -> None:
        box = self.query_one("#settings-problems", Static)
        box.display = bool(problems)
        lines = [f"! {problem_text(problem)}" for problem in problems[:_PROBLEMS_SHOWN]]
        if len(problems) > _PROBLEMS_SHOWN:
            lines.append(f"  and {len(problems) - _PROBLEMS_SHOWN} more: paddock config check lists them")
        box.update(Content("\n".join(lines)))

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Another section, or another setting."""
        if event.rows.id == "sections" and isinstance(event.item, Section):
            if event.item.key != self._section:
                self._section = event.item.key
                self._entries.move_to(0)
                self._fill()
        else:
            if self._said:
                self._head("", "")
            self._draw_detail()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter: into the section, or change the setting."""
        if event.rows.id == "sections":
            self._entries.focus()
        elif self._entry is not None:
            self._change(self._entry)

    # --- finding ------------------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        """Ask what to find."""
        field = self.query_one("#settings-find", FindField)
        field.display = True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what holds these words."""
        if event.input.id == "settings-find":
            self._find = event.value.strip()
            self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """To what was found."""
        if event.input.id == "settings-find":
            self.end_find(clear=False)

    def end_find(self, *, clear: bool) -> None:
        """Leave the field; `clear` shows the section again."""
        field = self.query_one("#settings-find", FindField)
        if clear:
            field.value = ""
        field.display = bool(field.value)
        self._entries.focus()

    def action_back(self) -> None:
        """Esc: end the search, else to the sections."""
        if self._find:
            self.end_find(clear=True)
        else:
            self.query_one("#sections", SectionTable).focus()

    def action_section(self, step: int) -> None:
        """Previous or next section."""
        self.query_one("#sections", SectionTable).action_move(step)

    # --- changing -----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what does nothing now."""
        if not self.is_mounted or action not in ("default", "copy"):
            return super().check_action(action, parameters)
        entry = self._entry
        if action == "copy":
            return True if entry is not None else None
        may = entry is not None and entry.dotted and entry.source in ("file", "unsaved") and self._entries.has_focus
        return True if may else None

    def _change(self, entry: Entry) -> None:
        from tui.ui.widgets.confirm import ChoiceDialog, InputDialog

        if not entry.dotted:
            self.app.call_later(self.app.run_action, "go('providers')")
            return
        if entry.choices == ("true", "false"):
            self._save(entry, "false" if entry.value == "true" else "true")
            return

        def done(answer: str | None) -> None:
            if answer is not None:
                self._save(entry, answer)

        if entry.choices:
            choices = [(choice, choice, "default" if choice == entry.default else "") for choice in entry.choices]
            self.app.push_screen(ChoiceDialog(f"{entry.name}: {entry.doc}", choices, current=entry.value), done)
            return
        value = typed_value(self.services.config, entry)
        if "\n" in value:
            self.say("It has several lines: e opens the file.")
            return

        def check(text: str) -> str | None:
            return None if not text.strip() and may_be_unset(entry) else problem_of(entry.dotted, text)

        hint = f"{entry.allowed}; empty: not set" if may_be_unset(entry) else entry.allowed
        self.app.push_screen(InputDialog(f"{entry.dotted}: {entry.doc}", value, hint=hint, check=check), done)

    def _may_change(self) -> bool:
        """Whether this Paddock may change anything; says so where it may not."""
        if self.services.config.current.value.security.access != "look":
            return True
        how = (
            "without --readonly" if self.services.config.source("security.access") == "flag" else "with another security.access in the file"
        )
        self.say(f"Not changed: security.access is look. Start {how}.", error=True)
        return False

    def _save(self, entry: Entry, text: str) -> None:
        if not self._may_change():
            return
        store = self.services.config
        if not text.strip() and may_be_unset(entry):
            self._unset(entry)
            return
        self._head("saving", "$text-muted")
        in_background(self, lambda: store.set(entry.dotted, text))

    def _unset(self, entry: Entry) -> None:
        if not self._may_change():
            return
        self._head("saving", "$text-muted")
        in_background(self, lambda: self.services.config.unset(entry.dotted))

    def on_saved(self, message: Saved) -> None:
        """Say how it went, at the top where it stays."""
        failure = message.failure
        if failure is None:
            self._head(message.note or "saved, applied at once", "$warning" if message.note else "$success")
        else:
            words = failure.what if failure.what.lower().startswith("not saved") else f"not saved: {failure.what}"
            self._head(words, "bold $error")
            self.fail(failure)
        self._said = True
        self._fill()

    def action_default(self) -> None:
        """Back to the default; asks where the settings say always."""
        from tui.ui.widgets.confirm import ConfirmDialog

        entry = self._entry
        if entry is None or not entry.dotted or entry.source not in ("file", "unsaved"):
            return
        if self.services.config.current.value.general.confirm != "always":
            self._unset(entry)
            return
        question = f"Set {entry.dotted} back to its default, {entry.default or '–'}? It is {entry.value} now."

        def done(answer: str | None) -> None:
            if answer == "default":
                self._unset(entry)

        self.app.push_screen(ConfirmDialog(question, (("keep", "Keep"), ("default", "Default"))), done)

    def action_copy(self) -> None:
        """Copy the setting as TOML."""
        if self._entry is not None:
            self.app.copy_to_clipboard("\n".join(self._entry.toml))

    def action_edit(self) -> None:
        """Open the file in the user's editor, then apply what was changed."""
        store = self.services.config
        failure = edit_file(self.app, store.paths.config_file)
        if failure is not None:
            self.fail(failure)
        in_background(self, lambda: "read again, applied" if store.poll() else "")


class SectionTable(Rows[Section]):
    """The sections; neither marked nor sorted."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only moving and opening."""
        return False if action in ("sort", "mark", "range", "mark_all", "find") else super().check_action(action, parameters)


class EntryTable(Rows[Entry]):
    """The settings of a section, in the order of the file."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "change", id="rows.open", tooltip="change the setting"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Neither marked nor sorted."""
        return False if action in ("sort", "mark", "range", "mark_all") else super().check_action(action, parameters)


def _home_path(path: Path) -> str:
    home = os.environ.get("HOME", "")
    text = str(path)
    return f"~{text[len(home) :]}" if home and text.startswith(f"{home}/") else text
