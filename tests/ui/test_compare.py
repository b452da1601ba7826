"""Comparisons on services a test sets: columns, tabs, blind ones, votes, the chooser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui import library_data
from tests.ui.compare_data import MODELS, answer, host, live, view
from tui.core.chat import AnswerState, ConversationHead, Timeline, Votes
from tui.core.clock import ManualClock
from tui.core.errors import Failure
from tui.core.observe import Observable
from tui.services.chat.api import AnswerBuffer
from tui.ui.dialogs.compare import Choice, CompareDialog
from tui.ui.dialogs.votes import VotesDialog
from tui.ui.screens.chat import ChatScreen
from tui.ui.screens.compare_view import CompareView
from tui.ui.widgets.rows import Rows
from tui.ui.widgets.transcript import Transcript

SIZES = [(80, 24), (120, 40), (200, 50)]


@pytest.fixture
def chat(fake: FakeServices) -> Any:
    fake.chat.compared = Observable(())
    return fake.chat


async def reading(app: Any) -> None:
    """Answers are shown, and keys go to them: who types there as they come goes on typing."""
    await until(lambda: "shortest" in screen_text(app))
    comparison(app).focus()
    await until(lambda: isinstance(app.focused, Transcript))


def comparison(app: Any) -> CompareView:
    return app.screen_stack[0].query_one(CompareView)


# --- columns and tabs


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [2, 3, 4])
async def test_every_answer_has_its_name_state_and_figures(fake, chat, size, count):
    chat.view.set(view(*(answer(at) for at in range(count))))
    app = host(fake)
    async with app.run_test(size=size):
        await until(lambda: "Short answer: Q4_K_M" in screen_text(app))
        text = screen_text(app)
        assert "Which quantization should I pick for 24 GB" in text
        assert "at once: together they need 19 GB of 24 GB" in text
        side_by_side = size[0] // count >= 34 and size[0] >= 100
        assert comparison(app).narrow is not side_by_side
        for _provider, model in MODELS[:count]:
            assert model[:5] in text
        assert text.count("complete") == (count if side_by_side else 1)
        assert text.count("tok/s") >= count
        assert "waited 0.0s" in text


async def test_below_100_columns_they_are_views_that_brackets_switch(fake, chat):
    chat.view.set(view(answer(0, "first"), answer(1, "second", AnswerState.STOPPED)))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "first" in screen_lines(app)[6:18].__str__())
        tabs = next(line for line in screen_lines(app) if line.startswith("["))
        assert tabs.startswith("[● qwen3:8b 48 tok/s]")
        assert "gemma3:12b stopped" in tabs
        await pilot.press("right_square_bracket")
        await until(lambda: " second" in screen_text(app))
        assert "[‖ gemma3:12b stopped]" in screen_text(app)
        await pilot.press("left_square_bracket", "tab", "tab")
        await until(lambda: "[● qwen3:8b" in screen_text(app))


async def test_the_column_with_the_focus_is_marked_and_a_click_moves_it(fake, chat):
    chat.view.set(view(answer(0), answer(1)))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "▌● qwen3:8b" in screen_text(app))
        await pilot.press("tab")
        await until(lambda: "▌● gemma3:12b" in screen_text(app))
        assert "▌● qwen3:8b" not in screen_text(app)
        await pilot.click(CompareView, offset=(3, 12))
        await until(lambda: "▌● qwen3:8b" in screen_text(app))


async def test_waiting_says_for_what_and_the_stream_is_followed(fake, chat):
    writing = live(0, timeline=Timeline(first_token=0.3, rate=47.7), pieces=88)
    loading = live(1, "loading", "loading gemma3:12b, 14s (last time 22s)")
    stored = (answer(0, "", AnswerState.WRITING), answer(1, "", AnswerState.WAITING))
    chat.view.set(view(*stored, count=3, waits="after gemma3:12b", how="one after the other: together they need 31 GB of 24 GB"))
    chat.compared.set((writing, loading))
    app = host(fake)
    async with app.run_test(size=(120, 40)):
        await until(lambda: "loading, 14s (last time 22s)" in screen_text(app))
        text = screen_text(app)
        assert "after gemma3:12b" in text
        assert "48 tok/s · first 0.3s · 88 tok" in text
        assert "one after the other" in text
        writing.buffer.text.append("\n\n".join(f"line {number}" for number in range(100)))
        chat.compared.set((replace(writing, pieces=300), loading))
        await until(lambda: "line 99" in screen_text(app))
        assert screen_text(app).count("line 99") == 1


async def test_the_end_of_a_stream_leaves_its_text_and_says_who_was_best(fake, chat):
    buffers = [AnswerBuffer(), AnswerBuffer()]
    chat.view.set(view(answer(0, "", AnswerState.WRITING), answer(1, "", AnswerState.WRITING)))
    chat.compared.set(tuple(live(at, buffer=buffer) for at, buffer in enumerate(buffers)))
    app = host(fake)
    async with app.run_test(size=(120, 40)):
        for at, buffer in enumerate(buffers):
            buffer.text.append(f"answer {at}")
        chat.compared.set(tuple(live(at, buffer=buffer, pieces=2) for at, buffer in enumerate(buffers)))
        await until(lambda: "answer 1" in screen_text(app))
        chat.view.set(view(answer(0, "answer 0"), answer(1, "answer 1")))
        chat.compared.set(())
        await until(lambda: "shortest" in screen_text(app))
        text = screen_text(app)
        assert "first token qwen3:8b 0.3s" in text
        assert "fastest gemma3:12b 49 tok/s" in text
        assert "shortest gemma3:12b 211 tokens" in text
        assert text.count("answer 0") == text.count("answer 1") == 1


async def test_moving_figures_are_drawn_four_times_a_second(fake, chat):
    clock = ManualClock()
    writing = live(0, timeline=Timeline(first_token=0.3, rate=40.0), pieces=10)
    chat.view.set(view(answer(0, "", AnswerState.WRITING), answer(1)))
    chat.compared.set((writing,))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "40 tok/s" in screen_text(app))
        comparison(app)._clock = clock
        comparison(app)._redraw()
        for pieces in range(11, 20):
            writing.buffer.text.append(f"w{pieces} ")
            chat.compared.set((replace(writing, pieces=pieces),))
            await until(lambda word=f"w{pieces}": word in screen_text(app))
        assert "10 tok" in screen_text(app)
        clock.advance(0.3)
        chat.compared.set((replace(writing, pieces=20),))
        await until(lambda: "20 tok" in screen_text(app))
        await pilot.pause()


async def test_a_hidden_answer_is_not_drawn_until_it_is_shown(fake, chat):
    buffers = [AnswerBuffer(), AnswerBuffer()]
    chat.view.set(view(answer(0, "", AnswerState.WRITING), answer(1, "", AnswerState.WRITING)))
    chat.compared.set(tuple(live(at, buffer=buffer) for at, buffer in enumerate(buffers)))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: len(comparison(app)._panes) == 2)
        for number in range(50):
            for buffer in buffers:
                buffer.text.append(f"piece {number}\n\n")
            chat.compared.set(tuple(live(at, buffer=buffer, pieces=number) for at, buffer in enumerate(buffers)))
        await until(lambda: "piece 49" in screen_text(app))
        assert comparison(app)._panes[1].text == ""
        await pilot.press("tab")
        await until(lambda: comparison(app)._panes[1].text.endswith("piece 49"))
        await until(lambda: "piece 49" in screen_text(app))


async def test_resizing_keeps_focus_and_places(fake, chat):
    long = "\n\n".join(f"line {number}" for number in range(200))
    chat.view.set(view(answer(0, long), answer(1, long)))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "line 199" in screen_text(app))
        await pilot.press("tab", "home")
        await until(lambda: "line 0" in screen_text(app))
        await pilot.resize_terminal(80, 24)
        await until(lambda: "[● gemma3:12b" in screen_text(app) and " line 0" in screen_text(app))
        await pilot.resize_terminal(200, 50)
        await until(lambda: "line 199" in screen_text(app) and " line 0" in screen_text(app))
        assert app.focused is comparison(app)._panes[1].transcript


async def test_on_the_chat_screen_the_list_makes_room_until_it_is_left(fake, chat):
    chat.heads.set((ConversationHead(7, "An earlier talk", "ollama", "qwen3:8b", 0.0, 0.0, 2),))
    one = view(answer(0), answer(1), answer(2))
    chat.view.set(one)
    app = ScreenHost(ChatScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: screen_text(app).count("complete") == 3)
        assert "An earlier talk" not in screen_text(app)
        await pilot.press("tab")
        await until(lambda: isinstance(app.focused, Transcript))
        await pilot.press("tab", "b")
        assert fake.called("vote") == [(11,)]
        chat.view.set(replace(one, compare=None))
        await until(lambda: "An earlier talk" in screen_text(app))
        assert "fastest" not in screen_text(app)


@pytest.mark.parametrize("size", [(120, 40), (131, 40), (200, 50)])
async def test_lines_end_before_the_next_column(fake, chat, size):
    chat.view.set(view(answer(0), answer(1), answer(2, state=AnswerState.LENGTH)))
    app = host(fake)
    async with app.run_test(size=size):
        await until(lambda: screen_text(app).count("complete ▏") == 2)
        head = next(line for line in screen_lines(app) if "qwen3:8b on" in line)
        assert head.endswith("cut by length") and len(head) == size[0] - 1


# --- ends


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (AnswerState.COMPLETE, "complete"),
        (AnswerState.LENGTH, "cut by length at 211 tokens"),
        (AnswerState.STOPPED, "stopped by you at 211 tokens"),
        (AnswerState.INTERRUPTED, "interrupted at 211 tokens: the server closed the"),
        (AnswerState.FAILED, "failed at 211 tokens: the server closed the connection"),
    ],
)
async def test_five_ends_in_words(fake, chat, state, words):
    failure = Failure("the server closed the connection", "127.0.0.1:1", "Start it again")
    chat.view.set(view(answer(0), answer(1, "part", state, failure=failure)))
    app = host(fake)
    async with app.run_test(size=(200, 50)):
        await until(lambda: words in screen_text(app), what=screen_text(app))
        assert ("Start it again" in screen_text(app)) is (state in (AnswerState.FAILED, AnswerState.INTERRUPTED))


async def test_an_empty_answer_and_a_settling_server_are_said(fake, chat):
    chat.view.set(view(answer(0, ""), answer(1, "part", AnswerState.STOPPED), settling=11))
    app = host(fake)
    async with app.run_test(size=(200, 50)):
        await until(lambda: "the answer is empty" in screen_text(app))
        assert "the server may still be reading the prompt" in screen_text(app)


# --- keys


async def test_verbs_act_on_the_marked_column(fake, chat):
    chat.view.set(view(answer(0), answer(1, "see\n\n```python\ny = 2\n```\n")))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "y = 2" in screen_text(app))
        await pilot.press("tab", "b", "0", "t", "r", "R", "y", "Y")
        assert fake.called("vote") == [(11,), (-1,)]
        assert fake.called("take") == [(11,)]
        assert fake.called("regenerate") == [(11,)]
        assert fake.called("compare") == [("", list(MODELS[:2]))]
        assert app.copied == ["see\n\n```python\ny = 2\n```", "y = 2"]


async def test_x_stops_one_and_esc_stops_all_then_leaves(fake, chat):
    chat.view.set(view(answer(0, "", AnswerState.WRITING), answer(1, "", AnswerState.WRITING), count=3, waits="after gemma3:12b"))
    chat.compared.set((live(0), live(1)))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "▌◐ qwen3:8b" in screen_text(app))
        await pilot.press("tab", "x")
        assert fake.called("stop") == [(11,)]
        await pilot.press("escape")
        assert fake.called("stop") == [(11,), ()]
        assert not fake.called("leave_comparison")
        await pilot.press("escape")
        assert fake.called("leave_comparison") == [()]


async def test_esc_leaves_at_once_where_all_have_ended(fake, chat):
    chat.view.set(view(answer(0), answer(1)))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await reading(app)
        await pilot.press("x", "escape")
        assert not fake.called("stop")
        assert fake.called("leave_comparison") == [()]


async def test_an_answer_asked_again_replaces_what_was_drawn(fake, chat):
    chat.view.set(view(answer(0, "the old one"), answer(1)))
    app = host(fake)
    async with app.run_test(size=(120, 40)):
        await until(lambda: "the old one" in screen_text(app))
        again = live(0)
        again.buffer.text.append("the new one")
        chat.view.set(view(answer(0, "", AnswerState.WRITING), answer(1)))
        chat.compared.set((again,))
        await until(lambda: "the new one" in screen_text(app))
        assert "the old one" not in screen_text(app)


async def test_find_in_one_answer(fake, chat):
    chat.view.set(view(answer(0, "alpha\n\n" * 100 + "needle"), answer(1)))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "needle" in screen_text(app))
        await pilot.press("home", "slash")
        await until(lambda: "Find in this answer" in screen_text(app))
        await pilot.press(*"needle", "enter")
        await until(lambda: "needle" in screen_text(app, app.screen_stack[0]))


async def test_keys_of_single_messages_say_that_one_has_to_be_taken_first(fake, chat, monkeypatch):
    chat.view.set(view(answer(0), answer(1)))
    app, said = host(fake), []
    monkeypatch.setattr(app, "notify", lambda text, **_options: said.append(text))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: isinstance(app.focused, Transcript))
        await pilot.press("d", "e", "Y")
        await pilot.press("tab", "B")
        assert [text[:25] for text in said] == ["t goes on with this answe"] * 3


async def test_selected_lines_are_copied_instead(fake, chat):
    chat.view.set(view(answer(0, "one\n\ntwo"), answer(1)))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: isinstance(app.focused, Transcript) and "two" in screen_text(app))
        await pilot.press("v")
        await until(lambda: "1 line selected" in screen_text(app))
        await pilot.press("y")
        assert app.copied == ["one"]
        await until(lambda: "1 line selected" not in screen_text(app))


def test_no_key_of_the_transcript_hides_one_of_the_comparison():
    def keys(bindings: Any) -> set[str]:
        return {key for binding in bindings for key in binding.key.split(",")}

    assert keys(Transcript.BINDINGS) & keys(CompareView.BINDINGS) <= {"escape"}


async def test_a_click_on_a_tab_shows_it(fake, chat):
    chat.view.set(view(answer(0), answer(1), answer(2)))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "[● qwen3:8b" in screen_text(app))
        await pilot.click(offset=(60, 3))
        await until(lambda: "[● phi4:14b" in screen_text(app))


async def test_how_long_it_thought_is_said_but_not_while_blind(fake, chat):
    thinking = live(0, "thinking")
    thinking.buffer.thinking.append("hm")
    chat.view.set(view(answer(0, "", AnswerState.WRITING), answer(1)))
    chat.compared.set((thinking,))
    app = host(fake)
    async with app.run_test(size=(120, 40)):
        await until(lambda: "▸ thought" in screen_text(app))
        thinking.buffer.text.append("so")
        chat.compared.set((replace(thinking, phase="writing", timeline=Timeline(thought=2.1)),))
        await until(lambda: "▸ thought for 2.1s" in screen_text(app))
        timed = answer(0, "so", thinking="hm", timeline=Timeline(thought=2.1))
        chat.view.set(view(timed, answer(1), blind=True))
        chat.compared.set(())
        await until(lambda: "Which is best?" in screen_text(app))


async def test_two_of_one_name_say_where_they_run(fake, chat):
    one = view(answer(0), answer(1))
    assert one.compare is not None
    columns = tuple(
        replace(column, model="qwen3:8b", provider=name) for column, name in zip(one.compare.columns, ("here", "gpu2"), strict=True)
    )
    chat.view.set(replace(one, compare=replace(one.compare, columns=columns)))
    app = host(fake)
    async with app.run_test(size=(120, 40)):
        await until(lambda: "fastest qwen3:8b on gpu2 49 tok/s" in screen_text(app))
        assert "qwen3:8b on here" in screen_text(app)


async def test_another_comparison_begins_with_its_first_answer(fake, chat):
    chat.view.set(view(*(answer(at) for at in range(4))))
    app = host(fake)
    async with app.run_test(size=(200, 50)) as pilot:
        await reading(app)
        await pilot.press("shift+tab")
        await until(lambda: "▌● mistral" in screen_text(app))
        other = view(answer(0, "anew"), answer(1))
        assert other.compare is not None
        chat.view.set(replace(other, compare=replace(other.compare, number=2)))
        await until(lambda: "▌● qwen3:8b" in screen_text(app) and "mistral" not in screen_text(app))
        await until(lambda: app.focused is comparison(app)._panes[0].transcript)
        assert "anew" in screen_text(app)


# --- blind


async def test_a_blind_comparison_tells_neither_names_nor_figures(fake, chat):
    failure = Failure("gemma3:12b is not installed", "gpu2:8000", "Pull it")
    stored = (answer(0), answer(1, "", AnswerState.FAILED, failure=failure), answer(2, "part", AnswerState.STOPPED, note="phi4 instead"))
    chat.view.set(view(*stored, blind=True, how="one after the other: qwen3:8b and phi4:14b on vllm-a do not fit together"))
    app = host(fake)
    async with app.run_test(size=(200, 50)):
        await until(lambda: "Which is best?" in screen_text(app) and "‖ C" in screen_text(app))
        body = "\n".join(screen_lines(app)[1:-2])
        for word in ("qwen3", "gemma3", "phi4", "ollama", "vllm-a", "gpu2", "tok/s", "212", "waited", "Pull it"):
            assert word not in body, word
        assert "● A" in body and "✕ B" in body and "‖ C" in body
        assert body.count("figures after the vote") == 3
        assert "A and C on its server do not fit" in body


async def test_waiting_and_loading_do_not_give_a_blind_one_away(fake, chat):
    chat.view.set(view(answer(0, "", AnswerState.WAITING), count=2, waits="after qwen3:8b, needs 9.1 GB", blind=True))
    chat.compared.set((live(0, "loading", "loading qwen3:8b, 14s"),))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "waits for its turn" in screen_text(app))
        body = "\n".join(screen_lines(app)[1:-2])
        assert "loading" in body
        assert "qwen" not in body and "9.1" not in body
        await pilot.press("b")
        assert not fake.called("vote")


async def test_the_vote_tells_names_and_figures(fake, chat):
    chat.view.set(view(answer(0), answer(1), blind=True))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "Which is best?" in screen_text(app))
        await pilot.press("tab", "b")
        assert fake.called("vote") == [(11,)]
        chat.view.set(view(answer(0), answer(1), blind=True, vote=11))
        await until(lambda: "you chose B: gemma3:12b" in screen_text(app) and "fastest" in screen_text(app))
        text = screen_text(app)
        assert "A: qwen3:8b" in text and "49 tok/s" in text
        await pilot.press("b")
        assert fake.called("vote") == [(11,)]


async def test_none_of_them_is_a_vote(fake, chat):
    chat.view.set(view(answer(0), answer(1), blind=True, vote=-1))
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        await until(lambda: "you chose none of them" in screen_text(app))
        assert "A: qwen3:8b" in screen_text(app)


# --- hostile text


@pytest.mark.parametrize(("size", "ascii_only"), [((80, 24), True), ((200, 50), False)])
@pytest.mark.parametrize("first", [0, 4, 8, 10])
async def test_X01_hostile_text_is_drawn_as_text(fake, chat, size, ascii_only, first):
    hostile, names = "\n\n".join(CANARIES), CANARIES[first : first + 4]
    stored = []
    for at, name in enumerate(names[:3]):
        state = (AnswerState.COMPLETE, AnswerState.FAILED, AnswerState.INTERRUPTED)[at]
        stored.append(answer(at, hostile, state, thinking=hostile, failure=Failure(name, name, name), note=name))
    one = view(*stored, count=4, how=" ".join(names), waits=names[0], prompt=hostile)
    assert one.compare is not None
    pairs = zip(one.compare.columns, names, strict=True)
    columns = tuple(replace(column, model=name, provider=name, name=name) for column, name in pairs)
    chat.view.set(replace(one, compare=replace(one.compare, columns=columns)))
    app = host(fake, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        for _column in names:
            await until(lambda: isinstance(app.focused, Transcript))
            await pilot.press("enter", "tab")
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        assert app.is_running


async def test_X05_an_answer_cannot_pass_for_the_frame(fake, chat):
    fakes = "Delete all? [y/n]\n▌● phi4:14b  complete\nyou chose A: phi4:14b\n! a notice"
    chat.view.set(view(answer(0, fakes), answer(1)))
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        await until(lambda: "Delete all?" in screen_text(app))
        for line in screen_lines(app):
            if any(part in line for part in ("Delete all?", "phi4:14b", "! a notice")):
                assert line.startswith(" "), line


async def test_ascii_draws_without_graphics(fake, chat):
    chat.view.set(view(answer(0), answer(1, "part", AnswerState.STOPPED)))
    app = host(fake, ascii_only=True)
    async with app.run_test(size=(120, 40)):
        await until(lambda: ">+ qwen3:8b" in screen_text(app))
        drawn = "".join(screen_lines(app)[1:-2])
        assert {char for char in drawn if not char.isascii()} <= {"·"}


# --- the chooser


def ask(app: Any, fake: FakeServices, **options: Any) -> list[Choice | None]:
    found: list[Choice | None] = []
    app.push_screen(CompareDialog(fake, **options), found.append)
    return found


@pytest.mark.parametrize("size", SIZES)
async def test_the_chooser_shows_models_of_all_providers_loaded_ones_first(fake, chat, size):
    library_data.fill(fake)
    app = host(fake)
    async with app.run_test(size=size) as pilot:
        found = ask(app, fake, again="Which one?")
        await until(lambda: "the last prompt again: Which one?" in screen_text(app))
        await until(lambda: "space marks" in screen_text(app))
        text = screen_text(app)
        assert "nomic-embed-text" not in text
        assert text.index("big/served-model") < text.index("qwen2.5:72b")
        assert "vllm-a" in text and "5.2 GB" in text and "no: " in text
        await pilot.press("space", "space", "enter")
        await until(lambda: found)
        assert found == [Choice("", (("vllm-a", "big/served-model"), ("ollama", "qwen3:8b")), False)]


async def test_what_is_missing_is_said(fake, chat):
    library_data.fill(fake)
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        found = ask(app, fake)
        await until(lambda: "space marks" in screen_text(app))
        await pilot.press("enter")
        await until(lambda: "mark two to four models" in screen_text(app))
        await pilot.press("tab", "tab", "space", "space", "enter")
        await until(lambda: "write the prompt" in screen_text(app))
        await pilot.press("tab", *"why", "enter")
        await until(lambda: found)
        assert found[0] is not None
        assert found[0].text == "why"


async def test_five_are_too_many(fake, chat):
    fake.registry.models.set(tuple(library_data.model(f"m{number}") for number in range(6)))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        found = ask(app, fake, text="why")
        await until(lambda: "space marks" in screen_text(app))
        await pilot.press(*["space"] * 5)
        await until(lambda: "5 are marked; at most 4 can be compared" in screen_text(app))
        await pilot.press("enter")
        assert not found


async def test_a_provider_that_cannot_chat_says_why(fake, chat):
    library_data.fill(fake)
    fake.registry.reasons[("vllm-a", "chat")] = "vllm-a is read-only here"
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        found = ask(app, fake, text="why", marked=[("vllm-a", "big/served-model"), ("ollama", "qwen3:8b")])
        await until(lambda: "vllm-a is read-only" in screen_text(app))
        await pilot.press("enter")
        await until(lambda: "big/served-model: vllm-a is read-only here" in screen_text(app))
        assert not found


async def test_the_filter_and_the_blind_switch(fake, chat):
    library_data.fill(fake)
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        found = ask(app, fake, text="why")
        await until(lambda: "space marks" in screen_text(app))
        await pilot.press("slash", *"coder", "enter")
        await until(lambda: "qwen2.5:72b" not in screen_text(app))
        await pilot.press("space", "slash", *["backspace"] * 5, "enter", "home", "space", "b")
        await until(lambda: "[✓] blind" in screen_text(app))
        await pilot.click("#comparing-blind")
        await until(lambda: "[ ] blind" in screen_text(app))
        await pilot.press("b")
        await until(lambda: "[✓] blind" in screen_text(app))
        await pilot.press("enter")
        await until(lambda: found)
        assert found[0] is not None
        assert found[0].blind
        assert set(found[0].models) == {("vllm-a", "big/served-model"), ("ollama", "qwen2.5-coder:32b")}


async def test_the_last_choice_is_remembered_where_no_two_are_given(fake, chat):
    library_data.fill(fake)
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        ask(app, fake, text="why", marked=[("ollama", "qwen3:8b"), ("vllm-a", "big/served-model")])
        await until(lambda: "2 of 4" in screen_text(app))
        await pilot.press("b", "enter")
        await until(lambda: not isinstance(app.screen, CompareDialog))
        ask(app, fake, again="why", marked=[("ollama", "qwen2.5:72b")])
        await until(lambda: "2 of 4 big/served-model, qwen3:8b" in screen_text(app))
        assert "[✓] blind" in screen_text(app)
        await pilot.press("escape")
        ask(app, fake, again="why", marked=[("ollama", "qwen2.5:72b"), ("ollama", "qwen3:8b")])
        await until(lambda: "2 of 4 qwen3:8b, qwen2.5:72b" in screen_text(app))


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_X01_the_chooser_draws_hostile_names_as_text(fake, chat, ascii_only):
    fake.registry.models.set(tuple(library_data.model(name, on=name) for name in CANARIES))
    app = host(fake, ascii_only=ascii_only)
    async with app.run_test(size=(120, 40)) as pilot:
        ask(app, fake, text="\n".join(CANARIES), again=CANARIES[0])
        await until(lambda: "[b + x" in screen_text(app))
        await pilot.press("space", "space", "space")
        await until(lambda: "3 of 4" in screen_text(app))
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))


# --- votes


async def test_the_votes_are_sorted_by_share(fake, chat):
    votes = [
        Votes("vllm-a", "phi4:14b", 3, 9, 2, 61.0, 0.2),
        Votes("ollama", "gemma3:12b"),
        Votes("ollama", "qwen3:8b", 12, 5, 8, 48.2, 0.31),
    ]
    chat.votes = lambda then: then(votes)
    chat.view.set(view(answer(0), answer(1)))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await reading(app)
        await pilot.press("V")
        await until(lambda: "71 %" in screen_text(app))
        assert [one.model for one in app.screen.query_one(Rows).shown_items] == ["qwen3:8b", "phi4:14b", "gemma3:12b"]
        text = screen_text(app)
        assert "15 so far" in text and "no vote" in text and "0.3s" in text
        await pilot.press("escape")
        await until(lambda: not isinstance(app.screen, VotesDialog))


async def test_without_votes_it_says_how_to_begin(fake, chat):
    chat.votes = lambda then: then(())
    app = host(fake)
    async with app.run_test(size=(80, 24)):
        app.push_screen(VotesDialog(chat))
        await until(lambda: "No comparison has been voted on. = in a chat" in screen_text(app))


async def test_X01_the_votes_draw_hostile_names_as_text(fake, chat):
    chat.votes = lambda then: then([Votes(name, name, 1, 1) for name in CANARIES])
    app = host(fake)
    async with app.run_test(size=(120, 40)):
        app.push_screen(VotesDialog(chat))
        await until(lambda: "[/INST]" in screen_text(app))
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
