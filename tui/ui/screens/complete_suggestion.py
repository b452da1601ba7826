"""What a model suggests, drawn as nothing else is: dim and italic behind a `+` on every line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.text import clean_block, strip_line
from tui.ui.widgets.bars import own_style, uses_ascii

_SIGN = "+ "


class Suggestion(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of a suggestion, the first one behind the words it goes on from; or what is to be said instead."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll(1)", "down", id="suggestion.down", show=False, tooltip="A line down"),
        Binding("up,k", "scroll(-1)", "up", id="suggestion.up", show=False, tooltip="A line up"),
        Binding("pagedown", "page(1)", "page down", id="suggestion.page_down", show=False, tooltip="A page down"),
        Binding("pageup", "page(-1)", "page up", id="suggestion.page_up", show=False, tooltip="A page up"),
        Binding("home,g", "edge(-1)", "first", id="suggestion.first", show=False, tooltip="To the begin"),
        Binding("end,G", "edge(1)", "last", id="suggestion.last", show=False, tooltip="To the end"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"suggestion--text", "suggestion--sign", "suggestion--said", "suggestion--wrong"}
    DEFAULT_CSS = """
    Suggestion {
        height: 2fr; overflow: hidden hidden; background: $surface;
        .suggestion--text { color: $text-accent; text-style: italic; }
        .suggestion--sign { color: $text-success; text-style: bold; }
        .suggestion--said { color: $text-muted; }
        .suggestion--wrong { color: $text-warning; }
        &:ansi .suggestion--text { text-style: italic dim; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._goes_on_from, self._text = "", ""
        self._said: tuple[tuple[str, bool], ...] = ()
        self._lines: list[tuple[tuple[str, str], ...]] = []

    def show(self, context: str, text: str, said: Sequence[tuple[str, bool]] = ()) -> None:
        """Draw a suggestion.

        Args:
            context: The line it goes on from.
            text: What is suggested; both as they are.
            said: Cleaned words of ours above it, and whether each is a warning.
        """
        now = (context, text, tuple(said))
        if now != (self._goes_on_from, self._text, self._said):
            self._goes_on_from, self._text, self._said = now
            self._lay_out()

    @property
    def plain(self) -> str:
        """What it shows."""
        return "\n".join("".join(part for _style, part in line) for line in self._lines)

    def _lay_out(self) -> None:
        width = max(8, self.size.width - 1)
        lines: list[tuple[tuple[str, str], ...]] = []
        for said, wrong in self._said:
            lines += [(("wrong" if wrong else "said", f" {part}"),) for part in chop_cells(strip_line(said), width - 1)]
        if self._text:
            lines += self._suggested(width - len(_SIGN))
        self._lines = lines
        self.set_reactive(Widget.virtual_size, Size(0, len(lines)))
        if self.scroll_offset.y > self.max_scroll_y:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)
        self.refresh()

    def _suggested(self, width: int) -> list[tuple[tuple[str, str], ...]]:
        found: list[tuple[tuple[str, str], ...]] = []
        context = strip_line(clean_block(self._goes_on_from))
        if cell_len(context) > width // 2:
            context = ("~" if uses_ascii(self, None) else "…") + chop_cells(context[::-1], max(1, width // 2 - 1))[0][::-1]
        for number, line in enumerate(clean_block(self._text).split("\n")):
            line, first = strip_line(line), context if number == 0 else ""
            room = max(1, width - cell_len(first))
            head, *more = chop_cells(line, room) or [""]
            rest = line[len(head) :]
            found.append((("sign", _SIGN), ("said", first), ("text", head)))
            found += [(("sign", _SIGN), ("text", part)) for part in (chop_cells(rest, width) if more else [])]
        return found

    def _size_updated(self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True) -> bool:
        """See `ScrollView`; wrap for the new width, told or not."""
        changed = super()._size_updated(size, virtual_size, container_size, layout)
        if changed:
            self.call_later(self._lay_out)
        return changed

    def render_line(self, y: int) -> Strip:
        """A line."""
        at, width = self.scroll_offset.y + y, self.size.width
        base = self.rich_style
        if not 0 <= at < len(self._lines):
            return Strip.blank(width, base)
        segments = [Segment(part, base + self._look(name)) for name, part in self._lines[at] if part]
        return Strip(segments).adjust_cell_length(width, base)

    def _look(self, name: str) -> Style:
        return own_style(self, f"suggestion--{name}")

    @property
    def allow_vertical_scroll(self) -> bool:
        """Scrolls without a scrollbar."""
        return not self._check_disabled()

    def action_scroll(self, step: int) -> None:
        """Lines up or down."""
        self.scroll_to(y=self.scroll_offset.y + step, animate=False, force=True)

    def action_page(self, step: int) -> None:
        """A page up or down."""
        self.action_scroll(step * max(1, self.size.height - 1))

    def action_edge(self, step: int) -> None:
        """To the begin or the end."""
        self.scroll_to(y=0 if step < 0 else self.max_scroll_y, animate=False, force=True)
