r"""A conversation as Markdown: for people, and read back without guessing.

What a message says stands between two comments that a viewer hides, `<!--paddock:text-->` and `<!--paddock:end-->`, and its facts in
`<!--paddock:message {…}-->` before it; everything else is drawn for people and not read. A line of the text that begins like such a
comment gets a backslash (`<!--\paddock`), so nothing inside a message is taken for a new one. Control characters are made visible,
as people `cat` such files; where that changed a text, the comment at its end holds the text as it was, which counts as long as nobody
edited what is shown. Only the branch shown is in the file, no pictures, and of the figures what stands below an answer: it says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from tui.core.chat import AnswerState, Attachment, AttachmentKind, Message
from tui.core.errors import PaddockError
from tui.services.chat.conversation_file import (
    ConversationFile,
    Node,
    attachment_of,
    ended,
    failure_of,
    failure_values,
    role_of,
    visible,
    with_note,
    wrong,
)
from tui.services.chat.file_words import end_words, figure_words, left_out_words, settings_lines, when, who
from tui.services.chat.json_form import calls_of, check_count, check_version, head_of, head_values, parse
from tui.text import clean_label, clean_name, size

_MARK: Final = re.compile(r"<!--paddock:([a-z]+)(?: (\{.*\}))?-->[ \t]*\Z")
_LIKE: Final = re.compile(r"^<!--(\\*)paddock", re.MULTILINE)
_ESCAPED: Final = re.compile(r"^<!--\\(\\*)paddock", re.MULTILINE)
_FENCE: Final = re.compile(r" {0,3}(`{3,}(?=[^`]*\Z)|~{3,})")
_RUN: Final = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)
HEAD: Final = "<!--paddock:conversation "
"""How such a file begins."""


# --- writing ---------------------------------------------------------------------------------------------------------


def dump(file: ConversationFile) -> str:
    """The file's text."""
    branch = file.branch()
    parts = [_mark("conversation", {key: value for key, value in head_values(file).items() if key != "tip"})]
    parts += [f"# {clean_label(file.title) or 'Chat'}", _about(file, branch)]
    for message in branch:
        parts += _message(message)
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(file: ConversationFile, branch: Sequence[Message]) -> str:
    facts = [clean_name(file.model), clean_name(file.provider), when(file.created_at), *(f"#{clean_label(tag)}" for tag in file.tags)]
    known = " · ".join(fact for fact in facts if fact)
    lines = [f"*{known}*" if known else "", *(f"*{line}*" for line in settings_lines(file.settings)), left_out_words(file, branch)]
    if file.settings.system:
        lines.insert(-1, "\n".join(f"> {line}".rstrip() for line in ("System prompt:", "", *visible(file.settings.system).split("\n"))))
    return "\n\n".join(line for line in lines if line)


def _message(message: Message) -> Iterator[str]:
    yield f"{_mark('message', _facts(message))}\n## {who(message)}{_at(message)}"
    if message.note:
        yield f"*{clean_label(message.note)}*"
    if message.thinking:
        yield _quoted(message.thinking)
    yield _text(message.content)
    if message.tool_calls:
        yield _fenced("calls", {}, json.dumps([_plain(call) for call in message.tool_calls], ensure_ascii=True, indent=2), "json")
    for attachment in message.attachments:
        yield _attached(attachment)
    yield from (f"*{words}*" for words in (end_words(message), figure_words(message)) if words)


def _at(message: Message) -> str:
    return f" ({when(message.created_at)})" if message.created_at else ""


def _facts(message: Message) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": message.id,
        "role": message.role.value,
        "at": message.created_at,
        "provider": message.provider,
        "model": message.model,
        "state": "" if message.state is AnswerState.COMPLETE else message.state.value,
        "failure": failure_values(message.failure) if message.failure else None,
        "pinned": message.pinned,
        "keep_from": message.keep_from,
        "tool_name": message.tool_name,
        "tool_call_id": message.tool_call_id,
        "note": message.note,
    }
    return {key: value for key, value in values.items() if value}


def _plain(value: Any) -> Any:
    return {key: _plain(item) for key, item in value.items()} if hasattr(value, "items") else value


def _mark(name: str, values: dict[str, Any] | None = None) -> str:
    """A comment that nothing in it can end."""
    if not values:
        return f"<!--paddock:{name}-->"
    text = json.dumps(values, ensure_ascii=True, default=dict).replace("--", "-\\u002d").replace(">", "\\u003e")
    return f"<!--paddock:{name} {text}-->"


def _end(exact: str, shown: str, *, closed: bool = False) -> str:
    return _mark("end", {**({"closed": True} if closed else {}), **({} if exact == shown else {"exact": exact})})


def _text(text: str) -> str:
    """The text, whose fences are all closed, so that what follows is not drawn as code."""
    shown = visible(text)
    fence = _open_fence(shown)
    lines = [
        _mark("text"),
        "",
        _LIKE.sub(r"<!--\\\1paddock", shown),
        "",
        *([fence] if fence else []),
        _end(text, shown, closed=bool(fence)),
    ]
    return "\n".join(lines)


def _open_fence(text: str) -> str:
    """What closes the fence that is still open at the end, or empty."""
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if found is None:
            continue
        if not fence:
            fence = found[1]
        elif found[1][0] == fence[0] and len(found[1]) >= len(fence) and not line[found.end() :].strip():
            fence = ""
    return fence


def _quoted(text: str) -> str:
    shown = visible(text)
    lines = [f"> {line}" if line else ">" for line in shown.split("\n")]
    return "\n".join([_mark("thinking"), *lines, "", _end(text, shown)])


def _fenced(name: str, values: dict[str, Any], text: str, language: str = "") -> str:
    """A block of code whose fence is longer than any in it."""
    shown = visible(text)
    fence = "`" * (max((len(found[1]) for found in _RUN.finditer(shown)), default=2) + 1)
    body = _LIKE.sub(r"<!--\\\1paddock", shown)
    return "\n".join([_mark(name, values), f"{fence}{language}", body, fence, _end(text, shown)])


def _attached(one: Attachment) -> str:
    words = f"Attached: {clean_name(one.name)}, {size(one.size)}"
    if one.kind is AttachmentKind.TEXT:
        return f"*{words}*\n\n{_fenced('attachment', {'name': one.name, 'kind': 'text'}, one.text)}"
    return f"*{words}; the picture is not in this file*\n\n{_mark('picture', {'name': one.name})}"


# --- reading ---------------------------------------------------------------------------------------------------------


def load(text: str) -> ConversationFile:
    """The conversation of such a file."""
    lines = text.replace("\r\n", "\n").split("\n")
    marks = [(at, found) for at, line in enumerate(lines) if line.startswith("<!--paddock:") and (found := _MARK.match(line))]
    if not marks or marks[0][1][1] != "conversation":
        raise wrong("This is no conversation of Paddock", "line 1")
    node = _node(marks[0])
    check_version(node.whole("paddock") or 0)
    check_count(sum(found[1] == "message" for _, found in marks))
    reader = _Reader(lines)
    for at, found in marks[1:]:
        reader.take(at, found)
    return replace(head_of(node), messages=reader.done())


def _node(mark: tuple[int, re.Match[str]]) -> Node:
    at, found = mark
    where = f"line {at + 1}"
    try:
        return Node(parse((found[2] or "{}").encode("utf-8", "replace")), where)
    except PaddockError as error:  # where it is in the comment nobody can see
        raise PaddockError(replace(error.failure, where=where)) from error


class _Reader:
    """Takes one mark after the other; text stands between an opening one and its end."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._opened: tuple[int, str, Node] | None = None
        self._messages: list[Message] = []
        self._numbers: dict[int, int] = {}
        self._state = ""
        self._where = ""
        self._lost: list[str] = []

    def take(self, at: int, found: re.Match[str]) -> None:
        """The next mark."""
        name, node = found[1], _node((at, found))
        if name == "end":
            if self._opened is None:
                raise wrong("An end stands here without a beginning", node.where)
            start, kind, facts = self._opened
            self._opened = None
            self._put(kind, facts, self._between(start, at, kind, node))
        elif self._opened is not None:
            raise wrong("The text that begins here has no end", f"line {self._opened[0] + 1}")
        elif name == "message":
            self._finish()
            self._begin(node)
        elif name in ("text", "thinking", "calls", "attachment", "picture"):
            if not self._messages:
                raise wrong("A text stands here before the first message", node.where)
            if name == "picture":
                self._lost.append(clean_name(node.text("name"), 120))
            else:
                self._opened = (at, name, node)
        else:
            raise wrong(f"Paddock writes no mark {clean_name(name, 40)}", node.where)

    def done(self) -> tuple[Message, ...]:
        """All messages."""
        if self._opened is not None:
            raise wrong("The text that begins here has no end", f"line {self._opened[0] + 1}", "The file was cut; export it again")
        self._finish()
        return tuple(self._messages)

    def _begin(self, node: Node) -> None:
        number = len(self._messages) + 1
        self._state, self._where, self._lost = node.text("state"), f"{node.where}: state", []
        self._numbers[node.whole("id") or 0] = number
        message = Message(
            number,
            0,
            number,
            role_of(node.text("role"), f"{node.where}: role"),
            "",
            failure=failure_of(node.node("failure")),
            provider=clean_name(node.text("provider")),
            model=clean_name(node.text("model")),
            created_at=node.time("at"),
            parent=number - 1,
            pinned=node.flag("pinned"),
            keep_from=self._numbers.get(node.whole("keep_from") or 0, 0) if node.get("keep_from") else 0,
            tool_name=clean_name(node.text("tool_name")),
            tool_call_id=clean_name(node.text("tool_call_id")),
            note=clean_label(node.text("note")),
        )
        self._messages.append(message)

    def _finish(self) -> None:
        if self._messages:
            self._messages[-1] = with_note(ended(self._messages[-1], self._state, self._where), self._lost)

    def _between(self, start: int, end: int, kind: str, node: Node) -> str:
        lines = list(self._lines[start + 1 : end])
        if kind == "thinking":
            text = "\n".join(line[2:] if line.startswith("> ") else line[1:] for line in lines if line.startswith(">"))
        elif kind == "text":
            lines = lines[: -1 if node.flag("closed") else None]
            lines = lines[1:] if lines and not lines[0].strip() else lines
            text = "\n".join(lines[:-1] if lines and not lines[-1].strip() else lines)
        else:
            text = "\n".join(lines[1:-1])
        if kind != "thinking":
            text = _ESCAPED.sub(r"<!--\1paddock", text)
        exact = node.text("exact") if node.get("exact") is not None else None
        return exact if exact is not None and visible(exact) == text else text

    def _put(self, kind: str, facts: Node, text: str) -> None:
        message = self._messages[-1]
        if kind == "text":
            message = replace(message, content=text)
        elif kind == "thinking":
            message = replace(message, thinking=text)
        elif kind == "calls":
            message = replace(message, tool_calls=calls_of(Node({"tool_calls": parse(text.encode("utf-8", "replace"))}, facts.where)))
        else:
            one = attachment_of(facts, text)
            message = replace(message, attachments=(*message.attachments, one) if one else message.attachments)
        self._messages[-1] = message


def is_markdown(data: bytes) -> bool:
    """Whether a file begins as such a file does."""
    return data.removeprefix(b"\xef\xbb\xbf").lstrip()[: len(HEAD)] == HEAD.encode()
