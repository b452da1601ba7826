"""What a person can do, from the keyboard of a real terminal: issue by issue the sentences that must stay true."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest

from tests.app.conftest import Home, leave, wait
from tui.demo.server import Pace
from tui.providers.catalogue import default_ports, kinds

QUICK = Pace(pull=4e9, tokens=400, load=0.05, idle=600)
STEADY = Pace(pull=150e6, tokens=60, load=0.05, idle=600)
Ollama = Callable[[Pace], None]


@pytest.mark.parametrize("size", [(24, 80), (40, 120)])
def test_with_a_server_it_opens_on_its_models_without_a_question(home: Home, ollama: Ollama, size: tuple[int, int]) -> None:
    ollama(QUICK)
    terminal = home.start(rows=size[0], cols=size[1])
    terminal.wait_for("5 models")
    terminal.wait_for("qwen3:8b")
    terminal.wait_for("Apache License")
    terminal.send("1")
    terminal.wait_for("Ollama 0.24.0")
    terminal.wait_for("up, ")
    terminal.wait_for("5 models, none loaded" if "none loaded" in terminal.screen_text() else "5 models")
    leave(terminal)


def test_with_nothing_running_the_first_screen_says_what_was_looked_at(home: Home) -> None:
    if any(listens(port) for port in default_ports(kinds())):
        pytest.skip("a model server runs on this machine")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    home.env["OLLAMA_HOST"] = f"127.0.0.1:{closed}"
    home.paths.config_file.unlink()
    terminal = home.start()
    terminal.wait_for(f"OLLAMA_HOST is set. Cannot reach Ollama at 127.0.0.1:{closed}: nothing is")
    terminal.wait_for("Looked at 127.0.0.1:11434 (Ollama)")
    terminal.wait_for("Connect to a server")
    terminal.send("\r")
    terminal.wait_for("DEMO")
    terminal.wait_for("5 models")
    leave(terminal)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_P05_a_pull_outlives_the_closed_window(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    terminal = home.start()
    terminal.wait_for("5 models")
    terminal.send("a")
    terminal.wait_for("Pull")
    terminal.send("mistral:7b\r")
    wait(lambda: home.worker(), "the worker")
    terminal.send("3")
    terminal.wait_for("mistral:7b")
    terminal.wait_for("MB/s")
    terminal.hang_up()
    assert terminal.process.wait(5) == 128 + signal.SIGHUP
    worker = home.worker()
    assert worker
    again = home.start()
    again.send("3")
    again.wait_for("mistral:7b")
    again.wait_for("done ")
    assert home.worker() == worker
    again.send("2")
    again.wait_for("5 models")
    leave(again)


def test_P05_after_kill_9_of_everything_the_queue_goes_on_at_the_next_start(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    terminal = home.start()
    terminal.wait_for("5 models")
    for name in ("mistral:7b", "phi4:14b", "gemma3:12b"):
        terminal.send("a")
        terminal.wait_for("Pull")
        terminal.send(f"{name}\r")
        wait(lambda name=name: name in [row[0] for row in _jobs(home)], name)
    wait(lambda: "fetching" in [row[1] for row in _jobs(home)], "a pull that runs")
    first = home.worker()
    os.kill(first, signal.SIGKILL)
    terminal.signal(signal.SIGKILL)
    terminal.exit_code()
    assert [row[0] for row in _jobs(home)] == ["mistral:7b", "phi4:14b", "gemma3:12b"]
    again = home.start()
    again.wait_for("5 models")
    again.send("3")
    again.wait_for("mistral:7b")
    wait(lambda: home.worker() not in (0, first), "another worker")
    again.wait_for("MB/s")
    leave(again)


def _jobs(home: Home) -> list[tuple[str, str]]:
    return [(str(row[0]), str(row[1])) for row in home.read("SELECT model, state FROM job ORDER BY position, id")]


def test_P03_a_stopped_answer_keeps_what_came_and_is_found_again(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    terminal = home.start()
    terminal.wait_for("5 models")
    terminal.send("\r")
    terminal.wait_for("enter sends")
    terminal.send("Which quantization?\r")
    terminal.wait_for("About: Which")
    terminal.send("\x1b")
    terminal.wait_for("stopped by you")
    leave(terminal)
    kept = home.read("SELECT content, state FROM message WHERE role = 'assistant'")
    assert kept[0][1] == "stopped"
    assert "About: Which quantization?" in kept[0][0]
    again = home.start()
    again.wait_for("enter sends")
    again.send("\x0f")
    again.wait_for("Which quantization?")
    again.send("\r")
    again.wait_for("stopped by you")
    again.send("and now?\r")
    again.wait_for("About: and now?")
    leave(again)


def test_P08_a_setting_takes_effect_at_once_and_comments_stay(home: Home, ollama: Ollama) -> None:
    ollama(QUICK)
    home.configure('# mine\n\n[appearance]\nunits = "decimal"  # as disks are sold\n')
    terminal = home.start()
    terminal.wait_for("5.2 GB")
    terminal.send("6")
    terminal.wait_for("config.toml")
    terminal.send("/")
    terminal.send("units")
    terminal.send("\r")
    terminal.wait_for("PADDOCK_APPEARANCE__UNITS")
    terminal.send("\r")
    terminal.send("\x1b[B\r")
    wait(lambda: 'units = "binary"  # as disks are sold' in home.paths.config_file.read_text(), "the line in the file")
    assert home.paths.config_file.read_text().startswith("[general]\ndiscover = false\n# mine\n")
    terminal.send("2")
    terminal.wait_for("4.9 GiB")
    leave(terminal)


def test_P04_a_draft_survives_kill_9(home: Home, ollama: Ollama) -> None:
    ollama(QUICK)
    terminal = home.start()
    terminal.wait_for("5 models")
    terminal.send("\r")
    terminal.wait_for("enter sends")
    terminal.send("half a thought")
    wait(lambda: ("half a thought",) in home.read("SELECT text FROM draft"), "the draft on disk", 5)
    terminal.signal(signal.SIGKILL)
    terminal.exit_code()
    again = home.start()
    again.wait_for("half a thought")
    leave(again)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "screen", "COLORTERM": ""}, {"TERM": "linux", "COLORTERM": ""}])
def test_T09_T10_it_works_with_fewer_colours(home: Home, ollama: Ollama, env: dict[str, str]) -> None:
    ollama(QUICK)
    terminal = home.start(env=env)
    terminal.wait_for("5 models")
    for key, shown in (("5", "CPU"), ("6", "config.toml"), ("3", "Nothing is queued"), ("1", "up, ")):
        terminal.send(key)
        terminal.wait_for(shown)
    if "NO_COLOR" in env:
        assert b"\x1b[38;" not in terminal.raw
        assert b";48;" not in terminal.raw
    else:
        assert b"38;2;" not in terminal.raw
    leave(terminal)


def test_the_demo_needs_nothing_and_says_so(home: Home) -> None:
    terminal = home.start("--demo")
    terminal.wait_for("5 models")
    for number in "123456":
        terminal.send(f"\x07{number}")
        terminal.wait_for("DEMO")
        terminal.wait_for("demo, simulated")
    leave(terminal)
