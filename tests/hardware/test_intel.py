"""Intel GPUs out of recorded trees of /sys and /proc."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.hardware import trees_gpu as trees
from tests.support.screen import FORBIDDEN
from tui.hardware import drm_memory, intel
from tui.hardware.fdinfo import parse
from tui.hardware.intel import Intel
from tui.hardware.sample import GPU_PROCESSES, GpuProcess, Sample
from tui.hardware.sample_line import format_sample, parse_sample

SHOWN = frozenset({GPU_PROCESSES})
ARC, CORE = "0000:03:00.0", "0000:00:02.0"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def arc(root: Path) -> Path:
    slot = "0000:00:06.0"
    trees.device(root, slot, 0x8086, 0xA74D, "pcieport", "bridge")
    trees.device(root, "0000:01:00.0", 0x8086, 0xE2FF, "pcieport", "bridge", slot)
    trees.device(root, "0000:02:01.0", 0x8086, 0xE2F0, "pcieport", "bridge", f"{slot}/0000:01:00.0")
    card = trees.device(root, ARC, 0x8086, 0xE20B, "xe", "display", f"{slot}/0000:01:00.0/0000:02:01.0")
    trees.write(
        root / "sys/devices/pci0000:00" / slot / "0000:01:00.0",
        {"current_link_speed": "16.0 GT/s PCIe", "current_link_width": "8", "max_link_speed": "16.0 GT/s PCIe", "max_link_width": "8"},
    )
    trees.write(card, trees.XE)
    return card


def test_a_card_with_xe_from_two_readings(tmp_path: Path):
    card = arc(tmp_path)
    trees.process(tmp_path, 812, {5: trees.fdinfo_xe(7, ARC, 4096, 1000, 50_000)})
    clock = Clock()
    source = Intel(tmp_path, clock, sees_all=False)
    (gpu,) = source.read(SHOWN)
    assert (gpu.percent, gpu.power, gpu.processes) == (None, None, (GpuProcess(812, 4096 * 1024),))
    clock.now += 2
    trees.write(card, {"tile0/gt0/gtidle/idle_residency_ms": "100500\n", "hwmon/hwmon3/energy1_input": "5300000000\n"})
    trees.write(tmp_path / "proc/812", {"fdinfo/5": trees.fdinfo_xe(7, ARC, 4096, 41_000, 100_000)})
    (gpu,) = source.read(SHOWN)
    assert (gpu.uuid, gpu.source, gpu.percent, gpu.power, gpu.power_limit) == (f"pci-{ARC}", "xe", 75.0, 150.0, 190.0)
    assert (gpu.temperature, gpu.clock, gpu.clock_max, gpu.fan, gpu.throttle) == (64.0, 2450.0, 2850.0, None, ("power",))
    assert (gpu.pcie_generation, gpu.pcie_width, gpu.pcie_generation_max, gpu.pcie_width_max) == (4, 8, 4, 8)
    assert gpu.processes == (GpuProcess(812, 4096 * 1024, 20.0),)  # of four engines
    assert (gpu.memory_total, gpu.memory_used, gpu.unified) == (None, 4096 * 1024, False)
    assert parse_sample(format_sample(Sample(time=1.0, gpus=(gpu,)))) == Sample(time=1.0, gpus=(gpu,))


def test_who_sees_all_processes_needs_no_sleep_counter(tmp_path: Path):
    arc(tmp_path)
    trees.process(tmp_path, 812, {5: trees.fdinfo_xe(7, ARC, 4096, 1000, 50_000)})
    clock = Clock()
    source = Intel(tmp_path, clock, sees_all=True)
    source.read(SHOWN)
    clock.now += 2
    trees.write(tmp_path / "proc/812", {"fdinfo/5": trees.fdinfo_xe(7, ARC, 4096, 41_000, 100_000)})
    assert source.read(SHOWN)[0].percent == 20.0


def test_graphics_of_a_processor_with_i915(tmp_path: Path):
    card = trees.device(tmp_path, CORE, 0x8086, 0x46A6, "i915")
    trees.write(card, trees.I915)
    trees.write(tmp_path, {"proc/meminfo": trees.MEMINFO})
    trees.process(tmp_path, 700, {9: trees.fdinfo_i915(3, CORE, 0)})
    clock = Clock()
    source = Intel(tmp_path, clock, sees_all=False)
    source.read(SHOWN)
    clock.now += 2
    trees.write(card, {"drm/card0/gt/gt0/rc6_residency_ms": "51800\n"})
    trees.write(tmp_path / "proc/700", {"fdinfo/9": trees.fdinfo_i915(3, CORE, 180_000_000)})
    (gpu,) = source.read(SHOWN)
    assert (gpu.source, gpu.unified, gpu.memory_total, gpu.memory_used) == ("i915", False, None, None)
    assert (gpu.percent, gpu.clock, gpu.clock_max, gpu.throttle, gpu.pcie_width) == (10.0, 1300.0, 1450.0, ("thermal",), None)
    assert gpu.processes == (GpuProcess(700, 32 * 2**20, 9.0),)


def test_local_memory_where_the_driver_tells_it(tmp_path: Path):
    card = arc(tmp_path)
    trees.write(card, {"drm/card1/lmem_total_bytes": "17079205888", "drm/card1/lmem_avail_bytes": "7079205888"})
    (gpu,) = Intel(tmp_path).read()
    assert (gpu.memory_total, gpu.memory_used) == (17_079_205_888, 10_000_000_000)


def answer(kind: str, regions: list[tuple[int, int, int]]) -> bytes:
    head = struct.pack("<II", len(regions), 0) if kind == "xe" else struct.pack("<IIII", len(regions), 0, 0, 0)
    return head + b"".join(struct.pack("<HHIQQ", region, 0, 4096, size, other) + bytes(64) for region, size, other in regions)


@pytest.mark.parametrize(
    ("driver", "regions", "told"),
    [
        ("xe", [(0, 64 << 30, 0), (1, 12 << 30, 3 << 30)], (12 << 30, 3 << 30)),
        ("xe", [(0, 64 << 30, 0), (1, 12 << 30, 0)], (12 << 30, None)),
        ("i915", [(0, 64 << 30, 64 << 30), (1, 16 << 30, 10 << 30)], (16 << 30, 6 << 30)),
        ("i915", [(0, 64 << 30, 64 << 30)], (None, None)),
        ("i915", [(1, 2**64 - 1, 2**64 - 1)], (None, None)),
    ],
)
def test_memory_asked_at_the_device(tmp_path: Path, driver: str, regions: list[tuple[int, int, int]], told: tuple[int | None, int | None]):
    import ctypes

    content = answer(driver, regions)
    node = tmp_path / "renderD128"
    node.write_bytes(b"")

    def call(_file: int, request: int, question: bytearray) -> int:
        if driver == "xe":
            assert request == 0xC0286440 and struct.unpack_from("<QI", question) == (0, 1)
            size, address = struct.unpack_from("<IQ", question, 12)
            struct.pack_into("<I", question, 12, len(content))
        else:
            assert request == 0xC0106479
            (item,) = struct.unpack_from("<Q", question, 8)
            query, size, _flags, address = struct.unpack("<QiIQ", ctypes.string_at(item, 24))
            assert query == 4
            ctypes.memmove(item + 8, struct.pack("<i", len(content)), 4)
        if size:
            ctypes.memmove(address, content, size)
        return 0

    assert drm_memory.asked(node, driver, call) == told


def test_memory_that_is_not_told(tmp_path: Path):
    def refused(_file: int, _request: int, _question: bytearray) -> int:
        raise PermissionError

    node = tmp_path / "renderD128"
    assert drm_memory.asked(node, "xe", refused) == (None, None)
    node.write_bytes(b"")
    assert drm_memory.asked(node, "xe", refused) == drm_memory.asked(node, "i915", lambda *_: 0) == (None, None)
    assert drm_memory.asked(node, "xe") == (None, None)


def test_counters_that_go_back_tell_nothing(tmp_path: Path):
    card = arc(tmp_path)
    clock = Clock()
    source = Intel(tmp_path, clock, sees_all=False)
    source.read()
    clock.now += 1
    trees.write(card, {"tile0/gt0/gtidle/idle_residency_ms": "5\n", "hwmon/hwmon3/energy1_input": "5\n"})
    (gpu,) = source.read()
    assert (gpu.percent, gpu.power) == (None, None)


def test_G01_a_card_without_its_driver_says_so_in_one_sentence(tmp_path: Path):
    trees.device(tmp_path, ARC, 0x8086, 0xE20B)
    source = intel.find(tmp_path)
    assert source is not None and source.read() == ()
    assert source.note == "the Intel graphics driver (i915 or xe) is not loaded"
    assert intel.find(tmp_path / "nothing") is None


def test_a_card_that_sleeps_is_not_woken(tmp_path: Path):
    trees.write(arc(tmp_path), {"power/runtime_status": "suspended\n"})
    (gpu,) = Intel(tmp_path).read()
    assert (gpu.percent, gpu.power, gpu.note) == (0.0, None, "asleep to save power")


@pytest.mark.parametrize("content", [b"", b"\n", b"-5", b"banana", b"\xff\xfe\x00", b"9" * 400])
def test_G06_odd_contents_are_none(tmp_path: Path, content: bytes):
    trees.write(arc(tmp_path), dict.fromkeys(trees.XE, content))
    clock = Clock()
    source = Intel(tmp_path, clock, sees_all=False)
    source.read(SHOWN)
    clock.now += 1
    (gpu,) = source.read(SHOWN)
    assert (gpu.percent, gpu.power, gpu.temperature, gpu.clock, gpu.throttle) == (None, None, None, None, ())


def test_G06_X01_a_hostile_label_is_cleaned(tmp_path: Path):
    trees.write(arc(tmp_path), {"label": "Arc \x1b[31m\u202e\x07"})
    name = Intel(tmp_path).read()[0].name
    assert name.startswith("Arc") and not FORBIDDEN & set(name)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "drm-driver: xe",
        "drm-driver: xe\ndrm-client-id: 1\ndrm-engine-render: ns\ndrm-cycles-: \ndrm-total-: x\ndrm-engine-capacity-: 0\n::\ndrm-",
        "drm-driver: i915\ndrm-client-id: 2\ndrm-engine-render: -5 ns\ndrm-resident-local0: 5 parsecs\ndrm-total-local0: 3 KiB",
        "drm-driver: " + "x" * 90_000,
    ],
)
def test_odd_files_of_processes(content: str):
    client = parse(content)
    assert client is None or all(value >= 0 for value in (*client.busy.values(), *client.memory.values()))


def test_the_best_figure_of_a_region_is_taken():
    client = parse(trees.fdinfo_xe(7, ARC, 4096, 1, 2))
    assert client is not None and client.memory == {"system": 0, "vram0": 4096 * 1024}
    old = parse("drm-driver: i915\ndrm-client-id: 2\ndrm-total-local0: 3 KiB\ndrm-memory-vram: 2 MiB")
    assert old is not None and old.memory == {"local0": 3072, "vram": 2 * 2**20}
