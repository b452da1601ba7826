"""Reading and replacing the configuration file safely (reliability reference, section 3.5)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tui.config.paths import make_private
from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.text import clean_name

LIMIT: Final = 1_000_000
"""Bytes a configuration file may have."""
_LOCK_WAIT: Final = 2.0
_LEFT_BEHIND: Final = 60.0
"""Seconds after which a temporary file of a save is nobody's any more."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@record(frozen=True)
class FileText:
    """A file as it was read.

    Attributes:
        text: None where there is no file, or none that can be read.
        refused: Why it cannot be read, one sentence; empty where it can, or does not exist.
        line: Where the refusal is about a line.
        stamp: Changes when the file does.
        mode: Permission bits.
        foreign: It belongs to another user.
    """

    text: str | None
    refused: str = ""
    line: int | None = None
    stamp: tuple[int, ...] = ()
    digest: bytes = b""
    mode: int = 0o600
    foreign: bool = False
    crlf: bool = False
    bom: bool = False


def stamp(path: Path) -> tuple[int, ...]:
    """Return what changes whenever the file does; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def read(path: Path) -> FileText:
    """Read a configuration file; never waits, never raises for what stands at that path."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return FileText(None, "it is a link that leads nowhere" if path.is_symlink() else "")
    except (OSError, ValueError) as error:
        return FileText(None, f"it cannot be read: {(getattr(error, 'strerror', None) or 'bad path').lower()}", stamp=stamp(path))
    try:
        found = os.fstat(handle)
        seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if not stat.S_ISREG(found.st_mode):
            return FileText(None, "it is not a regular file", stamp=seen)
        data = b""
        while len(data) <= LIMIT and (piece := os.read(handle, LIMIT + 1 - len(data))):
            data += piece
    except OSError as error:
        return FileText(None, f"it cannot be read: {(error.strerror or 'input error').lower()}")
    finally:
        os.close(handle)
    if len(data) > LIMIT:
        return FileText(None, "it is larger than 1 MB", stamp=seen)
    digest = hashlib.sha256(data).digest()
    mode, foreign = stat.S_IMODE(found.st_mode), found.st_uid != os.geteuid()
    bom = data.startswith(b"\xef\xbb\xbf")
    data = data[3:] if bom else data
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return FileText(None, "it is not UTF-8 text", data.count(b"\n", 0, error.start) + 1, seen, digest, mode, foreign)
    crlf = "\r\n" in text
    return FileText(text.replace("\r\n", "\n"), "", None, seen, digest, mode, foreign, crlf, bom)


def _not_saved(path: Path, error: OSError) -> PaddockError:
    full = error.errno in _FULL
    why = "no space" if full else (error.strerror or "not possible").lower()
    remedy = (
        "Free some space; the change is active until you quit" if full else "Make the folder writable; the change is active until you quit"
    )
    return PaddockError.of(f"Not saved: {why}", clean_name(str(path)), remedy, FailureKind.DISK)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network filesystems cannot
            raise
    finally:
        os.close(handle)


def _keep_last(target: Path, private: bool) -> None:
    """Keep the file about to be replaced as `.bak`, by a second name of the same content: it needs no space."""
    spare = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        spare.hardlink_to(target)
        if private:
            spare.chmod(0o600)
        spare.replace(target.with_name(f"{target.name}.bak"))


def replace(path: Path, text: str, *, mode: int = 0o600, crlf: bool = False, bom: bool = False) -> None:
    """Replace a file whole or not at all; a link stays a link, its target is replaced.

    Raises:
        PaddockError: It was not saved; the old file is untouched.
    """
    data = (b"\xef\xbb\xbf" if bom else b"") + (text.replace("\n", "\r\n") if crlf else text).encode()
    temporary: Path | None = None
    try:
        target = path.resolve() if path.is_symlink() else path
        make_private(target.parent)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fchmod(handle, mode)
            os.fsync(handle)
        finally:
            os.close(handle)
        if target.exists():
            _keep_last(target, mode == 0o600)
        temporary.replace(target)
        temporary = None
        _sync_folder(target.parent)
    except (OSError, RuntimeError) as error:
        raise _not_saved(path, error if isinstance(error, OSError) else OSError(errno.ELOOP, "the link leads in a circle")) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def sweep(path: Path) -> None:
    """Remove what a save that was killed left beside the file (`replace` names it so); younger files may be in use."""
    with contextlib.suppress(OSError, RuntimeError):
        target = path.resolve() if path.is_symlink() else path
        ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}")
        with os.scandir(target.parent) as entries:
            for entry in entries:
                if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    # The change time: a second name of an older file keeps that one's time of writing.
                    if found.st_uid == os.geteuid() and time.time() - found.st_ctime > _LEFT_BEHIND:
                        Path(entry.path).unlink(missing_ok=True)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the lock of everybody who saves settings of this home.

    Raises:
        PaddockError: Another process holds it for longer than 2 s, or it cannot be made.
    """
    place = folder / "config.lock"
    try:
        make_private(folder)
        handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_saved(place, error) from error
    try:
        until = time.monotonic() + _LOCK_WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                    raise _not_saved(place, error) from error
            if time.monotonic() > until:
                raise PaddockError.of(
                    "Not saved: another Paddock is saving its settings", clean_name(str(place)), "Try again in a moment", FailureKind.BUSY
                )
            time.sleep(0.01)
        yield
    finally:
        os.close(handle)
