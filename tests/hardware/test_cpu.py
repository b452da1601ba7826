"""The processor's figures: rates, missing ones, odd ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hardware.tree import Clock, Tree
from tui.hardware.cpu import Processor
from tui.hardware.machine import machine_facts
from tui.hardware.sample import Cpu, Sample
from tui.hardware.sample_line import format_sample, parse_sample


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def accepted(cpu: Cpu) -> bool:
    sample = Sample(time=1.0, cpu=cpu)
    return parse_sample(format_sample(sample)) == sample


def test_all_figures(tree: Tree):
    clock = Clock()
    tree.stat([(100, 100)] * 8)
    tree.topology(8)
    tree.frequencies([3000, 5000] * 4, 5600)
    tree.write("proc/loadavg", "2.71 1.50 0.52 3/1204 99211")
    tree.pressure("cpu", 12.34)
    processor = Processor(tree.root, clock)
    first = processor.read(True)
    assert (first.percent, first.cores) == (None, ())
    clock.now += 1
    tree.stat([(200, 100)] * 2 + [(100, 200)] * 6)
    found = processor.read(True)
    assert found == Cpu(25.0, (100.0, 100.0, *[0.0] * 6), (2.71, 1.5, 0.52), 4000, None, 8, 4, 5600, 12.3)
    assert accepted(found)


def test_cores_are_measured_while_somebody_wants_them(tree: Tree):
    clock = Clock()
    tree.stat([(0, 0)] * 4)
    processor = Processor(tree.root, clock)
    processor.read()
    for turn, wanted, shown in ((1, False, 0), (2, True, 0), (3, True, 4), (4, False, 0), (5, True, 0)):
        clock.now += 1
        tree.stat([(turn * 50, turn * 50)] * 4)
        found = processor.read(wanted)
        assert (found.percent, len(found.cores)) == (50.0, shown)


def test_two_readings_at_once_tell_nothing(tree: Tree):
    clock = Clock()
    tree.stat([(0, 0)])
    processor = Processor(tree.root, clock)
    processor.read()
    tree.stat([(10, 10)])
    assert processor.read().percent is None
    clock.now += 1
    assert processor.read().percent == 50.0


def test_G12_percents_stay_in_range_when_cores_come_and_go(tree: Tree):
    clock = Clock()
    tree.stat([(1000, 1000)] * 8)
    processor = Processor(tree.root, clock)
    processor.read(True)
    for cores in ([(900, 1100)] * 8, [(50, 0)] * 2, [(0, 0)] * 16, [], [(7, 7)]):
        clock.now += 1
        tree.stat(cores)
        found = processor.read(True)
        assert found.percent is None or 0 <= found.percent <= 100
        assert all(0 <= core <= 100 for core in found.cores)
        assert found.count == (len(cores) or None)
        assert accepted(found)


@pytest.mark.parametrize(
    "text", ["", "cpu", "cpu a b c d e", "cpu  1 2 3", b"\xff\xfe\x00", "cpu " + "9" * 40 + " 1 1 1", "cpu  -1 -1 -1 -1 -1"]
)
def test_G12_odd_times_are_no_figures(tree: Tree, text: object):
    clock = Clock()
    processor = Processor(tree.root, clock)
    for _ in range(2):
        tree.write("proc/stat", text)
        tree.write("proc/loadavg", text)
        tree.write("proc/pressure/cpu", text)
        clock.now += 1
        found = processor.read(True)
        assert (found.percent, found.cores, found.load, found.pressure) == (None, (), (), None)
        assert accepted(found)


def test_G12_no_sys(tree: Tree):
    tree.stat([(1, 1)] * 2)
    found = Processor(tree.root, Clock()).read(True)
    assert (found.count, found.physical, found.frequency, found.frequency_max, found.temperature) == (2, None, None, None, None)


def test_a_machine_without_scaling_tells_one_frequency(tree: Tree):
    tree.write("proc/cpuinfo", "\n".join(f"processor: {index}\ncpu MHz\t\t: 2445.43\n" for index in range(4)))
    assert Processor(tree.root, Clock()).read().frequency == 2445


def test_many_cores_are_not_all_read_each_time(tree: Tree, monkeypatch: pytest.MonkeyPatch):
    tree.stat([(1, 1)] * 256)
    tree.topology(256)
    tree.frequencies([2000] * 128 + [4000] * 128)
    clock = Clock()
    processor = Processor(tree.root, clock)
    processor.read()
    read: list[str] = []
    from tui.hardware import reading

    number = reading.number
    monkeypatch.setattr(reading, "number", lambda path: read.append(str(path)) or number(path))
    for _ in range(16):
        clock.now += 1
        found = processor.read()
        assert (found.frequency, found.physical, found.count) == (3000, 128, 256)
    assert len(read) == 16 * 16 and len(set(read)) == 256


def test_the_package_is_what_is_hot(tree: Tree):
    tree.writes("sys/class/hwmon/hwmon0", {"name": "nvme", "temp1_input": 90_000})
    parts = {"temp1_input": 61_000, "temp1_label": "Package id 0", "temp2_input": 75_000, "temp2_label": "Core 0"}
    tree.writes("sys/class/hwmon/hwmon1", {"name": "coretemp", **parts})
    tree.writes("sys/class/hwmon/hwmon2", {"name": "coretemp", "temp1_input": 64_500, "temp1_label": "Package id 1"})
    assert Processor(tree.root, Clock()).read().temperature == 64.5


@pytest.mark.parametrize(("value", "shown"), [(48_000, 48.0), (-40_000, None), (65_535_000, None), ("N/A", None), ("", None)])
def test_G12_a_zone_where_no_chip_tells_and_odd_temperatures(tree: Tree, value: object, shown: float | None):
    tree.writes("sys/class/thermal/thermal_zone0", {"type": "iwlwifi_1", "temp": 30_000})
    tree.writes("sys/class/thermal/thermal_zone1", {"type": "cpu-thermal", "temp": value})
    assert Processor(tree.root, Clock()).read().temperature == shown


def test_facts_are_clean():
    facts = machine_facts()
    assert facts.hostname.isprintable() and facts.hostname
    assert facts.cores >= 1
