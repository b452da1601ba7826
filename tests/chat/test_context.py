"""What is sent, how full the context is, and noticing that the model saw less."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import llama
from tui.core.chat import AnswerState, Attachment, AttachmentKind, Message, Role
from tui.core.events import Metrics
from tui.core.fit import Machine
from tui.core.models import Model, ModelDetail, RunningModel
from tui.services.chat import context
from tui.services.chat.asking import title_of
from tui.services.chat.context import Place, Sent, check, oldest_to_drop, sent
from tui.services.chat.tokens import UNMEASURED, Calibration, estimate, weight


def user(text: str, number: int = 0, **more: Any) -> Message:
    return Message(number, 1, 0, Role.USER, text, **more)


def answer(text: str, seen: int | None = None, told: int | None = None, wrote: int = 5, number: int = 0, **more: Any) -> Message:
    metrics = Metrics(prompt_tokens=seen, output_tokens=wrote)
    return Message(number, 1, 0, Role.ASSISTANT, text, model="m", metrics=metrics, prompt_estimate=told, **more)


def tool(text: str, call: str = "", **more: Any) -> Message:
    return Message(0, 1, 0, Role.TOOL, text, tool_call_id=call, tool_name="time", **more)


def mark(keep_from: int, summary: str = "", number: int = 0) -> Message:
    return Message(number, 1, 0, Role.SYSTEM, summary, keep_from=keep_from)


def texts(branch: Sequence[Message]) -> list[str]:
    return [message.content for message in sent(branch).messages]


# --- what is sent ------------------------------------------------------------------------------------------------------


def test_empty_answers_are_not_sent_and_of_two_in_a_row_the_last_is() -> None:
    assert texts([user("a"), answer("one"), answer("two"), user("b"), answer("")]) == ["a", "two", "b"]
    assert texts([user("a"), answer(" \n"), answer("", thinking="hm"), user("b")]) == ["a", "b"]


def test_after_a_mark_only_what_it_keeps_and_what_is_pinned_is_sent() -> None:
    branch = [user("a", 1), answer("b", number=2), user("c", 3, pinned=True), answer("d", number=4), user("e", 5), answer("f", number=6)]
    assert texts([*branch, mark(5), user("g", 8)]) == ["c", "e", "f", "g"]
    assert texts([*branch, mark(3), mark(5), user("g", 8)]) == ["c", "e", "f", "g"]
    assert texts(branch) == ["a", "b", "c", "d", "e", "f"]


def test_a_mark_whose_message_was_deleted_keeps_from_the_next_one() -> None:
    branch = [user("a", 1), answer("b", number=2), user("e", 5), mark(4), user("g", 8)]
    assert texts(branch) == ["e", "g"]
    assert texts([user("a", 1), mark(99)]) == []


def test_the_summary_of_the_last_mark_belongs_to_the_system_prompt() -> None:
    found = sent([user("a", 1), mark(3, "old"), user("c", 3), mark(5, "They spoke of a and c."), user("e", 5)])
    assert found.summary == "They spoke of a and c."
    assert found.system("Be brief.") == "Be brief.\n\nSummary of the conversation so far:\nThey spoke of a and c."
    assert Sent(()).system("Be brief.") == "Be brief."
    assert sent([user("a", 1), mark(1)]).system("") == ""


CALL = ({"id": "x", "function": {"name": "time", "arguments": {}}},)
TWO = (*CALL, {"id": "y", "function": {"name": "time", "arguments": {}}})
BARE = ({"function": {"name": "time", "arguments": {}}},)


@pytest.mark.parametrize(
    ("branch", "expected"),
    [
        ([user("a"), answer("", tool_calls=CALL), tool("12:00", "x"), answer("noon")], ["a", "", "12:00", "noon"]),
        ([user("a"), answer("", tool_calls=BARE), tool("12:00"), answer("noon")], ["a", "", "12:00", "noon"]),
        ([user("a"), answer("I look", tool_calls=TWO), tool("12:00", "x"), answer("noon")], ["a", "noon"]),
        ([user("a"), answer("I look", tool_calls=TWO), tool("12:00", "x"), user("b")], ["a", "I look", "b"]),
        ([user("a"), answer("", tool_calls=CALL), tool("12:00", "z"), user("b")], ["a", "b"]),
        ([user("a"), tool("12:00", "x"), user("b")], ["a", "b"]),
        ([user("a"), answer("", tool_calls=CALL)], ["a"]),
        ([user("a", 1), answer("", tool_calls=CALL, pinned=True), tool("12:00", "x"), answer("noon"), user("b", 9), mark(9)], ["b"]),
    ],
)  # fmt: skip
def test_calls_of_tools_go_with_all_their_results_or_not_at_all(branch: list[Message], expected: list[str]) -> None:
    assert texts(branch) == expected
    for message in sent(branch).messages:
        assert not message.tool_calls or "12:00" in texts(branch)


ANY = st.lists(
    st.tuples(
        st.sampled_from(["user", "answer", "empty", "calls", "tool", "mark", "summary"]), st.booleans(), st.integers(0, 12)
    ),
    max_size=14,
)  # fmt: skip


def built(steps: list[tuple[str, bool, int]]) -> list[Message]:
    branch: list[Message] = []
    for number, (kind, pinned, other) in enumerate(steps, 1):
        if kind == "user":
            branch.append(user(f"u{number}", number, pinned=pinned))
        elif kind in ("answer", "empty"):
            branch.append(answer("" if kind == "empty" else f"a{number}", number=number, pinned=pinned))
        elif kind == "calls":
            branch.append(answer("", number=number, pinned=pinned, tool_calls=CALL if other % 2 else TWO))
        elif kind == "tool":
            branch.append(replace(tool(f"t{number}", "x" if other % 2 else "y"), id=number, pinned=pinned))
        else:
            branch.append(mark(max(1, other), "s" if kind == "summary" else "", number))
    return branch


@given(ANY)
def test_whatever_the_branch_is_what_is_sent_is_whole(steps: list[tuple[str, bool, int]]) -> None:
    branch = built(steps)
    found = sent(branch).messages
    assert not any(context.is_mark(message) for message in found)
    assert [message.id for message in found] == sorted(message.id for message in found)
    for index, message in enumerate(found):
        if message.role is Role.TOOL:
            assert any(before.tool_calls for before in found[:index])
        if message.role is Role.ASSISTANT:
            assert message.content.strip() or message.tool_calls
            assert not (index + 1 < len(found) and found[index + 1].role is Role.ASSISTANT and not message.tool_calls)
        if message.tool_calls:
            results = [after for after in found[index + 1 : index + 1 + len(message.tool_calls)] if after.role is Role.TOOL]
            assert len(results) >= len(message.tool_calls)
    for message in branch:
        if message.role is Role.USER and message.pinned:
            assert message.id in {one.id for one in found}


# --- how full ----------------------------------------------------------------------------------------------------------


def test_reported_figures_win_and_what_came_after_is_estimated() -> None:
    assert context.usage([user("hi"), answer("yes", 30)]) == context.Usage(35, False)
    assert context.usage([user("hi"), answer("yes", 30), user("x" * 36)]) == context.Usage(35 + 14, True)
    assert context.usage([]) == context.Usage(None, True)


def test_figures_of_before_a_mark_do_not_count_after_it() -> None:
    branch = [user("a" * 36, 1), answer("b" * 36, 900, number=2), user("c" * 36, 3), mark(3, number=4)]
    assert context.usage(branch) == context.Usage(14, True)
    assert context.usage([*branch, answer("d", 20, number=5)]) == context.Usage(25, False)


def test_what_comes_next_is_what_was_counted_and_the_rest_weighed() -> None:
    branch = [user("hi"), answer("y" * 36, 30, 31, wrote=900, thinking="z" * 9000), user("x" * 36)]
    assert context.upcoming(branch, model="m") == 30 + 14 + 14
    assert context.upcoming(branch, model="other") == estimate(branch)
    cut = [user("hi"), answer("y" * 36, 30, 310), user("x" * 36)]
    assert context.upcoming(cut, model="m") == estimate(cut)


def test_window_of_the_loaded_model_then_of_the_options() -> None:
    running = [RunningModel("lab", "qwen3:latest", "qwen3:latest", context=4096)]
    assert context.window("lab", "qwen3", running, {"num_ctx": 99}) == 4096
    assert context.window("other", "qwen3", running, {"num_ctx": 99}) == 99
    assert context.window("other", "qwen3", running, {}) is None


# --- before it is sent -------------------------------------------------------------------------------------------------

INFO = {name: value for name, value in llama.INFO.items() if name != "llama.vocab_size"}
"""Without the buffers that a vocabulary takes."""
DETAIL = ModelDetail("lab", "m", info=INFO, context=131_072)
MACHINE = Machine(ram_total=32 * 10**9, ram_free=20 * 10**9, gpu_total=24 * 10**9, gpu_free=9 * 10**9, gpus=1)


def place(**more: Any) -> Place:
    running = more.pop("running", (RunningModel("lab", "m", "m", context=8192, vram=6 * 10**9),))
    values: dict[str, Any] = {"running": running, "detail": DETAIL, "listed": Model("lab", "m", "m", size=5 * 10**9), "machine": MACHINE}
    return Place("lab", "m", **{**values, **more})


LONG = [user("word " * 7000)]  # about 9,700 tokens


def test_it_fits() -> None:
    found = check([user("hi")], place())
    assert (found.window, found.over, found.larger, found.costs) == (8192, False, None, "")


def test_a_larger_context_is_offered_with_what_it_costs() -> None:
    found = check(LONG, place())
    assert 9000 < found.tokens < 10_500
    assert (found.over, found.larger) == (True, 16_384)
    assert found.costs == "about +1.1 GB, 7.9 GB of 24 GB free after it"  # 128 KiB a token: ollama-api 6.5


def test_the_room_for_the_answer_counts() -> None:
    almost = [user("word " * 5400)]  # about 7,500
    assert check(almost, place()).over
    assert not check(almost, place(), options={"num_predict": 100}).over


def test_what_is_too_much_for_the_memory_is_said() -> None:
    small = replace(MACHINE, gpu_free=10**9)
    assert check(LONG, place(machine=small)).costs == "about +1.1 GB, only 1.0 GB of 24 GB is free"
    ram = check(LONG, place(running=(RunningModel("lab", "m", "m", context=8192, vram=0),))).costs
    assert ram == "about +1.1 GB, 19 GB of 32 GB free after it"


def test_of_another_machine_only_the_cost_is_said_and_without_a_shape_a_guess() -> None:
    assert check(LONG, place(machine=None)).costs == "about +1.1 GB"
    assert check(LONG, place(detail=ModelDetail("lab", "m", context=131_072), machine=None)).costs.startswith("about +")
    assert check(LONG, place(detail=ModelDetail("lab", "m", context=131_072), machine=None, listed=None)).costs == ""


def test_nothing_is_offered_that_cannot_be_had() -> None:
    assert check(LONG, place(settable=False)).larger is None
    trained = replace(DETAIL, context=8192, info={**INFO, "llama.context_length": 8192})
    assert check(LONG, place(detail=trained)).larger is None
    odd = replace(DETAIL, context=12_000)
    assert check(LONG, place(detail=odd)).larger == 12_000
    assert check(LONG * 4, place(detail=odd)).larger is None
    assert check(LONG, place(running=(), detail=None)).window is None


def test_what_is_asked_for_counts_not_what_is_loaded() -> None:
    assert check(LONG, place(), options={"num_ctx": 32_768}).window == 32_768
    assert check(LONG, place(settable=False), options={"num_ctx": 32_768}).window == 8192
    assert check(LONG, place(), options={"num_ctx": 10**7}).window == 131_072
    own = replace(DETAIL, options=(("num_ctx", "16384"),))
    assert check(LONG, place(running=(), detail=own)).window == 16_384


def test_files_images_and_tools_are_part_of_it() -> None:
    plain = check([user("hi")], place()).tokens
    assert check([user("hi", attachments=(Attachment("f", text="word " * 1000),))], place()).tokens > plain + 1000
    assert check([user("hi", attachments=(Attachment("p", AttachmentKind.IMAGE),))], place()).tokens == plain + 768
    assert check([user("hi")], place(), tools=({"function": {"name": "time", "description": "x" * 360}},)).tokens > plain + 100


# --- dropping ----------------------------------------------------------------------------------------------------------


def chat(turns: int, words: int = 100) -> list[Message]:
    branch: list[Message] = []
    for turn in range(turns):
        branch += [user("word " * words, 2 * turn + 1), answer("word " * words, number=2 * turn + 2)]
    return branch


def test_as_much_as_needed_is_dropped_and_some_more() -> None:
    branch = [*chat(20), user("and now?", 41)]
    keep = oldest_to_drop(branch, 4096)
    left = [*branch, mark(keep, number=42)]
    assert next(message for message in branch if message.id == keep).role is Role.USER
    assert estimate(sent(left).messages) <= 0.75 * 4096
    earlier = keep - 2
    assert estimate(sent([*branch, mark(earlier, number=42)]).messages) > 0.75 * 4096
    assert oldest_to_drop(left, 4096) > keep  # once more drops more


def test_the_last_prompt_always_stays_and_with_nothing_before_it_nothing_is_dropped() -> None:
    assert oldest_to_drop([*chat(3, 5000), user("word " * 9000, 99)], 4096) == 99
    assert oldest_to_drop([user("word " * 9000, 1)], 4096) == 0
    assert oldest_to_drop([], 4096) == 0


@given(st.integers(1, 25), st.integers(1, 400), st.integers(256, 20_000), st.sets(st.integers(1, 50), max_size=4))
def test_after_dropping_it_fits_or_only_the_last_exchange_is_left(turns: int, words: int, served: int, pinned: set[int]) -> None:
    branch = [replace(message, pinned=message.id in pinned) for message in [*chat(turns, words), user("and now?", 999)]]
    keep = oldest_to_drop(branch, served)
    assert keep
    fits = estimate(sent([*branch, mark(keep, number=1000)]).messages) <= 0.75 * served + 8
    assert fits or keep == 999


# --- after it was sent -------------------------------------------------------------------------------------------------


def words(number: int) -> str:
    return "word " * number  # 1.39 tokens each by our default


def test_recording_11_a_prompt_cut_at_the_window() -> None:
    prompt = [user("hello " * 3000)]
    assert context.alarm(answer("c", 256, estimate(prompt)), prompt, 256) == "the model saw 256 of about 5,000 tokens; oldest dropped"


def test_recording_11_older_messages_dropped_whole() -> None:
    branch = [user("first " * 100), answer("second " * 100), user("go on")]
    told = estimate(branch)
    assert context.alarm(answer("c", 22, told), branch, 128) == f"the model saw 22 of about {told} tokens; oldest dropped"


def test_recording_19_nothing_came_of_a_prompt_that_is_too_long() -> None:
    prompt = [user(words(900))]
    nothing = replace(answer("", None, estimate(prompt)), state=AnswerState.INTERRUPTED)
    assert context.alarm(nothing, prompt, 512) == "about 1,300 tokens were sent; the context holds 512"
    assert context.alarm(nothing, prompt, 4096) == context.alarm(nothing, prompt, None) == ""
    assert context.alarm(replace(nothing, content="x"), prompt, 512) == ""


def test_recording_12_images_that_a_model_ignores_are_no_alarm() -> None:
    branch = [user("what is this", attachments=(Attachment("p", AttachmentKind.IMAGE),) * 6), answer("x"), user("well")]
    assert context.alarm(answer("c", 20, estimate(branch)), branch, 4096) == ""


def test_tools_that_a_template_drops_are_no_alarm() -> None:
    tools = [{"function": {"name": "time", "description": words(3000)}}]
    branch = [user("a"), answer("b"), user("what time is it")]
    assert context.alarm(answer("c", 20, estimate(branch, tools=tools)), branch, 4096) == ""


def test_a_cache_hit_is_no_alarm() -> None:
    """Counts include what came from the cache (ollama-api 2.5)."""
    branch = [user(words(400)), answer("b", 570, 560), user("and?")]
    assert context.alarm(answer("c", 580, estimate(branch)), branch, 4096) == ""


def test_less_than_an_earlier_answer_saw_is_an_alarm_though_the_window_is_unknown() -> None:
    branch = [user(words(400), 1), answer("b", 560, 560, number=2), user(words(100), 3)]
    now = answer("c", 150, estimate(branch), number=4)
    assert context.alarm(now, branch, None)
    assert not context.alarm(replace(now, model="other"), branch, None)
    assert not context.alarm(now, [*branch[:2], mark(3, number=9), branch[2]], None)  # we sent less ourselves
    assert not context.alarm(now, branch, 32_768)  # it cannot have been too long


def test_a_guess_alone_is_no_proof() -> None:
    assert context.alarm(answer("c", 22, 270), [user("a")], None) == ""
    assert context.alarm(answer("c", 250, 270), [user("a")], 256) == ""
    assert context.alarm(answer("c", None, 270), [user("a")], 128) == ""
    assert context.alarm(answer("c", 22, None), [user("a")], 128) == ""


def test_a_count_above_the_window_means_that_the_window_is_wrong() -> None:
    assert context.alarm(answer("c", 5000, 9000), [user(words(6000))], 4096) == ""


RECORDED = Path(__file__).parents[1] / "recordings"


def recorded() -> Iterator[tuple[str, list[Message], int, int | None]]:
    """Every prompt of the recordings that a server counted: where, messages, its count, `num_ctx`."""
    for file in sorted(RECORDED.glob("*/*.jsonl")):
        body: Any = None
        for line in file.read_text("utf-8").splitlines():
            entry = json.loads(line)
            body = entry["request"].get("body") if "request" in entry else body
            counted = re.search(r'"prompt_(?:eval_count|tokens)": ?(\d+)', entry.get("data", ""))
            if counted and isinstance(body, dict) and body.get("messages"):
                branch = [Message(0, 1, 0, Role(one["role"]), str(one.get("content") or "")) for one in body["messages"]]
                yield f"{file.parent.name}/{file.name}", branch, int(counted[1]), (body.get("options") or {}).get("num_ctx")


def test_recordings_of_real_servers_alarm_where_they_cut_and_nowhere_else() -> None:
    alarms: dict[str, int] = {}
    prompts = list(recorded())
    for name, branch, counted, asked in prompts:
        told = estimate(branch)
        for served in (asked or 4096, None) if not asked else (asked,):
            if context.alarm(answer("c", counted, told), branch, served):
                alarms[name] = alarms.get(name, 0) + 1
    assert alarms == {"ollama-0.24/chat.jsonl": 1, "ollama-0.24/chat_length.jsonl": 1}
    assert len(prompts) >= 25


class Server:
    """Counts tokens its own way, and may drop or cut like Ollama: whole messages first, the last one at the window."""

    def __init__(self, seed: int, base: int, error: float) -> None:
        self.random = random.Random(seed)
        self.base = base
        self.error = error
        self.cost: dict[str, int] = {}

    def tokens(self, text: str) -> int:
        return self.cost.setdefault(text, max(1, round(weight(text) / 3.6 * (1 + self.random.uniform(-self.error, self.error)))) + 4)

    def all(self, messages: Sequence[Message]) -> int:
        return self.base + sum(self.tokens(message.content) for message in messages)

    def cut(self, messages: Sequence[Message], served: int) -> int:
        for first in range(len(messages)):
            if self.all(messages[first:]) <= served:
                return self.all(messages[first:])
        return served


TURNS = st.lists(st.integers(1, 700), min_size=1, max_size=12)


def conversation(turns: list[int]) -> list[Message]:
    branch: list[Message] = []
    for number, length in enumerate(turns, 1):
        text = f"{number} {words(length)}"
        branch.append(user(text, number) if number % 2 else answer(text, number=number))
    return branch if len(turns) % 2 else [*branch, user("and then?", 99)]


@settings(max_examples=300)
@given(TURNS, st.integers(0, 99), st.integers(0, 200), st.floats(0, 0.2), st.floats(1.0, 30), st.sampled_from([0, 1, 5]))
def test_no_false_alarm_by_a_server_that_does_not_cut(
    turns: list[int], seed: int, base: int, error: float, room: float, measured: int
) -> None:
    branch = conversation(turns)
    server = Server(seed, base, error)
    really = server.all(branch)
    known = Calibration(3.6, float(base), measured) if measured else UNMEASURED
    now = answer("c", really, estimate(branch, "", known))
    for served in (round(really * room) + 1, None):
        assert context.alarm(now, branch, served, calibration=known) == ""


@settings(max_examples=300)
@given(TURNS, st.integers(0, 99), st.integers(0, 60), st.floats(0, 0.1), st.floats(0.1, 0.95))
def test_always_an_alarm_when_30_percent_are_cut(turns: list[int], seed: int, base: int, error: float, room: float) -> None:
    branch = conversation(turns)
    server = Server(seed, base, error)
    really = server.all(branch)
    served = max(64, round(really * room))
    seen = server.cut(branch, served)
    if seen > 0.7 * really:
        return
    known = Calibration(3.6, float(base), 5)
    now = answer("c", seen, estimate(branch, "", known))
    assert context.alarm(now, branch, served, calibration=known)


# --- the rest ----------------------------------------------------------------------------------------------------------


def test_a_part_can_be_continued() -> None:
    cut = Message(0, 1, 0, Role.ASSISTANT, "x", state=AnswerState.STOPPED)
    assert context.can_continue(cut) and not context.can_continue(answer("x"))


def test_titles_are_the_first_words() -> None:
    assert title_of("\n# Which quantization?\nmore") == "Which quantization?"
    assert title_of("word " * 40) == "word word word word word word word word word\u2026"
