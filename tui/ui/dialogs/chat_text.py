"""A text of several lines to write: a message to edit, a system prompt."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from tui.text import clean_block


class _Area(TextArea):
    """Pasted text is cleaned."""

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.insert(clean_block(event.text))


class TextDialog(ModalScreen[str | None]):
    """A field of several lines; ctrl+s takes the text, esc changes nothing (and asks once where something was typed).

    Args:
        title: What is written.
        text: What stands there at first, cleaned.
        hint: What ctrl+s does with it.
        empty: Whether an empty text may be taken.
    """

    DEFAULT_CSS = """
    TextDialog {
        align: center middle;
        .dialog { width: 96; max-width: 96%; height: auto; max-height: 90%; padding: 0 1; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .hint { color: $text-muted; }
        .problem { color: $text-error; }
        TextArea, TextArea:focus { border: none; height: 14; padding: 0; background: $surface; }
        &.-low TextArea { height: 8; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "take", "save", id="text.take", tooltip="Take the text"),
        Binding("escape", "leave", "back", id="text.back", tooltip="Change nothing"),
    ]

    def __init__(self, title: str, text: str = "", *, hint: str = "saves", empty: bool = False) -> None:
        super().__init__()
        self._ask, self._text, self._hint, self._empty = title, text, hint, empty
        self._warned = False

    def compose(self) -> ComposeResult:
        """Title, field, hint, problem."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled(self._ask, "bold"))
            area = _Area(self._text, soft_wrap=True, tab_behavior="focus", show_line_numbers=False)
            area.cursor_blink = False
            yield area
            yield Static(Content(f"ctrl+s {self._hint}   enter new line   esc back"), classes="hint")
            yield Static("", classes="problem", markup=False)

    def on_mount(self) -> None:
        """Type at the end."""
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)
        area.focus()

    def action_take(self) -> None:
        """Take it."""
        text = self.query_one(TextArea).text
        if text.strip() or self._empty:
            self.dismiss(text)
        else:
            self._say("It is empty: write something, or esc to leave it as it was.")

    def action_leave(self) -> None:
        """Without a change; what was typed is given up only when asked twice."""
        if self.query_one(TextArea).text == self._text or self._warned:
            self.dismiss(None)
        else:
            self._warned = True
            self._say("esc again gives up what you wrote; ctrl+s takes it.")

    def _say(self, text: str) -> None:
        self.query_one(".problem", Static).update(Content(text))
