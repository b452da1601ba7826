"""ls, ps, show and search."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run, provider
from tests.support.fault_server import Exchange, FaultServer
from tests.support.replay import Replay
from tui.cli import context
from tui.cli.output import width


def entry(name: str, size: int = 1_000_000, **more: object) -> dict[str, object]:
    return {
        "name": name,
        "model": name,
        "size": size,
        "digest": "ab",
        "details": {"parameter_size": "1B", "quantization_level": "Q8_0"},
        **more,
    }


def lists(*names: str):
    async def route(exchange: Exchange) -> None:
        await exchange.json({"models": [entry(name) for name in names]})

    return route


async def _hang(exchange: Exchange) -> None:
    await exchange.gone()


def test_ls_aligns_by_cells_and_has_units(server: FaultServer, run: Run) -> None:
    server.routes["/api/tags"] = lists("模型模型:latest", "plain:7b", "e\u0301motif:1b")
    said = run("ls")
    assert said.code == 0
    heads = said.lines[0]
    at = width(heads[: heads.index("PROVIDER")])
    for line in said.lines[1:]:
        assert width(line[: line.index("ollama")]) == at
    assert all("1.0 MB" in line and "Q8_0" in line for line in said.lines[1:])


def test_ls_as_json(server: FaultServer, run: Run) -> None:
    assert [model["size"] for model in run("ls", "--json").json["models"]] == [5_000_000, 1]


def test_ls_hides_excluded_and_puts_preferred_first(server: FaultServer, run: Run, configure) -> None:
    server.routes["/api/tags"] = lists("a:1b", "b:1b", "secret-x:1b")
    configure('[models]\nexcluded = ["secret*"]\npreferred = ["b:1b"]\n')
    assert [line.split()[0] for line in run("ls").lines[1:]] == ["b:1b", "a:1b"]


def test_ls_without_models_says_how_to_get_one(server: FaultServer, run: Run) -> None:
    server.routes["/api/tags"] = lists()
    said = run("ls")
    assert said.code == 0 and not said.out and "paddock pull" in said.err


def test_several_are_asked_at_once_and_the_failed_is_named(
    server: FaultServer, second: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each server answers only when both have been asked; a third hangs and a fourth is closed."""
    both = threading.Barrier(2, timeout=5)

    def meets(*names: str):
        async def route(exchange: Exchange) -> None:
            await asyncio.to_thread(both.wait)
            await lists(*names)(exchange)

        return route

    server.routes["/api/tags"], second.routes["/api/tags"] = meets("one:1b"), meets("two:1b")
    server.routes["/slow/api/tags"] = _hang
    monkeypatch.setattr(context, "CAP", 1.0)
    configure(
        provider("first", server.url)
        + provider("other", second.url)
        + provider("slow", f"{server.url}/slow")
        + provider("shut", "http://127.0.0.1:9")
    )
    said = run("ls")
    assert said.code == 1
    assert [line.split()[:2] for line in said.lines[1:]] == [["one:1b", "first"], ["two:1b", "other"]]
    assert "slow did not answer in" in said.err and "shut: Cannot reach Ollama at 127.0.0.1:9" in said.err
    server.routes["/api/tags"], second.routes["/api/tags"] = lists("one:1b"), lists("two:1b")
    found = run("ls", "--json")
    assert found.code == 1 and len(found.json["failures"]) == 2
    assert run("ls", "--on", "other").code == 0


def test_a_later_server_that_is_silent_holds_nobody_up(server: FaultServer, second: FaultServer, run: Run, configure) -> None:
    second.routes["/api/tags"] = _hang
    configure(provider("box", server.url) + provider("slow", second.url))
    began = time.monotonic()
    assert run("chat", "tiny", "hello").code == 0
    assert time.monotonic() - began < context.CAP - 1


def test_all_silent_is_4_and_names_each(server: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch) -> None:
    server.routes["/api/tags"] = _hang
    monkeypatch.setattr(context, "CAP", 0.2)
    configure(provider("slow", server.url) + provider("shut", "http://127.0.0.1:9"))
    said = run("ls")
    assert said.code == 4 and "slow" in said.err and "shut" in said.err and not said.out


def test_ps_tells_memory_gpu_and_time(server: FaultServer, run: Run) -> None:
    async def route(exchange: Exchange) -> None:
        half = entry("half:1b", 8_000_000_000, size_vram=4_000_000_000, context_length=4096, expires_at="2318-01-01T00:00:00Z")
        await exchange.json({"models": [half]})

    assert run("ps").err.strip() == "Nothing is in memory."
    server.routes["/api/ps"] = route
    said = run("ps")
    assert said.lines[1].split() == ["half:1b", "ollama", "8.0", "GB", "50%", "4k", "stays"]
    assert run("ps", "--json").json["running"][0]["vram"] == 4_000_000_000


def test_ps_fails_as_its_server_does(server: FaultServer, run: Run) -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.json({"error": "out of order"}, 500)

    server.routes["/api/ps"] = broken
    said = run("ps")
    assert said.code == 1 and "ollama:" in said.err and "out of order" in said.err


def test_ls_and_show_of_a_recorded_server(server: FaultServer, run: Run) -> None:
    server.routes["*"] = Replay("ollama-0.24/library", pick=lambda scene: scene.status == 200)
    name = run("ls", "--json").json["models"][0]["name"]
    said = run("show", name)
    assert said.code == 0 and said.lines[0].split() == ["model", name] and "quantization" in said.out


def test_show_lines_up_and_an_unknown_model_has_a_remedy(ollama: str, run: Run) -> None:
    said = run("show", "qwen3:8b")
    assert said.code == 0
    columns = {line.index(value) for line, value in zip(said.lines, ("qwen3:8b", "ollama", "5.2 GB", "qwen3"), strict=False)}
    assert len(columns) == 1
    assert "40,960 tokens" in said.out and "template:" in said.out
    assert run("show", "qwen3:8b", "--json").json["context"] == 40960
    said = run("show", "qwen3")
    assert said.code == 1 and "nearest name is qwen3:8b" in said.err
    assert "paddock pull zzzz" in run("show", "zzzz").err


def test_show_tells_how_the_model_did_here(ollama: str, run: Run, home: Path) -> None:
    assert not any(line.startswith("here") for line in run("show", "qwen3:8b").lines)
    assert run("show", "qwen3:8b", "--json").json["profile"] is None
    assert not list(home.rglob("paddock.db"))  # looking makes none
    assert run("chat", "qwen3:8b", "hello").code == 0
    said = run("show", "qwen3:8b")
    at = next(number for number, line in enumerate(said.lines) if line.startswith("here"))
    assert "tok/s, first token 0." in said.lines[at] and "1 answer" in said.lines[at]
    assert " J a" not in said.out  # nothing measures energy here
    profile = run("show", "qwen3:8b", "--json").json["profile"]
    assert profile["answers"] == 1 and profile["rate"] > 0 and profile["joules"] is None


def test_search_is_dated_and_1_where_nothing_fits(run: Run) -> None:
    said = run("search", "qwen")
    assert said.code == 0 and "facts of 20" in said.err and said.lines[0].startswith("MODEL")
    assert run("search", "qwen", "--json").json["snapshot"]
    assert run("search", "zzzzqqq").code == 1


def test_demo_is_used_with_nothing_else(ollama: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    said = run("ls", demo=True, demo_url=ollama)
    assert said.code == 0 and "demo" in said.lines[1]


def test_a_given_address_is_used_alone_and_takes_the_key_of_its_table(
    server: FaultServer, second: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOX_KEY", "sk-box-123")
    configure(provider("box", second.url, api_key='"env:BOX_KEY"') + provider("other", server.url))
    assert run("ls", provider=second.url).code == 0
    assert not server.requests and second.requests[-1].headers["authorization"] == "Bearer sk-box-123"


def test_a_found_server_is_listed_beside_configured_ones(
    server: FaultServer, second: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PADDOCK_GENERAL__DISCOVER", "true")
    configure(provider("box", server.url))
    found = context.discover

    async def only(kinds: object, **more: object) -> object:
        return await found(kinds, **{**more, "ports": (second.port,)})  # type: ignore[arg-type]

    async def root(exchange: Exchange) -> None:
        await exchange.reply(200, b"Ollama is running", {"content-type": "text/plain"})

    second.routes |= {"/": root, "/v1/models": _v1, "/api/tags": lists("found:1b")}
    monkeypatch.setattr(context, "discover", only)
    said = run("ls")
    assert said.code == 0 and "found:1b" in said.out and "tiny" in said.out
    assert run("show", "found:1b").code == 0
    assert "(found)" in run("providers").out


async def _v1(exchange: Exchange) -> None:
    await exchange.json({"object": "list", "data": [{"id": "found:1b", "object": "model", "created": 1, "owned_by": "library"}]})
