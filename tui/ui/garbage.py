"""When garbage is looked for: a full search takes 50 ms beside ten thousand models, and must not fall on a key."""

from __future__ import annotations

import asyncio
import gc
from typing import Final

QUIET: Final = 1.0
"""Seconds after the last key until a full search may come."""
HELD: Final = 200
"""Searches of the middle generation until a full one comes all the same: keys may come without end."""
_FREE: Final = gc.get_threshold()


class Garbage:
    """Python's own collector, told when somebody types; between keys it is left alone."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on. What is loaded stays: later searches need not look at it (a tenth of a second each)."""
        gc.freeze()
        gc.enable()

    def typed(self) -> None:
        """A key, a paste or the mouse: no full search until nothing came for `QUIET` seconds."""
        if self._timer is None:
            gc.set_threshold(*_FREE[:2], HELD)
        else:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(QUIET, self._quiet)

    def _quiet(self) -> None:
        self._timer = None
        gc.set_threshold(*_FREE)
        if gc.isenabled() and gc.get_count()[2] > _FREE[2]:
            gc.collect()

    def end(self) -> None:
        """Leave the collector as it was."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gc.set_threshold(*_FREE)
