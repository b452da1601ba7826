"""Files of ours: owner only, never through a planted link, on disk when we say so."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from tui.core.errors import FailureKind, PaddockError
from tui.text import clean_name

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def make_folder(path: Path) -> None:
    """Create a folder and its parents, readable by the owner only; existing ones keep their mode."""
    missing: list[Path] = []
    while not path.exists() and path not in missing:
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=PRIVATE_FOLDER)


def open_private(path: Path, flags: int = os.O_RDWR) -> int:
    """Open or create a file with mode 0600 without following a link at its place.

    Raises:
        PaddockError: A link or something that is no plain file of ours lies there.
        OSError: The system refused otherwise.
    """
    try:
        handle = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        if path.is_symlink():
            raise _planted(path, "a link") from error
        raise
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
        os.close(handle)
        raise _planted(path, "a file of someone else" if stat.S_ISREG(info.st_mode) else "no plain file")
    if stat.S_IMODE(info.st_mode) & 0o077:
        os.fchmod(handle, PRIVATE_FILE)
    return handle


def _planted(path: Path, what: str) -> PaddockError:
    return PaddockError.of(
        f"{what[0].upper()}{what[1:]} lies where a file of Paddock belongs",
        clean_name(str(path)),
        "Look at it and move it away",
        FailureKind.REFUSED,
    )


def sync_folder(path: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def exclusive(path: Path, patience: float = 20.0) -> Iterator[None]:
    """Hold a lock file for a moment.

    Raises:
        PaddockError: Another process held it longer than `patience` seconds.
    """
    handle = open_private(path)
    try:
        if not lock(handle, fcntl.LOCK_EX, patience):
            raise PaddockError.of(
                "Another Paddock is opening or repairing the database", clean_name(str(path)), "Wait until it is done", FailureKind.BUSY
            )
        yield
    finally:
        os.close(handle)


def lock(handle: int, kind: int, patience: float) -> bool:
    """Take a flock within `patience` seconds; False where another holds it."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        else:
            return True
