"""The Settings screen on a real configuration file: what it shows, changes, refuses and copies."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tui.config.paths import find_paths
from tui.config.store import ConfigStore
from tui.ui.screens.settings import SettingsScreen
from tui.ui.screens.settings_rows import known_bindings, sections, setting_entries, unquoted
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog, InputDialog
from tui.ui.widgets.rows import Rows


def write(fake: FakeServices, text: str) -> None:
    path = fake.config.paths.config_file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(1, len(text)))
    fake.config.poll()


def file_text(fake: FakeServices) -> str:
    path = fake.config.paths.config_file
    return path.read_text() if path.exists() else ""


def live(fake: FakeServices) -> list[str]:
    """The lines of the file that count."""
    return [line for line in file_text(fake).splitlines() if line and line[0] not in "#["]


async def to_entry(app: ScreenHost, pilot: Any, dotted: str) -> None:
    """Put the cursor on a setting."""
    section, key = dotted.split(".", 1)
    app.first.query_one("#sections", Rows).move_to_key(section)
    entries = app.first.query_one("#entries", Rows)
    await until(lambda: any(entry.section == section for entry in entries.items), what=dotted)
    entries.focus()
    for row, entry in enumerate(entries.items):
        if entry.dotted == dotted or entry.name == key:
            entries.move_to(row)
            await pilot.pause()
            return
    raise AssertionError(f"{dotted} is not listed")


async def shown(app: ScreenHost, text: str) -> None:
    await until(lambda: text in " ".join(screen_text(app).split()), what=text)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_a_section_as_drawn(fake: FakeServices, size: tuple[int, int]) -> None:
    fake.config.set("pulls.at_once", "3")
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=size) as pilot:
        await to_entry(app, pilot, "pulls.at_once")
        await shown(app, "pulls.at_once")
        lines = screen_lines(app)
        text = "\n".join(lines)
        assert all(len(line) <= size[0] for line in lines)
        row = next(line for line in lines if "at once *" in line)
        assert "3" in row
        assert "file" in row
        assert "retries" in text
        assert "default" in text
        assert "TOML   [pulls]  at_once = 3" in text
        assert "values 1 to 5   default 2" in text
        assert "env    PADDOCK_PULLS__AT_ONCE" in text
        assert "How many pulls run" in text
        if size[0] >= 80:
            assert "1 to 5" in row
            assert "enter change  d back to default  / find  e edit the file  y copy as TOML" in lines[-1]


async def test_ascii_draws_no_unicode_graphics(fake: FakeServices) -> None:
    app = ScreenHost(SettingsScreen(fake), ascii_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.at_once")
        text = "\n".join(screen_lines(app)[1:-2])
        assert {char for char in text if ord(char) > 126} <= {"–"}


def test_every_setting_is_listed_under_its_section(tmp_path: Path) -> None:
    store = ConfigStore(find_paths(environ={"PADDOCK_HOME": str(tmp_path), "HOME": str(tmp_path)}), {})
    listed = {entry.dotted for entry in setting_entries(store)}
    names = {section.key for section in sections(store.fields())}
    for field in store.fields():
        if field.section.startswith("providers."):
            assert "providers" in names
        elif field.section != "keys":
            assert field.dotted in listed
            assert field.section in names
    assert all(entry.doc for entry in setting_entries(store))


def test_tables_that_the_user_named_are_listed_with_their_headers(tmp_path: Path) -> None:
    paths = find_paths(environ={"PADDOCK_HOME": str(tmp_path), "HOME": str(tmp_path)})
    paths.config_file.write_text('[models.options."qwen3:8b"]\nnum_ctx = 16384\n[chat.commands.weather]\ncommand = ["weather"]\n')
    paths.config_file.chmod(0o600)
    store = ConfigStore(paths, {})
    rows = {entry.dotted: entry for entry in setting_entries(store)}
    assert rows["models.options.qwen3:8b.num_ctx"].toml == ('[models.options."qwen3:8b"]', "num_ctx = 16384")
    assert rows["chat.commands.weather.command"].toml == ("[chat.commands.weather]", 'command = ["weather"]')
    titles = [section.title for section in sections(store.fields())]
    assert titles[-2:] == ["Options of qwen3:8b", "Tool weather"]


async def test_a_switch_is_changed_by_enter(fake: FakeServices) -> None:
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.verify")
        await pilot.press("enter")
        await until(lambda: not fake.config.current.value.pulls.verify)
        await shown(app, "saved, applied at once")
        await shown(app, "verify * false file")
        assert live(fake) == ["verify = false"]
        await pilot.press("enter")
        await until(lambda: fake.config.current.value.pulls.verify)


async def test_with_access_look_nothing_is_changed_and_it_says_why(fake: FakeServices) -> None:
    fake.config = ConfigStore(fake.config.paths, {}, {"security.access": "look"})
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.verify")
        await pilot.press("enter")
        await until(lambda: [notice.message for notice in app._notifications])
        said = next(iter(app._notifications)).message
        assert said == "Not changed: security.access is look. Start without --readonly."
        assert fake.config.current.value.pulls.verify


async def test_a_choice_is_picked_from_a_list(fake: FakeServices) -> None:
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "chat.think")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("h", "i", "g", "h", "enter")
        await until(lambda: fake.config.current.value.chat.think == "high")
        assert live(fake) == ['think = "high"']


async def test_text_is_checked_before_it_is_saved(fake: FakeServices) -> None:
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.at_once")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, InputDialog))
        await pilot.press("9", "enter")
        await shown(app, "must be a whole number from 1 to 5")
        assert file_text(fake) == ""
        await pilot.press("backspace", "backspace", "4", "enter")
        await until(lambda: fake.config.current.value.pulls.at_once == 4)
        await shown(app, "saved, applied at once")


async def test_sizes_and_lists_are_typed_as_written(fake: FakeServices) -> None:
    fake.config.set("models.excluded", ["a*", "b"])
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.keep_free")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, InputDialog))
        await shown(app, "10 GB")
        await pilot.press("escape")
        await to_entry(app, pilot, "models.excluded")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, InputDialog))
        await pilot.press("enter")
        await shown(app, "saved, applied at once")
        assert fake.config.current.value.models.excluded == ("a*", "b")


async def test_an_option_without_a_value_is_not_sent(fake: FakeServices) -> None:
    fake.config.set("chat.options.temperature", "0.3")
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        app.first.query_one("#sections", Rows).move_to_key("chat.options")
        await shown(app, "temperature * 0.3 file")
        app.first.query_one("#entries", Rows).focus()
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, InputDialog))
        await pilot.press("backspace", "backspace", "backspace", "enter")
        await until(lambda: fake.config.current.value.chat.options.temperature is None)
        assert live(fake) == []


async def test_back_to_default(fake: FakeServices) -> None:
    fake.config.set("pulls.at_once", "3")
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.retries")
        await pilot.press("d")
        assert fake.config.current.value.pulls.at_once == 3
        await to_entry(app, pilot, "pulls.at_once")
        await pilot.press("d")
        await until(lambda: fake.config.source("pulls.at_once") == "default")
        await shown(app, "at once 2 default")


async def test_T15_letters_in_the_list_of_sections_change_nothing(fake: FakeServices) -> None:
    fake.config.set("general.confirm", "destructive")
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        app.first.query_one("#entries", Rows).move_to(6)
        await shown(app, "general.confirm")
        before = file_text(fake)
        await pilot.press("d", "r", "u", "x", "z")
        assert fake.config.source("general.confirm") == "file"
        assert file_text(fake) == before


async def test_P12_back_to_default_asks_where_confirm_is_always(fake: FakeServices) -> None:
    fake.config.set("pulls.at_once", "3")
    fake.config.set("general.confirm", "always")
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.at_once")
        await pilot.press("d")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press("enter")
        assert fake.config.current.value.pulls.at_once == 3
        await pilot.press("d")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: fake.config.current.value.pulls.at_once == 2)


async def test_the_environment_is_named_and_still_decides(tmp_path: Path, fake: FakeServices) -> None:
    fake.config = ConfigStore(fake.config.paths, {"PADDOCK_PULLS__RETRIES": "7"})
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.retries")
        await shown(app, "retries * 7 environ.")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, InputDialog))
        await pilot.press("backspace", "2", "enter")
        await shown(app, "Saved; PADDOCK_PULLS__RETRIES still decides")
        assert fake.config.current.value.pulls.retries == 7


async def test_problems_name_file_line_and_remedy(fake: FakeServices) -> None:
    write(fake, "[pulls]\nat_once = 99\n")
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(120, 40)):
        await shown(app, "! config.toml line 2: pulls.at_once must be a whole number from 1 to 5")
        await shown(app, "Correct the line")
        write(fake, "[pulls]\nat_once = 2\n")
        await until(lambda: "config.toml line 2" not in screen_text(app))


async def test_a_broken_file_is_not_overwritten_and_it_is_said(fake: FakeServices) -> None:
    write(fake, "[pulls\nat_once = 2\n")
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.verify")
        await pilot.press("enter")
        await until(lambda: "ot saved" in screen_lines(app)[1], what="the head line")
        assert file_text(fake) == "[pulls\nat_once = 2\n"


async def test_saving_does_not_hold_the_screen(fake: FakeServices, monkeypatch: pytest.MonkeyPatch) -> None:
    go, threads = threading.Event(), []
    save = fake.config.set

    def slow(key: str, value: object) -> str:
        threads.append(threading.current_thread())
        go.wait(5)
        return save(key, value)

    monkeypatch.setattr(fake.config, "set", slow)
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.verify")
        await pilot.press("enter")
        await until(lambda: threads)
        await shown(app, "saving")
        await pilot.press("down")
        await shown(app, "pulls.notify")
        go.set()
        await shown(app, "saved, applied at once")
        assert threads[0] is not threading.main_thread()
        assert threads[0].daemon


async def test_find_looks_over_all_sections(fake: FakeServices) -> None:
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"celsius")
        await shown(app, "monitor.temperature unit C default")
        await pilot.press("enter")
        assert app.first.query_one("#entries", Rows).shown == 1
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(lambda: fake.config.current.value.monitor.temperature_unit == "F")
        await pilot.press("escape")
        await shown(app, "general.default_provider")


async def test_providers_are_listed_and_changed_elsewhere(fake: FakeServices) -> None:
    write(fake, '[providers.gpu-box]\nurl = "http://gpu2:11434"\napi_key = "sk-very-secret"\n')
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await to_entry(app, pilot, "providers.gpu-box")
        await shown(app, "gpu-box * http://gpu2:11434 file ollama")
        await shown(app, "Servers are added, changed and removed on the Providers screen")
        assert "sk-very-secret" not in screen_text(app)
        await pilot.press("enter")
        await until(lambda: app.went == ["providers"])


async def test_keys_can_be_changed_by_id(fake: FakeServices) -> None:
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await to_entry(app, pilot, "keys.pulls.pause")
        await shown(app, "keys.pulls.pause")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, InputDialog))
        await pilot.press("backspace", "f", "9", "enter")
        await until(lambda: dict(fake.config.current.value.keys) == {"pulls.pause": "f9"})
        await shown(app, "pulls.pause * f9 file")
        await pilot.press("d")
        await until(lambda: not fake.config.current.value.keys)


def test_every_binding_of_these_screens_has_id_and_words() -> None:
    known = known_bindings()
    for screen in ("pulls", "monitor", "settings"):
        module = __import__(f"tui.ui.screens.{screen}", fromlist=["*"])
        made = getattr(module, f"{screen.capitalize()}Screen")
        for binding in made.__dict__["BINDINGS"]:
            assert binding.id in known
            assert binding.description
            assert binding.tooltip


async def test_copy_gives_the_toml(fake: FakeServices) -> None:
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_entry(app, pilot, "pulls.keep_free")
        await pilot.press("y")
        assert app.copied == ['[pulls]\nkeep_free = "10 GB"']


async def test_the_editor_gets_the_file_and_its_changes_count(fake: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "my editor"
    editor.write_text("#!/bin/sh\nprintf '[pulls]\\nat_once = 5\\n' > \"$1\"\n")
    editor.chmod(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{editor}'")
    app = ScreenHost(SettingsScreen(fake))

    @contextmanager
    def suspend() -> Any:
        yield

    monkeypatch.setattr(app, "suspend", suspend)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e")
        await until(lambda: fake.config.current.value.pulls.at_once == 5)
        await shown(app, "read again, applied")
        assert fake.config.paths.config_file.stat().st_mode & 0o077 == 0


async def test_a_missing_editor_is_said(fake: FakeServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    app = ScreenHost(SettingsScreen(fake))
    said: list[str] = []
    monkeypatch.setattr(app, "notify", lambda text, **_rest: said.append(text))

    @contextmanager
    def suspend() -> Any:
        yield

    monkeypatch.setattr(app, "suspend", suspend)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e")
        await until(lambda: said)
        assert "The editor was not started" in said[0]
        assert "Set EDITOR to a program you have" in said[0]


async def test_X01_hostile_values_stay_literal(fake: FakeServices) -> None:
    for index, name in enumerate(CANARIES):
        if name.isprintable():
            fake.config.set(f"keys.{name}", "f8")
            if index < 6:
                fake.config.set("general.default_model", name)
    app = ScreenHost(SettingsScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "[bold red]big[/]")
        await to_entry(app, pilot, "general.default_model")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, InputDialog))
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        await pilot.press("escape")
        app.first.query_one("#sections", Rows).move_to_key("keys")
        app.first.query_one("#entries", Rows).focus()
        await pilot.press("G")
        for _ in range(12):
            await pilot.press("k")
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        await shown(app, "[@click=app.quit]x[/]")


def test_values_for_people() -> None:
    assert unquoted('"10 GB"') == "10 GB"
    assert unquoted('""') == "–"
    assert unquoted("[]") == "–"
    assert unquoted("true") == "true"
    assert unquoted('["a", "b"]') == '["a", "b"]'
