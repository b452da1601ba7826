"""Reads the folder where an Ollama server keeps its models: manifests, blobs, unfinished downloads (Ollama reference, section 3.6).

Read only, bounded, and tolerant: what cannot be read is named, and the rest is told. The folder belongs to the server, which changes
it meanwhile: what is gone while it is read is gone. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Final

from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import PlanLayer
from tui.core.names import ModelName, parse
from tui.core.record import record
from tui.providers.manifest import MAX_MANIFEST, parse_manifest
from tui.text import clean_name

MAX_MANIFESTS: Final = 50_000
MAX_FILES: Final = 500_000
"""Of the blobs folder."""
MAX_TROUBLES: Final = 100
MAX_RANGE: Final = 4096
"""Bytes of the JSON of one range of an unfinished download."""
MAX_RANGES: Final = 4096
REST_EVERY: Final = 20
"""Files after which others may have a turn."""

_BLOB: Final = re.compile(r"sha256[-:]([0-9a-f]{64})\Z")
_PARTIAL: Final = re.compile(r"sha256[-:]([0-9a-f]{64})-partial(?:-([0-9]{1,9}))?\Z")
_WHY: Final = {
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ENOENT: "it does not exist",
    errno.ENOTDIR: "it is no folder",
    errno.ELOOP: "its link leads to itself",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EIO: "the disk reports an error",
    errno.ESTALE: "the network folder is gone",
}
_Mark = tuple[int, int, int]
"""Inode, size and time of change in ns of a file: as long as they stay, so does what is in it."""


@record(frozen=True)
class FolderModel:
    """A model by its manifest.

    Attributes:
        name: In its shortest form, as the server lists it.
        layers: Each digest once, the config last.
        digest: SHA-256 of the manifest's exact bytes, bare hex, as the server lists it.
        modified_at: Of the manifest; epoch seconds.
        path: Of the manifest.
    """

    name: str
    layers: tuple[PlanLayer, ...]
    digest: str
    modified_at: float
    path: Path

    @property
    def size(self) -> int:
        """Bytes of all layers, as the manifest has them."""
        return sum(layer.size for layer in self.layers)


@record(frozen=True)
class FolderFile:
    """A file of the blobs folder.

    Attributes:
        digest: `sha256:…`; empty for a file whose name is none (an upload that was not finished).
        size: Its length in bytes.
        allocated: Bytes it takes on the disk; 0 for a link, whose target is elsewhere.
        modified: Time of the last change in ns since the epoch.
        link: It is a symbolic link.
    """

    digest: str
    path: Path
    size: int
    allocated: int
    modified: int
    link: bool = False

    @property
    def modified_at(self) -> float:
        """Epoch seconds."""
        return self.modified / 1e9


@record(frozen=True)
class FolderPartial:
    """An unfinished download: a sparse file of full length, and a small one for each of its ranges.

    Attributes:
        digest: `sha256:…` of what it becomes.
        total: Bytes of the whole: by its ranges, else its length.
        done: Bytes that are there: by its ranges, else those allocated.
        allocated: Bytes all its files take.
        modified: Newest change of any of its files, ns since the epoch.
        oldest: Oldest change of any of its files: a starting server looks at each file for itself.
        paths: All its files, the data first.
    """

    digest: str
    total: int
    done: int
    allocated: int
    modified: int
    oldest: int
    paths: tuple[Path, ...]

    @property
    def modified_at(self) -> float:
        """Epoch seconds."""
        return self.modified / 1e9


@record(frozen=True)
class Trouble:
    """A part of the folder that could not be read: where (inside the folder, cleaned), and why, which ends a sentence."""

    where: str
    why: str


@record(frozen=True)
class ModelsFolder:
    """What lies in a models folder.

    Attributes:
        models: In the order of their names.
        blobs: Whole files by digest.
        partials: Unfinished downloads.
        others: Files of the blobs folder whose names are no digests.
        troubles: What could not be read, at most `MAX_TROUBLES`.
        whole: Every manifest was read, and all of the blobs folder: only then a blob that nothing here names is one that no model uses.
        damaged: A manifest could be opened and is none; a starting server then deletes nothing (PruneLayers).
    """

    path: Path
    models: tuple[FolderModel, ...] = ()
    blobs: Mapping[str, FolderFile] = field(default_factory=dict)
    partials: tuple[FolderPartial, ...] = ()
    others: tuple[FolderFile, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    whole: bool = True
    damaged: bool = False

    def unused(self) -> tuple[FolderFile, ...]:
        """Blobs that no manifest names, the largest first; none where not all manifests could be read."""
        if not self.whole:
            return ()
        used = {layer.digest for model in self.models for layer in model.layers}
        return tuple(sorted((blob for digest, blob in self.blobs.items() if digest not in used), key=lambda blob: -blob.allocated))


class FolderReader:
    """Reads one folder again and again; manifests that did not change are not read twice.

    Args:
        path: The models folder, which holds `manifests` and `blobs`.
        rest: Called every `REST_EVERY` files, so that other threads get a turn.
    """

    def __init__(self, path: Path, rest: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self._rest = rest
        self._known: dict[Path, tuple[_Mark, FolderModel | str]] = {}
        self._count = 0

    def read(self) -> ModelsFolder:
        """Look at everything.

        Raises:
            PaddockError: The folder is not there, is no folder of models, or may not be read.
        """
        troubles = _Troubles(self.path)
        try:
            self.path.stat()
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from None
        models = self._manifests(troubles)
        blobs, partials, others = self._blobs(troubles)
        return ModelsFolder(
            self.path, models, blobs, partials, others, tuple(troubles.found[:MAX_TROUBLES]), not troubles.missed, troubles.damaged
        )

    def _turn(self) -> None:
        self._count += 1
        if self._count % REST_EVERY == 0:
            self._rest()

    # --- manifests ----------------------------------------------------------------------------------------------------

    def _manifests(self, troubles: _Troubles) -> tuple[FolderModel, ...]:
        found: list[FolderModel] = []
        known: dict[Path, tuple[_Mark, FolderModel | str]] = {}
        top = self.path / "manifests"
        for number, (path, parts) in enumerate(self._files(top, 4, troubles, set())):
            if number >= MAX_MANIFESTS:
                troubles.add(top, f"there are more than {MAX_MANIFESTS} models")
                break
            self._turn()
            try:
                mark, model = self._manifest(path, parts)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                troubles.add(path, _why(error))
                continue
            known[path] = mark, model
            if isinstance(model, str):
                troubles.add(path, model, damaged=True)
            else:
                found.append(model)
        self._known = known
        return tuple(sorted(found, key=lambda model: model.name))

    def _files(self, folder: Path, depth: int, troubles: _Troubles, seen: set[tuple[int, int]]) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """Files `depth` folders below, with the names of the way; each folder once, however many links lead to it."""
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in seen:
                return
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries)
        except (FileNotFoundError, NotADirectoryError):  # a file where a folder is expected is no model to the server either
            return
        except (OSError, ValueError) as error:
            troubles.add(folder, _why(error))
            return
        for name in names:
            if depth == 1:
                yield folder / name, (name,)
            else:
                for below, parts in self._files(folder / name, depth - 1, troubles, seen):
                    yield below, (name, *parts)

    def _manifest(self, path: Path, parts: tuple[str, ...]) -> tuple[_Mark, FolderModel | str]:
        """The model, or why it is none.

        Raises:
            OSError: It cannot be read.
            ValueError: It cannot be a manifest that a server reads.
        """
        about = path.stat()
        mark = about.st_ino, about.st_size, about.st_mtime_ns
        before = self._known.get(path)
        if before is not None and before[0] == mark:
            return before
        name = ModelName(*parts)
        try:
            good = parse(f"{name.host}/{name.namespace}/{name.model}:{name.tag}") == name
        except PaddockError:
            good = False
        if not good:
            raise ValueError("its path is no model name")
        body = _read(path, MAX_MANIFEST)
        try:
            layers = parse_manifest(body)[0]
        except ValueError as error:
            return mark, str(error)
        return mark, FolderModel(str(name), layers, hashlib.sha256(body).hexdigest(), about.st_mtime_ns / 1e9, path)

    # --- blobs --------------------------------------------------------------------------------------------------------

    def _blobs(self, troubles: _Troubles) -> tuple[dict[str, FolderFile], tuple[FolderPartial, ...], tuple[FolderFile, ...]]:
        blobs: dict[str, FolderFile] = {}
        parts: dict[str, list[FolderFile]] = {}
        others: list[FolderFile] = []
        for name, path in self._names(self.path / "blobs", troubles):
            self._turn()
            partial = _PARTIAL.match(name)
            whole = _BLOB.match(name)
            try:
                found = _file(path, f"sha256:{(whole or partial)[1]}" if whole or partial else "")  # type: ignore[index]
            except FileNotFoundError:
                if path.is_symlink():
                    troubles.add(path, "its link leads nowhere", missed=False)
                continue
            except (OSError, ValueError) as error:
                troubles.add(path, _why(error), missed=False)
                continue
            if partial:
                parts.setdefault(found.digest, []).append(found)
            elif whole:
                blobs[found.digest] = found
            else:
                others.append(found)
        partials = (_partial(digest, sorted(files, key=lambda one: len(one.path.name))) for digest, files in sorted(parts.items()))
        return blobs, tuple(partials), tuple(others)

    def _names(self, top: Path, troubles: _Troubles) -> Iterator[tuple[str, Path]]:
        try:
            with os.scandir(top) as entries:
                for number, entry in enumerate(entries):
                    if number >= MAX_FILES:
                        troubles.add(top, f"it holds more than {MAX_FILES} files")
                        return
                    yield entry.name, top / entry.name
        except FileNotFoundError:
            return
        except OSError as error:
            troubles.add(top, _why(error))


class _Troubles:
    def __init__(self, top: Path) -> None:
        self._top = str(top)
        self.found: list[Trouble] = []
        self.missed = False
        self.damaged = False

    def add(self, path: Path, why: str, *, missed: bool = True, damaged: bool = False) -> None:
        self.missed |= missed
        self.damaged |= damaged
        if len(self.found) < MAX_TROUBLES:
            self.found.append(Trouble(clean_name(os.path.relpath(path, self._top), 200), why))


def _file(path: Path, digest: str) -> FolderFile:
    """What a file of the blobs folder takes.

    Raises:
        OSError: It cannot be looked at.
        ValueError: It is no file.
    """
    about = path.lstat()
    link = stat.S_ISLNK(about.st_mode)
    if link:
        about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is no file")
    return FolderFile(digest, path, about.st_size, 0 if link else about.st_blocks * 512, about.st_mtime_ns, link)


def _partial(digest: str, files: list[FolderFile]) -> FolderPartial:
    data = next((one for one in files if one.path.name.endswith("-partial")), None)
    total = done = 0
    for one in files[:MAX_RANGES]:
        if one is not data:
            size, completed = _range(one.path)
            total += size
            done += min(size, completed)
    length, there = (data.size, data.allocated) if data is not None else (0, 0)
    if total < length:  # some of the small files are gone: a server then counts wrongly too
        total, done = length, min(length, there)
    times = [one.modified for one in files]
    ordered = ([data.path] if data is not None else []) + [one.path for one in files if one is not data]
    return FolderPartial(digest, total, done, sum(one.allocated for one in files), max(times), min(times), tuple(ordered))


def _range(path: Path) -> tuple[int, int]:
    """Bytes of a range, and bytes of it that are there; nothing where its file tells nothing."""
    try:
        said = json.loads(_read(path, MAX_RANGE))
        size, completed = said["Size"], said["Completed"]
        return (size, completed) if all(type(value) is int and 0 <= value < 1 << 60 for value in (size, completed)) else (0, 0)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0, 0


def _read(path: Path, limit: int) -> bytes:
    """A small file's bytes.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too large, or no file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that took its place would wait for ever
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no file")
        pieces: list[bytes] = []
        left = limit + 1
        while left > 0 and (piece := os.read(handle, left)):
            pieces.append(piece)
            left -= len(piece)
    finally:
        os.close(handle)
    if left <= 0:
        raise ValueError(f"it is larger than {limit // 1024} KB")
    return b"".join(pieces)


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return _WHY.get(error.errno or 0) or clean_name(error.strerror or "it cannot be read", 100)
    return str(error)


def _unreadable(path: Path, error: OSError | ValueError) -> PaddockError:
    shown = clean_name(str(path))
    denied = isinstance(error, PermissionError)
    why = _why(error) if isinstance(error, OSError) else "its path cannot be used"
    remedy = "Join the group of the server's account, or go by what the server tells" if denied else "Set models_folder of the provider"
    kind = FailureKind.FORBIDDEN if denied else FailureKind.NOT_FOUND
    return PaddockError(Failure(f"The models folder cannot be read: {why}", shown, remedy, kind))
