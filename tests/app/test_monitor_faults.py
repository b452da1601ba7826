"""The Monitor while the terminal misbehaves: sizes, slow lines, lines that stop."""

from __future__ import annotations

import fcntl
import os
import random
import re
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import pytest

from tests.app.conftest import Home, leave, wait
from tests.app.machines import Machine
from tests.support.pty import Terminal

FULL = 4000
"""Unread bytes from which the kernel takes no whole frame more (a pseudo-terminal holds 4,095)."""
SMALL = ((11, 39), (1, 1), (5, 500))
SIZES = ((12, 40), (60, 200), (16, 60), (40, 120), *SMALL, (24, 80))


def unread(terminal: Terminal) -> int:
    """Bytes that the program wrote and nobody read."""
    (count,) = struct.unpack("i", fcntl.ioctl(terminal._master, termios.FIONREAD, bytes(4)))
    return int(count)


@contextmanager
def slow(terminal: Terminal, rate: int) -> Iterator[None]:
    """Only so many bytes a second are read, in ten portions."""
    ended = Event()
    terminal.stall()

    def read() -> None:
        while not ended.wait(0.1):
            count = min(unread(terminal), rate // 10)
            data = os.read(terminal._master, count) if count else b""
            with terminal._changed:
                terminal._feed(data)
                terminal._changed.notify_all()

    reader = Thread(target=read, name="slow line", daemon=True)
    reader.start()
    try:
        yield
    finally:
        ended.set()
        reader.join(10)
        terminal.resume()


def body(terminal: Terminal) -> list[str]:
    """What stands still while the Monitor is frozen: not the line that tells the age, the status line and the keys."""
    return terminal.screen_lines()[2:-2]


def freeze(terminal: Terminal) -> None:
    terminal.wait_for(lambda: re.search(r" CPU +\d+ % .*\n(.*\n)* GPU1 +97 % ", terminal.screen_text()))
    terminal.send("p")
    terminal.wait_for("frozen at")


def age(terminal: Terminal) -> float:
    """Seconds since what is frozen."""
    found = re.search(r"([\d.]+)s ago", terminal.screen_lines()[1])
    return float(found[1]) if found else 0.0


def redrawn(terminal: Terminal, wide: int = 80) -> list[str]:
    """The screen, drawn anew as a whole, as wide as the terminal: the same twice."""
    shots: list[list[str]] = [[], []]

    def settled() -> bool:
        before, least = len(terminal.raw), len("".join(body(terminal)).replace(" ", ""))
        terminal.send("\x0c")
        terminal.wait_for(lambda: len(terminal.raw) > before + least)
        lines = terminal.screen_lines()
        fits = wide - 3 <= len(lines[1]) <= wide and lines[-1].startswith(" U unload")
        shots.append(body(terminal) if fits and "GPU1   97 %" in terminal.screen_text() else [])
        return bool(shots[-1]) and shots[-1] == shots[-2]

    terminal.wait_for(settled)
    return shots[-1]


def test_T07_storms_of_sizes_end_with_the_right_screen(machine: Machine) -> None:
    terminal = machine.monitor("fine", rows=60, cols=200)
    freeze(terminal)
    right = {}
    for high, wide in SIZES:
        terminal.resize(high, wide)
        if (high, wide) in SMALL:
            continue
        right[high, wide] = redrawn(terminal, wide)
    chance = random.Random(7)
    for high, wide in right:
        for _step in range(12):
            terminal.resize(*chance.choice(((chance.randint(1, 60), chance.randint(1, 200)), *SIZES)))
        terminal.resize(high, wide)
        wanted = right[high, wide]
        with suppress(AssertionError):
            terminal.wait_for(lambda wanted=wanted: body(terminal) == wanted, timeout=10)  # type: ignore[misc]
        assert body(terminal) == wanted
    terminal.resize(11, 39)
    terminal.wait_for("Paddock needs 40x12, has 39x11")
    terminal.resize(24, 80)
    terminal.wait_for(lambda: body(terminal) == right[24, 80])
    terminal.send("p")
    terminal.wait_for("as of now")
    leave(terminal)


@pytest.mark.parametrize("rate", [20_000, pytest.param(1_000, marks=pytest.mark.sweep)])
def test_T13_on_a_slow_line_keys_answer_and_the_screen_is_right(home: Home, machine: Machine, rate: int) -> None:
    home.configure(f"[appearance]\nlink = {rate}\n")
    terminal = machine.start("fine")
    with slow(terminal, rate):
        terminal.wait_for("1 Providers")
        terminal.send("\x075")
        terminal.wait_for(lambda: " CPU " in terminal.screen_text() and "GPU1   97 %" in terminal.screen_text())
        began = len(terminal.raw)
        for key, shown in (("]", "last 10 min"), ("[", "last 2 min")) * 2:
            sent = time.monotonic()
            terminal.send(key)
            terminal.wait_for(shown)
            assert time.monotonic() - sent < 3
        freeze(terminal)
        terminal.wait_for(lambda: age(terminal) > 1)
        found = body(terminal)
        assert len(terminal.raw) > began
        assert unread(terminal) <= rate
    assert redrawn(terminal) == found
    leave(terminal)


def test_T04_P25_a_terminal_that_is_not_read_keeps_no_alert_and_no_figure_away(home: Home, machine: Machine) -> None:
    """The alert runs its command, the history is written, and the terminal catches up."""
    often = {
        "tui.services.monitor.history": {"COARSE": [[1.0, 720], [60.0, 1440]]},
        "tui.services.monitor.keeping": {"EVERY": 0.5},
    }
    rang = home.folder / "rang"
    quiet = '[monitor]\ninterval = "500ms"\n[limits]\ncount = "all"\n[alerts]\ncpu = 0\ndisk = 0\ngpu = 0\nafter = "1s"\n'
    quiet += f'command = ["/bin/cp", "/dev/stdin", "{rang}"]\nmemory = '
    home.configure(quiet + "0\n")
    terminal = machine.monitor("fine", tuned=often)
    wait(lambda: home.paths.locks.joinpath("rules.lock").exists(), "somebody who watches the rules")
    terminal.stall()

    def stuffed() -> bool:
        terminal.send("\x0c")
        return unread(terminal) >= FULL

    wait(stuffed, "a line that takes nothing more")
    assert home.read("SELECT count(*) FROM alert") == [(0,)]
    ((newest,),) = home.read("SELECT coalesce(max(at), 0) FROM sample WHERE step = 1")
    home.configure(quiet + "1\n")
    wait(lambda: home.read("SELECT rule, ended_at FROM alert") == [("memory", None)], "an alert while nobody reads the terminal")
    wait(lambda: rang.exists() and '"memory"' in rang.read_text(), "the alert command")
    wait(lambda: home.read("SELECT count(DISTINCT at) > 1 FROM sample WHERE step = 1 AND at > ?", newest) == [(1,)], "more history")
    assert unread(terminal) >= FULL
    terminal.resume()
    terminal.wait_for("5 Monitor !1")
    terminal.send("p")
    terminal.wait_for("frozen at")
    leave(terminal)
