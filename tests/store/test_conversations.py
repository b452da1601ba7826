"""Attachments, drafts, votes, imports and the rest of a conversation: alike on disk and in memory where it can be."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace

import pytest

from tests.store.in_step import check_index
from tui.core.chat import (
    AnswerState,
    Attachment,
    AttachmentKind,
    ConversationHead,
    ConversationSettings,
    Message,
    Role,
    Timeline,
    Votes,
)
from tui.core.clock import ManualClock
from tui.core.errors import PaddockError
from tui.core.events import Metrics
from tui.services.chat.memory import ChatStore, Memory
from tui.store import drafts, identity, rows
from tui.store.conversations import UNDO_SECONDS, Conversations
from tui.store.db import Database

IMAGE = Attachment("cat.png", AttachmentKind.IMAGE, 4, path="/p/cat.png", digest="ab" * 32, data=b"\x89P\0G", media="image/png")
TEXT = Attachment("notes.txt", size=5, text="notes", digest="cd" * 32)


@pytest.fixture
def chats(database: Database, clock: ManualClock) -> Conversations:
    return Conversations(database, clock)


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, chats: Conversations, clock: ManualClock) -> ChatStore:
    return chats if request.param == "disk" else Memory(clock)


def prompt(conversation: int, text: str, parent: int = 0, **more: object) -> Message:
    return replace(Message(0, conversation, 0, Role.USER, text, parent=parent), **more)  # type: ignore[arg-type]


def answer(conversation: int, text: str, parent: int, **more: object) -> Message:
    return replace(prompt(conversation, text, parent, **more), role=Role.ASSISTANT)


def bare(attachments: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
    return tuple(replace(one, id=0) for one in attachments)


async def test_everything_new_of_a_message_comes_back(store: ChatStore) -> None:
    head = await store.create("box", "m")
    first = await store.add_message(prompt(head.id, "a"))
    whole = answer(
        head.id, "b", first.id, pinned=True, keep_from=first.id, comparison=3, tool_name="clock", tool_call_id="c1",
        options={"temperature": 0.5, "format": {"type": "object"}}, note="by another", request="ef" * 32,
    )  # fmt: skip
    stored = await store.add_message(whole)
    assert stored == replace(whole, id=stored.id, seq=2, created_at=stored.created_at)
    assert store.message(stored.id) == store.branch(head.id)[1] == store.all_messages(head.id)[1] == stored
    changed = replace(stored, content="c", options={"think": True}, note="", request="", comparison=4, keep_from=0)
    await store.update_answer(changed)
    assert store.message(stored.id) == changed
    assert store.message(987_654) is None


async def test_images_are_stored_and_only_read_when_asked_for(store: ChatStore) -> None:
    head = await store.create("box", "m")
    stored = await store.add_message(prompt(head.id, "look", attachments=(IMAGE, TEXT)))
    assert bare(stored.attachments) == (replace(IMAGE, data=b""), TEXT)
    assert store.branch(head.id) == (stored,)
    assert store.image(stored.attachments[0].id) == IMAGE.data
    edited = await store.add_message(prompt(head.id, "look again", attachments=stored.attachments[::-1]))
    assert [one.name for one in store.branch(head.id)[0].attachments] == ["notes.txt", "cat.png"]
    assert store.image(edited.attachments[1].id) == IMAGE.data  # copied: the first may go
    assert edited.attachments[1].id != stored.attachments[0].id
    assert store.image(987_654) == b""


async def test_P04_drafts_keep_what_is_attached(store: ChatStore) -> None:
    kept = await store.set_draft_attachments("chat:new", (IMAGE, TEXT))
    assert store.draft_attachments("chat:new") == kept
    assert bare(kept) == (replace(IMAGE, data=b""), TEXT)
    assert store.draft_attachments("chat:1") == ()
    kept = await store.set_draft_attachments("chat:new", (kept[1], replace(TEXT, name="more.txt"), kept[0]))
    assert [one.name for one in store.draft_attachments("chat:new")] == ["notes.txt", "more.txt", "cat.png"]
    head = await store.create("box", "m")
    sent = await store.add_message(prompt(head.id, "look", attachments=kept))
    assert await store.set_draft_attachments("chat:new", ()) == () == store.draft_attachments("chat:new")
    assert store.image(sent.attachments[2].id) == IMAGE.data


async def test_P04_drafts_with_images_survive_the_program(chats: Conversations, database: Database) -> None:
    (kept,) = await chats.set_draft_attachments("chat:new", (IMAGE,))
    await database.aclose()
    again = Database(database.path)
    assert Conversations(again).draft_attachments("chat:new") == (kept,)
    assert Conversations(again).image(kept.id) == IMAGE.data
    await again.aclose()


async def test_opening_reads_no_image(chats: Conversations, database: Database) -> None:
    head = await chats.create("box", "m")
    await chats.add_message(prompt(head.id, "look", attachments=(replace(IMAGE, data=b"x" * 5_000_000, size=5_000_000),)))
    read: list[str] = []
    database._reader.set_trace_callback(read.append)
    chats.branch(head.id)
    database._reader.set_trace_callback(None)
    assert any("FROM attachment" in query for query in read)
    assert not [query for query in read if "data" in query]


async def test_deleting_a_chat_for_good_takes_all_of_it(chats: Conversations, database: Database, clock: ManualClock) -> None:
    head = await chats.create("box", "m")
    await chats.add_message(prompt(head.id, "look", attachments=(IMAGE,)))
    await chats.set_draft(f"chat:{head.id}", "typed")
    await chats.set_draft_attachments(f"chat:{head.id}", (IMAGE,))
    await chats.delete(head.id)
    clock.advance(UNDO_SECONDS + 1)
    assert await chats.purge() == 1
    with pytest.raises(PaddockError, match="no longer exists"):
        await chats.add_message(prompt(head.id, "late"))
    for table in ("conversation", "message", "attachment", "draft", "search"):
        assert database.read(lambda connection, table=table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()) == (0,)  # type: ignore[misc]


async def test_purged_messages_are_gone_and_the_rest_hangs_together(chats: Conversations, database: Database, clock: ManualClock) -> None:
    head = await chats.create("box", "m")
    one, two, three, four = await chats.add_messages(
        [prompt(head.id, "secret", attachments=(IMAGE,)), *(answer(head.id, text, 0) for text in ("b", "c", "secret"))], chain=True
    )
    await chats.delete_messages([one.id, four.id])
    clock.advance(UNDO_SECONDS / 2)
    await chats.delete_messages([three.id])
    clock.advance(UNDO_SECONDS / 2 + 1)
    await chats.purge()
    assert [message.content for message in chats.branch(head.id)] == ["b"]
    assert chats.image(one.attachments[0].id) == b""
    held = database.read(lambda connection: connection.execute("SELECT id, content FROM message ORDER BY id").fetchall())
    assert held == [(one.id, ""), (two.id, "b"), (three.id, "c")]
    assert chats.tip(head.id) == three.id
    await chats.undo_delete_messages([three.id])
    assert [message.content for message in chats.branch(head.id)] == ["b", "c"]
    check_index(database)


async def test_comparisons_and_votes(store: ChatStore) -> None:
    head = await store.create("box", "m")
    asked = await store.add_message(prompt(head.id, "which?"))
    assert store.next_comparison(head.id) == 1

    async def compare(number: int, rates: dict[str, float | None]) -> list[Message]:
        made = []
        for model, rate in rates.items():
            metrics = Metrics(output_tokens=100, output_seconds=100 / rate) if rate else Metrics()
            timeline = Timeline(first_token=rate and 1 / rate, rate=7.0)
            one = answer(head.id, "a", asked.id, comparison=number, provider="box", model=model, metrics=metrics, timeline=timeline)
            made.append(await store.add_message(one, tip=False))
        return made

    first = await compare(1, {"a": 10, "b": 20})
    second = await compare(2, {"a": 30, "b": None})
    assert store.next_comparison(head.id) == 3
    assert [one.id for one in store.compared(head.id, 1)] == [one.id for one in first]
    assert store.compared(head.id, 0) == () == store.compared(head.id, 9)
    assert store.tip(head.id) == asked.id
    assert store.branches(head.id)[first[0].id] == tuple(one.id for one in (*first, *second))
    assert store.vote_of(head.id, 1) is None
    await store.add_vote(head.id, asked.id, 1, first[1], [first[0]], blind=False)
    await store.add_vote(head.id, asked.id, 1, first[0], [first[1]], blind=True)
    await store.add_vote(head.id, asked.id, 2, None, second, blind=False)
    assert store.vote_of(head.id, 1) == first[0].id
    assert store.vote_of(head.id, 2) == -1
    assert store.votes() == (
        Votes("box", "a", 1, 0, 1, pytest.approx(20.0), pytest.approx((0.1 + 1 / 30) / 2)),
        Votes("box", "b", 0, 1, 1, pytest.approx(13.5), pytest.approx(0.05)),
    )


async def test_votes_outlive_their_conversation(chats: Conversations, clock: ManualClock) -> None:
    head = await chats.create("box", "m")
    one = await chats.add_message(answer(head.id, "a", 0, comparison=1, provider="box", model="a"))
    await chats.add_vote(head.id, 0, 1, one, [], blind=False)
    await chats.delete(head.id)
    clock.advance(UNDO_SECONDS + 1)
    await chats.purge()
    assert chats.votes() == (Votes("box", "a", 1),)


async def test_the_newest_complete_answer_to_a_request_is_found(store: ChatStore) -> None:
    head = await store.create("box", "m")
    first = await store.add_message(answer(head.id, "1", 0, request="aa"))
    second = await store.add_message(answer(head.id, "2", 0, request="aa"))
    await store.add_message(answer(head.id, "3", 0, request="aa", state=AnswerState.STOPPED))
    await store.add_message(answer(head.id, "4", 0))
    assert store.find_answer("aa") == second
    assert store.find_answer("") is None is store.find_answer("bb")
    await store.delete_messages([second.id])
    assert store.find_answer("aa") == first
    await store.delete(head.id)
    assert store.find_answer("aa") is None


async def test_what_was_exported_comes_back(store: ChatStore) -> None:
    head = await store.create("box", "m", title="t")
    settings = ConversationSettings(system="s", tools=("clock",))
    one, two = await store.add_messages([prompt(head.id, "a", attachments=(IMAGE,)), answer(head.id, "b", 0)], chain=True)
    three = await store.add_message(answer(head.id, "c", one.id, state=AnswerState.WRITING))
    four = await store.add_message(prompt(head.id, "", three.id, role=Role.SYSTEM, keep_from=three.id))
    whole = [replace(row, attachments=tuple(replace(file, data=IMAGE.data) for file in row.attachments)) for row in (four, two, one, three)]
    made = await store.import_conversation(
        ConversationHead(77, "t", "box", "m", 5.0, 6.0, 99, pinned=True, tags=("x", "#x")), settings, whole, two.id
    )
    assert made.id not in (77, head.id)
    assert (made.title, made.created_at, made.updated_at, made.messages, made.pinned, made.tags) == ("t", 5.0, 6.0, 4, True, ("x",))
    assert store.settings(made.id) == settings
    assert [row.content for row in store.branch(made.id)] == ["a", "b"]
    copy = {row.content: row for row in store.all_messages(made.id)}
    assert (copy["c"].parent, copy["c"].state) == (copy["a"].id, AnswerState.INTERRUPTED)
    assert (copy[""].parent, copy[""].keep_from) == (copy["c"].id, copy["c"].id)
    assert store.image(copy["a"].attachments[0].id) == IMAGE.data
    assert len(await store.search_async("a #x")) == 1
    empty = await store.import_conversation(ConversationHead(0, "e", "", "", 0.0, 0.0, 0), ConversationSettings(), [])
    assert store.branch(empty.id) == ()
    assert empty.created_at > 0


async def test_an_import_is_all_or_nothing(chats: Conversations, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    insert, calls = rows.insert, []

    def failing(connection: sqlite3.Connection, message: Message) -> Message:
        calls.append(message)
        if len(calls) == 3:
            raise sqlite3.OperationalError("database or disk is full")
        return insert(connection, message)

    monkeypatch.setattr(rows, "insert", failing)
    with pytest.raises(PaddockError):
        await chats.import_conversation(
            ConversationHead(1, "t", "p", "m", 1.0, 1.0, 3),
            ConversationSettings(),
            [prompt(0, "x", number, id=number + 1) for number in range(3)],
        )
    assert chats.heads() == ()
    assert database.read(lambda connection: connection.execute("SELECT count(*) FROM message").fetchone()[0]) == 0
    check_index(database)


async def test_pinned_ones_come_first_and_settings_are_whole(store: ChatStore, clock: ManualClock) -> None:
    old = await store.create("box", "m")
    clock.advance(1)
    new = await store.create("box", "m")
    assert [head.id for head in store.heads()] == [new.id, old.id]
    await store.set_pinned(old.id, True)
    assert [head.id for head in store.heads()] == [old.id, new.id]
    assert [head.id for head in store.heads(limit=1, offset=1)] == [new.id]
    chosen = ConversationSettings("s", "high", "precise", {"stop": ["a"]}, "1h", {"type": "object"}, ("clock", "read_file"))
    await store.set_settings(new.id, chosen)
    assert store.settings(new.id) == chosen


async def test_saving_a_draft_again_writes_no_image_again(store: ChatStore) -> None:
    (kept,) = await store.set_draft_attachments("chat:new", (IMAGE,))
    again = await store.set_draft_attachments("chat:new", (TEXT, IMAGE))  # as it was read, not as it was stored
    assert again[1] == kept
    twice = await store.set_draft_attachments("chat:new", (IMAGE, IMAGE))
    assert [store.image(one.id) for one in twice] == [IMAGE.data] * 2
    assert len({one.id for one in twice}) == 2


async def test_P13_two_that_write_one_chat_lose_nothing(chats: Conversations, database: Database, clock: ManualClock) -> None:
    """The lease keeps apps apart; where it could not, every message is still there once and in an order."""
    other = Database(database.path)
    head = await chats.create("box", "m")
    both = (chats, Conversations(other, clock))
    made = await asyncio.gather(*(both[number % 2].add_message(prompt(head.id, f"n{number}")) for number in range(60)))
    found = chats.all_messages(head.id)
    assert {one.content for one in found} == {f"n{number}" for number in range(60)}
    assert sorted(one.seq for one in made) == list(range(1, 61))
    assert chats.tip(head.id) == max(one.id for one in made)
    check_index(database)
    await other.aclose()


async def test_P04_apps_that_run_at_once_have_drafts_of_their_own(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats, me = Conversations(database, clock), identity.myself()
    living = {me, other := replace(me, start="another one")}
    monkeypatch.setattr(drafts, "alive", lambda one: one in living)

    async def claimed(by: identity.Identity) -> str:
        monkeypatch.setattr(drafts, "myself", lambda: by)
        return await chats.claim_new()

    assert (await claimed(me), await claimed(other), await claimed(me)) == ("chat:new", "chat:new:2", "chat:new")
    await chats.set_draft("chat:new", "mine")
    await chats.set_draft("chat:new:2", "the other's")
    await chats.set_draft_attachments("chat:new:2", (TEXT,))
    living.discard(other)
    assert (await claimed(me), chats.draft("chat:new")) == ("chat:new", "mine")
    await chats.set_draft("chat:new", "")
    living.clear()
    living.add(third := replace(me, start="a third one"))
    assert (await claimed(third), chats.draft("chat:new")) == ("chat:new", "the other's")
    assert [one.name for one in chats.draft_attachments("chat:new")] == [TEXT.name]
    assert chats.draft("chat:new:2") == "" and chats.draft_attachments("chat:new:2") == ()
