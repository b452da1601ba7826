"""The pane below (or beside) a list: facts about the item under the cursor, label by label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.core.record import record
from tui.text import strip_line
from tui.ui.widgets.bars import fit, uses_ascii


@record(frozen=True)
class Fact:
    """One line of a detail pane; a long text goes on below itself.

    Attributes:
        label: What it is about; empty for a line of its own.
        text: Cleaned text, may hold line breaks.
        style: Of the text.
        fixed: A row of a small table: cut, not wrapped.
    """

    label: str
    text: str
    style: str = "$foreground"
    fixed: bool = False


def wrap_cells(text: str, width: int) -> Iterator[str]:
    """Break a text into lines of at most `width` cells, between words where there are any; a line keeps its indentation."""
    for line in text.split("\n"):
        current, used = "", 0
        body = line.lstrip(" ")
        first, *rest = body.split(" ")
        for word in (line[: len(line) - len(body)] + first if body else "", *rest):
            length = cell_len(word)
            if current and used + 1 + length > width:
                yield current
                current, used = "", 0
            if length > width:
                *full, word = chop_cells(word, width)
                yield from full
                length = cell_len(word)
            current, used = (f"{current} {word}", used + 1 + length) if current else (word, length)
        yield current


class DetailPane(VerticalScroll):
    """Facts, drawn literally; scrolls once it has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "down", show=False, id="detail.down", tooltip="Scroll down"),
        Binding("k", "scroll_up", "up", show=False, id="detail.up", tooltip="Scroll up"),
        Binding("g", "scroll_home", "top", show=False, id="detail.top", tooltip="To the top"),
        Binding("G", "scroll_end", "end", show=False, id="detail.end", tooltip="To the end"),
    ]
    DEFAULT_CSS = """
    DetailPane { scrollbar-size: 1 1; padding: 0; }
    DetailPane:focus { background: $surface; }
    DetailPane Static { height: auto; width: 1fr; }
    """

    def __init__(self, *, label_width: int = 9, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label_width = label_width
        self._facts: tuple[Fact, ...] = ()
        self._drawn: tuple[int, tuple[Fact, ...]] | None = None
        self._lines = 0
        self._text = Static("", markup=False)

    def compose(self) -> ComposeResult:
        """One block of text."""
        yield self._text

    def show(self, facts: Sequence[Fact]) -> None:
        """Draw these facts; the place scrolled to stays."""
        self._facts = tuple(facts)
        self._draw()

    def to_top(self) -> None:
        """Scroll to the first line: another item is shown."""
        self.scroll_home(animate=False)

    def on_resize(self) -> None:
        """Wrap for the new width."""
        self._draw()

    def _draw(self) -> None:
        width = self.size.width - 1
        if width < 20 or self._drawn == (width, self._facts):
            return
        self._drawn = (width, self._facts)
        parts: list[tuple[str, str]] = []
        count = 0
        for fact in self._facts:
            indent = self._label_width if fact.label or fact.fixed else 0
            text = strip_line(fact.text) if "\n" not in fact.text else fact.text
            room = max(10, width - 1 - indent)
            lines = [fit(text, room, ascii=uses_ascii(self)).rstrip()] if fact.fixed else list(wrap_cells(text, room))
            for number, line in enumerate(lines):
                label = fact.label if number == 0 else ""
                parts.append((f" {label:<{indent}}" if indent else " ", "$text-muted"))
                parts.append((line + "\n", fact.style))
                count += 1
        content = Content.assemble(*parts) if parts else Content("")
        self._text.update(content.rstrip() if parts else content, layout=count != self._lines)
        self._lines = count
