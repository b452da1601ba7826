"""Copying out: tmux's buffer, the terminal's clipboard, or a file. We only ever set a clipboard, never read one."""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tui.text import clean_block, clean_name, count, hidden_characters

OSC52_LIMIT: Final = 100_000
"""Bytes; terminals cut or refuse longer ones."""
TMUX_SECONDS: Final = 2.0


async def copy(app: Any, text: str, *, state: Path | None, environ: Mapping[str, str] | None = None) -> str:
    """Copy cleaned text and return the sentence that says where it went.

    Args:
        app: The running app; its driver writes OSC 52.
        text: What to copy; hidden characters and one trailing line break are removed.
        state: The state directory, for what is too long; None where there is none.
        environ: Where TMUX is looked up; the process's own unless given.
    """
    environ = os.environ if environ is None else environ
    hidden = hidden_characters(text)
    cleaned = clean_block(text).removesuffix("\n")
    data = cleaned.encode("utf-8", "replace")
    if not data:
        return "nothing to copy"
    where = await _place(app, data, state, environ)
    told = f"copied {_characters(len(cleaned))} {where}"
    if where.startswith(("saved", "not copied")):
        told = where
    return f"{told}; {_characters(hidden, 'hidden ')} removed or made visible" if hidden else told


def _characters(number: int, kind: str = "") -> str:
    return f"{count(number)} {kind}{'character' if number == 1 else 'characters'}"


async def _place(app: Any, data: bytes, state: Path | None, environ: Mapping[str, str]) -> str:
    if environ.get("TMUX") and await _to_tmux(data):
        return "to tmux's buffer"
    driver = getattr(app, "_driver", None)
    if len(data) <= OSC52_LIMIT and driver is not None:
        driver.write(f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07")
        driver.flush()
        return "to the terminal's clipboard (OSC 52)"
    if state is None:
        return f"not copied: over {count(OSC52_LIMIT)} bytes, and there is no state directory to save it in"
    try:
        path = await asyncio.to_thread(_to_file, data, state)
    except OSError as error:
        return f"not copied: {clean_name(str(state))}: {clean_name(error.strerror or 'cannot be written')}"
    return f"saved to {clean_name(str(path))}: too long for the terminal's clipboard"


async def _to_tmux(data: bytes) -> bool:
    """Load tmux's buffer and, through it, the outer terminal's clipboard; False where that did not work."""
    try:
        process = await asyncio.create_subprocess_exec(
            "tmux",
            "load-buffer",
            "-w",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        await asyncio.wait_for(process.communicate(data), TMUX_SECONDS)
    except (TimeoutError, OSError):
        if process.returncode is None:
            process.kill()
            await process.wait()
        return False
    return process.returncode == 0


def _to_file(data: bytes, state: Path) -> Path:
    """Write a new file that only its owner can read (`mkstemp` creates it with mode 0600)."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix="copied-", suffix=".txt", dir=state)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return Path(name)
