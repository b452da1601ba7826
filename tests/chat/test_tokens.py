"""Weighing texts, and learning from what servers counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.core.chat import Attachment, AttachmentKind, ChatRequest, Message, Role
from tui.core.clock import ManualClock
from tui.core.events import Metrics
from tui.services.chat import tokens
from tui.services.chat.tokens import UNMEASURED, Calibration, calibrate, estimate, prompt_note, weight
from tui.store.db import Database
from tui.store.measurements import Measurements


def user(text: str, *attached: Attachment) -> Message:
    return Message(0, 1, 0, Role.USER, text, attachments=attached)


@pytest.mark.parametrize(
    ("text", "least", "most"),  # what common tokenizers make of it
    [
        ("The quick brown fox jumps over the lazy dog and goes on to the next field. " * 20, 280, 480),
        ("def fits(free: int, weights: int) -> bool:\n    return weights * 1.2 < free\n" * 20, 400, 620),
        ("汉字和日本語の文章は一文字が一つか二つのトークンになる。" * 20, 350, 800),
        ("Это предложение написано по-русски и довольно длинное. " * 20, 200, 520),
        ("1234567890 " * 50, 200, 600),
        (" " * 4000, 0, 300),
        ("-" * 4000, 0, 1300),
        ("\n" * 3000, 0, 300),
        ("", 0, 0),
    ],
)
def test_weights_are_near_what_tokenizers_count(text: str, least: int, most: int) -> None:
    assert least <= weight(text) / tokens.CHARS_PER_TOKEN <= most


@given(st.text(max_size=300), st.text(max_size=300))
def test_more_text_never_weighs_less(one: str, other: str) -> None:
    assert 0 <= weight(one) <= weight(one + "\x00x" + other) + 3


def test_P22_a_huge_text_is_weighed_by_samples() -> None:
    text = ("words and more words, " * 50_000 + "汉字" * 50_000) * 5
    whole = weight(text)
    assert weight(text) == whole
    part = text[: len(text) // 5]
    assert whole == pytest.approx(5 * sum(weight(part[at : at + 60_000]) for at in range(0, len(part), 60_000)), rel=0.1)


def test_everything_that_is_sent_is_counted() -> None:
    plain = estimate([user("a" * 36)])
    assert plain == 10 + tokens.PER_MESSAGE
    assert estimate([user("a" * 36)], "b" * 36) == plain + 10 + tokens.PER_MESSAGE
    assert estimate([user("a" * 36, Attachment("f", text="c" * 360))]) > plain + 100
    assert estimate([user("a" * 36, Attachment("p.png", AttachmentKind.IMAGE))]) == plain + tokens.IMAGE_TOKENS
    assert estimate([user("a" * 36)], tools=({"function": {"name": "time"}},)) > plain + 5
    asked = Message(0, 1, 0, Role.ASSISTANT, "", tool_calls=({"function": {"name": "time", "arguments": {}}},))
    assert estimate([asked]) > estimate([Message(0, 1, 0, Role.ASSISTANT, "")]) + 5
    assert estimate([Message(0, 1, 0, Role.ASSISTANT, "", thinking="x" * 9000)]) == tokens.PER_MESSAGE


def note(weighed: float, pieces: int) -> str:
    return f"prompt {weighed:.0f} in {pieces}"


@settings(max_examples=60)
@given(
    st.floats(2.0, 6.0),
    st.floats(0, 900),
    st.lists(
        st.tuples(st.floats(500, 60_000), st.integers(1, 30), st.floats(-0.04, 0.04)), min_size=8, max_size=16, unique_by=lambda row: row[0]
    ),
    st.integers(0, 2),
)
def test_the_model_is_learned_though_some_rows_are_nonsense(
    ratio: float, base: float, rows: list[tuple[float, int, float]], nonsense: int
) -> None:
    told: list[tuple[str, int | None]] = [
        (note(weighed, pieces), round((weighed / ratio + base + 4 * pieces) * (1 + noise))) for weighed, pieces, noise in rows
    ]
    told = [(text, 7) for text, _counted in told[:nonsense]] + told[nonsense:]
    found = calibrate(told)
    assert found.measured >= 3
    for weighed in (5_000, 50_000):
        really = weighed / ratio + base
        assert found.tokens(weighed, 0) == pytest.approx(really, rel=0.35)


def test_the_templates_share_is_told_from_the_texts() -> None:
    rows = [(note(weighed, 1), round(weighed / 4 + 250 + 4)) for weighed in (50, 900, 2000, 5000, 9000)]
    found = calibrate(rows)
    assert (found.ratio, found.base, found.measured) == (pytest.approx(4, rel=0.01), pytest.approx(250, abs=2), 5)


def test_rows_of_one_size_give_a_ratio() -> None:
    assert calibrate([(note(3000, 1), 1004)] * 2) == Calibration(3.0, 0.0, 2)
    assert calibrate([(note(100, 1), 30), ("other", 5), (note(3000, 1), None), (note(3000, 1), 9)]) == UNMEASURED


def test_margins_shrink_with_what_is_known() -> None:
    assert UNMEASURED.margin > Calibration(3, 0, 1).margin > Calibration(3, 0, 3).margin


def test_a_note_is_kept_only_where_something_can_be_learned() -> None:
    counted = Metrics(prompt_tokens=30)
    assert prompt_note(ChatRequest("m", (user("abc"),), "sys"), counted) == "prompt 6 in 2"
    assert prompt_note(ChatRequest("m", (user("abc"),)), Metrics()) == ""
    assert prompt_note(ChatRequest("m", (user("abc", Attachment("p.png", AttachmentKind.IMAGE)),)), counted) == ""


async def test_what_was_measured_is_learned_for_each_model_of_each_provider(tmp_path: Path) -> None:
    database = Database(tmp_path / "paddock.db")
    kept = Measurements(database, ManualClock())
    for weighed in (3000, 6000, 9000):
        await kept.add("lab", "m", Metrics(prompt_tokens=round(weighed / 3) + 4), note=note(weighed, 1))
    assert tokens.stored_calibration(database, "lab", "m").ratio == pytest.approx(3)
    assert tokens.stored_calibration(database, "other", "m") == tokens.stored_calibration(None, "lab", "m") == UNMEASURED
    await database.aclose()
