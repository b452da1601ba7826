"""Messages: the tree of each conversation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tui.core.chat import AnswerState, Message
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind
from tui.store import codec, rows
from tui.store.identity import Identity, alive, myself
from tui.store.index import index_messages, unindex_message
from tui.store.rows import MESSAGE, message_of
from tui.store.tree import Tree
from tui.text import clean_door

if TYPE_CHECKING:
    import sqlite3

    from tui.store.db import Database

CONVERSATIONS: Final = "conversations"
MESSAGES: Final = "messages"
_OPEN: Final = (AnswerState.WAITING.value, AnswerState.WRITING.value)
_CRASHED: Final = Failure("Paddock ended while the answer was being written", "the answer", "Retry or continue", FailureKind.INTERRUPTED)


class Repository:
    """What the parts of the repository of conversations share."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock


def tree_of(connection: sqlite3.Connection, conversation: int) -> Tree:
    """The shape of a conversation, read from an index: no text is touched."""
    query = "SELECT id, parent, deleted_at IS NULL FROM message INDEXED BY message_tree WHERE conversation = ? ORDER BY id"
    return Tree((number, parent, bool(living)) for number, parent, living in connection.execute(query, (conversation,)))


def load(connection: sqlite3.Connection, tree: Tree, numbers: Sequence[int]) -> tuple[Message, ...]:
    """These messages in this order, with what is attached to them but without the bytes of images."""
    query = f"{MESSAGE} WHERE id IN (SELECT value FROM json_each(?))"
    found = {row[0]: row for row in connection.execute(query, (codec.dump(list(numbers)),))}
    with_files = rows.attached(connection, numbers)
    return tuple(message_of(found[number], tree.parent(number), with_files.get(number, ())) for number in numbers if number in found)


def _conversation_of(connection: sqlite3.Connection, message: int) -> int:
    row = connection.execute("SELECT conversation FROM message WHERE id = ?", (message,)).fetchone()
    return row[0] if row else 0


def tip_of(connection: sqlite3.Connection, conversation: int) -> int:
    """The last message of the branch that is shown."""
    row = connection.execute("SELECT tip FROM conversation WHERE id = ?", (conversation,)).fetchone()
    return row[0] if row else 0


class Messages(Repository):
    """The part of the repository that is about messages. A deleted message is not there until it is brought back."""

    # --- reading ---------------------------------------------------------------------------------------------------

    def branch(self, conversation: int) -> tuple[Message, ...]:
        """The messages of the branch that is shown, from the first one."""

        def work(connection: sqlite3.Connection) -> tuple[Message, ...]:
            tree = tree_of(connection, conversation)
            return load(connection, tree, tree.path(tip_of(connection, conversation)))

        return self._db.read(work)

    def branch_to(self, conversation: int, message: int) -> tuple[Message, ...]:
        """The messages from the first one to this one."""

        def work(connection: sqlite3.Connection) -> tuple[Message, ...]:
            tree = tree_of(connection, conversation)
            return load(connection, tree, tree.path(message))

        return self._db.read(work)

    def branches(self, conversation: int) -> Mapping[int, tuple[int, ...]]:
        """Of each message that has siblings: their ids in order, itself included."""
        return self._db.read(lambda connection: tree_of(connection, conversation).branches())

    def leaf(self, message: int) -> int:
        """Where one arrives from this message who follows the newest one each time; itself where nothing follows."""
        return self._db.read(lambda connection: tree_of(connection, _conversation_of(connection, message)).leaf(message))

    def subtree(self, message: int) -> tuple[int, ...]:
        """The ids of a message and of all that follows it."""
        return self._db.read(lambda connection: tree_of(connection, _conversation_of(connection, message)).subtree(message))

    def all_messages(self, conversation: int) -> tuple[Message, ...]:
        """Every message of the tree in the order of storing."""

        def work(connection: sqlite3.Connection) -> tuple[Message, ...]:
            tree = tree_of(connection, conversation)
            return load(connection, tree, tree.living())

        return self._db.read(work)

    def message(self, number: int) -> Message | None:
        """One message, None where it does not exist or is deleted."""

        def work(connection: sqlite3.Connection) -> Message | None:
            tree = tree_of(connection, _conversation_of(connection, number))
            return next(iter(load(connection, tree, [number] if number in tree.path(number) else [])), None)

        return self._db.read(work)

    def tip(self, conversation: int) -> int:
        """The last message of the branch that is shown, 0 where there is none; it may be deleted."""
        return self._db.read(lambda connection: tip_of(connection, conversation))

    def compared(self, conversation: int, comparison: int) -> tuple[Message, ...]:
        """The answers of a comparison."""
        query = "SELECT id FROM message WHERE conversation = ? AND comparison = ? AND comparison > 0 AND deleted_at IS NULL ORDER BY id"

        def work(connection: sqlite3.Connection) -> tuple[Message, ...]:
            numbers = [number for (number,) in connection.execute(query, (conversation, comparison))]
            return load(connection, tree_of(connection, conversation), numbers)

        return self._db.read(work)

    def next_comparison(self, conversation: int) -> int:
        """A number that no comparison of this conversation has."""
        query = "SELECT coalesce(max(comparison), 0) + 1 FROM message WHERE conversation = ? AND comparison > 0"
        number: int = self._db.read(lambda connection: connection.execute(query, (conversation,)).fetchone()[0])
        return number

    def find_answer(self, request: str) -> Message | None:
        """The newest complete answer to a request with this digest."""
        query = (
            "SELECT m.id FROM message m JOIN conversation c ON c.id = m.conversation WHERE m.request = ? AND m.request != ''"
            " AND m.state = 'complete' AND m.deleted_at IS NULL AND c.deleted_at IS NULL ORDER BY m.id DESC LIMIT 1"
        )
        row = self._db.read(lambda connection: connection.execute(query, (request,)).fetchone())
        return None if row is None else self.message(row[0])

    def image(self, attachment: int) -> bytes:
        """The bytes of an image; none where it no longer exists."""
        query = "SELECT data FROM attachment WHERE id = ?"
        row = self._db.read(lambda connection: connection.execute(query, (attachment,)).fetchone())
        return row[0] if row else b""

    # --- writing ---------------------------------------------------------------------------------------------------

    async def add_message(self, message: Message, *, tip: bool = True) -> Message:
        """Store a message after its parent; its id, sequence number and time (where 0) are given here."""
        return (await self.add_messages((message,), tip=tip))[0]

    async def add_messages(self, messages: Sequence[Message], *, chain: bool = False, tip: bool = True) -> tuple[Message, ...]:
        """Store several messages of one conversation at once (a prompt and the answer to be), all or none.

        Args:
            messages: With what is attached to them; images without bytes are copied from where they were stored before.
            chain: Each follows the one before it here; only the first has a parent already.
            tip: The last one is where the branch that is shown ends.

        Raises:
            PaddockError: There is no such conversation any more.
        """
        now = self._clock.time()

        def work(connection: sqlite3.Connection) -> tuple[Message, ...]:
            _touch(connection, messages[0].conversation, now)
            _must_be_ours(connection, messages[0].conversation)
            stored: list[Message] = []
            for message in messages:
                parent = stored[-1].id if chain and stored else message.parent
                stored.append(rows.insert(connection, replace(message, parent=parent, created_at=message.created_at or now)))
                index_messages(connection, "id = ?", (stored[-1].id,))
            if tip:
                _point(connection, messages[0].conversation, stored[-1].id)
            return tuple(stored)

        return await self._db.run(work, (CONVERSATIONS, MESSAGES))

    async def set_tip(self, conversation: int, message: int) -> None:
        """Show the branch that ends with this message."""
        await self._db.run(lambda connection: _point(connection, conversation, message), (CONVERSATIONS, MESSAGES))

    async def append_answer(self, number: int, content: str = "", thinking: str = "", state: AnswerState = AnswerState.WRITING) -> None:
        """Add streamed text to an answer; callers collect at least half a second of it. It is found by a search once it has ended."""

        def work(connection: sqlite3.Connection) -> None:
            _must_be_ours(connection, _conversation_of(connection, number))
            unindex_message(connection, number)
            connection.execute(
                "UPDATE message SET content = content || ?, thinking = thinking || ?, state = ? WHERE id = ?",
                (clean_door(content), clean_door(thinking), state, number),
            )

        await self._db.run(work, (MESSAGES,))

    async def update_answer(self, message: Message) -> None:
        """Replace everything of a stored message but its place, whether it is pinned, and what is attached."""
        await self._db.run(lambda connection: _replace(connection, message), (MESSAGES,))

    async def finish_answer(self, message: Message) -> None:
        """Store the end of an answer: text, state, figures; the conversation moves up in the list."""

        def work(connection: sqlite3.Connection) -> None:
            _replace(connection, message)
            _touch(connection, message.conversation, self._clock.time())

        await self._db.run(work, (CONVERSATIONS, MESSAGES))

    async def set_energy(self, message: int, joules: float) -> None:
        """Add the energy of an answer to what was measured of it; that is known some moments after its end."""

        def work(connection: sqlite3.Connection) -> None:
            _must_be_ours(connection, _conversation_of(connection, message))
            query = "UPDATE message SET timeline = json_set(timeline, '$.joules', ?) WHERE id = ?"
            connection.execute(query, (joules, message))

        await self._db.run(work, (MESSAGES,), False)

    async def pin_message(self, message: int, on: bool) -> None:
        """Keep a message in what is sent when the oldest are dropped, or not."""
        query = "UPDATE message SET pinned = ? WHERE id = ?"
        await self._db.run(lambda connection: connection.execute(query, (int(on), message)), (MESSAGES,))

    async def delete_messages(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """Hide messages; what is returned brings them back with `undo_delete_messages`."""
        wanted, now = codec.dump(list(numbers)), self._clock.time()

        def work(connection: sqlite3.Connection) -> tuple[int, ...]:
            query = "SELECT id FROM message WHERE id IN (SELECT value FROM json_each(?)) AND deleted_at IS NULL ORDER BY id"
            token = tuple(number for (number,) in connection.execute(query, (wanted,)))
            _hide(connection, token, now)
            return token

        return await self._db.run(work, (CONVERSATIONS, MESSAGES))

    async def undo_delete_messages(self, token: Iterable[int]) -> None:
        """Bring deleted messages back."""
        numbers = tuple(token)
        await self._db.run(lambda connection: _hide(connection, numbers, None), (CONVERSATIONS, MESSAGES))

    async def mark_open_answers_interrupted(self) -> int:
        """At the start: answers that were being written by processes that no longer live are interrupted; returns how many."""

        def work(connection: sqlite3.Connection) -> int:
            found = connection.execute(
                "SELECT m.id, c.lease_pid, c.lease_start, c.lease_boot FROM message m JOIN conversation c ON c.id = m.conversation"
                " WHERE m.state IN (?, ?)",
                _OPEN,
            ).fetchall()
            dead = [row[0] for row in found if not alive(Identity(*row[1:]))]
            _interrupt(connection, dead)
            return len(dead)

        return await self._db.run(work, (CONVERSATIONS, MESSAGES))


def _must_be_ours(connection: sqlite3.Connection, conversation: int) -> None:
    """Text goes into a conversation only under our lease: in a file that was put in the place of ours the same numbers are others'.

    Raises:
        PaddockError: Nobody or another process holds it, or there is no such conversation.
    """
    query, me = "SELECT lease_pid, lease_start, lease_boot FROM conversation WHERE id = ?", myself()
    if connection.execute(query, (conversation,)).fetchone() != (me.pid, me.start, me.boot):
        raise rows.gone(conversation)


def _interrupt(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    failure = codec.dump_failure(_CRASHED)
    for number in numbers:
        connection.execute("UPDATE message SET state = ?, failure = ? WHERE id = ?", (AnswerState.INTERRUPTED, failure, number))
        index_messages(connection, "id = ?", (number,))


def interrupt_open(connection: sqlite3.Connection, conversation: int) -> None:
    """Nobody writes the answers any more that are open in a conversation."""
    query = "SELECT id FROM message WHERE conversation = ? AND state IN (?, ?)"
    _interrupt(connection, [number for (number,) in connection.execute(query, (conversation, *_OPEN)).fetchall()])


def _replace(connection: sqlite3.Connection, message: Message) -> None:
    _must_be_ours(connection, message.conversation)
    rows.replace_text(connection, message)
    index_messages(connection, "id = ?", (message.id,))


def _touch(connection: sqlite3.Connection, conversation: int, now: float) -> None:
    if not connection.execute("UPDATE conversation SET updated_at = ? WHERE id = ?", (now, conversation)).rowcount:
        raise rows.gone(conversation)


def _point(connection: sqlite3.Connection, conversation: int, message: int) -> None:
    connection.execute("UPDATE conversation SET tip = ? WHERE id = ?", (message, conversation))


def _hide(connection: sqlite3.Connection, numbers: Sequence[int], at: float | None) -> None:
    connection.executemany("UPDATE message SET deleted_at = ? WHERE id = ?", [(at, number) for number in numbers])
    for number in numbers:
        index_messages(connection, "id = ?", (number,))


def sweep(connection: sqlite3.Connection, before: float) -> None:
    """Remove for good what was deleted before this time; where something living follows, an empty place stays."""
    query = "SELECT id, conversation, parent FROM message WHERE deleted_at <= ? ORDER BY id DESC"
    for number, conversation, parent in connection.execute(query, (before,)).fetchall():
        follows = connection.execute(
            "SELECT 1 FROM message INDEXED BY message_tree WHERE conversation = ? AND id > ? AND parent = ? LIMIT 1",
            (conversation, number, number),
        ).fetchone()
        if follows:
            connection.execute(
                "UPDATE message SET content = '', thinking = '', tool_calls = '[]', failure = NULL, options = '{}', note = '', request = ''"
                " WHERE id = ?",
                (number,),
            )
            connection.execute("DELETE FROM attachment WHERE message = ?", (number,))
        else:
            connection.execute("UPDATE conversation SET tip = ? WHERE id = ? AND tip = ?", (parent, conversation, number))
            connection.execute("DELETE FROM message WHERE id = ?", (number,))
