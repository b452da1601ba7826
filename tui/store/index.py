"""The full-text index: what is put into it, kept in step with the messages in the same transactions.

One row an ended, living message and one a conversation (title and tags). The row number holds both the conversation and the
place of the message in it (0: the conversation itself), so that a search reads no other table to know where it matched.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tui.store import codec

if TYPE_CHECKING:
    import sqlite3

CREATE: Final = (
    "CREATE VIRTUAL TABLE search USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3', columnsize = 0)"
)
SHIFT: Final = 24
"""Bits of a row number that are the place in the conversation."""
_ENDED: Final = "state NOT IN ('waiting', 'writing') AND deleted_at IS NULL AND content != ''"
_SIGN: Final = "\ue000"
"""Before the number of a sign that the tokenizer would pass over; a letter to it, and to nobody else."""

_LETTERS: Final = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029),
    (0x3031, 0x3035), (0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x318E), (0x31A0, 0x31BF), (0x31F0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Scripts written without spaces between words, and Korean: each letter is a word of its own in the index."""
_SIGNS: Final = ((0x2600, 0x27BF), (0x1F000, 0x1FAFF))


def _any_of(ranges: tuple[tuple[int, int], ...]) -> re.Pattern[str]:
    return re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in ranges)}]")


@cache
def _apart() -> re.Pattern[str]:
    return _any_of(_LETTERS + _SIGNS)  # 4 ms: not at every start


@cache
def _sign() -> re.Pattern[str]:
    return _any_of(_SIGNS)


class _Apart(dict[int, int | str]):
    """For `str.translate`: what a character becomes, made when it is first met."""

    def __missing__(self, code: int) -> int | str:
        char = chr(code)
        made: int | str = code
        if _sign().match(char):
            made = f" {_SIGN}{code:x} "
        elif _apart().match(char):
            made = f" {char} "
        self[code] = made
        return made


_TABLE: Final = _Apart()


def fold(text: str) -> str:
    """Text as it is indexed and asked for: compatible forms made one, letters of scripts without spaces set apart."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    return text.translate(_TABLE) if _apart().search(text) else text


def phrase(word: str) -> str:
    """What the index is asked for one typed word: its beginning; empty where there is no letter, digit or sign in it."""
    folded = fold(word).replace('"', " ")
    if not any(char.isalnum() or char == _SIGN for char in folded):
        return ""
    return f'"{folded.strip()}" *'


def row_of(conversation: int, seq: int = 0) -> int:
    """The number of an entry."""
    return conversation << SHIFT | seq


def index_messages(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> None:
    """Make the entries of these messages anew: none for a deleted one, one without text, or one that is being written."""
    rows = connection.execute(f"SELECT conversation, seq, {_ENDED} FROM message WHERE {where}", values).fetchall()
    for conversation, seq, ended in rows:
        row = row_of(conversation, seq)
        connection.execute("DELETE FROM search WHERE rowid = ?", (row,))
        if ended:
            query = "SELECT content FROM message WHERE conversation = ? AND seq = ?"
            (content,) = connection.execute(query, (conversation, seq)).fetchone()
            connection.execute("INSERT INTO search (rowid, text) VALUES (?, ?)", (row, fold(content)))


def unindex_message(connection: sqlite3.Connection, number: int) -> None:
    """Remove the entry of a message: its text is about to grow."""
    query = "DELETE FROM search WHERE rowid = (SELECT conversation << ? | seq FROM message WHERE id = ?)"
    connection.execute(query, (SHIFT, number))


def index_title(connection: sqlite3.Connection, conversation: int) -> None:
    """Make the entry of a conversation's title and tags anew."""
    connection.execute("DELETE FROM search WHERE rowid = ?", (row_of(conversation),))
    for title, tags in connection.execute("SELECT title, tags FROM conversation WHERE id = ?", (conversation,)).fetchall():
        text = "\n".join((title, *codec.texts(tags)))
        connection.execute("INSERT INTO search (rowid, text) VALUES (?, ?)", (row_of(conversation), fold(text)))


def unindex_conversation(connection: sqlite3.Connection, conversation: int) -> None:
    """Remove all entries of a conversation."""
    connection.execute("DELETE FROM search WHERE rowid BETWEEN ? AND ?", (row_of(conversation), row_of(conversation + 1) - 1))


def rebuild(connection: sqlite3.Connection) -> None:
    """Make the whole index anew."""
    connection.execute("DELETE FROM search")
    for (conversation,) in connection.execute("SELECT id FROM conversation ORDER BY id").fetchall():
        index_title(connection, conversation)
        rows = connection.execute(f"SELECT seq, content FROM message WHERE conversation = ? AND {_ENDED} ORDER BY seq", (conversation,))
        connection.executemany(
            "INSERT INTO search (rowid, text) VALUES (?, ?)", ((row_of(conversation, seq), fold(content)) for seq, content in rows)
        )
    connection.execute("INSERT INTO search (search) VALUES ('optimize')")
