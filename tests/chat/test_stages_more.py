"""Stops and dying servers at every stage of a comparison's column, of a completion, and of an answer that is continued; on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import Bench, until
from tests.chat.test_stages import END, Stage, line, never, text
from tests.services.test_completion import Host
from tests.support.fault_server import Exchange, FaultServer
from tui.core.chat import AnswerState, Message
from tui.core.clock import SYSTEM
from tui.core.models import Model
from tui.services.chat.comparing import Order
from tui.services.completion import Completion

KEPT = {"half a line": "part", "text": "part", "no end mark": "part and all"}
COLUMN = ("asking", "pulling", "waiting for its turn", "connected", "headers", "thinking", "half a line", "text", "no end mark")
DYING = tuple(name for name in COLUMN if name not in ("asking", "pulling", "waiting for its turn"))


async def told(event: asyncio.Event, exchange: Exchange) -> bool:
    """Wait until an event happens or the client is gone; whether it happened."""
    ends = {asyncio.ensure_future(exchange.gone()), asyncio.ensure_future(event.wait())}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    return event.is_set()


class Two:
    """An Ollama where one model's answer goes as far as a stage and the other's is held until told."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.go, self.die = asyncio.Event(), asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.request.json["model"] == "good:1b":
            await exchange.head()
            await exchange.chunk(text("well "))
            if await told(self.go, exchange):
                await exchange.chunk(text("done"))
                await exchange.chunk(END.replace(b"qwen3:8b", b"good:1b"))
                await exchange.end()
        else:
            await self.stage.as_far_as(exchange)
            self.stage.there.set()
            if await told(self.die, exchange):
                exchange.reset()


@pytest.fixture
async def one(tmp_path: Path, server: FaultServer, connect: Any) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, connect())
    bench.host.others["spare"] = connect()
    bench.host.listed = (Model("lab", "bad:1b", "bad:1b"), Model("spare", "good:1b", "good:1b"), Model("lab", "good:1b", "good:1b"))
    bench.host.choice = "pull"
    await bench.begin()
    yield bench
    assert not bench.host.errors
    await bench.end()


def answers(one: Bench) -> dict[str, Message]:
    return {answer.model: answer for answer in one.chat.view.value.answers.values()}


def written(one: Bench, model: str) -> Any:
    return next((live for live in one.chat.compared.value if live.model == model), None)


async def compare(one: Bench, two: Two, name: str) -> None:
    """Compare two models and wait until one is at a stage, and the other writes."""
    host: Any = one.host
    two.stage.stage = name
    two.stage.there.clear()
    two.go.clear()
    host.may_send = (
        (lambda provider: never() if provider == "lab" else asyncio.sleep(0, True))
        if name == "asking"
        else type(host).may_send.__get__(host)
    )
    bad = "absent:1b" if name == "pulling" else "bad:1b"
    models = [("lab", bad), ("spare", "good:1b")]
    host.loaded = True
    comparing: Any = one.engine.comparing
    comparing.order = lambda session, keys: Order(name != "waiting for its turn", "")
    if name == "waiting for its turn":
        models.reverse()
    one.chat.compare("which?", models)
    await until(lambda: (live := written(one, "good:1b")) and live.buffer.text)
    if name == "asking":
        await until(lambda: one.engine._open.waiting)
    elif name == "pulling":
        await until(lambda: one.chat.view.value.waits)
    elif name != "waiting for its turn":
        await asyncio.wait_for(two.stage.there.wait(), 5)
        wanted = KEPT.get(name, "")
        await until(lambda: not wanted or "".join(written(one, bad).buffer.text) == wanted)
        await until(lambda: name != "thinking" or written(one, bad).buffer.thinking)


async def leave(one: Bench) -> None:
    one.chat.leave_comparison()
    one.chat.new()
    await until(lambda: one.chat.view.value.id == 0)


async def test_H32_esc_at_every_stage_of_a_comparison(one: Bench, server: FaultServer) -> None:
    server.routes["/api/chat"] = two = Two()
    for name in COLUMN * 3:
        await compare(one, two, name)
        async with asyncio.timeout(1):  # P23
            one.chat.stop()
            await one.idle()
        ended = {model: (answer.content, answer.state) for model, answer in answers(one).items()}
        bad = "absent:1b" if name == "pulling" else "bad:1b"
        assert ended == {bad: (KEPT.get(name, ""), AnswerState.STOPPED), "good:1b": ("well ", AnswerState.STOPPED)}, name
        assert {answer.id: one.stored.message(answer.id) for answer in answers(one).values()} == one.chat.view.value.answers
        assert (one.chat.view.value.waits, one.engine._open.active) == ("", {})
        await until(lambda: server.open == 0)
        await leave(one)


async def test_H32_one_column_is_stopped_at_every_stage_and_the_other_goes_on(one: Bench, server: FaultServer) -> None:
    server.routes["/api/chat"] = two = Two()
    for name in COLUMN * 2:
        await compare(one, two, name)
        bad = "absent:1b" if name == "pulling" else "bad:1b"
        async with asyncio.timeout(1):
            one.chat.stop(answers(one)[bad].id)
            await until(lambda bad=bad: answers(one)[bad].state.ended)
        assert answers(one)["good:1b"].state is AnswerState.WAITING and one.engine._open.busy
        two.go.set()
        await one.idle()
        ended = {model: (answer.content, answer.state) for model, answer in answers(one).items()}
        assert ended == {bad: (KEPT.get(name, ""), AnswerState.STOPPED), "good:1b": ("well done", AnswerState.COMPLETE)}, name
        assert {answer.id: one.stored.message(answer.id) for answer in answers(one).values()} == one.chat.view.value.answers
        await leave(one)
    await until(lambda: server.open == 0)


async def test_H05_server_killed_at_every_stage_of_a_column(one: Bench, server: FaultServer) -> None:
    server.routes["/api/chat"] = two = Two()
    for name in DYING:
        await compare(one, two, name)
        two.die.set()
        await until(lambda: answers(one)["bad:1b"].state.ended)
        ended = answers(one)["bad:1b"]
        assert ended.state is AnswerState.INTERRUPTED or (ended.state is AnswerState.FAILED and name in ("connected", "headers")), name
        assert ended.content == KEPT.get(name, "")
        assert ended.failure is not None and ended.failure.what and ended.failure.remedy
        assert not answers(one)["good:1b"].state.ended
        two.go.set()
        await one.idle()
        assert (answers(one)["good:1b"].content, answers(one)["good:1b"].state) == ("well done", AnswerState.COMPLETE)
        assert one.stored.message(ended.id) == ended
        two.die.clear()
        await leave(one)


# --- completions -------------------------------------------------------------------------------------------------------

GAP = ("asking", "what it can", "connected", "headers", "text", "half a line", "no end mark", "the other way")


class Filling:
    """An Ollama whose completion goes as far as a stage and stays there, or dies there."""

    def __init__(self, server: FaultServer) -> None:
        self.stage, self.there, self.die = "", asyncio.Event(), asyncio.Event()
        server.routes |= {"/api/generate": self.generate, "/api/show": self.show}

    async def show(self, exchange: Exchange) -> None:
        if self.stage == "what it can":
            await self.stay(exchange)
        else:
            await exchange.json({"capabilities": ["completion", "insert"]})

    async def generate(self, exchange: Exchange) -> None:
        if self.stage == "the other way" and "suffix" in exchange.request.json:
            await exchange.json({"error": '"m" does not support insert'}, 400)
            return
        if self.stage not in ("connected", "the other way"):
            await exchange.head()
        if self.stage in KEPT:
            await exchange.chunk(completed("part"))
            more = completed(" and all")
            await exchange.chunk(more if self.stage == "no end mark" else more[:12] if self.stage == "half a line" else b"")
        await self.stay(exchange)

    async def stay(self, exchange: Exchange) -> None:
        self.there.set()
        if await told(self.die, exchange):
            exchange.reset()


def completed(response: str) -> bytes:
    return line(response=response)


@pytest.fixture
async def completion(connect: Any) -> AsyncIterator[Completion]:
    host: Any = Host(connect())
    found = Completion(host=host, clock=SYSTEM, tick=0.005)
    yield found
    await found.aclose()
    assert not host.errors


async def ask(completion: Completion, filling: Filling, name: str) -> None:
    """Ask for a completion and wait until it is at a stage."""
    host: Any = completion._host
    filling.stage = name
    filling.there.clear()
    asked = asyncio.Event()

    async def may_send(provider: str) -> bool:
        asked.set()
        return bool(await never()) if name == "asking" else True

    host.may_send = may_send
    completion.ask("lab", "m", "a", "b")
    await asyncio.wait_for((asked if name == "asking" else filling.there).wait(), 5)
    await until(lambda: name not in KEPT or completion.view.value.candidates == (KEPT[name],))


async def test_H32_esc_at_every_stage_of_a_completion(completion: Completion, server: FaultServer) -> None:
    filling = Filling(server)
    host: Any = completion._host
    for count, name in enumerate(GAP * 4):
        await ask(completion, filling, name)
        async with asyncio.timeout(1):  # P23
            (completion.stop if count % 3 else completion.clear)()
            await until(lambda: not host.tasks)
        view = completion.view.value
        if count % 3:
            assert (view.state, view.candidates, view.failure) == (AnswerState.STOPPED, (KEPT[name],) if name in KEPT else (), None), name
        else:
            assert (view.candidates, view.model) == ((), ""), name
        await until(lambda: server.open == 0)
    assert completion._answer is None and completion._work is None


@pytest.mark.parametrize("name", GAP[1:])
async def test_H05_server_killed_at_every_stage_of_a_completion(completion: Completion, server: FaultServer, name: str) -> None:
    filling = Filling(server)
    host: Any = completion._host
    await ask(completion, filling, name)
    filling.die.set()
    await until(lambda: not host.tasks)
    view = completion.view.value
    assert view.candidates == ((KEPT[name],) if name in KEPT else ())
    assert view.state is AnswerState.INTERRUPTED if name in KEPT else view.state in (AnswerState.FAILED, AnswerState.INTERRUPTED)
    assert view.failure is not None and view.failure.what and view.failure.remedy
    filling.die.clear()
    server.routes["/api/generate"] = lambda exchange: exchange.stream(completed("whole"), line(response="", done=True, done_reason="stop"))
    filling.stage = ""
    completion.ask("lab", "m", "a", "b")
    await until(lambda: completion.view.value.state is AnswerState.COMPLETE)
    assert completion.view.value.candidates == ("whole",)


# --- an answer that is continued ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["esc", "killed"])
async def test_H05_H32_a_continued_answer_keeps_what_it_held_at_every_stage(one: Bench, server: FaultServer, ends: str) -> None:
    two = Two()
    server.routes["/api/chat"] = two
    one.chat.use_model("lab", "bad:1b")
    kept, two.stage.stage = "part", "text"
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    one.chat.stop()
    await one.idle()
    for name in DYING:
        two.stage.stage, two.die = name, asyncio.Event()
        two.stage.there.clear()
        one.chat.go_on()
        await asyncio.wait_for(two.stage.there.wait(), 5)
        wanted = kept + KEPT.get(name, "")
        await until(lambda wanted=wanted: one.chat.live.value and "".join(one.chat.live.value.buffer.text) == wanted)
        if ends == "esc":
            one.chat.stop()
        else:
            two.die.set()
        await one.idle()
        kept, last = wanted, one.chat.view.value.messages[-1]
        assert (last.content, one.stored.message(last.id)) == (kept, last), name
        assert last.state in ((AnswerState.STOPPED,) if ends == "esc" else (AnswerState.INTERRUPTED, AnswerState.FAILED))
        assert len(one.chat.view.value.messages) == 2
        await until(lambda: server.open == 0)
