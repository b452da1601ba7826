"""Finding conversations by what was said in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tui.core.chat import ConversationHead, Found
from tui.core.record import record
from tui.store import codec
from tui.store.index import SHIFT, phrase, row_of
from tui.store.messages import Repository
from tui.store.rows import HEAD, head_of
from tui.text import clean_door, clean_label

if TYPE_CHECKING:
    import sqlite3

BEFORE: Final = 40
"""Characters of an excerpt before the match; `AFTER` from its beginning on."""
AFTER: Final = 120
_READ: Final = 1 << 18
"""Bytes of a message that are looked through for an excerpt."""
_FEW: Final = 50
"""Conversations that are asked one by one whether they hold a word; of more, all are asked at once."""
_SPACE: Final = re.compile(r"\s+")


@record(frozen=True)
class Query:
    """What was typed.

    Attributes:
        words: Each must be the beginning of a word in the conversation, whatever characters are in it.
        tags: Beginnings of tags, in small letters; each must be there.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]

    def tagged(self, tags: Sequence[str]) -> bool:
        """Whether a conversation with these tags is meant."""
        return all(any(tag.casefold().startswith(wanted) for tag in tags) for wanted in self.tags)


def parse(text: str) -> Query:
    """Words and `#tags`, as typed."""
    typed = clean_door(text).split()
    tags = tuple(tag for word in typed if word.startswith("#") and (tag := word.lstrip("#").casefold()))
    return Query(tuple(word for word in typed if not word.startswith("#")), tags)


def excerpt(text: str, words: Sequence[str]) -> str:
    """Some words round the first match, on one line."""
    at = _first_match(text, words)
    begin = max(0, at - BEFORE)
    if begin and (space := text.find(" ", begin, at)) >= 0:
        begin = space + 1
    piece = _SPACE.sub(" ", text[begin : at + AFTER]).strip()
    return clean_label(("…" if begin else "") + piece + ("…" if at + AFTER < len(text) else ""))


def _first_match(text: str, words: Sequence[str]) -> int:
    bare = plain(text)
    for word in words:
        match = r"[\W_]+".join(re.escape(part) for part in re.findall(r"[^\W_]+", plain(word)))
        if match and (found := re.search(rf"(?<![^\W_]){match}", bare) or re.search(match, bare)):
            return found.start()
    return 0


class _Plain(dict[int, str]):
    """For `str.translate`: small letters without accents, always one for one."""

    def __missing__(self, code: int) -> str:
        made = self[code] = unicodedata.normalize("NFKD", chr(code))[:1].lower()[:1] or chr(code)
        return made


_TABLE: Final = _Plain()


def plain(text: str) -> str:
    """Small letters without accents, as long as the text itself."""
    return text.lower() if text.isascii() else text.translate(_TABLE)


class Searches(Repository):
    """The part of the repository that searches."""

    async def search_async(self, text: str, limit: int = 100) -> tuple[Found, ...]:
        """Conversations that hold every word typed (the beginning of one is enough), and have every `#tag`; off the loop.

        First those where one message or the title holds all words, then those where they are scattered; the latest first.
        Characters that are no letters, digits or signs separate words and have no meaning of their own. Nothing typed finds
        the latest conversations.
        """
        query = parse(text)
        return await self._db.read_async(lambda connection: _search(connection, query, limit))


def _search(connection: sqlite3.Connection, query: Query, limit: int) -> tuple[Found, ...]:
    phrases = [made for word in query.words if (made := phrase(word))]
    if query.words and not phrases:
        return ()
    heads = {row[0]: row for row in connection.execute("SELECT id, updated_at, tags FROM conversation WHERE deleted_at IS NULL")}
    wanted = {number for number, row in heads.items() if not query.tags or query.tagged(codec.texts(row[2]))}
    together = _where(connection, " AND ".join(phrases)) if phrases else dict.fromkeys(wanted, 0)
    scattered: dict[int, int] = {}
    if len(phrases) > 1 and len(wanted & together.keys()) < limit:
        scattered = _scattered(connection, phrases, wanted - together.keys())
    order = sorted(wanted & (together.keys() | scattered.keys()), key=lambda number: (number in together, heads[number][1], number))
    return tuple(
        _found(connection, number, together.get(number) or scattered.get(number, 0), query.words) for number in reversed(order[-limit:])
    )


def _where(connection: sqlite3.Connection, match: str) -> dict[int, int]:
    """By conversation: the newest entry that matches."""
    query = "SELECT rowid >> ?, max(rowid) FROM search WHERE search MATCH ? GROUP BY 1"
    return dict(connection.execute(query, (SHIFT, match)))


def _scattered(connection: sqlite3.Connection, phrases: Sequence[str], wanted: set[int]) -> dict[int, int]:
    """Of these conversations those that hold each phrase somewhere, with the newest entry that holds the first."""
    first: dict[int, int] = {}
    for match in phrases:
        if len(wanted) > _FEW:
            found = _where(connection, match)
        else:
            query = "SELECT max(rowid) FROM search WHERE search MATCH ? AND rowid BETWEEN ? AND ?"
            ranges = {number: (row_of(number), row_of(number + 1) - 1) for number in wanted}
            hits = {number: connection.execute(query, (match, *ends)).fetchone()[0] for number, ends in ranges.items()}
            found = {number: entry for number, entry in hits.items() if entry is not None}
        wanted &= found.keys()
        first = first or found
        if not wanted:
            break
    return {number: first[number] for number in wanted}


def _found(connection: sqlite3.Connection, number: int, entry: int, words: Sequence[str]) -> Found:
    head: ConversationHead = head_of(connection.execute(f"{HEAD} WHERE c.id = ?", (number,)).fetchone())
    seq = entry & ((1 << SHIFT) - 1)
    row = connection.execute("SELECT id FROM message WHERE conversation = ? AND seq = ?", (number, seq)).fetchone() if seq else None
    return Found(head, row[0], excerpt(_beginning(connection, row[0]), words)) if row else Found(head)


def _beginning(connection: sqlite3.Connection, message: int) -> str:
    """As much of a message as an excerpt is taken from; of a long one the rest is not read."""
    with connection.blobopen("message", "content", message, readonly=True) as blob:
        return blob.read(_READ).decode("utf-8", "ignore")
