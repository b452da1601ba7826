"""The sampler's process: measures and prints one JSON line a sample.

A hung or crashing GPU driver takes down only this process; the app restarts it and says how long it is silent.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run until the parent is gone or nobody reads; returns the exit code."""
    from tui.sampler.loop import run

    return run(argv)


__all__ = ["main"]
