"""Run inside a mount namespace of its own, with the path of a small tmpfs: what a disk that is really full does to us."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from tui.config.paths import find_paths
from tui.config.store import ConfigStore
from tui.core.errors import PaddockError
from tui.store import backup
from tui.store.db import Database


def put(database: Database, key: str, text: str) -> None:
    database.run_sync(lambda connection: connection.execute("INSERT INTO draft (key, text, updated_at) VALUES (?, ?, 0)", (key, text)))


def keys(database: Database) -> list[str]:
    return database.read(lambda connection: [row[0] for row in connection.execute("SELECT key FROM draft ORDER BY key")])


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x")
    return ballast


def said(work: object) -> str:
    try:
        work()  # type: ignore[operator]
    except PaddockError as error:
        return error.failure.what
    return "saved"


def main(folder: Path) -> None:
    home = folder / "home"
    paths = find_paths(environ={"PADDOCK_HOME": str(home), "HOME": str(folder)})
    config = ConfigStore(paths, {})
    config.set("pulls.at_once", 3)
    before = paths.config_file.read_bytes()
    database = Database(paths.database)
    put(database, "before", "x")
    database.back_up()
    good = backup.backups(paths.database)
    ballast = fill(folder)

    print("database:", said(lambda: put(database, "late", "y" * 200_000)))
    assert keys(database) == ["before"]
    print("backup:", said(database.back_up))
    assert backup.backups(paths.database) == good
    assert [file for file in backup.folder_of(paths.database).iterdir() if file not in good] == []
    print("settings:", said(lambda: config.set("pulls.at_once", 4)))
    assert paths.config_file.read_bytes() == before
    assert config.current.value.pulls.at_once == 4
    assert config.unsaved == ("pulls.at_once",)
    other = Database(paths.database)  # opening works, too
    assert keys(other) == ["before"]
    other.close()

    ballast.unlink()
    put(database, "late", "y" * 200_000)
    config.retry()
    assert ConfigStore(paths, {}).current.value.pulls.at_once == 4
    assert keys(database) == ["before", "late"]
    assert database.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
    database.close()
    print("mended")


main(Path(sys.argv[1]))
