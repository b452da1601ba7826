"""NVIDIA figures against a stand-in for the library."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.hardware import trees_gpu as trees
from tests.hardware.stub import DEFAULTS, Stub
from tests.support.screen import CANARIES, FORBIDDEN
from tui.hardware.nvidia import Nvidia
from tui.hardware.nvml import UNSUPPORTED_AGAIN, reasons
from tui.hardware.sample import GPU_DETAIL, GPU_PROCESSES, Gpu, GpuProcess, MigInstance, Sample
from tui.hardware.sample_line import format_sample, parse_sample


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(stub: Stub) -> tuple[Nvidia, Clock]:
    clock = Clock()
    return Nvidia(lambda: stub, clock), clock


def test_all_figures_of_two_cards():
    first, second = made(Stub())[0].read(frozenset({GPU_DETAIL, GPU_PROCESSES}))
    assert first == Gpu(
        uuid="GPU-0",
        index=0,
        name="NVIDIA GeForce RTX 3090",
        source="NVML",
        percent=97.0,
        memory_percent=40.0,
        memory_total=24 * 2**30,
        memory_used=8 * 2**30,
        temperature=71.0,
        power=312.4,
        power_limit=350.0,
        fan=62.0,
        clock=1696.0,
        clock_max=2100.0,
        memory_clock=1697.0,
        pcie_generation=3,
        pcie_generation_max=4,
        pcie_width=8,
        pcie_width_max=16,
        throttle=("thermal", "power"),
        ecc_corrected=12,
        ecc_uncorrected=1,
        processes=(GpuProcess(812, 6 * 2**30, 55.0),),
    )
    assert (second.uuid, second.pcie_sent, second.pcie_received) == ("GPU-1", 1000 * 1024, 2000 * 1024)


def test_G01_no_library_is_said_once_and_not_tried_again():
    tries = 0

    def absent() -> Any:
        nonlocal tries
        tries += 1
        raise ImportError("no pynvml")

    gpus = Nvidia(absent, Clock())
    assert gpus.read() == gpus.read() == ()
    assert tries == 1
    assert "not installed" in gpus.note


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (9, "not loaded"),
        (12, "not installed"),
        (4, "no permission"),
        (18, "driver and library versions differ; reboot or reload the driver"),
        (77, "code 77"),
    ],
)
def test_G01_G02_a_driver_that_refuses_says_which_and_is_tried_again_later(code: int, words: str):
    stub = Stub()
    stub.init_error = code
    gpus, clock = made(stub)
    assert gpus.read() == ()
    assert words in gpus.note
    gpus.read()
    assert stub.calls.count(("nvmlInit", -1)) == 1
    stub.init_error = 0
    clock.now = 61
    assert len(gpus.read()) == 2
    assert gpus.note == ""


def test_G01_no_card():
    gpus, _ = made(Stub(0))
    assert gpus.read() == ()
    assert gpus.note == "no NVIDIA GPU"


@pytest.mark.parametrize("where", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperature"])
def test_G03_P31_a_lost_card_is_marked_and_tried_every_minute_while_the_other_goes_on(where: str):
    stub = Stub()
    gpus, clock = made(stub)
    gpus.read()
    stub.errors[where, 0] = 15
    clock.now = 60
    first, second = gpus.read()
    assert first.lost and first.uuid == "GPU-0" and first.name and "lost" in first.note and first.percent is None
    assert not second.lost and second.percent == 97
    before = len([call for call in stub.calls if call[1] == 0])
    clock.now = 119
    gpus.read()
    assert len([call for call in stub.calls if call[1] == 0]) == before
    del stub.errors[where, 0]
    clock.now = 121
    assert not gpus.read()[0].lost


@pytest.mark.parametrize(
    ("function", "answer", "field"),
    [
        ("nvmlDeviceGetMemoryInfo", SimpleNamespace(total=0, used=0), "memory_used"),
        ("nvmlDeviceGetMemoryInfo", SimpleNamespace(total=100, used=200), "memory_used"),
        ("nvmlDeviceGetMemoryInfo", SimpleNamespace(total=2**64 - 1, used=2**64 - 1), "memory_total"),
        ("nvmlDeviceGetUtilizationRates", SimpleNamespace(gpu=0xFFFFFFFF), "percent"),
        ("nvmlDeviceGetTemperature", -40, "temperature"),
        ("nvmlDeviceGetPowerUsage", 0xFFFFFFFF, "power"),
        ("nvmlDeviceGetEnforcedPowerLimit", 0, "power_limit"),
        ("nvmlDeviceGetClockInfo", 0xFFFFFFFF, "clock"),
        ("nvmlDeviceGetMaxClockInfo", 0, "clock_max"),
        ("nvmlDeviceGetFanSpeed", 0xFFFFFFFF, "fan"),
        ("nvmlDeviceGetMaxPcieLinkWidth", 0xFFFFFFFF, "pcie_width_max"),
        ("nvmlDeviceGetTotalEccErrors", 2**64 - 1, "ecc_corrected"),
        ("nvmlDeviceGetPcieThroughput", 0xFFFFFFFF, "pcie_sent"),
        ("nvmlDeviceGetTemperature", "warm", "temperature"),
    ],
)
def test_G06_not_available_values_are_none(function: str, answer: object, field: str):
    stub = Stub(1)
    stub.answers[function, 0] = answer
    (gpu,) = made(stub)[0].read(frozenset({GPU_DETAIL}))
    assert getattr(gpu, field) is None
    assert parse_sample(format_sample(Sample(time=1.0, gpus=(gpu,)))) == Sample(time=1.0, gpus=(gpu,))


def test_G06_process_memory_that_is_not_available():
    stub = Stub(1)
    stub.answers["nvmlDeviceGetComputeRunningProcesses", 0] = [
        SimpleNamespace(pid=5, usedGpuMemory=2**64 - 1),
        SimpleNamespace(pid=-1, usedGpuMemory=1),
    ]
    assert made(stub)[0].read()[0].processes == (GpuProcess(5, None),)


@pytest.mark.parametrize("name", [b"RTX \xff\xfe", *(f"RTX {text}" for text in CANARIES)])
def test_G06_X01_a_hostile_name_or_identifier_is_cleaned(name: object):
    stub = Stub(1)
    stub.answers["nvmlDeviceGetName", 0] = stub.answers["nvmlDeviceGetUUID", 0] = name
    (gpu,) = made(stub)[0].read()
    assert gpu.name.startswith("RTX") and gpu.uuid.startswith("RTX")
    assert not FORBIDDEN & set(gpu.name + gpu.uuid) and len(gpu.name) <= 96


def test_G07_the_number_of_cards_may_change():
    stub = Stub(16)
    gpus, clock = made(stub)
    assert [gpu.uuid for gpu in gpus.read()] == [f"GPU-{index}" for index in range(16)]
    stub.cards = 1
    assert len(gpus.read()) == 1
    stub.answers["nvmlDeviceGetUUID", 0] = "GPU-7"
    clock.now = 60
    assert gpus.read()[0].uuid == "GPU-7"


@pytest.mark.parametrize("function", [name for name in DEFAULTS if name != "nvmlDeviceGetHandleByIndex"])
@pytest.mark.parametrize("how", ["unsupported", "missing"])
def test_G08_one_field_less_leaves_the_others(function: str, how: str):
    wanted = frozenset({GPU_DETAIL, GPU_PROCESSES})
    stub = Stub(1)
    if how == "missing":
        stub.missing.add(function)
    else:
        stub.errors[function, 0] = 3
    less, full = vars(made(stub)[0].read(wanted)[0]), vars(made(Stub(1))[0].read(wanted)[0])
    assert sum(less[field] != full[field] for field in full) <= 2  # a structure or a call for two figures


def test_G08_what_a_card_does_not_have_is_not_asked_for_each_time():
    stub = Stub(1)
    stub.errors["nvmlDeviceGetPowerUsage", 0] = 3
    gpus, clock = made(stub)
    for _ in range(20):
        gpus.read()
        clock.now += 1
    assert stub.asked("nvmlDeviceGetPowerUsage") == 1 and stub.asked("nvmlDeviceGetUtilizationRates") == 20
    del stub.errors["nvmlDeviceGetPowerUsage", 0]
    clock.now = UNSUPPORTED_AGAIN
    assert gpus.read()[0].power == 312.4


def test_G08_a_passing_failure_is_asked_for_again():
    stub = Stub(1)
    stub.errors["nvmlDeviceGetPowerUsage", 0] = 999
    gpus, _ = made(stub)
    assert gpus.read()[0].power is None
    stub.errors.clear()
    assert gpus.read()[0].power == 312.4


def test_G08_older_drivers_have_older_functions():
    stub = Stub(1)
    stub.missing |= {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetComputeRunningProcesses"}
    stub.answers["nvmlDeviceGetCurrentClocksThrottleReasons", 0] = 0x08
    stub.answers["nvmlDeviceGetComputeRunningProcesses_v2", 0] = [SimpleNamespace(pid=7, usedGpuMemory=5)]
    (gpu,) = made(stub)[0].read()
    assert gpu.throttle == ("hardware",) and gpu.processes == (GpuProcess(7, 5),)


@pytest.mark.parametrize(
    ("bits", "told"),
    [
        (0, ()),
        (0x1 | 0x2 | 0x100, ()),
        (0x20, ("thermal",)),
        (0x40 | 0x8, ("thermal",)),
        (0x80 | 0x8, ("power",)),
        (0x8, ("hardware",)),
        (0x10, ("other",)),
        (0x400, ("other",)),
        (None, ()),
        (2**64 - 1, ()),
        (-1, ()),
    ],
)
def test_why_a_card_is_slow(bits: object, told: tuple[str, ...]):
    assert reasons(bits) == told


def test_each_figure_is_asked_for_as_often_as_it_changes():
    stub = Stub(8)
    gpus, clock = made(stub)
    for _ in range(60):
        gpus.read()
        clock.now += 1
    often = {name: stub.asked(name) / 8 for name in DEFAULTS}
    assert often["nvmlDeviceGetUtilizationRates"] == often["nvmlDeviceGetMemoryInfo"] == 60
    assert often["nvmlDeviceGetName"] == often["nvmlDeviceGetUUID"] == often["nvmlDeviceGetMaxClockInfo"] == 1
    assert often["nvmlDeviceGetFanSpeed"] == 12 and often["nvmlDeviceGetComputeRunningProcesses"] == 6
    assert often["nvmlDeviceGetPcieThroughput"] == often["nvmlDeviceGetProcessUtilization"] == 0


def test_the_dear_rates_are_asked_of_one_card_at_a_time():
    stub = Stub(8)
    gpus, _ = made(stub)
    wanted = frozenset({GPU_DETAIL})
    gpus.read(wanted)
    assert stub.asked("nvmlDeviceGetPcieThroughput") == 2
    for _ in range(7):
        found = gpus.read(wanted)
    assert stub.asked("nvmlDeviceGetPcieThroughput") == 16 and all(gpu.pcie_sent == 1000 * 1024 for gpu in found)
    assert all(gpu.pcie_sent is None for gpu in gpus.read())


def test_use_by_process_is_the_mean_since_the_last_look():
    stub = Stub(1)
    stub.answers["nvmlDeviceGetComputeRunningProcesses", 0] = [SimpleNamespace(pid=pid, usedGpuMemory=1) for pid in (1, 2, 3)]
    samples = [(1, 10, 40), (1, 11, 60), (2, 12, 0xFFFFFFFF), (9, 13, 99), (0, 14, 5)]
    stub.answers["nvmlDeviceGetProcessUtilization", 0] = [SimpleNamespace(pid=pid, timeStamp=at, smUtil=use) for pid, at, use in samples]
    gpus = Nvidia(lambda: stub, Clock(), now=lambda: 0.0)
    assert [one.percent for one in gpus.read(frozenset({GPU_PROCESSES}))[0].processes] == [50.0, None, 0.0]


def test_a_process_in_several_lists_is_told_once():
    stub = Stub(1)
    stub.answers["nvmlDeviceGetComputeRunningProcesses", 0] = [SimpleNamespace(pid=5, usedGpuMemory=10)]
    stub.answers["nvmlDeviceGetGraphicsRunningProcesses", 0] = [
        SimpleNamespace(pid=5, usedGpuMemory=30),
        SimpleNamespace(pid=6, usedGpuMemory=None),
    ]
    stub.answers["nvmlDeviceGetMPSComputeRunningProcesses", 0] = [SimpleNamespace(pid=5, usedGpuMemory=20)]
    assert made(stub)[0].read()[0].processes == (GpuProcess(5, 30), GpuProcess(6, None))


def test_G07_instances_of_a_divided_card_with_their_processes():
    stub = Stub(1)
    stub.answers |= {
        ("nvmlDeviceGetMigMode", 0): [1, 1],
        ("nvmlDeviceGetMaxMigDeviceCount", 0): 7,
        ("nvmlDeviceGetMigDeviceHandleByIndex", 0): 100,
        ("nvmlDeviceGetUUID", 100): "MIG-1",
        ("nvmlDeviceGetName", 100): "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        ("nvmlDeviceGetMemoryInfo", 100): SimpleNamespace(total=5 * 2**30, used=2**30),
        ("nvmlDeviceGetComputeRunningProcesses", 100): [SimpleNamespace(pid=812, usedGpuMemory=2**30)],
    }
    (gpu,) = made(stub)[0].read(frozenset({GPU_PROCESSES}))
    assert gpu.mig[0] == MigInstance("MIG-1", "1g.5gb", 5 * 2**30, 2**30) and len(gpu.mig) == 7
    assert gpu.processes == (GpuProcess(812, 2**30, instance="MIG-1"),)
    assert parse_sample(format_sample(Sample(time=1.0, gpus=(gpu,)))) == Sample(time=1.0, gpus=(gpu,))


def test_G07_two_cards_with_one_identifier_are_two_rows():
    stub = Stub(2)
    stub.answers["nvmlDeviceGetUUID", 0] = stub.answers["nvmlDeviceGetUUID", 1] = "GPU-x"
    first, second = made(stub)[0].read()
    assert first.uuid != second.uuid and second.note


def test_G07_cards_that_the_driver_gets_later_are_seen(tmp_path: Path):
    stub = Stub(1)
    trees.write(tmp_path, {"proc/driver/nvidia/gpus/0000:01:00.0/information": ""})
    clock = Clock()
    gpus = Nvidia(lambda: stub, clock, tmp_path)
    assert len(gpus.read()) == 1
    trees.write(tmp_path, {"proc/driver/nvidia/gpus/0000:02:00.0/information": ""})
    stub.cards = 2
    clock.now = 10
    assert len(gpus.read()) == 2
    assert [name for name, _card in stub.calls].count("nvmlInit") == 2 and stub.calls.count(("nvmlShutdown", -1)) == 1


def test_G03_a_card_that_is_lost_before_it_was_known():
    stub = Stub(2)
    stub.errors["nvmlDeviceGetHandleByIndex", 0] = 15
    lost, other = made(stub)[0].read()
    assert lost.lost and lost.uuid == "index 0" and not other.lost and other.uuid == "GPU-1"


def test_G03_without_access_to_a_card_it_says_so():
    stub = Stub(2)
    stub.errors["nvmlDeviceGetHandleByIndex", 1] = 4
    gpus, clock = made(stub)
    first, second = gpus.read()
    assert first.percent == 97 and second.percent is None and second.note == "the driver does not give access to this GPU"
    stub.errors.clear()
    clock.now = UNSUPPORTED_AGAIN
    assert gpus.read()[1].percent == 97


def test_a_driver_that_stops_counting_is_given_up_and_tried_again():
    stub = Stub()
    gpus, clock = made(stub)
    gpus.read()
    stub.errors["nvmlDeviceGetCount", -1] = 999
    assert gpus.read() == ()
    assert gpus.note
    stub.errors.clear()
    clock.now = 61
    assert len(gpus.read()) == 2
