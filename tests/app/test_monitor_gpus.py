"""What the driver of the GPUs may do, from its library to the text on the terminal: the whole program, its real sampler, a library of C."""

from __future__ import annotations

import re
import time

import pytest

from tests.app.conftest import leave, wait
from tests.app.machines import HASTY, Machine
from tests.support.pty import Terminal
from tests.wire.test_wire_terminal import foreign


def line(terminal: Terminal, begin: str) -> str:
    """The row of the Monitor that begins so; empty where there is none."""
    return next((row for row in terminal.screen_lines()[1:-2] if row.startswith(f" {begin} ")), "")


def measures(terminal: Terminal) -> None:
    """The processor's figures come, and go on coming."""
    terminal.wait_for(lambda: re.search(r" \d+ % ", line(terminal, "CPU")))
    before = line(terminal, "CPU")
    terminal.wait_for(lambda: line(terminal, "CPU") not in ("", before))


def obeys(terminal: Terminal) -> None:
    """Keys answer on this screen and on another one, and quitting is quick."""
    for key, shown in (("]", "last 10 min"), ("[", "last 2 min"), ("6", "config.toml"), ("5", "last 2 min")):
        terminal.send(key)
        terminal.wait_for(shown, timeout=5)
    began = time.monotonic()
    leave(terminal)
    assert time.monotonic() - began < 2


def quiet(terminal: Terminal) -> float:
    """Seconds that the note on the Monitor tells; 0 without one."""
    found = re.search(r"GPU data: no answer for ([\d.]+)s", "\n".join(terminal.screen_lines()[1:-2]))
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("mismatch", "driver and library versions differ; reboot or reload the driver"),
        pytest.param("unloaded", "the NVIDIA driver is not loaded", marks=pytest.mark.sweep),
        pytest.param("denied", "no permission to ask the GPU driver", marks=pytest.mark.sweep),
        pytest.param("none", "no NVIDIA GPU", marks=pytest.mark.sweep),
    ],
)
def test_G01_G02_P31_what_is_wrong_stands_on_the_screen_once(machine: Machine, behaviour: str, words: str) -> None:
    terminal = machine.monitor(behaviour)
    terminal.wait_for(words)
    measures(terminal)
    assert terminal.screen_text().count(words) == 1
    assert "GPU0" not in terminal.screen_text()
    assert "as of now" in terminal.screen_text()
    leave(terminal)


def test_G03_P31_a_lost_card_is_marked_and_the_other_goes_on(machine: Machine) -> None:
    terminal = machine.monitor("lost")
    terminal.wait_for(lambda: "! the GPU is lost" in line(terminal, "GPU0") and " 97 % " in line(terminal, "GPU1"))
    assert "%" not in line(terminal, "GPU0")
    assert "71 °C" in line(terminal, "GPU1")
    leave(terminal)


def test_G04_P21_P31_a_library_that_hangs_delays_no_screen_no_key_and_no_end(machine: Machine) -> None:
    began = time.monotonic()
    terminal = machine.start("hang", tuned=HASTY)
    terminal.wait_for("1 Providers")
    assert time.monotonic() - began < 5  # one second on a machine of its own: benchmarks/first_frame.py
    terminal.send("\x075")
    terminal.wait_for(lambda: quiet(terminal) > 2.9)  # the first sampler was ended at 2
    measures(terminal)
    assert "as of now" in terminal.screen_text()
    obeys(terminal)


@pytest.mark.sweep
def test_G04_P31_a_library_that_hangs_is_said_to_for_twelve_seconds(machine: Machine) -> None:
    """At the real times."""
    terminal = machine.monitor("hang")
    terminal.wait_for(lambda: 12 <= quiet(terminal) < 14, timeout=40)
    measures(terminal)
    obeys(terminal)


def test_G05_P31_a_library_that_crashes_takes_only_its_figures(machine: Machine) -> None:
    terminal = machine.monitor("crash", tuned=HASTY)
    terminal.wait_for("GPU data: asking the driver ends the sampler")
    measures(terminal)
    assert "as of now" in terminal.screen_text()
    obeys(terminal)


@pytest.mark.sweep
def test_G06_X01_values_and_names_that_cannot_be_are_shown_as_dashes(machine: Machine) -> None:
    terminal = machine.monitor("odd", rows=40, cols=120)
    terminal.wait_for(lambda: "RTX" in line(terminal, "GPU0"))
    assert "[b]red[/b]" in line(terminal, "GPU0")
    for row in (line(terminal, "GPU0"), line(terminal, "GPU1")):
        assert re.match(r" GPU\d +– ", row)
        assert not re.search(r"\d (%|°C|W|MHz)|-40|4294967|1844674", row)
    leave(terminal)
    body = terminal.raw.partition(b"\x1b[?2004h")[2].partition(b"\x1b[?1049l")[0]
    assert foreign(body) == ""
    assert b"\x1b[31m[b]" not in body


def test_G07_P20_keys_answer_while_sixteen_cards_are_drawn_twice_a_second(machine: Machine) -> None:
    terminal = machine.monitor("many", rows=40, cols=120)
    terminal.wait_for(lambda: " 97 % " in line(terminal, "GPU15"))
    took = []
    for _turn in range(15):
        for key, shown in (("]", "last 10 min"), ("[", "last 2 min")):
            began = time.monotonic()
            terminal.send(key)
            terminal.wait_for(shown, timeout=5)
            took.append(time.monotonic() - began)
    took.sort()
    assert took[len(took) // 2] < 0.1  # the worst are the machine's: other tests run beside this one
    assert took[-1] < 1.5
    wait(lambda: line(terminal, "GPU15"), "the cards")
    leave(terminal)
