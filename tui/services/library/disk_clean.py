"""Deletes files of a models folder that no model uses: only after a yes, only what a fresh look still finds unused.

The folder is the server's. What a starting server would delete by itself is deleted by the same rules: nothing while a manifest cannot
be read, nothing that was written within the hour, nothing that a pull of the queue is about to use.
"""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.partials import SPARED
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.providers.ollama_folder import FolderReader, ModelsFolder
from tui.services.library.disk_use import missing, queued
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.core.jobs import Job
    from tui.core.models import Model

WRITTEN: Final = 120.0
"""Seconds since the last change of an unfinished download within which somebody may still be writing it."""


@record(frozen=True)
class Cleaned:
    """What became of files.

    Attributes:
        freed: Bytes that were on the disk.
        gone: Keys of what was deleted.
        left: Keys of what was not, each with the reason, which ends a sentence; what was not come to is in neither.
    """

    freed: int = 0
    gone: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()


async def clean(
    path: Path,
    keys: Collection[str],
    provider: str,
    jobs: Collection[Job],
    listed: Collection[Model],
    now: float,
    told: Callable[[Cleaned], None],
) -> None:
    """Delete what the queue has no use for, see `clean_files`; once it is cancelled, it ends after the file that it deletes then.

    Args:
        path: The models folder.
        keys: Of `clean_files`.
        provider: Whose folder it is.
        jobs: The queue.
        listed: What its server lists.
        now: Epoch seconds.
        told: Called with what became of the files, also where this is cancelled.

    Raises:
        PaddockError: Of `clean_files`.
    """
    busy = [digest for digest, job in queued(jobs, provider).items() if not job.state.ended]
    working = any(job.state.running for job in jobs if job.endpoint.name == provider)
    stop = threading.Event()
    cleaning = asyncio.ensure_future(
        in_daemon_thread(lambda: clean_files(path, keys, busy, listed, now, working=working, stopped=stop.is_set))
    )
    try:
        told(await asyncio.shield(cleaning))
    except asyncio.CancelledError:
        stop.set()
        told(await cleaning)
        raise


def clean_files(
    path: Path,
    keys: Collection[str],
    busy: Collection[str],
    listed: Collection[Model],
    now: float,
    *,
    working: bool,
    stopped: Callable[[], bool] = lambda: False,
) -> Cleaned:
    """Delete unfinished downloads and unused blobs; blocks.

    Args:
        path: The models folder.
        keys: Their digests; of uploads that were not finished the file's name.
        busy: Digests that pulls of the queue are about to use.
        listed: What the server lists: all of it must be in the folder, or its blobs would look unused.
        now: Epoch seconds.
        working: The queue works for this server now, so that a blob without a model may get one in a moment.
        stopped: Asked before each: whether to leave the rest.

    Raises:
        PaddockError: The folder, or a part of it that may name these blobs, cannot be read.
    """
    folder = FolderReader(path).read()
    if lacks := missing(listed, folder):
        what = f"Nothing was deleted: the folder has no manifest of {lacks}, which the server lists"
        raise PaddockError.of(what, clean_name(str(path)), "Refresh, and check models_folder of the provider", FailureKind.REFUSED)
    if not folder.whole:
        what = "Nothing was deleted: not all manifests can be read, so a model may use these files"
        where = f"{clean_name(str(path))}: {folder.troubles[0].where}" if folder.troubles else clean_name(str(path))
        raise PaddockError.of(what, where, "Make them readable, or repair them", FailureKind.REFUSED)
    freed, gone, left = 0, list[str](), list[tuple[str, str]]()
    found = {key: (size, paths, why) for key, size, paths, why in _there(folder, now, working=working)}
    for key in dict.fromkeys(keys):
        if stopped():
            break
        size, paths, why = found.get(key, (0, (), "it is not there any more, or a model uses it"))
        why = "a pull of the queue wants it: cancel that on 3 Pulls first" if key in busy else why
        why = why or _unlink(paths)
        if why:
            left.append((key, why))
        else:
            freed += size
            gone.append(key)
    return Cleaned(freed, tuple(gone), tuple(left))


def _there(folder: ModelsFolder, now: float, *, working: bool) -> Iterator[tuple[str, int, tuple[Path, ...], str]]:
    """Key, bytes, files, and why it stays, of all that no model uses."""
    for partial in folder.partials:
        fresh = now - partial.modified_at < WRITTEN
        # The data goes last: small files that tell of ranges without data would mislead the next pull.
        yield partial.digest, partial.allocated, (*partial.paths[1:], partial.paths[0]), "it is being written" if fresh else ""
    for file in (*folder.unused(), *folder.others):
        young = now - file.modified_at < SPARED
        why = "it is younger than an hour: a model may be about to use it" if young else ""
        why = "the queue works for this server: a model may be about to use it" if working and not why else why
        yield file.digest or file.path.name, file.allocated, (file.path,), why


def _unlink(paths: tuple[Path, ...]) -> str:
    """Delete files; why that failed, or empty."""
    for path in paths:
        try:
            about = path.lstat()
            if not (stat.S_ISREG(about.st_mode) or stat.S_ISLNK(about.st_mode)):
                return "it is no file"
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            return clean_name(error.strerror or "it could not be deleted", 100)
    return ""
