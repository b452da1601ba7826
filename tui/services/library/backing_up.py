"""Models and configuration into a backup and back: what must be asked of servers for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tui.core.capabilities import Capability
from tui.core.errors import FailureKind, PaddockError
from tui.core.modelfile import Modelfile
from tui.core.names import parse, same
from tui.core.recipe import blobs_of
from tui.core.threads import in_daemon_thread
from tui.services.library.backup_form import MAX_MODELS, Index, SavedModel, blob_name
from tui.services.library.backup_read import Archive, FolderArchive, small, unpack, unreadable
from tui.services.library.backup_write import ToSave
from tui.services.library.baking import created
from tui.services.library.exporting import find_folder, modelfile_text
from tui.services.library.keep_now import find, keep_version
from tui.store.files import make_folder, sync_folder
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.core.clock import Clock
    from tui.core.models import Model
    from tui.providers.base import Provider
    from tui.providers.ollama_folder import FolderModel, ModelsFolder

Told = Callable[[int, int, str], None]


def has_name(model: Model) -> bool:
    """Whether a model can be made again under its name."""
    try:
        parse(model.key)
    except PaddockError:
        return False
    return True


async def collect(
    provider: Provider, models: Iterable[Model], settings: Settings, environ: Mapping[str, str] = os.environ
) -> tuple[ToSave, ...]:
    """What a backup takes of these models of one server: with their weights where the models folder can be read, else without.

    Raises:
        PaddockError: The server cannot tell what they are made of, one has a name that is none, or there are too many.
    """
    wanted = list(models)
    if len(wanted) > MAX_MODELS:
        raise PaddockError.of(f"A backup holds at most {MAX_MODELS} models", provider.endpoint.name, "Choose fewer", FailureKind.REFUSED)
    folder, why = await find_folder(provider, settings, environ)
    found = []
    for model in wanted:
        made = await provider.made_of(model.key)
        found.append(await in_daemon_thread(lambda model=model, made=made: _to_save(provider, model, made, folder, why)))  # type: ignore[misc]
    return tuple(found)


def _to_save(provider: Provider, model: Model, made: Modelfile, folder: ModelsFolder | None, why: str) -> ToSave:
    name = str(parse(model.key))
    blobs = {} if model.remote else blobs_of(made) or {}
    fields = made.fields()
    try:
        text = modelfile_text(model.key, made)
    except PaddockError:
        text = f"# {name}: a text of it cannot be written as a Modelfile; the index has it.\nFROM {name}\n"
    manifest, paths, reason = b"", dict[str, Path](), why
    if model.remote:
        reason = "it runs in a cloud"
    elif not blobs:
        reason = "the server does not name its weights"
    elif folder is not None:
        entry = next((one for one in folder.models if same(one.name, model.key)), None)
        manifest, paths, reason = _blobs(model, entry, folder)
    saved = SavedModel(name, provider.endpoint.name, model.digest.removeprefix("sha256:"), max(0, model.size or 0), fields, blobs)
    if not reason and not set(saved.digests()) <= set(paths):
        reason, manifest, paths = "its manifest lists other files than the server names", b"", {}
    whole = not reason and bool(paths)
    final = SavedModel(saved.name, saved.provider, saved.digest, saved.size, fields, blobs, whole, reason)
    return ToSave(final, text, manifest, paths if whole else {})


def _blobs(model: Model, entry: FolderModel | None, folder: ModelsFolder) -> tuple[bytes, dict[str, Path], str]:
    if entry is None or (model.digest and entry.digest != model.digest.removeprefix("sha256:")):
        return b"", {}, f"the folder {clean_name(str(folder.path), 200)} has it not, or another version"
    paths: dict[str, Path] = {}
    for layer in entry.layers:
        blob = folder.blobs.get(layer.digest)
        if blob is None or not os.access(blob.path, os.R_OK):
            return b"", {}, "a file of it is missing, or may not be read by you"
        paths[layer.digest] = blob.path
    try:
        return entry.path.read_bytes(), paths, ""
    except OSError:
        return b"", {}, "its manifest cannot be read"


# --- restoring -----------------------------------------------------------------------------------------------------------


def usable(saved: SavedModel) -> str:
    """Why a model of a backup cannot be made again from it alone; empty where it can."""
    if saved.whole:
        return ""
    return f"its weights are not in the backup: {saved.why or 'they were not there'}"


async def restore_model(
    provider: Provider,
    archive: Archive,
    saved: SavedModel,
    scratch: Path,
    clock: Clock,
    *,
    replaces: bool = False,
    told: Told = lambda _done, _total, _what: None,
) -> str:
    """Make a model again: what the server lacks is sent, then it is created; `verify` comes before.

    Args:
        provider: Where it goes.
        archive: Of the backup.
        saved: Of its index.
        scratch: A folder for one file at a time out of a tar.
        clock: Names the version that is kept.
        replaces: Whether an installed model of that name may be replaced; it is kept as an earlier version.
        told: Called with bytes sent, bytes in all, and what is done.

    Returns:
        The kept name of what was replaced, or empty.

    Raises:
        PaddockError: The name is taken, its weights are nowhere, or the server refused.
    """
    where = provider.endpoint.name
    if Capability.CREATE not in provider.capabilities:
        raise PaddockError.of(f"{where} cannot make models", f"kind {provider.endpoint.kind}", "Choose another", FailureKind.UNSUPPORTED)
    there = find(await provider.models(), saved.name)
    if there is not None and not replaces:
        raise PaddockError.of(
            f"{saved.name} is installed already: it was left as it is", where, "Allow that it is replaced", FailureKind.REFUSED
        )
    names = archive.names()
    missing = [digest for digest in saved.digests() if not await provider.has_blob(digest)]
    absent = [digest for digest in missing if blob_name(digest) not in names]
    if absent or not saved.digests():
        what = f"{saved.name} was not restored: {usable(saved) or 'its weights are not in the backup'}"
        raise PaddockError.of(what, where, f"Fetch it with paddock pull {saved.name}", FailureKind.NOT_FOUND)
    total, done = sum(names[blob_name(digest)] for digest in missing), 0
    for digest in missing:
        await _send(provider, archive, digest, scratch, lambda sent, done=done: told(done + sent, total, f"sending {saved.name}"))  # type: ignore[misc]
        done += names[blob_name(digest)]
    kept = await keep_version(provider, there.key, clock) if there is not None else ""
    await created(provider, saved.name, {**saved.blobs, **saved.fields}, lambda status: told(total, total, clean_name(status, 60)))
    if find(await provider.models(), saved.name) is None:
        raise PaddockError.of(f"The server made {saved.name}, and its list lacks it", where, "Refresh with r", FailureKind.SERVER)
    return kept


async def _send(provider: Provider, archive: Archive, digest: str, scratch: Path, told: Callable[[int], None]) -> None:
    name = blob_name(digest)
    if isinstance(archive, FolderArchive):
        await provider.upload_blob(digest, archive.path / name, told)
        return
    try:
        await in_daemon_thread(lambda: make_folder(scratch))
        folder = Path(await in_daemon_thread(lambda: tempfile.mkdtemp(prefix="restore-", dir=scratch)))
    except OSError as error:
        raise unreadable(error, scratch) from None
    ended = False
    try:
        await in_daemon_thread(lambda: unpack(archive, name, folder / "blob", lambda: ended))
        await provider.upload_blob(digest, folder / "blob", told)
    finally:
        ended = True
        for path in (folder / "blob", folder):
            with contextlib.suppress(OSError):
                path.rmdir() if path is folder else path.unlink()


def restore_configuration(archive: Archive, index: Index, config_file: Path, at: float) -> tuple[str, ...]:
    """Put the configuration back; what is there stays beside it under a name that says so. Blocks.

    Returns:
        Where files went, cleaned.

    Raises:
        PaddockError: One could not be written; those before it were.
    """
    done: list[str] = []
    for entry in index.files:
        if not entry.name.startswith("config/"):
            continue
        inner = entry.name.removeprefix("config/")
        target = config_file if inner == "config.toml" else config_file.parent / inner
        body = small(archive, entry)
        try:
            if target.is_file() and target.read_bytes() == body:
                continue
            _place(target, body, at)
        except OSError as error:
            raise unreadable(error, target) from None
        done.append(clean_name(str(target), 1000))
    return tuple(done)


def _place(target: Path, body: bytes, at: float) -> None:
    target = Path(os.path.realpath(target))  # a link stays one
    make_folder(target.parent)
    work = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        if os.path.lexists(target):
            shutil.copy2(target, target.with_name(f"{target.name}.before-{int(at)}"))
        work.replace(target)
    finally:
        work.unlink(missing_ok=True)
    sync_folder(target.parent)
