"""Pages of any length: rows fit, nothing is lost, parts and matches are found."""

from __future__ import annotations

from itertools import pairwise

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from tests.support.screen import until
from tui.ui.widgets.pager import Pager, Part, Piece, _breaks

TEXTS = (
    "",
    "short",
    "a b " * 100,
    "x" * 500,
    "    indented " + "word " * 60,
    "ümlaut " * 40,
    "漢字" * 90,
    "漢字 and letters " * 30,
    "é" * 5000,
    "漢" * 5000,
    "tail blank   ",
)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("width", [20, 76])
def test_every_row_fits_and_only_blanks_are_lost(text: str, width: int) -> None:
    rows = _breaks(text, width)
    assert all(cell_len(text[start:end]) <= width for start, end in rows)
    assert all(first[1] <= second[0] for first, second in pairwise(rows))
    assert "".join(text[start:end] for start, end in rows).replace(" ", "") == text.replace(" ", "")


class Host(App[None]):
    def compose(self) -> ComposeResult:
        yield Pager()

    @property
    def pager(self) -> Pager:
        return self.query_one(Pager)


PARTS = [
    Part("first", (Piece("one", "label"), Piece("two\nlines"))),
    Part("second", tuple(Piece(f"line {number}") for number in range(200))),
    Part("third", (Piece("the Needle is here [b]x[/b]"), Piece("and needle again", tone="warn"))),
]


async def test_parts_and_matches_are_found() -> None:
    app = Host()
    async with app.run_test(size=(60, 20)) as pilot:
        pager = app.pager
        pager.set_parts(PARTS)
        await until(lambda: pager.done)
        assert pager.to_part("third")
        await until(lambda: pager.part is PARTS[2])
        assert not pager.to_part("nowhere")
        pager.action_part(-1)
        await until(lambda: pager.part is PARTS[1])
        assert pager.search("NEEDLE")
        await until(lambda: pager.part is PARTS[2])
        first = pager._at
        pager.action_find(1)
        assert pager._at != first
        pager.action_find(1)
        assert pager._at == first  # round
        pager.action_find(-1)
        assert pager._at != first
        assert not pager.search("haystack")
        assert pager.search("line 150")
        await until(lambda: any("line 150" in pager.render_line(y).text for y in range(20)))
        await pilot.resize_terminal(30, 20)
        await until(lambda: any("line 150" in pager.render_line(y).text for y in range(20)))
        pager.action_end()
        await until(lambda: any("[b]x[/b]" in pager.render_line(y).text for y in range(20)))
        assert all(
            pager.render_line(y).cell_length == 30 - pager.scrollbar_size_vertical or pager.render_line(y).cell_length == 30
            for y in range(20)
        )


async def test_other_parts_keep_the_place_and_an_empty_page_is_no_trouble() -> None:
    app = Host()
    async with app.run_test(size=(60, 20)):
        pager = app.pager
        pager.set_parts([])
        pager.action_end()
        pager.action_part(1)
        assert not pager.search("x")
        assert pager.part is None
        pager.set_parts(PARTS)
        pager.to_part("second")
        await until(lambda: pager.part is not None and pager.part.title == "second")
        pager.set_parts([*PARTS, Part("fourth", (Piece("more"),))])
        await until(lambda: pager.done and pager.part is not None and pager.part.title == "second")
