"""Everything measured at once, on this machine."""

from __future__ import annotations

from pathlib import Path

from tui.hardware.once import Meter, sample_once
from tui.hardware.sample import WANTED
from tui.hardware.sample_line import format_sample, parse_sample


def test_this_machine_gives_a_line_that_is_accepted(tmp_path: Path):
    sample = sample_once([str(tmp_path), str(tmp_path / "not" / "there"), "/proc"], False, 0.25, frozenset(WANTED))
    assert parse_sample(format_sample(sample)) == sample
    assert sample.cpu.cores and sample.cpu.percent is not None and sample.memory.total and sample.processes
    assert sample.disks[0].path == str(tmp_path)
    assert len([disk for disk in sample.disks if disk.path.startswith(str(tmp_path))]) == 1


def test_G12_a_machine_without_proc_and_sys_has_no_figures(tmp_path: Path):
    meter = Meter((), True, frozenset(WANTED), tmp_path)
    meter.read()
    sample = meter.read()
    assert parse_sample(format_sample(sample)) == sample
    assert (sample.cpu.percent, sample.memory.total, sample.cgroup, sample.power, sample.gpus) == (None, None, None, None, ())
