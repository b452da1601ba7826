"""The arithmetic of a pull: percent, speed and time left that do not jump (Ollama reference, section 3.8)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from tui.core.events import JobStep
from tui.core.jobs import Layer, Plan
from tui.core.pace import TURN
from tui.core.record import record

NOTICE: Final = 30.0
"""Seconds without a new byte until a pull is called stalled."""
RECONNECT: Final = 90.0
"""Seconds without a new byte until the stream should be closed and asked for again."""
HISTORY: Final = 240
"""Values of the speed graph kept; beyond, neighbours are merged."""

_SAMPLE: Final = 0.25
_SMOOTH: Final = 5.0
_GAP: Final = 10.0
_RATE_AFTER: Final = 1.0
_ETA_AFTER: Final = 3.0
_LARGEST: Final = 1 << 60
_ONE_COUNTER: Final = "sha256:model"
"""The digest that stands for all layers of a safetensors model (Ollama reference, section 3.1)."""
_PLANNED_CAP: Final = 99.4
"""Percent at most before the check, where the whole is known: it must not be rounded to 100."""
_CAP: Final = 99.0
_WINDOW: Final = 120.0
"""Seconds over which the rate of a pull that comes in bursts is measured."""
_CHECKING: Final = ("verifying", "writing manifest", "removing unused", "couldn't remove")


class Phase(StrEnum):
    """What the server does for a pull."""

    ASKING = "asking"  # the manifest is fetched
    FETCHING = "fetching"
    CHECKING = "checking"
    DONE = "done"


class Stall(StrEnum):
    """How long no byte came; measured in bytes, because lines keep coming."""

    NONE = ""
    NOTICE = "notice"
    RECONNECT = "reconnect"


@record(frozen=True)
class PullProgress:
    """A pull at one moment; the fields are those of `Job`.

    Attributes:
        fetched: Bytes that came over the line, all attempts together, in `busy` seconds.
        planned: The layers are those of the manifest.
        percent: 0 to 100, falling only where the server lost what it had; None while no total is known.
        eta: Seconds, rounded to 5 s below two minutes and to 30 s above; None while it would be a guess.
        silent: Seconds without a new byte, 0 outside fetching.
        step: Seconds that one value of `history` stands for.
        restarted: The server threw bytes away and fetches them again.
    """

    phase: Phase
    done: int
    fetched: int
    busy: float
    planned: bool
    total: int | None
    percent: float | None
    rate: float | None
    average: float | None
    peak: float | None
    eta: float | None
    layers: tuple[Layer, ...]
    history: tuple[float, ...]
    step: float
    silent: float
    stall: Stall
    restarted: bool


@dataclass(slots=True)
class _Blob:
    total: int = 0
    completed: int | None = None
    high: int = 0
    kind: str = ""


def whole(value: Any) -> int | None:
    """A byte count as sent by a server: None for anything that cannot be one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if value != value or not 0 <= value <= _LARGEST:
        return None
    return int(value)


class PullMeter:
    """Follows the lines of a pull; times are monotonic seconds given by the caller.

    Args:
        now: When it begins.
        fetched: Bytes that came before, in `busy` seconds, with `history` as their graph, a value each `step` seconds.
        layers: As an earlier worker left them.
    """

    def __init__(
        self,
        now: float,
        *,
        fetched: int = 0,
        busy: float = 0.0,
        history: Sequence[float] = (),
        step: float = 1.0,
        layers: Sequence[Layer] = (),
    ) -> None:
        self._history = list(history)
        self._width = step
        self._bucket_from = now
        self._bucket = 0
        self._seen = now
        self._fetched = fetched
        self._busy = busy
        self._peak: float | None = max(history, default=None)
        self._percent: float | None = None
        self._done = 0
        self._total = 0
        self._plan = Plan()
        self._last: dict[str, int] = {}
        self._held = {layer.digest: _Blob(layer.total, None, layer.completed, layer.kind) for layer in layers}
        self._measures = False
        self._lost_at = float("-inf")
        self._bursts: deque[tuple[float, int]] | None = None
        self._blobs: dict[str, _Blob] = {}
        self._start(now)

    @property
    def phase(self) -> Phase:
        """What the server does now, as far as its last line says."""
        return self._phase

    def expect(self, plan: Plan) -> None:
        """From the next attempt on, measure against the manifest of this plan."""
        self._plan = plan

    def forget(self) -> None:
        """The server threw away what it had: nothing of it counts any more."""
        self._held.clear()
        self._last.clear()
        self._blobs.clear()
        self._percent, self._done, self._total = None, 0, 0

    def in_bursts(self, on: bool, now: float) -> None:
        """The pull is paused and resumed to keep to a limit: its rate is measured over minutes, pauses included."""
        if on is (self._bursts is None):
            self._bursts = deque([(now, self._fetched)]) if on else None

    def _start(self, now: float) -> None:
        self._held |= {digest: replace(blob, completed=None) for digest, blob in self._blobs.items()}
        self._blobs = {}
        self._planned = False
        self._current = ""
        self._interleaved = False
        self._phase = Phase.ASKING
        self._grown_at = now
        self._sampled_at: float | None = None
        self._pending = 0
        self._smoothed = 0.0
        self._weight = 0.0
        self._measured = 0.0
        self._fresh = True

    def restart(self, now: float) -> None:
        """A new attempt begins; what was shown stays until the server reports bytes again."""
        self._start(now)

    def feed(self, step: JobStep, now: float) -> int:
        """Take one line of the stream; returns the bytes that came since the last one."""
        self._pass_time(now)
        before = self._fetched
        if step.digest:
            self._layer(step, whole(step.total), whole(step.completed), now)
        elif step.status == "success":
            self._close_all()
            self._phase = Phase.DONE
        elif step.status.startswith(_CHECKING):
            self._close_all()
            self._phase = Phase.CHECKING
            self._grown_at = now
        elif step.status and self._current:
            self._close(self._current)
        return self._fetched - before

    def _layer(self, step: JobStep, total: int | None, completed: int | None, now: float) -> None:
        if self._fresh:
            self._fresh = False
            self._lay_out()
        if step.digest not in self._blobs and self._planned:
            self._set_plan_aside(step.digest)
        if not step.status:
            self._interleaved = True  # the client2 protocol announces all layers, then moves them together
        if self._phase is not Phase.FETCHING or step.digest != self._current:
            self._grown_at = now
        self._phase = Phase.FETCHING
        if self._current not in ("", step.digest) and not self._interleaved:
            self._close(self._current)
        self._current = step.digest
        blob = self._blobs.setdefault(step.digest, _Blob())
        if total:
            blob.total = total
        if completed is None:
            return
        if blob.total:
            completed = min(completed, blob.total)
        before = blob.completed
        if before is None:
            self._begin_at(blob, completed, now)
            self._sampled_at = now  # resumed bytes are no speed
            # What came after we had left was fetched for us all the same.
            self._came(completed - self._last.get(step.digest, completed))
        else:
            self._pending += max(0, completed - before)
            self._came(completed - before)
            self._sampled_at = now if self._sampled_at is None else self._sampled_at
        if completed != before:
            self._grown_at = now
        blob.completed = self._last[step.digest] = completed
        blob.high = max(blob.high, completed)
        if blob.total and completed >= blob.total and not self._pending:
            self._sampled_at = None  # a full layer waits for the next one: that is no slowness
        self._sample(now)

    def _begin_at(self, blob: _Blob, completed: int, now: float) -> None:
        """The first count of a layer in this attempt is what the server has; less than it had means that it lost some."""
        if completed < blob.high - blob.high / 100:
            self._lost_at = now
            self._percent, self._done = None, 0
        blob.high = completed

    def _came(self, count: int) -> None:
        if count > 0:
            self._fetched += count
            self._bucket += count

    def _lay_out(self) -> None:
        """Begin with the manifest's layers, else with those that are known; what the server has counts."""
        there = self._plan.present or frozenset()
        for layer in self._plan.layers:
            had = min(layer.size, self._held[layer.digest].high) if layer.digest in self._held else 0
            self._blobs[layer.digest] = _Blob(layer.size, None, layer.size if layer.digest in there else had, layer.kind)
        self._planned = bool(self._blobs)
        if not self._planned:
            self._blobs = dict(self._held)
        elif not self._measures:
            self._percent, self._done = None, 0  # what was shown before was a guess
        self._measures, self._held = self._planned, {}

    def _set_plan_aside(self, digest: str) -> None:
        """The server fetches something else than the manifest names, or counts all layers as one."""
        weights = "weights" if digest == _ONE_COUNTER else ""
        self._blobs = {name: blob for name, blob in self._blobs.items() if blob.completed is not None}
        self._blobs[digest] = _Blob(kind=weights)
        self._planned = False

    def _close(self, digest: str) -> None:
        blob = self._blobs[digest]
        blob.high = max(blob.high, blob.total)
        blob.completed = blob.high

    def _close_all(self) -> None:
        if not self._planned:  # layers that only an earlier attempt named are none of this model
            self._blobs = {digest: blob for digest, blob in self._blobs.items() if blob.completed is not None}
        for digest in self._blobs:
            self._close(digest)
        self._current = ""
        self._sampled_at = None
        self._pending = 0

    def _sample(self, now: float) -> None:
        if self._sampled_at is None:
            return
        passed = now - self._sampled_at
        if passed < _SAMPLE:
            return
        bytes_, self._pending = self._pending, 0
        self._sampled_at = now
        self._busy += passed
        self._measured += passed
        share = 1 - math.exp(-passed / _SMOOTH)
        self._smoothed += (bytes_ / passed - self._smoothed) * share
        self._weight += (1 - self._weight) * share
        if self._measured >= _RATE_AFTER:
            self._peak = max(self._peak or 0.0, self._smoothed / self._weight)

    def _pass_time(self, now: float) -> None:
        gap = now - self._seen
        self._seen = now
        if gap > _GAP:
            # The program or the machine was stopped: nobody was slow meanwhile.
            self._grown_at += gap
            self._bucket_from += gap
            if self._sampled_at is not None:
                self._sampled_at = now
                self._pending = 0
        while now - self._bucket_from >= self._width:
            self._history.append(self._bucket / self._width)
            self._bucket = 0
            self._bucket_from += self._width
            if len(self._history) > HISTORY:
                pairs = zip(self._history[::2], self._history[1::2], strict=False)
                self._history = [(one + other) / 2 for one, other in pairs]
                self._width *= 2

    def progress(self, now: float) -> PullProgress:
        """The pull at this moment; to be asked for at least every few seconds."""
        self._pass_time(now)
        self._sample(now)
        if not self._fresh:
            self._total = sum(max(blob.total, blob.high) for blob in self._blobs.values())
            self._done = max(self._done, sum(blob.high for blob in self._blobs.values()))
        done = min(self._done, self._total)
        checking = self._phase in (Phase.CHECKING, Phase.DONE)
        if self._total and not self._fresh:
            cap = _PLANNED_CAP if self._planned else _CAP
            percent = 100.0 if checking else min(cap, 100.0 * done / self._total)
            self._percent = max(self._percent or 0.0, percent)
        elif self._phase is Phase.DONE:
            self._percent = 100.0
        fetching = self._phase is Phase.FETCHING and self._measured >= _RATE_AFTER
        rate = self._burst_rate(now) if self._bursts is not None else self._smoothed / self._weight if fetching else None
        silent = 0.0 if checking else now - self._grown_at
        return PullProgress(
            phase=self._phase,
            done=done,
            fetched=self._fetched,
            busy=self._busy,
            planned=self._planned,
            total=self._total or None,
            percent=self._percent,
            rate=rate,
            average=self._fetched / self._busy if self._busy >= _RATE_AFTER else None,
            peak=self._peak,
            eta=self._eta(self._total - done, rate),
            layers=tuple(Layer(digest, blob.total, blob.high, blob.kind) for digest, blob in self._blobs.items()),
            history=tuple(self._history),
            step=self._width,
            silent=silent,
            stall=Stall.RECONNECT if silent >= RECONNECT else Stall.NOTICE if silent >= NOTICE else Stall.NONE,
            restarted=now - self._lost_at < NOTICE
            or any(
                blob.completed is not None and blob.completed < blob.high - max(blob.total, blob.high) / 100
                for blob in self._blobs.values()
            ),
        )

    def _burst_rate(self, now: float) -> float | None:
        """Bytes a second over the last minutes, pauses included; shorter than a turn, one burst would stand for a speed."""
        assert self._bursts is not None
        if now - self._bursts[-1][0] >= 1.0:
            self._bursts.append((now, self._fetched))
        while len(self._bursts) > 2 and now - self._bursts[1][0] >= _WINDOW:
            self._bursts.popleft()
        since, before = self._bursts[0]
        return (self._fetched - before) / max(now - since, TURN) if now - since >= _ETA_AFTER else None

    def _eta(self, left: int, rate: float | None) -> float | None:
        if rate is None or rate < 1000 or left <= 0 or (self._measured < _ETA_AFTER and self._bursts is None):
            return None
        seconds = left / rate
        step = 5.0 if seconds < 120 else 30.0
        return max(step, math.ceil(seconds / step) * step)
