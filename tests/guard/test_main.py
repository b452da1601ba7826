"""The start of `paddock`: options, refusals, and how little it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.pty import ROOT, Terminal
from tui import __main__ as start
from tui import __version__
from tui.config.paths import find_paths

PROBE = """
import json, sys
from tui.__main__ import main
code = main(sys.argv[1:])
print(json.dumps([code, [n for n in ("textual", "rich", "httpx", "pydantic", "asyncio", "tui.cli") if n in sys.modules]]))
"""


def _probe(tmp_path: Path, *words: str) -> tuple[str, str, int, list[str]]:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, env=env, cwd=tmp_path, check=True)
    *said, last = done.stdout.splitlines()
    code, loaded = json.loads(last)
    assert not list(tmp_path.iterdir())
    return "\n".join(said), done.stderr, code, loaded


def test_version(tmp_path: Path) -> None:
    assert _probe(tmp_path, "--version") == (f"paddock {__version__}", "", 0, [])


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help(tmp_path: Path, word: str) -> None:
    said, error, code, loaded = _probe(tmp_path, word)
    assert (error, code, loaded) == ("", 0, [])
    assert "usage: paddock" in said
    missing = [name for name in start.COMMANDS if name not in said.split()]
    assert not missing


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--demmo"], "There is no option --demmo. Did you mean --demo?"),
        (["--\x1b[2Jx"], "There is no option"),
        (["--config"], "--config needs a value."),
        (["--config="], "--config needs a value."),
        (["--log-level", "loud"], "--log-level is one of debug, info, warning, error, not loud."),
        (["mointor"], "There is no command mointor. Did you mean monitor?"),
        (["zzzzzzzz"], "There is no command zzzzzzzz. See paddock --help."),
    ],
)
def test_P71_usage_errors_end_with_2(tmp_path: Path, words: list[str], sentence: str) -> None:
    said, error, code, loaded = _probe(tmp_path, *words)
    assert (said, code, loaded) == ("", 2, [])
    assert error.startswith(sentence)
    assert error.count("\n") == 1
    assert "\x1b" not in error


def test_T12_the_program_itself_without_a_terminal(tmp_path: Path) -> None:
    said, error, code, loaded = _probe(tmp_path)
    assert (said, code, loaded) == ("", 2, [])
    assert error.startswith("Paddock needs a terminal")
    assert error.count("\n") == 1
    assert "\x1b" not in error


def test_T09_the_program_itself_on_a_dumb_terminal(tmp_path: Path) -> None:
    with Terminal([sys.executable, "-m", "tui"], env={"TERM": "dumb", "HOME": str(tmp_path)}) as terminal:
        assert terminal.exit_code() == 2
        assert b"\x1b" not in terminal.raw
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("variable", ["HOME", "PADDOCK_HOME"])
def test_C15_root_in_the_home_of_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    real = os.stat
    place = str(tmp_path)
    owner = {place: 1000}

    def stat(path: str | Path, *args: Any, **options: Any) -> os.stat_result:
        found = real(path, *args, **options)
        return os.stat_result((*found[:4], owner[str(path)], *found[5:10])) if str(path) in owner else found

    monkeypatch.setenv(variable, place)
    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    refusal = start.foreign_home(os.environ)
    assert refusal is not None
    assert "Run it without sudo." in refusal
    assert start.main(["ls"]) == 2
    assert capsys.readouterr().err == refusal + "\n"
    assert not list(tmp_path.iterdir())

    owner[place] = 0
    assert start.foreign_home(os.environ) is None
    owner[place] = 1000
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert start.foreign_home(os.environ) is None


def test_C15_a_home_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert start.foreign_home({"HOME": "/nowhere/at/all"}) is None


@pytest.mark.parametrize("demo", [False, True])
@pytest.mark.parametrize(
    "environ",
    [
        {"PADDOCK_HOME": "/srv/paddock", "HOME": "/home/ann"},
        {"HOME": "/home/ann"},
        {"HOME": "/home/ann", "XDG_STATE_HOME": "/s", "XDG_DATA_HOME": "/d"},
        {"HOME": "/home/ann", "XDG_STATE_HOME": "relative", "XDG_DATA_HOME": "relative"},
        {},
    ],
)
def test_the_log_folder_is_the_one_the_interface_uses(environ: dict[str, str], demo: bool) -> None:
    assert start._log_folder(environ, demo) == str(find_paths(demo=demo, environ=environ).logs)
