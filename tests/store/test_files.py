"""What a crash, a copy or another hand leaves beside the database."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.store.test_db import ROOT, fill, keys, put
from tui.core.chat import AnswerState, Message, Role
from tui.core.errors import FailureKind
from tui.store import backup
from tui.store import db as db_module
from tui.store.conversations import Conversations
from tui.store.db import Database
from tui.store.jobs import JobTable

CRASH = """
import os, sys
from pathlib import Path
from tui.store.db import Database
from tui.store.jobs import JobTable
database = Database(Path(sys.argv[1]))
database.run_sync(lambda connection: connection.execute("INSERT INTO draft (key, text, updated_at) VALUES ('late', 'x', 0)"))
os._exit(9)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "paddock.db"


def crash(path: Path) -> None:
    subprocess.run([sys.executable, "-c", CRASH, str(path)], cwd=ROOT, check=False)
    assert path.with_name("paddock.db-wal").stat().st_size > 0


def test_D14_the_log_that_a_crash_left_is_taken_up(path: Path) -> None:
    fill(path, back_up=False)
    crash(path)
    database = Database(path)
    assert database.opened.damaged is None
    assert "late" in keys(database)
    assert len(keys(database)) == 42
    database.close()


def test_D14_a_copy_without_its_log_is_a_sound_older_state(path: Path, tmp_path: Path) -> None:
    fill(path, back_up=False)
    crash(path)
    copy = tmp_path / "copy" / "paddock.db"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    database = Database(copy)
    assert database.opened.damaged is None
    assert len(keys(database)) >= 41
    database.run_sync(put("usable"))
    database.close()


def test_D14_a_backup_is_one_plain_file_with_all_that_the_log_holds(path: Path) -> None:
    fill(path, back_up=False)
    crash(path)
    database = Database(path)
    made = database.back_up()
    database.close()
    connection = sqlite3.connect(f"file:{made}?mode=ro&immutable=1", uri=True)
    assert connection.execute("SELECT count(*) FROM draft").fetchone()[0] == 42
    connection.close()


def test_D16_after_an_unclean_end_a_large_file_is_checked_beside_the_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, back_up=True)
    crash(path)
    size = 4096
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'sample'").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek(size * (root - 1))
        file.write(b"\xff" * size)
    # As if the file were too large to be looked through at every start.
    monkeypatch.setattr("tui.store.opening.CHECK_ALWAYS", 0)
    monkeypatch.setattr("tui.store.opening.CHECK_UNCLEAN", 0)
    monkeypatch.setattr(db_module, "CHECK_UNCLEAN", 0)
    database = Database(path)
    assert database.unclean
    assert len(keys(database)) == 42  # usable meanwhile
    limit = time.monotonic() + 10
    while database.problem is None:
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert "damaged" in database.problem.what
    assert database.problem.kind is FailureKind.DISK
    assert path.with_name("paddock.db.check").exists()
    database.close()
    monkeypatch.undo()
    again = Database(path)  # the next start looks at it, moves it aside and saves what can be read
    assert again.opened.damaged is not None
    assert len(keys(again)) == 42
    assert not path.with_name("paddock.db.check").exists()
    again.close()


def test_D16_a_clean_end_costs_no_check(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, back_up=False)
    monkeypatch.setattr(db_module, "CHECK_UNCLEAN", 0)
    monkeypatch.setattr(Database, "_check_in_background", lambda self: pytest.fail("checked"))
    database = Database(path)
    assert not database.unclean
    database.close()


def test_D13_P75_copies_that_were_never_finished_go_with_the_next_ones(path: Path) -> None:
    fill(path, back_up=True)
    folder = backup.folder_of(path)
    stale = [folder / ".paddock-20260101T000000-v1.db.0123456789ab", path.with_name(".paddock.db.0123456789ab")]
    young = [folder / ".paddock-20260102T000000-v1.db.0123456789ab", path.with_name(".paddock.db.again.0123456789ab")]
    for file in (*stale, *young):
        file.write_bytes(b"half a copy")
    for file in stale:
        os.utime(file, (1, 1))
    database = Database(path)
    database.back_up()
    database.close()
    assert not any(file.exists() for file in stale)
    assert all(file.exists() for file in young)
    assert len(backup.backups(path)) == 2


def test_D13_a_backup_killed_midway_leaves_the_good_ones(path: Path) -> None:
    fill(path, back_up=True)
    good = backup.backups(path)
    code = f"""
import os, signal
from pathlib import Path
from tui.store import backup
from tui.store.db import Database
from tui.store.jobs import JobTable
backup.intact = lambda path: os.kill(os.getpid(), signal.SIGKILL)
Database(Path({str(path)!r})).back_up()
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    assert backup.backups(path) == good
    assert all(backup.intact(file) for file in good)
    left = [file for file in backup.folder_of(path).iterdir() if file not in good]
    assert len(left) == 1
    assert left[0].name.startswith(".paddock-")


@pytest.mark.parametrize(
    "damage",
    [
        "role = 'of a newer version'",
        "state = ''",
        "tool_calls = '{'",
        "failure = ']'",
        "metrics = '[1'",
        "options = 'x'",
        "parent = 987654",
    ],
)
def test_X01_a_message_with_a_damaged_column_hides_no_conversation(path: Path, damage: str) -> None:
    database = Database(path)
    chats = Conversations(database)

    async def write() -> int:
        head = await chats.create("box", "m")
        for text in ("one", "two"):
            await chats.add_message(Message(0, head.id, 0, Role.USER, text))
        return head.id

    number = asyncio.run(write())
    database.run_sync(lambda connection: connection.execute(f"UPDATE message SET {damage} WHERE content = 'one'"))
    first, second = sorted(chats.all_messages(number), key=lambda message: message.id)
    assert (first.content, second.content) == ("one", "two")
    assert first.state in (AnswerState.COMPLETE, AnswerState.INTERRUPTED)
    database.close()


def test_C02_D03_D13_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A tmpfs of a few MB in a mount namespace of its own: database, backup and settings."""
    script = 'mount -t tmpfs -o size=3m none "$1" && exec "$2" -m tests.store.full_disk "$1"'
    possible = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$1"', "sh", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(possible, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a disk of his own")
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        "database: Not saved: the disk is full",
        "backup: Not saved: the disk is full",
        "settings: Not saved: no space",
        "mended",
    ], done.stderr


ADDER = """
import asyncio, sys
from pathlib import Path
from tui.core.jobs import JobKind
from tui.core.models import Endpoint
from tui.store.db import Database
from tui.store.jobs import JobTable
from tui.store.jobs import JobTable

async def main():
    database = Database(Path(sys.argv[1]))
    table = JobTable(database)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(30):
        await table.add(JobKind.PULL, f"m{number}", Endpoint("box", "ollama", "http://127.0.0.1:11434"), asked_by=sys.argv[2])
        if number % 3 == 0:
            await table.move([1], "down")
    await database.aclose()

asyncio.run(main())
"""


def test_P13_Q14_two_copies_that_queue_the_same_models_at_once_make_one_entry_each(path: Path) -> None:
    Database(path).close()
    command = [sys.executable, "-c", ADDER, str(path)]
    both = [subprocess.Popen([*command, who], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for who in "ab"]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    database = Database(path)
    jobs = JobTable(database).list()
    assert sorted(job.model for job in jobs) == sorted(f"m{number}:latest" for number in range(30))
    assert len({job.position for job in jobs}) == 30
    database.close()
