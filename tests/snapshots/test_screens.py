"""Whole screens as pictures: a change that nobody meant shows here. `pytest --snapshot-update` takes what is drawn now as right."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.fake_services import FakeServices, ScreenHost
from tests.ui import library_data
from tests.ui.chat_data import answer, prompt, view
from tests.ui.monitor_data import fill as fill_monitor
from tests.ui.test_pull_verbs import past
from tests.ui.test_pulls import plan, queue
from tests.ui.test_welcome import FOUND
from tui.core.chat import AnswerState, ConversationHead
from tui.core.errors import Failure
from tui.core.jobs import JobState
from tui.core.models import ProviderStatus
from tui.services.api import Preview
from tui.ui.dialogs.pull import PullDialog
from tui.ui.screens.chat import ChatScreen
from tui.ui.screens.help import HelpScreen
from tui.ui.screens.library import LibraryScreen
from tui.ui.screens.monitor import MonitorScreen
from tui.ui.screens.providers import ProvidersScreen
from tui.ui.screens.pulls import PullsScreen
from tui.ui.screens.settings import SettingsScreen
from tui.ui.screens.welcome import WelcomeScreen
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog
from tui.ui.widgets.prompt import Composer

Snap = Callable[..., bool]
SMALL, LARGE = (80, 24), (120, 40)
NOW = time.mktime((2026, 11, 21, 12, 31, 0, 0, 0, -1))
MARKDOWN = """\
Short answer: **Q4_K_M** unless memory is plentiful.

| level | bits | loss |
|---|---|---|
| Q8_0 | 8.5 | none to speak of |
| Q4_K_M | 4.8 | small |

```python
def fits(free: int, weights: int) -> bool:
    return weights * 1.2 < free
```
"""


@pytest.fixture
def world(fake: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServices:
    """The wireframes' world at one moment."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setenv("HOME", str(tmp_path))
    library_data.fill(fake)
    states = [state for state in library_data.providers() if state.status is not ProviderStatus.BUSY]
    fake.registry.providers.set(tuple(states))
    fake.registry.details.set({("ollama", "qwen3:8b"): library_data.detail()})
    return fake


def shows(snap: Snap, screen: Any, size: tuple[int, int], *keys: str, ascii_only: bool = False, before: Any = None) -> None:
    async def settle(pilot: Pilot[Any]) -> None:
        for field in pilot.app.screen.query(Composer):
            field.cursor_blink = False
        await pilot.pause()
        if before is not None:
            await before(pilot)
        await pilot.pause()

    assert snap(ScreenHost(screen, ascii_only=ascii_only), press=keys, terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_library(world: FakeServices, snap_compare: Snap, size: tuple[int, int]) -> None:
    shows(snap_compare, LibraryScreen(world), size, "space", "j")


def test_library_page(world: FakeServices, snap_compare: Snap) -> None:
    shows(snap_compare, LibraryScreen(world), SMALL, "i")


def test_library_comparison(world: FakeServices, snap_compare: Snap) -> None:
    shows(snap_compare, LibraryScreen(world), SMALL, "space", "space", "space", "equals_sign")


def test_library_columns(world: FakeServices, snap_compare: Snap) -> None:
    shows(snap_compare, LibraryScreen(world), SMALL, "C", "j", "space")


def test_catalogue(world: FakeServices, snap_compare: Snap) -> None:
    shows(snap_compare, LibraryScreen(world), SMALL, "right_square_bracket", "j")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_providers(world: FakeServices, snap_compare: Snap, size: tuple[int, int]) -> None:
    shows(snap_compare, ProvidersScreen(world), size)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_pulls(world: FakeServices, snap_compare: Snap, size: tuple[int, int]) -> None:
    world.jobs.view.set(queue())
    shows(snap_compare, PullsScreen(world), size)


def test_pulls_history(world: FakeServices, snap_compare: Snap) -> None:
    states = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
    failure = Failure("The registry cannot be reached", "registry.ollama.ai", "Check the network")
    names = ("qwen3:8b", "mistral:7b", "gemma3:27b", "llama3.1:70b", "phi4:14b")
    world.jobs.past.set(
        tuple(
            past(
                number,
                name,
                states[number % 3],
                started_at=NOW - number * 40_300,
                ended_at=NOW - number * 40_000,
                failure=failure if number % 3 == 1 else None,
            )
            for number, name in enumerate(names)
        )
    )
    shows(snap_compare, PullsScreen(world), LARGE, "right_square_bracket")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_pull_dialog(world: FakeServices, snap_compare: Snap, size: tuple[int, int]) -> None:
    world.jobs.view.set(queue())
    refused = Failure("registry.ollama.ai has no model or tag nope:latest", "registry.ollama.ai", "Check the name and the tag")
    fits = Preview(plan(9_100_000_000, 8_200_000_000, context=16384), free=43 * 10**9, needed=20 * 10**9)
    world.jobs.previews.set(
        {
            ("ollama", "phi4:14b"): fits,
            ("ollama", "llama3.1:70b"): Preview(plan(42_500_000_000), free=39 * 10**9, needed=51 * 10**9),
            ("ollama", "nope:latest"): Preview(failure=refused),
        }
    )

    async def ask(pilot: Pilot[Any]) -> None:
        await pilot.app.push_screen(PullDialog(world, "phi4:14b\nllama3.1:70b\nnope"))

    shows(snap_compare, PullsScreen(world), size, before=ask)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_chat(world: FakeServices, snap_compare: Snap, size: tuple[int, int]) -> None:
    asked = replace(prompt("Which quantization should I pick for 24 GB?"), created_at=NOW)
    answered = replace(answer(MARKDOWN, thinking="The card has 24 GB."), created_at=NOW)
    stopped = answer("It depends", AnswerState.STOPPED, number=4)
    world.chat.view.set(view(asked, answered, replace(prompt("And for 16 GB?", 3), created_at=NOW), stopped))
    world.chat.heads.set((ConversationHead(7, "Which quantization?", "ollama", "qwen3:8b", NOW, NOW, 4),))
    shows(snap_compare, ChatScreen(world), size)


@pytest.mark.parametrize("size", [SMALL, LARGE, (200, 60), (40, 12)])
def test_monitor(world: FakeServices, snap_compare: Snap, size: tuple[int, int]) -> None:
    fill_monitor(world)
    shows(snap_compare, MonitorScreen(world), size)


def test_monitor_in_ascii(world: FakeServices, snap_compare: Snap) -> None:
    fill_monitor(world)
    shows(snap_compare, MonitorScreen(world), SMALL, ascii_only=True)


def test_monitor_of_eight_gpus(world: FakeServices, snap_compare: Snap) -> None:
    fill_monitor(world, gpus=8)
    shows(snap_compare, MonitorScreen(world), SMALL)


def test_monitor_frozen(world: FakeServices, snap_compare: Snap) -> None:
    fill_monitor(world)
    shows(snap_compare, MonitorScreen(world), SMALL, "p", "shift+left", "left")


def test_monitor_page_of_a_gpu(world: FakeServices, snap_compare: Snap) -> None:
    fill_monitor(world)
    shows(snap_compare, MonitorScreen(world), LARGE, "shift+tab", "end", "enter")


def test_settings(world: FakeServices, snap_compare: Snap) -> None:
    shows(snap_compare, SettingsScreen(world), SMALL, "j", "j", "j", "enter", "j")


def test_first_run(world: FakeServices, snap_compare: Snap) -> None:
    world.registry.providers.set(())
    world.registry.discovery.set(FOUND)
    world.monitor.latest.set(library_data.sample(0.4))
    shows(snap_compare, WelcomeScreen(world), SMALL)


def test_help(world: FakeServices, snap_compare: Snap) -> None:
    async def ask(pilot: Pilot[Any]) -> None:
        await pilot.app.push_screen(HelpScreen(pilot.app.screen))

    shows(snap_compare, LibraryScreen(world), SMALL, before=ask)


def test_a_question_and_a_choice(world: FakeServices, snap_compare: Snap) -> None:
    async def ask(pilot: Pilot[Any]) -> None:
        choices = [("5m", "5 minutes", "as the server has it"), ("1h", "an hour", ""), ("-1", "until it is unloaded", "")]
        await pilot.app.push_screen(ChoiceDialog("Keep qwen3:8b loaded after use for", choices, current="1h"))
        await pilot.pause()
        await pilot.app.push_screen(ConfirmDialog("Delete qwen3:8b on ollama? 5.2 GB in all.", (("keep", "Keep"), ("delete", "Delete"))))

    shows(snap_compare, LibraryScreen(world), SMALL, before=ask)
