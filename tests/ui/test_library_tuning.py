"""Optimise, quantize and levels on the Library screen: dialogs, refusals, facts of the pane."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.library_data import GB, fill, model
from tui.core.capabilities import Ability
from tui.core.errors import Failure
from tui.core.levels import LevelFigures
from tui.core.models import Location
from tui.core.tuning import Change, Measured, Optimised, OptimiseState, Proposal, Smaller, TuneRun
from tui.text import clean_name
from tui.ui.dialogs.levels import LevelsDialog
from tui.ui.dialogs.optimise import OptimiseDialog
from tui.ui.dialogs.pull import PullDialog
from tui.ui.dialogs.quantize import QuantizeDialog
from tui.ui.screens import library_tuning_words as words
from tui.ui.screens.library import LibraryScreen
from tui.ui.widgets.confirm import InputDialog

KEY = ("ollama", "qwen3:8b")
CHANGES = (
    Change("num_ctx", None, 8192, "room for 8k tokens instead of 4k, for 604 MB more memory"),
    Change("num_batch", 256, 1024, "long prompts are read in larger pieces, so faster; about 313 MB more memory"),
)
PROPOSAL = Proposal("ollama", "qwen3:8b", "fits well at 4,096 tokens of context", CHANGES, ("OLLAMA_KV_CACHE_TYPE=q8_0 is advised only.",))
BEFORE = Measured(2.0, 0.5, 44.0, 868.0, 6 * GB, 6 * GB, 4096)
CHAT = frozenset({Ability.COMPLETION})


def world(fake: FakeServices, *more: Any) -> FakeServices:
    """The wireframes' models, and these; the first is under the cursor."""
    fill(fake)
    fake.registry.models.set((*more, *fake.registry.models.value))
    return fake


def whole(name: str = "base:fp16", **changes: Any) -> Any:
    return model(
        name, **{"size": 2.48, "quantization": "F16", "parameters": "1.2B", "abilities": CHAT, "modified_at": time.time(), **changes}
    )


def row(state: str, **more: Any) -> Optimised:
    return Optimised(1, *KEY, time.time() - 60, state, CHANGES, **more)


async def shown(app: ScreenHost, text: str) -> None:
    await until(lambda: text in screen_text(app), timeout=8, what=f"{text!r} is not shown")


def toasts(app: ScreenHost) -> str:
    return "\n".join(notice.message for notice in app._notifications)


# --- optimise --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_proposals_as_a_diff_with_their_effect(fake: FakeServices, size: tuple[int, int]) -> None:
    world(fake)
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=size) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("O")
        await shown(app, "looking at the model and this machine")
        assert fake.called("propose") == [KEY]
        fake.library.tuning.proposals.set({KEY: PROPOSAL})
        await shown(app, "the server chooses → 8192")
        await shown(app, "256 → 1024")
        await shown(app, "It fits well at 4,096 tokens of context.")
        if size[1] >= 24:
            await shown(app, "room for 8k tokens instead of 4k")
            await shown(app, "OLLAMA_KV_CACHE_TYPE=q8_0 is advised only.")
        assert all(len(line) <= size[0] for line in screen_lines(app))


async def test_only_what_is_marked_is_tried(fake: FakeServices) -> None:
    world(fake).library.tuning.proposals.set({KEY: PROPOSAL})
    app = ScreenHost(LibraryScreen(fake), ascii_only=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("O")
        await shown(app, "[x] num_batch")
        await pilot.press("space")
        await shown(app, "[ ] num_ctx")
        await pilot.press("enter")
        assert fake.called("optimise") == [(*KEY, ("num_batch",))]
        await pilot.press("down", "space", "enter")
        assert len(fake.called("optimise")) == 1
        assert "Mark a change" in toasts(app)


async def test_a_measurement_is_followed_and_stopped(fake: FakeServices) -> None:
    world(fake).library.tuning.proposals.set({KEY: PROPOSAL})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("O")
        await shown(app, "num_batch")
        fake.library.tuning.run.set(TuneRun("optimise", *KEY, "before: asking prompt 2 of 4", time.monotonic() - 12))
        await until(lambda: re.search(r"before: asking prompt 2 of 4, [1-9]\ds now", screen_text(app)), what="how long it asks already")
        await pilot.press("enter")
        assert not fake.called("optimise")
        assert "A measurement goes on" in toasts(app)
        await pilot.press("x")
        assert fake.called("stop") == [()]
        fake.library.tuning.run.set(None)
        fake.library.tuning.optimised.set({KEY: row(OptimiseState.STOPPED)})
        await shown(app, "stopped; nothing was changed")
        await pilot.press("x")
        assert len(fake.called("stop")) == 1
        await pilot.press("escape")
        assert isinstance(app.screen, LibraryScreen)


async def test_before_and_after_are_told(fake: FakeServices) -> None:
    world(fake).library.tuning.proposals.set({KEY: replace(PROPOSAL, changes=())})
    after = replace(BEFORE, prompt_rate=1105.0, memory=7 * GB, context=8192)
    kept = row(OptimiseState.KEPT, before=BEFORE, after=after, words=("reads prompts 27 % faster",))
    fake.library.tuning.optimised.set({KEY: kept})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "tuned")
        assert "num_ctx 8192, num_batch 1024 is kept: reads prompts 27 % faster, 1m" in screen_text(app)
        await pilot.press("O")
        await shown(app, "There is nothing to propose")
        await shown(app, "868 tok/s   1,105 tok/s")
        await shown(app, "6.0 GB        7.0 GB")
        await shown(app, "r looks again   esc back")
        await pilot.press("r")
        assert len(fake.called("propose")) == 2


@pytest.mark.parametrize("state", [OptimiseState.FAILED, OptimiseState.INTERRUPTED, OptimiseState.NOT_BETTER])
async def test_what_was_not_kept_says_so(fake: FakeServices, state: str) -> None:
    failure = Failure("The server went away", "127.0.0.1:11434") if state == OptimiseState.FAILED else None
    world(fake).library.tuning.optimised.set({KEY: row(state, failure=failure)})
    fake.library.tuning.proposals.set({KEY: Failure("There are no figures of this machine yet", "ollama", "Wait a moment")})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("O")
        await shown(app, "There are no figures of this machine yet")
        await shown(app, words.STATES[state][0])
        await shown(app, "Wait a moment")
        assert ("The server went away" in screen_text(app)) is (failure is not None)


async def test_a_smaller_quantization_is_one_key_away(fake: FakeServices) -> None:
    base = whole()
    world(fake, base)
    made = Smaller("q4_K_M", False, GB, "q4_K_M, made here: ~749 MB, would fit; loss: small")
    pulled = Smaller("qwen3:8b", True, GB, "qwen3:8b, to be pulled: 5.2 GB, would fit")
    fake.library.tuning.proposals.set({("ollama", "base:fp16"): replace(PROPOSAL, smaller=(made, pulled))})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "base:fp16")
        await pilot.press("home", "O")
        await shown(app, "loss: small. Q quantizes.")
        await pilot.press("Q")
        await until(lambda: isinstance(app.screen, QuantizeDialog), timeout=5)
        await pilot.press("escape", "O")
        await shown(app, "would fit. p pulls it.")
        await pilot.press("p")
        await until(lambda: isinstance(app.screen, PullDialog), timeout=5)


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"remote": True}, "O", "runs in a cloud"),
        ({"remote": True}, "Q", "there are no weights to quantize"),
        ({"remote": True}, "B", "there are no levels of it"),
        ({"abilities": frozenset({Ability.EMBEDDING})}, "O", "does not answer"),
        ({"abilities": frozenset({Ability.EMBEDDING})}, "B", "does not answer"),
        ({"quantization": "Q4_K_M"}, "Q", "is quantized already (Q4_K_M): servers quantize F16, BF16 and F32 only"),
        ({"size": None}, "Q", "does not tell how large"),
    ],
)
async def test_greyed_keys_say_why(fake: FakeServices, changes: dict[str, Any], key: str, reason: str) -> None:
    world(fake, whole(**changes))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "base:fp16")
        await pilot.press("home", key)
        await until(lambda: reason in toasts(app))
        assert isinstance(app.screen, LibraryScreen)


async def test_servers_that_cannot_are_named(fake: FakeServices) -> None:
    world(fake, whole())
    fake.registry.reasons = {("ollama", "create"): "vLLM 0.19.0 cannot create", ("ollama", "load"): "vLLM 0.19.0 cannot load"}
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "base:fp16")
        for key, reason in (("Q", "cannot create"), ("O", "cannot load"), ("B", "cannot load")):
            await pilot.press("home", key)
            await until(lambda reason=reason: reason in toasts(app))  # type: ignore[misc]
        fake.registry.reasons = {}
        fake.config.set("optimise.enabled", False)
        await pilot.press("O")
        await until(lambda: "optimise.enabled is off" in toasts(app))
        fake.config.set("optimise.enabled", True)
        state = fake.registry.providers.value[0]
        fake.registry.providers.set((replace(state, location=Location.ELSEWHERE), *fake.registry.providers.value[1:]))
        await until(lambda: not app.screen.fits.here("ollama"))  # type: ignore[attr-defined]
        await pilot.press("O")
        await until(lambda: "is not on this machine" in toasts(app))


# --- quantize --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_levels_with_size_verdict_and_loss(fake: FakeServices, size: tuple[int, int]) -> None:
    world(fake, whole())
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=size) as pilot:
        await shown(app, "base:fp16")
        await pilot.press("home", "Q")
        await shown(app, "loss: small")
        lines = screen_lines(app)
        assert all(len(line) <= size[0] for line in lines)
        text = "\n".join(lines)
        assert "It is F16, 2.5 GB." in text and "~1.3 GB" in text and "~749 MB" in text
        assert "good" in text
        if size[0] >= 80:
            assert "base:q4_K_M" in text
        await pilot.press("up", "space", "down", "down", "space", "enter")
        await until(lambda: fake.called("quantize"))
        assert fake.called("quantize") == [("ollama", "base:fp16", [("q8_0", "base:q8_0"), ("q4_K_S", "base:q4_K_S")])]


async def test_another_name_and_one_that_is_taken(fake: FakeServices) -> None:
    world(fake, whole(), whole("base:q4_K_M", quantization="Q4_K_M", modified_at=1.0))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "base:fp16")
        await pilot.press("home", "Q")
        await until(lambda: isinstance(app.screen, QuantizeDialog))
        await pilot.press("enter")
        await shown(app, "There is a model named base:q4_K_M already")
        await pilot.press("e")
        await until(lambda: isinstance(app.screen, InputDialog))
        await pilot.press(*"x y", "enter")
        await shown(app, "is not a valid name")
        await pilot.press("ctrl+u", *"mine:4", "enter")
        await shown(app, "mine:4")
        await pilot.press("enter")
        await until(lambda: fake.called("quantize"))
        assert fake.called("quantize") == [("ollama", "base:fp16", [("q4_K_M", "mine:4")])]


# --- levels ----------------------------------------------------------------------------------------------------------


def figures(name: str, level: str, **more: Any) -> LevelFigures:
    values = {"size": GB, "memory": 2 * GB, "vram": 2 * GB, "load_seconds": 2.0, "rate": 64.0, "prompt_rate": 1257.0, "asked": 4, **more}
    return LevelFigures("ollama", "base:fp16", name, level, time.time() - 60, **values)


def measured(fake: FakeServices) -> None:
    rows = (
        figures("base:fp16", "F16", agreement=1.0, same=4),
        figures("base:q8_0", "Q8_0", agreement=0.83, same=2, cut=1),
        figures("base:q4_K_M", "Q4_K_M", problem="It needs more memory than there is"),
    )
    fake.library.tuning.levels.set({("ollama", "base:fp16"): rows})


def levels() -> tuple[Any, ...]:
    now = time.time()
    return (
        whole(modified_at=now),
        whole("base:q8_0", size=1.3, quantization="Q8_0", modified_at=now - 1),
        whole("base:q4_K_M", size=0.8, quantization="Q4_K_M", modified_at=now - 2),
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_levels_side_by_side(fake: FakeServices, size: tuple[int, int]) -> None:
    measured(world(fake, *levels()))
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=size) as pilot:
        await shown(app, "base:fp16")
        await pilot.press("home", "B")
        await shown(app, "AGREES")
        await shown(app, "83 %")
        assert all(len(line) <= size[0] for line in screen_lines(app))
        if size[0] >= 120:
            assert "1,257" in screen_text(app) and "MEMORY" in screen_text(app)
        await pilot.press("down")
        await shown(app, "equal to base:fp16" if size[0] > 100 else "cut at their")
        await pilot.press("down")
        await shown(app, "base:q4_K_M: It needs more memory")
        await pilot.press("space", "enter")
        assert fake.called("benchmark") == [("ollama", ["base:fp16", "base:q8_0"])]


async def test_a_benchmark_is_followed_and_stopped(fake: FakeServices) -> None:
    world(fake, *levels())
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "base:fp16")
        await pilot.press("home", "B")
        await shown(app, "base:fp16 was not measured yet.")
        fake.library.tuning.run.set(TuneRun("levels", "ollama", "base:fp16", "base:q8_0, 2 of 3: loading it", time.monotonic()))
        await shown(app, "base:q8_0, 2 of 3: loading it")
        await pilot.press("enter", "x")
        assert not fake.called("benchmark") and fake.called("stop")
        fake.library.tuning.run.set(None)
        measured(fake)
        await shown(app, "83 %")
        await pilot.press("escape")
        assert isinstance(app.screen, LibraryScreen)
        await pilot.press("home", "down")
        await shown(app, "83 % of the words as base:fp16, 64 tok/s, measured 1m")


async def test_agreement_names_what_it_was_measured_against(fake: FakeServices) -> None:
    world(fake, *levels())
    own = replace(figures("base:q8_0", "Q8_0", agreement=1.0, same=4), base="base:q8_0")
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "base:fp16")
        await pilot.press("home", "B")
        await shown(app, "words equal to the first row's.")
        failed = replace(own, model="base:q4_K_M", agreement=None, problem="It needs more memory than there is")
        fake.library.tuning.levels.set({("ollama", "base:q8_0"): (own, failed)})
        await shown(app, "failed")
        assert "100 %" not in screen_text(app)
        other = replace(own, model="base:q4_K_M", agreement=0.4)
        fake.library.tuning.levels.set({("ollama", "base:q8_0"): (own, other)})
        await shown(app, "words equal to those of base:q8_0.")
        await shown(app, "100 %")
        await shown(app, "40 %")


async def test_one_level_alone_is_told_how_to_get_another(fake: FakeServices) -> None:
    world(fake, whole())
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "base:fp16")
        await pilot.press("home", "B")
        await shown(app, "There is no other level here: pull one, or Q makes some of whole weights.")
        await pilot.press("enter")
        assert not fake.called("benchmark")
        assert isinstance(app.screen, LevelsDialog)


async def test_figures_of_another_version_are_marked(fake: FakeServices) -> None:
    world(fake, *levels())
    first = replace(fake.registry.models.value[1], digest="b" * 64)
    fake.registry.models.set((first, *fake.registry.models.value[2:]))
    fake.library.tuning.levels.set({("ollama", "base:fp16"): (figures("base:q8_0", "Q8_0", digest="a" * 64, agreement=0.4),)})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(90, 30)) as pilot:
        await shown(app, "base:q8_0")
        await pilot.press("home", "B")
        await shown(app, "changed")
        await shown(app, "replaced")


async def test_X01_hostile_names_are_drawn_literally(fake: FakeServices) -> None:
    hostile = [whole(clean_name(text, 200) or "x", modified_at=time.time() - at) for at, text in enumerate(CANARIES)]
    world(fake, *hostile)
    first = hostile[0]
    key = ("ollama", first.key)
    fake.library.tuning.proposals.set({key: replace(PROPOSAL, advice=tuple(CANARIES), held=("[b]x",))})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "[/x]")
        for keys, dialog in (("O", OptimiseDialog), ("Q", QuantizeDialog), ("B", LevelsDialog)):
            await pilot.press("home", keys)
            await until(lambda dialog=dialog: isinstance(app.screen, dialog), timeout=5)  # type: ignore[misc]
            await pilot.pause()
            assert not FORBIDDEN & set("".join(screen_lines(app)))
            await pilot.press("escape")
            await until(lambda: isinstance(app.screen, LibraryScreen))


def test_what_was_measured_beside_another_base_is_found() -> None:
    here = (whole("a:q8_0"), whole("a:q4_K_M"))
    other = LevelFigures("ollama", "a:fp16", "a:q8_0", "Q8_0", 1.0, agreement=0.9)
    known = {("ollama", "a:fp16"): (other,), ("far", "a:q8_0"): (replace(other, provider="far"),) * 2}
    assert words.base_rows(known, "ollama", here) == {"a:q8_0": other}
    assert words.base_rows({}, "ollama", here) == {}
