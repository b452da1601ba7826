"""All sources together: which are asked, what is told of GPUs of several makers, and what where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.hardware import trees_gpu as trees
from tests.hardware.stub import Stub
from tui.hardware import gpus as module
from tui.hardware import nvidia, smi
from tui.hardware.gpus import NO_GPU, Gpus
from tui.hardware.nvidia import Nvidia
from tui.hardware.sample import Gpu, Sample
from tui.hardware.sample_line import LINE_LIMIT, format_sample


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """NVIDIA's library in place of the real one."""
    library = Stub()
    monkeypatch.setattr(nvidia, "_import", lambda: library)
    monkeypatch.setattr(smi.shutil, "which", lambda _program: None)
    return library


def with_nvidia(root: Path) -> None:
    trees.device(root, "0000:65:00.0", 0x10DE, 0x2204, "nvidia")


def test_G01_a_machine_without_any_gpu(tmp_path: Path):
    source = Gpus(tmp_path)
    assert source.read() == () and source.note == NO_GPU == "no GPU" and source.names == ()


def test_G01_a_vendor_that_has_no_cards_imports_no_library(tmp_path: Path, stub: Stub):
    trees.amd(tmp_path)
    before = set(sys.modules)
    source = Gpus(tmp_path)
    assert [gpu.source for gpu in source.read()] == ["amdgpu"]
    assert source.names == ("amdgpu",) and source.note == "" and not stub.calls
    assert not {"pynvml", "amdsmi", "tui.hardware.amdsmi_facts"} & (set(sys.modules) - before)


@pytest.mark.parametrize(
    "sign", ["dev/nvidiactl", "proc/driver/nvidia/version", "usr/lib/wsl/lib/libnvidia-ml.so.1", "sys/bus/pci/devices/x/vendor"]
)
def test_G01_what_suggests_an_nvidia_card(tmp_path: Path, sign: str):
    assert nvidia.find(tmp_path) is None
    trees.write(tmp_path, {sign: "0x10de\n", "sys/bus/pci/devices/x/class": "0x030200\n"})
    assert nvidia.find(tmp_path) is not None


def test_several_makers_side_by_side_have_numbers_of_their_own(tmp_path: Path, stub: Stub):
    with_nvidia(tmp_path)
    trees.amd(tmp_path)
    source = Gpus(tmp_path)
    found = source.read()
    assert [(gpu.index, gpu.source) for gpu in found] == [(0, "NVML"), (1, "NVML"), (2, "amdgpu")]
    assert source.names == ("NVML", "amdgpu") and source.note == ""
    assert stub.asked("nvmlDeviceGetUtilizationRates") == 2


def test_shared_memory_is_no_gpu_memory_beside_a_card(tmp_path: Path, stub: Stub):
    with_nvidia(tmp_path)
    trees.write(trees.device(tmp_path, "0000:c1:00.0", 0x1002, 0x15BF, "amdgpu"), trees.APU)
    shared = Gpus(tmp_path).read()[-1]
    assert (shared.source, shared.unified, shared.memory_total, shared.memory_used) == ("amdgpu", False, None, None)
    stub.cards = 0
    alone = Gpus(tmp_path).read()[0]
    assert alone.unified and alone.memory_total


def test_G02_a_driver_that_refuses_beside_a_card_that_works_has_a_row_that_says_so(tmp_path: Path, stub: Stub):
    with_nvidia(tmp_path)
    trees.amd(tmp_path)
    stub.init_error = 18
    source = Gpus(tmp_path)
    works, refuses = source.read()
    assert works.source == "amdgpu" and source.note == ""
    assert refuses.note == "driver and library versions differ; reboot or reload the driver"
    assert (refuses.uuid, refuses.index, refuses.percent) == ("pci-0000:65:00.0", 1, None)


def test_a_card_that_belongs_to_a_virtual_machine_has_no_row(tmp_path: Path, stub: Stub):
    trees.device(tmp_path, "0000:65:00.0", 0x10DE, 0x2204, "vfio-pci")
    trees.amd(tmp_path)
    stub.init_error = 12
    assert [gpu.source for gpu in Gpus(tmp_path).read()] == ["amdgpu"]


def test_G02_a_driver_that_refuses_alone_is_told_once(tmp_path: Path, stub: Stub):
    with_nvidia(tmp_path)
    stub.init_error = 18
    source = Gpus(tmp_path)
    assert source.read() == () == source.read()
    assert source.note == "driver and library versions differ; reboot or reload the driver" and source.names == ("NVML",)


def test_the_program_is_asked_only_where_the_library_gives_nothing(tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch):
    with_nvidia(tmp_path)
    row = Gpu("GPU-5", 0, "RTX", percent=5.0, source="nvidia-smi")
    asked: list[frozenset[str]] = []

    def find(_root: Path, silent: frozenset[str]) -> object:
        asked.append(silent)
        return SimpleNamespace(name="nvidia-smi", vendor="", makers=("nvidia",), note="", read=lambda _wanted: (row,))

    monkeypatch.setattr(smi, "find", find)
    clock = Clock()
    source = Gpus(tmp_path, clock=clock)
    assert len(source.read()) == 2 and not asked
    stub.errors["nvmlDeviceGetCount", -1] = 18
    assert source.read() == (row,) and source.names == ("nvidia-smi",) and source.note == ""
    assert source.read() == (row,) and asked == [frozenset({"nvidia"})]


def test_a_system_on_a_chip_is_one_gpu_told_by_two_sources(tmp_path: Path, stub: Stub):
    trees.write(tmp_path, trees.TEGRA | {"dev/nvidiactl": ""})
    stub.cards = 1
    stub.answers["nvmlDeviceGetName", 0] = "Orin (nvgpu)"
    for function in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetClockInfo"):
        stub.errors[function, 0] = 3
    (gpu,) = Gpus(tmp_path).read()
    assert (gpu.uuid, gpu.name, gpu.source, gpu.unified) == ("GPU-0", "Orin (nvgpu)", "NVML", True)
    assert (gpu.percent, gpu.power, gpu.clock, gpu.temperature) == (87.3, 22.8, 1300.0, 71.0)
    assert (gpu.memory_total, gpu.memory_used) == (65_536_000 * 1024, 24_576_000 * 1024)
    stub.init_error = 9
    assert [gpu.source for gpu in Gpus(tmp_path).read()] == ["Tegra"]


def test_a_card_with_shared_memory_beside_no_device_tree(tmp_path: Path, stub: Stub):
    """As GB10: NVML says that it has no memory figures."""
    with_nvidia(tmp_path)
    trees.write(tmp_path, {"proc/meminfo": trees.MEMINFO})
    stub.cards = 1
    stub.answers["nvmlDeviceGetName", 0] = "NVIDIA GB10"
    stub.errors["nvmlDeviceGetMemoryInfo", 0] = 3
    (gpu,) = Gpus(tmp_path).read()
    assert gpu.unified and gpu.memory_total == 65_536_000 * 1024 and gpu.percent == 97


def test_P31_a_source_that_raises_leaves_the_others(tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch):
    with_nvidia(tmp_path)
    trees.amd(tmp_path)

    def broken(*_arguments: object) -> object:
        raise RuntimeError("bug")

    monkeypatch.setattr(Nvidia, "read", broken)
    source = Gpus(tmp_path)
    works, row = source.read()
    assert works.source == "amdgpu" and row.note == "NVML gives no figures that can be read"
    monkeypatch.setattr("tui.hardware.amd.find", broken)
    assert Gpus(tmp_path).read() == ()


def test_a_kind_that_was_not_there_is_looked_for_again(tmp_path: Path, stub: Stub):
    clock = Clock()
    source = Gpus(tmp_path, clock=clock)
    assert source.read() == ()
    trees.amd(tmp_path)
    assert source.read() == ()
    clock.now = module.FIND_AGAIN
    assert [gpu.source for gpu in source.read()] == ["amdgpu"]


def test_laptops_cards_are_not_woken_to_be_asked(tmp_path: Path, stub: Stub):
    with_nvidia(tmp_path)
    device = tmp_path / trees.BUS / "0000:65:00.0"
    trees.write(device, {"power/runtime_status": "suspended\n"})
    source = Gpus(tmp_path)
    (gpu,) = source.read()
    assert (gpu.note, gpu.percent) == ("asleep to save power", 0.0) and not stub.calls
    trees.write(device, {"power/runtime_status": "active\n"})
    assert len(source.read()) == 2


def test_every_source_is_found_by_one_function():
    for kind in (*module.KINDS, module.LAST_RESORT):
        find: Callable[[Path], object] = sys.modules.get(f"tui.hardware.{kind}", __import__(f"tui.hardware.{kind}", fromlist=["find"])).find
        assert find(Path("/nonexistent")) is None


def test_a_sample_stays_one_line_however_many_processes_there_are(tmp_path: Path, stub: Stub):
    with_nvidia(tmp_path)
    stub.cards = 4
    many = [SimpleNamespace(pid=pid, usedGpuMemory=pid * 2**20) for pid in range(1, 4000)]
    for card in range(4):
        stub.answers["nvmlDeviceGetComputeRunningProcesses", card] = many
    found = Gpus(tmp_path).read()
    assert [len(gpu.processes) for gpu in found] == [module.PROCESSES_TOLD // 4] * 4
    assert found[0].processes[0].pid == 3999
    named = tuple(replace(gpu, processes=tuple(replace(one, name="n" * 64, user="u" * 32) for one in gpu.processes)) for gpu in found)
    assert len(format_sample(Sample(time=1.0, gpus=named))) < LINE_LIMIT
