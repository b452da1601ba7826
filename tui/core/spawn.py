"""How Paddock starts processes of its own."""

from __future__ import annotations

import sys


def own_command(*arguments: str) -> list[str]:
    """The command line of another `paddock` process.

    `-P` keeps the current folder off the import path: a folder named `tui` there must not be run.
    """
    return [sys.executable, "-P", "-m", "tui", *arguments]
