"""What was typed and not sent, what is attached to it, and the prompts sent before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from typing import TYPE_CHECKING, Final

from tui.core.chat import Attachment
from tui.store import rows
from tui.store.identity import Identity, alive, myself
from tui.store.messages import Repository
from tui.text import clean_door

if TYPE_CHECKING:
    import sqlite3

DRAFTS: Final = "drafts"
NEW: Final = "chat:new"
"""The key of the draft of a conversation that is not stored yet; of further apps with a number behind it."""
_OWNER: Final = "owner of "
MAX_HISTORY: Final = 1000
"""Prompts remembered for the up key."""


class Drafts(Repository):
    """The part of the repository that is about prompts before and after they are sent."""

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

    async def claim_new(self) -> str:
        """The key for drafts of new conversations that no other living app uses.

        What apps left there that are gone is taken over: what stands under that key, else what the first of the others had.
        """
        me = myself()

        def work(connection: sqlite3.Connection) -> str:
            kept = dict(connection.execute("SELECT key, text FROM draft WHERE key GLOB ? OR key GLOB ?", (f"{NEW}*", f"{_OWNER}*")))
            others = {key.removeprefix(_OWNER) for key, text in kept.items() if key.startswith(_OWNER) and _lives(text, me)}
            free = (key for key in chain((NEW,), (f"{NEW}:{place}" for place in count(2))) if key not in others)
            key = next(free)
            connection.execute(
                "INSERT INTO draft (key, text, updated_at) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET text = excluded.text",
                (_OWNER + key, f"{me.pid} {me.start} {me.boot}", self._clock.time()),
            )
            with_files = {
                draft for (draft,) in connection.execute("SELECT DISTINCT draft FROM attachment WHERE draft GLOB ?", (f"{NEW}*",))
            }
            if key not in kept and key not in with_files:
                left = next((other for other in sorted({*kept, *with_files}) if other.startswith(NEW) and other not in others), "")
                connection.execute("UPDATE draft SET key = ? WHERE key = ?", (key, left))
                connection.execute("UPDATE attachment SET draft = ? WHERE draft = ?", (key, left))
            return key

        return await self._db.run(work, (DRAFTS,))

    def draft_attachments(self, key: str) -> tuple[Attachment, ...]:
        """What goes with the next prompt, without the bytes of images (`image` reads them)."""
        return self._db.read(lambda connection: rows.attached_to_draft(connection, key))

    async def set_draft_attachments(self, key: str, attachments: Sequence[Attachment]) -> tuple[Attachment, ...]:
        """Keep what goes with the next prompt; those stored already are not written again. Returns them as stored."""

        def work(connection: sqlite3.Connection) -> tuple[Attachment, ...]:
            before = {same(one): one for one in rows.attached_to_draft(connection, key)}
            stored: list[Attachment] = []
            for position, one in enumerate(attachments):
                if (known := before.pop(same(one), None)) is None:
                    stored.append(rows.attach(connection, one, position, draft=key))
                else:
                    connection.execute("UPDATE attachment SET position = ? WHERE id = ?", (position, known.id))
                    stored.append(known)
            connection.executemany("DELETE FROM attachment WHERE id = ?", [(gone.id,) for gone in before.values()])
            return tuple(stored)

        return await self._db.run(work, (DRAFTS,))

    def prompts(self, *, limit: int = 200) -> tuple[str, ...]:
        """Prompts sent before, latest first."""
        found = self._db.read(
            lambda connection: connection.execute("SELECT text FROM prompt_history ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
        )
        return tuple(row[0] for row in found)

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


def _lives(owner: str, me: Identity) -> bool:
    """Whether this is another app, and still there."""
    pid, start, boot = (*owner.split(" "), "", "")[:3]
    other = Identity(int(pid) if pid.isdecimal() else 0, start, boot)
    return other != me and alive(other)


def same(one: Attachment) -> tuple[object, ...]:
    """What tells an attachment of a draft from the others there: typing saves the draft again and again, images are written once."""
    return one.name, one.kind, one.path, one.size, one.digest or one.text


def forget_drafts(connection: sqlite3.Connection, conversation: int) -> None:
    """Remove what was typed in a conversation that is gone for good."""
    for key in (f"chat:{conversation}", f"chat:{conversation}:reader"):
        connection.execute("DELETE FROM draft WHERE key = ?", (key,))
        connection.execute("DELETE FROM attachment WHERE draft = ?", (key,))
