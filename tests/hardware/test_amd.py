"""AMD GPUs out of recorded trees of /sys and /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.hardware import trees_gpu as trees
from tests.support.screen import FORBIDDEN
from tui.hardware import amd, amdsmi_facts, fdinfo
from tui.hardware.amd import Amd, throttle
from tui.hardware.sample import GPU_PROCESSES, Gpu, GpuProcess, Sample
from tui.hardware.sample_line import format_sample, parse_sample

SHOWN = frozenset({GPU_PROCESSES})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_all_figures_of_a_card(tmp_path: Path):
    trees.amd(tmp_path)
    trees.write(tmp_path, {"usr/share/hwdata/pci.ids": trees.PCI_IDS})
    (gpu,) = Amd(tmp_path).read()
    assert gpu == Gpu(
        uuid="AMD-a1b2c3d4e5f60718",
        index=0,
        name="Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M",
        source="amdgpu",
        percent=97.0,
        memory_percent=41.0,
        memory_total=25_753_026_560,
        memory_used=8_589_934_592,
        temperature=71.0,
        power=312.4,
        power_limit=350.0,
        fan=62.0,
        clock=2304.0,
        clock_max=2482.0,
        memory_clock=1249.0,
        pcie_generation=3,
        pcie_generation_max=4,
        pcie_width=8,
        pcie_width_max=8,
        ecc_corrected=12,
        ecc_uncorrected=1,
    )
    assert parse_sample(format_sample(Sample(time=1.0, gpus=(gpu,)))) == Sample(time=1.0, gpus=(gpu,))


def test_a_card_without_monitoring_has_its_clocks_from_the_levels(tmp_path: Path):
    card = trees.amd(tmp_path)
    for name in ("freq1_input", "freq2_input", "power1_average", "pwm1"):
        (card / "hwmon/hwmon4" / name).unlink()
    trees.write(card, {"hwmon/hwmon4/power1_input": "90000000", "hwmon/hwmon4/fan1_max": "3600"})
    (gpu,) = Amd(tmp_path).read()
    assert (gpu.clock, gpu.memory_clock, gpu.power, gpu.fan) == (2304.0, 1249.0, 90.0, 50.0)


def test_graphics_of_a_processor_are_unified_memory(tmp_path: Path):
    card = trees.device(tmp_path, "0000:c1:00.0", 0x1002, 0x15BF, "amdgpu")
    trees.write(card, trees.APU)
    trees.write(tmp_path, {"usr/share/misc/pci.ids": trees.PCI_IDS})
    (gpu,) = Amd(tmp_path).read()
    assert gpu.unified and gpu.uuid == "pci-0000:c1:00.0" and gpu.name == "Phoenix1"
    assert (gpu.memory_total, gpu.memory_used) == (536_870_912 + 16_106_127_360, 268_435_456 + 1_073_741_824)
    assert (gpu.percent, gpu.memory_percent, gpu.power, gpu.fan, gpu.pcie_width) == (12.0, None, 18.3, None, None)


def test_processes_by_fdinfo_with_their_share_between_two_looks(tmp_path: Path):
    trees.amd(tmp_path)
    trees.process(tmp_path, 812, {5: trees.fdinfo_amd(7, 4096, 0, 10**9), 6: trees.fdinfo_amd(7, 4096, 0, 10**9)})
    trees.process(tmp_path, 900, {3: trees.fdinfo_amd(8, 1024, 5 * 10**8, 0)})
    trees.process(tmp_path, 901, {3: "pos:\t0\nflags:\t02\n"})
    clock = Clock()
    source = Amd(tmp_path, clock)
    (gpu,) = source.read(SHOWN)
    assert gpu.processes == (GpuProcess(812, 4096 * 1024), GpuProcess(900, 1024 * 1024))
    clock.now += 2
    trees.write(
        tmp_path / "proc/812",
        {"fdinfo/5": trees.fdinfo_amd(7, 8192, 0, 2_500_000_000), "fdinfo/6": trees.fdinfo_amd(7, 8192, 0, 2_500_000_000)},
    )
    (gpu,) = source.read(SHOWN)
    assert gpu.processes == (GpuProcess(812, 8192 * 1024, 75.0), GpuProcess(900, 1024 * 1024, 0.0))


def test_processes_of_shared_memory_are_told_with_what_they_have_of_it(tmp_path: Path):
    trees.write(trees.device(tmp_path, "0000:03:00.0", 0x1002, 0x15BF, "amdgpu"), trees.APU)
    trees.process(tmp_path, 812, {5: trees.fdinfo_amd(7, 4096, 0, 0)})
    assert Amd(tmp_path).read()[0].processes == (GpuProcess(812, (4096 + 2048) * 1024),)


def test_processes_that_compute_are_told_for_every_account(tmp_path: Path):
    trees.amd(tmp_path)
    trees.kfd(tmp_path, 4711, 6 * 2**30)
    (gpu,) = Amd(tmp_path).read(SHOWN)
    assert gpu.processes == (GpuProcess(4711, 6 * 2**30),)


def test_processes_are_looked_at_less_often_while_nobody_shows_them(tmp_path: Path):
    trees.amd(tmp_path)
    clock = Clock()
    source = Amd(tmp_path, clock)
    assert source.read()[0].processes == ()
    trees.process(tmp_path, 812, {5: trees.fdinfo_amd(7, 4096, 0, 0)})
    clock.now += 9
    assert source.read()[0].processes == ()
    clock.now += 22
    assert [one.pid for one in source.read()[0].processes] == [812]


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        (0, ()),
        (1 << 36, ("thermal",)),
        (1 << 0 | 1 << 47, ("thermal", "power")),
        (1 << 16, ("power",)),
        (1 << 56, ("other",)),
        (2**64 - 1, ()),
    ],
)
def test_why_it_is_slow(bits: int, reasons: tuple[str, ...]):
    assert throttle(trees.metrics(throttle=bits)) == reasons
    assert throttle(trees.metrics(content=4, throttle=bits)) == throttle(trees.metrics(throttle=bits)[:50]) == ()


def test_G01_a_card_without_its_driver_says_so_in_one_sentence(tmp_path: Path):
    trees.device(tmp_path, "0000:03:00.0", 0x1002, 0x744C, "vfio-pci")
    source = amd.find(tmp_path)
    assert source is not None and source.read() == ()
    assert source.note == "the amdgpu driver is not loaded"


def test_G01_only_graphics_cards_count(tmp_path: Path):
    trees.device(tmp_path, "0000:03:00.1", 0x1002, 0xAB30, "snd_hda_intel", "audio")
    assert amd.find(tmp_path) is None and amd.find(tmp_path / "nothing") is None


def test_a_card_that_sleeps_is_not_woken(tmp_path: Path):
    card = trees.amd(tmp_path)
    trees.write(card, {"power/runtime_status": "suspended\n"})
    (gpu,) = Amd(tmp_path).read()
    assert (gpu.percent, gpu.power, gpu.note) == (0.0, None, "asleep to save power")


@pytest.mark.parametrize("content", [b"", b"\n", b"-5", b"banana", b"\xff\xfe\x00", b"9" * 400, b"0x", b"\0" * 5000, b"1e99"])
def test_G06_odd_contents_are_none(tmp_path: Path, content: bytes):
    card = trees.amd(tmp_path)
    trees.write(card, dict.fromkeys(trees.AMD, content))
    trees.write(tmp_path, {"usr/share/hwdata/pci.ids": content})
    (gpu,) = Amd(tmp_path).read(SHOWN)
    assert (gpu.percent, gpu.memory_total, gpu.temperature, gpu.power, gpu.clock, gpu.ecc_corrected) == (None,) * 6
    assert parse_sample(format_sample(Sample(time=1.0, gpus=(gpu,)))) == Sample(time=1.0, gpus=(gpu,))


def test_G06_X01_a_hostile_name_is_cleaned(tmp_path: Path):
    card = trees.amd(tmp_path)
    trees.write(card, {"product_name": "Instinct \x1b[31m\u202e\x07\n", "unique_id": "\x1b]0;x\n"})
    (gpu,) = Amd(tmp_path).read()
    assert gpu.name.startswith("Instinct") and not FORBIDDEN & set(gpu.name + gpu.uuid)
    assert gpu.uuid == "pci-0000:03:00.0"


@pytest.mark.parametrize("name", sorted(trees.AMD))
def test_G08_one_file_less_leaves_the_others(tmp_path: Path, name: str):
    card = trees.amd(tmp_path)
    full = vars(Amd(tmp_path).read()[0])
    (card / name).unlink()
    less = vars(Amd(tmp_path).read()[0])
    assert sum(less[field] != full[field] for field in full) <= 2  # a total and what is used of it; two counts in one file


def test_G07_a_card_that_is_unplugged_and_another_that_is_added(tmp_path: Path):
    card = trees.amd(tmp_path)
    clock = Clock()
    source = Amd(tmp_path, clock)
    source.read()
    (tmp_path / trees.BUS / "0000:03:00.0").unlink()
    assert source.read() == () and source.note == "no AMD GPU"
    other = trees.device(tmp_path, "0000:0a:00.0", 0x1002, 0x744C, "amdgpu")
    trees.write(other, trees.AMD | {"unique_id": "f" * 16})
    (tmp_path / trees.BUS / "0000:03:00.0").symlink_to(card)
    clock.now += 60
    assert [(gpu.uuid, gpu.index) for gpu in source.read()] == [("AMD-a1b2c3d4e5f60718", 0), ("AMD-" + "f" * 16, 1)]


def test_G09_processes_of_others_are_missing_and_one_that_ends_is_no_fault(tmp_path: Path):
    trees.amd(tmp_path)
    trees.process(tmp_path, 812, {5: trees.fdinfo_amd(7, 4096, 0, 0)})
    (tmp_path / "proc/900").mkdir()
    clock = Clock()
    source = Amd(tmp_path, clock)
    assert [one.pid for one in source.read(SHOWN)[0].processes] == [812]
    (tmp_path / "proc/812/fdinfo/5").unlink()
    clock.now += 2
    assert source.read(SHOWN)[0].processes == ()


def test_a_search_that_is_dear_is_made_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Thousands of processes with thousands of files, all of which root may look into."""
    trees.amd(tmp_path)
    clock, spent = Clock(), Clock()
    searched: list[float] = []
    look = os.listdir

    def listed(path: Any) -> list[str]:
        if str(path) == str(tmp_path / "proc"):
            spent.now += 0.8
            searched.append(clock.now)
        return look(path)

    monkeypatch.setattr(os, "listdir", listed)
    monkeypatch.setattr(fdinfo.time, "thread_time", spent)
    source = Amd(tmp_path, clock)
    for _ in range(100):
        source.read(SHOWN)
        clock.now += 1
    assert searched == [1000.0, 1040.0, 1080.0]


class Smi:
    """AMD's library as Python sees it; what a card does not have is "N/A"."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "amdsmi_get_gpu_asic_info": {"market_name": "AMD Instinct MI300X\x1b[1m"},
            "amdsmi_get_power_info": {"current_socket_power": 412, "average_socket_power": "N/A"},
            "amdsmi_get_gpu_activity": {"gfx_activity": 88, "umc_activity": 4_294_967_295},
            "amdsmi_get_gpu_vram_usage": {"vram_total": 196_592, "vram_used": 90_000},
            "amdsmi_get_gpu_total_ecc_count": {"correctable_count": 3, "uncorrectable_count": 0},
        }
        self.asked = 0

    def amdsmi_init(self) -> None:
        pass

    def amdsmi_get_processor_handles(self) -> list[str]:
        return ["handle"]

    def amdsmi_get_gpu_device_bdf(self, _handle: str) -> str:
        return "0000:03:00.0"

    def __getattr__(self, name: str) -> Any:
        def answer(_handle: str) -> Any:
            self.asked += 1
            return self.answers[name]

        return answer


def test_the_library_of_amd_fills_what_sysfs_lacks():
    clock, smi = Clock(), Smi()
    library = amdsmi_facts.load(clock, smi)
    assert library is not None
    gpu = library.completed(Gpu("AMD-1", 0, "AMD GPU 74a1", percent=50.0, ecc_uncorrected=7), "0000:03:00.0")
    assert (gpu.percent, gpu.power, gpu.memory_total, gpu.memory_percent) == (50.0, 412.0, 196_592 * 2**20, None)
    assert gpu.name.startswith("AMD Instinct MI300X") and not FORBIDDEN & set(gpu.name) and gpu.ecc_uncorrected == 7
    asked = smi.asked
    library.completed(gpu, "0000:03:00.0")
    assert smi.asked == asked
    assert library.completed(gpu, "0000:0a:00.0") is gpu


def test_a_card_of_amd_that_does_nothing_has_figures():
    smi = Smi()
    smi.answers["amdsmi_get_gpu_activity"] = {"gfx_activity": 0, "umc_activity": 0}
    library = amdsmi_facts.load(Clock(), smi)
    assert library is not None
    gpu = library.completed(Gpu("AMD-1", 0, "Radeon"), "0000:03:00.0")
    assert (gpu.percent, gpu.memory_percent, gpu.ecc_uncorrected, gpu.name) == (0.0, 0.0, 0, "Radeon")


def test_a_library_of_amd_that_fails_takes_nothing_away():
    clock, smi = Clock(), Smi()
    library = amdsmi_facts.load(clock, smi)
    assert library is not None
    smi.answers = {}
    gpu = Gpu("AMD-1", 0, "Radeon", percent=50.0)
    assert library.completed(gpu, "0000:03:00.0") == gpu
    assert amdsmi_facts.load(clock, object()) is None
