"""A machine for the program on a pseudo-terminal: NVIDIA's library is the one of C in `tests/hardware`, whose behaviour a test chooses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support.pty import ROOT, Terminal

if TYPE_CHECKING:
    from tests.app.conftest import Home

_HOOK: Final = """
import importlib.abc, importlib.machinery, json, os, sys

TUNED = json.loads(os.environ["TUNED"])
if "sampler" in sys.argv:
    sys.argv += ["--root", os.environ["MACHINE"]]

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in TUNED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), vars(module).update(TUNED[name]))
        return spec

sys.meta_path.insert(0, Finder())
"""
HASTY: Final[dict[str, dict[str, Any]]] = {
    "tui.sampler.lanes": {"FIRST": 0.0},
    "tui.services.monitor.sampling": {"SILENT_AFTER": 2.0, "PAUSES": [0.05]},
}
"""Modules and what is other in them: seconds for which a hanging driver is waited for, and pauses before another sampler."""


class Machine:
    """Starts the program of a home on it.

    Args:
        library: The folder of the library.
        folder: For what only this machine has.
    """

    def __init__(self, home: Home, library: Path, folder: Path) -> None:
        self._home = home
        self._library = library
        self._root, self._hook = folder / "root", folder / "hook"
        (self._root / "dev").mkdir(parents=True)
        (self._root / "dev/nvidiactl").touch()
        for part in ("proc", "sys"):
            (self._root / part).symlink_to(f"/{part}")
        self._hook.mkdir()
        (self._hook / "sitecustomize.py").write_text(_HOOK)

    def start(self, behaviour: str, *arguments: str, rows: int = 24, cols: int = 80, tuned: dict[str, Any] | None = None) -> Terminal:
        """Start the program beside a library that behaves so; see `libnvml.c`."""
        environment = {
            "LD_LIBRARY_PATH": str(self._library),
            "NVML_STUB": behaviour,
            "MACHINE": str(self._root),
            "TUNED": json.dumps(tuned or {}),
            "PYTHONPATH": f"{self._hook}:{ROOT}",
        }
        return self._home.start(*arguments, rows=rows, cols=cols, env=environment)

    def monitor(self, behaviour: str, **more: Any) -> Terminal:
        """The same, with the Monitor on the screen."""
        terminal = self.start(behaviour, **more)
        terminal.wait_for("1 Providers")
        terminal.send("\x075")
        terminal.wait_for("last 2 min")
        return terminal
