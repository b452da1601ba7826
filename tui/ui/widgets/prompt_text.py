"""The text of a prompt: an editor that knows which characters were typed, and draws lines of any length."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.document._document import Document, EditResult, Location
from textual.document._document_navigator import DocumentNavigator
from textual.document._edit import Edit
from textual.strip import Strip
from textual.widgets import TextArea

from tui.text import clean_block
from tui.ui.widgets.long_lines import LONG_LINE, LongLines

TYPED: Final = "t"
LITERAL: Final = "p"
"""What was pasted, or came back from somewhere: it commands nothing and refers to no file (X21)."""
_ANY: Final = re.compile(r"[^\n]")


def marks_of(text: str, mark: str) -> str:
    """The marks of a text that was all typed, or all not."""
    return _ANY.sub(mark, text)


class _MarkedEdit(Edit):
    """An edit that changes the marks along with the text, and back."""

    def __init__(self, edit: Edit, text: str, marks: str) -> None:
        super().__init__(text, edit.from_location, edit.to_location, edit.maintain_selection_offset)
        self._marks, self._replaced = marks, ""

    def do(self, text_area: TextArea, record_selection: bool = True) -> EditResult:
        """See `Edit`."""
        assert isinstance(text_area, PromptText)
        top, bottom = self.top, self.bottom
        result = super().do(text_area, record_selection)
        self._replaced = text_area.marked.replace_range(top, bottom, self._marks).replaced_text
        return result

    def undo(self, text_area: TextArea) -> EditResult:
        """See `Edit`."""
        assert isinstance(text_area, PromptText)
        assert self._edit_result is not None
        end = self._edit_result.end_location
        result = super().undo(text_area)
        text_area.marked.replace_range(self.top, end, self._replaced)
        return result


class PromptText(TextArea):
    """Text with a mark for each character. All of it is cleaned where it enters."""

    marked: Document
    """The marks, line by line as the text."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        self.marked = Document("")
        self._entering = TYPED
        self.edited = False
        """The text was changed since it was loaded."""
        super().__init__(id=id, classes=classes, soft_wrap=True, tab_behavior="focus", show_line_numbers=False)
        self.cursor_blink = False
        self.match_cursor_bracket = False  # looking for the other bracket reads all of the text

    @property
    def marks(self) -> str:
        """As long as `text`: `TYPED` or `LITERAL` for each character."""
        return self.marked.text

    def is_typed(self, row: int, column: int) -> bool:
        """Whether this character was typed."""
        return self.marked.get_line(row)[column : column + 1] == TYPED

    @contextlib.contextmanager
    def entering(self, mark: str) -> Iterator[None]:
        """What is inserted meanwhile bears this mark."""
        before, self._entering = self._entering, mark
        try:
            yield
        finally:
            self._entering = before

    def edit(self, edit: Edit) -> EditResult:
        """See `TextArea`."""
        text = clean_block(edit.text)
        self.edited = True
        return super().edit(_MarkedEdit(edit, text, marks_of(text, self._entering)))

    def _set_document(self, text: str, language: str | None) -> None:
        text = clean_block(text)
        self.edited = False
        self.document = Document(text)
        self.marked = Document(marks_of(text, LITERAL))
        self.wrapped_document = LongLines(self.document, tab_width=self.indent_width)
        self.navigator = DocumentNavigator(self.wrapped_document)
        self._build_highlight_map()
        self.move_cursor((0, 0))
        self._rewrap_and_refresh_virtual_size()

    def load_marked(self, text: str, marks: str) -> None:
        """Put a text there, with the marks it had."""
        self.load_text(text)
        if len(marks) == len(text) == len(self.text):
            self.marked = Document(marks)

    def insert_literal(self, text: str) -> None:
        """Put a text in place of the selection as a paste does."""
        with self.entering(LITERAL):
            self._replace_via_keyboard(text, *self.selection)

    def action_paste(self) -> None:
        """What this program copied last, as a paste."""
        if not self.read_only:
            self.insert_literal(self.app.clipboard)

    def before_cursor(self) -> str:
        """The cursor's line up to the cursor."""
        row, column = self.cursor_location
        return self.document.get_line(row)[:column]

    def replace_typed(self, text: str, start: Location, end: Location) -> None:
        """Put a text there as if it were typed."""
        self._replace_via_keyboard(text, start, end)

    def _recompute_cursor_offset(self) -> None:
        """See `TextArea`, whose own fails where undoing took away the line the cursor was in."""
        row, column = self.cursor_location
        last = len(self.wrapped_document._wrap_offsets) - 1
        place = (row, column) if row <= last else (last, len(self.document.get_line(last)))
        self._cursor_offset = self.wrapped_document.location_to_offset(place)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _render_line(self, y: int) -> Strip:
        """See `TextArea`: its own takes time with the length of the whole line, for each part of it in view."""
        wrapped = self.wrapped_document
        offset = y + self.scroll_offset.y
        if offset >= len(wrapped._offset_to_line_info):
            return super()._render_line(y)
        row, section = wrapped._offset_to_line_info[offset]
        line = self.document.get_line(row)
        if len(line) <= LONG_LINE:
            return super()._render_line(y)
        ends = wrapped.get_offsets(row)
        start = ends[section - 1] if section else 0
        end = ends[section] if section < len(ends) else len(line) + 1
        return self._draw_part(row, f"{line} "[start:end] if end > len(line) else line[start:end], start)

    def _draw_part(self, row: int, text: str, start: int) -> Strip:
        theme = self._theme
        base = theme.base_style if theme and theme.base_style is not None else self.rich_style
        (top_row, top), (bottom_row, bottom) = sorted(self.selection)
        cursor_row, cursor = self.selection.end
        here = cursor_row == row and self.highlight_cursor_line and self._has_cursor
        plain = theme.cursor_line_style if theme and here else theme.base_style if theme else None
        cuts = {0, len(text)}
        chosen = range(0)
        if self.selection.start != self.selection.end and top_row <= row <= bottom_row:
            chosen = range(top if row == top_row else 0, bottom if row == bottom_row else start + len(text))
            cuts |= {chosen.start - start, chosen.stop - start}
        drawn_cursor = cursor if cursor_row == row and self._draw_cursor else -1
        cuts |= {drawn_cursor - start, drawn_cursor + 1 - start}
        places = sorted(cut for cut in cuts if 0 <= cut <= len(text))
        segments = []
        for left, right in pairwise(places):
            style: Style | None = plain
            if theme and start + left in chosen:
                style = (style or Style.null()) + (theme.selection_style or Style.null())
            if theme and start + left == drawn_cursor:
                style = (style or Style.null()) + (theme.cursor_style or Style.null())
            segments.append(Segment(text[left:right], style))
        width = self.scrollable_content_region.size.width
        return Strip(segments).extend_cell_length(width, plain).apply_style(base)
