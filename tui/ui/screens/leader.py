"""ctrl+g: a screen by its number, also out of a text field."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from tui.ui.frame import SCREENS, Line, Part


class LeaderDialog(ModalScreen[str]):
    """One line with the six numbers; any other key closes it."""

    DEFAULT_CSS = """
    LeaderDialog { align: left bottom; background: transparent; }
    LeaderDialog Line { background: $panel; margin-bottom: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"pick('{name}')", title, show=False) for number, (name, title) in enumerate(SCREENS, 1)),
        Binding("escape,ctrl+g", "dismiss", "close", show=False),
    ]

    def compose(self) -> ComposeResult:
        """The line."""
        yield Line()

    def on_mount(self) -> None:
        """Name the screens."""
        parts: list[Part] = [(" go to  ", "$text-muted")]
        for number, (_name, title) in enumerate(SCREENS, 1):
            parts += [(f"{number} ", "bold $accent"), (f"{title}  ", "")]
        self.query_one(Line).show(*parts, ("esc close", "$text-muted"))

    def action_pick(self, name: str) -> None:
        """Close with the screen's name."""
        self.dismiss(name)
