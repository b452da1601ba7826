"""Memory and swap, how much is moved between them, and who waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hardware.tree import PAGE, Clock, Tree
from tui.hardware.memory import MainMemory
from tui.hardware.sample import Memory, Sample
from tui.hardware.sample_line import format_sample, parse_sample

KB = 1024


def test_all_figures(tmp_path: Path):
    tree, clock = Tree(tmp_path), Clock()
    tree.meminfo(
        MemTotal=32_000,
        MemFree=1000,
        MemAvailable=20_000,
        Buffers=100,
        Cached=19_000,
        SReclaimable=900,
        Shmem=500,
        SwapTotal=8000,
        SwapFree=6000,
    )
    tree.pressure("memory", 3.5, 1.25)
    tree.write("proc/vmstat", "nr_free_pages 5\npswpin 100\npswpout 50\npswpin_x 9")
    memory = MainMemory(tmp_path, clock)
    assert memory.read().swap_in is None
    clock.now += 2
    tree.write("proc/vmstat", "pswpin 102\npswpout 60")
    assert memory.read() == Memory(32_000 * KB, 12_000 * KB, 8000 * KB, 2000 * KB, 20_000 * KB, 19_500 * KB, PAGE, 5 * PAGE, 3.5, 1.2)


def test_a_count_that_was_set_back_is_no_rate_below_zero(tmp_path: Path):
    tree, clock = Tree(tmp_path), Clock()
    memory = MainMemory(tmp_path, clock)
    tree.write("proc/vmstat", "pswpin 100\npswpout 50")
    memory.read()
    clock.now += 1
    tree.write("proc/vmstat", "pswpin 0\npswpout 50")
    assert (memory.read().swap_in, memory.read().swap_out) == (0, None)  # no time passed for the second


def test_a_kernel_that_does_not_tell_what_is_available(tmp_path: Path):
    Tree(tmp_path).meminfo(MemTotal=1000, MemFree=100, Buffers=50, Cached=350)
    found = MainMemory(tmp_path, Clock()).read()
    assert (found.available, found.used, found.swap_total) == (500 * KB, 500 * KB, None)


@pytest.mark.parametrize(
    "text",
    [
        "", "MemTotal", "MemTotal: x kB", "MemTotal: -5 kB\nMemAvailable: -9 kB", "MemTotal: 5 kB\nMemAvailable: 900 kB\nCached: 999 kB",
        b"\xff\x00", "MemTotal: " + "9" * 50,
    ],
)  # fmt: skip
def test_G12_odd_figures_make_a_line_that_is_accepted(tmp_path: Path, text: object):
    tree = Tree(tmp_path)
    for name in ("meminfo", "vmstat", "pressure/memory"):
        tree.write(f"proc/{name}", text)
    sample = Sample(time=1.0, memory=MainMemory(tmp_path, Clock()).read())
    assert parse_sample(format_sample(sample)) == sample
    assert sample.memory.used is None or 0 <= sample.memory.used <= (sample.memory.total or 0)
