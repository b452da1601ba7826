"""What the demo's models are given: messages as tokens, cut to the context without a word, as Ollama does it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tui.core.record import record

IMAGE: Final = 768
"""Tokens of an image."""
_AROUND: Final = 4
"""Tokens of the template around a message."""
_FILE: Final = 256
"""Tokens of the list of tools, where there is one."""


@record(frozen=True)
class Given:
    """A request's messages as the model sees them.

    Attributes:
        messages: What is left of them.
        tokens: How many tokens that is, at most the context.
        keys: One digest a message, to know again what was read before.
        sizes: Tokens of each message.
        left_out: Messages that did not fit.
        over: Something did not fit.
    """

    messages: tuple[Mapping[str, Any], ...]
    tokens: int
    keys: tuple[str, ...]
    sizes: tuple[int, ...]
    left_out: int = 0
    over: bool = False

    @property
    def last(self) -> Mapping[str, Any]:
        """The message that is answered."""
        return self.messages[-1] if self.messages else {}

    @property
    def prompt(self) -> str:
        """The user's last text."""
        return next((text_of(message) for message in reversed(self.messages) if message.get("role") == "user"), "")

    @property
    def system(self) -> str:
        """The system prompt."""
        return "\n".join(text_of(message) for message in self.messages if message.get("role") == "system")


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text."""
    content = message.get("content")
    return content if isinstance(content, str) else ""


def images_of(message: Mapping[str, Any]) -> list[bytes] | None:
    """A message's images; None where one is no base64."""
    try:
        return [base64.b64decode(image, validate=True) for image in message.get("images") or ()]
    except (binascii.Error, ValueError, TypeError):
        return None


def tokens_of(text: str) -> int:
    """About as many tokens as a real tokenizer makes."""
    return (len(text.encode()) + 3) // 4


def given(messages: Sequence[Any], context: int, tools: bool = False, *, vision: bool = False) -> Given:
    """The messages cut to a context: the oldest go first, system messages and the last one stay, and the last one is cut at its front."""
    found = [message for message in messages if isinstance(message, dict)]
    sizes = [
        tokens_of(text_of(message)) + _AROUND + (IMAGE * len(message.get("images") or ()) if vision else 0) + _calls(message)
        for message in found
    ]
    extra = _FILE if tools else 0
    kept = list(range(len(found)))
    while len(kept) > 1 and sum(sizes[index] for index in kept) + extra > context:
        oldest = next((index for index in kept[:-1] if found[index].get("role") != "system"), None)
        if oldest is None:
            break
        kept.remove(oldest)
    total = sum(sizes[index] for index in kept) + extra
    return Given(
        tuple(found[index] for index in kept),
        min(total, context),
        tuple(hashlib.sha256(json.dumps(found[index], sort_keys=True).encode()).hexdigest() for index in kept),
        tuple(sizes[index] for index in kept),
        len(found) - len(kept),
        len(kept) < len(found) or total > context,
    )


def _calls(message: Mapping[str, Any]) -> int:
    return tokens_of(json.dumps(message["tool_calls"])) if message.get("tool_calls") else 0


def looks_like(image: bytes) -> str:
    """What the demo sees of an image: its kind, its size in pixels where that is easily found, its bytes."""
    kinds = ((b"\x89PNG", "PNG"), (b"\xff\xd8", "JPEG"), (b"GIF8", "GIF"), (b"RIFF", "WebP"))
    kind = next((name for magic, name in kinds if image.startswith(magic)), "unknown")
    size = ""
    if kind == "PNG" and len(image) >= 24:
        size = "{} x {} pixels, ".format(*struct.unpack(">II", image[16:24]))
    elif kind == "GIF" and len(image) >= 10:
        size = "{} x {} pixels, ".format(*struct.unpack("<HH", image[6:10]))
    return f"a {kind} image, {size}{len(image):,} bytes"
