"""Finds the folder where a server on this machine keeps its models, and reads it; blocks, so it belongs into a thread."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tui.core.disk import DiskUse
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.record import record
from tui.services.library import disk_use
from tui.services.space import OLLAMA_FOLDERS, runs_here
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.core.jobs import Job
    from tui.core.models import Endpoint, Model
    from tui.providers.ollama_folder import FolderReader, ModelsFolder

BREATH: Final = 0.002
"""Seconds that other threads get after some files: a key must not wait for five thousand manifests."""
ALIKE: Final = 0.5
"""Part of the models a server lists that must lie in a folder for it to be the server's."""
UNITS: Final = tuple(Path(folder) for folder in ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"))
_SET: Final = re.compile(r"^\s*Environment=.*?OLLAMA_MODELS=([^\s\"']+)", re.MULTILINE)
_NO: Final = frozenset({"", "0", "f", "false"})
_MOST_UNIT: Final = 65_536
_REMEDY: Final = "Set models_folder of the provider"


@record(frozen=True)
class Process:
    """What the process of a server says of itself, where we may read it.

    Attributes:
        local: It is the server that holds the port here; a tunnel is none.
        models: Its `OLLAMA_MODELS`.
        keeps: Its `OLLAMA_NOPRUNE`; None where not known.
    """

    local: bool = False
    models: str = ""
    keeps: bool | None = None


@record(frozen=True)
class Look:
    """What was found of one server's folder."""

    folder: ModelsFolder | None = None
    failure: Failure | None = None
    free: int | None = None
    writable: bool = False
    keeps: bool | None = None
    simulated: bool = False


class DiskReader:
    """Reads the folders of servers, each as often as asked; what did not change is not read twice."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._readers: dict[Path, FolderReader] = {}

    def look(self, endpoint: Endpoint, settings: Settings, listed: Sequence[Model], *, here: bool = True) -> Look:
        """Read a server's folder; never raises for what lies there.

        Args:
            endpoint: The server.
            settings: The running settings.
            listed: What the server lists: a folder that holds other models is not its folder.
            here: It runs on this machine, as far as is known.
        """
        provider = settings.providers.get(endpoint.name)
        named = provider.models_folder if provider is not None else ""
        if endpoint.kind != "ollama":
            return Look(failure=_unknown(endpoint, "its kind of server keeps its files in its own way", ""))
        process = look_at(endpoint) if here and runs_here(endpoint, settings) else Process()
        if not named and not process.local:
            return Look(failure=_unknown(endpoint, "it runs elsewhere", f"{_REMEDY}, where its folder is mounted here"))
        failure: Failure | None = None
        for path in _places(named, process, self._environ):
            try:
                found = self._reader(path).read()
            except PaddockError as error:
                if failure is None or error.failure.kind is FailureKind.FORBIDDEN:
                    failure = error.failure
                continue
            problem = strange(found, listed, endpoint)
            if problem is None:
                return Look(found, None, _free(path), os.access(path / "blobs", os.W_OK | os.X_OK), process.keeps)
            failure = problem if failure is None or failure.kind is not FailureKind.FORBIDDEN else failure
        return Look(failure=failure or _unknown(endpoint, "it is in none of the usual places", _REMEDY), keeps=process.keeps)

    def _reader(self, path: Path) -> FolderReader:
        from tui.providers.ollama_folder import FolderReader

        return self._readers.setdefault(path, FolderReader(path, lambda: time.sleep(BREATH)))


def _places(named: str, process: Process, environ: Mapping[str, str]) -> Iterator[Path]:
    """Where a folder may be: what was named is the only one."""
    if named or process.models:
        texts: Sequence[str] = (named or process.models,)
    else:
        texts = (*([environ["OLLAMA_MODELS"]] if environ.get("OLLAMA_MODELS") else []), *_units(), *OLLAMA_FOLDERS)
    for text in texts:
        try:
            yield Path(text.strip().strip("\"'")).expanduser()
        except RuntimeError:  # `~` without a home
            continue


def _units() -> Iterator[str]:
    """`OLLAMA_MODELS` of the systemd service: its process is another account's, so that it tells us nothing."""
    for folder in UNITS:
        try:
            files = [folder / "ollama.service", *sorted((folder / "ollama.service.d").glob("*.conf"))]
        except OSError:
            continue
        for file in files:
            try:
                with file.open(encoding="utf-8", errors="replace") as unit:
                    yield from _SET.findall(unit.read(_MOST_UNIT))
            except OSError:
                continue


def strange(folder: ModelsFolder, listed: Sequence[Model], endpoint: Endpoint) -> Failure | None:
    """Why a folder cannot be this server's; None where it is."""
    shown = clean_name(str(folder.path))
    there = {disk_use.plain(model.name): model.digest for model in folder.models}
    found = [(model.digest, there.get(disk_use.plain(model.key))) for model in listed]
    alike = sum(1 for digest, other in found if other is not None and digest in ("", other))
    if alike >= len(listed) * ALIKE and (listed or not there):
        return None
    if not folder.models and folder.troubles:
        what = f"The models folder cannot be read: {folder.troubles[0].why} ({folder.troubles[0].where})"
        remedy = "Join the group of the server's account, or go by what the server tells"
        return Failure(what, shown, remedy, FailureKind.FORBIDDEN)
    if listed and not there:
        return Failure("The models folder is empty, and the server lists models", shown, _REMEDY, FailureKind.NOT_FOUND)
    return Failure(f"The folder holds other models than {clean_name(endpoint.name)} lists", shown, _REMEDY, FailureKind.CONFIG)


def look_at(endpoint: Endpoint) -> Process:
    """Whoever holds the port of a server at a local address, and what its environment says where we may read it."""
    import psutil

    from tui.providers import ports

    host, port = urlsplit(endpoint.url).hostname or "", urlsplit(endpoint.url).port or 80
    holder = ports.holder(port, host=host)
    if holder is None or holder.is_ssh_tunnel:
        return Process(holder is None)
    if holder.pid is None or "ollama" not in f"{holder.process_name} {holder.command}".lower():
        return Process(True)
    try:
        environ = psutil.Process(holder.pid).environ()
    except (psutil.Error, OSError):
        return Process(True)
    return Process(True, environ.get("OLLAMA_MODELS", ""), environ.get("OLLAMA_NOPRUNE", "").strip().strip("\"'").lower() not in _NO)


def _free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _unknown(endpoint: Endpoint, why: str, remedy: str) -> Failure:
    return Failure(f"The models folder of {clean_name(endpoint.name)} is not known: {why}", endpoint.name, remedy, FailureKind.UNSUPPORTED)


def use_of(
    provider: str,
    models: Sequence[Model],
    look: Look,
    weights: Mapping[str, str],
    jobs: Sequence[Job],
    empties: Mapping[str, float | None],
    *,
    version: str = "",
    now: float = 0.0,
) -> tuple[DiskUse, disk_use.Parts]:
    """All of one server's disk, and of what its models are made.

    Args:
        provider: Its name.
        models: All that it lists, kept ones too.
        look: What its folder tells.
        weights: Digest of the weights by exact name, as far as known.
        jobs: The queue.
        empties: When the trash is emptied of a kept model, by its exact name.
        version: Of the server.
        now: Epoch seconds.
    """
    folder = look.folder
    parts = disk_use.parts_by_folder(models, folder) if folder is not None else disk_use.parts_by_digest(models, weights)
    rows = disk_use.model_rows(provider, models, parts, empties)
    if folder is not None or any(model.digest for model in models):  # an Ollama: others have no downloads of their own
        rows = (*rows, disk_use.partial_row(provider, folder, jobs), disk_use.unused_row(provider, models, folder))
    use = DiskUse(provider, rows, failure=look.failure, free=look.free, keeps=look.keeps, version=version, read_at=now)
    if folder is not None:
        troubles = tuple(f"{trouble.where}: {trouble.why}" for trouble in folder.troubles)
        shown = clean_name(str(folder.path))
        use = replace(
            use, folder=shown, exact=True, writable=look.writable, simulated=look.simulated, damaged=folder.damaged, troubles=troubles
        )
    return use, parts
