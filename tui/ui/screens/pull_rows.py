"""The words and columns of the queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.core.jobs import Job, JobState, JobWish, QueueView
from tui.text import duration, rate, size
from tui.ui.frame import Part
from tui.ui.screens.parts import clock, part_of
from tui.ui.widgets.bars import bar
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.rows import Rows

RUNNING = (JobState.FETCHING, JobState.CHECKING)
_GLYPHS = {
    JobState.WAITING: "waiting",
    JobState.FETCHING: "running",
    JobState.CHECKING: "running",
    JobState.DONE: "done",
    JobState.PAUSED: "paused",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "",
}


class PullTable(Rows[Job]):
    """The queue; its order is the queue's own, so it cannot be sorted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", id="rows.mark", tooltip="Mark or unmark the row"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing to sort by."""
        return False if action == "sort" else super().check_action(action, parameters)


class Percents:
    """Percents that never fall on screen while an attempt goes on."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}

    def take(self, jobs: Sequence[Job]) -> None:
        """Look at the newest figures."""
        kept: dict[int, tuple[int, float]] = {}
        for job in jobs:
            if job.percent is None or job.percent != job.percent:
                continue
            attempt, before = self._seen.get(job.id, (job.attempts, 0.0))
            kept[job.id] = (job.attempts, max(job.percent, before) if attempt == job.attempts else job.percent)
        self._seen = kept

    def of(self, job: Job) -> float | None:
        """The percent to show."""
        found = self._seen.get(job.id)
        return found[1] if found else None


def state_of(job: Job) -> str:
    """The state for the row's mark."""
    return _GLYPHS[job.state]


def reason(job: Job, *, binary: bool = False) -> Cell | None:
    """What stands across the bar and its figures; None while the bar says it."""
    if job.state in RUNNING:
        if job.wish is JobWish.PAUSE:
            return Cell("pausing", "dim", rest=True)
        if job.wish is JobWish.CANCEL:
            return Cell("cancelling", "dim", rest=True)
        return None
    if job.state is JobState.DONE:
        took = job.ended_at - job.started_at if job.ended_at is not None and job.started_at is not None else None
        figures = f", {size(job.total, binary=binary)}" if job.total else ""
        spent = f" in {duration(took)}" if took is not None and took >= 0 else ""
        return Cell(f"done {clock(job.ended_at)}{figures}{spent}" if job.ended_at else f"done{figures}", "ok", rest=True)
    if job.state is JobState.CANCELLED:
        return Cell(job.note or "cancelled", "dim", rest=True)
    if job.state is JobState.FAILED:
        return Cell(job.note or (f"failed: {job.failure.sentence()}" if job.failure else "failed"), "bad", rest=True)
    if job.state is JobState.PAUSED:
        if job.wish is JobWish.RUN:
            return Cell("goes on soon", "dim", rest=True)
        kept = f", {part_of(job.done, job.total, binary=binary)} kept" if job.done else ""
        return Cell(job.note or f"paused{kept}", "dim", rest=True)
    words = {JobWish.PAUSE: "pausing", JobWish.CANCEL: "cancelling"}.get(job.wish) or job.note or "waits"
    again = f", again at {clock(job.due_at)}" if job.due_at is not None and job.wish is JobWish.RUN else ""
    return Cell(words + again, "warn" if job.failure is not None else "dim", rest=True)


def bar_width(screen: int) -> int:
    """Cells of the bar for a screen of so many; 0 where there is no room."""
    return 0 if screen < 72 else 14 if screen < 100 else 28 if screen < 140 else 40


def columns(percents: Percents, width: int, *, ascii: bool, binary: bool) -> list[Column[Job]]:
    """The columns for a screen of `width` cells; where there is no room for the bar the percent stands alone."""
    cells = bar_width(width)

    def drawn_bar(job: Job) -> Cell:
        words = reason(job, binary=binary)
        if words is not None:
            return words
        percent = percents.of(job)
        return Cell(bar(None if percent is None else percent / 100, cells, ascii), "busy")

    def percent_text(job: Job) -> Cell:
        words = reason(job, binary=binary)
        if words is not None:
            return words
        percent = percents.of(job)
        return Cell("–" if percent is None else f"{percent:.0f} %")

    def done_text(job: Job) -> Cell:
        if job.note and not job.rate:
            return Cell(job.note, "warn" if job.note.startswith("stalled") else "dim", rest=True)
        return Cell(part_of(job.done, job.total, binary=binary))

    return [
        Column("model", "MODEL", lambda job: job.model, min=15, max=40, flex=3),
        Column("on", "ON", lambda job: job.endpoint.name, min=6, max=14),
        *([Column("bar", "", drawn_bar, width=cells)] if cells else []),
        Column("percent", "", percent_text, width=5, align="right"),
        Column("done", "DONE", done_text, width=14, align="right"),
        Column("rate", "SPEED", lambda job: rate(job.rate, binary=binary), width=8, align="right"),
        Column("left", "LEFT", lambda job: duration(job.eta), width=8, align="right"),
    ]


def summary(view: QueueView, width: int, *, binary: bool = False) -> list[Part]:
    """The first line for `width` cells: how many do what, how fast, and when the running ones are done."""
    if not view.jobs:
        return []
    waiting = [job for job in view.jobs if job.state is JobState.WAITING]
    lacking = sum(1 for job in waiting if job.note.startswith("waits for space"))
    counts = (
        (view.count(*RUNNING), "running", "running"),
        (len(waiting) - lacking, "waits", "wait"),
        (lacking, "lacks space", "lack space"),
        (view.count(JobState.PAUSED), "paused", "paused"),
        (view.count(JobState.FAILED), "failed", "failed"),
    )
    words = ", ".join(f"{number} {one if number == 1 else many}" for number, one, many in counts if number)
    if not words:
        words = f"nothing to do, {len(view.jobs)} in the list"
    speed = f"   {rate(view.rate, binary=binary)}" if view.rate is not None and view.count(*RUNNING) else ""
    parts: list[Part] = [(f" {words}", "$foreground"), (speed, "bold $success")]
    if view.finish_at is not None and view.count(*RUNNING):
        room = width - 1 - len(words) - len(speed)
        endings = (f"  {prefix}~{clock(view.finish_at)}" for prefix in ("running ones done ", "done ", ""))
        parts.append((next((ending for ending in endings if len(ending) <= room), ""), "$text-muted"))
    return parts


def cancel_question(jobs: Sequence[Job], *, binary: bool = False) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What to ask before these are cancelled (or, where all have ended, dropped from the list)."""
    going = [job for job in jobs if not job.state.ended]
    what = jobs[0].model if len(jobs) == 1 else f"{len(jobs)} pulls"
    if not going:
        models = "" if any(job.state is not JobState.DONE for job in jobs) else " What was pulled stays."
        return f"Drop {what} from the list?{models}", (("keep", "Keep"), ("cancel", "Drop"))
    kept = sum(job.done for job in going)
    names = sorted({job.endpoint.name for job in going})
    stay = f" {size(kept, binary=binary)} stay on the server until {' and '.join(names)} restarts." if kept else ""
    dropped = len(jobs) - len(going)
    also = f" {dropped} that ended only {'leaves' if dropped == 1 else 'leave'} the list." if dropped else ""
    if any(job.wish is JobWish.RUN for job in going):
        return f"Cancel {what}?{stay}{also}", (("keep", "Go on"), ("pause", "Pause"), ("cancel", "Cancel"))
    return f"Cancel {what}?{stay}{also}", (("keep", "Keep"), ("cancel", "Cancel"))
