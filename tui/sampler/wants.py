"""What is wanted: lines of JSON on standard input, read as strictly as what comes from a server; anything else changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tui.hardware.wants_line import LIMIT, parse_wants


class Wants:
    """What is wanted now.

    Args:
        names: At the start.
        place: The file descriptor that is read.
    """

    def __init__(self, names: Iterable[str] = (), place: int = 0) -> None:
        self.names = frozenset(names)
        self.place: int | None = place
        """None once nothing more can come."""
        self._begun = b""
        self._skipping = False

    def read(self) -> None:
        """Take what has come; call it when there is something to read, else it waits."""
        if self.place is None:
            return
        try:
            got = os.read(self.place, 65_536)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got:
            self.place = None
            return
        *lines, rest = (self._begun + got).split(b"\n")
        if lines and self._skipping:
            del lines[0]
            self._skipping = False
        for line in lines:
            found = parse_wants(line)
            self.names = self.names if found is None else found
        self._skipping = self._skipping or len(rest) > LIMIT
        self._begun = b"" if self._skipping else rest
