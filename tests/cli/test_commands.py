"""What all commands share: exit codes, words for refusals, and no foreign control byte."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import HOSTILE, MODELS, Run, Typed, controls, provider
from tests.support.fault_server import Exchange, FaultServer
from tui.__main__ import COMMANDS
from tui.cli.output import cut, plain, width
from tui.cli.parser import build

EVERYTHING = (
    "ls|ps|show tiny|providers|providers test ollama|chat tiny H|chats|chats export 1|chats search H|load tiny|cp tiny H|show H"
    "|pulls|H|ls H|ls --on H|config get H|config set general.default_model H|pull H|providers add H|providers remove H|doctor"
    "|status|status --line|chat tiny x --attach H|chat tiny x --option H|complete tiny --prefix H"
)


def test_readonly_refuses_with_3_and_asks_nobody(server: FaultServer, run: Run) -> None:
    changes = "rm tiny --yes|cp tiny two|load tiny|unload tiny|pull tiny|chat tiny x|pulls cancel 1|providers add x|config init"
    for line in f"{changes}|config set pulls.at_once 3".split("|"):
        words = line.split()
        said = run(*words, readonly=True)
        assert said.code == 3, words
        assert "security.access" in said.err and "--readonly" in said.err and not said.out
    assert not server.requests


def test_access_use_chats_and_loads_but_neither_pulls_nor_deletes(server: FaultServer, run: Run, configure) -> None:
    configure('[security]\naccess = "use"\n')
    assert run("rm", "tiny", "--yes").code == 3
    assert run("pull", "tiny").code == 3
    assert run("chat", "tiny", "hello").code == 0


def test_nobody_answering_is_4_and_names_who(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    for words in (["ls"], ["ps"], ["show", "x"], ["chat", "x", "hi"], ["pull", "x"], ["status"]):
        said = run(*words)
        assert said.code == 4, words
        if words != ["status"]:
            assert "127.0.0.1:9" in said.err and not said.out
    assert not run("ls", "--json").out


def test_no_server_at_all_says_what_to_do(run: Run) -> None:
    said = run("ls")
    assert said.code == 4 and "paddock doctor" in said.err and "--provider" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["show"],
        ["nothing"],
        ["ls", "--jsn"],
        ["pulls", "pause"],
        ["pulls", "limit", "1"],
        ["pulls", "limit", "all", "fast"],
        ["pulls", "at", "all", "noon"],
        ["pulls", "pause", "--watch", "1"],
        ["pull"],
        ["pull", "--file", "/nowhere"],
        ["pull", "m", "--limit", "1kB"],
        ["pull", "m", "--at", "25:00"],
        ["pull", "m", "--on", "ollama,nobody"],
        ["update"],
        ["update", "m", "--all"],
        ["create", "m"],
        ["import", "x"],
        ["pulls", "stop", "1"],
        ["providers", "add"],
        ["chats", "export"],
        ["chats", "export", "x"],
        ["config", "get"],
        ["config", "path", "x"],
        ["config", "set", "a.b"],
        ["monitor", "--once", "--watch"],
        ["completions", "tcsh"],
        ["chat", "m", "x", "--option", "nope"],
        ["pull", "a b"],
        ["ls", "--on", "nobody"],
        ["load", "m", "--for", "soon"],
        ["load", "m", "--for", "0"],
        ["complete", "m", "--prefix", "/nowhere"],
    ],
)
def test_wrong_usage_is_2_with_a_sentence(server: FaultServer, run: Run, words: list[str]) -> None:
    said = run(*words)
    assert said.code == 2 and said.err.strip() and not said.out
    assert "Error" not in said.err and "Traceback" not in said.err


def test_an_unusable_address_is_2(run: Run) -> None:
    said = run("ls", provider="http://[x")
    assert said.code == 2 and "IPv6" in said.err


def test_bad_settings_are_2_with_file_and_line_and_config_still_works(run: Run, configure, server: FaultServer) -> None:
    configure("[pulls]\nat_once = 99\n")
    said = run("ls")
    assert said.code == 2 and "config.toml:2" in said.err and not said.out
    assert run("config", "path").code == 0
    assert run("config", "check").code == 2


def test_X02_nothing_foreign_reaches_the_terminal(server: FaultServer, run: Run) -> None:
    async def hostile(exchange: Exchange) -> None:
        path = exchange.request.path
        if path == "/api/tags":
            await exchange.json(MODELS)
        elif path == "/api/ps":
            await exchange.json({"models": [{"name": HOSTILE, "model": HOSTILE, "size": 3, "expires_at": "2030-01-01T00:00:00Z"}]})
        elif path == "/api/version":
            await exchange.json({"version": HOSTILE})
        elif path == "/api/show":
            await exchange.json(
                {
                    "license": HOSTILE,
                    "template": HOSTILE,
                    "parameters": f"stop {HOSTILE}",
                    "capabilities": [],
                    "details": {"family": HOSTILE},
                }
            )
        elif path == "/api/chat":
            text = json.dumps({"message": {"role": "assistant", "content": f"{HOSTILE}\r\n\x1b[2Jend"}, "done": False}).encode()
            await exchange.stream(text + b"\n", b'{"message":{"content":""},"done":true,"done_reason":"stop"}\n')
        else:
            await exchange.json({"error": HOSTILE}, 500)

    server.routes["*"] = hostile
    for line in EVERYTHING.split("|"):
        words = [HOSTILE if word == "H" else word for word in line.split()]
        said = run(*words)
        assert not controls(said.out + said.err), words
        assert (said.out + said.err).strip(), words
    for words in (["ls"], ["ps"], ["show", "tiny"], ["providers"], ["chats"], ["chat", "tiny", "x"]):
        said = run(*words, "--json")
        assert said.out.isascii() and not controls(said.out) and all(json.loads(line) for line in said.lines), words


def test_no_python_names_and_a_log_where_we_fail_ourselves(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch, home) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("tui.cli.library_table.table", broken)
    said = run("ls")
    assert said.code == 1 and "ZeroDivision" not in said.err and "secret" not in said.err and "log" in said.err
    assert "ZeroDivisionError" in (home / "state" / "logs" / "app.log").read_text()


def test_a_home_that_cannot_be_written_is_said(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PADDOCK_HOME", str(tmp_path / "file"))
    assert run("ls").code == 0
    said = run("chat", "tiny", "hi")
    assert said.code == 1 and str(tmp_path / "file") in said.err and not said.out


def test_every_command_has_help_and_json(capsys: pytest.CaptureFixture[str], run: Run) -> None:
    for action in build()._actions:
        for name in action.choices or ():
            said = run(name, "--help")
            assert said.code == 0 and "--json" in said.out and "usage: paddock" in said.out


def test_the_readme_names_every_command_and_its_examples_are_right() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    examples = [shlex.split(line, comments=True)[1:] for line in text.splitlines() if line.startswith("paddock ")]
    examples = [words for words in examples if words and not words[0].startswith(("-", "("))]
    assert len(examples) >= 6
    for words in examples:
        if words[0] in COMMANDS:
            build().parse_args(words)
    assert [name for name in COMMANDS if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("模型", 4), ("é", 1), ("e\u0301", 1), ("🦙", 2), ("👩\u200d💻", 2), ("❤\ufe0f", 2), ("", 0)]
)
def test_widths_are_those_of_cells(text: str, columns: int) -> None:
    assert width(text) == columns


def test_cutting_keeps_to_the_columns() -> None:
    assert cut("abcdef", 4) == "abc…" and cut("模型模型", 5) == "模型…" and cut("ab", 2) == "ab" and width(cut("模型模型", 4)) <= 4


def test_json_knows_no_nonsense_numbers() -> None:
    assert plain({"a": float("nan"), "b": [float("inf"), 1.5], "c": {1, 2}}) == {"a": None, "b": [None, 1.5], "c": [1, 2]}


def test_an_answer_is_read_where_standard_input_is_a_pipe(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"from the pipe\n")
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run("chat", "tiny").code == 0
    sent = next(request for request in server.requests if request.path == "/api/chat")
    assert sent.json["messages"][-1]["content"] == "from the pipe"


def test_a_question_at_the_terminal_is_answered(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch, configure) -> None:
    configure('[general]\nnetwork = "metered"\n' + provider("ollama", server.url))
    monkeypatch.setattr(sys, "stderr", Typed())
    for answer, code in (("n\n", 3), ("yes\n", 0)):
        monkeypatch.setattr(sys, "stdin", Typed(answer))
        assert run("pull", "tiny").code == code
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert run("pull", "tiny").code == 3
