"""About how many tokens a text is, before any server counted it; learned for each model from what servers did count."""

from __future__ import annotations

import json
import re
import statistics
import string
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from tui.core.chat import AttachmentKind, ChatRequest, Message, Role
from tui.core.events import Metrics, prompt_rate
from tui.core.record import record
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.store.db import Database

CHARS_PER_TOKEN: Final = 3.6
"""Of English prose and code, where nothing was measured."""
IMAGE_TOKENS: Final = 768
"""Of one image: what Ollama counts when it decides what to drop (ollama-api 2.6); models differ from 64 to some thousands."""
PER_MESSAGE: Final = 4
"""Tokens of the template around each message, about."""
LEAST_RATIO, MOST_RATIO = 1.5, 8.0
_FENCES: Final = 14
"""Characters round a text file (see `core.prompt_text`)."""
_ENOUGH: Final = 400
"""Weighted characters below which the template outweighs the text and one measurement alone says nothing."""
_RECENT: Final = 16
_NOTE: Final = re.compile(r"prompt ([0-9]{1,12}) in ([0-9]{1,6})")
_SAMPLED: Final = 65_536
"""Characters above which a text is weighed by samples: the cost of weighing is bounded (P22)."""
_SAMPLES: Final = 64
_REMEMBERED: Final = 32_768
_WEIGHTS: Final[dict[tuple[int, int], float]] = {}
"""Weights of texts, by hash and length: those of a long conversation are asked for with every change."""
_GOLDEN: Final = 0.6180339887
"""Its multiples lie evenly, and in step with no repetition of the text."""

_BLANKS: Final = re.compile(r"[ \t]{3,}|[\r\n]{3,}")
_RULES: Final = re.compile(r"([!-/:-@\[-`{-~])\1{3,}")
_WORD: Final = 3.2
"""What a word weighs at least: hardly a token holds two."""
_DIGITS: Final = string.digits.encode()
_MARKS: Final = string.punctuation.encode()
_RUNS: Final = tuple(mark * 4 for mark in string.punctuation)


@record(frozen=True)
class Calibration:
    """How text becomes tokens, for one model on one provider.

    Attributes:
        ratio: Weighted characters a token.
        base: Tokens that stand in every prompt: the template's own, a system prompt that the model brings.
        measured: How many prompts this was learned from; 0: the default.
    """

    ratio: float = CHARS_PER_TOKEN
    base: float = 0.0
    measured: int = 0

    @property
    def margin(self) -> float:
        """How far off an estimate may be and still be right: 0.25 is a quarter."""
        return 0.8 if not self.measured else 0.5 if self.measured < 3 else 0.25

    def tokens(self, weighed: float, messages: int) -> int:
        """Tokens of so much text in so many messages."""
        return round(weighed / self.ratio + self.base) + PER_MESSAGE * messages


UNMEASURED: Final = Calibration()


def weight(text: str) -> float:
    """Length in characters of English prose.

    A CJK character counts as 2.5, another one outside ASCII as 1.6, digits and punctuation more than letters, and runs of
    blanks or of one mark hardly anything, as tokenizers have tokens for those.
    """
    key = (hash(text), len(text))
    known = _WEIGHTS.get(key)
    if known is None:
        if len(_WEIGHTS) >= _REMEMBERED:
            _WEIGHTS.clear()
        known = _WEIGHTS[key] = _sampled(text) if len(text) > _SAMPLED else _weight(text)
    return known


def _sampled(text: str) -> float:
    size = _SAMPLED // _SAMPLES
    starts = (int(number * _GOLDEN % 1 * (len(text) - size)) for number in range(_SAMPLES))
    return sum(_weight(text[start : start + size]) for start in starts) / _SAMPLED * len(text)


def _weight(text: str) -> float:
    plain = text.encode("ascii", "ignore")
    total = float(len(text))
    total += 0.8 * (len(plain) - len(plain.translate(None, _DIGITS)))
    total += 0.7 * (len(plain) - len(plain.translate(None, _MARKS)))
    if any(run in text for run in ("   ", "\t\t\t", "\n\n\n", "\r\n\r\n")):
        total -= sum(len(run) - 2 for run in _BLANKS.findall(text))
    if any(run in text for run in _RUNS):
        total -= 1.5 * sum(len(match[0]) for match in _RULES.finditer(text))
    if not text.isascii():
        for char in text:
            if char >= "\x80":
                cjk = "\u2e80" <= char <= "\ud7ff" or "\uf900" <= char <= "\ufaff" or char >= "\U00020000"
                total += 1.5 if cjk else 0.6
    return max(0.0, total, _WORD * len(text.split()))


def message_weight(message: Message) -> float:
    """`weight` of one message as it is sent: text, text files, calls of tools. Thoughts are not sent again."""
    found = weight(message.content)
    for attached in message.attachments:
        if attached.kind is AttachmentKind.TEXT:
            found += weight(attached.text) + len(attached.name) + _FENCES
    if message.tool_calls:
        found += weight(json.dumps([dict(call) for call in message.tool_calls], default=str))
    return found


def images(messages: Iterable[Message]) -> int:
    """How many images go with these messages."""
    return sum(attached.kind is AttachmentKind.IMAGE for message in messages for attached in message.attachments)


def prompt_weight(messages: Sequence[Message], system: str = "", tools: Sequence[Mapping[str, Any]] = ()) -> float:
    """`weight` of everything that is sent, but images."""
    told = weight(json.dumps([dict(tool) for tool in tools], default=str)) if tools else 0.0
    return weight(system) + told + sum(map(message_weight, messages))


def estimate(
    messages: Sequence[Message],
    system: str = "",
    calibration: Calibration = UNMEASURED,
    tools: Sequence[Mapping[str, Any]] = (),
) -> int:
    """About how many tokens these messages are, with the system prompt, files, images and tools that go with them."""
    pieces = len(messages) + (1 if system else 0) + (1 if tools else 0)
    return calibration.tokens(prompt_weight(messages, system, tools), pieces) + IMAGE_TOKENS * images(messages)


# --- learning --------------------------------------------------------------------------------------------------------


def prompt_note(request: ChatRequest, metrics: Metrics) -> str:
    """What a stored measurement keeps of a prompt, beside the server's count of it; empty where nothing can be learned.

    Not to be kept of a prompt that the server cut (`context.alarm`).
    """
    if metrics.prompt_tokens is None or images(request.messages):
        return ""
    weighed = prompt_weight(request.messages, request.system, request.tools)
    pieces = len(request.messages) + bool(request.system) + bool(request.tools)
    return f"prompt {weighed:.0f} in {pieces}" if weighed else ""


def first_read(request: ChatRequest, metrics: Metrics) -> float | None:
    """Tokens a second of a prompt that begins a conversation; None for any other, of which the server may have read a part before.

    Servers count what comes from their cache and do not time it. Only what all conversations share may be cached of a first prompt:
    there must be little of it.
    """
    asked = [message for message in request.messages if message.role is not Role.SYSTEM]
    if len(asked) != 1 or images(asked) or 4 * prompt_weight((), request.system, request.tools) > message_weight(asked[0]):
        return None
    return prompt_rate(metrics.prompt_tokens, 0, metrics.prompt_seconds)


def calibrate(rows: Iterable[tuple[str, int | None]]) -> Calibration:
    """Learn from measurements, each its `prompt_note` and the server's count of tokens.

    Theil and Sen's median of slopes: half of the rows may be nonsense. Rows of one size give a ratio and no base.
    """
    points: list[tuple[float, float]] = []
    for note, counted in rows:
        match = _NOTE.fullmatch(note)
        if match and counted:
            points.append((float(match[1]), counted - PER_MESSAGE * float(match[2])))
    alone = [weighed / told for weighed, told in points if weighed >= _ENOUGH and told > 0 and _plausible(weighed / told)]
    apart = max((weighed for weighed, _told in points), default=0.0) * 0.2
    slopes = [
        (more[0] - less[0]) / (more[1] - less[1])
        for less, more in combinations(sorted(points), 2)
        if more[0] - less[0] >= max(_ENOUGH / 2, apart) and more[1] > less[1]
    ]
    slopes = [slope for slope in slopes if _plausible(slope)]
    if len(slopes) >= 3:
        ratio = statistics.median(slopes)
        base = statistics.median(told - weighed / ratio for weighed, told in points)
        if base >= 0:
            return Calibration(ratio, base, len(points))
    return Calibration(statistics.median(alone), 0.0, len(alone)) if alone else UNMEASURED


def _plausible(ratio: float) -> bool:
    return LEAST_RATIO <= ratio <= MOST_RATIO


def stored_calibration(database: Database | None, provider: str, model: str) -> Calibration:
    """What was learned of a model so far.

    Raises:
        PaddockError: The database cannot be read.
    """
    if database is None:
        return UNMEASURED
    rows = database.read(
        lambda connection: connection.execute(
            "SELECT note, prompt_tokens FROM measurement WHERE provider = ? AND model = ? AND note != '' ORDER BY id DESC LIMIT ?",
            (clean_name(provider), clean_name(model), _RECENT),
        ).fetchall()
    )
    return calibrate([(str(note), counted) for note, counted in rows])
