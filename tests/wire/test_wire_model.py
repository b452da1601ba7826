"""The wire's model against a terminal emulator: after any writes the screen is what it should be."""

from __future__ import annotations

import random
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.ui.wire_cells import parse_payload, uncertain
from tui.ui.wire_model import WireModel
from tui.ui.wire_style import DEFAULT, CellStyle, apply_sgr, change

STYLES = ("", "1", "31", "44", "1;32;41", "7", "4;33", "38;2;9;200;3", "48;5;17", "3;38;5;200;48;2;1;2;3")
WORDS = ("a", "token ", "  ", "of the ", "模型", "名", "é", "e\u0301", "😀", "x😀y", "─│", "⣿⡇")
WORDS += (" " * 9, "ж", "שלום", "🚀模", "0123456789" * 3)
PIECES = st.lists(st.tuples(st.sampled_from(STYLES), st.sampled_from(WORDS)), min_size=1, max_size=5)
STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 9), st.integers(0, 39), PIECES),
    st.tuples(st.just("scroll"), st.integers(-3, 3), st.integers(0, 9), st.just(None)),
    st.tuples(st.sampled_from(["flush", "hold", "lost"]), st.just(0), st.just(0), st.just(None)),
    st.tuples(st.just("resize"), st.integers(2, 12), st.integers(4, 44), st.just(None)),
)


def payload(pieces: Any) -> str:
    return "".join(f"\x1b[{style}m{text}\x1b[0m" if style else text for style, text in pieces)


class Glass:
    """A terminal with wrapping off, as Textual sets it, and what it shows without what cannot be seen."""

    def __init__(self, width: int, height: int) -> None:
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.Stream(self.screen)
        self.stream.feed("\x1b[?7l")

    def cells(self) -> list[list[tuple[object, ...]]]:
        rows = []
        for y in range(self.screen.lines):
            line = self.screen.buffer[y]
            rows.append([self._seen(line[x]) for x in range(self.screen.columns)])
        return rows

    @staticmethod
    def _seen(cell: Any) -> tuple[object, ...]:
        if cell.data in (" ", "") and not (cell.reverse or cell.underscore):
            return (cell.data.strip(), cell.bg)
        return (cell.data, cell.fg, cell.bg, cell.bold, cell.italics, cell.reverse, cell.underscore)


def expected(model: WireModel, width: int, height: int) -> list[list[tuple[object, ...]]]:
    """Draw the goal on a fresh terminal, every cell on its own: slow and plain."""
    glass = Glass(width, height)
    for y, row in enumerate(model._goal):
        for x, (char, style) in enumerate(zip(row.chars, row.styles, strict=True)):
            if char:
                codes = ";".join(["0", *(code for code in (style.fg, style.bg) if code)])
                attrs = "".join(f"\x1b[{code}m" for code, bit in (("1", 1), ("2", 2), ("3", 4), ("4", 8), ("7", 32)) if style.attrs & bit)
                glass.stream.feed(f"\x1b[{y + 1};{x + 1}H\x1b[{codes}m{attrs}{char}")
    return glass.cells()


class Glyphs:
    """One line as glyphs with a place and a width; what a new glyph covers only in part turns blank."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.glyphs = dict.fromkeys(range(width), (1, " "))

    def put(self, x: int, pieces: Any) -> None:
        start = x
        new: list[tuple[int, int, str]] = []
        for _, text in pieces:
            for glyph in ["e\u0301"] if text == "e\u0301" else list(text):
                new.append((x, cell_len(glyph), glyph))
                x += cell_len(glyph)
        end = min(x, self.width)
        for old, (width, _) in list(self.glyphs.items()):
            if old < end and old + width > start:
                del self.glyphs[old]
                self.glyphs |= {at: (1, " ") for at in range(old, old + width) if not start <= at < end}
        for at, width, glyph in new:
            if at + width <= self.width:
                self.glyphs[at] = (width, glyph)
            else:
                self.glyphs |= dict.fromkeys(range(at, self.width), (1, " "))

    def line(self) -> list[str]:
        cells = [""] * self.width
        for at, (_, glyph) in self.glyphs.items():
            cells[at] = glyph
        return cells


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 29), PIECES), max_size=12))
def test_T22_frames_land_in_the_right_columns(writes: list[Any]) -> None:
    model, line = WireModel(30, 1), Glyphs(30)
    model.frame("\x1b[1;1H" + " " * 30)
    for x, pieces in writes:
        model.frame(f"\x1b[1;{x + 1}H{payload(pieces)}")
        line.put(x, pieces)
    assert model._goal[0].chars == line.line()


def play(steps: list[Any], bce: bool) -> None:
    width, height = 40, 10
    model, glass = WireModel(width, height, bce=bce), Glass(width, height)
    model.frame("".join(f"\x1b[{y + 1};1H{' ' * width}" for y in range(height)))
    for verb, a, b, pieces in steps:
        if verb == "put" and a < height and b < width:
            model.frame(f"\x1b[{a + 1};{b + 1}H{payload(pieces)}\n\x1b[1;1H")
        elif verb == "scroll":
            rows = [(row.chars[:], row.styles[:]) for row in model._goal]
            for y in range(min(b, height), height):
                if a and 0 <= y + a < height:
                    model._goal[y].chars, model._goal[y].styles = rows[y + a][0][:], rows[y + a][1][:]
                    model._changed.add(y)
        elif verb == "resize":
            width, height = b, a
            model.resize(width, height)
            glass = Glass(width, height)
            glass.stream.feed("\x1b[31;42mrubbish" * 3)
            model.frame("".join(f"\x1b[{y + 1};1H{' ' * width}" for y in range(height)))
        elif verb == "lost":
            glass.stream.feed("\x1b[2J\x1b[3;4H\x1b[35mforeign output\x1b[1;3r")
            glass.stream.feed("\x1b[r")
            model.invalidate()
        if verb != "hold":
            glass.stream.feed(model.difference())
            assert glass.cells() == expected(model, width, height)
    glass.stream.feed(model.difference())
    assert glass.cells() == expected(model, width, height)
    assert model.difference() == ""


@settings(max_examples=150)
@given(st.lists(STEPS, max_size=25), st.booleans())
def test_T22_any_writes_leave_the_screen_right(steps: list[Any], bce: bool) -> None:
    play(steps, bce)


def test_streaming_lines_scroll_by_the_terminal_and_cost_little() -> None:
    width, height = 80, 24
    model, glass = WireModel(width, height, bce=True), Glass(width, height)
    source = random.Random(3)
    lines = [" ".join(source.choice(WORDS[:4]) + str(source.random())[:6] for _ in range(7))[:width].ljust(width) for _ in range(60)]
    model.frame("".join(f"\x1b[{y + 1};1H{lines[y]}" for y in range(height)))
    glass.stream.feed(model.difference())
    for first in range(1, 30):
        model.frame("".join(f"\x1b[{y + 3};1H{lines[first + y]}" for y in range(height - 4)))
        data = model.difference()
        glass.stream.feed(data)
        assert glass.cells() == expected(model, width, height)
        if first > 3:
            assert "\x1b[M" in data
            assert len(data) < 3 * width


def test_nothing_changed_writes_nothing() -> None:
    model = WireModel(20, 3)
    frame = "\x1b[1;1H\x1b[31mhello\x1b[0m\n\x1b[2;1Hworld\x1b[1;1H"
    model.frame(frame)
    assert "hello" in model.difference()
    model.frame(frame)
    assert model.difference() == ""


def test_held_frames_merge() -> None:
    model = WireModel(20, 3)
    model.frame("\x1b[1;1Hone")
    model.frame("\x1b[1;1Htwo")
    data = model.difference()
    assert "two" in data
    assert "one" not in data


def test_erase_with_a_background_only_where_the_terminal_does_that() -> None:
    frame = f"\x1b[1;1H\x1b[44mab{' ' * 38}\x1b[0m"
    with_bce, without = WireModel(40, 2, bce=True), WireModel(40, 2, bce=False)
    with_bce.frame(frame)
    without.frame(frame)
    assert "\x1b[K" in with_bce.difference()
    assert "\x1b[K" not in without.difference()


@pytest.mark.parametrize(
    "hostile",
    ["\x1b]52;c;UFdORUQ=\x07", "\x1b]0;title\x07", "\x1b[2J", "\x1b[6n", "\x1bPq\x1b\\", "\x9b2J", *"\x07\x08\r\0\x7f\u202e\ud800"],
)
def test_X01_no_foreign_control_in_a_payload_survives(hostile: str) -> None:
    model = WireModel(60, 2)
    model.frame(f"\x1b[1;1Hbefore{hostile}after")
    data = model.difference()
    assert "before" in data
    rest = data.replace("\x1b[1H", "").replace("\x1b[m", "").replace("\x1b[K", "")
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000 or char == "\u202e" for char in rest)


def test_T22_what_follows_a_character_of_uncertain_width_is_sent_at_its_own_address() -> None:
    model = WireModel(20, 1)
    model.frame("\x1b[1;1H" + "ab" + " end" + " " * 14)
    model.difference()
    model.frame("\x1b[1;1H😀 end")
    assert model.difference() == "  \x1b[1H😀\x1b[1;3H \x1b[1H"


def test_X06_links_are_dropped_and_their_text_stays() -> None:
    chars, styles = parse_payload("\x1b]8;id=1;http://x\x1b\\\x1b[1mhere\x1b[0m\x1b]8;;\x1b\\.")
    assert "".join(chars) == "here."
    assert styles[0] == CellStyle("", "", 1)
    assert styles[4] == DEFAULT


def test_what_attaches_stays_with_its_base() -> None:
    assert parse_payload("e\u0301x")[0] == ["e\u0301", "x"]
    assert parse_payload("模x")[0] == ["模", "", "x"]
    assert parse_payload("🇩🇪!")[0][0] == "🇩🇪"
    family = parse_payload("👩\u200d👧!")[0]
    assert family[0] == "👩\u200d👧"
    assert family[-1] == "!"
    assert uncertain("😀")
    assert not any(uncertain(char) for char in "aé模─⣿ש▏")


COLOURS = st.sampled_from(["", "31", "38;2;1;2;3", "38;5;9"])
GROUNDS = st.sampled_from(["", "41", "48;2;1;2;3"])
CELL_STYLES = st.builds(CellStyle, COLOURS, GROUNDS, st.integers(0, 1023))


@given(CELL_STYLES, CELL_STYLES)
def test_a_change_of_style_arrives(pen: CellStyle, wanted: CellStyle) -> None:
    sequence, after = change(pen, wanted, False)
    style = pen
    for parameters in sequence.removeprefix("\x1b[").removesuffix("m").split("m\x1b["):
        style = apply_sgr(style, parameters) if sequence else style
    assert style == wanted == after
