"""A conversation on a terminal: answered again, its branches, a mark, its times, an edit, and found again."""

from __future__ import annotations

from tests.app.conftest import Home, leave
from tests.app.test_faults import Ollama
from tui.demo.server import Pace


def test_a_conversation_with_branches_is_edited_and_found_again(home: Home, ollama: Ollama) -> None:
    ollama(Pace(pull=4e9, tokens=600, load=0.05, idle=600))
    terminal = home.start()
    terminal.wait_for(" models")
    terminal.wait_for("qwen3:8b")
    terminal.send("\r")
    terminal.wait_for("enter sends")
    terminal.send("Which quantization?\r")
    terminal.wait_for("  wrote ")
    terminal.send("\tKJ")
    terminal.wait_for("> qwen3:8b")
    terminal.send("r")
    terminal.wait_for("‹2/2›")
    terminal.wait_for("  wrote ")
    terminal.send("KJ<")
    terminal.wait_for("‹1/2›")
    terminal.send("p")
    terminal.wait_for("pinned")
    terminal.send("wG")
    terminal.wait_for("measured")
    terminal.send("K")
    terminal.send("e")
    terminal.wait_for("Edit the prompt")
    terminal.send(" Now?\x13")
    terminal.wait_for("About: Which quantization? Now?")
    terminal.wait_for("  wrote ")
    terminal.send("\x0f")
    terminal.wait_for("enter opens")
    terminal.send("quantization")
    terminal.send("\r")
    terminal.wait_for(lambda: "enter opens" not in terminal.screen_text())
    terminal.send("d")
    terminal.wait_for("Delete this message")
    terminal.send("\x1b")
    terminal.wait_for("enter sends")
    leave(terminal)
    rows = home.read("SELECT role, content FROM message WHERE role = 'user' ORDER BY id")
    assert [str(row[1]) for row in rows] == ["Which quantization?", "Which quantization? Now?"]
