"""GPUs of Apple's computers out of recorded answers of `ioreg` and `sysctl`."""

from __future__ import annotations

import plistlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hardware.trees_gpu import IOREG
from tests.support.screen import FORBIDDEN
from tui.hardware import apple
from tui.hardware.apple import Apple, parse
from tui.hardware.sample import Gpu, Sample
from tui.hardware.sample_line import format_sample, parse_sample


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(limit: bytes) -> tuple[Apple, list[str], Clock]:
    runs: list[str] = []
    clock = Clock()

    def ask(words: Sequence[str], _patience: float) -> bytes:
        runs.append(words[-1])
        return {"iogpu.wired_limit_mb": limit, "hw.memsize": b"68719476736\n"}.get(words[-1], IOREG)

    return Apple(ask, clock), runs, clock


def test_all_that_needs_no_root():
    source, _runs, _clock = asked(b"0\n")
    assert source.read() == (
        Gpu(
            "apple-0",
            0,
            "Apple M1 Max, 32 cores",
            source="IOKit",
            percent=93.0,
            memory_total=68_719_476_736,
            memory_used=21_474_836_480,
            unified=True,
        ),
    )
    assert source.note == ""


def test_a_limit_of_wired_memory_is_what_the_gpu_has():
    source, runs, clock = asked(b"49152\n")
    assert source.read()[0].memory_total == 49_152 * 2**20
    source.read()
    assert runs.count("hw.memsize") == 1
    clock.now = 61
    source.read()
    assert runs.count("hw.memsize") == 2


def test_a_card_with_memory_of_its_own():
    figures = {"Device Utilization %": 5, "vramUsedBytes": 2**30, "vramFreeBytes": 7 * 2**30, "Temperature(C)": 60, "Total Power(W)": 45}
    (gpu,) = parse(plistlib.dumps([{"IOClass": "AMDRadeonX6000", "PerformanceStatistics": figures}]), 2**36)
    assert (gpu.name, gpu.unified, gpu.memory_total, gpu.memory_used) == ("AMDRadeonX6000", False, 2**33, 2**30)
    assert (gpu.temperature, gpu.power) == (60.0, 45.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<plist",
        b"bplist00\xff\xff\xff\xff",
        plistlib.dumps({}),
        plistlib.dumps(["x", 5]),
        IOREG[:300],
        b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><plist><array/></plist>",
    ],
)
def test_G06_odd_answers_are_no_gpu(answer: bytes):
    assert parse(answer, 2**36) == ()
    source = Apple(lambda _words, _patience: answer, Clock())
    assert source.read() == () and source.note == "the I/O registry tells of no GPU"


def test_G06_figures_that_cannot_be_are_none_and_hostile_names_cleaned():
    figures = {"Device Utilization %": 900, "In use system memory": -5, "Temperature(C)": 0}
    (gpu,) = parse(plistlib.dumps([{"model": b"M\xff1 \n\r" * 40, "gpu-core-count": -3, "PerformanceStatistics": figures}]), None)
    assert (gpu.percent, gpu.memory_used, gpu.memory_total, gpu.temperature) == (None,) * 4
    assert not FORBIDDEN & set(gpu.name)
    assert parse(plistlib.dumps([{"PerformanceStatistics": 3}]), 5)[0].percent is None
    assert parse_sample(format_sample(Sample(time=1.0, gpus=(gpu,)))) == Sample(time=1.0, gpus=(gpu,))


def test_only_on_macos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("sys.platform", "linux")
    assert apple.find() is None
    monkeypatch.setattr("sys.platform", "darwin")
    assert apple.find() is not None and apple.find(tmp_path) is None
