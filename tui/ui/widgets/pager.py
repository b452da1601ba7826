"""A page of headings, facts and texts of any length: only lines in view are drawn, and lines are broken in pieces of time."""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.core.record import record
from tui.text import strip_line
from tui.ui.later import later
from tui.ui.widgets.bars import fit, own_style
from tui.ui.widgets.detail import wrap_cells

_SLICE: Final = 0.012
"""Seconds of breaking lines before others get their turn."""
_FIRST: Final = 0.003
"""The same before the first frame."""
_PAUSE: Final = 0.01
_LONG: Final = 2000
"""Characters of a line from which on it is cut into rows of equal length."""


@record(frozen=True)
class Piece:
    """A paragraph of the page.

    Attributes:
        text: Cleaned; may have many lines.
        label: Stands at the left, in the column of labels.
        tone: A component class of `Pager` without its prefix.
    """

    text: str
    label: str = ""
    tone: str = ""


@record(frozen=True)
class Part:
    """A titled part of the page."""

    title: str
    pieces: tuple[Piece, ...]


class Pager(ScrollView, can_focus=True):
    """Shows parts one below the other.

    Args:
        label_width: Cells for labels.
    """

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_down", "down", show=False, id="pager.down", tooltip="A line down"),
        Binding("up,k", "scroll_up", "up", show=False, id="pager.up", tooltip="A line up"),
        Binding("pagedown,space", "page_down", "page down", show=False, id="pager.page_down", tooltip="A page down"),
        Binding("pageup", "page_up", "page up", show=False, id="pager.page_up", tooltip="A page up"),
        Binding("home,g", "scroll_home", "top", show=False, id="pager.top", tooltip="To the top"),
        Binding("end,G", "end", "end", show=False, id="pager.end", tooltip="To the end"),
        Binding("right_square_bracket", "part(1)", "next part", show=False, id="pager.next", tooltip="To the next part"),
        Binding("left_square_bracket", "part(-1)", "previous part", show=False, id="pager.previous", tooltip="To the previous part"),
        Binding("n", "find(1)", "next", show=False, id="pager.find_next", tooltip="Next match"),
        Binding("N", "find(-1)", "previous", show=False, id="pager.find_previous", tooltip="Previous match"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pager--title", "pager--label", "pager--found", "pager--dim", "pager--warn", "pager--accent", "pager--add", "pager--gone",
    }  # fmt: skip
    DEFAULT_CSS = """
    Pager {
        height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size: 1 1; background: transparent;
        .pager--title { color: $text-primary; text-style: bold; }
        .pager--label { color: $text-muted; }
        .pager--found { color: $block-cursor-foreground; background: $block-cursor-background; }
        .pager--dim { color: $text-muted; }
        .pager--warn { color: $text-warning; }
        .pager--accent { color: $text-accent; }
        .pager--add { color: $text-success; }
        .pager--gone { color: $text-error; }
        &:ansi .pager--found { text-style: reverse; }
        &:ansi .pager--dim, &:ansi .pager--label { text-style: dim; }
    }
    """

    class Moved(Message):
        """Another place, another match, or more lines are known."""

    def __init__(self, *, label_width: int = 14, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label_width = label_width
        self._parts: tuple[Part, ...] = ()
        self._lines: list[tuple[str, str, str, int]] = []
        """(text, label, tone, indent) of each line before it is broken."""
        self._titles: list[int] = []
        """Numbers of the lines that are headings."""
        self._rows: list[tuple[int, int, int]] = []
        """(line, from, to) of each row broken so far."""
        self._broken = 0
        self._width = 0
        self._needle: re.Pattern[str] | None = None
        self._at: tuple[int, int] | None = None
        self._working = False

    # --- content

    def set_parts(self, parts: Sequence[Part]) -> None:
        """Show these; the place stays."""
        if tuple(parts) == self._parts:
            return
        self._parts = tuple(parts)
        self._lines, self._titles, self._at = [], [], None
        for part in self._parts:
            if self._lines:
                self._lines.append(("", "", "", 0))
            self._titles.append(len(self._lines))
            self._lines.append((part.title, "", "title", 0))
            for piece in part.pieces:
                indent = self._label_width if piece.label else 0
                for number, text in enumerate(piece.text.split("\n")):
                    self._lines.append((text, piece.label if number == 0 else "", piece.tone, indent))
        self._break_anew()

    def _break_anew(self) -> None:
        self._rows, self._broken = [], 0
        self._width = max(20, self.scrollable_content_region.width - 2)
        if self.is_attached and self.size.width:
            self._go_on(_FIRST)

    def _go_on(self, seconds: float = _SLICE) -> None:
        """Break lines for a while; the rest after others had their turn."""
        self._working = False
        self._break_until(len(self._lines), time.perf_counter() + seconds)
        self._grown()
        if self._broken < len(self._lines) and not self._working:
            self._working = True
            later(self, _PAUSE, self._go_on)

    def _break_until(self, line: int, deadline: float = float("inf")) -> None:
        rows, lines, width = self._rows, self._lines, self._width
        at = self._broken
        while at < line:
            text, _label, _tone, indent = lines[at]
            room = width - indent
            if len(text) <= room and text.isascii():
                rows.append((at, 0, len(text)))
            else:
                rows.extend((at, start, end) for start, end in _breaks(text, room))
            at += 1
            if not at % 64 and time.perf_counter() > deadline:
                break
        self._broken = at

    def _grown(self) -> None:
        height = max(1, len(self._rows))
        if self.virtual_size.height != height:
            self.virtual_size = Size(0, height)
        self.refresh()
        self.post_message(self.Moved())

    def on_resize(self) -> None:
        """Break for the new width; the line at the top stays."""
        width = max(20, self.scrollable_content_region.width - 2)
        if width == self._width and self._rows:
            return
        top = self._rows[min(self.scroll_offset.y, len(self._rows) - 1)][0] if self._rows else 0
        self._break_anew()
        if top:
            self._to_line(top)

    # --- place

    @property
    def done(self) -> bool:
        """All lines are broken."""
        return self._broken >= len(self._lines)

    @property
    def place(self) -> tuple[int, int]:
        """(first row in view from 1, rows so far)."""
        return min(self.scroll_offset.y + 1, max(1, len(self._rows))), len(self._rows)

    @property
    def part(self) -> Part | None:
        """The part at the top, or the one that was gone to and stands below it."""
        return self._parts[self._part_index()] if self._parts else None

    def _part_index(self) -> int:
        if not self._rows:
            return 0
        if self._at is not None and self._in_view(self._at[0]):
            return max(0, bisect_right(self._titles, self._at[0]) - 1)
        top = self._rows[min(self.scroll_offset.y, len(self._rows) - 1)][0]
        return max(0, bisect_right(self._titles, top + 1) - 1)

    def _in_view(self, line: int) -> bool:
        first = self.scroll_offset.y
        rows = self._rows[first : first + self.size.height]
        return bool(rows) and rows[0][0] <= line <= rows[-1][0]

    def _row_of(self, line: int, offset: int = 0) -> int:
        self._break_until(line + 1)
        row = bisect_right(self._rows, (line, offset, 1 << 60)) - 1
        return max(0, row)

    def _to_line(self, line: int, offset: int = 0, *, above: int = 0) -> None:
        row = self._row_of(line, offset)
        self._grown()
        self.scroll_to(y=max(0, row - above), animate=False, force=True)

    def to_part(self, title: str) -> bool:
        """Go to a part; False where there is none of this title."""
        index = next((index for index, part in enumerate(self._parts) if part.title == title), None)
        if index is not None:
            self._at = (self._titles[index], 0)
            self._to_line(self._titles[index])
        return index is not None

    def action_part(self, step: int) -> None:
        """To the next or previous heading."""
        index = self._part_index() + step
        if 0 <= index < len(self._titles):
            self._at = (self._titles[index], 0)
            self._to_line(self._titles[index])

    def action_end(self) -> None:
        """To the last line, all of them broken."""
        self._break_until(len(self._lines))
        self._grown()
        self.scroll_end(animate=False, force=True, immediate=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tell."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Moved())

    # --- search

    def search(self, text: str) -> bool:
        """Mark what holds a text (upper and lower case alike) and go to the first from here on; empty ends it."""
        self._needle = re.compile(re.escape(text), re.IGNORECASE) if text else None
        self._at = None
        self.refresh()
        return self._needle is None or self._seek(1, here=True)

    def action_find(self, step: int) -> None:
        """To the next or previous match, going round."""
        if self._needle is not None:
            self._seek(step)

    def _seek(self, step: int, *, here: bool = False) -> bool:
        needle, count = self._needle, len(self._lines)
        if needle is None or not count:
            return False
        top = self._rows[min(self.scroll_offset.y, len(self._rows) - 1)] if self._rows else (0, 0, 0)
        line, offset = (top[0], 0) if self._at is None or here else self._at
        for distance in range(count + 1):
            at = (line + step * distance) % count
            found = [match.start() for match in needle.finditer(self._lines[at][0])]
            if not distance and not here:
                found = [start for start in found if (start > offset if step > 0 else start < offset)]
            if found:
                start = found[0] if step > 0 else found[-1]
                self._at = (at, start)
                self._to_line(at, start, above=self.size.height // 3)
                self.refresh()
                return True
        return False

    # --- drawing

    def notify_style_update(self) -> None:
        """Draw in the new colours."""
        super().notify_style_update()
        self.refresh()

    def _style(self, tone: str, base: Style) -> Style:
        return base + own_style(self, f"pager--{tone}") if tone else base

    def render_line(self, y: int) -> Strip:
        """A row of the page (y from the widget's top)."""
        width, base, row = self.size.width, self.rich_style, self.scroll_offset.y + y
        if row >= len(self._rows):
            return Strip.blank(width, base)
        line, start, end = self._rows[row]
        text, label, tone, indent = self._lines[line]
        left = fit(label, indent - 2) + "  " if indent and start == 0 else " " * indent
        segments = [Segment(f" {left}", self._style("label", base))]
        used = 1 + len(left) if left.isascii() else 1 + cell_len(left)
        style = self._style(tone, base)
        for piece, found in self._pieces(text, start, end):
            drawn = strip_line(piece)
            segments.append(Segment(drawn, self._style("found", base) if found else style))
            used += len(drawn) if drawn.isascii() else cell_len(drawn)
        if used < width:
            segments.append(Segment(" " * (width - used), base))
        return Strip(segments, max(used, width)).crop(0, width)

    def _pieces(self, text: str, start: int, end: int) -> list[tuple[str, bool]]:
        if self._needle is None:
            return [(text[start:end], False)]
        out, at = [], start
        first = max(0, start - len(self._needle.pattern))
        for match in self._needle.finditer(text, first, min(len(text), end + len(self._needle.pattern))):
            low, high = max(at, match.start()), min(end, match.end())
            if low < high:
                out += [(text[at:low], False), (text[low:high], True)]
                at = high
        return [*out, (text[at:end], False)]


def _breaks(text: str, width: int) -> list[tuple[int, int]]:
    """Where a line is broken: (from, to) of each row, at blanks where that can be; every row has at most `width` cells."""
    if text.isascii():
        found, start, end = [], 0, len(text)
        while end - start > width:
            blank = text.rfind(" ", start + 1, start + width + 1)
            cut = blank if blank > start else start + width
            found.append((start, cut))
            start = cut + 1 if blank > start else cut
        return [*found, (start, end)]
    if len(text) > _LONG:
        step = max(1, width // 2)  # no character takes more than two cells
        return [(start, min(start + step, len(text))) for start in range(0, len(text), step)]
    found, at = [], 0
    for row in wrap_cells(text, width):
        start = max(at, text.find(row, at))
        found.append((start, start + len(row)))
        at = start + len(row)
    return found or [(0, 0)]
