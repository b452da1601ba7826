"""`f` on the Library screen: context by quantization, walked cell by cell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.library_data import GB, detail, fill, model, sample
from tui.core.fit import Lessons, Pace, Served, load_of, subject_of
from tui.core.models import ModelDetail
from tui.core.monitor import Profile
from tui.hardware.sample import Gpu
from tui.text import clean_name
from tui.ui.dialogs.fit import FitDialog
from tui.ui.dialogs.pull import PullDialog
from tui.ui.screens.library import LibraryScreen
from tui.ui.widgets.grid import Grid

KEY = ("ollama", "qwen3:8b")
INFO = {
    "general.architecture": "qwen3", "qwen3.block_count": 36, "qwen3.embedding_length": 4096, "qwen3.attention.head_count": 32,
    "qwen3.attention.head_count_kv": 8, "qwen3.context_length": 40960, "general.parameter_count": 8_190_735_360,
}  # fmt: skip


@pytest.fixture
def known(fake: FakeServices) -> FakeServices:
    """The wireframes' world; nothing is loaded, and the details of the first model are known."""
    fill(fake).registry.details.set({KEY: detail(info=INFO)})
    fake.registry.running.set(())
    return fake


def said(app: ScreenHost) -> str:
    """What the screen says, as one line."""
    return " ".join(screen_text(app).replace("│", " ").split())


async def opened(app: ScreenHost, pilot: object, *keys: str) -> FitDialog:
    await until(lambda: "qwen3:8b" in screen_text(app))
    await pilot.press("f", *keys)  # type: ignore[attr-defined]
    await until(lambda: isinstance(app.screen, FitDialog))
    dialog = app.screen
    assert isinstance(dialog, FitDialog)
    return dialog


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_the_table_as_drawn(known: FakeServices, size: tuple[int, int]) -> None:
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot)
        await until(lambda: "8b Q4_K_M at 8k" in said(app))
        lines, text = screen_lines(app), screen_text(app)
        assert all(len(line) <= size[0] for line in lines)
        assert "What fits: qwen3:8b" in text
        assert "RTX 3090 24 GB, 16.4 free" in text
        assert "● 8b Q4_K_M" in text
        assert "8b Q4_K_M at 8k: fits well" in text
        assert "esc back" in text
        if size[0] >= 80:
            head = next(line for line in lines if "MODEL" in line)
            assert all(word in head for word in ("SIZE", "2k", "8k", "32k", "40k"))
            own = next(line for line in lines if "● 8b" in line)
            assert "5.2 GB" in own
            assert own.rstrip("│ ").endswith("k")
            assert "All of it on the GPU" in said(app)


async def test_the_cursor_walks_and_tells_each_cell(known: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(120, 40)) as pilot:
        dialog = await opened(app, pilot)
        await pilot.press("right", "l")
        await until(lambda: "8b Q4_K_M at 32k" in said(app))
        await pilot.press("home")
        await until(lambda: "F16 at 32k" in said(app))
        assert "Worked out by bits a weight" in said(app)
        await pilot.press("left", "left", "left", "left", "left", "left")
        assert dialog.query_one(Grid).cursor == (0, 0)
        await pilot.press("G", "pagedown", "right", "pageup", "k", "h", "j", "end")
        row, _column = dialog.query_one(Grid).cursor
        assert row == len(dialog._table.rows) - 1
        await pilot.press(*["right"] * 9)
        assert dialog.query_one(Grid).cursor[1] == len(dialog._table.contexts)
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, LibraryScreen))


async def test_a_mouse_finds_a_cell(known: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(120, 40)) as pilot:
        dialog = await opened(app, pilot)
        await pilot.pause()
        await pilot.click(Grid, offset=(36 + 8 * 4 + 2, 2))
        assert dialog.query_one(Grid).cursor == (1, 4)
        await pilot.click(Grid, offset=(3, 4))
        assert dialog.query_one(Grid).cursor == (1, 4)


async def test_measured_fitted_and_formula_are_told_apart(known: FakeServices) -> None:
    subject = subject_of(known.registry.models.value[0], detail(info=INFO))
    assert subject is not None
    size = int(6.9 * GB)
    known.library.fits.lessons.set(Lessons([load_of(subject, 8192, Served(), size=size, vram=size)]))
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, pilot)
        await until(lambda: "= 6.9 GB, measured when it was loaded" in said(app))
        await pilot.press("right")
        await until(lambda: "fitted to loads that were measured" in said(app))
        known.library.fits.lessons.set(Lessons())
        await until(lambda: "by formula" in said(app), 3.0)


async def test_slow_tells_how_slow_and_measured_speed_is_not_marked(known: FakeServices) -> None:
    known.library.fits.pace.set(Pace(500e9, 40e9))
    known.monitor.profiles.set({KEY: Profile(answers=5, rate=88.0, memory=6 * GB, vram=6 * GB)})
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, pilot)
        await until(lambda: "fits well, 88 tok/s" in said(app))
        await pilot.press("home", "right")
        await until(lambda: "slow, ~" in said(app))
        assert "on the CPU" in said(app)
        assert "/s" in next(line for line in screen_lines(app) if "F16" in line)


async def test_p_pulls_what_the_catalogue_has_and_L_loads_what_is_installed(known: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(120, 40)) as pilot:
        dialog = await opened(app, pilot)
        await pilot.press("p")
        await until(lambda: any("It is installed." in notice.message for notice in app._notifications))
        await pilot.press("end", "p")
        await until(lambda: isinstance(app.screen, PullDialog))
        await until(lambda: "qwen3:" in said(app))
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, LibraryScreen))
        dialog = await opened(app, pilot)
        await pilot.press("home", "L")
        assert app.screen is dialog
        await pilot.press("escape")
        await opened(app, pilot)
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, LibraryScreen))
        assert known.called("load") == [("ollama", "qwen3:8b")]


async def test_the_table_is_copied_as_text(known: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        await until(lambda: "at 8k" in said(app))
        await pilot.press("y")
        assert app.copied[0].startswith("\t2k\t4k\t8k")
        assert "\n8b\t" in app.copied[0]


async def test_a_model_of_the_catalogue_has_a_table_too(known: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "qwen3:8b" in said(app))
        await pilot.press("right_square_bracket")
        await until(lambda: "[Catalogue]" in said(app))
        await pilot.press("f")
        await until(lambda: isinstance(app.screen, FitDialog))
        await until(lambda: "GB needed" in said(app))
        assert "p pull" in said(app)


async def test_why_there_is_no_table_is_said(known: FakeServices) -> None:
    known.registry.models.set((model("big/served-model", "vllm-a", 9.0), *known.registry.models.value[:1]))
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "big/served-model" in said(app))
        await pilot.press("home", "f")
        screen = app.screen
        assert isinstance(screen, LibraryScreen)
        highlighted = screen.table.highlighted
        if highlighted is not None and highlighted.provider == "ollama":
            await pilot.press("down", "f")
        assert "Set providers.vllm-a.vram" in screen.refusal("fit")
        known.config.set_provider("vllm-a", {"kind": "vllm", "url": "http://gpu2:8000", "vram": "24GB"})
        screen.fits.take(known)
        assert screen.refusal("fit") == ""


async def test_details_are_asked_for_and_no_machine_is_no_table(fake: FakeServices) -> None:
    fill(fake).monitor.latest.set(sample())
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        assert ("ollama", "qwen3:8b") in fake.called("show")


@pytest.mark.parametrize("canary", CANARIES[4:9:2])
async def test_X01_hostile_words_are_drawn_as_words(known: FakeServices, canary: str) -> None:
    view, canary = sample(), clean_name(canary)
    assert view.sample is not None
    cards = tuple(replace(gpu, name=canary) for gpu in view.sample.gpus)
    known.monitor.latest.set(replace(view, sample=replace(view.sample, gpus=cards)))
    known.registry.models.set((model(f"m-{canary}", quantization=canary), model("qwen3:8b")))
    known.registry.details.set({KEY: ModelDetail("ollama", "qwen3:8b", info=INFO)})
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, pilot)
        await until(lambda: "MODEL" in said(app))
        assert not any(mark in line for line in screen_lines(app) for mark in FORBIDDEN)


async def test_two_gpus_share_a_model(known: FakeServices) -> None:
    view = sample()
    assert view.sample is not None
    cards = tuple(Gpu(f"GPU-{at}", at, "RTX 3060", memory_total=12 * GB, memory_used=GB) for at in range(2))
    known.monitor.latest.set(replace(view, sample=replace(view.sample, gpus=cards)))
    app = ScreenHost(LibraryScreen(known))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, pilot, "home")
        await until(lambda: "All of it on the GPUs: " in said(app))
        assert "GPU0" in said(app)
        assert "GPU1" in said(app)
