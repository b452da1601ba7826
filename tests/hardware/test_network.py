"""Traffic of the interfaces."""

from __future__ import annotations

from pathlib import Path

from tests.hardware.tree import Clock, Tree
from tui.hardware.network import Interfaces
from tui.hardware.sample import Network


def dev(tree: Tree, **counts: tuple[int, int]) -> None:
    lines = ["Inter-|   Receive  |  Transmit", " face |bytes packets errs drop fifo frame compressed multicast|bytes packets"]
    lines += [f"{name:>6}:{received:>8} 1 0 0 0 0 0 0 {sent:>8} 1 0 0 0 0 0 0" for name, (received, sent) in counts.items()]
    tree.write("proc/net/dev", "\n".join(lines))


def test_rates_leave_loopback_out_and_are_never_negative(tmp_path: Path):
    tree, clock = Tree(tmp_path), Clock()
    interfaces = Interfaces(tmp_path, clock)
    dev(tree, lo=(10**9, 10**9), eth0=(1000, 500))
    assert interfaces.read() == Network()
    clock.now += 2
    dev(tree, lo=(2 * 10**9, 0), eth0=(3000, 700))
    assert interfaces.read() == Network(1000, 100)
    clock.now += 1
    dev(tree, eth0=(0, 0))
    assert interfaces.read() == Network(0, 0)


def test_G12_an_interface_that_comes_counts_from_then_on(tmp_path: Path):
    tree, clock = Tree(tmp_path), Clock()
    interfaces = Interfaces(tmp_path, clock)
    dev(tree, eth0=(1000, 500))
    interfaces.read()
    clock.now += 1
    dev(tree, eth0=(1010, 505), wlan0=(9 * 10**12, 9 * 10**12))
    assert interfaces.read() == Network(10, 5)
    clock.now += 1
    dev(tree, wlan0=(9 * 10**12 + 7, 9 * 10**12))
    assert interfaces.read() == Network(7, 0)


def test_G12_no_file_and_nonsense(tmp_path: Path):
    tree, clock = Tree(tmp_path), Clock()
    interfaces = Interfaces(tmp_path, clock)
    for text in (None, "", "eth0:", "eth0: x y z a b c d e f g", b"\xff: 1"):
        if text is not None:
            tree.write("proc/net/dev", text)
        clock.now += 1
        assert interfaces.read() == Network()
