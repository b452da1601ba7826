"""What commands print: aligned tables and JSON on standard output, messages on standard error."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tui.core.errors import Failure, FailureKind
from tui.core.models import Endpoint
from tui.text import clean_block, clean_label, strip_line

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
NO_PROVIDER: Final = 4
INTERRUPTED: Final = 130

_CODES: Final = {
    FailureKind.CONFIG: USAGE,
    FailureKind.REFUSED: REFUSED,
    FailureKind.UNREACHABLE: NO_PROVIDER,
    FailureKind.TIMEOUT: NO_PROVIDER,
}


def exit_code(failure: Failure) -> int:
    """The exit code that settings.md gives a failure."""
    return _CODES.get(failure.kind, FAILED)


def plain(value: Any) -> Any:
    """A value as JSON knows it; of an endpoint only what is no secret."""
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


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print aligned columns; `right` lists the columns that are figures."""
    cells = [list(head), *([clean_label(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        parts = [cell.rjust(width) if at in right else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))]
        line("  ".join(parts).rstrip())


def message(text: str) -> None:
    """Say something on standard error."""
    print(_fit(strip_line(text), sys.stderr), file=sys.stderr, flush=True)


def report(failure: Failure) -> int:
    """Say what, where, remedy; returns the exit code."""
    message(f"{failure.sentence()}.{f' {failure.remedy}.' if failure.remedy else ''}")
    return exit_code(failure)


def _fit(text: str, stream: Any) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
