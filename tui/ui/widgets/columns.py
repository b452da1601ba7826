"""Columns of a `Rows` table: what a cell holds, and how the width of the screen is shared out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from rich.text import Text

from tui.core.record import record
from tui.ui.widgets.bars import Align

T = TypeVar("T")
GUTTER = 3
"""Cells before the first column: mark, state, space."""


@record(frozen=True)
class Cell:
    """Text of a cell, always drawn literally.

    Attributes:
        text: Cleaned text.
        tone: A meaning of `bars.TONES`; the theme gives it a colour.
        rest: Takes the place of this and all columns to the right (an error sentence).
    """

    text: str
    tone: str = ""
    rest: bool = False


Drawn = str | Text | Cell


@record(frozen=True)
class Column(Generic[T]):
    """One column.

    Attributes:
        key: Its name for sorting.
        title: Its heading.
        render: Item to cell; a `str` is drawn literally.
        width: Fixed cells; None shares what is left by `flex`, between `min` and `max`.
        sort_key: Item to something comparable or None (sorted last); no key, no sorting.
        descending: Sort from the largest (sizes, times).
        min_screen_width: The column appears where the table is at least this wide.
    """

    key: str
    title: str
    render: Callable[[T], Drawn]
    width: int | None = None
    min: int = 4
    max: int | None = None
    flex: int = 1
    align: Align = "left"
    sort_key: Callable[[T], Any] | None = None
    descending: bool = False
    min_screen_width: int = 0


@record(frozen=True)
class Placed(Generic[T]):
    """A column with its place: first cell and width."""

    column: Column[T]
    x: int
    width: int


def place(columns: Sequence[Column[T]], width: int, gap: int = 2, left: int = GUTTER) -> list[Placed[T]]:
    """Choose the columns for a table of `width` cells and share the width among them.

    Columns at the right fall away where even the least widths do not fit; the first one always stays.
    """
    shown = [column for column in columns if column.min_screen_width <= width]

    def least(column: Column[T]) -> int:
        return column.width if column.width is not None else column.min

    while len(shown) > 1 and left + sum(map(least, shown)) + gap * (len(shown) - 1) > width:
        shown.pop()
    widths = {column.key: least(column) for column in shown}
    spare = width - left - sum(widths.values()) - gap * max(0, len(shown) - 1)
    growing = [column for column in shown if column.width is None and column.flex > 0]
    while spare > 0 and growing:
        total = sum(column.flex for column in growing)
        given = 0
        for column in tuple(growing):
            share = min(spare - given, max(1, spare * column.flex // total))
            if column.max is not None:
                share = min(share, column.max - widths[column.key])
            if share <= 0:
                growing.remove(column)
                continue
            widths[column.key] += share
            given += share
        if not given:
            break
        spare -= given
    placed: list[Placed[T]] = []
    x = left
    for column in shown:
        cells = max(0, min(widths[column.key], width - x))
        placed.append(Placed(column, x, cells))
        x += cells + gap
    return placed
