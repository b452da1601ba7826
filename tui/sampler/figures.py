"""The sources of this machine's figures, and a sample of what each of them said last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tui.hardware.cgroup import ControlGroup
from tui.hardware.cpu import Processor
from tui.hardware.disks import Filesystems
from tui.hardware.memory import MainMemory
from tui.hardware.network import Interfaces
from tui.hardware.power import read_power
from tui.hardware.processes import UNASKED, Names, Processes, Who, named
from tui.hardware.sample import CORES, GPU_PROCESSES, MACHINE_SOURCES, PROCESSES, Cpu, Gpu, GpuProcess, Memory, Network, Sample
from tui.hardware.sample_line import LINE_LIMIT, format_sample, parse_sample
from tui.sampler.lanes import Lane, Lanes
from tui.text import duration

if TYPE_CHECKING:
    from tui.hardware.gpus import Gpus

STALE: Final = 10.0
"""Seconds of silence from which old figures are no figures."""
_MOST: Final = (None, 256, 64, 16, 0)
"""Processes of each GPU that a line has, as far as it has room; the largest."""
_TRIED: Final = 10
_POWER: Final = 10.0
_PROCESSES: Final = 3.0
_WHO: Final = 2.0
_PROCESSOR, _MEMORY, _DISKS, _NETWORK, _GROUP, _SUPPLY, _LARGEST, _NAMES = MACHINE_SOURCES


class Figures:
    """Measures everything that is wanted, each source on its own.

    Args:
        disks: Folders whose filesystems are watched.
        gpu: Also the GPUs.
        interval: Seconds between two samples.
        root: Where `/proc` and `/sys` are.
    """

    def __init__(self, disks: Sequence[str], gpu: bool, interval: float, root: Path = Path("/")) -> None:
        self._interval = interval
        self._root = root
        self._gpus: Gpus | None = None
        self._names = Names(root)
        processor = Processor(root)
        lanes = [
            Lane(_PROCESSOR, lambda names: processor.read(CORES in names)),
            Lane(_MEMORY, _always(MainMemory(root).read)),
            Lane(_DISKS, _always(Filesystems(disks, root).read)),
            Lane(_NETWORK, _always(Interfaces(root).read)),
            Lane(_GROUP, _always(ControlGroup(root).read)),
            Lane(_SUPPLY, _always(partial(read_power, root)), every=_POWER),
            Lane(_LARGEST, _always(Processes(root).read), every=_PROCESSES, wanted=frozenset({PROCESSES})),
        ]
        if gpu:
            lanes.append(Lane("GPU", self._read_gpus, note=self._gpu_note, label=self._gpu_names))
            lanes.append(Lane(_NAMES, self._read_names, every=_WHO, wanted=frozenset({GPU_PROCESSES})))
        self._lanes = {lane.name: lane for lane in lanes}
        self.lanes = Lanes(tuple(lanes), interval)
        self._before: float | None = None

    def sample(self, names: frozenset[str]) -> Sample:
        """What each source said last."""
        now = time.monotonic()
        before, self._before = self._before, now
        found = {lane.name: None if lane.silent(now, self._interval) > STALE else lane.result for lane in self._lanes.values()}
        largest = found.get(_LARGEST)
        gpus, note = self._shown_gpus(found, now)
        return Sample(
            time=round(time.time(), 3),
            seconds=None if before is None else round(now - before, 3),
            cpu=found[_PROCESSOR] or Cpu(),
            memory=found[_MEMORY] or Memory(),
            disks=found[_DISKS] or (),
            network=found[_NETWORK] or Network(),
            gpus=gpus,
            gpu_note=note,
            cgroup=found[_GROUP],
            power=found[_SUPPLY],
            processes=largest.processes if largest else (),
            hidden_processes=largest.hidden if largest else 0,
            sources=self.lanes.told(now, names),
        )

    def _shown_gpus(self, found: dict[str, Any], now: float) -> tuple[tuple[Gpu, ...], str]:
        lane = self._lanes.get("GPU")
        if lane is None:
            return (), ""
        silent = lane.silent(now, self._interval)
        if silent >= 1:
            note = f"GPU data: no answer for {duration(silent)}"
        elif not lane.answered:
            note = "waiting for the GPU driver"
        else:
            note = self._gpu_note()
        gpus: tuple[Gpu, ...] = found["GPU"] or ()
        who = found.get(_NAMES)
        if gpus and who is not None:
            gpus = named(gpus, lambda pid: who.get(pid, UNASKED))
        return gpus, note

    def _read_gpus(self, names: frozenset[str]) -> tuple[Gpu, ...]:
        if self._gpus is None:
            from tui.hardware.gpus import Gpus

            self._gpus = Gpus(self._root)
        found: tuple[Gpu, ...] = self._gpus.read(names)
        return found

    def _gpu_note(self) -> str:
        return self._gpus.note if self._gpus is not None else ""

    def _gpu_names(self) -> str:
        return ", ".join(self._gpus.names) if self._gpus is not None else ""

    def _read_names(self, _names: frozenset[str]) -> dict[int, Who | None]:
        """Apart from the driver: the command line of a process that hangs may hang who reads it."""
        pids = {process.pid for gpu in self._lanes["GPU"].result or () for process in gpu.processes}
        self._names.forget(pids)
        return {pid: self._names.who(pid) for pid in pids}


class Lines:
    """Writes samples as lines that are accepted: without the GPUs, or some of their processes, where they would not be with them.

    That is tried with one line of `_TRIED`; a reader leaves out some lines that it does not understand.
    """

    def __init__(self) -> None:
        self._until_tried = 0

    def line(self, sample: Sample) -> bytes:
        """The line."""
        for most in _MOST:
            if most is not None:
                sample = replace(sample, gpus=tuple(replace(gpu, processes=_largest(gpu.processes, most)) for gpu in sample.gpus))
            try:
                line = format_sample(sample)
            except ValueError:  # a number that is none
                break
            if len(line) <= LINE_LIMIT:
                self._until_tried -= 1
                if self._until_tried > 0:
                    return line
                if parse_sample(line) is None:
                    break
                self._until_tried = _TRIED
                return line
        self._until_tried = 0
        return format_sample(replace(sample, gpus=(), gpu_note="GPU data: figures that cannot be"))


def _largest(processes: tuple[GpuProcess, ...], most: int) -> tuple[GpuProcess, ...]:
    return tuple(sorted(processes, key=lambda process: -(process.memory or 0))[:most])


def _always(read: Callable[[], Any]) -> Callable[[frozenset[str]], Any]:
    return lambda _names: read()
