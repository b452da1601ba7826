"""Request bodies of the OpenAI dialects, by what the catalogue says of a kind (providers reference, 2.3 and 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from tui.core.chat import ChatRequest, CompletionRequest, Message, Role
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.prompt_text import prompt_of
from tui.providers.catalogue import Chat
from tui.providers.requests import base64_of, continues, conversation, images_of, schema_of, think_of, with_call_ids

BASIC: Final = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty")
"""Options that every one of these servers knows by the same name, unless its file says otherwise."""
MAX_STOPS: Final = 4
"""Stop texts that this API promises to take."""

_THINKING: Final = frozenset({"chat_template_kwargs", "enable_thinking", "reasoning_effort"})


def optional(spec: Chat) -> frozenset[str]:
    """Fields that a server of this kind may not know: left out from then on where a refusal names them."""
    return frozenset({"stream_options", "seed", *_THINKING, *spec.options.values()})


def options_body(options: Mapping[str, Any], spec: Chat) -> dict[str, Any]:
    """The options that are set, by the names of this kind."""
    body = {name: options[name] for name in BASIC if options.get(name) is not None}
    body |= {field: options[name] for name, field in spec.options.items() if options.get(name) is not None}
    limit = options.get("num_predict")
    if isinstance(limit, int) and limit > 0:
        body[spec.max_tokens] = limit
    elif spec.default_max_tokens is not None and spec.default_max_tokens < 1024:
        body[spec.max_tokens] = 4096  # a server whose own limit cuts every answer short
    return body


def dropped(options: Mapping[str, Any], think: str, spec: Chat, refused: frozenset[str]) -> tuple[str, ...]:
    """What is set and is not sent to a server of this kind: names of options, and `think`."""
    missing = []
    for name, value in options.items():
        field = name if name in BASIC else spec.max_tokens if name == "num_predict" else spec.options.get(name)
        unlimited = name == "num_predict" and isinstance(value, int) and value < 0
        if value is not None and not unlimited and (field is None or not _sent(field, spec, refused)):
            missing.append(name)
    wanted = think_of(think)
    if wanted is not None and not any(_sent(field, spec, refused) for field in _think_body(wanted, spec)):
        missing.append("think")
    return tuple(missing)


def _sent(field: str, spec: Chat, refused: frozenset[str]) -> bool:
    return field not in refused and field not in spec.forbidden_fields and (not spec.allowed_fields or field in spec.allowed_fields)


def _finish(body: dict[str, Any], spec: Chat, refused: frozenset[str]) -> dict[str, Any]:
    body["stream"] = spec.stream
    if spec.stream and spec.usage == "on_request":
        body["stream_options"] = {"include_usage": True}
    return {name: value for name, value in body.items() if _sent(name, spec, refused)}


def _think_body(think: bool | str, spec: Chat) -> dict[str, Any]:
    if isinstance(think, str):
        return {"reasoning_effort": think} if spec.levels else _think_body(True, spec)
    if spec.think == "none":
        return {}
    return {"enable_thinking": think} if spec.think == "field" else {"chat_template_kwargs": {"enable_thinking": think}}


def _message(message: Message, calls: list[tuple[str, str, Mapping[str, Any]]]) -> dict[str, Any]:
    text = prompt_of(message)
    body: dict[str, Any] = {"role": str(message.role), "content": text}
    if images := images_of(message):
        parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
        parts += [
            {"type": "image_url", "image_url": {"url": f"data:{image.media or 'image/png'};base64,{base64_of(image)}"}} for image in images
        ]
        body["content"] = parts
    if calls:
        body["tool_calls"] = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": json.dumps(dict(arguments), ensure_ascii=False)}}
            for id_, name, arguments in calls
        ]
    if message.role is Role.TOOL:
        body["tool_call_id"] = message.tool_call_id
    return body


def _format_body(wanted: Any, spec: Chat) -> dict[str, Any]:
    schema = schema_of(wanted)
    if spec.formats == "openai" and schema is None:
        return {"response_format": {"type": "json_object"}}
    given = dict(schema) if schema is not None else {"type": "object"}
    if spec.formats == "field":
        return {"json_schema": given}
    if spec.formats == "object":
        return {"response_format": {"type": "json_object", **({"schema": given} if schema is not None else {})}}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": given}}}


def refuse_what_it_cannot(request: ChatRequest, spec: Chat, label: str, host: str) -> None:
    """Say what a server of this kind cannot do, rather than leave it out.

    Raises:
        PaddockError: Of kind UNSUPPORTED.
    """

    def no(what: str, remedy: str) -> PaddockError:
        return PaddockError(Failure(f"{label} cannot {what}", host, remedy, FailureKind.UNSUPPORTED))

    if request.format is not None and (spec.formats == "none" or not _sent("response_format", spec, frozenset())):
        raise no("keep to a format", "Set the format to none, or use another server")
    if request.tools and (not spec.tools or not _sent("tools", spec, frozenset())):
        raise no("take tools", "Switch the tools off, or use another server")
    if not spec.images and any(images_of(message) for message in request.messages):
        raise no("look at images", "Leave the images out, or use another server")
    if continues(request) and not spec.prefill:
        raise no("go on with an answer", "Ask for the rest in words, or write the answer again")


def chat_body(request: ChatRequest, spec: Chat, refused: frozenset[str]) -> dict[str, Any]:
    """The body of a chat; only what is set is sent, without the fields this server refused before.

    Raises:
        PaddockError: An image or the format cannot be sent.
    """
    messages = [_message(message, calls) for message, calls in with_call_ids(conversation(request))]
    body: dict[str, Any] = {"model": request.model, "messages": messages, **options_body(request.options, spec)}
    if (think := think_of(request.think)) is not None:
        body |= _think_body(think, spec)
    if request.format is not None:
        body |= _format_body(request.format, spec)
    if request.tools:
        body["tools"] = [dict(tool) for tool in request.tools]
    if continues(request):
        body |= _prefill_body(spec)
    return _finish(body, spec, refused)


def _prefill_body(spec: Chat) -> dict[str, Any]:
    if spec.prefill == "always":
        # llama.cpp refuses to go on with an answer while its template thinks (its pull request 15404)
        return {"chat_template_kwargs": {"enable_thinking": False}} if spec.think == "template" else {}
    return {spec.prefill: True, **({"add_generation_prompt": False} if spec.prefill == "continue_final_message" else {})}


def completion_body(request: CompletionRequest, spec: Chat, refused: frozenset[str]) -> dict[str, Any]:
    """The body of a completion; no template is applied there, so `raw` changes nothing."""
    body: dict[str, Any] = {"model": request.model, "prompt": request.prompt, **options_body(request.options, spec)}
    if isinstance(body.get("stop"), (list, tuple)):
        body["stop"] = list(body["stop"])[:MAX_STOPS]
    if request.suffix:
        body["suffix"] = request.suffix
    return _finish(body, spec, refused)
