"""The pane of facts: rows of small tables are cut, and say so."""

from __future__ import annotations

from textual.app import App, ComposeResult

from tests.support.screen import screen_lines, until
from tui.ui.widgets.detail import DetailPane, Fact


class Host(App[None]):
    def __init__(self, *, ascii: bool = False) -> None:
        super().__init__()
        self.ascii = ascii

    def compose(self) -> ComposeResult:
        yield DetailPane()

    def on_mount(self) -> None:
        self.query_one(DetailPane).show([Fact("tags", "1.5b  " + "x" * 60, fixed=True), Fact("", "3b", fixed=True)])


async def test_a_row_that_is_too_wide_ends_in_an_ellipsis_on_one_line() -> None:
    for ascii, sign in ((False, "…"), (True, "~")):
        app = Host(ascii=ascii)
        async with app.run_test(size=(40, 6)):
            await until(lambda app=app: "3b" in screen_lines(app)[1])
            assert screen_lines(app)[0].rstrip().endswith(f"x{sign}")
