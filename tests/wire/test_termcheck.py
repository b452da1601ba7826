"""What is read from the environment."""

from __future__ import annotations

import pytest

from tui.ui import termcheck


def test_T08_stale_sizes_are_dropped() -> None:
    environ = {"COLUMNS": "99999", "LINES": "abc", "TERM": "xterm"}
    termcheck.prepare_environment(environ)
    assert environ == {"TERM": "xterm"}


@pytest.mark.parametrize(
    ("environ", "utf8"),
    [
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "de_DE.utf8"}, True),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "de_DE.ISO-8859-1"}, True),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
        ({}, True),
    ],
)
def test_T11_the_locale_decides_on_graphics(environ: dict[str, str], utf8: bool) -> None:
    assert termcheck.utf8_locale(environ) is utf8
    if not utf8:
        assert termcheck.ascii_only(environ)


def test_T11_the_bare_console_gets_ascii() -> None:
    assert termcheck.ascii_only({"LANG": "C.UTF-8", "TERM": "linux"})


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("", False), (None, False)])
def test_T10_no_color_counts_when_not_empty(value: str | None, expected: bool) -> None:
    assert termcheck.no_color({} if value is None else {"NO_COLOR": value}) is expected


def test_ssh_is_noticed() -> None:
    assert termcheck.over_ssh({"SSH_CONNECTION": "::1 1 ::1 22"})
    assert not termcheck.over_ssh({"SSH_CONNECTION": ""})
