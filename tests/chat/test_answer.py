"""One streaming answer against a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.chat.host import until
from tui.core.chat import AnswerState, Message, Role, Timeline
from tui.core.clock import ManualClock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Delta, Done, Metrics, PromptProgress, Thinking, ToolCall
from tui.services.chat.answer import Answer, Surroundings
from tui.services.chat.api import LiveAnswer

ROW = Message(7, 1, 1, Role.ASSISTANT, "", state=AnswerState.WAITING, provider="lab", model="qwen3:8b")


class Kept:
    """A saver that keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.finished: list[Message] = []

    async def append(self, message: int, content: str, thinking: str) -> None:
        self.pieces.append(content + thinking)

    async def finish(self, message: Message) -> None:
        self.finished.append(message)


class Rig:
    """An answer whose stream is fed by hand, its surroundings, and everything it showed."""

    def __init__(self, row: Message = ROW, **around: Any) -> None:
        self.clock = ManualClock()
        self.loaded: bool | None = True
        self.slots: tuple[int, int] | None = None
        self.log = ""
        self.looks: list[float] = []
        self.shown: list[LiveAnswer] = []
        self.saver = Kept()
        self.closed = False
        self._feed: asyncio.Queue[Any] = asyncio.Queue()
        surroundings = Surroundings(
            self.clock, lambda: self.loaded, around.pop("last_load", None), self.shown.append, tick=0.005,
            slots=lambda: self.slots, log=lambda: self.log, again=0.005, look=lambda: self.looks.append(self.clock.monotonic()),
        )  # fmt: skip
        self.slots = around.pop("slots", None)
        self.answer = Answer(row, self._stream, self.saver, surroundings)
        self.task: asyncio.Task[Message] | None = None

    async def _stream(self) -> AsyncIterator[Any]:
        try:
            while (event := await self._feed.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed = True

    async def start(self) -> Rig:
        self.task = asyncio.ensure_future(self.answer.run())
        await until(lambda: self.shown)
        return self

    @property
    def live(self) -> LiveAnswer:
        return self.answer.snapshot

    async def says(self, note: str, phase: str) -> None:
        await until(lambda: (self.live.note, self.live.phase) == (note, phase))

    async def get(self, *events: Any, after: float = 0.0) -> None:
        """Have events arrive, each `after` seconds after the one before."""
        for event in events:
            self.clock.advance(after)
            self._feed.put_nowait(event)
            await until(self._feed.empty)
            await asyncio.sleep(0)

    async def end(self, *events: Any) -> Message:
        """Have the last events arrive; None is the end of the stream without an end mark."""
        for event in events:
            self._feed.put_nowait(event)
        assert self.task is not None
        return await asyncio.wait_for(self.task, 5)


def failure(kind: FailureKind) -> PaddockError:
    return PaddockError.of("x", kind=kind)


# --- what is waited for ------------------------------------------------------------------------------------------------


async def test_H02_P23_waiting_says_how_long_and_stopping_ends_it() -> None:
    one = await Rig().start()
    one.clock.advance(37)
    await one.says("waiting for the first token, 37s", "waiting")
    one.answer.stop()
    ended = await one.end()
    assert (ended.state, ended.content, ended.timeline) == (AnswerState.STOPPED, "", Timeline(waited=37))
    assert one.closed


async def test_P32_H03_a_load_of_minutes_is_a_wait_with_the_last_time_and_the_servers_own_words() -> None:
    one = await Rig(last_load=22.0).start()
    one.loaded = False
    await until(lambda: one.live.phase == "loading")
    one.clock.advance(14)
    await one.says("loading qwen3:8b, 14s (last time 22s)", "loading")
    one.log = "load_tensors: \x1b[31moffloading 12 layers"
    one.clock.advance(166)
    await until(lambda: one.live.note.startswith("loading qwen3:8b, 3m00s (last time 22s); load_tensors: "))
    assert "\x1b" not in one.live.note
    one.loaded = True
    await until(lambda: one.live.phase == "reading")
    one.clock.advance(5)
    await one.says("reading the prompt, 5.0s", "reading")
    await one.get(Delta("a"))
    ended = await one.end(Done("stop"))
    assert (ended.content, ended.state) == ("a", AnswerState.COMPLETE)
    assert ended.timeline == Timeline(loaded=180, read=5, first_token=185, wrote=0)


async def test_a_load_that_no_earlier_one_is_known_of_and_how_often_is_looked() -> None:
    one = await Rig().start()
    assert one.looks == []
    one.loaded = False
    await one.says("loading qwen3:8b, 0.0s", "loading")
    one.clock.advance(1.9)
    await one.says("loading qwen3:8b, 1.9s", "loading")
    one.clock.advance(0.1)
    await until(lambda: one.looks == [0, 2.0])
    one.answer.stop()
    await one.end()


async def test_P32_a_server_that_refuses_while_it_loads_is_asked_again() -> None:
    one, attempts = Rig(last_load=22.0), []
    one.loaded = None
    answers = one.answer._open_stream

    async def loading() -> AsyncIterator[Any]:
        attempts.append(one.clock.monotonic())
        if one.clock.monotonic() < 14:
            raise failure(FailureKind.LOADING)
        async for event in answers():
            yield event

    one.answer._open_stream = loading
    await one.start()
    await until(lambda: len(attempts) > 2)
    assert one.live.phase == "loading"
    one.clock.advance(13)
    await one.says("loading qwen3:8b, 13s (last time 22s)", "loading")
    one.clock.advance(1)
    ended = await one.end(PromptProgress(1, 2), Delta("a"), Done("stop"))
    assert (ended.state, ended.content, ended.timeline.loaded) == (AnswerState.COMPLETE, "a", 14)


async def test_P23_P34_such_a_wait_can_be_stopped_and_has_an_end() -> None:
    one = Rig()
    one.answer._open_stream = lambda: _refusing()
    await one.start()
    await until(lambda: one.live.phase == "loading")
    one.answer.stop()
    assert (await one.end()).state is AnswerState.STOPPED
    late = Rig()
    late.answer._open_stream = lambda: _refusing()
    await late.start()
    late.clock.advance(3601)
    ended = await late.end()
    assert ended.state is AnswerState.FAILED
    assert ended.failure is not None and ended.failure.kind is FailureKind.LOADING


async def _refusing() -> AsyncIterator[Any]:
    raise failure(FailureKind.LOADING)
    yield


async def test_a_server_that_says_nothing_of_its_memory_is_just_waited_for() -> None:
    one = Rig()
    one.loaded = None
    await one.start()
    one.clock.advance(100)
    await one.says("waiting for the first token, 1m40s", "waiting")
    ended = await one.end(Delta("a"), Done("stop"))
    assert ended.timeline.loaded is None
    assert ended.timeline.waited == 100


async def test_the_servers_own_queue_is_named_while_it_was_full_when_we_came() -> None:
    one = await Rig(slots=(4, 4)).start()
    one.clock.advance(9)
    await one.says("waiting in the server's queue, 9.0s; it works at 4 of 4 requests", "waiting")
    one.slots = (3, 4)
    await one.says("waiting for the first token, 9.0s", "waiting")
    one.slots = (4, 4)  # one of them may be ours now
    one.clock.advance(1)
    await one.says("waiting for the first token, 10s", "waiting")
    one.answer.stop()
    await one.end()


async def test_reading_the_prompt_says_how_far() -> None:
    one = await Rig().start()
    await one.get(PromptProgress(10, 20))
    await one.says("reading the prompt, 10 of 20 tokens", "reading")
    one.answer.stop()
    await one.end()


# --- silence -----------------------------------------------------------------------------------------------------------


async def test_H09_P33_silence_is_told_and_never_ends_the_answer() -> None:
    one = await Rig().start()
    await one.get(Delta("a"))
    one.clock.advance(15)
    await one.says("no data for 15s", "writing")
    one.clock.advance(1)
    await one.says("no data for 16s", "writing")
    one.clock.advance(44)
    await one.says("stalled: no data for 1m00s", "stalled")
    one.clock.advance(100_000)
    await one.says("stalled: no data for 28 h", "stalled")
    await one.get(Delta("b"))
    await until(lambda: (one.live.phase, one.live.note) == ("writing", ""))
    ended = await one.end(Done("stop"))
    assert ended.state is AnswerState.COMPLETE
    assert ended.timeline.stalled == ended.timeline.wrote == 100_060


async def test_P33_silence_while_the_prompt_is_read_is_a_stall_as_well() -> None:
    one = await Rig().start()
    await one.get(PromptProgress(10, 20))
    one.clock.advance(20)
    await one.says("reading the prompt, 10 of 20 tokens; no data for 20s", "reading")
    one.clock.advance(40)
    await one.says("stalled: no data for 1m00s", "stalled")
    await one.get(PromptProgress(20, 20))
    await one.says("reading the prompt, 20 of 20 tokens", "reading")
    ended = await one.end(Delta("a"), Done("stop"))
    assert (ended.timeline.read, ended.timeline.stalled) == (60, None)


# --- the figures -------------------------------------------------------------------------------------------------------


async def test_what_we_measured_and_what_the_server_says_are_never_mixed() -> None:
    told = Metrics(prompt_tokens=9, output_tokens=4, prompt_seconds=0.5, output_seconds=0.1, load_seconds=3.0, total_seconds=4.0)
    one = await Rig().start()
    await one.get(PromptProgress(10, 20), after=1)
    await one.get(Thinking("hm"), after=2)
    await one.get(Delta("aaa"), Delta("aaa"), Delta("aaa"), after=1)
    ended = await one.end(Done("stop", told))
    assert ended.metrics == told
    assert ended.timeline == Timeline(waited=1, read=2, wrote=3, first_token=3, thought=1, rate=1.0)


async def test_without_a_count_of_the_server_pieces_are_counted_and_that_is_marked() -> None:
    one = await Rig().start()
    await one.get(Delta("a"), *[Delta("b")] * 10, after=0.5)
    ended = await one.end(Done("stop"))
    assert (ended.timeline.rate, ended.timeline.rate_estimated) == (2.0, True)
    assert one.live.pieces == 11


async def test_a_tool_call_counts_as_written() -> None:
    one = await Rig().start()
    await one.get(ToolCall("1", "time", {"zone": "UTC"}), after=3)
    ended = await one.end(Done("tool_calls"))
    assert (ended.timeline.first_token, ended.state) == (3, AnswerState.COMPLETE)
    assert ended.tool_calls == ({"id": "1", "function": {"name": "time", "arguments": {"zone": "UTC"}}},)


async def test_time_counts_from_running_not_from_making() -> None:
    one = Rig()
    one.clock.advance(50)
    await one.start()
    await one.get(Delta("a"), after=1)
    assert (await one.end(Done("stop"))).timeline.first_token == 1


async def test_P23_the_end_is_when_it_was_stopped_not_when_the_server_let_go() -> None:
    one = await Rig().start()
    await one.get(Delta("a"))
    one.clock.advance(10)
    one.answer.stop()
    one.clock.advance(5)
    ended = await one.end()
    assert (ended.timeline.wrote, ended.timeline.stalled) == (10, 10)


# --- five ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (Done("stop"), AnswerState.COMPLETE),
        (Done("tool_calls"), AnswerState.COMPLETE),
        (Done("length"), AnswerState.LENGTH),
        (Done("LENGTH"), AnswerState.LENGTH),
        (Done("abort"), AnswerState.INTERRUPTED),
        (Done("content_filter"), AnswerState.INTERRUPTED),
        (failure(FailureKind.INTERRUPTED), AnswerState.INTERRUPTED),  # H05
        (failure(FailureKind.TIMEOUT), AnswerState.INTERRUPTED),
        (failure(FailureKind.UNREACHABLE), AnswerState.INTERRUPTED),
        (failure(FailureKind.SERVER), AnswerState.FAILED),  # H10
        (failure(FailureKind.PROTOCOL), AnswerState.FAILED),  # H18
        (ValueError("boo"), AnswerState.FAILED),
        (None, AnswerState.INTERRUPTED),  # H07
    ],
)
async def test_H05_H07_H10_P03_every_end_is_what_it_was_and_keeps_what_came(last: Any, state: AnswerState) -> None:
    one = await Rig().start()
    ended = await one.end(Delta("some "), Delta("text"), last)
    assert (ended.content, ended.state) == ("some text", state)
    assert (ended.failure is None) is (state in (AnswerState.COMPLETE, AnswerState.LENGTH))
    assert one.saver.finished == [ended]
    assert one.live.state is state


@pytest.mark.parametrize("kind", [FailureKind.TIMEOUT, FailureKind.UNREACHABLE, FailureKind.NOT_FOUND, FailureKind.BUSY])
async def test_H01_what_fails_before_the_first_token_failed(kind: FailureKind) -> None:
    ended = await (await Rig().start()).end(failure(kind))
    assert ended.state is AnswerState.FAILED
    assert ended.failure is not None and ended.failure.kind is kind


async def test_H07_a_silent_end_names_the_likely_cause() -> None:
    ended = await (await Rig().start()).end(None)
    assert ended.state is AnswerState.INTERRUPTED
    assert ended.failure is not None
    assert ended.failure.what == "The server ended the answer without a word"
    assert "longer than its context" in ended.failure.remedy


async def test_recording_19_an_end_without_a_byte_names_the_likely_cause() -> None:
    ended = await (await Rig().start()).end(failure(FailureKind.INTERRUPTED))
    assert ended.state is AnswerState.INTERRUPTED
    assert ended.failure is not None and "longer than the server's context" in ended.failure.remedy
    some = await (await Rig().start()).end(Delta("a"), failure(FailureKind.INTERRUPTED))
    assert some.failure is not None and "longer" not in some.failure.remedy


async def test_P30_no_failure_is_a_bare_exception_name() -> None:
    ended = await (await Rig().start()).end(ZeroDivisionError())
    assert ended.failure is not None
    assert ended.failure.what == "The answer could not be read"


async def test_stopped_twice_is_stopped_once() -> None:
    one = await Rig().start()
    await one.get(Delta("a"))
    one.answer.stop()
    one.answer.stop(AnswerState.FAILED, Failure("late"))
    ended = await one.end()
    assert (ended.state, ended.failure) == (AnswerState.STOPPED, None)


async def test_a_stream_that_does_not_close_is_left_behind() -> None:
    hold, asked = asyncio.Event(), asyncio.Event()

    async def stubborn() -> AsyncIterator[Any]:
        try:
            asked.set()
            await asyncio.Event().wait()
            yield Delta("never")
        finally:
            await hold.wait()

    one = Rig()
    one.answer._open_stream = stubborn
    await one.start()
    await asked.wait()
    one.answer.stop()
    assert (await one.end()).state is AnswerState.STOPPED
    hold.set()
    assert one.answer._reader is not None
    await asyncio.wait({one.answer._reader})


# --- text --------------------------------------------------------------------------------------------------------------


async def test_P50_screen_text_is_cleaned_and_stored_text_exact() -> None:
    one = await Rig().start()
    await one.get(Delta("a\x1b[31m"))
    await until(lambda: one.live.buffer.text)
    assert "\x1b" not in "".join(one.live.buffer.text)
    assert (await one.end(Done("stop"))).content == "a\x1b[31m"


async def test_P02_text_is_handed_over_for_saving_within_half_a_second() -> None:
    one = await Rig().start()
    await one.get(Delta("abc"))
    await until(lambda: one.saver.pieces == ["abc"])
    await one.get(Thinking("x" * 5000))
    await until(lambda: len(one.saver.pieces) == 2)
    assert len((await one.end(Done("stop"))).thinking) == 5000


async def test_H20_a_thousand_pieces_are_shown_at_most_15_times_a_second() -> None:
    one = await Rig().start()
    began = asyncio.get_running_loop().time()
    ended = await one.end(*[Delta("x")] * 1000, Done("stop"))
    took = asyncio.get_running_loop().time() - began
    assert len(ended.content) == 1000
    assert len(one.shown) <= 3 + took * 16


async def test_a_continued_answer_keeps_what_it_had() -> None:
    row = Message(7, 1, 1, Role.ASSISTANT, "one ", state=AnswerState.WAITING, provider="lab", model="m", thinking="t")
    one = await Rig(row).start()
    ended = await one.end(Delta("two"), Done("stop", Metrics(), "other"))
    assert (ended.content, ended.thinking, ended.model) == ("one two", "t", "other")
