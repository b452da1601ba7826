"""Updates on the Library screen: what is known, what is asked, what is refused."""

from __future__ import annotations

import time

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import screen_text, until
from tests.ui.library_data import fill
from tui.core.errors import Failure
from tui.core.library import UpdateState, UpdateStatus
from tui.ui.dialogs.update_news import UpdateNews
from tui.ui.screens import library_updates_words as words
from tui.ui.screens.library import LibraryScreen
from tui.ui.widgets.confirm import ConfirmDialog

DAY = 86_400.0
FIRST = ("ollama", "qwen3:8b")


def state(fake: FakeServices, status: UpdateStatus, key: tuple[str, str] = FIRST, **more: object) -> UpdateState:
    """What was found of a model, as it is installed."""
    digest = next(model.digest for model in fake.registry.models.value if (model.provider, model.key) == key)
    found = UpdateState(status, digest, time.time() - 3600, **more)  # type: ignore[arg-type]
    fake.library.updates.states.set({**fake.library.updates.states.value, key: found})
    return found


def newer(fake: FakeServices, *, key: tuple[str, str] = FIRST, **more: object) -> UpdateState:
    pushed = time.time() - 12 * DAY
    facts = {"fetch": 5_200_000_000, "pushed_at": pushed, "changes": ("weights: 5.2 GB of others", "template the same"), **more}
    return state(fake, UpdateStatus.WEIGHTS, key, **facts)


async def test_the_pane_and_the_question_say_what_comes(fake: FakeServices) -> None:
    newer(fill(fake))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "weights changed 12 d ago (5.2 GB to fetch), template the same" in screen_text(app))
        await pilot.press("u")
        await until(lambda: isinstance(app.screen, ConfirmDialog))
        text = screen_text(app)
        assert "5.2 GB to fetch" in text and "earlier version" in text
        assert not fake.called("add")


async def test_a_pinned_model_is_never_updated(fake: FakeServices) -> None:
    newer(fill(fake))
    fake.config.set("models.pinned", ["qwen3:8b"])
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "[Installed]" in screen_text(app))
        await pilot.press("u")
        await until(lambda: any("never updated. P unpins it" in notice.message for notice in app._notifications))
        assert isinstance(app.screen, LibraryScreen)
        app.screen.action_update_all()
        assert not fake.called("add")


async def test_update_all_takes_what_is_newer_only(fake: FakeServices) -> None:
    newer(fill(fake))
    state(fake, UpdateStatus.CURRENT, ("ollama", "qwen2.5-coder:32b"))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(120, 40)):
        await until(lambda: "[Installed]" in screen_text(app))
        screen = app.screen
        assert isinstance(screen, LibraryScreen) and not screen.refusal("update_all")
        screen.action_update_all()
        await until(lambda: isinstance(app.screen, ConfirmDialog) and "Update qwen3:8b on ollama?" in screen_text(app))
        app.screen.dismiss("update")
        await until(lambda: fake.called("add") == [("qwen3:8b", "ollama")])


async def test_a_look_is_asked_for_on_a_metered_network_and_refused_offline(fake: FakeServices) -> None:
    fill(fake).config.set("general.network", "metered")
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "[Installed]" in screen_text(app))
        await pilot.press("ctrl+u")
        await until(lambda: isinstance(app.screen, ConfirmDialog) and "metered" in screen_text(app))
        app.screen.dismiss("look")
        await until(lambda: fake.called("check") == [([],)])
        fake.config.set("general.network", "offline")
        await until(lambda: isinstance(app.screen, LibraryScreen))
        await pilot.press("ctrl+u")
        await until(lambda: any("offline" in notice.message for notice in app._notifications))
        assert len(fake.called("check")) == 1


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_X01_the_difference_is_drawn_literally(fake: FakeServices, size: tuple[int, int]) -> None:
    newer(fill(fake), diff=("template:", "@@ -1 +1 @@", "-{{ .Prompt }}", "+[@click=app.quit]x[/] " + "long " * 60))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=size) as pilot:
        await until(lambda: "[Installed]" in screen_text(app))
        screen = app.screen
        assert isinstance(screen, LibraryScreen)
        screen.action_update_news()
        await until(lambda: isinstance(app.screen, UpdateNews) and "+[@click=app.quit]x[/] long" in screen_text(app))
        assert "-{{ .Prompt }}" in screen_text(app)
        await pilot.press("y", "escape")
        assert app.copied and app.copied[0].startswith("template:\n")


def test_words_of_every_status(fake: FakeServices) -> None:
    model = fill(fake).registry.models.value[0]
    now = time.time()
    why = Failure("The registry wants a key", "hf.co", "Set models.hf_token")
    said = {
        UpdateStatus.CURRENT: ("current", "current"),
        UpdateStatus.METADATA: ("new texts", "details changed, the weights are the same; template changed"),
        UpdateStatus.GONE: ("own", "its registry has no such model"),
        UpdateStatus.UNKNOWN: ("not known", "not known: The registry wants a key"),
    }
    for status, (cell, line) in said.items():
        changes = ("template changed",) if status is UpdateStatus.METADATA else ()
        failure = why if status is UpdateStatus.UNKNOWN else None
        found = UpdateState(status, model.digest, now, changes=changes, failure=failure)
        assert words.update_cell(found, model).text == cell
        assert words.facts(found, model, now)[0].text.startswith(line)
    assert words.update_cell(None, model).text == "–"
    assert words.state_of({FIRST: UpdateState(UpdateStatus.WEIGHTS, "another digest", now)}, model) is None


async def test_what_is_current_is_not_asked_about(fake: FakeServices) -> None:
    newer(fill(fake), key=("ollama", "qwen2.5-coder:32b"))
    state(fake, UpdateStatus.CURRENT)
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "[Installed]" in screen_text(app))
        await pilot.press("u")
        await until(lambda: any("Nothing newer was there at the last look" in notice.message for notice in app._notifications))
        await pilot.press("space", "space")
        await pilot.press("u")
        await until(lambda: isinstance(app.screen, ConfirmDialog) and "Update qwen2.5-coder:32b on ollama?" in screen_text(app))


async def test_enter_on_what_only_makes_vectors_says_so(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fill(fake)))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "nomic-embed-text" in screen_text(app))
        await pilot.press("j", "j", "j", "enter")
        await until(lambda: any("nomic-embed-text only makes vectors" in notice.message for notice in app._notifications))
        assert not fake.called("use_model")
