"""Why a model is slow: causes first, each with the number that proves it and one thing to do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.core.monitor import Check, SlowView
from tui.text import clean_label, clean_name, duration
from tui.ui.widgets.bars import glyph, uses_ascii
from tui.ui.widgets.board import Board, BoardLine
from tui.ui.widgets.detail import wrap_cells

if TYPE_CHECKING:
    from tui.services.api import Services

_LOOK = 0.25
"""Seconds between two looks for the answer."""
_ORDER: Final = {"cause": 0, "fine": 1, "unknown": 2}
_MARKS: Final = {"cause": ("failed", "bad"), "fine": ("done", "ok"), "unknown": ("down", "dim")}


def slow_lines(checks: Sequence[Check], width: int, *, ascii: bool) -> list[BoardLine]:
    """Causes, then what is fine, then what is not known."""
    lines: list[BoardLine] = []
    for check in sorted(checks, key=lambda check: _ORDER.get(check.state, 2)):
        mark, tone = _MARKS.get(check.state, _MARKS["unknown"])
        title = clean_label(check.title, 80)
        figure = list(wrap_cells(clean_label(check.figure, 300), max(20, width - 32))) or [""]
        heads = "bold" if check.state == "cause" else "dim" if check.state == "unknown" else ""
        lines.append(
            BoardLine(((f" {glyph(mark, ascii)} ", tone), (f"{title:<28} ", heads), (figure[0], "dim" if check.state == "unknown" else "")))
        )
        lines += [BoardLine(((" " * 32, ""), (more, ""))) for more in figure[1:]]
        if check.remedy and check.state == "cause":
            for row in wrap_cells(clean_label(check.remedy, 400), max(20, width - 8)):
                lines.append(BoardLine((("     ", ""), (row, "accent"))))
            lines.append(BoardLine())
    return lines


def slow_summary(view: SlowView) -> str:
    """How fast it is beside how fast it usually is, and how many causes there are."""
    causes = sum(1 for check in view.checks if check.state == "cause")
    speed = f"It {clean_label(view.summary, 120)}. " if view.summary else ""
    return speed + _causes(causes)


def _causes(causes: int) -> str:
    if not causes:
        return "Nothing was found that makes it slower than it could be."
    return "One thing makes it slower than it could be." if causes == 1 else f"{causes} things make it slower than it could be."


class WhySlowDialog(ModalScreen[None]):
    """The checks of one model; says for how long it has been looking."""

    DEFAULT_CSS = """
    WhySlowDialog {
        align: center middle;
        .dialog { width: 100; max-width: 98%; height: auto; max-height: 94%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        Board { height: 14; margin-top: 1; }
        .hint { color: $text-muted; margin-top: 1; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low Board { height: 8; margin-top: 0; }
        &.-low .hint { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,w", "leave", "back", key_display="esc", id="slow.back", tooltip="Close"),
        Binding("r", "again", "again", id="slow.again", tooltip="Look again"),
        Binding("y", "copy", "copy", id="slow.copy", tooltip="Copy what was found"),
    ]

    def __init__(self, services: Services, provider: str, model: str, name: str) -> None:
        super().__init__()
        self._services, self._provider, self._model, self._called = services, provider, model, name
        self._since = time.monotonic()
        self._asked_at = 0.0
        self._shown: SlowView | None = None

    def compose(self) -> ComposeResult:
        """Heading, checks, keys."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled(f"Why is {clean_name(self._called, 60)} on {clean_name(self._provider, 30)} slow?", "bold"))
            yield Static("", id="slow-summary", markup=False)
            yield Board()
            yield Static(Content("r looks again  y copies  esc back"), classes="hint")

    def on_mount(self) -> None:
        """Ask, and look for the answer."""
        self.query_one(Board).focus()
        self.set_interval(_LOOK, self._show)
        self.action_again()

    def action_again(self) -> None:
        """Ask again."""
        self._since = time.monotonic()
        self._shown = None
        self._services.monitor.why_slow(self._provider, self._model)
        self.call_after_refresh(self._show)

    def _found(self) -> SlowView | None:
        view = self._services.monitor.slow.value
        mine = view is not None and (view.provider, view.model) == (self._provider, self._model)
        return view if mine and view is not None and view.checks else None

    def _show(self) -> None:
        view, summary = self._found(), self.query_one("#slow-summary", Static)
        if view is None:
            summary.update(Content(f"looking, for {duration(time.monotonic() - self._since)} now"))
        elif view != self._shown:
            self._shown = view
            board = self.query_one(Board)
            lines = slow_lines(view.checks, board.size.width or 92, ascii=uses_ascii(self, None))
            board.styles.height = max(3, min(len(lines), self.size.height - 10))
            board.show(lines)
            summary.update(Content(slow_summary(view)))

    def on_resize(self, event: events.Resize) -> None:
        """Wrap for the new width."""
        self._shown = None
        self.call_after_refresh(self._show)

    def action_copy(self) -> None:
        """Copy heading and checks."""
        if self._found() is not None:
            self.app.copy_to_clipboard("\n".join([self._called, *(line.text.rstrip() for line in self.query_one(Board).content)]))

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
