"""Title, progress and notices of the window: said once, cleaned, and taken away however it ends."""

from __future__ import annotations

import sys

import pytest

from tests.support.pty import Terminal
from tui.core.terminal import notice_code, shows_progress, takes_title
from tui.ui.wire_marks import WindowMarks

GHOSTTY = {"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}
END, PUSH, POP = b"\x1b]9;4;0\x1b\\", b"\x1b[22;2t", b"\x1b]2;\x07\x1b[23;2t"
F2, F3, F4, F8, F9, F5 = b"\x1bOQ", b"\x1bOR", b"\x1bOS", b"\x1b[19~", b"\x1b[20~", b"\x1b[15~"


def opened(**more: str | None) -> Terminal:
    terminal = Terminal([sys.executable, "-m", "tests.wire.apps", "marks"], {**GHOSTTY, **more})
    terminal.wait_for("ready")
    return terminal


@pytest.mark.parametrize(
    ("environ", "known"),
    [
        ({"ConEmuANSI": "ON"}, True),
        ({"WT_SESSION": "0a1b"}, True),
        ({"TERM_PROGRAM": "ghostty"}, True),
        ({"TERM": "xterm-ghostty"}, True),
        ({"TERM_PROGRAM": "WezTerm", "TERM_PROGRAM_VERSION": "20240203-110809-5046fc22"}, False),
        ({"TERM_PROGRAM": "WezTerm", "TERM_PROGRAM_VERSION": "20250601-010101-aaaaaaaa"}, True),
        ({"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.5.14"}, False),
        ({"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.6.10"}, True),
        ({"KONSOLE_VERSION": "240802"}, False),
        ({"KONSOLE_VERSION": "250404"}, True),
        ({"VTE_VERSION": "7600"}, False),
        ({"VTE_VERSION": "8003"}, True),
        ({"TERM": "xterm-kitty"}, False),
        ({"TERM": "xterm-256color"}, False),
        ({"WT_SESSION": "0a1b", "TMUX": "/tmp/tmux-1000/default,1,0"}, False),
        ({"TERM_PROGRAM": "ghostty", "TERM": "screen-256color"}, False),
        ({"VTE_VERSION": "not a number"}, False),
    ],
)
def test_progress_only_where_it_is_known(environ: dict[str, str], known: bool) -> None:
    assert shows_progress(environ) is known


def test_notices_and_titles_by_terminal() -> None:
    assert notice_code({"TERM_PROGRAM": "iTerm.app"}) == "9"
    assert notice_code({"TERM": "foot"}) == "777"
    assert notice_code({"TERM": "xterm-256color"}) == ""
    assert notice_code({"TERM_PROGRAM": "iTerm.app", "TMUX": "x"}) == ""
    assert takes_title({"TERM": "xterm"})
    assert not takes_title({"TERM": "linux"})


def test_each_mark_is_sent_once() -> None:
    sent: list[str] = []
    marks = WindowMarks(sent.append, GHOSTTY)
    marks.title("early")
    assert sent == []
    marks.start()
    for _ in range(3):
        marks.title("paddock")
        marks.progress(62.1)
        marks.progress(62.9)
    assert sent == ["\x1b[22;2t\x1b]2;early\x07", "\x1b]2;paddock\x07", "\x1b]9;4;1;62\x1b\\"]
    del sent[:]
    marks.stop()
    marks.stop()
    assert sent == [(END + POP).decode()]


def test_X02_nothing_foreign_gets_into_a_mark() -> None:
    with opened() as terminal:
        terminal.send(F2)
        terminal.wait_for(lambda: b"\x1b]9;4;1;62\x1b\\" in terminal.raw)
        terminal.wait_for(lambda: b"\x07\x1b]9;Paddock: done; all [2Jof it\x07" in terminal.raw)
        assert "\x1b]2;paddock ↓62% qwen3:8b]52;c;UFdORUQ=\x07".encode() in terminal.raw
        assert b"\x1b]52" not in terminal.raw
        terminal.send(F5)
        assert terminal.exit_code() == 7
        assert (END + POP) in terminal.raw.rpartition(b"62%")[2]


def test_marks_are_taken_away_and_come_back_after_a_pause() -> None:
    with opened() as terminal:
        terminal.send(F2)
        terminal.wait_for(lambda: b";62\x1b\\" in terminal.raw)
        terminal.send(F8)
        terminal.wait_for(lambda: terminal.raw.count(b";62\x1b\\") == 2)
        between = terminal.raw.split(b";62\x1b\\")[1]
        assert END + POP in between
        assert PUSH in between.partition(END + POP)[2]
        terminal.send(F4)
        terminal.wait_for(lambda: terminal.raw.count(END) == 2)
        terminal.send(F5)
        terminal.exit_code()
        assert terminal.raw.count(END) == 2
        assert terminal.raw.count(POP) == 2


def test_marks_are_gone_after_a_crash() -> None:
    with opened() as terminal:
        terminal.send(F2)
        terminal.wait_for(lambda: b";62\x1b\\" in terminal.raw)
        terminal.send(F9)
        assert terminal.exit_code() != 7
        assert END + POP in terminal.raw.rpartition(b";62\x1b\\")[2]


def test_a_plain_terminal_gets_a_bell_and_a_title_only() -> None:
    with opened(TERM_PROGRAM=None) as terminal:
        terminal.send(F2)
        terminal.wait_for(lambda: b"62% qwen3:8b" in terminal.raw)
        terminal.send(F5)
        assert terminal.exit_code() == 7
        assert b"\x1b]9;" not in terminal.raw
        assert POP in terminal.raw
