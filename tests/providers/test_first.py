"""The first questions to a server near by, asked without the client library: the same answers, the same sentences."""

import json
import time

import pytest

from tui.core.errors import FailureKind, PaddockError

TAGS = json.dumps({"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "size": 5, "digest": "a" * 64}]}).encode()


@pytest.fixture(autouse=True)
def _without_the_library(monkeypatch):
    monkeypatch.setattr("tui.providers.http._CLIENT", "not loaded")


async def test_a_whole_answer_is_taken_from_one_connection_that_ends(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(200, TAGS)
    assert [model.key for model in await connect().models()] == ["qwen3:8b"]
    assert [request.headers["connection"] for request in server.requests] == ["close"]


async def test_a_chunked_answer_is_whole_at_its_last_chunk(server, connect):
    server.routes["*"] = lambda exchange: exchange.stream(TAGS[:20], TAGS[20:], kind="application/json")
    assert len(await connect().models()) == 1
    assert len(server.requests) == 1


async def test_H02_a_cut_answer_is_asked_for_again_and_never_taken(server, connect):
    async def cut(exchange):
        await exchange.head(200, {"content-type": "application/json", "content-length": str(len(TAGS))}, chunked=False)
        await exchange.raw(TAGS[:-9])
        exchange.writer.close()

    server.routes["*"] = cut
    with pytest.raises(PaddockError) as caught:
        await connect().models()
    assert caught.value.failure.kind in (FailureKind.INTERRUPTED, FailureKind.PROTOCOL)
    assert server.requests[0].headers["connection"] == "close"
    assert server.requests[-1].headers["connection"] != "close"


async def test_a_chunked_answer_without_its_last_chunk_is_not_taken(server, connect):
    async def cut(exchange):
        await exchange.head(200, {"content-type": "application/json"})
        await exchange.chunk(TAGS)
        exchange.writer.close()

    server.routes["*"] = cut
    with pytest.raises(PaddockError):
        await connect().models()


async def test_H13_refusals_are_repeated_as_often_as_ever(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(503, b'{"error":"busy"}', {"retry-after": "0"})
    with pytest.raises(PaddockError) as caught:
        await connect(retries=2).models()
    assert (caught.value.failure.status, caught.value.failure.retry_after) == (503, 0)
    assert len(server.requests) == 3


async def test_H09_a_redirect_is_refused_and_not_followed(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(302, b"", {"location": "http://elsewhere.example/api/tags"})
    with pytest.raises(PaddockError) as caught:
        await connect().models()
    assert "redirect" in caught.value.failure.what.lower() or "elsewhere.example" in caught.value.failure.what
    assert len(server.requests) == 1


async def test_a_large_answer_is_asked_for_again(server, connect):
    many = json.dumps({"models": [{"name": f"m{number}:8b", "size": 5, "digest": "a" * 64} for number in range(4000)]}).encode()
    assert len(many) > 256 * 1024
    server.routes["*"] = lambda exchange: exchange.reply(200, many)
    assert len(await connect().models()) == 4000
    assert len(server.requests) == 2


async def test_H03_both_ways_of_asking_share_one_time_limit(server, connect):
    server.routes["*"] = lambda exchange: exchange.gone()
    began = time.monotonic()
    with pytest.raises(PaddockError) as caught:
        await connect().http.get("/api/tags", timeout=2)
    assert caught.value.failure.kind is FailureKind.TIMEOUT
    assert time.monotonic() - began < 3.8  # asked twice in a row it would be 4


async def test_a_key_and_extra_headers_go_through_the_library_only(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(200, TAGS)
    await connect(key="env:KEY").models()
    await connect(headers={"x-team": "lab"}).models()
    assert [request.headers.get("authorization", "") for request in server.requests] == ["Bearer sk-secret-1", ""]
    assert [request.headers.get("x-team", "") for request in server.requests] == ["", "lab"]
    assert all(request.headers["connection"] != "close" for request in server.requests)
