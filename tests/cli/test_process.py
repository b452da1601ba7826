"""What only a process of its own shows: signals, pipes, a terminal, and what is imported."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import HOSTILE, controls
from tests.cli.test_chat import piece, stored
from tests.support.fault_server import Exchange, FaultServer
from tests.support.pty import Terminal


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    kept |= {f"PADDOCK_LIMITS__{limit}": "0" for limit in ("CPU", "MEMORY", "GPU", "DISK")}  # this machine may be full
    return {**kept, "PADDOCK_HOME": str(home), "LC_ALL": "C.UTF-8", "PADDOCK_GENERAL__DISCOVER": "false", **more}


@contextlib.contextmanager
def paddock(home: Path, *words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """The program, with pipes at its ends; killed where it is left running."""
    command = [sys.executable, "-m", "tui", *words]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(home, **more), text=True, **pipes) as child:  # type: ignore[call-overload]
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()


async def _slow(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(piece("the first part"))
    await exchange.gone()


def test_ctrl_c_while_an_answer_comes_is_130_and_keeps_it(server: FaultServer, home: Path) -> None:
    server.routes["POST /api/chat"] = _slow
    with paddock(home, "chat", "tiny", "hello", OLLAMA_HOST=server.url) as child:
        assert child.stdout is not None
        assert child.stdout.read(14) == "the first part"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
        assert (child.returncode, out, err) == (130, "\n", "")
    assert stored(home)[1] == ("stopped", "the first part")


def test_a_closed_pipe_is_quiet(server: FaultServer, home: Path) -> None:
    async def many(exchange: Exchange) -> None:
        await exchange.json(
            {"models": [{"name": f"model-{n}:1b", "model": f"model-{n}:1b", "size": n, "details": {}} for n in range(5000)]}
        )

    server.routes["/api/tags"] = many
    away = {"KIND": "ollama", "URL": server.url, "LOCATION": "elsewhere"}  # so that this machine, which may be busy, is not measured
    with paddock(home, "ls", **{f"PADDOCK_PROVIDERS__LAB__{key}": value for key, value in away.items()}) as child:
        assert child.stdout is not None and child.stderr is not None
        assert "MODEL" in child.stdout.readline()
        child.stdout.close()
        assert child.wait(30) == 0
        assert child.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_1(server: FaultServer, home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command, kept = [sys.executable, "-m", "tui", "ls"], environment(home, OLLAMA_HOST=server.url)
        done = subprocess.run(command, env=kept, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr.strip().count("\n") == 0 and "space" in done.stderr


def test_a_status_line_imports_nothing_heavy(server: FaultServer, home: Path) -> None:
    (home / "config.toml").write_text(f'[providers.box]\nkind = "ollama"\nurl = "{server.url}"\n')
    script = (
        "import json, sys\nfrom tui.__main__ import main\ncode = main(['status', '--line'])\n"
        "names = ('httpx', 'pydantic', 'textual', 'rich', 'argparse', 'tui.config.settings', 'psutil')\n"
        "print(json.dumps([code, [name for name in names if name in sys.modules]]))"
    )
    kept = environment(home)
    del kept["PADDOCK_GENERAL__DISCOVER"]
    done = subprocess.run([sys.executable, "-c", script], env=kept, capture_output=True, text=True, timeout=60, check=True)
    line, found = done.stdout.splitlines()
    assert line == "box up" and json.loads(found) == [0, []]


def test_X02_on_a_terminal_only_our_own_control_bytes(server: FaultServer, home: Path) -> None:
    kept = {name: value for name, value in environment(home, OLLAMA_HOST=server.url).items() if name not in ("PATH", "HOME")}
    with Terminal([sys.executable, "-m", "tui", "chat", "tiny", HOSTILE], kept) as terminal:
        assert terminal.exit_code() == 0
        assert not controls(terminal.raw.decode().replace("\r\n", "\n"))
        assert "hi \u241b[31mred" in terminal.screen_text()
    with Terminal([sys.executable, "-m", "tui", "rm", "tiny"], kept) as terminal:
        terminal.wait_for("Move tiny:latest on ollama to the trash?")
        terminal.send(b"\x03")
        assert terminal.exit_code() == 130
        assert "Traceback" not in terminal.screen_text()


def test_closed_standard_streams_are_no_fault(home: Path, server: FaultServer) -> None:
    command = ["sh", "-c", f"exec {sys.executable} -m tui ls >&- <&-"]
    done = subprocess.run(
        command, env=environment(home, OLLAMA_HOST=server.url), stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_an_editor_gets_the_suggestion_byte_by_byte(server: FaultServer, home: Path) -> None:
    async def show(exchange: Exchange) -> None:
        await exchange.json({"details": {}, "model_info": {}, "capabilities": ["completion", "insert"]})

    async def generate(exchange: Exchange) -> None:
        body = exchange.request.json
        assert (body["prompt"], body["suffix"]) == ("all:\n", "\nclean:\n")
        text = json.dumps({"response": "\tmake \u00e9", "done": True, "done_reason": "stop"}).encode() + b"\n"
        await exchange.stream(*(text[at : at + 1] for at in range(len(text))))

    server.routes["/api/show"], server.routes["/api/generate"] = show, generate
    command = [sys.executable, "-m", "tui", "complete", "tiny", "--prefix", "-", "--cursor", "<|>"]
    done = subprocess.run(
        command, input=b"all:\n<|>\nclean:\n", capture_output=True, env=environment(home, OLLAMA_HOST=server.url), timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\tmake \u00e9".encode(), b"")
