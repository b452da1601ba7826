"""The real binding with a stand-in for the driver's library: a loaded `libnvidia-ml.so.1`, each time in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.hardware.stub import build, environment
from tests.support.screen import FORBIDDEN
from tui.hardware.nvidia import _loadable
from tui.hardware.sample import Gpu, Sample
from tui.hardware.sample_line import parse_sample

HERE = Path(__file__).parents[2]
READ = """
import sys
from tui.hardware.gpus import Gpus
from tui.hardware.nvidia import Nvidia
from tui.hardware.sample import GPU_DETAIL, GPU_PROCESSES, Sample
from tui.hardware.sample_line import format_sample
now = 0.0
source = Nvidia(clock=lambda: now)
print("ready", flush=True)
for now in {times}:
    gpus = source.read(frozenset(({wanted})))
    sys.stdout.buffer.write(format_sample(Sample(time=1.0, gpus=gpus, gpu_note=source.note)))
    sys.stdout.buffer.flush()
"""
COST = """
import json, time
from tui.hardware.nvidia import Nvidia
from tui.hardware.sample import GPU_PROCESSES
now = 0.0
source = Nvidia(clock=lambda: now)
source.read(frozenset({GPU_PROCESSES}))
began = time.process_time()
for now in range(1, 61):
    found = source.read(frozenset({GPU_PROCESSES}))
print(json.dumps([len(found), sum(len(gpu.processes) for gpu in found), (time.process_time() - began) / 60]))
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build(tmp_path_factory.mktemp("nvml"))
    if folder is None:
        pytest.skip("no C compiler (cc) to build the stand-in for libnvidia-ml.so.1")
    return folder


@contextmanager
def started(library: Path, behaviour: str, program: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=HERE,
        env=environment(library, behaviour),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate(timeout=30)


def read(library: Path, behaviour: str, *times: float, wanted: str = "GPU_DETAIL, GPU_PROCESSES") -> list[Sample]:
    """Samples at some times of the sources' clock."""
    with started(library, behaviour, READ.format(times=list(times) or [0.0], wanted=wanted)) as child:
        out, error = child.communicate(timeout=60)
    assert child.returncode == 0, error.decode()
    found = [parse_sample(line) for line in out.splitlines()[1:]]
    assert found and None not in found
    return [sample for sample in found if sample is not None]


def gpus(library: Path, behaviour: str, *times: float) -> tuple[Gpu, ...]:
    return read(library, behaviour, *times)[-1].gpus


def test_the_real_binding_gives_every_figure(library: Path):
    first, second = gpus(library, "fine", 0.0, 1.0)
    assert (first.uuid, second.uuid, first.index, second.index) == ("GPU-ffff", "GPU-fffe", 0, 1)
    figures: dict[str, Any] = {
        "name": "NVIDIA Stub 3090",
        "percent": 97.0,
        "memory_percent": 40.0,
        "memory_total": 24 * 2**30,
        "memory_used": 8 * 2**30,
        "temperature": 71.0,
        "power": 312.4,
        "power_limit": 350.0,
        "fan": 62.0,
        "clock": 1695.0,
        "clock_max": 2100.0,
        "memory_clock": 9501.0,
        "pcie_generation": 3,
        "pcie_generation_max": 4,
        "pcie_width": 8,
        "pcie_width_max": 16,
        "pcie_sent": 1000 * 1024.0,
        "pcie_received": 2000 * 1024.0,
        "throttle": ("thermal", "power"),
        "ecc_corrected": 12,
        "ecc_uncorrected": 1,
    }
    assert {name: getattr(first, name) for name in figures} == figures
    assert [(one.pid, one.memory, one.percent) for one in first.processes] == [(812, 6 << 28, 55.0)]
    assert second.ecc_corrected is None


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("mismatch", "driver and library versions differ; reboot or reload the driver"),
        ("unloaded", "the NVIDIA driver is not loaded"),
        ("denied", "no permission to ask the GPU driver"),
        ("none", "no NVIDIA GPU"),
    ],
)
def test_G01_G02_what_is_wrong_is_one_sentence(library: Path, behaviour: str, words: str):
    (sample,) = read(library, behaviour)
    assert sample.gpus == () and sample.gpu_note == words


@pytest.mark.skipif(_loadable(), reason="this machine has NVIDIA's own library")
def test_G01_a_machine_without_the_library(tmp_path: Path):
    (sample,) = read(tmp_path, "fine")
    assert sample.gpus == () and "libnvidia-ml.so.1" in sample.gpu_note


@pytest.mark.parametrize("behaviour", ["lost", "handle"])
def test_G03_P31_one_of_two_cards_is_lost(library: Path, behaviour: str):
    lost, other = gpus(library, behaviour, 0.0, 30.0, 61.0)
    assert lost.lost and "lost" in lost.note and lost.percent is None
    assert not other.lost and other.percent == 97.0


def test_G04_P31_a_query_that_hangs_leaves_a_process_that_can_be_killed(library: Path):
    with started(library, "hang", READ.format(times=[0.0], wanted="")) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
        child.kill()
        assert child.wait(10) == -signal.SIGKILL


def test_G05_P31_a_library_that_crashes_ends_its_process_only(library: Path):
    with started(library, "crash", READ.format(times=[0.0], wanted="")) as child:
        out, _error = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGSEGV and out == b"ready\n"


def test_G06_values_and_names_that_cannot_be(library: Path):
    first, second = gpus(library, "odd")
    assert first.name.startswith("RTX") and not FORBIDDEN & set(first.name)
    empty = ("percent", "memory_percent", "memory_used", "temperature", "power", "power_limit", "fan", "clock", "clock_max", "pcie_width")
    assert [name for gpu in (first, second) for name in (*empty, "pcie_sent", "ecc_corrected") if getattr(gpu, name) is not None] == []
    assert (first.memory_total, second.memory_total) == (2**30, None)
    assert [(one.memory, one.percent) for one in first.processes] == [(None, None)]


def test_G07_sixteen_cards_in_the_order_of_the_bus(library: Path):
    found = gpus(library, "many")
    assert [gpu.index for gpu in found] == list(range(16))
    assert [gpu.uuid for gpu in found] == [f"GPU-{0xFFFF - index:04x}" for index in range(16)]


def test_G07_a_divided_card_has_instances_and_their_processes(library: Path):
    first, second = gpus(library, "mig")
    assert [(part.uuid, part.name) for part in first.mig] == [("MIG-ffff-1", "3g.20gb"), ("MIG-ffff-2", "3g.20gb")]
    assert [(one.pid, one.instance) for one in first.processes] == [(813, "MIG-ffff-1"), (814, "MIG-ffff-2")]
    assert second.mig == ()


def test_G08_an_old_driver_with_older_functions(library: Path):
    (first, _second) = gpus(library, "old")
    assert first.throttle == ("hardware",) and [one.pid for one in first.processes] == [812]


def test_G08_a_card_that_tells_only_its_name(library: Path):
    (first, _second) = gpus(library, "poor", 0.0, 5.0)
    assert first.name == "NVIDIA Stub 3090" and first.percent is None and first.note == "" and not first.unified


def test_eight_cards_with_a_hundred_processes_each_cost_little(library: Path):
    with started(library, "busy", COST) as child:
        out, error = child.communicate(timeout=60)
    assert child.returncode == 0, error.decode()
    cards, processes, seconds = json.loads(out)
    assert (cards, processes) == (8, 800)
    assert seconds < 0.02, f"{1000 * seconds:.1f} ms a reading"
