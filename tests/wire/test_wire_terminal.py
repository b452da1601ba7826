"""The driver on a real pseudo-terminal."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.pty import Terminal

OWN = re.compile(
    rb"\x1b\[\?[0-9;]+[hl]|\x1b\[\?[0-9]+\$p|\x1b\[[<>][0-9]*u|\x1b\[[0-9;]*[mHCKMLr]|\x1b\]22;[a-z]+\x07|\r?\n"
    rb"|\x1b\[2[23];2t|\x1b\]2;(?:paddock [^\x00-\x1f\x7f\x9c]*)?\x07"  # the window's title
)


@contextmanager
def running(name: str, *arguments: str, **more: Any) -> Iterator[Terminal]:
    with Terminal([sys.executable, "-m", "tests.wire.apps", name, *arguments], **more) as terminal:
        terminal.wait_for("ready")
        yield terminal


def foreign(raw: bytes) -> str:
    """Control and bidi characters that are not part of a sequence we send."""
    text = OWN.sub(b"", raw).decode("utf-8", "replace")
    return "".join(c for c in text if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2028\u2029" or 0xE0000 <= ord(c) < 0xE1000)


@pytest.mark.parametrize("wire", ["auto", "full"])
@pytest.mark.parametrize("app", ["hostile", "unfiltered"])
def test_X02_no_foreign_control_byte_reaches_the_terminal(app: str, wire: str) -> None:
    with running(app, wire, rows=50, cols=150, sync=True) as terminal:
        for shown in (b"[@click=app.quit]x[/]", b"[/INST]", b"[b + x", b"]0;owned"):
            terminal.wait_for(lambda shown=shown: shown in terminal.raw)
        terminal.send(b"\x1b[15~")
        assert terminal.exit_code() == 7
        assert foreign(terminal.raw) == ""
        assert b"UFdORUQ=\x07" not in terminal.raw
        assert b"\x1b]8" not in terminal.raw


def test_T04_a_stalled_terminal_does_not_stop_the_loop_and_catches_up() -> None:
    with running("streams") as terminal:
        terminal.wait_for("word5 ")
        terminal.stall()
        pass_time(terminal, 2.0)
        terminal.send("abc")
        terminal.resume()
        terminal.wait_for("typed abc")
        worst = re.search(r"worst (\d+\.\d+)", terminal.screen_text())
        assert worst
        assert float(worst[1]) < 1.5
        newest = max(int(number) for number in re.findall(r"word(\d+) ", terminal.screen_text()))
        assert newest > 80


def pass_time(terminal: Terminal, seconds: float) -> None:
    """Let a while go by in which the program must not end."""
    with pytest.raises(AssertionError):
        terminal.wait_for(lambda: terminal.process.poll() is not None, timeout=seconds)


def test_T05_a_signal_ends_it_while_the_terminal_is_stalled() -> None:
    with running("streams") as terminal:
        terminal.wait_for("word5 ")
        terminal.stall()
        terminal.signal(signal.SIGTERM)
        assert terminal.process.wait(5) == -signal.SIGTERM


def test_T03_a_closed_window_ends_it_even_with_hangup_ignored() -> None:
    ignoring = "import signal,runpy,sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); sys.argv=['apps','streams']; "
    with Terminal([sys.executable, "-c", ignoring + "runpy.run_module('tests.wire.apps', run_name='__main__')"]) as terminal:
        terminal.wait_for("word5 ")
        terminal.hang_up()
        terminal.process.wait(5)


def test_T13_a_budget_of_bytes_is_kept_and_typing_still_answered() -> None:
    with running("floods", "auto", "2000") as terminal:
        terminal.wait_for("word5")
        terminal.send("x")
        terminal.wait_for("typed x", timeout=5)
        before = len(terminal.raw)
        pass_time(terminal, 2.0)
        assert 0 < len(terminal.raw) - before < 2000 * 2 + 24 * 80 * 2


def test_T06_suspended_and_resumed_the_screen_is_complete() -> None:
    with running("suspends") as terminal:
        whole = terminal.screen_text()
        terminal.send(b"\x1b[19~")
        terminal.wait_for(lambda: b"outside was here" in terminal.raw)
        terminal.wait_for(lambda: terminal.screen_text() == whole)


def test_T06_stopped_and_continued_from_outside_it_goes_on() -> None:
    with running("streams") as terminal:
        terminal.wait_for("word5 ")
        terminal.signal(signal.SIGSTOP)
        terminal.signal(signal.SIGCONT)
        terminal.wait_for(lambda: terminal.raw.count(b"\x1b[?1049h") == 2)
        assert terminal.raw.count(b"\x1b[?1049l") == 1, "left before it was taken again"
        for number, letter in enumerate("abcdefghijkl"):
            terminal.send(letter)
            terminal.wait_for(f"typed {'abcdefghijkl'[: number + 1]}")
        terminal.send(b"\x1b[15~")
        assert terminal.exit_code() == 7


def test_ctrl_l_repaints_after_foreign_output() -> None:
    with running("suspends") as terminal:
        whole = terminal.screen_text()
        with terminal._changed:
            terminal._screen.erase_in_display(2)
        terminal.send(b"\x1b[17~")
        terminal.wait_for(lambda: terminal.screen_text() == whole)


def test_T07_many_resizes_end_with_the_right_screen() -> None:
    with running("suspends") as terminal:
        for step in range(30):
            terminal.resize(2 + step * 7 % 40, 1 + step * 13 % 150)
        terminal.resize(10, 60)
        terminal.wait_for(lambda: terminal.screen_lines()[:2] == ["ready", "second line 模型 😀 end"])


def test_nothing_changes_nothing_is_sent() -> None:
    with running("suspends") as terminal:
        terminal.wait_for("second line")
        pass_time(terminal, 0.7)
        before = len(terminal.raw)
        pass_time(terminal, 1.0)
        assert len(terminal.raw) == before


@pytest.mark.parametrize(
    ("typed", "key"),
    [(b"\x1b1", "alt+1"), (b"\x1b0", "alt+0"), (b"\x1b9", "alt+9"), (b"\x1b\r", "alt+enter"), (b"\r", "enter"), (b"\x1b", "escape")],
)
def test_alt_and_a_digit_and_alt_enter_arrive(typed: bytes, key: str) -> None:
    from textual import events
    from textual._xterm_parser import XTermParser

    from tui.ui import keyfix

    keyfix.apply()
    parser = XTermParser()
    found = [*parser.feed(typed.decode())]
    if typed == b"\x1b":
        found += [*parser.feed("")]
    if not found:
        parser._timeout_time = 0.0
        found = [*parser.tick()]
    assert [event.key for event in found if isinstance(event, events.Key)] == [key]


def test_alt_enter_through_the_terminal() -> None:
    with running("keys") as terminal:
        terminal.send(b"\x1b\r")
        terminal.wait_for("key alt+enter")
        terminal.send(b"\x1b3")
        terminal.wait_for("key alt+3")
