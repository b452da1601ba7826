"""psutil's figures: rates, missing ones, odd ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tui.hardware import cpu
from tui.hardware.cpu import Machine
from tui.hardware.machine import machine_facts
from tui.hardware.sample import Memory, Network, Sample
from tui.hardware.sample_line import format_sample, parse_sample


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(cpu, "time", made)
    return made


def test_this_machine_gives_a_line_that_is_accepted(tmp_path: Path, clock: Clock):
    machine = Machine([str(tmp_path), str(tmp_path / "not" / "there"), "/proc"])
    clock.now += 1
    machine.disks(), machine.network()
    clock.now += 1
    sample = Sample(time=1.0, cpu=machine.cpu(), memory=machine.memory(), disks=machine.disks(), network=machine.network())
    assert parse_sample(format_sample(sample)) == sample
    assert sample.cpu.cores and sample.memory.total
    assert sample.disks[0].path == str(tmp_path)
    assert len([disk for disk in sample.disks if disk.path.startswith(str(tmp_path))]) == 1


def test_network_rates_leave_loopback_out_and_are_never_negative(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    counts = {"lo": (10**9, 10**9), "eth0": (1000, 500)}
    monkeypatch.setattr(
        psutil, "net_io_counters", lambda **_: {n: SimpleNamespace(bytes_recv=r, bytes_sent=s) for n, (r, s) in counts.items()}
    )
    machine = Machine()
    assert machine.network() == Network()
    clock.now += 2
    counts |= {"lo": (2 * 10**9, 0), "eth0": (3000, 700)}
    assert machine.network() == Network(1000, 100)
    clock.now += 1
    counts["eth0"] = (0, 0)
    assert machine.network() == Network(0, 0)


def test_G12_percents_stay_in_range_when_cores_come_and_go(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    answers = iter([[0.0] * 8, [-3.0, 104.2], [], [50.0] * 4])
    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: next(answers))
    machine = Machine()
    clock.now += 1
    assert (machine.cpu().cores, clock.now) == ((0.0, 100.0), 101.0)
    clock.now += 1
    assert machine.cpu().percent is None
    clock.now += 1
    assert machine.cpu().percent == 50.0


@pytest.mark.parametrize("error", [OSError("no /sys"), NotImplementedError(), psutil.AccessDenied(1), RuntimeError("odd kernel")])
def test_G12_what_the_system_does_not_give_is_missing(error: Exception, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise error

    names = ("cpu_percent", "cpu_freq", "sensors_temperatures", "virtual_memory", "swap_memory", "net_io_counters", "disk_io_counters")
    for name in names:
        monkeypatch.setattr(psutil, name, refuse, raising=False)
    machine = Machine(["/"])
    clock.now += 1
    found = machine.cpu()
    assert (found.percent, found.cores, found.frequency, found.temperature) == (None, (), None, None)
    assert machine.memory() == Memory()
    assert machine.network() == Network()
    assert machine.disks()[0].read is None


def test_facts_are_clean():
    facts = machine_facts()
    assert facts.hostname.isprintable() and facts.hostname
    assert facts.cores >= 1
