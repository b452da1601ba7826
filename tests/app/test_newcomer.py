"""What somebody new presses first, on a terminal: help and the palette, also while typing."""

from __future__ import annotations

from tests.app.conftest import Home, leave
from tests.app.test_faults import Ollama
from tui.demo.server import Pace


def test_help_and_the_palette_open_while_typing_and_the_key_line_is_true(home: Home, ollama: Ollama) -> None:
    ollama(Pace(pull=4e9, tokens=600, load=0.05, idle=600))
    terminal = home.start(cols=120)
    terminal.wait_for("qwen3:8b")
    terminal.send("\r")
    terminal.wait_for("enter sends")
    terminal.wait_for("f1 help")
    assert "/ find" not in terminal.screen_text()
    terminal.send("\x1bOP")
    terminal.wait_for("Help · esc closes")
    terminal.send("branch of")
    terminal.wait_for("<                 previous branch of this message")
    terminal.send("\x1b")
    terminal.wait_for(lambda: "Help · esc" not in terminal.screen_text())
    terminal.send("\x10")
    terminal.wait_for("Search for commands")
    terminal.send("\x1b")
    terminal.wait_for(lambda: "Search for" not in terminal.screen_text())
    terminal.send("\t")
    terminal.wait_for("/ find")
    leave(terminal)
