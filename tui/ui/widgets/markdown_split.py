"""Markdown of models cut into blocks while it arrives, so that no block ever is dear to draw.

A block is a paragraph, a heading, one item of a list, a table or a fenced block; one that does not end is cut.
Where a block ends depends on the text alone, never on the pieces in which it came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

BLOCK: Final = 4096
"""Characters after which a block is cut at the next line."""
LINE: Final = 2048
"""Characters after which a line is cut, at a space where it has one."""
HIGHLIGHT: Final = 50 * 1024
"""Characters of a fenced block that are coloured; the rest is plain."""
DEEPEST: Final = 24

Kind = Literal["text", "item", "code", "table", "math", "plain"]

_FENCE: Final = re.compile(r"( *)(`{3,}(?=[^`]*$)|~{3,})(.*)")
_ITEM: Final = re.compile(r"( *)([-*+]|\d{1,9}[.)])( +)(?=\S)")
_RULE: Final = re.compile(r" {0,3}([-*_])(?: *\1){2,} *$")
_HEADING: Final = re.compile(r" {0,3}#{1,6}(?: |$)")
_FORMULA: Final = re.compile(r" *(\$\$|\\\[|\\begin\{[a-z]+\*?\})")
_DELIMITERS: Final = re.compile(r" *\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$")


@dataclass(slots=True, eq=False)
class Block:
    """A closed piece of Markdown.

    Attributes:
        source: Its lines, without the indentation that is `indent`.
        indent: Cells before it: nested items, and what belongs to an item.
        gap: Whether an empty line stands before it.
        more: Goes on from the block before, which was cut.
        info: Language of a fenced block; empty where it is not to be coloured.
        head: The first two lines of a table that was cut.
        typed: A person wrote it: lines end where they end.
    """

    kind: Kind
    source: str
    indent: int = 0
    gap: bool = False
    more: bool = False
    info: str = ""
    head: str = ""
    typed: bool = False


def _cut(line: str) -> int:
    """Where a line longer than `LINE` is cut."""
    space = line.rfind(" ", LINE // 2, LINE)
    return space + 1 if space > 0 else LINE


def dedent(line: str, most: int) -> str:
    """The line without at most so many leading spaces."""
    return line[min(most, len(line) - len(line.lstrip(" "))) :] if most else line


def _formula_end(begin: str) -> str:
    if begin.startswith("\\begin"):
        return begin.replace("\\begin", "\\end")
    return "\\]" if begin == "\\[" else begin


class Splitter:
    """Takes text in any pieces, gives the blocks that have closed.

    Args:
        plain: The text is no Markdown (thoughts): only cut, never parsed.
        typed: A person wrote it: lines end where they end.
    """

    def __init__(self, *, plain: bool = False, typed: bool = False) -> None:
        self.rest = ""
        """The begun line."""
        self.lines: list[str] = []
        """Whole lines of the open block, as they came."""
        self._plain, self._typed = plain, typed
        self._kind: Kind = "plain" if plain else "text"
        self._indent = self._strip = self._size = self._coloured = 0
        self._gap = self._more = self._blank = False
        self._fence = self._info = self._head = self._last = ""
        self._formula = ""  # what ends the formula that is open
        self._within = False  # the next line is the rest of one that was cut
        self._content = 0  # column where the text of the last item begins; 0 outside lists
        self._out: list[Block] = []

    @property
    def indent(self) -> int:
        """Cells before the open block."""
        return self._indent

    @property
    def gap(self) -> bool:
        """Whether an empty line stands before the open block."""
        return self._gap and not self._more if self.lines or self._fence else self._blank and not self._more

    @property
    def kind(self) -> Kind:
        """What the open block is."""
        return self._kind

    @property
    def strip(self) -> int:
        """Leading spaces of the open block's lines that `indent` stands for."""
        return self._strip

    def feed(self, text: str) -> list[Block]:
        """Add text; returns the blocks it closed."""
        *whole, self.rest = (self.rest + text).split("\n")
        for line in whole:
            self._long(line)
        while len(self.rest) > LINE:
            self.rest = self._piece(self.rest)
        return self._taken()

    def close(self) -> list[Block]:
        """The text has ended."""
        if self.rest:
            self._line(self.rest)
        self.rest = ""
        if self._fence:
            self._close_fence()
        self._end()
        return self._taken()

    def _taken(self) -> list[Block]:
        out, self._out = self._out, []
        return out

    def _long(self, line: str) -> None:
        while len(line) > LINE:
            line = self._piece(line)
        self._line(line)

    def _piece(self, line: str) -> str:
        """Take the first part of a long line; returns the rest."""
        at = _cut(line)
        self._line(line[:at])
        if not self._fence and self.lines:
            self._end(cut=True)
        self._within = True
        return line[at:]

    def _line(self, line: str) -> None:
        within, self._within = self._within, False
        if self._plain or within:
            self._add(line)
        elif self._fence:
            self._in_fence(line)
        elif self._formula:
            self._in_formula(line)
        elif not line.strip():
            self._end()
            self._blank = True
        else:
            self._in_text(line)

    def _add(self, line: str) -> None:
        self.lines.append(line)
        self._size += len(line) + 1
        if self._size > BLOCK:
            self._end(cut=True)

    def _in_fence(self, line: str) -> None:
        bare = line.strip()
        if bare.startswith(self._fence) and not bare.strip(self._fence[0]):
            self._close_fence()
            return
        self._add(line)
        if self._size > BLOCK // 2 and not bare:
            self._end(cut=True)

    def _in_formula(self, line: str) -> None:
        """A formula ends where it says so, at the latest at an empty line."""
        if line.strip():
            self._add(line)
            if self._formula not in line:
                return
        self._formula = ""
        self._end()
        self._reset()
        self._blank = not line.strip()
        self._last = "math"

    def _close_fence(self) -> None:
        if self.lines or not self._more:
            self._emit()
        self._fence = self._info = ""
        self._coloured = 0
        self._reset()
        self._last = "code"

    def _in_text(self, line: str) -> None:
        """A line outside fences that is not empty."""
        mark = _FENCE.match(line)
        if mark is not None and (len(mark[1]) <= 3 or self._content):
            self._open_fence(mark)
            return
        formula = _FORMULA.match(line)
        if formula is not None and (end := _formula_end(formula[1])) not in line[formula.end() :]:
            indent = min(len(line) - len(line.lstrip(" ")), self._content)
            self._start("math", min(indent, DEEPEST), indent)
            self._formula = end
            self._add(line)
            return
        if _HEADING.match(line):
            self._start("text", 0, 0)
            self._content = 0
            self._add(line)
            self._end()
            self._last = "heading"
            return
        item = None if _RULE.match(line) else _ITEM.match(line)
        if item is not None and self._is_item(item):
            indent = len(item[1])
            self._start("item", min(indent, DEEPEST), indent)
            self._content = indent + len(item[2]) + min(len(item[3]), 4)
        elif not self.lines and not self._more:
            self._begin_text(line)
        elif self._kind == "item" and _RULE.match(line):
            self._start("text", 0, 0)
            self._content = 0
        elif self._kind == "text" and self.lines and "|" in line and "|" in self.lines[-1] and _DELIMITERS.match(line):
            self._open_table(line)
            return
        self._add(line)

    def _is_item(self, item: re.Match[str]) -> bool:
        if not self._content and len(item[1]) > 3:
            return False
        interrupts = self.lines and self._kind != "item" and not self._content
        return not interrupts or not item[2][0].isdigit() or item[2][:-1] == "1"

    def _begin_text(self, line: str) -> None:
        indent = min(len(line) - len(line.lstrip(" ")), self._content)
        self._start("text", min(indent, DEEPEST), indent)
        if not indent:
            self._content = 0

    def _open_fence(self, mark: re.Match[str]) -> None:
        if not mark[1]:
            self._content = 0 if self._blank else self._content
        indent = min(len(mark[1]), self._content)
        self._start("code", min(indent, DEEPEST), len(mark[1]))
        words = mark[3].split()
        self._fence, self._info = mark[2], words[0] if words else ""

    def _open_table(self, line: str) -> None:
        first = self.lines.pop()
        indent, strip = self._indent, self._strip
        if self.lines:
            self._last = ""
            self._start("table", indent, strip)
            self._gap = True
        self._kind = "table"
        self.lines = [first, line]
        self._size = len(first) + len(line) + 2
        self._head = f"{dedent(first, strip)}\n{dedent(line, strip)}\n"

    def _start(self, kind: Kind, indent: int, strip: int) -> None:
        """Open a block; what was open is closed."""
        self._end()
        self._gap = self._blank or kind != "item" or self._last not in ("text", "item")
        self._blank = False
        self._kind, self._indent, self._strip = kind, indent, strip

    def _end(self, *, cut: bool = False) -> None:
        """Close the open block; a cut one goes on in the next."""
        if self.lines:
            self._emit()
            self._last = self._kind
        if not cut:
            self._reset()
        else:
            self.lines, self._size, self._gap, self._more = [], 0, False, True
            if self._kind == "item":
                self._kind, self._indent, self._strip = "text", min(self._content, DEEPEST), self._content

    def _emit(self) -> None:
        source = "\n".join(dedent(line, self._strip) for line in self.lines)
        info = self._info if self._coloured <= HIGHLIGHT else ""
        self._coloured += self._size
        self._out.append(
            Block(self._kind, source, self._indent, self._gap, self._more, info, self._head if self._more else "", self._typed)
        )

    def _reset(self) -> None:
        self.lines, self._size, self._gap, self._more, self._head = [], 0, False, False, ""
        self._indent = self._strip = 0
        self._kind = "plain" if self._plain else "text"
