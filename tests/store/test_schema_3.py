"""From the schema of 0.1 and 0.2 to trees: every chat is whole, in its order, and found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.in_step import check_index
from tui.core.chat import ConversationSettings, Message
from tui.core.errors import PaddockError
from tui.store import backup
from tui.store.conversations import Conversations
from tui.store.db import Database
from tui.store.schema import MIGRATIONS, SCHEMA

ROOT = Path(__file__).parents[2]
OLD = MIGRATIONS[:2]
STEPS = MIGRATIONS[2]


@pytest.fixture(scope="module")
def old_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("old") / "paddock.db"
    Database(path, migrations=OLD).close()
    fill(path)
    return path


@pytest.fixture
def path(tmp_path: Path, old_file: Path) -> Path:
    return shutil.copy(old_file, tmp_path / "paddock.db")


def fill(path: Path) -> None:
    """Chats as they were stored: an answer given twice, one without an answer, a deleted one, a long one, an empty one."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executemany(
            "INSERT INTO conversation (id, title, provider, model, created_at, updated_at, settings, deleted_at)"
            " VALUES (?, ?, 'p', 'm', ?, ?, ?, ?)",
            [
                (1, "Zoë's chat", 1, 1, '{"system":"be brief","tools":["clock"]}', None),
                (2, "日本語", 2, 2, "{}", None),
                (3, "gone", 3, 3, "{}", 9.0),
                (4, "long", 4, 4, "{}", None),
                (5, "empty", 5, 5, "{}", None),
            ],
        )
        rows = [
            (1, 1, "user", "first question", "complete"),
            (1, 2, "assistant", "first answer", "complete"),
            (1, 3, "assistant", "second answer", "stopped"),
            (1, 4, "user", "more", "complete"),
            (1, 5, "assistant", "", "failed"),
            (2, 1, "system", "rules", "complete"),
            (2, 2, "user", "質問です", "complete"),
            (2, 7, "user", "no answer came", "complete"),
            (2, 9, "assistant", "half", "interrupted"),
            (3, 1, "user", "deleted words", "complete"),
            *((4, n, "user" if n % 2 else "assistant", f"line {n} " + "x" * 300, "complete") for n in range(1, 201)),
        ]
        connection.executemany(
            "INSERT INTO message (conversation, seq, role, content, state, created_at) VALUES (?, ?, ?, ?, ?, 1.0)", rows
        )


def contents(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT id, conversation, seq, role, content, state FROM message ORDER BY id").fetchall()


def shown(messages: tuple[Message, ...]) -> list[str]:
    return [message.content for message in messages]


async def test_P10_old_chats_become_trees(path: Path) -> None:
    before = contents(path)
    database = Database(path)
    assert (database.opened.migrated_from, database.opened.schema) == (2, SCHEMA)
    assert contents(path) == before
    assert len(backup.backups(path)) == 1
    chats = Conversations(database)
    one, two, three, four, five = chats.all_messages(1)
    assert [one.parent, two.parent, three.parent, four.parent, five.parent] == [0, one.id, one.id, three.id, four.id]
    assert shown(chats.branch(1)) == ["first question", "second answer", "more", ""]
    assert chats.branches(1) == {two.id: (two.id, three.id), three.id: (two.id, three.id)}
    assert shown(chats.branch(2)) == ["rules", "質問です", "no answer came", "half"]
    assert len(chats.branch(4)) == 200
    assert chats.branch(5) == ()
    assert chats.head(3) is None
    await chats.undo_delete(3)
    assert shown(chats.branch(3)) == ["deleted words"]
    assert chats.settings(1) == ConversationSettings(system="be brief", tools=("clock",))
    for text, number in (("zoe", 1), ("質問", 2), ("本語", 2), ("line 137", 4), ("first more", 1), ("deleted", 3)):
        assert [found.head.id for found in await chats.search_async(text)] == [number]
    check_index(database)
    await database.aclose()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@pytest.mark.parametrize("steps", range(len(STEPS) + 1))
def test_D09_killed_at_each_step(path: Path, steps: int) -> None:
    before = contents(path)
    code = f"""
import os, signal
from pathlib import Path
from tui.store.db import Database
from tui.store.schema import MIGRATIONS
class Killed(tuple):
    def __iter__(self):
        yield from tuple.__iter__(tuple(self[:{steps}]))
        os.kill(os.getpid(), signal.SIGKILL)
Database(Path({str(path)!r}), migrations=(*MIGRATIONS[:2], Killed(MIGRATIONS[2])))
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    assert contents(path) == before
    old = Database(path, migrations=OLD)
    assert old.opened.schema == 2
    old.close()
    database = Database(path)
    assert database.opened.migrated_from == 2
    assert contents(path) == before
    check_index(database)
    database.close()


@pytest.mark.parametrize("room", [0, 3, 20, 40, 60])
def test_D09_on_a_disk_that_gets_full(path: Path, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite is told how many pages there may be, as `max_page_count` is what a full disk says too."""
    from tui.store import opening

    before = contents(path)
    connect = opening.connect

    def small(file: Path, **how: bool) -> sqlite3.Connection:
        connection = connect(file, **how)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + room}")
        return connection

    monkeypatch.setattr(opening, "connect", small)
    try:
        database = Database(path)
    except PaddockError as error:
        assert "full" in error.failure.what
    else:
        assert database.opened.schema == SCHEMA
        database.close()
    monkeypatch.undo()
    assert contents(path) == before
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] in range(2, SCHEMA + 1)  # each step is whole by itself
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    database = Database(path)
    assert len(Conversations(database).branch(4)) == 200
    check_index(database)
    database.close()


def test_D02_a_damaged_file_of_the_old_schema_is_rescued_into_trees(path: Path) -> None:
    old = Database(path, migrations=OLD)
    old.back_up()
    old.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO message (conversation, seq, role, content, state, created_at) VALUES (5, 1, 'user', 'late', 'complete', 1)"
        )
    at = path.read_bytes().find(b"line 137 ") // 4096
    with path.open("r+b") as file:
        file.seek(at * 4096)
        file.write(b"\xff" * 4096)
    database = Database(path)
    assert database.opened.damaged is not None
    chats = Conversations(database)
    assert shown(chats.branch(1)) == ["first question", "second answer", "more", ""]
    assert len(chats.branch(4)) == 200  # the lost rows were in the backup
    assert shown(chats.branch(5)) == ["late"]
    check_index(database)
    database.close()


def test_D02_what_follows_lost_messages_is_still_shown(path: Path) -> None:
    Database(path).close()
    for backed_up in backup.backups(path):
        backed_up.unlink()
    at = path.read_bytes().find(b"line 137 ") // 4096
    with path.open("r+b") as file:
        file.seek(at * 4096)
        file.write(b"\xff" * 4096)
    database = Database(path)
    assert database.opened.damaged is not None
    branch = Conversations(database).branch(4)
    assert 170 <= len(branch) < 200
    assert branch[0].content.startswith("line 1 ") and branch[-1].content.startswith("line 200 ")
    assert asyncio.run(Conversations(database).search_async("137")) == ()
    check_index(database)
    database.close()


def test_P10_the_command_line_reads_chats_of_an_older_version(path: Path, tmp_path: Path) -> None:
    """A command that only reads brings the database up to date, too: it may be the first one after an upgrade."""
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    shutil.move(path, home / "data" / "paddock.db")
    environment = {**os.environ, "PADDOCK_HOME": str(home), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "tui", "chats", "search", "質問"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "日本語" in done.stdout
