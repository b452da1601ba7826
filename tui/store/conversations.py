"""The repository of conversations: what is true of each as a whole; messages, drafts, votes and searches have modules of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tui.core.chat import AnswerState, ConversationHead, ConversationSettings, Message
from tui.store import codec, rows
from tui.store.drafts import DRAFTS, Drafts, forget_drafts
from tui.store.identity import Identity, alive, myself
from tui.store.index import index_messages, index_title, unindex_conversation
from tui.store.messages import CONVERSATIONS, MESSAGES, Messages, interrupt_open, sweep
from tui.store.rows import HEAD, gone, head_of
from tui.store.search import Searches
from tui.store.tree import parents_first
from tui.store.votes import Ballots
from tui.text import clean_door, clean_label

if TYPE_CHECKING:
    import sqlite3

__all__ = ["CONVERSATIONS", "DRAFTS", "MESSAGES", "Conversations"]

LISTED: Final = 5000
"""Conversations in a list; it is read in 30 ms, and a search finds the older ones too."""
UNDO_SECONDS: Final = 7 * 86_400.0
"""How long a deleted conversation or message can be brought back; then the next start removes it for good."""


_FOUND_BY: Final = ("title = ?", "tags = ?")


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are stored: one word each, without `#` before it, none twice whatever its capitals."""
    found: dict[str, str] = {}
    for tag in tags:
        if name := clean_label("-".join(tag.strip().lstrip("#").split()), 60):
            found.setdefault(name.casefold(), name)
    return tuple(found.values())


class Conversations(Messages, Drafts, Ballots, Searches):
    """The repository of conversations. Reads are quick and synchronous, writes durable when they return."""

    # --- conversations ---------------------------------------------------------------------------------------------

    def heads(self, *, limit: int = LISTED, offset: int = 0) -> tuple[ConversationHead, ...]:
        """The conversations, pinned ones first, then the latest."""
        query = f"{HEAD} WHERE c.deleted_at IS NULL ORDER BY c.pinned DESC, c.updated_at DESC, c.id DESC LIMIT ? OFFSET ?"
        return self._db.read(lambda connection: tuple(head_of(row) for row in connection.execute(query, (limit, offset))))

    def head(self, conversation: int) -> ConversationHead | None:
        """One conversation, None where it does not exist or is deleted."""
        row = self._db.read(
            lambda connection: connection.execute(f"{HEAD} WHERE c.id = ? AND c.deleted_at IS NULL", (conversation,)).fetchone()
        )
        return None if row is None else head_of(row)

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
            index_title(connection, cursor.lastrowid or 0)
            return cursor.lastrowid or 0

        number = await self._db.run(work, (CONVERSATIONS,))
        return ConversationHead(number, values[0], values[1], values[2], now, now, 0)

    async def rename(self, conversation: int, title: str) -> None:
        """Give a conversation another title; its place in the list stays."""
        await self._update(conversation, "title = ?", clean_door(title))

    async def set_tags(self, conversation: int, tags: Iterable[str]) -> None:
        """Replace its tags."""
        await self._update(conversation, "tags = ?", codec.dump(list(clean_tags(tags))))

    async def set_pinned(self, conversation: int, on: bool) -> None:
        """Keep a conversation at the top, or no longer."""
        await self._update(conversation, "pinned = ?", int(on))

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
        return codec.load_settings(row[0] if row else None)

    async def delete(self, conversation: int) -> int:
        """Hide a conversation; the returned token brings it back with `undo_delete`."""
        await self._update(conversation, "deleted_at = ?", self._clock.time())
        return conversation

    async def undo_delete(self, token: int) -> None:
        """Bring a deleted conversation back."""
        await self._update(token, "deleted_at = NULL")

    async def purge(self, older_than: float = UNDO_SECONDS) -> int:
        """Remove for good what was deleted longer than this many seconds ago; returns how many conversations."""
        limit = self._clock.time() - older_than

        def work(connection: sqlite3.Connection) -> int:
            numbers = [number for (number,) in connection.execute("SELECT id FROM conversation WHERE deleted_at <= ?", (limit,))]
            for number in numbers:
                unindex_conversation(connection, number)
                forget_drafts(connection, number)
                connection.execute("DELETE FROM conversation WHERE id = ?", (number,))
            sweep(connection, limit)
            return len(numbers)

        return await self._db.run(work, (CONVERSATIONS, MESSAGES))

    async def import_conversation(
        self, head: ConversationHead, settings: ConversationSettings, messages: Sequence[Message], tip: int = 0
    ) -> ConversationHead:
        """Store a conversation that was read from a file, all or nothing; every number in it is made anew.

        Args:
            head: Title, provider, model, times (now where 0), tags and whether it is pinned are taken.
            settings: What is set for it.
            messages: With the numbers they had; `parent` and `keep_from` refer to those.
            tip: The last message of the branch to be shown, by the number it had; 0: the last one.
        """
        now = self._clock.time()
        by_number = {message.id: message for message in messages}
        numbers = parents_first([(message.id, message.parent) for message in messages])

        def work(connection: sqlite3.Connection) -> int:
            conversation = connection.execute(
                "INSERT INTO conversation (title, provider, model, created_at, updated_at, pinned, settings, tags)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    clean_door(head.title), clean_door(head.provider), clean_door(head.model), head.created_at or now,
                    head.updated_at or now, int(head.pinned), codec.dump(settings), codec.dump(list(clean_tags(head.tags))),
                ),
            ).lastrowid or 0  # fmt: skip
            made = {0: 0}
            for number, parent in numbers:
                one = _ended(replace(by_number[number], conversation=conversation, parent=made[parent]))
                kept = made.get(one.keep_from, 0)
                made[number] = rows.insert(connection, replace(one, keep_from=kept, created_at=one.created_at or now)).id
            last = made.get(tip) or (made[numbers[-1][0]] if numbers else 0)
            connection.execute("UPDATE conversation SET tip = ? WHERE id = ?", (last, conversation))
            index_title(connection, conversation)
            index_messages(connection, "conversation = ?", (conversation,))
            return conversation

        number = await self._db.run(work, (CONVERSATIONS, MESSAGES))
        stored = self.head(number)
        if stored is None:
            raise gone(number)
        return stored

    async def _update(self, conversation: int, assignment: str, *values: Any) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if not connection.execute(f"UPDATE conversation SET {assignment} WHERE id = ?", (*values, conversation)).rowcount:
                raise gone(conversation)
            if assignment in _FOUND_BY:
                index_title(connection, conversation)

        await self._db.run(work, (CONVERSATIONS,))

    # --- leases ----------------------------------------------------------------------------------------------------

    async def take_lease(self, conversation: int) -> Identity | None:
        """Become the one app that writes this conversation; returns the living holder where another has it.

        Answers that the one before left open, who may have died while we were running, are interrupted.
        """
        me = myself()

        def work(connection: sqlite3.Connection) -> Identity | None:
            row = connection.execute("SELECT lease_pid, lease_start, lease_boot FROM conversation WHERE id = ?", (conversation,)).fetchone()
            if row is None:
                raise gone(conversation)
            holder = Identity(*row)
            if holder != me and alive(holder):
                return holder
            connection.execute(
                "UPDATE conversation SET lease_pid = ?, lease_start = ?, lease_boot = ? WHERE id = ?",
                (me.pid, me.start, me.boot, conversation),
            )
            if holder != me:
                interrupt_open(connection, conversation)
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


def _ended(message: Message) -> Message:
    """Nobody writes an imported answer any more; its attachments are new."""
    files = tuple(replace(one, id=0) for one in message.attachments)
    return replace(message, attachments=files, state=message.state if message.state.ended else AnswerState.INTERRUPTED)
