"""What the request bodies of every dialect share: messages, tool calls, images, and what cannot be asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tui.core.chat import Attachment, AttachmentKind, ChatRequest, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.providers.streams import map_of, text_of
from tui.text import clean_name


def call_parts(call: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    """Id, function name and arguments of a stored tool call, in whichever of the two forms it was kept."""
    function = map_of(call.get("function")) or call
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = {}
    return text_of(call.get("id")), text_of(function.get("name")), map_of(arguments)


def think_of(word: str) -> bool | str | None:
    """The value of `think`; None (not sent) leaves it to the model."""
    return {"on": True, "off": False}.get(word, word if word in ("low", "medium", "high", "max") else None)


def continues(request: ChatRequest) -> bool:
    """Whether an answer is gone on with: the last message is the assistant's, and no call for a tool."""
    last = request.messages[-1] if request.messages else None
    return last is not None and last.role is Role.ASSISTANT and not last.tool_calls


def conversation(request: ChatRequest) -> tuple[Message, ...]:
    """The messages to send, the system prompt in front; joined with a system message that is first, as models take only one there."""
    messages = request.messages
    if not request.system:
        return messages
    if messages and messages[0].role is Role.SYSTEM:
        first = messages[0]
        return (replace(first, content=f"{request.system}\n\n{first.content}" if first.content else request.system), *messages[1:])
    return (Message(0, 0, 0, Role.SYSTEM, request.system), *messages)


def with_call_ids(messages: Sequence[Message]) -> Iterator[tuple[Message, list[tuple[str, str, Mapping[str, Any]]]]]:
    """Each message with its tool calls; a call without an id gets `call_0`, `call_1` …, and so does the result that belongs to it."""
    waiting: list[tuple[str, str]] = []
    number = 0
    for message in messages:
        calls = []
        if message.role is Role.ASSISTANT:
            for call in message.tool_calls:
                id_, name, arguments = call_parts(call)
                calls.append((id_ or f"call_{number}", name, arguments))
                number += 1
            waiting = [(id_, name) for id_, name, _ in calls]
        elif message.role is Role.TOOL:
            mine = next((item for item in waiting if item[0] == message.tool_call_id), None) if message.tool_call_id else None
            mine = mine or next((item for item in waiting if item[1] == message.tool_name), None) or (waiting[0] if waiting else None)
            if mine is not None:
                waiting.remove(mine)
            name = message.tool_name or (mine[1] if mine else "")
            message = replace(message, tool_name=name, tool_call_id=message.tool_call_id or (mine[0] if mine else "call_0"))
        yield message, calls


def images_of(message: Message) -> list[Attachment]:
    """The images that go with a message.

    Raises:
        PaddockError: The bytes of one are not there (kind NOT_FOUND).
    """
    images = [attachment for attachment in message.attachments if attachment.kind is AttachmentKind.IMAGE]
    for image in images:
        if not image.data:
            what = f"The image {clean_name(image.name, 100)} is not there any more"
            raise PaddockError.of(what, clean_name(image.path, 200), "Attach it again, or delete that message", FailureKind.NOT_FOUND)
    return images


def base64_of(image: Attachment) -> str:
    """The bytes as the wire wants them."""
    return base64.b64encode(image.data).decode("ascii")


def schema_of(wanted: Any) -> Mapping[str, Any] | None:
    """What `format` asks for: None for any JSON, else the schema.

    Raises:
        PaddockError: It is neither (kind CONFIG).
    """
    if wanted == "json":
        return None
    if isinstance(wanted, Mapping):
        return wanted
    raise PaddockError.of("The format is neither json nor a JSON schema", "format", "Give json, or an object", FailureKind.CONFIG)
