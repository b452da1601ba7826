"""The OpenAI dialects to our events and back; pure functions (providers reference, sections 2.3 and 3.13)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tui.core.capabilities import Ability
from tui.core.events import Delta, Metrics, PromptProgress, StreamEvent, Thinking, ToolCall
from tui.core.models import Model
from tui.providers.catalogue import Chat, Models
from tui.providers.streams import decode_json, float_of, int_of, list_of, map_of, text_of
from tui.text import clean_name

_REASONS: Final = {"function_call": "tool_calls", "eos": "stop", "end_turn": "stop", "eos_token": "stop", "max_tokens": "length"}


def dig(value: Any, path: str) -> Any:
    """The value at a dotted key, or None."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def reason_of(value: Any) -> str:
    """A finish reason in our words; empty where there is none yet."""
    word = clean_name(text_of(value), 40)
    return _REASONS.get(word, word)


# --- lists -----------------------------------------------------------------------------------------------------------


def entries_of(value: Any, key: str) -> list[Mapping[str, Any]] | None:
    """The entries of a model list (`data`, `models`, a bare array, null), or None where it is no list at all."""
    if isinstance(value, list):
        found: Any = value
    elif isinstance(value, Mapping):
        names = [name for name in (key, "data", "models") if name in value]
        if not names:
            return None
        found = next((value[name] for name in names if value[name]), [])
    else:
        return None
    return [{"id": entry} if isinstance(entry, str) else entry for entry in list_of(found) if isinstance(entry, (str, dict))]


def models_of(provider: str, entries: list[Mapping[str, Any]], spec: Models) -> tuple[Model, ...]:
    """Entries of a list as models, by the places the catalogue names; nameless and repeated ones left out."""
    found: dict[str, Model] = {}
    for entry in entries:
        key = text_of(dig(entry, spec.id)) or text_of(entry.get("id")) or text_of(entry.get("name"))
        if not key or key in found:
            continue
        state = clean_name(text_of(dig(entry, spec.state)), 40) if spec.state else ""
        stored = float_of(dig(entry, spec.size)) if spec.size else None
        served = int_of(dig(entry, spec.context)) if spec.context else None
        trained = int_of(dig(entry, spec.trained_context)) if spec.trained_context else None
        found[key] = Model(
            provider=provider,
            name=clean_name(key),
            key=key,
            size=int(stored * spec.size_unit) if stored else None,
            family=_field(entry, spec.family),
            parameters=_field(entry, spec.parameters),
            quantization=_field(entry, spec.quant),
            format=_field(entry, spec.format),
            context=trained or served or None,
            abilities=_abilities(entry, spec.abilities),
            loaded=(not spec.loaded or state in spec.loaded) if state else spec.lists == "loaded",
            state=state,
        )
    return tuple(found.values())


def _abilities(entry: Mapping[str, Any], places: Mapping[str, str]) -> frozenset[Ability]:
    values = {word: dig(entry, place) for word, place in places.items()}
    if all(value is None for value in values.values()):
        return frozenset()
    return frozenset({Ability.COMPLETION, *(Ability(word) for word, value in values.items() if value)})


def _field(entry: Mapping[str, Any], path: str) -> str:
    value = dig(entry, path) if path else None
    return clean_name(str(value), 60) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


# --- answers ---------------------------------------------------------------------------------------------------------


class Reader:
    """Collects what the chunks of one answer say beside their text.

    Attributes:
        reason: Finish reason, empty until it came.
        model: The name that came back.
        chunks: Usable ones so far.
    """

    def __init__(self, spec: Chat) -> None:
        self.reason = ""
        self.model = ""
        self.chunks = 0
        self._spec = spec
        self._usage: Mapping[str, Any] = {}
        self._timings: Mapping[str, Any] = {}
        self._calls: dict[int, list[str]] = {}

    def read(self, item: Mapping[str, Any]) -> list[StreamEvent] | None:
        """The events of one chunk (or one whole answer), or None where it is none."""
        choices = item.get("choices")
        if not isinstance(choices, list):
            return None
        self.chunks += 1
        self.model = clean_name(text_of(item.get("model"))) or self.model
        self._usage = map_of(item.get("usage")) or self._usage
        self._timings = map_of(item.get("timings")) or self._timings
        events: list[StreamEvent] = []
        progress = map_of(item.get("prompt_progress"))
        done, total = int_of(progress.get("processed")), int_of(progress.get("total"))
        if done is not None and total:
            events.append(PromptProgress(done, total))
        choice = map_of(choices[0]) if choices else {}
        part = map_of(choice.get("delta")) or map_of(choice.get("message"))
        for name in self._spec.reasoning or ("reasoning_content", "reasoning"):
            if thought := text_of(part.get(name)):
                events.append(Thinking(thought))
                break
        if text := text_of(part.get("content")) or text_of(choice.get("text")):
            events.append(Delta(text))
        for index, call in enumerate(list_of(part.get("tool_calls"))):
            self._add_call(index, map_of(call))
        self.reason = reason_of(choice.get("finish_reason")) or self.reason
        return events

    def _add_call(self, index: int, call: Mapping[str, Any]) -> None:
        number = int_of(call.get("index"))
        parts = self._calls.setdefault(index if number is None else number, ["", "", ""])
        function = map_of(call.get("function"))
        arguments = function.get("arguments")
        parts[0] = text_of(call.get("id")) or parts[0]
        parts[1] = text_of(function.get("name")) or parts[1]
        parts[2] += json.dumps(arguments) if isinstance(arguments, dict) else text_of(arguments)

    def calls(self) -> Iterator[ToolCall]:
        """The tool calls, whole only at the end; arguments that are no JSON object come as none."""
        for id_, name, arguments in self._calls.values():
            if name:
                try:
                    value = decode_json(arguments.encode("utf-8", "replace")) if arguments.strip() else {}
                except ValueError:
                    value = {}
                yield ToolCall(clean_name(id_, 100), clean_name(name, 200), map_of(value))

    def metrics(self) -> Metrics:
        """Tokens from `usage`, times from llama.cpp's `timings`."""
        return metrics_of(self._usage, self._timings)


def metrics_of(usage: Mapping[str, Any], timings: Mapping[str, Any]) -> Metrics:
    """See `Reader.metrics`."""
    read, cached = int_of(timings.get("prompt_n")), int_of(timings.get("cache_n"))
    prompt = int_of(usage.get("prompt_tokens"))
    if prompt is None and read is not None:
        prompt = read + (cached or 0)
    output = int_of(usage.get("completion_tokens"))
    prompt_ms, output_ms = float_of(timings.get("prompt_ms")), float_of(timings.get("predicted_ms"))
    return Metrics(
        prompt_tokens=prompt,
        output_tokens=output if output is not None else int_of(timings.get("predicted_n")),
        prompt_seconds=None if prompt_ms is None else prompt_ms / 1000,
        output_seconds=None if output_ms is None else output_ms / 1000,
        cached_tokens=cached if cached is not None else int_of(map_of(usage.get("prompt_tokens_details")).get("cached_tokens")),
    )
