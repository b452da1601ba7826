"""Checks that the blobs of a model are what their digests say: by reading them, politely, or else by asking the server for each.

Ollama looks at a blob only when it was fetched (reference, section 3.4): what rots on the disk afterwards shows as a model that does
not load, or that answers nonsense.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tui.core.disk import ModelCheck, Verdict
from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.services.library.disk_use import plain
from tui.store.blob_checks import BlobCheck
from tui.text import size

if TYPE_CHECKING:
    from tui.core.clock import Clock
    from tui.core.jobs import PlanLayer
    from tui.providers.base import Provider
    from tui.providers.ollama_folder import FolderModel, ModelsFolder

PIECE: Final = 1 << 20
REST_AFTER: Final = 16
"""Pieces after which the disk gets a rest, half as long as they took: a model that is being loaded is worth more than a check."""
LONGEST_REST: Final = 1.0
RECENT: Final = 3600.0
"""Seconds for which what was found of a blob is not looked for again, as long as its file stays the same."""
MOST_HEADS: Final = 200
_NAMED: Final = re.compile(r"sha256[-:]([0-9a-f]{64})")
_AGAIN: Final = "Pulling alone would not mend it: delete the model and its kept copies for good, then pull it again"


class Found(StrEnum):
    """What reading a blob found."""

    GOOD = "good"
    OTHER = "its content is not what its digest says"
    SHORT = "it is cut off"
    MISSING = "it is missing"
    CHANGED = "it changed while it was read"
    UNREADABLE = "it cannot be read"
    DISK = "the disk reports an error where it lies"


class Reading:
    """One check, as its thread and whoever waits for it see it.

    Attributes:
        done: Bytes read so far, of all blobs of this check.
        stop: Set to end it.
    """

    def __init__(self) -> None:
        self.done = 0
        self.stop = threading.Event()

    def blob(self, path: Path, digest: str, length: int) -> tuple[Found, BlobCheck | None]:
        """Read a file and compare; blocks. What was found is None where it proves nothing.

        Raises:
            InterruptedError: `stop` was set.
        """
        begun = self.done
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return Found.MISSING, None
        except OSError:
            return Found.UNREADABLE, None
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                return Found.UNREADABLE, None
            short = before.st_size != length
            same = not short and self._hash(handle) == digest.removeprefix("sha256:")
            after, there = os.fstat(handle), path.stat()
            marks = {(one.st_ino, one.st_size, one.st_mtime_ns) for one in (before, after, there)}
        except FileNotFoundError:
            return Found.MISSING, None
        except InterruptedError:
            raise
        except OSError as error:
            return (Found.DISK if error.errno == errno.EIO else Found.UNREADABLE), None
        finally:
            os.close(handle)
            self.done = begun + length
        if len(marks) > 1:
            return Found.CHANGED, None
        check = BlobCheck(before.st_size, before.st_mtime_ns / 1e9, 0.0, same)
        return (Found.SHORT if short else Found.GOOD if same else Found.OTHER), check

    def _hash(self, handle: int) -> str:
        seen, pieces, since = hashlib.sha256(), 0, time.monotonic()
        at = 0
        while piece := os.read(handle, PIECE):
            if self.stop.is_set():
                raise InterruptedError
            seen.update(piece)
            self.done += len(piece)
            if hasattr(os, "posix_fadvise"):  # what is read once must not push out what the server has in the cache
                with contextlib.suppress(OSError):
                    os.posix_fadvise(handle, at, len(piece), os.POSIX_FADV_DONTNEED)
            at += len(piece)
            pieces += 1
            if pieces % REST_AFTER == 0:
                now = time.monotonic()
                self.stop.wait(min(LONGEST_REST, (now - since) / 2))
                since = time.monotonic()
        return seen.hexdigest()


def be_idle() -> None:
    """Have this thread's reading wait for everybody else's, where the system can do that (Linux, for a thread alone)."""
    with contextlib.suppress(Exception):
        import psutil

        psutil.Process(threading.get_native_id()).ionice(psutil.IOPRIO_CLASS_IDLE)


@record(frozen=True)
class Task:
    """One model to be checked; `model` is the exact name."""

    provider: Provider
    model: str
    folder: ModelsFolder | None


Put = Callable[[str, str, BlobCheck], object]
"""Keeps what was found: folder, digest, check. May return an awaitable."""


def model_in(folder: ModelsFolder | None, name: str) -> FolderModel | None:
    """A model's manifest."""
    wanted = plain(name)
    return next((model for model in folder.models if plain(model.name) == wanted), None) if folder is not None else None


def bytes_of(task: Task) -> int:
    """Bytes that a check will read."""
    found = model_in(task.folder, task.model)
    return found.size if found is not None else 0


async def check(task: Task, known: Mapping[str, BlobCheck], reading: Reading, clock: Clock, put: Put) -> ModelCheck:
    """Check one model; a cancelled wait ends the reading.

    Args:
        task: Which.
        known: Earlier checks of the folder's blobs.
        reading: Counts what is read.
        clock: For the time of the check.
        put: Keeps what was found.
    """
    found = model_in(task.folder, task.model)
    if task.folder is None or found is None:
        return await _ask_server(task, clock)
    bad: dict[str, Found] = {}
    at, folder = clock.time(), str(task.folder.path)
    for layer in found.layers:
        file = task.folder.blobs.get(layer.digest)
        before = known.get(layer.digest)
        if file is None:
            outcome: Found = Found.MISSING
            reading.done += layer.size
        elif _still(before, file.size, file.modified_at) and before is not None and before.good and clock.time() - before.at < RECENT:
            at = min(at, before.at)
            reading.done += layer.size
            continue
        else:
            outcome = await _read(file.path, layer, reading, clock, lambda digest, made: put(folder, digest, made))
        if outcome is not Found.GOOD:
            bad[layer.digest] = outcome
    if bad and (moved := _moved(found)):
        return _result(task, Verdict.UNKNOWN, f"it was {moved} while it was checked", at=clock.time())
    return verdict(task.provider.endpoint.name, task.model, found.layers, bad, at)


def _moved(model: FolderModel) -> str:
    """What became of a manifest since it was read."""
    try:
        return "" if model.path.stat().st_mtime_ns / 1e9 == model.modified_at else "updated"
    except OSError:
        return "deleted"


async def _read(path: Path, layer: PlanLayer, reading: Reading, clock: Clock, put: Callable[[str, BlobCheck], object]) -> Found:
    def work() -> tuple[Found, BlobCheck | None]:
        be_idle()
        return reading.blob(path, layer.digest, layer.size)

    try:
        outcome, made = await in_daemon_thread(work)
    except asyncio.CancelledError:
        reading.stop.set()
        raise
    if made is not None:
        kept = put(layer.digest, BlobCheck(made.size, made.modified, clock.time(), made.good))
        if asyncio.iscoroutine(kept):
            await kept
    return outcome


def _still(check: BlobCheck | None, length: int, modified: float) -> bool:
    return check is not None and check.size == length and abs(check.modified - modified) < 1e-6


def verdict(provider: str, model: str, layers: Sequence[PlanLayer], bad: Mapping[str, Found], at: float) -> ModelCheck:
    """What the blobs of a model say together."""
    total = sum(layer.size for layer in layers)
    count = f"{len(layers)} {'blob' if len(layers) == 1 else 'blobs'}"
    if not bad:
        return ModelCheck(
            provider, model, Verdict.GOOD, f"{count}, {size(total)}, are what their digests say", at=at, blobs=len(layers), size=total
        )
    kinds = {layer.digest: layer.kind for layer in layers}
    parts = [f"{kinds[digest] or 'blob'} {digest.removeprefix('sha256:')[:12]}: {why.value}" for digest, why in bad.items()]
    unsure = all(why in (Found.CHANGED, Found.UNREADABLE) for why in bad.values())
    missing = any(why is Found.MISSING for why in bad.values())
    kind = Verdict.UNKNOWN if unsure else Verdict.MISSING if missing else Verdict.DAMAGED
    remedy = "Check it again when nothing else changes it" if unsure else _AGAIN
    wrong = tuple(digest for digest, why in bad.items() if why not in (Found.CHANGED, Found.UNREADABLE))
    return ModelCheck(provider, model, kind, "; ".join(parts[:5]), remedy, at, len(layers), total, wrong)


def lost(folder: ModelsFolder, known: Iterable[str]) -> list[str]:
    """Of the blobs that were checked those that are gone; none where not all of the folder could be read."""
    return [digest for digest in known if digest not in folder.blobs] if folder.whole else []


def earlier(provider: str, model: FolderModel, key: str, folder: ModelsFolder, known: Mapping[str, BlobCheck]) -> ModelCheck | None:
    """What checks of the past say of a model: None where one of its blobs was never checked, or changed since."""
    bad: dict[str, Found] = {}
    times = []
    for layer in model.layers:
        file, made = folder.blobs.get(layer.digest), known.get(layer.digest)
        if file is None or made is None or not _still(made, file.size, file.modified_at):
            return None
        times.append(made.at)
        if not made.good:
            bad[layer.digest] = Found.SHORT if made.size != layer.size else Found.OTHER
    return verdict(provider, key, model.layers, bad, min(times)) if times else None


# --- by the server ----------------------------------------------------------------------------------------------------


async def _ask_server(task: Task, clock: Clock) -> ModelCheck:
    """Whether the server has each blob that it names: of what is in them it says nothing."""
    try:
        detail = await task.provider.show(task.model)
        digests = list(dict.fromkeys([*([detail.weights_digest] if detail.weights_digest else []), *_NAMED.findall(detail.modelfile)]))
        missing = [digest for digest in digests[:MOST_HEADS] if not await task.provider.has_blob(f"sha256:{digest}")]
    except PaddockError as error:
        gone = error.failure.kind is FailureKind.NOT_FOUND
        text = "it is gone" if gone else error.failure.what
        return _result(task, Verdict.UNKNOWN, text, "" if gone else error.failure.remedy, at=clock.time())
    if not digests:
        return _result(task, Verdict.UNKNOWN, "the server names no blob of it", "Check it on the server's machine", at=clock.time())
    if missing:
        text = f"the server lacks {_listed(missing)}"
        return _result(task, Verdict.MISSING, text, "Pull it again", tuple(f"sha256:{one}" for one in missing), clock.time())
    text = "the server has its weights; whether they are whole, only its folder can tell"
    return _result(task, Verdict.THERE, text, at=clock.time(), blobs=len(digests))


def _listed(digests: Iterable[str]) -> str:
    shown = [digest[:12] for digest in digests]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _result(
    task: Task, verdict: Verdict, text: str, remedy: str = "", bad: tuple[str, ...] = (), at: float = 0.0, blobs: int = 0
) -> ModelCheck:
    return ModelCheck(task.provider.endpoint.name, task.model, verdict, text, remedy, at, blobs, bad=bad)
