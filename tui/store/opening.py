"""Opening the database: creation, migration after a backup, and what is done with a damaged file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.record import record
from tui.store import backup
from tui.store.faults import failure_of, is_damage, newer, not_writable
from tui.store.files import exclusive, lock, make_folder, open_private, sync_folder
from tui.store.schema import MIGRATIONS, SCHEMA
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.store.schema import Step

CHECK_ALWAYS: Final = 4 << 20
"""Bytes up to which a file is checked at every opening; it takes milliseconds."""
CHECK_UNCLEAN: Final = 64 << 20
"""Bytes up to which it is checked before use after an unclean end; larger ones are checked in the background."""
BUSY_MS: Final = 5000


@record(frozen=True)
class Opened:
    """What opening found and did.

    Attributes:
        schema: The schema number of the file.
        created: There was no database.
        migrated_from: The schema number before a migration.
        damaged: Where the damaged file was moved.
        restored_from: The backup that replaced it.
        rescued: Rows read from the damaged file.
        problem: Why it can only be read, or None.
    """

    schema: int = 0
    created: bool = False
    migrated_from: int | None = None
    damaged: Path | None = None
    restored_from: Path | None = None
    rescued: int = 0
    problem: Failure | None = None

    def sentence(self) -> str:
        """What people should know about this opening; empty where nothing happened."""
        if self.damaged is None:
            return ""
        origin = f"the backup {clean_name(self.restored_from.name)}" if self.restored_from else "an empty one"
        where = clean_name(str(self.damaged))
        return f"The database was damaged: it lies at {where}; going on with {origin} and {self.rescued:,} rescued rows"


def connect(path: Path, *, query_only: bool = False, network_fs: bool = False) -> sqlite3.Connection:
    """Connect with the settings every connection of ours has.

    Raises:
        sqlite3.Error: The file cannot be opened or is no database.
    """
    mode = "rw"
    if query_only and not os.access(path.parent, os.W_OK):
        # Without leave to create the log's index SQLite reads a WAL database only where it may take it as unchanging.
        mode = "ro" if sidecar(path, "-wal").exists() else "ro&immutable=1"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1000,
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA mmap_size = 0")
        if query_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute(f"PRAGMA journal_mode = {'TRUNCATE' if network_fs else 'WAL'}")
            connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def sidecar(path: Path, suffix: str) -> Path:
    """A file of ours beside the database."""
    return path.with_name(path.name + suffix)


def is_damaged(path: Path) -> bool:
    """Whether the file there is not a sound database; looks as hard as its size and the last end allow."""
    if not path.is_file():
        return path.exists()
    size = path.stat().st_size
    if size == 0:
        return bool(backup.backups(path))
    suspect = sidecar(path, ".check").exists()
    try:
        with contextlib.closing(connect(path, query_only=True)) as connection:
            connection.execute("PRAGMA user_version").fetchone()
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if size <= CHECK_ALWAYS or (suspect and size <= CHECK_UNCLEAN):
                return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
    except sqlite3.Error as error:
        if is_damage(error):
            return True
        raise
    return False


def prepare(path: Path, *, migrations: Sequence[Sequence[Step]] = MIGRATIONS, network_fs: bool = False, users: int | None = None) -> Opened:
    """Make sure that a sound database of our schema lies at this path.

    `users` is a handle on the lock file that every process holds shared while it has the database open;
    a migration needs it alone.

    Raises:
        PaddockError: It cannot be opened, or a migration failed (the database is then as it was).
    """
    make_folder(path.parent)
    if path.is_symlink():
        os.close(open_private(path))  # raises: a link could lead any write anywhere
    try:
        with exclusive(sidecar(path, ".lock")):
            backup.sweep(path.parent, f".{path.name}.")
            report = _replace_damaged(path, migrations, network_fs) if is_damaged(path) else Opened()
            created = not path.exists()
            if not _is_private(path):  # to close a file gives up every lock that this process has on it: SQLite's too
                os.close(open_private(path))
            if created:
                sync_folder(path.parent)
            with contextlib.closing(connect(path, network_fs=network_fs)) as connection:
                return _migrate(connection, path, migrations, replace(report, created=created), users)
    except sqlite3.Error as error:
        raise PaddockError(failure_of(error, path)) from error
    except OSError as error:
        raise PaddockError(not_writable(error, path)) from error


def _is_private(path: Path) -> bool:
    """Whether a plain file of ours lies there that only we may read."""
    try:
        info = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and not stat.S_IMODE(info.st_mode) & 0o077


def _replace_damaged(path: Path, migrations: Sequence[Sequence[Step]], network_fs: bool) -> Opened:
    damaged = backup.move_aside(path)
    sidecar(path, ".check").unlink(missing_ok=True)
    good = backup.newest_good(path)
    if good is not None:
        with contextlib.closing(sqlite3.connect(f"{good.absolute().as_uri()}?mode=ro", uri=True)) as source:
            backup.copy_verified(source, path)
    os.close(open_private(path))
    with contextlib.closing(connect(path, network_fs=network_fs)) as connection:
        _apply(connection, migrations)
        rescued = backup.rescue(damaged, connection)
    return Opened(damaged=damaged, restored_from=good, rescued=rescued)


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[Step]], report: Opened, users: int | None) -> Opened:
    found = version_of(connection)
    if found > len(migrations):
        return replace(report, schema=found, problem=newer(found, len(migrations), path))
    if found == len(migrations):
        return replace(report, schema=found)
    if found:
        if users is not None and not lock(users, fcntl.LOCK_EX, 5.0):
            raise PaddockError.of(
                "The database must be brought up to date, and another Paddock has it open",
                clean_name(str(path)),
                "Quit the older one",
                FailureKind.BUSY,
            )
        backup.back_up(connection, path, f"-v{found}")
    _apply(connection, migrations)
    return replace(report, schema=len(migrations), migrated_from=found or None)


def version_of(connection: sqlite3.Connection) -> int:
    """The schema number of a database, 0 for an empty one."""
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number


def is_older(path: Path) -> bool:
    """Whether an older version wrote the database there: to be read it must be brought up to date first."""
    try:
        with contextlib.closing(connect(path, query_only=True)) as connection:
            return 0 < version_of(connection) < SCHEMA
    except sqlite3.Error:
        return False


def _apply(connection: sqlite3.Connection, migrations: Sequence[Sequence[Step]]) -> None:
    for number in range(version_of(connection), len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for step in migrations[number]:
                if callable(step):
                    step(connection)
                else:
                    connection.execute(step)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
