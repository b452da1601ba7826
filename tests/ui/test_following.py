"""What screens and dialogs follow, as they go."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App, ComposeResult
from textual.screen import Screen
from textual.widgets import Label

from tests.support.screen import until
from tui.core.observe import Observable
from tui.ui.following import Following, FollowingDialog


class Part(Label):
    """Changes what is followed as it goes, and goes once that was passed on."""

    def __init__(self, source: Observable[str]) -> None:
        super().__init__("", id="part")
        self._source = source

    async def on_unmount(self) -> None:
        self._source.set("late")
        await asyncio.sleep(0)


class _Parts(Following):
    def __init__(self, source: Observable[str]) -> None:
        super().__init__()
        self.source = source
        self.drawn: list[str] = []

    def compose(self) -> ComposeResult:
        yield Part(self.source)

    def on_mount(self) -> None:
        self.follow(self.source, self._draw, fps=1_000_000)

    def _draw(self, value: str) -> None:
        self.drawn.append(value)
        self.query_one("#part", Label).update(value)  # type: ignore[attr-defined]


class Dialog(_Parts, FollowingDialog[None]):
    pass


class Whole(_Parts, Screen[None]):
    pass


@pytest.mark.parametrize("kind", [Dialog, Whole])
async def test_nothing_is_drawn_into_a_screen_that_goes(kind: type[Dialog | Whole]) -> None:
    source = Observable("first")
    async with App[None]().run_test() as pilot:
        shown = kind(source)
        await pilot.app.push_screen(shown)
        source.set("second")
        await until(lambda: shown.drawn == ["first", "second"])
        await pilot.app.pop_screen()
        assert source.value == "late"
        assert shown.drawn == ["first", "second"]


async def test_nothing_is_drawn_into_what_goes_with_the_app() -> None:
    source = Observable("first")
    async with App[None]().run_test() as pilot:
        shown = Dialog(source)
        await pilot.app.push_screen(shown)
        await until(lambda: shown.drawn == ["first"])
    assert source.value == "late"
    assert shown.drawn == ["first"]
