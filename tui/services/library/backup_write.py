"""Writes a backup: to a name of its own that says it is unfinished, flushed to the disk, renamed at the end. Blocks."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from tui.core.errors import FailureKind, PaddockError, limit_of
from tui.core.record import record
from tui.services.library.backup_form import (
    CONFIG_NAME,
    INDEX,
    MAX_CONFIG,
    MAX_INDEX,
    PIECE,
    SEAL,
    Entry,
    Index,
    SavedModel,
    blob_name,
    read_index,
    write_index,
)
from tui.store.files import make_folder, sync_folder
from tui.text import clean_name, size

if TYPE_CHECKING:
    from tui.config.paths import Paths

UNFINISHED: Final = ".unfinished"
"""Ends the name of what is being written; no backup has such a name."""
_SLACK: Final = 4_000_000
"""Bytes of room beyond the files: headers, folders, the index."""
_LONGEST_NAME: Final = 100
"""Bytes of a name that a header of a tar holds; longer ones need an extension, which no backup has."""
Progress = Callable[[int, int, str], None]


@record(frozen=True)
class ToSave:
    """One model, and where its blobs are.

    Attributes:
        model: As the index will have it.
        modelfile: Text for people.
        manifest: Exact bytes, where the folder could be read.
        blobs: Files by `sha256:…`; empty where the model is only described.
    """

    model: SavedModel
    modelfile: str
    manifest: bytes = b""
    blobs: Mapping[str, Path] = field(default_factory=dict)


class Stopped(Exception):
    """The user ended it."""


def configuration(paths: Paths) -> tuple[dict[str, bytes], list[str]]:
    """The files of the configuration by their names in a backup, and what was left out, in words.

    Raises:
        PaddockError: One cannot be read.
    """
    found: dict[str, bytes] = {}
    left: list[str] = []
    path = prompts = paths.config_file.parent / "prompts"
    places = [("config/config.toml", paths.config_file)]
    try:
        if prompts.is_dir():
            places += [(f"config/prompts/{path.name}", path) for path in sorted(prompts.iterdir())]
        for name, path in places:
            if not path.is_file() or path.name.startswith("."):
                continue
            body = path.read_bytes() if path.stat().st_size <= MAX_CONFIG else b""
            if not CONFIG_NAME.match(name.rpartition("/")[2]) or len(os.fsencode(name)) > _LONGEST_NAME or not body:
                left.append(clean_name(path.name, 80))
            else:
                found[name] = body
    except OSError as error:
        why = clean_name(error.strerror or "the system refuses", 100).lower()
        raise PaddockError.of(f"The configuration cannot be read: {why}", _shown(path), "Check its rights", FailureKind.DISK) from None
    return found, left


def write_backup(
    target: Path,
    models: Sequence[ToSave],
    config: Mapping[str, bytes],
    made_at: float,
    by: str,
    *,
    progress: Progress = lambda _done, _total, _what: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Index:
    """Write a backup; afterwards it is there and whole, or nothing of it is.

    Args:
        target: A folder that is not there yet, or a file that ends in `.tar`.
        models: With their blobs.
        config: As `configuration` gives it.
        made_at: Epoch seconds.
        by: Who makes it.
        progress: Called with bytes, bytes in all, and what is written.
        stopped: Whether the user ended it.

    Raises:
        PaddockError: There is no room, a blob is damaged, something of that name is there, or it was ended (kind CANCELLED).
    """
    target = target.expanduser().absolute()
    blobs = {digest: path for one in models for digest, path in one.blobs.items()}
    _free(target)
    try:
        make_folder(target.parent)
        total = sum(path.stat().st_size for path in blobs.values())
        total += sum(len(body) for body in config.values()) + sum(len(one.manifest) + len(one.modelfile.encode()) for one in models)
        _room(target, total)
        work = _Work(total, progress, stopped)
        sink: Sink = TarSink(target) if target.suffix == ".tar" else FolderSink(target)
        try:
            for number, one in enumerate(models, 1):
                work.entry(sink, f"models/{number:04}.Modelfile", one.modelfile.encode("utf-8", "replace"), one.model.name)
                if one.manifest:
                    work.entry(sink, f"models/{number:04}.json", one.manifest, one.model.name)
            for name, body in config.items():
                work.entry(sink, name, body, "the configuration")
            owners = {digest: one.model.name for one in models for digest in one.blobs}
            for digest, path in blobs.items():
                work.blob(sink, digest, path, owners[digest])
            index = Index(made_at, by, tuple(work.entries), tuple(one.model for one in models))
            body, seal = _index(index, target)
            sink.put(INDEX, len(body), iter((body,)))
            sink.put(SEAL, len(seal), iter((seal,)))
            sink.finish()
        except BaseException:
            sink.drop()
            raise
    except Stopped:
        what = "The backup was ended: nothing of it is left"
        raise PaddockError.of(what, _shown(target), "Begin it again", FailureKind.CANCELLED) from None
    except OSError as error:
        raise _failed(error, target) from error
    return index


def _index(index: Index, target: Path) -> tuple[bytes, bytes]:
    """The index and its seal, which restoring will be able to read."""
    body, seal = write_index(index)
    try:
        if len(body) > MAX_INDEX:
            raise PaddockError.of("its index gets too long", _shown(target), "Choose fewer models")
        read_index(body, seal, _shown(target))
    except PaddockError as error:
        what = f"The backup could not be restored from, so it was not written: {error.failure.what}"
        raise PaddockError.of(what, _shown(target), "Choose fewer models, or others", FailureKind.REFUSED) from None
    return body, seal


class _Work:
    def __init__(self, total: int, progress: Progress, stopped: Callable[[], bool]) -> None:
        self.entries: list[Entry] = []
        self._total, self._done = total, 0
        self._progress, self._stopped = progress, stopped

    def entry(self, sink: Sink, name: str, body: bytes, what: str) -> None:
        """A small file."""
        sink.put(name, len(body), self._counted(iter((body,)), what))
        self.entries.append(Entry(name, len(body), hashlib.sha256(body).hexdigest()))

    def blob(self, sink: Sink, digest: str, path: Path, owner: str) -> None:
        """A blob, whose bytes must be those of its name."""
        with open_regular(path) as file:
            length, seen = os.fstat(file.fileno()).st_size, hashlib.sha256()

            def pieces() -> Iterator[bytes]:
                left = length
                while left and (piece := file.read(min(PIECE, left))):
                    seen.update(piece)
                    left -= len(piece)
                    yield piece

            name = blob_name(digest)
            sink.put(name, length, self._counted(pieces(), owner))
        if seen.hexdigest() != digest.removeprefix("sha256:"):
            what = f"A file of {owner} is damaged: its content is not what its name says"
            raise PaddockError.of(what, _shown(path), "Pull the model again; paddock verify tells more", FailureKind.DISK)
        self.entries.append(Entry(name, length, seen.hexdigest()))

    def _counted(self, pieces: Iterator[bytes], what: str) -> Iterator[bytes]:
        for piece in pieces:
            if self._stopped():
                raise Stopped
            self._progress(self._done, self._total, what)
            yield piece
            self._done += len(piece)
        self._progress(self._done, self._total, what)


# --- where it goes -------------------------------------------------------------------------------------------------------


class Sink(Protocol):
    """A folder or a tar that is being written."""

    def put(self, name: str, length: int, pieces: Iterator[bytes]) -> None:
        """Write a file of so many bytes; raises OSError where there are fewer."""
        ...

    def finish(self) -> None:
        """All is on the disk, and has its name."""
        ...

    def drop(self) -> None:
        """Take away what was written."""
        ...


class FolderSink:
    """A folder beside its later place."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._work = target.with_name(target.name + UNFINISHED)
        self._work.mkdir(mode=0o700)

    def put(self, name: str, length: int, pieces: Iterator[bytes]) -> None:
        """See `Sink`."""
        path = self._work / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _new(path) as file:
            _all_of(file, length, pieces)
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """See `Sink`."""
        for folder, _names, _files in os.walk(self._work):
            sync_folder(Path(folder))
        self._work.rename(self._target)
        sync_folder(self._target.parent)

    def drop(self) -> None:
        """See `Sink`."""
        shutil.rmtree(self._work, ignore_errors=True)


class TarSink:
    """A plain tar beside its later place."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._work = target.with_name(target.name + UNFINISHED)
        self._file = _new(self._work)

    def put(self, name: str, length: int, pieces: Iterator[bytes]) -> None:
        """See `Sink`."""
        import tarfile

        header = tarfile.TarInfo(name)
        header.size, header.mode = length, 0o600
        self._file.write(header.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict"))
        _all_of(self._file, length, pieces)
        self._file.write(b"\0" * (-length % 512))

    def finish(self) -> None:
        """See `Sink`."""
        self._file.write(b"\0" * 1024)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if os.path.lexists(self._target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self._target))
        self._work.rename(self._target)
        sync_folder(self._target.parent)

    def drop(self) -> None:
        """See `Sink`."""
        with contextlib.suppress(OSError):  # what is still to be written finds no room either
            self._file.close()
        self._work.unlink(missing_ok=True)


def _new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb")


def _all_of(file: BinaryIO, length: int, pieces: Iterator[bytes]) -> None:
    written = 0
    for piece in pieces:
        file.write(piece)
        written += len(piece)
    if written != length:
        raise OSError(errno.EIO, "a file changed while it was read")


def open_regular(path: Path) -> BinaryIO:
    """A plain file for reading; raises OSError for everything else."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that took its place would wait for ever
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return os.fdopen(handle, "rb")


def _free(target: Path) -> None:
    shown = _shown(target)
    if target.name.lower().endswith((".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".zip")):
        what = "A backup is not compressed: weights do not get smaller"
        raise PaddockError.of(what, shown, "Name a folder, or a file that ends in .tar", FailureKind.CONFIG)
    if target.name.endswith(UNFINISHED):
        raise PaddockError.of(f"{UNFINISHED} marks what is not whole", shown, "Choose another name", FailureKind.CONFIG)
    for path, what, remedy in (
        (target, "There is something of that name already", "Choose another name"),
        (
            target.with_name(target.name + UNFINISHED),
            "A backup of that name was begun and not finished",
            f"Delete {clean_name(target.name, 60)}{UNFINISHED}, or choose another name",
        ),
    ):
        if os.path.lexists(path):
            raise PaddockError.of(what, _shown(path), remedy, FailureKind.REFUSED)


def _room(target: Path, total: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < total + _SLACK:
        what = f"There is not enough room: {size(total)} are needed, {size(free)} are free"
        raise PaddockError.of(what, _shown(target.parent), "Make room, or choose another disk", FailureKind.DISK)


def _failed(error: OSError, target: Path) -> PaddockError:
    if (failure := limit_of(error)) is not None:
        return PaddockError.of(f"{failure.what}: nothing of the backup is left", _shown(target), failure.remedy, failure.kind)
    why = clean_name(error.strerror or "the system refuses", 100).lower()
    place = _shown(Path(error.filename)) if isinstance(error.filename, str) else _shown(target)
    return PaddockError.of(f"The backup was not written: {why}", place, "Check the name and its rights", FailureKind.DISK)


def _shown(path: Path) -> str:
    return clean_name(str(path), 1000)
