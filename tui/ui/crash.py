"""Crash reports: the whole traceback without local variables, so that no key is in them."""

from __future__ import annotations

import os
import platform
import tempfile
import time
import traceback
from pathlib import Path

from tui import __version__
from tui.text import clean_block, clean_name

KEEP = 20
"""Crash files kept; older ones are removed."""


def write_crash(error: BaseException, state: Path | None) -> Path | None:
    """Write `<state>/crash/<time>.txt`, readable by its owner only; None where nothing can be written."""
    folder = (state or Path(tempfile.gettempdir()) / f"paddock-{os.getuid()}") / "crash"
    lines = [
        f"paddock {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}\n",
        time.strftime("%Y-%m-%dT%H:%M:%SZ\n\n", time.gmtime()),
        *traceback.format_exception(error),
    ]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(clean_block("".join(lines)))
        for old in sorted(folder.glob("*.txt"))[:-KEEP]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return path


def crash_sentence(path: Path | None) -> str:
    """What the terminal says after a crash."""
    if path is None:
        return "Paddock met an error and has ended; the report could not be written."
    return f"Paddock met an error and has ended. What is known is in {clean_name(str(path))}; downloads go on."
