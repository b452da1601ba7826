"""What the queue says beyond the screens: the window's title and progress, and a notice when it ends or something failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from tui.core.clock import SYSTEM, Clock
from tui.core.jobs import Job, JobKind, JobState, JobWish, QueueView, Wait
from tui.ui.screens.pull_words import title

if TYPE_CHECKING:
    from textual.app import App

    from tui.services.api import Services
    from tui.ui.wire_marks import WindowMarks

FAILURES_APART: Final = 60.0
"""Seconds between two notices about failures; what fails in between is counted in the next."""
_VERBS: Final = {JobKind.PULL: "pulled", JobKind.PUSH: "pushed"}


def title_words(view: QueueView, *, ascii: bool, still: bool) -> str:
    """`paddock ↓62% qwen3:8b`; empty while nothing runs. Without motion the percent is left out."""
    running = [job for job in view.jobs if job.state.running]
    if not running:
        return ""
    arrow = "v" if ascii else "↓"
    percent = "" if view.percent is None or still else f"{int(view.percent)}%"
    what = title(running[0]) if len(running) == 1 else f"{len(running)} running"
    return f"paddock {arrow}{percent} {what}"


class Outside:
    """Looks at each view of the queue and says what changed.

    Args:
        marks: The window's marks, None where there is no window (tests).
        toast: Shows a text in the app; second argument: whether it is bad news.
        still: Whether motion is unwanted.
        notify: The setting `pulls.notify`.
    """

    def __init__(
        self,
        marks: Callable[[], WindowMarks | None],
        toast: Callable[[str, bool], Any],
        *,
        ascii: Callable[[], bool],
        still: Callable[[], bool],
        notify: Callable[[], bool],
        clock: Clock = SYSTEM,
    ) -> None:
        self._marks, self._toast, self._clock = marks, toast, clock
        self._ascii, self._still, self._notify = ascii, still, notify
        self._open: dict[int, bool] = {}
        self._done: list[Job] = []
        self._failed: list[Job] = []
        self._unsaid: list[Job] = []
        self._said_at = float("-inf")

    def take(self, view: QueueView) -> None:
        """Look at the newest view."""
        self._show(view)
        ended = [job for job in view.jobs if job.state.ended and self._open.get(job.id)]
        self._open = {job.id: not job.state.ended for job in view.jobs}
        self._done += [job for job in ended if job.state is JobState.DONE]
        failed = [job for job in ended if job.state is JobState.FAILED]
        self._failed += failed
        self._unsaid += failed
        if self._done or self._failed:
            if not any(_goes_on(job) for job in view.jobs):
                self._end(sum(1 for job in view.jobs if not job.state.ended))
            elif self._unsaid and self._clock.monotonic() - self._said_at >= FAILURES_APART:
                self._said_at = self._clock.monotonic()
                self._say(failed_words(self._unsaid), bad=True)
                self._unsaid = []

    def _show(self, view: QueueView) -> None:
        marks = self._marks()
        if marks is None:
            return
        still = self._still()
        marks.title(title_words(view, ascii=self._ascii(), still=still))
        if any(job.state.running for job in view.jobs):
            # An unknown amount is drawn as a moving bar.
            marks.progress(view.percent or 0.0, known=view.percent is not None or still)
        else:
            marks.progress(None)

    def _end(self, resting: int) -> None:
        left = f" {resting} {'rests' if resting == 1 else 'rest'}." if resting else ""
        self._say(f"{ended_words(self._done, self._failed)}{left}", bad=bool(self._failed))
        self._done, self._failed, self._unsaid = [], [], []

    def _say(self, text: str, *, bad: bool) -> None:
        if not self._notify():
            return
        self._toast(text, bad)
        marks = self._marks()
        if marks is not None:
            marks.notice(text)


def _goes_on(job: Job) -> bool:
    """Whether it will still do something by itself; what asks for a yes does not."""
    return not job.state.ended and job.wish is JobWish.RUN and job.wait is not Wait.ANSWER


def failed_words(jobs: list[Job]) -> str:
    """`mistral:7b failed: no route to the registry`."""
    job = jobs[-1]
    why = f": {job.failure.what}" if job.failure is not None else ""
    return f"{title(job)} failed{why}" if len(jobs) == 1 else f"{len(jobs)} entries of the queue failed, at last {title(job)}{why}"


def ended_words(done: list[Job], failed: list[Job]) -> str:
    """`The queue is done: 3 pulled, 1 failed.`"""
    if len(done) == 1 and not failed:
        return f"{done[0].model} is {_VERBS.get(done[0].kind, 'made')}. The queue is done."
    if len(failed) == 1 and not done:
        return f"{failed_words(failed)}. The queue has ended."
    counted = list(_counted(done))
    if failed:
        counted.append(f"{len(failed)} failed")
    return f"The queue is done: {', '.join(counted)}."


def _counted(jobs: Iterable[Job]) -> Iterable[str]:
    numbers: dict[str, int] = {}
    for job in jobs:
        verb = _VERBS.get(job.kind, "made")
        numbers[verb] = numbers.get(verb, 0) + 1
    return (f"{number} {verb}" for verb, number in numbers.items())


def outside_of(app: App[Any], services: Services, ascii: Callable[[], bool]) -> Outside:
    """For the app on a terminal; in tests there is no window."""
    return Outside(
        lambda: getattr(app._driver, "marks", None),
        lambda text, bad: app.notify(text, severity="error" if bad else "information", markup=False, timeout=8),
        ascii=ascii,
        still=lambda: app.animation_level == "none",
        notify=lambda: services.config.current.value.pulls.notify,
    )
