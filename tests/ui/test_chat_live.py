"""The answer while it is written, in every order in which its snapshots and what is stored can come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import screen_lines, screen_text, until
from tests.ui.chat_data import answer, prompt, shown, view
from tui.core.chat import AnswerState, Timeline
from tui.services.chat.api import AnswerBuffer, LiveAnswer
from tui.ui.screens.chat import ChatScreen


def live(buffer: AnswerBuffer, state: AnswerState = AnswerState.WRITING, phase: str = "writing", **fields: object) -> LiveAnswer:
    given = {"conversation": 7, "message_id": 2, "note": "", **fields}
    return LiveAnswer(
        given.pop("conversation"),
        given.pop("message_id"),
        "qwen3:8b",
        "ollama",
        state,
        phase,
        given.pop("note"),
        0.0,
        0.0,
        buffer=buffer,
        **given,
    )


def host(fake: FakeServices) -> ScreenHost:
    return ScreenHost(ChatScreen(fake))


def written(text: str) -> AnswerBuffer:
    buffer = AnswerBuffer()
    buffer.text.append(text)
    return buffer


@pytest.mark.parametrize("live_first", [True, False])
async def test_the_snapshot_and_the_row_may_come_in_either_order(fake: FakeServices, live_first: bool) -> None:
    fake.chat.view.set(view(prompt("go")))
    buffer = written("some words")
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "go")
        steps = [lambda: fake.chat.live.set(live(buffer)), lambda: fake.chat.view.set(view(prompt("go"), answer("", AnswerState.WRITING)))]
        for step in steps if live_first else reversed(steps):
            step()
            await pilot.pause()
        await shown(app, "some words")
        buffer.text.append(" and **more**\n\n")
        fake.chat.live.set(live(buffer, pieces=2))
        await shown(app, "some words and more")
        assert screen_text(app).count("some words") == 1
        ends = [lambda: fake.chat.live.set(None), lambda: fake.chat.view.set(view(prompt("go"), answer("some words and **more**\n\n")))]
        for step in ends if live_first else reversed(ends):
            step()
            await pilot.pause()
        await shown(app, "212 tokens · complete")
        assert screen_text(app).count("some words and more") == 1
        assert "esc stops" not in screen_text(app)


async def test_an_answer_that_goes_on_is_drawn_once(fake: FakeServices) -> None:
    fake.chat.view.set(view(prompt("go"), answer("first half", AnswerState.LENGTH)))
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        await shown(app, "cut by length at 212 tokens")
        buffer = written("first half")
        fake.chat.view.set(view(prompt("go"), answer("first half", AnswerState.WRITING)))
        fake.chat.live.set(live(buffer))
        await shown(app, "esc stops")
        buffer.text.append(", second half")
        fake.chat.live.set(live(buffer, pieces=2))
        await shown(app, "first half, second half")
        fake.chat.view.set(view(prompt("go"), answer("first half, second half")))
        fake.chat.live.set(None)
        await shown(app, "· complete")
        assert screen_text(app).count("first half") == 1


async def test_another_conversation_and_back_while_it_streams(fake: FakeServices) -> None:
    going = view(prompt("go"), answer("", AnswerState.WRITING))
    fake.chat.view.set(going)
    buffer = written("begun ")
    fake.chat.live.set(live(buffer))
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        await shown(app, "begun")
        fake.chat.live.set(None)
        fake.chat.view.set(replace(view(prompt("elsewhere", 11), answer("quiet", number=12)), id=9))
        await shown(app, "quiet")
        assert "begun" not in screen_text(app)
        buffer.text.append("and went on")
        fake.chat.view.set(going)
        fake.chat.live.set(live(buffer, pieces=2))
        await shown(app, "begun and went on")
        assert screen_text(app).count("begun") == 1
        assert "quiet" not in screen_text(app)


async def test_thoughts_are_folded_and_followed_when_unfolded(fake: FakeServices) -> None:
    fake.chat.view.set(view(prompt("go"), answer("", AnswerState.WRITING)))
    buffer = AnswerBuffer()
    buffer.thinking += ["so ", "it ", "is"]
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        fake.chat.live.set(live(buffer, phase="thinking", timeline=Timeline(thought=2.1)))
        await shown(app, "▸ thought for 2.1s (~3 tokens)")
        await pilot.press("tab", "enter")
        await shown(app, "\n   so it is")
        buffer.thinking.append(" indeed")
        fake.chat.live.set(live(buffer, phase="thinking", timeline=Timeline(thought=2.4)))
        await shown(app, "\n   so it is indeed")
        await shown(app, "▾ thought for 2.4s (~4 tokens)")


@pytest.mark.parametrize("phase", ["waiting", "loading", "reading", "stalled"])
async def test_P23_every_wait_says_for_what_and_can_be_stopped(fake: FakeServices, phase: str) -> None:
    fake.chat.view.set(view(prompt("go"), answer("", AnswerState.WAITING)))
    fake.chat.live.set(live(AnswerBuffer(), AnswerState.WAITING, phase, note=f"{phase} since 14s"))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, f"{phase} since 14s · esc stops")
        await pilot.press("escape")
        assert fake.called("stop") == [()]
        await pilot.press("tab", "escape")
        assert fake.called("stop") == [(), ()]


async def test_streaming_below_the_view_is_said(fake: FakeServices) -> None:
    fake.chat.view.set(view(prompt("go"), answer("", AnswerState.WRITING)))
    buffer = written("line\n\n" * 40)
    fake.chat.live.set(live(buffer))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: app.screen.transcript.max_scroll_y > 0)
        await pilot.press("tab", "pageup")
        await shown(app, "more lines · G follows")
        before = next(line for line in screen_lines(app) if "more lines" in line)
        buffer.text.append("line\n\n" * 40)
        fake.chat.live.set(live(buffer, pieces=2))
        await until(lambda: "more lines" in screen_text(app) and before not in screen_lines(app))
        await pilot.press("G")
        await until(lambda: "more lines" not in screen_text(app))


async def test_what_a_person_looks_at_stays_while_branches_change(fake: FakeServices) -> None:
    talk = [prompt(f"question {number}", number) for number in range(1, 40)]
    fake.chat.view.set(view(*talk))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "question 39")
        await pilot.press("tab", *["K"] * 25)
        await until(lambda: screen_lines(app)[2].startswith("> you") and "question 14" in screen_lines(app)[3])
        seen = screen_lines(app)[2:12]
        fake.chat.view.set(view(*talk[:30], answer("another end", number=50), branches={30: (30, 51)}))
        await until(lambda: app.screen.transcript.message_at(app.screen.transcript.line_count - 1) == 50)
        await pilot.pause()
        assert screen_lines(app)[2:12] == seen
