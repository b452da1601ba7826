"""The figures of this machine over time: every sample of ten minutes, means of 10 s for two hours, of a minute for a day.

Memory is bounded by the number of series: eight bytes for each of 600 + 720 + 1440 places (at an interval of 0.5 s 600 more) of a figure,
so 8 GPUs and 128 cores take about 3 MB; whole samples are kept for `WHOLE` seconds only.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from tui.core.monitor import Points
from tui.hardware.sample import Gpu, Sample
from tui.hardware.series import CORE, Value, figures, rebuilt

FINE: Final = 600.0
"""Seconds for which single samples are kept."""
WHOLE: Final = 150.0
"""Seconds of them with everything that was measured; of the others the figures."""
COARSE: Final = ((10.0, 720), (60.0, 1440))
"""Step in seconds and number of the means that are kept longer."""
GPUS: Final = 64
"""GPUs that are remembered after they went."""
_NOTHING: Final = float("nan")


class Ring:
    """A fixed number of values a series, by bucket number (time divided by the step)."""

    def __init__(self, step: float, size: int) -> None:
        self.step, self.size = step, size
        self.newest = -1
        self._series: dict[str, array[float]] = {}
        self._gap = array("d", [_NOTHING]) * size
        self._looked = 0
        self._begun = 0

    @property
    def first(self) -> int:
        """Number of the oldest bucket that is kept."""
        return max(0, self.newest - self.size + 1)

    def put(self, number: int, values: Mapping[str, Value]) -> None:
        """Set a bucket. Those between it and the newest before are gaps; where time went back, what was to come is dropped."""
        if number != self.newest:
            self._move(number)
        self._set(number, values)

    def _set(self, number: int, values: Mapping[str, Value]) -> None:
        place = number % self.size
        series = self._series
        for name, value in values.items():
            if value is None:
                continue
            kept = series.get(name)
            if kept is None:
                kept = series[name] = self._gap[:]
            kept[place] = value

    def _move(self, number: int) -> None:
        before, self.newest = self.newest, number
        if abs(number - before) >= self.size or before < 0:
            self._series.clear()
            self._looked = self._begun = number
            return
        if number > before:
            self._clear(before + 1, number)
        else:
            self._clear(number + 1, before)
            self._looked, self._begun = min(self._looked, number), min(self._begun, number)
        if number - self._looked >= self.size:  # GPUs come and go
            self._looked = number
            self._series = {name: kept for name, kept in self._series.items() if any(value == value for value in kept)}

    def _clear(self, first: int, last: int) -> None:
        begin, count = first % self.size, last - first + 1
        head = min(count, self.size - begin)
        for kept in self._series.values():
            kept[begin : begin + head] = self._gap[:head]
            if head < count:
                kept[: count - head] = self._gap[: count - head]

    def get(self, name: str, first: int, last: int) -> list[Value]:
        """The values of these buckets; None outside of what is kept."""
        kept = self._series.get(name)
        low, high = max(first, self.first), min(last, self.newest)
        if kept is None or low > high:
            return [None] * max(0, last - first + 1)
        begin, count = low % self.size, high - low + 1
        part = kept[begin : begin + count]
        if len(part) < count:
            part += kept[: count - len(part)]
        found: list[Value] = [None if value != value else value for value in part]
        return [None] * (low - first) + found + [None] * (last - high)

    def bucket(self, number: int) -> dict[str, float]:
        """What is known of a bucket."""
        if not self.first <= number <= self.newest:
            return {}
        place = number % self.size
        return {name: kept[place] for name, kept in self._series.items() if kept[place] == kept[place]}

    def names(self) -> tuple[str, ...]:
        """All series."""
        return tuple(self._series)

    def oldest(self) -> int | None:
        """Number of the oldest bucket of which anything is known."""
        kept = self._series.values()
        for number in range(max(self._begun, self.first), self.newest + 1):
            place = number % self.size
            if any(values[place] == values[place] for values in kept):
                return number
        return None

    def below(self, earlier: Ring) -> None:
        """Take over what another ring of the same step knows of buckets of which this one knows nothing."""
        if earlier.newest < 0:
            return
        newest, oldest = self.newest, self.oldest()
        mine = {number: self.bucket(number) for number in range(oldest, newest + 1)} if oldest is not None else {}
        if earlier.newest > newest >= 0:  # of a time that has not come: the clock was wrong then
            earlier.put(newest, {})
        self._series, self.newest, self._looked, self._begun = earlier._series, earlier.newest, earlier.newest, earlier._begun
        if newest > self.newest:
            self.put(newest, {})
        for number, values in mine.items():
            if values and number >= self.first:
                self._begun = min(self._begun, number)
                self._set(number, values)


class History:
    """What was measured, for graphs and for walking back through time."""

    def __init__(self) -> None:
        self.interval = 1.0
        self._samples: deque[Sample] = deque()
        self._last: Sample | None = None
        self._gpus: dict[str, Gpu] = {}
        self._fine = Ring(1.0, int(FINE))
        self.coarse = tuple(Ring(step, size) for step, size in COARSE)
        self._sums: list[tuple[int, dict[str, list[float]]]] = [(-1, {}) for _ in COARSE]

    def add(self, sample: Sample, interval: float) -> None:
        """Take a new sample, made every `interval` seconds."""
        if interval != self.interval:
            self._rescale(interval)
        before = self._last
        while self._samples and self._samples[-1].time >= sample.time:  # the clock was set back
            self._samples.pop()
        self._samples.append(sample)
        self._last = sample
        while self._samples[0].time < sample.time - WHOLE:
            self._samples.popleft()
        for gpu in sample.gpus:
            self._gpus[gpu.uuid] = gpu
        while len(self._gpus) > GPUS:
            del self._gpus[next(iter(self._gpus))]
        values = figures(sample)
        number = int(sample.time / interval)
        if number == self._fine.newest + 2 and before is not None and sample.time - before.time < 1.5 * interval:
            self._fine.put(number - 1, values)  # samples come a little late or early: that is no gap
        self._fine.put(number, values)
        kept = {name: value for name, value in values.items() if value is not None and not name.startswith(CORE)}
        for index, ring in enumerate(self.coarse):
            self._mean(index, ring, int(sample.time / ring.step), kept)

    def _rescale(self, interval: float) -> None:
        """A graph has one scale: what was measured before is drawn on the new one."""
        before, self._fine = self._fine, Ring(interval, int(FINE / interval))
        self.interval = interval
        for number in range(before.oldest() or 0, before.newest + 1):
            if values := before.bucket(number):
                first = int(number * before.step / interval)
                last = max(first, int(((number + 1) * before.step - interval) / interval))
                for new in range(first, last + 1):
                    self._fine.put(new, values)

    def _mean(self, index: int, ring: Ring, number: int, values: Mapping[str, float]) -> None:
        at, sums = self._sums[index]
        if number != at:
            sums = {}
            self._sums[index] = (number, sums)
        means: dict[str, Value] = {}
        for name, value in values.items():
            known = sums.get(name)
            if known is None:
                sums[name] = [value, 1.0]
                means[name] = value
            else:
                known[0] += value
                known[1] += 1.0
                means[name] = known[0] / known[1]
        ring.put(number, means)

    def fill(self, earlier: Iterable[Ring]) -> None:
        """Take over means of before this program ran; what was measured meanwhile stands over them."""
        for ring, found in zip(self.coarse, earlier, strict=True):
            ring.below(found)
        self._fill_fine()

    def _fill_fine(self) -> None:
        """The last ten minutes, too: means of 10 s where no samples are."""
        source, fine = self.coarse[0], self._fine
        newest = fine.newest if fine.newest >= 0 else int((source.newest + 1) * source.step / fine.step) - 1
        measured = fine.oldest()
        earlier = Ring(fine.step, fine.size)
        for number in range(max(0, newest - fine.size + 1), newest + 1 if measured is None else measured):
            values = source.bucket(int(number * fine.step / source.step))
            if values:
                earlier.put(number, values)
        fine.below(earlier)

    def ring(self, seconds: float) -> Ring:
        """The finest one that reaches that far back."""
        rings = (self._fine, *self.coarse)
        return next((ring for ring in rings if ring.step * ring.size >= seconds), rings[-1])

    def points(self, name: str, seconds: float, until: float | None = None) -> Points:
        """The last `seconds` before `until` (epoch seconds; None: now), in the finest step that reaches that far."""
        back = 0.0 if until is None or self._last is None else max(0.0, self._last.time - until)
        ring = self.ring(seconds + back)
        newest = ring.newest if until is None else min(ring.newest, int(until / ring.step))
        count = max(1, round(seconds / ring.step))
        return Points(tuple(ring.get(name, newest - count + 1, newest)), ring.step, newest)

    def moment(self, at: float) -> Sample | None:
        """All figures of a moment (epoch seconds): of a sample, or means where it is longer ago; None where nothing was measured."""
        samples = self._samples
        index = bisect_right(samples, at, key=lambda sample: sample.time) - 1
        if index >= 0 and at - samples[index].time <= 2 * self.interval + 1:
            return samples[index]
        if self._last is None:
            return None
        for ring in (self._fine, *self.coarse):
            number = int(at / ring.step)
            if values := ring.bucket(number):
                return rebuilt(self._with_gone(self._last, values), number * ring.step, values)
        return None

    def _with_gone(self, last: Sample, values: Mapping[str, Value]) -> Sample:
        """With the GPUs that are not there any more and were then."""
        there = {gpu.uuid for gpu in last.gpus}
        known = {name.split(":")[1] for name in values if name.startswith("gpu:")}
        gone = [gpu for uuid, gpu in self._gpus.items() if uuid in known and uuid not in there]
        return replace(last, gpus=(*last.gpus, *gone)) if gone else last

    def oldest(self) -> float | None:
        """Epoch seconds of the first moment that is known."""
        found = [(number, ring.step) for ring in (self._fine, *self.coarse) if (number := ring.oldest()) is not None]
        return min((number * step for number, step in found), default=None)

    def samples(self) -> tuple[Sample, ...]:
        """Every whole sample that is kept."""
        return tuple(self._samples)
