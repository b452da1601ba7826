"""What is checked before the screen is taken."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.pty import ROOT, Terminal
from tui.ui import termcheck

CHECK = "import os,sys; sys.path.insert(0,'.'); from tui.ui import termcheck; said = termcheck.refusal(os.environ); "
CHECK += "print('ok' if said is None else said, file=sys.stderr); "
CHECK += "print('textual' in sys.modules, file=sys.stderr); sys.exit(termcheck.EXIT_CODE if said else 0)"


@pytest.mark.parametrize(("term", "says"), [("dumb", "TERM is dumb"), (None, "TERM is not set"), ("", "TERM is not set")])
def test_T09_a_terminal_that_cannot_draw_is_refused(term: str | None, says: str) -> None:
    with Terminal([sys.executable, "-c", CHECK], env={"TERM": term}) as terminal:
        assert terminal.exit_code() == 2
        assert says in terminal.screen_text()
        assert b"\x1b" not in terminal.raw


@pytest.mark.parametrize("term", ["linux", "vt100", "screen", "tmux-256color", "xterm-unheard-of"])
def test_T09_other_terminals_are_taken(term: str) -> None:
    with Terminal([sys.executable, "-c", CHECK], env={"TERM": term}) as terminal:
        assert terminal.exit_code() == 0
        assert terminal.screen_lines()[:2] == ["ok", "False"]


@pytest.mark.parametrize(("redirect", "says"), [("<", "standard input"), (">", "standard output"), ("2>", "standard error output")])
def test_T12_a_redirected_stream_is_refused(redirect: str, says: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("streams") / "file"
    target.write_text("")
    program = ["sh", "-c", f'{sys.executable} -c "$0" {redirect}{target}; echo code $?', CHECK]
    with Terminal(program, cols=200) as terminal:
        terminal.exit_code()
        assert "code 2" in terminal.screen_text()
        assert says in terminal.screen_text() + target.read_text()
        assert b"\x1b" not in terminal.raw
        assert "\x1b" not in target.read_text()


def test_T12_no_terminal_at_all() -> None:
    environ = {"TERM": "xterm"}
    done = subprocess.run([sys.executable, "-c", CHECK], input=b"", capture_output=True, cwd=ROOT, start_new_session=True, env=environ)
    assert done.returncode == 2
    assert b"needs a terminal" in done.stderr
    assert b"\x1b" not in done.stderr


def test_T08_stale_sizes_are_dropped() -> None:
    environ = {"COLUMNS": "99999", "LINES": "abc", "TERM": "xterm"}
    termcheck.prepare_environment(environ)
    assert environ == {"TERM": "xterm"}


@pytest.mark.parametrize(
    ("environ", "utf8"),
    [
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "de_DE.utf8"}, True),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "de_DE.ISO-8859-1"}, True),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
        ({}, True),
    ],
)
def test_T11_the_locale_decides_on_graphics(environ: dict[str, str], utf8: bool) -> None:
    assert termcheck.utf8_locale(environ) is utf8
    if not utf8:
        assert termcheck.ascii_only(environ)


def test_T11_the_bare_console_gets_ascii() -> None:
    assert termcheck.ascii_only({"LANG": "C.UTF-8", "TERM": "linux"})


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("", False), (None, False)])
def test_T10_no_color_counts_when_not_empty(value: str | None, expected: bool) -> None:
    assert termcheck.no_color({} if value is None else {"NO_COLOR": value}) is expected


def test_ssh_is_noticed() -> None:
    assert termcheck.over_ssh({"SSH_CONNECTION": "::1 1 ::1 22"})
    assert not termcheck.over_ssh({"SSH_CONNECTION": ""})
