"""The audit trail: one JSON object a line for every change Paddock makes, appended, owner only, without keys."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tui.core.clock import Clock
from tui.core.errors import PaddockError
from tui.core.record import record
from tui.services.logs import redact
from tui.store.files import make_folder, open_private
from tui.text import clean_label

NAME: Final = "audit.jsonl"
"""In the state folder."""
TAIL: Final = 1 << 16
"""Bytes that are looked at for the latest events."""
MAX_SIZE: Final = 1 << 20
"""Bytes of one file; four older ones are kept."""
KEPT: Final = 4


@record(frozen=True)
class Event:
    """What was done to what, with which result; epoch seconds."""

    at: float
    what: str
    target: str
    result: str


def _event(line: str) -> Event | None:
    try:
        raw = json.loads(line)
        event = Event(float(raw["at"]), clean_label(raw["what"]), clean_label(raw["target"]), clean_label(raw["result"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return event if math.isfinite(event.at) else None


class Audit:
    """Appends to `audit.jsonl` of the state folder; trouble with it never stops the work."""

    def __init__(self, folder: Path, clock: Clock, wanted: Callable[[], bool] = lambda: True, process: str = "app") -> None:
        self._path = folder / NAME
        self._clock = clock
        self._wanted = wanted
        self._process = process

    def write(self, what: str, target: str, result: str = "ok", **more: str | int) -> None:
        """Note one event: what was done to what, with which result."""
        if not self._wanted():
            return
        entry = {
            "at": round(self._clock.time(), 3),
            "uid": os.getuid(),
            "process": self._process,
            "what": what,
            "target": redact(target),
            "result": redact(result),
            **{name: redact(value) if isinstance(value, str) else value for name, value in more.items()},
        }
        with contextlib.suppress(OSError, PaddockError):
            make_folder(self._path.parent)
            handle = open_private(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(handle, json.dumps(entry, ensure_ascii=True).encode("ascii") + b"\n")
                full = os.fstat(handle).st_size > MAX_SIZE
            finally:
                os.close(handle)
            if full:
                self._rotate()

    @contextlib.contextmanager
    def noting(self, what: str, target: str, **more: str) -> Iterator[None]:
        """Do something and note it, with the reason where it failed."""
        try:
            yield
        except PaddockError as error:
            self.write(what, target, "failed", **{**more, "why": error.failure.what})
            raise
        except BaseException:
            self.write(what, target, "not finished", **dict(more))
            raise
        self.write(what, target, "ok", **dict(more))

    @staticmethod
    def latest(folder: Path, prefix: str) -> list[Event]:
        """The events of the newest `TAIL` bytes whose `what` begins so, oldest first, written by whatever process; never raises."""
        try:
            handle = os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return []
        try:
            size = os.fstat(handle).st_size
            text = os.pread(handle, TAIL, max(0, size - TAIL)).decode("ascii", "replace")
        except OSError:
            return []
        finally:
            os.close(handle)
        return [event for line in text.split("\n") if (event := _event(line)) is not None and event.what.startswith(prefix)]

    def _rotate(self) -> None:
        for number in range(KEPT - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_suffix(f".jsonl.{number}").rename(self._path.with_suffix(f".jsonl.{number + 1}"))
        self._path.rename(self._path.with_suffix(".jsonl.1"))
