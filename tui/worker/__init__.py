"""The worker: a detached process that works the queue and starts servers, and ends when nothing is left to do."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] = ()) -> int:
    """Run the worker of a home until nothing is left to do; returns the exit code."""
    from tui.worker.process import run

    return run(argv)
