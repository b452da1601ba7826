"""The chat engine."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import DONE, Bench, Make, Scripted, until
from tests.support.fault_server import Exchange, FaultServer
from tui.config.settings import ProviderSettings
from tui.core.chat import AnswerState, ConversationSettings
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Delta, Done, Thinking
from tui.core.jobs import Job, JobKind, JobState, JobWish
from tui.core.models import Endpoint, Model
from tui.store import db as store_db
from tui.store.measurements import Measurements


def rows(bench: Bench) -> list[tuple[str, str, str]]:
    assert bench.host.database is not None
    found: list[tuple[str, str, str]] = bench.host.database.read(
        lambda connection: connection.execute("SELECT role, content, state FROM message ORDER BY id").fetchall()
    )
    return found


async def test_P01_prompt_is_on_disk_before_the_request(bench: Make) -> None:
    lab = Scripted([Delta("yes"), DONE])
    one = await bench(lab)
    seen: list[Any] = []
    lab.before = lambda: seen.extend(rows(one))
    answer = await one.say("Which one? And why")
    assert seen == [("user", "Which one? And why", "complete"), ("assistant", "", "waiting")]
    assert answer.state is AnswerState.COMPLETE and answer.content == "yes"
    assert one.chat.heads.value[0].title == "Which one? And why"
    assert (one.chat.view.value.used, one.chat.view.value.used_estimated, one.chat.view.value.window) == (23, False, 4096)


async def test_P02_increments_are_stored_while_it_streams(bench: Make) -> None:
    hold = asyncio.Event()
    one = await bench(Scripted([Delta("first "), Thinking("hm"), hold, Delta("second"), DONE]))
    one.chat.send("go")
    await until(lambda: rows(one)[-1:] == [("assistant", "first ", "writing")])
    hold.set()
    await one.idle()
    assert rows(one)[-1] == ("assistant", "first second", "complete")


async def test_P03_cut_answer_is_kept_and_continued(bench: Make) -> None:
    cut = PaddockError.of("cut off", "127.0.0.1:1", "", FailureKind.INTERRUPTED)
    lab = Scripted([Delta("half"), cut], [Delta(" and half"), DONE])
    one = await bench(lab)
    answer = await one.say("go")
    assert (answer.state, answer.content, answer.failure) == (AnswerState.INTERRUPTED, "half", cut.failure)
    assert len(lab.requests) == 1
    one.chat.go_on()
    await until(lambda: len(lab.requests) == 2)
    await one.idle()
    assert lab.requests[1].messages[-1].content == "half"
    assert [(m.content, m.state) for m in one.chat.view.value.messages[1:]] == [("half and half", AnswerState.COMPLETE)]
    assert rows(one)[-1] == ("assistant", "half and half", "complete")


async def test_H32_stop_closes_the_stream_and_keeps_the_part(bench: Make) -> None:
    lab = Scripted([Delta("part"), asyncio.Event()])
    one = await bench(lab)
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    one.chat.stop()
    await one.idle()
    assert lab.closed == 1
    assert rows(one)[-1] == ("assistant", "part", "stopped")
    assert one.chat.live.value is None


async def test_length_and_empty_answers_stay_what_they_are(bench: Make) -> None:
    one = await bench(Scripted([Delta("cut"), Done("length")], [DONE]))
    assert (await one.say("a")).state is AnswerState.LENGTH
    last = await one.say("b")
    assert (last.content, last.state) == ("", AnswerState.COMPLETE)


async def test_prompts_are_queued_and_kept_as_a_draft_until_sent(bench: Make) -> None:
    hold = asyncio.Event()
    lab = Scripted([hold, Delta("one"), DONE], [Delta("two"), DONE])
    one = await bench(lab)
    one.chat.send("first")
    await until(lambda: lab.requests)
    one.chat.send("second")
    await until(lambda: one.chat.view.value.queued == ("second",))
    assert one.host.database is not None
    draft = f"chat:{one.chat.view.value.id}"
    await until(lambda: one.stored.draft(draft) == "second")
    hold.set()
    await until(lambda: len(one.chat.view.value.messages) == 4)
    await one.idle()
    assert [row[1] for row in rows(one)] == ["first", "one", "second", "two"]
    assert list(one.chat.history()) == ["second", "first"]


async def test_P34_nothing_queued_follows_a_failure(bench: Make) -> None:
    hold = asyncio.Event()
    lab = Scripted([hold, PaddockError.of("broken", "", "", FailureKind.SERVER)])
    one = await bench(lab)
    one.chat.send("first")
    await until(lambda: lab.requests)
    one.chat.send("second")
    hold.set()
    await until(lambda: rows(one)[-1][2] == "failed")
    await one.idle()
    assert len(lab.requests) == 1 and one.chat.view.value.queued == ("second",)


async def test_P04_draft_comes_back(bench: Make, tmp_path: Path) -> None:
    one = await bench(Scripted())
    one.chat.save_draft("not yet")
    await until(lambda: one.stored.draft("chat:new") == "not yet")
    two = await bench(Scripted())
    assert two.chat.view.value.draft == "not yet"


async def test_switching_does_not_stop_a_stream(bench: Make) -> None:
    hold = asyncio.Event()
    one = await bench(Scripted([Delta("a"), hold, Delta("b"), DONE]))
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    number = one.chat.view.value.id
    one.chat.new()
    await until(lambda: one.chat.view.value.id == 0)
    assert one.chat.live.value is None
    hold.set()
    await until(lambda: rows(one)[-1] == ("assistant", "ab", "complete"))
    one.chat.open(number)
    await until(lambda: one.chat.view.value.id == number)
    assert one.chat.view.value.messages[-1].content == "ab"


async def test_regenerate_replaces_a_failed_and_keeps_a_complete_answer(bench: Make) -> None:
    lab = Scripted([PaddockError.of("broken", "", "", FailureKind.SERVER)], [Delta("good"), DONE], [Delta("better"), DONE])
    one = await bench(lab)
    await one.say("go")
    for count in (2, 3):
        one.chat.regenerate()
        await until(lambda count=count: len(lab.requests) == count)
        await one.idle()
    assert [row[1] for row in rows(one)] == ["go", "good", "better"]
    assert [message.content for message in lab.requests[2].messages] == ["go"]


async def test_a_second_app_only_reads(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench(Scripted([Delta("a"), DONE]))
    await one.say("go")
    number, holder = one.chat.view.value.id, __import__("tui.store.identity", fromlist=["identify"]).identify(1)
    two = await bench(Scripted())
    assert two.stored is not None

    async def taken(conversation: int) -> Any:
        return holder

    monkeypatch.setattr(two.stored, "take_lease", taken)
    two.chat.open(number)
    await until(lambda: two.chat.view.value.id == number)
    assert "pid 1" in two.chat.view.value.read_only
    two.chat.send("mine")
    await until(lambda: two.host.notices)
    assert len(rows(two)) == 2


async def test_D03_full_disk_is_shown_and_tried_again(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Scripted([Delta("a"), DONE])
    one = await bench(lab)
    real, full = store_db.Database._transact, [True]

    def transact(self: Any, task: Any) -> Any:
        if full[0]:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return real(self, task)

    monkeypatch.setattr(store_db.Database, "_transact", transact)
    one.chat.send("go")
    await until(lambda: one.host.banners.get("save"))
    assert not lab.requests
    full[0] = False
    await until(lambda: rows(one)[-1:] == [("assistant", "a", "complete")])
    await until(lambda: one.host.banners["save"] is None)


async def test_save_off_leaves_nothing_on_disk(bench: Make) -> None:
    one = await bench(Scripted([Delta("a"), DONE]))
    one.host.config = one.host.config.model_copy(update={"chat": one.host.config.chat.model_copy(update={"save": False})})
    one.chat.new()
    await until(lambda: not one.host.tasks)
    assert (await one.say("secret")).content == "a"
    assert rows(one) == [] and one.chat.view.value.id < 0


def pull_job(model: str, state: JobState, **more: Any) -> Job:
    endpoint = Endpoint("lab", "ollama", "http://127.0.0.1:1")
    return Job(1, JobKind.PULL, model, endpoint, {}, JobWish.RUN, state, 1, **more)


async def test_a_missing_model_is_pulled_and_then_answers(bench: Make) -> None:
    lab = Scripted([Delta("here"), DONE])
    one = await bench(lab)
    one.host.choice = "pull"
    one.chat.use_model("lab", "other:1b")
    one.chat.send("go")
    await until(lambda: one.host.pulls == [("other:1b", "lab")])
    await until(lambda: one.chat.view.value.waits == "other:1b is put into the queue")
    one.host.jobs = (pull_job("other:1b", JobState.FETCHING, percent=43.2),)
    await until(lambda: one.chat.view.value.waits.startswith("other:1b is being pulled, 43 %"))
    assert not lab.requests and one.host.asked[0].startswith("other:1b is not installed on lab")
    one.host.listed = (*one.host.listed, Model("lab", "other:1b", "other:1b"))
    await one.idle()
    assert (one.chat.view.value.waits, one.chat.view.value.messages[-1].content) == ("", "here")


@pytest.mark.parametrize("policy", ["never", "ask"])
async def test_a_missing_model_that_is_not_to_be_pulled_fails_in_words(bench: Make, policy: str) -> None:
    one = await bench(Scripted())
    models = one.host.config.models.model_copy(update={"auto_pull": policy})
    one.host.config = one.host.config.model_copy(update={"models": models})
    one.chat.use_model("lab", "other:1b")
    answer = await one.say("go")
    assert answer.state is AnswerState.FAILED and answer.failure.what == "other:1b is not installed on lab"
    assert not one.host.pulls and len(one.host.asked) == (policy == "ask")


async def test_a_pull_that_fails_or_is_stopped_ends_the_wait(bench: Make) -> None:
    one = await bench(Scripted())
    one.host.choice = "pull"
    one.host.jobs = (pull_job("other:1b", JobState.FAILED, failure=Failure("no space")),)
    one.chat.use_model("lab", "other:1b")
    answer = await one.say("go")
    assert (answer.state, answer.failure.what) == (AnswerState.FAILED, "other:1b was not pulled: no space")
    one.host.jobs = (pull_job("other:1b", JobState.FETCHING),)
    one.chat.send("again")
    await until(lambda: one.chat.view.value.waits)
    one.chat.stop()
    await one.idle()
    assert (rows(one)[-1][2], one.chat.view.value.waits) == ("stopped", "")


async def test_limits_are_looked_at_before_sending(bench: Make) -> None:
    lab = Scripted()
    one = await bench(lab)
    one.host.over = Failure("GPU memory 93 %, limit 90 %", "limits.gpu", "Unload something", FailureKind.REFUSED)
    answer = await one.say("go")
    assert (answer.state, answer.failure) == (AnswerState.FAILED, one.host.over) and not lab.requests


async def test_H01_a_server_that_fails_before_the_first_token_is_followed_by_its_fallback(bench: Make) -> None:
    down = PaddockError.of("nothing is listening", "127.0.0.1:1", "Start it", FailureKind.UNREACHABLE)
    spare = Scripted([Delta("here"), DONE])
    one = await bench(Scripted([down]))
    table = ProviderSettings(url="http://127.0.0.1:1", fallback=("gone", "spare"))
    one.host.config = one.host.config.model_copy(update={"providers": {"lab": table}})
    one.host.others["spare"] = spare
    one.host.listed = (*one.host.listed, Model("spare", "qwen3:8b", "qwen3:8b"))
    answer = await one.say("go")
    assert (answer.content, answer.provider, answer.state) == ("here", "spare", AnswerState.COMPLETE)
    assert answer.note == "spare answers instead of lab: nothing is listening"
    assert rows(one)[-1] == ("assistant", "here", "complete") and len(spare.requests) == 1


async def test_no_fallback_once_something_came_or_the_request_was_wrong(bench: Make) -> None:
    broken = PaddockError.of("broken", "", "", FailureKind.SERVER)
    wrong = PaddockError.of("no such option", "", "", FailureKind.BAD_REQUEST)
    one = await bench(Scripted([Delta("a"), broken], [wrong]))
    table = ProviderSettings(url="http://127.0.0.1:1", fallback=("spare",))
    one.host.config = one.host.config.model_copy(update={"providers": {"lab": table}})
    one.host.others["spare"] = spare = Scripted()
    one.host.listed = (*one.host.listed, Model("spare", "qwen3:8b", "qwen3:8b"))
    assert (await one.say("go")).failure == broken.failure
    assert (await one.say("go")).failure == wrong.failure
    assert not spare.requests


async def test_the_same_certain_question_is_answered_from_the_history(bench: Make) -> None:
    lab = Scripted([Delta("42"), DONE], [Delta("43"), DONE])
    one = await bench(lab)
    one.host.config = one.host.config.model_copy(update={"chat": one.host.config.chat.model_copy(update={"reuse_answers": True})})
    for options, sent in (({"temperature": 0.0}, 1), ({"temperature": 0.0}, 1), ({"temperature": 0.5}, 2)):
        one.chat.new()
        await until(lambda: not one.host.tasks)
        one.chat.configure(ConversationSettings(options=options))
        await until(lambda: not one.host.tasks)
        answer = await one.say("6 * 7")
        assert len(lab.requests) == sent and answer.state is AnswerState.COMPLETE
        assert answer.content == ("42" if sent == 1 else "43")
    assert [message.note != "" for message in one.stored.all_messages(2)] == [False, True]
    assert one.host.database is not None
    assert Measurements(one.host.database, one.clock).profile("lab", "qwen3:8b").answers == 2


async def test_close_marks_the_answer_interrupted(tmp_path: Path) -> None:
    one = await Bench(tmp_path, Scripted([Delta("a"), asyncio.Event()])).begin()
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    await one.engine.aclose()
    assert rows(one)[-1] == ("assistant", "a", "interrupted")
    await one.end()


LINE = {"model": "qwen3:8b", "done": False}


def line(text: str) -> bytes:
    return json.dumps({**LINE, "message": {"role": "assistant", "content": text}}).encode() + b"\n"


async def real(bench: Make, server: FaultServer, connect: Any, route: Any) -> Bench:
    server.routes["/api/chat"] = route
    return await bench(connect())


async def test_H05_reset_after_three_lines(bench: Make, server: FaultServer, connect: Any) -> None:
    got = asyncio.Event()

    async def route(exchange: Exchange) -> None:
        await exchange.head()
        for text in ("a", "b", "c"):
            await exchange.chunk(line(text))
        await got.wait()
        exchange.reset()

    one = await real(bench, server, connect, route)
    one.chat.send("go")
    await until(lambda: one.chat.live.value and len(one.chat.live.value.buffer.text) == 3)
    got.set()
    await one.idle()
    assert rows(one)[-1] == ("assistant", "abc", "interrupted")
    assert len(server.requests) == 1


async def test_H07_clean_end_without_done(bench: Make, server: FaultServer, connect: Any) -> None:
    one = await real(bench, server, connect, lambda exchange: exchange.stream(line("a"), line("b")))
    answer = await one.say("go")
    assert (answer.content, answer.state) == ("ab", AnswerState.INTERRUPTED)


async def test_H10_error_in_the_middle(bench: Make, server: FaultServer, connect: Any) -> None:
    one = await real(bench, server, connect, lambda exchange: exchange.stream(line("a"), b'{"error":"boom"}\n'))
    answer = await one.say("go")
    assert (answer.content, answer.state) == ("a", AnswerState.FAILED)
    assert answer.failure is not None and "boom" in answer.failure.what + answer.failure.details


async def test_H32_the_server_sees_the_stop(bench: Make, server: FaultServer, connect: Any) -> None:
    gone = asyncio.Event()

    async def route(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(line("a"))
        await exchange.gone()
        gone.set()

    one = await real(bench, server, connect, route)
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    one.chat.stop()
    async with asyncio.timeout(1):
        await gone.wait()
    await one.idle()
    assert rows(one)[-1] == ("assistant", "a", "stopped")


async def test_an_answer_that_is_not_the_json_asked_for_says_so(bench: Make) -> None:
    one = await bench(Scripted([Delta('{"a": 1}'), DONE], [Delta("a: 1"), DONE]))
    one.chat.configure(ConversationSettings(format="json"))
    await until(lambda: not one.host.tasks)
    assert (await one.say("go")).note == ""
    assert (await one.say("go")).note.startswith("the answer is not valid JSON: line 1")
    assert one.stored.branch(1)[-1].note.startswith("the answer is not valid JSON")
    assert one.host.lab.requests[0].format == "json"


async def test_P03_what_was_left_in_the_middle_is_named_at_the_next_start(tmp_path: Path) -> None:
    one = await Bench(tmp_path, Scripted([Delta("a"), DONE], [Delta("b"), asyncio.Event()])).begin()
    await one.say("the first")
    one.chat.new()
    await until(lambda: one.chat.view.value.id == 0)
    one.chat.send("the second")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    await one.end()
    two = await Bench(tmp_path, Scripted()).begin()
    assert (two.chat.view.value.id, two.chat.view.value.unfinished) == (0, "the second")
    two.chat.open(1)
    await until(lambda: two.chat.view.value.id == 1)
    assert two.chat.view.value.unfinished == ""
    await two.end()
