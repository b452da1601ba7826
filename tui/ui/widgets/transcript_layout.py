"""The lines of a conversation: closed blocks are drawn once, the open one is wrapped where it grew; no widget."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from tui.text import duration, strip_line
from tui.ui.widgets.bars import fit
from tui.ui.widgets.markdown import CONTINUED, render, wrap

CHUNK: Final = 8 * 1024
"""Characters after which a block that does not end is closed at a line break."""
CODE_CHUNK: Final = 4 * 1024
"""The same of code, whose colours cost ten times as much."""
TABLE_CHUNK: Final = 32 * 1024
PLAIN_ABOVE: Final = 64 * 1024
"""Characters of one block above which it is wrapped and not parsed."""
KEPT: Final = 3000
"""Lines of a message that are kept; older blocks are drawn again when they come into view."""
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^`\s]*)")
_ITEM: Final = re.compile(r"(?:[-*+]|\d{1,9}[.)])[ \t]")
_TAB: Final = "    "
Rushed = Callable[[], bool]
"""Whether there is no time left to draw blocks now."""


@dataclass(frozen=True, slots=True)
class Look:
    """What decides how a line is drawn.

    Attributes:
        epoch: Another number means that what was drawn before is out of date.
    """

    width: int
    epoch: int
    ascii: bool
    style: Callable[[str], Style]


def _fitting(text: str, start: int, width: int) -> int:
    """How many characters from `start` on fit into `width` cells; at least one."""
    window = text[start : start + width]
    if window.isascii():
        return max(1, len(window))
    cells, count = 0, 0
    for char in text[start : start + 8 * width]:
        cells += cell_len(char)
        if cells > width:
            break
        count += 1
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


class OpenLines:
    """Plain text that grows at its end: only the last line is ever wrapped again."""

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self.lines: list[str] = [""]

    def feed(self, text: str) -> None:
        """Add text; a line feed begins a line."""
        for number, piece in enumerate(text.replace("\t", _TAB).split("\n")):
            if number:
                self.lines.append("")
            if piece:
                self.lines.extend(break_words(self.lines.pop() + piece, self.width))


@dataclass(slots=True)
class Block:
    """A closed piece of Markdown and its lines, which may be forgotten and made again.

    Attributes:
        joined: No empty line stands before it (an item of the list before, more of the same code).
        start: Its first line in the body, the empty one before it included.
    """

    source: str
    joined: bool
    start: int = 0
    epoch: int = -1
    count: int = 0
    lines: list[Text] | None = None

    def draw(self, look: Look) -> list[Text]:
        """Make the lines."""
        if len(self.source) > PLAIN_ABOVE:
            plain = OpenLines(look.width)
            plain.feed(self.source)
            lines = [Text(line) for line in plain.lines]
        else:
            lines = render(self.source, look.width, look.style, look.ascii)
        self.lines, self.count, self.epoch = lines, len(lines), look.epoch
        return lines

    def sketch(self) -> None:
        """Make lines at no cost; the block stays to be drawn."""
        self.lines = [Text(line) for line in self.source.split("\n")]
        self.count = len(self.lines)

    @property
    def height(self) -> int:
        """Lines, the empty one before it included."""
        return self.count + (0 if self.joined else 1)

    def may_hold(self, folded: str) -> bool:
        """Whether a line of it might hold the (case-folded) text: cheaper than drawing it."""
        return _words_only(folded) in _words_only(self.source.casefold())


def _words_only(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


class Body:
    """The text of one message as lines."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.finished = False
        self.sketched = False
        self._rushed: Rushed = lambda: False
        self._look: Look | None = None
        self._kept: deque[Block] = deque()
        self._kept_lines = 0
        self._new: list[str] = []
        self._whole: list[str] = []  # source lines of the open block
        self._size = 0
        self._rest: list[str] = []  # pieces of the source line that has no end yet
        self._fence = ""
        self._language = ""
        self._joined = True
        self._blocks: list[Block] = []
        self._starts: list[int] = []
        self._closed = 0
        self._open = OpenLines(80)
        self._open_epoch = -1

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
        lines = self._open.lines
        return self._closed + (len(lines) - (len(lines) > 1 and not lines[-1]) if self._has_open else 0)

    @property
    def _has_open(self) -> bool:
        return bool(self._whole or self._rest)

    def line(self, at: int) -> Text:
        """A line, one cell in: no line of a model can pass for one of ours (X05)."""
        if at >= self._closed:
            return Text(" " + self._open.lines[at - self._closed].rstrip(" "))
        block = self._blocks[bisect_right(self._starts, at) - 1]
        inside = at - block.start - (0 if block.joined else 1)
        if inside < 0 or self._look is None:
            return Text()
        if block.lines is None:
            block.draw(self._look)
            self._remember(block)
        assert block.lines is not None
        return Text(" ") + block.lines[inside] if inside < len(block.lines) else Text()

    def _remember(self, block: Block) -> None:
        """Keep the lines of the newest blocks only: a long conversation is many objects otherwise."""
        self._kept.append(block)
        self._kept_lines += block.count
        while self._kept_lines > KEPT and len(self._kept) > 1:
            old = self._kept.popleft()
            old.lines = None
            self._kept_lines -= old.count

    def holding(self, folded: str) -> Iterator[int]:
        """Lines that hold a case-folded text."""
        for block in self._blocks:
            if block.may_hold(folded):
                yield from (at for at in range(block.start, block.start + block.height) if folded in self.line(at).plain.casefold())
        yield from (at for at in range(self._closed, self.height) if folded in self.line(at).plain.casefold())

    def block_at(self, at: int) -> tuple[Block, int] | None:
        """The closed block on a line and the line in it."""
        if not self._blocks or at >= self._closed:
            return None
        block = self._blocks[bisect_right(self._starts, at) - 1]
        return block, at - block.start

    # --- laying out

    def settle(self, look: Look, rushed: Rushed = lambda: False) -> int:
        """Take in what was appended; returns the first line that may have changed.

        Blocks that close while there is no time are only sketched: see `stale`.
        """
        self._rushed, self._look = rushed, look
        first = self._closed + (max(0, len(self._open.lines) - 1) if self._has_open else 0)
        if self._open_epoch != look.epoch:
            self._reopen(look)
            first = min(first, self._closed)
        before = self._closed
        text, self._new = "".join(self._new), []
        at = 0
        while (end := text.find("\n", at)) >= 0:
            self._rest.append(text[at:end])
            self._open.feed(text[at : end + 1])
            self._end_line(look)
            at = end + 1
        if at < len(text):
            self._rest.append(text[at:])
            self._open.feed(text[at:])
        if self.finished and self._has_open:
            self._end_line(look)
            self._close(look)
        return first if self._closed == before else min(first, before)

    def _reopen(self, look: Look) -> None:
        self._open_epoch = look.epoch
        self._open = OpenLines(look.width)
        self._open.feed("".join(f"{line}\n" for line in self._whole) + "".join(self._rest))

    def _end_line(self, look: Look) -> None:
        line, self._rest = "".join(self._rest), []
        mark = _FENCE.match(line)
        if self._fence:
            self._keep(line)
            if mark is not None and mark[1].startswith(self._fence) and not line[mark.end(1) :].strip("`~ "):
                self._close(look)
            elif self._size > CODE_CHUNK:
                self._close_code(look)
            return
        if self._whole and _ITEM.match(line) and _ITEM.match(self._whole[0]):
            self._close(look)
            self._joined = True
            self._open.feed(f"{line}\n")
        self._keep(line)
        if mark is not None:
            self._fence, self._language = mark[1], mark[2]
        elif not line.strip():
            self._close(look)
        elif self._size > (TABLE_CHUNK if line.lstrip().startswith("|") else CHUNK):
            self._close(look)
            self._joined = True

    def _keep(self, line: str) -> None:
        self._whole.append(line)
        self._size += len(line)

    def _close_code(self, look: Look) -> None:
        """Draw the code so far; what follows is more of the same."""
        fence, language = self._fence, self._language
        self._whole.append(fence)
        self._close(look)
        self._fence, self._language, self._joined = fence, language, True
        self._whole = [f"{fence}{language or 'text'} {CONTINUED}"]

    def _close(self, look: Look) -> None:
        source = "\n".join(self._whole)
        self._whole, self._size, self._fence = [], 0, ""
        self._open = OpenLines(look.width)
        if not source.strip():
            return
        block = Block(source, self._joined or not self._blocks, start=self._closed)
        self._joined = False
        if self._rushed():
            block.sketch()
            self.sketched = True
        else:
            block.draw(look)
        self._remember(block)
        self._blocks.append(block)
        self._starts.append(block.start)
        self._closed += block.height

    # --- drawing again

    def stale(self, look: Look, first: int = 0, last: int | None = None) -> Iterator[Block]:
        """Blocks drawn for another width or in other colours, the last one first, between two lines."""
        for block in reversed(self._blocks):
            if block.epoch != look.epoch and block.start + block.height > first and (last is None or block.start < last):
                yield block

    def renumber(self) -> None:
        """After blocks were drawn again: find their places."""
        at = 0
        for number, block in enumerate(self._blocks):
            block.start = self._starts[number] = at
            at += block.height
        self._closed = at


class Message:
    """A header, folded thoughts, the body, our own lines, and an empty line."""

    def __init__(self, left: str, right: str = "") -> None:
        self.left, self.right = left, right
        self.body = Body()
        self.thoughts: list[str] = []
        self.thought_seconds: float | None = None
        self.unfolded = False
        self.footer: Sequence[tuple[str, str]] = ()  # line, name of its style
        self._head: list[Text] = []
        self._foot: list[Text] = []
        self._thinking = OpenLines(80)
        self._thought_of = (0, -1)  # pieces wrapped, at which epoch

    @property
    def height(self) -> int:
        """Lines."""
        return len(self._head) + self.body.height + len(self._foot) + 1

    @property
    def head_height(self) -> int:
        """Lines above the body."""
        return len(self._head)

    def line(self, at: int) -> Text:
        """A line."""
        if at < len(self._head):
            return self._head[at]
        at -= len(self._head)
        if at < self.body.height:
            return self.body.line(at)
        at -= self.body.height
        return self._foot[at] if at < len(self._foot) else Text()

    def lay_out(self, look: Look, rushed: Rushed = lambda: False) -> tuple[int, bool]:
        """Bring the lines up to date.

        Returns:
            The first line below the header that may have changed, and whether the header has (with its height: line 0).
        """
        head, foot = self._draw_head(look), self._draw_foot(look)
        first = len(head) + self.body.settle(look, rushed)
        changed = head != self._head
        if len(head) != len(self._head):
            first = 0
        self._head, self._foot = head, foot
        return first, changed

    def holding(self, folded: str) -> Iterator[int]:
        """Lines that hold a case-folded text."""
        yield from (at for at, line in enumerate(self._head) if folded in line.plain.casefold())
        yield from (len(self._head) + at for at in self.body.holding(folded))
        below = len(self._head) + self.body.height
        yield from (below + at for at, line in enumerate(self._foot) if folded in line.plain.casefold())

    def _draw_head(self, look: Look) -> list[Text]:
        rule = "-" if look.ascii else "─"
        right = f" {strip_line(self.right)} " if self.right else ""
        left = f"{rule} {strip_line(self.left)} "
        width = look.width + 2
        room = max(0, width - cell_len(right))
        left = fit(left, room) if cell_len(left) > room else left + rule * (room - cell_len(left))
        head = [Text(left + right, look.style("header"))]
        if self.thoughts:
            signs = ("v", ">") if look.ascii else ("▾", "▸")
            took = f" for {duration(self.thought_seconds)}" if self.thought_seconds is not None else ""
            head.append(Text(f" {signs[0] if self.unfolded else signs[1]} thought{took}", look.style("dim")))
            if self.unfolded:
                head.extend(Text("   " + line.rstrip(" "), look.style("dim")) for line in self._thought_lines(look))
            head.append(Text())
        return head

    def _thought_lines(self, look: Look) -> list[str]:
        done, epoch = self._thought_of
        if epoch != look.epoch:
            self._thinking, done = OpenLines(look.width - 2), 0
        for piece in self.thoughts[done:]:
            self._thinking.feed(piece)
        self._thought_of = (len(self.thoughts), look.epoch)
        return self._thinking.lines

    def _draw_foot(self, look: Look) -> list[Text]:
        return [Text(" ") + line for foot, name in self.footer for line in wrap(Text(foot, look.style(name)), look.width)]
