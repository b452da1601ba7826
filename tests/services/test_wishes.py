"""What a person writes about pulls, read."""

from __future__ import annotations

import time

import pytest

from tui.core.errors import PaddockError
from tui.services.wishes import problem, read_limit, read_name, read_names, read_time


def test_limits_as_people_write_them() -> None:
    assert [read_limit(text) for text in ("", "none", "20 MB", "20MB/s", "1 MB", "2000000")] == [
        None,
        None,
        20 * 10**6,
        20 * 10**6,
        10**6,
        2 * 10**6,
    ]
    for text in ("500 kB", "1", "fast", "-1 MB", "20 parsecs", "0"):
        with pytest.raises(PaddockError) as caught:
            read_limit(text)
        assert caught.value.failure.where == "limit"
        assert caught.value.failure.remedy


def test_times_as_people_write_them() -> None:
    noon = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
    assert read_time("", noon) is None
    assert read_time("23:00", noon) == noon + 11 * 3600
    assert read_time("7:00", noon) == noon + 19 * 3600
    assert read_time("tomorrow 13:30", noon) == noon + 25.5 * 3600
    assert read_time("in 2h", noon) == noon + 7200
    assert read_time("+90 min", noon) == noon + 5400
    assert read_time("2026-11-22 06:00", noon) == noon + 18 * 3600
    for text in ("25:00", "soon", "in a while", "2020-01-01 00:00", "in 9999999h", "12:61"):
        with pytest.raises(PaddockError):
            read_time(text, noon)


def test_names_of_a_list() -> None:
    assert [one.name for one in read_names("a\nA:latest\nlibrary/a # again\n#b\n")] == ["a:latest"]
    assert read_name("HTTP://host:5000/ns/m:tag").insecure
    assert not read_name("https://host/ns/m:tag").insecure
    with pytest.raises(PaddockError):
        read_names("a\nnot a name\n")


def test_what_is_wrong_is_said_with_a_remedy() -> None:
    assert problem(read_limit, "20 MB") is None
    assert problem(read_limit, "fast") == "fast is no amount (limit). Write it like 20MB; none is no limit."
    assert problem(read_time, "2020-01-01", 2e9) == "2020-01-01 is over (start). Give a time to come; none is at once."
