"""Rows of conversations, messages and attachments as our records, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tui.core.chat import AnswerState, Attachment, AttachmentKind, ConversationHead, Message, Role, Timeline
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Metrics
from tui.store import codec
from tui.text import clean_door

if TYPE_CHECKING:
    import sqlite3

HEAD: Final = """SELECT c.id, c.title, c.provider, c.model, c.created_at, c.updated_at,
    (SELECT count(*) FROM message m WHERE m.conversation = c.id AND m.deleted_at IS NULL), c.pinned, c.tags FROM conversation c"""
_COLUMNS: Final = (
    "role, content, thinking, tool_calls, state, failure, provider, model, metrics, timeline, prompt_estimate,"
    " keep_from, comparison, tool_name, tool_call_id, options, note, request"
)
MESSAGE: Final = f"SELECT id, conversation, seq, created_at, parent, pinned, {_COLUMNS} FROM message"
_ATTACHMENT: Final = "SELECT id, name, kind, size, path, digest, media, text FROM attachment"

_ROLES: Final = {role.value: role for role in Role}
_STATES: Final = {state.value: state for state in AnswerState}
_NO_METRICS: Final = Metrics()
_NO_TIMELINE: Final = Timeline()


def head_of(row: Sequence[Any]) -> ConversationHead:
    """A row of `HEAD`."""
    number, title, provider, model, created_at, updated_at, messages, pinned, tags = row
    return ConversationHead(number, title, provider, model, created_at, updated_at, messages, bool(pinned), codec.texts(tags))


def message_of(row: Sequence[Any], parent: int | None = None, attachments: tuple[Attachment, ...] = ()) -> Message:
    """A row of `MESSAGE`; with another parent where the stored one is deleted."""
    return Message(
        id=row[0],
        conversation=row[1],
        seq=row[2],
        created_at=row[3],
        parent=row[4] if parent is None else parent,
        pinned=bool(row[5]),
        role=_ROLES.get(row[6], Role.SYSTEM),
        content=row[7],
        thinking=row[8],
        tool_calls=codec.items(row[9]) if row[9] != "[]" else (),
        state=_STATES.get(row[10], AnswerState.INTERRUPTED),
        failure=codec.load_failure(row[11]),
        provider=row[12],
        model=row[13],
        metrics=codec.load(Metrics, row[14]) if row[14] != "{}" else _NO_METRICS,
        timeline=codec.load(Timeline, row[15]) if row[15] != "{}" else _NO_TIMELINE,
        prompt_estimate=row[16],
        keep_from=row[17],
        comparison=row[18],
        tool_name=row[19],
        tool_call_id=row[20],
        options=codec.mapping(row[21]) if row[21] != "{}" else {},
        note=row[22],
        request=row[23],
        attachments=attachments,
    )


def _values(message: Message) -> tuple[Any, ...]:
    return (
        message.role,
        clean_door(message.content),
        clean_door(message.thinking),
        codec.dump(list(message.tool_calls)),
        message.state,
        codec.dump_failure(message.failure),
        clean_door(message.provider),
        clean_door(message.model),
        "{}" if message.metrics == _NO_METRICS else codec.dump(message.metrics),
        "{}" if message.timeline == _NO_TIMELINE else codec.dump(message.timeline),
        message.prompt_estimate,
        message.keep_from,
        message.comparison,
        clean_door(message.tool_name),
        clean_door(message.tool_call_id),
        codec.dump(dict(message.options)),
        clean_door(message.note),
        message.request,
    )


_MARKS: Final = ", ".join("?" * 18)
_INSERT: Final = f"""INSERT INTO message (conversation, seq, created_at, parent, pinned, {_COLUMNS})
    VALUES (?1, (SELECT coalesce(max(seq), 0) + 1 FROM message WHERE conversation = ?1), ?, ?, ?, {_MARKS}) RETURNING id, seq"""
_REPLACE: Final = f"UPDATE message SET ({_COLUMNS}) = ({_MARKS}) WHERE id = ?"


def insert(connection: sqlite3.Connection, message: Message) -> Message:
    """Store a message and what is attached to it; as `message_of` would give it back."""
    place = (message.conversation, message.created_at, message.parent, int(message.pinned))
    number, seq = connection.execute(_INSERT, (*place, *_values(message))).fetchone()
    attachments = tuple(attach(connection, one, position, message=number) for position, one in enumerate(message.attachments))
    content, thinking = clean_door(message.content), clean_door(message.thinking)
    return replace(message, id=number, seq=seq, attachments=attachments, content=content, thinking=thinking)


def replace_text(connection: sqlite3.Connection, message: Message) -> None:
    """Write everything of a stored message but its place, whether it is pinned, and what is attached.

    Raises:
        PaddockError: There is no such message.
    """
    if not connection.execute(_REPLACE, (*_values(message), message.id)).rowcount:
        raise gone(message.conversation)


def gone(conversation: int) -> PaddockError:
    """There is no such conversation."""
    return PaddockError.of("This chat no longer exists", f"chat {conversation}", "Open another one", FailureKind.NOT_FOUND)


# --- attachments -----------------------------------------------------------------------------------------------------


def attachment_of(row: Sequence[Any]) -> Attachment:
    """A row of the table, without the bytes of an image."""
    number, name, kind, size, path, digest, media, text = row
    return Attachment(name, codec.one_of(AttachmentKind, kind, AttachmentKind.TEXT), size, number, path, text, digest, b"", media)


def attach(
    connection: sqlite3.Connection, one: Attachment, position: int, *, message: int | None = None, draft: str | None = None
) -> Attachment:
    """Store an attachment of a message or a draft; bytes that it does not carry are copied from where it was stored before."""
    data: bytes = one.data
    if not data and one.id:
        row = connection.execute("SELECT data FROM attachment WHERE id = ?", (one.id,)).fetchone()
        data = row[0] if row else b""
    made = replace(one, name=clean_door(one.name), path=clean_door(one.path), text=clean_door(one.text), data=b"")
    number = connection.execute(
        "INSERT INTO attachment (message, draft, position, name, kind, size, path, digest, media, text, data)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (message, draft, position, made.name, made.kind, made.size, made.path, made.digest, made.media, made.text, data),
    ).lastrowid
    return replace(made, id=number or 0)


def attached(connection: sqlite3.Connection, messages: Iterable[int]) -> Mapping[int, tuple[Attachment, ...]]:
    """What is attached to these messages."""
    query = f"{_ATTACHMENT.replace('id,', 'message, id,', 1)} WHERE message IN (SELECT value FROM json_each(?)) ORDER BY message, position"
    found: dict[int, tuple[Attachment, ...]] = {}
    for message, *row in connection.execute(query, (codec.dump(list(messages)),)):
        found[message] = (*found.get(message, ()), attachment_of(row))
    return found


def attached_to_draft(connection: sqlite3.Connection, key: str) -> tuple[Attachment, ...]:
    """What is attached to a prompt not yet sent."""
    return tuple(attachment_of(row) for row in connection.execute(f"{_ATTACHMENT} WHERE draft = ? ORDER BY position", (key,)))
