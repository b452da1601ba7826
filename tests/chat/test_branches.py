"""Branches, edits, deleted messages, context marks, comparisons and titles, as the chats' verbs make them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import DONE, Bench, Make, Scripted, until
from tui.core.chat import AnswerState, Role
from tui.core.events import Delta, Done, Metrics
from tui.core.fit import Machine
from tui.core.models import Model


@pytest.fixture(params=[True, False], ids=["disk", "memory"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Bench] = []

    async def make(*answers: list[Any]) -> Bench:
        made.append(await Bench(tmp_path if request.param else None, Scripted(*answers)).begin())
        return made[-1]

    yield make
    for one in made:
        assert not one.host.errors
        await one.end()


def texts(one: Bench) -> list[str]:
    return [message.content for message in one.chat.view.value.messages]


def ids(one: Bench) -> list[int]:
    return [message.id for message in one.chat.view.value.messages]


async def done(one: Bench) -> None:
    """What was posted has run, and nothing is written."""
    await asyncio.sleep(0)
    await one.idle()


async def test_an_edited_prompt_is_answered_in_a_branch_of_its_own(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("a2"), DONE], [Delta("b1"), DONE])
    await one.say("one")
    await one.say("two")
    first = ids(one)[0]
    one.chat.edit(first, "uno")
    await until(lambda: texts(one) == ["uno", "b1"])
    await done(one)
    assert [message.content for message in one.host.lab.requests[-1].messages] == ["uno"]
    branches = one.chat.view.value.branches
    assert branches[ids(one)[0]] == (first, ids(one)[0])
    one.chat.switch(ids(one)[0], -1)
    await until(lambda: texts(one) == ["one", "a1", "two", "a2"])
    one.chat.switch(first, 1)
    await until(lambda: texts(one) == ["uno", "b1"])


async def test_an_edited_answer_stands_as_if_it_had_been_given(bench: Make) -> None:
    one = await bench([Delta("wrong"), DONE], [Delta("next"), DONE])
    await one.say("go")
    one.chat.edit(ids(one)[1], "right")
    await until(lambda: texts(one) == ["go", "right"])
    await done(one)
    answer = one.chat.view.value.messages[-1]
    assert (answer.note, answer.state, len(one.host.lab.requests)) == ("edited by you", AnswerState.COMPLETE, 1)
    await one.say("on")
    assert [message.content for message in one.host.lab.requests[-1].messages] == ["go", "right", "on"]


async def test_regenerate_with_another_model_and_options_stands_beside(bench: Make) -> None:
    one = await bench([Delta("first"), DONE], [Delta("second"), DONE])
    one.host.listed = (*one.host.listed, Model("lab", "phi4:14b", "phi4:14b"))
    await one.say("go")
    first = ids(one)[1]
    one.chat.regenerate(first, "lab", "phi4:14b", {"temperature": 0.1})
    await until(lambda: texts(one) == ["go", "second"])
    await done(one)
    request, answer = one.host.lab.requests[-1], one.chat.view.value.messages[-1]
    assert (request.model, request.options) == ("phi4:14b", {"temperature": 0.1})
    assert (answer.model, answer.options) == ("phi4:14b", {"temperature": 0.1})
    assert one.chat.view.value.branches[answer.id] == (first, answer.id)
    assert one.chat.view.value.model == "qwen3:8b"


async def test_going_on_from_an_earlier_message_keeps_what_followed(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("a2"), DONE], [Delta("a3"), DONE])
    await one.say("one")
    await one.say("two")
    one.chat.branch(ids(one)[1])
    await until(lambda: texts(one) == ["one", "a1"])
    await one.say("three")
    assert texts(one) == ["one", "a1", "three", "a3"]
    one.chat.switch(ids(one)[2], 1)
    await until(lambda: texts(one) == ["one", "a1", "two", "a2"])


async def test_a_deleted_message_is_not_sent_and_comes_back(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("a2"), DONE], [Delta("a3"), DONE])
    await one.say("one")
    await one.say("two")
    one.chat.delete_message(ids(one)[0])
    await until(lambda: texts(one) == ["a1", "two", "a2"])
    one.chat.undo_delete()
    await until(lambda: texts(one) == ["one", "a1", "two", "a2"])
    one.chat.delete_message(ids(one)[2], following=True)
    await until(lambda: texts(one) == ["one", "a1"])
    await one.say("three")
    assert [message.content for message in one.host.lab.requests[-1].messages] == ["one", "a1", "three"]
    one.chat.delete_message(ids(one)[-1])
    await until(lambda: texts(one) == ["one", "a1", "three"])
    one.chat.undo_delete()
    await until(lambda: texts(one) == ["one", "a1", "three", "a3"])


async def test_nothing_changes_the_tree_while_an_answer_is_written(bench: Make) -> None:
    hold = asyncio.Event()
    one = await bench([Delta("a"), hold, DONE])
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    for verb in (one.chat.regenerate, one.chat.go_on, lambda: one.chat.branch(ids(one)[0]), lambda: one.chat.edit(ids(one)[0], "x")):
        one.host.notices.clear()
        verb()
        await until(lambda: one.host.notices == ["An answer is being written; esc stops it"])
    hold.set()
    await done(one)
    assert texts(one) == ["go", "a"]


async def test_a_mark_drops_the_oldest_and_keeps_what_is_pinned(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("a2"), DONE], [Delta("a3"), DONE], [Delta("a4"), DONE])
    await one.say("one")
    await one.say("two")
    one.chat.pin_message(ids(one)[0], True)
    await until(lambda: one.chat.view.value.messages[0].pinned)
    one.chat.drop_oldest(ids(one)[2])
    await until(lambda: len(texts(one)) == 5)
    assert one.chat.view.value.messages[-1].role is Role.SYSTEM
    await one.say("three")
    assert [message.content for message in one.host.lab.requests[-1].messages] == ["one", "two", "a2", "three"]
    mark = next(message.id for message in one.chat.view.value.messages if message.keep_from)
    one.chat.delete_message(mark)
    await until(lambda: len(texts(one)) == 6)
    await one.say("four")
    assert [message.content for message in one.host.lab.requests[-1].messages] == ["one", "a1", "two", "a2", "three", "a3", "four"]


async def test_a_summary_takes_the_place_of_what_is_dropped(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("a2"), DONE], [Delta("it was about one"), DONE], [Delta("a3"), DONE])
    await one.say("one")
    await one.say("two")
    one.chat.summarise(ids(one)[2])
    await until(lambda: "it was about one" in texts(one))
    await done(one)
    asked = one.host.lab.requests[2].messages
    assert [message.content for message in asked[:-1]] == ["one", "a1"] and asked[-1].role is Role.USER
    await one.say("three")
    request = one.host.lab.requests[-1]
    assert [message.content for message in request.messages] == ["two", "a2", "three"] and "it was about one" in request.system


async def test_a_summary_that_is_stopped_changes_nothing(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("half"), asyncio.Event()])
    await one.say("one")
    await until(lambda: not one.host.tasks)
    one.chat.send("")
    one.chat.summarise(ids(one)[1])
    await until(lambda: one.chat.view.value.waits.startswith("qwen3:8b summarises 1 message"))
    one.chat.stop()
    await done(one)
    assert (texts(one), one.chat.view.value.waits) == (["one", "a1"], "")


async def test_a_title_by_the_model(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta('"A fine title"\nmore'), DONE])
    await one.say("one")
    one.chat.rename(one.chat.view.value.id, "")
    await until(lambda: one.chat.view.value.title == "A fine title")
    assert one.chat.heads.value[0].title == "A fine title"


async def test_tags_and_pins_of_conversations(bench: Make) -> None:
    one = await bench([Delta("a1"), DONE], [Delta("a2"), DONE])
    await one.say("one")
    first = one.chat.view.value.id
    one.chat.tag(first, ["#work", "two words", "work"])
    await until(lambda: one.chat.view.value.tags == ("work", "two-words"))
    one.chat.pin(first, True)
    await until(lambda: one.chat.heads.value[0].pinned)
    one.chat.new()
    await until(lambda: one.chat.view.value.id == 0)
    await one.say("two")
    assert one.chat.heads.value[0].id == first
    found: list[Any] = []
    one.chat.search("#work", found.extend)
    await until(lambda: [hit.head.id for hit in found] == [first])


async def test_an_incognito_conversation_leaves_nothing(tmp_path: Path) -> None:
    one = await Bench(tmp_path, Scripted([Delta("a1"), DONE])).begin()
    one.chat.new(incognito=True)
    await until(lambda: one.chat.view.value.incognito)
    await one.say("a secret")
    assert one.stored.heads() == () and one.stored.prompts() == () and one.stored.draft("chat:new") == ""
    await one.end()
    assert b"a secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


MODELS = (("lab", "qwen3:8b"), ("lab", "phi4:14b"), ("lab", "gemma3:4b"))


async def compared(bench: Make, *answers: list[Any], memory: int = 0, loaded: bool = False) -> Bench:
    one = await bench(*answers)
    one.host.loaded = loaded
    one.host.listed = tuple(Model(provider, model, model, size=4_000_000_000) for provider, model in MODELS)
    one.host.memory = Machine(ram_total=64_000_000_000, ram_free=memory) if memory else None
    return one


async def test_three_models_answer_at_once_where_memory_allows(bench: Make) -> None:
    hold = asyncio.Event()
    last = Done("stop", Metrics(prompt_tokens=20, output_tokens=3))
    one = await compared(bench, *([Delta(text), hold, last] for text in "abc"), memory=60_000_000_000)
    one.chat.compare("which?", MODELS)
    await until(lambda: len(one.host.lab.requests) == 3)
    await until(lambda: len(one.chat.compared.value) == 3 and all(live.buffer.text for live in one.chat.compared.value))
    view = one.chat.view.value
    assert view.compare is not None and view.compare.how.startswith("at once: together they need about")
    assert [column.name for column in view.compare.columns] == [model for _provider, model in MODELS]
    hold.set()
    await done(one)
    view = one.chat.view.value
    assert view.compare is not None
    assert sorted(answer.content for answer in view.answers.values()) == ["a", "b", "c"]
    assert {answer.parent for answer in view.answers.values()} == {view.compare.prompt_id}
    second = view.compare.columns[1].message_id
    one.chat.vote(second)
    await until(lambda: one.chat.view.value.compare and one.chat.view.value.compare.vote == second)
    one.chat.take(second)
    await until(lambda: one.chat.view.value.compare is None)
    assert (one.chat.view.value.model, ids(one)[-1]) == ("phi4:14b", second)
    assert len(one.chat.view.value.branches[second]) == 3
    found: list[Any] = []
    one.chat.votes(found.extend)
    await until(lambda: found)
    assert {(votes.model, votes.won, votes.lost) for votes in found} == {("phi4:14b", 1, 0), ("qwen3:8b", 0, 1), ("gemma3:4b", 0, 1)}
    one.chat.show_comparison(second)
    await until(lambda: one.chat.view.value.compare is not None and one.chat.view.value.compare.vote == second)


async def test_one_after_the_other_where_memory_does_not(bench: Make) -> None:
    first = asyncio.Event()
    one = await compared(bench, [Delta("a"), first, DONE], [Delta("b"), DONE], [Delta("c"), DONE], memory=6_000_000_000)
    one.chat.compare("which?", MODELS, blind=True)
    await until(lambda: one.chat.compared.value and one.chat.compared.value[0].buffer.text)
    view = one.chat.view.value.compare
    assert view is not None and view.how.startswith("one after the other: together they need about")
    assert [(column.name, column.waits) for column in view.columns] == [("A", ""), ("B", "after A"), ("C", "after A")]
    assert len(one.host.lab.requests) == 1
    first.set()
    await done(one)
    assert [answer.content for answer in one.chat.view.value.answers.values()] == ["a", "b", "c"]
    one.chat.vote(-1)
    await until(lambda: one.chat.view.value.compare and one.chat.view.value.compare.columns[0].name == "qwen3:8b")


async def test_stopping_a_comparison_stops_what_has_not_begun(bench: Make) -> None:
    one = await compared(bench, [Delta("a"), asyncio.Event()], memory=6_000_000_000)
    one.chat.compare("which?", MODELS)
    await until(lambda: one.chat.compared.value and one.chat.compared.value[0].buffer.text)
    one.chat.stop()
    await done(one)
    assert [answer.state for answer in one.chat.view.value.answers.values()] == [AnswerState.STOPPED] * 3
    assert len(one.host.lab.requests) == 1
    one.chat.send("more")
    await until(lambda: one.chat.view.value.draft == "more")
    one.chat.leave_comparison()
    await until(lambda: one.chat.view.value.compare is None)


async def test_the_last_prompt_is_compared_where_no_other_is_given(bench: Make) -> None:
    one = await compared(bench, [Delta("a"), DONE], [Delta("b"), DONE], [Delta("c"), DONE], memory=60_000_000_000)
    await one.say("which?")
    one.chat.compare("", MODELS[1:])
    await until(lambda: len(one.chat.view.value.answers) == 2)
    await done(one)
    assert [message.content for message in one.host.lab.requests[-1].messages] == ["which?"]
    one.chat.compare("", MODELS[:1])
    await until(lambda: "A comparison is of two to four models" in one.host.notices)


async def test_one_of_the_compared_answers_again_in_its_column(bench: Make) -> None:
    one = await compared(bench, [Delta("a"), DONE], [Delta("b"), DONE], [Delta("better"), DONE], memory=60_000_000_000)
    one.chat.compare("which?", MODELS[:2])
    await until(lambda: len(one.chat.view.value.answers) == 2)
    await done(one)
    view = one.chat.view.value.compare
    assert view is not None
    old, other = view.columns[0].message_id, view.columns[1].message_id
    one.chat.regenerate(old)
    await until(lambda: len(one.host.lab.requests) == 3)
    await done(one)
    view = one.chat.view.value.compare
    assert view is not None and view.columns[1].message_id == other
    fresh = view.columns[0].message_id
    assert fresh != old and one.chat.view.value.answers[fresh].content == "better"
    assert one.host.lab.requests[-1].model == "qwen3:8b"
    one.chat.take(other)
    await until(lambda: one.chat.view.value.compare is None)
    assert set(one.chat.view.value.branches[other]) == {old, other, fresh}
    one.chat.show_comparison(other)
    await until(lambda: one.chat.view.value.compare is not None)
    assert {column.message_id for column in one.chat.view.value.compare.columns} == {other, fresh}
