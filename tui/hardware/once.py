"""Everything measured by whoever asks, without the sampler: for commands. A GPU driver that hangs, hangs the caller."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tui.hardware.cgroup import ControlGroup
from tui.hardware.cpu import Processor
from tui.hardware.disks import Filesystems
from tui.hardware.memory import MainMemory
from tui.hardware.network import Interfaces
from tui.hardware.power import read_power
from tui.hardware.sample import CORES, GPU_PROCESSES, PROCESSES, Sample


class Meter:
    """Measures again and again; rates are between two readings, and missing in the first.

    Args:
        disks: Folders whose filesystems are watched.
        gpu: Also the GPUs.
        wanted: Names of `sample.WANTED`.
        root: Where `/proc` and `/sys` are.
    """

    def __init__(self, disks: Sequence[str] = (), gpu: bool = True, wanted: frozenset[str] = frozenset(), root: Path = Path("/")) -> None:
        self._wanted = wanted
        self._processor, self._memory = Processor(root), MainMemory(root)
        self._disks, self._network, self._group = Filesystems(disks, root), Interfaces(root), ControlGroup(root)
        self._root = root
        self._gpus = self._processes = self._names = None
        if gpu:
            from tui.hardware.gpus import Gpus

            self._gpus = Gpus(root)
        if {PROCESSES, GPU_PROCESSES} & wanted:
            from tui.hardware.processes import Names, Processes

            self._processes = Processes(root) if PROCESSES in wanted else None
            self._names = Names(root) if GPU_PROCESSES in wanted else None
        self._at: float | None = None

    def read(self) -> Sample:
        """Measure since the last reading."""
        before, self._at = self._at, time.monotonic()
        gpus = self._gpus.read(self._wanted) if self._gpus is not None else ()
        if self._names is not None:
            from tui.hardware.processes import named

            gpus = named(gpus, self._names.who)
        found = self._processes.read() if self._processes is not None else None
        return Sample(
            time=round(time.time(), 3),
            seconds=None if before is None else round(self._at - before, 3),
            cpu=self._processor.read(CORES in self._wanted),
            memory=self._memory.read(),
            disks=self._disks.read(),
            network=self._network.read(),
            gpus=gpus,
            gpu_note=self._gpus.note if self._gpus is not None else "",
            cgroup=self._group.read(),
            power=read_power(self._root),
            processes=found.processes if found is not None else (),
            hidden_processes=found.hidden if found is not None else 0,
        )


def sample_once(disks: Sequence[str] = (), gpu: bool = True, seconds: float = 0.5, wanted: frozenset[str] = frozenset()) -> Sample:
    """Measure twice, so that there are rates.

    Args:
        disks: Folders whose filesystems are watched.
        gpu: Also the GPUs.
        seconds: Between the two; the kernel counts in hundredths, so less than 0.2 tells nothing about percents.
        wanted: Names of `sample.WANTED`.
    """
    meter = Meter(disks, gpu, wanted)
    meter.read()
    time.sleep(seconds)
    return meter.read()
