"""The chat over a database that is full, busy, gone, replaced, newer, or given what no column takes."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import DONE, Bench, Make, Scripted, until
from tui.core.chat import AnswerState, ConversationSettings, Message, Role
from tui.core.events import Delta, Done, Thinking, ToolCall
from tui.core.models import Model
from tui.store import opening
from tui.store.conversations import Conversations
from tui.store.db import Database

WORDS = "word " * 8_000
"""Enough text to need pages that a full disk does not have."""
SURROGATE = "a\ud83d\0b"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Bench] = []

    async def make(*answers: list[Any]) -> Bench:
        one = Bench(tmp_path, Scripted(*answers))
        one.host.listed = (Model("lab", "qwen3:8b", "qwen3:8b"), Model("lab", "phi4:14b", "phi4:14b"))
        made.append(await one.begin())
        return one

    yield make
    for one in made:
        assert not one.host.errors
        await one.end()


def database(one: Bench) -> Database:
    assert one.host.database is not None
    return one.host.database


def fill_up(one: Bench, full: bool) -> None:
    writer = database(one)._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0] if full else 1_000_000
    writer.execute(f"PRAGMA max_page_count = {pages}")


async def streaming(one: Bench) -> None:
    """Send, and wait until the first words are stored."""
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    await until(lambda: one.stored.branch(one.chat.view.value.id)[-1].content == "first ")


async def test_D03_a_disk_that_fills_up_in_mid_stream_costs_nothing(bench: Make) -> None:
    more = asyncio.Event()
    one = await bench([Delta("first "), more, Delta(WORDS), Thinking(WORDS), DONE], [Delta("next"), DONE])
    await streaming(one)
    fill_up(one, True)
    one.chat.send("and then")
    more.set()
    await until(lambda: one.host.banners.get("save"))
    assert "full" in one.host.banners["save"].what and one.host.banners["save"].remedy
    await until(lambda: one.chat.live.value and "".join(one.chat.live.value.buffer.text) == f"first {WORDS}")
    assert one.chat.view.value.queued == ("and then",) and len(one.host.lab.requests) == 1
    fill_up(one, False)
    await one.idle()
    assert one.host.banners["save"] is None
    rows = one.stored.branch(one.chat.view.value.id)
    assert [row.content for row in rows] == ["go", f"first {WORDS}", "and then", "next"]
    assert (rows[1].thinking, rows[1].state) == (WORDS, AnswerState.COMPLETE)
    assert tuple(rows) == one.chat.view.value.messages


async def test_D03_a_full_disk_under_a_comparison_costs_nothing(bench: Make) -> None:
    more = asyncio.Event()
    one = await bench([Delta("a"), more, Delta(WORDS), DONE], [Delta("b"), more, Delta(WORDS), DONE])
    comparing: Any = one.engine.comparing
    comparing.order = lambda session, models: type("O", (), {"at_once": True, "how": ""})
    one.chat.compare("which?", [("lab", "qwen3:8b"), ("lab", "phi4:14b")])
    await until(lambda: len(one.chat.compared.value) == 2 and all(live.buffer.text for live in one.chat.compared.value))
    fill_up(one, True)
    more.set()
    await until(lambda: one.host.banners.get("save"))
    fill_up(one, False)
    await one.idle()
    answers = one.chat.view.value.answers
    assert sorted(answer.content[0] for answer in answers.values()) == ["a", "b"]
    assert all(answer.state is AnswerState.COMPLETE and answer.content[1:] == WORDS for answer in answers.values())
    assert {number: one.stored.message(number) for number in answers} == answers
    assert one.host.banners["save"] is None


async def test_D03_a_full_disk_between_a_tool_and_its_result_runs_the_tool_once(bench: Make, tmp_path: Path) -> None:
    call = ToolCall("c1", "calculator", {"expression": "6*7"})
    one = await bench([call, Done("stop")], [Delta("It is 42."), DONE])
    one.host.choice = "run"
    one.chat.configure(ConversationSettings(tools=("calculator",), system=WORDS))
    asked = one.host.ask

    async def ask(*args: Any) -> str:
        fill_up(one, True)
        return await asked(*args)

    one.host.ask = ask  # type: ignore[method-assign]
    real, grown = one.stored.add_messages, []

    async def grow(messages: Any, **more: Any) -> Any:
        grown.append(messages)
        wide = [
            Message(0, row.conversation, 0, row.role, row.content + WORDS, parent=row.parent, tool_name=row.tool_name) for row in messages
        ]
        return await real(wide if any(row.role is Role.TOOL for row in messages) else messages, **more)

    one.stored.add_messages = grow  # type: ignore[method-assign]
    one.chat.send("6*7?")
    await until(lambda: one.host.banners.get("save"))
    assert len(one.host.asked) == 1 and len(one.host.lab.requests) == 1
    fill_up(one, False)
    await one.idle()
    assert len(one.host.asked) == 1 and [what for what, *_ in one.host.audited] == ["run tool"]
    assert [row.role for row in one.stored.branch(1)] == [Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT]


async def test_D05_another_process_that_writes_for_long_is_waited_for_off_the_stream(
    bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_MS", 20)
    more = asyncio.Event()
    one = await bench([Delta("first "), more, Delta("second"), DONE])
    database(one)._patience = 0.05
    await streaming(one)
    other = sqlite3.connect(tmp_path / "paddock.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    more.set()
    await until(lambda: one.host.banners.get("save"))
    await until(lambda: one.chat.live.value and "".join(one.chat.live.value.buffer.text) == "first second")
    said = one.host.banners["save"].sentence() + "".join(one.host.notices)
    assert "locked" not in said and "Not saved" in said
    other.execute("COMMIT")
    other.close()
    await one.idle()
    assert one.stored.branch(one.chat.view.value.id)[-1].content == "first second"
    assert one.host.banners["save"] is None


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_D07_a_database_that_is_deleted_in_mid_stream_is_written_anew(bench: Make, tmp_path: Path, what: str) -> None:
    more = asyncio.Event()
    one = await bench([Delta("before"), DONE], [Delta("first "), more, Delta("second"), DONE])
    await one.say("earlier")
    one.chat.edit(one.chat.view.value.messages[0].id, "go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    if what == "file":
        (tmp_path / "paddock.db").unlink()
    else:
        shutil.rmtree(tmp_path)
    more.set()
    await one.idle()
    rows = Database(tmp_path / "paddock.db", read_only=True)
    found = rows.read(lambda connection: connection.execute("SELECT content, state FROM message ORDER BY id").fetchall())
    assert [tuple(row) for row in found] == [
        ("earlier", "complete"), ("before", "complete"), ("go", "complete"), ("first second", "complete"),
    ]  # fmt: skip
    assert [row[0] for row in rows.read(lambda connection: connection.execute("PRAGMA quick_check").fetchall())] == ["ok"]
    await rows.aclose()


@pytest.mark.parametrize("same_numbers", [False, True])
async def test_D07_in_a_database_that_is_put_in_place_of_ours_nothing_is_overwritten(
    bench: Make, tmp_path: Path, same_numbers: bool
) -> None:
    more = asyncio.Event()
    one = await bench([Delta("first "), more, Delta("second"), DONE], [Delta("yes"), DONE])
    await streaming(one)
    other = Database(tmp_path / "other.db")
    theirs = Conversations(other)
    if same_numbers:
        head = await theirs.create("box", "m", title="theirs")
        rows = [Message(0, head.id, 0, role, words) for role, words in ((Role.USER, "asked"), (Role.ASSISTANT, "answered"))]
        assert (await theirs.add_messages(rows, chain=True))[-1].id == one.chat.view.value.messages[-1].id
        await theirs.release_lease(head.id)
    else:
        await other.run(lambda connection: None)
    await other.aclose()
    (tmp_path / "other.db").replace(tmp_path / "paddock.db")
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"paddock.db{suffix}").unlink(missing_ok=True)
    more.set()
    await one.idle()
    shown = one.chat.view.value
    assert (shown.messages[-1].content, shown.messages[-1].state) == ("first second", AnswerState.COMPLETE)
    assert "Not saved" in shown.read_only and shown.read_only in one.host.notices
    one.chat.send("more")
    await until(lambda: one.host.notices[-1] == shown.read_only and not one.host.tasks)
    if same_numbers:
        assert [row.content for row in one.stored.all_messages(1)] == ["asked", "answered"]
    one.chat.new()
    await until(lambda: one.chat.view.value.id == 0)
    assert (await one.say("still there?")).content == "yes"
    assert one.stored.branch(one.chat.view.value.id)[-1].content == "yes"


async def test_D04_D08_a_database_of_a_later_version_is_read_and_chats_stay_in_memory(bench: Make, tmp_path: Path) -> None:
    first = await bench([Delta("old"), DONE])
    await first.say("kept")
    await first.end()
    other = sqlite3.connect(tmp_path / "paddock.db")
    other.execute("PRAGMA user_version = 99")
    other.close()
    before = (tmp_path / "paddock.db").read_bytes()
    one = await bench([Delta("new"), DONE], [Delta("left"), DONE], [Delta("right"), DONE])
    assert [head.title for head in one.chat.heads.value] == ["kept"]
    assert (await one.say("in memory")).content == "new" and one.chat.view.value.id < 0
    one.chat.compare("", [("lab", "qwen3:8b"), ("lab", "phi4:14b")])
    await until(lambda: one.chat.view.value.compare is not None)
    await one.idle()
    assert {answer.content for answer in one.chat.view.value.answers.values()} == {"left", "right"}
    one.chat.leave_comparison()
    one.chat.open(1)
    await until(lambda: one.chat.view.value.id == 1)
    assert "99" in one.chat.view.value.read_only
    for verb in (lambda: one.chat.send("no"), lambda: one.chat.go_on(), lambda: one.chat.edit(1, "no"), lambda: one.chat.save_draft("no")):
        verb()
    await one.idle()
    assert [message.content for message in one.chat.view.value.messages] == ["kept", "old"]
    await one.end()
    assert (tmp_path / "paddock.db").read_bytes() == before


async def test_D12_what_no_column_takes_is_replaced_at_every_door(bench: Make, tmp_path: Path) -> None:
    call = ToolCall(SURROGATE, SURROGATE, {SURROGATE: SURROGATE})
    one = await bench(
        [Delta(SURROGATE), Thinking(SURROGATE), call, Done("stop", model=SURROGATE)], *([Delta(SURROGATE), DONE] for _ in range(8))
    )
    chosen = ConversationSettings(system=SURROGATE, tools=(SURROGATE, "calculator"), format={"type": SURROGATE}, preset=SURROGATE)
    one.chat.configure(chosen)
    one.chat.attach_text(f"{SURROGATE}.txt", SURROGATE)
    one.chat.save_draft(SURROGATE)
    answer = await one.say(SURROGATE)
    number = one.chat.view.value.id
    one.chat.rename(number, SURROGATE)
    one.chat.tag(number, [SURROGATE, "#\ud800"])
    one.chat.edit(answer.id, f"edited {SURROGATE}")
    await one.idle()
    one.chat.regenerate(0, "lab", SURROGATE, {"stop": [SURROGATE]})
    await one.idle()
    one.chat.compare(f"c {SURROGATE}", [("lab", "qwen3:8b"), ("lab", f"m{SURROGATE}")])
    await one.idle()
    one.chat.vote(-1)
    found: list[Any] = []
    one.chat.search(SURROGATE, found.append)
    await until(lambda: found)
    for form in ("md", "json", "html"):
        one.chat.export(number, form)
    await until(lambda: len(one.host.notices) >= 3)
    await until(lambda: not one.host.tasks)
    files = sorted((tmp_path / "exports").iterdir())
    assert {file.suffix for file in files} == {".md", ".json", ".html"}
    for file in files:
        one.chat.read_in(str(file))
        await one.idle()
    assert len(one.chat.heads.value) == 4
    listed = database(one).read(
        lambda c: c.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE '%fts5%'").fetchall()
    )
    tables = {name for (name,) in listed if not name.startswith("search_")}
    assert tables >= {"conversation", "message", "attachment", "draft", "vote", "measurement"}
    for table in tables:
        names = [row[1] for row in database(one).read(lambda c, table=table: c.execute(f"PRAGMA table_info({table})").fetchall())]
        for row in database(one).read(lambda c, table=table: c.execute(f"SELECT * FROM {table}").fetchall()):
            for name, value in zip(names, row, strict=True):
                assert not isinstance(value, str) or "\0" not in value.encode().decode(), (table, name, value)
    assert len(one.stored.all_messages(number)) >= 6
