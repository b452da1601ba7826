"""The palette's verbs about the queue and about pushes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from textual.command import CommandPalette

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import screen_text, until
from tests.ui import library_data
from tests.ui.test_pulls import queue
from tui.core.capabilities import Capability
from tui.ui.commands import PaddockCommands
from tui.ui.screens.library import LibraryScreen
from tui.ui.screens.pulls import PullsScreen
from tui.ui.widgets.confirm import ConfirmDialog


class Host(ScreenHost):
    COMMANDS = {PaddockCommands}

    def __init__(self, fake: FakeServices) -> None:
        library_data.fill(fake)
        states = library_data.providers()
        fake.registry.providers.set((replace(states[0], capabilities=states[0].capabilities | {Capability.PUSH}), *states[1:]))
        fake.registry.models.set((*library_data.models(), library_data.model("ann/mine:7b")))
        fake.jobs.view.set(queue())
        self.services = fake
        super().__init__(PullsScreen(fake))

    async def run_command(self, pilot: Any, words: str, wanted: str) -> None:
        self.action_command_palette()
        await pilot.pause()
        await pilot.press(*words)
        await until(lambda: wanted in screen_text(self))
        await pilot.press("down", "enter")
        await until(lambda: not isinstance(self.screen, CommandPalette))


async def test_a_model_of_ones_own_is_pushed_after_a_question(fake: FakeServices) -> None:
    app = Host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.run_command(pilot, "push ann", "Push ann/mine:7b to its registry")
        await until(lambda: isinstance(app.screen, ConfirmDialog))
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        assert "Push ann/mine:7b from ollama to registry.ollama.ai?" in screen_text(app)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: fake.called("push") == [("ann/mine:7b", "ollama")])


async def test_a_model_without_a_namespace_is_not_pushed(fake: FakeServices) -> None:
    app = Host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.run_command(pilot, "push qwen3", "Push qwen3:8b to its registry")
        await until(lambda: any("has no namespace of yours" in note.message for note in app._notifications))
        assert fake.called("push") == []


async def test_the_whole_queue_is_paused_and_goes_on(fake: FakeServices) -> None:
    app = Host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.run_command(pilot, "pause whole", "Pause the whole queue, 4")
        await until(lambda: fake.called("pause") == [([1, 2, 3, 4],)])
        await app.run_command(pilot, "go on with", "Go on with the whole queue, 1 paused")
        await until(lambda: fake.called("resume") == [([5],)])


async def test_what_only_the_librarys_menu_has_is_found_too(fake: FakeServices) -> None:
    app = Host(fake)
    app.first = LibraryScreen(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.run_command(pilot, "hugging", "Search Hugging Face:")
        await until(lambda: "[Hugging Face]" in screen_text(app))
