"""Whether the full-text index holds exactly what it should."""

from __future__ import annotations

import json
import sqlite3

from tui.store.db import Database
from tui.store.index import SHIFT, fold


def check_index(database: Database) -> None:
    """Compare every entry with the messages and titles, made by other means than the index's own."""

    def work(connection: sqlite3.Connection) -> tuple[dict[int, str], dict[int, str]]:
        wanted = {}
        for number, title, tags in connection.execute("SELECT id, title, tags FROM conversation"):
            wanted[number << SHIFT] = fold("\n".join([title, *json.loads(tags)]))
        query = "SELECT conversation, seq, content, state, deleted_at FROM message"
        for conversation, seq, content, state, deleted_at in connection.execute(query):
            if content and deleted_at is None and state not in ("waiting", "writing"):
                wanted[conversation << SHIFT | seq] = fold(content)
        return wanted, dict(connection.execute("SELECT rowid, text FROM search"))

    wanted, found = database.read(work)
    assert found == wanted
    database.run_sync(lambda connection: connection.execute("INSERT INTO search (search) VALUES ('integrity-check')"), durable=False)
