"""Levels of quantization: size, loss, names, and how far answers agree."""

from __future__ import annotations

import pytest

from tui.core.levels import LEVELS, Answer, agree, agreement, expected_size, head_share, is_full, level_name, level_named, stem, words_of
from tui.core.models import ModelDetail

GB = 10**9


def detail(**info: object) -> ModelDetail:
    return ModelDetail("box", "a", info={"general.architecture": "llama", **info})


def test_the_levels_are_those_of_the_reference_from_fine_to_coarse() -> None:
    assert [level.name for level in LEVELS] == ["q8_0", "q4_K_M", "q4_K_S"]
    bits = [level.bits() for level in LEVELS]
    assert bits == sorted(bits, reverse=True)
    assert all(level.loss for level in LEVELS)
    assert level_named("Q4_k") is level_named("q4_k_M") is LEVELS[1]
    assert level_named("q2_K") is None


@pytest.mark.parametrize(
    ("weights", "share", "name", "real"),
    [
        (16_068_895_552, 0.065, "q4_K_M", 4_920_738_944),  # Llama 3.1 8B, untied: reference section 6.5
        (2_479_595_360, 0.213, "q4_K_M", 807_693_984),  # Llama 3.2 1B, tied
        (2_479_595_360, 0.213, "q8_0", 1_321_082_528),
        (16_068_895_552, 0.065, "q4_K_S", 4_692_668_960),
    ],
)
def test_expected_sizes_are_within_two_percent_of_real_ones(weights: int, share: float, name: str, real: int) -> None:
    level = level_named(name)
    assert level is not None
    assert expected_size(weights, "f16", level, share) == pytest.approx(real, rel=0.02)
    assert expected_size(2 * weights, "F32", level, share) == pytest.approx(real, rel=0.02)


def test_the_share_of_the_head_is_read_where_it_is_told() -> None:
    told = {"general.parameter_count": 1_235_814_400, "llama.vocab_size": 128_256, "llama.embedding_length": 2048}
    assert head_share(detail(**told)) == pytest.approx(0.2125, abs=0.001)
    assert head_share(detail(**{**told, "llama.vocab_size": None})) == 0.0
    tensor = ModelDetail(
        "box", "a", info={**detail(**told).info, "llama.vocab_size": None}, tensors=(("token_embd.weight", "F16", (2048, 128_256)),)
    )
    assert head_share(tensor) == pytest.approx(0.2125, abs=0.001)
    assert head_share(None) == 0.0
    assert head_share(detail(**{**told, "general.parameter_count": True})) == 0.0
    assert head_share(detail(**{**told, "general.parameter_count": 5})) == 0.5


def test_names_of_levels() -> None:
    assert level_name("llama3.2:1b-instruct-fp16", "q4_K_M") == "llama3.2:1b-instruct-q4_K_M"
    assert level_name("mine", "q8_0") == "mine:q8_0"
    assert level_name("me/mine:F16", "q8_0") == "me/mine:q8_0"
    assert level_name("hf.co/a/b:bf16", "q4_K_S") == "hf.co/a/b:q4_K_S"
    assert len(level_name(f"a:{'x' * 80}", "q4_K_M").partition(":")[2]) == 80
    assert is_full("bf16") and not is_full("Q4_K_M") and not is_full("")


def test_what_belongs_together() -> None:
    assert stem("llama3.2:1b-instruct-q4_K_M") == stem("Llama3.2:1b-instruct-fp16") == "llama3.2:1b-instruct"
    assert stem("a:q8_0") == stem("a") == stem("a:F16")
    assert stem("llama3.1:8b") != stem("llama3.1:70b")
    assert stem("not a name!") == "not a name!"


def test_agreement_is_the_share_of_equal_leading_words() -> None:
    whole = Answer("the floor of the upper room")
    assert agreement(whole, whole) == 1.0
    assert agreement(whole, Answer("the floor of wood")) == pytest.approx(3 / 6)
    assert agreement(whole, Answer("a floor of the upper room")) == 0.0
    assert agreement(whole, Answer("the floor of the upper room and more")) == pytest.approx(6 / 8)
    assert agreement(whole, Answer("")) == 0.0
    assert agreement(Answer(""), Answer("  ")) is None


def test_cut_answers_are_compared_as_far_as_both_go() -> None:
    assert words_of(Answer("one two thr", cut=True)) == ["one", "two"]
    assert agreement(Answer("one two three four", cut=True), Answer("one two three fo", cut=True)) == 1.0
    assert agreement(Answer("one two three", cut=True), Answer("one two and so on")) == 1.0
    assert agreement(Answer("one", cut=True), Answer("two", cut=True)) == 0.0


def test_a_set_of_answers() -> None:
    reference = [Answer("a b"), Answer("c d"), Answer("")]
    assert agree(reference, [Answer("a b"), Answer("c x"), Answer("")]) == (pytest.approx(0.75), 1)
    assert agree([Answer("")], [Answer("")]) == (None, 0)
