"""Graphs of braille dots: two samples a cell, fixed bounds, newest at the right edge."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.core.clock import SYSTEM, Clock
from tui.ui.widgets.bars import uses_ascii

_LEFT: Final = (0x00, 0x40, 0x44, 0x46, 0x47)
_RIGHT: Final = (0x00, 0x80, 0xA0, 0xB0, 0xB8)
_ASCII: Final = " .:|#"
_CELLS: Final = tuple(tuple(chr(0x2800 | left | right) if left or right else " " for right in _RIGHT) for left in _LEFT)
"""A cell by the levels of its two dots."""
_ASCII_CELLS: Final = tuple(tuple(_ASCII[max(left, right)] for right in range(5)) for left in range(5))
Value = float | None


def _levels(values: Sequence[Value], count: int, lo: float, hi: float, steps: int) -> list[int]:
    """The last `count` values as 0 (no value) or 1 to `steps`; shorter series stand at the right."""
    span = hi - lo
    scale = steps / span if span > 0 else 0.0
    shown = values[-count:] if count else ()
    levels = [0] * (count - len(shown))
    for value in shown:
        if value is None or value != value:
            levels.append(0)
        elif span <= 0 or value <= lo:
            levels.append(1)
        elif value >= hi:
            levels.append(steps)
        else:
            levels.append(int((value - lo) * scale + 0.5) or 1)
    return levels


def braille_rows(values: Sequence[Value], width: int, height: int, lo: float, hi: float, ascii: bool = False) -> list[str]:
    """Draw values as `height` lines of `width` cells.

    Args:
        values: Samples, oldest first; None is a gap. Only the last 2 × width are drawn.
        width: Cells of a line.
        height: Lines, each of four levels.
        lo: Value of the bottom edge; a value there still shows its lowest dot.
        hi: Value of the top edge.
        ascii: Draw with `.:|#` instead.
    """
    if width <= 0 or height <= 0:
        return [""] * max(0, height)
    levels = _levels(values, width * 2, lo, hi, height * 4)
    pairs = list(zip(levels[::2], levels[1::2], strict=True))
    cells = _ASCII_CELLS if ascii else _CELLS
    rows: list[str] = []
    for below in range(4 * (height - 1), -1, -4):
        here = [min(4, max(0, level - below)) for level in range(4 * height + 1)]
        rows.append("".join([cells[here[left]][here[right]] for left, right in pairs]))
    return rows


def braille_line(values: Sequence[Value], width: int, lo: float, hi: float, ascii: bool = False) -> str:
    """`braille_rows` of height one, as the status bar needs it."""
    return braille_rows(values, width, 1, lo, hi, ascii)[0]


def round_bound(value: float) -> float:
    """The next of 1, 2, 5 × 10ⁿ that is not below the value."""
    if value <= 0 or value != value:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


class Graph(Widget):
    """A graph over time. `upper=None` lets the upper bound follow the data, at most once a second.

    Args:
        lower: Value of the bottom edge.
        upper: Value of the top edge, or None.
        keep: Samples kept by `append`.
        ascii: Draw without braille; None asks the app.
        clock: For the pace of a moving bound.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Graph { height: 1; width: 1fr; color: $primary; }
    """

    def __init__(
        self,
        values: Iterable[Value] = (),
        *,
        lower: float = 0.0,
        upper: float | None = 100.0,
        keep: int = 7200,
        ascii: bool | None = None,
        clock: Clock = SYSTEM,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._values: deque[Value] = deque(values, maxlen=keep)
        self._lower, self._fixed, self._clock, self._wish = lower, upper, clock, ascii
        self._bound = 1.0 if upper is None else upper
        self._moved_at = -1e9
        self._offset = 0
        self._frozen = False
        self._rows: list[str] = []

    @property
    def upper(self) -> float:
        """The upper bound as drawn."""
        return self._bound

    @property
    def offset_samples(self) -> int:
        """How many of the newest samples are not shown, because the graph is frozen or moved back."""
        return self._offset

    @property
    def frozen(self) -> bool:
        """New samples do not move the picture."""
        return self._frozen

    def append(self, value: Value) -> None:
        """Add the newest sample."""
        self._values.append(value)
        if self._frozen:
            self._offset = min(self._offset + 1, len(self._values))
        self._changed()

    def set_values(self, values: Iterable[Value], *, offset: int | None = None) -> None:
        """Replace all samples; `offset` newest ones are not shown (None leaves that as it is)."""
        self._values = deque(values, maxlen=self._values.maxlen)
        if offset is not None:
            self._offset = max(0, offset)
        self._changed()

    def freeze(self, on: bool) -> None:
        """Hold the picture, or show the newest samples again."""
        self._frozen = on
        if not on:
            self._offset = 0
        self._changed()

    def move_back(self, samples: int) -> None:
        """Show older (positive) or newer (negative) samples."""
        self._offset = max(0, min(self._offset + samples, max(0, len(self._values) - 1)))
        self._changed()

    def _shown(self) -> list[Value]:
        count = self.size.width * 2
        stop = len(self._values) - self._offset
        values = self._values
        return [values[index] for index in range(max(0, stop - count), max(0, stop))]

    def _draw(self) -> list[str]:
        shown = self._shown()
        if self._fixed is None:
            goal = round_bound(max((value for value in shown if value is not None and value == value), default=0.0))
            now = self._clock.monotonic()
            if goal != self._bound and now - self._moved_at >= 1.0:
                self._bound, self._moved_at = goal, now
        return braille_rows(shown, self.size.width, self.size.height, self._lower, self._bound, uses_ascii(self, self._wish))

    def _changed(self) -> None:
        """Repaint the lines that differ, no more."""
        if not self.is_attached or not self.size.width:
            return
        rows, old = self._draw(), self._rows
        self._rows = rows
        if len(rows) != len(old) or (rows and len(rows[0]) != len(old[0])):
            self.refresh()
            return
        for y, (new, was) in enumerate(zip(rows, old, strict=True)):
            if new != was:
                self.refresh(Region(0, y, self.size.width, 1))

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._changed()

    def render_line(self, y: int) -> Strip:
        """One line of the picture in one style."""
        width, style = self.size.width, self.rich_style
        if len(self._rows) != self.size.height or (self._rows and len(self._rows[0]) != width):
            self._rows = self._draw()
        return Strip([Segment(self._rows[y], style)], width) if y < len(self._rows) else Strip.blank(width, style)
