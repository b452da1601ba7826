"""The Library screen: what is installed, what fits, the catalogue, and the pull dialog."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.library_data import CHAT_ONLY, detail, fill, model, models, provider, providers, sample
from tui.core.capabilities import Ability
from tui.core.errors import Failure
from tui.core.models import Activity, Location, ProviderStatus
from tui.core.monitor import Profile
from tui.text import clean_block, clean_label, clean_name
from tui.ui.dialogs.pull import PullDialog
from tui.ui.screens.library import LibraryScreen, ModelTable, only
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog, InputDialog
from tui.ui.widgets.filter import FilterInput

CHAT_ONLY_ABILITY = frozenset({Ability.COMPLETION})


def host(fake: FakeServices, **changes: bool) -> ScreenHost:
    return ScreenHost(LibraryScreen(fake), **changes)


def toasts(app: ScreenHost) -> Iterator[str]:
    return (notice.message for notice in app._notifications)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_installed_models_as_drawn(fake: FakeServices, size: tuple[int, int]) -> None:
    fill(fake).registry.details.set({("ollama", "qwen3:8b"): detail()})
    app = host(fake)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.pause()
        lines = screen_lines(app)
        text = "\n".join(lines)
        assert all(len(line) <= size[0] for line in lines)
        assert lines[1].startswith(" [Installed]  Catalogue")
        assert lines[1].endswith("5 models")
        assert "FITS AT 8k" in lines[2]
        row = next(line for line in lines if line.startswith(" ● qwen3:8b"))
        assert "5.2 GB" in row
        assert "loaded" in row
        assert " GB over" in text
        assert "5.2 weights + 1.1 cache + 0.3 = ~6.6 GB at 8k;" in text
        if size[0] >= 80:
            assert "  now" in row
            assert "UPDATE" in lines[2]
            assert "Q4_K_M" in row
            assert "16.4 GB VRAM free" in text
            assert "licence Apache License" in text
            assert "system   You are helpful." in text
            assert lines[-1].startswith(" enter chat  a pull  u update  e configure  c copy  d delete  f fit")
            assert "o more" in lines[-1]
        if size[0] >= 120:
            assert "PARAMS" in lines[2]
            assert " 8.2B " in row


async def test_verdicts_concern_this_machine_only(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.running.set(())
    fake.registry.models.set((model("near"), model("far", "vllm-a"), model("sky", remote=True)))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        rows = {line.split()[0]: line for line in screen_lines(app)[3:6]}
        assert "good" in rows["near"]
        assert " –  " in rows["far"]
        assert "in a cloud" in rows["sky"]
        fake.monitor.latest.set(sample(23.5))
        await until(lambda: "slow" in screen_lines(app)[3])
        await pilot.press("j")
        await until(lambda: "vllm-a is not on this machine: its memory is not known" in screen_text(app))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 50)])
async def test_how_a_model_did_here(fake: FakeServices, size: tuple[int, int]) -> None:
    app = host(fill(fake))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert not any(line.strip().startswith("here") for line in screen_lines(app))
        profile = Profile(11, 4.2, 0.6, 22.4, None, 6_800_000_000, 6_800_000_000, 8192, 210.4, 0.853)
        fake.monitor.profiles.set({("ollama", "qwen3:8b"): profile})
        await until(lambda: "22 tok/s, first token 0.6s, prompt – tok/s, 11 answers" in screen_text(app))
        lines = screen_lines(app)
        assert any("loads in 4.2s, 6.8 GB at 8k, 210 J an answer, 0.85 J a token" in line for line in lines)
        assert all(len(line) <= size[0] for line in lines)
        wide = size[0] >= 120
        assert ("TOK/S" in lines[2]) == wide
        row = next(line for line in lines if line.startswith(" ● qwen3:8b"))
        assert ("22" in row.split()) == wide
        await pilot.press("j")
        await until(lambda: "11 answers" not in screen_text(app))


async def test_a_tunnel_is_not_taken_for_this_machine(fake: FakeServices) -> None:
    fill(fake)
    first = providers()[0]
    fake.registry.providers.set((replace(first, location=Location.ASK),))
    fake.registry.running.set(())
    fake.registry.models.set((model("near"),))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "good" not in screen_lines(app)[3]


async def test_filter_in_place_counts_marks_and_hidden_ones(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "j", "j", "space", "slash", *"qwen2", "enter")
        await until(lambda: "2 of 5 models, 0 marked (2 more hidden)" in screen_text(app))
        await pilot.press("space")
        await until(lambda: "2 of 5 models, 1 marked (2 more hidden)" in screen_text(app))
        assert app.first.query_one(ModelTable).has_focus
        await pilot.press("escape")
        await until(lambda: "5 models, 3 marked" in screen_lines(app)[1])
        await pilot.press("escape")
        await until(lambda: screen_lines(app)[1].endswith(" 5 models"))
        await pilot.press("slash", "z", "escape")
        assert app.first.query_one(FilterInput).value == ""


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_filter_that_rests_is_whole_or_marked_as_cut(fake: FakeServices, size: tuple[int, int]) -> None:
    app = host(fill(fake))
    async with app.run_test(size=size) as pilot:
        text = "qwen 8b !vision >5g tools fits"
        await pilot.press("slash", *text, "enter")
        await until(lambda: app.first.query_one(ModelTable).has_focus)
        await until(lambda: f"/ {text} " in screen_lines(app)[1])
        assert screen_lines(app)[1].endswith("1 of 5 models")
        await pilot.press("slash", "end", *" and-words-that-no-screen-has-room-for" * 3)
        assert "room-for " in screen_lines(app)[1]  # where it is typed
        await pilot.press("enter")
        await until(lambda: re.search(rf" / {text}.*… .*of 5 models$", screen_lines(app)[1]) is not None)


async def test_a_cut_filter_without_unicode(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fill(fake)), ascii_only=True)
    async with app.run_test(size=(60, 16)) as pilot:
        await pilot.press("slash", *"qwen 8b !vision >5g tools fits", "enter")
        await until(lambda: re.search(r" / qwen 8b.*~ ", screen_lines(app)[1]) is not None)


async def test_what_only_makes_vectors_is_known_from_its_details_too(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.models.set((model("embedder"), model("chatty")))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "embedder" in screen_text(app))
        embeds = detail("embedder", abilities=frozenset({Ability.EMBEDDING}))
        fake.registry.details.set({("ollama", "embedder"): embeds})
        await until(lambda: re.search(r"can +embed", screen_text(app)) is not None)
        await pilot.press("enter")
        await until(lambda: "embedder only makes vectors: it cannot chat." in toasts(app))
        assert not fake.called("use_model")
        await pilot.press("j", "enter")
        await until(lambda: fake.called("use_model") == [("ollama", "chatty")])


async def test_one_providers_models(fake: FakeServices) -> None:
    app = host(fill(fake))
    only(app, "vllm-a")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "on vllm-a: 1 model" in screen_text(app)
        assert "qwen3:8b" not in screen_text(app)
        await pilot.press("escape")
        await until(lambda: "qwen3:8b" in screen_text(app))


async def test_details_are_asked_for_once_the_cursor_rests(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "j")
        await until(lambda: fake.called("show")[-1:] == [("ollama", "qwen2.5:72b")])
        assert fake.called("show").count(("ollama", "qwen2.5:72b")) == 1
        assert "asking ollama …" in screen_text(app)
        fake.registry.details.set({("ollama", "qwen2.5:72b"): Failure("The model is gone", "ollama", "Press r")})
        await until(lambda: "The model is gone (ollama)" in screen_text(app))


async def test_old_data_stay_with_their_age_and_the_reason(fake: FakeServices) -> None:
    fill(fake)
    states = list(providers())
    states[0] = replace(states[0], stale_since=time.time() - 120)
    fake.registry.providers.set(tuple(states))
    fake.registry.model_failures.set({"ollama": Failure("Cannot reach it: nothing is listening", "127.0.0.1:11434", "Start it")})
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await until(lambda: "as of 2m0" in screen_text(app), what=screen_text(app))
        assert "qwen3:8b" in screen_text(app)
        assert "try      Start it" in screen_text(app)
        await pilot.pause()


async def test_enter_chats_and_keys_reach_the_registry(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter", "U", "j", "L", "y", "r")
        assert fake.called("use_model") == [("ollama", "qwen3:8b")]
        assert app.went == ["chat"]
        assert fake.called("unload") == [("ollama", "qwen3:8b")]
        assert fake.called("load") == [("ollama", "qwen2.5-coder:32b")]
        assert app.copied == ["qwen2.5-coder:32b"]
        assert () in fake.called("refresh")


async def test_keep_and_copy_ask(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("t")
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press(*"forever", "enter")
        await until(lambda: fake.called("keep") == [("ollama", "qwen3:8b", "forever")])
        await pilot.press("c")
        assert isinstance(app.screen, InputDialog)
        await pilot.press(*"bad name", "enter")
        await pilot.pause()
        assert "is not a valid name" in screen_text(app)
        await pilot.press(*["backspace"] * 8, *"mine", "enter")
        await until(lambda: fake.called("copy") == [("ollama", "qwen3:8b", "mine:latest")])


async def test_a_greyed_key_says_why(fake: FakeServices) -> None:
    fill(fake).registry.reasons[("vllm-a", "delete")] = "vLLM 0.19.0 cannot delete"
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("L", "j", "U", "G", "d")
        await pilot.pause()
        said = list(toasts(app))
        assert "It is loaded already." in said
        assert "It is not loaded." in said
        assert "Not possible: vLLM 0.19.0 cannot delete." in said
        assert not {"load", "unload", "delete"} & {name for name, _args, _kwargs in fake.calls}
        assert app.screen is app.first


async def test_a_wide_table_fills_the_columns_that_only_show_knows_one_model_at_a_time(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.models.set((model("one", context=None), model("two", context=None), model("three", context=None)))
    app = host(fake)
    async with app.run_test(size=(150, 40)) as pilot:
        for count, name in enumerate(("one", "two", "three"), 1):
            await until(lambda name=name: fake.called("show")[-1:] == [("ollama", name)], what=name)
            assert len(fake.called("show")) == count
            known = detail(name, abilities=CHAT_ONLY_ABILITY, context=8192 * count)
            fake.registry.details.set({**fake.registry.details.value, ("ollama", name): known})
        await until(lambda: "24k" in screen_text(app))
        row = next(line for line in screen_lines(app) if line.strip().startswith("three"))
        assert "24k" in row
        assert "chat" in row
        await pilot.press("j")


async def test_a_wait_is_shown_and_esc_ends_it(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        fake.registry.activities.set((Activity(7, "loading qwen3:8b", "ollama", time.monotonic() - 14),))
        await until(lambda: re.search(r"loading qwen3:8b on ollama, [1-3]\ds  esc stops waiting", screen_text(app)))
        fake.registry.log_lines["ollama"] = "offloaded 12/33 layers to [b]GPU[/b]"  # P32: and what the server itself says
        await until(lambda: "esc stops waiting  offloaded 12/33" in screen_text(app))
        await pilot.press("escape")
        assert fake.called("cancel") == [(7,)]
        fake.registry.activities.set(())
        await until(lambda: "esc stops waiting" not in screen_text(app))


async def test_empty_says_why(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "No server yet. On 1 Providers, a adds one." in screen_text(app)
        fake.registry.providers.set((provider("lcpp", "llamacpp", "http://127.0.0.1:8080", ProviderStatus.BUSY),))
        await until(lambda: "Asking lcpp for its models" in screen_text(app))
        fake.monitor.latest.set(sample())
        fake.registry.providers.set(providers()[:1])
        await until(lambda: "No models yet. a pulls one;" in screen_text(app))
        assert "fit well, for example" in screen_text(app)


async def test_the_catalogue(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right_square_bracket")
        await until(lambda: re.search(r" 235 models, [0-9]+ days old", screen_text(app)) is not None)
        assert "LARGEST THAT FITS" in screen_text(app)
        await pilot.press("slash", *"coder", "enter")
        await until(lambda: "qwen2.5-coder" in screen_lines(app)[3])
        assert "0.5b to 32b" in screen_lines(app)[3]
        assert "14b, ~11 GB" in screen_lines(app)[3]
        assert "installed" in screen_text(app)
        await pilot.press("d")
        await pilot.pause()
        assert any("Catalogue is shown" in text for text in toasts(app))
        await pilot.press("enter")
        dialog = app.screen
        assert isinstance(dialog, PullDialog)
        assert dialog.names == ["qwen2.5-coder:14b"]
        await pilot.press("escape", "left_square_bracket")
        await until(lambda: "[Installed]" in screen_text(app))


async def test_pull_several_with_completion(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", *"qwen3:", "tab")
        dialog = app.screen
        assert isinstance(dialog, PullDialog)
        await until(lambda: dialog.names == ["qwen3:latest"])
        assert "5.2 GB" in screen_text(app)
        await pilot.press("ctrl+j", *"Bad name", "enter")
        await pilot.pause()
        assert app.screen is dialog
        assert "is not a valid name" in screen_text(app)
        await pilot.press(*["backspace"] * 8, *"hf.co/org/repo:Q4_K_M", "enter")
        await until(lambda: len(fake.called("add")) == 2)
        assert fake.called("add") == [("qwen3:latest", "ollama"), ("hf.co/org/repo:Q4_K_M", "ollama")]
        assert [kwargs for name, _args, kwargs in fake.calls if name == "add"] == [{"asked_by": "library"}] * 2


async def test_pull_asks_where_when_several_can(fake: FakeServices) -> None:
    second = replace(providers()[0], endpoint=replace(providers()[0].endpoint, name="gpu2"), is_default=False, location=Location.ELSEWHERE)
    fill(fake).registry.providers.set((*providers(), second))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", *"qwen3:8b")
        await until(lambda: "is there already; pulling updates it" in screen_text(app))
        await pilot.press("ctrl+o")
        await until(lambda: "Pull on gpu2" in screen_text(app))
        assert "fits:" not in screen_text(app)
        await pilot.press("enter")
        await until(lambda: fake.called("add") == [("qwen3:8b", "gpu2")])


async def test_u_pulls_what_is_newer_of_the_marked(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "space", "u")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        words = " ".join(screen_text(app).replace("│", " ").split())
        assert "Update 2 models on ollama? Only layers that changed are fetched" in words
        assert "noted first and applied again afterwards" in words
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: len(fake.called("add")) == 2)
        assert fake.called("add") == [("qwen3:8b", "ollama"), ("qwen2.5-coder:32b", "ollama")]
        assert {kwargs["asked_by"] for name, _args, kwargs in fake.calls if name == "add"} == {"library, update"}


async def test_what_cannot_be_pulled_is_not_updated(fake: FakeServices) -> None:
    fill(fake).registry.reasons = {("ollama", "pull"): "security.access = look"}
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("u")
        await pilot.pause()
        assert app.screen is app.first
        assert any("security.access = look" in text for text in toasts(app))


async def test_without_a_puller_a_says_why(fake: FakeServices) -> None:
    fake.registry.providers.set((provider("v", "vllm", "http://gpu2:8000", ProviderStatus.UP, capabilities=CHAT_ONLY),))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        assert any("No provider here can pull models" in text for text in toasts(app))


async def test_X01_hostile_names_stay_literal(fake: FakeServices) -> None:
    fill(fake)
    names = [clean_name(text) for text in CANARIES]
    hostile = tuple(replace(model(name), quantization=name, family=name, parameters=name) for name in names)
    fake.registry.models.set(hostile)
    fake.registry.details.set(
        {
            ("ollama", one.key): detail(one.name, licence=clean_block(text), system=clean_block(text), template=clean_label(text))
            for one, text in zip(hostile, CANARIES, strict=True)
        }
    )
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        for _ in hostile:
            await pilot.pause()
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
            await pilot.press("j")
        app.first.query_one(ModelTable).move_to(4)
        await until(lambda: "── [@click=app.quit]x[/]" in screen_text(app))
        assert "system   [@click=app.quit]x[/]" in screen_text(app)


async def test_ten_thousand_models_filter_and_move(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.models.set(tuple(model(f"model-{number}:8b") for number in range(10_000)))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"9999", "enter")
        await until(lambda: "1 of 10000 models" in screen_text(app))
        assert len(app.first.fits._judged) < 100


def test_models_of_the_wireframe_are_distinct() -> None:
    assert len({(one.provider, one.key) for one in models()}) == len(models())


async def test_the_key_line_of_other_views_leaves_out_the_verbs_of_installed_models(fake: FakeServices) -> None:
    app = ScreenHost(LibraryScreen(fill(fake)))
    async with app.run_test(size=(160, 24)) as pilot:
        await until(lambda: "u update" in screen_lines(app)[-1])
        for first, keys in (("enter pull", "["), ("enter list", "[ ["), ("enter files", "]")):
            await pilot.press("right_square_bracket")
            await until(lambda first=first: screen_lines(app)[-1].strip().startswith(first))  # type: ignore[misc]
            line = screen_lines(app)[-1]
            assert "a pull" in line and "o more" in line
            assert not any(verb in line for verb in ("u update", "e configure", "c copy", "L load", "= compare"))
            await pilot.press("u")  # still says why
            back = f" is shown; {keys} leads back to what is installed."
            await until(lambda back=back: any(back in notice.message for notice in app._notifications))  # type: ignore[misc]
        await pilot.press("right_square_bracket")
        await until(lambda: "u update" in screen_lines(app)[-1])
