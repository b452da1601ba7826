"""Notices a loop that does not turn, and writes down what its thread is doing: to the log file, never to the screen.

One daemon thread for all loops of a process asks each of them once a second to say that it lives. A loop that is blocked cannot
tell by itself; the stack of its thread does.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tui.core.clock import SYSTEM, Clock

EVERY: Final = 1.0
"""Seconds between two questions."""
LIMIT: Final = 1.0
"""Seconds without an answer after which a loop counts as blocked."""
AGAIN: Final = 60.0
"""Seconds between two stacks of one loop in the log."""
LONGEST: Final = 1800
"""Characters of a stack, the innermost; the log cuts what is longer at its end."""
SLEPT: Final = 3.0
"""Seconds between two looks from which on this process did not run itself: the machine slept, or it was stopped."""

_log: Final = logging.getLogger("paddock.watchdog")


@dataclass(slots=True)
class _Watched:
    name: str
    loop: asyncio.AbstractEventLoop
    thread: int
    asked: float | None = None
    since: float | None = None
    said: float = float("-inf")


class Watchdog:
    """Looks after loops; `look` does it once and is what the thread calls.

    Args:
        clock: Measures.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: list[_Watched] = []
        self._looked: float | None = None
        self._thread: threading.Thread | None = None
        self._more = threading.Event()

    def watch(self, name: str, loop: asyncio.AbstractEventLoop, thread: int | None = None) -> Callable[[], None]:
        """Look after a loop from now on; the returned function ends that.

        Args:
            name: As the log calls it.
            loop: It must run.
            thread: Identity of the thread it runs on; None: this one.
        """
        one = _Watched(name, loop, threading.get_ident() if thread is None else thread)
        with self._lock:
            self._watched.append(one)
            if self._thread is None:
                self._more.clear()
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()

        def stop() -> None:
            with self._lock:
                if one in self._watched:
                    self._watched.remove(one)
                if not self._watched:
                    self._thread = None
                    self._more.set()

        return stop

    def _run(self) -> None:
        me = threading.current_thread()
        while not self._more.wait(EVERY):
            if self._thread is not me:
                return
            self.look()

    def look(self) -> None:
        """Ask every loop, and write down those that did not answer."""
        now = self._clock.monotonic()
        slept = self._looked is not None and now - self._looked > SLEPT
        self._looked = now
        with self._lock:
            watched = list(self._watched)
        for one in watched:
            asked = one.asked
            if asked is None:
                self._ask(one, now)
            elif slept:
                one.asked = now  # nobody ran meanwhile: it is given its time anew
            elif now - asked >= LIMIT:
                one.since = asked if one.since is None else one.since
                if now - one.said >= AGAIN:
                    one.said = now
                    self._tell(one, now - asked)

    def _ask(self, one: _Watched, now: float) -> None:
        if one.since is not None:
            _log.warning("the loop of the %s turns again after %.1f s", one.name, now - one.since)
            one.since = None

        def answer() -> None:
            one.asked = None

        one.asked = now
        try:
            one.loop.call_soon_threadsafe(answer)
        except RuntimeError:  # it was closed
            one.asked = None
            with self._lock:
                if one in self._watched:
                    self._watched.remove(one)

    @staticmethod
    def _tell(one: _Watched, seconds: float) -> None:
        frame = sys._current_frames().get(one.thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "its thread is gone"
        _log.warning("the loop of the %s does not turn since %.1f s:\n%s", one.name, seconds, stack[-LONGEST:])


WATCHDOG: Final = Watchdog()
"""Of this process."""
