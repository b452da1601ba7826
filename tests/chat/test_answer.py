"""One streaming answer against a clock that stands still."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import DONE, Bench, Scripted, until
from tui.core.chat import AnswerState
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done, Metrics, PromptProgress, Thinking
from tui.services.chat.api import LiveAnswer


async def begun(lab: Any, folder: Path | None = None) -> Bench:
    one = await Bench(folder, lab).begin()
    return one


def live(one: Bench) -> LiveAnswer:
    found = one.chat.live.value
    assert found is not None
    return found


async def test_H03_a_load_of_three_minutes_is_a_wait(tmp_path: Path) -> None:
    hold = asyncio.Event()
    lab = Scripted([hold, Delta("a"), Done("stop")])
    one = await begun(lab)
    one.host.loaded = False
    one.chat.send("go")
    await until(lambda: lab.requests)
    one.clock.advance(180)
    await until(lambda: one.chat.live.value and one.chat.live.value.note == "loading qwen3:8b, 3m00s")
    assert live(one).phase == "loading"
    hold.set()
    await one.idle()
    answer = one.chat.view.value.messages[-1]
    assert (answer.content, answer.state) == ("a", AnswerState.COMPLETE)
    assert (answer.timeline.loaded, answer.timeline.first_token) == (180, 180)
    await one.end()


async def test_H02_waiting_says_how_long() -> None:
    lab = Scripted([asyncio.Event()])
    one = await begun(lab)
    one.chat.send("go")
    await until(lambda: lab.requests)
    one.clock.advance(37)
    await until(lambda: one.chat.live.value and one.chat.live.value.note == "waiting for the first token, 37s")
    await one.end()


async def test_H09_silence_is_told_and_never_ends_the_answer() -> None:
    hold = asyncio.Event()
    one = await begun(Scripted([Delta("a"), hold, Delta("b"), DONE]))
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.phase == "writing")
    one.clock.advance(15)
    await until(lambda: live(one).note == "no data for 15s")
    one.clock.advance(45)
    await until(lambda: live(one).phase == "stalled")
    one.clock.advance(100_000)
    await until(lambda: live(one).note == "stalled: no data for 28 h")
    hold.set()
    await one.idle()
    assert one.chat.view.value.messages[-1].state is AnswerState.COMPLETE
    await one.end()


async def test_timeline_adds_up() -> None:
    holds = [asyncio.Event() for _ in range(3)]
    metrics = Metrics(output_tokens=100, output_seconds=2.0)
    one = await begun(Scripted([holds[0], PromptProgress(10, 20), holds[1], Thinking("hm"), holds[2], Delta("a"), Done("stop", metrics)]))
    one.chat.send("go")
    await until(lambda: one.chat.live.value)
    one.clock.advance(1)
    holds[0].set()
    await until(lambda: live(one).phase == "reading")
    assert live(one).note == "reading the prompt, 10 of 20 tokens"
    one.clock.advance(2)
    holds[1].set()
    await until(lambda: live(one).phase == "thinking")
    one.clock.advance(4)
    holds[2].set()
    await one.idle()
    time = one.chat.view.value.messages[-1].timeline
    assert (time.waited, time.read, time.first_token, time.thought, time.wrote) == (1, 2, 3, 4, 4)
    assert (time.rate, time.rate_estimated) == (50, False)
    await one.end()


async def test_screen_text_is_cleaned_and_stored_text_exact(tmp_path: Path) -> None:
    hold = asyncio.Event()
    one = await begun(Scripted([Delta("a\x1b[31m"), hold, DONE]), tmp_path)
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    assert "\x1b" not in "".join(live(one).buffer.text)
    hold.set()
    await one.idle()
    assert one.chat.view.value.messages[-1].content == "a\x1b[31m"
    await one.end()


@pytest.mark.parametrize(
    ("kind", "state"),
    [(FailureKind.TIMEOUT, AnswerState.INTERRUPTED), (FailureKind.PROTOCOL, AnswerState.FAILED)],
)
async def test_a_lost_line_interrupts_and_a_wrong_answer_fails(kind: FailureKind, state: AnswerState) -> None:
    one = await begun(Scripted([Delta("a"), PaddockError.of("x", kind=kind)], [Delta("b")]))
    assert (await one.say("go")).state is state
    no_end = await one.say("go")
    assert (no_end.content, no_end.state) == ("b", AnswerState.INTERRUPTED)
    await one.end()
