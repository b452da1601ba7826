"""The end of a server's log."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static


class LogDialog(ModalScreen[None]):
    """A path and cleaned text, newest line last."""

    DEFAULT_CSS = """
    LogDialog {
        align: center middle;
        .dialog { width: 96%; height: 90%; padding: 0 1; background: $panel; border: round $primary; }
        .path { height: 1; color: $text-muted; }
        VerticalScroll { height: 1fr; scrollbar-size: 1 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,l", "dismiss", "close", key_display="esc", id="log.close", tooltip="Close the log"),
        Binding("y", "copy", "copy", id="log.copy", tooltip="Copy the path"),
    ]

    def __init__(self, path: str, text: str) -> None:
        super().__init__()
        self._path, self._text = path, text

    def compose(self) -> ComposeResult:
        """Path and text."""
        with Vertical(classes="dialog"):
            yield Static(Content(f"{self._path}   esc closes, y copies the path"), classes="path")
            with VerticalScroll():
                yield Static(Content(self._text))

    def on_mount(self) -> None:
        """The end is what matters."""
        scroll = self.query_one(VerticalScroll)
        scroll.focus()
        self.call_after_refresh(lambda: scroll.scroll_end(animate=False))

    def action_copy(self) -> None:
        """Copy the path."""
        self.app.copy_to_clipboard(self._path)
