r"""A conversation as JSON: nothing of it is lost, whole tree, pictures and figures included.

The file is one object in ASCII, each message on a line of its own::

    {"paddock": 1, "title": "…", "created_at": 1763750000.0, "provider": "lab", "model": "qwen3:8b", "tags": ["work"],
     "pinned": true, "settings": {"system": "…", "think": "on", "options": {"seed": 1}, …}, "tip": 2, "messages": [
     {"id": 1, "parent": 0, "role": "user", "at": 1763750000.0, "content": "…", "attachments": [{"name": "a.png", "kind": "image",
      "media": "image/png", "data": "<base64>"}]},
     {"id": 2, "parent": 1, "role": "assistant", "at": 1763750001.5, "provider": "lab", "model": "qwen3:8b", "state": "stopped",
      "content": "…", "thinking": "…", "metrics": {"output_tokens": 12, …}, "timeline": {"first_token": 0.4, …}}]}

Fields are those of `Message` and `ConversationSettings`; what is left out has its default, what this version does not know is passed
over. A message follows the one above where `parent` is left out; a parent stands before its children. Times are UTC epoch seconds.
Of a provider there is its name, never an address, header or key; of an attached file never its folder. Digests are made anew, and that
of a request is left out: a stranger's file cannot say which answer is given again. `docs/conversation-files.md` tells people the same.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from tui.core.chat import AnswerState, Attachment, AttachmentKind, ConversationSettings, Message, Role, Timeline
from tui.core.events import Metrics
from tui.services.chat.conversation_file import (
    MAX_MESSAGES,
    ConversationFile,
    Node,
    attachment_of,
    ended,
    failure_of,
    failure_values,
    free_mapping,
    role_of,
    with_note,
    wrong,
)
from tui.text import clean_label, clean_name

VERSION: Final = 1
"""Of the form; a file with a higher one was written by a newer Paddock."""
THINK: Final = ("auto", "on", "off", "low", "medium", "high")
_MAX_VALUES: Final = 3_000_000
_SMALL: Final = 8_000_000
"""Bytes; so few values fit into that much that they need not be counted."""
_PIECE: Final = 1 << 20
T = TypeVar("T", Metrics, Timeline)


# --- writing ---------------------------------------------------------------------------------------------------------


def dump(file: ConversationFile) -> str:
    """The file's text, with a line end."""
    lines = ",\n".join(_json(_message_values(message)) for message in file.messages)
    return f'{_json(head_values(file))[:-1]}, "messages": [\n{lines}\n]}}\n'


def head_values(file: ConversationFile) -> dict[str, Any]:
    """All but the messages."""
    usual = ConversationSettings()
    settings = {one.name: getattr(file.settings, one.name) for one in fields(usual)}
    return {
        "paddock": VERSION,
        **_said({"title": file.title, "provider": file.provider, "model": file.model}),
        **_said({"created_at": file.created_at, "tags": list(file.tags), "pinned": file.pinned, "tip": file.tip}),
        **_said({"settings": {key: value for key, value in settings.items() if value != getattr(usual, key)}}),
    }


def _message_values(message: Message) -> dict[str, Any]:
    failure = None if message.failure is None else failure_values(message.failure)
    return {
        "id": message.id,
        "parent": message.parent,
        "role": message.role.value,
        **({"state": message.state.value} if message.role is Role.ASSISTANT else {}),
        **_said({"at": message.created_at, "provider": message.provider, "model": message.model}),
        "content": message.content,
        **_said({"thinking": message.thinking, "tool_calls": list(message.tool_calls), "failure": failure}),
        **_said({"tool_name": message.tool_name, "tool_call_id": message.tool_call_id}),
        **_said({"metrics": figures(message.metrics), "timeline": figures(message.timeline)}),
        **({} if message.prompt_estimate is None else {"prompt_estimate": message.prompt_estimate}),
        **_said({"attachments": [attachment_values(one) for one in message.attachments]}),
        **_said({"pinned": message.pinned, "keep_from": message.keep_from, "comparison": message.comparison}),
        **_said({"options": dict(message.options), "note": message.note}),
    }


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def figures(value: Metrics | Timeline) -> dict[str, Any]:
    """The figures that are known."""
    found = {one.name: getattr(value, one.name) for one in fields(value)}
    return {key: number for key, number in found.items() if number is not None and number is not False}


def attachment_values(one: Attachment) -> dict[str, Any]:
    """An attachment; its text or data included."""
    values: dict[str, Any] = {"name": one.name, "kind": one.kind.value, "size": one.size}
    if one.kind is AttachmentKind.TEXT:
        return {**values, "text": one.text}
    return {**values, "media": one.media, **({"data": base64.b64encode(one.data).decode()} if one.data else {})}


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=True, allow_nan=False, default=dict)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=True)


def _finite(value: Any) -> Any:
    """Without the numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- reading ---------------------------------------------------------------------------------------------------------


def parse(data: bytes) -> Any:
    """JSON that somebody made: no endless nesting, no key twice, no number that is none, no more values than memory has room for."""
    if len(data) > _SMALL and _values(data) > _MAX_VALUES:
        raise wrong("The file holds more values than any conversation", "", "Import a smaller one")
    try:
        return json.loads(data.decode("utf-8", "replace").removeprefix("\ufeff"), object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise wrong(f"This is no JSON: {clean_label(error.msg, 80)}", f"line {error.lineno}") from error
    except RecursionError as error:
        raise wrong("Too many values stand inside each other") from error
    except ValueError as error:  # of int(), for one with thousands of digits
        raise wrong("A number is out of range") from error


def _values(data: bytes) -> int:
    """About how many values there are, counted by what stands between them outside of texts."""
    bare, count, inside = data.replace(rb"\\", b"").replace(b'\\"', b""), 0, 0
    for at in range(0, len(bare), _PIECE):
        parts = bare[at : at + _PIECE].split(b'"')
        between = b"".join(parts[inside::2])
        count += between.count(b",") + between.count(b"[") + between.count(b"{")
        inside ^= (len(parts) - 1) & 1
    return count


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise wrong("A name stands twice in one object", clean_name(twice, 80))
    return found


def _no_number(name: str) -> None:
    raise wrong(f"{name} is no number")


def load(value: Any) -> ConversationFile:
    """The conversation of a parsed file."""
    node = Node(value, "")
    check_version(node.whole("paddock") or 0)
    check_count(len(node.items("messages")))
    messages = _messages(node.nodes("messages"))
    file = replace(head_of(node), messages=messages, tip=node.whole("tip") or 0)
    if file.tip and all(message.id != file.tip for message in messages):
        raise wrong(f"There is no message {file.tip}", "tip")
    return file


def check_version(version: int) -> None:
    """Refuse what a newer Paddock wrote."""
    if version > VERSION:
        what = f"The file has the form {version} of a newer Paddock; this one knows {VERSION}"
        raise wrong(what, "paddock", "Import it with that Paddock, or update this one")
    if version < 1:
        raise wrong(f"There is no form {version} of conversations", "paddock")


def head_of(node: Node) -> ConversationFile:
    """All but the messages."""
    return ConversationFile(
        clean_label(node.text("title")),
        node.time("created_at"),
        clean_name(node.text("provider")),
        clean_name(node.text("model")),
        settings_of(node.node("settings")),
        tuple(dict.fromkeys(clean_label(tag, 60) for tag in node.texts("tags") if tag)),
        node.flag("pinned"),
    )


def settings_of(node: Node) -> ConversationSettings:
    """What is set for the conversation."""
    think = node.text("think") or "auto"
    if think not in THINK:
        raise wrong(f"This should be one of {', '.join(THINK)}", f"{node.where}.think")
    wanted = node.free("format")
    if wanted is not None and wanted != "json" and type(wanted) is not dict:
        raise wrong("This should be json or a schema", f"{node.where}.format")
    tools = tuple(clean_name(tool) for tool in node.texts("tools"))
    return ConversationSettings(
        node.text("system"),
        think,
        clean_name(node.text("preset")),
        free_mapping(node, "options"),
        clean_name(node.text("keep_alive"), 40),
        wanted,
        tools,
    )


def _messages(nodes: list[Node]) -> tuple[Message, ...]:
    known: set[int] = {0}
    found: list[Message] = []
    before = 0
    for at, node in enumerate(nodes):
        number = node.whole("id")
        number = at + 1 if number is None else number
        parent = node.whole("parent")
        parent = before if parent is None else parent
        if number in known:
            raise wrong(f"The number {number} is taken", f"{node.where}.id")
        if parent not in known:
            raise wrong(f"No message {parent} stands above", f"{node.where}.parent")
        keep_from = node.whole("keep_from") or 0
        if keep_from not in known:
            raise wrong(f"No message {keep_from} stands above", f"{node.where}.keep_from")
        known.add(number)
        before = number
        found.append(_message(node, number, parent, keep_from, at + 1))
    return tuple(found)


def check_count(count: int) -> None:
    """Refuse more messages than a conversation can have."""
    if count > MAX_MESSAGES:
        raise wrong(f"The file has {count:,} messages; {MAX_MESSAGES:,} can be read", "messages", "Import a smaller one")


def _message(node: Node, number: int, parent: int, keep_from: int, seq: int) -> Message:
    nodes = node.nodes("attachments")
    attached = [(attachment_of(one), one) for one in nodes]
    message = Message(
        number,
        0,
        seq,
        role_of(node.text("role"), f"{node.where}.role"),
        node.text("content"),
        node.text("thinking"),
        calls_of(node),
        failure=failure_of(node.node("failure")),
        provider=clean_name(node.text("provider")),
        model=clean_name(node.text("model")),
        created_at=node.time("at"),
        metrics=_read_figures(Metrics, node.node("metrics")),
        timeline=_read_figures(Timeline, node.node("timeline")),
        prompt_estimate=node.whole("prompt_estimate"),
        parent=parent,
        attachments=tuple(one for one, _ in attached if one is not None),
        pinned=node.flag("pinned"),
        keep_from=keep_from,
        comparison=node.whole("comparison") or 0,
        tool_name=clean_name(node.text("tool_name")),
        tool_call_id=clean_name(node.text("tool_call_id")),
        options=free_mapping(node, "options"),
        note=clean_label(node.text("note")),
    )
    lost = [clean_name(there.text("name"), 120) for one, there in attached if one is None]
    return with_note(ended(message, node.text("state"), f"{node.where}.state"), lost)


def calls_of(node: Node) -> tuple[Mapping[str, Any], ...]:
    """What tools an answer asks for; arguments are an object, or the text of one as some servers have it."""
    return tuple(_call(one) for one in node.nodes("tool_calls"))


def _call(node: Node) -> dict[str, Any]:
    function, identity = node.node("function"), clean_name(node.text("id"))
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        function = Node({**function.value, "arguments": parse(arguments.encode("utf-8", "replace")) if arguments else {}}, function.where)
    called = {"name": clean_name(function.text("name")), "arguments": dict(free_mapping(function, "arguments"))}
    return {"id": identity, "function": called} if identity else {"function": called}


_WHOLE: Final = ("prompt_tokens", "output_tokens", "cached_tokens")


def _read_figures(kind: type[T], node: Node) -> T:
    values: dict[str, Any] = {}
    for one in fields(kind):
        if one.name in node.value:
            read = node.flag if one.name == "rate_estimated" else node.whole if one.name in _WHOLE else node.number
            values[one.name] = read(one.name)
    return kind(**values)


# --- what others write -----------------------------------------------------------------------------------------------

_ROLES: Final = {"developer": "system", "function": "tool", "human": "user", "model": "assistant"}


def load_plain(value: Any) -> ConversationFile:
    """A list of `{"role", "content"}`, or an object with such `messages`, as programs send them to models; one branch."""
    whole = Node({"messages": value} if isinstance(value, list) else value, "")
    check_count(len(whole.items("messages")))
    nodes = whole.nodes("messages")
    system: list[str] = []
    found: list[Message] = []
    for node in nodes:
        name = node.text("role")
        role = role_of(_ROLES.get(name, name), f"{node.where}.role")
        if role is Role.SYSTEM:
            system.append(_parts(node)[0])
            continue
        found.append(_plain(node, role, len(found)))
    title = clean_label(whole.text("title")) if isinstance(whole.get("title"), str) else ""
    model = clean_name(whole.text("model")) if isinstance(whole.get("model"), str) else ""
    settings = ConversationSettings(system="\n\n".join(text for text in system if text))
    return ConversationFile(title, model=model, settings=settings, messages=tuple(found))


def _plain(node: Node, role: Role, before: int) -> Message:
    content, pictures, lost = _parts(node)
    images = [{"name": f"picture {at}", "kind": "image", "data": data} for at, data in enumerate([*pictures, *node.texts("images")], 1)]
    attached = [attachment_of(Node(one, f"{node.where}.images[{at}]")) for at, one in enumerate(images)]
    message = Message(
        before + 1,
        0,
        before + 1,
        role,
        content,
        node.text("thinking") or node.text("reasoning_content"),
        calls_of(node),
        AnswerState.COMPLETE,
        model=clean_name(node.text("model")) if role is Role.ASSISTANT else "",
        parent=before,
        attachments=tuple(one for one in attached if one is not None),
        tool_name=clean_name(node.text("tool_name") or node.text("name")) if role is Role.TOOL else "",
        tool_call_id=clean_name(node.text("tool_call_id")),
    )
    return with_note(message, lost)


def _parts(node: Node) -> tuple[str, list[str], list[str]]:
    """Text of a message, base64 of its pictures, and the addresses of pictures that are elsewhere."""
    if not isinstance(node.get("content"), list):
        return node.text("content"), [], []
    texts, pictures, lost = [], [], []
    for part in node.nodes("content"):
        if part.get("type") == "image_url":
            link = part.get("image_url")
            url = link if isinstance(link, str) else part.node("image_url").text("url")
            start, comma, data = url.partition(";base64,")
            if comma and start.startswith("data:image/"):
                pictures.append(data)
            else:
                lost.append(clean_name(url, 120))
        else:
            texts.append(part.text("text"))
    return "\n\n".join(texts), pictures, lost


def is_plain(value: Any) -> bool:
    """Whether a parsed file is such a list."""
    return isinstance(value, list) or (isinstance(value, dict) and "paddock" not in value and isinstance(value.get("messages"), list))
