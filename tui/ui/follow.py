"""How a screen follows a value: coalesced, only while shown, without a timer while nothing changes."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from tui.core.observe import Observable

T = TypeVar("T")


class Host(Protocol):
    """What a follower asks of its screen."""

    def can_draw(self) -> bool:
        """Whether drawing now is of any use."""
        ...

    def draw_failed(self, error: Exception) -> None:
        """An exception of a draw function."""
        ...


class Follower(Generic[T]):
    """One slot between the engine's thread and the screen.

    The engine's thread only marks; the newest value is drawn at once where the period has passed, else
    when it has. Values in between are never drawn.
    """

    def __init__(self, host: Host, source: Observable[T], draw: Callable[[T], None], period: float) -> None:
        self._host = host
        self._source = source
        self._draw = draw
        self._period = period
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._marked = False
        self._dirty = True
        self._drawn_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._unwatch = source.watch(self._mark)

    def _mark(self, _value: Any) -> None:
        if not self._marked:
            self._marked = True
            try:
                self._loop.call_soon_threadsafe(self._wake, context=self._context)
            except RuntimeError:  # the loop is closed: the app has ended
                self._unwatch()

    def _wake(self) -> None:
        self._marked = False
        self._dirty = True
        self.flush()

    def flush(self) -> None:
        """Draw if there is something new, it may be drawn, and the period has passed."""
        if not self._dirty or self._timer is not None or not self._host.can_draw():
            return
        wait = self._drawn_at + self._period - time.monotonic()
        if wait > 0:
            self._timer = self._loop.call_later(wait, self._late, context=self._context)
            return
        self._dirty = False
        self._drawn_at = time.monotonic()
        try:
            self._draw(self._source.value)
        except Exception as error:  # as Textual does for its own handlers
            self._host.draw_failed(error)

    def _late(self) -> None:
        self._timer = None
        self.flush()

    def stop(self) -> None:
        """End following."""
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._dirty = False
