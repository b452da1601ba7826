"""Commands against a server of our own, in process."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fault_server import Exchange, FaultServer
from tui.cli import main
from tui.core.options import AppOptions

HOSTILE = "evil\x1b]0;x\x07\x9bm"
MODELS = {"models": [{"name": "tiny:latest", "model": "tiny:latest", "size": 5_000_000, "digest": "ab", "details": {}},
                     {"name": HOSTILE, "model": HOSTILE, "size": 1, "digest": "cd", "details": {}}]}  # fmt: skip


async def _chat(exchange: Exchange) -> None:
    await exchange.stream(
        b'{"model":"tiny","message":{"role":"assistant","content":"hi \\u001b[31mred"},"done":false}\n',
        b'{"model":"tiny","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}\n',
    )


async def _cut(exchange: Exchange) -> None:
    await exchange.stream(b'{"model":"tiny","message":{"role":"assistant","content":"half"},"done":false}\n')


async def _serve(exchange: Exchange) -> None:
    path = exchange.request.path
    if path == "/api/tags":
        await exchange.json(MODELS)
    elif path == "/api/ps":
        await exchange.json({"models": []})
    elif path == "/api/version":
        await exchange.json({"version": "0.24.0"})
    elif path == "/api/chat":
        await _chat(exchange)
    else:
        await exchange.json({})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    found, loop = FaultServer(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(found.start(), loop).result(5)
    found.routes["*"] = _serve
    monkeypatch.setenv("PADDOCK_HOME", str(tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", found.url)
    monkeypatch.setenv("PADDOCK_GENERAL__DISCOVER", "false")
    yield found
    asyncio.run_coroutine_threadsafe(found.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def run(*argv: str, readonly: bool = False) -> int:
    return main(list(argv), AppOptions(readonly=readonly))


def test_X02_ls_prints_no_control_byte(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ls") == 0
    out = capsys.readouterr().out
    assert "tiny" in out and "5.0 MB" in out
    assert not [char for char in out if (ord(char) < 32 and char != "\n") or 127 <= ord(char) < 160]


def test_ls_as_json(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ls", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [model["size"] for model in found["models"]] == [5_000_000, 1]


def test_chat_answers_on_stdout_alone_and_is_saved(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("chat", "tiny", "hello") == 0
    said = capsys.readouterr()
    assert said.out.startswith("hi ") and "\x1b" not in said.out and said.err == ""
    assert run("chats", "--json") == 0
    assert json.loads(capsys.readouterr().out)["chats"][0]["title"] == "hello"


def test_H07_a_cut_answer_is_1_and_kept_as_interrupted(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.routes["POST /api/chat"] = _cut
    assert run("chat", "tiny", "hello") == 1
    said = capsys.readouterr()
    assert said.out == "half\n" and said.err
    assert run("chats", "export", "1", "--json") == 0
    assert [message["state"] for message in json.loads(capsys.readouterr().out)["messages"]] == ["complete", "interrupted"]


def test_readonly_refuses_with_3(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rm", "tiny", "--yes", readonly=True) == 3
    assert "security.access" in capsys.readouterr().err


def test_rm_without_anybody_to_ask_is_2(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("rm", "tiny") == 2


def test_an_unknown_model_is_1_and_usage_2(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "nothing") == 1
    assert run("show") == 2
    assert run("config", "set", "pulls.at_once", "99") == 2


def test_nobody_answering_is_4(server: FaultServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    assert run("ls") == 4
    assert capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_name_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("completions", shell) == 0
    out = capsys.readouterr().out
    assert "pulls" in out and "--wait" in out
