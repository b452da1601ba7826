"""A conversation outside the database: what each of its forms (JSON, Markdown, HTML) is written from and read into."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Final

from tui.core.chat import AnswerState, Attachment, AttachmentKind, ConversationSettings, Message, Role
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.record import record
from tui.text import clean_block, clean_door, clean_label, clean_name

MAX_BYTES: Final = 50_000_000
"""Larger files are not read."""
MAX_PAGE: Final = 4 * MAX_BYTES
"""Larger pages are not read: beside at most `MAX_BYTES` of JSON they hold the same once more, drawn."""
MAX_MESSAGES: Final = 100_000
"""Files with more messages are not read."""
MAX_DEPTH: Final = 64
"""Values inside each other: tool arguments, options, a schema."""
LAST_TIME: Final = 253_402_200_000.0
"""Seconds; a day before the last that calendars can show."""
_MAX_WHOLE: Final = 1 << 63
_MAX_NUMBER: Final = 1e300
_REMEDY: Final = "Export the conversation again, or mend that place of the file"
_MEDIA: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"))
_KINDS: Final[dict[type, str]] = {str: "a text", dict: "an object", list: "a list", bool: "true or false"}


@record(frozen=True)
class ConversationFile:
    """A conversation as a file holds it.

    Attributes:
        messages: The whole tree in the order of storing; ids, `parent`, `keep_from` and `tip` are valid among themselves only.
        tip: Last message of the branch shown; 0: the last one of all.
    """

    title: str = ""
    created_at: float = 0.0
    provider: str = ""
    model: str = ""
    settings: ConversationSettings = field(default_factory=ConversationSettings)
    tags: tuple[str, ...] = ()
    pinned: bool = False
    messages: tuple[Message, ...] = ()
    tip: int = 0

    def branch(self) -> tuple[Message, ...]:
        """The branch shown, first message first."""
        known = {message.id: message for message in self.messages}
        at = known.get(self.tip) or (self.messages[-1] if self.messages else None)
        found: list[Message] = []
        while at is not None and len(found) <= len(known):
            found.append(at)
            at = known.get(at.parent)
        return tuple(reversed(found))


def wrong(what: str, where: str = "", remedy: str = _REMEDY) -> PaddockError:
    """The file is not as it should be."""
    return PaddockError.of(what, clean_name(where, 200), remedy, FailureKind.BAD_REQUEST)


def media_of(data: bytes) -> str:
    """The media type of a picture by its first bytes, empty where it is none that models take."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media for start, media in _MEDIA if data.startswith(start)), "")


def visible(text: str) -> str:
    """`clean_block` for a file that people `cat`; tabs stay, as code needs them and no terminal minds."""
    return "\t".join(clean_block(part) for part in text.split("\t")) if "\t" in text else clean_block(text)


class Node:
    """An object of a file that is read field by field; a wrong one raises a `PaddockError` that says where it is."""

    def __init__(self, value: Any, where: str) -> None:
        self.where = where
        self.value: dict[str, Any] = typed(value, dict, where)

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def get(self, key: str) -> Any:
        """As it stands there, None where it does not."""
        return self.value.get(key)

    def text(self, key: str, default: str = "") -> str:
        """A text, made storable."""
        value = self.value.get(key)
        return default if value is None else clean_door(typed(value, str, self._at(key)))

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.value.get(key)
        return False if value is None else bool(typed(value, bool, self._at(key)))

    def number(self, key: str) -> float | None:
        """A finite number."""
        value = self.value.get(key)
        if value is None or type(value) is float:
            if value is not None and not abs(value) <= _MAX_NUMBER:
                raise wrong("A number is out of range", self._at(key))
            return value
        return float(self._whole(key, value))

    def whole(self, key: str) -> int | None:
        """A whole number that the database can hold."""
        value = self.value.get(key)
        return None if value is None else self._whole(key, value)

    def _whole(self, key: str, value: Any) -> int:
        if type(value) is not int:
            raise wrong("This should be a number", self._at(key))
        if not -_MAX_WHOLE < value < _MAX_WHOLE:
            raise wrong("A number is out of range", self._at(key))
        return value

    def time(self, key: str) -> float:
        """UTC epoch seconds that a calendar can show; 0 where there are none."""
        value = self.number(key) or 0.0
        if not 0.0 <= value <= LAST_TIME:
            raise wrong("This time is on no calendar", self._at(key))
        return value

    def node(self, key: str) -> Node:
        """An object, empty where there is none."""
        value = self.value.get(key)
        return Node({} if value is None else value, self._at(key))

    def items(self, key: str) -> list[Any]:
        """A list, empty where there is none."""
        value = self.value.get(key)
        return [] if value is None else list(typed(value, list, self._at(key)))

    def nodes(self, key: str) -> list[Node]:
        """A list of objects."""
        return [Node(item, f"{self._at(key)}[{at}]") for at, item in enumerate(self.items(key))]

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(clean_door(typed(item, str, f"{self._at(key)}[{at}]")) for at, item in enumerate(self.items(key)))

    def free(self, key: str) -> Any:
        """Any value, not too deep, its texts made storable and its numbers finite."""
        return _free(self.value.get(key), self._at(key), 0)


def typed(value: Any, kind: type, where: str) -> Any:
    """The value, if it is of that kind."""
    if type(value) is not kind:
        raise wrong(f"This should be {_KINDS[kind]}", where)
    return value


def _free(value: Any, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise wrong(f"More than {MAX_DEPTH} values stand inside each other", where)
    if isinstance(value, str):
        return clean_door(value)
    if isinstance(value, dict):
        return {clean_door(key): _free(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_free(item, where, depth + 1) for item in value]
    if isinstance(value, float) and not abs(value) <= _MAX_NUMBER:
        raise wrong("A number is out of range", where)
    if isinstance(value, int) and not isinstance(value, bool) and not -_MAX_WHOLE < value < _MAX_WHOLE:
        raise wrong("A number is out of range", where)
    return value


def free_mapping(node: Node, key: str) -> Mapping[str, Any]:
    """An object of any values."""
    value = node.free(key)
    return {} if value is None else dict(typed(value, dict, f"{node.where}.{key}"))


def failure_of(node: Node) -> Failure | None:
    """What an answer ended with; None where nothing is said."""
    what = node.text("what")
    if not what:
        return None
    try:
        kind = FailureKind(node.text("kind"))
    except ValueError:
        kind = FailureKind.INTERNAL
    return Failure(
        clean_label(what),
        clean_name(node.text("where")),
        clean_label(node.text("remedy")),
        kind,
        clean_block(node.text("details"))[:65_536],
        node.number("retry_after"),
        node.whole("status"),
    )


def failure_values(failure: Failure) -> dict[str, Any]:
    """The same, to be written; without what is empty."""
    values = {"what": failure.what, "where": failure.where, "remedy": failure.remedy, "kind": failure.kind.value}
    more = {"details": failure.details, "retry_after": failure.retry_after, "status": failure.status}
    return {key: value for key, value in {**values, **more}.items() if value not in ("", None)}


def attachment_of(node: Node, text: str | None = None) -> Attachment | None:
    """A file that went with a prompt; None for a picture that is not in the file.

    Its digest is made here: the one in the file is somebody's claim. Where it was on the disk that wrote it is not read.
    """
    name = clean_name(node.text("name").replace("/", "_"), 120) or "file"
    kind = node.text("kind", "text")
    if kind == AttachmentKind.IMAGE:
        encoded = node.text("data")
        return picture(encoded, name, f"{node.where}.data") if encoded else None
    if kind != AttachmentKind.TEXT:
        raise wrong(f"Attachments of the kind {clean_name(kind, 40)} are not known", f"{node.where}.kind")
    text = node.text("text") if text is None else text
    data = text.encode()
    return Attachment(name, size=len(data), text=text, digest=hashlib.sha256(data).hexdigest())


def picture(text: str, name: str, where: str) -> Attachment:
    """An image from its base64."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong("This picture is not base64", where) from error
    media = media_of(data)
    if not media:
        raise wrong("This is no PNG, JPEG, WebP or GIF", where)
    return Attachment(name, AttachmentKind.IMAGE, len(data), digest=hashlib.sha256(data).hexdigest(), data=data, media=media)


def role_of(text: str, where: str) -> Role:
    """Who speaks."""
    try:
        return Role(text)
    except ValueError:
        raise wrong(f"Nobody is called {clean_name(text, 40) or 'nothing'}: system, user, assistant or tool", where) from None


def ended(message: Message, state: str, where: str) -> Message:
    """The message with its state; what was still being written was interrupted, and only answers have one."""
    try:
        found = AnswerState(state or "complete")
    except ValueError:
        raise wrong(f"No answer can be {clean_name(state, 40)}", where) from None
    if message.role is not Role.ASSISTANT:
        return message
    if found.ended:
        return replace(message, state=found)
    why = Failure("The file was made while the answer was being written", "", "Ask again, or continue it", FailureKind.INTERRUPTED)
    return replace(message, state=AnswerState.INTERRUPTED, failure=message.failure or why)


def with_note(message: Message, lost: Sequence[str]) -> Message:
    """The message, saying which pictures did not come with it."""
    if not lost:
        return message
    words = f"not in the file: {', '.join(lost)}"
    return replace(message, note=clean_label(f"{message.note}; {words}" if message.note else words))
