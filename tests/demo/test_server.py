"""The demo server through the real Ollama client, over a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.screen import until
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done, Thinking, ToolCall
from tui.core.models import ChatRequest, Endpoint, Message, Role
from tui.demo.launch import RECORD, ensure_running
from tui.demo.models import FIRST, World
from tui.demo.server import Pace, seconds_of, serve
from tui.providers.factory import make_provider

FAST = Pace(pull=40e9, tokens=5000, load=0.01, idle=600)


@pytest.fixture
async def demo(tmp_path: Path):
    """A running server's provider; `restart` style tests use `start`."""
    stop, ports = asyncio.Event(), []
    task = asyncio.create_task(serve(World.open(tmp_path), FAST, 0, ports.append, stop))
    await until(lambda: ports)
    provider = make_provider(Endpoint("demo", "ollama", f"http://127.0.0.1:{ports[0]}"), lambda reference: "")
    yield provider
    await provider.aclose()
    stop.set()
    await task


def request(text: str, model: str = "qwen3:8b", **fields) -> ChatRequest:
    return ChatRequest(model, (Message(0, 0, 1, Role.USER, text),), **fields)


async def test_it_is_an_ollama_with_models(demo):
    health = await demo.check()
    assert health.version == "0.24.0"
    models = await demo.models()
    assert {model.name for model in models} == set(FIRST)
    assert all(model.size and model.digest for model in models)
    detail = await demo.show("qwen3:8b")
    assert detail.context == 40960
    assert detail.info["qwen3.block_count"] == 36


async def test_a_chat_thinks_streams_markdown_and_ends(demo):
    events = [event async for event in demo.chat(request("Which quantization?"))]
    assert any(isinstance(event, Thinking) for event in events)
    text = "".join(event.text for event in events if isinstance(event, Delta))
    assert "| Q4_K_M |" in text
    assert "Which quantization?" in text
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "stop"
    assert events[-1].metrics.output_tokens


async def test_num_predict_cuts(demo):
    events = [event async for event in demo.chat(request("hi", options={"num_predict": 5}))]
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "length"


async def test_a_tool_is_called(demo):
    tools = ({"type": "function", "function": {"name": "clock", "parameters": {}}},)
    events = [event async for event in demo.chat(request("time?", tools=tools, think="off"))]
    assert [event.name for event in events if isinstance(event, ToolCall)] == ["clock"]


async def test_loading_pinning_and_unloading(demo):
    await demo.load("llama3.2:3b", keep_alive="-1")
    (running,) = await demo.running()
    assert running.pinned
    await demo.unload("llama3.2:3b")
    assert await demo.running() == ()


async def test_a_pull_runs_to_success_and_is_listed(demo):
    steps = [step async for step in demo.pull("phi4:14b")]
    assert steps[0].status == "pulling manifest"
    assert steps[-1].status == "success"
    assert any(step.completed and step.total for step in steps)
    assert "phi4:14b" in {model.name for model in await demo.models()}


async def test_a_pull_goes_on_where_its_client_left(tmp_path):
    slow = Pace(pull=200e6, tokens=1000, load=0.01)
    stop, ports = asyncio.Event(), []
    task = asyncio.create_task(serve(World.open(tmp_path), slow, 0, ports.append, stop))
    await until(lambda: ports)
    provider = make_provider(Endpoint("demo", "ollama", f"http://127.0.0.1:{ports[0]}"), lambda reference: "")
    reached = 0
    stream = provider.pull("mistral:7b")
    async for step in stream:
        if step.completed and step.completed > 20_000_000:
            reached = step.completed
            break
    await stream.aclose()
    again = provider.pull("mistral:7b")
    async for step in again:
        if step.completed:
            assert step.completed >= reached
            break
    await again.aclose()
    await provider.aclose()
    stop.set()
    await task


async def test_an_unknown_name_is_said_to_be_unknown(demo):
    with pytest.raises(PaddockError) as caught:
        async for _step in demo.pull("no-such-model:1b"):
            pass
    assert caught.value.failure.kind is FailureKind.NOT_FOUND


async def test_copy_and_delete(demo):
    await demo.copy("gemma3:4b", "mine")
    assert "mine:latest" in {model.name for model in await demo.models()}
    await demo.delete("mine:latest")
    assert "mine:latest" not in {model.name for model in await demo.models()}


async def test_embeddings_have_the_models_length(demo):
    (vector,) = await demo.embed("nomic-embed-text", ["hello"])
    assert len(vector) == 768
    assert sum(value * value for value in vector) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("given", "seconds"), [("10m", 600), ("1h30m", 5400), (-1, None), ("-1", None), (0, 0), ("0", 0), (None, 300), (90, 90)]
)
def test_keep_alive_forms(given, seconds):
    assert seconds_of(given) == seconds


def test_one_server_a_home_started_once(tmp_path):
    url = ensure_running(tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    try:
        assert ensure_running(tmp_path) == url
        assert (tmp_path / RECORD).stat().st_mode & 0o777 == 0o600
    finally:
        os.kill(record["pid"], signal.SIGTERM)
