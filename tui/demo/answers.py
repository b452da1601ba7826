"""An answer of the demo: what is refused, how long reading takes, and which pieces come at which pace."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from tui.demo.measured import measured_answer
from tui.demo.models import Spec
from tui.demo.prompts import Given, images_of, text_of
from tui.demo.words import (
    answer_to,
    begins_code,
    calls_for,
    code_for,
    first_words,
    gap_of,
    json_for,
    pieces_of,
    prose_after,
    rest_of,
    seeded,
    thoughts_of,
)

READS: Final = 20.0
"""How many times as fast a prompt is read as an answer is written."""
_LONGEST: Final = 30.0
_LEVELS: Final = (True, False, "low", "medium", "high", "max")
Piece = tuple[str, str, list[dict[str, Any]] | None]
"""Text, thoughts, tool calls."""


def speed_of(spec: Spec) -> float:
    """How fast a model writes, compared with one of 5 GB."""
    return min(2.5, max(0.3, math.sqrt(5.2e9 / max(spec.size, 1))))


def part_on_gpu(spec: Spec, options: Mapping[str, int]) -> float:
    """Share of a model that `num_gpu` lets on the GPU."""
    layers = options.get("num_gpu", -1)
    return 1.0 if layers < 0 else min(1.0, layers / (spec.layers + 1))


def reading(options: Mapping[str, int]) -> float:
    """How many times as fast prompts are read with this `num_batch` as with 512."""
    return float(min(1.6, max(0.5, options.get("num_batch", 512) / 512) ** 0.35))


def limit_of(body: Mapping[str, Any]) -> float:
    """Tokens that may be written."""
    options = body.get("options")
    limit = options.get("num_predict") if isinstance(options, dict) else None
    return float(limit) if isinstance(limit, (int, float)) and limit > 0 else float("inf")


def refusal(name: str, spec: Spec, body: Mapping[str, Any], chat: Sequence[Any] | None) -> str:
    """Why Ollama would answer 400, in its words; empty where it would answer."""
    think, wanted = body.get("think"), body.get("format")
    if think is not None and think not in _LEVELS:
        return f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)'
    if think not in (None, False) and "thinking" not in spec.abilities:
        return f'"{name}" does not support thinking'
    if body.get("tools") and "tools" not in spec.abilities:
        return f"registry.ollama.ai/library/{name} does not support tools"
    if chat is None and body.get("suffix") and not body.get("raw") and "insert" not in spec.abilities:
        return f"registry.ollama.ai/library/{name} does not support insert"
    if wanted and wanted != "json" and not isinstance(wanted, dict):
        return f'invalid format: {wanted!r}; expected "json" or a valid JSON Schema object'
    if any(images_of(message) is None for message in chat or () if isinstance(message, dict)):
        return "illegal base64 data at input byte 0"
    return ""


class Memory:
    """What each model has read before: the same beginning is not read again."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, ...]] = {}

    def forget(self, model: str) -> None:
        """It was loaded anew."""
        self._keys.pop(model, None)

    def seconds(self, model: str, asked: Given, speed: float) -> float:
        """How long reading takes at a speed in tokens a second."""
        before, new = self._keys.get(model, ()), 0
        self._keys[model] = asked.keys
        for index, size in enumerate(asked.sizes):
            if asked.keys[: index + 1] != before[: index + 1]:
                new += size
        return min(_LONGEST, (min(new, asked.tokens) + 8) / speed)


class Counted:
    """Counts what is written against the limit and the room in the context."""

    def __init__(self, limit: float, room: float) -> None:
        self.written = 0
        self.reason = "stop"
        self._most = min(limit, max(1, room))

    def more(self) -> bool:
        """Whether one more token may be written."""
        if self.written >= self._most:
            self.reason = "length"
            return False
        self.written += 1
        return True


def wrapped(chat: Sequence[Any] | None, text: str, thinking: str, calls: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A piece as its route sends it."""
    if chat is None:
        return {"response": text, **({"thinking": thinking} if thinking else {})}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = calls
    return {"message": message}


async def paced(found: Iterator[Piece], speed: float) -> AsyncIterator[Piece]:
    """The pieces, so many a second."""
    due = time.monotonic()
    for piece in found:
        due += 1 / speed
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield piece


def pieces(body: Mapping[str, Any], name: str, spec: Spec, asked: Given, chat: Sequence[Any] | None) -> Iterator[Piece]:
    """Thoughts, tool calls, then the text, in pieces of about a token."""
    options = body.get("options")
    chance = seeded(options if isinstance(options, dict) else {})
    if chat is None and (body.get("raw") or body.get("suffix")):
        yield from ((piece, "", None) for piece in _completed(body, chance))
        return
    goes_on = asked.last.get("role") == "assistant" and not asked.last.get("tool_calls")
    if "thinking" in spec.abilities and body.get("think") is not False and not goes_on:
        yield from (("", piece, None) for piece in pieces_of(thoughts_of(body.get("think"))))
    tools = body.get("tools")
    if isinstance(tools, list) and tools and asked.last.get("role") == "user" and (calls := calls_for(asked, tools)):
        yield "", "", calls
        return
    vision = "vision" in spec.abilities
    prepared = measured_answer(asked.prompt, spec.quantization)
    text = json_for(body["format"], first_words(asked)) if body.get("format") else prepared or answer_to(asked, name, chance, vision=vision)
    if goes_on:
        began = text_of(asked.last)
        variants = (text, *(answer_to(asked, name, seeded({"seed": seed}), vision=vision) for seed in range(8)))
        text = rest_of(next((variant for variant in variants if variant.startswith(began)), text), began)
    yield from ((piece, "", None) for piece in pieces_of(text))


def _completed(body: Mapping[str, Any], chance: Any) -> Iterator[str]:
    prompt, suffix = str(body.get("prompt") or ""), str(body.get("suffix") or "")
    gap = (prompt, suffix) if suffix and not body.get("raw") else gap_of(prompt)
    if gap is not None or begins_code(prompt):
        yield from pieces_of(code_for(*(gap or (prompt, "")), chance))
    else:
        yield from islice(prose_after(prompt), chance.randrange(60, 120))
