"""cp, rm, load and unload: done only when the server's own lists say so, and written down."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Typed, provider
from tests.cli.test_models import lists
from tests.support.fault_server import Exchange, FaultServer
from tui.cli import changes, limited
from tui.core.errors import PaddockError
from tui.services.library.keeping_moves import Moved, Mover
from tui.services.limits import Breach


def audit(home: Path) -> list[tuple[str, str, str]]:
    lines = (home / "state" / "audit.jsonl").read_text("utf-8").splitlines()
    return [(entry["what"], entry["target"], entry["result"]) for entry in map(json.loads, lines)]


def names(run: Run) -> list[str]:
    return [model["name"] for model in run("ls", "--json").json["models"]]


def test_cp_makes_a_second_name_once(ollama: str, run: Run, home: Path) -> None:
    said = run("cp", "qwen3:8b", "mine")
    assert said.code == 0 and said.err == "qwen3:8b on ollama is now also named mine:latest.\n" and not said.out
    assert "mine:latest" in names(run)
    said = run("cp", "qwen3:8b", "mine")
    assert said.code == 1 and "already" in said.err
    assert audit(home) == [("copy", "ollama/qwen3:8b", "ok")]
    assert run("cp", "qwen3:8b", "a b c").code == 2
    told = {"ok": True, "command": "cp", "model": "qwen3:8b", "provider": "ollama", "target": "other:latest"}
    assert run("cp", "qwen3:8b", "other", "--json").json == told


def test_a_copy_that_is_not_listed_is_no_copy(server: FaultServer, run: Run, home: Path) -> None:
    said = run("cp", "tiny", "mine")
    assert said.code == 1 and "not in its list" in said.err
    assert audit(home) == [("copy", "ollama/tiny:latest", "failed")]


def test_rm_asks_and_then_it_is_gone(ollama: str, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Typed("\n"))
    said = run("rm", "gemma3:4b")
    assert said.code == 1 and "Nothing was deleted" in said.err
    assert "Move gemma3:4b on ollama to the trash? Frees up to 3.3 GB on " in said.err
    monkeypatch.setattr(sys, "stdin", Typed("y\n"))
    assert run("rm", "gemma3:4b").code == 0
    assert "gemma3:4b" not in names(run)
    assert audit(home) == [("delete", "ollama/gemma3:4b", "ok")]


def test_rm_without_anybody_to_ask_is_3(ollama: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    said = run("rm", "gemma3:4b")
    assert said.code == 3 and "--yes" in said.err
    assert "gemma3:4b" in names(run)


def test_rm_of_several_deletes_nothing_where_one_is_unknown(ollama: str, run: Run) -> None:
    said = run("rm", "gemma3:4b", "nothing", "--yes")
    assert said.code == 1 and "nothing" in said.err
    assert "gemma3:4b" in names(run)
    assert run("rm", "gemma3:4b", "llama3.2:3b", "gemma3:4b", "--yes").code == 0
    assert set(names(run)) == {"qwen3:8b", "qwen2.5-coder:1.5b", "nomic-embed-text:latest"}


def test_rm_of_several_prints_one_json_document(ollama: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    one = run("rm", "nomic-embed-text", "nomic-embed-text:latest", "--yes", "--json")
    assert one.json == {"ok": True, "command": "rm", "model": "nomic-embed-text:latest", "provider": "ollama"}
    to_trash = Mover.to_trash

    async def fails(self: Mover, model: str) -> Moved:
        if model == "llama3.2:3b":
            raise PaddockError.of("It hung up", "ollama", "Try again")
        return await to_trash(self, model)

    monkeypatch.setattr(Mover, "to_trash", fails)
    said = run("rm", "gemma3:4b", "llama3.2:3b", "qwen3:8b", "--yes", "--json")
    assert said.code == 1 and "It hung up" in said.err
    assert said.json["ok"] is False and said.json["command"] == "rm"
    assert [failure["what"] for failure in said.json["failures"]] == ["It hung up"]
    assert [(one["model"], one["provider"], one["ok"]) for one in said.json["models"]] == [
        ("gemma3:4b", "ollama", True), ("llama3.2:3b", "ollama", False), ("qwen3:8b", "ollama", True),
    ]  # fmt: skip
    assert set(names(run)) == {"llama3.2:3b", "qwen2.5-coder:1.5b"}


def test_rm_unloads_first(ollama: str, run: Run, home: Path) -> None:
    assert run("load", "gemma3:4b").code == 0
    assert run("rm", "gemma3:4b", "--yes").code == 0
    assert [what for what, *_ in audit(home)] == ["load", "unload", "delete"]


def test_a_delete_that_did_not_happen_is_said(server: FaultServer, run: Run) -> None:
    said = run("rm", "tiny", "--yes", "--now")
    assert said.code == 1 and "still listed" in said.err


def test_rm_refuses_to_guess_between_two_servers(server: FaultServer, second: FaultServer, run: Run, configure) -> None:
    configure(provider("one", server.url) + provider("two", second.url))
    said = run("rm", "tiny", "--yes", "--now")
    assert said.code == 2 and "one, two" in said.err and "--on" in said.err
    assert not [request for request in server.requests + second.requests if request.method == "DELETE"]
    configure('[general]\ndefault_provider = "two"\n' + provider("one", server.url) + provider("two", second.url))
    run("rm", "tiny", "--yes", "--now")
    assert [request.method for request in second.requests].count("DELETE") == 1
    assert not [request for request in server.requests if request.method == "DELETE"]


def test_P12_rm_does_not_take_a_silent_server_for_one_without_the_model(server: FaultServer, run: Run, configure) -> None:
    configure(provider("one", "http://127.0.0.1:9") + provider("two", server.url))
    said = run("rm", "tiny", "--yes", "--now")
    assert said.code == 2 and "One provider did not answer" in said.err and "127.0.0.1:9" in said.err
    assert not [request for request in server.requests if request.method == "DELETE"]
    run("rm", "tiny", "--yes", "--now", "--on", "two")
    assert [request.method for request in server.requests].count("DELETE") == 1


@pytest.mark.parametrize("words", [["rm", "tiny", "--yes"], ["load", "tiny"], ["chat", "tiny", "secret plan"], ["pull", "tiny"]])
def test_nothing_goes_to_another_server_than_a_named_default(server: FaultServer, run: Run, configure, words: list[str]) -> None:
    configure('[general]\ndefault_provider = "main"\n' + provider("main", "http://127.0.0.1:9") + provider("spare", server.url))
    said = run(*words)
    assert said.code == 4 and "main" in said.err and "--on" in said.err
    assert {request.method for request in server.requests} <= {"GET"}
    assert run("chat", "tiny", "hello", "--on", "spare").code == 0


def test_load_says_what_it_took_and_keeps_as_long_as_asked(ollama: str, run: Run) -> None:
    said = run("load", "qwen3:8b", "--for", "-1")
    assert said.code == 0 and "is loaded on ollama after" in said.err and "6.1 GB of memory" in said.err
    assert "stays" in run("ps").out


def test_a_load_that_is_not_in_memory_is_no_load(server: FaultServer, run: Run) -> None:
    async def loaded(exchange: Exchange) -> None:
        await exchange.json({"model": "tiny", "response": "", "done": True, "done_reason": "load"})

    server.routes["/api/generate"] = loaded
    said = run("load", "tiny")
    assert said.code == 1 and "gone again" in said.err


def test_a_load_the_server_refuses_is_1(server: FaultServer, run: Run, home: Path) -> None:
    async def refused(exchange: Exchange) -> None:
        await exchange.json({"error": "model requires more system memory (9.9 GiB) than is available (1.0 GiB)"}, 500)

    server.routes["/api/generate"] = refused
    said = run("load", "tiny")
    assert said.code == 1 and "memory" in said.err
    assert audit(home) == [("load", "ollama/tiny:latest", "failed")]


@pytest.mark.parametrize(("action", "code"), [("warn", 0), ("ask", 3), ("refuse", 3)])
def test_a_limit_is_looked_at_before_a_load(
    server: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch, home: Path, action: str, code: int
) -> None:
    async def full(*_given: object, need: int | None, **_more: object) -> tuple[Breach, ...]:
        assert need == 0 if loaded else need
        measured.set()
        return (Breach("memory", 93, 80, "Memory 93 %, limit 80 %"),)

    loaded: list[str] = []
    measured = threading.Event()
    monkeypatch.setattr(limited, "check_here", full)
    configure(f'[limits]\naction = "{action}"\n' + provider("box", server.url))

    async def generate(exchange: Exchange) -> None:
        assert await asyncio.to_thread(measured.wait, 5)
        loaded.append(exchange.request.json["model"])
        await exchange.json({"done": True})

    server.routes["/api/generate"] = generate
    server.routes["/api/ps"] = lambda exchange: exchange.json(
        {"models": [{"name": name, "model": name, "size": 5, "size_vram": 0, "expires_at": "2099-01-01T00:00:00Z"} for name in loaded]}
    )
    said = run("load", "tiny")
    assert said.code == code
    assert "Memory 93 %, limit 80 %" in said.err
    assert len(loaded) == (0 if code else 1)
    if code:
        assert "Not loaded: Memory 93 %, limit 80 %" in said.err
        assert "--force" in said.err
    assert run("load", "tiny", "--force").code == 0
    told = [line for line in audit(home) if line[0].startswith("limit")]
    first = "limit refused" if code else "limit warned"
    assert told[0] == (first, "box/tiny:latest", "Memory 93 %, limit 80 %")
    if code:
        assert told[-1] == ("limit warned", "box/tiny:latest", "Memory 93 %, limit 80 %; --force")


def test_unload_waits_until_it_is_gone(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server lists the model twice more after it was asked."""
    looks: list[int] = []

    async def ps(exchange: Exchange) -> None:
        asked = any(request.path == "/api/generate" for request in server.requests)
        looks.extend([1] if asked else [])
        await (lists("tiny:latest") if not asked or len(looks) < 3 else lists())(exchange)

    async def done(exchange: Exchange) -> None:
        assert exchange.request.json["keep_alive"] == 0
        await exchange.json({"model": "tiny", "response": "", "done": True, "done_reason": "unload"})

    server.routes |= {"/api/ps": ps, "/api/generate": done}
    monkeypatch.setattr(changes, "POLL", 0.01)
    said = run("unload", "tiny")
    assert said.code == 0 and said.err == "tiny:latest is unloaded from ollama.\n" and len(looks) == 3


def test_unload_gives_up_and_says_so(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def done(exchange: Exchange) -> None:
        await exchange.json({"model": "tiny", "response": "", "done": True, "done_reason": "unload"})

    server.routes |= {"/api/ps": lists("tiny:latest"), "/api/generate": done}
    monkeypatch.setattr(changes, "POLL", 0.01)
    monkeypatch.setattr(changes, "PATIENCE", 0.05)
    said = run("unload", "tiny")
    assert said.code == 1 and "still in memory" in said.err


def test_unload_of_what_is_not_loaded_is_done(ollama: str, run: Run) -> None:
    said = run("unload", "qwen3:8b")
    assert said.code == 0 and "not in memory" in said.err


def test_what_a_server_cannot_is_said(server: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST")

    async def models(exchange: Exchange) -> None:
        await exchange.json({"object": "list", "data": [{"id": "m1", "object": "model"}]})

    server.routes["/v1/models"] = models
    configure(provider("box", server.url, "vllm"))
    for words in (["rm", "m1", "--yes"], ["load", "m1"], ["unload", "m1"], ["cp", "m1", "m2"], ["pull", "m1"]):
        said = run(*words)
        assert said.code == 1 and "box cannot" in said.err, words
    assert [request.path for request in server.requests] == ["/v1/models"] * 5
