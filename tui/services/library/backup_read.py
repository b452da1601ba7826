"""Reads a backup as if somebody else had written it: names and kinds of files that no backup holds refuse the whole (X15). Blocks.

Nothing is unpacked by the names that an archive gives: a blob is copied to a file of ours, one at a time, and only once
everything was compared with the index.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from tui.core.errors import FailureKind, PaddockError, limit_of
from tui.services.library.backup_form import INDEX, MAX_FILES, MAX_INDEX, PIECE, SEAL, Entry, Index, damaged, is_name, read_index
from tui.services.library.backup_write import UNFINISHED, Progress, open_regular
from tui.text import clean_name

_BLOCK: Final = 512
_END: Final = b"\0" * _BLOCK


class Archive(Protocol):
    """A folder or a tar; `names` gives lengths in bytes."""

    path: Path

    def names(self) -> Mapping[str, int]:
        """The files in it; raises PaddockError for what no backup holds."""
        ...

    def open(self, name: str) -> BinaryIO:
        """One of them for reading; ends after its length."""
        ...


def archive_of(path: Path) -> Archive:
    """The folder or tar at a path.

    Raises:
        PaddockError: There is neither.
    """
    path = path.expanduser().absolute()
    shown = clean_name(str(path), 1000)
    if path.name.endswith(UNFINISHED):
        raise PaddockError.of("This backup was not finished", shown, "Name one that is whole", FailureKind.BAD_REQUEST)
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            return FolderArchive(path)
        if stat.S_ISREG(about.st_mode):
            return TarArchive(path, about.st_size)
    except OSError as error:
        raise unreadable(error, path) from None
    raise PaddockError.of("This is no folder and no file", shown, "Name a backup", FailureKind.BAD_REQUEST)


class FolderArchive:
    """A backup that is a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Mapping[str, int]:
        """See `Archive`; what others put beside a backup is not looked at."""
        found: dict[str, int] = {}
        for folder in ("", "blobs", "models", "config", "config/prompts"):
            top = self.path / folder
            if top.is_symlink() or not top.is_dir():
                continue
            for entry in os.scandir(top):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_file(follow_symlinks=False) and (name in (INDEX, SEAL) or is_name(name)):
                    found[name] = entry.stat(follow_symlinks=False).st_size
        return found

    def open(self, name: str) -> BinaryIO:
        """See `Archive`."""
        path = self.path / name
        if path.is_symlink():
            raise OSError(errno.ELOOP, "it is a link", str(path))
        return open_regular(path)


class TarArchive:
    """A backup that is a tar, of the one form that `TarSink` writes: plain files with short names, no extensions."""

    def __init__(self, path: Path, length: int) -> None:
        self.path = path
        self._length = length
        self._places: dict[str, tuple[int, int]] = {}

    def names(self) -> Mapping[str, int]:
        """See `Archive`."""
        if not self._places:
            with open_regular(self.path) as file:
                self._places = dict(self._headers(file))
        return {name: size for name, (_at, size) in self._places.items()}

    def _headers(self, file: BinaryIO) -> Iterator[tuple[str, tuple[int, int]]]:
        seen: set[str] = set()
        at = 0
        while (header := file.read(_BLOCK)) != _END:
            name, size = self._header(header)
            if name in seen:
                raise self._wrong(f"it holds {clean_name(name, 60)} twice")
            seen.add(name)
            if len(seen) > MAX_FILES:
                raise self._wrong(f"it holds more than {MAX_FILES} files")
            at += _BLOCK
            if at + size > self._length:
                raise self._wrong("it is cut off")
            yield name, (at, size)
            at += size + -size % _BLOCK
            file.seek(at)

    def _header(self, header: bytes) -> tuple[str, int]:
        if len(header) != _BLOCK:
            raise self._wrong("it is cut off")
        said = header[148:156].strip(b" \0")
        if header[257:262] != b"ustar" or not _is_octal(said) or int(said, 8) != sum(header) - sum(header[148:156]) + 8 * 32:
            raise self._wrong("it is no tar, or damaged")
        try:
            name = header[:100].rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError:
            name = ""
        kind, prefix = header[156:157], header[345:500].strip(b"\0")
        mode = header[100:108].strip(b" \0")
        if kind not in (b"0", b"\0") or prefix or header[157:257].strip(b"\0"):
            raise self._wrong(f"it holds {clean_name(name, 60) or 'something'} that is no plain file")
        if not _is_octal(mode) or int(mode, 8) & ~0o777:
            raise self._wrong(f"{clean_name(name, 60)} has special rights")
        if name not in (INDEX, SEAL) and not is_name(name):
            raise self._wrong(f"no backup holds a file named {clean_name(name, 60)!r}")
        return name, self._number(header[124:136])

    def _number(self, field: bytes) -> int:
        if field[0] == 0x80:
            number = int.from_bytes(field[1:], "big")
        else:
            text = field.strip(b" \0")
            if not _is_octal(text):
                raise self._wrong("it is damaged: a length is missing")
            number = int(text, 8)
        if number > self._length:
            raise self._wrong("it is cut off")
        return number

    def open(self, name: str) -> BinaryIO:
        """See `Archive`."""
        at, size = self._places[name]
        return io.BufferedReader(_Slice(open_regular(self.path), at, size), PIECE)

    def _wrong(self, what: str) -> PaddockError:
        return PaddockError.of(
            f"This is no backup that Paddock wrote: {what}",
            clean_name(str(self.path), 1000),
            "Name another one; if it was packed again, unpack it yourself and name the folder",
            FailureKind.BAD_REQUEST,
        )


class _Slice(io.RawIOBase):
    """A part of a file."""

    def __init__(self, file: BinaryIO, at: int, size: int) -> None:
        self._file, self._left = file, size
        file.seek(at)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        piece = self._file.read(min(len(view), self._left))
        view[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


def _is_octal(text: bytes) -> bool:
    return bool(text) and all(0x30 <= digit <= 0x37 for digit in text)


def index_of(archive: Archive) -> Index:
    """The index, whose files must all be there with their lengths.

    Raises:
        PaddockError: It is damaged, or something is missing.
    """
    shown = clean_name(str(archive.path), 1000)
    try:
        names = archive.names()
        if INDEX not in names or SEAL not in names:
            raise PaddockError.of("This is no whole backup: it has no index", shown, "Name another one", FailureKind.BAD_REQUEST)
        if names[INDEX] > MAX_INDEX or names[SEAL] > 1000:
            raise damaged("Its index is too long", shown)
        with archive.open(INDEX) as file, archive.open(SEAL) as seal:
            index = read_index(file.read(MAX_INDEX), seal.read(1000), shown)
    except OSError as error:
        raise unreadable(error, archive.path) from None
    if more := set(names) - {entry.name for entry in index.files} - {INDEX, SEAL}:
        raise damaged(f"{clean_name(min(more), 90)} is not in its index", shown)
    for entry in index.files:
        if names.get(entry.name) != entry.size:
            what = "is missing" if entry.name not in names else "has another length"
            raise damaged(f"{clean_name(entry.name, 90)} {what}", shown)
    return index


def verify(
    archive: Archive,
    index: Index,
    *,
    progress: Progress = lambda _done, _total, _what: None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Read everything and compare its digest with the index.

    Raises:
        PaddockError: Something is not what it was; names it. Or it was ended.
    """
    done = 0
    try:
        for entry in index.files:
            with archive.open(entry.name) as file:
                for count in _same(archive, entry, file):
                    if stopped():
                        what = "The check was ended: nothing was restored"
                        raise PaddockError.of(what, clean_name(str(archive.path), 1000), "Begin it again", FailureKind.CANCELLED)
                    done += count
                    progress(done, index.size, "comparing digests")
    except OSError as error:
        raise unreadable(error, archive.path) from None


def _same(archive: Archive, entry: Entry, file: BinaryIO) -> Iterator[int]:
    seen = hashlib.sha256()
    while piece := file.read(PIECE):
        seen.update(piece)
        yield len(piece)
    if seen.hexdigest() != entry.sha256:
        raise damaged(f"{clean_name(entry.name, 90)} is damaged: its digest is another", clean_name(str(archive.path), 1000))


def small(archive: Archive, entry: Entry) -> bytes:
    """A small file, compared with the index once more.

    Raises:
        PaddockError: It is not what it was.
    """
    try:
        with archive.open(entry.name) as file:
            body = file.read(entry.size + 1)
    except OSError as error:
        raise unreadable(error, archive.path) from None
    if hashlib.sha256(body).hexdigest() != entry.sha256:
        raise damaged(f"{clean_name(entry.name, 90)} is damaged: its digest is another", clean_name(str(archive.path), 1000))
    return body


def unpack(archive: Archive, name: str, target: Path, stopped: Callable[[], bool] = lambda: False) -> None:
    """Copy one file to a place of ours that is not there yet.

    Raises:
        PaddockError: There is no room for it.
    """
    try:
        with (
            archive.open(name) as file,
            os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as new,
        ):
            while (piece := file.read(PIECE)) and not stopped():
                new.write(piece)
    except OSError as error:
        raise unreadable(error, target) from None


def unreadable(error: OSError, path: Path) -> PaddockError:
    """What is said where the system refuses."""
    shown = clean_name(str(path), 1000)
    if (failure := limit_of(error)) is not None:
        return PaddockError.of(failure.what, shown, failure.remedy, failure.kind)
    why = "it does not exist" if isinstance(error, FileNotFoundError) else clean_name(error.strerror or "the system refuses", 100).lower()
    return PaddockError.of(f"The backup cannot be read: {why}", shown, "Check its name and rights", FailureKind.BAD_REQUEST)
