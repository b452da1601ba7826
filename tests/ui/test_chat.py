"""The Chat screen on services a test sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_text, until
from tests.ui.chat_data import answer, prompt, view
from tests.ui.test_pulls import job
from tui.core.chat import AnswerState, ConversationHead, ConversationSettings
from tui.core.errors import Failure
from tui.core.jobs import JobState, QueueView
from tui.core.models import Model
from tui.services.chat.api import AnswerBuffer, LiveAnswer
from tui.ui.screens.chat import ChatScreen
from tui.ui.widgets.prompt import Composer


def host(fake: FakeServices) -> ScreenHost:
    return ScreenHost(ChatScreen(fake))


async def test_a_conversation_stands_as_in_the_wireframe(fake):
    fake.chat.view.set(view(prompt("Which quantization?"), answer("Short answer: **Q4_K_M**.", thinking="hm")))
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        await until(lambda: "Short answer: Q4_K_M." in screen_text(app))
        text = screen_text(app)
        assert "qwen3:8b on ollama · model's own · think" in text
        assert "48 tok/s · first token 0.3s · 212 tokens · complete" in text
        assert "waited 0.0s  loaded 0.0s  read 0.3s (31 tokens)  wrote 4.4s" in text
        assert "0.3k of 4k" in text or "300 of 4k" in text
        assert "enter sends · tab leaves" in text


async def test_enter_sends_and_the_draft_is_kept(fake):
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"hi", "enter")
        await until(lambda: fake.called("send"))
        assert fake.called("send") == [("hi",)]
        assert ("hi", 0) in fake.called("save_draft")
        assert app.screen.query_one(Composer).text == ""


async def test_P04_what_is_typed_stays_with_its_conversation(fake):
    fake.chat.view.set(replace(view(prompt("one"), answer("a")), turn=1))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        composer = app.screen.query_one(Composer)
        await pilot.press(*"secret")
        assert ("secret", 1) in fake.called("save_draft")
        fake.chat.view.set(replace(view(prompt("two"), answer("b")), id=8, turn=2, draft="typed in the other"))
        await until(lambda: composer.text == "typed in the other")
        await pilot.press("!")
        assert fake.called("save_draft")[-1] == ("typed in the other!", 2)
        fake.chat.view.set(replace(view(prompt("one"), answer("a")), turn=3, draft="secret"))
        await until(lambda: composer.text == "secret")
        fake.chat.view.set(replace(fake.chat.view.value, draft="was queued\n\nsecret"))  # what could not be sent is typed text again
        await until(lambda: composer.text == "was queued\n\nsecret")
        fake.chat.view.set(replace(fake.chat.view.value, draft="older"))
        await pilot.pause()
        assert composer.text == "was queued\n\nsecret"


async def test_pieces_appear_while_it_streams_and_esc_stops(fake):
    buffer = AnswerBuffer()
    live = LiveAnswer(7, 2, "qwen3:8b", "ollama", AnswerState.WRITING, "writing", "", 0.0, 0.0, buffer=buffer)
    fake.chat.view.set(view(prompt("go"), answer("", AnswerState.WRITING)))
    fake.chat.live.set(live)
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        buffer.text.append("first words\n\n")
        fake.chat.live.set(replace(live, pieces=2))
        await until(lambda: "first words" in screen_text(app))
        buffer.text.append("and more")
        fake.chat.live.set(replace(live, pieces=4))
        await until(lambda: "and more" in screen_text(app))
        assert screen_text(app).count("first words") == 1
        assert "esc stops" in screen_text(app)
        await pilot.press("escape")
        assert fake.called("stop") == [()]
        fake.chat.view.set(view(prompt("go"), answer("first words\n\nand more", AnswerState.STOPPED)))
        fake.chat.live.set(None)
        await until(lambda: "stopped by you at 212 tokens" in screen_text(app))
        assert screen_text(app).count("first words") == 1


async def test_waiting_says_for_what(fake):
    live = LiveAnswer(7, 2, "qwen3:8b", "ollama", AnswerState.WAITING, "loading", "loading qwen3:8b, 14s, last time 22s", 0.0, 0.0)
    fake.chat.view.set(view(prompt("go"), answer("", AnswerState.WAITING)))
    fake.chat.live.set(live)
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        await until(lambda: "loading qwen3:8b, 14s, last time 22s · esc stops" in screen_text(app))


async def test_P32_a_long_load_shows_the_servers_own_words(fake):
    live = LiveAnswer(7, 2, "qwen3:8b", "ollama", AnswerState.WAITING, "loading", "loading qwen3:8b, 14s, last time 22s", 0.0, 0.0)
    fake.chat.view.set(view(prompt("go"), answer("", AnswerState.WAITING)))
    fake.chat.live.set(live)
    fake.registry.log_lines["ollama"] = "load_tensors: offloaded 12/33 layers to [b]GPU[/b]"
    app = host(fake)
    async with app.run_test(size=(120, 40)):
        await until(lambda: "esc stops · load_tensors: offloaded 12/33" in screen_text(app))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (AnswerState.COMPLETE, "· complete"),
        (AnswerState.LENGTH, "cut by length at 212 tokens"),
        (AnswerState.STOPPED, "stopped by you at 212 tokens"),
        (AnswerState.INTERRUPTED, "interrupted: The server closed the connection"),
        (AnswerState.FAILED, "failed: The server closed the connection"),
    ],
)
async def test_five_different_ends(fake, state, words):
    failure = (
        Failure("The server closed the connection", "127.0.0.1:1", "Try again")
        if state in (AnswerState.INTERRUPTED, AnswerState.FAILED)
        else None
    )
    fake.chat.view.set(view(prompt("q"), answer("part", state, failure=failure)))
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        await until(lambda: words in screen_text(app), what=screen_text(app))


async def test_an_empty_answer_says_so(fake):
    fake.chat.view.set(view(prompt("q"), answer("")))
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        await until(lambda: "the answer is empty" in screen_text(app))


@pytest.mark.parametrize(
    ("typed", "verb", "args"),
    [
        ("/continue", "go_on", ()),
        ("/think high", "configure", (ConversationSettings(think="high"),)),
        ("/system be brief", "configure", (ConversationSettings(system="be brief"),)),
        ("/set temperature=0.2", "configure", (ConversationSettings(options={"temperature": 0.2}),)),
        ("/export", "export", (7, "md")),
    ],
)
async def test_commands(fake, typed, verb, args):
    fake.chat.view.set(view(prompt("q"), answer("a")))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*("space" if char == " " else char for char in typed), "enter")
        await until(lambda: fake.called(verb))
        assert fake.called(verb) == [args]
        assert not fake.called("send")


async def test_keys_outside_the_composer(fake):
    fake.chat.view.set(view(prompt("q"), answer("see\n\n```python\nx = 1\n```\n")))
    fake.registry.models.set((Model("ollama", "qwen3:8b", "qwen3:8b"),))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "x = 1" in screen_text(app))
        await pilot.press("tab", "r", "Y", "y")
        assert fake.called("regenerate") == [(2,)]
        assert app.copied[0].strip() == "x = 1"
        assert "see" in app.copied[1]
        await pilot.press("d")
        await until(lambda: "Delete this message of qwen3:8b" in screen_text(app))
        await pilot.press("escape")
        assert not fake.called("delete_message")


async def test_at_120_columns_the_conversations_stand_at_the_left(fake):
    fake.chat.heads.set(
        (ConversationHead(7, "Which quantization?", "ollama", "qwen3:8b", 0, 0, 2), ConversationHead(3, "Older talk", "o", "m", 0, 0, 4))
    )
    fake.chat.view.set(view(prompt("q"), answer("a")))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "Older talk" in screen_text(app))
        await pilot.press("tab", "right_square_bracket")
        assert fake.called("open")[-1:] == [(3,)]


async def test_X01_hostile_text_is_drawn_as_text(fake):
    hostile = "\n\n".join(CANARIES)
    fake.chat.view.set(replace(view(prompt(hostile), answer(hostile, thinking=hostile)), title=CANARIES[0], model=CANARIES[6]))
    app = host(fake)
    async with app.run_test(size=(100, 60)):
        await until(lambda: "[/INST]" in screen_text(app))
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        assert app.is_running


async def test_the_list_asked_for_too_early_comes_when_the_history_is_open(fake):
    fake.ready.set(False)
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+o")
        fake.chat.heads.set((ConversationHead(7, "Which quantization?", "ollama", "qwen3:8b", 0.0, 0.0, 2),))
        fake.ready.set(True)
        await until(lambda: "search every message" in screen_text(app))
        assert "Which quantization?" in screen_text(app)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (job(2, "QWEN3:8b", JobState.FETCHING, percent=62.4, eta=65.0), "QWEN3:8b is being pulled: 62 %, 1m05s left."),
        (job(2, "qwen3:8b", JobState.WAITING), "The pull of qwen3:8b waits, number 2 in the queue. 3 Pulls says more."),
        (job(2, "qwen3:8b", JobState.PAUSED), "The pull of qwen3:8b is paused. 3 Pulls says more."),
        (job(2, "qwen3:8b", JobState.DONE), "Type and press enter"),
    ],
)
async def test_the_pull_of_its_model_is_said(fake, one, words):
    fake.chat.view.set(view())
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        fake.jobs.view.set(QueueView((job(1, "phi4:14b", JobState.FETCHING), one)))
        await until(lambda: words in screen_text(app))


async def test_a_prompt_stands_in_the_lines_it_was_typed_in(fake):
    fake.chat.view.set(view(prompt("first line\nsecond line\n\n- a point"), answer("one\ntwo")))
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        await until(lambda: "one two" in screen_text(app))
        lines = [line.strip() for line in screen_text(app).splitlines()]
        assert "first line" in lines and "second line" in lines
