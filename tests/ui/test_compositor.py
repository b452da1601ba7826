"""Only what is to be seen is asked for its lines, and the screen is the same."""

import random
from collections import Counter

from textual._compositor import Compositor
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Region
from textual.screen import Screen
from textual.widgets import Static

from tests.support.screen import screen_lines, until
from tui.ui.compositor import LeanCompositor
from tui.ui.screens.parts import Rule


class Counted(Static):
    """Notes that it was asked."""

    asked: Counter[str] = Counter()

    def render_lines(self, crop: Region) -> list:  # type: ignore[type-arg]
        """See `Widget`."""
        self.asked[str(self.id)] += 1
        return super().render_lines(crop)


class Page(Screen[None]):
    """A bar, two columns, one of them longer than the screen, and something in front of them."""

    CSS = """
    Page { layers: under over; }
    Horizontal { height: 1fr; }
    #left { width: 20; overflow: auto; }
    #long { height: 60; }
    #front { layer: over; width: 12; height: 4; offset: 14 5; background: red; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._compositor = LeanCompositor()

    def compose(self) -> ComposeResult:
        """The parts."""
        yield Counted("bar", id="bar")
        with Horizontal():
            with Vertical(id="left"):
                yield Counted("\n".join(f"line {number}" for number in range(60)), id="long")
            yield Counted("right " * 200, id="right")
        yield Counted("front", id="front")


class Host(App[None]):
    """Shows the page."""

    def on_mount(self) -> None:
        """Open it."""
        self.push_screen(Page())


def drawn(compositor: Compositor, kind: type[Compositor], crop: Region) -> list[list[str]]:
    """What a part of the screen shows, made by this kind of compositor."""
    lines = set(crop.line_range)
    renders = kind._get_renders(compositor, crop)
    original, compositor._get_renders = compositor._get_renders, lambda _crop=None: renders  # type: ignore[method-assign,assignment]
    try:
        chops = compositor._render_chops(crop, lines.__contains__)
    finally:
        compositor._get_renders = original  # type: ignore[method-assign]
    inside = range(crop.x, crop.right)
    found = []
    for y in crop.line_range:
        cells = [
            (at + column, char, segment.style)
            for at, strip in chops[y].items()
            if strip is not None
            for column, (char, segment) in enumerate((char, segment) for segment in strip for char in segment.text)
        ]
        found.append([f"{at}{char}{style}" for at, char, style in sorted(cells, key=lambda cell: cell[0]) if at in inside])
    return found


async def test_the_screen_is_the_same() -> None:
    chance = random.Random(5)
    async with Host().run_test(size=(60, 20)) as pilot:
        compositor = pilot.app.screen._compositor
        for _ in range(60):
            x, y = chance.randrange(59), chance.randrange(19)
            crop = Region(x, y, chance.randint(1, 60 - x), chance.randint(1, 20 - y))
            assert drawn(compositor, LeanCompositor, crop) == drawn(compositor, Compositor, crop), crop
        assert isinstance(compositor, LeanCompositor)


async def test_what_is_elsewhere_or_covered_is_not_asked() -> None:
    async with Host().run_test(size=(60, 20)) as pilot:
        screen = pilot.app.screen
        await pilot.pause()
        Counted.asked.clear()
        list(screen._compositor._get_renders(Region(30, 10, 5, 1)))
        assert dict(Counted.asked) == {"right": 1}
        Counted.asked.clear()
        list(screen._compositor._get_renders(Region(15, 6, 3, 2)))
        assert dict(Counted.asked) == {"front": 1}


async def test_a_changed_line_reaches_the_screen() -> None:
    async with Host().run_test(size=(60, 20)) as pilot:
        pilot.app.screen.query_one("#bar", Counted).update("changed")
        await pilot.pause()
        assert pilot.app.screen._compositor.render_strips()[0].text.startswith("changed")


async def test_T07_a_line_is_as_long_as_its_place_though_nobody_told_it() -> None:
    """A layout that was asked for between two drawings is compared with itself, and no widget hears that its size is another."""

    class Ruled(App[None]):
        def compose(self) -> ComposeResult:
            yield Rule("loaded")

    app = Ruled()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: len(screen_lines(app)[0]) == 79)
        app.screen.styles.padding = (0, 20)
        app.screen._compositor._full_map_invalidated = True
        assert app.screen.find_widget(app.query_one(Rule)).region.width == 40
        await pilot.pause()
        await until(lambda: len(screen_lines(app)[0]) == 20 + 39)
