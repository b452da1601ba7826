"""Counting tokens, and noticing that the model saw less."""

import pytest

from tui.core.chat import AnswerState, Message, Role
from tui.core.events import Metrics
from tui.core.models import RunningModel
from tui.services.chat import context
from tui.services.chat.asking import title_of


def user(text: str) -> Message:
    return Message(0, 1, 0, Role.USER, text)


def answer(text: str, seen: int | None = None, estimate: int | None = None, wrote: int = 5) -> Message:
    metrics = Metrics(prompt_tokens=seen, output_tokens=wrote)
    return Message(0, 1, 0, Role.ASSISTANT, text, model="m", metrics=metrics, prompt_estimate=estimate)


def test_reported_figures_win_and_what_came_after_is_estimated() -> None:
    assert context.usage([user("hi"), answer("yes", 30)]) == context.Usage(35, False)
    assert context.usage([user("hi"), answer("yes", 30), user("x" * 36)]) == context.Usage(35 + 14, True)
    assert context.usage([]) == context.Usage(None, True)


def test_cjk_weighs_more() -> None:
    assert context.estimate([user("汉" * 36)]) == 29
    assert context.estimate([user("a" * 36)]) == 14


@pytest.mark.parametrize(
    ("seen", "sent", "served", "before", "alarmed"),
    [
        (256, 4000, 256, 0, True),  # recordings, chat 11: cut at num_ctx
        (22, 270, 128, 0, True),  # chat_length: older messages dropped whole
        (22, 270, None, 200, True),  # window unknown, but less than the answer before
        (22, 270, None, 0, False),  # our guess alone is no proof
        (250, 270, 256, 0, False),
        (None, 270, 128, 0, False),
    ],
)
def test_alarm(seen: int | None, sent: int, served: int | None, before: int, alarmed: bool) -> None:
    earlier = [user("a"), answer("b", before)] if before else [user("a")]
    assert bool(context.alarm(answer("c", seen, sent), earlier, served)) is alarmed


def test_alarm_in_words() -> None:
    assert context.alarm(answer("c", 4096, 7912), [], 4096) == "the model saw 4,096 of about 7,900 tokens; oldest dropped"


def test_ratio_is_learned_from_notes() -> None:
    note = context.ratio_note(3000, 1, 1004)
    assert context.ratio_of([note, "other", "chars/token x"]) == 3.0
    assert context.ratio_note(100, 1, 30) == ""
    assert context.ratio_of([]) == context.CHARS_PER_TOKEN


def test_window_of_the_loaded_model_then_of_the_options() -> None:
    running = [RunningModel("lab", "qwen3:latest", "qwen3:latest", context=4096)]
    assert context.window("lab", "qwen3", running, {"num_ctx": 99}) == 4096
    assert context.window("other", "qwen3", running, {"num_ctx": 99}) == 99
    assert context.window("other", "qwen3", running, {}) is None


def test_only_the_newest_of_two_answers_is_sent() -> None:
    kept = context.sent_messages([user("a"), answer("one"), answer("two"), user("b"), answer("")])
    assert [message.content for message in kept] == ["a", "two", "b"]


def test_a_part_can_be_continued() -> None:
    cut = Message(0, 1, 0, Role.ASSISTANT, "x", state=AnswerState.STOPPED)
    assert context.can_continue(cut) and not context.can_continue(answer("x"))


def test_titles_are_the_first_words() -> None:
    assert title_of("\n# Which quantization?\nmore") == "Which quantization?"
    assert title_of("word " * 40) == "word word word word word word word word word\u2026"
