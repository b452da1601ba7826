"""Configuring: diffs, what a create is asked for, baking over the same name and into a new one, the configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.library.host import Host
from tests.library.kitchen import Kitchen, sha
from tests.support.screen import until
from tui.core.capabilities import Capability
from tui.core.clock import ManualClock
from tui.core.errors import PaddockError
from tui.core.kept import kept_of
from tui.core.modelfile import Modelfile
from tui.core.observe import Observable
from tui.core.recipe import DiffLine, Recipe, blobs_of, create_fields, difference, drawn, recipe_of
from tui.providers.ollama import Ollama
from tui.services.library.baking import bake
from tui.services.library.configuring import checked, configured, options, set_options
from tui.services.library.making import Making

NAME = "qwen3:8b"
OLD = Recipe({"stop": ["<end>"], "temperature": 0.6}, "Be brief.", "")


@pytest.fixture
async def kitchen() -> AsyncIterator[Kitchen]:
    found = Kitchen()
    await found.start()
    found.put(NAME, parameters={"temperature": 0.6, "stop": ["<end>"]}, system="Be brief.")
    yield found
    await found.stop()


# --- pure ----------------------------------------------------------------------------------------------------------------


def test_a_diff_names_options_and_shows_texts_line_by_line() -> None:
    old = Recipe({"num_ctx": 4096, "stop": ["a"], "top_k": 3}, "one\ntwo\nthree")
    new = Recipe({"num_ctx": 8192, "stop": ["a", "b, c"]}, "one\n2\nthree", keep_alive="5m")
    assert difference(old, new) == (
        DiffLine("~", "num_ctx  4096 -> 8192"),
        DiffLine("~", 'stop  a -> a, "b, c"'),
        DiffLine("-", "top_k  3"),
        DiffLine("+", "keep_alive  5m"),
        DiffLine("@", "system"),
        DiffLine(" ", "one"),
        DiffLine("-", "two"),
        DiffLine("+", "2"),
        DiffLine(" ", "three"),
    )
    far = difference(Recipe(system="a\n" + "-\n" * 20 + "b"), Recipe(system="c\n" + "-\n" * 20 + "d"))
    assert [line.sign for line in far].count("@") == 1 and DiffLine(" ", "...") in far
    assert not difference(old, old)
    hostile = drawn(difference(Recipe(), Recipe({"stop": ["\x1b[31m"]}, "x\u202ey\x07")))
    assert not {"\x1b", "\x07", "\u202e"} & set(hostile)
    long = Recipe(system="\n".join(str(n) for n in range(30_000)))
    assert [line.text for line in difference(Recipe(), long)] == ["system", "0 lines", "30000 lines"]


def test_what_is_taken_out_needs_the_blobs() -> None:
    made = Modelfile(("/m/blobs/sha256-" + "a" * 64,), (("temperature", 0.6), ("top_k", 3)), "T", "S", renderer="qwen3")
    old = recipe_of(made)
    assert create_fields("x", made, old, old.with_option("top_k", 5)) == {"from": "x", "parameters": {"top_k": 5}}
    assert create_fields("x", made, old, replace(old.with_option("top_k", None), system="new")) == {
        "files": {"model.gguf": "sha256:" + "a" * 64},
        "parameters": {"temperature": 0.6},
        "template": "T",
        "system": "new",
        "renderer": "qwen3",
    }
    for source in ("qwen3:8b", "/m/blobs/sha256-zz", ""):
        with pytest.raises(PaddockError, match="top_k cannot be taken out of x"):
            create_fields("x", replace(made, sources=(source,)), old, old.with_option("top_k", None))
    with pytest.raises(PaddockError, match="would lose something else: heat is left out"):
        create_fields("x", replace(made, notes=("heat is left out: it is not known here",)), old, old.with_option("top_k", None))
    two = replace(made, sources=(made.sources[0], "/m/sha256:" + "b" * 64), adapters=("/m/sha256-" + "c" * 64,))
    assert blobs_of(two) == {
        "files": {"model.gguf": "sha256:" + "a" * 64, "model1.gguf": "sha256:" + "b" * 64},
        "adapters": {"adapter.gguf": "sha256:" + "c" * 64},
    }


# --- baking --------------------------------------------------------------------------------------------------------------


async def test_a_model_is_made_anew_and_its_version_kept(kitchen: Kitchen, box: Ollama) -> None:
    before = kitchen.digest(NAME)
    clock = ManualClock()
    done = await bake(box, NAME, NAME, OLD, replace(OLD.with_option("num_ctx", 8192), system="New."), clock)
    assert kitchen.created == [{"model": NAME, "stream": True, "from": NAME, "parameters": {"num_ctx": 8192}, "system": "New."}]
    kept = kept_of(done.kept)
    assert kept is not None and kept.original == NAME and kitchen.digest(done.kept) == before != done.digest
    assert recipe_of(await box.made_of(NAME)) == Recipe({"num_ctx": 8192, "stop": ["<end>"], "temperature": 0.6}, "New.", "")


async def test_a_new_model_takes_a_free_name_only(kitchen: Kitchen, box: Ollama) -> None:
    kitchen.put("other:1b", b"GGUF else")
    new = OLD.with_option("temperature", None)
    with pytest.raises(PaddockError, match="a model named other:1b already"):
        await bake(box, NAME, "other:1b", OLD, new, ManualClock())
    done = await bake(box, NAME, "brief:8b", OLD, new, ManualClock())
    assert (done.name, done.kept) == ("brief:8b", "")
    assert kitchen.created[0]["files"] == {"model.gguf": sha(b"GGUF weights")} and "from" not in kitchen.created[0]
    assert recipe_of(await box.made_of("brief:8b")) == new and recipe_of(await box.made_of(NAME)) == OLD
    done = await bake(box, NAME, "other:1b", OLD, new, ManualClock(), replaces=True)
    assert kept_of(done.kept) is not None


async def test_what_failed_leaves_the_model_and_no_version(kitchen: Kitchen, box: Ollama) -> None:
    kitchen.refuses = "template error"
    with pytest.raises(PaddockError):
        await bake(box, NAME, NAME, OLD, replace(OLD, template="{{"), ManualClock())
    assert list(kitchen.models) == [NAME]
    with pytest.raises(PaddockError, match="changed meanwhile"):
        await bake(box, NAME, NAME, replace(OLD, system="else"), OLD, ManualClock())
    with pytest.raises(PaddockError, match="gone already"):
        await bake(box, "nothere", NAME, OLD, OLD, ManualClock())
    with pytest.raises(PaddockError):
        await bake(box, NAME, "../x", OLD, OLD, ManualClock())


async def test_X01_what_a_model_is_made_of_is_read_as_it_is(kitchen: Kitchen, box: Ollama) -> None:
    kitchen.put("odd:1", system="tab\there \x1b[31m", template="{{\r\n}}", parameters={"mirostat": 1, "heat": 2, "top_k": "x", "seed": 7})
    made = await box.made_of("odd:1")
    assert made.sources == (f"/models/blobs/{sha(b'GGUF weights').replace(':', '-')}",), "a FROM below the first text is none"
    assert made.system == "tab\there \ufffd[31m" and made.template == "{{\n}}"
    assert made.parameters == (("seed", 7),)
    assert made.notes == ("heat is left out: it is not known here", "top_k is left out: its value is unusual")
    with pytest.raises(PaddockError):
        await box.made_of("nothere")


# --- the configuration -----------------------------------------------------------------------------------------------------


def test_options_are_checked_by_their_ranges() -> None:
    assert {"temperature", "num_ctx", "stop", "main_gpu", "keep_alive"} <= {option.name for option in options()}
    assert all(option.doc and option.range_text for option in options())
    assert checked("num_ctx", "8192", baked=True) == 8192 and checked("stop", '["a", "b"]', baked=True) == ["a", "b"]
    assert checked("temperature", "", baked=False) is None and checked("typical_p", "0.5", baked=True) == 0.5
    for name, text, baked in (
        ("temperature", "9", False),
        ("num_ctx", "many", True),
        ("keep_alive", "10m", True),
        ("mirostat", "1", True),
        ("typical_p", "0.5", False),
        ("nothing", "1", True),
        ("keep_alive", "soon", False),
    ):
        with pytest.raises(PaddockError):
            checked(name, text, baked=baked)


async def test_options_go_into_the_file_and_back(tmp_path: Path) -> None:
    host = Host(tmp_path)
    before = set_options(host.config, "qwen3:8b", {"num_ctx": 8192, "stop": ["a"], "keep_alive": "10m"})
    assert before == {"num_ctx": None, "stop": None, "keep_alive": None}
    assert configured(host.settings(), "QWEN3:8B") == Recipe({"num_ctx": 8192, "stop": ["a"]}, keep_alive="10m")
    assert set_options(host.config, "library/qwen3:8b", {"num_ctx": None}) == {"num_ctx": 8192}
    set_options(host.config, "qwen3:8b", before)
    assert configured(host.settings(), "qwen3:8b") == Recipe()


class Keeping:
    """Remembers what would undo."""

    def __init__(self) -> None:
        self.undos: list[tuple[str, Any]] = []
        self.calls: list[tuple[str, Any]] = []
        self.trash = True

    def has_trash(self, _provider: str) -> bool:
        return self.trash

    def push_undo(self, text: str, made: Any) -> None:
        self.undos.append((text, made))

    def bring_back(self, provider: str, key: str) -> None:
        self.calls.append(("bring back", (provider, key)))

    def delete(self, models: Any) -> None:
        self.calls.append(("delete", models))


class Events:
    def __init__(self) -> None:
        self.noted: list[tuple[Any, ...]] = []

    async def note(self, *args: Any) -> None:
        self.noted.append(args)


@pytest.fixture
async def desk(kitchen: Kitchen, tmp_path: Path) -> AsyncIterator[tuple[Making, Host, Keeping, Events]]:
    host, keeping, events = Host(tmp_path / "home"), Keeping(), Events()
    host.up("box", kitchen.url)
    host.providers["box"] = kitchen.provider()
    host.watching.can = lambda _provider, _capability: ""  # type: ignore[attr-defined]
    host.watching.forget_details = lambda _provider="": None  # type: ignore[attr-defined]
    host.watching.model_failures = Observable({})  # type: ignore[attr-defined]
    yield Making(host, keeping, events), host, keeping, events  # type: ignore[arg-type]
    await host.aclose()


async def test_configuring_can_be_undone(desk: tuple[Making, Host, Keeping, Events]) -> None:
    making, host, keeping, events = desk
    making.configure(NAME, {"num_ctx": 8192})
    await until(lambda: keeping.undos)
    assert configured(host.settings(), NAME).options == {"num_ctx": 8192} and keeping.undos[0][0] == f"have {NAME} configured as before"
    await keeping.undos[0][1]()
    assert configured(host.settings(), NAME).options == {}
    making.look_into("box", NAME)
    await until(lambda: ("box", NAME) in making.made.value)
    old = recipe_of(making.made.value[("box", NAME)])  # type: ignore[arg-type]
    assert old == OLD
    making.bake("box", NAME, NAME, old, old.with_option("seed", 7))
    await until(lambda: len(keeping.undos) == 2)
    await keeping.undos[1][1]()
    assert keeping.calls[0][0] == "bring back" and kept_of(keeping.calls[0][1][1]) is not None
    making.look_into("box", NAME)
    await until(lambda: ("box", NAME) in making.made.value)
    now = recipe_of(making.made.value[("box", NAME)])  # type: ignore[arg-type]
    making.bake("box", NAME, "mine:8b", now, now.with_option("seed", 8))
    await until(lambda: len(keeping.undos) == 3)
    await keeping.undos[2][1]()
    assert keeping.calls[1] == ("delete", (("box", "mine:8b"),))
    keeping.trash = False
    await keeping.undos[2][1]()
    assert len(keeping.calls) == 2 and "for good?" in host.asked[0]  # P12: not on one key
    host.answers = ["delete"]
    await keeping.undos[2][1]()
    assert len(keeping.calls) == 3
    assert [(event[1], event[2].value) for event in events.noted] == [(NAME, "configured"), ("mine:8b", "configured")]
    assert not host.failures


async def test_a_making_that_esc_ends_is_none(desk: tuple[Making, Host, Keeping, Events]) -> None:
    making, host, keeping, events = desk

    async def ended(_text: str, _target: str, _work: Any) -> None:
        """As `Actions.activity` after esc: it says so, and returns."""

    host.activity = ended  # type: ignore[method-assign]
    making.bake("box", NAME, NAME, OLD, OLD.with_option("seed", 1))
    await host.tasks[-1]
    assert not keeping.undos and not events.noted


async def test_what_is_not_allowed_is_not_done(desk: tuple[Making, Host, Keeping, Events], kitchen: Kitchen) -> None:
    making, host, keeping, _events = desk
    reasons = {Capability.CREATE: "security.access is 'look'"}
    host.watching.can = lambda _provider, capability: reasons.get(capability, "")  # type: ignore[attr-defined]
    host.config.set("security.access", "look")
    making.configure(NAME, {"num_ctx": 1})
    making.bake("box", NAME, NAME, OLD, OLD.with_option("seed", 1))
    making.look_into("box", "nothere")
    await until(lambda: len(host.failures) == 2 and ("box", "nothere") in making.made.value)
    assert all("refused" in str(one) or "not done" in str(one) for one in host.failures)
    assert not kitchen.created and not keeping.undos
    host.config.set("security.access", "use")
    making.restore("nowhere.tar", {}, config=True)
    await until(lambda: len(host.failures) == 3)
    assert "Restoring a backup is refused" in str(host.failures[2])
