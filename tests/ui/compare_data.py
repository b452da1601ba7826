"""A comparison of the wireframes' world, and a screen that holds nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textual.widget import Widget

from tests.support.fake_services import FakeServices, ScreenHost
from tui.core.chat import AnswerState, Message, Role, Timeline
from tui.core.events import Metrics
from tui.core.observe import Observable
from tui.services.chat.api import AnswerBuffer, CompareColumn, ConversationView, LiveAnswer
from tui.services.chat.api import CompareView as Compared
from tui.ui.base import AppScreen
from tui.ui.screens.compare_view import CompareView

MODELS = (("ollama", "qwen3:8b"), ("ollama", "gemma3:12b"), ("vllm-a", "phi4:14b"), ("lcpp", "mistral-small:24b"))
PROMPT = "Which quantization should I pick for 24 GB, and why? Say it in a few words."
TEXT = "Short answer: **Q4_K_M** unless memory is plentiful.\n\n```python\nfits = True\n```\n"


def answer(at: int, text: str = TEXT, state: AnswerState = AnswerState.COMPLETE, **fields: Any) -> Message:
    """The stored answer of a column."""
    provider, model = MODELS[at]
    timeline = Timeline(waited=0.0, loaded=at * 2.0, read=0.3, wrote=4.4, first_token=0.3 + at, rate=48.0 + at)
    fields = {"timeline": timeline, "metrics": Metrics(31, 212 - at), **fields}
    return Message(10 + at, 7, 10 + at, Role.ASSISTANT, text, state=state, model=model, provider=provider, parent=1, comparison=1, **fields)


def view(*answers: Message, count: int = 0, how: str = "at once: together they need 19 GB of 24 GB", **fields: Any) -> ConversationView:
    """The conversation with its comparison; columns without an answer wait."""
    count = count or len(answers)
    known = {message.id for message in answers}
    waits = fields.pop("waits", "")
    columns = tuple(
        CompareColumn(provider, model, 10 + at if 10 + at in known else 0, "" if 10 + at in known else waits, model)
        for at, (provider, model) in enumerate(MODELS[:count])
    )
    compare = Compared(1, 1, columns, how, blind=fields.pop("blind", False), vote=fields.pop("vote", 0))
    prompt = Message(1, 7, 1, Role.USER, fields.pop("prompt", PROMPT))
    stored = {message.id: message for message in answers}
    return ConversationView(7, "q", "ollama", "qwen3:8b", messages=(prompt, *answers[:1]), answers=stored, compare=compare, **fields)


def live(at: int, phase: str = "writing", note: str = "", **fields: Any) -> LiveAnswer:
    """An answer being written."""
    provider, model = MODELS[at]
    state = AnswerState.WAITING if phase in ("waiting", "loading", "reading") else AnswerState.WRITING
    fields = {"buffer": AnswerBuffer(), **fields}
    return LiveAnswer(7, 10 + at, model, provider, state, phase, note, 0.0, 0.0, **fields)


class CompareScreen(AppScreen):
    """The comparison in the frame, as the Chat screen shows it."""

    NAME = "chat"

    def body(self) -> Iterator[Widget]:
        yield CompareView(self.services.chat, id="compare")

    def start(self) -> None:
        chat: Any = self.services.chat
        if "compared" not in vars(chat):
            chat.compared = Observable(())
        self.follow(chat.view, lambda _view: self._draw(), fps=60)
        self.follow(chat.compared, lambda _live: self._draw(), fps=60)
        self.query_one(CompareView).focus()

    def _draw(self) -> None:
        self.query_one(CompareView).show(self.services.chat.view.value, self.services.chat.compared.value)


def host(fake: FakeServices, **options: Any) -> ScreenHost:
    """An app with this screen."""
    return ScreenHost(CompareScreen(fake), **options)
