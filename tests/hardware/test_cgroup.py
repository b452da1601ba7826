"""Control groups of both versions: which limit counts, and how much of it is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hardware.tree import Clock, Tree
from tui.hardware.cgroup import ControlGroup
from tui.hardware.sample import Cgroup, Sample
from tui.hardware.sample_line import format_sample, parse_sample

GB = 2**30
NONE_V1 = 9223372036854771712


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path)
    made.meminfo(MemTotal=64 * 2**20, MemFree=1)
    made.stat([(1, 1)] * 16)
    return made


def test_no_group_has_a_limit(tree: Tree):
    assert ControlGroup(tree.root, Clock()).read() is None
    tree.cgroup2("/user.slice/app", {"user.slice/app": {"memory.max": "max", "cpu.max": "max 100000", "cpuset.cpus.effective": "0-15"}})
    assert ControlGroup(tree.root, Clock()).read() is None


def test_G12_version_2_the_tightest_limit_on_the_way_up_counts(tree: Tree):
    clock = Clock()
    parts = f"anon {GB}\nactive_file {GB}\ninactive_file {GB}\nslab_reclaimable 0"
    tree.cgroup2(
        "/kube/pod/container",
        {
            "kube": {"memory.max": 32 * GB, "cpu.max": "max 100000"},
            "kube/pod": {
                **{"memory.max": 8 * GB, "memory.current": 5 * GB, "memory.stat": parts},
                **{"cpu.max": "250000 100000", "cpu.stat": "usage_usec 1000000\nuser_usec 5"},
            },
            "kube/pod/container": {"memory.max": "max", "memory.current": GB, "cpu.max": "400000 100000", "cpuset.cpus.effective": "0-7"},
        },
    )  # fmt: skip
    group = ControlGroup(tree.root, clock)
    assert group.read() == Cgroup(2, 8 * GB, 3 * GB, 2.5, None)
    clock.now += 2
    tree.write("sys/fs/cgroup/kube/pod/cpu.stat", "usage_usec 3500000")
    assert group.read() == Cgroup(2, 8 * GB, 3 * GB, 2.5, 50.0)
    clock.now += 1
    tree.write("sys/fs/cgroup/kube/pod/cpu.stat", "usage_usec 99000000")  # more than is allowed: a burst
    found = group.read()
    assert found is not None and found.cpu_percent == 100.0


def test_version_2_inside_a_container_paths_of_the_host_mean_nothing(tree: Tree):
    tree.cgroup2("/../../docker/abc", {"": {"memory.max": GB, "memory.current": GB // 2, "cpuset.cpus.effective": "0,2-3"}})
    assert ControlGroup(tree.root, Clock()).read() == Cgroup(2, GB, GB // 2, 3.0, None)


def test_version_2_a_mount_that_begins_within(tree: Tree):
    tree.cgroup2("/docker/abc/inner", {"inner": {"memory.max": GB, "memory.current": 7}, "": {"memory.max": 2 * GB}}, within="/docker/abc")
    assert ControlGroup(tree.root, Clock()).read() == Cgroup(2, GB, 7)


def test_G12_version_1(tree: Tree):
    clock = Clock()
    parts = f"inactive_file 5\ntotal_inactive_file {GB}\ntotal_active_file 0"
    tree.cgroup1(
        "/docker/abc",
        {
            "memory": {"memory.limit_in_bytes": NONE_V1},
            "memory/docker": {"memory.limit_in_bytes": NONE_V1},
            "memory/docker/abc": {"memory.limit_in_bytes": 4 * GB, "memory.usage_in_bytes": 3 * GB, "memory.stat": parts},
            "cpu,cpuacct/docker": {"cpu.cfs_quota_us": -1, "cpu.cfs_period_us": 100_000},
            "cpu,cpuacct/docker/abc": {"cpu.cfs_quota_us": 200_000, "cpu.cfs_period_us": 100_000, "cpuacct.usage": 10**9},
        },
    )  # fmt: skip
    group = ControlGroup(tree.root, clock)
    assert group.read() == Cgroup(1, 4 * GB, 2 * GB, 2.0)
    clock.now += 4
    tree.write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpuacct.usage", 3 * 10**9)
    assert group.read() == Cgroup(1, 4 * GB, 2 * GB, 2.0, 25.0)


def test_version_1_a_set_of_processors(tree: Tree):
    clock = Clock()
    tree.cgroup1("/job", {"cpuset/job": {"cpuset.effective_cpus": "0-3", "cpuset.cpus": "0-31"}, "cpu,cpuacct/job": {"cpuacct.usage": 0}})
    group = ControlGroup(tree.root, clock)
    group.read()
    clock.now += 1
    tree.write("sys/fs/cgroup/cpu,cpuacct/job/cpuacct.usage", 10**9)
    assert group.read() == Cgroup(1, None, None, 4.0, 25.0)


def test_a_limit_that_the_machine_does_not_reach_is_none(tree: Tree):
    tree.cgroup2("/a", {"a": {"memory.max": 65 * GB, "cpu.max": "1600000 100000"}})
    assert ControlGroup(tree.root, Clock()).read() is None


def test_limits_that_change_are_seen(tree: Tree):
    clock = Clock()
    tree.cgroup2("/a", {"a": {"memory.max": GB, "memory.current": 5}})
    group = ControlGroup(tree.root, clock)
    assert group.read() == Cgroup(2, GB, 5)
    tree.write("sys/fs/cgroup/a/memory.max", 2 * GB)
    clock.now += 11
    assert group.read() == Cgroup(2, 2 * GB, 5)
    tree.write("sys/fs/cgroup/a/memory.max", "max")
    clock.now += 11
    assert group.read() is None


@pytest.mark.parametrize("text", ["", "max", "-1", "0", "x y", "1 0", "0 100000", "-5 -5", b"\xff\xfe", "9" * 60, "3-1", "5-", ","])
def test_G12_odd_files_make_a_line_that_is_accepted(tree: Tree, text: object):
    names = ("memory.max", "memory.current", "memory.stat", "cpu.max", "cpu.stat", "cpuset.cpus.effective")
    tree.cgroup2("/a/b", {"a/b": dict.fromkeys(names, text), "a": {"memory.max": GB, "cpu.max": "100000 100000"}})
    clock = Clock()
    group = ControlGroup(tree.root, clock)
    for _ in range(2):
        clock.now += 1
        sample = Sample(time=1.0, cgroup=group.read())
        assert parse_sample(format_sample(sample)) == sample


@pytest.mark.parametrize("text", ["", "nonsense", "0::", "::::", b"\xff", "0::/a/../../../../etc", "5:memory:/x\n" * 3])
def test_G12_odd_descriptions_of_the_groups_are_none(tree: Tree, text: object):
    tree.cgroup2("/a", {"a": {"memory.max": "max"}})
    tree.write("proc/self/cgroup", text)
    assert ControlGroup(tree.root, Clock()).read() is None
    tree.write("proc/self/mountinfo", text)
    assert ControlGroup(tree.root, Clock()).read() is None
