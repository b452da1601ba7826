"""The Library's Disk view: what lies there, what each frees, deleting and checking."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.library_data import GB, fill, providers
from tui.core.disk import CheckView, DiskItem, DiskKind, DiskRow, DiskUse, ModelCheck, Verdict
from tui.core.errors import Failure
from tui.core.kept import KeptKind
from tui.core.library import DiskShare, KeptModel, ModelOrigin, OriginKind
from tui.text import clean_name
from tui.ui.screens.library import LibraryScreen
from tui.ui.screens.library_disk import DiskTable
from tui.ui.widgets.confirm import ConfirmDialog

TRASH = "trash-1794000000.paddock/library/old:7b"


def item(kind: DiskKind, key: str, name: str = "", gb: float = 1.0, freed: float | None = None, **changes: Any) -> DiskItem:
    freed = gb if freed is None else freed
    return DiskItem("ollama", kind, key, name or key, int(gb * GB), int(freed * GB), **{"at": time.time() - 7200, **changes})


def use(**changes: Any) -> DiskUse:
    """As the wireframe has it."""
    models = (item(DiskKind.MODELS, "qwen3:8b", gb=5.2), item(DiskKind.MODELS, "qwen2.5:72b", gb=47.4, freed=38.3, shared_with=("q:1",)))
    trash = (item(DiskKind.TRASH, TRASH, "old:7b", 12.1, 11.4, at=time.time() + 9 * 86_400),)
    partials = (item(DiskKind.PARTIALS, "sha256:aa", "phi4:14b", 3.0, queued="paused", total=9 * GB),
                item(DiskKind.PARTIALS, "sha256:bb", "blob bb", 1.8, total=4 * GB))  # fmt: skip
    unused = (item(DiskKind.UNUSED, "sha256:cc", "blob cc", 0.7),)
    values: dict[str, Any] = {
        "folder": "/var/lib/ollama",
        "free": 512 * GB,
        "exact": True,
        "writable": True,
        "version": "0.24.0",
        "keeps": False,
    }
    return DiskUse(
        "ollama",
        (
            DiskRow("ollama", DiskKind.MODELS, models, int(61.2 * GB), 52 * GB, int(9.1 * GB)),
            DiskRow("ollama", DiskKind.TRASH, trash, int(12.1 * GB), int(11.4 * GB)),
            DiskRow("ollama", DiskKind.PARTIALS, partials, int(4.8 * GB), int(4.8 * GB)),
            DiskRow("ollama", DiskKind.UNUSED, unused, int(0.7 * GB), int(0.7 * GB)),
        ),
        **{**values, **changes},
    )


async def disk_view(app: ScreenHost, pilot: Any) -> DiskTable:
    await pilot.pause()
    await pilot.press("right_square_bracket", "right_square_bracket")
    table = app.screen.query_one(DiskTable)
    await until(lambda: table.has_focus and table.total > 0)
    await pilot.pause()
    return table


@pytest.fixture
def fake(fake: FakeServices) -> FakeServices:
    fill(fake).library.disk.uses.set({"ollama": use()})
    return fake


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_what_lies_on_the_disk_as_drawn(fake: FakeServices, size: tuple[int, int]) -> None:
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=size) as pilot:
        await disk_view(app, pilot)
        lines = screen_lines(app)
        text = "\n".join(lines)
        assert all(len(line) <= size[0] for line in lines)
        assert "[Disk]" in lines[1]
        assert "▸ 2 models" in text
        assert "▸ blobs no model uses, 1" in text
        if size[0] >= 80:
            assert lines[1].rstrip().endswith("/var/lib/ollama  61 GB models, 512 GB free")
            assert "9.1 GB of it shared" in text
            assert "trash, 1 model" in text
            assert "emptied " in text
            assert "1 not in the queue" in text
            assert "gone as ollama restarts" in text
            assert "deleting all of them would free 52 GB" in " ".join(text.split())


async def test_rows_open_and_close_and_models_lead_to_installed(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        table = await disk_view(app, pilot)
        await pilot.press("enter")
        await until(lambda: table.total == 6)
        await pilot.press("j", "j")
        await pilot.pause()
        assert "deleting frees 38.3 of 47.4 GB (9.1 GB shared with q:1)" in screen_text(app)
        await pilot.press("escape")
        await until(lambda: table.total == 4)
        await pilot.press("g", "enter", "j", "enter")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, LibraryScreen)
        assert screen.installed
        assert screen.table.highlighted.name == "qwen3:8b"


async def test_d_deletes_for_good_after_a_yes_what_may_go(fake: FakeServices) -> None:
    fake.library.disk.frees = {("ollama", TRASH): int(11.4 * GB)}
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        table = await disk_view(app, pilot)
        await pilot.press("d")
        await pilot.pause()
        assert any("d on Installed" in notice.message for notice in app._notifications)
        await pilot.press("j", "space", "space", "d")
        await until(lambda: isinstance(app.screen, ConfirmDialog))
        text = " ".join(screen_text(app).replace("│", " ").split())
        assert "Delete 2 things for good? This frees 13 GB." in text  # the trash, and the pull that is not in the queue
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: bool(fake.called("clean")))
        assert fake.called("drop") == [([("ollama", TRASH)],)]
        assert fake.called("clean") == [("ollama", ["sha256:bb"])]
        assert not table.marks


async def test_what_cannot_be_deleted_says_why_and_what_would(fake: FakeServices) -> None:
    fake.library.disk.reason = "our account may not change /var/lib/ollama"
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await disk_view(app, pilot)
        await pilot.press("G")
        await pilot.pause()
        text = " ".join(screen_text(app).split())
        assert "not possible: our account may not change /var/lib/ollama. A restart of ollama does it" in text
        await pilot.press("d")
        await pilot.pause()
        assert any("our account may not change" in notice.message for notice in app._notifications)
        assert not fake.called("clean")


async def test_a_kept_model_is_brought_back(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await disk_view(app, pilot)
        await pilot.press("j", "enter", "j", "enter")
        await until(lambda: isinstance(app.screen, ConfirmDialog))
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: bool(fake.called("restore")))
        assert fake.called("restore") == [("ollama", TRASH)]


async def test_V_checks_models_of_both_views_and_shows_how_it_goes(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await pilot.press("space", "space", "V")
        assert fake.called("verify") == [([("ollama", "qwen3:8b"), ("ollama", "qwen2.5-coder:32b")],)]
        await disk_view(app, pilot)
        await pilot.press("V")
        assert fake.called("verify")[1] == ([("ollama", "qwen3:8b"), ("ollama", "qwen2.5:72b")],)
        fake.library.disk.checks.set(CheckView("ollama", "qwen3:8b", 2 * GB, 8 * GB, 1))
        await until(lambda: "checking 25%" in screen_text(app))
        await until(lambda: "qwen3:8b, 2.0 GB of 8.0 GB, 1 more after it" in screen_text(app))
        await pilot.press("G", "V")
        await until(lambda: any("no model with files" in notice.message for notice in app._notifications))


async def test_the_pane_says_origin_disk_and_damage(fake: FakeServices) -> None:
    key = ("ollama", "qwen3:8b")
    library = fake.library
    library.disk.shares.set({key: DiskShare(int(19.9 * GB), int(19.6 * GB), int(0.3 * GB), ("qwen2.5-coder:7b",), True)})
    library.disk.origins.set({key: ModelOrigin(OriginKind.HUGGING_FACE, "hf.co/org/repo")})
    library.keeping.kept.set((KeptModel("ollama", "version-1.paddock/library/qwen3:8b", KeptKind.VERSION, "qwen3:8b", 1.0),))
    check = ModelCheck(*key, Verdict.DAMAGED, "weights 12ab: it is cut off", "Delete it", time.time(), bad=("sha256:12ab",))
    library.disk.checks.set(CheckView(results={key: check}))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        text = " ".join(screen_text(app).split())
        assert "origin hf.co/org/repo; not scanned: nobody vouches for it; previous version kept" in text
        assert "disk deleting frees 19.6 of 19.9 GB (300 MB shared with qwen2.5-coder:7b)" in text
        assert "checked DAMAGED: weights 12ab: it is cut off. Delete it" in text
        assert fake.called("attend") == [()]


async def test_a_damaged_manifest_is_named_and_nothing_is_called_unused(fake: FakeServices) -> None:
    rows = (*use().rows[:3], DiskRow("ollama", DiskKind.UNUSED, known=False))
    trouble = "manifests/registry.ollama.ai/library/broken/1: it is not JSON"
    fake.library.disk.uses.set({"ollama": replace(use(damaged=True, troubles=(trouble,)), rows=rows)})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(110, 30)) as pilot:
        await disk_view(app, pilot)
        await pilot.press("G")
        await pilot.pause()
        text = " ".join(screen_text(app).split())
        assert "not known: a manifest is lacking" in text
        assert "ollama deletes nothing at its start either" in text
        assert trouble in text
        await pilot.press("d")
        await pilot.pause()
        assert any("nothing to delete" in notice.message for notice in app._notifications)


async def test_the_menu_leads_to_the_disk(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, LibraryScreen)
        assert {"verify", "disk"} <= {action for cls in type(screen).__mro__ for action, *_words in vars(cls).get("MORE", ())}
        await screen.run_action("disk")
        assert isinstance(screen.table, DiskTable)


async def test_several_servers_and_folders_that_cannot_be_read(fake: FakeServices) -> None:
    far = replace(providers()[0], endpoint=replace(providers()[0].endpoint, name="far"), is_default=False)
    fake.registry.providers.set((*providers(), far))
    why = Failure("The models folder of far is not known: it runs elsewhere", "far", "Set models_folder of the provider")
    rows = (DiskRow("far", DiskKind.MODELS, (), 0), DiskRow("far", DiskKind.UNUSED, known=False))
    fake.library.disk.uses.set({"far": DiskUse("far", rows, failure=why), "ollama": use()})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(110, 30)) as pilot:
        await disk_view(app, pilot)
        lines = screen_lines(app)
        assert " ON " in lines[2]
        await pilot.press("G")
        await pilot.pause()
        text = " ".join(screen_text(app).split())
        assert "it runs elsewhere. Figures are by what far lists." in text
        assert "Set models_folder" in text


async def test_X01_names_from_a_disk_are_drawn_literally(fake: FakeServices) -> None:
    names = [clean_name(canary) for canary in CANARIES]
    items = tuple(item(DiskKind.MODELS, canary, name, shared_with=(name,)) for canary, name in zip(CANARIES, names, strict=True))
    rows = (DiskRow("ollama", DiskKind.MODELS, items, GB, GB),)
    troubles = tuple(f"{name}: no permission" for name in names)
    fake.library.disk.uses.set({"ollama": replace(use(folder=names[0], troubles=troubles), rows=rows)})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 50)) as pilot:
        await disk_view(app, pilot)
        await pilot.press("enter", "j")
        await pilot.pause()
        lines = screen_lines(app)
        assert not any(FORBIDDEN & set(line) for line in lines)
        assert sum("[/x]" in line for line in lines) >= 2
