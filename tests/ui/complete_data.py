"""A completion without an engine, and a screen that holds nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textual.widget import Widget

from tests.support.fake_services import FakeServices, Recorder, ScreenHost
from tui.core.chat import AnswerState, Timeline
from tui.core.events import Metrics
from tui.core.observe import Observable
from tui.services.chat.api import CompletionView
from tui.ui.base import AppScreen
from tui.ui.screens.complete_view import CompleteView

MODEL = ("ollama", "qwen2.5-coder:7b")
BEFORE = "def fits(free: int, weights: int) -> bool:\n    return "
AFTER = "\n\nprint(fits(24, 19))"


class FakeCompletion(Recorder):
    """Verbs that only remember they were called."""

    def __init__(self, calls: list[Any]) -> None:
        super().__init__(calls)
        self.view: Observable[CompletionView] = Observable(CompletionView())

    def show(self, step: int) -> None:
        self.calls.append(("show_candidate", (step,), {}))


def suggested(*candidates: str, state: AnswerState = AnswerState.COMPLETE, **fields: Any) -> CompletionView:
    """What the service says: the last candidate is in view."""
    fields = {"timeline": Timeline(first_token=0.2, rate=48.0), "metrics": Metrics(40, 12), **fields}
    return CompletionView(*MODEL, candidates=candidates, shown=len(candidates) - 1, state=state, **fields)


class CompleteScreen(AppScreen):
    """The gap in the frame, as the Chat screen shows it."""

    NAME = "chat"

    def __init__(self, services: Any, completion: FakeCompletion) -> None:
        super().__init__(services)
        self.completion = completion
        self.left = 0

    def body(self) -> Iterator[Widget]:
        yield CompleteView(self.completion, id="complete")

    def start(self) -> None:
        gap = self.query_one(CompleteView)
        gap.use(*MODEL)
        gap.focus()
        self.follow(self.completion.view, gap.show, fps=60)

    def on_complete_view_left(self, event: CompleteView.Left) -> None:
        self.left += 1


def host(fake: FakeServices, completion: FakeCompletion, **options: Any) -> ScreenHost:
    """An app with this screen."""
    return ScreenHost(CompleteScreen(fake, completion), **options)
