"""Graphs, bars and marks."""

from __future__ import annotations

from textual.app import App, ComposeResult

from tests.support.screen import screen_lines, until
from tui.core.clock import ManualClock
from tui.ui.widgets.bars import bar, fit, glyph
from tui.ui.widgets.graph import Graph, braille_line, braille_rows, round_bound


def test_line_has_two_samples_a_cell_newest_right() -> None:
    assert braille_line([0, 0, 100, 100], 4, 0, 100) == "  ⣀⣿"
    assert braille_line([0, 25, 50, 75, 100, 100], 3, 0, 100) == "⣀⣴⣿"
    assert braille_line([1, 1, 99, 99], 1, 0, 100) == "⣿"


def test_gaps_and_odd_values() -> None:
    assert braille_line([None, None, 100, None], 2, 0, 100) == " ⡇"
    assert braille_line([float("nan"), 100], 1, 0, 100) == "⢸"
    assert braille_line([float("inf"), -5], 1, 0, 100) == "⣇"
    assert braille_line([5, 5], 1, 5, 5) == "⣀"
    assert braille_line([], 3, 0, 1) == "   "
    assert braille_line([1], 0, 0, 1) == ""


def test_rows_stack_and_ascii() -> None:
    assert braille_rows([100, 50], 1, 2, 0, 100) == ["⡇", "⣿"]
    line = braille_line([0, 0, 40, 40, 70, 70, 100, 100], 4, 0, 100, ascii=True)
    assert line == ".:|#"


def test_bars() -> None:
    assert bar(0.62, 14) == "████████▋░░░░░"
    assert bar(None, 4) == "░░░░"
    assert bar(5, 4) == "████"
    assert bar(0.5, 4, ascii=True) == "##.."


def test_fit_counts_cells() -> None:
    assert fit("模型名称", 5) == "模型…"
    assert fit("ab", 4, "right") == "  ab"
    assert fit("abcdef", 4, ascii=True) == "abc~"
    assert fit("x", 0) == ""


def test_glyphs() -> None:
    assert [glyph(state) for state in ("up", "busy", "down", "failed", "paused", "found", "done", "waiting", "?")] == list("●◐○✕‖+●○ ")
    assert [glyph(state, True) for state in ("up", "busy", "down", "failed", "paused", "found")] == list("+~-x=?")


def test_round_bound() -> None:
    assert [round_bound(value) for value in (0, 0.3, 1, 3, 18, 99, 450)] == [1, 0.5, 1, 5, 20, 100, 500]


class Host(App[None]):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def compose(self) -> ComposeResult:
        yield self.graph


async def test_graph_appends_freezes_and_repaints_only_on_change() -> None:
    graph = Graph(upper=100)
    app = Host(graph)
    async with app.run_test(size=(10, 3)) as pilot:
        for _ in range(30):
            graph.append(100)
        await until(lambda: screen_lines(app)[0] == "⣿" * 10)
        repaints: list[object] = []
        real = graph.refresh
        graph.refresh = lambda *args, **kw: (repaints.append(args), real(*args, **kw))[1]  # type: ignore[method-assign]
        graph.append(100)
        assert not repaints
        graph.freeze(True)
        graph.append(0)
        assert not repaints
        assert graph.offset_samples == 1
        graph.freeze(False)
        assert len(repaints) == 1
        await until(lambda: screen_lines(app)[0] == "⣿" * 9 + "⣇")
        graph.move_back(1)
        await until(lambda: screen_lines(app)[0] == "⣿" * 10)
        await pilot.resize_terminal(4, 3)
        await until(lambda: screen_lines(app)[0] == "⣿" * 4)


async def test_moving_bound_moves_at_most_once_a_second() -> None:
    clock = ManualClock()
    graph = Graph([10.0] * 8, upper=None, clock=clock)
    app = Host(graph)
    async with app.run_test(size=(4, 2)):
        await until(lambda: graph.upper == 10)
        graph.append(70.0)
        assert graph.upper == 10
        clock.advance(1.1)
        graph.append(70.0)
        assert graph.upper == 100
