"""monitor --export: the history that is kept, as CSV or JSON lines."""

from __future__ import annotations

from tui.cli.context import Context
from tui.cli.output import DONE


async def export(context: Context) -> int:
    """Write it to standard output, or to a file."""
    return DONE
