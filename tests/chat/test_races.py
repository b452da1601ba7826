"""Verbs that come while another one waits for the disk: conversations stay what the user saw and asked for."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import DONE, Bench, Make, Scripted, until
from tui.core.chat import AnswerState, ConversationSettings, Role
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done
from tui.core.models import Model
from tui.services.chat import attachments
from tui.store.conversations import Conversations
from tui.store.identity import Identity, myself

PAIR = (("lab", "qwen3:8b"), ("lab", "phi4:14b"))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Bench] = []

    async def make(*answers: list[Any]) -> Bench:
        made.append(await Bench(tmp_path, Scripted(*answers)).begin())
        return made[-1]

    yield make
    for one in made:
        assert not one.host.errors
        await one.end()


class Gate:
    """A write that waits, as behind a slow disk."""

    def __init__(self, patch: pytest.MonkeyPatch, store: Any, name: str) -> None:
        real = getattr(store, name)
        self.open = asyncio.Event()
        self.reached = asyncio.Event()

        async def slow(*args: Any, **more: Any) -> Any:
            self.reached.set()
            await self.open.wait()
            return await real(*args, **more)

        patch.setattr(store, name, slow)


def texts(one: Bench) -> list[str]:
    return [message.content for message in one.chat.view.value.messages]


def ids(one: Bench) -> list[int]:
    return [message.id for message in one.chat.view.value.messages]


def number(one: Bench) -> int:
    return one.chat.view.value.id


async def done(one: Bench) -> None:
    await asyncio.sleep(0)
    await one.idle()


async def fresh(one: Bench) -> None:
    one.chat.new()
    await until(lambda: number(one) == 0)
    await done(one)


def execute(one: Bench, query: str) -> None:
    assert one.host.database is not None
    one.host.database.run_sync(lambda connection: connection.execute(query), ("conversations", "messages"))


async def test_a_prompt_sent_while_branches_are_switched_goes_into_the_one_that_was_chosen(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("b1"), DONE], [Delta("a2"), DONE])
    await one.say("one")
    one.chat.edit(ids(one)[0], "uno")
    await until(lambda: texts(one) == ["uno", "b1"])
    await done(one)
    gate = Gate(monkeypatch, one.stored, "set_tip")
    one.chat.switch(ids(one)[0], -1)
    await gate.reached.wait()
    one.chat.send("two")
    for _ in range(50):
        await asyncio.sleep(0)
    gate.open.set()
    await until(lambda: len(one.host.lab.requests) == 3)
    await done(one)
    assert texts(one) == ["one", "a1", "two", "a2"]
    assert [message.content for message in one.host.lab.requests[-1].messages] == ["one", "a1", "two"]


async def test_of_two_conversations_opened_at_once_the_last_is_shown(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench([Delta("a"), DONE])
    await one.say("one")
    first = number(one)
    await fresh(one)
    gate = Gate(monkeypatch, one.stored, "take_lease")
    one.chat.open(first)
    await gate.reached.wait()
    one.chat.new()
    await asyncio.sleep(0)
    one.chat.save_draft("typed in the new one")
    gate.open.set()
    await done(one)
    assert number(one) == 0 and not one.host.notices
    assert one.stored.lease_holder(first) is None and first not in one.engine._shelf.sessions


async def test_a_conversation_that_still_waits_to_send_is_not_let_go(bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, real = threading.Event(), attachments.read

    def hang(*args: Any, **more: Any) -> Any:
        go.wait(30)
        return real(*args, **more)

    (tmp_path / "notes.md").write_text("# Notes")
    one = await bench([Delta("a"), DONE], [Delta("b"), DONE])
    await one.say("one")
    first = number(one)
    monkeypatch.setattr(attachments, "read", hang)
    one.chat.attach([str(tmp_path / "notes.md")])
    one.chat.send("two")
    await asyncio.sleep(0)
    one.chat.new()
    await until(lambda: number(one) == 0)
    one.chat.open(first)
    await until(lambda: number(one) == first)
    go.set()
    await until(lambda: len(one.host.lab.requests) == 2)
    await done(one)
    assert texts(one) == ["one", "a", "two", "b"] and not one.chat.view.value.attached
    assert [file.name for file in one.chat.view.value.messages[2].attachments] == ["notes.md"]
    one.chat.new()
    await until(lambda: number(one) == 0)
    await done(one)
    assert not one.engine._shelf.sessions


async def test_an_answer_pinned_while_it_is_written_keeps_its_end(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = asyncio.Event()
    one = await bench([Delta("a"), hold, Delta("b"), DONE])
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    gate = Gate(monkeypatch, one.stored, "pin_message")
    one.chat.pin_message(ids(one)[1], True)
    await gate.reached.wait()
    hold.set()
    await until(lambda: one.chat.view.value.messages[1].state is AnswerState.COMPLETE)
    gate.open.set()
    await done(one)
    answer = one.chat.view.value.messages[1]
    assert (answer.content, answer.state, answer.pinned) == ("ab", AnswerState.COMPLETE, True)


async def test_an_answer_pinned_before_it_ends_stays_pinned(bench: Make) -> None:
    hold = asyncio.Event()
    one = await bench([Delta("a"), hold, DONE])
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    one.chat.pin_message(ids(one)[1], True)
    await until(lambda: one.chat.view.value.messages[1].pinned)
    hold.set()
    await done(one)
    assert one.chat.view.value.messages[1].pinned and one.chat.view.value.messages[1].content == "a"


async def test_after_a_stop_a_title_can_be_asked_for(bench: Make) -> None:
    one = await bench([Delta("a"), asyncio.Event()], [Delta("A title"), DONE])
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    one.chat.stop()
    await done(one)
    one.chat.stop()
    await done(one)
    one.chat.rename(number(one), "")
    await until(lambda: one.chat.view.value.title == "A title")


async def test_a_stop_while_branches_are_switched_stops_nothing_later(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("A title"), DONE])
    await one.say("one")
    gate = Gate(monkeypatch, one.stored, "set_tip")
    one.chat.branch(ids(one)[0])
    await gate.reached.wait()
    one.chat.stop()
    await asyncio.sleep(0)
    gate.open.set()
    await until(lambda: texts(one) == ["one"])
    await done(one)
    one.chat.rename(number(one), "")
    await until(lambda: one.chat.view.value.title == "A title")


async def test_nothing_is_brought_back_under_an_answer_that_is_written(bench: Make) -> None:
    hold = asyncio.Event()
    one = await bench([Delta("a1"), DONE], [Delta("a2"), hold, DONE])
    await one.say("one")
    one.chat.delete_message(ids(one)[1])
    await until(lambda: texts(one) == ["one"])
    one.chat.send("two")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    one.chat.undo_delete()
    await until(lambda: one.host.notices == ["An answer is being written; esc stops it"])
    assert texts(one) == ["one", "two", ""]
    hold.set()
    await done(one)
    assert texts(one) == ["one", "two", "a2"]
    one.chat.undo_delete()
    await until(lambda: texts(one) == ["one", "a1"])


async def test_what_could_not_be_brought_back_can_be_tried_again(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench([Delta("a1"), DONE])
    await one.say("one")
    one.chat.delete_message(ids(one)[1])
    await until(lambda: texts(one) == ["one"])

    async def full(*_args: Any) -> None:
        raise PaddockError.of("The disk is full", "", "Make room", FailureKind.DISK)

    with monkeypatch.context() as patch:
        patch.setattr(one.stored, "undo_delete_messages", full)
        one.chat.undo_delete()
        await until(lambda: one.host.errors)
    one.host.errors.clear()
    one.chat.undo_delete()
    await until(lambda: texts(one) == ["one", "a1"])


@pytest.mark.parametrize("how", ["stop", "fails"])
async def test_P04_a_prompt_to_compare_that_was_not_stored_is_typed_text_again(
    bench: Make, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    one = await bench()
    one.host.listed = tuple(Model(provider, model, model) for provider, model in PAIR)

    async def refused(*_args: Any, **_more: Any) -> Any:
        raise PaddockError.of("No", "", "", FailureKind.DISK if how == "stop" else FailureKind.PROTOCOL)

    monkeypatch.setattr(one.stored, "add_messages", refused)
    one.chat.compare("which?", PAIR)
    one.chat.save_draft("")
    if how == "stop":
        await until(lambda: one.host.banners.get("save"))
        opened = one.engine.opened  # which may become a stored one while its draft is saved
        await until(lambda: "which?" in (one.stored.draft(opened.new_key), one.stored.draft(opened.draft_key)))  # also while it waits
        one.chat.stop()
    else:
        await until(lambda: one.host.errors)
        one.host.errors.clear()
    await until(lambda: one.chat.view.value.draft == "which?")
    await until(lambda: one.stored.draft(one.engine.opened.draft_key) == "which?")
    assert not one.chat.view.value.queued


async def test_going_on_with_an_answer_changes_the_conversation_it_is_of(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench([Delta("x"), DONE], [Delta("a"), DONE], [Delta("b"), DONE])
    one.host.listed = tuple(Model(provider, model, model) for provider, model in PAIR)
    await one.say("other")
    other = number(one)
    await fresh(one)
    one.chat.compare("which?", PAIR)
    await until(lambda: len(one.chat.view.value.answers) == 2)
    await done(one)
    compared, view = number(one), one.chat.view.value.compare
    assert view is not None
    gate = Gate(monkeypatch, one.stored, "set_tip")
    one.chat.take(view.columns[1].message_id)
    await gate.reached.wait()
    one.chat.open(other)
    await until(lambda: number(one) == other)
    gate.open.set()
    await done(one)
    assert one.chat.view.value.model == "qwen3:8b"
    heads = {head.id: head.model for head in one.stored.heads()}
    assert heads == {other: "qwen3:8b", compared: "phi4:14b"}
    assert compared not in one.engine._shelf.sessions


async def test_what_is_queued_follows_an_edited_prompt_too(bench: Make) -> None:
    hold = asyncio.Event()
    one = await bench([Delta("a1"), DONE], [Delta("b1"), hold, DONE], [Delta("b2"), DONE])
    await one.say("one")
    one.chat.edit(ids(one)[0], "uno")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    one.chat.send("due")
    await until(lambda: one.chat.view.value.queued == ("due",))
    hold.set()
    await until(lambda: len(one.host.lab.requests) == 3)
    await done(one)
    assert texts(one) == ["uno", "b1", "due", "b2"]


async def test_what_is_queued_follows_a_comparison_that_was_left(bench: Make) -> None:
    hold = asyncio.Event()
    one = await bench([Delta("a"), hold, DONE], [Delta("b"), hold, DONE], [Delta("c"), DONE])
    one.host.listed = tuple(Model(provider, model, model) for provider, model in PAIR)
    one.host.loaded = True
    one.chat.compare("which?", PAIR)
    await until(lambda: len(one.chat.view.value.answers) == 2 and one.host.lab.requests)
    one.chat.leave_comparison()
    await until(lambda: one.chat.view.value.compare is None)
    one.chat.send("next")
    await until(lambda: one.chat.view.value.queued == ("next",))
    hold.set()
    await until(lambda: len(one.host.lab.requests) == 3)
    await done(one)
    assert texts(one)[-2:] == ["next", "c"]


async def test_titles_and_summaries_are_sent_only_where_prompts_may_be(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("a2"), DONE], [Delta("never"), DONE], [Delta("never"), DONE])
    await one.say("one")
    await one.say("two")
    one.host.allowed = False
    one.chat.rename(number(one), "")
    await until(lambda: one.host.errors)
    one.host.errors.clear()
    one.chat.summarise(ids(one)[2])
    await until(lambda: one.host.errors)
    one.host.errors.clear()
    await done(one)
    assert len(one.host.lab.requests) == 2


async def test_H07_a_summary_without_its_end_takes_no_place(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("a2"), DONE], [Delta("half of a")], [Delta("also half"), Done("length")])
    await one.say("one")
    await one.say("two")
    for _ in range(2):
        one.chat.summarise(ids(one)[2])
        await until(lambda: one.host.errors)
        one.host.errors.clear()
        await done(one)
        assert texts(one) == ["one", "a1", "two", "a2"]


async def test_what_is_set_while_a_conversation_is_created_is_kept(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench([Delta("a"), DONE])
    real = one.stored.create

    async def late(*args: Any, **more: Any) -> Any:
        head = await real(*args, **more)
        await gate.wait()
        return head

    gate = asyncio.Event()
    monkeypatch.setattr(one.stored, "create", late)
    one.chat.send("go")
    await until(lambda: one.stored.heads())
    one.chat.configure(ConversationSettings(system="Be short"))
    one.chat.use_model("lab", "phi4:14b")
    await until(lambda: one.chat.view.value.model == "phi4:14b")
    gate.set()
    await done(one)
    await until(lambda: one.stored.settings(number(one)).system == "Be short")
    head = one.stored.head(number(one))
    assert head is not None and head.model == "phi4:14b"


async def test_P03_an_answer_of_an_app_that_died_meanwhile_is_interrupted_when_its_chat_is_opened(bench: Make) -> None:
    one = await bench([Delta("a"), DONE])
    await one.say("go")
    first = number(one)
    await fresh(one)
    (answer,) = [message for message in one.stored.all_messages(first) if message.role is Role.ASSISTANT]
    execute(one, f"UPDATE message SET state = 'writing' WHERE id = {answer.id}")
    execute(one, f"UPDATE conversation SET lease_pid = 999999, lease_start = '1', lease_boot = 'x' WHERE id = {first}")
    one.chat.open(first)
    await until(lambda: number(one) == first)
    assert one.chat.view.value.messages[1].state is AnswerState.INTERRUPTED


async def test_P04_who_becomes_the_writer_finds_the_writers_draft_and_settings(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench([Delta("a"), DONE])
    await one.say("go")
    first = number(one)
    await fresh(one)
    writer: list[Identity] = [replace(myself(), pid=1, start="1")]
    monkeypatch.setattr(one.stored, "lease_holder", lambda _number: writer[0] if writer else None)
    real = one.stored.take_lease

    async def take(conversation: int) -> Identity | None:
        return writer[0] if writer else await real(conversation)

    monkeypatch.setattr(one.stored, "take_lease", take)
    one.chat.open(first)
    await until(lambda: number(one) == first)
    assert one.chat.view.value.read_only
    one.chat.save_draft("typed by the reader")
    await until(lambda: one.stored.draft(f"chat:{first}:reader") == "typed by the reader")
    await one.stored.set_draft(f"chat:{first}", "typed by the writer")
    await one.stored.set_settings(first, ConversationSettings(system="Be short"))
    await one.stored.use(first, "lab", "phi4:14b")
    await one.stored.rename(first, "Renamed")
    await one.engine.changed(frozenset({"conversations"}))
    view = one.chat.view.value
    assert (view.title, view.model, view.settings.system) == ("Renamed", "phi4:14b", "Be short") and view.read_only
    writer.clear()
    await one.engine.changed(frozenset({"conversations"}))
    view = one.chat.view.value
    assert not view.read_only and view.draft == "typed by the writer\n\ntyped by the reader"
    await until(lambda: one.stored.draft(f"chat:{first}") == view.draft and not one.stored.draft(f"chat:{first}:reader"))


async def test_a_chat_that_its_writer_deletes_is_said_to_be_gone(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench([Delta("a"), DONE])
    await one.say("go")
    first = number(one)
    await fresh(one)
    writer: list[Identity] = [replace(myself(), pid=1, start="1")]

    async def take(_conversation: int) -> Identity | None:
        return writer[0]

    monkeypatch.setattr(one.stored, "take_lease", take)
    one.chat.open(first)
    await until(lambda: number(one) == first)
    await one.stored.delete(first)
    await one.engine.changed(frozenset({"conversations"}))
    await one.engine.changed(frozenset({"conversations"}))
    assert texts(one) == ["go", "a"] and len(one.host.notices) == 1
    assert "another Paddock deleted it" in one.chat.view.value.read_only


async def test_a_title_given_by_another_app_is_shown(bench: Make) -> None:
    one = await bench([Delta("a"), DONE])
    await one.say("go")
    await one.stored.rename(number(one), "By another")
    await one.stored.set_tags(number(one), ("work",))
    await one.engine.changed(frozenset({"conversations"}))
    assert (one.chat.view.value.title, one.chat.view.value.tags) == ("By another", ("work",))


async def test_a_conversation_whose_work_failed_is_let_go(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench([Delta("a"), DONE])
    await one.say("go")
    first = number(one)

    async def refused(*_args: Any, **_more: Any) -> Any:
        await gate.wait()
        raise PaddockError.of("No", "", "", FailureKind.PROTOCOL)

    gate = asyncio.Event()
    monkeypatch.setattr(one.stored, "add_messages", refused)
    one.chat.send("more")
    await asyncio.sleep(0)
    await fresh(one)
    gate.set()
    await until(lambda: one.host.errors)
    one.host.errors.clear()
    await until(lambda: first not in one.engine._shelf.sessions)


async def test_the_last_answer_after_many_tools_needs_no_prompt(bench: Make) -> None:
    from tui.core.events import ToolCall
    from tui.services.chat.tooling import ROUNDS

    calls = [[ToolCall(str(at), "time", {}), DONE] for at in range(ROUNDS)]
    one = await bench(*calls, [Delta("done"), DONE])
    one.host.choice = "run"
    one.chat.configure(ConversationSettings(tools=("time",)))
    await done(one)
    answer = await one.say("go")
    assert answer.content == "done" and not one.host.notices


async def test_a_draft_typed_while_a_new_chat_is_stored_stays_on_disk(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench([Delta("a"), DONE])
    gate = Gate(monkeypatch, one.stored, "add_messages")
    one.chat.save_draft("go")
    await until(lambda: one.stored.draft("chat:new") == "go")
    one.chat.send("go")
    await gate.reached.wait()
    for _ in range(2):
        one.chat.new()
        await done_opening(one)
        assert one.chat.view.value.draft == ""
    one.chat.save_draft("next idea")
    await until(lambda: one.stored.draft("chat:new") == "next idea")
    gate.open.set()
    await until(lambda: one.stored.heads() and one.host.lab.requests)
    await done(one)
    await until(lambda: one.stored.draft("chat:new") == "next idea")


async def test_what_was_typed_in_a_conversation_that_is_no_longer_shown_is_no_draft_of_the_next(bench: Make) -> None:
    one = await bench([Delta("a"), DONE])
    await one.say("go")
    turn = one.chat.view.value.turn
    one.chat.save_draft("of the first", turn)
    await until(lambda: one.stored.draft(f"chat:{number(one)}") == "of the first")
    one.chat.new()
    one.chat.save_draft("of the first!", turn)
    await until(lambda: number(one) == 0)
    await done(one)
    one.chat.save_draft("of the first!?", turn)
    await done(one)
    assert one.chat.view.value.turn > turn and one.engine.opened.draft == ""
    one.chat.open(1)
    await until(lambda: number(one) == 1)
    assert one.chat.view.value.draft.startswith("of the first")


async def done_opening(one: Bench) -> None:
    await until(lambda: not one.host.tasks)


@pytest.mark.parametrize("step", ["mark_open_answers_interrupted", "purge"])
async def test_D03_chats_are_read_though_a_full_disk_keeps_the_start_from_writing(
    bench: Make, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    one = await bench([Delta("a"), DONE])
    await one.say("go")

    async def full(*_args: Any) -> int:
        raise PaddockError.of("The disk is full", "", "Make room", FailureKind.DISK)

    monkeypatch.setattr(Conversations, step, full)
    two = Bench(one.host.database.path.parent if one.host.database else None, Scripted())
    if step == "purge":
        await two.begin()
        await until(lambda: two.host.errors)
    else:
        with pytest.raises(PaddockError, match="full"):
            await two.begin()
    assert [head.id for head in two.chat.heads.value] == [number(one)] and two.chat.history() == ("go",)
    assert two.chat.view.value.model == "qwen3:8b"
    monkeypatch.undo()
    await two.end()


async def test_P04_what_is_typed_before_the_history_is_open_is_kept(tmp_path: Path) -> None:
    one = Bench(tmp_path, Scripted())
    turn = one.chat.view.value.turn
    await one.begin()
    one.chat.save_draft("half a thought", turn)
    await until(lambda: one.stored.draft(one.engine._open.draft_key) == "half a thought")
    await one.end()
