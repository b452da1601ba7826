"""monitor --export: the history that is kept, as CSV or JSON lines."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, message
from tui.config.kinds import Seconds
from tui.core.errors import FailureKind, PaddockError
from tui.core.threads import in_daemon_thread
from tui.services.monitor.export import formatted, stored_rows
from tui.text import clean_name, duration

DAY: Final = 86_400.0
"""Seconds that are kept."""


async def export(context: Context) -> int:
    """Write it to standard output, or to a file; 1 where nothing is kept of that time."""
    seconds = span(context.args.span)
    if not context.paths.database.exists():
        return _nothing(seconds)
    database = context.database(write=False)
    rows = await in_daemon_thread(lambda: stored_rows(database, seconds, time.time()))
    if not rows:
        return _nothing(seconds)
    data = "".join(formatted(context.args.export, rows))
    if context.args.output in ("", "-"):
        sys.stdout.write(data)
        sys.stdout.flush()
        return DONE
    path = Path(context.args.output)
    if path.exists() or path.is_symlink():
        message(f"Nothing was written: {clean_name(str(path))} exists. Name another file.")
        return FAILED
    from tui.services.chat.transfer import write_over

    await in_daemon_thread(lambda: write_over(path, data.encode()))
    message(f"Written to {clean_name(str(path))}: {len(rows):,} moments.")
    return DONE


def span(text: str) -> float:
    """How far back, in seconds; all of it where nothing was said.

    Raises:
        PaddockError: It is no time, or more than is kept; of kind CONFIG.
    """
    kind = Seconds(60, DAY)
    try:
        return float(kind.check(kind.from_text(text))) if text else DAY
    except ValueError:
        shown = clean_name(text, 40)
        raise PaddockError.of(f"{shown} is not a time of up to a day", "--span", "Write it like 10m or 24h", FailureKind.CONFIG) from None


def _nothing(seconds: float) -> int:
    message(f"Nothing is kept of the last {duration(seconds)}: figures are, while Paddock or its worker runs.")
    return FAILED
