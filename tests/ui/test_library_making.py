"""The Library's keys that make: the form of a model, exports, backups, imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_text, until
from tests.ui.library_data import fill
from tui.core.capabilities import Capability
from tui.core.errors import Failure
from tui.core.modelfile import Modelfile, plain
from tui.core.recipe import Recipe
from tui.services.library.backup_form import Entry, Index, SavedModel
from tui.services.library.importing import Source
from tui.services.library.making import Opened, Progress
from tui.ui.dialogs.backup import OpeningDialog, PathDialog, ProgressDialog
from tui.ui.dialogs.configure import ConfigureDialog
from tui.ui.dialogs.diff import DiffDialog, LongTextDialog
from tui.ui.dialogs.import_model import ImportDialog
from tui.ui.screens.library import LibraryScreen
from tui.ui.widgets.confirm import ARMED_AFTER, ChoiceDialog, InputDialog, MarkDialog
from tui.ui.widgets.path_input import PathInput
from tui.ui.widgets.rows import Rows

KEY = ("ollama", "qwen3:8b")
MADE = Modelfile(("/x/blobs/sha256-" + "a" * 64,), (("stop", "<end>"), ("temperature", 0.6)), "{{ .Prompt }}", "Be brief.\nAnd kind.")


def host(fake: FakeServices) -> ScreenHost:
    return ScreenHost(LibraryScreen(fill(fake)))


async def on(app: ScreenHost, pilot: object, name: str = "qwen3:8b") -> None:
    """The cursor is on a model."""
    table = app.screen.query_one("#models", Rows)
    assert table.move_to_key(("ollama", name))


def form(app: ScreenHost) -> Rows[object]:
    return app.screen.query_one(Rows)


async def agreed(app: ScreenHost, pilot: object) -> None:
    """Say yes to a diff, once it takes keys."""
    assert isinstance(app.screen, DiffDialog)
    dialog = app.screen
    await until(lambda: dialog.armed, timeout=ARMED_AFTER + 20)
    await pilot.press("right", "enter")  # type: ignore[attr-defined]
    await pilot.pause()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(120, 40), (60, 16)])
async def test_an_option_goes_into_the_configuration_after_a_diff(fake: FakeServices, size: tuple[int, int]) -> None:
    app = host(fake)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await on(app, pilot)
        await pilot.press("e")
        await pilot.pause()
        assert isinstance(app.screen, ConfigureDialog)
        assert "[Paddock's configuration]" in screen_text(app)
        assert fake.called("look_into") == [KEY]
        form(app).move_to_key("num_ctx")
        await pilot.press("enter")
        assert isinstance(app.screen, InputDialog)
        await pilot.press(*"zz", "enter")
        assert "num_ctx" in screen_text(app) and isinstance(app.screen, InputDialog)
        await pilot.press("backspace", "backspace", *"8192", "enter")
        form(app).move_to_key("keep_alive")
        await pilot.press("enter", *"10m", "enter")
        await pilot.press("ctrl+s")
        await pilot.pause()
        text = screen_text(app)
        assert "+ keep_alive  10m" in text and "+ num_ctx  8192" in text and "qwen3:8b in Paddock's configuration" in text
        await agreed(app, pilot)
        assert fake.called("configure") == [("qwen3:8b", {"num_ctx": 8192, "keep_alive": "10m"})]


async def test_a_text_is_written_in_the_users_editor(fake: FakeServices, monkeypatch: pytest.MonkeyPatch) -> None:
    async def edited(_app: object, text: str, _state: Path, **_more: object) -> str:
        return f"{text}\n\tmore"

    monkeypatch.setattr("tui.ui.widgets.external_editor.edit_text", edited)
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await on(app, pilot)
        await pilot.press("e", "tab")
        fake.library.making.made.set({KEY: MADE})
        await until(lambda: "0.6" in screen_text(app))
        form(app).move_to_key("template")
        await pilot.press("enter", "ctrl+e")
        await until(lambda: "more" in screen_text(app))
        await pilot.press("ctrl+s")
        assert app.screen._new["same"].template == "{{ .Prompt }}\n\tmore", "tabs stay"  # type: ignore[attr-defined]
        monkeypatch.undo()
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", "")
        await pilot.press("enter", "ctrl+e")
        await until(lambda: "No editor is set" in screen_text(app))


async def test_texts_are_baked_into_the_model_or_a_new_one(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await on(app, pilot)
        await pilot.press("e", "tab")
        await pilot.press("ctrl+s")
        assert "not known yet" in screen_text(app)
        fake.library.making.made.set({KEY: MADE})
        await until(lambda: "0.6" in screen_text(app))
        assert "2 lines" in screen_text(app) and "keep_alive" not in screen_text(app)
        await pilot.press("ctrl+s")
        assert "Nothing is different yet" in screen_text(app)
        form(app).move_to_key("system")
        await pilot.press("enter")
        assert isinstance(app.screen, LongTextDialog)
        await pilot.press(*"!x", "ctrl+s")
        form(app).move_to_key("temperature")
        await pilot.press("d", "tab", "ctrl+s")
        await pilot.pause()
        assert isinstance(app.screen, InputDialog) and "my-qwen3:8b" in screen_text(app)
        await pilot.press("enter")
        await pilot.pause()
        text = screen_text(app)
        assert "- temperature  0.6" in text and "- And kind." in text and "+ And kind.!x" in text
        await agreed(app, pilot)
        old = Recipe({"stop": ["<end>"], "temperature": 0.6}, "Be brief.\nAnd kind.", "{{ .Prompt }}")
        new = Recipe({"stop": ["<end>"]}, "Be brief.\nAnd kind.!x", "{{ .Prompt }}")
        assert fake.called("bake") == [("ollama", "qwen3:8b", "my-qwen3:8b", old, new)]


async def test_what_was_changed_is_not_lost_by_one_esc(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await on(app, pilot)
        await pilot.press("e")
        await pilot.pause()
        form(app).move_to_key("seed")
        await pilot.press("enter", "7", "enter", "escape")
        assert isinstance(app.screen, ConfigureDialog) and "esc again gives up" in screen_text(app)
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, LibraryScreen) and not fake.called("configure")


async def test_a_server_that_makes_no_models_still_has_the_configuration(fake: FakeServices) -> None:
    app = host(fake)
    fake.registry.reasons = {("ollama", str(Capability.CREATE)): "it cannot create"}
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await on(app, pilot)
        await pilot.press("e", "tab")
        await pilot.pause()
        assert "It cannot be made part of the model: it cannot create." in screen_text(app)
        assert "[Paddock's configuration]" in screen_text(app) and not fake.called("look_into")


async def test_X01_hostile_texts_of_a_model_are_drawn_literally(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        await on(app, pilot)
        await pilot.press("e", "tab")
        for canary in CANARIES:
            made = Modelfile((plain(canary),), (("stop", plain(canary)),), plain(canary), plain(canary) + "\nmore")
            fake.library.making.made.set({KEY: made})
            await until(lambda made=made: app.screen._made == made)  # type: ignore[misc]
            form(app).move_to_key("stop")
            await pilot.press("d", "ctrl+s")
            await pilot.pause()
            assert isinstance(app.screen, DiffDialog)
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
            await pilot.press("escape")
            await pilot.pause()
            await pilot.press("enter")
            await pilot.pause()
            await pilot.press("escape")
            await pilot.pause()
            app.screen._new = dict(app.screen._old)  # type: ignore[attr-defined]


async def test_exports_say_where_and_ask_for_a_place(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await on(app, pilot)
        await pilot.press("E")
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, PathDialog) and "~/qwen3-8b.Modelfile" in screen_text(app)
        await pilot.press("enter")
        assert fake.called("export_modelfile") == [("ollama", "qwen3:8b", "~/qwen3-8b.Modelfile")]
        await pilot.press("E", "down", "enter")
        assert fake.called("find_weights") == [KEY]
        fake.library.making.exported.set("/models/blobs/sha256-1")
        await until(lambda: app.copied == ["/models/blobs/sha256-1"])


async def test_a_backup_is_followed_and_can_be_ended(fake: FakeServices) -> None:
    app = host(fake)
    making = fake.library.making
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await on(app, pilot)
        await app.screen.run_action("back_up")
        await pilot.pause()
        assert "Back up qwen3:8b and the configuration to" in screen_text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert fake.called("back_up") == [([KEY], "~/qwen3-8b.tar")]
        assert isinstance(app.screen, ProgressDialog)
        making.progress.set(Progress("backing up", 5_000_000, 10_000_000, "qwen3:8b"))
        await until(lambda: "5.0 MB of 10 MB" in screen_text(app))
        await pilot.press("ctrl+x")
        assert fake.called("stop") == [()]
        making.progress.set(None)
        making.ended.set(1)
        await until(lambda: isinstance(app.screen, LibraryScreen))


async def test_a_backup_is_looked_at_and_restored_in_parts(fake: FakeServices) -> None:
    app = host(fake)
    making = fake.library.making
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await app.screen.run_action("restore_backup")
        await pilot.pause()
        await pilot.press(*"b.tar", "enter")
        await pilot.pause()
        assert fake.called("open_backup") == [("~/b.tar",)] and isinstance(app.screen, OpeningDialog)
        making.opened.set(Failure("It is damaged", "~/b.tar", "Use another"))
        await until(lambda: "It is damaged" in screen_text(app))
        config = Entry("config/config.toml", 3, "a" * 64)
        models = (SavedModel("a:1", "ollama", size=7_000_000, whole=True), SavedModel("b:2", "ollama", why="no folder"))
        making.opened.set(Opened("~/b.tar", Index(1.0, "paddock", (config,), models)))
        await until(lambda: isinstance(app.screen, MarkDialog))
        await until(lambda: "without its weights: no folder" in screen_text(app) and "7.0 MB" in screen_text(app))
        await pilot.press("space", "end", "space", "enter")
        await pilot.pause()
        assert fake.calls[-1][:2] == ("restore", ("~/b.tar", {("ollama", "a:1"): "ollama"})) and fake.calls[-1][2] == {"config": True}


@pytest.mark.parametrize("size", [(80, 24), (60, 16)])
async def test_an_import_proposes_a_name_and_refuses_what_is_none(fake: FakeServices, size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "weights.gguf").touch()
    app = host(fake)
    making = fake.library.making
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("I")
        await pilot.pause()
        assert isinstance(app.screen, ImportDialog) and "Pickles are refused" in screen_text(app)
        await pilot.press("enter", "enter")
        assert "Name a file first." in screen_text(app)
        app.screen.query_one(PathInput).focus_field()
        await pilot.press(*f"{tmp_path}/wei")
        await until(lambda: "weights.gguf" in screen_text(app))
        await pilot.press("tab")
        path = str(tmp_path / "weights.gguf")
        await until(lambda: app.screen.query_one(PathInput).value == path)
        await until(lambda: (path,) in fake.called("look_at"))
        making.source.set(Failure("A .pt file is refused: it may run code", path, "Use a GGUF"))
        await until(lambda: "may run code" in screen_text(app).replace("\n", " "))
        await pilot.press("enter", "enter")
        await pilot.pause()
        assert screen_text(app).count("A .pt file is refused") == 1  # said once, and refused
        assert isinstance(app.screen, ImportDialog)
        source = Source(path, "weights:q8_0", "GGUF", "", {"files": {"weights.gguf": path}}, 3_000_000)
        making.source.set(source)
        await until(lambda: "weights:q8_0" in screen_text(app) and "3.0 MB to send" in screen_text(app))
        await pilot.press("enter")
        await pilot.pause()
        assert fake.called("make") == [("ollama", "weights:q8_0", source)]
