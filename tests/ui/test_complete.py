"""Filling a gap on a service a test sets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.complete_data import AFTER, BEFORE, MODEL, FakeCompletion, host, suggested
from tui.core.chat import AnswerState
from tui.core.errors import Failure
from tui.ui.screens import complete_view
from tui.ui.screens.complete_view import CompleteView, insertable

SIZES = [(80, 24), (120, 40), (200, 50)]


@pytest.fixture
def completion(fake: Any) -> FakeCompletion:
    return FakeCompletion(fake.calls)


def gap(app: Any) -> CompleteView:
    return app.screen.query_one(CompleteView)


async def asked(app: Any, pilot: Any, completion: FakeCompletion, *candidates: str, **fields: Any) -> CompleteView:
    """Both texts are there, and these suggestions."""
    gap(app).load(BEFORE, AFTER)
    await pilot.pause()
    await pilot.press("ctrl+s")
    await until(lambda: "asked" in screen_text(app))
    completion.view.set(suggested(*candidates, **fields))
    await until(lambda: gap(app).candidate == insertable(candidates[-1]))
    return gap(app)


@pytest.mark.parametrize("size", SIZES)
async def test_a_suggestion_stands_between_the_two_texts(fake, completion, size):
    app = host(fake, completion)
    async with app.run_test(size=size) as pilot:
        await asked(app, pilot, completion, "weights * 1.2 < free\n    # done")
        text = screen_text(app)
        assert "qwen2.5-coder:7b on ollama · raw off · auto off" in text
        assert "+     return weights * 1.2 < free" in text and "+     # done" in text
        assert "48 tok/s · first token 0.2s · 12 tokens · complete" in text
        assert text.index("before the cursor") < text.index("weights * 1.2") < text.index("after the cursor") < text.index("print(fits")
        assert fake.calls[-1] == ("ask", (*MODEL, BEFORE, AFTER), {"raw": False, "again": False})


async def test_nothing_is_sent_while_one_types(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "Nothing is sent while you type" in screen_text(app))
        await pilot.press(*"def", "space", *"r(a", "enter")
        await until(lambda: gap(app).before.text == "def r(a\n")
        assert not fake.called("ask")
        await pilot.press("f5")
        assert fake.called("ask") == [(*MODEL, "def r(a\n", "")]


async def test_tab_takes_all_and_the_cursor_stands_behind_it(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        one = await asked(app, pilot, completion, "weights < free\n    # \tdone")
        await pilot.press("tab")
        assert one.before.text == f"{BEFORE}weights < free\n    # \tdone"
        await until(lambda: "taken; ctrl+s asks for more" in screen_text(app))
        await pilot.press("x")
        assert one.before.text.endswith("donex")
        assert one.after.text == AFTER


async def test_ctrl_right_takes_a_word_and_else_moves(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        one = await asked(app, pilot, completion, "weights * 1.2")
        await pilot.press("ctrl+right")
        assert one.before.text == f"{BEFORE}weights"
        await pilot.press("ctrl+right", "ctrl+right")
        assert one.before.text == f"{BEFORE}weights * 1"
        assert one.rest == ".2"
        await pilot.press("tab", "home", "ctrl+right")
        assert one.before.text == f"{BEFORE}weights * 1.2"
        assert one.before.cursor_location[1] > 4


async def test_typing_what_was_suggested_takes_it_anything_else_forgets_it(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        one = await asked(app, pilot, completion, "weights < free")
        await pilot.press("w", "e")
        await until(lambda: one.rest == "ights < free")
        assert "weights < free" in screen_text(app)
        await pilot.press("q")
        await until(lambda: "Nothing is sent while you type" in screen_text(app))
        assert fake.called("clear") == [()]
        assert not fake.called("stop")


async def test_a_change_while_it_writes_stops_it(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        one = await asked(app, pilot, completion, "wei", state=AnswerState.WRITING)
        completion.view.set(suggested("weights", state=AnswerState.WRITING))
        await until(lambda: one.rest == "weights")
        assert "esc stops" in screen_text(app)
        await pilot.press("z")
        await until(lambda: fake.called("stop"))
        assert fake.called("clear") == [()]


async def test_an_old_suggestion_is_not_taken_for_a_new_one(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        one = await asked(app, pilot, completion, "first")
        await pilot.press("tab", "ctrl+s")
        assert one.rest == ""
        await pilot.press("ctrl+right")
        assert one.before.text == f"{BEFORE}first"


async def test_another_candidate_and_back(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        await asked(app, pilot, completion, "one")
        await pilot.press("ctrl+r")
        assert fake.calls[-1] == ("ask", (*MODEL, BEFORE, AFTER), {"raw": False, "again": True})
        completion.view.set(suggested("one", "two"))
        await until(lambda: "suggestion 2 of 2" in screen_text(app))
        await pilot.press("ctrl+up", "ctrl+down")
        assert fake.called("show_candidate") == [(-1,), (1,)]
        await pilot.press("shift+tab", "shift+tab")
        await until(lambda: "▸ suggestion 2 of 2" in screen_text(app))
        await pilot.press("r")
        assert [kwargs["again"] for name, _args, kwargs in fake.calls if name == "ask"] == [False, True, True]
        assert gap(app).before.text == BEFORE


async def test_after_a_word_another_is_asked_from_there(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        await asked(app, pilot, completion, "weights < free")
        await pilot.press("ctrl+right", "ctrl+r")
        assert fake.calls[-1] == ("ask", (*MODEL, f"{BEFORE}weights", AFTER), {"raw": False, "again": False})


async def test_keys_of_the_suggestion_itself(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        await asked(app, pilot, completion, "weights < free")
        await pilot.press("shift+tab", "shift+tab", "y", "Y", "w", "a")
        assert app.copied == ["weights < free", BEFORE + AFTER]
        await until(lambda: "raw on · auto on" in screen_text(app))
        await pilot.press("enter")
        assert gap(app).before.text == f"{BEFORE}weights < free"


async def test_raw_is_sent(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("x", "f8", "ctrl+s")
        await until(lambda: fake.called("ask"))
        assert fake.calls[-1][2] == {"raw": True, "again": False}


async def test_auto_asks_once_after_a_pause_and_only_when_it_is_on(fake, completion, monkeypatch):
    monkeypatch.setattr(complete_view, "PAUSE", 0.02)
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f9", *"abc")
        await until(lambda: fake.called("ask"))
        assert fake.called("ask")[-1] == (*MODEL, "abc", "")
        assert "auto on" in screen_text(app)
        await pilot.press("f9", "d")
        await until(lambda: fake.called("clear"))
        await pilot.pause()
        assert gap(app)._pause is None


async def test_esc_stops_then_leaves(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        await asked(app, pilot, completion, "wei", state=AnswerState.WRITING)
        await pilot.press("escape")
        assert fake.called("stop") == [()]
        assert not app.screen.left
        completion.view.set(suggested("wei", state=AnswerState.STOPPED))
        await until(lambda: "stopped by you" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: app.screen.left == 1)
        assert gap(app).before.text == BEFORE


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": AnswerState.WAITING, "note": "loading qwen2.5-coder:7b, 3s"}, "loading qwen2.5-coder:7b, 3s"),
        ({"state": AnswerState.COMPLETE}, "the model suggests nothing here"),
        ({"filled": False, "note": "it knows no suffix: it goes on from the text before"}, "it knows no suffix"),
        (
            {"state": AnswerState.FAILED, "failure": Failure("nothing is listening", "127.0.0.1:1", "Start it")},
            "failed: nothing is listening",
        ),
        ({"state": AnswerState.INTERRUPTED, "failure": Failure("it closed", "127.0.0.1:1", "Start it")}, "interrupted: it closed"),
    ],
)
async def test_what_happens_is_said(fake, completion, fields, words):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        await asked(app, pilot, completion, "", **fields)
        await until(lambda: words in screen_text(app), what=screen_text(app))
        assert ("Start it" in screen_text(app)) is ("failure" in fields)


async def test_what_is_missing_is_said(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+s")
        await until(lambda: "write what stands before the cursor" in screen_text(app))
        gap(app).use("vllm-a", "big/model", "vllm-a cannot complete: it serves chats only")
        await pilot.press("x", "ctrl+s")
        await until(lambda: "vllm-a cannot complete: it serves chats only" in screen_text(app))
        gap(app).use("", "")
        await pilot.press("ctrl+s")
        await until(lambda: "ctrl+t chooses a model" in screen_text(app))
        assert not fake.called("ask")


async def test_another_model_forgets_what_was_suggested(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        one = await asked(app, pilot, completion, "weights")
        one.use("ollama", "starcoder2:3b")
        assert one.rest == ""
        assert fake.called("clear") == [()]
        await until(lambda: "ctrl+s asks starcoder2:3b" in screen_text(app))


async def test_a_long_suggestion_wraps_and_scrolls(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        long = "\n".join(f"line {number} " + "x" * 100 for number in range(50))
        one = await asked(app, pilot, completion, long)
        assert all(len(line) <= 80 for line in screen_lines(app))
        await pilot.press("shift+tab", "shift+tab", "end")
        await until(lambda: "line 49" in screen_text(app))
        assert one.suggestion.plain.count("x") >= 5000


@pytest.mark.parametrize(("size", "ascii_only"), [((80, 24), True), ((200, 50), False)])
async def test_X01_X05_hostile_text_is_drawn_as_text_and_marked(fake, completion, size, ascii_only):
    app = host(fake, completion, ascii_only=ascii_only)
    hostile = "\n".join(CANARIES)
    async with app.run_test(size=size) as pilot:
        one = await asked(app, pilot, completion, "- before the cursor ---\n" + hostile)
        assert all(line.startswith(("+ ", ">", "-")) for line in one.suggestion.plain.split("\n"))
        await pilot.press("shift+tab", "shift+tab")
        for _page in range(12):
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
            await pilot.press("pagedown")
        for name in CANARIES:
            one.use(name, name, name)
            completion.view.set(suggested("", state=AnswerState.FAILED, failure=Failure(name, name, name), note=name, filled=False))
            await pilot.pause()
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        assert app.is_running


async def test_what_is_taken_holds_no_control_characters(fake, completion):
    app = host(fake, completion)
    async with app.run_test(size=(80, 24)) as pilot:
        one = await asked(app, pilot, completion, "a\x1b[31mb\r\n\tc\x07")
        await pilot.press("tab")
        assert one.before.text == f"{BEFORE}a␛[31mb\n\tc␇"


async def test_ascii_draws_without_graphics(fake, completion):
    app = host(fake, completion, ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await asked(app, pilot, completion, "weights\n# done", state=AnswerState.LENGTH)
        drawn = "".join(screen_lines(app)[1:-2])
        assert {char for char in drawn if not char.isascii()} <= {"·"}
        assert "cut by length" in drawn
