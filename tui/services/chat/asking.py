"""Small questions to a model beside the conversation: a title, a summary."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from tui.core.chat import ChatRequest, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done
from tui.core.record import record
from tui.providers.base import Provider
from tui.services.chat.host import ChatHost
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


async def ask(host: ChatHost, name: str, request: ChatRequest, *, whole: bool = True) -> str:
    """`ask_model` where prompts may go there now.

    Raises:
        PaddockError: They may not, or as `ask_model`.
    """
    provider, where = host.provider(name), clean_name(name)
    if provider is None:
        raise PaddockError.of(f"There is no provider named {where}", "", "Choose a model with ctrl+t", FailureKind.CONFIG)
    if not await host.may_send(name):
        raise PaddockError.of("Not sent: you did not allow it", where, "Try again to be asked again", FailureKind.REFUSED)
    if (failure := await host.within_limits(name, request.model)) is not None:
        raise PaddockError(failure)
    return await ask_model(provider, request, whole=whole)


async def ask_model(provider: Provider, request: ChatRequest, within: float = WITHIN, *, whole: bool = True) -> str:
    """The text of an answer, thoughts left out; `whole`: one that reached its longest length does not do.

    Raises:
        PaddockError: It failed, took too long, is empty or cut.
    """
    parts: list[str] = []
    end: Done | None = None
    stream = provider.chat(request)
    try:
        async with asyncio.timeout(within):
            async for event in stream:
                if isinstance(event, Delta):
                    parts.append(event.text)
                elif isinstance(event, Done):
                    end = event
    except TimeoutError as error:
        raise PaddockError.of(
            f"{clean_name(request.model)} took too long", provider.endpoint.name, "Try again, or choose another model", FailureKind.TIMEOUT
        ) from error
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    if end is None or (whole and end.reason == "length"):
        cut = "ended without its end mark" if end is None else "reached its longest length"
        raise PaddockError.of(f"The answer {cut}", provider.endpoint.name, "Try again, or choose another model", FailureKind.INTERRUPTED)
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


@record(frozen=True)
class Load:
    """How a model is loaded for its conversation: asked for otherwise, a server loads it anew, or with less context."""

    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: str = ""


def title_request(model: str, messages: Sequence[Message], load: Load) -> ChatRequest:
    """A request for a title, from the first prompt and answer."""
    spoken = [message for message in messages if message.role in (Role.USER, Role.ASSISTANT) and message.content][:2]
    text = "\n\n".join(f"{message.role}: {message.content[:_TITLE_FROM]}" for message in spoken)
    ask = Message(0, 0, 0, Role.USER, f"{text}\n\n{_TITLE_ASK}")
    options = {**load.options, "num_predict": 200, "temperature": 0.3}
    return ChatRequest(model, (ask,), think="off", options=options, keep_alive=load.keep_alive)


def summary_request(model: str, messages: Sequence[Message], system: str, load: Load) -> ChatRequest:
    """A request for a summary of these messages."""
    ask = Message(0, 0, 0, Role.USER, _SUMMARY_ASK)
    return ChatRequest(model, (*messages, ask), system, options=load.options, keep_alive=load.keep_alive)


def cleaned_summary(text: str) -> str:
    """A summary as it is kept."""
    return clean_block(text).strip()
