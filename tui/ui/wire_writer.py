"""Writing to a terminal that may stop reading, and noticing that it is gone."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_MOST_PENDING: Final = 1 << 20
_LAST_SECONDS: Final = 1.0


class Writer:
    """A thread that writes; `write` never waits.

    Args:
        descriptor: The terminal's file descriptor.
        drained: Called on the thread when everything given has been written.
    """

    def __init__(self, descriptor: int, drained: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._drained = drained
        self._wanted = threading.Condition()
        self._pending: deque[bytes] = deque()
        self._size = 0
        self._writing = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="paddock-output", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Something given has not been written yet."""
        return self._writing or bool(self._pending)

    def write(self, text: str) -> int:
        """Queue text and return its bytes; beyond 1 MiB waiting it is dropped: nobody reads. Any thread may call this."""
        data = text.encode("utf-8", "replace")
        with self._wanted:
            if self._size + len(data) <= _MOST_PENDING:
                self._pending.append(data)
                self._size += len(data)
                self._wanted.notify()
        return len(data)

    def close(self) -> None:
        """Write what waits, for a second at most, and end."""
        with self._wanted:
            self._stopping = True
            self._wanted.notify()
        self._thread.join(_LAST_SECONDS)

    def _run(self) -> None:
        while True:
            with self._wanted:
                self._writing = False
                while not self._pending and not self._stopping:
                    self._wanted.wait()
                if not self._pending:
                    return
                data = b"".join(self._pending)
                self._pending.clear()
                self._size = 0
                self._writing = True
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                return
            with self._wanted:
                more = bool(self._pending)
                self._writing = more
            if not more:
                self._drained()


class HangUpWatch:
    """Calls back once when the terminal is gone, without using the processor while it is there (Linux).

    Args:
        descriptor: The terminal's file descriptor.
        gone: Called on the watching thread.
    """

    def __init__(self, descriptor: int, gone: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._gone = gone
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="paddock-hang-up", daemon=True)
        if sys.platform == "linux":
            self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        os.close(self._waker)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_LAST_SECONDS)
        os.close(self._wake)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, 0)
        poll.register(self._wake, 0)
        for descriptor, _ in poll.poll():
            if descriptor == self._descriptor:
                self._gone()
