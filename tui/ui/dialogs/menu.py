"""A menu of what can be done: each entry with its key, and with the reason where it does nothing now."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from tui.core.record import record
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.confirm import FilteredDialog
from tui.ui.widgets.rows import Rows


@record(frozen=True)
class Entry:
    """One thing to do.

    Attributes:
        action: What is run; the dialog's result.
        reason: Why it does nothing now; empty where it works.
    """

    action: str
    key: str
    title: str
    words: str
    reason: str = ""


class MenuDialog(FilteredDialog):
    """Entries to choose from, narrowed by what is typed; the result is an action, None for esc."""

    DEFAULT_CSS = """
    MenuDialog {
        align: center middle;
        .dialog { width: 84; max-width: 96%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .dialog Input, .dialog Input:focus { border: none; height: 1; padding: 0 1; margin-top: 1; background: $surface; }
        .dialog Rows { margin-top: 1; }
        .dialog .hint { color: $text-muted; margin-top: 1; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low .dialog Rows, &.-low .dialog Input, &.-low .dialog .hint { margin-top: 0; }
        .dialog Rows .rows--cursor-blurred { color: $block-cursor-foreground; background: $block-cursor-background; }
    }
    """

    def __init__(self, title: str, entries: Sequence[Entry]) -> None:
        super().__init__()
        self._about, self._entries = title, tuple(entries)

    def compose(self) -> ComposeResult:
        """Title, filter field, entries, and why the one under the cursor does nothing."""

        def tone(entry: Entry) -> str:
            return "dim" if entry.reason else ""

        with Vertical(classes="dialog"):
            yield Static(Content(self._about))
            yield self.field()
            keys = max((len(entry.key) for entry in self._entries), default=1)
            titles = max((len(entry.title) for entry in self._entries), default=1)
            yield Rows[Entry](
                [
                    Column("key", "", lambda entry: Cell(entry.key, "dim" if entry.reason else "accent"), width=keys),
                    Column("title", "", lambda entry: Cell(entry.title, tone(entry)), width=titles),
                    Column("words", "", lambda entry: Cell(entry.words, "dim"), flex=1),
                ],
                key=lambda entry: entry.action,
                text=lambda entry: f"{entry.key} {entry.title} {entry.words}",
                empty="nothing to choose from",
                header=False,
                markable=False,
            )
            yield Static("", classes="hint", markup=False)

    def on_mount(self) -> None:
        """Fill the list; typing filters it."""
        rows = self.query_one(Rows)
        rows.styles.height = max(1, min(len(self._entries), self.app.size.height - (7 if self.has_class("-low") else 13)))
        rows.set_items(self._entries)
        self.query_one(Input).focus()
        self._explain()

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Another entry."""
        event.stop()
        self._explain()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Done, where it does something."""
        event.stop()
        if isinstance(event.item, Entry) and not event.item.reason:
            self.dismiss(event.item.action)

    def _explain(self) -> None:
        entry = self.query_one(Rows).highlighted
        if isinstance(entry, Entry):
            self.query_one(".hint", Static).update(Content(f"Not now: {entry.reason}" if entry.reason else entry.words))
