"""What commands print: aligned tables and JSON on standard output, messages on standard error."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tui.core.errors import Failure, FailureKind
from tui.text import clean_block, clean_label, duration, strip_line

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
NO_PROVIDER: Final = 4
INTERRUPTED: Final = 130

DASH: Final = "\u2013"
"""Stands for what is not known."""
_CODES: Final = {
    FailureKind.CONFIG: USAGE,
    FailureKind.REFUSED: REFUSED,
    FailureKind.UNREACHABLE: NO_PROVIDER,
    FailureKind.TIMEOUT: NO_PROVIDER,
}
_JOINER: Final = "\u200d"
_EMOJI_SIGN: Final = "\ufe0f"


def exit_code(failure: Failure) -> int:
    """The exit code that settings.md gives a failure."""
    return _CODES.get(failure.kind, FAILED)


def plain(value: Any) -> Any:
    """A value as JSON knows it; of an endpoint only what is no secret."""
    from tui.core.models import Endpoint

    if isinstance(value, Endpoint):
        return {"name": value.name, "kind": value.kind, "url": value.url}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)


def emit(value: Any) -> None:
    """Print one JSON object on one line, ASCII only."""
    print(json.dumps(plain(value), ensure_ascii=True), flush=True)


def line(text: str = "") -> None:
    """Print one line for people."""
    print(_fit(strip_line(text), sys.stdout))


def block(text: str) -> None:
    """Print text of many lines for people."""
    for part in clean_block(text).split("\n"):
        line(part)


def width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    total, last, joined = 0, 0, False
    for char in text:
        if char == _EMOJI_SIGN:
            total, last = total + (last == 1), 2
        elif unicodedata.category(char) in ("Mn", "Me", "Cf"):
            joined = char == _JOINER
        else:
            last = 0 if joined else 2 if unicodedata.east_asian_width(char) in "WF" else 1
            total, joined = total + last, False
    return total


def cut(text: str, columns: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if width(text) <= columns:
        return text
    kept = text[: max(0, columns)]
    while kept and width(kept) > columns - 1:
        kept = kept[:-1]
    return f"{kept}\u2026"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print aligned columns; `right` lists the columns that are figures. On a terminal the last column is cut to fit."""
    for row in aligned(head, rows, right):
        line(row)


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """The lines that `table` prints."""
    cells = [list(head), *([clean_label(cell) for cell in row] for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(head))]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(head) - 1)
        widths[-1] = min(widths[-1], max(room, 12))
    lines = []
    for row in cells:
        parts = []
        for at, (cell, columns) in enumerate(zip(row, widths, strict=True)):
            shown = cut(cell, columns)
            fill = " " * (columns - width(shown))
            parts.append(fill + shown if at in right else shown + fill)
        lines.append("  ".join(parts).rstrip())
    return lines


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Print names with their values, one a line; what has no value is left out."""
    shown = [(clean_label(name, 40), clean_label(value)) for name, value in rows if value]
    columns = max((width(name) for name, _ in shown), default=0)
    for name, value in shown:
        line(f"{name}{' ' * (columns - width(name))}  {value}")


def message(text: str) -> None:
    """Say something on standard error."""
    print(_fit(strip_line(text), sys.stderr), file=sys.stderr, flush=True)


def report(failure: Failure) -> int:
    """Say what, where, remedy; returns the exit code."""
    parts = [part if part.endswith((".", "?", "!")) else f"{part}." for part in (failure.sentence(), failure.remedy) if part]
    message(" ".join(parts))
    return exit_code(failure)


def wait_words(seconds: float) -> str:
    """How long an answer took: `4 ms`, `1.2s`."""
    return f"{max(1.0, 1000 * seconds):.0f} ms" if seconds < 0.95 else duration(seconds)


async def ask(question: str) -> bool:
    """Ask on standard error for yes or no; no is what enter says."""
    print(f"{_fit(strip_line(question), sys.stderr)} [y/N] ", end="", file=sys.stderr, flush=True)
    return (await read_input(one_line=True)).strip().lower() in (b"y", b"yes")


def piped() -> bool:
    """Whether standard input is a pipe or a file, so that there is something to read.

    A socket is none: ssh without a terminal gives one that never ends.
    """
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


async def read_input(*, one_line: bool = False) -> bytes:
    """Standard input to its end, or to the end of a line; ctrl+c ends the wait.

    Read by its descriptor in a thread nobody waits for: a thread inside `sys.stdin` would keep the interpreter from ending.
    """
    from tui.core.threads import in_daemon_thread

    try:
        handle = sys.stdin.fileno()
    except (OSError, ValueError):  # not a file of the system
        return (sys.stdin.readline() if one_line else sys.stdin.read()).encode()

    def read() -> bytes:
        data = b""
        while (piece := os.read(handle, 65_536)) and not (one_line and b"\n" in piece):
            data += piece
        return data + piece

    return await in_daemon_thread(read)


def _fit(text: str, stream: Any) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
