"""What the queue says beyond the screens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.ui.test_pulls import job, queue
from tui.core.chat import AnswerState
from tui.core.errors import Failure
from tui.core.jobs import Job, JobKind, JobState, JobWish, QueueView, Wait
from tui.services.chat.api import LiveAnswer
from tui.ui.outside import Answers, Outside, title_words
from tui.ui.status import pulls_text
from tui.ui.wire_marks import WindowMarks


class Window(WindowMarks):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        super().__init__(self.said.append, {"TERM_PROGRAM": "ghostty", "TERM": "xterm-256color"})
        self.start()


class Clock:
    """A clock the test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Desk:
    """An `Outside` with a window and a list of toasts."""

    def __init__(self, *, notify: bool = True, still: bool = False) -> None:
        self.window, self.clock = Window(), Clock()
        self.toasts: list[tuple[str, bool]] = []
        self.outside = Outside(
            lambda: self.window,
            lambda text, bad: self.toasts.append((text, bad)),
            ascii=lambda: False,
            still=lambda: still,
            notify=lambda: notify,
            clock=self.clock,  # type: ignore[arg-type]
        )

    def take(self, *jobs: Job, **figures: float) -> None:
        self.outside.take(QueueView(jobs, done=int(figures.get("done", 0)), total=int(figures.get("total", 0))))


RUNNING = job(1, "qwen3:8b", JobState.FETCHING)
DONE = job(1, "qwen3:8b", JobState.DONE)
BROKEN = job(2, "mistral:7b", JobState.FAILED, failure=Failure("No route to the registry", "registry.ollama.ai", "Check the network"))
WAITING = job(2, "mistral:7b", JobState.WAITING)


def test_the_title_says_what_runs_and_how_far() -> None:
    assert title_words(queue(), ascii=False, still=False) == "paddock ↓69% 2 running"
    one = QueueView((RUNNING,), done=62, total=100)
    assert title_words(one, ascii=False, still=False) == "paddock ↓62% qwen3:8b"
    assert title_words(one, ascii=True, still=True) == "paddock v qwen3:8b"
    assert title_words(QueueView((DONE,)), ascii=False, still=False) == ""


def test_the_status_bar_sums_up() -> None:
    assert pulls_text(queue(), 2, ascii=False) == "↓2 38M/s 69%"
    assert pulls_text(QueueView((RUNNING,)), 1, ascii=True) == "v1"


def test_the_window_follows_and_is_left_as_it_was() -> None:
    desk = Desk()
    desk.take(RUNNING, done=30, total=100)
    assert desk.window.said == ["\x1b[22;2t\x1b]2;paddock ↓30% qwen3:8b\x07", "\x1b]9;4;1;30\x1b\\"]
    desk.take(replace(RUNNING, state=JobState.PAUSED, wish=JobWish.PAUSE), done=30, total=100)
    assert desk.window.said[2:] == ["\x1b]2;\x07\x1b[23;2t", "\x1b]9;4;0\x1b\\"]


@pytest.mark.parametrize(("still", "state"), [(False, "3"), (True, "1")])
def test_an_unknown_amount_moves_only_where_motion_is_wanted(still: bool, state: str) -> None:
    desk = Desk(still=still)
    desk.take(RUNNING)
    assert desk.window.said[-1] == f"\x1b]9;4;{state};0\x1b\\"


def test_one_notice_when_the_queue_ends() -> None:
    desk = Desk()
    desk.take(RUNNING, WAITING)
    desk.take(DONE, WAITING)
    assert desk.toasts == []
    desk.take(DONE, replace(WAITING, state=JobState.DONE))
    desk.take(DONE, replace(WAITING, state=JobState.DONE))
    assert desk.toasts == [("The queue is done: 2 pulled.", False)]
    assert desk.window.said[-1] == "\x07\x1b]9;Paddock: The queue is done: 2 pulled.\x07"


def test_a_failure_is_said_at_once_and_many_together() -> None:
    desk = Desk()
    rest = job(9, "phi4:14b", JobState.WAITING)
    others = [job(n, f"model:{n}", JobState.WAITING) for n in range(3, 6)]
    desk.take(RUNNING, WAITING, *others, rest)
    desk.take(RUNNING, BROKEN, *others, rest)
    assert desk.toasts == [("mistral:7b failed: No route to the registry", True)]
    broken = [replace(one, state=JobState.FAILED, failure=BROKEN.failure) for one in others]
    desk.take(RUNNING, BROKEN, *broken, rest)
    assert len(desk.toasts) == 1
    desk.clock.now = 61.0
    desk.take(RUNNING, BROKEN, *broken, rest)
    assert desk.toasts[1:] == [("3 entries of the queue failed, at last model:5: No route to the registry", True)]
    desk.take(DONE, BROKEN, *broken, replace(rest, wait=Wait.ANSWER))
    assert desk.toasts[2:] == [("The queue is done: 1 pulled, 4 failed. 1 rests.", True)]


def test_what_ended_before_we_looked_is_no_news() -> None:
    desk = Desk()
    desk.take()
    desk.take(DONE, BROKEN)
    assert desk.toasts == []


def test_a_cancel_is_no_news_and_the_setting_silences() -> None:
    desk = Desk()
    desk.take(RUNNING)
    desk.take(replace(RUNNING, state=JobState.CANCELLED))
    assert desk.toasts == []
    quiet = Desk(notify=False)
    quiet.take(RUNNING)
    quiet.take(DONE)
    assert quiet.toasts == []
    assert not [said for said in quiet.window.said if "\x07\x1b]9;P" in said]


def test_one_entry_is_named() -> None:
    desk = Desk()
    pushed = replace(RUNNING, kind=JobKind.PUSH, model="ann/mine:7b")
    desk.take(pushed)
    desk.take(replace(pushed, state=JobState.DONE))
    assert desk.toasts == [("ann/mine:7b is pushed. The queue is done.", False)]


LIVE = LiveAnswer(7, 2, "qwen3:8b", "ollama", AnswerState.WRITING, "writing", "", 0.0, 0.0)


@pytest.mark.parametrize(
    ("last", "stored", "took", "elsewhere", "after", "said"),
    [
        (None, AnswerState.COMPLETE, 65.0, True, 30.0, [("qwen3:8b has answered after 1m05s.", False)]),
        (replace(LIVE, state=AnswerState.COMPLETE), AnswerState.WRITING, 65.0, True, 30.0, [("qwen3:8b has answered after 1m05s.", False)]),
        (replace(LIVE, message_id=9), AnswerState.INTERRUPTED, 40.0, True, 30.0, [("qwen3:8b was interrupted after 40s.", True)]),
        (None, AnswerState.STOPPED, 65.0, True, 30.0, []),
        (None, AnswerState.COMPLETE, 20.0, True, 30.0, []),
        (None, AnswerState.COMPLETE, 65.0, False, 30.0, []),
        (None, AnswerState.COMPLETE, 65.0, True, 0.0, []),
    ],
)
def test_a_long_answer_that_ends_while_one_looks_elsewhere(
    last: LiveAnswer | None, stored: AnswerState, took: float, elsewhere: bool, after: float, said: list[tuple[str, bool]]
) -> None:
    clock = Clock()
    told: list[tuple[str, bool]] = []
    answers = Answers(
        lambda text, bad: told.append((text, bad)),
        elsewhere=lambda: elsewhere,
        after=lambda: after,
        state=lambda _number: stored,
        clock=clock,  # type: ignore[arg-type]
    )
    answers.take(None)
    answers.take(LIVE)
    clock.now = took
    answers.take(replace(LIVE, pieces=3))
    assert told == []
    answers.take(last)
    answers.take(None if last is None else replace(last, state=AnswerState.COMPLETE))
    assert told[:1] == said
