"""How full the context is: reported figures where there are some, estimates else, and the alarm when the model saw less."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tui.core.chat import AnswerState, Message, Role
from tui.core.models import RunningModel
from tui.core.names import same
from tui.core.record import record
from tui.text import clean_name, count

if TYPE_CHECKING:
    from tui.store.db import Database

CHARS_PER_TOKEN: Final = 3.6
"""Of English prose and code, where nothing was measured."""
_LEAST, _MOST = 1.5, 8.0
_PER_MESSAGE: Final = 4
"""Tokens of the template around each message, about."""
_ENOUGH: Final = 400
"""Weighted characters below which the template outweighs the text and a ratio says nothing."""
_RECENT: Final = 12
_NOTE: Final = "chars/token "


@record(frozen=True)
class Usage:
    """Tokens of context used, and whether that is a guess; None where there is nothing to count."""

    used: int | None
    estimated: bool


def weight(text: str) -> float:
    """Length in characters of English: a CJK character counts as 2.5, another one outside ASCII as 1.6."""
    if text.isascii():
        return float(len(text))
    total = 0.0
    for char in text:
        if char < "\x80":
            total += 1.0
        elif "\u2e80" <= char <= "\ud7ff" or "\uf900" <= char <= "\ufaff" or char >= "\U00020000":
            total += 2.5
        else:
            total += 1.6
    return total


def prompt_weight(messages: Sequence[Message], system: str = "") -> float:
    """`weight` of everything that is sent."""
    return weight(system) + sum(weight(message.content) for message in messages)


def estimate(messages: Sequence[Message], system: str = "", ratio: float = CHARS_PER_TOKEN) -> int:
    """About how many tokens these messages are."""
    pieces = len(messages) + (1 if system else 0)
    return round(prompt_weight(messages, system) / ratio) + _PER_MESSAGE * pieces


def sent_messages(messages: Sequence[Message]) -> tuple[Message, ...]:
    """What of a conversation is sent: no empty answers, and of several answers to one prompt the last."""
    chosen: list[Message] = []
    for message in messages:
        if message.role is Role.ASSISTANT:
            if not message.content and not message.tool_calls:
                continue
            if chosen and chosen[-1].role is Role.ASSISTANT:
                chosen.pop()
        chosen.append(message)
    return tuple(chosen)


def usage(messages: Sequence[Message], system: str = "", ratio: float = CHARS_PER_TOKEN) -> Usage:
    """What the last answer's figures say, with an estimate of what was added since."""
    sent = sent_messages(messages)
    if not sent:
        return Usage(None, True)
    for index in range(len(sent) - 1, -1, -1):
        metrics = sent[index].metrics
        if sent[index].role is Role.ASSISTANT and metrics.prompt_tokens is not None:
            later = sent[index + 1 :]
            told = metrics.prompt_tokens + (metrics.output_tokens or 0)
            return Usage(told + (estimate(later, "", ratio) if later else 0), bool(later))
    return Usage(estimate(sent, system, ratio), True)


def window(provider: str, model: str, running: Sequence[RunningModel], options: Mapping[str, Any]) -> int | None:
    """The served context length: of the loaded model, else the one asked for."""
    for other in running:
        if other.provider == provider and (other.key == model or same(other.name, model)) and other.context:
            return other.context
    asked = options.get("num_ctx")
    return asked if isinstance(asked, int) and asked > 0 else None


def alarm(answer: Message, earlier: Sequence[Message], served: int | None) -> str:
    """The sentence for an answer whose prompt was cut without a word, else empty.

    Servers drop the oldest messages silently (recordings, chat 11): the count may end at the window, or far below it
    when whole messages were dropped, or below what the same conversation already had.
    """
    seen, sent = answer.metrics.prompt_tokens, answer.prompt_estimate
    if seen is None or not sent or seen >= sent * 0.75:
        return ""
    before = next((m.metrics.prompt_tokens for m in reversed(earlier) if m.metrics.prompt_tokens and m.model == answer.model), 0) or 0
    cut = served is not None and (seen >= served * 0.9 or sent > served)
    if not cut and seen >= before * 0.75:
        return ""
    return f"the model saw {count(seen)} of about {count(_rounded(sent))} tokens; oldest dropped"


def _rounded(number: int) -> int:
    return number if number < 1000 else round(number, -2)


def ratio_note(weighed: float, messages: int, prompt_tokens: int | None) -> str:
    """What a measurement keeps of the ratio between text and tokens; empty where it says nothing."""
    if prompt_tokens is None or weighed < _ENOUGH:
        return ""
    text_tokens = prompt_tokens - _PER_MESSAGE * messages
    if text_tokens <= 0:
        return ""
    found = weighed / text_tokens
    return f"{_NOTE}{found:.2f}" if _LEAST <= found <= _MOST else ""


def ratio_of(notes: Sequence[str]) -> float:
    """The ratio that measurements' notes agree on, else the default."""
    found: list[float] = []
    for note in notes:
        if note.startswith(_NOTE):
            try:
                value = float(note.removeprefix(_NOTE))
            except ValueError:
                continue
            if _LEAST <= value <= _MOST:
                found.append(value)
    return statistics.median(found) if found else CHARS_PER_TOKEN


def stored_ratio(database: Database | None, provider: str, model: str) -> float:
    """The ratio of a model as measured so far.

    Raises:
        PaddockError: The database cannot be read.
    """
    if database is None:
        return CHARS_PER_TOKEN
    rows = database.read(
        lambda connection: connection.execute(
            "SELECT note FROM measurement WHERE provider = ? AND model = ? AND note != '' ORDER BY id DESC LIMIT ?",
            (clean_name(provider), clean_name(model), _RECENT),
        ).fetchall()
    )
    return ratio_of([row[0] for row in rows])


def can_continue(message: Message) -> bool:
    """Whether there is a part of an answer to go on from."""
    ends = (AnswerState.STOPPED, AnswerState.INTERRUPTED, AnswerState.LENGTH, AnswerState.FAILED)
    return message.role is Role.ASSISTANT and message.state in ends and bool(message.content)
