"""The clock as an object, so that tests can hold it still."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one to measure with, one to write down."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def time(self) -> float:
        """See `Clock`."""
        return time.time()


class ManualClock:
    """A clock that moves when told to; for tests and simulations."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = 0.0
        self._start = start
        self.offset = 0.0

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._now

    def time(self) -> float:
        """See `Clock`; `offset` shifts it as a user who sets the clock does."""
        return self._start + self._now + self.offset

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


SYSTEM: Clock = SystemClock()
