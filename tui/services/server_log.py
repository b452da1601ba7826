"""The end of a server's log; for who waits for the server, its last line: read once a second at most, and never waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tui.core.clock import SYSTEM, Clock
from tui.core.threads import in_thread
from tui.text import clean_label

EVERY: Final = 1.0
"""Seconds between two readings."""
TAIL: Final = 4096
"""Bytes of the end that are read."""
LONGEST: Final = 200
"""Characters of the line that are kept."""


def tail(path: str | Path, size: int) -> bytes:
    """The last `size` bytes of a file.

    Raises:
        OSError: It cannot be read.
    """
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - size))
        return file.read(size)


class LogLines:
    """The newest lines known, by file; usable from any thread."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lines: dict[str, str] = {}
        self._asked: dict[str, float] = {}

    def line(self, path: str) -> str:
        """What was last read, cleaned; empty where nothing was, or nothing can be."""
        if not path:
            return ""
        now = self._clock.monotonic()
        if now - self._asked.get(path, float("-inf")) >= EVERY:
            self._asked[path] = now
            in_thread(lambda: self._read(path))
        return self._lines.get(path, "")

    def _read(self, path: str) -> None:
        try:
            text = tail(path, TAIL).decode("utf-8", "replace")
        except OSError:
            return
        lines = [line for line in text.splitlines() if line.strip()]
        self._lines[path] = clean_label(lines[-1], LONGEST) if lines else ""
