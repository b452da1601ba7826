"""What an update would change: the facts, then the small texts as a diff."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.core.library import UpdateState, UpdateStatus
from tui.core.models import Model
from tui.text import clean_label, duration, size
from tui.ui.widgets.board import Board, BoardLine
from tui.ui.widgets.detail import wrap_cells

_TONES = {"+": "ok", "-": "bad", "@": "dim"}


def facts(state: UpdateState, now: float, *, binary: bool = False) -> str:
    """What is new, since when, and what it costs to fetch."""
    what = "New weights" if state.status is UpdateStatus.WEIGHTS else "New details; the weights are the same"
    since = f", pushed {duration(now - state.pushed_at)} ago" if state.pushed_at is not None and now >= state.pushed_at else ""
    fetch = f", {size(state.fetch, binary=binary)} to fetch" if state.fetch is not None else ""
    return f"{what}{since}{fetch}: {'; '.join(state.changes) or 'not said what'}."


def diff_lines(state: UpdateState, width: int) -> Iterator[BoardLine]:
    """The diff, long lines wrapped; what goes and what comes each with its sign and colour."""
    if not state.diff:
        yield BoardLine(((" The texts that changed are large or could not be read here; nothing to compare.", "dim"),))
    for line in state.diff:
        tone = _TONES.get(line[:1], "") if line[:1] != "-" or len(line) > 1 else "bad"
        head = line.endswith(":") and line[:1] not in "+-@ "
        first, *rest = list(wrap_cells(clean_label(line, 400), max(20, width - 4))) or [""]
        yield BoardLine(((f" {first}", "bold" if head else tone),))
        for more in rest:
            yield BoardLine(((f"   {more}", tone),))


class UpdateNews(ModalScreen[None]):
    """The difference between an installed model and what its registry has."""

    DEFAULT_CSS = """
    UpdateNews {
        align: center middle;
        .dialog { width: 110; max-width: 98%; height: 94%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        Board { height: 1fr; margin-top: 1; }
        .hint { color: $text-muted; margin-top: 1; }
        &.-low .dialog { padding: 0 1; height: 100%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", key_display="esc", id="news.back", tooltip="Close"),
        Binding("y", "copy", "copy", id="news.copy", tooltip="Copy the difference"),
    ]

    def __init__(self, model: Model, state: UpdateState, *, binary: bool = False) -> None:
        super().__init__()
        self._model, self._state, self._binary = model, state, binary

    def compose(self) -> ComposeResult:
        """Heading, facts, diff, keys."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled(f"What is new of {self._model.name} on {self._model.provider}", "bold"))
            yield Static(Content(facts(self._state, time.time(), binary=self._binary)))
            yield Board()
            yield Static(Content("- goes  + comes   y copies  esc back"), classes="hint")

    def on_mount(self) -> None:
        """The diff has the keys."""
        self.query_one(Board).focus()
        self.call_after_refresh(self._draw)

    def on_resize(self, event: events.Resize) -> None:
        """Wrap for the new width."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        board = self.query_one(Board)
        board.show(list(diff_lines(self._state, board.size.width or 100)))

    def action_copy(self) -> None:
        """Copy the diff."""
        self.app.copy_to_clipboard("\n".join(self._state.diff))

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
