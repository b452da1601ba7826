"""Which columns a table shows, in what order: seen in the table while they are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.rows import Rows

_HINT: Final = "space shows or hides   K J move   w by width   enter saves   esc back"


class ChosenRows(Rows[str]):
    """Names of columns; those marked are shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K,shift+up", "screen.shift(-1)", "earlier", id="columns.earlier", tooltip="Move the column to the left"),
        Binding("J,shift+down", "screen.shift(1)", "later", id="columns.later", tooltip="Move the column to the right"),
        Binding("w", "screen.automatic", "by width", id="columns.automatic", tooltip="Let the width of the terminal choose"),
    ]


class ColumnsDialog(ModalScreen[str | None]):
    """A list of columns to mark and to order.

    The result is their names, empty for those that suit the width; None for esc.

    Args:
        names: All columns: (name, title, words), in the order to offer them.
        shown: Those that are shown now, in their order.
        preview: Told the names after each change; None when esc takes it back.
    """

    DEFAULT_CSS = """
    ColumnsDialog {
        align: right bottom;
        .dialog { width: 52; max-width: 96%; height: auto; max-height: 96%; padding: 0 1; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .dialog .hint { color: $text-muted; }
        .dialog Rows .rows--cursor-blurred { color: $block-cursor-foreground; background: $block-cursor-background; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back", id="columns.back", tooltip="Change nothing")]

    def __init__(self, names: Sequence[tuple[str, str, str]], shown: Sequence[str], preview: Callable[[str | None], None]) -> None:
        super().__init__()
        self._said = {name: (title, words) for name, title, words in names}
        self._shown = tuple(shown)
        self._order = [*shown, *(name for name in self._said if name not in shown)]
        self._preview = preview
        self._ready = False

    def compose(self) -> ComposeResult:
        """Title, list, hint."""
        with Vertical(classes="dialog"):
            yield Static(Content("Columns, left to right"))
            yield ChosenRows(
                [
                    Column("title", "", lambda name: Cell(self._said[name][0]), width=11),
                    Column("words", "", lambda name: Cell(self._said[name][1], "dim"), flex=1),
                ],
                key=lambda name: name,
                header=False,
            )
            yield Static(Content(_HINT), classes="hint")

    def on_mount(self) -> None:
        """Fill the list, mark what is shown."""
        rows = self.query_one(ChosenRows)
        rows.styles.height = max(3, min(len(self._order), self.app.size.height - 14))
        self._fill(self._shown)
        rows.focus()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._ready = True

    def _fill(self, marked: Sequence[str]) -> None:
        rows = self.query_one(ChosenRows)
        rows.set_items(self._order)
        rows.clear_marks()
        for name in marked:
            if rows.move_to_key(name):
                rows.action_mark()
        rows.move_to(0)

    @property
    def names(self) -> tuple[str, ...]:
        """The marked ones in their order; one at least."""
        marks = self.query_one(ChosenRows).marks
        return tuple(name for name in self._order if name in marks) or (self._order[0],)

    def on_rows_marked(self, event: Rows.Marked) -> None:
        """Show it in the table."""
        event.stop()
        if self._ready:
            self._preview(" ".join(self.names))

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Done."""
        event.stop()
        self.dismiss(" ".join(self.names))

    def action_shift(self, step: int) -> None:
        """Move the column under the cursor."""
        rows = self.query_one(ChosenRows)
        at = rows.row
        to = at + step
        if 0 <= to < len(self._order):
            self._order[at], self._order[to] = self._order[to], self._order[at]
            rows.set_items(self._order)
            rows.move_to(to)
            self._preview(" ".join(self.names))

    def action_automatic(self) -> None:
        """What suits the width."""
        self.dismiss("")

    def action_leave(self) -> None:
        """Without a change."""
        self._preview(None)
        self.dismiss(None)
