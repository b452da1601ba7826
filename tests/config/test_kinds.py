"""Values of settings: what is accepted, what is refused with which sentence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.config.kinds import (
    Address,
    Arguments,
    Bytes,
    Choice,
    KeepAlive,
    KeyReference,
    Kind,
    Names,
    Number,
    Pairs,
    Seconds,
    Secret,
    Stops,
    Switch,
    Whole,
    Words,
)

EVERY: tuple[Kind, ...] = (
    Address(), Arguments(), Bytes(), Bytes(empty=True), Choice(("a", "b")), KeepAlive(), KeyReference(), Names(), Number(0, 2), Pairs(),
    Seconds(0.5, 60), Seconds(5, 60, zero=True), Stops(), Switch(), Whole(1, 5), Words("[a-z]+", "letters", "abc"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Seconds(0, 1e6), "5s", 5.0), (Seconds(0, 1e6), "10m", 600.0), (Seconds(0, 1e6), 1.5, 1.5), (Seconds(0, 1e6), "250ms", 0.25),
        (Seconds(5, 60, zero=True), 0, 0.0), (Bytes(), "20 GB", 20 * 10**9), (Bytes(), "512 MiB", 512 * 2**20), (Bytes(), 7, 7),
        (Bytes(), "1.5GB", 1_500_000_000), (Bytes(empty=True), "", None), (KeepAlive(), 300, "300s"), (KeepAlive(), -1, "-1"),
        (Address(), "https://h:8/v1/", "https://h:8/v1"), (Choice(("auto", "on", "off"), "on", "off"), True, "on"),
    ],
)  # fmt: skip
def test_accepted(kind: Kind, raw: object, value: object):
    assert kind.check(raw) == value


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Seconds(1, 60), -1), (Seconds(1, 60), math.nan), (Seconds(1, 60), math.inf), (Seconds(1, 60), 10**400), (Seconds(1, 60), ""),
        (Seconds(1, 60), True), (Bytes(), "ten"), (Bytes(), "5 XB"), (Bytes(), -1), (Whole(1, 5), 2.0), (Whole(1, 5), "2"),
        (Whole(1, 5), 6),
        (Switch(), "yes"), (Switch(), 1), (Address(), "127.0.0.1:11434"), (Address(), "http://h:70000"), (Address(), "http://h:0"),
        (Address(), "http://user:pw@h"), (Address(), "file:///etc"), (Address(), "http://h/\x1b"), (Names(), "one"), (Names(), [1]),
        (Number(0, 2), math.nan), (KeyReference(), "env:NOT A NAME"), (KeyReference(), 5), (Words(), "two\nlines"), (Choice(("a",)), "A "),
        (Arguments(), "ls -l"), (Arguments(), ["{program}", "x"]), (Arguments(), ["", "x"]), (Arguments(), ["a", "\0"]),
        (Pairs(names="[a-z]+"), {"a b": "c"}),
    ],
)  # fmt: skip
def test_C06_refused_with_what_is_expected(kind: Kind, raw: object):
    with pytest.raises(ValueError, match=r"^must (be|name) ..."):
        kind.check(raw)


@settings(max_examples=200)
@given(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.text())),
    st.sampled_from(EVERY),
)
def test_any_value_is_taken_or_refused_and_what_is_taken_can_be_written_and_read_again(raw: object, kind: Kind):
    try:
        value = kind.check(raw)
    except ValueError:
        return
    assert kind.check(kind.literal(value)) == value


@settings(max_examples=200)
@given(st.text(), st.sampled_from(EVERY))
def test_text_of_the_environment_never_raises_anything_else(text: str, kind: Kind):
    try:
        kind.check(kind.from_text(text))
    except ValueError:
        pass


def test_a_refused_user_part_is_not_repeated():
    with pytest.raises(ValueError) as caught:
        Address().check("http://me:hunter2@host")
    assert "hunter2" not in str(caught.value)


def test_a_literal_key_prints_nowhere():
    secret = Secret("sk-hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reference("box") == "config:box"
    assert Secret("env:NAME").reference("box") == "env:NAME"


def test_choices_of_the_environment_ignore_capitals():
    assert Choice(("C", "F")).from_text("c") == "C"
