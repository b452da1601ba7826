"""Saved filters: choose one, save the one in use under a name, drop one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.text import clean_label, clean_name
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.confirm import ConfirmDialog, InputDialog
from tui.ui.widgets.rows import Rows

READY: Final = {"what fits here": "fits", "what is new": "update", "in memory": "loaded", "sees pictures": "vision", "uses tools": "tools"}
"""Offered below what somebody saved."""
LANGUAGE: Final = "words, !not, >5g <8b >=32k, vision tools thinking embed complete, fits loaded pinned update, on: quant: licence:"
_Row = tuple[str, str, bool]


class FilterRows(Rows[_Row]):
    """Filters by name."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "screen.add", "save", id="filters.add", tooltip="Save the filter in use under a name"),
        Binding("d", "screen.drop", "drop", id="filters.drop", tooltip="Drop the saved filter"),
    ]


class FiltersDialog(ModalScreen[str | None]):
    """The result is the filter to use, None for esc.

    Args:
        saved: Of the settings.
        current: The filter in use.
        save: Told all filters after a change.
    """

    DEFAULT_CSS = """
    FiltersDialog {
        align: center middle;
        .dialog { width: 76; max-width: 96%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .dialog Rows { margin-top: 1; }
        .dialog .hint { color: $text-muted; margin-top: 1; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low .dialog .hint, &.-low .dialog Rows { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back", id="filters.back", tooltip="Change nothing")]

    def __init__(self, saved: Mapping[str, str], current: str, save: Callable[[dict[str, str]], None]) -> None:
        super().__init__()
        self._saved = dict(saved)
        self._current = " ".join(current.split())
        self._save = save

    def compose(self) -> ComposeResult:
        """Title, list, what can be written, keys."""
        with Vertical(classes="dialog"):
            now = f"Filters. In use: {clean_label(self._current, 50)}" if self._current else "Filters. None is in use; / types one."
            yield Static(Content(now))
            yield FilterRows(
                [
                    Column("name", "", lambda row: Cell(clean_name(row[0]), "" if row[2] else "dim"), min=12, max=32, flex=1),
                    Column("text", "", lambda row: Cell(clean_label(row[1]), "accent" if row[2] else "dim"), flex=2),
                ],
                key=lambda row: (row[0], row[2]),
                header=False,
                markable=False,
            )
            yield Static(Content(f"{LANGUAGE}\n\nenter uses it   a saves the one in use   d drops   esc back"), classes="hint")

    def on_mount(self) -> None:
        """Fill the list."""
        self._fill()
        self.query_one(FilterRows).focus()

    def _fill(self) -> None:
        ready = [(name, text, False) for name, text in READY.items() if name not in self._saved]
        items: list[_Row] = [*((name, text, True) for name, text in self._saved.items()), *ready]
        rows = self.query_one(FilterRows)
        rows.styles.height = max(1, min(len(items), self.app.size.height - 12))
        rows.set_items(items)

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Use it."""
        event.stop()
        if event.item is not None:
            self.dismiss(event.item[1])

    def action_add(self) -> None:
        """Save the one in use."""
        if not self._current:
            self.app.notify("No filter is in use: / types one, then save it here.", markup=False)
            return

        def check(name: str) -> str | None:
            return None if name.strip() and name.isprintable() and len(name) <= 60 else "Give it a name of up to 60 letters"

        def done(name: str | None) -> None:
            if name is not None:
                self._saved[name.strip()] = self._current
                self._changed()

        self.app.push_screen(InputDialog("Save the filter in use as", hint=clean_label(self._current, 60), check=check), done)

    def action_drop(self) -> None:
        """Drop the saved one under the cursor; asks."""
        row = self.query_one(FilterRows).highlighted
        if row is None or not row[2]:
            return
        name = row[0]

        def done(answer: str | None) -> None:
            if answer == "drop" and self._saved.pop(name, None) is not None:
                self._changed()

        question = f"Drop the filter {clean_name(name)}? It says: {clean_label(row[1], 100)}"
        self.app.push_screen(ConfirmDialog(question, (("keep", "Keep"), ("drop", "Drop"))), done)

    def _changed(self) -> None:
        self._fill()
        self._save(dict(self._saved))

    def action_leave(self) -> None:
        """Without a choice."""
        self.dismiss(None)
