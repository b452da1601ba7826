"""Verified copies of the database, and rescue of what a damaged one still holds."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tui.store import index, schema
from tui.store.files import PRIVATE_FILE, make_folder, sync_file, sync_folder

KEPT: Final = 3
"""Backups that stay; older ones go when a newer one was verified."""

LEFT_BEHIND: Final = 3600.0
"""Seconds after which an unfinished copy is nobody's any more."""


def folder_of(database: Path) -> Path:
    """Where the backups of this database lie."""
    return database.parent / "backups"


def backups(database: Path) -> tuple[Path, ...]:
    """The backups of this database, newest first."""
    found = folder_of(database).glob(f"{database.stem}-*.db")
    return tuple(sorted((path for path in found if path.is_file()), key=lambda path: path.name, reverse=True))


def intact(path: Path) -> bool:
    """Whether SQLite finds no fault in this file and there are tables in it."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            return bool(tables) and connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except sqlite3.Error:
        return False


def copy_verified(source: sqlite3.Connection, target: Path) -> None:
    """Copy a database by SQLite's online backup into a file of this name, which appears only when it is whole and on disk.

    Raises:
        sqlite3.Error: The source could not be read, or the disk is full; nothing is left behind.
        OSError: Likewise.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE))
    try:
        with contextlib.closing(sqlite3.connect(temporary)) as copy:
            source.backup(copy)
            # One plain file: a copy of a WAL database says it is one and would grow companions when opened.
            copy.execute("PRAGMA journal_mode = DELETE")
        if not intact(temporary):
            raise sqlite3.DatabaseError("the copy did not pass its check")
        sync_file(temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def back_up(source: sqlite3.Connection, database: Path, label: str = "") -> Path:
    """Make a backup of an open database and drop all but the newest three.

    Raises:
        sqlite3.Error: See `copy_verified`; the earlier backups are untouched.
    """
    make_folder(folder_of(database))
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"{time.time_ns() // 1000 % 1_000_000:06d}"
    target = folder_of(database) / f"{database.stem}-{stamp}{label}.db"
    copy_verified(source, target)
    for old in backups(database)[KEPT:]:
        old.unlink(missing_ok=True)
    sweep(folder_of(database), f".{database.stem}-")
    return target


def sweep(folder: Path, prefix: str) -> None:
    """Remove copies that were never finished: a process was killed while it made them; younger ones may be in the making."""
    with contextlib.suppress(OSError):
        for stale in folder.iterdir():
            if stale.name.startswith(prefix) and time.time() - stale.lstat().st_mtime > LEFT_BEHIND:
                stale.unlink(missing_ok=True)


def newest_good(database: Path) -> Path | None:
    """The newest backup that passes its check."""
    return next((path for path in backups(database) if intact(path)), None)


def move_aside(database: Path) -> Path:
    """Rename a damaged database and its companions; nothing is deleted. Returns its new name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = database.with_name(f"{database.name}.damaged-{stamp}")
    while target.exists():
        target = target.with_name(f"{target.name}x")
    database.rename(target)
    for suffix in ("-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            database.with_name(database.name + suffix).rename(target.with_name(target.name + suffix))
    sync_folder(database.parent)
    return target


def rescue(damaged: Path, into: sqlite3.Connection) -> int:
    """Copy every row that can still be read into a good database; returns how many.

    Each table is read forwards until the damage and backwards down to it. Children whose parents are lost go too.
    """
    if not damaged.is_file():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(damaged)) as source:
            source.text_factory = lambda raw: raw.decode("utf-8", "replace")
            tables = [
                name for (name,) in source.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            ]
            known = {name for (name,) in into.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            into.execute("PRAGMA foreign_keys = OFF")
            into.execute("BEGIN IMMEDIATE")
            wanted = {name for name in known - {"revision", "meta"} if name.partition("_")[0] != "search"}
            count = sum(_rescue_table(source, into, name) for name in tables if name in wanted)
            into.execute("DELETE FROM message WHERE conversation NOT IN (SELECT id FROM conversation)")
            mend(into, linked="parent" in _columns(source, "message"))
            into.execute("COMMIT")
            return count
    except sqlite3.Error:
        return 0
    finally:
        if into.in_transaction:
            into.execute("ROLLBACK")
        into.execute("PRAGMA foreign_keys = ON")


def mend(connection: sqlite3.Connection, *, linked: bool) -> None:
    """Make rows that survived one whole again: what follows a lost message follows the one before that, and all can be found.

    Args:
        connection: Inside a transaction.
        linked: The rows know what they follow; else they come from before they did.
    """
    lost = "parent != 0 AND parent NOT IN (SELECT id FROM message)"
    if linked:
        connection.execute(f"""UPDATE message SET parent = coalesce((SELECT max(m.id) FROM message m
            WHERE m.conversation = message.conversation AND m.id < message.parent), 0) WHERE {lost}""")
    else:
        connection.execute(schema.LINK)
    connection.execute(f"{schema.POINT} WHERE tip = 0 OR tip NOT IN (SELECT id FROM message)")
    connection.execute("DELETE FROM attachment WHERE message IS NOT NULL AND message NOT IN (SELECT id FROM message)")
    index.rebuild(connection)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]


def _rescue_table(source: sqlite3.Connection, into: sqlite3.Connection, table: str) -> int:
    wanted = set(_columns(into, table))
    columns = [name for name in _columns(source, table) if name in wanted]
    names = ", ".join(f'"{name}"' for name in columns)
    # Foreign keys are off here, so a replaced parent keeps its children.
    insert = f'INSERT OR REPLACE INTO "{table}" ({names}) VALUES ({", ".join("?" * len(columns))})'
    count = 0
    for direction in ("ASC", "DESC"):
        whole = True
        rows: Iterator[tuple[object, ...]] = iter(())
        with contextlib.suppress(sqlite3.Error):
            rows = iter(source.execute(f'SELECT {names} FROM "{table}" ORDER BY 1 {direction}'))
        while True:
            try:
                row = next(rows)
            except StopIteration:
                break
            except sqlite3.Error:
                whole = False
                break
            with contextlib.suppress(sqlite3.Error):
                count += into.execute(insert, row).rowcount
        if whole:
            break
    return count
