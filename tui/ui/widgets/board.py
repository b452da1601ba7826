"""`Board`: lines of styled text put together by the screen, drawn as one widget that repaints only the lines that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.core.record import record
from tui.text import strip_line
from tui.ui.widgets.bars import own_style

Piece = tuple[str, str]
"""A piece of literal text and its tone; empty is the ordinary one."""
TONES = ("dim", "bold", "title", "graph", "bar", "other", "ok", "warn", "bad", "accent", "rule", "old")


@record(frozen=True)
class BoardLine:
    """A line.

    Attributes:
        pieces: Drawn one after the other.
        key: What enter opens; lines of one key belong together. Empty: the cursor does not stop here.
    """

    pieces: tuple[Piece, ...] = ()
    key: str = ""

    @property
    def text(self) -> str:
        """Without styles."""
        return "".join(text for text, _tone in self.pieces)


class Board(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines, and a cursor that goes from key to key; without keys the arrows scroll.

    Args:
        whole: The cursor colours its whole line, else the first piece of it.
    """

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "down", id="board.down", show=False, tooltip="Next line"),
        Binding("up,k", "move(-1)", "up", id="board.up", show=False, tooltip="Previous line"),
        Binding("home,g", "edge(-1)", "first", id="board.first", show=False, tooltip="First line"),
        Binding("end,G", "edge(1)", "last", id="board.last", show=False, tooltip="Last line"),
        Binding("pagedown", "page(1)", "page down", id="board.page_down", show=False, tooltip="A page down"),
        Binding("pageup", "page(-1)", "page up", id="board.page_up", show=False, tooltip="A page up"),
        Binding("enter", "open", "open", id="board.open", show=False, tooltip="Open what the cursor is on"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"board--cursor", *(f"board--{name}" for name in TONES)}
    DEFAULT_CSS = """
    Board {
        height: 1fr; overflow: hidden hidden; background: transparent;
        .board--cursor { color: $block-cursor-foreground; background: $block-cursor-background; text-style: $block-cursor-text-style; }
        .board--dim { color: $text-muted; }
        .board--bold { text-style: bold; }
        .board--title { color: $primary; text-style: bold; }
        .board--graph { color: $success; }
        .board--bar { color: $primary; }
        .board--other { color: $secondary; }
        .board--ok { color: $text-success; }
        .board--warn { color: $text-warning; text-style: bold; }
        .board--bad { color: $text-error; text-style: bold; }
        .board--accent { color: $text-accent; }
        .board--rule { color: $border; }
        .board--old { color: $text-disabled; }
        &:ansi .board--cursor { text-style: reverse; }
        &:ansi .board--dim { text-style: dim; }
        &:ansi .board--old { text-style: dim; }
    }
    """

    class Selected(Message):
        """Enter, or a click on what has the cursor already."""

        def __init__(self, board: Board, key: str) -> None:
            super().__init__()
            self.board, self.key = board, key

        @property
        def control(self) -> Widget:
            """The board."""
            return self.board

    def __init__(self, *, whole: bool = False, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._content: tuple[BoardLine, ...] = ()
        self._whole = whole
        self._cursor = ""
        self._styles: dict[str, Style] = {}

    # --- what stands in it --------------------------------------------------------------------------------------------

    @property
    def content(self) -> tuple[BoardLine, ...]:
        """The lines."""
        return self._content

    @property
    def cursor(self) -> str:
        """The key under the cursor; empty where there is none."""
        return self._cursor

    def keys(self) -> list[str]:
        """All keys, in their order."""
        return list(dict.fromkeys(line.key for line in self._content if line.key))

    def show(self, lines: Sequence[BoardLine]) -> None:
        """Show these lines; what differs in view is repainted."""
        old, self._content = self._content, tuple(lines)
        keys = self.keys()
        if self._cursor not in keys:
            self._cursor = keys[0] if keys else ""
        size = Size(0, max(1, len(self._content)))
        if size != self.virtual_size:
            self.set_reactive(Widget.virtual_size, size)
            if self.is_attached:
                self._scroll_update(size)
        if not self.is_attached or not self.size:
            return
        if len(old) != len(self._content):
            self.refresh()
            return
        top, height = self.scroll_offset.y, self.size.height
        pairs = zip(old[top : top + height], self._content[top : top + height], strict=True)
        changed = [y for y, (was, now) in enumerate(pairs) if was is not now and was != now]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def move_to(self, key: str) -> bool:
        """Put the cursor on a key; False where there is none."""
        if key not in self.keys():
            return False
        self._cursor = key
        self._show_cursor()
        self.refresh()
        return True

    def _show_cursor(self) -> None:
        rows = [index for index, line in enumerate(self._content) if line.key and line.key == self._cursor]
        height = self.size.height
        if not rows or height <= 0:
            return
        top = self.scroll_offset.y
        goal = min(max(top, rows[-1] - height + 1), rows[0])
        if self._cursor == self.keys()[0]:
            goal = 0
        if goal != top:
            self.scroll_to(y=goal, animate=False, force=True)

    # --- keys and mouse -----------------------------------------------------------------------------------------------

    @property
    def allow_vertical_scroll(self) -> bool:
        """Scrolls without a scrollbar."""
        return not self._check_disabled()

    def action_move(self, step: int) -> None:
        """To the next or previous key; a line where there are none."""
        keys = self.keys()
        if not keys:
            self.scroll_to(y=self.scroll_offset.y + step, animate=False, force=True)
            return
        at = keys.index(self._cursor) if self._cursor in keys else 0
        self.move_to(keys[max(0, min(len(keys) - 1, at + step))])

    def action_edge(self, step: int) -> None:
        """To the first or last."""
        keys = self.keys()
        if keys:
            self.move_to(keys[0 if step < 0 else -1])
        else:
            self.scroll_to(y=0 if step < 0 else self.max_scroll_y, animate=False, force=True)

    def action_page(self, step: int) -> None:
        """A page up or down."""
        for _line in range(max(1, self.size.height - 1)):
            self.action_move(step)

    def action_open(self) -> None:
        """Tell what was chosen."""
        if self._cursor:
            self.post_message(self.Selected(self, self._cursor))

    def on_click(self, event: events.Click) -> None:
        """The cursor to the line clicked; a second click opens it."""
        offset = event.get_content_offset(self)
        row = None if offset is None else self.scroll_offset.y + offset.y
        if row is None or row >= len(self._content) or not self._content[row].key:
            return
        event.stop()
        again = self._content[row].key == self._cursor and event.chain == 2
        self.move_to(self._content[row].key)
        if again:
            self.action_open()

    # --- drawing ------------------------------------------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Repaint after a scroll."""
        if round(old_value) != round(new_value):
            self.refresh()

    def on_resize(self) -> None:
        """Keep the cursor in view."""
        self._show_cursor()

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.refresh()

    def notify_style_update(self) -> None:
        """Draw in the new colours."""
        super().notify_style_update()
        self._styles = {}

    def _style(self, tone: str) -> Style:
        found = self._styles.get(tone)
        if found is None:
            known = tone in TONES
            found = self._styles[tone] = self.rich_style + (own_style(self, f"board--{tone}") if known else Style.null())
        return found

    def render_line(self, y: int) -> Strip:
        """A line (y from the widget's top)."""
        width, base = self.size.width, self._style("")
        row = self.scroll_offset.y + y
        if row >= len(self._content):
            return Strip.blank(width, base)
        line = self._content[row]
        lit = self.has_focus and bool(line.key) and line.key == self._cursor
        over = self.get_component_rich_style("board--cursor", partial=True) if lit else None
        segments: list[Segment] = []
        for index, (text, tone) in enumerate(line.pieces):
            style = self._style(tone)
            if over is not None and (self._whole or index == 0):
                style = self._style("") + over if self._whole else style + over
            segments.append(Segment(strip_line(text), style))
        rest = self._style("") + over if over is not None and self._whole else base
        return Strip(segments).extend_cell_length(width, rest).crop(0, width)


def joined(*parts: Any) -> tuple[Piece, ...]:
    """Pieces with two spaces between them; a bare text has the ordinary tone, an empty one is left out."""
    found: list[Piece] = []
    for part in parts:
        text, tone = part if isinstance(part, tuple) else (part, "")
        if text:
            if found:
                found.append(("  ", ""))
            found.append((text, tone))
    return tuple(found)
