"""What is coming, and when it is here: the queue, its history, and one entry in detail."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from tui.core.jobs import Job, PastJob, QueueView
from tui.ui.frame import Line, Part
from tui.ui.screens import pull_history
from tui.ui.screens.fits import Fits, machine_of
from tui.ui.screens.parts import Rule
from tui.ui.screens.pull_detail import PullDetail, past_facts
from tui.ui.screens.pull_history import PastTable
from tui.ui.screens.pull_rows import PullTable, QueueWords, bar_width, columns, state_of
from tui.ui.screens.pull_verbs import PullVerbs
from tui.ui.screens.pull_words import summary, title
from tui.ui.widgets.filter import FilterInput
from tui.ui.widgets.rows import Rows

VIEWS = (("queue", "Queue"), ("history", "History"))
_SEARCH_AFTER = 0.15
"""Seconds without a key until the history is searched."""
_NAMED_FROM = 100
"""Cells from which the views' names stand beside the summary of the queue."""


class PullsScreen(PullVerbs):
    """The queue of downloads."""

    NAME = "pulls"
    HELP_LINES = (
        "Downloads are worked by a process of their own: they go on when you quit. Marks apply a key to several rows. "
        "Ollama has no bandwidth limit: pulls pause and go on in turns, so it comes in bursts."
    )
    AUTO_FOCUS = "#queue"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "view(1)", "view", key_display="[ ]", id="pulls.next_view", tooltip="queue or history"),
        Binding("left_square_bracket", "view(-1)", "view", show=False, id="pulls.previous_view", tooltip="queue or history"),
        Binding("slash", "filter", "filter", id="pulls.filter", tooltip="show only rows that hold some words; esc clears"),
    ]

    def __init__(self, services: Any) -> None:
        super().__init__(services)
        self._words = QueueWords(lambda: self.services.config.current.value)
        self._fits = Fits()
        self._view = "queue"
        self._filters = {"queue": "", "history": ""}
        self._drawn_for: tuple[int, str, int] = (0, "", 0)
        self._states: tuple[Any, ...] = ()
        self._moving: Sequence[object] = ()
        self._ended: frozenset[tuple[int, float | None]] = frozenset()
        self._search_timer: Timer | None = None

    def body(self) -> Iterator[Widget]:
        """Views and summary, tables, detail."""
        with Horizontal(id="pulls-head"):
            yield Line(id="pulls-views")
            yield FilterInput(placeholder="words", compact=True, select_on_focus=False, id="pulls-filter")
            yield Line(id="pulls-summary")
        yield PullTable(
            columns(self._words, 80, ascii=self.ascii, binary=self.binary),
            key=lambda job: job.id,
            state=state_of,
            text=self._words.searched,
            empty="Nothing is queued. a pulls a model.",
            gap=1,
            id="queue",
        )
        yield PastTable(
            pull_history.columns(80, binary=self.binary),
            key=lambda past: past.id,
            state=pull_history.state_of,
            empty="Nothing has ended yet.",
            gap=1,
            id="history",
        )
        yield Rule(ascii=self.ascii, id="pulls-rule")
        yield PullDetail(ascii=self.ascii, id="pull")

    def start(self) -> None:
        """Follow the queue and its history."""
        self._past.display = False
        field = self.query_one("#pulls-filter", Input)
        field.display, field.cursor_blink = False, False
        self.follow(self.services.jobs.view, self._draw_moved, fps=20)
        self.follow(self.services.jobs.view, self._draw, fps=2)
        self.follow(self.services.jobs.past, self._draw_past, fps=20)
        self.follow(self.services.monitor.latest, lambda _view: self._machine_moved(), fps=1)
        self.follow(self.services.config.current, lambda _settings: self._draw(self.services.jobs.view.value), fps=4)

    # --- drawing ------------------------------------------------------------------------------------------------------

    @property
    def _queue(self) -> PullTable:
        return self.query_one(PullTable)

    @property
    def _past(self) -> PastTable:
        return self.query_one(PastTable)

    @property
    def _table(self) -> Rows[Any]:
        return self._queue if self._view == "queue" else self._past

    @property
    def chosen_jobs(self) -> list[Job]:
        """See `PullVerbs`."""
        return self._queue.chosen if self._view == "queue" else []

    @property
    def chosen_past(self) -> list[PastJob]:
        """See `PullVerbs`."""
        return self._past.chosen if self._view == "history" else []

    def forget_marks(self) -> None:
        """See `PullVerbs`."""
        self._table.clear_marks()

    def _draw_moved(self, view: QueueView) -> None:
        """At once where more moved than figures; those may wait half a second, because they cost a screen each time."""
        if moving(view) != self._moving:
            self._draw(view)

    def _draw(self, view: QueueView) -> None:
        self._moving = moving(view)
        self._words.take(view.jobs)
        self._fit_columns(self.size.width or 80)
        self._queue.set_items(view.jobs)
        ended = frozenset((job.id, job.ended_at) for job in view.jobs if job.state.ended)
        if self._view == "history" and ended != self._ended:
            self._search()
        self._ended = ended
        self._draw_head()
        self._draw_detail()

    def _machine_moved(self) -> None:
        """Most samples change no verdict: then nothing is drawn."""
        if machine_of(self.services) != self._fits.machine:
            self._draw_detail()

    def _draw_past(self, past: tuple[PastJob, ...]) -> None:
        self._past.set_items(past)
        words = self._filters["history"]
        self._past.set_empty(f"No entry of the history holds {words!r}." if words else "Nothing has ended yet.")
        if self._view == "history":
            self._draw_head()
            self._draw_detail()

    def _fit_columns(self, width: int) -> None:
        wanted = (bar_width(width), str(self.binary), int(width >= _NAMED_FROM))
        if wanted != self._drawn_for:
            self._drawn_for = wanted
            self._queue.set_columns(columns(self._words, width, ascii=self.ascii, binary=self.binary))
            self._past.set_columns(pull_history.columns(width, binary=self.binary))

    def _draw_head(self) -> None:
        width = self.size.width or 80
        views = self.query_one("#pulls-views", Line)
        views.display = self._view != "queue" or width >= _NAMED_FROM
        parts: list[Part] = [(" ", "")]
        for name, words in VIEWS:
            here = name == self._view
            parts.append((f"[{words}]" if here else f" {words} ", "bold $primary" if here else "$text-muted"))
        views.show(*parts)
        field = self.query_one("#pulls-filter", Input)
        field.display = bool(self._filters[self._view]) or field.has_focus
        room = width - (19 if views.display else 0) - (field.size.width + 2 if field.display else 0)
        line = self.query_one("#pulls-summary", Line)
        if self._view == "history":
            number = self._past.total
            line.show((f" {number} {'entry' if number == 1 else 'entries'}, newest first", "$foreground"), *self._marked())
        elif self._filters["queue"]:
            line.show((f" {self._queue.shown} of {self._queue.total}", "$foreground"), *self._marked())
        else:
            hint = "" if views.display else "] history"
            line.show(*summary(self.services.jobs.view.value, room, hint=hint, binary=self.binary))

    def _marked(self) -> list[Part]:
        table = self._table
        number, hidden = len(table.marks), table.marked_hidden
        if not number:
            return []
        return [(f", {number} marked{f' ({hidden} hidden)' if hidden else ''}", "$text-accent")]

    def _draw_detail(self) -> None:
        self._fits.take(self.services)
        rule, pane = self.query_one("#pulls-rule", Rule), self.query_one("#pull", PullDetail)
        item = self._table.highlighted
        rule.visible = item is not None
        if isinstance(item, PastJob):
            rule.set_title(pull_history.name_of(item))
            pane.show_lines(past_facts(item, binary=self.binary))
        else:
            rule.set_title(title(item) if item is not None else "")
            pane.show_job(item, self.services.jobs.view.value.worker, self._fits, self._words.names, binary=self.binary)
        states = (self._view, *((one.id, one.state, getattr(one, "wish", ""), getattr(one, "wait", "")) for one in self._table.chosen))
        if states != self._states:
            self._states = states
            self.refresh_bindings()

    def on_resize(self, event: events.Resize) -> None:
        """More of the bar where there is room."""
        super().on_resize(event)
        self._fit_columns(event.size.width)
        self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        self._draw_head()
        self._draw_detail()

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Another entry in detail."""
        self._draw_detail()

    def on_rows_marked(self, event: Rows.Marked) -> None:
        """Keys may do more or less now."""
        self._draw_head()
        self.refresh_bindings()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter: the detail with its layers; in the history, pull it again."""
        if self._view == "history":
            self.action_retry()
        else:
            self._open_detail(True)

    def _open_detail(self, on: bool) -> None:
        detail = self.query_one("#pull", PullDetail)
        detail.set_class(on, "-open")
        (detail if on else self._table).focus()
        self._draw_detail()

    def action_back(self) -> None:
        """Esc: close the detail, else end a range, clear the filter, unmark, or leave the history."""
        if self.query_one("#pull", PullDetail).has_class("-open"):
            self._open_detail(False)
        elif self._filters[self._view]:
            self.action_filter_clear()
        elif not self._table.step_back() and self._view == "history":
            self._show_view("queue")

    # --- views and filter ---------------------------------------------------------------------------------------------

    def action_view(self, step: int) -> None:
        """The other view."""
        names = [name for name, _words in VIEWS]
        self._show_view(names[(names.index(self._view) + step) % len(names)])

    def _show_view(self, name: str) -> None:
        self.query_one("#pull", PullDetail).remove_class("-open")
        self._view = name
        self._queue.display = name == "queue"
        self._past.display = name == "history"
        self.query_one("#pulls-filter", Input).value = self._filters[name]
        if name == "history":
            self._search()
        self._table.focus()
        self.refresh_bindings()
        self.call_after_refresh(self._redraw)

    def _search(self) -> None:
        self._search_timer = None
        self.services.jobs.search_past(self._filters["history"])

    def action_filter(self) -> None:
        """Type the filter."""
        field = self.query_one("#pulls-filter", Input)
        field.display = True
        field.focus()
        self.call_after_refresh(self._draw_head)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing; the history is searched in the database."""
        if event.input.id != "pulls-filter" or event.value == self._filters[self._view]:
            return
        self._filters[self._view] = event.value
        if self._view == "queue":
            self._queue.set_filter(event.value)
        else:
            if self._search_timer is not None:
                self._search_timer.stop()
            self._search_timer = self.set_timer(_SEARCH_AFTER, self._search)
        self._redraw()

    def action_filter_done(self) -> None:
        """Back to the list, the filter stays."""
        self._table.focus()
        self.call_after_refresh(self._draw_head)

    def action_filter_clear(self) -> None:
        """Clear, and back to the list."""
        self.query_one("#pulls-filter", Input).value = ""
        self._filters[self._view] = ""
        if self._view == "queue":
            self._queue.set_filter("")
        else:
            self._search()
        self.action_filter_done()
        self._draw_detail()

    @property
    def now(self) -> float:
        """See `PullVerbs`."""
        return time.time()


def moving(view: QueueView) -> Sequence[object]:
    """What of a queue is no figure."""
    return [(job.id, job.state, job.wish, job.wait, job.note, job.limit, job.after, job.not_before) for job in view.jobs]
