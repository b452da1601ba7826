"""Processes: the largest, their names and accounts, and those that cannot be seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hardware.tree import Clock, Tree
from tui.hardware import processes as module
from tui.hardware.processes import SHOWN, Found, Names, Processes, Who, named
from tui.hardware.sample import Gpu, GpuProcess, Sample
from tui.hardware.sample_line import format_sample, parse_sample

KB = 1024


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "proc").mkdir()
    return Tree(tmp_path)


def test_the_largest_by_what_only_they_hold(tree: Tree):
    clock = Clock()
    tree.process(10, "ollama", anon=500_000, ticks=100)
    tree.process(11, "mapped", anon=1000, file=90_000_000)
    tree.process(12, "postgres", shmem=2_000_000)
    tree.process(2, "kthreadd")
    processes = Processes(tree.root, clock)
    found = processes.read()
    assert [(process.pid, process.name, process.memory, process.percent) for process in found.processes] == [
        (12, "postgres", 2_000_000 * KB, None), (10, "ollama", 500_000 * KB, None), (11, "mapped", 1000 * KB, None)
    ]  # fmt: skip
    clock.now += 2
    tree.process(10, "ollama", anon=500_000, ticks=100 + 3 * os.sysconf("SC_CLK_TCK"))
    tree.process(12, "postgres", shmem=2_000_000, born=99, ticks=5000)  # another one with its number
    percents = {process.pid: process.percent for process in processes.read().processes}
    assert percents == {10: 150.0, 11: 0.0, 12: None}


def test_only_the_largest_of_many_are_told(tree: Tree):
    for pid in range(1, 400):
        tree.process(pid, f"p{pid}", anon=pid * 10)
    found = Processes(tree.root, Clock()).read().processes
    assert [process.pid for process in found] == list(range(399, 399 - SHOWN, -1))


def test_a_kernel_that_does_not_tell_kinds_of_memory(tree: Tree):
    tree.process(5, "old", anon=1000, shmem=200)
    tree.write("proc/5/status", "Name: old\nUid:\t0\t0\t0\t0")
    assert Processes(tree.root, Clock()).read().processes[0].memory == 1000 * KB


def test_G09_a_process_that_ends_while_it_is_looked_at(tree: Tree, monkeypatch: pytest.MonkeyPatch):
    for pid in (5, 6, 7, 8):
        tree.process(pid, f"p{pid}", anon=1000)
    (tree.root / "proc/5/stat").unlink()
    (tree.root / "proc/6/status").unlink()
    (tree.root / "proc/6/statm").unlink()
    there = ["5", "6", "7", "8", "9", "self", "10"]
    monkeypatch.setattr(os, "listdir", lambda _path: there)
    found = Processes(tree.root, Clock()).read()
    assert [process.pid for process in found.processes] == [8, 7]


def test_G09_processes_of_others_that_may_not_be_read_are_counted(tree: Tree):
    tree.process(5, "mine", anon=1000)
    for pid in (6, 7):
        (tree.root / f"proc/{pid}").mkdir()  # hidepid=1: there, and empty to us
    assert Processes(tree.root, Clock()).read().hidden == 2


def test_G09_hidepid_2_the_control_groups_count_them_still(tree: Tree, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    tree.process(5, "mine", anon=1000)
    tree.write("sys/fs/cgroup/cgroup.procs", "2\n3\n4")  # the kernel's own
    tree.write("sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope/cgroup.procs", "5")
    tree.write("sys/fs/cgroup/system.slice/a.service/cgroup.procs", "60\n61\n62")
    tree.write("sys/fs/cgroup/system.slice/b.service/cgroup.procs", "70\n0\n0")  # 0: of another namespace
    refused = {60, 61}

    def kill(pid: int, signal: int) -> None:
        assert signal == 0
        raise PermissionError if pid in refused else ProcessLookupError if pid == 62 else PermissionError

    monkeypatch.setattr(os, "kill", kill)
    processes = Processes(tree.root, clock)
    assert processes.read().hidden == 3 + 2
    tree.write("sys/fs/cgroup/system.slice/c.service/cgroup.procs", "80")
    clock.now += 10
    assert processes.read().hidden == 5  # counted once a minute
    clock.now += 60
    assert processes.read().hidden == 6


@pytest.mark.parametrize("top", ["", "unified/", "systemd/", "pids/"])
def test_G09_processes_of_other_namespaces_are_counted_once_in_both_versions(tree: Tree, top: str):
    for kind in {top, "memory/"} if top else {""}:
        tree.write(f"sys/fs/cgroup/{kind}cgroup.procs", "1\n0")
        tree.write(f"sys/fs/cgroup/{kind}k8s.io/pod/cgroup.procs", "0\n0")
    assert Processes(tree.root, Clock()).read().hidden == 2


def test_without_proc_there_are_none(tmp_path: Path):
    assert Processes(tmp_path / "nowhere", Clock()).read() == Found()


HOSTILE = b"\x1b]0;owned\x07\x1b[2J[red]x[/red]\n\xff\xe2\x80\xae) 1 2 ("


def test_G10_names_of_others_are_cleaned(tree: Tree):
    tree.process(5, HOSTILE[:15], anon=1000, argv=[HOSTILE[:15] + b"/evil", HOSTILE])
    tree.process(6, b"python3", anon=900, argv=["python3", b"-u", b"/srv/" + HOSTILE.replace(b"/", b"")])
    tree.process(7, b") R 1 (", anon=800)
    sample = Sample(time=1.0, processes=Processes(tree.root, Clock()).read().processes)
    assert parse_sample(format_sample(sample)) == sample
    assert len(sample.processes) == 3 and sample.processes[2].name == ") R 1 ("
    for process in sample.processes:
        assert process.name.isprintable() and "\u202e" not in process.name and len(process.name) <= 64


@pytest.mark.parametrize(
    ("argv", "comm", "name"),
    [
        (["/usr/bin/ollama", "runner", "--model", "x"], "ollama", "ollama"),
        (["/usr/bin/python3.12", "-u", "/srv/train.py", "--lr", "1"], "python3.12", "python3.12 train.py"),
        (["python", "-m", "vllm.entrypoints.api_server"], "python", "python -m vllm.entrypoints.api_server"),
        (["python", "-c", "import os; print(1.0)"], "python", "python"),
        (["VLLM::EngineCore"], "VLLM::EngineCor", "VLLM::EngineCore"),
        (["nginx: worker process"], "nginx", "nginx"),
        ([], "kworker/0:1", "kworker/0:1"),
        (["", ""], "odd", "odd"),
        (["-bash"], "bash", "bash"),
        (["/proc/self/exe", "x"], "runc", "runc"),
        (["a-very-long-name-of-a-program"], "a-very-long-nam", "a-very-long-name-of-a-program"),
    ],
)
def test_how_a_program_is_called(tree: Tree, argv: list[str], comm: str, name: str):
    tree.process(5, comm, argv=argv)
    assert Names(tree.root, Clock()).who(5) == Who(name, "root")


def test_an_account_without_a_name_is_its_number(tree: Tree):
    tree.process(5, "x", uid=987_654_321)
    assert Names(tree.root, Clock()).who(5) == Who("x", "987654321")


def test_a_name_is_asked_once_and_a_number_that_is_used_again_is_another(tree: Tree, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    tree.process(5, "first")
    names = Names(tree.root, clock)
    read: list[str] = []
    text = module.reading.text
    monkeypatch.setattr(module.reading, "text", lambda path, *rest: read.append(str(path)) or text(path, *rest))
    assert names.who(5) == names.who(5) == Who("first", "root")
    assert len(read) == 3
    tree.process(5, "second", born=8)
    clock.now += 11
    assert names.who(5) == Who("second", "root")
    for file in list((tree.root / "proc/5").iterdir()):
        file.unlink()
    (tree.root / "proc/5").rmdir()
    assert names.who(5) is None


def test_P77_names_of_what_is_gone_are_not_kept(tree: Tree, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_NAMES", 10)
    names = Names(tree.root, Clock())
    for pid in range(1, 30):
        tree.process(pid, "x", uid=pid + 10**6)
        names.who(pid)
    assert len(names._known) <= 10 and len(names._users) <= 10
    names.forget(but=[29])
    assert list(names._known) == [29]


def test_processes_on_a_gpu_get_their_names_and_the_others_are_counted(tree: Tree):
    tree.process(5, "ollama")
    gpu = Gpu("u", 0, processes=(GpuProcess(5, 100), GpuProcess(99_999_999, 50, name="told by the driver"), GpuProcess(99_999_998)))
    (found,) = named((gpu,), Names(tree.root, Clock()).who)
    assert found.processes == (
        GpuProcess(5, 100, None, "ollama", "root"), GpuProcess(99_999_999, 50, None, "told by the driver"), GpuProcess(99_999_998)
    )  # fmt: skip
    assert found.hidden == 2
    assert named((Gpu("v", 1, hidden=4),), Names(tree.root, Clock()).who)[0].hidden == 4
