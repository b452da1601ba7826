"""SQLite's errors in words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tui.core.errors import Failure, FailureKind
from tui.text import clean_label, clean_name

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def primary(error: sqlite3.Error) -> int:
    """SQLite's primary result code, 0 where Python gives none."""
    code: int = getattr(error, "sqlite_errorcode", 0) or 0
    return code & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds the lock, so that trying again helps."""
    return primary(error) in _BUSY


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is not the database it should be."""
    return primary(error) in _DAMAGE


def no_memory(path: Path, *, reading: bool = False) -> Failure:
    """A change for which there is no memory, which was taken back; or something that cannot be read for that reason."""
    remedy = "Close a program or unload a model, then try again"
    what = "Not read: there is not enough memory for it" if reading else "Not saved: there is not enough memory for it"
    return Failure(what, clean_name(str(path)), remedy, FailureKind.INTERNAL)


def failure_of(error: sqlite3.Error, path: Path) -> Failure:
    """What to tell people about an error of the database."""
    where, details, code = clean_name(str(path)), clean_label(str(error)), primary(error)
    if code == sqlite3.SQLITE_FULL:
        return Failure("Not saved: the disk is full", where, "Make room; it is tried again", FailureKind.DISK, details)
    if code in _BUSY:
        return Failure(
            "Not saved: another program holds the database", where, "Close that program; it is tried again", FailureKind.BUSY, details
        )
    if code in _DAMAGE:
        return Failure(
            "The database is damaged",
            where,
            "Restart Paddock: it is moved aside, and what can be read is rescued",
            FailureKind.DISK,
            details,
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return Failure(
            "Not saved: the database cannot be written",
            where,
            "Check the owner and mode of the file and its folder",
            FailureKind.DISK,
            details,
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
        return Failure(
            "The disk refused to read or write the database", where, "Check the disk and the folder's mode", FailureKind.DISK, details
        )
    return Failure("The database refused a change", where, "Please report this with the details", FailureKind.INTERNAL, details)


def newer(found: int, known: int, path: Path) -> Failure:
    """The file was written by a newer version."""
    return Failure(
        f"The database was written by a newer Paddock (schema {found}; this one knows {known}), so it is only read",
        clean_name(str(path)),
        "Start the newer version",
        FailureKind.REFUSED,
    )


def not_writable(error: OSError, path: Path) -> Failure:
    """The system does not let us write there."""
    return Failure(
        "The database cannot be written",
        clean_name(str(path)),
        "Check the owner and mode of the file and its folder",
        FailureKind.DISK,
        clean_label(str(error)),
    )


def read_only(path: Path) -> Failure:
    """A write to a database opened for reading."""
    return Failure(
        "The database is open for reading only", clean_name(str(path)), "Check the owner and mode of the file", FailureKind.REFUSED
    )
