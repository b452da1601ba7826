"""The list above the composer: what can be completed, or the line of the history search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.text import strip_line
from tui.ui.widgets.bars import fit, own_style, uses_ascii
from tui.ui.widgets.completion import Choice

ROWS: Final = 8
"""Rows at most."""
_ABOVE: Final = 2
"""Lines of the frame that stay in view."""


class CompletionPopup(Widget):
    """Lies over what stands above the composer; keys come through the composer, which keeps the focus."""

    DEFAULT_CSS = """
    CompletionPopup {
        overlay: screen; display: none; width: 1fr; height: 1; background: $panel; color: $foreground;
        & .popup--chosen { background: $block-cursor-background; color: $block-cursor-foreground; }
        & .popup--note { color: $text-muted; }
        & .popup--match { color: $accent; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"popup--chosen", "popup--note", "popup--match"}

    class Taken(Message):
        """A choice was clicked."""

        def __init__(self, popup: CompletionPopup, choice: Choice) -> None:
            super().__init__()
            self.popup, self.choice = popup, choice

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._choices: Sequence[Choice] = ()
        self._at = -1
        self._top = 0
        self._more = 0
        self._widest = 0
        self._search: tuple[str, tuple[str, str, str]] | None = None

    # --- what it holds ------------------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Choices are shown."""
        return bool(self._choices)

    @property
    def choices(self) -> Sequence[Choice]:
        """What is shown."""
        return self._choices

    @property
    def chosen(self) -> Choice | None:
        """The choice under the cursor."""
        return self._choices[self._at] if 0 <= self._at < len(self._choices) else None

    def show(self, choices: Sequence[Choice], *, first: bool, more: int = 0) -> None:
        """Show choices; with `first` the first one is under the cursor, else none is. `more` that are not listed are counted."""
        if self._search is None and choices == self._choices and first == (self._at >= 0) and more == self._more:
            return
        self._search = None
        self._choices, self._more = tuple(choices), more
        self._widest = max((cell_len(strip_line(choice.label or choice.text)) for choice in choices), default=0)
        self._at, self._top = (0 if first else -1), 0
        self._fit()

    def close(self) -> None:
        """Show nothing."""
        if self._choices or self._search is not None:
            self._choices, self._search, self._at, self._more = (), None, -1, 0
            self._fit()

    def show_search(self, text: str, match: tuple[str, str, str]) -> None:
        """Show the search line: what is searched, and the match in three parts."""
        self._choices, self._search = (), (text, match)
        self._fit()

    def move(self, step: int) -> None:
        """The next or previous choice, round the ends."""
        if self._choices:
            self._at = (self._at + step) % len(self._choices) if self._at >= 0 or step > 0 else len(self._choices) - 1
            rows = self._rows()
            self._top = min(max(self._top, self._at - rows + 1), self._at)
            self.refresh()

    # --- where it stands ----------------------------------------------------------------------------------------------

    def _rows(self) -> int:
        parent = self.parent
        room = parent.region.y - _ABOVE if isinstance(parent, Widget) and parent.region.height else ROWS
        return max(1, min(ROWS, room, len(self._choices) or 1))

    def _fit(self) -> None:
        """As high as it must be, its last row on the line above the composer."""
        shown = bool(self._choices) or self._search is not None
        rows = self._rows()
        if shown and (not self.display or self.styles.height is None or self.styles.height.value != rows):
            self.styles.height = rows
            self.styles.offset = (0, -rows)
        self.display = shown
        self.refresh()

    # --- mouse --------------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Take the row."""
        event.stop()
        row = self._top + event.y
        if row < len(self._choices):
            self.post_message(self.Taken(self, self._choices[row]))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Further down the list."""
        event.stop()
        self._scroll(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Further up the list."""
        event.stop()
        self._scroll(-1)

    def _scroll(self, step: int) -> None:
        self._top = min(max(0, self._top + step), max(0, len(self._choices) - self._rows()))
        self.refresh()

    # --- drawing ------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """See `Widget`."""
        width, base = self.size.width, self.rich_style
        if self._search is not None:
            return self._search_line(width, base)
        row = self._top + y
        if row >= len(self._choices):
            return Strip.blank(width, base)
        choice = self._choices[row]
        note_style = base + own_style(self, "popup--note")
        if row == self._at:
            base = note_style = base + self.get_component_rich_style("popup--chosen", partial=True)
        ascii = uses_ascii(self)
        label, note = strip_line(choice.label or choice.text), strip_line(choice.note)
        last = y == self.size.height - 1 and row + 1 < len(self._choices) + self._more
        tail = f"  {len(self._choices) + self._more - row - 1} more below" if last else ""
        room = max(1, width - 2 - len(tail))
        left = min(self._widest, room, (width - 2) // 2) if note else min(self._widest, room)
        segments = [Segment(" ", base), Segment(fit(label, left, ascii=ascii), base)]
        if room - left > 2:
            segments.append(Segment("  " + fit(note, room - left - 2, ascii=ascii), note_style))
        else:
            segments.append(Segment(" " * (room - left), base))
        return Strip([*segments, Segment(tail, note_style), Segment(" ", base)], width)

    def _search_line(self, width: int, base: Style) -> Strip:
        assert self._search is not None
        text, (before, match, after) = self._search
        found = base + own_style(self, "popup--match")
        head = f" (search) {strip_line(text)}: "
        segments = [
            Segment(head, base + own_style(self, "popup--note")),
            Segment(strip_line(before), base),
            Segment(strip_line(match), found),
            Segment(strip_line(after) if before or match or after else "nothing", base),
        ]
        return Strip(segments).adjust_cell_length(width, base)
