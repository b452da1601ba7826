"""A change as a diff, before it is done; and a long text, written here or in the user's own editor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static, TextArea

from tui.core.errors import PaddockError
from tui.core.modelfile import plain
from tui.core.recipe import DiffLine
from tui.ui.dialogs.chat_text import TextDialog
from tui.ui.widgets.board import Board, BoardLine
from tui.ui.widgets.confirm import ConfirmDialog
from tui.ui.widgets.detail import wrap_cells

_TONES: Final = {"+": "ok", "-": "bad", "~": "warn", "@": "title"}
_FRAME: Final = 10
"""Lines of the dialog beside the diff: frame, question, answers."""


class DiffDialog(ConfirmDialog):
    """A question below a diff; the lines scroll with the arrows, the answers take left, right and tab."""

    DEFAULT_CSS = """
    DiffDialog {
        .dialog { width: 100; max-width: 98%; }
        Board { height: auto; max-height: 100%; margin-top: 1; }
        &.-low Board { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll(-1)", "up", id="diff.up", show=False),
        Binding("down,j", "scroll(1)", "down", id="diff.down", show=False),
        Binding("pageup", "scroll(-10)", "page up", id="diff.page_up", show=False),
        Binding("pagedown", "scroll(10)", "page down", id="diff.page_down", show=False),
    ]

    def __init__(self, question: str, lines: Sequence[DiffLine], choices: Sequence[tuple[str, str]]) -> None:
        super().__init__(question, choices)
        self._lines = tuple(lines)

    def compose(self) -> ComposeResult:
        """The question, the diff, the answers."""
        with Vertical(classes="dialog"):
            yield Static(Content(self._question))
            yield Board()
            with Horizontal(classes="answers"):
                for key, label in self._choices:
                    button = Button(Content(label), name=key, compact=True)
                    button.active_effect_duration = 0.0
                    yield button

    def on_mount(self) -> None:
        """Fill the diff; the safe answer has the focus."""
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        board = self.query_one(Board)
        width = max(20, min(100, self.size.width) - 8)
        shown = []
        for line in self._lines:
            for number, part in enumerate(wrap_cells(line.text, width) or [""]):
                shown.append(BoardLine(((f"{line.sign if not number else ' '} {part}", _TONES.get(line.sign, "")),)))
        board.show(shown)
        board.styles.height = max(1, min(len(shown), self.size.height - _FRAME))

    def action_scroll(self, step: int) -> None:
        """Through the diff."""
        board = self.query_one(Board)
        board.scroll_to(y=board.scroll_y + step, animate=False)


class LongTextDialog(TextDialog):
    """As `TextDialog`, for texts that are sent as they are; ctrl+e hands them to `$EDITOR`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+e", "editor", "editor", id="text.editor", priority=True, tooltip="Write in $EDITOR"),
    ]

    def __init__(self, title: str, text: str, state: Path) -> None:
        super().__init__(title, text, hint="takes it   ctrl+e $EDITOR", empty=True)
        self._state = state

    def action_editor(self) -> None:
        """Write in the user's own editor."""
        self.run_worker(self._edit(), group="editor", exclusive=True)

    async def _edit(self) -> None:
        from tui.ui.widgets.external_editor import edit_text

        area = self.query_one(TextArea)
        try:
            text = await edit_text(self.app, area.text, self._state, cleaned=plain)
        except PaddockError as error:
            self._say(f"{error.failure.sentence()}. {error.failure.remedy}.")
            return
        if text is not None:
            area.text = text
        area.focus()
