"""The last filter over drawn lines."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from tests.wire.apps import CANARY
from tui.ui.line_filter import TextSafetyFilter

BLACK = Color(0, 0, 0)


def test_X02_foreign_characters_are_deleted_and_the_width_stays() -> None:
    segments = [Segment("plain "), Segment(CANARY, Style(bold=True)), Segment("模型 é")]
    cleaned = TextSafetyFilter().apply(segments, BLACK)
    text = "".join(segment.text for segment in cleaned)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c == "\u202e" or 0xD800 <= ord(c) < 0xE000 for c in text)
    assert text.startswith("plain ")
    assert text.endswith("模型 é")
    assert sum(segment.cell_length for segment in cleaned) == sum(segment.cell_length for segment in segments)


def test_X06_a_link_that_holds_control_characters_is_dropped() -> None:
    hostile = Style(bold=True, link="http://x\x1b]52;c;eA==\x07")
    cleaned = TextSafetyFilter().apply([Segment("text", hostile), Segment("b", Style(link="http://fine"))], BLACK)
    assert cleaned[0].style is not None
    assert cleaned[0].style.link is None
    assert cleaned[0].style.bold
    assert cleaned[1].style is not None
    assert cleaned[1].style.link == "http://fine"


def test_clean_lines_are_passed_on_as_they_are() -> None:
    segments = [Segment("one"), Segment("two", Style(bold=True))]
    assert TextSafetyFilter().apply(segments, BLACK) is segments
