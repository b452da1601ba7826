"""Conversations, jobs, measurements: what is stored comes back, in order, and nothing else goes with it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tui.core.chat import AnswerState, ConversationSettings, Message, Role, Timeline
from tui.core.clock import ManualClock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Metrics
from tui.core.jobs import JobKind, JobState, JobWish, Layer
from tui.core.models import Endpoint
from tui.store.conversations import UNDO_SECONDS, Conversations
from tui.store.db import Database
from tui.store.identity import alive, identify, myself
from tui.store.jobs import JobTable, has_work
from tui.store.meta import Meta, ServerRow, Servers, servers_have_work
from tui.store.samples import Samples

ENDPOINT = Endpoint("box", "ollama", "http://127.0.0.1:11434", key="env:BOX", headers={"X-Team": "a"}, verify="/ca.pem", timeout=9.0)


@pytest.fixture
def chats(database: Database, clock: ManualClock) -> Conversations:
    return Conversations(database, clock)


def prompt(conversation: int, text: str) -> Message:
    return Message(0, conversation, 0, Role.USER, text)


async def test_everything_of_a_message_comes_back(chats: Conversations) -> None:
    head = await chats.create("box", "qwen3:8b", title="t", settings=ConversationSettings(system="s", options={"top_p": 0.5}))
    message = Message(
        0,
        head.id,
        0,
        Role.ASSISTANT,
        "content",
        "thinking",
        ({"name": "f", "arguments": {"a": [1, None]}},),
        AnswerState.INTERRUPTED,
        Failure("what", "where", "remedy", FailureKind.BUSY, "details", 2.5, 503),
        "box",
        "qwen3:8b",
        12.5,
        Metrics(1, 2, 3.0, 4.0, None, 6.0),
        Timeline(waited=0.0, rate=48.5, rate_estimated=True),
        77,
    )
    stored = await chats.add_message(message)
    assert (stored.id > 0, stored.seq) == (True, 1)
    assert chats.all_messages(head.id) == (stored,) == (replace(message, id=stored.id, seq=1),)
    assert chats.message(stored.id) == stored
    assert chats.settings(head.id) == ConversationSettings(system="s", options={"top_p": 0.5})


async def test_an_answer_grows_and_ends(chats: Conversations, clock: ManualClock) -> None:
    first, second = await chats.create("box", "a"), await chats.create("box", "b")
    _, answer = await chats.add_messages(
        (prompt(first.id, "hello"), Message(0, first.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING))
    )
    await chats.append_answer(answer.id, "one ", "hm")
    await chats.append_answer(answer.id, "two", "!")
    written = chats.message(answer.id)
    assert written is not None
    assert (written.content, written.thinking, written.state) == ("one two", "hm!", AnswerState.WRITING)
    await chats.use(second.id, "box", "c")
    clock.advance(60)
    await chats.finish_answer(replace(written, state=AnswerState.COMPLETE, metrics=Metrics(output_tokens=2)))
    assert chats.all_messages(first.id)[1].state is AnswerState.COMPLETE
    assert [head.id for head in chats.heads()] == [first.id, second.id]
    assert chats.heads()[0].messages == 2


async def test_D15_messages_are_in_order_though_the_clock_goes_back(chats: Conversations, clock: ManualClock) -> None:
    head = await chats.create("box", "a")
    for number in range(5):
        clock.offset = -1000.0 * number
        await chats.add_message(prompt(head.id, str(number)))
    assert [message.content for message in chats.all_messages(head.id)] == list("01234")


async def test_D11_renaming_and_editing_a_chat_keep_its_messages(chats: Conversations) -> None:
    head = await chats.create("box", "a", title="old")
    await chats.add_message(prompt(head.id, "kept"))
    await chats.rename(head.id, "new")
    await chats.set_pinned(head.id, True)
    await chats.use(head.id, "other", "b")
    await chats.set_settings(head.id, ConversationSettings(system="x"))
    await chats.take_lease(head.id)
    assert [message.content for message in chats.all_messages(head.id)] == ["kept"]
    found = chats.head(head.id)
    assert found is not None
    assert (found.title, found.provider, found.model, found.pinned) == ("new", "other", "b", True)


def test_D11_no_statement_of_ours_replaces_rows() -> None:
    root = Path(__file__).parents[2] / "tui"
    found = [file.name for file in root.rglob("*.py") if re.search("OR REPLACE INTO|[^R] REPLACE INTO", file.read_text("utf-8"))]
    assert found == ["backup.py"]  # the rescue, with foreign keys off


async def test_D12_nul_and_lone_surrogates_are_replaced_at_the_door(chats: Conversations, database: Database) -> None:
    head = await chats.create("box", "a", title="a\0b")
    await chats.add_message(replace(prompt(head.id, "x\0y\ud800z"), tool_calls=({"name": "\ud83d", "a": ["\0"]},)))
    (stored,) = chats.all_messages(head.id)
    assert stored.content == "x\u2400y\ufffdz"
    assert stored.tool_calls == ({"name": "\ufffd", "a": ["\u2400"]},)
    assert database.read(lambda connection: connection.execute("SELECT length(content) FROM message").fetchone()[0]) == 5
    await chats.set_draft("k", "\udfff")
    assert chats.draft("k") == "\ufffd"


async def test_deleting_hides_undo_brings_back_purge_removes(chats: Conversations, clock: ManualClock, database: Database) -> None:
    head = await chats.create("box", "a")
    await chats.add_message(prompt(head.id, "x"))
    token = await chats.delete(head.id)
    assert chats.heads() == ()
    assert chats.head(head.id) is None
    assert await chats.search_async("x") == ()
    await chats.undo_delete(token)
    assert len(chats.heads()) == 1
    await chats.delete(head.id)
    assert await chats.purge() == 0
    clock.advance(UNDO_SECONDS + 1)
    assert await chats.purge() == 1
    assert database.read(lambda connection: connection.execute("SELECT count(*) FROM message").fetchone()[0]) == 0
    with pytest.raises(PaddockError):
        await chats.rename(head.id, "gone")


async def test_a_lease_keeps_a_second_process_out_until_the_first_is_gone(chats: Conversations, tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from tui.store.db import Database\n"
        "from tui.store.conversations import Conversations\n"
        "from tui.core.chat import AnswerState, Message, Role\n"
        f"d = Database(Path({str(tmp_path / 'paddock.db')!r})); c = Conversations(d)\n"
        "async def main():\n"
        "    h = await c.create('box', 'a'); await c.add_message(Message(0, h.id, 0, Role.ASSISTANT, 'half', state=AnswerState.WRITING))\n"
        "    print(h.id, flush=True)\n"
        "asyncio.run(main()); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        holder = await chats.take_lease(number)
        assert holder == chats.lease_holder(number) == identify(process.pid)
        assert await chats.mark_open_answers_interrupted() == 0
        process.kill()
    assert chats.lease_holder(number) is None
    assert await chats.mark_open_answers_interrupted() == 1
    (answer,) = chats.all_messages(number)
    assert (answer.state, answer.content) == (AnswerState.INTERRUPTED, "half")
    assert answer.failure is not None
    assert await chats.take_lease(number) is None
    assert chats.lease_holder(number) is None  # we are no other process
    await chats.release_lease(number)


def test_an_identity_is_pid_start_and_boot() -> None:
    me = myself()
    assert alive(me)
    assert not alive(replace(me, start="1"))
    assert not alive(replace(me, boot="another"))
    with subprocess.Popen(["sleep", "60"]) as process:
        found = identify(process.pid)
        assert found is not None
        assert alive(found)
        process.kill()
        process.wait()
    assert not alive(found)


async def test_drafts_and_prompts(chats: Conversations) -> None:
    await chats.set_draft("app", "half a")
    await chats.set_draft("app", "half a thought")
    assert chats.draft("app") == "half a thought"
    await chats.set_draft("app", "")
    assert chats.draft("app") == ""
    for text in ("one", "two", "one"):
        await chats.add_prompt(text)
    assert chats.prompts() == ("one", "two")


async def test_everything_of_a_job_comes_back(jobs: JobTable, clock: ManualClock) -> None:
    job = await jobs.add(JobKind.PULL, "Library/Qwen3", ENDPOINT, {"insecure": True}, "library")
    assert (job.model, job.endpoint, job.arguments, job.asked_by) == ("Qwen3:latest", ENDPOINT, {"insecure": True}, "library")
    facts = replace(
        job,
        state=JobState.FETCHING,
        note="n",
        total=100,
        done=50,
        percent=50.0,
        rate=1.5,
        average=2.5,
        peak=3.5,
        eta=10.0,
        layers=(Layer("sha256:a", 100, 50),),
        history=(1.0, 2.0),
        attempts=2,
        failure=Failure("f", kind=FailureKind.TLS),
        started_at=1.0,
        ended_at=2.0,
        due_at=3.0,
    )
    await jobs.record([facts], durable=False)
    assert jobs.get(job.id) == facts
    assert jobs.list() == (facts,)


async def test_facts_do_not_overwrite_wishes(jobs: JobTable) -> None:
    job = await jobs.add(JobKind.PULL, "a", ENDPOINT)
    other = await jobs.add(JobKind.PULL, "b", ENDPOINT)
    await jobs.wish([job.id], JobWish.PAUSE)
    await jobs.move([other.id], "first")
    await jobs.record([replace(job, state=JobState.FETCHING)])
    found = jobs.get(job.id)
    assert found is not None
    assert (found.wish, found.state) == (JobWish.PAUSE, JobState.FETCHING)
    assert [one.id for one in jobs.list()] == [other.id, job.id]


async def test_order_and_removal(jobs: JobTable) -> None:
    a, b, c = [(await jobs.add(JobKind.PULL, name, ENDPOINT)).id for name in "abc"]
    for number, where, order in (
        (c, "first", [c, a, b]),
        (c, "up", [c, a, b]),
        (c, "down", [a, c, b]),
        (b, "up", [a, b, c]),
        (c, "down", [a, b, c]),
    ):
        await jobs.move([number], where)
        assert [job.id for job in jobs.list()] == order
    await jobs.record([replace(job, state=JobState.DONE) for job in jobs.list() if job.id == b])
    assert await jobs.remove([a, b]) == 1
    assert [job.id for job in jobs.list()] == [a, c]


async def test_adding_again(jobs: JobTable) -> None:
    first = await jobs.add(JobKind.PULL, "a", ENDPOINT)
    await jobs.wish([first.id], JobWish.PAUSE)
    again = await jobs.add(JobKind.PULL, "A:latest", ENDPOINT)
    assert (again.id, again.wish) == (first.id, JobWish.RUN)
    assert await jobs.take_renewals() == {first.id}
    assert await jobs.take_renewals() == frozenset()
    await jobs.record([replace(first, state=JobState.DONE)])
    assert not has_work(jobs.list())
    third = await jobs.add(JobKind.PULL, "a", ENDPOINT)
    assert third.id != first.id
    assert len(jobs.list()) == 1
    assert has_work(jobs.list())


async def test_samples_meta_and_servers(database: Database) -> None:
    samples = Samples(database)
    await samples.append(10, [(at, {"cpu": at * 10.0, "gpu:x": None}) for at in (1, 2, 3)], keep=2)
    await samples.append(60, [(1, {"cpu": 5.0})])
    assert samples.read(10, 0, 9) == {2: {"cpu": 20.0}, 3: {"cpu": 30.0}}
    assert samples.read(60, 0, 9) == {1: {"cpu": 5.0}}
    meta = Meta(database)
    await meta.set("k", "v")
    await meta.set("k", "w")
    assert meta.get("k") == "w"
    await meta.set("k", "")
    assert meta.get("k") == ""
    servers = Servers(database)
    await servers.want(ServerRow("ollama", "/bin/x", "127.0.0.1:1", ("serve",), {"A": "b"}))
    (row,) = servers.list()
    assert (row.arguments, row.environment, row.wish, servers_have_work([row])) == (("serve",), {"A": "b"}, "running", True)
    await servers.record(replace(row, seen=row.asked, state="running", record={"pid": 5}))
    await servers.stop("ollama")
    (row,) = servers.list()
    assert (row.wish, row.record, servers_have_work([row])) == ("stopped", {"pid": 5}, True)
