"""The composer: a text field that sends on enter and behaves like a shell's line."""

from __future__ import annotations

from typing import ClassVar, Final

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import TextArea

from tui.text import clean_block
from tui.ui.widgets.bars import uses_ascii

PASTE_LIMIT: Final = 256 * 1024
"""Characters of a paste above which it is better a file (T14)."""


class Composer(TextArea):
    """Text for the model. Only a typed enter sends; nothing pasted ever does, and nothing pasted is a command (X21)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "send", id="composer.send", tooltip="Send"),
        Binding("ctrl+j,alt+enter,shift+enter", "newline", "new line", id="composer.newline", show=False, tooltip="New line"),
        Binding("tab", "complete", "leave", id="composer.complete", show=False, tooltip="Complete, else leave"),
        Binding("escape", "back", "back", id="composer.back", show=False, tooltip="Close, stop, leave"),
        Binding("up", "older", "older", id="composer.older", show=False, tooltip="Line up, then older prompts"),
        Binding("down", "newer", "newer", id="composer.newer", show=False, tooltip="Line down, then newer prompts"),
        Binding("ctrl+a", "cursor_line_start", "line start", id="composer.line_start", show=False),
        Binding("ctrl+e", "cursor_line_end", "line end", id="composer.line_end", show=False),
        Binding("ctrl+w", "delete_word_left", "delete word", id="composer.delete_word", show=False),
        Binding("ctrl+k", "delete_to_end_of_line", "delete to end", id="composer.delete_end", show=False),
        Binding("ctrl+u", "delete_to_start_of_line", "delete to start", id="composer.delete_start", show=False),
    ]
    DEFAULT_CSS = """
    Composer { height: auto; max-height: 8; min-height: 3; border: solid $border-blurred; background: transparent; padding: 0; }
    Composer:focus { border: solid $border; }
    """

    class Sent(Message):
        """The user sends this text."""

        def __init__(self, composer: Composer, text: str) -> None:
            super().__init__()
            self.composer, self.text = composer, text

    class Command(Sent):
        """The user typed a `/` command: `text` is the whole line."""

    class LargePaste(Sent):
        """A paste above the limit waits for a decision; `Composer.insert_pasted` takes it nevertheless."""

    class Left(Message):
        """Tab (with nothing to complete) or esc: `key` says which."""

        def __init__(self, composer: Composer, key: str) -> None:
            super().__init__()
            self.composer, self.key = composer, key

    class Complete(Message):
        """Tab while a completion popup is open."""

        def __init__(self, composer: Composer) -> None:
            super().__init__()
            self.composer = composer

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, soft_wrap=True, tab_behavior="focus", show_line_numbers=False)
        self.cursor_blink = False
        self.popup_open = False
        self._prompts: list[str] = []
        self._place: int | None = None
        self._draft = ""
        self._typed_slash = False
        self._hints = ("", "")

    def set_hints(self, left: str, right: str = "") -> None:
        """The lower border: what the keys do at the left, how full the context is at the right."""
        self._hints = (left, right)
        self._draw_hints()

    def _draw_hints(self) -> None:
        left, right = self._hints
        room = self.outer_size.width - 6 - cell_len(left) - cell_len(right)
        rule = ("-" if uses_ascii(self, None) else "─") * max(1, room - 2)
        fill = f" {rule} " if right else ""
        self.border_subtitle = Content.assemble((left, "$text-muted"), (fill, "$border"), (right, "$text-muted"))

    def on_resize(self) -> None:
        """The right one stands at the right edge."""
        self._draw_hints()

    def set_history(self, prompts: list[str]) -> None:
        """Earlier prompts, oldest first, for up and down at the edges."""
        self._prompts, self._place = list(prompts), None

    def fill(self, text: str) -> None:
        """Put text there (a draft, a prompt to edit); it is no command even where it begins with a slash."""
        self._typed_slash = False
        self.load_text(text)
        self.move_cursor(self.document.end)

    def insert_pasted(self, text: str) -> None:
        """Insert cleaned text at the cursor."""
        if self.cursor_location == (0, 0):
            self._typed_slash = False
        self.insert(clean_block(text))

    async def _on_key(self, event: events.Key) -> None:
        """Note a typed slash; runs before the base class's own handler."""
        if event.character == "/" and self.cursor_location == (0, 0):
            self._typed_slash = True
        if event.key == "enter":  # the base class would insert a line break before the binding is looked at
            event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        if len(event.text) > PASTE_LIMIT:
            self.post_message(self.LargePaste(self, event.text))
        else:
            self.insert_pasted(event.text)

    def action_send(self) -> None:
        """Send, or a new line where a backslash stands before the cursor."""
        row, column = self.cursor_location
        if column and self.document.get_line(row)[column - 1] == "\\":
            self.replace("\n", (row, column - 1), (row, column))
            return
        text = self.text
        if not text.strip():
            return
        command = self._typed_slash and text.startswith("/")
        self._prompts.append(text)
        self._place, self._draft, self._typed_slash = None, "", False
        self.load_text("")
        self.post_message(self.Command(self, text) if command else self.Sent(self, text))

    def action_newline(self) -> None:
        """A line break at the cursor."""
        self.insert("\n")

    def action_complete(self) -> None:
        """Complete where a popup is open, else leave."""
        self.post_message(self.Complete(self) if self.popup_open else self.Left(self, "tab"))

    def action_back(self) -> None:
        """Tell the screen: close the popup, stop the answer, or leave."""
        self.post_message(self.Left(self, "escape"))

    def action_older(self) -> None:
        """A line up; in the first line the prompt before."""
        if self.cursor_location[0] > 0 or not self._prompts:
            self.action_cursor_up()
            return
        if self._place is None:
            self._draft, self._place = self.text, len(self._prompts)
        if self._place > 0:
            self._place -= 1
            self.fill(self._prompts[self._place])

    def action_newer(self) -> None:
        """A line down; in the last line the prompt after, at last what was being typed."""
        if self.cursor_location[0] < self.document.line_count - 1 or self._place is None:
            self.action_cursor_down()
            return
        self._place += 1
        if self._place < len(self._prompts):
            self.fill(self._prompts[self._place])
        else:
            self._place = None
            self.fill(self._draft)
