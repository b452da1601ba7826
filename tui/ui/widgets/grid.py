"""`Grid`: a table whose cells have the cursor, with heads and first columns that stay; drawn as one widget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.core.record import record
from tui.text import strip_line
from tui.ui.widgets.bars import own_style

Part = tuple[str, str]
"""Literal text and its tone; empty is the ordinary one."""
TONES = ("dim", "bold", "ok", "warn", "bad", "accent")


@record(frozen=True)
class GridRow:
    """A row: what stands before the cells, and the cells."""

    head: tuple[Part, ...]
    cells: tuple[Part, ...]


class Grid(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows and columns with a cursor on one cell; moves with arrows and hjkl."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1, 0)", "down", id="grid.down", show=False, tooltip="Next row"),
        Binding("up,k", "move(-1, 0)", "up", id="grid.up", show=False, tooltip="Previous row"),
        Binding("right,l", "move(0, 1)", "right", id="grid.right", show=False, tooltip="Next column"),
        Binding("left,h", "move(0, -1)", "left", id="grid.left", show=False, tooltip="Previous column"),
        Binding("home,g", "edge(-1)", "first", id="grid.first", show=False, tooltip="First row"),
        Binding("end,G", "edge(1)", "last", id="grid.last", show=False, tooltip="Last row"),
        Binding("pagedown", "page(1)", "page down", id="grid.page_down", show=False, tooltip="A page down"),
        Binding("pageup", "page(-1)", "page up", id="grid.page_up", show=False, tooltip="A page up"),
        Binding("enter", "open", "open", id="grid.open", show=False, tooltip="Open the cell"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--cursor", *(f"grid--{name}" for name in TONES)}
    DEFAULT_CSS = """
    Grid {
        height: 1fr; overflow: hidden hidden; background: transparent;
        .grid--cursor { color: $block-cursor-foreground; background: $block-cursor-background; text-style: $block-cursor-text-style; }
        .grid--dim { color: $text-muted; }
        .grid--bold { text-style: bold; }
        .grid--ok { color: $text-success; }
        .grid--warn { color: $text-warning; text-style: bold; }
        .grid--bad { color: $text-error; }
        .grid--accent { color: $text-accent; }
        &:ansi .grid--cursor { text-style: reverse; }
        &:ansi .grid--dim { text-style: dim; }
    }
    """

    class Moved(Message):
        """The cursor is on another cell."""

    class Selected(Message):
        """Enter, or a click on the cell that has the cursor."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: tuple[GridRow, ...] = ()
        self._titles: tuple[str, ...] = ()
        self._head = ""
        self._lead = self._width = 1
        self._row = self._column = self._first = 0
        self._cached: dict[str, Style] = {}

    # --- what stands in it --------------------------------------------------------------------------------------------

    @property
    def cursor(self) -> tuple[int, int]:
        """Row and column."""
        return self._row, self._column

    def show(self, head: str, titles: Sequence[str], rows: Sequence[GridRow], *, lead: int, width: int) -> None:
        """Show these.

        Args:
            head: Above what stands before the cells.
            titles: Of the columns.
            rows: With a cell for each of them.
            lead: Cells for what stands before.
            width: Cells of a column.
        """
        self._head, self._titles, self._rows = head, tuple(titles), tuple(rows)
        self._lead, self._width = lead, width
        self._row = max(0, min(self._row, len(self._rows) - 1))
        self._column = max(0, min(self._column, len(self._titles) - 1))
        size = Size(0, len(self._rows) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        self._keep_in_view()
        self.refresh()

    def move_to(self, row: int, column: int) -> None:
        """Put the cursor there, as far as there are rows and columns."""
        row, column = max(0, min(row, len(self._rows) - 1)), max(0, min(column, len(self._titles) - 1))
        if (row, column) != (self._row, self._column):
            self._row, self._column = row, column
            self._keep_in_view()
            self.refresh()
            self.post_message(self.Moved())

    @property
    def shown_columns(self) -> int:
        """How many columns there is room for."""
        return max(1, (self.size.width - self._lead) // self._width)

    def _keep_in_view(self) -> None:
        room = self.shown_columns
        self._first = max(min(self._first, self._column), self._column - room + 1, 0)
        self._first = min(self._first, max(0, len(self._titles) - room))
        height = self.size.height - 1
        if height <= 0:
            return
        top = self.scroll_offset.y
        goal = min(max(top, self._row - height + 1), self._row)
        if goal != top:
            self.scroll_to(y=goal, animate=False, force=True)

    # --- keys and mouse -----------------------------------------------------------------------------------------------

    def action_move(self, down: int, right: int) -> None:
        """To a cell beside this one."""
        self.move_to(self._row + down, self._column + right)

    def action_edge(self, step: int) -> None:
        """To the first or last row."""
        self.move_to(0 if step < 0 else len(self._rows) - 1, self._column)

    def action_page(self, step: int) -> None:
        """A page up or down."""
        self.move_to(self._row + step * max(1, self.size.height - 2), self._column)

    def action_open(self) -> None:
        """Tell that it was chosen."""
        if self._rows:
            self.post_message(self.Selected())

    def on_click(self, event: events.Click) -> None:
        """The cursor to the cell; a second click chooses it."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y == 0 or offset.x < self._lead:
            return
        row, column = self.scroll_offset.y + offset.y - 1, self._first + (offset.x - self._lead) // self._width
        if row >= len(self._rows) or column >= len(self._titles):
            return
        event.stop()
        again = (row, column) == self.cursor and event.chain == 2
        self.move_to(row, column)
        if again:
            self.action_open()

    # --- drawing ------------------------------------------------------------------------------------------------------

    @property
    def allow_vertical_scroll(self) -> bool:
        """Scrolls without a scrollbar."""
        return not self._check_disabled()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Repaint after a scroll."""
        if round(old_value) != round(new_value):
            self.refresh()

    def on_resize(self) -> None:
        """Other columns have room."""
        self._keep_in_view()
        self.refresh()

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.refresh()

    def notify_style_update(self) -> None:
        """Another theme."""
        self._cached.clear()
        super().notify_style_update()

    def _style(self, name: str) -> Style:
        found = self._cached.get(name)
        if found is None:
            found = self._cached[name] = self.rich_style + (own_style(self, f"grid--{name}") if name in TONES else Style.null())
        return found

    def render_line(self, y: int) -> Strip:
        """The heads, or a row."""
        width, base = self.size.width, self._style("")
        last = min(len(self._titles), self._first + self.shown_columns)
        if y == 0:
            text = set_cell_size(self._head, self._lead)
            text += "".join(_right(title, self._width) for title in self._titles[self._first : last])
            return Strip([Segment(text, self._style("dim"))]).extend_cell_length(width, base).crop(0, width)
        at = self.scroll_offset.y + y - 1
        if at >= len(self._rows):
            return Strip.blank(width, base)
        row, here = self._rows[at], at == self._row
        over = self.get_component_rich_style("grid--cursor", partial=True)
        parts: list[Segment] = []
        left = self._lead
        for number, (text, tone) in enumerate(row.head):
            piece = set_cell_size(strip_line(text), min(left, cell_len(strip_line(text))))
            style = self._style(tone)
            parts.append(Segment(piece, style + Style(bold=True) if here and number == 0 else style))
            left -= cell_len(piece)
        parts.append(Segment(" " * max(0, left), base))
        for column in range(self._first, last):
            text, tone = row.cells[column]
            style = self._style(tone)
            lit = here and column == self._column and self.has_focus
            parts.append(Segment(_right(strip_line(text), self._width), style + over if lit else style))
        return Strip(parts).extend_cell_length(width, base).crop(0, width)


def _right(text: str, width: int) -> str:
    return set_cell_size(" " * max(0, width - 1 - cell_len(text)) + text, width - 1) + " "
