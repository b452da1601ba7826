"""Files out of models: a Modelfile, and where the weights lie."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tui.core.errors import FailureKind, PaddockError, limit_of
from tui.core.modelfile import Modelfile, plain, write_modelfile
from tui.core.threads import in_daemon_thread
from tui.services.registry import DEMO
from tui.services.space import runs_here
from tui.store.files import sync_folder
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.core.models import Endpoint
    from tui.providers.base import Provider
    from tui.providers.ollama_folder import ModelsFolder

_DIGEST: Final = re.compile(r"sha256[-:]([0-9a-f]{64})\Z")


async def find_folder(provider: Provider, settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[ModelsFolder | None, str]:
    """What lies in the models folder of a server of this machine; or why that is not known, as the end of a sentence."""
    from tui.services.library.disk_read import DiskReader

    if provider.endpoint.name == DEMO:
        return None, "the demo has none"
    listed = await provider.models()
    look = await in_daemon_thread(lambda: DiskReader(environ).look(provider.endpoint, settings, listed))
    what = look.failure.what if look.failure is not None else ""
    return look.folder, what[:1].lower() + what[1:]


def modelfile_text(name: str, made: Modelfile) -> str:
    """A Modelfile that makes the model again out of itself, as FROM of the server would be a path on its disk.

    Raises:
        PaddockError: A text of the model cannot be written as one.
    """
    lines = [
        f"Modelfile of {clean_name(name)}, written by Paddock.",
        "On a machine without it, FROM is pulled, or give it the weights' file.",
    ]
    lines += [f"Weights on its server: {clean_name(source, 300)}" for source in made.sources]
    lines += [clean_name(note, 300) for note in made.notes]
    return write_modelfile(replace(made, sources=(plain(name),), adapters=(), draft=None, notes=()), "\n".join(lines))


def weights_path(endpoint: Endpoint, made: Modelfile, settings: Settings, folder: Path | None) -> Path:
    """The file on this machine that holds a model's weights as GGUF; it belongs to the server. Blocks.

    Args:
        endpoint: The server.
        made: What the model is made of.
        settings: The running settings.
        folder: Where the server keeps its models, as far as known.

    Raises:
        PaddockError: The server runs elsewhere, does not name it, or its folder may not be read.
    """
    where = endpoint.name
    if endpoint.name == DEMO:
        raise PaddockError.of("The demo has no weights", where, "Export it where a server runs", FailureKind.UNSUPPORTED)
    if folder is None and not runs_here(endpoint, settings):
        raise PaddockError.of("The weights are not on this machine", where, "Export it where the server runs", FailureKind.UNSUPPORTED)
    source = next(iter(made.sources), "")
    match = _DIGEST.search(source)
    if match is None:
        raise PaddockError.of("The server does not name one file with the weights", where, "Pull it as a GGUF", FailureKind.UNSUPPORTED)
    places = [Path(source), *([folder / "blobs" / f"sha256-{match[1]}"] if folder is not None else [])]
    for path in places:
        with contextlib.suppress(OSError):
            if path.is_absolute() and path.is_file() and os.access(path, os.R_OK):
                with path.open("rb") as file:
                    if file.read(4) == b"GGUF":
                        return path
    what = "The file with the weights may not be read by you, or is no GGUF"
    remedy = "Join the group of the server's account, or set models_folder of the provider"
    raise PaddockError.of(what, clean_name(str(places[-1]), 1000), remedy, FailureKind.FORBIDDEN)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> Path:
    """Write a text file whole or not at all; returns where it went. A link to a file stays, and the file is written.

    Raises:
        PaddockError: Something is there already, or what is no file (kind REFUSED), or it could not be written.
    """
    shown = clean_name(str(path), 1000)
    try:
        path = path.expanduser().absolute()
        shown = clean_name(str(path), 1000)
        if os.path.lexists(path) and (not path.is_file() or not overwrite):
            what = "There is a file of that name already" if path.is_file() else "This is not a file"
            what = "This is a folder" if path.is_dir() else what
            raise PaddockError.of(what, shown, "Choose another name", FailureKind.REFUSED)
        path = path.resolve()
        work = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as file:
                file.write(text.encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
            work.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                work.unlink()
            raise
        sync_folder(path.parent)
    except (OSError, ValueError, RuntimeError) as error:
        if (failure := limit_of(error)) is not None:
            raise PaddockError.of(failure.what, shown, failure.remedy, failure.kind) from error
        why = clean_name(getattr(error, "strerror", "") or "its name is not usable", 100).lower()
        raise PaddockError.of(f"The file was not written: {why}", shown, "Choose another folder or name", FailureKind.DISK) from error
    return path


def file_name(model: str) -> str:
    """A name for the Modelfile of a model: letters, digits, and what is between them."""
    return (re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.") or "model")[:100] + ".Modelfile"
