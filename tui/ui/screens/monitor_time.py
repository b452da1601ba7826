"""Which moment the Monitor shows, and how much of the time before it: now, or frozen and walked back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tui.core.monitor import Points
from tui.hardware.sample import Sample
from tui.hardware.series import rebuilt
from tui.text import duration

if TYPE_CHECKING:
    from tui.services.api import MonitorApi

SPANS: Final = ((120.0, "2 min"), (600.0, "10 min"), (3600.0, "1 h"), (86_400.0, "24 h"))
"""Seconds across the graphs, and their name."""
_KEEP: Final = 0.25
"""Share of a step for which a long history is not read again."""


class Times:
    """The moment and the span.

    Attributes:
        at: Epoch seconds of the frozen moment; None: now.
    """

    def __init__(self, monitor: MonitorApi) -> None:
        self._monitor = monitor
        self._span = 0
        self.at: float | None = None
        self._kept: dict[str, tuple[float, Points]] = {}

    @property
    def span(self) -> float:
        """Seconds across a graph."""
        return SPANS[self._span][0]

    @property
    def span_name(self) -> str:
        """`2 min`."""
        return SPANS[self._span][1]

    def longer(self, step: int) -> None:
        """Another span."""
        self._span = max(0, min(len(SPANS) - 1, self._span + step))
        self._kept.clear()

    def freeze(self, newest: Sample | None) -> None:
        """Hold the newest moment, or go on."""
        self.at = newest.time if self.at is None and newest is not None else None
        self._kept.clear()

    def walk(self, dots: float, cells: int, newest: Sample) -> None:
        """Back (positive) or forth by dots of a graph of `cells` cells, two dots each; not beyond what is known."""
        if self.at is None:
            return
        oldest = self._monitor.oldest()
        goal = self.at - dots * self.span / max(1, 2 * cells)
        self.at = min(newest.time, max(goal, newest.time if oldest is None else oldest))
        self._kept.clear()

    def points(self, name: str) -> Points:
        """The history of a figure up to the moment; what changes slowly is read slowly."""
        now = time.monotonic()
        kept = self._kept.get(name)
        if kept is not None and now - kept[0] < (kept[1].step * _KEEP if kept[1].step > 5 else 0):
            return kept[1]
        points = self._monitor.points(name, self.span, self.at)
        self._kept[name] = (now, points)
        return points

    def sample(self, newest: Sample) -> Sample:
        """All figures of the moment; unknown where nothing was measured then."""
        if self.at is None:
            return newest
        return self._monitor.moment(self.at) or rebuilt(newest, self.at, {})

    def words(self, newest: Sample | None) -> str:
        """`frozen at 12:31:21, 14s ago`; empty while it goes on."""
        if self.at is None or newest is None:
            return ""
        ago = max(0.0, newest.time - self.at)
        known = "" if self._monitor.moment(self.at) is not None else ", nothing measured"
        return f"frozen at {time.strftime('%H:%M:%S', time.localtime(self.at))}, {duration(ago)} ago{known}"
