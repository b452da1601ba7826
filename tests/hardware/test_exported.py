"""Samples as exported figures, and the way back."""

import math

from tui.core.exported import EXPORTED
from tui.hardware.exported import exported, label_names, sample_of
from tui.hardware.sample import Cgroup, Cpu, Disk, Gpu, Memory, Network, Power, Sample

FULL = Sample(
    1_700_000_000.0,
    cpu=Cpu(50.0, (40.0, 60.0), (1.0, 2.0, 3.0), 3000.0, 61.5, 2, 1, 4200.0, 0.5),
    memory=Memory(64, 32, 8, 4, 30, 10, 1.5, 2.5, 0.25, 0.125),
    disks=(Disk("/", 100, 60, 40, 5.0, 6.0), Disk("/models", 200, 20, 180)),
    network=Network(7.0, 8.0),
    gpus=(
        Gpu("GPU-a", 0, "RTX 3090", 90.0, 24 << 30, 20 << 30, 71.0, 300.0, 350.0, 1700.0, 9500.0, fan=60.0, pcie_width=16, ecc_corrected=2),
        Gpu("GPU-b", 1, "RTX 3090", lost=True),
    ),
    cgroup=Cgroup(2, 1000, 500, 2.5, 20.0),
    power=Power(True, 80.0),
)


def _figures(sample: Sample) -> list[tuple[str, dict[str, str], float]]:
    return [(row.name, dict(zip(label_names(row), labels, strict=True)), value) for row, labels, value in exported(sample)]


def test_there_and_back() -> None:
    assert sample_of(_figures(FULL)) == FULL


def test_no_figure_is_lost_on_the_way() -> None:
    told = {name for name, _labels, _value in _figures(FULL)}
    assert {row.name for row in EXPORTED} - told == {"paddock_gpu_max_mhz", "paddock_gpu_memory_percent", "paddock_gpu_pcie_generation"} | {
        "paddock_gpu_pcie_bytes_per_second"
    }


def test_G11_hostile_figures_are_left_out() -> None:
    gpu = {"gpu": "9" * 400, "uuid": "GPU-\x1b[31m", "name": "[bold]x\x07"}
    found = sample_of(
        [
            ("paddock_cpu_percent", {}, math.nan),
            ("paddock_memory_bytes", {"kind": "total"}, 1e300),
            ("paddock_memory_bytes", {"kind": "of my own"}, 5.0),
            ("paddock_memory_bytes", {}, 5.0),
            ("paddock_made_up", {}, 1.0),
            ("paddock_cpu_core_percent", {"core": "-1"}, 5.0),
            ("paddock_cpu_core_percent", {"core": "99999"}, 5.0),
            ("paddock_gpu_memory_bytes", gpu | {"kind": "used"}, -5.0),
            ("paddock_gpu_percent", gpu, 5e17),
            ("paddock_gpu_temperature_celsius", gpu, 1e9),
            ("paddock_cgroup_version", {}, -2.0),
            *(("paddock_gpu_percent", {"uuid": f"u{number}"}, 1.0) for number in range(500)),
        ]
    )
    assert found is not None and found.memory == Memory() and found.cpu == Cpu()
    assert len(found.gpus) == 64
    assert all("\x1b" not in card.uuid and "\x07" not in card.name for card in found.gpus)
    hostile = next(card for card in found.gpus if card.name)
    assert hostile.memory_used is None and hostile.percent == 100.0
    assert hostile.temperature is None and found.cgroup is None


def test_what_is_no_machine_is_no_sample() -> None:
    assert sample_of([]) is None
    assert sample_of([("go_goroutines", {}, 4.0), ("paddock_sample_time_seconds", {}, 4.0)]) is None
