"""The sampler's loop."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tui.hardware.sample import WANTED
from tui.sampler.figures import Figures, Lines
from tui.sampler.wants import Wants

FIRST_PATIENCE: Final = 1.0
"""Seconds that the first line waits for sources that have not answered; it goes without them then."""
PATIENCE: Final = 0.25
"""The same for all others, in intervals."""
STOPPED: Final = 2.0
"""Seconds late from which it was not the sources: the machine slept, or nobody read."""
_SIGNAL_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def _interval(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= 60:
        raise argparse.ArgumentTypeError("must be from 0.5 to 60 seconds")
    return value


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="paddock sampler", description="Print one JSON line a measurement.")
    parser.add_argument("--interval", type=_interval, default=1.0, help="seconds, 0.5 to 60")
    parser.add_argument("--gpu", action=argparse.BooleanOptionalAction, default=True, help="ask the GPUs' drivers")
    parser.add_argument("--disk", action="append", default=[], metavar="PATH", help="a folder whose disk is watched")
    parser.add_argument("--want", action="append", default=[], choices=WANTED, metavar="NAME", help="at the start; else on standard input")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="FOLDER", help="where /proc, /sys and /dev are")
    parser.add_argument("--count", type=int, default=0, help="end after this many; 0: never")
    return parser.parse_args(argv)


def _end_with_parent() -> None:
    """Let the kernel end this process with its parent, even while the GPU driver hangs."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SIGNAL_WITH_PARENT, signal.SIGKILL, 0, 0, 0)


def _write(line: bytes) -> bool:
    view = memoryview(line)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError:
        return False
    return True


class _Ear:
    """Waits, and hears meanwhile what is wanted and that nobody reads any more."""

    def __init__(self, wants: Wants, heard: int) -> None:
        self._wants = wants
        self._heard = heard
        self._poller = select.poll()
        self._poller.register(1, 0)  # errors and hang-ups are always told
        self._poller.register(heard, select.POLLIN)
        if wants.place is not None:
            self._poller.register(wants.place, select.POLLIN)

    def wait(self, until: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Wait until a monotonic time, or until it is done; False as soon as nobody can read what is written."""
        while True:
            left = until - time.monotonic()
            for place, event in self._poller.poll(max(0, math.ceil(left * 1000))):
                if place == 1 and event & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                    return False
                if place == self._heard:
                    os.read(place, 4096)
                elif place == self._wants.place:
                    self._wants.read()
                    if self._wants.place is None:
                        self._poller.unregister(place)
            if left <= 0 or done():
                return True


def run(argv: Sequence[str] | None = None) -> int:
    """Measure and print until the parent is gone; see `main`."""
    options = _arguments(argv)
    parent = os.getppid()
    _end_with_parent()
    figures = Figures(options.disk, options.gpu, options.interval, options.root)
    lines = Lines()
    wants = Wants(options.want)
    ear = _Ear(wants, figures.lanes.heard)
    patience = FIRST_PATIENCE
    due = time.monotonic()
    made = 0
    while os.getppid() == parent:
        now = time.monotonic()
        if now - due > STOPPED:
            figures.lanes.forgive(now - due)
        figures.lanes.start(now, wants.names)
        if not ear.wait(now + patience, lambda: not figures.lanes.waiting):
            break
        patience = options.interval * PATIENCE
        made += 1
        if not _write(lines.line(figures.sample(wants.names))) or made == options.count:
            break
        due = max(due + options.interval, time.monotonic())
        if not ear.wait(due):
            break
    figures.lanes.close()
    return 0
