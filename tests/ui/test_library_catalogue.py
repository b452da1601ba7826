"""The Library's catalogue and Hugging Face views."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import screen_lines, screen_text, until
from tests.ui.library_data import GB, fill, model, models
from tui.core.errors import Failure
from tui.core.fit import Machine
from tui.core.hub import HubFile, HubFiles, HubPage, HubRepo
from tui.providers.library import CatalogueModel, CatalogueTag, library_of
from tui.services.library.catalogue import CatalogueView, HubView
from tui.ui.dialogs.pull import PullDialog
from tui.ui.dialogs.tags import TagsDialog
from tui.ui.screens import catalogue_view
from tui.ui.screens.fits import Fits
from tui.ui.screens.library import LibraryScreen
from tui.ui.screens.library_hub_words import More

SIZES = [(80, 24), (120, 40), (60, 16)]
REPO = HubRepo(
    "org/Model-8B-GGUF", "org/Model-8B-GGUF", 214_000, 230, 1_785_661_200.0, False, False, "apache-2.0", "qwen3", 8_200_000_000, 40960
)
GATED = HubRepo("meta/Secret-GGUF", "meta/Secret-GGUF", gated=True)
ODD = HubRepo("org/ll‹U+0430›ma-GGUF", "org/llаma-GGUF", unusual=True)
FILES = (
    HubFile("Model-Q4_K_M.gguf", "Q4_K_M", 5_000_000_000, pull="hf.co/org/Model-8B-GGUF:Q4_K_M"),
    HubFile("Model-Q8_0.gguf", "Q8_0", 8_700_000_000, 2, pull="hf.co/org/Model-8B-GGUF:Q8_0"),
    HubFile("Model-F16.gguf", "F16", 16_400_000_000, 3, 1, why="1 of 3 parts are missing"),
    HubFile("mmproj.gguf", "", 900_000_000, why="comes with the model", projector=True),
)


def host(fake: FakeServices) -> ScreenHost:
    return ScreenHost(LibraryScreen(fill(fake)))


def toasts(app: ScreenHost) -> Iterator[str]:
    return (notice.message for notice in app._notifications)


@pytest.mark.parametrize("size", SIZES)
async def test_the_catalogue_as_drawn(fake: FakeServices, size: tuple[int, int]) -> None:
    app = host(fake)
    async with app.run_test(size=size) as pilot:
        await pilot.press("right_square_bracket")
        await until(lambda: "llama3.1" in screen_text(app))
        lines = screen_lines(app)
        assert all(len(line) <= size[0] for line in lines)
        assert re.search(r"days old$", lines[1])
        if size[0] >= 80:
            assert "LARGEST THAT FITS" in lines[2]
            assert re.search(r"llama3.1 +8b to 405b +8b Q4_K_M, ~[0-9.]+ GB +chat tools", screen_text(app))
            assert re.search(r"tags +8b +Q4_K_M +4.9 GB +128k +good, recommended", screen_text(app))
            assert lines[-1].startswith(" enter pull  i tags  b best here  r newer list")
        if size[0] >= 120:
            assert re.search(r"235 models, of 21 Aug 2026, [0-9]+ days old$", lines[1])


async def test_the_filter_speaks_the_language_of_the_tables(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right_square_bracket", "slash", *"codellama fits <8gb", "enter")
        await until(lambda: " 1 of 235" in screen_lines(app)[1])
        assert screen_lines(app)[3].split()[0] == "codellama"
        assert "code" in screen_text(app)
        await pilot.press("escape")
        await until(lambda: "235 models" in screen_lines(app)[1])


async def test_recommended_for_this_machine_best_first_and_back(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("right_square_bracket", "b")
        await until(lambda: "recommended for this machine: " in screen_lines(app)[1])
        view = app.first.view
        shown = [item.name for item in view.table.shown_items]
        assert 5 < len(shown) < 30
        assert all(view.best_of(item).tag in {tag.tag for tag in item.tags} for item in view.table.shown_items)
        await pilot.press("escape")
        await until(lambda: "235 models" in screen_lines(app)[1])
        assert [item.name for item in view.table.shown_items][:2] == ["llama3.1", "deepseek-r1"]
        fake.monitor.latest.set(type(fake.monitor.latest.value)())
        await until(lambda: app.first.fits.machine is None)
        await pilot.press("b")
        await until(lambda: any("not been measured" in text for text in toasts(app)))


async def test_all_tags_of_a_model_and_another_one_pulled(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right_square_bracket", "slash", *"codellama", "enter", "i")
        await until(lambda: isinstance(app.screen, TagsDialog))
        await until(lambda: "7b-code-q8_0" in screen_text(app))
        assert re.search(r"7b-code-q8_0 +Q8_0 +7.2 GB +16k +good", screen_text(app))
        assert re.search(r"7b-code-q4_K_M +Q4_K_M +4.1 GB +16k +good", screen_text(app))
        table = app.screen.query_one("#tags")
        assert table.highlighted.tag in ("13b", "34b")
        table.move_to([tag.tag for tag in table.items].index("7b-code-q8_0"))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, PullDialog))
        assert app.screen.names == ["codellama:7b-code-q8_0"]
        await pilot.press("escape", "i", "escape")
        await until(lambda: app.screen is app.first)
        assert not fake.called("add")


CLOUDY = (
    CatalogueModel("kimi-k3", (CatalogueTag("cloud", cloud=True),)),
    CatalogueModel("both", (CatalogueTag("8b", 5 * GB), CatalogueTag("70b-cloud", cloud=True))),
    CatalogueModel("vague"),
)


async def test_what_runs_in_a_cloud_only_is_not_pulled(fake: FakeServices) -> None:
    app = host(fake)
    fake.library.catalogue.view.set(CatalogueView(library_of(CLOUDY, "2026-08-21")))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right_square_bracket")
        await until(lambda: "kimi-k3" in screen_text(app))
        no = "kimi-k3 runs in a cloud only: there is nothing to pull."
        for number, key in enumerate(("enter", "p"), start=1):
            await pilot.press(key)
            await until(lambda number=number: list(toasts(app)).count(no) == number)  # type: ignore[misc]
            assert app.screen is app.first
        await pilot.press("a")  # by whatever name
        await until(lambda: isinstance(app.screen, PullDialog))
        assert app.screen.names == []
        await pilot.press("escape", "f")
        await until(lambda: "kimi-k3 runs in a cloud only: nothing must fit here." in toasts(app))
        await pilot.press("i")
        await until(lambda: isinstance(app.screen, TagsDialog))
        await pilot.press("enter")
        await until(lambda: "kimi-k3:cloud runs in a cloud only: there is nothing to pull." in toasts(app))
        assert isinstance(app.screen, TagsDialog)
        await pilot.press("escape", "j", "i", "end", "p")
        await until(lambda: "both:70b-cloud runs in a cloud only: there is nothing to pull." in toasts(app))
        await pilot.press("home", "p")
        await until(lambda: isinstance(app.screen, PullDialog))
        assert app.screen.names == ["both:8b"]
        await pilot.press("escape", "j", "f")
        await until(lambda: "The list does not say how large vague is." in toasts(app))


async def test_a_newer_list_is_asked_for_and_what_failed_is_said(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("right_square_bracket", "r")
        assert fake.called("refresh") == [()]
        fake.library.catalogue.view.set(CatalogueView(busy=True))
        await until(lambda: "refreshing" in screen_lines(app)[1])
        failure = Failure("The list of models is not JSON", "lists.example.org", "Ask who keeps it")
        fake.library.catalogue.view.set(CatalogueView(failure=failure))
        await until(lambda: "The list of models is not JSON" in screen_text(app))
        assert "this list stays" in screen_text(app) and "235 models" in screen_lines(app)[1]
        newer = library_of([CatalogueModel("newcomer", (CatalogueTag("7b", 4_000_000_000, 8192, estimated=True),))], "2026-11-20", "me")
        fake.library.catalogue.view.set(CatalogueView(newer))
        await until(lambda: "newcomer" in screen_lines(app)[3])
        assert " 1 model, of 20 Nov 2026" in screen_lines(app)[1]
        assert re.search(r"tags +7b +– +~4.0 GB +8k +good", screen_text(app))
        assert "(me)" in screen_text(app)


async def test_X23_unusual_names_are_marked(fake: FakeServices) -> None:
    fake.library.catalogue.view.set(CatalogueView(library_of([CatalogueModel("ll‹U+0430›ma3")], "2026-11-20")))
    fake.library.catalogue.hub.set(HubView("hub", "llama", (ODD, REPO)))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right_square_bracket")
        await until(lambda: "unusual name" in screen_text(app))
        await pilot.press("right_square_bracket", "right_square_bracket")
        await until(lambda: "[Hugging Face]" in screen_text(app))
        await until(lambda: "ll‹U+0430›ma-GGUF" in screen_text(app))
        assert "unusual name" in screen_text(app)


# --- Hugging Face -----------------------------------------------------------------------------------------------------


async def opened(app: ScreenHost, pilot: object) -> None:
    await pilot.press("left_square_bracket")  # type: ignore[attr-defined]
    await until(lambda: "[Hugging Face]" in screen_text(app))


@pytest.mark.parametrize("size", SIZES)
async def test_nothing_goes_out_before_enter(fake: FakeServices, size: tuple[int, int]) -> None:
    app = host(fake)
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot)
        await until(lambda: "/ searches Hugging Face" in screen_text(app))
        await pilot.press("slash", *"qwen coder")
        assert not fake.called("search")
        await pilot.press("enter")
        assert fake.called("search") == [("qwen coder",)]
        fake.library.catalogue.hub.set(HubView("huggingface.co", "qwen coder", busy=True))
        await until(lambda: "asking Hugging Face" in screen_text(app))
        await pilot.press("slash", "enter")
        assert fake.called("search") == [("qwen coder",)]
        await pilot.press("r")
        assert len(fake.called("search")) == 2


@pytest.mark.parametrize("size", SIZES)
async def test_repositories_then_files_then_a_pull(fake: FakeServices, size: tuple[int, int]) -> None:
    app = host(fake)
    page = HubPage((REPO, GATED), "/api/models?cursor=2")
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot)
        found = HubView("huggingface.co", "model", page.repos, page.next)
        fake.library.catalogue.hub.set(found)
        await until(lambda: "org/Model-8B-GGUF" in screen_text(app))
        lines = screen_lines(app)
        assert all(len(line) <= size[0] for line in lines)
        if size[0] >= 80:
            assert re.search(r"org/Model-8B-GGUF +8.2B +214 k +[0-9]+ d +(40k +)?apache", screen_text(app))
            await until(lambda: "not scanned" in screen_text(app))
        await pilot.press("G", "enter")
        assert fake.called("more") == [()]
        await pilot.press("k")
        await until(lambda: "gated" in screen_text(app))
        await pilot.press("k", "enter")
        assert fake.called("look_into") == [("org/Model-8B-GGUF",)]
        fake.library.catalogue.hub.set(HubView("huggingface.co", "model", page.repos, page.next, REPO.key, HubFiles(REPO, FILES)))
        await until(lambda: "Q8_0" in screen_text(app) and "1 of 3 parts" in screen_text(app))
        assert app.first.table.highlighted.quant == "Q8_0"
        await pilot.press("j", "enter")
        await until(lambda: any("cannot be pulled: 1 of 3 parts are missing" in text for text in toasts(app)))
        await pilot.press("g", "p")
        await until(lambda: isinstance(app.screen, PullDialog))
        assert app.screen.names == ["hf.co/org/Model-8B-GGUF:Q4_K_M"]
        await pilot.press("escape", "escape")
        await until(lambda: fake.called("leave") == [()])
        fake.library.catalogue.hub.set(found)
        await until(lambda: "meta/Secret-GGUF" in screen_text(app))
        assert app.first.table.highlighted is REPO


async def test_what_the_hub_refuses_is_read_where_the_answer_would_be(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        failure = Failure("huggingface.co was asked too often (429)", "huggingface.co", "Try again in 30 s")
        fake.library.catalogue.hub.set(HubView("huggingface.co", "x", failure=failure))
        await until(lambda: "asked too often (429)" in screen_lines(app)[3])
        fake.library.catalogue.hub.set(HubView("huggingface.co", "x", (REPO,), failure=failure))
        await until(lambda: "failed   huggingface.co was asked too often" in screen_text(app))


async def test_verbs_of_installed_models_say_where_they_work(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        await pilot.press("d")
        await until(lambda: any("Hugging Face is shown" in text for text in toasts(app)))


async def test_files_are_filtered_by_words(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        fake.library.catalogue.hub.set(HubView("hub", "model", (REPO,), "", REPO.key, HubFiles(REPO, FILES)))
        await until(lambda: "Q8_0" in screen_text(app))
        await pilot.press("slash", *"q4_k", "enter")
        await until(lambda: "Q8_0" not in screen_text(app))
        assert not fake.called("search")


async def test_installed_models_are_marked_in_the_catalogue(fake: FakeServices) -> None:
    fill(fake).registry.models.set((*models(), model("codellama:7b-code-q4_K_M")))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right_square_bracket", "slash", *"codellama", "enter")
        await until(lambda: screen_lines(app)[3].startswith(" ● codellama"))


async def test_a_filter_judges_each_tag_once_while_memory_stays(fake: FakeServices, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    real = catalogue_view.fits_well

    def noted(one: CatalogueModel, tag: CatalogueTag, fits: Fits) -> bool:
        judged.append(f"{one.name}:{tag.tag}")
        return real(one, tag, fits)

    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right_square_bracket")
        await until(lambda: "235 models" in screen_lines(app)[1])
        view = app.first.view
        monkeypatch.setattr(catalogue_view, "fits_well", noted)
        view.narrow("fits")
        asked = len(judged)
        assert asked > 200
        view.narrow("fits")
        assert len(judged) < asked + 100  # those of the rows that are drawn
        view.screen.fits.machine = Machine(GB, 1, GB, 1, 1)
        view.narrow("fits")
        assert view.table.shown == 0


async def test_the_hubs_tables_are_sorted_and_more_stays_last(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, pilot)
        fake.library.catalogue.hub.set(HubView("hub", "m", (GATED, REPO), "/api/models?cursor=2"))
        await until(lambda: "org/Model-8B-GGUF" in screen_text(app))
        table = app.first.table
        for column in ("name", "parameters", "pulls", "changed", "context"):
            table.sort_by(column)
            assert isinstance(table.shown_items[-1], More)
        table.sort_by("pulls")
        assert table.shown_items[0] is REPO
        fake.library.catalogue.hub.set(HubView("hub", "m", (REPO,), "", REPO.key, HubFiles(REPO, FILES)))
        await until(lambda: "Q8_0" in screen_text(app))
        table.sort_by("size")
        assert table.shown_items[0] is FILES[2]


async def test_what_is_excluded_is_not_offered_and_what_is_too_large_not_filled_in(fake: FakeServices) -> None:
    fake.config.set("models.excluded", ["llama3*", "qwen2.5-coder:0.5b"])
    fake.config.set("models.max_size", "5 GB")
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right_square_bracket")
        await until(lambda: "deepseek-r1" in screen_lines(app)[3])
        view = app.first.view
        names = {item.name: item for item in view.table.items}
        assert not any(name.startswith("llama3") for name in names)
        coder = names["qwen2.5-coder"]
        assert coder.tag("0.5b") is None and coder.tag("1.5b") is not None
        best = view.best_of(names["deepseek-r1"])
        assert best is not None and best.tag == "7b"
        fake.config.set("models.excluded", [])
        await pilot.press("left_square_bracket", "right_square_bracket")
        await until(lambda: "llama3.1" in screen_lines(app)[3])


async def test_the_pane_tells_a_default_that_is_no_other_tag_and_no_other(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("right_square_bracket", "slash", *"wizardcoder", "enter")
        await until(lambda: " 1 of 235" in screen_lines(app)[1])
        assert re.search(r"tags +latest +\S+ +3.8 GB .*\n +33b ", screen_text(app))
        await pilot.press("escape", "slash", *"llama3.1", "enter")
        await until(lambda: "tags " in screen_text(app) and "405b" in screen_text(app))
        assert "latest" not in screen_text(app)
