"""Energy of an answer: power of the GPUs it ran on, integrated from sending to the end; nothing is told where anything is not known."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from tui.core.models import Location
from tui.core.monitor import Loaded
from tui.core.names import same

if TYPE_CHECKING:
    from tui.hardware.sample import Sample
    from tui.services.monitor.history import History
    from tui.services.monitor.host import MonitorHost

Power = tuple[float, float | None]
"""Epoch seconds, and watts."""
GAP: Final = 3.0
"""Intervals between two samples from which on nothing is known between them."""
PATIENCE: Final = 3.0
"""Intervals for which the sample after the end is waited for."""
STALE: Final = 60.0
"""Seconds after its end at which an answer that no sample followed is given up."""


def integrate(points: Sequence[Power], started: float, ended: float, interval: float) -> float | None:
    """Joules between two moments, by trapezoids; the power at both is taken from the samples around them.

    Args:
        points: Oldest first.
        started: Epoch seconds.
        ended: Epoch seconds.
        interval: Seconds from a sample to the next.

    Returns:
        None where the samples do not reach around both moments, have a gap, or lack a figure.
    """
    first = max((at for at, (time, _watts) in enumerate(points) if time <= started), default=None)
    last = next((at for at, (time, _watts) in enumerate(points) if time >= ended), None)
    if first is None or last is None or ended < started:
        return None
    joules = 0.0
    for (begin, low), (end, high) in zip(points[first:last], points[first + 1 : last + 1], strict=True):
        if not 0 <= end - begin <= GAP * interval or low is None or high is None:
            return None
        if end == begin:
            continue
        slope = (high - low) / (end - begin)
        left, right = max(begin, started), min(end, ended)
        joules += (right - left) * (low + slope * ((left + right) / 2 - begin))
    return joules


def cards_of(loaded: Loaded | None, sample: Sample | None) -> tuple[str, ...]:
    """Uuids of the GPUs a model is on; the only one where its server says that it is on a GPU; empty where that is not known."""
    if loaded is None or sample is None or loaded.model.vram == 0:
        return ()
    if loaded.cards:
        wanted = {int(number) for number in re.findall(r"\d+", loaded.cards)}
        found = tuple(gpu.uuid for gpu in sample.gpus if gpu.index in wanted)
        return found if len(found) == len(wanted) else ()
    return (sample.gpus[0].uuid,) if len(sample.gpus) == 1 and loaded.model.vram else ()


class Span:
    """One answer of ours on this machine; made by `Energy.begin`."""

    def __init__(self, energy: Energy, key: tuple[str, str], started: float, points: list[tuple[float, dict[str, float | None]]]) -> None:
        self.key = key
        self.points = points
        self.started = started
        self.ended: float | None = None
        self.cards: tuple[str, ...] = ()
        self.shared = False
        self.over = asyncio.Event()
        self._energy = energy

    def end(self, seconds: float) -> None:
        """The answer has ended, so many seconds after it was sent."""
        self._energy.end(self, seconds)

    async def joules(self) -> float | None:
        """Its energy; waits for the sample after its end."""
        return await self._energy.joules(self)


class Nothing:
    """Of an answer that is not measured."""

    def end(self, seconds: float) -> None:
        """Nothing to do."""

    async def joules(self) -> float | None:
        """Not known."""
        return None


class Energy:
    """Follows our answers on this machine while they are written.

    Args:
        loaded: What is loaded, as the monitor knows it.
    """

    def __init__(self, host: MonitorHost, history: History, loaded: Callable[[], Sequence[Loaded]]) -> None:
        self._host, self._history, self._loaded = host, history, loaded
        self._open: list[Span] = []
        self._awaited: list[Span] = []
        host.watching.running.watch(lambda _running: self._look())

    def begin(self, provider: str, model: str) -> Span | Nothing:
        """An answer is sent now."""
        if not self._is_here(provider):
            return Nothing()
        now = self._host.clock.time()
        span = Span(self, (provider, model), now, [_power(sample) for sample in self._history.samples()[-2:]])
        for other in self._open:
            other.shared = span.shared = True
        self._open.append(span)
        self._awaited = [one for one in self._awaited if one.ended is None or now - one.ended < STALE]
        self._awaited.append(span)
        return span

    def _is_here(self, provider: str) -> bool:
        state = self._host.watching.state(provider)
        return state is not None and state.location is Location.HERE

    def take(self, sample: Sample, _interval: float) -> None:
        """A new sample."""
        for span in self._awaited:
            span.points.append(_power(sample))
            if span.ended is not None and sample.time >= span.ended:
                span.over.set()
        self._awaited = [span for span in self._awaited if not span.over.is_set()]

    def _look(self) -> None:
        """A server that works for others at the same time: whose energy it is cannot be told."""
        if not self._open:
            return
        busy: dict[str, int] = {}
        for model in self._host.watching.running.value:
            if self._is_here(model.provider):
                busy[model.provider] = busy.get(model.provider, 0) + (model.busy_slots or 0) + (model.waiting or 0)
        for loaded in self._loaded():
            if loaded.here and loaded.running is not None:
                busy[loaded.model.provider] = max(busy.get(loaded.model.provider, 0), loaded.running + (loaded.waiting or 0))
        for span in self._open:
            ours = [other.key[0] for other in self._open]
            if any(count > ours.count(provider) for provider, count in busy.items()):
                span.shared = True

    def end(self, span: Span, seconds: float) -> None:
        """An answer has ended: see `Span.end`."""
        if span.ended is not None:
            return
        span.ended = span.started + seconds
        self._open.remove(span)
        span.cards = self._cards(*span.key)
        latest = self._history.samples()
        if latest and latest[-1].time >= span.ended:
            span.over.set()

    def _cards(self, provider: str, model: str) -> tuple[str, ...]:
        """Where it runs, for certain."""
        told = [*self._loaded(), *(Loaded(one, True) for one in self._host.watching.running.value)]
        found = next((one for one in told if one.model.provider == provider and same(one.model.key, model)), None)
        latest = self._history.samples()
        if found is None or not latest or (found.about and len(latest[-1].gpus) > 1):
            return ()
        return cards_of(found, latest[-1])

    async def joules(self, span: Span) -> float | None:
        """The energy of an ended one: see `Span.joules`."""
        if span.ended is None or span.shared:
            return None
        try:
            async with asyncio.timeout(PATIENCE * self._history.interval):
                await span.over.wait()
        except TimeoutError:
            return None
        cards = span.cards or self._cards(*span.key)  # what it was loaded for may be listed only now
        total = 0.0 if cards else None
        for card in cards:
            points = [(time, watts.get(card)) for time, watts in span.points]
            joules = integrate(points, span.started, span.ended, self._history.interval)
            if joules is None or total is None:
                return None
            total += joules
        return total


def _power(sample: Sample) -> tuple[float, dict[str, float | None]]:
    return sample.time, {gpu.uuid: gpu.power for gpu in sample.gpus}
