"""The Library's table as its user wants it: columns, order, filters, menu, pages, comparison, pins."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.library_data import detail, fill, model, models
from tui.core.capabilities import Ability
from tui.core.errors import Failure
from tui.core.kept import KeptKind, kept_name
from tui.core.library import DiskShare, EventKind, ModelEvent, UpdateState, UpdateStatus
from tui.core.monitor import Profile
from tui.text import clean_block, clean_label, clean_name
from tui.ui.dialogs.columns import ColumnsDialog
from tui.ui.dialogs.filters import FiltersDialog
from tui.ui.dialogs.menu import MenuDialog
from tui.ui.dialogs.model_compare import CompareModels
from tui.ui.dialogs.model_page import ModelPage
from tui.ui.screens import library_columns
from tui.ui.screens.library import LibraryScreen, ModelTable
from tui.ui.screens.library_installed import InstalledView
from tui.ui.widgets.confirm import ConfirmDialog, InputDialog
from tui.ui.widgets.pager import Pager

DIGEST = "500a1f067a9f" + "0" * 52


def host(fake: FakeServices, **changes: bool) -> ScreenHost:
    return ScreenHost(LibraryScreen(fake), **changes)


def view(app: ScreenHost) -> InstalledView:
    found = app.first.views[0]
    assert isinstance(found, InstalledView)
    return found


def shown(app: ScreenHost) -> list[str]:
    return [one.name for one in app.first.query_one(ModelTable).shown_items]


def said(app: ScreenHost) -> list[str]:
    return [notice.message for notice in app._notifications]


# --- columns and order ----------------------------------------------------------------------------------------------------


async def test_columns_are_chosen_ordered_seen_at_once_and_saved(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("C")
        assert isinstance(app.screen, ColumnsDialog)
        await pilot.press("j", "space", "J")  # not ON; SIZE one further
        await until(lambda: view(app).names == ("name", "quant", "size", "fits", "update", "used"))
        await pilot.press("enter")
        await until(lambda: fake.config.current.value.appearance.columns == {"library": "name quant size fits update used"})
        head = screen_lines(app)[2].split()
        assert head[:3] == ["NAME", "QUANT", "SIZE"]
        assert 'library = "name quant size fits update used"' in fake.config.paths.config_file.read_text(encoding="utf-8")
        await pilot.press("C", "w")
        await until(lambda: not fake.config.current.value.appearance.columns)
        await until(lambda: screen_lines(app)[2].split()[:2] == ["NAME", "ON"])


async def test_columns_that_were_only_looked_at_go_on_suiting_the_width(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("C", "enter")
        await until(lambda: app.screen is app.first)
        await pilot.resize_terminal(120, 40)
        await until(lambda: view(app).names == library_columns.default_names(120))
        assert not fake.config.current.value.appearance.columns


async def test_esc_takes_the_columns_back(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("C", "j", "space")
        await until(lambda: "on" not in view(app).names)
        await pilot.press("escape")
        await until(lambda: view(app).names == library_columns.default_names(80))
        assert not fake.config.current.value.appearance.columns


@pytest.mark.parametrize("width", [60, 80, 100, 124, 160, 220])
async def test_columns_by_width_fit(fake: FakeServices, width: int) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(width, 24)) as pilot:
        await pilot.pause()
        head = screen_lines(app)[2]
        titles = [library_columns.every(view(app).known)[name].title for name in library_columns.default_names(width)]
        assert all(title in head for title in titles[: 5 if width < 80 else None])
        assert all(len(line) <= width for line in screen_lines(app))


async def test_a_setting_with_unknown_columns_shows_those_it_knows(fake: FakeServices) -> None:
    fake.config.set("appearance.columns", {"library": "size nonsense name name"})
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert view(app).names == ("size", "name")
        fake.config.set("appearance.columns", {"library": "nonsense"})
        await until(lambda: view(app).names == library_columns.default_names(80))


async def test_s_takes_each_column_and_sort_by_any_either_way(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        seen = []
        for _ in library_columns.default_names(80):
            await pilot.press("s")
            seen.append(app.first.table.sorting[0])
        assert tuple(seen) == library_columns.default_names(80)
        await pilot.press("s")
        assert app.first.table.sorting is None
        await pilot.press("S", *"context", "enter")
        await until(lambda: app.first.table.sorting == ("context", True))
        await until(lambda: "by context, 5 models" in screen_text(app))  # not a column shown: said in words
        await pilot.press("S", "enter")
        await until(lambda: app.first.table.sorting == ("context", False))
        assert shown(app)[0] == "nomic-embed-text"
        await pilot.press("s")
        assert app.first.table.sorting == ("name", False)


async def test_what_is_measured_updates_and_uses_are_columns_that_sort(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.running.set(())
    now = time.time()
    fake.monitor.profiles.set({
        ("ollama", "qwen2.5:72b"): Profile(3, 9.0, 2.0, 4.2, last_used=now - 3 * 86400),
        ("ollama", "qwen3:8b"): Profile(11, 4.2, 0.6, 22.4, last_used=now - 1800),
    })  # fmt: skip
    fake.library.updates.states.set({("ollama", "qwen3:8b"): UpdateState(UpdateStatus.WEIGHTS, DIGEST, now, fetch=5_200_000_000)})
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        row = next(line for line in screen_lines(app) if line.strip().startswith("qwen3:8b"))
        assert row.split()[-6:] == ["5.2", "GB", "new", "<1", "h", "22"]
        app.first.table.sort_by("speed")
        assert shown(app)[:2] == ["qwen3:8b", "qwen2.5:72b"]
        app.first.table.sort_by("used")
        assert shown(app)[:3] == ["big/served-model", "qwen3:8b", "qwen2.5:72b"]  # in memory, then by time
        fake.monitor.profiles.set({("ollama", "qwen2.5:72b"): Profile(3, 9.0, 2.0, 4.2, last_used=now)})
        await until(lambda: shown(app)[:2] == ["big/served-model", "qwen2.5:72b"])
        app.first.table.sort_by("update")
        assert shown(app)[0] == "qwen3:8b"


# --- filter ---------------------------------------------------------------------------------------------------------------


async def test_the_filters_language_in_the_table(fake: FakeServices) -> None:
    fill(fake)
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"qw 32b tools >5g !vision", "enter")
        await until(lambda: shown(app) == ["qwen2.5-coder:32b"])
        await pilot.press("escape")
        for text, names in (
            ("embed", ["nomic-embed-text"]),
            ("loaded", ["qwen3:8b", "nomic-embed-text", "big/served-model"]),
            ("on:vllm", ["big/served-model"]),
            ("quant:f", ["nomic-embed-text"]),
            ("qwen !fits", ["qwen2.5-coder:32b", "qwen2.5:72b"]),
        ):
            app.first.use_filter(text)
            assert shown(app) == names, text
        fake.config.set("models.pinned", ["qwen3:8b"])
        app.first.use_filter("pinned")
        assert shown(app) == ["qwen3:8b"]
        app.first.use_filter("update")
        assert shown(app) == []
        found = UpdateState(UpdateStatus.METADATA, DIGEST, time.time())
        fake.library.updates.states.set({("ollama", "qwen3:8b"): found})
        await until(lambda: shown(app) == ["qwen3:8b"])  # what moves is filtered anew
        fake.registry.running.set(())
        app.first.use_filter("loaded")
        await until(lambda: shown(app) == ["big/served-model"])


async def test_a_filter_asks_for_what_only_show_tells_some_models_at_a_time(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.models.set(tuple(model(f"m{number}", context=None) for number in range(20)))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: len(fake.called("show")) == 1)  # the one under the cursor
        await pilot.press("slash", *"tools", "enter")
        known = {}
        while len(known) < 20:
            await until(lambda: len(set(fake.called("show")) - known.keys()) > 0)
            fresh = set(fake.called("show")) - known.keys()
            assert len(fresh) <= 9
            for key in fresh:
                able = frozenset({Ability.TOOLS}) if int(key[1][1:]) % 2 else frozenset({Ability.COMPLETION})
                known[key] = detail(key[1], abilities=able)
            fake.registry.details.set(dict(known))
        await until(lambda: shown(app) == [f"m{number}" for number in range(1, 20, 2)])
        await until(lambda: "10 of 20 models" in screen_text(app) and "not asked" not in screen_text(app))


async def test_filters_are_saved_used_and_dropped(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("F")
        assert isinstance(app.screen, FiltersDialog)
        await pilot.press("a")
        await until(lambda: any("No filter is in use" in text for text in said(app)))
        await pilot.press("escape", "slash", *"coder >5g", "enter", "F", "a")
        await until(lambda: isinstance(app.screen, InputDialog))
        await pilot.press(*"big [b]", "enter")
        await until(lambda: fake.config.current.value.appearance.filters == {"big [b]": "coder >5g"})
        await until(lambda: isinstance(app.screen, FiltersDialog))
        assert "big [b]" in screen_text(app)
        await pilot.press("escape", "escape")
        await until(lambda: len(shown(app)) == 5)
        await pilot.press("F", "enter")
        await until(lambda: shown(app) == ["qwen2.5-coder:32b"])
        await pilot.press("F", "d")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: fake.config.current.value.appearance.filters == {})


# --- menu -----------------------------------------------------------------------------------------------------------------


async def test_o_offers_everything_with_keys_and_reasons(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        assert "o more" in screen_lines(app)[-1]
        await pilot.press("o")
        dialog = app.screen
        assert isinstance(dialog, MenuDialog)
        found = {entry.action: entry for entry in dialog._entries}
        offered = {action for cls in LibraryScreen.__mro__ for action, _title, _words in vars(cls).get("MORE", ())}
        assert set(found) == offered
        assert {"details", "compare", "pin", "make_default", "columns", "saved_filters"} <= offered
        assert found["details"].key == "i"
        assert found["compare"].reason == "Mark two to four models with space first."
        assert all(callable(getattr(app.first, f"action_{action.partition('(')[0]}", None)) for action in offered)
        assert [bool(entry.reason) for entry in dialog._entries] == sorted(bool(entry.reason) for entry in dialog._entries)
        await pilot.press(*"to four", "enter")
        await until(lambda: "Not now: Mark two to four models" in screen_text(app))
        assert app.screen is dialog
        await pilot.press(*["backspace"] * 7, *"everything about", "enter")
        await until(lambda: isinstance(app.screen, ModelPage))


async def test_no_key_of_the_library_means_two_things(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)):
        own = {key: binding.action for key, binding in app.first._bindings}
        table = {key: binding.action for key, binding in app.first.query_one(ModelTable)._bindings}
        both = {key: (own[key], table[key]) for key in own.keys() & table.keys()}
        assert not both


# --- pages ----------------------------------------------------------------------------------------------------------------


def rich_detail(name: str = "qwen3:8b") -> object:
    info = {"general.architecture": "qwen3", "qwen3.block_count": 36, "qwen3.attention.head_count_kv": [8] * 36,
            "general.parameter_count": 8_190_735_360, "tokenizer.ggml.tokens": ["a"] * 3000, "general.file_type": 15}  # fmt: skip
    tensors = tuple((f"blk.{n}", "Q4_K" if n % 2 else "F32", (4096, 1024)) for n in range(10))
    return detail(
        name, info=info, tensors=tensors, projector={"clip.has_vision_encoder": True}, modelfile="FROM x\nSYSTEM y",
        messages=(("user", "Hi\nyou"),), licence="\n".join(["Apache License", *(f"clause {n}" for n in range(300))]),
        abilities=frozenset({Ability.TOOLS}),
    )  # fmt: skip


async def test_the_page_tells_everything_and_is_searched(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.details.set({("ollama", "qwen3:8b"): rich_detail()})
    now = time.time()
    fake.library.events.history.set(
        {("ollama", "qwen3:8b"): (ModelEvent("ollama", "qwen3:8b", EventKind.PULLED, now, "from the registry"),)}
    )
    diff = ("--- ours", "+++ theirs", "-old", "+new")
    fake.library.updates.states.set({("ollama", "qwen3:8b"): UpdateState(UpdateStatus.METADATA, DIGEST, now, diff=diff)})
    sharing = ("own:1", kept_name(KeptKind.VERSION, "qwen3:8b", 1_700_000_000))
    fake.library.disk.shares.set({("ollama", "qwen3:8b"): DiskShare(5, 0, 5, sharing, True)})
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("i")
        page = app.screen
        assert isinstance(page, ModelPage)
        pager = page.query_one(Pager)
        await until(lambda: pager.done)
        titles = [part.title for part in pager._parts]
        wanted = [
            "here",
            "model",
            "architecture",
            "parameters",
            "system",
            "template",
            "messages",
            "licence",
            "projector",
            "tensors",
            "metadata",
        ]
        assert titles == [*wanted, "Modelfile", "shares layers with", "what an update changes", "history"]
        told = "\n".join(text for text, *_rest in pager._lines)
        for words in ("36", "8,190,735,360", "a, a, a, a, a, a, a, a … (3,000 in all)",
                      "5 tensors, 20,971,520 weights, 12 MB (4.5 bits a weight)",
                      "10 tensors, 41,943,040 weights", "5,200,000,000 bytes", "Hi", "pulled from the registry", "+new",
                      "an earlier qwen3:8b"):  # fmt: skip
            assert words in told, words
        await pilot.press("slash", *"CLAUSE 29", "enter")
        await until(lambda: "clause 29" in screen_text(app))
        assert pager.part is not None
        assert pager.part.title == "licence"
        await pilot.press("n")
        await until(lambda: "clause 290" in screen_text(app))
        await pilot.press("N")
        await until(lambda: "clause 30" in screen_text(app))
        await pilot.press("slash", *"nowhere", "enter")
        await until(lambda: any("Nothing here holds" in text for text in said(app)))
        await pilot.press(
            "escape", "g", "right_square_bracket", "right_square_bracket", "right_square_bracket", "right_square_bracket", "y"
        )
        await until(lambda: app.copied == ["You are helpful."])
        await pilot.press("G")
        await until(lambda: "pulled from the registry" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: app.screen is app.first)


async def test_the_page_of_a_model_that_vanishes_stays_and_says_so(fake: FakeServices) -> None:
    fill(fake)
    app = host(fake)
    async with app.run_test(size=(80, 50)) as pilot:
        await pilot.press("i")
        await until(lambda: ("ollama", "qwen3:8b") in fake.called("show"))
        assert "asking ollama" in screen_text(app)
        fake.registry.details.set({("ollama", "qwen3:8b"): detail()})
        await until(lambda: "You are helpful." in screen_text(app))
        fake.registry.models.set(models()[1:])
        await until(lambda: "qwen3:8b on ollama   gone from its server" in screen_text(app))
        fake.registry.details.set({("ollama", "qwen3:8b"): Failure("The model is gone", "ollama", "Press r")})
        await until(lambda: "The model is gone (ollama)" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: shown(app)[0] == "qwen2.5-coder:32b")


async def test_two_megabytes_of_show_are_broken_in_pieces(fake: FakeServices) -> None:
    fill(fake)
    long = "".join(f"{number} some words of a licence that nobody reads to its end, however long; " for number in range(14_000))
    fake.registry.details.set(
        {("ollama", "qwen3:8b"): detail(licence=f"{long}\n{'x' * 400_000}\n{'é' * 300_000}\n" + "short line\n" * 40_000)}
    )
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("i")
        pager = app.screen.query_one(Pager)
        await until(lambda: bool(pager._rows))
        await until(lambda: pager.done)
        rows = len(pager._rows)
        assert rows > 60_000
        await pilot.press("G")
        await until(lambda: pager.place[0] > rows - 60)
        await pilot.press("slash", *"13999 some", "enter")
        await until(lambda: "13999 some" in screen_text(app))
        assert all(len(line) <= 80 for line in screen_lines(app))


async def test_compare_side_by_side(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.details.set({("ollama", "qwen3:8b"): rich_detail(), ("ollama", "qwen2.5:72b"): detail("qwen2.5:72b", licence="Qwen")})
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("equals_sign")
        await until(lambda: "Mark two to four models with space first." in said(app))
        await pilot.press("space", "space", "space", "equals_sign")
        assert isinstance(app.screen, CompareModels)
        await until(lambda: ("ollama", "qwen2.5-coder:32b") in fake.called("show"))
        text = screen_text(app)
        line = next(line for line in screen_lines(app) if line.strip().startswith("licence"))
        assert line.split() == ["licence", "Apache", "License", "–", "Qwen"]
        assert all(name in text for name in ("qwen3:8b", "qwen2.5-coder:32b", "qwen2.5:72b"))
        fake.registry.details.set({**fake.registry.details.value, ("ollama", "qwen2.5-coder:32b"): detail(licence="Apache License")})
        await until(lambda: screen_text(app).count("Apache License") == 2)
        assert "provider" in screen_text(app)
        await pilot.press("d")
        await until(lambda: "provider" not in screen_text(app))
        fake.registry.models.set(models()[1:])
        await until(lambda: "qwen3:8b (gone)" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: app.screen is app.first)


async def test_four_are_compared_by_moving_along(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "space", "space", "space", "equals_sign")
        await until(lambda: "models 1 to 2 of 4" in screen_text(app) or "models 1 to 3 of 4" in screen_text(app))
        assert "nomic-embed-text" not in screen_text(app)
        await pilot.press("right", "right")
        await until(lambda: "nomic-embed-text" in screen_text(app))
        assert all(len(line) <= 80 for line in screen_lines(app))
        await pilot.press("escape", "space", "equals_sign")
        await pilot.pause()
        assert app.screen is app.first  # five are too many


# --- rank -----------------------------------------------------------------------------------------------------------------


async def test_pin_and_default_are_saved_and_shown(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.models.set((*models(), replace(models()[0], provider="gpu2")))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("P")
        await until(lambda: fake.config.current.value.models.pinned == ("ollama/qwen3:8b",))
        await until(lambda: "pinned" in screen_lines(app)[3])
        assert any("will not be updated" in text for text in said(app))
        await pilot.press("P")
        await until(lambda: fake.config.current.value.models.pinned == ())
        await pilot.press("j", "P")
        await until(lambda: fake.config.current.value.models.pinned == ("qwen2.5-coder:32b",))
        await pilot.press("asterisk")
        await until(lambda: fake.config.current.value.general.default_model == "qwen2.5-coder:32b")
        await until(lambda: "the default: new conversations begin with it; pinned: never updated" in screen_text(app))
        await pilot.press("asterisk")
        await until(lambda: not fake.config.current.value.general.default_model)
        await pilot.press("k", "asterisk")
        await until(lambda: "qwen3:8b*" in screen_lines(app)[3])
        app.first.table.move_to_key(("ollama", "nomic-embed-text"))
        await pilot.press("asterisk")
        await until(lambda: "It cannot chat." in said(app))


async def test_nothing_is_saved_where_only_looking_is_allowed(fake: FakeServices) -> None:
    fake.config.set("security.access", "look")
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("P", "asterisk", "C")
        await pilot.pause()
        assert said(app).count("Nothing is changed: security.access is look.") == 3
        assert app.screen is app.first


async def test_warm_up_loads_and_chats(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("W")
        assert fake.called("load") == []  # in memory already
        await pilot.press("j", "W")
        assert fake.called("load") == [("ollama", "qwen2.5-coder:32b")]
        assert fake.called("use_model")[-1] == ("ollama", "qwen2.5-coder:32b")
        assert app.went == ["chat", "chat"]


# --- many, hostile, vanishing ---------------------------------------------------------------------------------------------


async def test_five_thousand_models_are_marked_filtered_and_sorted(fake: FakeServices) -> None:
    fill(fake)
    many = tuple(model(f"family{number % 50}:{number}b", parameters=f"{number % 90}B", size=number / 100) for number in range(5000))
    fake.registry.models.set(many)
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("A")
        await until(lambda: "5000 models, 5000 marked" in screen_text(app))
        await pilot.press("slash", *"family7 >20g <40b", "enter")
        await until(lambda: app.first.table.shown < 100)
        assert all(one.size > 20e9 for one in app.first.table.shown_items)
        await until(lambda: "more hidden)" in screen_lines(app)[1])
        await pilot.press("S", *"params", "enter")
        await until(lambda: app.first.table.sorting == ("parameters", True))
        counts = [float(one.parameters[:-1]) for one in app.first.table.shown_items]
        assert counts == sorted(counts, reverse=True)
        await pilot.press("escape", "escape")
        await until(lambda: screen_lines(app)[1].endswith(" 5000 models"))


async def test_models_that_vanish_while_marked_are_marked_no_more(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "space", "space")
        await until(lambda: "5 models, 3 marked" in screen_text(app))
        fake.registry.models.set(models()[2:])
        await until(lambda: "3 models, 1 marked" in screen_text(app))
        assert [one.name for one in app.first.chosen] == ["qwen2.5:72b"]
        fake.registry.models.set(())
        await until(lambda: "0 models" in screen_text(app))
        await pilot.press("i", "W", "P", "L", "enter", "o")
        await pilot.pause()
        assert not {"load", "use_model"} & {name for name, _args, _kwargs in fake.calls}


@pytest.mark.parametrize("size", [(80, 24), (160, 40)])
async def test_X01_hostile_texts_stay_literal_on_page_comparison_menu_and_columns(fake: FakeServices, size: tuple[int, int]) -> None:
    fill(fake)
    known = {}
    hostile = []
    for number, canary in enumerate(CANARIES[:4]):
        name = f"{number}{clean_name(canary)}"
        hostile.append(model(name, quantization=clean_name(canary, 20), family=clean_name(canary)))
        text = clean_block(canary)
        known[("ollama", name)] = detail(
            name, licence=text, template=text, system=text, modelfile=text, options=((clean_name(canary), clean_label(canary)),),
            info={"general.architecture": canary, f"{canary}.block_count": canary, canary: [canary] * 3}, messages=((canary, text),),
            projector={canary: canary}, tensors=((canary, canary, (1, 2)),),
        )  # fmt: skip
    fake.registry.models.set(tuple(hostile))
    fake.registry.details.set(known)
    app = host(fake)

    def clean() -> bool:
        return not FORBIDDEN & set(screen_text(app).replace("\n", ""))

    async with app.run_test(size=size) as pilot:
        for number in range(len(hostile)):
            app.first.table.move_to(number)
            await pilot.press("o")
            assert clean()
            await pilot.press("escape", "i")
            for _ in range(4):
                assert clean()
                await pilot.press("pagedown")
            await pilot.press("escape")
        app.first.table.move_to(0)
        await pilot.press("space", "space", "space", "equals_sign")
        await until(lambda: isinstance(app.screen, CompareModels))
        assert clean()


async def test_X23_a_name_that_only_looks_usual_is_marked(fake: FakeServices) -> None:
    """Its escapes are shown wherever it stands; the pane and the page say what it is."""
    fill(fake)
    key = "ll\u0430ma3:8b"
    fake.registry.models.set((replace(model("x"), name=clean_name(key), key=key), *models()))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "ll‹U+0430›ma3:8b" in screen_text(app))
        assert "unusual  the name holds characters that cannot be seen" in screen_text(app)
        await pilot.press("j")
        await until(lambda: "unusual" not in screen_text(app))
        await pilot.press("k", "i")
        await until(lambda: isinstance(app.screen, ModelPage) and "only look like" in screen_text(app))
