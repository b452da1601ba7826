"""Everything the screens do, without one."""

from tui.cli.main import main

__all__ = ["main"]
