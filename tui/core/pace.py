"""How fast a stream that cannot be slowed down may go: whole turns at full speed, and pauses between them.

Ollama offers no limit and does not slow down for a slow reader (Ollama reference, section 3.3): what closes the connection pauses the
download, and asking again goes on with it. Bytes are counted, also those that came while nobody looked, so what is too much in one turn is
paid for by the pause after it.
"""

from __future__ import annotations

from typing import Final

TURN: Final = 10.0
"""Seconds of allowance that a turn may spend: at 20 MB/s a turn is 200 MB."""
WORTH: Final = TURN / 2
"""Seconds of allowance that end a pause; it lasts as long at least, and a server needs about one to end a download that was left."""


class Pace:
    """Keeps bytes to a rate over minutes. Times are monotonic seconds given by the caller."""

    def __init__(self, now: float) -> None:
        self._limit: int | None = None
        self._at = now
        self._budget = 0.0
        self.paused = False

    def set_limit(self, limit: int | None, now: float) -> None:
        """Change the rate (bytes a second, None for none). A debt of the old one is forgiven where it would last longer."""
        if limit == self._limit:
            return
        self._gain(now)
        if limit is None:
            self._budget, self.paused = 0.0, False
        elif self._limit is None:
            self._budget = limit * TURN
        else:
            self._budget = min(limit * TURN, max(self._budget, -self._limit * 600.0) * limit / self._limit)
        self._limit = limit

    def spend(self, count: int, now: float) -> None:
        """Bytes came."""
        if self._limit is None:
            return
        self._gain(now)
        self._budget -= count
        if self._budget <= 0:
            self.paused = True

    def may_run(self, now: float) -> bool:
        """Whether bytes may flow; a pause ends when the next turn is worth its while."""
        if self._limit is None:
            return True
        self._gain(now)
        if self.paused and self._budget >= self._limit * WORTH:
            self.paused = False
        return not self.paused

    def _gain(self, now: float) -> None:
        if self._limit is not None:
            self._budget = min(self._limit * TURN, self._budget + self._limit * max(0.0, now - self._at))
        self._at = now
