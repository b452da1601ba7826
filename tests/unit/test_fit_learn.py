"""What loads teach, how fast a model would be, and the table of context by level."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.test_fit import GB, LLAMA, WEIGHTS
from tui.core.fit import (
    Basis,
    Card,
    Lessons,
    Load,
    Machine,
    Need,
    Pace,
    Ran,
    Served,
    Source,
    Subject,
    Variant,
    Verdict,
    bandwidth_of,
    computed,
    contexts_of,
    estimate,
    expected_rate,
    judge,
    largest_context,
    load_of,
    make_table,
    need_of,
    pace_of,
    parameters_of,
    relative,
    shape_of,
    subject_of,
)
from tui.core.fit_learn import factors_of
from tui.core.models import Model

SUBJECT = Subject(WEIGHTS, shape_of(LLAMA), 131_072, 8.03e9, "llama", "box", "d1", "llama3.1:8b", "Q4_K_M")
CARD = Machine(32 * GB, 20 * GB, 12 * GB, 11 * GB, 1)


def seen(subject: Subject, context: int, off: float = 0.0, *, served: Served | None = None, **more: Any) -> Load:
    """A load that took so many bytes more than the formulas say."""
    how = served or Served()
    size = int(estimate(subject.weights, subject.shape, context, how).total + off)
    return load_of(subject, context, how, size=size, vram=size, **more)


# --- learning ----------------------------------------------------------------------------------------------------------


def test_without_loads_it_is_the_formula() -> None:
    need = need_of(SUBJECT, 8192)
    assert (need.basis, need.total, need.correction) == (Basis.FORMULA, estimate(WEIGHTS, SUBJECT.shape, 8192).total, 0)


def test_the_same_load_again_is_measured() -> None:
    load = seen(SUBJECT, 8192, 0.7 * GB)
    need = need_of(SUBJECT, 8192, lessons=Lessons([load]))
    assert (need.total, need.basis) == (load.size, Basis.MEASURED)
    assert need.measured


@pytest.mark.parametrize(
    "other",
    [replace(SUBJECT, digest="d2", family="qwen2"), replace(SUBJECT, provider="else", family="")],
)
def test_a_load_says_nothing_of_strangers(other: Subject) -> None:
    assert need_of(other, 8192, lessons=Lessons([seen(SUBJECT, 8192, 2 * GB)])).basis is Basis.FORMULA


def test_another_context_of_the_same_model_is_fitted_between_its_loads() -> None:
    lessons = Lessons([seen(SUBJECT, 4096, 0.2 * GB), seen(SUBJECT, 12_288, 0.6 * GB)])
    formula = estimate(WEIGHTS, SUBJECT.shape, 8192).total
    need = need_of(SUBJECT, 8192, lessons=lessons)
    assert need.basis is Basis.FITTED
    assert need.total == pytest.approx(formula + 0.4 * GB, rel=1e-6)
    assert need_of(SUBJECT, 65_536, lessons=lessons).correction == pytest.approx(0.6 * GB, abs=2)


def test_another_kind_of_cache_or_more_slots_are_no_measurement() -> None:
    lessons = Lessons([seen(SUBJECT, 8192, 0.5 * GB)])
    assert need_of(SUBJECT, 8192, Served(kv_type="q8_0"), lessons).basis is Basis.FITTED
    assert need_of(SUBJECT, 8192, Served(slots=4), lessons).basis is Basis.FITTED


def test_a_load_partly_on_the_cpu_teaches_about_all_of_it() -> None:
    need = estimate(WEIGHTS, SUBJECT.shape, 8192)
    load = load_of(SUBJECT, 8192, Served(), size=need.whole + GB, vram=2 * GB)
    assert load.partial
    assert load.formula == need.whole
    assert need_of(SUBJECT, 8192, lessons=Lessons([load])).whole == need.whole + GB


def test_a_family_is_corrected_by_least_squares() -> None:
    others = [replace(SUBJECT, digest=f"d{number}", weights=int(size * GB)) for number, size in enumerate((2, 5, 9, 14))]

    def took(subject: Subject, context: int) -> Load:
        need = estimate(subject.weights, subject.shape, context)
        size = int(1.08 * (need.total - need.kv_cache) + 1.25 * need.kv_cache)
        return load_of(subject, context, Served(), size=size, vram=size)

    lessons = Lessons([took(one, context) for one in others for context in (4096, 32_768)])
    factors = lessons.families["llama"]
    assert factors.loads == 8
    assert factors.rest == pytest.approx(1.08, abs=0.02)
    assert factors.cache == pytest.approx(1.25, abs=0.03)
    new = replace(SUBJECT, digest="new", weights=7 * GB)
    need, plain = need_of(new, 16_384, lessons=lessons), estimate(7 * GB, SUBJECT.shape, 16_384)
    assert need.basis is Basis.FITTED
    assert need.total == pytest.approx(1.08 * (plain.total - plain.kv_cache) + 1.25 * plain.kv_cache, rel=0.01)


def test_one_wild_load_moves_a_family_within_bounds() -> None:
    wild = factors_of([replace(seen(SUBJECT, 8192), size=900 * GB)])
    assert wild.rest <= 2
    assert wild.cache <= 2
    nothing = factors_of([replace(seen(SUBJECT, 8192), formula=0, cache=0)])
    assert (nothing.rest, nothing.cache) == (1.0, 1.0)


def test_the_shape_of_a_model_is_read_once_from_its_details() -> None:
    model = Model("box", "llama3.1:8b", "llama3.1:8b", WEIGHTS, "d1", parameters="8.0B", quantization="Q4_K_M")
    first, again = subject_of(model, LLAMA), subject_of(model, LLAMA)
    assert first is not None
    assert again is not None
    assert first.shape is again.shape
    assert (first.family, first.digest, first.context) == ("llama", "d1", 131_072)
    assert subject_of(Model("box", "m", "m")) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("8.2B", 8.2e9), ("751.63M", 751.63e6), ("8x7b", 56e9), ("e4b", 4e9), ("22m", 22e6), ("big", None), ("", None), ("-3B", None)],
)  # fmt: skip
def test_parameters_are_read_as_people_write_them(text: str, number: float | None) -> None:
    assert parameters_of(text) == (None if number is None else pytest.approx(number))


# --- speed -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [("NVIDIA GeForce RTX 3090", 936), ("NVIDIA GeForce RTX 4070 Ti SUPER", 672), ("RTX 3060Ti", 448), ("NVIDIA A100-SXM4-80GB", 1555),
     ("NVIDIA H200", 4800), ("AMD Radeon RX 7900 XTX", 960), ("Apple M3 Max", 400), ("NVIDIA L4", 300), ("Voodoo 2", None), ("", None)],
)  # fmt: skip
def test_the_bandwidth_of_a_gpu_is_known_by_its_name(name: str, gigabytes: int | None) -> None:
    assert bandwidth_of(name) == (None if gigabytes is None else gigabytes * 1e9)


def test_speed_follows_the_share_on_the_cpu() -> None:
    need, pace = Need(10 * GB, GB, GB), Pace(500e9, 40e9)
    rates = [expected_rate(need, share, pace) for share in (0.0, 0.2, 0.5, 1.0)]
    assert rates == sorted(rates, key=lambda rate: -(rate or 0))
    assert rates[0] == pytest.approx(50, rel=0.05)
    assert rates[3] == pytest.approx(4, rel=0.05)
    assert expected_rate(need, 0.0, Pace(None)) is None
    assert expected_rate(replace(need, active=0.1), 1.0, pace) == pytest.approx(40, rel=0.05)


def test_answers_that_were_measured_say_how_fast_memory_is() -> None:
    pace = pace_of(["RTX 3090"], [Ran(50, 10 * GB, 0), Ran(60, 10 * GB, 0), Ran(55, 10 * GB, 0), Ran(5, 5 * GB, 5 * GB)])
    assert pace.measured
    assert pace.gpu == pytest.approx(550e9)
    left = 1 / 5 - 5 * GB / 550e9
    assert pace.ram == pytest.approx(5 * GB / left)
    assert not pace_of(["RTX 3090"]).measured
    assert pace_of(["what"]).gpu is None
    assert pace_of([], [Ran(1000, 0, 0)]) == Pace()


# --- the table ---------------------------------------------------------------------------------------------------------


def test_contexts_go_up_to_what_it_was_trained_for() -> None:
    assert contexts_of(40_960) == (2048, 4096, 8192, 16_384, 32_768, 40_960)
    assert contexts_of(512) == (512,)
    few = contexts_of(1_048_576, 6)
    assert len(few) == 6
    assert 8192 in few
    assert few[-1] == 1_048_576


def test_the_largest_context_fits_and_one_more_step_does_not() -> None:
    most = largest_context(SUBJECT, CARD)
    assert most is not None
    assert most % 1024 == 0
    assert judge(need_of(SUBJECT, most), CARD).verdict in (Verdict.GOOD, Verdict.TIGHT)
    assert judge(need_of(SUBJECT, most + 1024), CARD).verdict is Verdict.SLOW


def test_a_context_that_fits_whole_is_the_trained_one_and_none_is_none() -> None:
    assert largest_context(SUBJECT, Machine(32 * GB, 20 * GB, 80 * GB, 79 * GB, 1)) == 131_072
    assert largest_context(replace(SUBJECT, context=5000), Machine(32 * GB, 20 * GB, 80 * GB, 79 * GB, 1)) == 5000
    assert largest_context(SUBJECT, Machine(4 * GB, GB)) is None


def test_levels_nobody_offers_are_worked_out_by_bits_a_weight() -> None:
    made = computed(SUBJECT, ["Q4_K_M"])
    assert [one.label for one in made] == ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q3_K_M", "Q2_K"]
    assert all(one.source is Source.COMPUTED and not one.name and not one.subject.digest for one in made)
    eight = made[1].subject
    assert eight.weights == pytest.approx(8.5 * GB, rel=0.01)
    assert need_of(eight, 8192).kv_cache == need_of(SUBJECT, 8192).kv_cache
    assert computed(Subject(GB), []) == []
    assert computed(Subject(GB, quantization="q4_k_m"), [])[0].subject.weights == pytest.approx(GB * 16 / 4.85, rel=0.01)


def test_the_table_judges_each_level_at_each_context() -> None:
    variants = [Variant("8b", SUBJECT, Source.INSTALLED, "llama3.1:8b"), *computed(SUBJECT, ["Q4_K_M"])]
    small = Variant("1b", Subject(GB, context=4096), Source.CATALOGUE, "llama3.2:1b", other=True)
    table = make_table([small, *variants], (4096, 32_768), CARD)
    assert [row.variant.label for row in table.rows] == ["F16", "Q8_0", "Q6_K", "Q5_K_M", "8b", "Q3_K_M", "Q2_K", "1b"]
    own = next(row for row in table.rows if row.variant.label == "8b")
    assert [fit.verdict for fit in own.fits if fit] == [Verdict.GOOD, Verdict.TIGHT]
    assert own.largest is not None
    assert own.at_largest is not None
    assert table.rows[-1].fits[1] is None
    assert table.rows[0].largest is None


def test_a_relative_keeps_the_shape_but_not_what_was_measured() -> None:
    lessons = Lessons([seen(SUBJECT, 8192, GB)])
    other = relative(SUBJECT, 8 * GB, "Q8_0")
    assert need_of(other, 8192, lessons=lessons).basis is Basis.FITTED
    assert other.quantization == "Q8_0"


def test_cards_of_different_sizes_are_seen_one_by_one() -> None:
    even = Machine(32 * GB, GB, 24 * GB, 24 * GB, 2)
    uneven = replace(even, cards=(Card(22 * GB, 22 * GB), Card(2 * GB, 2 * GB)))
    subject = replace(SUBJECT, weights=16 * GB)
    assert largest_context(subject, uneven) is not None
    assert (largest_context(subject, uneven) or 0) != (largest_context(subject, even) or 0)


def test_what_is_loaded_is_unloaded_before_it_is_loaded_otherwise() -> None:
    full = Machine(32 * GB, 20 * GB, 12 * GB, 4 * GB, 1, gpu_ours=7 * GB)
    variant = Variant("8b", SUBJECT, Source.INSTALLED, SUBJECT.name)
    (row,) = make_table([variant], (8192,), full).rows
    (own,) = make_table([variant], (8192,), full, loaded={SUBJECT.name: 7 * GB}).rows
    assert row.fits[0] is not None
    assert own.fits[0] is not None
    assert (row.fits[0].verdict, own.fits[0].verdict) == (Verdict.AFTER_UNLOAD, Verdict.GOOD)
    assert (row.largest, own.largest) == (None, largest_context(SUBJECT, replace(full, gpu_free=11 * GB, gpu_ours=0)))
