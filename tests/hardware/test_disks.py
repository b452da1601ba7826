"""Space and traffic of the watched folders' filesystems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hardware.tree import Clock, Tree
from tui.hardware.disks import Filesystems
from tui.hardware.sample import Sample
from tui.hardware.sample_line import format_sample, parse_sample


def number(path: Path) -> str:
    device = path.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def test_space_and_rates(tmp_path: Path):
    tree, clock = Tree(tmp_path / "root"), Clock()
    file = f"sys/dev/block/{number(tmp_path)}/stat"
    tree.write(file, "10 0 1000 5 20 0 400 5 0 0 0")
    disks = Filesystems([str(tmp_path), str(tmp_path / "models" / "of later")], tree.root, clock)
    (first,) = disks.read()
    assert first.path == str(tmp_path) and first.total and first.used is not None and first.free is not None and first.read is None
    clock.now += 2
    tree.write(file, "10 0 3000 5 20 0 800 5 0 0 0")
    (found,) = disks.read()
    assert (found.read, found.write) == (2000 * 512 / 2, 400 * 512 / 2)


def test_a_filesystem_with_a_number_of_its_own_is_found_by_its_device(tmp_path: Path):
    tree, clock = Tree(tmp_path / "root"), Clock()
    tree.write("proc/self/mountinfo", f"36 1 {number(tmp_path)} /@home /home rw - btrfs /dev/mapper/crypt rw,subvol=/@home")
    tree.write("dev/dm-0", "")
    (tree.root / "dev/mapper").mkdir()
    (tree.root / "dev/mapper/crypt").symlink_to("../dm-0")
    disks = Filesystems([str(tmp_path)], tree.root, clock)
    for sectors in (0, 10):
        clock.now += 1
        tree.write("sys/class/block/dm-0/stat", f"1 0 {sectors} 5 20 0 {sectors * 2} 5 0 0 0")
        found = disks.read()
    assert (found[0].read, found[0].write) == (5120, 10_240)


@pytest.mark.parametrize("text", [None, "", "1 2", "a b c d e f g h", b"\xff"])
def test_G12_a_device_that_is_not_counted_has_space_all_the_same(tmp_path: Path, text: object):
    tree, clock = Tree(tmp_path / "root"), Clock()
    if text is not None:
        tree.write(f"sys/dev/block/{number(tmp_path)}/stat", text)
    disks = Filesystems([str(tmp_path), "relative/path", "bad\0path"], tree.root, clock)
    for _ in range(2):
        clock.now += 1
        found = disks.read()
        assert found[0].total and found[0].read is None


def test_X_a_path_is_shown_cleaned(tmp_path: Path):
    odd = tmp_path / "\x1b[31m\u202e"
    odd.mkdir()
    (found,) = Filesystems([str(odd)], tmp_path).read()
    assert "\x1b" not in found.path and "\u202e" not in found.path
    sample = Sample(time=1.0, disks=(found,))
    assert parse_sample(format_sample(sample)) == sample


def test_X_a_filesystem_without_end_has_no_size_and_spoils_no_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those of object stores tell 2**64 bytes."""
    space = os.statvfs(tmp_path)
    endless = os.statvfs_result((2**24, 2**24, 2**40, 2**40, 2**40, *tuple(space)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: endless)
    found = Filesystems([str(tmp_path)], tmp_path).read()
    assert (found[0].total, found[0].used, found[0].free) == (None, 0, None)
    sample = Sample(1.0, disks=found)
    assert parse_sample(format_sample(sample)) == sample
