"""The list of models that can be pulled: the one that came with the program or a newer copy, and how that copy is made."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tui.core.clock import SYSTEM, Clock
from tui.core.errors import FailureKind, PaddockError
from tui.core.names import ModelName, parse
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.providers.fetch import Reader
from tui.providers.library import CatalogueModel, CatalogueTag, Library, library_of, load_library
from tui.providers.library_json import MAX_BYTES, Read, read_json, write_json
from tui.services.asks import OFFLINE
from tui.services.space import LOOPBACK
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.core.models import Endpoint, Model
    from tui.providers.manifest import Manifest
    from tui.services.plan import Planner

FILE: Final = "catalogue.json"
WITHIN: Final = 20.0
AT_ONCE: Final = 4
MOST_LOOKED_UP: Final = 300
"""Installed models whose manifests are read in one refresh."""


@record(frozen=True)
class Refreshed:
    """What a refresh brought: the list, and what to tell, one sentence."""

    library: Library
    words: str


def read_copy(folder: Path, now: float) -> Library | None:
    """Our copy of a newer list; None where there is none.

    Raises:
        PaddockError: It cannot be read, or is damaged.
    """
    path = folder / FILE
    shown = clean_name(str(path))
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        remedy = "Make it readable, or delete it"
        raise PaddockError.of("The copy of the list of models cannot be read", shown, remedy, FailureKind.DISK, str(error)) from None
    try:
        return read_json(body, shown, now).library
    except PaddockError as error:
        failure = replace(error.failure, what="The copy of the list of models is damaged", remedy="Refresh it, or delete that file")
        raise PaddockError(failure) from None


def write_copy(folder: Path, library: Library) -> None:
    """Keep a list; the file is replaced whole, or not at all.

    Raises:
        PaddockError: It cannot be written (kind DISK).
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{FILE}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(write_json(library))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(folder / FILE)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        shown = clean_name(str(folder / FILE))
        remedy = "Make room there, or make the folder writable"
        raise PaddockError.of("The newer list of models could not be kept", shown, remedy, FailureKind.DISK, str(error)) from None


def newest(folder: Path, now: float) -> tuple[Library, PaddockError | None]:
    """The list to show: our copy where it is not older than what came with the program; and why the copy could not be used."""
    shipped, problem = load_library(), None
    try:
        copy = read_copy(folder, now)
    except PaddockError as error:
        copy, problem = None, error
    return (copy if copy is not None and copy.snapshot >= shipped.snapshot else shipped), problem


def may_ask(settings: Settings, url: str) -> None:
    """Refuse what would leave this machine while `general.network` is offline.

    Raises:
        PaddockError: Of kind REFUSED.
    """
    host = urlsplit(url.strip()).hostname or ""
    if settings.general.network == "offline" and host not in LOOPBACK:
        raise PaddockError.of(f"{clean_name(host, 80)} is not asked", OFFLINE, "Change general.network", FailureKind.REFUSED)


async def fetched(url: str, settings: Settings, clock: Clock = SYSTEM) -> Read:
    """The list at an address (`models.catalogue_url`).

    Raises:
        PaddockError: It cannot be had, or is none.
    """
    may_ask(settings, url)
    reader = Reader(url, "the address of the list", clock=clock)
    try:
        body = (await reader.get(reader.place, WITHIN, MAX_BYTES, anywhere=True)).body
        host, now = reader.host, clock.time()
        return await in_daemon_thread(lambda: read_json(body, host, now, source=host))
    finally:
        await reader.aclose()


async def refreshed_from(url: str, old: Library, settings: Settings, clock: Clock = SYSTEM) -> Refreshed:
    """The list at an address, where it is not older than the one there is.

    Raises:
        PaddockError: It cannot be had, is none, or is older.
    """
    read = await fetched(url, settings, clock)
    new = read.library
    if new.snapshot < old.snapshot:
        what = f"The list there is of {new.snapshot}, older than the one here ({old.snapshot})"
        raise PaddockError.of(what, new.source, "Nothing: the newer one stays", FailureKind.REFUSED)
    left = f"; {read.left_out:,} of its entries made no sense" if read.left_out else ""
    count = f"{len(new.models):,} model{'s' if len(new.models) != 1 else ''}"
    return Refreshed(new, f"{count}, of {new.snapshot}{left}")


async def refreshed_installed(
    pairs: Iterable[tuple[Endpoint, Model]], old: Library, planner: Planner, settings: Settings, clock: Clock = SYSTEM
) -> Refreshed:
    """The list with today's facts of what is installed, out of the registries' manifests.

    Args:
        pairs: Installed models and their servers; those that are not in the list are left alone.
        old: The list.
        planner: Knows where registries are.
        settings: For the network.
        clock: For the day.

    Raises:
        PaddockError: Nothing of what is installed is in the list, or no registry answered.
    """
    wanted = _listed(pairs, old)
    if not wanted:
        what = "Nothing that is installed is in the list of models"
        raise PaddockError.of(what, "", "Set models.catalogue_url to the address of a newer list", FailureKind.NOT_FOUND)
    found: dict[str, Manifest] = {}
    failures: list[PaddockError] = []
    waiting = list(wanted.items())[:MOST_LOOKED_UP]

    async def work() -> None:
        while waiting and len(failures) < AT_ONCE:
            key, (name, endpoint) = waiting.pop()
            try:
                found[key] = await _manifest(name, endpoint, planner, settings, clock)
            except PaddockError as error:
                if error.failure.kind is not FailureKind.NOT_FOUND:
                    failures.append(error)

    await asyncio.gather(*(work() for _each in range(AT_ONCE)))
    if not found and failures:
        raise failures[0]
    day = time.strftime("%Y-%m-%d", time.gmtime(clock.time()))
    missed = f"; {len(wanted) - len(found)} could not be looked up" if len(found) < len(wanted) else ""
    count = f"{len(found)} installed model{'s' if len(found) != 1 else ''}"
    return Refreshed(with_manifests(old, found, day), f"sizes of {count} are of today{missed}")


def _listed(pairs: Iterable[tuple[Endpoint, Model]], old: Library) -> dict[str, tuple[ModelName, Endpoint]]:
    wanted: dict[str, tuple[ModelName, Endpoint]] = {}
    for endpoint, model in pairs:
        if not model.remote and old.model(model.key) is not None:
            name = parse(model.key)
            wanted.setdefault(name.key, (name, endpoint))
    return wanted


async def _manifest(name: ModelName, endpoint: Endpoint, planner: Planner, settings: Settings, clock: Clock) -> Manifest:
    from tui.providers.manifest import Registry

    url = planner.address(endpoint, name)
    may_ask(settings, url)
    registry = Registry(url, key=planner.key_for(url), clock=clock)
    try:
        return await registry.manifest(name)
    finally:
        await registry.aclose()


def with_manifests(old: Library, found: Mapping[str, Manifest], day: str) -> Library:
    """The list with the facts of some manifests, which are of `day`; tags that it did not have are added."""
    by_model: dict[str, dict[str, CatalogueTag]] = {}
    for key, manifest in found.items():
        model = old.model(key)
        if model is not None:
            tag = parse(key).tag
            context = manifest.context or next((one.context for one in model.tags if one.tag.lower() == tag), None)
            size = sum(layer.size for layer in manifest.layers) or None
            made = CatalogueTag(tag, size, context, manifest.digest[:12], manifest.remote, manifest.quantization, dated=day)
            by_model.setdefault(model.name, {})[tag] = made
    models = (_with_tags(model, by_model.get(model.name, {})) for model in old.models)
    return library_of(models, old.snapshot, old.source)


def _with_tags(model: CatalogueModel, new: Mapping[str, CatalogueTag]) -> CatalogueModel:
    if not new:
        return model
    kept = [replace(new[tag.tag.lower()], tag=tag.tag) if tag.tag.lower() in new else tag for tag in model.tags]
    names = {tag.tag.lower() for tag in model.tags}
    return replace(model, tags=(*kept, *(tag for name, tag in new.items() if name not in names)))
