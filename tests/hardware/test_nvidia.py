"""NVIDIA figures against a stand-in for the library."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.hardware.stub import DEFAULTS, Stub
from tui.hardware.nvidia import Nvidia
from tui.hardware.sample import GpuProcess, Sample
from tui.hardware.sample_line import format_sample, parse_sample


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(stub: Stub) -> tuple[Nvidia, Clock]:
    clock = Clock()
    return Nvidia(lambda: stub, clock), clock


def test_all_figures_of_two_cards():
    first, second = made(Stub())[0].read()
    assert (first.uuid, second.uuid, first.name) == ("GPU-0", "GPU-1", "NVIDIA GeForce RTX 3090")
    assert (first.percent, first.memory_used, first.memory_total) == (97, 8 * 2**30, 24 * 2**30)
    assert (first.temperature, first.power, first.power_limit, first.clock, first.memory_clock) == (71, 312.4, 350.0, 1696, 1697)
    assert first.processes == (GpuProcess(812, 6 * 2**30),)


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
    ],
)
def test_G06_not_available_values_are_none(function: str, answer: object, field: str):
    stub = Stub(1)
    stub.answers[function, 0] = answer
    (gpu,) = made(stub)[0].read()
    assert getattr(gpu, field) is None
    assert parse_sample(format_sample(Sample(time=1.0, gpus=(gpu,)))) == Sample(time=1.0, gpus=(gpu,))


def test_G06_process_memory_that_is_not_available():
    stub = Stub(1)
    stub.answers["nvmlDeviceGetComputeRunningProcesses", 0] = [
        SimpleNamespace(pid=5, usedGpuMemory=2**64 - 1),
        SimpleNamespace(pid=-1, usedGpuMemory=1),
    ]
    assert made(stub)[0].read()[0].processes == (GpuProcess(5, None),)


@pytest.mark.parametrize("name", [b"RTX \xff\xfe", "RTX \x1b[31m\u202e"])
def test_G06_X_a_hostile_name_is_cleaned(name: object):
    stub = Stub(1)
    stub.answers["nvmlDeviceGetName", 0] = name
    shown = made(stub)[0].read()[0].name
    assert shown.startswith("RTX") and "\x1b" not in shown and "\u202e" not in shown


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
    stub = Stub(1)
    if how == "missing":
        stub.missing.add(function)
    else:
        stub.errors[function, 0] = 3
    (gpu,) = made(stub)[0].read()
    full = made(Stub(1))[0].read()[0]
    fields = ("uuid", "name", "percent", "memory_total", "temperature", "power", "power_limit", "clock", "processes")
    assert sum(getattr(gpu, field) != getattr(full, field) for field in fields) <= 1


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
