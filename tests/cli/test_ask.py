"""chat and complete with files, images, formats, thinking and gaps: what is sent, printed, refused and how it exits."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Run, provider
from tests.cli.test_chat import END, piece, stored
from tests.support.fault_server import Exchange, FaultServer
from tui.cli import limited
from tui.services.limits import Breach

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000002000000030806000000") + b"\0" * 40
SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


def can(server: FaultServer, *abilities: str) -> None:
    """The model can so much."""

    async def show(exchange: Exchange) -> None:
        await exchange.json({"details": {}, "model_info": {}, "capabilities": ["completion", *abilities]})

    server.routes["POST /api/show"] = show


def says(server: FaultServer, text: str) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.stream(piece(text), END)

    server.routes["POST /api/chat"] = answer


def asked(server: FaultServer, path: str = "/api/chat") -> dict:
    return next(request.json for request in reversed(server.requests) if request.path == path)


def test_images_go_to_a_model_that_sees(server: FaultServer, run: Run, tmp_path: Path, home: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    can(server, "vision")
    says(server, "a cat")
    said = run("chat", "tiny", "what is it?", "--attach", str(tmp_path / "cat.png"))
    assert said.code == 0 and said.out == "a cat\n"
    (message,) = asked(server)["messages"]
    assert len(message["images"]) == 1 and message["content"] == "what is it?"
    assert stored(home)[0] == ("complete", "what is it?")


def test_images_are_refused_in_words_for_a_model_that_cannot_see(server: FaultServer, run: Run, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    can(server, "tools")
    said = run("chat", "tiny", "what is it?", "--attach", str(tmp_path / "cat.png"))
    assert said.code == 1 and not said.out and "cannot see" in said.err and "cat.png" in said.err
    assert not any(request.path == "/api/chat" for request in server.requests)


def test_json_is_asked_for_and_looked_at(server: FaultServer, run: Run, tmp_path: Path) -> None:
    says(server, '{"a": 1}')
    assert run("chat", "tiny", "x", "--format", "json").code == 0
    assert asked(server)["format"] == "json"
    (tmp_path / "person.schema.json").write_text(json.dumps(SCHEMA))
    said = run("chat", "tiny", "x", "--format", str(tmp_path / "person.schema.json"))
    assert said.code == 1 and said.out == '{"a": 1}\n' and "misses the key name" in said.err
    assert asked(server)["format"] == SCHEMA
    last = json.loads(run("chat", "tiny", "x", "--format", str(tmp_path / "person.schema.json"), "--json").lines[-1])
    assert "misses the key name" in last["format"] and last["state"] == "complete"


@pytest.mark.parametrize("text", ["[1]", "no json", "[" * 50_000, '"x"'])
def test_a_schema_that_is_none_is_2(server: FaultServer, run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    said = run("chat", "tiny", "x", "--format", str(tmp_path / "bad.json"))
    assert said.code == 2 and "bad.json" in said.err and not server.requests
    assert run("chat", "tiny", "x", "--format", str(tmp_path / "none.json")).code == 2


def test_thinking_and_presets_as_asked(server: FaultServer, run: Run, configure) -> None:
    can(server, "thinking")
    says(server, "hi")
    assert run("chat", "tiny", "x", "--think", "off").code == 0 and asked(server)["think"] is False
    run("chat", "tiny", "x", "--think", "high")
    assert asked(server)["think"] == "high"
    run("chat", "tiny", "x")
    assert "think" not in asked(server)
    run("chat", "tiny", "x", "--preset", "deterministic", "--option", "seed=5")
    assert asked(server)["options"] == {"temperature": 0.0, "top_k": 1, "seed": 5}
    said = run("chat", "tiny", "x", "--preset", "deterministik")
    assert said.code == 2 and "deterministic" in said.err
    assert run("chat", "tiny", "x", "--think", "maybe").code == 2
    can(server)
    configure('[chat]\nthink = "on"\n' + provider("box", server.url))
    run("chat", "tiny", "x")  # the settings ask, and the model is known not to think
    assert "think" not in asked(server)
    run("chat", "tiny", "x", "--think", "on")  # the user asks: the server may say no
    assert asked(server)["think"] is True


def test_options_of_one_model_and_its_keep_alive(server: FaultServer, run: Run, configure) -> None:
    says(server, "hi")
    configure(
        '[models.options."tiny"]\nnum_ctx = 2048\nkeep_alive = "2h"\ntop_k = 5\n[chat.options]\ntop_k = 7\n' + provider("box", server.url)
    )
    run("chat", "tiny", "x")
    assert asked(server)["options"] == {"num_ctx": 2048, "top_k": 7} and asked(server)["keep_alive"] == "2h"


def test_what_is_not_sent_is_said(server: FaultServer, run: Run) -> None:
    says(server, "hi")
    said = run("chat", "tiny", "x", "--option", "mirostat=2", "--option", "seed=1")
    assert said.code == 0 and said.out == "hi\n" and "does not know mirostat: not sent" in said.err
    assert asked(server)["options"] == {"seed": 1}
    assert json.loads(run("chat", "tiny", "x", "--option", "mirostat=2", "--json").lines[-1])["not_sent"] == ["mirostat"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("temprature=1", "There is no option temprature (--option). Did you mean temperature?"),
        ("bogus=1", "There is no option bogus (--option). There are: temperature, "),
        ("temperature=99", "temperature must be a number from 0 to 2"),
        ("num_ctx=8k", "num_ctx must be a whole number"),
    ],
)
def test_an_option_that_is_none_is_refused_before_anything_is_sent(server: FaultServer, run: Run, option: str, words: str) -> None:
    says(server, "hi")
    said = run("chat", "tiny", "x", "--option", option)
    assert said.code == 2 and not said.out and words in said.err
    assert run("complete", "tiny", "--prefix", os.devnull, "--option", option).code == 2
    assert not any(request.path in ("/api/chat", "/api/generate") for request in server.requests)


def test_the_prompt_may_stand_behind_options(server: FaultServer, run: Run) -> None:
    says(server, "hi")
    assert run("chat", "tiny", "--option", "seed=1", "what?").code == 0
    assert asked(server)["messages"][0]["content"] == "what?"
    assert run("chat", "--no-save", "tiny", "why?", "--option", "seed=1").code == 0
    assert asked(server)["messages"][0]["content"] == "why?"
    for words in (("a", "b"), ("--option", "seed=1", "a", "b"), ("a", "--nonsense"), ("--option", "seed=1", "--nonsense")):
        assert run("chat", "tiny", *words).code == 2


def test_tools_are_never_offered(server: FaultServer, run: Run, configure) -> None:
    says(server, "hi")
    configure('[chat]\ntools = ["time", "calculator"]\n' + provider("box", server.url))
    run("chat", "tiny", "x")
    assert "tools" not in asked(server)


def test_no_save_stores_nothing(server: FaultServer, run: Run, home: Path) -> None:
    says(server, "hi")
    assert run("chat", "tiny", "x", "--no-save").out == "hi\n"
    assert not (home / "data" / "paddock.db").exists()


def test_figures_measured_and_reported(server: FaultServer, run: Run) -> None:
    async def answer(exchange: Exchange) -> None:
        end = {"model": "tiny", "message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 2}
        await exchange.stream(piece("a"), piece("b"), json.dumps({**end, "eval_duration": 10**9}).encode() + b"\n")

    server.routes["POST /api/chat"] = answer
    last = json.loads(run("chat", "tiny", "x", "--json").lines[-1])
    assert last["reported"]["prompt_tokens"] == 7 and last["reported"]["output_seconds"] == 1
    assert last["measured"]["first_token"] > 0 and last["model"] == "tiny" and last["chat"] == 1


def test_tabs_stay_tabs_and_control_characters_do_not(server: FaultServer, run: Run) -> None:
    says(server, "all:\n\tmake\u001b[31m\r\n\tx\t")
    assert run("chat", "tiny", "x").out == "all:\n\tmake\u241b[31m\n\tx\t\n"


def test_a_file_alone_is_a_prompt(server: FaultServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(server, "hi")
    (tmp_path / "q.txt").write_text("what is 2+2?")
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert run("chat", "tiny", "--attach", str(tmp_path / "q.txt")).code == 0
    assert asked(server)["messages"][0]["content"] == "q.txt:\n```txt\nwhat is 2+2?\n```"


# --- complete


def line(text: str, **more: object) -> bytes:
    return json.dumps({"response": text, "done": False, **more}).encode() + b"\n"


def fills(server: FaultServer, *texts: str) -> None:
    left = list(texts)

    async def generate(exchange: Exchange) -> None:
        text = left.pop(0) if len(left) > 1 else left[0]
        await exchange.stream(line(text), line("", done=True, done_reason="stop", eval_count=3))

    can(server, "insert")
    server.routes["/api/generate"] = generate


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "a").write_text("def add(a, b):\n")
    (tmp_path / "b").write_text("\nprint(add(1, 2))\n")
    return ["--prefix", str(tmp_path / "a"), "--suffix", str(tmp_path / "b")]


def test_complete_fills_the_gap_and_stores_nothing(server: FaultServer, run: Run, home: Path, files: list[str]) -> None:
    fills(server, "\treturn a + b")
    said = run("complete", "tiny", *files)
    assert (said.code, said.out, said.err) == (0, "\treturn a + b", "")
    body = asked(server, "/api/generate")
    assert (body["prompt"], body["suffix"]) == ("def add(a, b):\n", "\nprint(add(1, 2))\n")
    assert body["options"] == {"num_predict": 512}
    assert not (home / "data" / "paddock.db").exists()
    first, last = map(json.loads, run("complete", "tiny", *files, "--json").lines)
    assert first == {"candidate": 0, "text": "\treturn a + b"}
    assert last["state"] == "complete" and last["filled"] is True and last["reported"]["output_tokens"] == 3 and "measured" in last


def test_several_suggestions_have_other_seeds(server: FaultServer, run: Run, files: list[str]) -> None:
    fills(server, "one", "two", "three")
    said = run("complete", "tiny", *files, "-n", "3", "--option", "seed=4")
    assert said.code == 0 and said.out == "one\0two\0three"
    bodies = [request.json for request in server.requests if request.path == "/api/generate"]
    assert [body["options"]["seed"] for body in bodies] == [4, 5, 6]
    parts = [json.loads(text) for text in run("complete", "tiny", *files, "-n", "2", "--json").lines]
    assert [part["candidate"] for part in parts] == [0, 0, 1, 1]
    assert run("complete", "tiny", *files, "-n", "0").code == run("complete", "tiny", *files, "-n", "21").code == 2


def test_the_gap_is_where_the_cursor_mark_stands(server: FaultServer, run: Run, tmp_path: Path, files: list[str]) -> None:
    fills(server, "x")
    (tmp_path / "c").write_text("before<HERE>behind<HERE>")
    assert run("complete", "tiny", "--prefix", str(tmp_path / "c"), "--cursor", "<HERE>").out == "x"
    body = asked(server, "/api/generate")
    assert (body["prompt"], body["suffix"]) == ("before", "behind<HERE>")
    assert run("complete", "tiny", "--prefix", str(tmp_path / "c"), "--cursor", "<NOT>").code == 2
    assert run("complete", "tiny", *files, "--cursor", "x").code == 2
    assert run("complete", "tiny", "--prefix", str(tmp_path / "gone")).code == 2
    assert run("complete", "tiny", "--prefix", "-", "--suffix", "-").code == 2


def test_the_text_comes_from_standard_input(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fills(server, "x")
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        os.write(writing, b"a|b")
        os.close(writing)
        monkeypatch.setattr("sys.stdin", stdin)
        assert run("complete", "tiny", "--prefix", "-", "--cursor", "|").out == "x"
    body = asked(server, "/api/generate")
    assert (body["prompt"], body["suffix"]) == ("a", "b")


def test_a_model_that_fills_nothing_says_so_on_standard_error(server: FaultServer, run: Run, files: list[str]) -> None:
    fills(server, "more")
    can(server)
    said = run("complete", "tiny", *files)
    assert said.code == 0 and said.out == "more" and "goes on from the text before" in said.err
    assert "suffix" not in asked(server, "/api/generate") and asked(server, "/api/generate")["raw"] is True


def test_raw_uses_no_template(server: FaultServer, run: Run, files: list[str]) -> None:
    fills(server, "x")
    run("complete", "tiny", *files[:2], "--raw")
    assert asked(server, "/api/generate")["raw"] is True


def test_H07_H10_a_suggestion_that_breaks_is_1_and_printed_as_far_as_it_came(server: FaultServer, run: Run, files: list[str]) -> None:
    can(server, "insert")
    server.routes["/api/generate"] = lambda exchange: exchange.stream(line("half"))
    said = run("complete", "tiny", *files)
    assert said.code == 1 and said.out == "half" and said.err
    server.routes["/api/generate"] = lambda exchange: exchange.stream(line("so"), b'{"error":"it died"}\n')
    said = run("complete", "tiny", *files, "-n", "3")
    assert said.code == 1 and said.out == "so" and "it died" in said.err
    server.routes["/api/generate"] = lambda exchange: exchange.stream(line("so"), line("", done=True, done_reason="length"))
    said = run("complete", "tiny", *files)
    assert said.code == 0 and said.out == "so" and "cut" in said.err


def test_ctrl_c_ends_all_suggestions_with_130(server: FaultServer, run: Run, files: list[str]) -> None:
    async def slow(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(line("half"))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGINT)
        await exchange.gone()

    can(server, "insert")
    server.routes["/api/generate"] = slow
    said = run("complete", "tiny", *files, "-n", "3")
    assert said.code == 130 and sum(request.path == "/api/generate" for request in server.requests) == 1


def test_look_refuses_both_with_3(server: FaultServer, run: Run, configure, files: list[str]) -> None:
    configure('[security]\naccess = "look"\n' + provider("box", server.url))
    assert run("chat", "tiny", "x").code == 3 and run("complete", "tiny", *files).code == 3
    assert not server.requests


@pytest.mark.parametrize("action, code", [("warn", 0), ("ask", 3), ("refuse", 3)])
def test_a_limit_is_looked_at_before_anything_is_sent(
    server: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch, files: list[str], action: str, code: int
) -> None:
    async def full(*_given: object, need: int | None, **_more: object) -> tuple[Breach, ...]:
        assert need is None or need > 0  # the model is not loaded
        return (Breach("memory", 93, 80, "memory 93 %, limit 80 %"),)

    monkeypatch.setattr(limited, "check_here", full)
    configure(f'[limits]\naction = "{action}"\n' + provider("box", server.url))
    fills(server, "x")
    says(server, "hi")
    for words, out in ((("chat", "tiny", "x"), "hi\n"), (("complete", "tiny", *files), "x")):
        said = run(*words)
        assert said.code == code and "memory 93 %, limit 80 %" in said.err
        assert said.out == ("" if code else out)
        assert ("--force" in said.err) is bool(code)
        said = run(*words, "--force")
        assert said.code == 0 and said.out == out and "memory 93 %" in said.err
    sent = [request.path for request in server.requests if request.path in ("/api/chat", "/api/generate")]
    assert len(sent) == (2 if code else 4)
