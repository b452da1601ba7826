"""`paddock monitor`: the Monitor as a program of its own."""

from __future__ import annotations

from pathlib import Path

from textual.command import CommandPalette

from tests.support.fake_services import FakeServices
from tests.support.screen import screen_lines, screen_text, until
from tests.ui.monitor_data import fill
from tui.config.paths import find_paths
from tui.core.options import AppOptions
from tui.ui import start
from tui.ui.alone import AloneApp
from tui.ui.screens.help import HelpScreen
from tui.ui.screens.monitor import MonitorScreen
from tui.ui.start import read_early, save_last_screen


def made(fake: FakeServices, home: Path, *, ascii: bool = False) -> AloneApp:
    options = AppOptions(alone="monitor", ascii=ascii)
    early = read_early(options, find_paths(environ={"PADDOCK_HOME": str(home)}), {})
    assert early.screen == "monitor"
    return AloneApp(options, early, lambda: fake)


async def test_it_shows_the_monitor_and_no_way_elsewhere(fake: FakeServices, tmp_path: Path) -> None:
    fill(fake)
    app = made(fake, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: isinstance(app.screen, MonitorScreen) and "34 %" in screen_text(app))
        assert screen_lines(app)[0].split()[0] == "Monitor" and "Library" not in screen_text(app)
        for key in ("1", "2", "6", "ctrl+g"):
            await pilot.press(key)
            assert isinstance(app.screen, MonitorScreen), key
        await pilot.click("#topbar", offset=(3, 0))
        app.action_go("library")
        assert app.current_mode == "monitor"
        await pilot.press("colon")
        await until(lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"screen")
        await pilot.pause()
        assert "Screen Library" not in screen_text(app) and "Chat with" not in screen_text(app)
        await pilot.press("escape", "escape")
        await until(lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, HelpScreen))
        rows = {keys for _group, keys, _words in app.screen._rows}  # type: ignore[attr-defined]
        assert "q" in rows and not rows & {"1", "2", "ctrl+g", "ctrl+g 1\u20136"}
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("q")
    assert app.return_value == 0


async def test_frames_of_dialogs_are_ascii_too(fake: FakeServices, tmp_path: Path) -> None:
    fill(fake)
    app = made(fake, tmp_path, ascii=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: isinstance(app.screen, MonitorScreen) and "34 %" in screen_text(app))
        for key, there in (("L", "Load a model"), ("l", "Alerts"), ("question_mark", "Help")):
            await pilot.press(key)
            await until(lambda there=there: there in screen_text(app))  # type: ignore[misc]
            await until(lambda: "+--" in screen_text(app) and not set("\u256d\u2502\u2570") & set(screen_text(app)))
            await pilot.press("escape")
            await until(lambda: isinstance(app.screen, MonitorScreen))


def test_where_the_whole_program_opens_next_is_not_changed(tmp_path: Path, monkeypatch) -> None:
    state = tmp_path / "state"
    state.mkdir()
    save_last_screen(state, "chat")

    class Ended:
        services = type("Services", (), {"close": lambda _self: None})()
        last_screen = "monitor"
        return_code = 0

        def run(self, *, mouse: bool) -> int:
            return 0

    monkeypatch.setenv("PADDOCK_HOME", str(tmp_path))
    monkeypatch.setattr(start, "_end_on_signals", lambda _app: None)
    for alone, expected in (("monitor", "chat"), ("", "monitor")):
        assert start._run_once(AppOptions(alone=alone), lambda *_, **__: Ended(), lambda _home: "") == 0
        assert start._last_screen(state) == expected
