"""Hours of the day in which the queue works, by this machine's clock."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tui.core.hours import PATTERN, opens_at


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place with summer time: the clocks went forward on 29 March 2026 at 02:00, and back on 25 October at 03:00."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    return time.mktime((*time.strptime(text, "%Y-%m-%d %H:%M")[:6], 0, 0, -1))


@pytest.mark.parametrize(
    ("hours", "now", "opens"),
    [
        ("", "2026-11-21 12:00", None),
        ("23:00-07:00", "2026-11-21 12:00", "2026-11-21 23:00"),
        ("23:00-07:00", "2026-11-21 22:59", "2026-11-21 23:00"),
        ("23:00-07:00", "2026-11-21 23:00", None),
        ("23:00-07:00", "2026-11-22 06:59", None),
        ("23:00-07:00", "2026-11-22 07:00", "2026-11-22 23:00"),
        ("09:00-17:30", "2026-11-21 17:29", None),
        ("09:00-17:30", "2026-11-21 17:30", "2026-11-22 09:00"),
        ("09:00-17:30", "2026-11-21 03:00", "2026-11-21 09:00"),
        ("08:00-08:00", "2026-11-21 12:00", None),  # the whole day
        ("01:00-04:00", "2026-03-28 12:00", "2026-03-29 01:00"),  # the night in which an hour is missing
        ("23:00-07:00", "2026-10-25 12:00", "2026-10-25 23:00"),
        ("nonsense", "2026-11-21 12:00", None),
    ],
)
def test_when_the_hours_begin(hours: str, now: str, opens: str | None) -> None:
    assert opens_at(hours, at(now)) == (None if opens is None else at(opens))


@pytest.mark.parametrize("text", ["24:00-07:00", "23:60-07:00", "7:00-9:00", "23:00", "23:00-07:00 ", "٢٣:00-07:00"])
def test_what_is_no_hours(text: str) -> None:
    assert not re.fullmatch(PATTERN, text)
