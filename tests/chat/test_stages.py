"""Stops and dying servers at every stage of an answer, and several answers at once; on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import Bench, until
from tests.support.fault_server import Exchange, FaultServer
from tui.core.chat import AnswerState, ConversationSettings
from tui.core.models import Model

STAGES = ("asking", "pulling", "connected", "headers", "thinking", "half a line", "text", "no end mark", "tool")
TIMES = 100
"""How often an answer is stopped, over all stages."""


def line(**fields: Any) -> bytes:
    return json.dumps({"model": "qwen3:8b", "done": False, **fields}).encode() + b"\n"


def text(content: str, **more: Any) -> bytes:
    return line(message={"role": "assistant", "content": content, **more})


CALL = text("", tool_calls=[{"function": {"name": "calculator", "arguments": {"expression": "6*7"}}}])
END = line(message={"role": "assistant", "content": ""}, done=True, done_reason="stop", prompt_eval_count=9, eval_count=2)


class Stage:
    """An Ollama whose answer goes as far as a stage and stays there."""

    def __init__(self) -> None:
        self.stage = ""
        self.there = asyncio.Event()
        self.dies = False

    async def __call__(self, exchange: Exchange) -> None:
        await self.as_far_as(exchange)
        self.there.set()
        if self.dies:
            exchange.reset()
            return
        await exchange.gone()

    async def as_far_as(self, exchange: Exchange) -> None:
        """Answer up to the stage."""
        if self.stage == "connected":
            return
        await exchange.head()
        if self.stage == "headers":
            return
        await exchange.chunk(text("", thinking="hm"))
        if self.stage == "thinking":
            return
        await exchange.chunk(text("part"))
        if self.stage == "half a line":
            await exchange.chunk(text(" never seen")[:20])
        elif self.stage == "no end mark":
            await exchange.chunk(text(" and all"))
        elif self.stage == "tool":
            await exchange.chunk(CALL)
            await exchange.chunk(END)
            await exchange.end()


@pytest.fixture
async def one(tmp_path: Path, server: FaultServer, connect: Any) -> AsyncIterator[Bench]:
    bench = await Bench(tmp_path, connect()).begin()
    yield bench
    assert not bench.host.errors
    await bench.end()


async def never() -> Any:
    await asyncio.Event().wait()


async def reach(one: Bench, stage: Stage, name: str) -> None:
    """Send a prompt and wait until its answer is at a stage."""
    stage.stage = name
    stage.there.clear()
    host: Any = one.host
    host.may_send = (lambda provider: never()) if name == "asking" else type(host).may_send.__get__(host)
    host.ask = (lambda *_args: never()) if name == "tool" else type(host).ask.__get__(host)
    host.choice = "pull" if name == "pulling" else "no"
    model = "other:1b" if name == "pulling" else "qwen3:8b"
    one.chat.use_model("lab", model)
    one.chat.configure(ConversationSettings(tools=("calculator",)))
    await until(lambda: one.chat.view.value.model == model)
    before = len(one.chat.view.value.messages)
    one.chat.send("go")
    await until(lambda: len(one.chat.view.value.messages) == before + 2)
    if name == "asking":
        await until(lambda: one.engine._open.waiting)
    elif name == "pulling" or name == "tool":
        await until(lambda: one.chat.view.value.waits)
    else:
        await asyncio.wait_for(stage.there.wait(), 5)
        texts = {"thinking": 0, "half a line": 1, "text": 1, "no end mark": 2}.get(name, -1)
        await until(lambda: texts < 0 or (one.chat.live.value and len(one.chat.live.value.buffer.text) >= texts))
        await until(lambda: texts != 0 or (one.chat.live.value and one.chat.live.value.buffer.thinking))


async def test_H32_esc_at_every_stage_a_hundred_times(one: Bench, server: FaultServer) -> None:
    stage = Stage()
    server.routes["/api/chat"] = stage
    for count in range(TIMES):
        name = STAGES[count % len(STAGES)]
        if count % 20 == 0:
            one.chat.new()
            await until(lambda: one.chat.view.value.id == 0)
        await reach(one, stage, name)
        async with asyncio.timeout(1):  # P23
            one.chat.stop()
            await one.idle()
        ended = one.chat.view.value.messages[-1]
        kept = {"half a line": "part", "text": "part", "no end mark": "part and all", "tool": "part"}.get(name, "")
        state = AnswerState.COMPLETE if name == "tool" else AnswerState.STOPPED
        assert (name, ended.content, ended.state) == (name, kept, state)
        assert one.stored.message(ended.id) == ended
        assert (one.chat.live.value, one.chat.view.value.waits, one.engine._open.active) == (None, "", {})
        await until(lambda: server.open == 0)


@pytest.mark.parametrize("name", [name for name in STAGES if name not in ("asking", "pulling", "tool")])
async def test_H05_server_killed_at_every_stage(one: Bench, server: FaultServer, name: str) -> None:
    stage = Stage()
    stage.dies = True
    server.routes["/api/chat"] = stage
    stage.stage = name
    ended = await one.say("go")
    kept = {"half a line": "part", "text": "part", "no end mark": "part and all"}.get(name, "")
    assert ended.state in (AnswerState.INTERRUPTED, AnswerState.FAILED) and ended.failure is not None and ended.failure.remedy
    assert (ended.content, ended.state is AnswerState.COMPLETE) == (kept, False)
    if kept:
        assert ended.state is AnswerState.INTERRUPTED
    stage.dies, stage.stage = False, "tool"
    assert one.stored.message(ended.id) == ended


async def test_P38_two_chats_and_a_comparison_while_one_server_hangs(
    one: Bench,
    server: FaultServer,
    connect: Callable[..., Any],
) -> None:
    hung = FaultServer()
    await hung.start()
    stage, hold = Stage(), asyncio.Event()
    stage.stage = "connected"
    hung.routes["/api/chat"] = stage

    async def answers(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text("well "))
        await hold.wait()
        await exchange.chunk(text("done"))
        await exchange.chunk(END)
        await exchange.end()

    server.routes["/api/chat"] = answers
    one.host.others["hung"] = connect(url=hung.url)
    names = ("qwen3:8b", "phi4:14b")
    one.host.listed = (*(Model("lab", name, name) for name in names), Model("hung", "qwen3:8b", "qwen3:8b"))
    one.chat.use_model("hung", "qwen3:8b")
    one.chat.send("to the one that hangs")
    await asyncio.wait_for(stage.there.wait(), 5)
    first = one.chat.view.value.id
    one.chat.new("lab", "qwen3:8b")
    await until(lambda: one.chat.view.value.id == 0)
    one.chat.send("to the other one")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    second = one.chat.view.value.id
    one.chat.new("lab", "qwen3:8b")
    await until(lambda: one.chat.view.value.id == 0)
    one.chat.compare("to all", [*(("lab", name) for name in names), ("hung", "qwen3:8b")])
    await until(lambda: one.chat.view.value.compare is not None)
    hold.set()
    await until(lambda: [answer.state for answer in one.chat.view.value.answers.values()][:2] == [AnswerState.COMPLETE] * 2)
    third = one.chat.view.value.id
    assert one.stored.branch(second)[-1].content == "well done"
    async with asyncio.timeout(1):
        one.chat.stop()
        await one.idle()
    assert [answer.state for answer in one.chat.view.value.answers.values()][2] is AnswerState.STOPPED
    one.chat.open(first)
    await until(lambda: one.chat.view.value.id == first)
    assert one.chat.live.value is not None and one.chat.live.value.state is AnswerState.WAITING
    async with asyncio.timeout(1):
        one.chat.stop()
        await one.idle()
    assert [one.stored.branch(number)[-1].state for number in (first, second)] == [AnswerState.STOPPED, AnswerState.COMPLETE]
    assert len(one.stored.all_messages(third)) == 4
    await hung.stop()
