"""Breaking lines of any length: an edit breaks anew what is near it, not the whole line (a pasted log may be one line of 200 KB)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import Final

from textual._wrap import compute_wrap_offsets
from textual.document._document import Location
from textual.document._wrapped_document import WrappedDocument

LONG_LINE: Final = 2000
"""Characters of a line above which it is worth while."""
_WINDOW: Final = 2000


def break_again(line: str, width: int, before: list[int], start: int, old_end: int, new_end: int) -> list[int]:
    """Where a line breaks after an edit, given where it broke before it.

    Args:
        line: The line as it is now, without tabs.
        width: Cells of a row.
        before: The breaks before the edit.
        start: Where the edit began.
        old_end: Where what it replaced ended.
        new_end: Where what it put there ends.
    """
    moved = new_end - old_end
    found = before[: max(0, bisect_left(before, start) - 2)]  # a shorter word may go back to the row before
    at, window = (found[-1] if found else 0), _WINDOW
    while True:
        breaks = [at + offset for offset in compute_wrap_offsets(line[at : at + window], width, 4)]
        if at + window >= len(line):
            return [*found, *breaks]
        if len(breaks) < 2:
            window *= 2
            continue
        for place in breaks[:-1]:  # the last one may stand there only because the text was cut
            found.append(place)
            old = place - moved
            if place > new_end and (index := bisect_left(before, old)) < len(before) and before[index] == old:
                return [*found, *(later + moved for later in before[bisect_right(before, old) :])]
        at, window = found[-1], _WINDOW


class LongLines(WrappedDocument):
    """As Textual's, in time for lines that are long."""

    @property
    def height(self) -> int:
        """Rows."""
        return len(self._offset_to_line_info)

    def get_sections(self, line_index: int) -> list[str]:
        """The rows of a line."""
        line = self.document.get_line(line_index)
        return [line[start:end] for start, end in pairwise((0, *self.get_offsets(line_index), len(line)))]

    def wrap_range(self, start: Location, old_end: Location, new_end: Location) -> None:
        """Break anew what an edit changed."""
        row = start[0]
        line = self.document.get_line(row) if row < self.document.line_count else ""
        if not (row == old_end[0] == new_end[0]) or not self._width or len(line) <= LONG_LINE or row >= len(self._wrap_offsets):
            super().wrap_range(start, old_end, new_end)
            return
        before = self._wrap_offsets[row]
        self._wrap_offsets[row] = break_again(line, self._width, before, start[1], old_end[1], new_end[1])
        if len(self._wrap_offsets[row]) != len(before):
            self._number_rows()

    def _number_rows(self) -> None:
        self._offset_to_line_info = [(row, part) for row, breaks in enumerate(self._wrap_offsets) for part in range(len(breaks) + 1)]
        self._line_index_to_offsets = []
        first = 0
        for breaks in self._wrap_offsets:
            self._line_index_to_offsets.append(list(range(first, first + len(breaks) + 1)))
            first += len(breaks) + 1
