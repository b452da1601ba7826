"""Conversations, their messages, drafts and the history of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from tui.core.chat import AnswerState, ConversationHead, ConversationSettings, Message, Role, Timeline
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Metrics
from tui.store import codec
from tui.store.identity import Identity, alive, myself
from tui.text import clean_door

if TYPE_CHECKING:
    import sqlite3

    from tui.store.db import Database

CONVERSATIONS: Final = "conversations"
MESSAGES: Final = "messages"
DRAFTS: Final = "drafts"
MAX_HISTORY: Final = 1000
"""Prompts remembered for the up key."""
UNDO_SECONDS: Final = 600.0
"""How long a deleted conversation can be brought back before it may be purged."""

_HEAD: Final = """SELECT c.id, c.title, c.provider, c.model, c.created_at, c.updated_at,
    (SELECT count(*) FROM message m WHERE m.conversation = c.id) AS messages, c.pinned FROM conversation c"""
_MESSAGE: Final = """SELECT id, conversation, seq, role, content, thinking, tool_calls, state, failure, provider, model, created_at,
    metrics, timeline, prompt_estimate FROM message"""
_OPEN: Final = (AnswerState.WAITING.value, AnswerState.WRITING.value)


def _head(row: Sequence[Any]) -> ConversationHead:
    number, title, provider, model, created_at, updated_at, messages, pinned = row
    return ConversationHead(number, title, provider, model, created_at, updated_at, messages, bool(pinned))


def _message(row: Sequence[Any]) -> Message:
    return Message(
        id=row[0],
        conversation=row[1],
        seq=row[2],
        role=codec.one_of(Role, row[3], Role.SYSTEM),
        content=row[4],
        thinking=row[5],
        tool_calls=codec.items(row[6]),
        state=codec.one_of(AnswerState, row[7], AnswerState.INTERRUPTED),
        failure=codec.load_failure(row[8]),
        provider=row[9],
        model=row[10],
        created_at=row[11],
        metrics=codec.load(Metrics, row[12]),
        timeline=codec.load(Timeline, row[13]),
        prompt_estimate=row[14],
    )


class Conversations:
    """The repository of conversations. Reads are quick and synchronous, writes durable when they return."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock

    # --- conversations ---------------------------------------------------------------------------------------------

    def heads(self, *, limit: int = 500, offset: int = 0) -> tuple[ConversationHead, ...]:
        """The conversations, pinned ones first, then the latest."""
        query = f"{_HEAD} WHERE c.deleted_at IS NULL ORDER BY c.pinned DESC, c.updated_at DESC, c.id DESC LIMIT ? OFFSET ?"
        return self._db.read(lambda connection: tuple(_head(row) for row in connection.execute(query, (limit, offset))))

    def head(self, conversation: int) -> ConversationHead | None:
        """One conversation, None where it does not exist or is deleted."""
        row = self._db.read(
            lambda connection: connection.execute(f"{_HEAD} WHERE c.id = ? AND c.deleted_at IS NULL", (conversation,)).fetchone()
        )
        return None if row is None else _head(row)

    def search(self, words: str, *, limit: int = 100) -> tuple[ConversationHead, ...]:
        """Conversations whose title or messages contain every word, latest first."""
        return self._db.read(self._searching(words, limit))

    async def search_async(self, words: str, *, limit: int = 100) -> tuple[ConversationHead, ...]:
        """`search` off the loop, for many messages."""
        return await self._db.read_async(self._searching(words, limit))

    @staticmethod
    def _searching(words: str, limit: int) -> Any:
        wanted = ["%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%" for word in clean_door(words).split()]
        one = (
            "(c.title LIKE ? ESCAPE '\\' OR EXISTS (SELECT 1 FROM message m WHERE m.conversation = c.id AND m.content LIKE ? ESCAPE '\\'))"
        )
        condition = " AND ".join([one] * len(wanted)) or "1"
        query = f"{_HEAD} WHERE c.deleted_at IS NULL AND {condition} ORDER BY c.updated_at DESC, c.id DESC LIMIT ?"
        values = [word for word in wanted for _ in range(2)]
        return lambda connection: tuple(_head(row) for row in connection.execute(query, (*values, limit)))

    async def create(self, provider: str, model: str, *, title: str = "", settings: ConversationSettings | None = None) -> ConversationHead:
        """Begin a conversation; this process holds its lease."""
        now, me = self._clock.time(), myself()
        values = (clean_door(title), clean_door(provider), clean_door(model), now, now, codec.dump(settings or ConversationSettings()))

        def work(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO conversation (title, provider, model, created_at, updated_at, settings, lease_pid, lease_start, lease_boot)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, me.pid, me.start, me.boot),
            )
            return cursor.lastrowid or 0

        number = await self._db.run(work, (CONVERSATIONS,))
        return ConversationHead(number, values[0], values[1], values[2], now, now, 0)

    async def rename(self, conversation: int, title: str) -> None:
        """Give a conversation another title; its place in the list stays."""
        await self._update(conversation, "title = ?", clean_door(title))

    async def pin(self, conversation: int, pinned: bool) -> None:
        """Keep a conversation at the top, or no longer."""
        await self._update(conversation, "pinned = ?", int(pinned))

    async def use(self, conversation: int, provider: str, model: str) -> None:
        """Go on with another model."""
        await self._update(conversation, "provider = ?, model = ?", clean_door(provider), clean_door(model))

    async def set_settings(self, conversation: int, settings: ConversationSettings) -> None:
        """Replace what is set for this conversation."""
        await self._update(conversation, "settings = ?", codec.dump(settings))

    def settings(self, conversation: int) -> ConversationSettings:
        """What is set for this conversation."""
        row = self._db.read(
            lambda connection: connection.execute("SELECT settings FROM conversation WHERE id = ?", (conversation,)).fetchone()
        )
        return codec.load(ConversationSettings, row[0] if row else None)

    async def delete(self, conversation: int) -> int:
        """Hide a conversation; the returned token brings it back with `undo_delete`."""
        await self._update(conversation, "deleted_at = ?", self._clock.time())
        return conversation

    async def undo_delete(self, token: int) -> None:
        """Bring a deleted conversation back."""
        await self._update(token, "deleted_at = NULL")

    async def purge(self, older_than: float = UNDO_SECONDS) -> int:
        """Remove for good what was deleted longer than this many seconds ago; returns how many."""
        limit = self._clock.time() - older_than
        return await self._db.run(
            lambda connection: connection.execute("DELETE FROM conversation WHERE deleted_at <= ?", (limit,)).rowcount,
            (CONVERSATIONS, MESSAGES),
        )

    async def _update(self, conversation: int, assignment: str, *values: Any) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if not connection.execute(f"UPDATE conversation SET {assignment} WHERE id = ?", (*values, conversation)).rowcount:
                raise _gone(conversation)

        await self._db.run(work, (CONVERSATIONS,))

    # --- leases ----------------------------------------------------------------------------------------------------

    async def take_lease(self, conversation: int) -> Identity | None:
        """Become the one app that writes this conversation; returns the living holder where another has it."""
        me = myself()

        def work(connection: sqlite3.Connection) -> Identity | None:
            row = connection.execute("SELECT lease_pid, lease_start, lease_boot FROM conversation WHERE id = ?", (conversation,)).fetchone()
            if row is None:
                raise _gone(conversation)
            holder = Identity(*row)
            if holder != me and alive(holder):
                return holder
            connection.execute(
                "UPDATE conversation SET lease_pid = ?, lease_start = ?, lease_boot = ? WHERE id = ?",
                (me.pid, me.start, me.boot, conversation),
            )
            return None

        return await self._db.run(work, (CONVERSATIONS,))

    async def release_lease(self, conversation: int) -> None:
        """Let another app write this conversation; nothing happens where we do not hold it."""
        me = myself()
        await self._db.run(
            lambda connection: connection.execute(
                "UPDATE conversation SET lease_pid = 0, lease_start = '', lease_boot = ''"
                " WHERE id = ? AND lease_pid = ? AND lease_start = ?",
                (conversation, me.pid, me.start),
            ),
            (CONVERSATIONS,),
        )

    def lease_holder(self, conversation: int) -> Identity | None:
        """The other living process that writes this conversation, None where there is none."""
        row = self._db.read(
            lambda connection: connection.execute(
                "SELECT lease_pid, lease_start, lease_boot FROM conversation WHERE id = ?", (conversation,)
            ).fetchone()
        )
        holder = Identity(*row) if row else None
        return holder if holder and holder != myself() and alive(holder) else None

    # --- messages --------------------------------------------------------------------------------------------------

    def messages(self, conversation: int, *, limit: int | None = None, before: int | None = None) -> tuple[Message, ...]:
        """Messages in their order; with `limit` the last ones, `before` this sequence number where given."""
        query = f"{_MESSAGE} WHERE conversation = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        values = (conversation, 1 << 62 if before is None else before, -1 if limit is None else limit)
        rows = self._db.read(lambda connection: connection.execute(query, values).fetchall())
        return tuple(_message(row) for row in reversed(rows))

    def message(self, number: int) -> Message | None:
        """One message."""
        row = self._db.read(lambda connection: connection.execute(f"{_MESSAGE} WHERE id = ?", (number,)).fetchone())
        return None if row is None else _message(row)

    async def add_message(self, message: Message) -> Message:
        """Append a message; its id, sequence number and time (where 0) are given here."""
        return (await self.add_messages((message,)))[0]

    async def add_messages(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Append several messages of one conversation at once (a prompt and the answer to be), all or none."""
        now = self._clock.time()

        def work(connection: sqlite3.Connection) -> tuple[Message, ...]:
            stored = tuple(_insert(connection, replace(message, created_at=message.created_at or now)) for message in messages)
            connection.execute("UPDATE conversation SET updated_at = ? WHERE id = ?", (now, messages[0].conversation))
            return stored

        return await self._db.run(work, (CONVERSATIONS, MESSAGES))

    async def append_answer(self, number: int, content: str = "", thinking: str = "", state: AnswerState = AnswerState.WRITING) -> None:
        """Add streamed text to an answer; callers collect at least half a second of it."""
        await self._db.run(
            lambda connection: connection.execute(
                "UPDATE message SET content = content || ?, thinking = thinking || ?, state = ? WHERE id = ?",
                (clean_door(content), clean_door(thinking), state, number),
            ),
            (MESSAGES,),
        )

    async def update_answer(self, message: Message) -> None:
        """Replace everything of a stored message but its place."""
        await self._db.run(lambda connection: _replace(connection, message), (MESSAGES,))

    async def finish_answer(self, message: Message) -> None:
        """Store the end of an answer: text, state, figures; the conversation moves up in the list."""

        def work(connection: sqlite3.Connection) -> None:
            _replace(connection, message)
            connection.execute("UPDATE conversation SET updated_at = ? WHERE id = ?", (self._clock.time(), message.conversation))

        await self._db.run(work, (CONVERSATIONS, MESSAGES))

    async def drop_from(self, conversation: int, seq: int) -> None:
        """Remove the messages from this sequence number on (an edited prompt, a retried answer)."""
        await self._db.run(
            lambda connection: connection.execute("DELETE FROM message WHERE conversation = ? AND seq >= ?", (conversation, seq)),
            (CONVERSATIONS, MESSAGES),
        )

    async def mark_open_answers_interrupted(self) -> int:
        """At the start: answers that were being written by processes that no longer live are interrupted; returns how many."""
        failure = codec.dump_failure(
            Failure("Paddock ended while the answer was being written", "the answer", "Retry or continue", FailureKind.INTERRUPTED)
        )

        def work(connection: sqlite3.Connection) -> int:
            rows = connection.execute(
                "SELECT m.id, c.lease_pid, c.lease_start, c.lease_boot FROM message m JOIN conversation c ON c.id = m.conversation"
                " WHERE m.state IN (?, ?)",
                _OPEN,
            ).fetchall()
            dead = [(AnswerState.INTERRUPTED, failure, row[0]) for row in rows if not alive(Identity(*row[1:]))]
            connection.executemany("UPDATE message SET state = ?, failure = ? WHERE id = ?", dead)
            return len(dead)

        return await self._db.run(work, (CONVERSATIONS, MESSAGES))

    # --- drafts and prompts ----------------------------------------------------------------------------------------

    def draft(self, key: str) -> str:
        """What was typed and not sent."""
        row = self._db.read(lambda connection: connection.execute("SELECT text FROM draft WHERE key = ?", (key,)).fetchone())
        return row[0] if row else ""

    async def set_draft(self, key: str, text: str) -> None:
        """Keep what was typed; an empty text removes it."""

        def work(connection: sqlite3.Connection) -> None:
            if text:
                connection.execute(
                    "INSERT INTO draft (key, text, updated_at) VALUES (?, ?, ?)"
                    " ON CONFLICT (key) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at",
                    (key, clean_door(text), self._clock.time()),
                )
            else:
                connection.execute("DELETE FROM draft WHERE key = ?", (key,))

        await self._db.run(work, (DRAFTS,))

    def prompts(self, *, limit: int = 200) -> tuple[str, ...]:
        """Prompts sent before, latest first."""
        rows = self._db.read(
            lambda connection: connection.execute("SELECT text FROM prompt_history ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
        )
        return tuple(row[0] for row in rows)

    async def add_prompt(self, text: str) -> None:
        """Remember a prompt; the same one again moves to the end."""

        def work(connection: sqlite3.Connection) -> None:
            stored = clean_door(text)
            connection.execute("DELETE FROM prompt_history WHERE text = ?", (stored,))
            connection.execute("INSERT INTO prompt_history (text, at) VALUES (?, ?)", (stored, self._clock.time()))
            connection.execute(
                "DELETE FROM prompt_history WHERE id <= (SELECT id FROM prompt_history ORDER BY id DESC LIMIT 1 OFFSET ?)", (MAX_HISTORY,)
            )

        await self._db.run(work, (DRAFTS,))


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
        codec.dump(asdict(message.metrics)),
        codec.dump(asdict(message.timeline)),
        message.prompt_estimate,
    )


def _insert(connection: sqlite3.Connection, message: Message) -> Message:
    row = connection.execute(
        "INSERT INTO message (conversation, seq, created_at, role, content, thinking, tool_calls, state, failure, provider, model,"
        " metrics, timeline, prompt_estimate)"
        " VALUES (?, (SELECT coalesce(max(seq), 0) + 1 FROM message WHERE conversation = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " RETURNING id, seq",
        (message.conversation, message.conversation, message.created_at, *_values(message)),
    ).fetchone()
    return replace(message, id=row[0], seq=row[1], content=clean_door(message.content), thinking=clean_door(message.thinking))


def _replace(connection: sqlite3.Connection, message: Message) -> None:
    cursor = connection.execute(
        "UPDATE message SET role = ?, content = ?, thinking = ?, tool_calls = ?, state = ?, failure = ?, provider = ?, model = ?,"
        " metrics = ?, timeline = ?, prompt_estimate = ? WHERE id = ?",
        (*_values(message), message.id),
    )
    if not cursor.rowcount:
        raise _gone(message.conversation)


def _gone(conversation: int) -> PaddockError:
    return PaddockError.of("This chat no longer exists", f"chat {conversation}", "Open another one", FailureKind.NOT_FOUND)
