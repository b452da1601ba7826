"""Room for downloads, where the server's disk is this machine's and its folder is known."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tui.config.settings import Settings
from tui.core.jobs import Job, JobKind
from tui.core.models import Endpoint
from tui.core.record import record
from tui.text import clean_name, size

AFTER_FULL: Final = 2 * 10**9
"""Bytes of room beyond the need before a pull that filled the disk goes on."""
OLLAMA_FOLDERS: Final = ("/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models", "~/.ollama/models")
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@record(frozen=True)
class Room:
    """Bytes needed (margin included) and free in a folder; `coming` are those to be fetched, of all jobs counted."""

    needed: int
    free: int
    folder: Path
    coming: int = 0

    @property
    def enough(self) -> bool:
        """Whether the pull may go on."""
        return self.free >= self.needed

    def sentence(self, *, binary: bool = False) -> str:
        """What is missing, in words."""
        needed, free = size(self.needed, binary=binary), size(self.free, binary=binary)
        return f"waits for space: {needed} needed, {free} free in {clean_name(str(self.folder))}"


def runs_here(endpoint: Endpoint, settings: Settings) -> bool:
    """Whether a server is one of this machine, as far as its address and the settings say."""
    provider = settings.providers.get(endpoint.name)
    return (urlsplit(endpoint.url).hostname or "") in LOOPBACK and (provider is None or provider.location != "elsewhere")


def models_folder(endpoint: Endpoint, settings: Settings, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where a server on this machine keeps its models; None where it runs elsewhere or nothing is known."""
    provider = settings.providers.get(endpoint.name)
    if provider is not None and provider.models_folder:
        folder = Path(provider.models_folder).expanduser()
        return folder if folder.exists() else None
    if endpoint.kind != "ollama" or not runs_here(endpoint, settings):
        return None
    places = (environ["OLLAMA_MODELS"],) if environ.get("OLLAMA_MODELS") else OLLAMA_FOLDERS
    for place in places:
        folder = Path(place).expanduser()
        try:
            if folder.is_dir():
                return folder
        except OSError:
            continue
    return None


def to_come(jobs: Iterable[Job], folder_of: Callable[[Job], object] = lambda job: job.endpoint.url) -> int:
    """Bytes that these jobs still bring to one disk; a layer that several of them bring to one folder counts once."""
    layers: dict[tuple[object, str], int] = {}
    rest = 0
    for job in jobs:
        if job.kind is not JobKind.PULL:
            continue
        plan = job.plan
        if plan is not None and plan.layers:
            there = plan.present or frozenset()
            left = {digest: count for digest, count in plan.sizes().items() if digest not in there}
            left |= {layer.digest: max(0, layer.total - layer.completed) for layer in job.layers if layer.digest in left}
            folder = folder_of(job)
            for digest, count in left.items():
                layers[folder, digest] = min(count, layers.get((folder, digest), count))
        else:
            rest += max(0, (job.total or 0) - job.done)
    return sum(layers.values()) + rest


def with_margin(coming: int, settings: Settings) -> int:
    """Bytes that must be free for so many to come: `pulls.margin` or `pulls.keep_free`, whichever asks for more."""
    return max(coming + settings.pulls.keep_free, round(coming * settings.pulls.margin)) if coming else 0


def room_for(job: Job, settings: Settings, others: Iterable[Job] = (), *, extra: int = 0) -> Room | None:
    """How much room a pull needs beside those of `others` on the same disk, and how much there is.

    None where that cannot be known. Asks the disk: call it in a thread.
    """
    try:
        folder = models_folder(job.endpoint, settings)
        if folder is None:
            return None
        device = folder.stat().st_dev
        beside = [other for other in others if other.id != job.id and _device(other.endpoint, settings) == device]
        free = shutil.disk_usage(folder).free
        coming = to_come([job, *beside], lambda one: models_folder(one.endpoint, settings))
    except (OSError, ValueError, RuntimeError):  # no permission; a NUL in the path; `~` without a home
        return None
    return Room(with_margin(coming, settings) + extra, free, folder, coming)


def _device(endpoint: Endpoint, settings: Settings) -> int | None:
    try:
        folder = models_folder(endpoint, settings)
        return None if folder is None else folder.stat().st_dev
    except (OSError, ValueError, RuntimeError):
        return None
