"""A simulated Ollama server on a loopback socket, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the server of a home until it is idle or ended; returns the exit code."""
    from tui.demo.process import run

    return run(argv)


def sampler(argv: Sequence[str]) -> int:
    """Print the demo machine's figures as the sampler does a real one's, until nobody reads; returns the exit code."""
    from tui.demo.machine import run

    return run(argv)
