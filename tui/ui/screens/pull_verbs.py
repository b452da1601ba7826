"""What the keys of the Pulls screen ask of the queue, and when they do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.core.jobs import Job, JobKind, JobState, JobWish, PastJob, Wait, circle
from tui.services.asks import because, question
from tui.ui.screens.pull_words import AGAIN, cancel_question, changes_question
from tui.ui.screens.refusing import RefusingScreen

_QUEUE_ONLY = frozenset({"pause", "drop", "move", "bandwidth", "options", "reapply"})
_LOOKS = frozenset({"copy"})


class PullVerbs(RefusingScreen):
    """Keys of the queue and of its history; the screen says what they act on."""

    VERBS = frozenset({*_QUEUE_ONLY, *_LOOKS, "add", "retry"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "add", id="pulls.add", tooltip="pull models by name"),
        Binding("p", "pause", "pause/go on", id="pulls.pause", tooltip="pause the pull, or go on; what was fetched is kept; says yes"),
        Binding("d", "drop", "cancel", id="pulls.cancel", tooltip="cancel the pull, or drop an ended one from the list; asks"),
        Binding("r", "retry", "retry", id="pulls.retry", tooltip="run it again, or at once where it waits for its next try"),
        Binding("K", "move('up')", "move", key_display="K J T", id="pulls.up", tooltip="K up in the queue, J down, T first"),
        Binding("J", "move('down')", "down", show=False, id="pulls.down", tooltip="down in the queue"),
        Binding("T", "move('first')", "first", show=False, id="pulls.first", tooltip="first in the queue"),
        Binding("b", "bandwidth", "bandwidth", id="pulls.bandwidth", tooltip="limit the queue, or this entry"),
        Binding("e", "options", "options", id="pulls.options", tooltip="when it starts, after which one, its limit, load it afterwards"),
        Binding(
            "u", "reapply", "apply changes", show=False, id="pulls.reapply", tooltip="apply again what you had changed of an updated model"
        ),
        Binding("y", "copy", "copy name", id="pulls.copy", tooltip="copy the model's name"),
    ]

    @property
    def chosen_jobs(self) -> list[Job]:
        """Entries of the queue that a key acts on."""
        return []

    @property
    def chosen_past(self) -> list[PastJob]:
        """Entries of the history that a key acts on."""
        return []

    def forget_marks(self) -> None:
        """Unmark what is gone."""

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return 0.0

    # --- what may be done ---------------------------------------------------------------------------------------------

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        jobs, past = self.chosen_jobs, self.chosen_past
        access = self.services.config.current.value.security.access
        if action not in _LOOKS and access != "full":
            return f"security.access = {access}: the queue can only be looked at."
        if action == "add":
            return ""
        if action == "bandwidth":
            return "[ goes back to the queue." if past else ""
        if past:
            return "This is the history; [ goes back to the queue." if action in _QUEUE_ONLY else ""
        if not jobs:
            return "There is nothing under the cursor."
        if action in ("pause", "move", "options") and all(job.state.ended for job in jobs):
            return "It has ended; r runs it again." if len(jobs) == 1 else "All of them have ended."
        if action == "retry" and not any(_can_retry(job) for job in jobs):
            return "It runs, or waits for its turn: there is nothing to retry."
        if action == "reapply" and not any(job.changes for job in jobs):
            return "Nothing you had changed was replaced by this pull."
        return ""

    def on_screen_resume(self) -> None:
        """What may be done depends on settings too."""
        super().on_screen_resume()
        self.refresh_bindings()

    # --- adding -------------------------------------------------------------------------------------------------------

    def action_add(self) -> None:
        """Ask which models."""
        from tui.ui.dialogs.pull import PullDialog

        self.app.push_screen(PullDialog(self.services))

    def action_retry(self) -> None:
        """Run failed or cancelled ones again, and at once what waits for a retry; of the history, pull it again."""
        past = self.chosen_past
        if past:
            self._pull_again(past)
            return
        ids = [job.id for job in self.chosen_jobs if _can_retry(job)]
        if ids:
            self.services.jobs.retry(ids)

    def _pull_again(self, past: list[PastJob]) -> None:
        from tui.ui.dialogs.pull import PullDialog

        pulls = [one for one in past if one.kind is JobKind.PULL]
        if not pulls:
            self.say("Only pulls can be run again from the history.")
            return
        names = "\n".join(dict.fromkeys(one.model for one in pulls))
        self.app.push_screen(PullDialog(self.services, names, provider=pulls[0].provider, asked_by="history"))

    # --- wishes -------------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Say yes to what asks; else pause what is wanted, else go on with what is paused."""
        going = [job for job in self.chosen_jobs if not job.state.ended]
        asking = [job for job in going if job.wait is Wait.ANSWER and job.wish is JobWish.RUN]
        if asking:
            self._answer(asking)
            return
        wanted = [job.id for job in going if job.wish is JobWish.RUN]
        if wanted:
            self.services.jobs.pause(wanted)
        elif going:
            self.services.jobs.resume([job.id for job in going])

    def _answer(self, jobs: list[Job]) -> None:
        from tui.ui.widgets.confirm import ConfirmDialog

        settings = self.services.config.current.value
        lines = []
        for job in jobs[:6]:
            lines.append(question(settings, job.model, job.size, job.asks, because(settings, job)))
        if len(jobs) > 6:
            lines.append(f"And {len(jobs) - 6} more.")
        ids = [job.id for job in jobs]

        def done(answer: str | None) -> None:
            if answer == "pull":
                self.services.jobs.resume(ids)
            elif answer == "pause":
                self.services.jobs.pause(ids)

        choices = (("keep", "Not now"), ("pause", "Pause"), ("pull", "Pull" if len(jobs) == 1 else "Pull all"))
        self.app.push_screen(ConfirmDialog("\n".join(lines), choices), done)

    def action_drop(self) -> None:
        """Cancel what runs or waits, drop what has ended: always asks."""
        from tui.ui.widgets.confirm import ConfirmDialog

        jobs = list(self.chosen_jobs)
        if not jobs:
            return
        text, choices = cancel_question(jobs, now=self.now, binary=self.binary)
        self.app.push_screen(ConfirmDialog(text, choices), lambda answer: self._dropped(jobs, answer))

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
            self.forget_marks()

    def action_move(self, where: str) -> None:
        """Move in the queue; several keep their order."""
        jobs = [job.id for job in self.chosen_jobs if not job.state.ended]
        if jobs:
            self.services.jobs.move(jobs, where)

    # --- what is set --------------------------------------------------------------------------------------------------

    def action_bandwidth(self) -> None:
        """Ask for the limits."""
        from tui.ui.dialogs.pull_options import apply_bandwidth, bandwidth_dialog

        queue = self.services.config.current.value.pulls.bandwidth
        jobs = [job for job in self.chosen_jobs if not job.state.ended and job.kind is JobKind.PULL]

        def done(values: Mapping[str, str] | None) -> None:
            if values is not None:
                apply_bandwidth(self.services.jobs, queue, jobs, values)

        self.app.push_screen(bandwidth_dialog(queue, jobs), done)

    def action_options(self) -> None:
        """Ask when it starts, after which one, how fast, and what follows."""
        from tui.ui.dialogs.pull_options import apply_options, options_dialog

        jobs = [job for job in self.chosen_jobs if not job.state.ended]
        open_jobs = [job for job in self.services.jobs.view.value.jobs if not job.state.ended]
        after_of = {one.id: one.after for one in open_jobs}
        barred = {one.id for one in open_jobs for job in jobs if circle(after_of, job.id, one.id)}
        others = [job for job in open_jobs if job.id not in barred]
        now = self.now

        def done(values: Mapping[str, str] | None) -> None:
            if values is not None:
                apply_options(self.services.jobs, jobs, others, values, now)

        if jobs:
            self.app.push_screen(options_dialog(jobs, others, now), done)

    def action_reapply(self) -> None:
        """Offer again what an update replaced."""
        from tui.ui.widgets.confirm import ConfirmDialog

        job = next((job for job in self.chosen_jobs if job.changes), None)
        if job is None:
            return

        def done(answer: str | None, job: Job = job) -> None:
            if answer == "apply":
                self.services.jobs.apply_changes(job.id)
            elif answer == "forget":
                self.services.jobs.forget_changes(job.id)

        choices = (("keep", "Not now"), ("forget", "Never"), ("apply", "Apply"))
        self.app.push_screen(ConfirmDialog(changes_question(job), choices), done)

    def action_copy(self) -> None:
        """Copy the names."""
        names = [job.model for job in self.chosen_jobs] or [past.model for past in self.chosen_past]
        if names:
            self.app.copy_to_clipboard("\n".join(names))


def _can_retry(job: Job) -> bool:
    return job.state in (JobState.FAILED, JobState.CANCELLED) or (job.state is JobState.WAITING and job.wait in AGAIN)
