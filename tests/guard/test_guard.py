"""The guard on a real terminal, around stand-ins that leave it in every bad state."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.guard.child import TAKE
from tests.support.pty import ROOT, Terminal
from tui import guard
from tui.core.terminal import PROGRESS_END

CHILD = str(Path(__file__).with_name("child.py"))
RUN = "import sys; from tui import guard; sys.exit(guard.run([sys.executable, '-S', *sys.argv[1:]], log='/logs'))"
IGNORING = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); " + RUN
_TIOCGPTPEER = 0x5441  # the slave of this master; not in termios
ALONE = "import os; os.fork() and os._exit(os.waitstatus_to_exitcode(os.wait()[1])); os.setsid(); " + RUN
FOUR = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT]


SHELL = f"""
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def take():
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
job = subprocess.Popen([sys.executable, "-S", "-c", {RUN!r}, *sys.argv[1:]], preexec_fn=take)
def stopped():
    os.waitpid(job.pid, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    return input("$ ")
assert stopped() == "bg"
os.killpg(job.pid, signal.SIGCONT)
assert stopped() == "fg"
os.tcsetpgrp(0, job.pid)
os.killpg(job.pid, signal.SIGCONT)
sys.exit(128 - job.wait() if job.wait() < 0 else job.wait())
"""


class Guarded(Terminal):
    """A terminal with a guard around the stand-in; keeps the slave's name to read its modes from outside."""

    def __enter__(self) -> Guarded:
        return self

    def __init__(self, *words: str, run: str = RUN, env: dict[str, str | None] | None = None) -> None:
        super().__init__([sys.executable, "-S", "-c", run, CHILD, *words], env=env)
        self._slave = fcntl.ioctl(self._master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def child(self) -> int:
        self.wait_for(lambda: b"<ready " in self.raw and b">" in self.raw.split(b"<ready ")[1])
        found = re.search(rb"<ready (\d+)>", self.raw)
        assert found is not None
        return int(found[1])

    def end(self) -> int:
        """The exit code; the test's own hold on the slave must not keep the reader waiting."""
        code = self.process.wait(10)
        os.set_blocking(self._slave, False)
        return code

    def type_ahead(self) -> bytes:
        try:
            return os.read(self._slave, 100)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1
        super().close()

    def hang_up(self) -> None:
        os.close(self._slave)
        self._slave = -1
        super().hang_up()

    def assert_restored(self, name: str) -> None:
        line = f"Paddock was ended by {name}. The log is in /logs.\r\n".encode()
        self.wait_for(lambda: self.raw.endswith(line))
        after = self.raw.rpartition(TAKE)[2]
        assert after.count(guard.RESET) == 1
        assert after.partition(guard.RESET)[2] == line
        self.assert_cooked()

    def assert_cooked(self) -> None:
        modes = self.modes()
        assert modes == self.before
        assert modes[3] & termios.ECHO
        assert modes[3] & termios.ICANON


def state(pid: int) -> str:
    """The letter of /proc; empty when the process is gone or a zombie."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if letter in "ZX" else letter


def until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        os.sched_yield()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
def test_T02_the_interface_dies_and_the_terminal_is_given_back(number: signal.Signals) -> None:
    with Guarded("die", str(int(number))) as terminal:
        assert terminal.end() == 128 + number
        terminal.assert_restored(number.name)


@pytest.mark.parametrize("number", FOUR)
def test_T01_a_signal_to_the_guard_reaches_the_interface(number: signal.Signals) -> None:
    with Guarded("wait") as terminal:
        child = terminal.child()
        terminal.signal(number)
        assert terminal.end() == 128 + number
        terminal.assert_restored(number.name)
        assert not state(child)


@pytest.mark.parametrize("number", [*FOUR, signal.SIGKILL])
def test_T01_a_signal_to_the_interface_alone(number: signal.Signals) -> None:
    with Guarded("wait") as terminal:
        os.kill(terminal.child(), number)
        assert terminal.end() == 128 + number
        terminal.assert_restored(number.name)


def test_P70_progress_of_the_window_is_taken_away_after_a_kill() -> None:
    with Guarded("wait", env={"TERM_PROGRAM": "ghostty"}) as terminal:
        os.kill(terminal.child(), signal.SIGKILL)
        assert terminal.end() == 128 + signal.SIGKILL
        terminal.assert_restored("SIGKILL")
        assert PROGRESS_END.encode() + guard.RESET in terminal.raw


@pytest.mark.parametrize("code", [0, 1, 2, 143])
def test_P71_an_exit_code_passes_and_the_guard_writes_nothing(code: int) -> None:
    with Guarded("exit", str(code)) as terminal:
        assert terminal.end() == code
        terminal.assert_cooked()
        assert terminal.raw == b""
    with Guarded("clean", str(code)) as terminal:
        assert terminal.end() == code
        terminal.assert_cooked()
        terminal.wait_for(lambda: terminal.raw == TAKE)


def test_P70_an_exit_that_left_the_terminal_raw() -> None:
    with Guarded("raw-exit", "1") as terminal:
        assert terminal.end() == 1
        terminal.wait_for(lambda: terminal.raw == TAKE + guard.RESET)
        terminal.assert_cooked()


@pytest.mark.parametrize("modes", ["cooked", "raw"])
def test_P70_what_was_typed_ahead_survives_a_clean_end(modes: str) -> None:
    with Guarded("typed", modes) as terminal:
        terminal.wait_for("ready")
        terminal.send("ls\n")
        terminal.wait_for(lambda: select.select([terminal._slave], [], [], 0)[0])
        pid = int(Path(f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children").read_text().split()[0])
        os.kill(pid, signal.SIGUSR1)
        assert terminal.end() == 0
        assert terminal.type_ahead() == b"ls\n"


def test_T06_stopped_and_continued() -> None:
    with Guarded("stop") as terminal:
        child = terminal.child()
        raw = terminal.modes()
        assert raw != terminal.before
        os.kill(child, signal.SIGSTOP)
        until(lambda: state(terminal.process.pid) == "T")
        terminal.assert_cooked()
        terminal.wait_for(lambda: terminal.raw.endswith(guard.RESET))
        terminal.signal(signal.SIGCONT)
        terminal.wait_for(lambda: b"<continued>" in terminal.raw)
        assert terminal.modes() == raw
        until(lambda: state(child) == "S")  # it may just be running
        terminal.signal(signal.SIGTERM)
        assert terminal.end() == 128 + signal.SIGTERM


@pytest.mark.parametrize("run", [RUN, IGNORING])
def test_T03_no_process_outlives_its_terminal(run: str) -> None:
    with Guarded("wait", run=run) as terminal:
        child = terminal.child()
        terminal.hang_up()
        assert terminal.process.wait(5) == 128 + signal.SIGHUP
        assert not state(child)


def test_T03_without_a_session_of_its_own_nobody_tells_it() -> None:
    with Guarded("wait", run=ALONE) as terminal:
        child = terminal.child()
        parent = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
        terminal.hang_up()
        until(lambda: not state(child) and not state(parent))


def test_T02_without_a_session_of_its_own() -> None:
    with Guarded("wait", run=ALONE) as terminal:
        os.kill(terminal.child(), signal.SIGKILL)
        assert terminal.end() == 128 + signal.SIGKILL
        terminal.assert_restored("SIGKILL")


def test_T03_T21_an_interface_that_will_not_end_with_its_terminal(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    with Guarded("stubborn", str(noted)) as terminal:
        child = terminal.child()
        terminal.hang_up()
        until(noted.exists)
        terminal.signal(signal.SIGHUP)
        assert terminal.process.wait(5) == 128 + signal.SIGHUP
        assert not state(child)
    told = noted.read_text()
    # The kernel tells the whole foreground group once, the guard once more, however often it hears of it.
    assert 1 <= told.count("<got 1>") <= 2


def test_T21_a_third_signal_ends_at_once() -> None:
    with Guarded("stubborn") as terminal:
        child = terminal.child()
        begun = time.monotonic()
        for count in (1, 2):
            terminal.signal(signal.SIGTERM)
            terminal.wait_for(lambda count=count: terminal.raw.count(b"<got 15>") == count)
        terminal.signal(signal.SIGTERM)
        assert terminal.end() == 128 + signal.SIGTERM
        assert time.monotonic() - begun < guard.PATIENCE
        terminal.assert_restored("SIGTERM")
        assert not state(child)


def test_T05_a_stalled_terminal_still_gets_the_reset() -> None:
    with Guarded("flood") as terminal:
        terminal.child()
        terminal.stall()
        until(lambda: not select.select([], [terminal._slave], [], 0)[1])
        terminal.signal(signal.SIGTERM)
        assert terminal.end() == 128 + signal.SIGTERM
        terminal.resume()
        terminal.wait_for(lambda: guard.RESET in terminal.raw)
        terminal.assert_cooked()


@pytest.mark.parametrize(("number", "word"), [(0, "input"), (1, "output"), (2, "error output")])
def test_T12_not_a_terminal(number: int, word: str, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.touch()
    flags = os.O_RDONLY if number == 0 else os.O_WRONLY
    redirect = f"import os; os.dup2(os.open({str(place)!r}, {flags}), {number}); "
    with Guarded("wait", run=redirect + RUN) as terminal:
        assert terminal.end() == 2
        said = place.read_bytes() if number == 2 else b""
        if number != 2:
            terminal.wait_for(lambda: terminal.raw.endswith(b"\n"))
            said = terminal.raw
        assert said.count(b"\n") == 1
        assert f"standard {word} is not one".encode() in said
        assert b"\x1b" not in said + terminal.raw


@pytest.mark.parametrize("term", ["dumb", None, ""])
def test_T09_a_terminal_that_cannot_draw(term: str | None) -> None:
    with Guarded("wait", env={"TERM": term}) as terminal:
        assert terminal.end() == 2
        terminal.wait_for(lambda: terminal.raw.endswith(b"\n"))
        assert terminal.raw.count(b"\n") == 1
        assert b"TERM" in terminal.raw
        assert b"\x1b" not in terminal.raw


def test_T11_utf8_is_used_where_the_locale_names_it() -> None:
    off: dict[str, str | None] = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "9", "LINES": "9"}
    with Guarded("encoding", env={**off, "LC_ALL": "xx_YY.UTF-8"}) as terminal:
        terminal.wait_for("encoding utf-8 None None")
        assert terminal.end() == 0
    with Guarded("encoding", env={**off, "LC_ALL": "C"}) as terminal:
        terminal.wait_for("encoding")
        assert "utf-8" not in terminal.screen_text()


def test_a_program_that_is_not_there() -> None:
    run = "import sys; from tui import guard; sys.exit(guard.run(['/nowhere/paddock']))"
    with Guarded(run=run) as terminal:
        assert terminal.end() == 1
        terminal.wait_for("Paddock could not start /nowhere/paddock: No such file or directory")
        terminal.assert_cooked()


def test_the_guard_loads_nothing_heavy() -> None:
    code = "import sys, tui.guard; print([n for n in ('textual', 'httpx', 'pydantic', 'asyncio', 'pathlib') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
