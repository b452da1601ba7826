"""The test vectors of the cleaning rule, and figures as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui import text

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e0fff]")
NASTY = st.text(
    alphabet=st.one_of(
        st.sampled_from("ab\t\n\r\x0b\x85\u2028\x1b\x07\x9b\x00\x7f\u202e\u200b\u200d\ufe0f\u0301\U000e0041\ud83d[]"), st.characters()
    )
)


@pytest.mark.parametrize(
    ("raw", "block", "name"),
    [
        ("A\x1b]52;c;UFdORUQ=\x07B", "A␛]52;c;UFdORUQ=␇B", "A␛]52;c;UFdORUQ=␇B"),
        ("ok\rFAKE", "ok\nFAKE", "ok⏎FAKE"),
        ("gpt\u202ecod.exe", "gpt‹U+202E›cod.exe", "gpt‹U+202E›cod.exe"),
        ("llama\u200b3", "llama3", "llama‹U+200B›3"),
        ("x\U000e0041\U000e0042", "x", "x‹U+E0041›‹U+E0042›"),
        ("\x9b31mhi", "\ufffd31mhi", "\ufffd31mhi"),
        ("line\x1b]0;no end rest", "line␛]0;no end rest", "line␛]0;no end rest"),
        ("\ud800", "\ufffd", "\ufffd"),
        ("z" + "\u0301" * 50, "z" + "\u0301" * 10, "z" + "\u0301" * 10),
        ("a\tb", "a    b", "a b"),
    ],
)
def test_X01_cleaning_vectors(raw, block, name):
    assert text.clean_block(raw) == block
    assert text.clean_name(raw) == name


@pytest.mark.parametrize("plain", ["Grüße, 日本語, العربية, हिन्दी, русский, 👩‍👩‍👧, é", "naïve café"])
def test_ordinary_text_of_any_script_stays(plain):
    assert text.clean_block(plain) == plain


@given(NASTY)
def test_X01_P50_nothing_forbidden_is_left(raw):
    for clean in (text.clean_block, text.clean_label, text.clean_name):
        cleaned = clean(raw)
        assert not FORBIDDEN.search(cleaned)
        assert clean(cleaned) == cleaned
    assert "\n" not in text.clean_label(raw)
    assert not FORBIDDEN.search(text.strip_line(raw))
    text.clean_door(raw).encode("utf-8")


@given(st.lists(NASTY, max_size=8))
def test_pieces_cleaned_one_by_one_equal_the_whole(pieces):
    cleaner = text.StreamCleaner()
    streamed = "".join(cleaner.feed(piece) for piece in pieces) + cleaner.close()
    assert streamed == text.clean_block("".join(pieces))


def test_long_names_lose_their_middle():
    assert len(text.clean_name("x" * 5000)) <= 256
    assert "…" in text.clean_label("y" * 5000)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (-1, "–"),
        (float("nan"), "–"),
        (0, "0 B"),
        (999, "999 B"),
        (999_999, "1.0 MB"),
        (5.2e9, "5.2 GB"),
        (20e9, "20 GB"),
        (274e6, "274 MB"),
    ],
)
def test_sizes(value, shown):
    assert text.size(value) == shown


def test_binary_sizes():
    assert text.size(8 * 1024**3, binary=True) == "8.0 GiB"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0.31, "0.3s"),
        (14, "14s"),
        (65, "1m05s"),
        (2280, "38 min"),
        (7200, "2 h"),
        (3 * 86400, "3 d"),
        (-4, "0.0s"),
        (59.7, "1m00s"),
    ],
)
def test_durations(seconds, shown):
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(None, "–"), (300, "300"), (4096, "4k"), (40960, "40k"), (131072, "128k"), (8193, "8.2k"), (1500, "1.5k")]
)
def test_tokens(number, shown):
    assert text.tokens(number) == shown


def test_nearest_word():
    assert text.nearest("retrys", ["retries", "margin"]) == "retries"
    assert text.nearest("zzz", ["retries"]) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ll\u0430ma3:8b", "ll\u2039U+0430\u203ama3:8b"),
        ("qwen3\u03bfx", "qwen3\u2039U+03BF\u203ax"),
        ("\u043b\u0430\u043c\u0430", "\u043b\u0430\u043c\u0430"),
        ("my \u043c\u0430\u043c\u0430", "my \u043c\u0430\u043c\u0430"),
        ("\u0394t r\u00e9sum\u00e9 stra\u00dfe", "\u0394t r\u00e9sum\u00e9 stra\u00dfe"),
        ("\u03b1\u03b2\u03b3", "\u03b1\u03b2\u03b3"),
    ],
)
def test_X23_letters_that_only_look_latin_are_shown_in_names(name: str, shown: str) -> None:
    assert text.clean_name(name) == shown == text.clean_name(shown)
    assert text.clean_block(name) == name
