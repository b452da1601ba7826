"""Small questions to a model beside the conversation: a title, a summary."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from tui.core.chat import ChatRequest, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta
from tui.providers.base import Provider
from tui.text import clean_block, clean_label, clean_name

TITLE: Final = 48
"""Characters of a title."""
WITHIN: Final = 300.0
"""Seconds a title or summary may take, a load included."""
_TITLE_FROM: Final = 2000
"""Characters of each of the first messages that a title is made from."""
_TITLE_ASK: Final = (
    "Give this conversation a title of at most six words, in its own language. Answer with the title alone, without quotation marks."
)
_SUMMARY_ASK: Final = (
    "Summarise the conversation so far for yourself: facts, decisions, names, figures, open questions and what was asked for, so"
    " that it can be continued without the messages themselves. Answer with the summary alone."
)


async def ask_model(provider: Provider, request: ChatRequest, within: float = WITHIN) -> str:
    """The text of a whole answer, thoughts left out.

    Raises:
        PaddockError: It failed, took too long, or is empty.
    """
    parts: list[str] = []
    stream = provider.chat(request)
    try:
        async with asyncio.timeout(within):
            async for event in stream:
                if isinstance(event, Delta):
                    parts.append(event.text)
    except TimeoutError as error:
        raise PaddockError.of(
            f"{clean_name(request.model)} took too long", provider.endpoint.name, "Try again, or choose another model", FailureKind.TIMEOUT
        ) from error
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    text = "".join(parts).strip()
    if not text:
        raise PaddockError.of(f"{clean_name(request.model)} answered nothing", provider.endpoint.name, "Try again", FailureKind.PROTOCOL)
    return text


def title_of(text: str) -> str:
    """A title of the first line that has words, cut at a word."""
    line = next((line.strip() for line in text.splitlines() if line.strip(" #>*`-\t\"'")), "").lstrip("#>*`- \"'").rstrip(" \"'*`")
    line = clean_label(line, 1000)
    if len(line) <= TITLE:
        return line
    cut = line[:TITLE].rsplit(" ", 1)[0]
    return (cut if len(cut) > TITLE // 2 else line[:TITLE]).rstrip(" ,.;:") + "\u2026"


def title_request(model: str, messages: Sequence[Message], keep_alive: str = "") -> ChatRequest:
    """A request for a title, from the first prompt and answer."""
    spoken = [message for message in messages if message.role in (Role.USER, Role.ASSISTANT) and message.content][:2]
    text = "\n\n".join(f"{message.role}: {message.content[:_TITLE_FROM]}" for message in spoken)
    ask = Message(0, 0, 0, Role.USER, f"{text}\n\n{_TITLE_ASK}")
    return ChatRequest(model, (ask,), think="off", options={"num_predict": 200, "temperature": 0.3}, keep_alive=keep_alive)


def summary_request(model: str, messages: Sequence[Message], system: str, keep_alive: str = "") -> ChatRequest:
    """A request for a summary of these messages."""
    ask = Message(0, 0, 0, Role.USER, _SUMMARY_ASK)
    return ChatRequest(model, (*messages, ask), system, keep_alive=keep_alive)


def cleaned_summary(text: str) -> str:
    """A summary as it is kept."""
    return clean_block(text).strip()
