"""`Rows`: a table that is as fast with ten thousand rows as with ten.

One widget on the Line API: only the lines in view are ever rendered, and only lines that differ are repainted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.text import strip_line
from tui.ui.widgets.bars import TONES, check, fit, glyph, own_style, tone, uses_ascii
from tui.ui.widgets.columns import GUTTER, Cell, Column, Drawn, Placed, place
from tui.ui.widgets.rows_set import SAME, RowSet

__all__ = ["Cell", "Column", "Drawn", "Rows"]

T = TypeVar("T")


class Rows(ScrollView, Generic[T], can_focus=True, inherit_bindings=False):
    """A table over a sequence of items.

    Args:
        columns: The columns, left to right.
        key: The identity of an item: cursor and marks follow it when the data changes.
        state: The state of an item for its mark (see `bars.glyph`); None leaves the place empty.
        text: What the filter looks at; the rendered cells where not given.
        empty: What stands there while there are no items, and (with `{filter}`) while the filter hides all.
        header: Show the line of headings.
        gap: Cells between columns.
        markable: Whether space, v and A mark rows.
        ascii: Draw without Unicode graphics; None asks the app.
    """

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "down", id="rows.down", show=False, tooltip="Next row"),
        Binding("up,k", "move(-1)", "up", id="rows.up", show=False, tooltip="Previous row"),
        Binding("home,g", "first", "first", id="rows.first", show=False, tooltip="First row"),
        Binding("end,G", "last", "last", id="rows.last", show=False, tooltip="Last row"),
        Binding("pagedown", "page(1)", "page down", id="rows.page_down", show=False, tooltip="A page down"),
        Binding("pageup", "page(-1)", "page up", id="rows.page_up", show=False, tooltip="A page up"),
        Binding("enter", "open", "open", id="rows.open", show=False, tooltip="Open the row"),
        Binding("space", "mark", "mark", id="rows.mark", show=False, tooltip="Mark or unmark the row"),
        Binding("v", "range", "range", id="rows.range", show=False, tooltip="Mark a range: v, move, v"),
        Binding("A", "mark_all", "mark all", id="rows.mark_all", show=False, tooltip="Mark or unmark all rows shown"),
        Binding("s", "sort", "sort", id="rows.sort", show=False, tooltip="Sort by the next column"),
        Binding("n", "find(1)", "next", id="rows.find_next", show=False, tooltip="Next match"),
        Binding("N", "find(-1)", "previous", id="rows.find_previous", show=False, tooltip="Previous match"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--header",
        "rows--cursor",
        "rows--cursor-blurred",
        "rows--marked",
        "rows--empty",
        *(f"rows--{name}" for name in TONES),
    }
    DEFAULT_CSS = """
    Rows {
        height: 1fr; overflow: hidden hidden; background: transparent;
        .rows--header { color: $text-muted; text-style: bold; }
        .rows--cursor { color: $block-cursor-foreground; background: $block-cursor-background; text-style: $block-cursor-text-style; }
        .rows--cursor-blurred { background: $panel; }
        .rows--marked { color: $text-accent; text-style: bold; }
        .rows--empty { color: $text-muted; }
        .rows--ok { color: $text-success; }
        .rows--busy { color: $text-accent; }
        .rows--warn { color: $text-warning; }
        .rows--bad { color: $text-error; }
        .rows--dim { color: $text-muted; }
        .rows--accent { color: $text-accent; }
        .rows--bold { text-style: bold; }
        &:ansi .rows--cursor { text-style: reverse; }
        &:ansi .rows--cursor-blurred { text-style: underline; }
        &:ansi .rows--dim { text-style: dim; }
    }
    """

    class Highlighted(Message):
        """The cursor stands on another item (or on none)."""

        def __init__(self, rows: Rows[Any], item: Any | None) -> None:
            super().__init__()
            self.rows, self.item = rows, item

        @property
        def control(self) -> Widget:
            """The table."""
            return self.rows

    class Selected(Highlighted):
        """Enter or a double click on an item."""

    class Marked(Message):
        """The set of marked items changed."""

        def __init__(self, rows: Rows[Any]) -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> Widget:
            """The table."""
            return self.rows

    class Sorted(Marked):
        """The order changed: `rows.sorting` says how."""

    def __init__(
        self,
        columns: Sequence[Column[T]],
        *,
        key: Callable[[T], Hashable],
        state: Callable[[T], str] | None = None,
        text: Callable[[T], str] | None = None,
        empty: str = "",
        header: bool = True,
        gap: int = 2,
        markable: bool = True,
        ascii: bool | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._orders: tuple[Column[T], ...] = ()
        self._set = RowSet(key, text or self._cells)
        self._state = state
        self._empty, self._header, self._gap = empty, int(header), gap
        self._markable, self._wish = markable, ascii
        self._needle = ""
        self._sort: tuple[str, bool] | None = None
        self._placed: tuple[int, list[Placed[T]]] | None = None
        self._lines: list[Strip] | None = None
        self._drawn: dict[int, tuple[tuple[object, ...], Strip]] = {}
        self._drawn_before: dict[int, tuple[tuple[object, ...], Strip]] = {}
        self._said: Hashable | None = None

    # --- what stands in it ------------------------------------------------------------------------------------------

    @property
    def items(self) -> Sequence[T]:
        """All items, in the order given."""
        return self._set.items

    @property
    def shown(self) -> int:
        """How many items pass the filter."""
        return len(self._set.view)

    @property
    def shown_items(self) -> list[T]:
        """The items that pass the filter, in the order shown."""
        return [self._set.items[index] for index in self._set.view]

    @property
    def in_view(self) -> list[T]:
        """The items that are drawn now."""
        top = round(self.scroll_y)
        return [self._set.items[index] for index in self._set.view[top : top + self.size.height]]

    @property
    def total(self) -> int:
        """How many items there are."""
        return len(self._set.items)

    @property
    def row(self) -> int:
        """The cursor's row among those shown, from 0."""
        return self._set.row

    @property
    def highlighted(self) -> T | None:
        """The item under the cursor, or None."""
        return self._set.highlighted

    @property
    def filter_text(self) -> str:
        """The words that all shown rows hold."""
        return self._set.filter

    @property
    def sorting(self) -> tuple[str, bool] | None:
        """Key of the sorted column and whether it falls; None is the order given."""
        return self._sort

    def set_items(self, items: Iterable[T], renamed: Mapping[Hashable, Hashable] = SAME) -> None:
        """Show these items; cursor, marks and place follow the items they stood on, `renamed` ones from the old key to the new one."""
        lost = self._set.fill(items, renamed)
        self._rearranged()
        if lost:
            self.post_message(self.Marked(self))

    def update_item(self, item: T) -> bool:
        """Replace the item of the same key and repaint its line only; False where there is none. Order and filter stay."""
        found = self._set.replace(item)
        if found:
            self.redraw()
        return found

    def redraw(self) -> None:
        """Draw again what is in view and repaint the lines that differ (cells that show a moving time)."""
        if not self.is_attached or not self.size:
            return
        old, self._lines = self._lines, self._draw_all()
        if old is None or len(old) != len(self._lines):
            self.refresh()
            return
        changed = [y for y, (was, now) in enumerate(zip(old, self._lines, strict=True)) if was != now]
        if len(changed) * 2 > len(old):
            self.refresh()
        elif changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def set_columns(self, columns: Sequence[Column[T]], orders: Sequence[Column[T]] = ()) -> None:
        """Change the columns (another view of the same items); `orders` are further ones that `sort_by` may name."""
        self._columns, self._orders, self._placed = tuple(columns), tuple(orders), None
        self._set.forget_texts()
        self.redraw()

    def set_header(self, on: bool) -> None:
        """Show the line of headings, or not."""
        if self._header != int(on):
            self._header = int(on)
            self._rearranged()

    def set_empty(self, text: str) -> None:
        """What stands there while nothing is to be shown."""
        self._empty = text
        self.redraw()

    # --- filter, order, search --------------------------------------------------------------------------------------

    def set_filter(self, text: str, predicate: Callable[[T], bool] | None = None) -> None:
        """Show the rows that hold all words (upper and lower case alike) and that the predicate accepts."""
        self._set.narrow(text, predicate)
        self._rearranged()

    def sort_by(self, column: str | None, descending: bool | None = None) -> None:
        """Order by a column; None is the order given. Items without a value come last."""
        found = next((one for one in (*self._columns, *self._orders) if one.key == column and one.sort_key is not None), None)
        self._sort = None if found is None else (found.key, found.descending if descending is None else descending)
        self._set.order(None if found is None else found.sort_key, self._sort is not None and self._sort[1])
        self._rearranged()
        self.post_message(self.Sorted(self))

    def arrange_again(self) -> None:
        """What filter and order go by is different now."""
        self._set.arrange_again()
        self._rearranged()

    def find(self, text: str) -> bool:
        """Search without hiding rows: go to the first match from the cursor on; `n` and `N` go on."""
        self._needle = text.casefold()
        return bool(self._needle) and self._seek(self._set.row, 1)

    def _seek(self, start: int, step: int) -> bool:
        row = self._set.seek(self._needle, start, step)
        if row is not None:
            self.move_to(row)
        return row is not None

    def _cells(self, item: T) -> str:
        """The text of a row as drawn."""
        cells = (column.render(item) for column in self._columns)
        return " ".join(cell if isinstance(cell, str) else cell.plain if isinstance(cell, Text) else cell.text for cell in cells)

    def _rearranged(self) -> None:
        self._resized()
        self._tell()

    # --- cursor and marks -------------------------------------------------------------------------------------------

    def _cursor_key(self) -> Hashable | None:
        return self._set.cursor_key

    def move_to(self, row: int) -> None:
        """Put the cursor on a row (kept within the table) and bring it into view."""
        self._set.row = max(0, min(row, len(self._set.view) - 1))
        self._show_cursor()
        self.redraw()
        self._tell()

    def move_to_key(self, key: Hashable) -> bool:
        """Put the cursor on an item; False where it is not shown."""
        row = self._set.row_of(key)
        if row is not None:
            self.move_to(row)
        return row is not None

    def _tell(self) -> None:
        key = self._cursor_key()
        if key != self._said:
            self._said = key
            self.post_message(self.Highlighted(self, self.highlighted))

    @property
    def marks(self) -> frozenset[Hashable]:
        """Keys of the marked items, those hidden by the filter included."""
        return self._set.marks

    @property
    def marked_items(self) -> list[T]:
        """The marked items in the order given, those hidden by the filter included."""
        return self._set.marked_items

    @property
    def marked_hidden(self) -> int:
        """How many marked items the filter hides."""
        return self._set.marked_hidden

    @property
    def chosen(self) -> list[T]:
        """What a verb acts on: the marked items, else the one under the cursor."""
        return self.marked_items or ([] if self.highlighted is None else [self.highlighted])

    def clear_marks(self) -> bool:
        """Unmark everything; False where nothing was marked."""
        had = self._set.clear_marks()
        if had:
            self._marked()
        return had

    def step_back(self) -> bool:
        """One step of esc: end the range, then the filter, then the marks; False where there was nothing to undo."""
        if self._set.anchor is not None:
            self._set.anchor = None
            self._marked()
            return True
        if self._set.filter or self._set.predicate is not None:
            self.set_filter("")
            return True
        return self.clear_marks()

    def _marked(self) -> None:
        self.redraw()
        self.post_message(self.Marked(self))

    # --- keys and mouse ---------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What cannot be marked has no keys for it."""
        return self._markable or action not in ("mark", "range", "mark_all")

    def action_move(self, step: int) -> None:
        """A row up or down."""
        self.move_to(self._set.row + step)

    def action_first(self) -> None:
        """To the first row."""
        self.move_to(0)

    def action_last(self) -> None:
        """To the last row."""
        self.move_to(len(self._set.view) - 1)

    def action_page(self, step: int) -> None:
        """A page up or down."""
        self.move_to(self._set.row + step * max(1, self.size.height - self._header - 1))

    def action_open(self) -> None:
        """Tell that the row was chosen."""
        if self.highlighted is not None:
            self.post_message(self.Selected(self, self.highlighted))

    def action_mark(self) -> None:
        """Mark or unmark the row and go on to the next; ends a range."""
        if not self._markable or self.highlighted is None:
            return
        if self._set.anchor is not None:
            self.action_range()
            return
        self._set.mark()
        self._marked()
        self.move_to(self._set.row + 1)

    def action_range(self) -> None:
        """Begin a range, or mark all of it."""
        if self._markable and self.highlighted is not None:
            self._set.mark_range()
            self._marked()

    def action_mark_all(self) -> None:
        """Mark all rows shown, or unmark them where all are marked."""
        if self._markable:
            self._set.mark_all()
            self._marked()

    def action_sort(self) -> None:
        """Sort by the next column that can be sorted; after the last one the order given."""
        names = [one.column.key for one in self._places(self.size.width) if one.column.sort_key is not None]
        at = names.index(self._sort[0]) if self._sort is not None and self._sort[0] in names else -1
        self.sort_by(names[at + 1] if at + 1 < len(names) else None)

    def action_find(self, step: int) -> None:
        """To the next or previous match of the search; every row of a filtered table is one."""
        if not self._set.view:
            return
        if self._needle:
            self._seek(self._set.row + step, step)
        else:
            self.move_to((self._set.row + step) % len(self._set.view))

    def on_click(self, event: events.Click) -> None:
        """Cursor to the row clicked; a double click opens it; a heading sorts."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        event.stop()
        row = self.scroll_offset.y + offset.y - self._header
        if offset.y < self._header:
            self._sort_at(offset.x)
        elif row < len(self._set.view):
            self.move_to(row)
            if event.chain == 2:
                self.action_open()

    def _sort_at(self, x: int) -> None:
        for one in self._places(self.size.width):
            if one.x <= x < one.x + one.width and one.column.sort_key is not None:
                again = self._sort is not None and self._sort[0] == one.column.key
                self.sort_by(one.column.key, not self._sort[1] if again and self._sort is not None else None)

    # --- drawing ----------------------------------------------------------------------------------------------------

    @property
    def allow_vertical_scroll(self) -> bool:
        """Scrolls without a scrollbar."""
        return not self._check_disabled()

    def _resized(self) -> None:
        """Take the number of rows as the scrollable height, without a relayout unless the height follows it."""
        size = Size(0, max(1, len(self._set.view)) + self._header)
        if size != self.virtual_size:
            if self.styles.is_auto_height:
                self.virtual_size = size
            else:
                self.set_reactive(Widget.virtual_size, size)
            if self.is_attached:
                self._scroll_update(size)
        self._show_cursor()
        self.redraw()

    def _show_cursor(self) -> None:
        height = self.size.height - self._header
        if height <= 0:
            return
        top = self.scroll_offset.y
        goal = min(max(top, self._set.row - height + 1), self._set.row)
        if goal != top:
            self.scroll_to(y=goal, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Repaint what differs after a scroll."""
        if round(old_value) != round(new_value):
            if self.show_vertical_scrollbar:
                self.vertical_scrollbar.position = new_value
            self.redraw()

    def on_resize(self) -> None:
        """Share out the new width."""
        self._lines = None
        self._show_cursor()
        self.redraw()

    def on_focus(self) -> None:
        """Show the cursor as one that moves."""
        self.redraw()

    def on_blur(self) -> None:
        """Show the cursor as one that rests."""
        self.redraw()

    def notify_style_update(self) -> None:
        """Draw in the new colours."""
        super().notify_style_update()
        self._lines, self._drawn = None, {}

    def render_line(self, y: int) -> Strip:
        """A line of the table (y from the widget's top)."""
        if self._lines is None or len(self._lines) != self.size.height:
            self._lines = self._draw_all()
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    def _places(self, width: int) -> list[Placed[T]]:
        if self._placed is None or self._placed[0] != width:
            self._placed = (width, place(self._columns, width, self._gap))
        return self._placed[1]

    def _style(self, name: str) -> Style:
        return own_style(self, f"rows--{name}") if name in TONES else Style.null()

    def _draw_all(self) -> list[Strip]:
        """What is in view; style, size and place are asked for once, because each costs as much as a row."""
        size, top = self.size, self.scroll_offset.y
        base = self.rich_style
        self._drawn_before, self._drawn = self._drawn, {}
        return [self._draw(y, top, size.width, base) for y in range(size.height)]

    def _draw(self, y: int, top: int, width: int, base: Style) -> Strip:
        if y < self._header:
            return self._draw_header(width, base)
        row = top + y - self._header
        if row < len(self._set.view):
            return self._draw_row(self._set.items[self._set.view[row]], row, width, base)
        if not self._set.view and y == self._header and (self._empty or self._set.items):
            text = "nothing matches the filter; esc clears it" if self._set.items else self._empty
            style = base + own_style(self, "rows--empty")
            return Strip([Segment(fit(" " * GUTTER + strip_line(text), width), style)], width)
        return Strip.blank(width, base)

    def _draw_header(self, width: int, base: Style) -> Strip:
        style = base + own_style(self, "rows--header")
        ascii = uses_ascii(self, self._wish)
        up, down = ("^", "v") if ascii else ("▴", "▾")
        line, x = "", 0
        for one in self._places(width):
            title = one.column.title
            if self._sort is not None and self._sort[0] == one.column.key:
                title += down if self._sort[1] else up
            line += " " * (one.x - x) + fit(title, one.width, one.column.align, ascii)
            x = one.x + one.width
        return Strip([Segment(line + " " * (width - x), style)], width).crop(0, width)

    def _draw_row(self, item: T, row: int, width: int, base: Style) -> Strip:
        """A line; the strip of the last drawing where nothing in it is different."""
        cells: list[Drawn] = []
        for one in self._places(width):
            cells.append(one.column.render(item))
            if isinstance(cells[-1], Cell) and cells[-1].rest:
                break
        state = self._state(item) if self._state is not None else ""
        looks = (width, base, cells, state, self._set.is_marked(row), row == self._set.row, self.has_focus, uses_ascii(self, self._wish))
        before = self._drawn_before.get(row)
        strip = before[1] if before is not None and before[0] == looks else self._draw_cells(cells, row, state, width, base)
        self._drawn[row] = (looks, strip)
        return strip

    def _draw_cells(self, drawn_cells: Sequence[Drawn], row: int, state: str, width: int, base: Style) -> Strip:
        ascii = uses_ascii(self, self._wish)
        over: Style | None = None
        if row == self._set.row:
            over = self.get_component_rich_style("rows--cursor" if self.has_focus else "rows--cursor-blurred", partial=True)
            base = base + over
        marked = self._set.is_marked(row)
        mark_style = base + self.get_component_rich_style("rows--marked", partial=True) if marked and over is None else base
        segments = [
            Segment(check(ascii) if marked else " ", mark_style),
            Segment(glyph(state, ascii) + " ", base if over is not None and self.has_focus else base + self._style(tone(state))),
        ]
        x = GUTTER
        for one, drawn in zip(self._places(width), drawn_cells, strict=False):
            if one.x > x:
                segments.append(Segment(" " * (one.x - x), base))
            rest = isinstance(drawn, Cell) and drawn.rest
            cells = width - one.x if rest else one.width
            segments.extend(self._draw_cell(drawn, cells, one.column, base, ascii, plain=over is not None and self.has_focus))
            x = one.x + cells
            if rest:
                break
        if x < width:
            segments.append(Segment(" " * (width - x), base))
        return Strip(segments, max(x, width)).crop(0, width)

    def _draw_cell(self, drawn: Drawn, width: int, column: Column[T], base: Style, ascii: bool, *, plain: bool) -> Iterable[Segment]:
        """Segments of exactly `width` cells; under the cursor of a focused table in one colour."""
        if isinstance(drawn, Text) and not plain:
            text = drawn.copy() if strip_line(drawn.plain) == drawn.plain else Text(strip_line(drawn.plain))
            text.truncate(width, overflow="crop" if ascii else "ellipsis")
            text.align("left" if column.align == "left" else "right", width)
            text.end = ""
            return [Segment(one.text, base + (one.style or Style.null())) for one in text.render(self.app.console)]
        words = drawn.plain if isinstance(drawn, Text) else drawn.text if isinstance(drawn, Cell) else drawn
        style = base + self._style(drawn.tone) if isinstance(drawn, Cell) and drawn.tone and not plain else base
        return [Segment(fit(strip_line(words), width, "left" if isinstance(drawn, Cell) and drawn.rest else column.align, ascii), style)]
