"""Traffic of the network interfaces."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tui.hardware import reading
from tui.hardware.sample import Network


class Interfaces:
    """Measures all interfaces but loopback; rates are between two readings.

    Args:
        root: Where `/proc` is.
        clock: Monotonic seconds.
    """

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._before: tuple[float, dict[str, tuple[int, int]]] | None = None

    def read(self) -> Network:
        """Measure since the last reading; an interface that came meanwhile counts from now on."""
        if reading.has_proc(self._root):
            found = _counts(reading.text(self._root / "proc/net/dev"))
        else:
            from tui.hardware import elsewhere

            found = elsewhere.network()
        now, before = self._clock(), self._before
        self._before = (now, found)
        if before is None or now <= before[0] or not found:
            return Network()
        received = sent = 0
        for name, (came, went) in found.items():
            old = before[1].get(name, (came, went))
            received += max(0, came - old[0])
            sent += max(0, went - old[1])
        seconds = now - before[0]
        return Network(reading.per_second(0, received, seconds), reading.per_second(0, sent, seconds))


def _counts(lines: str) -> dict[str, tuple[int, int]]:
    """`/proc/net/dev`: bytes received are the first figure after the name, bytes sent the ninth."""
    found: dict[str, tuple[int, int]] = {}
    for line in lines.splitlines():
        name, colon, rest = line.rpartition(":")
        words = rest.split()
        if colon and name.strip() != "lo" and len(words) >= 9:
            came, went = reading.whole(words[0]), reading.whole(words[8])
            if came is not None and went is not None:
                found[name.strip()] = (came, went)
    return found
