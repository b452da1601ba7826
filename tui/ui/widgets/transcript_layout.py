"""The lines of a conversation: closed blocks are drawn once, the open one is wrapped where it grew; no widget.

Lines hold the names of styles, not colours: see `markdown.render`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from rich.cells import split_graphemes
from rich.text import Text

from tui.core.record import record
from tui.ui.widgets.markdown import draw
from tui.ui.widgets.markdown_split import Block, Splitter, dedent

KEPT: Final = 6000
"""Lines of a conversation that are kept; blocks drawn earlier are drawn again when they come into view."""
PIECE: Final = 32_768
"""Characters taken in between two looks at the clock: 3 ms."""
Rushed = Callable[[], bool]
"""Whether there is no time left to draw blocks now."""


@record(frozen=True)
class Look:
    """What decides how lines are broken: cells, and whether there are only plain characters."""

    width: int
    ascii: bool = False


def _fitting(text: str, start: int, width: int) -> int:
    """How many characters from `start` on fit into `width` cells; at least one."""
    window = text[start : start + width]
    if window.isascii() and text[start + width : start + width + 1].isascii():
        return max(1, len(window))
    cells, count = 0, 0
    for _first, end, size in split_graphemes(text[start : start + 8 * width])[0]:  # a family of emoji is not torn apart
        cells += size
        if cells > width:
            break
        count = end
    return max(1, count)


def break_words(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells (a space may hang over); put together they are the text."""
    out: list[str] = []
    at = 0
    while True:
        end = at + _fitting(text, at, width)
        if end >= len(text):
            out.append(text[at:])
            return out
        space = text.rfind(" ", at + 1, end + 1)
        cut = space + 1 if space > 0 else end
        out.append(text[at:cut])
        at = cut


class Laid:
    """A closed block with its lines, which may be forgotten and made again."""

    __slots__ = ("block", "count", "gap", "lines", "look", "number")

    def __init__(self, block: Block, number: int, gap: bool) -> None:
        self.block = block
        self.number = number
        """Its place among the blocks."""
        self.gap = gap
        """Whether an empty line stands before it."""
        self.look: Look | None = None
        self.count = 0
        self.lines: list[Text] | None = None

    def draw(self, look: Look) -> list[Text]:
        """Make the lines."""
        if self.block.kind == "plain":
            parts = (part for line in self.block.source.split("\n") for part in break_words(line, look.width))
            self.lines = [Text(part.rstrip(" ")) for part in parts]
        else:
            self.lines = draw(self.block, look.width, look.ascii) or [Text()]
        self.count, self.look = len(self.lines), look
        return self.lines

    def sketch(self) -> None:
        """Make lines at no cost; the block stays to be drawn."""
        self.lines = [Text(line) for line in self.block.source.split("\n")]
        self.count = len(self.lines)

    @property
    def height(self) -> int:
        """Lines, the empty one before it included."""
        return self.count + self.gap

    def may_hold(self, folded: str) -> bool:
        """Whether a line of it might hold the (case-folded) text: cheaper than drawing it."""
        return _words_only(folded) in _words_only(self.block.source.casefold())


def _words_only(text: str) -> str:
    return "".join(filter(str.isalnum, text))


class Keep:
    """The lines drawn last: a long conversation is a million objects otherwise."""

    def __init__(self) -> None:
        self._drawn: deque[Laid] = deque()
        self._lines = 0

    def add(self, laid: Laid) -> None:
        """Keep the lines of a block; those of the oldest go."""
        self._drawn.append(laid)
        self._lines += laid.count
        while self._lines > KEPT and len(self._drawn) > 1:
            old = self._drawn.popleft()
            old.lines = None
            self._lines -= old.count

    def redraw(self, laid: Laid, look: Look) -> None:
        """Draw a block for another look; its lines are kept if they were, or while there is room."""
        had, before = laid.lines is not None, laid.count
        laid.draw(look)
        if had:
            self._lines += laid.count - before
        elif self._lines < KEPT:
            self.add(laid)
        else:
            laid.lines = None  # its height is what was wanted


class Body:
    """A text as lines: an answer (Markdown), a prompt as it was typed, or thoughts (plain)."""

    def __init__(self, keep: Keep, *, plain: bool = False, typed: bool = False) -> None:
        self._keep = keep
        self.parts: list[str] = []
        self.finished = False
        self.sketched = False
        self._splitter = Splitter(plain=plain, typed=typed)
        self._ended = False
        self._new: list[str] = []
        self._look: Look | None = None
        self._open_look: Look | None = None
        self._laid: list[Laid] = []
        self._heights: list[int] = []
        self._starts: list[int] = []
        self._closed = 0
        self._fresh = 0  # blocks from this one on are drawn for the look of now
        self._open: list[str] = []

    def append(self, text: str) -> None:
        """Add text; it is laid out by `settle`."""
        self.parts.append(text)
        self._new.append(text)

    def finish(self) -> None:
        """No more text comes."""
        self.finished = True

    @property
    def height(self) -> int:
        """Lines."""
        return self._closed + len(self._open)

    def line(self, at: int) -> Text:
        """A line."""
        if at >= self._closed:
            return Text(self._open[at - self._closed].rstrip(" "))
        laid = self._laid[bisect_right(self._starts, at) - 1]
        inside = at - self.start_of(laid) - laid.gap
        if inside < 0 or self._look is None:
            return Text()
        lines = laid.lines
        if lines is None:
            lines = laid.draw(self._look)
            self._heights[laid.number] = laid.height
            self._keep.add(laid)
        return lines[inside] if inside < len(lines) else Text()

    def holding(self, folded: str, *, last_first: bool = False) -> Iterator[int]:
        """Lines that hold a case-folded text."""
        spans = [range(start, start + laid.height) for start, laid in zip(self._starts, self._laid, strict=True) if laid.may_hold(folded)]
        spans.append(range(self._closed, self.height))
        for span in reversed(spans) if last_first else spans:
            for at in reversed(span) if last_first else span:
                if folded in self.line(at).plain.casefold():
                    yield at

    def block_at(self, at: int) -> tuple[Laid, int] | None:
        """The closed block on a line and the line in it."""
        if not self._laid or at >= self._closed:
            return None
        laid = self._laid[bisect_right(self._starts, at) - 1]
        return laid, at - self.start_of(laid)

    def start_of(self, laid: Laid) -> int:
        """The first line of a block, the empty one before it included."""
        return self._starts[laid.number]

    # --- laying out

    @property
    def behind(self) -> bool:
        """Something appended was not taken in yet."""
        return bool(self._new)

    def settle(self, look: Look, rushed: Rushed = lambda: False, late: Rushed = lambda: False) -> int:
        """Take in what was appended; returns the first line that may have changed.

        Blocks that close while there is no time are only sketched: see `stale`. Once it is late the rest waits for the next call.
        """
        before, old, again = self._closed, self._open, self._open_look != look
        if again:
            self._fresh = len(self._laid)
        self._look = self._open_look = look
        text, self._new = "".join(self._new), []
        for at in range(0, len(text), PIECE):
            for block in self._splitter.feed(text[at : at + PIECE]):
                self._close(block, look, rushed)
            if late() and at + PIECE < len(text):
                self._new = [text[at + PIECE :]]
                break
        if self.finished and not self._ended and not self._new:
            self._ended = True
            for block in self._splitter.close():
                self._close(block, look, rushed)
        if not (text or again or self._closed != before or self.finished):
            return self.height
        self._open = self._open_lines(look)
        at = before
        for line in old:
            now = self.line(at) if at < self.height else None
            if now is None or now.spans or now.plain.rstrip(" ") != line.rstrip(" "):
                break
            at += 1
        return at

    def _close(self, block: Block, look: Look, rushed: Rushed) -> None:
        laid = Laid(block, len(self._laid), block.gap and bool(self._laid))
        if rushed():
            laid.sketch()
            self.sketched = True
            self._fresh = laid.number + 1
        else:
            laid.draw(look)
        self._keep.add(laid)
        self._laid.append(laid)
        self._starts.append(self._closed)
        self._heights.append(laid.height)
        self._closed += laid.height

    def _open_lines(self, look: Look) -> list[str]:
        """What has not closed, as it came; short, because blocks are cut."""
        splitter = self._splitter
        source = [*splitter.lines, splitter.rest] if splitter.rest else splitter.lines
        if not source:
            return []
        lead = " " * splitter.indent
        if splitter.kind == "code":
            lead += "| " if look.ascii else "│ "
        room = max(8, look.width - len(lead))
        out = [""] if splitter.gap and self._laid else []
        for line in source:
            out.extend(lead + part for part in break_words(dedent(line, splitter.strip), room))
        return out

    # --- drawing again

    def stale(self, look: Look) -> Iterator[Laid]:
        """Blocks drawn for another look, the last one first; each is to be drawn before the next is asked for."""
        while self._fresh > 0:
            laid = self._laid[self._fresh - 1]
            if laid.look != look:
                yield laid
                if laid.look != look:
                    return
            self._fresh -= 1

    def stale_between(self, look: Look, first: int, last: int) -> list[Laid]:
        """The same, between two lines."""
        begin, end = bisect_right(self._starts, first) - 1, bisect_right(self._starts, last)
        return [laid for laid in self._laid[max(0, begin) : max(0, end)] if laid.look != look]

    def redraw(self, laid: Laid, look: Look) -> None:
        """Draw a block for another look; `renumber` follows."""
        self._keep.redraw(laid, look)
        self._heights[laid.number] = laid.height

    def renumber(self) -> None:
        """After blocks were drawn again: find their places."""
        *self._starts, self._closed = accumulate(self._heights, initial=0)
