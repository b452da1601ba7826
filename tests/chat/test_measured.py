"""What an answer leaves behind: its figures with the measurement, its energy once that is known, nothing where it is not complete."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.chat.host import DONE, Bench, Make, Scripted, until
from tui.core.chat import AnswerState, ChatRequest, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done, Metrics, Thinking
from tui.core.models import RunningModel
from tui.core.monitor import Profile
from tui.services.chat.tokens import first_read
from tui.store.measurements import Measurements

READ = Done("stop", Metrics(prompt_tokens=400, prompt_seconds=2.0, output_tokens=50, output_seconds=1.0))


def profile(one: Bench) -> Profile:
    assert one.host.database is not None
    return Measurements(one.host.database, one.clock).profile("lab", "qwen3:8b")


async def test_first_token_memory_and_prompt_are_kept_of_a_complete_answer(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench(Scripted([Thinking("hm"), Delta("yes"), READ]))
    loaded = RunningModel("lab", "qwen3:8b", "qwen3:8b", 6_800, 6_000, 8192)
    monkeypatch.setattr(one.host, "running", lambda: (loaded,))
    one.host.lab.before = lambda: one.clock.advance(0.5)
    await one.say("word " * 300)
    found = profile(one)
    assert (found.rate, found.prompt_rate, found.first_token) == (50.0, 200.0, 0.5)
    assert (found.memory, found.vram, found.context, found.joules) == (6_800, 6_000, 8192, None)


async def test_energy_goes_to_the_measurement_and_to_the_answer(bench: Make) -> None:
    lab = Scripted([Delta("yes"), READ])
    one = await bench(lab)
    one.host.joules = 120.0
    lab.before = lambda: one.clock.advance(2.0)
    answer = await one.say("go")
    assert (profile(one).joules, profile(one).joules_per_token) == (120.0, 2.4)
    assert answer.timeline.joules == 120.0
    stored = one.stored.message(answer.id)
    assert stored is not None and stored.timeline.joules == 120.0
    (meter,) = one.host.metered
    assert (meter.of, meter.seconds) == (("lab", "qwen3:8b"), 2.0)


async def test_incognito_keeps_no_figures_but_shows_the_energy(bench: Make) -> None:
    one = await bench(Scripted([Delta("yes"), READ]))
    one.host.joules = 120.0
    one.chat.new(incognito=True)
    await until(lambda: one.chat.view.value.incognito)
    answer = await one.say("go")
    assert answer.timeline.joules == 120.0
    assert profile(one) == Profile()


async def test_a_retry_tells_nothing_of_the_speed_of_reading(bench: Make) -> None:
    one = await bench(Scripted([Delta("a"), Done("stop", Metrics())], [Delta("b"), READ]))
    await one.say("word " * 300)
    one.chat.regenerate()
    await until(lambda: profile(one).answers == 2)
    await one.idle()
    assert profile(one).prompt_rate is None


@pytest.mark.parametrize(
    "steps",
    [
        [Delta("half"), PaddockError.of("cut off", "127.0.0.1:1", "", FailureKind.INTERRUPTED)],
        [PaddockError.of("no", "127.0.0.1:1", "", FailureKind.SERVER)],
        [Delta("half"), Done("error", READ.metrics)],
    ],
)
async def test_an_answer_that_is_not_complete_leaves_nothing_but_its_meter_is_ended(bench: Make, steps: list[Any]) -> None:
    one = await bench(Scripted(steps))
    one.host.joules = 120.0
    answer = await one.say("go")
    assert answer.timeline.joules is None
    assert profile(one) == Profile()
    assert [meter.seconds is not None for meter in one.host.metered] == [True]
    assert not one.engine._writer._meters


async def test_a_stopped_answer_is_no_figure(bench: Make) -> None:
    one = await bench(Scripted([Delta("part"), asyncio.Event()]))
    one.chat.send("go")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    one.chat.stop()
    await one.idle()
    assert profile(one) == Profile()


async def test_energy_that_comes_while_the_answer_is_written_on_is_not_shown_with_it(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    hold, late = asyncio.Event(), asyncio.Event()
    lab = Scripted([Delta("cut"), Done("length", READ.metrics)], [hold, Delta(" off"), DONE])
    one = await bench(lab)
    one.host.joules = 120.0
    answer_of = type(one.host.meter("lab", "x")).joules

    async def joules(self: Any) -> float | None:
        if self is one.host.metered[1]:
            await late.wait()
        return await answer_of(self)

    monkeypatch.setattr(type(one.host.metered[0]), "joules", joules)
    one.chat.send("go")
    await until(lambda: (messages := one.chat.view.value.messages) and messages[-1].state is AnswerState.LENGTH)
    await until(lambda: profile(one).answers == 1 and not one.engine._open.busy)
    one.chat.go_on()
    await until(lambda: len(lab.requests) == 2)
    late.set()
    await until(lambda: profile(one).joules == 120.0)
    assert one.chat.view.value.messages[-1].timeline.joules is None
    one.host.joules = None
    hold.set()
    await one.idle()
    ended = one.chat.view.value.messages[-1]
    assert (ended.content, ended.timeline.joules) == ("cut off", None)


def asked(*texts: str, system: str = "", **more: Any) -> ChatRequest:
    roles = (Role.USER, Role.ASSISTANT) * len(texts)
    return ChatRequest("m", tuple(Message(0, 0, 0, role, text) for role, text in zip(roles, texts, strict=False)), system, **more)


@pytest.mark.parametrize(
    ("request_", "metrics", "rate"),
    [
        (asked("word " * 300), READ.metrics, 200.0),
        (asked("word " * 300, system="Be brief."), READ.metrics, 200.0),
        (asked("word " * 300, system="Be brief. " * 200), READ.metrics, None),  # every conversation begins with it
        (asked("word " * 300, "yes", "and"), READ.metrics, None),
        (asked("word"), Metrics(prompt_tokens=9, prompt_seconds=0.001), None),
        (asked("word " * 300), replace(READ.metrics, prompt_seconds=None), None),
    ],
)
def test_the_speed_of_reading_is_of_prompts_that_no_cache_knows(request_: ChatRequest, metrics: Metrics, rate: float | None) -> None:
    assert first_read(request_, metrics) == rate
