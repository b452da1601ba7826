"""A conversation as the Chat screen's tests show it."""

from __future__ import annotations

from typing import Any

from tests.support.fake_services import ScreenHost
from tests.support.screen import screen_text, until
from tui.core.chat import AnswerState, Message, Role, Timeline
from tui.core.events import Metrics
from tui.services.chat.api import ConversationView
from tui.ui.widgets.transcript import Transcript


def prompt(text: str, number: int = 1, **fields: Any) -> Message:
    return Message(number, 7, number, Role.USER, text, **fields)


def answer(text: str, state: AnswerState = AnswerState.COMPLETE, number: int = 2, **fields: Any) -> Message:
    timeline = Timeline(waited=0.0, loaded=0.0, read=0.3, wrote=4.4, first_token=0.3, rate=48.0)
    given = {"timeline": timeline, "metrics": Metrics(31, 212), "model": "qwen3:8b", **fields}
    return Message(number, 7, number, Role.ASSISTANT, text, state=state, **given)


def view(*messages: Message, **fields: Any) -> ConversationView:
    given = {"used": 300, "used_estimated": False, "window": 4096, **fields}
    return ConversationView(7, "Which quantization?", "ollama", "qwen3:8b", messages=messages, **given)


async def shown(app: ScreenHost, words: str) -> None:
    """The words are on screen; a transcript there, which draws the newest messages first, has drawn all it has."""

    def there() -> bool:
        shown = (one for one in app.screen.query(Transcript) if one.display and one._look.width)
        return words in screen_text(app) and not any(one._dirty or one._again is not None for one in shown)

    await until(there, what=f"{words!r} in\n{screen_text(app)}")
