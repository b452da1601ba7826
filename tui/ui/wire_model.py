"""The cells the terminal shows, the cells it should show, and the fewest bytes from one to the other."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from tui.ui.wire_cells import CONTINUED, parse_payload, uncertain
from tui.ui.wire_style import DEFAULT, CellStyle, change, erasable

_ADDRESS: Final = re.compile(r"\x1b\[(\d*)(?:;(\d*))?H")
_MERGED_GAP: Final = 4
_SCROLL_SAVES: Final = 30
_ROWS_WORTH_A_SCROLL: Final = 3


class _Row:
    """One line: a character (or cluster) and a style for every column; None is a column nothing is known of."""

    __slots__ = ("chars", "styles")

    def __init__(self, width: int, char: str | None = None) -> None:
        self.chars: list[str | None] = [char] * width
        self.styles: list[CellStyle] = [DEFAULT] * width

    def same(self, other: _Row) -> bool:
        return self.chars == other.chars and self.styles == other.styles

    def put(self, column: int, chars: list[str], styles: list[CellStyle]) -> None:
        """Write cells; characters cut in half, old ones and new, become blanks."""
        end = min(column + len(chars), len(self.chars))
        if end <= column:
            return
        self._mend(column)
        self._mend(end)
        self.chars[column:end] = chars[: end - column]
        self.styles[column:end] = styles[: end - column]
        if end - column < len(chars) and chars[end - column] == CONTINUED:
            self._blank_back(end - 1)

    def _mend(self, column: int) -> None:
        """Blank the character that a cut before this column goes through."""
        if column >= len(self.chars) or self.chars[column] != CONTINUED:
            return
        self._blank_back(column - 1)
        while column < len(self.chars) and self.chars[column] == CONTINUED:
            self.chars[column] = " "
            column += 1

    def _blank_back(self, column: int) -> None:
        while column >= 0 and self.chars[column] == CONTINUED:
            self.chars[column] = " "
            column -= 1
        if column >= 0:
            self.chars[column] = " "


class WireModel:
    """A terminal's screen as two grids, shown and goal.

    Args:
        width: Columns.
        height: Lines.
        bce: The terminal erases with the background colour in force.
    """

    def __init__(self, width: int, height: int, *, bce: bool = False) -> None:
        self.bce = bce
        self.width = self.height = 0
        self._goal: list[_Row] = []
        self._shown: list[_Row] = []
        self._changed: set[int] = set()
        self._pen: CellStyle | None = None
        self._at: tuple[int, int] | None = None
        self._cursor: tuple[int, int] | None = None
        self._placed: tuple[int, int] | None = None
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Take another size; what is on screen is not known any more."""
        kept = self._goal
        self._goal = [_Row(width) for _ in range(height)]
        for old, new in zip(kept, self._goal, strict=False):
            known = old.chars[:width]
            new.chars[: len(known)] = known
            new.styles[: len(known)] = old.styles[:width]
            if width < len(old.chars) and old.chars[width] == CONTINUED:
                new._blank_back(width - 1)
        self.width, self.height = width, height
        self.invalidate()

    def invalidate(self) -> None:
        """Forget what the terminal shows: everything is sent again."""
        self._shown = [_Row(self.width) for _ in range(self.height)]
        self._changed = set(range(self.height))
        self._pen = self._at = self._placed = None

    def frame(self, data: str) -> None:
        """Take a frame into the goal: cursor addresses, each followed by text and SGR."""
        pieces = _ADDRESS.split(data)
        for index in range(1, len(pieces), 3):
            row, column, payload = int(pieces[index] or 1) - 1, int(pieces[index + 1] or 1) - 1, pieces[index + 2]
            self._cursor = (row, column)
            if payload and 0 <= row < self.height and 0 <= column < self.width:
                self._goal[row].put(column, *parse_payload(payload))
                self._changed.add(row)

    def difference(self) -> str:
        """What to write so that the terminal shows the goal; it is taken as shown from here on."""
        changed = sorted(row for row in self._changed if not self._goal[row].same(self._shown[row]))
        self._changed.clear()
        out: list[str] = []
        if len(changed) > _ROWS_WORTH_A_SCROLL:
            changed = self._scroll(changed, out)
        for row in changed:
            self._write_row(row, out)
            self._shown[row].chars[:] = self._goal[row].chars
            self._shown[row].styles[:] = self._goal[row].styles
        if self._cursor is not None and (out or self._cursor != self._placed):
            self._go(*self._cursor, out)
            self._placed = self._cursor
        return "".join(out)

    def _go(self, row: int, column: int, out: list[str]) -> None:
        if self._at != (row, column):
            if self._at is not None and self._at[0] == row and column > self._at[1]:
                step = column - self._at[1]
                out.append("\x1b[C" if step == 1 else f"\x1b[{step}C")
            else:
                out.append(f"\x1b[{row + 1};{column + 1}H" if column else f"\x1b[{row + 1}H")
            self._at = (row, column)

    def _style(self, style: CellStyle, on_blank: bool, out: list[str]) -> None:
        sequence, self._pen = change(self._pen, style, on_blank)
        if sequence:
            out.append(sequence)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _write_row(self, row: int, out: list[str]) -> None:
        end = self._tail(row)
        for first, last in self._runs(row, end):
            self._write_run(row, first, last, out)
        if end < self.width:
            self._go(row, end, out)
            self._style(self._goal[row].styles[end], True, out)
            out.append("\x1b[K")

    def _tail(self, row: int) -> int:
        """Where an erase to the end of the line begins, or the width where none pays."""
        goal, shown = self._goal[row], self._shown[row]
        style = goal.styles[-1]
        start = self.width
        if erasable(style) and (self.bce or not style.bg):
            while start > 0 and goal.chars[start - 1] == " " and goal.styles[start - 1] == style:
                start -= 1
        while start < self.width and shown.chars[start] == " " and shown.styles[start] == style:
            start += 1
        return start if self.width - start > _MERGED_GAP else self.width

    def _runs(self, row: int, end: int) -> list[tuple[int, int]]:
        """Columns to write, as half-open spans; whole characters, and short gaps written over."""
        goal, shown = self._goal[row], self._shown[row]
        chars, styles, old_chars, old_styles = goal.chars, goal.styles, shown.chars, shown.styles
        runs: list[tuple[int, int]] = []
        column = 0
        while column < end:
            char = chars[column]
            if char is None or (char == old_chars[column] and styles[column] == old_styles[column]):
                column += 1
                continue
            first = column
            while chars[first] == CONTINUED and first > 0:
                first -= 1
            char = chars[first] or " "
            column = first + 1
            while column < end and chars[column] == CONTINUED:
                column += 1
            if runs and first - runs[-1][1] <= _MERGED_GAP and None not in chars[runs[-1][1] : first]:
                first = runs.pop()[0]
            runs.append((first, column))
            if column < end and uncertain(char):
                old_chars[column] = None  # the terminal may have drawn into it
        return runs

    def _write_run(self, row: int, first: int, last: int, out: list[str]) -> None:
        goal = self._goal[row]
        column = first
        while column < last:
            char = goal.chars[column] or " "
            style = goal.styles[column]
            width = 1
            while column + width < self.width and goal.chars[column + width] == CONTINUED:
                width += 1
            self._go(row, column, out)
            if uncertain(char):
                self._style(style, False, out)
                out.append(" " * width)
                self._at = None
                self._go(row, column, out)
                out.append(char)
                self._at = None
            else:
                self._style(style, char == " ", out)
                out.append(char)
                self._at = (row, column + width) if column + width < self.width else None
            column += width

    # --- scrolling ----------------------------------------------------------------------------------------------------

    def _scroll(self, changed: list[int], out: list[str]) -> list[int]:
        """Scroll the terminal where that saves enough; returns the rows that still differ."""
        found = self._shift(changed)
        if found is None:
            return changed
        shift, top, bottom = found
        height = bottom - top + 1
        moved = self._shown[top : bottom + 1]
        fresh = [_Row(self.width, " ") for _ in range(abs(shift))]
        moved = [*moved[shift:], *fresh] if shift > 0 else [*fresh, *moved[:shift]]
        rows = range(top, bottom + 1)
        before = sum(_unlike(self._shown[row], self._goal[row]) for row in rows)
        after = sum(_unlike(moved[row - top], self._goal[row]) for row in rows)
        if height <= abs(shift) or before - after <= _SCROLL_SAVES:
            return changed
        self._shown[top : bottom + 1] = moved
        self._style(DEFAULT, False, out)
        count = "" if abs(shift) == 1 else str(abs(shift))
        out.append(f"\x1b[{top + 1};{bottom + 1}r\x1b[{top + 1}H\x1b[{count}{'M' if shift > 0 else 'L'}\x1b[r")
        self._at = self._placed = None
        return [row for row in sorted({*changed, *rows}) if not self._goal[row].same(self._shown[row])]

    def _shift(self, changed: list[int]) -> tuple[int, int, int] | None:
        """Vote on how far rows moved (up is positive), by the left three quarters of each; and between which rows."""
        part = max(1, self.width * 3 // 4)
        places: dict[tuple[str | None, ...], list[int]] = {}
        for row in range(self.height):
            key = tuple(self._shown[row].chars[:part])
            places.setdefault(key, []).append(row)
        votes: Counter[int] = Counter()
        voters: dict[int, list[int]] = {}
        for row in changed:
            key = tuple(self._goal[row].chars[:part])
            if len(set(key)) < 3:
                continue
            for place in places.get(key, ())[:8]:
                if place != row:
                    votes[place - row] += 1
                    voters.setdefault(place - row, []).append(row)
        if not votes:
            return None
        shift = max(votes, key=lambda distance: (votes[distance], -abs(distance)))
        rows = voters[shift]
        return shift, min(rows[0], rows[0] + shift), max(rows[-1], rows[-1] + shift)


def _unlike(one: _Row, other: _Row) -> int:
    if one.same(other):
        return 0
    pairs = zip(one.chars, other.chars, one.styles, other.styles, strict=True)
    return sum(1 for char, wanted, style, wanted_style in pairs if char != wanted or style != wanted_style)
