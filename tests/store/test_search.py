"""Full-text search: every word typed, whatever it is, in what is there and nothing else."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.in_step import check_index
from tui.core.chat import AnswerState, Message, Role
from tui.core.clock import ManualClock
from tui.services.chat.memory import ChatStore, Memory
from tui.store import index
from tui.store.conversations import UNDO_SECONDS, Conversations
from tui.store.db import Database
from tui.store.search import excerpt


@pytest.fixture
def chats(database: Database, clock: ManualClock) -> Conversations:
    return Conversations(database, clock)


async def said(chats: ChatStore, *contents: str, title: str = "", state: AnswerState = AnswerState.COMPLETE) -> tuple[int, list[int]]:
    head = await chats.create("box", "a", title=title)
    rows = [Message(0, head.id, 0, Role.ASSISTANT, content, state=state) for content in contents]
    return head.id, [one.id for one in (await chats.add_messages(rows, chain=True) if rows else ())]


async def found(chats: ChatStore, text: str) -> list[int]:
    return [one.head.id for one in await chats.search_async(text)]


async def test_every_word_by_its_beginning_in_any_message_title_or_tag(chats: Conversations, clock: ManualClock) -> None:
    one, (first, second) = await said(chats, "How does Quicksort work?", "It splits the list", title="Sorting")
    clock.advance(1)
    two, (third,) = await said(chats, "a list of sorts")
    await chats.set_tags(two, ["Homework", "#school"])
    assert await found(chats, "list") == [two, one]
    assert await found(chats, "qui spl") == [one]
    assert await found(chats, "sort quick") == [one]
    assert await found(chats, "school lis") == [two]
    assert await found(chats, "quick sorts") == []
    assert await found(chats, "uick") == []
    hits = {one.head.id: one.message for one in await chats.search_async("list")}
    assert hits == {one: second, two: third}
    (hit,) = await chats.search_async("quicksort")
    assert (hit.message, hit.excerpt) == (first, "How does Quicksort work?")
    (hit,) = await chats.search_async("SORTING")
    assert (hit.message, hit.excerpt) == (0, "")
    assert await found(chats, "") == await found(chats, " \n") == [two, one]


async def test_one_message_with_all_words_comes_before_scattered_ones(chats: Conversations, clock: ManualClock) -> None:
    near, _ = await said(chats, "red and green")
    clock.advance(1)
    far, (_, green) = await said(chats, "green", "red")
    assert await found(chats, "red green") == [near, far]
    assert (await chats.search_async("red green"))[1].message == green


async def test_tags_filter(chats: Conversations) -> None:
    one, _ = await said(chats, "work")
    two, _ = await said(chats, "work")
    await chats.set_tags(one, ["Über Alles", "x", "X"])
    assert chats.head(one).tags == ("Über-Alles", "x")  # type: ignore[union-attr]
    assert await found(chats, "#über work") == await found(chats, "#x") == [one]
    assert await found(chats, "#work") == await found(chats, "#x #y") == []
    assert await found(chats, "# work") == [two, one]


@pytest.mark.parametrize(
    ("content", "asked", "missed"),
    [
        ('say "hello world"', ['"hello', 'hello"', '"hello world"', '"'], ['"world hello wide"']),
        ("this AND that", ["AND", "AND that", "this AND"], ["OR", "this OR that"]),
        ("near NEAR(a b, 5)", ["NEAR(a", "NEAR(a b, 5)", "NEAR"], ["NEAR(q"]),
        ("not -x * ^y text:z", ["-x", "*", "x*", "^y", "text:z", "not"], ["-q", "text:q"]),
        ("f(a, b) -> foo.bar_baz[0]; 100% 5€", ["foo.bar", "bar_baz[0]", "100%", "f(a,", "->"], ["foo.baz"]),
        ("Zoë naïve ÅNGSTRÖM straße", ["zoe", "Zoë", "naive", "angstrom", "ångström", "STRASSE"[:4], "zoe\u0308"], ["zob"]),
        ("ＡＢＣ ﬁn", ["abc", "fin"], ["abd"]),
        ("これは日本語の文章です。Paddockで", ["日本", "本語", "語の文", "文章です", "paddock", "これ", "章で"], ["日語", "本日"]),
        ("大型语言模型很好", ["语言", "模型很", "大型语言模型很好"], ["语模"]),
        ("안녕하세요 세계", ["안녕", "하세", "세계"], ["세하"]),
        ("สวัสดีครับ", ["สวัส", "ครับ", "ดีค"], ["ครส"]),
        ("Привет, мир. مرحبا بالعالم", ["прив", "МИР", "مرحبا", "بالع"], ["рив"]),
        ("done 🎉 and 👩‍🚀", ["🎉", "🎉 done", "👩‍🚀"], ["🚗"]),
        ("a\0b \ud800 c", ["a", "c"], ["d"]),
    ],
)
async def test_D12_whatever_is_typed_is_taken_literally(
    chats: Conversations, database: Database, content: str, asked: list[str], missed: list[str]
) -> None:
    number, _ = await said(chats, content)
    await said(chats, "something else")
    for text in asked:
        if any(char.isalnum() or char in "🎉👩" for char in text):
            assert await found(chats, text) == [number], text
        else:
            assert await found(chats, text) == [], text  # there is no word in it
    for text in missed:
        assert await found(chats, text) == [], text
    check_index(database)


async def test_any_two_characters_of_chinese_text(chats: Conversations) -> None:
    text = "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少"
    number, _ = await said(chats, text)
    for begin in range(len(text) - 1):
        for end in range(begin + 2, len(text) + 1):
            assert await found(chats, text[begin:end]) == [number]


async def test_deleted_ones_are_not_found_until_brought_back(chats: Conversations, database: Database, clock: ManualClock) -> None:
    number, (one, two) = await said(chats, "apple", "banana", title="fruit")
    token = await chats.delete_messages([one])
    assert (await found(chats, "apple"), await found(chats, "banana")) == ([], [number])
    check_index(database)
    await chats.undo_delete_messages(token)
    assert await found(chats, "apple banana") == [number]
    await chats.delete(number)
    assert await found(chats, "banana") == await found(chats, "fruit") == await found(chats, "") == []
    await chats.undo_delete(number)
    assert await found(chats, "banana fruit") == [number]
    await chats.delete_messages([two])
    clock.advance(UNDO_SECONDS + 1)
    await chats.purge()
    await chats.undo_delete_messages([two])
    assert await found(chats, "banana") == []
    await chats.delete(number)
    clock.advance(UNDO_SECONDS + 1)
    await chats.purge()
    assert database.read(lambda connection: connection.execute("SELECT count(*) FROM search").fetchone()[0]) == 0
    check_index(database)


async def test_what_streams_is_found_when_it_ended_and_not_indexed_before(chats: Conversations, database: Database) -> None:
    number, (answer,) = await said(chats, "begun", state=AnswerState.WAITING)

    def entries() -> int:
        return database.read(lambda connection: connection.execute("SELECT count(*) FROM search WHERE rowid & 0xFFFFFF").fetchone()[0])

    for piece in range(5):
        await chats.append_answer(answer, f" piece{piece}")
        assert entries() == 0
    stored = chats.message(answer)
    assert stored is not None
    await chats.finish_answer(replace(stored, state=AnswerState.STOPPED))
    assert await found(chats, "begun piece4") == [number]
    await chats.append_answer(answer, " more")  # it is continued
    assert (entries(), await found(chats, "begun")) == (0, [])
    await chats.finish_answer(replace(stored, content="edited", state=AnswerState.COMPLETE))
    assert (await found(chats, "edited"), await found(chats, "piece1")) == ([number], [])
    check_index(database)


async def test_P03_an_answer_marked_interrupted_at_the_start_is_found(chats: Conversations, database: Database) -> None:
    number, (_answer,) = await said(chats, "half an answer", state=AnswerState.WRITING)
    await chats.release_lease(number)
    assert await chats.mark_open_answers_interrupted() == 1
    assert await found(chats, "half") == [number]
    check_index(database)


async def test_in_memory_alike(clock: ManualClock) -> None:
    memory = Memory(clock)
    one, (first,) = await said(memory, "Zoë's quicksort", title="Sorting")
    await said(memory, "else")
    await memory.set_tags(one, ["work"])
    assert await found(memory, "zoe SORTING") == await found(memory, "#wo") == [one]
    (hit,) = await memory.search_async("quick")
    assert (hit.message, hit.excerpt) == (first, "Zoë's quicksort")
    assert await found(memory, "zoe else") == await found(memory, "#nope") == []
    assert len(await found(memory, "")) == 2


def test_an_excerpt_is_one_line_round_the_match() -> None:
    text = "one two\nthree " * 40 + "the needle\nis \x1b[31mhere " + "four " * 100
    cut = excerpt(text, ["needle"])
    assert "the needle is" in cut
    assert cut.startswith("…") and cut.endswith("…")
    assert len(cut) < 180 and "\n" not in cut and "\x1b" not in cut
    assert excerpt("short", ["absent"]) == "short"
    assert "ÅNGSTRÖM" in excerpt("x " * 500 + "ÅNGSTRÖM", ["angstrom"])
    assert excerpt("abneedle needle", ["needle"]) == "abneedle needle"


def test_the_index_can_be_made_anew(database: Database, chats: Conversations) -> None:
    asyncio.run(said(chats, "apple", "日本語", title="t"))
    database.run_sync(lambda connection: connection.execute("DELETE FROM search"))
    database.run_sync(index.rebuild)
    check_index(database)


def test_D10_a_long_history_opens_and_is_searched_quickly(tmp_path: Path) -> None:
    """A tenth of the messages in a tenth of the time that the benchmark has; the whole is `benchmarks/search.py`."""
    database = Database(tmp_path / "paddock.db")
    chats = Conversations(database)

    def fill(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO conversation (title, provider, model, created_at, updated_at) VALUES (?, 'box', 'a', ?, ?)",
            [(f"chat {n}", n, n) for n in range(402)],
        )
        rows = [(1 + n % 400, 1 + n // 400, f"message {n} " + "lorem ipsum " * 8) for n in range(10_000)]
        rows += [(401, n, "x") for n in range(1, 5001)]
        rows += [(402, 1, "long " * (4 << 20))]
        query = "INSERT INTO message (conversation, seq, role, content, state, created_at) VALUES (?, ?, 'user', ?, 'complete', 0)"
        connection.executemany(query, rows)
        connection.execute("UPDATE message SET parent = id - 1 WHERE conversation = 401 AND seq > 1")
        connection.execute("UPDATE conversation SET tip = (SELECT max(id) FROM message m WHERE m.conversation = conversation.id)")
        index.rebuild(connection)

    database.run_sync(fill, durable=False)
    started = time.process_time()
    assert len(chats.heads()) == 402
    assert len(chats.branch(401)) == 5000
    assert len(chats.branch(402)[0].content) == 20 << 20
    assert len(asyncio.run(chats.search_async("lorem ip"))) == 100
    assert len(asyncio.run(chats.search_async("message 9999"))) == 1
    assert time.process_time() - started < 1.0
    database.close()
