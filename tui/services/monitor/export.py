"""The history as a file: CSV or JSON lines, one line a moment, one column a figure."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tui.core.errors import FailureKind, PaddockError
from tui.services.monitor.history import COARSE, History
from tui.store.files import make_folder, open_private, sync_file
from tui.store.samples import Samples
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.store.db import Database

KINDS: Final = ("csv", "jsonl")
Row = tuple[float, Mapping[str, float]]
"""Epoch seconds, and the figures that are known of that moment (names: see `tui.hardware.series`)."""


def rows(history: History, seconds: float) -> tuple[Row, ...]:
    """The last seconds of a history, oldest first, in the finest step that reaches so far; moments without figures are left out."""
    ring = history.ring(seconds)
    first = ring.newest - max(1, round(seconds / ring.step)) + 1
    found = ((number * ring.step, ring.bucket(number)) for number in range(max(first, ring.first), ring.newest + 1))
    return tuple((at, values) for at, values in found if values)


def stored_rows(database: Database, seconds: float, now: float) -> tuple[Row, ...]:
    """The same out of the database, where no app runs: means of 10 s, or of a minute from two hours on. Slow: off any loop.

    Args:
        database: Where the means are.
        seconds: How far back.
        now: Epoch seconds.

    Raises:
        PaddockError: The database cannot be read.
    """
    step, size = next(((step, size) for step, size in COARSE if step * size >= seconds), COARSE[-1])
    last = int(now / step)
    found = Samples(database).read(int(step), last - min(size, max(1, round(seconds / step))) + 1, last)
    return tuple((number * step, values) for number, values in sorted(found.items()))


def _time(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="seconds" if at == int(at) else "milliseconds").replace("+00:00", "Z")


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 3)


def formatted(kind: str, found: Iterable[Row]) -> Iterator[str]:
    """The lines of an export, each with its end.

    Args:
        kind: "csv" or "jsonl".
        found: Oldest first.
    """
    moments = list(found)
    if kind == "jsonl":
        for at, values in moments:
            yield json.dumps({"time": _time(at), **{name: _number(values[name]) for name in sorted(values)}}) + "\n"
        return
    names = sorted({name for _at, values in moments for name in values})
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    for cells in (["time", *names], *([_time(at), *(_cell(values.get(name)) for name in names)] for at, values in moments)):
        writer.writerow(cells)
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cell(value: float | None) -> str:
    return "" if value is None else str(_number(value))


def write_export(folder: Path, kind: str, found: Iterable[Row], now: float) -> Path:
    """Write an export, readable by its owner only, all of it or nothing; returns where. Blocks.

    Args:
        folder: Where exports go.
        kind: "csv" or "jsonl".
        found: Oldest first.
        now: Epoch seconds, for the name.

    Raises:
        PaddockError: It cannot be written; nothing is left behind.
    """
    stem = time.strftime("monitor-%Y%m%d-%H%M%S", time.gmtime(now))
    try:
        make_folder(folder)
        path = _claim(folder, stem, kind)
        part = path.with_name(f".{path.name}.part")
        try:
            with os.fdopen(open_private(part, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8", newline="") as file:
                file.writelines(formatted(kind, found))
            sync_file(part)
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PaddockError.of(
            "The history was not exported", clean_name(str(folder)), "Make room or check the folder's owner", FailureKind.DISK, str(error)
        ) from error
    return path


def _claim(folder: Path, stem: str, kind: str) -> Path:
    """An empty file of ours under a name that was free."""
    for number in range(1, 100):
        path = folder / (f"{stem}.{kind}" if number == 1 else f"{stem}-{number}.{kind}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            return path
    raise FileExistsError(17, "Too many files of that name", str(folder))
