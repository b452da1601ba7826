"""The parts of an answer's time add up, whatever comes in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.core.chat import Timeline
from tui.core.events import Metrics
from tui.services.chat.timing import STALL, Stopwatch

STEPS = st.lists(
    st.tuples(st.sampled_from(["loaded", "unloaded", "unknown", "reading", "thought", "text"]), st.floats(0, 100, allow_nan=False)),
    max_size=30,
)


def played(steps: list[tuple[str, float]], last: float = 0.0) -> tuple[Stopwatch, float]:
    now = 5.0
    watch = Stopwatch(now)
    for step, after in steps:
        now += after
        if step in ("loaded", "unloaded", "unknown"):
            watch.in_memory({"loaded": True, "unloaded": False}.get(step), now)
        elif step == "reading":
            watch.reading(now)
        else:
            getattr(watch, step)(now, "word ")
    watch.end(now + last)
    return watch, now + last


@given(STEPS, st.floats(0, 100))
def test_the_parts_add_up_to_the_whole(steps: list[tuple[str, float]], last: float) -> None:
    watch, now = played(steps, last)
    found = watch.timeline(now + 1000, Metrics())
    before = (found.waited or 0) + (found.loaded or 0) + (found.read or 0)
    if found.first_token is None:
        assert before == pytest.approx(now - 5.0)
        assert found.wrote is found.stalled is found.rate is found.thought is None
    else:
        assert before == pytest.approx(found.first_token)
        assert found.wrote is not None
        assert now - 5.0 - STALL <= found.first_token + found.wrote + 1e-6 <= now - 5.0 + 1e-3
        assert 0 <= (found.stalled or 0) <= found.wrote + 1e-6
        assert found.thought is None or 0 <= found.thought <= found.wrote + 1e-6
        assert found.rate is None or (found.rate > 0 and found.rate_estimated)


def test_a_silence_after_the_first_token_is_a_stall_and_not_counted_in_the_rate() -> None:
    steps = [("text", 1.0), *[("text", 0.1)] * 10, ("text", 30.0), *[("text", 0.1)] * 10]
    watch, now = played(steps)
    found = watch.timeline(now, Metrics(output_tokens=22))
    assert found.stalled == pytest.approx(30)
    assert found.wrote == pytest.approx(32)
    assert found.rate == pytest.approx(22 * (1 - 1 / 22) / 2.0)
    assert not found.rate_estimated


def test_pieces_of_several_tokens_are_counted_by_the_servers_figure() -> None:
    watch, now = played([("text", 1.0), ("text", 1.0)])
    assert watch.timeline(now, Metrics(output_tokens=8)).rate == 4.0  # the first piece was written before it came


@pytest.mark.parametrize(("told", "estimated"), [(100, False), (110, False), (60, True), (5000, True), (None, True)])
def test_a_count_that_is_not_of_what_came_is_not_used(told: int | None, estimated: bool) -> None:
    watch, now = played([("text", 0.1)] * 100)
    found = watch.timeline(now, Metrics(output_tokens=told))
    assert found.rate_estimated is estimated
    assert found.rate == pytest.approx((100 if estimated or told is None else told) * 0.99 / 9.9)


def test_everything_at_once_has_no_rate() -> None:
    watch, now = played([("text", 3.0), *[("text", 0.0)] * 500])
    found = watch.timeline(now, Metrics(output_tokens=500))
    assert found == Timeline(waited=3.0, wrote=0.0, first_token=3.0)


def test_a_model_that_leaves_memory_while_we_wait_is_loaded_again() -> None:
    watch, now = played([("unloaded", 0.0), ("loaded", 10.0), ("reading", 2.0), ("text", 5.0)])
    found = watch.timeline(now, Metrics())
    assert (found.waited, found.loaded, found.read, found.first_token) == (None, 10.0, 7.0, 17.0)


def test_a_list_that_was_old_is_no_load() -> None:
    watch, now = played([("unloaded", 0.0), ("loaded", 0.3), ("text", 5.0)])
    found = watch.timeline(now, Metrics())
    assert (found.waited, found.loaded, found.read) == (pytest.approx(5.3), None, None)


def test_the_list_of_what_is_in_memory_counts_only_before_the_first_token() -> None:
    watch, now = played([("text", 1.0), ("unloaded", 1.0), ("reading", 1.0), ("text", 1.0)])
    found = watch.timeline(now, Metrics())
    assert (found.loaded, found.read, found.waited) == (None, None, 1.0)


def test_a_thought_that_never_became_text_lasts_to_its_end() -> None:
    watch, now = played([("thought", 1.0), ("thought", 1.0)], last=1.0)
    assert watch.timeline(now, Metrics()).thought == 1.0
