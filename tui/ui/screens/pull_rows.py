"""The table of the queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.config.settings import Settings
from tui.core.jobs import Job, JobState
from tui.text import duration, rate
from tui.ui.screens.parts import part_of
from tui.ui.screens.pull_words import reason, title
from tui.ui.widgets.bars import bar
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.rows import Rows

_GLYPHS = {
    JobState.WAITING: "waiting",
    JobState.FETCHING: "running",
    JobState.CHECKING: "running",
    JobState.DONE: "done",
    JobState.PAUSED: "paused",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "",
    JobState.INTERRUPTED: "waiting",
}


class PullTable(Rows[Job]):
    """The queue; its order is the queue's own, so it cannot be sorted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", id="rows.mark", tooltip="Mark or unmark the row"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing to sort by."""
        return False if action == "sort" else super().check_action(action, parameters)


class QueueWords:
    """What the cells need beyond the entry itself; taken anew with each view of the queue."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._names: Mapping[int, str] = {}

    def take(self, jobs: Sequence[Job]) -> None:
        """Look at the newest view."""
        self._names = {job.id: title(job) for job in jobs}

    @property
    def names(self) -> Mapping[int, str]:
        """Titles by id."""
        return self._names

    def reason(self, job: Job, *, binary: bool) -> Cell | None:
        """See `pull_words.reason`."""
        return reason(job, self._settings(), self._names, binary=binary)

    def searched(self, job: Job) -> str:
        """What the filter looks at."""
        cell = self.reason(job, binary=False)
        return f"{title(job)} {job.endpoint.name} {job.state.value} {cell.text if cell is not None else job.note}"


def state_of(job: Job) -> str:
    """The state for the row's mark."""
    return _GLYPHS[job.state]


def bar_width(screen: int) -> int:
    """Cells of the bar for a screen of so many; 0 where there is no room."""
    return 0 if screen < 72 else 14 if screen < 100 else 28 if screen < 140 else 40


def columns(words: QueueWords, width: int, *, ascii: bool, binary: bool) -> list[Column[Job]]:
    """The columns for a screen of `width` cells; where there is no room for the bar the percent stands alone."""
    cells = bar_width(width)

    def drawn_bar(job: Job) -> Cell:
        said = words.reason(job, binary=binary)
        if said is not None:
            return said
        percent = job.percent
        return Cell(bar(None if percent is None else percent / 100, cells, ascii), "busy")

    def percent_text(job: Job) -> Cell:
        said = words.reason(job, binary=binary)
        if said is not None:
            return said
        percent = job.percent
        return Cell("–" if percent is None else f"{percent:.0f} %")

    def done_text(job: Job) -> Cell:
        if job.note and not job.rate:
            return Cell(job.note, "warn" if job.note.startswith("stalled") else "dim", rest=True)
        return Cell(part_of(job.done, job.total, binary=binary))

    return [
        Column("model", "MODEL", title, min=15, max=40, flex=3),
        Column("on", "ON", lambda job: job.endpoint.name, min=6, max=14),
        *([Column("bar", "", drawn_bar, width=cells)] if cells else []),
        Column("percent", "", percent_text, width=5, align="right"),
        Column("done", "DONE", done_text, width=14, align="right"),
        Column("rate", "SPEED", lambda job: rate(job.rate, binary=binary), width=8, align="right"),
        Column("left", "LEFT", lambda job: duration(job.eta), width=8, align="right"),
    ]
