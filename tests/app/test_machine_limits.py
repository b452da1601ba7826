"""E01 and E02 with the whole program: few open files, little memory."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

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
    for count in (10, 7):
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
