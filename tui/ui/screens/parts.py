"""Small parts that several screens share: a titled rule, clock times, and sums of bytes."""

from __future__ import annotations

import time
from typing import Final

from rich.cells import cell_len, set_cell_size
from textual import events

from tui.text import size
from tui.ui.frame import Line

_DAY: Final = 86_400.0


class Rule(Line):
    """A rule with a title: what separates a list from its detail."""

    def __init__(self, title: str = "", *, ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id, classes="rule")
        self._title, self._mark = title, "-" if ascii else "─"

    def set_title(self, title: str) -> None:
        """Change the title, cleaned text."""
        if title != self._title:
            self._title = title
            self.redraw()

    def on_mount(self) -> None:
        """Draw the first time."""
        self.redraw()

    def on_resize(self, event: events.Resize) -> None:
        """As long as the screen is wide."""
        self.redraw()

    def redraw(self) -> None:
        """Title and line."""
        width = self.size.width or 80
        title = self._title
        if cell_len(title) > width - 8:
            title = set_cell_size(title, width - 8)
        head = f" {self._mark * 2} "
        used = 4 + cell_len(title) + 1
        if not title:
            self.show((f" {self._mark * (width - 2)}", "$border"))
            return
        self.show((head, "$border"), (title, "bold $foreground"), (" " + self._mark * max(0, width - used - 1), "$border"))


def clock(at: float | None, now: float | None = None) -> str:
    """A time of day, `14:05`; with the weekday where it is more than twenty hours away. None is a dash."""
    if at is None:
        return "–"
    now = time.time() if now is None else now
    far = abs(at - now) > _DAY * 20 / 24
    return time.strftime("%a %H:%M" if far else "%H:%M", time.localtime(at))


def part_of(done: float, total: float | None, *, binary: bool = False) -> str:
    """`3.2 of 5.2 GB`: both figures in the unit of the total."""
    if not total:
        return size(done, binary=binary) if done else "–"
    whole = size(total, binary=binary)
    unit = whole.rsplit(" ", 1)[-1]
    base = 1024.0 if binary else 1000.0
    power = ("B", "kB", "MB", "GB", "TB", "PB").index(unit) if not binary else ("B", "KiB", "MiB", "GiB", "TiB", "PiB").index(unit)
    value = max(0.0, done) / base**power
    return f"{value:.1f} of {whole}" if value < 9.95 and power else f"{value:.0f} of {whole}"
