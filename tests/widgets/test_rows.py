"""The table for thousands of rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from rich.text import Text
from textual.app import App, ComposeResult

from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tui.text import clean_name
from tui.ui.widgets.rows import Cell, Column, Rows


@dataclass(frozen=True)
class Item:
    name: str
    size: int | None = 0
    state: str = ""
    note: str = ""


def columns() -> list[Column[Item]]:
    return [
        Column("name", "NAME", lambda item: item.name, min=10, max=30, sort_key=lambda item: item.name),
        Column(
            "size", "SIZE", lambda item: Cell(str(item.size), "dim"), width=8, align="right", sort_key=lambda i: i.size, descending=True
        ),
        Column("note", "NOTE", lambda item: Text(item.note, style="bold"), min=6),
        Column("wide", "WIDE", lambda item: "w", width=4, min_screen_width=100),
    ]


class Host(App[None]):
    def __init__(self, items: list[Item], *, ascii: bool = False) -> None:
        super().__init__()
        self.ascii = ascii
        self.start = items
        self.seen: list[str] = []

    def compose(self) -> ComposeResult:
        yield Rows[Item](columns(), key=lambda item: item.name, state=lambda item: item.state, empty="no models yet")

    @property
    def rows(self) -> Rows[Item]:
        return self.query_one(Rows)

    def on_mount(self) -> None:
        self.rows.set_items(self.start)

    def on_rows_highlighted(self, message: Rows.Highlighted) -> None:
        if type(message) is Rows.Highlighted:
            self.seen.append(message.item.name if message.item else "-")

    def on_rows_selected(self, message: Rows.Selected) -> None:
        self.seen.append(f"open {message.item.name}")


def many(count: int) -> list[Item]:
    return [Item(f"model-{nr:05d}", (nr * 7919) % 1000, "up" if nr % 3 else "failed", f"note{nr % 10}x") for nr in range(count)]


async def test_shows_marks_states_and_columns() -> None:
    app = Host([Item("qwen3:8b", 5, "up", "now"), Item("phi4", 9, "failed")])
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "qwen3:8b" in screen_text(app))
        lines = screen_lines(app)
        assert lines[0].startswith("   NAME")
        assert "WIDE" not in lines[0]
        assert lines[1].startswith(" ● qwen3:8b")
        assert lines[2].startswith(" ✕ phi4")
        await pilot.press("space")
        assert screen_lines(app)[1].startswith("✓● qwen3:8b")
        await pilot.resize_terminal(120, 24)
        await until(lambda: "WIDE" in screen_lines(app)[0])


async def test_ascii_marks() -> None:
    app = Host([Item("a", 1, "busy"), Item("n" * 200, 1, "failed")], ascii=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("A")
        await until(lambda: "*x n" in screen_text(app))
        assert screen_text(app).isascii()


async def test_empty_and_filtered_empty() -> None:
    app = Host([])
    async with app.run_test(size=(80, 24)):
        await until(lambda: "no models yet" in screen_text(app))
        app.rows.set_items(many(3))
        app.rows.set_filter("zebra")
        await until(lambda: "nothing matches" in screen_text(app))
        assert app.rows.highlighted is None
        assert app.rows.step_back()
        assert app.rows.shown == 3


async def test_a_filter_that_hides_all_says_so_where_there_are_no_words_for_an_empty_table() -> None:
    app = Host(many(3))
    async with app.run_test(size=(80, 24)):
        app.rows.set_empty("")
        app.rows.set_filter("zebra")
        await until(lambda: "nothing matches" in screen_text(app))


async def test_cursor_follows_its_item_when_the_data_changes() -> None:
    app = Host(many(50))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("end")
        assert app.rows.highlighted == app.start[49]
        app.rows.set_items([Item("first"), *app.start])
        assert app.rows.highlighted == app.start[49]
        assert app.rows.row == 50
        app.rows.set_items(app.start[:10])
        assert app.rows.row == 9
        await pilot.press("g", "j", "j", "k")
        assert app.rows.row == 1
        await pilot.press("G")
        assert app.rows.row == 9
        await pilot.press("enter")
        await until(lambda: app.seen[-1] == "open model-00009")


async def test_marks_ranges_and_all_shown() -> None:
    app = Host(many(40))
    async with app.run_test(size=(80, 24)) as pilot:
        rows = app.rows
        await pilot.press("space", "j", "space")
        assert sorted(rows.marks) == ["model-00000", "model-00002"]
        await pilot.press("v", "down", "down", "v")
        assert len(rows.marks) == 5
        rows.set_filter("note1x")
        await pilot.press("A")
        assert rows.shown == 4
        assert len(rows.marks) == 9
        assert rows.marked_hidden == 5
        assert [item.name for item in rows.chosen][:2] == ["model-00000", "model-00001"]
        assert rows.step_back() and not rows.filter_text
        assert rows.step_back() and not rows.marks
        assert not rows.step_back()
        rows.set_items(app.start[:1])
        assert rows.chosen == app.start[:1]


async def test_marks_of_vanished_items_are_dropped() -> None:
    app = Host(many(5))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("A")
        app.rows.set_items(app.start[:2])
        assert len(app.rows.marks) == 2


async def test_sort_cycles_and_puts_missing_values_last() -> None:
    app = Host([Item("b", 5), Item("c", None), Item("a", 9)])
    async with app.run_test(size=(80, 24)) as pilot:
        rows = app.rows
        await pilot.press("s")
        assert [item.name for item in rows.shown_items] == ["a", "b", "c"]
        assert "NAME▴" in screen_text(app)
        await pilot.press("s")
        assert [item.name for item in rows.shown_items] == ["a", "b", "c"]
        assert rows.sorting == ("size", True)
        await pilot.press("s")
        assert rows.sorting is None
        assert rows.highlighted == Item("b", 5)
        await pilot.click(Rows, offset=(4, 0))
        assert rows.sorting == ("name", False)
        await pilot.click(Rows, offset=(4, 0))
        assert rows.sorting == ("name", True)
        await pilot.click(Rows, offset=(4, 3))
        assert rows.row == 2


async def test_search_goes_round_without_hiding() -> None:
    app = Host(many(30))
    async with app.run_test(size=(80, 24)) as pilot:
        assert app.rows.find("note7x")
        assert app.rows.row == 7
        await pilot.press("n")
        assert app.rows.row == 17
        await pilot.press("N", "N")
        assert app.rows.row == 27
        assert app.rows.shown == 30


async def test_update_repaints_one_line_only() -> None:
    app = Host(many(30))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        regions: list[object] = []
        real = app.rows.refresh
        app.rows.refresh = lambda *args, **kw: (regions.extend(args), real(*args, **kw))[1]  # type: ignore[method-assign]
        assert app.rows.update_item(replace(app.start[4], note="changed"))
        assert len(regions) == 1
        await until(lambda: "changed" in screen_lines(app)[5])
        app.rows.set_items(app.rows.items)
        assert len(regions) == 1
        assert not app.rows.update_item(Item("unknown"))


async def test_rest_cell_takes_the_line() -> None:
    app = Host([])
    async with app.run_test(size=(80, 24)):
        app.rows.set_columns(
            [
                Column("name", "NAME", lambda item: item.name, width=6),
                Column("state", "S", lambda item: Cell("needs a key (401), e adds it", "bad", rest=True), width=4),
                Column("more", "T", lambda item: "hidden", width=6),
            ]
        )
        app.rows.set_items([Item("tabby")])
        await until(lambda: "needs a key (401), e adds it" in screen_text(app))
        assert "hidden" not in screen_text(app)


async def test_X01_X04_T22_hostile_names_are_literal_and_aligned() -> None:
    items = [Item(clean_name(text) + str(index), index, "up", clean_name(text)) for index, text in enumerate(CANARIES)]
    app = Host(items)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "[/INST]1" in screen_text(app))
        text = screen_text(app)
        assert "[b + x2" in text
        assert "[@click=app.quit]x[/]" in text
        assert not FORBIDDEN & set(text.replace("\n", ""))
        for strip in app.screen._compositor.render_strips():
            assert strip.cell_length == 80
        await pilot.click(Rows, offset=(8, 5))
        assert app.is_running
        await pilot.resize_terminal(40, 12)
        await pilot.resize_terminal(5, 2)
        await pilot.resize_terminal(200, 50)
        await until(lambda: "[/INST]1" in screen_text(app))


async def test_uncleaned_text_still_cannot_break_the_line() -> None:
    app = Host([Item("a\nb\x1b[2Jc", 1, "up", "x\x07y")])
    async with app.run_test(size=(80, 24)):
        await until(lambda: "ab[2Jc" in screen_text(app))
        assert "xy" in screen_text(app)


async def test_ten_thousand_rows_are_as_quick_as_ten() -> None:
    app = Host(many(10))
    async with app.run_test(size=(80, 24)) as pilot:

        def cost(work: object, times: int = 5) -> float:
            best = 1e9
            for _ in range(times):
                start = time.perf_counter()
                work()  # type: ignore[operator]
                best = min(best, time.perf_counter() - start)
            return best

        few = cost(lambda: app.rows.action_move(1), 20)
        items = many(10_000)
        fill = cost(lambda: app.rows.set_items(items))
        lots = cost(lambda: app.rows.action_move(1), 20)
        app.rows.set_filter("note")
        narrow = cost(lambda: app.rows.set_filter("model note7x"))
        assert lots < few * 3 + 0.002
        assert fill < 0.25
        assert narrow < 0.25
        await pilot.press("end")
        assert app.rows.row == app.rows.shown - 1
