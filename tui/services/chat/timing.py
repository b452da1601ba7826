"""Where the time of one answer went, as we measure it: no server is believed here but for its count of tokens."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from tui.core.chat import Timeline
from tui.core.events import Metrics

STALL: Final = 2.0
"""Seconds of silence after the first token that count as a stall."""
BRIEF: Final = 1.0
"""Seconds of a load below which it was none: the list of what is in memory had been seconds old."""
SHORTEST: Final = 0.05
"""Seconds of writing below which a rate says nothing."""


class Stage(StrEnum):
    """What the server does, as far as can be seen; one follows another in this order, and only loading may come back."""

    WAITING = "waiting"
    LOADING = "loading"
    READING = "reading"
    WRITING = "writing"


class Stopwatch:
    """Adds up the stages of one answer. Times are monotonic seconds and never go back.

    The stages add up to the whole time; stalls are a part of writing.
    """

    def __init__(self, now: float) -> None:
        self.sent = now
        self.stage = Stage.WAITING
        self.since = now
        self.first_token: float | None = None
        self.last_token: float | None = None
        self.arrivals = 0
        self._bytes = 0
        self._first_thought: float | None = None
        self._first_text: float | None = None
        self._spent: dict[Stage, float] = {}
        self._gaps = 0.0
        self._ended: float | None = None

    # --- what is seen

    def in_memory(self, loaded: bool | None, now: float) -> None:
        """What the server says of the model before anything came; None: it does not say."""
        if self.first_token is not None:
            return
        if loaded is False and self.stage is not Stage.READING:
            self._enter(Stage.LOADING, now)
        elif loaded and self.stage is Stage.LOADING:
            if now - self.since < BRIEF:
                self.stage = Stage.WAITING  # the list was old: it had been loaded before
            else:
                self._enter(Stage.READING, now)

    def reading(self, now: float) -> None:
        """The first byte that is no token, or word of how far the prompt is read."""
        if self.first_token is None:
            self._enter(Stage.READING, now)

    def thought(self, now: float, text: str) -> None:
        """A piece of the thoughts came."""
        if self._first_thought is None:
            self._first_thought = now
        self.token(now, text)

    def text(self, now: float, text: str) -> None:
        """A piece of the answer came."""
        if self._first_text is None:
            self._first_text = now
        self.token(now, text)

    def token(self, now: float, text: str) -> None:
        """Something the model wrote came."""
        if self.first_token is None:
            self._enter(Stage.WRITING, now)
            self.first_token = now
        elif self.last_token is not None and now - self.last_token >= STALL:
            self._gaps += now - self.last_token
        self.last_token = now
        self.arrivals += 1
        self._bytes += len(text) * (1 if text.isascii() else 3)

    def end(self, now: float) -> None:
        """Nothing will come any more."""
        if self._ended is None:
            self._ended = now

    def _enter(self, stage: Stage, now: float) -> None:
        if stage is not self.stage:
            self._spent[self.stage] = self._spent.get(self.stage, 0.0) + now - self.since
            self.stage, self.since = stage, now

    # --- what it adds up to

    def timeline(self, now: float, metrics: Metrics) -> Timeline:
        """The figures up to now, or up to the end; `metrics` gives the count of tokens and nothing else."""
        now = now if self._ended is None else self._ended
        wrote = stalled = None
        if self.first_token is not None and self.last_token is not None:
            silent = now - self.last_token
            trailing = silent if silent >= STALL else 0.0
            wrote = self.last_token + trailing - self.first_token
            stalled = (self._gaps + trailing) or None
        rate, estimated = self._rate(metrics)
        return Timeline(
            waited=self._of(Stage.WAITING, now),
            loaded=self._of(Stage.LOADING, now),
            read=self._of(Stage.READING, now),
            wrote=wrote,
            stalled=stalled,
            first_token=None if self.first_token is None else self.first_token - self.sent,
            thought=self._thinking(now),
            rate=rate,
            rate_estimated=estimated,
        )

    def took(self, now: float) -> float:
        """Seconds from sending to the end, or until now."""
        return (now if self._ended is None else self._ended) - self.sent

    def _of(self, stage: Stage, now: float) -> float | None:
        spent = self._spent.get(stage)
        return (spent or 0.0) + now - self.since if stage is self.stage else spent or None

    def _thinking(self, now: float) -> float | None:
        if self._first_thought is None:
            return None
        until = self._first_text if self._first_text is not None else self.last_token if self._ended is not None else now
        return max(0.0, (until if until is not None else now) - self._first_thought)

    def _rate(self, metrics: Metrics) -> tuple[float | None, bool]:
        """Tokens a second while it wrote, silences left out; what came with the first piece was written before it."""
        if self.first_token is None or self.last_token is None or self.arrivals < 2:
            return None, False
        seconds = self.last_token - self.first_token - self._gaps
        if seconds < SHORTEST:
            return None, False
        told = metrics.output_tokens
        tokens = told if told is not None and self._covers(told) else self.arrivals
        return tokens * (1 - 1 / self.arrivals) / seconds, tokens is not told

    def _covers(self, told: int) -> bool:
        """Whether the server's count is of what came here.

        One that thought first and then began again counts the second part only (ollama-api 2.6); one that hides the thoughts
        counts them all the same.
        """
        most = max(self.arrivals, self._bytes / 1.5)
        return 0.8 * self.arrivals - 2 <= told <= 1.5 * most + 10
