"""Deleting, renaming, undo, the trash and versions on the Library screen."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import screen_text, until
from tests.ui.library_data import fill, model, models
from tui.core.kept import KeptKind, kept_name
from tui.core.library import KeptModel
from tui.core.models import Model
from tui.ui.dialogs.kept import KeptDialog, KeptDiff
from tui.ui.screens.library import LibraryScreen
from tui.ui.widgets.confirm import ConfirmDialog, InputDialog

DAY = 86_400.0


def kept(original: str, kind: KeptKind = KeptKind.TRASH, age: float = 2 * DAY, **more: Any) -> KeptModel:
    at = time.time() - age
    goes = at + 7 * DAY if kind is KeptKind.TRASH else None
    values = {"size": 4_000_000_000, "digest": f"{original} {age}", "goes_at": goes, **more}
    return KeptModel("ollama", kept_name(kind, original, at), kind, original, float(int(at)), **values)


def keeping(fake: FakeServices) -> Any:
    """The part, whose observables tests set."""
    return fake.library.keeping


def words(app: ScreenHost) -> str:
    return " ".join(screen_text(app).replace("│", " ").split())


async def answered(app: ScreenHost, pilot: Any, *keys: str) -> None:
    dialog = app.screen
    assert isinstance(dialog, ConfirmDialog)
    await until(lambda: dialog.armed)
    await pilot.press(*keys)


async def test_P12_delete_names_the_hidden_marked_ones_and_what_it_frees_when(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fill(fake)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "space", "slash", *"coder", "enter", "d")
        text = words(app)
        assert "Move 2 models on ollama to the trash (1 of them hidden by the filter: qwen3:8b)?" in text
        assert "Frees up to 25 GB on " in text
        assert "qwen3:8b is loaded and will be unloaded first." in text
        assert "z brings them back until then." in text
        await answered(app, pilot, "enter")
        assert fake.called("delete") == []  # the safe answer has the focus
        await pilot.press("d")
        await answered(app, pilot, "right", "enter")
        both = [("ollama", "qwen3:8b"), ("ollama", "qwen2.5-coder:32b")]
        await until(lambda: fake.called("delete") == [(both,)])
        assert fake.calls[-1][2] == {"now": False}


async def test_delete_now_and_a_version_that_goes_too(fake: FakeServices) -> None:
    keeping(fill(fake)).kept.set((kept("qwen3:8b", KeptKind.VERSION),))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("d")
        assert "1 earlier version goes, too." in words(app)
        await answered(app, pilot, "right", "right", "enter")
        await until(lambda: [kwargs for name, _args, kwargs in fake.calls if name == "delete"] == [{"now": True}])


async def test_without_a_trash_there_is_no_way_back_and_that_is_said(fake: FakeServices) -> None:
    fill(fake).config.set("models.trash", "0s")
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("d")
        text = words(app)
        assert "Delete qwen3:8b on ollama for good?" in text and "This cannot be undone." in text and "Trash" not in text
        await answered(app, pilot, "right", "enter")
        await until(lambda: [kwargs for name, _args, kwargs in fake.calls if name == "delete"] == [{"now": True}])


async def test_rename_asks_and_undo_undoes(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fill(fake)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("z")
        await pilot.pause()
        assert "There is nothing to undo, and the trash is empty." in [notice.message for notice in app._notifications]
        await pilot.press("R")
        assert isinstance(app.screen, InputDialog)
        await pilot.press("enter")
        await pilot.pause()
        assert "exists already" in words(app)
        await pilot.press("home", *"my-", "enter")
        await until(lambda: fake.called("rename") == [("ollama", "qwen3:8b", "my-qwen3:8b")])
        keeping(fake).undoable.set("rename it back")
        await pilot.pause()
        await pilot.press("z")
        await until(lambda: fake.called("undo") == [()])


def under_cursor(app: ScreenHost) -> str:
    found = app.first.table.highlighted
    return "" if found is None else found.key


def rename_to(fake: FakeServices, old: str, new: str) -> None:
    """As a server lists it afterwards: elsewhere, as the newest."""
    now = [model for model in fake.registry.models.value if model.key != old]
    renamed = next(model for model in fake.registry.models.value if model.key == old)
    fake.registry.models.set((replace(renamed, key=new, name=new.removesuffix(":latest")), *now))


async def test_the_cursor_follows_a_renamed_model_and_back(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fill(fake)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "R")
        await pilot.press("ctrl+u", *"zz-mine", "enter")
        await until(lambda: fake.called("rename") == [("ollama", "qwen2.5-coder:32b", "zz-mine:latest")])
        fake.registry.models.set(fake.registry.models.value[:])
        assert under_cursor(app) == "qwen2.5-coder:32b"
        both = (model("zz-mine:latest"), *fake.registry.models.value)
        fake.registry.models.set(both)  # it is copied first
        await until(lambda: len(app.first.table.items) == 6)
        assert under_cursor(app) == "qwen2.5-coder:32b"
        fake.registry.models.set(tuple(one for one in both if one.key != "qwen2.5-coder:32b"))
        await until(lambda: under_cursor(app) == "zz-mine:latest")
        keeping(fake).undoable.set("rename it back")
        await until(lambda: not app.first.refusal("undo"))
        await pilot.press("z")
        await until(lambda: fake.called("undo") == [()])
        rename_to(fake, "zz-mine:latest", "qwen2.5-coder:32b")
        await until(lambda: under_cursor(app) == "qwen2.5-coder:32b")
        await pilot.press("d")
        assert "Move qwen2.5-coder:32b on ollama to the trash" in words(app)


async def test_a_rename_moves_no_cursor_that_is_elsewhere_and_keeps_marks(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fill(fake)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "j", "R", "ctrl+u", *"zz:1", "enter")
        await until(lambda: fake.called("rename") == [("ollama", "qwen3:8b", "zz:1")])
        rename_to(fake, "qwen3:8b", "zz:1")
        await until(lambda: app.first.table.marks == {("ollama", "zz:1")})
        assert under_cursor(app) == "qwen2.5:72b"
        fake.registry.models.set(tuple(one for one in fake.registry.models.value if one.key != "zz:1"))
        await until(lambda: not app.first.table.marks)
        fake.registry.models.set((*models()[:1], *fake.registry.models.value))  # of the same name as before, and another model
        await until(lambda: len(app.first.table.items) == 5)
        assert under_cursor(app) == "qwen2.5:72b"


async def test_undoing_two_renames_of_a_model_goes_back_step_by_step(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fill(fake)))
    keeping(fake).undoable.set("rename it back")
    async with app.run_test(size=(80, 24)) as pilot:
        for new in ("a:1", "b:1"):
            await pilot.press("R", "ctrl+u", *new, "enter")
            await until(lambda new=new: fake.called("rename")[-1][-1] == new)  # type: ignore[misc]
            rename_to(fake, fake.called("rename")[-1][1], new)
            await until(lambda new=new: under_cursor(app) == new)  # type: ignore[misc]
        for now, before in (("b:1", "a:1"), ("a:1", "qwen3:8b")):
            await pilot.press("z")
            rename_to(fake, now, before)
            await until(lambda before=before: under_cursor(app) == before)  # type: ignore[misc]


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (120, 40)])
async def test_the_trash_shows_what_goes_when_and_brings_it_back(fake: FakeServices, size: tuple[int, int]) -> None:
    trashed, version = kept("old:1b"), kept("qwen3:8b", KeptKind.VERSION, 3 * DAY)
    keeping(fill(fake)).kept.set((trashed, version))
    fake.registry.kept.set(tuple(Model("ollama", one.key, one.key, one.size, one.digest) for one in (trashed, version)))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=size) as pilot:
        await pilot.press("T")
        assert isinstance(app.screen, KeptDialog)
        await pilot.pause()
        text = words(app)
        assert "old:1b" in text and "in trash" in text and "version" in text and "2 d ago" in text
        await pilot.press("enter")
        await until(lambda: fake.called("restore") == [("ollama", trashed.key)])
        await pilot.press("j", "enter")
        await answered(app, pilot, "right", "enter")
        await until(lambda: fake.called("bring_back") == [("ollama", version.key)])
        await pilot.press("e")
        assert "Empty the trash: delete old:1b for good? Frees up to 4.0 GB at once. This cannot be undone." in words(app)
        await answered(app, pilot, "right", "enter")
        await until(lambda: fake.called("drop") == [([("ollama", trashed.key)],)])
        keeping(fake).kept.set(())  # another app emptied it meanwhile
        await until(lambda: "the trash is empty" in words(app))
        await pilot.press("enter", "d", "e", "equals_sign")
        assert isinstance(app.screen, KeptDialog)
        await pilot.press("escape")
        assert app.screen is app.first


async def test_a_name_that_is_taken_again_asks_for_another(fake: FakeServices) -> None:
    keeping(fill(fake)).kept.set((kept("qwen3:8b"),))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("T", "enter")
        assert isinstance(app.screen, InputDialog)
        await pilot.press(*"qwen3:8b", "enter")
        await pilot.pause()
        assert "exists already" in words(app)
        await pilot.press("backspace", "backspace", *"old", "enter")
        await until(lambda: [args[2] for args in fake.called("restore")] == ["qwen3:old"])


async def test_versions_of_a_model_and_their_difference(fake: FakeServices) -> None:
    version = kept("qwen3:8b", KeptKind.VERSION)
    part = keeping(fill(fake))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("H")
        await pilot.pause()
        assert any(notice.message.startswith("No earlier version of it is kept.") for notice in app._notifications)
        part.kept.set((version, kept("other:1", KeptKind.VERSION)))
        await until(lambda: "an earlier one is kept (replaced 2 d ago, 4.0 GB); H goes back" in words(app))
        await pilot.press("H")
        await pilot.pause()
        assert "Earlier versions of qwen3:8b on ollama" in words(app) and "other:1" not in words(app)
        await pilot.press("equals_sign")
        assert isinstance(app.screen, KeptDiff)
        await until(lambda: fake.called("compare") == [("ollama", version.key, "qwen3:8b")])
        part.comparisons.set({("ollama", version.key, "qwen3:8b"): ("template:", "- old\x1b[31m", "+ new [b]markup[/b]", "      indented")})
        await until(lambda: "+ new [b]markup[/b]" in words(app))
        assert screen_text(app).split("+ new")[0].rsplit("\n", 1)[1] + "      indented" in screen_text(app)
        assert "\x1b" not in screen_text(app)


async def test_a_greyed_delete_says_why(fake: FakeServices) -> None:
    fill(fake).registry.reasons["ollama", "delete"] = "security.access is 'use'"
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("d", "R")
        await pilot.pause()
        assert "Not possible: security.access is 'use'." in [notice.message for notice in app._notifications]
        assert app.screen is app.first


async def test_a_model_that_vanished_between_the_question_and_the_yes(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fill(fake)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("d")
        fake.registry.models.set(fake.registry.models.value[1:])
        await answered(app, pilot, "right", "enter")
        await until(lambda: fake.called("delete") == [([("ollama", "qwen3:8b")],)])  # the service says that it is gone already
