"""The demo's disk: simulated like its models, told by its server in a file of the demo's home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tui.core.errors import Failure
from tui.core.jobs import PlanLayer
from tui.providers.ollama_folder import FolderFile, FolderModel, FolderPartial, ModelsFolder
from tui.services.library.disk_read import Look

NAME: Final = "demo-disk.json"
FOLDER: Final = Path("/demo")
"""What the demo's server calls it."""
_KINDS: Final = {"model": "weights", "license": "licence", "params": "parameters"}


def simulated(home: Path, provider: str) -> Look:
    """What lies there; blocks.

    Args:
        home: The demo's.
        provider: Name of its server.
    """
    try:
        said = json.loads((home / NAME).read_bytes())
        return Look(_folder(said), simulated=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        what = "The demo's models are simulated: no files of theirs are there"
        return Look(failure=Failure(what, provider, "Start the demo anew"), simulated=True)


def _folder(said: Any) -> ModelsFolder:
    at = int(said["at"] * 1e9)
    blobs = FOLDER / "blobs"
    models = [
        FolderModel(
            name,
            tuple(PlanLayer(f"sha256:{digest}", size, _KINDS.get(kind, kind)) for kind, digest, size in one["layers"]),
            one["digest"], one["at"], FOLDER / "manifests",
        )
        for name, one in sorted(said["models"].items())
    ]  # fmt: skip
    files = {f"sha256:{digest}": FolderFile(f"sha256:{digest}", blobs / digest, size, size, at) for digest, size in said["blobs"].items()}
    partials = [
        FolderPartial(f"sha256:{digest}", total, done, done, at, at, (blobs / f"{digest}-partial",))
        for digest, (done, total) in said["partials"].items()
    ]
    return ModelsFolder(FOLDER, tuple(models), files, tuple(partials))
