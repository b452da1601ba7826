"""Room for a download, where the server's disk is this machine's and its folder is known."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tui.config.settings import Settings
from tui.core.models import Endpoint, Job
from tui.core.record import record
from tui.text import clean_name, size

AFTER_FULL: Final = 2 * 10**9
"""Bytes of room beyond the need before a pull that filled the disk goes on."""
_OLLAMA_FOLDERS: Final = ("/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models", "~/.ollama/models")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@record(frozen=True)
class Room:
    """Bytes needed and free in a folder."""

    needed: int
    free: int
    folder: Path

    @property
    def enough(self) -> bool:
        """Whether the pull may go on."""
        return self.free >= self.needed

    def sentence(self) -> str:
        """What is missing, in words."""
        return f"waits for space: {size(self.needed)} needed, {size(self.free)} free in {clean_name(str(self.folder))}"


def models_folder(endpoint: Endpoint, settings: Settings, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where a server on this machine keeps its models; None where it runs elsewhere or nothing is known."""
    provider = settings.providers.get(endpoint.name)
    if provider is not None and provider.models_folder:
        folder = Path(provider.models_folder).expanduser()
        return folder if folder.exists() else None
    if provider is not None and provider.location == "elsewhere":
        return None
    if endpoint.kind != "ollama" or (urlsplit(endpoint.url).hostname or "") not in _LOOPBACK:
        return None
    places = (environ["OLLAMA_MODELS"],) if environ.get("OLLAMA_MODELS") else _OLLAMA_FOLDERS
    for place in places:
        folder = Path(place).expanduser()
        try:
            if folder.is_dir():
                return folder
        except OSError:
            continue
    return None


def room_for(job: Job, settings: Settings, *, extra: int = 0) -> Room | None:
    """How much room a pull needs now and how much there is; None where that cannot be known. Asks the disk."""
    hint = job.arguments.get("size")
    total = job.total or (hint if isinstance(hint, int) else 0)
    left = max(0, total - job.done)
    try:
        folder = models_folder(job.endpoint, settings)
        if folder is None:
            return None
        free = shutil.disk_usage(folder).free
    except (OSError, ValueError, RuntimeError):  # no permission; a NUL in the path; `~` without a home
        return None
    needed = max(left + settings.pulls.keep_free, round(left * settings.pulls.margin)) + extra
    return Room(needed, free, folder)
