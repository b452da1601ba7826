"""Each source of figures in a thread of its own: one that hangs or is slow delays no other, and no line.

A reading that costs more than `SHARE` of the time between two is done less often, down to once in `LONGEST` seconds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

from tui.hardware.sample import Source

SHARE: Final = 0.02
"""Of a core, that one source may cost."""
LONGEST: Final = 60.0
"""Seconds between two readings of the dearest source."""
WAITING: Final = 0.1
"""What a second of waiting for an answer (of a driver, of another program) counts as, in seconds of work."""
FIRST: Final = 5.0
"""Seconds more for a first reading: a driver without its daemon takes seconds to wake up each card."""


class Lane:
    """One source.

    Args:
        name: As shown.
        read: Measures; gets what is wanted of `sample.WANTED`.
        every: Seconds between two readings at least.
        wanted: Measured only while one of these is wanted; empty: always.
        note: Why there is nothing, after a reading.
        label: Another name, after a reading; empty where there is none.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[frozenset[str]], Any],
        *,
        every: float = 0.0,
        wanted: frozenset[str] = frozenset(),
        note: Callable[[], str] = lambda: "",
        label: Callable[[], str] = lambda: "",
    ) -> None:
        self.name = name
        self.result: Any = None
        self.answered = False
        self._busy = False
        self._started = 0.0
        self._read = read
        self._note = note
        self._label = label
        self._every = every
        self._wanted = wanted
        self._last = float("-inf")
        self._costs: tuple[float, ...] = ()
        self._wall = 0.0
        self._trouble = ""
        self._orders: SimpleQueue[tuple[frozenset[str], Callable[[], None]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def wanted(self, names: frozenset[str]) -> bool:
        """Whether anybody shows it."""
        return not self._wanted or bool(self._wanted & names)

    def drop(self) -> None:
        """Nobody wants it any more: old figures are none, and the next wish is met at once."""
        self.result, self._last = None, float("-inf")

    def every(self, interval: float) -> float:
        """Seconds between two readings; what only one of two readings cost is chance."""
        dear = min(self._costs) / SHARE if len(self._costs) > 1 else 0.0
        return max(self._every, interval, min(LONGEST, dear))

    def due(self, now: float, interval: float) -> bool:
        """Whether it is time for another reading, and the last one has ended."""
        return not self._busy and now >= self._last + self.every(interval) - interval / 4

    def silent(self, now: float, interval: float) -> float:
        """Seconds that it should have answered before."""
        if not self._busy:
            return 0.0
        allowed = max(interval, 1.0, 2 * self._wall) + (0.0 if self.answered else FIRST)
        return max(0.0, now - self._started - allowed)

    def source(self, now: float, interval: float) -> Source:
        """How it does."""
        cost = self._costs[-1] if self._costs else 0.0
        every, silent = self.every(interval), self.silent(now, interval)
        return Source(self._label() or self.name, round(cost, 5), round(every, 2), round(silent, 1), self._trouble or self._note())

    def start(self, now: float, names: frozenset[str], done: Callable[[], None]) -> None:
        """Measure in its thread; `done` is called there."""
        self._started = self._last = now
        self._busy = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self._thread.start()
        self._orders.put((names, done))

    def forgive(self, seconds: float) -> None:
        """All of us were stopped for so long."""
        self._started += seconds

    def _work(self) -> None:
        while True:
            names, done = self._orders.get()
            wall, work = time.perf_counter(), time.thread_time()
            try:
                self.result, self._trouble = self._read(names), ""
            except BaseException:  # one that fails in a way nobody thought of (a library may even call `exit`) takes nothing with it
                self.result, self._trouble = None, "it cannot be measured"
            self._wall = time.perf_counter() - wall
            if self.answered:  # a first reading loads libraries
                self._costs = (*self._costs[-1:], max(time.thread_time() - work, self._wall * WAITING))
            self.answered, self._busy = True, False
            done()


class Lanes:
    """All sources; started together, and heard of when the last one that was started has answered.

    Args:
        lanes: The sources.
        interval: Seconds between two samples.
    """

    def __init__(self, lanes: tuple[Lane, ...], interval: float) -> None:
        self._lanes = lanes
        self._interval = interval
        self._open: set[Lane] = set()
        self._lock = threading.Lock()
        self.heard, self._tell = os.pipe()
        """Readable when all have answered."""
        os.set_blocking(self._tell, False)

    def start(self, now: float, names: frozenset[str]) -> None:
        """Let every source measure that is due and wanted."""
        ready = [lane for lane in self._lanes if lane.wanted(names) and lane.due(now, self._interval)]
        with self._lock:
            self._open = set(ready)  # one that hangs is waited for once
        for lane in ready:
            lane.start(now, names, partial(self._answered, lane))
        for lane in self._lanes:
            if not lane.wanted(names):
                lane.drop()

    def forgive(self, seconds: float) -> None:
        """All of us were stopped for so long: nobody is late because of it."""
        for lane in self._lanes:
            lane.forgive(seconds)

    def told(self, now: float, names: frozenset[str]) -> tuple[Source, ...]:
        """How each source does that is wanted."""
        return tuple(lane.source(now, self._interval) for lane in self._lanes if lane.wanted(names))

    @property
    def waiting(self) -> bool:
        """Whether one of those that were started last has not answered."""
        return bool(self._open)

    def close(self) -> None:
        """Give the pipe back; threads that hang stay."""
        with self._lock:
            for end in (self.heard, self._tell):
                os.close(end)
            self._tell = -1

    def _answered(self, lane: Lane) -> None:
        with self._lock:
            if lane not in self._open:
                return
            self._open.remove(lane)
            if not self._open and self._tell >= 0:
                with contextlib.suppress(OSError):  # full: it was told already
                    os.write(self._tell, b".")
