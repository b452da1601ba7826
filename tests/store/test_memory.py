"""E02: a change for which there is no memory fails with a sentence; what is stored stays, and the next change works."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tui.core.errors import PaddockError
from tui.store.db import Database

SCRIPT = """
import resource, sqlite3, sys, threading
from pathlib import Path
from tui.core.errors import PaddockError
from tui.store.db import Database

database = Database(Path(sys.argv[1]))
database.run_sync(lambda connection: connection.execute("CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT)"))
put = lambda text: lambda connection: connection.execute("INSERT INTO thing (text) VALUES (?)", (text(),))
database.run_sync(put(lambda: "before"))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 20_000_000, resource.RLIM_INFINITY))
try:
    database.run_sync(put(lambda: "x" * 200_000_000))
    print("it was stored")
except PaddockError as error:
    print(error.failure.what)
try:
    database.read(lambda connection: connection.execute("SELECT randomblob(900000000)").fetchone())
except PaddockError as error:
    print(error.failure.what)
database.run_sync(put(lambda: "after"))
print(database.read(lambda connection: connection.execute("SELECT group_concat(text) FROM thing").fetchone()[0]))
print(database.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchone()[0]))
print(database.problem)
database.close()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system tells no address space")
def test_E02_without_memory_a_change_fails_and_the_next_one_works(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "paddock.db")], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "Not saved: there is not enough memory for it",
        "Not read: there is not enough memory for it",
        "before,after",
        "ok",
        "None",
    ]


async def test_E02_a_memory_error_in_a_change_takes_it_back(tmp_path: Path) -> None:
    database = Database(tmp_path / "paddock.db")

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO meta (key, value) VALUES ('half', 'x')")
        raise MemoryError

    with pytest.raises(PaddockError, match="not enough memory"):
        await database.run(half)
    assert database.read(lambda connection: connection.execute("SELECT count(*) FROM meta WHERE key = 'half'").fetchone()) == (0,)
    await database.run(lambda connection: connection.execute("INSERT INTO meta (key, value) VALUES ('whole', 'x')"))
    assert database.problem is None
    await database.aclose()
