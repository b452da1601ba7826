"""The allowance that a stream spends in turns."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tui.core.pace import TURN, WORTH, Pace

MB = 1_000_000


def test_without_a_limit_everything_may_run() -> None:
    pace = Pace(0.0)
    pace.spend(10**12, 1.0)
    assert pace.may_run(1.0)


def test_what_came_too_much_is_paid_by_the_pause() -> None:
    pace = Pace(0.0)
    pace.set_limit(MB, 0.0)
    pace.spend(int(TURN) * MB + 60 * MB, 0.0)
    assert pace.paused
    assert not pace.may_run(60 + WORTH - 0.1)
    assert pace.may_run(60 + WORTH + 0.1)


def test_a_pause_is_never_too_short_for_the_server() -> None:
    pace = Pace(0.0)
    pace.set_limit(100 * MB, 0.0)
    pace.spend(int(TURN) * 100 * MB, 0.0)
    assert not pace.may_run(2.0)


def test_unused_time_is_not_saved_up() -> None:
    pace = Pace(0.0)
    pace.set_limit(MB, 0.0)
    pace.spend(int(TURN) * MB, 10_000.0)
    assert pace.paused


def test_a_new_limit_counts_at_once() -> None:
    pace = Pace(0.0)
    pace.set_limit(MB, 0.0)
    pace.spend(100 * MB, 0.0)
    pace.set_limit(10 * MB, 0.0)
    assert pace.may_run(95 + WORTH)
    pace.spend(1000 * MB, 100.0)
    pace.set_limit(None, 100.0)
    assert pace.may_run(100.0)


@settings(max_examples=60)
@given(limit=st.integers(1, 200), speed=st.floats(0.5, 50.0), line=st.sampled_from([0.06, 0.1, 0.25]))
def test_over_ten_minutes_the_limit_is_kept_whatever_the_line(limit: int, speed: float, line: float) -> None:
    """Bytes are counted as they come, a line at a time; the line is slower than the limit, or up to fifty times faster."""
    pace, now, brought = Pace(0.0), 0.0, 0.0
    pace.set_limit(limit * MB, 0.0)
    for _ in range(int(600 / line)):
        now += line
        if pace.may_run(now):
            count = int(limit * MB * speed * line)
            brought += count
            pace.spend(count, now)
    assert brought <= limit * MB * 600 * 1.1
    assert brought >= min(limit * MB, limit * MB * speed) * 600 * 0.9
