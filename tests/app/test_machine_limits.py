"""E01 and E02 with the whole program: few open files, little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.conftest import PROGRAM, Home, leave, wait
from tests.support.pty import Terminal
from tui.demo.server import Pace

STEADY = Pace(pull=4e9, tokens=2000, load=0.05, idle=600)
Ollama = Callable[[Pace], None]


def few(home: Home, count: int, *arguments: str) -> Terminal:
    """The program where so many files may be open."""
    host = {"OLLAMA_HOST": home.url} if home.url else {}
    limited = ["sh", "-c", f'ulimit -n {count}; exec "$@"', "sh", *PROGRAM, *arguments]
    terminal = Terminal(limited, {**home.env, **host})
    home._open.append(terminal)
    return terminal


def test_E01_the_program_works_with_64_open_files(home: Home, ollama: Ollama) -> None:
    """Screen, database, sampler, watched server and a chat, all with 64."""
    ollama(STEADY)
    terminal = few(home, 64)
    terminal.wait_for("5 models")
    terminal.send("\r")
    terminal.wait_for("enter sends")
    terminal.send("hello")
    terminal.wait_for("hello")
    terminal.send("\r")
    wait(lambda: home.read("SELECT 1 FROM message WHERE role = 'assistant' AND state = 'complete'"), "a whole answer")
    leave(terminal)
    log = home.paths.logs / "app.log"
    assert "Too many" not in (log.read_text() if log.exists() else "")


def test_E01_with_no_file_left_it_is_a_sentence(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    for count in (8,):
        done = subprocess.run(
            ["sh", "-c", f'ulimit -n {count}; exec "$@"', "sh", *PROGRAM, "ls"],
            env={**home.env, "OLLAMA_HOST": home.url, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stdout or done.stderr.rstrip().endswith(".")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ulimit -v limits nothing here")
def test_E02_a_command_without_memory_ends_with_a_sentence_and_harms_nothing(home: Home, tmp_path: Path) -> None:
    def paddock(*words: str, limit: int = 0) -> subprocess.CompletedProcess[str]:
        command = [*PROGRAM, "chats", *words]
        if limit:
            command = ["sh", "-c", f'ulimit -v {limit}; exec "$@"', "sh", *command]
        environment = {**home.env, "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    small, large = tmp_path / "small.json", tmp_path / "large.json"
    small.write_text(json.dumps([{"role": "user", "content": "Kept"}]))
    assert paddock("import", str(small)).returncode == 0
    large.write_text(json.dumps([{"role": "user", "content": "word " * 400_000}] * 22))
    for limit in (160_000, 140_000, 120_000):  # kilobytes; what the interpreter itself takes differs
        done = paddock("import", str(large), limit=limit)
        assert "Traceback" not in done.stderr
        if "not enough memory" in done.stderr:
            break
    assert done.returncode == 1
    assert done.stderr == "There is not enough memory for this (this machine). Close a program or unload a model, then try again.\n"
    assert "Kept" in paddock().stdout


BLOCK = """
import importlib.abc, importlib.machinery, os, time
from pathlib import Path

def blocks(module):
    def start(self):
        log, end = Path(os.environ["LOG"]), time.monotonic() + 10
        while time.monotonic() < end and not (log.exists() and "does not turn" in log.read_text()):
            time.sleep(0.01)
    module.MonitorScreen.start = start

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "tui.ui.screens.monitor":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), blocks(module))
        return spec

import sys
sys.meta_path.insert(0, Finder())
"""


def test_E06_a_screen_that_blocks_is_in_the_log_with_its_stack_and_goes_on(home: Home, ollama: Ollama) -> None:
    ollama(STEADY)
    (home.folder / "hook").mkdir()
    (home.folder / "hook" / "sitecustomize.py").write_text(BLOCK)
    log = home.paths.logs / "app.log"
    path = f"{home.folder / 'hook'}:{Path(__file__).resolve().parents[2]}"
    terminal = home.start(env={"LOG": str(log), "PYTHONPATH": path})
    terminal.wait_for("5 models")
    terminal.send("5")
    wait(lambda: "turns again" in log.read_text(), "the end of the block in the log")
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    (stack,) = (event for event in events if "does not turn" in event)
    assert stack.startswith("the loop of the screen")
    assert "in start" in stack
    assert "does not turn" not in terminal.screen_text()
    terminal.send("6")
    terminal.wait_for("config.toml")
    leave(terminal)
