"""Lock files that name their holder, so that others can say who it is."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Final

from tui import __version__
from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.store.files import lock, make_folder, open_private
from tui.store.identity import Identity, alive, boot_id, myself, process_start
from tui.store.schema import SCHEMA
from tui.text import clean_name

__all__ = ["WORKER_LOCK", "Holder", "Lock", "boot_id", "process_start", "read_holder", "take"]

WORKER_LOCK: Final = "worker.lock"
"""In the folder of locks: held by the one process that works the queue."""


@record(frozen=True)
class Holder:
    """Who holds a lock, as the lock file says."""

    who: Identity
    version: str
    schema: int


class Lock:
    """A lock held by this process until `release` or its end."""

    def __init__(self, handle: int, path: Path) -> None:
        self._handle = handle
        self.path = path

    def release(self) -> None:
        """Give it up; may be called twice."""
        if self._handle >= 0:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = -1


def take(path: Path, patience: float = 0.0) -> Lock | None:
    """Take a lock and write who we are into it; None where another process holds it.

    Raises:
        PaddockError: The file cannot be created, or a link was planted at its place.
    """
    make_folder(path.parent)
    try:
        handle = open_private(path)
    except OSError as error:
        raise PaddockError.of(
            "The lock file cannot be opened", clean_name(str(path)), "Check the owner and mode of the folder", FailureKind.DISK, str(error)
        ) from error
    if not lock(handle, fcntl.LOCK_EX, patience):
        os.close(handle)
        return None
    me = myself()
    os.ftruncate(handle, 0)
    text = json.dumps({"pid": me.pid, "start": me.start, "boot": me.boot, "version": __version__, "schema": SCHEMA})
    os.pwrite(handle, text.encode("ascii"), 0)
    return Lock(handle, path)


def read_holder(path: Path) -> Holder | None:
    """Who holds a lock now; None where the file names nobody alive. Never touches the lock itself."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = json.loads(os.read(handle, 4096) or b"{}")
        who = Identity(int(found["pid"]), str(found["start"]), str(found["boot"]))
        holder = Holder(who, clean_name(str(found["version"]), 40), int(found["schema"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, OSError):
        return None
    finally:
        os.close(handle)
    return holder if alive(who) else None
