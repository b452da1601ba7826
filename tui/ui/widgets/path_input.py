"""A field for a path, with the files that go on with what is typed below it; tab takes the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from tui.text import clean_name
from tui.ui.widgets.completion import Choice
from tui.ui.widgets.path_choices import PathChoices

SHOWN: Final = 40
"""Names offered at most; as many as the line has room for are seen."""
PATIENCE: Final = 0.5
"""Seconds that tab waits for a folder that is still read."""


class PathInput(Vertical):
    """Tells `Changed` while it is typed in, and `Submitted` at enter.

    Args:
        value: What stands there at first.
    """

    DEFAULT_CSS = """
    PathInput {
        height: 2; width: 1fr;
        Input, Input:focus { border: none; height: 1; padding: 0 1; background: $surface; }
        #path-offers { height: 1; padding: 0 1; color: $text-accent; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", id="path.complete", tooltip="Take the first file offered"),
    ]

    class Changed(Message):
        """Another path stands there."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    class Submitted(Message):
        """Enter."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    def __init__(self, value: str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._first = value
        self._choices: Sequence[Choice] = ()
        self._paths = PathChoices(self, self._offer)
        self._quiet = True

    def compose(self) -> ComposeResult:
        """Field and offers."""
        field = Input(self._first, compact=True, select_on_focus=False)
        field.cursor_blink = False
        yield field
        yield Static("", id="path-offers", markup=False)

    @property
    def value(self) -> str:
        """What stands there."""
        return self.query_one(Input).value.strip()

    def focus_field(self) -> None:
        """Type at the end."""
        field = self.query_one(Input)
        field.focus()
        field.cursor_position = len(field.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Offer what goes on with it."""
        event.stop()
        if event.value:
            self._paths.look(event.value, at=False)
        else:
            self._paths.forget()
            self._offer((), 0)
        self.post_message(self.Changed(self.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.post_message(self.Submitted(self.value))

    def _offer(self, choices: Sequence[Choice], more: int) -> None:
        self._choices = tuple(choices[:SHOWN])
        words = "  ".join(clean_name(choice.label or choice.text, 60) for choice in self._choices)
        self.query_one("#path-offers", Static).update(Content(f"{words}{f'  +{more}' if more > 0 else ''}"))

    async def action_complete(self) -> None:
        """Take the first one, else go on to the next field."""
        if self._paths.looking:
            await self._paths.found(PATIENCE)
        field = self.query_one(Input)
        if self._choices:
            choice = self._choices[0]
            field.value = choice.text.strip('"') if " " in choice.text else choice.text
            field.cursor_position = len(field.value)
        else:
            self.screen.focus_next()
