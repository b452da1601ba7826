"""The sampler's loop."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence

from tui.hardware.once import Meter
from tui.hardware.sample_line import format_sample

_SIGNAL_WITH_PARENT = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def _interval(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= 60:
        raise argparse.ArgumentTypeError("must be from 0.5 to 60 seconds")
    return value


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="paddock sampler", description="Print one JSON line a measurement.")
    parser.add_argument("--interval", type=_interval, default=1.0, help="seconds, 0.5 to 60")
    parser.add_argument("--gpu", action=argparse.BooleanOptionalAction, default=True, help="ask the NVIDIA driver")
    parser.add_argument("--disk", action="append", default=[], metavar="PATH", help="a folder whose disk is watched")
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


def _wait(seconds: float) -> bool:
    """Sleep; False as soon as nobody can read what is written."""
    poller = select.poll()
    poller.register(1, 0)  # errors and hang-ups are always told
    return not any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in poller.poll(max(0.0, seconds) * 1000))


def run(argv: Sequence[str] | None = None) -> int:
    """Measure and print until the parent is gone; see `main`."""
    options = _arguments(argv)
    parent = os.getppid()
    _end_with_parent()
    meter = Meter(options.disk, options.gpu)
    due = time.monotonic()
    made = 0
    while os.getppid() == parent:
        sample = meter.read()
        made += 1
        if not _write(format_sample(sample)) or made == options.count:
            return 0
        due = max(due + options.interval, time.monotonic())
        if not _wait(due - time.monotonic()):
            return 0
    return 0
