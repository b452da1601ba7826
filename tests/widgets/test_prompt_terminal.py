"""The composer on a real pseudo-terminal: keys as terminals send them, pastes, the editor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.pty import Terminal

PASTE, END = b"\x1b[200~", b"\x1b[201~"


@contextmanager
def running(state: Path, **env: str | None) -> Iterator[Terminal]:
    with Terminal([sys.executable, "-m", "tests.widgets.prompt_app", str(state)], env=env) as terminal:
        terminal.wait_for("ready")
        yield terminal


def test_new_lines_as_terminals_send_them(tmp_path: Path) -> None:
    with running(tmp_path) as terminal:
        for number, newline in enumerate((b"\n", b"\x1b\r", b"\x1b[13;2u", b"\\\r")):
            terminal.send(b"%d" % number + newline)
        terminal.send(b"end\r")
        terminal.wait_for(r"sent '0\n1\n2\n3\nend'")
        terminal.send(b"\x1b[15~")
        assert terminal.exit_code() == 7


def test_T14_X21_pastes_never_send(tmp_path: Path) -> None:
    (tmp_path / "a b.md").write_text("x")
    with running(tmp_path) as terminal:
        terminal.send(PASTE + b"/quit\r\n@a.md\r" + END)
        terminal.wait_for("@a.md")
        assert "sent" not in terminal.screen_text()
        terminal.send(b"!\r")
        terminal.wait_for(r"sent '/quit\n@a.md\n!'")
        terminal.send(PASTE + b"z" * 1_000_000 + END)
        terminal.wait_for("pasted 1000000", timeout=30)
        terminal.send(PASTE + f"'{tmp_path}/a b.md'".encode() + END)
        terminal.wait_for("dropped 1")
        terminal.send(b"\x1b[15~")
        assert terminal.exit_code() == 7


def test_the_editor_has_the_terminal_and_ctrl_c_is_its_own(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\ntrap "echo caught" INT\necho editing\nuntil read line; do :; done\nprintf %s "$line" > "$1"\n')
    editor.chmod(0o700)
    with running(tmp_path, EDITOR=str(editor), VISUAL=None) as terminal:
        terminal.send(b"draft")
        terminal.wait_for("draft")
        terminal.send(b"\x18")
        terminal.wait_for(lambda: b"editing" in terminal.raw)
        terminal.send(b"\x03")
        terminal.wait_for(lambda: b"caught" in terminal.raw)
        terminal.send(b"from outside\n")
        terminal.wait_for("│from outside")
        terminal.send(b"!\r")
        terminal.wait_for("sent 'from outside!'")
        assert list((tmp_path / "editing").iterdir()) == []
        terminal.send(b"\x1b[15~")
        assert terminal.exit_code() == 7


def test_a_missing_editor_leaves_the_screen_as_it_is(tmp_path: Path) -> None:
    with running(tmp_path, EDITOR="/no/such/editor", VISUAL=None) as terminal:
        terminal.send(b"draft\x18")
        terminal.wait_for("The editor is not there")
        terminal.send(b"\r")
        terminal.wait_for("sent 'draft'")
        assert terminal.raw.count(b"\x1b[?1049l") == 0
