"""A conversation as the Chat screen's tests show it."""

from __future__ import annotations

from typing import Any

from tui.core.chat import AnswerState, Message, Role, Timeline
from tui.core.events import Metrics
from tui.services.chat.api import ConversationView


def prompt(text: str, number: int = 1, **fields: Any) -> Message:
    return Message(number, 7, number, Role.USER, text, **fields)


def answer(text: str, state: AnswerState = AnswerState.COMPLETE, number: int = 2, **fields: Any) -> Message:
    timeline = Timeline(waited=0.0, loaded=0.0, read=0.3, wrote=4.4, first_token=0.3, rate=48.0)
    given = {"timeline": timeline, "metrics": Metrics(31, 212), "model": "qwen3:8b", **fields}
    return Message(number, 7, number, Role.ASSISTANT, text, state=state, **given)


def view(*messages: Message, **fields: Any) -> ConversationView:
    given = {"used": 300, "used_estimated": False, "window": 4096, **fields}
    return ConversationView(7, "Which quantization?", "ollama", "qwen3:8b", messages=messages, **given)
