"""What is coming, and when it is here: the queue, and one pull in detail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widget import Widget

from tui.core.jobs import Job, JobState, JobWish, QueueView
from tui.ui.base import AppScreen
from tui.ui.frame import Line
from tui.ui.screens.parts import Rule
from tui.ui.screens.pull_detail import PullDetail
from tui.ui.screens.pull_rows import Percents, PullTable, bar_width, cancel_question, columns, state_of, summary
from tui.ui.widgets.rows import Rows

_CHANGES = frozenset({"pause", "drop", "retry", "move"})


class PullsScreen(AppScreen):
    """The queue of downloads."""

    NAME = "pulls"
    HELP_LINES = "Downloads are worked by a process of their own: they go on when you quit. Marks apply a key to several rows."
    AUTO_FOCUS = "#queue"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "add", id="pulls.add", tooltip="pull a model"),
        Binding("p", "pause", "pause/go on", id="pulls.pause", tooltip="pause the pull, or go on; what was fetched is kept"),
        Binding("d", "drop", "cancel", id="pulls.cancel", tooltip="cancel the pull, or drop an ended one from the list; asks"),
        Binding("r", "retry", "retry", id="pulls.retry", tooltip="run a failed or cancelled pull again"),
        Binding("K", "move('up')", "move", key_display="K J T", id="pulls.up", tooltip="K up in the queue, J down, T first"),
        Binding("J", "move('down')", "down", show=False, id="pulls.down", tooltip="down in the queue"),
        Binding("T", "move('first')", "first", show=False, id="pulls.first", tooltip="first in the queue"),
        Binding("y", "copy", "copy name", id="pulls.copy", tooltip="copy the model's name"),
    ]

    def __init__(self, services: Any) -> None:
        super().__init__(services)
        self._percents = Percents()
        self._bar = -1
        self._units = ""
        self._states: tuple[Any, ...] = ()

    def body(self) -> Iterator[Widget]:
        """Summary, queue, detail."""
        yield Line(id="pulls-summary")
        yield PullTable(
            self._columns(80),
            key=lambda job: job.id,
            state=state_of,
            text=lambda job: f"{job.model} {job.endpoint.name}",
            empty="Nothing is queued. a pulls a model.",
            gap=1,
            id="queue",
        )
        yield Rule(ascii=self.ascii, id="pulls-rule")
        yield PullDetail(ascii=self.ascii, id="pull")

    def start(self) -> None:
        """Follow the queue."""
        self.follow(self.services.jobs.view, self._draw, fps=4)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _columns(self, width: int) -> list[Any]:
        return columns(self._percents, width, ascii=self.ascii, binary=self.binary)

    @property
    def _table(self) -> PullTable:
        return self.query_one("#queue", PullTable)

    def _draw(self, view: QueueView) -> None:
        self._percents.take(view.jobs)
        self._fit_columns(self.size.width or 80)
        self.query_one("#pulls-summary", Line).show(*summary(view, self.size.width or 80, binary=self.binary))
        self._table.set_items(view.jobs)
        self._draw_detail()

    def _fit_columns(self, width: int) -> None:
        if (bar_width(width), str(self.binary)) != (self._bar, self._units):
            self._bar, self._units = bar_width(width), str(self.binary)
            self._table.set_columns(self._columns(width))

    def _draw_detail(self) -> None:
        job = self._table.highlighted
        self.query_one("#pulls-rule", Rule).set_title(job.model if job is not None else "")
        self.query_one("#pulls-rule").visible = job is not None
        self.query_one("#pull", PullDetail).show_job(job, self.services.jobs.view.value.worker, binary=self.binary)
        states = tuple((one.id, one.state, one.wish) for one in self._table.chosen)
        if states != self._states:
            self._states = states
            self.refresh_bindings()

    def on_resize(self, event: events.Resize) -> None:
        """More of the bar where there is room."""
        super().on_resize(event)
        self._fit_columns(event.size.width)
        self.call_after_refresh(self._draw_detail)

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Another pull in detail."""
        self._draw_detail()

    def on_rows_marked(self, event: Rows.Marked) -> None:
        """Keys may do more or less now."""
        self.refresh_bindings()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter: the detail with its layers."""
        self._open_detail(True)

    def _open_detail(self, on: bool) -> None:
        detail = self.query_one("#pull", PullDetail)
        detail.set_class(on, "-open")
        (detail if on else self._table).focus()
        self._draw_detail()

    def action_back(self) -> None:
        """Esc: close the detail, else end a range or unmark."""
        if self.query_one("#pull", PullDetail).has_class("-open"):
            self._open_detail(False)
        else:
            self._table.step_back()

    # --- what may be done ---------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what does nothing now."""
        if not self.is_mounted or action not in (*_CHANGES, "add", "copy"):
            return super().check_action(action, parameters)
        if action != "copy" and self.services.config.current.value.security.access != "full":
            return None
        if action == "add":
            return True
        chosen = self._table.chosen
        if action == "pause":
            return True if any(not job.state.ended for job in chosen) else None
        if action == "retry":
            return True if any(job.state in (JobState.FAILED, JobState.CANCELLED) for job in chosen) else None
        if action == "move":
            return True if any(not job.state.ended for job in chosen) else None
        return True if chosen else None

    def action_add(self) -> None:
        """Ask which model."""
        from tui.ui.dialogs.pull import PullDialog

        self.app.push_screen(PullDialog(self.services))

    def action_pause(self) -> None:
        """Pause what is wanted, else go on with what is paused."""
        open_jobs = [job for job in self._table.chosen if not job.state.ended]
        wanted = [job.id for job in open_jobs if job.wish is JobWish.RUN]
        if wanted:
            self.services.jobs.pause(wanted)
        elif open_jobs:
            self.services.jobs.resume([job.id for job in open_jobs])

    def action_drop(self) -> None:
        """Cancel what runs or waits, drop what has ended: always asks."""
        from tui.ui.widgets.confirm import ConfirmDialog

        jobs = list(self._table.chosen)
        if not jobs:
            return
        question, choices = cancel_question(jobs, binary=self.binary)
        self.app.push_screen(ConfirmDialog(question, choices), lambda answer: self._dropped(jobs, answer))

    def _dropped(self, jobs: list[Job], answer: str | None) -> None:
        ended = [job.id for job in jobs if job.state.ended]
        going = [job.id for job in jobs if not job.state.ended]
        if answer == "pause" and going:
            self.services.jobs.pause(going)
        elif answer == "cancel":
            if going:
                self.services.jobs.cancel(going)
            if ended:
                self.services.jobs.remove(ended)
            self._table.clear_marks()

    def action_retry(self) -> None:
        """Run failed or cancelled ones again."""
        ids = [job.id for job in self._table.chosen if job.state in (JobState.FAILED, JobState.CANCELLED)]
        if ids:
            self.services.jobs.retry(ids)

    def action_move(self, where: str) -> None:
        """Move in the queue; several keep their order."""
        jobs = [job for job in self._table.chosen if not job.state.ended]
        if jobs:
            self.services.jobs.move([job.id for job in jobs], where)

    def action_copy(self) -> None:
        """Copy the names."""
        names = [job.model for job in self._table.chosen]
        if names:
            self.app.copy_to_clipboard("\n".join(names))
