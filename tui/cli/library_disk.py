"""verify, clean: what lies on the servers' disks, whether it is what it should be, and what can go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tui.cli.context import Context
from tui.cli.details import details_of
from tui.cli.output import DONE, FAILED, REFUSED, USAGE, ask, emit, message, report, table
from tui.cli.planning import read_queue
from tui.cli.waiting import worse
from tui.core.clock import SYSTEM
from tui.core.disk import DiskItem, DiskKind, DiskUse, ModelCheck, Verdict
from tui.core.errors import Failure, PaddockError
from tui.core.jobs import Job
from tui.core.kept import kept_of, kept_words
from tui.core.library import EventKind
from tui.core.models import Model
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.providers.base import Provider
from tui.services.library import disk_use, disk_verify, disk_words
from tui.services.library.disk import CLEANABLE, MOST_ASKED, cannot
from tui.services.library.disk_clean import Cleaned
from tui.services.library.disk_clean import clean as clean_folder
from tui.services.library.disk_demo import simulated
from tui.services.library.disk_read import DiskReader, Look, use_of
from tui.services.library.keeping_moves import Mover
from tui.services.library.keeping_trash import kept_models, own_trash
from tui.store.blob_checks import BlobCheck, BlobChecks
from tui.store.model_events import ModelEvents
from tui.store.model_moves import ModelMoves
from tui.text import clean_name, size

_HEAD: Final = ("WHAT", "PROVIDER", "SIZE", "FREED", "NOTE")
_RIGHT: Final = (2, 3)
_KINDS: Final = {"trash": DiskKind.TRASH, "pulls": DiskKind.PARTIALS, "blobs": DiskKind.UNUSED}
TOLD_EVERY: float = 1.0
"""Seconds between two lines of progress on a terminal."""


@record(frozen=True)
class _Disk:
    """One server's disk."""

    provider: Provider
    models: tuple[Model, ...]
    look: Look
    use: DiskUse


# --- reading ----------------------------------------------------------------------------------------------------------


async def look_of(context: Context, reader: DiskReader, provider: Provider, models: Sequence[Model]) -> Look:
    """What lies in a server's folder; the demo's is simulated."""
    if context.options.demo and not context.options.provider:
        return await in_daemon_thread(lambda: simulated(context.paths.data.parent, provider.endpoint.name))
    return await in_daemon_thread(lambda: reader.look(context.endpoint_of(provider), context.settings, models))


async def _disks(context: Context) -> list[_Disk]:
    reader, jobs, found = DiskReader(os.environ), read_queue(context), []
    for provider, models in await context.everybody(context.args.on, kept=True):
        if not any(model.digest for model in models) and provider.endpoint.kind != "ollama":
            continue  # a server that tells no digests tells nothing of its disk
        look = await look_of(context, reader, provider, models)
        weights = {} if look.folder is not None else await _weights(provider, models)
        version = await _version(provider)
        empties = _empties(context, provider, models)
        use, _parts = use_of(provider.endpoint.name, models, look, weights, jobs, empties, version=version, now=time.time())
        found.append(_Disk(provider, models, look, use))
    return found


async def _version(provider: Provider) -> str:
    try:
        return (await provider.check()).version
    except PaddockError:
        return ""


async def _weights(provider: Provider, models: Sequence[Model]) -> Mapping[str, str]:
    """Digests of the weights, by what the server tells of each model."""
    asked = await details_of((provider, model) for model in models[:MOST_ASKED] if not model.remote)
    return {key: detail.weights_digest for (_provider, key), detail in asked.items() if detail.weights_digest}


def _empties(context: Context, provider: Provider, models: Sequence[Model]) -> Mapping[str, float | None]:
    """When the trash is emptied of what."""
    endpoint = context.endpoint_of(provider)
    moves = ModelMoves(context.database(write=False)).list() if context.paths.database.exists() else ()
    kept = kept_models(endpoint.name, models, own_trash(moves, endpoint), context.settings.models.trash)
    return {one.key: one.goes_at for one in kept}


# --- clean ------------------------------------------------------------------------------------------------------------


async def clean(context: Context) -> int:
    """Show what lies on the disks and what each would free; without `--dry-run` delete it for good, after asking.

    1 where a server that was asked did not answer.
    """
    dry = context.args.dry_run
    if wrong := [word for word in context.args.what if word not in _KINDS]:
        message(f"{clean_name(wrong[0], 40)} is none of {', '.join(_KINDS)}.")
        return USAGE
    if not dry:
        context.allow("Cleaning a disk", destructive=True)
        if not context.args.yes and not sys.stdin.isatty():
            message("Nothing was deleted: there is nobody to ask. Add --yes, or look with --dry-run.")
            return REFUSED
    moves = None if dry else _moves(context)  # first: a database that was opened for reading stays so
    disks = await _disks(context)
    kinds = {_KINDS[word] for word in context.args.what or _KINDS}
    if dry:
        return _lying(context, disks, kinds if context.args.what else set(DiskKind))
    chosen = [(disk, items) for disk in disks if (items := _items(disk, kinds))]
    if not chosen:
        if context.json:
            _emit(context, _Done(), ok=not context.failed)
        return _nothing(context)
    freed = sum(sum(item.freed or 0 for item in items if item.kind in CLEANABLE) for _disk, items in chosen)
    freed += sum(row.freed or 0 for disk, _items in chosen for row in disk.use.rows if row.kind in kinds and row.kind is DiskKind.TRASH)
    if not context.args.yes:
        if not context.json:
            _rows(context, disks, kinds)
        count = sum(len(items) for _disk, items in chosen)
        if not await ask(f"Delete {count} {'thing' if count == 1 else 'things'} for good? This frees {context.size(freed)}."):
            message("Nothing was deleted.")
            return FAILED
    return await _clean(context, chosen, read_queue(context), moves)


def _nothing(context: Context) -> int:
    message(f"There is nothing to clean{' on the providers that answered' if context.failed else ''}.")
    return FAILED if context.failed else DONE


def _moves(context: Context) -> ModelMoves | None:
    """Where it is noted what went into the trash; a database that cannot be written keeps nobody from emptying it."""
    try:
        return ModelMoves(context.writable())
    except PaddockError as error:
        report(error.failure)
        return None


def _items(disk: _Disk, kinds: set[DiskKind]) -> list[DiskItem]:
    """What may go: nothing that the queue goes on with, and files only where our account may delete them."""
    found = [item for row in disk.use.rows if row.kind in kinds for item in row.items if not item.queued]
    if (why := cannot(disk.use)) and any(item.kind in CLEANABLE for item in found):
        message(f"The files of {clean_name(disk.use.provider)} stay: {why}.")
        found = [item for item in found if item.kind not in CLEANABLE]
    return found


class _Done:
    """What went so far, and what stays although it was to go."""

    def __init__(self) -> None:
        self.freed = 0
        self.gone: list[str] = []
        self.left: dict[str, str] = {}
        self.failures: list[Failure] = []

    def add(self, provider: str, cleaned: Cleaned) -> None:
        """What became of files of a folder."""
        self.freed += cleaned.freed
        self.gone += cleaned.gone
        self.left |= {f"{provider}: {key.removeprefix('sha256:')[:12]}": why for key, why in cleaned.left}


async def _clean(
    context: Context, chosen: Sequence[tuple[_Disk, Sequence[DiskItem]]], jobs: Sequence[Job], moves: ModelMoves | None
) -> int:
    code, done, whole = FAILED if context.failed else DONE, _Done(), False
    try:
        for disk, items in chosen:
            try:
                await _trash(context, disk, items, moves, done)
                await _files(context, disk, [item.key for item in items if item.kind in CLEANABLE], jobs, done)
            except PaddockError as error:
                done.failures.append(error.failure)
                code = worse(code, report(error.failure))
        whole = True
    finally:
        for what, why in done.left.items():
            message(f"{what} stays: {why}.")
        if context.json:
            _emit(context, done, ok=whole and code == DONE)
        else:
            count = len(done.gone)
            ended = "" if whole else "Stopped: "
            message(f"{ended}{count} {'thing' if count == 1 else 'things'} deleted, {context.size(done.freed)} freed.")
    return code


def _emit(context: Context, done: _Done, *, ok: bool) -> None:
    failures = [*context.failed, *done.failures]
    emit({"ok": ok, "command": "clean", "freed": done.freed, "deleted": done.gone, "left": done.left, "failures": failures})


async def _trash(context: Context, disk: _Disk, items: Sequence[DiskItem], moves: ModelMoves | None, done: _Done) -> None:
    """Delete what is in the trash for good; what is counted as freed are the blobs that nothing of what stays has."""
    kept = [item for item in items if item.kind not in CLEANABLE]
    mover = Mover(disk.provider, context.audit, SYSTEM, _no_unload, moves)
    gone: list[DiskItem] = []
    try:
        for item in kept:
            await mover.drop(item.key)
            gone.append(item)
    finally:
        keys = [item.key for item in gone]
        done.gone += keys
        folder = disk.look.folder
        parts = disk_use.parts_by_folder(disk.models, folder) if folder is not None else None
        done.freed += parts.freed(keys) if parts is not None else sum(item.freed or 0 for item in gone)


async def _no_unload(_model: str) -> None:
    """A kept model is not unloaded first: deleting its name takes nothing from who uses it now."""


async def _files(context: Context, disk: _Disk, keys: Sequence[str], jobs: Sequence[Job], done: _Done) -> None:
    if not keys or disk.look.folder is None:
        return
    name, path = disk.use.provider, disk.look.folder.path
    listed = await disk.provider.models()
    with context.audit.noting("clean", f"{name}: {len(keys)} files"):
        await clean_folder(path, keys, name, jobs, listed, time.time(), lambda cleaned: done.add(name, cleaned))


def _lying(context: Context, disks: Sequence[_Disk], kinds: set[DiskKind]) -> int:
    """Tell what lies there of these kinds."""
    code = FAILED if context.failed else DONE
    if context.json:
        uses = [replace(disk.use, rows=tuple(row for row in disk.use.rows if row.kind in kinds)) for disk in disks]
        emit({"disks": uses, "failures": context.failed})
        return code
    if not any(row.kind in kinds for disk in disks for row in disk.use.rows):
        return _nothing(context)
    _rows(context, disks, kinds)
    binary = context.settings.appearance.units == "binary"
    for disk in disks:
        use = disk.use
        message(f"{disk_words.sizes(use, binary=binary)}." if use.folder else f"{use.failure.what}." if use.failure is not None else "")
        for trouble in use.troubles:
            message(f"  {trouble}.")
    return code


def _rows(context: Context, disks: Sequence[_Disk], kinds: set[DiskKind]) -> None:
    now, binary, rows = time.time(), context.settings.appearance.units == "binary", []
    for disk in disks:
        for row in disk.use.rows:
            if row.kind not in kinds:
                continue
            freed = "" if row.kind is DiskKind.MODELS else size(row.freed, binary=binary)
            note = disk_words.note(row, disk.use, now, binary=binary)
            rows.append((disk_words.what(row), clean_name(row.provider), size(row.size, binary=binary), freed, note))
    table(_HEAD, rows, _RIGHT)


# --- verify -----------------------------------------------------------------------------------------------------------


async def verify(context: Context) -> int:
    """Check that the blobs of models are what their digests say; 1 where one is not, or a server that was asked did not answer."""
    if bool(context.args.models) == context.args.all:
        message("Which one? paddock verify MODEL…, or paddock verify --all.")
        return USAGE
    checks, reader = [], DiskReader(os.environ)
    known, notes = _store(context)
    for provider, model, models in await _chosen(context):
        look = await look_of(context, reader, provider, models)
        task = disk_verify.Task(provider, model.key, look.folder if not look.simulated else None)
        check = await _check(context, task, known)
        checks.append(check)
        await _note(check, notes)
        if not context.json:
            message(f"{kept_words(check.model)} on {clean_name(check.provider)}: {disk_words.checked(check, check.at)}.")
    failures = context.failed if context.args.all else []  # for models that are named with_model has said who matters
    if context.json:
        emit({"checks": checks, "failures": failures})
    return DONE if not failures and all(check.verdict in (Verdict.GOOD, Verdict.THERE) for check in checks) else FAILED


async def _chosen(context: Context) -> list[tuple[Provider, Model, tuple[Model, ...]]]:
    if not context.args.all:
        found = []
        for name in dict.fromkeys(context.args.models):
            provider, model = await context.with_model(name, context.args.on)
            found.append((provider, model, await provider.models()))
        return found
    everybody = await context.everybody(context.args.on, kept=True)
    return [(provider, model, models) for provider, models in everybody for model in models if model.digest and not model.remote]


def _store(context: Context) -> tuple[BlobChecks | None, ModelEvents | None]:
    """Where checks and events are kept; a database that cannot be opened keeps nobody from checking."""
    try:
        database = context.writable()
    except PaddockError as error:
        report(error.failure)
        return None, None
    return BlobChecks(database), ModelEvents(database)


async def _check(context: Context, task: disk_verify.Task, store: BlobChecks | None) -> ModelCheck:
    path = str(task.folder.path) if task.folder is not None else ""
    known: Mapping[str, BlobCheck] = store.of(path) if store is not None and path else {}
    reading, total = disk_verify.Reading(), disk_verify.bytes_of(task)

    async def put(folder: str, digest: str, check: BlobCheck) -> None:
        with contextlib.suppress(PaddockError):  # a full disk keeps nobody from checking
            if store is not None:
                await store.put(folder, digest, check)

    work = asyncio.ensure_future(disk_verify.check(task, known, reading, SYSTEM, put))
    try:
        if store is not None and task.folder is not None:
            with contextlib.suppress(PaddockError):
                await store.forget(path, disk_verify.lost(task.folder, known))
        while not work.done():
            await asyncio.wait({work}, timeout=TOLD_EVERY)
            if total and not work.done() and sys.stderr.isatty() and not context.json:
                shown = f"{context.size(reading.done)} of {context.size(total)}"
                print(f"\r{kept_words(task.model)}: {shown} ", end="", file=sys.stderr, flush=True)
        if total and sys.stderr.isatty() and not context.json:
            print("\r\x1b[K", end="", file=sys.stderr)
        return work.result()
    finally:
        reading.stop.set()
        work.cancel()


async def _note(check: ModelCheck, notes: ModelEvents | None) -> None:
    kinds = {Verdict.GOOD: EventKind.VERIFIED, Verdict.DAMAGED: EventKind.DAMAGED, Verdict.MISSING: EventKind.DAMAGED}
    if check.verdict in kinds and notes is not None and kept_of(check.model) is None:
        with contextlib.suppress(PaddockError):
            await notes.add(check.provider, check.model, kinds[check.verdict], check.text)
