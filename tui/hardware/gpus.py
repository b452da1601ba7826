"""All GPUs of this machine, whatever told their figures.

Each kind of source is a module of its own with `find`, which looks cheaply whether its kind is there and imports its library only then.
A call may hang or crash inside a driver: use this in the sampler's process, or where that may be.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from tui.hardware.sample import Gpu

FIND_AGAIN: Final = 60.0
"""Seconds before a kind that was not there is looked for again: a driver may be loaded, a card plugged in."""
NO_GPU: Final = "no GPU"
KINDS: Final = ("nvidia", "amd", "intel", "apple", "tegra")
"""Modules of this package, in the order in which their GPUs are told."""
LAST_RESORT: Final = "smi"
GIVEN_AWAY: Final = "vfio-pci"
"""The driver of a card that belongs to a virtual machine."""
PROCESSES_TOLD: Final = 2048
"""Processes that are told of all GPUs together; the largest of each."""
_OWN_ROW: Final = ("uuid", "index", "name", "source", "note", "lost", "unified", "memory_total", "memory_used")


class GpuSource(Protocol):
    """One way to the figures of some GPUs."""

    @property
    def name(self) -> str:
        """As shown: "NVML", "amdgpu"."""
        ...

    @property
    def vendor(self) -> str:
        """Who makes these GPUs: "nvidia", "amd", "intel", "apple"; empty where it is for several."""
        ...

    @property
    def note(self) -> str:
        """Why it gives nothing, one sentence; empty where it does."""
        ...

    def read(self, wanted: frozenset[str]) -> tuple[Gpu, ...]:
        """Measure; never raises."""
        ...


class Gpus:
    """Reads every source that is here; never raises.

    Args:
        root: The folder with sys, proc and dev; for tests.
        kinds: The modules to look into, in order.
        clock: Monotonic seconds.
    """

    def __init__(self, root: Path = Path("/"), kinds: tuple[str, ...] = KINDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._kinds = kinds
        self._clock = clock
        self._sources: dict[str, GpuSource] = {}
        self._looked_at: float | None = None
        self._tools: Any = None
        self._tools_for: frozenset[str] = frozenset()
        self._tools_at = float("-inf")
        self._names: tuple[str, ...] = ()
        self._bus: tuple[tuple[str, Path], ...] = ()
        self._bus_at = float("-inf")
        self.note = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The sources that gave figures, as shown; those that should have, where none did."""
        return self._names

    def read(self, wanted: frozenset[str] = frozenset()) -> tuple[Gpu, ...]:
        """Measure; `note` says why there is nothing, where there is nothing.

        Args:
            wanted: Names of `sample.WANTED`.
        """
        self._look()
        told: dict[str, tuple[Gpu, ...]] = {}
        notes: dict[str, str] = {}
        for kind, source in self._sources.items():
            told[kind], note = _asked(source, wanted)
            if note:
                notes[kind] = note
        silent = {source.vendor for kind, source in self._sources.items() if not told[kind]}
        silent -= {source.vendor for kind, source in self._sources.items() if told[kind]}
        found = _merged(told) + self._from_tools(frozenset(silent), wanted, notes)
        self._names = tuple(dict.fromkeys(gpu.source for gpu in found if gpu.source)) or tuple(
            source.name for source in self._sources.values()
        )
        self.note = "" if found else "; ".join(dict.fromkeys(notes.values())) or NO_GPU
        if found and notes:
            found += self._without_figures(notes)
        return _in_rows(found)

    def _look(self) -> None:
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < FIND_AGAIN:
            return
        self._looked_at = now
        found: dict[str, GpuSource] = {}
        for kind in self._kinds:
            source = self._sources.get(kind)
            try:
                source = source or import_module(f"tui.hardware.{kind}").find(self._root)
            except Exception:  # a source that cannot be looked for is not there
                continue
            if source is not None:
                found[kind] = source
        self._sources = found

    def _from_tools(self, silent: frozenset[str], wanted: frozenset[str], notes: dict[str, str]) -> list[Gpu]:
        """What the makers' programs tell of cards whose libraries are silent."""
        now = self._clock()
        if silent != self._tools_for or now - self._tools_at >= FIND_AGAIN:
            if silent != self._tools_for or self._tools is None:
                self._tools = import_module(f"tui.hardware.{LAST_RESORT}").find(self._root, silent) if silent else None
            self._tools_for, self._tools_at = silent, now
        if self._tools is None:
            return []
        found, _note = _asked(self._tools, wanted)
        for kind, source in self._sources.items():
            if source.vendor in self._tools.makers and any(gpu.source for gpu in found):
                notes.pop(kind, None)
        return list(found)

    def _without_figures(self, notes: dict[str, str]) -> list[Gpu]:
        """Cards that are on the bus and of which nothing is told, beside others of which something is."""
        from tui.hardware import pci

        makers = {self._sources[kind].vendor: note for kind, note in notes.items()}
        now = self._clock()
        if now - self._bus_at >= FIND_AGAIN:
            cards = [(maker, device) for maker, device in pci.devices(self._root) if pci.driver(device) != GIVEN_AWAY]
            self._bus, self._bus_at = tuple(cards), now
        return [
            Gpu(f"pci-{device.name}", place, pci.name(self._root, device) or f"GPU {device.name}", note=makers[maker])
            for place, (maker, device) in enumerate(self._bus)
            if maker in makers
        ]


def _asked(source: Any, wanted: frozenset[str]) -> tuple[tuple[Gpu, ...], str]:
    try:
        return source.read(wanted), source.note
    except Exception:  # the others go on
        return (), f"{source.name} gives no figures that can be read"


def _merged(told: dict[str, tuple[Gpu, ...]]) -> list[Gpu]:
    """All GPUs once: a system on a chip is told by NVML and by sysfs, each knowing what the other does not."""
    chip = told.pop("tegra", ())
    found = [gpu for gpus in told.values() for gpu in gpus]
    if chip and any(gpu.unified and not gpu.lost for gpu in told.get("nvidia", ())):
        return [_filled(gpu, chip[0]) if gpu.unified and gpu.source == "NVML" else gpu for gpu in found]
    return found + list(chip)


def _filled(gpu: Gpu, other: Gpu) -> Gpu:
    """A GPU with what another source tells of it, too."""
    lacking = {
        name: value for name, value in vars(other).items() if name not in _OWN_ROW and value is not None and getattr(gpu, name) is None
    }
    return replace(gpu, **lacking)


def _in_rows(gpus: list[Gpu]) -> tuple[Gpu, ...]:
    """Each with a number and identifier of its own.

    Beside a card with memory of its own, models are there: main memory is not told as another GPU's.
    """
    own = any(gpu.memory_total and not gpu.unified for gpu in gpus)
    rows: dict[str, Gpu] = {}
    taken: set[int] = set()
    for gpu in gpus:
        if gpu.uuid in rows:
            continue
        index = gpu.index if gpu.index not in taken else max(taken) + 1
        taken.add(index)
        if index != gpu.index:
            gpu = replace(gpu, index=index)
        if own and gpu.unified and gpu.memory_total:
            gpu = replace(gpu, memory_total=None, memory_used=None, unified=False)
        rows[gpu.uuid] = gpu
    room = PROCESSES_TOLD // max(1, len(rows))
    return tuple(gpu if len(gpu.processes) <= room else _shortened(gpu, room) for gpu in rows.values())


def _shortened(gpu: Gpu, room: int) -> Gpu:
    """With its largest processes only: a sample is one line of limited length."""
    return replace(gpu, processes=tuple(sorted(gpu.processes, key=lambda process: -(process.memory or 0))[:room]))
