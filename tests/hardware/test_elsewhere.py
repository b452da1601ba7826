"""Systems without /proc: what psutil gives, and what it does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.hardware.tree import Clock
from tui.hardware import reading
from tui.hardware.cpu import Processor
from tui.hardware.memory import MainMemory
from tui.hardware.network import Interfaces
from tui.hardware.once import Meter
from tui.hardware.power import read_power
from tui.hardware.processes import Names, Processes, Who
from tui.hardware.sample import WANTED, Cpu, Memory, Network, Power
from tui.hardware.sample_line import format_sample, parse_sample

REFUSED = (
    "cpu_times", "cpu_count", "cpu_freq", "virtual_memory", "swap_memory", "net_io_counters", "sensors_battery", "process_iter", "Process",
)  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "has_proc", lambda root: False)


def test_everything_that_is_wanted_makes_a_line_that_is_accepted():
    meter = Meter(["/"], False, frozenset(WANTED))
    meter.read()
    sample = meter.read()
    assert parse_sample(format_sample(sample)) == sample
    assert sample.cpu.count and sample.memory.total and sample.processes and sample.disks


@pytest.mark.parametrize(
    "error", [OSError("no"), NotImplementedError(), psutil.AccessDenied(1), RuntimeError("odd kernel"), psutil.NoSuchProcess(1)]
)
def test_G09_G12_what_the_system_does_not_give_is_missing(error: Exception, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise error

    def refuse_load() -> None:
        raise OSError

    for name in REFUSED:
        monkeypatch.setattr(psutil, name, refuse, raising=False)
    monkeypatch.setattr("os.getloadavg", refuse_load)
    root = Path("/")
    assert Processor(root, Clock()).read(True) == Cpu()
    assert MainMemory(root, Clock()).read() == Memory()
    assert Interfaces(root, Clock()).read() == Network()
    assert read_power(root) is None
    assert Processes(root, Clock()).read().processes == ()
    assert Names(root, Clock()).who(1) is None


def test_rates(monkeypatch: pytest.MonkeyPatch):
    clock, now = Clock(), SimpleNamespace(busy=0.0, sent=0, swapped=0)

    def times(percpu: bool = False) -> object:
        one = SimpleNamespace(user=now.busy, system=0.0, idle=10.0 + now.busy)
        return [one, one] if percpu else one

    swap = {"total": 10, "used": 5, "sout": 0}
    monkeypatch.setattr(psutil, "cpu_times", times)
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: {"lo0": SimpleNamespace(bytes_recv=9, bytes_sent=9 * now.sent), "en0": SimpleNamespace(bytes_recv=0, bytes_sent=now.sent)})  # noqa: E501  # fmt: skip
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(**swap, sin=now.swapped))
    processor, memory, interfaces = Processor(Path("/"), clock), MainMemory(Path("/"), clock), Interfaces(Path("/"), clock)
    processor.read(True), memory.read(), interfaces.read()
    clock.now += 2
    now.busy, now.sent, now.swapped = 1.0, 600, 80
    found = processor.read(True)
    assert (found.percent, found.cores) == (50.0, (50.0, 50.0))
    assert (memory.read().swap_in, interfaces.read()) == (40, Network(0, 300))


def test_a_battery(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(psutil, "sensors_battery", lambda: SimpleNamespace(percent=101.5, power_plugged=False), raising=False)
    assert read_power(Path("/")) == Power(True, 100.0)


def test_G10_names_are_cleaned(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(psutil, "Process", lambda pid: SimpleNamespace(name=lambda: "\x1b[2Jx", username=lambda: "a\u202eb"))
    found = Names(Path("/"), Clock()).who(5)
    assert isinstance(found, Who) and found.name.isprintable() and found.user.isprintable()
