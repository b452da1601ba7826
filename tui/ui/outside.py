"""What is said beyond the screens: the queue in the window's title and progress, notices when it or a long answer ends, and of alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from tui.core.chat import AnswerState
from tui.core.clock import SYSTEM, Clock
from tui.core.jobs import Job, JobKind, JobState, JobWish, QueueView, Wait
from tui.core.monitor import Alert, AlertsView
from tui.text import clean_label, duration
from tui.ui.screens.pull_words import title

if TYPE_CHECKING:
    from textual.app import App

    from tui.services.api import Services
    from tui.services.chat.api import LiveAnswer
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


_ENDS: Final = {
    AnswerState.COMPLETE: "has answered",
    AnswerState.LENGTH: "has answered, cut by length",
    AnswerState.INTERRUPTED: "was interrupted",
    AnswerState.FAILED: "has failed",
}


class Answers:
    """Looks at the answer being written, and says when a long one ends while one looks elsewhere.

    Args:
        say: Shows and rings; second argument: whether it is bad news.
        elsewhere: Whether another screen is shown or the terminal is not looked at.
        after: The setting `chat.notify_after`, seconds; 0: never.
        state: How the stored answer of this id ended.
    """

    def __init__(
        self,
        say: Callable[[str, bool], Any],
        *,
        elsewhere: Callable[[], bool],
        after: Callable[[], float],
        state: Callable[[int], AnswerState],
        clock: Clock = SYSTEM,
    ) -> None:
        self._say, self._elsewhere, self._after, self._state, self._clock = say, elsewhere, after, state, clock
        self._live: LiveAnswer | None = None

    def take(self, live: LiveAnswer | None) -> None:
        """Look at the newest snapshot."""
        before, self._live = self._live, live if live is not None and not live.state.ended else None
        if before is None or (self._live is not None and self._live.message_id == before.message_id):
            return
        same = live is not None and live.message_id == before.message_id
        words = _ENDS.get(live.state if same and live is not None else self._state(before.message_id))
        took = self._clock.monotonic() - before.sent_at
        if words is not None and 0 < self._after() <= took and self._elsewhere():
            bad = words in (_ENDS[AnswerState.INTERRUPTED], _ENDS[AnswerState.FAILED])
            self._say(f"{clean_label(before.model, 60)} {words} after {duration(took)}.", bad)


def answers_of(app: App[Any], services: Services) -> Answers:
    """For the app: a toast, and the window's notice where there is a window."""

    def say(text: str, bad: bool) -> None:
        app.notify(text, severity="error" if bad else "information", markup=False, timeout=8)
        marks = getattr(app._driver, "marks", None)
        if marks is not None:
            marks.notice(text)

    def state(number: int) -> AnswerState:
        messages = services.chat.view.value.messages
        return next((message.state for message in messages if message.id == number), AnswerState.STOPPED)

    return Answers(
        say,
        elsewhere=lambda: app.current_mode != "chat" or not app.app_focus,
        after=lambda: services.config.current.value.chat.notify_after,
        state=state,
    )


class Alarms:
    """Looks at each view of the alerts, and says what began and what ended since this window opened.

    Args:
        opened_at: Epoch seconds.
        toast: Shows a text in the app; second argument: whether it is bad news.
        marks: The window's marks, None where there is no window.
        notify: The setting `alerts.notify`.
        bell: The setting `alerts.bell`.
        words: An alert in a sentence.
        hold: Seconds that its figure had to be over the limit before it was an alert.
    """

    def __init__(
        self,
        opened_at: float,
        toast: Callable[[str, bool], Any],
        marks: Callable[[], WindowMarks | None],
        *,
        notify: Callable[[], bool],
        bell: Callable[[], bool],
        words: Callable[[Alert, float], str],
        hold: Callable[[Alert], float] = lambda _alert: 0.0,
        clock: Clock = SYSTEM,
    ) -> None:
        self._toast, self._marks, self._notify, self._bell, self._words, self._clock = toast, marks, notify, bell, words, clock
        self._hold = hold
        self._opened_at = opened_at
        self._lasting: dict[int, Alert] = {}

    def take(self, view: AlertsView) -> None:
        """Look at the newest view; an alert that began before this window opened is not told when it is first seen."""
        now = self._clock.time()
        lasting = {alert.id: alert for alert in view.active}
        ended = {alert.id: alert for alert in view.log if alert.id in self._lasting}
        began = [alert for alert in view.active if alert.id not in self._lasting and self._since_opened(alert)]
        self._lasting = lasting
        if view.muted_until is not None and view.muted_until > now:
            return
        for alert in ended.values():
            if self._since_opened(alert):
                self._say(self._words(alert, now), bad=False)
        for alert in began:
            self._say(self._words(alert, now), bad=True)

    def _since_opened(self, alert: Alert) -> bool:
        return alert.started_at + self._hold(alert) >= self._opened_at

    def _say(self, text: str, *, bad: bool) -> None:
        self._toast(clean_label(text, 200), bad)
        marks = self._marks()
        if marks is not None and (self._notify() or self._bell()):
            marks.notice(clean_label(text, 200), ring=self._bell(), tell=self._notify())


def alarms_of(app: App[Any], services: Services, opened_at: float) -> Alarms:
    """For the app, whose window opened at this time (epoch seconds)."""
    from tui.core.alert_words import PROVIDER_DOWN, alert_sentence

    def settings() -> Any:
        return services.config.current.value

    def hold(alert: Alert) -> float:
        seconds: float = settings().alerts.provider_down if alert.rule == PROVIDER_DOWN else settings().alerts.after
        return seconds

    return Alarms(
        opened_at,
        lambda text, bad: app.notify(text, severity="warning" if bad else "information", markup=False, timeout=8),
        lambda: getattr(app._driver, "marks", None),
        notify=lambda: settings().alerts.notify,
        bell=lambda: settings().alerts.bell,
        words=lambda alert, now: alert_sentence(alert, now, fahrenheit=settings().monitor.temperature_unit == "F"),
        hold=hold,
    )
