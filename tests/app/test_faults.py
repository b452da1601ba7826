"""The whole program with what goes wrong around it: signals, lost and stalled terminals, hanging and hostile servers, its own bugs."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.app.conftest import PROGRAM, Home, leave, wait
from tests.support.fault_server import Exchange, FaultServer
from tests.support.pty import Terminal
from tests.support.screen import CANARIES
from tests.wire.test_wire_terminal import foreign
from tui import guard
from tui.demo.server import Pace

STEADY = Pace(pull=4e9, tokens=60, load=0.05, idle=600)
Ollama = Callable[[Pace], None]


def family(terminal: Terminal) -> list[psutil.Process]:
    """The guard and all below it."""
    top = psutil.Process(terminal.process.pid)
    return [top, *top.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    def lives(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:  # it ended between the two
            return False

    return [process for process in processes if lives(process)]


@pytest.mark.parametrize(
    ("keys", "shown", "number"),
    [
        ("", "5 models", signal.SIGTERM),
        ("\r", "enter sends", signal.SIGHUP),
        ("5", "last 2 min", signal.SIGINT),
        ("a", "esc", signal.SIGQUIT),
        ("?", "search keys", signal.SIGTERM),
        ("6", "config.toml", signal.SIGHUP),
    ],
)
def test_T01_a_signal_restores_the_terminal(home: Home, ollama: Ollama, keys: str, shown: str, number: signal.Signals) -> None:
    ollama(STEADY)
    terminal = home.start()
    terminal.wait_for("5 models")
    terminal.send(keys)
    terminal.wait_for(shown)
    processes = family(terminal)
    terminal.signal(number)
    assert terminal.exit_code() == 128 + number
    before, _, after = terminal.raw.rpartition(b"\x1b[?1049l")
    assert b"\x1b[?2004l" in before
    assert b"\x1b[?25h" in after
    assert f"Paddock was ended by {number.name}. The log is in {home.paths.logs}.\r\n".encode() in after
    wait(lambda: not alive(processes), "the end of all processes")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_T02_the_interface_is_killed(home: Home, ollama: Ollama, number: signal.Signals) -> None:
    ollama(STEADY)
    terminal = home.start()
    terminal.wait_for("5 models")
    processes = family(terminal)
    processes[1].send_signal(number)
    assert terminal.exit_code() == 128 + number
    assert f"Paddock was ended by {number.name}." in terminal.raw.rpartition(guard.RESET)[2].decode()
    wait(lambda: not alive(processes), "the end of the sampler")


def test_T03_P72_a_lost_terminal_leaves_nothing_behind_even_with_hangup_ignored(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    environment = {**home.env, "OLLAMA_HOST": home.url}
    terminal = Terminal(["sh", "-c", 'trap "" HUP; "$@"', "sh", *PROGRAM], environment)
    try:
        terminal.wait_for("5 models")
        processes = family(terminal)
        terminal.hang_up()
        wait(lambda: not alive(processes), "the end of all processes", 8)
    finally:
        terminal.close()


def test_T04_P25_a_terminal_that_is_not_read_stops_neither_a_stream_nor_its_saving(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    terminal = home.start()
    terminal.wait_for("5 models")
    terminal.send("\r")
    terminal.wait_for("enter sends")
    terminal.send("Tell me\r")
    terminal.wait_for("About: Tell me")
    terminal.stall()

    def state() -> str:
        return str(home.read("SELECT state FROM message WHERE role = 'assistant'")[0][0])

    assert state() != "complete"
    wait(lambda: state() == "complete", "the whole answer on disk while nobody reads the terminal", 60)
    terminal.resume()
    terminal.wait_for("wrote ")
    leave(terminal)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (2, 500), (500, 2), (5, 20)])
def test_T07_a_window_too_small_says_so_and_recovers(home: Home, ollama: Ollama, rows: int, cols: int) -> None:
    ollama(STEADY)
    terminal = home.start(rows=rows, cols=cols)
    wait(lambda: psutil.Process(terminal.process.pid).children(), "the interface")
    if (rows, cols) == (5, 20):
        terminal.wait_for(lambda: "needs 60" in " ".join(terminal.screen_lines()))
    terminal.resize(24, 80)
    terminal.wait_for("5 models")
    for wide, high in ((20, 5), (300, 90), (61, 17), (1, 1), (80, 24)):
        terminal.resize(high, wide)
    terminal.wait_for(lambda: "5 models" in terminal.screen_lines()[1])
    terminal.wait_for("enter chat")
    leave(terminal)


BREAK = """
import importlib.abc, importlib.machinery, os, sys

def broken(*_arguments):
    secret = "sk-local-variable"
    raise RuntimeError("[bold]deliberate[/x] \\x1b[31m")

async def broken_later(*_arguments):
    broken()

def breaks(module):
    from textual.screen import Screen
    kind, screen = os.environ["BREAK"], module.MonitorScreen
    if kind == "compose": screen.body = broken
    elif kind == "mount": screen.start = broken
    elif kind == "timer": screen.start = lambda self: self.set_timer(0.01, broken)
    elif kind == "worker": screen.start = lambda self: self.run_worker(broken_later())
    elif kind == "key": screen.action_freeze = broken

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "tui.ui.screens.monitor":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), breaks(module))
        return spec

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("kind", ["compose", "mount", "timer", "worker", "key"])
def test_T20_a_bug_of_ours_ends_with_one_sentence_and_a_file(home: Home, ollama: Ollama, kind: str) -> None:
    ollama(STEADY)
    (home.folder / "broken").mkdir()
    (home.folder / "broken" / "sitecustomize.py").write_text(BREAK)
    path = f"{home.folder / 'broken'}:{Path(__file__).resolve().parents[2]}"
    terminal = home.start(env={"BREAK": kind, "PYTHONPATH": path})
    terminal.wait_for("5 models")
    terminal.send("5")
    if kind == "key":
        terminal.wait_for(" cores")
        terminal.send("p")
    assert terminal.exit_code() == 1
    words = terminal.raw.rpartition(b"\x1b[?1049l")[2].decode()
    assert "crash" in words
    assert "Traceback" not in words
    assert "sk-local" not in words
    files = list((home.paths.state / "crash").iterdir())
    assert len(files) == 1
    assert files[0].name in words
    report = files[0].read_text()
    assert "RuntimeError" in report
    assert "sk-local-variable" not in report.replace('secret = "sk-local-variable"', "")
    assert files[0].stat().st_mode & 0o077 == 0
    assert home.read("PRAGMA integrity_check") == [("ok",)]


async def _never(exchange: Exchange) -> None:
    await exchange.gone()


def test_P21_P24_every_server_hangs_and_keys_still_work(home: Home, faults: FaultServer) -> None:
    faults.routes["*"] = _never
    terminal = home.start()
    terminal.wait_for("enter chat")
    wait(lambda: faults.requests, "a request that hangs")
    for key, shown in (("1", "its models"), ("3", "Nothing is queued"), ("5", "last 2 min"), ("6", "config.toml"), ("2", "Asking ollama")):
        terminal.send(key)
        terminal.wait_for(shown)
    began = time.monotonic()
    leave(terminal)
    assert time.monotonic() - began < 5


def hostile(faults: FaultServer) -> None:
    """Every field that an Ollama server fills holds something that must not reach the terminal."""
    evil = "".join(CANARIES)
    names = [f"{canary}:{number}" for number, canary in enumerate(CANARIES)] + ["plain:latest"]
    details = {"family": evil, "parameter_size": evil, "quantization_level": evil, "format": evil, "families": [evil]}
    tags = [{"name": name, "model": name, "size": 5, "digest": evil, "modified_at": evil, "details": details} for name in names]
    tags[-1] |= {"digest": "0" * 64, "modified_at": "2026-01-01T00:00:00Z"}
    shown = {
        "license": evil, "system": evil, "template": evil, "parameters": f"stop {evil}", "details": details,
        "capabilities": ["completion", evil],
        "model_info": {"general.architecture": evil, evil: evil},
    }  # fmt: skip
    answer = [{"model": evil, "message": {"role": "assistant", "thinking": canary, "content": canary + "\n\n"}} for canary in CANARIES]
    end = {"model": evil, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": evil}

    def says(value: object) -> Callable[[Exchange], object]:
        return lambda exchange: exchange.json(value)

    async def chat(exchange: Exchange) -> None:
        await exchange.stream(*(json.dumps(line).encode() + b"\n" for line in (*answer, end)))

    async def pull(exchange: Exchange) -> None:
        await exchange.stream(
            *(json.dumps({"status": canary}).encode() + b"\n" for canary in CANARIES), json.dumps({"error": evil}).encode()
        )

    async def load(exchange: Exchange) -> None:
        await exchange.json({"error": evil}, 500)

    faults.routes |= {
        "/api/version": says({"version": f"0.24.0{evil}"}),
        "/api/tags": says({"models": tags}),
        "/api/ps": says({"models": [{**tags[0], "size_vram": 5, "context_length": 4096, "expires_at": evil}]}),
        "/api/show": says(shown),
        "/api/chat": chat,
        "/api/pull": pull,
        "/api/generate": load,
    }  # type: ignore[dict-item]


def title(terminal: Terminal) -> str:
    """The rule above the detail."""
    return next(line for line in terminal.screen_lines() if line.startswith(" ── "))


def test_X01_X02_hostile_text_on_every_screen_is_text(home: Home, faults: FaultServer) -> None:
    hostile(faults)
    terminal = home.start(rows=50, cols=150)
    terminal.wait_for("models")
    terminal.wait_for("plain:latest")
    for _canary in CANARIES:
        before = title(terminal)
        terminal.send("j")
        terminal.wait_for(lambda before=before: title(terminal) != before)
    for key, shown in (("5", "last 2 min"), ("1", "up, "), ("6", "config.toml"), ("2", "plain:latest")):
        terminal.send(key)
        terminal.wait_for(shown)
    terminal.send("/plain\r\r")
    terminal.wait_for("enter sends")
    terminal.send(f"{CANARIES[0]} ask\r")
    terminal.wait_for("[@click=app.quit]x[/]")
    terminal.send("\x07" + "3")
    terminal.send("a")
    terminal.wait_for("Pull")
    terminal.send("other:1b\r")
    terminal.wait_for("The server gave up")
    terminal.send("\r")
    terminal.send("?")
    terminal.wait_for("search keys")
    terminal.send("\x1b")
    leave(terminal)
    body = terminal.raw.partition(b"\x1b[?2004h")[2].partition(b"\x1b[?1049l")[0]
    assert foreign(body) == ""
    for bad in (b"\x1b]52", b"UFdORUQ=\x07", b"\x1b]8", b"\xe2\x80\xae"):
        assert bad not in terminal.raw


def test_T15_P12_text_pasted_into_lists_destroys_nothing(home: Home, ollama: Ollama, servers: object) -> None:
    ollama(STEADY)
    terminal = home.start(env={"EDITOR": "true"})
    terminal.wait_for("5 models")
    before = home.paths.config_file.read_bytes()
    chance = random.Random(7)
    for number in "2153":
        terminal.send(f"\x07{number}")
        terminal.send("".join(chance.choice("abcdeghjkmnprstuvwxyzADEJKLSTUYd\rd\r .,'\"") for _ in range(120)))
        terminal.send("\x1b\x1b\x1b")
        terminal.send("\x1b\x1b")
    terminal.send("\x1b\x1b\x1b\x072")
    terminal.wait_for("5 models")
    assert home.paths.config_file.read_bytes() == before
    leave(terminal)


def test_T16_keys_typed_ahead_reach_the_dialog_they_were_meant_for(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    terminal = home.start()
    terminal.wait_for("5 models")
    terminal.send("amistral:7b\r3")
    terminal.wait_for("mistral:7b")
    terminal.wait_for("MODEL")
    wait(lambda: home.read("SELECT model FROM job") == [("mistral:7b",)], "the job")
    terminal.send("2/gemma\r\r")
    terminal.wait_for("gemma3:4b on ollama")
    leave(terminal)


def test_T16_keys_typed_while_it_starts_are_obeyed_when_it_has(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    terminal = home.start()
    wait(lambda: b"\x1b[?1049h" in terminal.raw, "the first bytes")
    terminal.send("6")
    terminal.wait_for("config.toml")
    leave(terminal)


def test_the_database_of_a_run_is_private(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    os.umask(0o022)
    terminal = home.start()
    terminal.wait_for("5 models")
    leave(terminal)
    for path in [home.paths.database, *home.paths.state.rglob("*"), *home.paths.data.rglob("*")]:
        if path.is_file() and "demo" not in path.parts and path.name != "config.toml":
            assert path.stat().st_mode & 0o077 == 0, path
