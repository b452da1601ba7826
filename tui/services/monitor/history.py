"""The figures of this machine over time: every sample of ten minutes, means of 10 s for two hours, of a minute for a day."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from typing import Final

from tui.core.monitor import Points
from tui.hardware.sample import Sample
from tui.hardware.series import CORE, Value, figures, rebuilt

FINE: Final = 600.0
"""Seconds for which single samples are kept."""
COARSE: Final = ((10.0, 720), (60.0, 1440))
"""Step in seconds and number of the means that are kept longer."""
_NOTHING: Final = float("nan")


class Ring:
    """A fixed number of values a series, by bucket number (time divided by the step)."""

    def __init__(self, step: float, size: int) -> None:
        self.step, self.size = step, size
        self.newest = -1
        self._series: dict[str, array[float]] = {}
        self._since: dict[str, int] = {}

    def put(self, number: int, values: Mapping[str, Value]) -> None:
        """Set a bucket; buckets between it and the newest one before are gaps."""
        if self.newest >= 0 and number > self.newest:
            for gap in range(max(self.newest + 1, number - self.size + 1), number):
                self._clear(gap)
            self._clear(number)
        self.newest = max(self.newest, number)
        for name, value in values.items():
            if name not in self._series:
                self._series[name] = array("d", [_NOTHING]) * self.size
            self._series[name][number % self.size] = _NOTHING if value is None else value

    def _clear(self, number: int) -> None:
        for values in self._series.values():
            values[number % self.size] = _NOTHING

    def get(self, name: str, first: int, last: int) -> list[Value]:
        """The values of these buckets; None outside of what is kept."""
        values = self._series.get(name)
        found: list[Value] = []
        for number in range(first, last + 1):
            inside = values is not None and self.newest - self.size < number <= self.newest
            value = values[number % self.size] if inside and values is not None else _NOTHING
            found.append(None if math.isnan(value) else value)
        return found

    def names(self) -> tuple[str, ...]:
        """All series."""
        return tuple(self._series)


class History:
    """What was measured, for graphs and for walking back through time."""

    def __init__(self) -> None:
        self.interval = 1.0
        self._samples: deque[Sample] = deque()
        self._fine = Ring(1.0, int(FINE))
        self.coarse = tuple(Ring(step, size) for step, size in COARSE)
        self._sums: list[tuple[int, dict[str, tuple[float, int]]]] = [(-1, {}) for _ in COARSE]

    def add(self, sample: Sample, interval: float) -> None:
        """Take a new sample, made every `interval` seconds."""
        if interval != self.interval:  # a graph has one scale
            self.interval = interval
            self._fine = Ring(interval, int(FINE / interval))
        if self._samples and sample.time <= self._samples[-1].time:  # the clock was set back
            self._samples.clear()
        self._samples.append(sample)
        while self._samples[0].time < sample.time - FINE:
            self._samples.popleft()
        values = figures(sample)
        self._fine.put(int(sample.time / interval), values)
        kept = {name: value for name, value in values.items() if not name.startswith(CORE)}
        for index, ring in enumerate(self.coarse):
            self._mean(index, ring, int(sample.time / ring.step), kept)

    def _mean(self, index: int, ring: Ring, number: int, values: Mapping[str, Value]) -> None:
        at, sums = self._sums[index]
        if number != at:
            at, sums = number, {}
            self._sums[index] = (at, sums)
        for name, value in values.items():
            if value is not None:
                total, count = sums.get(name, (0.0, 0))
                sums[name] = (total + value, count + 1)
        ring.put(number, {name: total / count for name, (total, count) in sums.items()})

    def _ring(self, seconds: float) -> Ring:
        rings = (self._fine, *self.coarse)
        return next((ring for ring in rings if ring.step * ring.size >= seconds), rings[-1])

    def points(self, name: str, seconds: float, until: float | None = None) -> Points:
        """The last `seconds` before `until` (epoch seconds; None: now), in the finest step that reaches that far."""
        back = 0.0 if until is None or not self._samples else max(0.0, self._samples[-1].time - until)
        ring = self._ring(seconds + back)
        newest = ring.newest if until is None else min(ring.newest, int(until / ring.step))
        count = max(1, round(seconds / ring.step))
        return Points(tuple(ring.get(name, newest - count + 1, newest)), ring.step, newest)

    def moment(self, at: float) -> Sample | None:
        """All figures of a moment (epoch seconds): of a sample, or means where it is longer ago; None where nothing was measured."""
        samples = self._samples
        index = bisect_right(samples, at, key=lambda sample: sample.time) - 1
        if index >= 0 and at - samples[index].time <= 2 * self.interval + 1:
            return samples[index]
        if not samples:
            return None
        for ring in self.coarse:
            number = int(at / ring.step)
            values = {name: ring.get(name, number, number)[0] for name in ring.names()}
            if any(value is not None for value in values.values()):
                return rebuilt(samples[-1], number * ring.step, values)
        return None

    def oldest(self) -> float | None:
        """Epoch seconds of the first moment that is known."""
        for ring in reversed(self.coarse):
            for number in range(max(0, ring.newest - ring.size + 1), ring.newest + 1):
                if any(ring.get(name, number, number)[0] is not None for name in ring.names()):
                    return number * ring.step
        return None

    def samples(self) -> tuple[Sample, ...]:
        """Every sample of the last ten minutes."""
        return tuple(self._samples)
