"""All GPUs of this machine, whatever told their figures.

Each kind of source is a module of its own with `find`, which looks cheaply whether its kind is there and imports its library only then.
A call may hang or crash inside a driver: use this in the sampler's process, or where that may be.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from tui.hardware.sample import Gpu

FIND_AGAIN: Final = 60.0
"""Seconds before a kind that was not there is looked for again: a driver may be loaded, a card plugged in."""
NO_GPU: Final = "no GPU"
_KINDS: Final = ("nvidia",)


class GpuSource(Protocol):
    """One way to the figures of some GPUs."""

    @property
    def name(self) -> str:
        """As shown: "NVML", "amdgpu"."""
        ...

    @property
    def note(self) -> str:
        """Why it gives nothing, one sentence; empty where it does."""
        ...

    def read(self, wanted: frozenset[str]) -> tuple[Gpu, ...]:
        """Measure; never raises."""
        ...


def _found(kind: str, root: Path) -> GpuSource | None:
    find: Callable[[Path], GpuSource | None] = import_module(f"tui.hardware.{kind}").find
    return find(root)


class Gpus:
    """Reads every source that is here; never raises.

    Args:
        root: The folder with sys, proc and dev; for tests.
        kinds: The modules to look into, in order.
        clock: Monotonic seconds.
    """

    def __init__(self, root: Path = Path("/"), kinds: tuple[str, ...] = _KINDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._kinds = kinds
        self._clock = clock
        self._sources: dict[str, GpuSource] = {}
        self._looked_at: float | None = None
        self.note = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The sources in use, as shown."""
        return tuple(source.name for source in self._sources.values())

    def read(self, wanted: frozenset[str] = frozenset()) -> tuple[Gpu, ...]:
        """Measure; `note` says why there is nothing, or what is missing beside what there is.

        Args:
            wanted: Names of `sample.WANTED`.
        """
        self._look()
        gpus: dict[str, Gpu] = {}
        notes: list[str] = []
        for source in self._sources.values():
            found, note = _asked(source, wanted)
            gpus.update((gpu.uuid, gpu) for gpu in found if gpu.uuid not in gpus)
            if note and note not in notes:
                notes.append(note)
        self.note = "; ".join(notes) if notes else "" if gpus else NO_GPU
        return tuple(gpus.values())

    def _look(self) -> None:
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < FIND_AGAIN:
            return
        self._looked_at = now
        found: dict[str, GpuSource] = {}
        for kind in self._kinds:
            source = self._sources.get(kind)
            try:
                source = source or _found(kind, self._root)
            except Exception:  # a source that cannot be looked for is not there
                continue
            if source is not None:
                found[kind] = source
        self._sources = found


def _asked(source: Any, wanted: frozenset[str]) -> tuple[tuple[Gpu, ...], str]:
    try:
        return source.read(wanted), source.note
    except Exception:  # the others go on
        return (), f"{source.name} gives no figures that can be read"
