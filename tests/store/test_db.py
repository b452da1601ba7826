"""The database connection: what may happen to its file, and to those who write to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tui.core.chat import AnswerState, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.store import backup, opening
from tui.store.conversations import Conversations
from tui.store.db import Database
from tui.store.schema import MIGRATIONS, SCHEMA

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "paddock.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    yield database
    database.close()


def put(key: str, text: str = "x") -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO draft (key, text, updated_at) VALUES (?, ?, 0)", (key, text))

    return work


def keys(database: Database) -> list[str]:
    return database.read(lambda connection: [row[0] for row in connection.execute("SELECT key FROM draft ORDER BY key")])


def modes(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_mode & 0o777 for file in folder.rglob("*")}


def test_D17_P54_owner_only_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        database = Database(path)
        database.run_sync(put("a"))
        database.back_up()
        found = modes(path.parent)
        database.close()
    finally:
        os.umask(before)
    assert {"paddock.db", "paddock.db-wal", "paddock.db-shm"} <= set(found)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {name: mode for name, mode in found.items() if mode != (0o700 if name == "backups" else 0o600)} == {}


def test_D17_a_readable_file_is_closed_to_others(path: Path) -> None:
    Database(path).close()
    path.chmod(0o644)
    Database(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_C14_P56_a_planted_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.parent.mkdir()
    for name in ("paddock.db", "paddock.db.lock", "paddock.db.users"):
        link = path.parent / name
        link.unlink(missing_ok=True)
        link.symlink_to(victim)
        with pytest.raises(PaddockError) as caught:
            Database(path)
        assert caught.value.failure.what
        assert victim.read_text() == "precious"
        link.unlink()
    Database(path).close()


async def test_followers_hear_of_every_process(database: Database, path: Path) -> None:
    other = Database(path)
    first, second = other.changes(), other.changes()
    await database.run(put("a"), topics=("drafts",))
    assert first.poll() == {"drafts"}
    assert second.poll() == {"drafts"}
    assert first.poll() == frozenset()
    await other.run(put("b"), topics=("drafts", "jobs"), durable=False)
    assert first.poll() == {"drafts", "jobs"}
    assert database.poll_changes() == {"drafts", "jobs"}
    await other.aclose()


async def test_a_failed_write_changes_nothing(database: Database) -> None:
    def work(connection: sqlite3.Connection) -> None:
        put("a")(connection)
        raise PaddockError.of("No")

    with pytest.raises(PaddockError):
        await database.run(work)
    assert keys(database) == []
    assert database.poll_changes() == frozenset()


async def test_a_write_happens_though_its_caller_is_cancelled(database: Database) -> None:
    gate = threading.Event()
    blocking = asyncio.create_task(database.run(lambda connection: gate.wait(5)))
    waiting = asyncio.create_task(database.run(put("a")))
    await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    gate.set()
    await blocking
    await database.run(lambda connection: None)
    assert keys(database) == ["a"]


async def test_D05_a_write_waits_for_another_process_and_is_not_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_MS", 50)
    database = Database(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(database.run(put("a")))
    while database.problem is None:
        await asyncio.sleep(0.01)
    assert database.problem.kind is FailureKind.BUSY
    assert "locked" not in database.problem.what
    assert keys(database) == []
    other.execute("COMMIT")
    other.close()
    await write
    assert keys(database) == ["a"]
    assert database.problem is None
    await database.aclose()


async def test_D05_after_its_patience_it_says_so_and_can_be_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_MS", 20)
    database = Database(path, patience=0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(PaddockError) as caught:
        await database.run(put("a"))
    assert caught.value.failure.kind is FailureKind.BUSY
    other.close()
    await database.run(put("a"))
    assert keys(database) == ["a"]
    await database.aclose()


async def test_D06_P13_read_then_write_under_another_writer(database: Database, path: Path) -> None:
    """A deferred transaction would fail here at once, whatever the timeout."""
    other = Database(path)

    runs = []

    def increment(connection: sqlite3.Connection) -> None:
        runs.append(1)
        row = connection.execute("SELECT text FROM draft WHERE key = 'n'").fetchone()
        connection.execute("UPDATE draft SET text = ? WHERE key = 'n'", (str(int(row[0]) + 1),))

    await database.run(put("n", "0"))
    await asyncio.gather(*(one.run(increment, durable=False) for _ in range(60) for one in (database, other)))
    assert database.read(lambda connection: connection.execute("SELECT text FROM draft").fetchone()[0]) == "120"
    assert len(runs) == 120
    await other.aclose()


async def test_D03_full_disk_is_said_and_the_write_can_be_tried_again(database: Database) -> None:
    await database.run(put("a"))
    pages = database._writer.execute("PRAGMA page_count").fetchone()[0]
    database._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(PaddockError) as caught:
        await database.run(put("big", "x" * 200_000))
    assert caught.value.failure.kind is FailureKind.DISK
    assert "full" in caught.value.failure.what
    assert database.problem is caught.value.failure
    database._writer.execute("PRAGMA max_page_count = 100000")
    await database.run(put("big", "x" * 200_000))
    assert keys(database) == ["a", "big"]
    assert database.problem is None


async def test_D07_a_deleted_file_is_written_anew(database: Database, path: Path) -> None:
    await database.run(put("a"))
    path.unlink()
    await database.run(put("b"))
    assert keys(database) == ["a", "b"]
    other = sqlite3.connect(path)
    assert [row[0] for row in other.execute("SELECT key FROM draft ORDER BY key")] == ["a", "b"]
    other.close()


async def test_D07_a_deleted_folder_is_written_anew(database: Database, path: Path) -> None:
    import shutil

    await database.run(put("a"))
    shutil.rmtree(path.parent)
    await database.run(put("b"))
    assert keys(database) == ["a", "b"]
    assert path.exists()


async def test_D07_a_replaced_file_is_taken_up(database: Database, path: Path, tmp_path: Path) -> None:
    await database.run(put("old"))
    other = Database(tmp_path / "other.db")
    await other.run(put("new"))
    await other.aclose()
    (tmp_path / "other.db").replace(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    await database.run(put("more"))
    assert keys(database) == ["more", "new"]


async def test_D07_noticed_without_a_write(database: Database, path: Path) -> None:
    await database.run(put("a"))
    path.unlink()
    database._checked_at = float("-inf")
    database.poll_changes()
    while not path.exists():
        await asyncio.sleep(0.01)
    await database.run(put("b"))
    assert keys(database) == ["a", "b"]


async def test_D08_P42_a_newer_file_is_only_read_and_both_numbers_are_said(path: Path) -> None:
    database = Database(path)
    await database.run(put("a"))
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(PaddockError) as caught:
        await database.run(put("b"))
    assert "99" in caught.value.failure.what
    assert str(SCHEMA) in caught.value.failure.what
    await database.aclose()
    again = Database(path)
    assert again.read_only
    assert keys(again) == ["a"]
    with pytest.raises(PaddockError):
        await again.run(put("b"))
    await again.aclose()
    assert path.exists()
    assert list(path.parent.glob("*damaged*")) == []


async def test_D04_what_cannot_be_written_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so the system's refusal is played."""
    database = Database(path)
    await database.run(put("a"))
    await database.aclose()

    def refuse(file: Path, flags: int = 0) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tui.store.db.open_private", refuse)
    monkeypatch.setattr("tui.store.opening.os.access", lambda file, mode: False)
    database = Database(path)
    assert database.read_only
    assert database.problem is not None
    assert "cannot be written" in database.problem.what
    assert keys(database) == ["a"]
    with pytest.raises(PaddockError):
        await database.run(put("b"))
    await database.aclose()
    assert not path.with_name("paddock.db-wal").exists()
    with pytest.raises(PaddockError):
        Database(path.with_name("other.db"))


def test_D03_opening_works_on_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, back_up=False)

    def full(self: Database, connection: sqlite3.Connection) -> bool:
        connection.execute("PRAGMA max_page_count = 1")
        put("big", "x" * 200_000)(connection)
        return False

    monkeypatch.setattr(Database, "_mark_open", full)
    database = Database(path)
    assert database.problem is not None
    assert "full" in database.problem.what
    assert len(keys(database)) == 41
    database.close()


def fill(path: Path, *, back_up: bool) -> None:
    database = Database(path)
    for number in range(40):
        database.run_sync(put(f"k{number:03}", "x" * 2000), durable=False)
    if back_up:
        database.back_up()
    database.run_sync(put("z-after-the-backup"))
    database.close()


def _header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0" * 100)


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _page_of_ff(path: Path) -> None:
    """A page of the drafts' own data."""
    connection = sqlite3.connect(path)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'draft'").fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek(size * (root - 1))
        file.write(b"\xff" * size)


def _text(path: Path) -> None:
    path.write_text("This is not a database.\n" * 100)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_header, _half, _page_of_ff, _text, _empty, _folder])
@pytest.mark.parametrize("back_up", [True, False])
def test_D02_P11_a_damaged_file_is_moved_aside_and_replaced(path: Path, damage: Callable[[Path], None], back_up: bool) -> None:
    fill(path, back_up=back_up)
    damage(path)
    database = Database(path)
    if damage is _empty and not back_up:
        assert keys(database) == []  # an empty file without any backup is simply new
        database.close()
        return
    aside = database.opened.damaged
    assert aside is not None
    assert aside.exists()
    assert aside.name.startswith("paddock.db.damaged-")
    assert "damaged" in database.opened.sentence()
    assert (database.opened.restored_from is not None) == back_up
    if back_up:
        assert {f"k{number:03}" for number in range(40)} <= set(keys(database))
    database.run_sync(put("usable"))
    assert "usable" in keys(database)
    assert database.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
    database.close()
    assert Database(path).opened.damaged is None


def test_D02_rows_behind_a_bad_page_are_rescued(path: Path) -> None:
    database = Database(path)
    chats = Conversations(database)

    async def write() -> None:
        for number in range(50):
            head = await chats.create("box", "m", title=f"{number}")
            await chats.add_message(Message(0, head.id, 0, Role.USER, f"{number} " + "y" * 3000))

    asyncio.run(write())
    database.close()
    size = 4096
    page = path.read_bytes().find(b"25 yyyy") // size
    with path.open("r+b") as file:
        file.seek(page * size)
        file.write(b"\xff" * size)
    database = Database(path)
    assert database.opened.damaged is not None
    assert database.opened.rescued >= 90
    kept = {head.title for head in Conversations(database).heads()}
    assert len(kept) == 50
    database.close()


def test_D02_a_senseless_wal_is_ignored(path: Path) -> None:
    fill(path, back_up=False)
    path.with_name("paddock.db-wal").write_bytes(random.Random(1).randbytes(50_000))
    database = Database(path)
    assert len(keys(database)) == 41
    database.close()


def test_D13_P76_backup_while_writing_is_whole_and_three_are_kept(database: Database, path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            database.run_sync(put(f"{number}", "x" * 500), durable=False)

    writer = threading.Thread(target=write)
    writer.start()
    made = [database.back_up() for _ in range(5)]
    stop.set()
    writer.join()
    assert len(set(made)) == 5
    assert backup.backups(path) == tuple(sorted(made, reverse=True)[:3])
    assert all(backup.intact(file) for file in backup.backups(path))
    assert not list(backup.folder_of(path).glob(".*"))


def test_D13_a_bad_copy_never_replaces_a_good_backup(database: Database, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database.run_sync(put("a"))
    good = [database.back_up() for _ in range(3)]
    monkeypatch.setattr(backup, "intact", lambda file: False)
    with pytest.raises(PaddockError):
        database.back_up()
    assert sorted(backup.backups(path)) == sorted(good)
    assert {file.name for file in backup.folder_of(path).iterdir()} == {file.name for file in good}


def test_D13_a_damaged_newest_backup_is_passed_over(path: Path) -> None:
    fill(path, back_up=True)
    newest = backup.backups(path)[0]
    bad = newest.with_name("paddock-99990101T000000000000-v1.db")
    bad.write_bytes(newest.read_bytes()[:5000])
    _text(path)
    database = Database(path)
    assert database.opened.restored_from == newest
    database.close()


async def test_D13_backup_when_due(database: Database) -> None:
    assert await database.back_up_if_due() is not None
    assert await database.back_up_if_due() is None


STEP_2 = ("ALTER TABLE draft ADD COLUMN extra TEXT", "UPDATE draft SET extra = 'e'")


def test_P10_a_migration_makes_a_verified_backup_first(path: Path) -> None:
    fill(path, back_up=False)
    database = Database(path, migrations=(*MIGRATIONS, STEP_2))
    assert database.opened.migrated_from == len(MIGRATIONS)
    assert len(backup.backups(path)) == 1
    assert database.read(lambda connection: connection.execute("SELECT DISTINCT extra FROM draft").fetchall()) == [("e",)]
    database.close()


def test_P10_a_failed_migration_leaves_the_old_database(path: Path) -> None:
    fill(path, back_up=False)
    with pytest.raises(PaddockError):
        Database(path, migrations=(*MIGRATIONS, (*STEP_2, "SELECT nonsense FROM nowhere")))
    database = Database(path)
    assert len(keys(database)) == 41
    assert [row[1] for row in database.read(lambda connection: connection.execute("PRAGMA table_info(draft)").fetchall())] == [
        "key",
        "text",
        "updated_at",
    ]
    database.close()


def test_D09_no_migration_without_a_backup(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, back_up=False)

    def full(source: sqlite3.Connection, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "copy_verified", full)
    with pytest.raises(PaddockError) as caught:
        Database(path, migrations=(*MIGRATIONS, STEP_2))
    assert caught.value.failure.kind is FailureKind.DISK
    database = Database(path)
    assert len(keys(database)) == 41
    database.close()


@pytest.mark.parametrize("statements", range(len(STEP_2) + 1))
def test_D09_a_migration_killed_at_each_step_leaves_the_old_database(path: Path, statements: int) -> None:
    fill(path, back_up=False)
    code = f"""
import os, signal
from pathlib import Path
from tui.store.db import Database
from tui.store.schema import MIGRATIONS
class Killed(tuple):
    def __iter__(self):
        yield from tuple.__iter__(tuple(self[:{statements}]))
        os.kill(os.getpid(), signal.SIGKILL)
Database(Path({str(path)!r}), migrations=(*MIGRATIONS, Killed({STEP_2!r})))
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    assert len(backup.backups(path)) == 1
    database = Database(path)
    assert database.opened.schema == len(MIGRATIONS)
    assert len(keys(database)) == 41
    database.close()
    database = Database(path, migrations=(*MIGRATIONS, STEP_2))
    assert database.opened.migrated_from == len(MIGRATIONS)
    assert len(keys(database)) == 41
    database.close()


def test_migrations_wait_for_others_to_close(path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = opening.lock
    monkeypatch.setattr(opening, "lock", lambda handle, kind, patience: lock(handle, kind, min(patience, 0.1)))
    with pytest.raises(PaddockError) as caught:
        Database(path, migrations=(*MIGRATIONS, STEP_2))
    assert caught.value.failure.kind is FailureKind.BUSY
    database.run_sync(put("a"))


def test_the_journal_is_a_log_here_and_a_file_on_a_network_disk(tmp_path: Path) -> None:
    for network_fs, mode in ((False, "wal"), (True, "truncate")):
        database = Database(tmp_path / mode / "paddock.db", network_fs=network_fs)
        assert database._writer.execute("PRAGMA journal_mode").fetchone()[0] == mode
        database.run_sync(put("a"))
        assert keys(database) == ["a"]
        database.close()


def test_a_clean_end_is_told_from_an_unclean_one(path: Path) -> None:
    first = Database(path)
    first.close()
    assert path.with_name("paddock.db-wal").exists() is False
    second = Database(path)
    assert not second.unclean
    second.close()
    code = f"import os; from pathlib import Path; from tui.store.db import Database; d = Database(Path({str(path)!r})); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    third = Database(path)
    assert third.unclean
    third.close()
    fourth = Database(path)
    assert not fourth.unclean
    fourth.close()


def kill_and_check(path: Path, moments: int, seed: int) -> None:
    choice = random.Random(seed)
    for _ in range(moments):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.store.writer", str(path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            said = [process.stdout.readline().strip() for _ in range(choice.randint(1, 40))]
            process.kill()
            said += [line.strip() for line in process.stdout.read().split("\n")[:-1]]
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        connection.close()
        database = Database(path)
        assert database.opened.damaged is None
        chats = Conversations(database)
        asyncio.run(chats.mark_open_answers_interrupted())
        for line in said:
            word, number, *rest = line.split()
            messages = chats.all_messages(int(number))
            assert messages[0].content == f"prompt {number}"  # P01: it was said to be stored
            if word == "piece":
                assert f"piece {rest[0]} " in messages[1].content  # P02
            assert messages[1].state is AnswerState.INTERRUPTED  # P03: never complete, for no end was written
        database.close()


def test_D01_P02_killed_at_a_few_moments(path: Path) -> None:
    kill_and_check(path, 6, seed=1)


@pytest.mark.sweep
def test_D01_P02_killed_at_two_hundred_moments(path: Path) -> None:
    kill_and_check(path, 200, seed=2)
