"""Whatever a server says instead of an answer: the chat ends it truthfully, keeps it, and goes on; on real sockets."""

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import Bench, until
from tests.services.test_completion import Host
from tests.support.fault_server import Exchange, FaultServer
from tui.core.chat import AnswerState, ConversationSettings, Role
from tui.core.clock import SYSTEM
from tui.core.models import Model
from tui.services.chat.tooling import CALLS
from tui.services.completion import Completion

ODD: tuple[Any, ...] = (
    None, True, -1, 1e308, "", "x\ud83d\0", [], {}, [None], {"a": {}}, "9" * 5000, [[[[[]]]]],
    [{"function": None}], [{"function": {"name": 5, "arguments": "{"}}], [{"function": {"name": "calculator", "arguments": [1]}}],
)  # fmt: skip
CALL = {"id": "c", "function": {"name": "calculator", "arguments": {"expression": "6*7"}}}


def lines(kind: str) -> list[Any]:
    """A good answer of each kind, with all it can hold."""
    if kind == "ollama":
        return [
            {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "some "}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "words", "tool_calls": [CALL]}, "done": False},
            {"model": "m", "message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 2},
        ]
    told = {**CALL, "index": 0, "function": {"name": "calculator", "arguments": '{"expression": "6*7"}'}}
    return [
        {"model": "m", "choices": [{"delta": {"reasoning_content": "hm"}}]},
        {"model": "m", "choices": [{"delta": {"content": "some "}}]},
        {"model": "m", "choices": [{"delta": {"content": "words", "tool_calls": [told]}}]},
        {"model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
    ]


def spoilt(value: Any, chance: random.Random) -> Any:
    """The same with one thing in it replaced, left out, or added."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: spoilt(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], spoilt(value[at], chance), *value[at + 1 :]]
    return chance.choice(ODD)


def body(kind: str, chance: random.Random) -> bytes:
    frames = [json.dumps(spoilt(line, chance) if chance.random() < 0.4 else line).encode() for line in lines(kind)]
    data = b"".join(frame + b"\n" if kind == "ollama" else b"data: " + frame + b"\n\n" for frame in frames)
    for _ in range(chance.choice((0, 0, 1, 3))):
        at = chance.randrange(len(data))
        data = data[:at] + bytes([chance.randrange(256)]) * chance.choice((0, 1, 1, 40)) + data[at + chance.choice((0, 1, 9)) :]
    return data[: chance.randrange(len(data))] if chance.random() < 0.2 else data


class Raving:
    """A server that answers with such bodies, split anywhere and ended anyhow."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    async def __call__(self, exchange: Exchange) -> None:
        chance, kind = self.chance, "ollama" if exchange.request.path.startswith("/api") else "vllm"
        data = body(kind, chance)
        how = chance.random()
        if how < 0.1:
            await exchange.reply(chance.choice((200, 400, 404, 500, 503)), data)
            return
        await exchange.head(200, {"content-type": "application/x-ndjson" if kind == "ollama" else "text/event-stream"})
        size = chance.choice((1, 7, 64, 100_000))
        for at in range(0, len(data), size):
            await exchange.chunk(data[at : at + size])
        if how < 0.2:
            exchange.reset()
        elif how < 0.9:
            await exchange.end()


@pytest.fixture
async def one(tmp_path: Path, server: FaultServer, connect: Any) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, connect())
    bench.host.others["vllm"] = connect("vllm")
    bench.host.listed = (Model("lab", "m", "m"), Model("vllm", "m", "m"))
    bench.host.choice = "run"
    await bench.begin()
    yield bench
    await bench.end()


@pytest.mark.parametrize("seed", range(6))
async def test_P30_H18_no_answer_however_malformed_ends_anything(one: Bench, server: FaultServer, seed: int) -> None:
    chance = random.Random(seed)
    server.routes["*"] = Raving(chance)
    one.chat.configure(ConversationSettings(tools=("calculator",), format=chance.choice((None, None, "json"))))
    for _ in range(12):
        one.chat.use_model(chance.choice(("lab", "vllm")), "m")
        await one.idle()
        what = chance.random()
        if what < 0.6 or not one.chat.view.value.messages:
            one.chat.send("go")
        elif what < 0.7:
            one.chat.go_on()
        elif what < 0.8:
            one.chat.regenerate()
        else:
            one.chat.compare("which?", [("lab", "m"), ("vllm", "m")])
        await until(lambda: not one.host.tasks)
        await one.idle()
        assert not one.host.errors
        view = one.chat.view.value
        for message in (*view.messages, *view.answers.values()):
            if message.role is Role.ASSISTANT:
                assert message.state.ended and (message.failure is None) == (
                    message.state not in (AnswerState.FAILED, AnswerState.INTERRUPTED)
                )
                assert one.stored.message(message.id) == message
        one.chat.leave_comparison()
    assert one.host.database is not None
    assert one.host.database.read(lambda connection: connection.execute("PRAGMA quick_check").fetchone()) == ("ok",)


async def test_P30_no_completion_however_malformed_ends_anything(server: FaultServer, connect: Any) -> None:
    chance = random.Random(1)
    host: Any = Host(connect())
    completion = Completion(host=host, clock=SYSTEM, tick=0.01)
    good = [{"response": "a", "done": False}, {"response": "b", "done": False}, {"response": "", "done": True, "done_reason": "stop"}]

    async def raves(exchange: Exchange) -> None:
        await exchange.head()
        for line in good:
            await exchange.chunk(json.dumps(spoilt(line, chance) if chance.random() < 0.5 else line).encode() + b"\n")
        await exchange.end()

    server.routes["*"] = raves
    for number in range(60):
        completion.ask("lab", "m", "a", "b" * (number % 2), again=number % 3 == 0)
        await until(lambda: not host.tasks)
        view = completion.view.value
        assert not host.errors and view.state.ended
        assert (view.failure is not None) == (view.state in (AnswerState.FAILED, AnswerState.INTERRUPTED))
    await completion.aclose()


async def test_P22_X05_a_thousand_calls_in_one_answer_cost_no_thousand_questions(one: Bench, server: FaultServer) -> None:
    calls = [{"function": {"name": "calculator" if number % 2 else "rm", "arguments": {"expression": "1"}}} for number in range(1000)]
    seen = []

    async def asks(exchange: Exchange) -> None:
        seen.append(exchange.request.json["messages"])
        message = {"role": "assistant", "content": "" if len(seen) == 1 else "well", "tool_calls": calls if len(seen) == 1 else []}
        last = {"message": {"content": ""}, "done": True, "done_reason": "stop"}
        await exchange.stream(*(json.dumps(line).encode() + b"\n" for line in ({"message": message}, last)))

    server.routes["*"] = asks
    one.chat.configure(ConversationSettings(tools=("calculator",)))
    answer = await one.say("go")
    assert answer.content == "well" and not one.host.errors
    assert len(one.host.asked) == CALLS == len(one.host.audited)
    told = [message["content"] for message in seen[1] if message["role"] == "tool"]
    assert len(told) == 1000 and told.count("1") == CALLS and "Only 16 calls" in told[-1]


async def test_X23_a_name_that_imitates_another_is_chosen_by_nobody_but_the_user(one: Bench) -> None:
    one.host.listed = (Model("lab", "qwen3\u043e:8b", "qwen3\u043e:8b"), Model("lab", "\u043c\u0438\u0440:1b", "\u043c\u0438\u0440:1b"))
    one.chat.new("lab")
    await until(lambda: one.chat.view.value.model == "\u043c\u0438\u0440:1b")
    one.host.listed = one.host.listed[:1]
    one.chat.new("lab")
    await until(lambda: one.chat.view.value.model == "")
    one.chat.use_model("lab", "qwen3\u043e:8b")
    await until(lambda: one.chat.view.value.model == "qwen3\u043e:8b")
