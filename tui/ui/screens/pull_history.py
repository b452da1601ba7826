"""The history of the queue as a table."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.core.jobs import JobKind, JobState, PastJob
from tui.text import duration, rate, size
from tui.ui.screens.parts import clock
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.rows import Rows

_TONES = {JobState.DONE: "ok", JobState.FAILED: "bad"}


class PastTable(Rows[PastJob]):
    """What ended, the newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "pull again", id="rows.open", tooltip="pull this model again"),
    ]


def took(past: PastJob) -> float | None:
    """Seconds from the first start to the end."""
    return max(0.0, past.ended_at - past.started_at) if past.started_at is not None else None


def outcome(past: PastJob) -> Cell:
    """Done, or why not."""
    words = past.failure.what if past.state is JobState.FAILED and past.failure is not None else past.state.value
    return Cell(words, _TONES.get(past.state, "dim"))


def name_of(past: PastJob) -> str:
    """The model, and what was done with it where that was no pull."""
    return past.model if past.kind is JobKind.PULL else f"{past.kind.value} {past.model}"


def state_of(past: PastJob) -> str:
    """The state for the row's mark."""
    return {JobState.DONE: "done", JobState.FAILED: "failed"}.get(past.state, "")


def columns(width: int, *, binary: bool) -> list[Column[PastJob]]:
    """The columns for a screen of `width` cells."""
    wide = width >= 100
    tries = Column[PastJob]("tries", "TRIES", lambda past: str(past.attempts), width=5, align="right", sort_key=lambda past: past.attempts)
    asked = Column[PastJob]("asked", "FROM", lambda past: past.asked_by or "–", min=8, max=16, flex=1, sort_key=lambda past: past.asked_by)
    return [
        Column("model", "MODEL", name_of, min=15, max=40, flex=2, sort_key=name_of),
        Column("on", "ON", lambda past: past.provider, min=6, max=14, sort_key=lambda past: past.provider),
        Column("ended", "ENDED", _day, width=9, sort_key=lambda past: past.ended_at, descending=True),
        Column("size", "SIZE", lambda past: size(past.total, binary=binary), width=7, align="right", sort_key=_total, descending=True),
        Column("took", "TOOK", lambda past: duration(took(past)), width=6, align="right", sort_key=took, descending=True),
        Column("average", "AVERAGE", lambda past: rate(past.average, binary=binary), width=8, align="right", sort_key=_average),
        *([tries, asked] if wide else []),
        Column("outcome", "OUTCOME", outcome, min=9, max=40, flex=2, sort_key=lambda past: past.state.value),
    ]


def _day(past: PastJob) -> str:
    age = time.time() - past.ended_at
    if age < 6 * 86_400:
        return clock(past.ended_at)
    local = time.localtime(past.ended_at)
    return f"{local.tm_mday} {time.strftime('%b' if age < 300 * 86_400 else '%b %y', local)}"


def _total(past: PastJob) -> int | None:
    return past.total


def _average(past: PastJob) -> float | None:
    return past.average
