"""A sample of what each source said last: GPUs whose driver hangs, names of their processes, days of it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hardware.tree import Tree
from tui.hardware import gpus as module
from tui.hardware.sample import GPU_PROCESSES, WANTED, Gpu, GpuProcess, Memory, Sample
from tui.hardware.sample_line import LINE_LIMIT, format_sample, parse_sample
from tui.sampler import figures as figures_module
from tui.sampler.figures import Figures, Lines

NOBODY: frozenset[str] = frozenset()


class Fake:
    note = ""
    names = ("NVML", "amdgpu")

    def __init__(self, root: Path) -> None:
        self.hold = threading.Event()
        self.hold.set()
        self.made.append(self)

    made: list[Fake]

    def read(self, wanted: frozenset[str]) -> tuple[Gpu, ...]:
        self.hold.wait(30)
        processes = (GpuProcess(5, 100), GpuProcess(6, 50)) if GPU_PROCESSES in wanted else ()
        return (Gpu("GPU-0", 0, percent=50.0, processes=processes),)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Figures, Tree]]:
    tree = Tree(tmp_path)
    tree.stat([(1, 1)] * 2)
    tree.meminfo(MemTotal=1000, MemAvailable=500)
    tree.process(5, "ollama", anon=100)
    Fake.made = []
    monkeypatch.setattr(module, "Gpus", Fake)
    made = Figures([], True, 1.0, tmp_path)
    yield made, tree
    for fake in Fake.made:
        fake.hold.set()
    made.lanes.close()


def measured(figures: Figures, now: float, names: frozenset[str]) -> Any:
    figures.lanes.start(now, names)
    assert select.select([figures.lanes.heard], [], [], 10)[0]
    os.read(figures.lanes.heard, 100)
    return figures.sample(names)


def test_names_of_what_is_on_a_gpu_come_while_they_are_wanted(machine: tuple[Figures, Tree]):
    figures, _tree = machine
    assert measured(figures, 1.0, NOBODY).gpus == (Gpu("GPU-0", 0, percent=50.0),)
    wanted = frozenset({GPU_PROCESSES})
    for turn in range(2, 6):
        sample = measured(figures, float(turn), wanted)
    (gpu,) = sample.gpus
    assert gpu.processes == (GpuProcess(5, 100, None, "ollama", "root"), GpuProcess(6, 50))
    assert gpu.hidden == 1
    assert "NVML, amdgpu" in {source.name for source in sample.sources}
    assert parse_sample(format_sample(sample)) == sample


def test_P31_a_driver_that_hangs_has_old_figures_first_and_then_none(machine: tuple[Figures, Tree], monkeypatch: pytest.MonkeyPatch):
    figures, tree = machine
    assert measured(figures, 1.0, NOBODY).gpus
    Fake.made[0].hold.clear()
    silent = [0.0]
    lane = figures._lanes["GPU"]
    monkeypatch.setattr(lane, "silent", lambda now, interval: silent[0])
    tree.meminfo(MemTotal=1000, MemAvailable=400)
    figures.lanes.start(time.monotonic(), NOBODY)
    others = [lane for lane in figures._lanes.values() if lane.name != "GPU"]
    while any(lane._busy for lane in others):
        time.sleep(0.001)
    silent[0] = 0.04
    assert figures.sample(NOBODY).gpu_note == "", "not worth a word"
    silent[0] = 4.0
    sample = figures.sample(NOBODY)
    assert sample.gpus and sample.gpu_note == "GPU data: no answer for 4.0s"
    silent[0] = figures_module.STALE + 1
    sample = figures.sample(NOBODY)
    assert sample.gpus == () and sample.gpu_note == "GPU data: no answer for 11s"
    assert next(source for source in sample.sources if source.name.startswith("NVML")).silent == 11.0
    assert sample.memory.total == 1_024_000


def test_a_driver_that_has_not_answered_yet(machine: tuple[Figures, Tree]):
    figures, _tree = machine
    sample = figures.sample(NOBODY)
    assert (sample.gpus, sample.gpu_note, sample.seconds) == ((), "waiting for the GPU driver", None)


def test_P77_rounds_of_it_leave_nothing(machine: tuple[Figures, Tree]):
    figures, _tree = machine
    wanted = frozenset(WANTED)
    measured(figures, 0.0, wanted)
    threads = threading.active_count()
    for turn in range(1, 100):
        measured(figures, float(turn), wanted if turn % 2 else NOBODY)
    assert threading.active_count() <= threads + 1


def test_a_line_that_would_be_too_long_has_fewer_processes():
    processes = tuple(GpuProcess(pid, pid, None, "x" * 60, "user") for pid in range(1, 2000))
    sample = Sample(1.0, gpus=tuple(Gpu(f"GPU-{index}", index, processes=processes) for index in range(8)))
    line = Lines().line(sample)
    found = parse_sample(line)
    assert found is not None and len(line) <= LINE_LIMIT
    assert [process.pid for process in found.gpus[7].processes] == list(range(1999, 1999 - 256, -1))


@pytest.mark.parametrize(
    "gpu", [Gpu("u", 0, percent=float("nan")), Gpu("u", 0, percent=101.0), Gpu("u", -1), Gpu("u", 0, ecc_corrected=2**64)]
)
def test_G06_a_driver_whose_figures_cannot_be_costs_its_own_only(gpu: Gpu):
    lines, good = Lines(), Gpu("v", 1)
    assert parse_sample(lines.line(Sample(0.0, gpus=(good,)))) is not None
    found = [parse_sample(lines.line(Sample(1.0, memory=Memory(total=5), gpus=(gpu,)))) for _ in range(40)]
    assert found.count(None) < 10
    assert all(sample is not None and sample.memory.total == 5 for sample in found[10:])
    assert {(sample.gpus, sample.gpu_note) for sample in found[10:] if sample} == {((), "GPU data: figures that cannot be")}
    again = parse_sample(lines.line(Sample(2.0, gpus=(good,))))
    assert again is not None and again.gpus == (good,)
