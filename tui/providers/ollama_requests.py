"""Request bodies of Ollama's own API, and what its refusals mean (Ollama reference, 2.5 and 2.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tui.core.chat import ChatRequest, CompletionRequest, Message, Role
from tui.core.errors import Failure, FailureKind
from tui.core.prompt_text import prompt_of
from tui.providers.requests import base64_of, continues, conversation, images_of, schema_of, think_of, with_call_ids

GONE: Final = frozenset(
    {"tfs_z", "penalize_newline", "mirostat", "mirostat_eta", "mirostat_tau", "low_vram", "use_mlock", "f16_kv", "vocab_only", "logits_all"}
)
"""Options that Ollama had once and ignores now (0.5.5 and 0.7.0): they are not sent."""


def keep_alive_of(text: str) -> int | float | str | None:
    """The value to send: a bare number must not be a string; None where nothing is set."""
    text = text.strip()
    if not text:
        return None
    if text in ("forever", "always"):
        return -1
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number == int(number) else number


def _common(model: str, options: Mapping[str, Any], keep_alive: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "stream": True}
    if chosen := {name: value for name, value in options.items() if value is not None and name not in GONE}:
        body["options"] = chosen
    if (kept := keep_alive_of(keep_alive)) is not None:
        body["keep_alive"] = kept
    return body


def _message(message: Message, calls: list[tuple[str, str, Mapping[str, Any]]], *, last: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"role": str(message.role), "content": prompt_of(message)}
    if images := images_of(message):
        body["images"] = [base64_of(image) for image in images]
    if calls:
        body["tool_calls"] = [
            {"id": id_, "function": {"index": index, "name": name, "arguments": dict(arguments)}}
            for index, (id_, name, arguments) in enumerate(calls)
        ]
    if message.thinking and message.role is Role.ASSISTANT and (calls or last):
        body["thinking"] = message.thinking
    if message.role is Role.TOOL:
        body["tool_name"] = message.tool_name
        body["tool_call_id"] = message.tool_call_id
    return body


def chat_body(request: ChatRequest, keep_alive: str) -> dict[str, Any]:
    """The body of `/api/chat`; only what is set is sent. An answer that is last is gone on with, its thoughts with it.

    Raises:
        PaddockError: An image or the format cannot be sent.
    """
    body = _common(request.model, request.options, request.keep_alive or keep_alive)
    messages = list(with_call_ids(conversation(request)))
    goes_on = continues(request)
    body["messages"] = [
        _message(message, calls, last=goes_on and index == len(messages) - 1) for index, (message, calls) in enumerate(messages)
    ]
    if (think := think_of(request.think)) is not None:
        body["think"] = think
    if request.format is not None:
        schema = schema_of(request.format)
        body["format"] = "json" if schema is None else dict(schema)
    if request.tools:
        body["tools"] = [dict(tool) for tool in request.tools]
    return body


def generate_body(request: CompletionRequest, keep_alive: str) -> dict[str, Any]:
    """The body of `/api/generate`; `raw` and `suffix` exclude each other there, and raw wins."""
    body = _common(request.model, request.options, request.keep_alive or keep_alive)
    body["prompt"] = request.prompt
    if request.raw:
        body["raw"] = True
    elif request.suffix:
        body["suffix"] = request.suffix
    return body


_REFUSALS: Final = (
    (r"think value .* is not supported", "does not take thinking in levels", "Set think to on, or off"),
    (r"does not support thinking", "does not think", "Set think to auto"),
    (r"does not support tools", "cannot ask for tools", "Switch the tools off, or choose another model"),
    (r"does not support insert", "cannot fill a gap", "Choose a code model"),
    (r"does not support (chat|generate|completion)", "does not answer: it only makes vectors", "Choose another model"),
)


def refusal(failure: Failure, model: str) -> Failure:
    """A 400 about what a model cannot do, in our words (kind UNSUPPORTED); any other failure as it is."""
    if failure.status != 400:
        return failure
    for pattern, what, remedy in _REFUSALS:
        if re.search(pattern, failure.details, re.IGNORECASE):
            return replace(failure, what=f"{model or 'The model'} {what}", remedy=remedy, kind=FailureKind.UNSUPPORTED)
    return failure
