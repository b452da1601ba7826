"""ls with filters and orders, show in full, compare, pin and unpin."""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import HOSTILE, Run, provider
from tests.support.fault_server import Exchange, FaultServer
from tests.support.screen import FORBIDDEN
from tui.cli import library_table, monitoring
from tui.cli.context import Context
from tui.cli.output import DASH
from tui.config.settings import Settings
from tui.core.events import Metrics
from tui.core.library import UpdateState, UpdateStatus
from tui.core.options import AppOptions
from tui.hardware.sample import Gpu, Memory, Sample
from tui.services.monitor.sampling import Sampling
from tui.store.db import Database
from tui.store.measurements import Measurements
from tui.store.update_states import UpdateStates

GB = 10**9


def names(said: object) -> list[str]:
    return [line.split()[0] for line in said.lines[1:]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("qwen", lambda model: "qwen" in model["name"]),
        (">4g", lambda model: model["size"] > 4e9),
        ("!qwen <5g", lambda model: "qwen" not in model["name"] and model["size"] < 5e9),
        ("quant:f16", lambda model: model["quantization"].lower().startswith("f16")),
        ("<4b", lambda model: model["parameters"] and (float(model["parameters"][:-1]) < 4 or model["parameters"][-1] == "M")),
    ],
)
def test_ls_filters(ollama: str, run: Run, text: str, holds: object) -> None:
    every = run("ls", "--json").json["models"]
    wanted = [model["name"] for model in every if holds(model)]  # type: ignore[operator]
    said = run("ls", "--filter", text)
    assert (names(said) if said.out else []) == wanted
    assert 0 < len(wanted) < len(every)


def test_ls_asks_for_what_the_filter_needs(ollama: str, run: Run) -> None:
    every = {model["name"] for model in run("ls", "--json").json["models"]}
    assert run("load", "qwen3:8b").code == 0
    assert names(run("ls", "--filter", "loaded")) == ["qwen3:8b"]
    seeing = {model["name"] for model in run("ls", "--filter", "can:vision", "--json").json["models"]}
    assert seeing < every
    assert all("vision" in run("show", name, "--json").json["abilities"] for name in seeing)
    assert run("ls", "--filter", "update").code == 1
    said = run("ls", "--filter", "nothing holds this")
    assert said.code == 1 and "None of" in said.err and not said.out


def test_ls_filters_by_what_fits_here(ollama: str, run: Run) -> None:
    every = [model["name"] for model in run("ls", "--json").json["models"]]
    fits, not_ = (run("ls", "--filter", text, "--json").json["models"] for text in ("fits", "!fits"))
    assert sorted(model["name"] for model in (*fits, *not_)) == sorted(every)


# --- what fits --------------------------------------------------------------------------------------------------------

CARD = Gpu("u", 0, "NVIDIA GeForce RTX 3090", memory_total=24 * GB, memory_used=6 * GB)
SIZES = {
    "loaded:8b": (5.2, "8.2B"),
    "good:8b": (5.2, "8.2B"),
    "slow:27b": (22.0, "27B"),
    "no:70b": (140.0, "70B"),
    "unknown:1b": (None, "1B"),
}


@pytest.fixture
def card(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """A machine with a card of which 18 GB are free, and a server with models of all sizes."""

    async def glance(_context: object) -> Sample | None:
        return Sample(1.0, memory=Memory(32 * GB, 8 * GB), gpus=(CARD,))

    async def tags(exchange: Exchange) -> None:
        models = [
            {"name": name, "model": name, "digest": f"{at:064x}", "details": {"parameter_size": count, "quantization_level": "Q4_K_M"}}
            | ({"size": int(size * GB)} if size is not None else {})
            for at, (name, (size, count)) in enumerate(SIZES.items())
        ]
        await exchange.json({"models": models})

    async def running(exchange: Exchange) -> None:
        await exchange.json({"models": [{"name": "loaded:8b", "model": "loaded:8b", "size": 6 * GB, "size_vram": 6 * GB}]})

    monkeypatch.setattr(monitoring, "glance", glance)
    server.routes["/api/tags"], server.routes["/api/ps"] = tags, running
    return server


def fits_of(said: object) -> dict[str, str]:
    lines = said.lines  # type: ignore[attr-defined]
    at = lines[0].index("FITS")
    return {line.split()[0]: line[at : lines[0].index("CHANGED")].strip() for line in lines[1:]}


def test_ls_says_what_fits_and_asks_no_model_for_it(card: FaultServer, run: Run) -> None:
    wanted = {"loaded:8b": "loaded", "good:8b": "good", "slow:27b": "slow", "no:70b": "no", "unknown:1b": DASH}
    assert fits_of(run("ls")) == wanted
    assert sorted(request.path for request in card.requests) == ["/api/ps", "/api/tags", "/api/version"]
    told = {model["name"]: model["fits"] for model in run("ls", "--json").json["models"]}
    assert told == {name: verdict if verdict != DASH else None for name, verdict in wanted.items()}
    card.requests.clear()
    assert set(names(run("ls", "--filter", "fits"))) == {"loaded:8b", "good:8b"}
    asked = [request.path for request in card.requests]
    assert asked.count("/api/ps") == 1 and asked.count("/api/show") == len(SIZES)


def test_ls_as_json_has_what_was_asked_for(ollama: str, run: Run) -> None:
    assert all(model["context"] is None and model["abilities"] == [] for model in run("ls", "--json").json["models"])
    sorted_ = run("ls", "--sort", "context", "--json").json["models"]
    assert all(model["context"] == run("show", model["name"], "--json").json["context"] for model in sorted_)
    able = run("ls", "--filter", "can:tools", "--json").json["models"]
    assert able and all("tools" in model["abilities"] for model in able)


def test_ls_as_json_has_what_is_kept_here(card: FaultServer, run: Run, home: Path, configure: Callable[[str], None]) -> None:
    keys = ("pinned", "used", "speed", "update")
    none = {model["name"]: tuple(model[key] for key in keys) for model in run("ls", "--json").json["models"]}
    assert none["good:8b"] == (False, None, None, None)
    assert not (home / "data" / "paddock.db").exists()
    run("pulls")  # makes the database
    configure('[models]\npinned = ["good:8b"]\n')
    database = Database(home / "data" / "paddock.db")
    before = time.time()
    digests = {"good:8b": f"{1:064x}", "slow:27b": "x"}
    states = {("ollama", name): UpdateState(UpdateStatus.WEIGHTS, digest, 1.0) for name, digest in digests.items()}
    asyncio.run(UpdateStates(database).put(states))
    asyncio.run(Measurements(database).add("ollama", "good:8b", Metrics(output_tokens=50, output_seconds=2.0)))
    database.close()
    card.requests.clear()
    told = {model["name"]: model for model in run("ls", "--json").json["models"]}
    pinned, used, speed, update = (told["good:8b"][key] for key in keys)
    assert (pinned, speed, update) == (True, 25.0, "weights") and before <= used <= time.time()
    assert told["slow:27b"]["update"] is None  # another digest
    assert told["loaded:8b"]["used"] >= before
    assert sorted(request.path for request in card.requests) == ["/api/ps", "/api/tags", "/api/version"]


def test_ls_goes_without_what_fits_where_nobody_tells_it(card: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_context: object) -> None:
        return None

    async def broken(exchange: Exchange) -> None:
        await exchange.json({"error": "out of order"}, 500)

    configure(provider("far", card.url, location='"elsewhere"') + provider("big", card.url, location='"elsewhere"', vram='"200 GB"'))
    said = run("ls", "--on", "far")
    assert said.code == 0 and not said.err
    assert fits_of(said) == {name: "loaded" if name == "loaded:8b" else DASH for name in SIZES}
    assert fits_of(run("ls", "--on", "big"))["no:70b"] == "good"
    configure("")
    card.routes["/api/ps"] = card.routes["/api/version"] = broken
    said = run("ls")
    assert said.code == 0 and not said.err
    assert set(fits_of(said).values()) == {DASH}
    monkeypatch.setattr(monitoring, "glance", nothing)
    card.routes["/api/version"] = lambda exchange: exchange.json({"version": "0.24.0"})
    said = run("ls")
    assert said.code == 0 and set(fits_of(said).values()) == {DASH}


@pytest.mark.parametrize(
    ("columns", "gone"),
    [(71, set()), (70, {"PARAMETERS"}), (58, {"PARAMETERS", "CHANGED"}), (20, {"PARAMETERS", "CHANGED", "QUANTIZATION", "PROVIDER"})],
)
def test_ls_leaves_columns_out_where_a_terminal_is_narrow(
    card: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch, columns: int, gone: set[str]
) -> None:
    every = run("ls").lines[0].split()
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run("ls").lines[0].split() == every  # a pipe has room
    monkeypatch.setattr(library_table.sys.stdout, "isatty", lambda: True)
    said = run("ls")
    assert said.lines[0].split() == [title for title in every if title not in gone]
    assert {"MODEL", "SIZE", "FITS"} <= set(said.lines[0].split())
    assert max(map(len, said.lines)) <= columns or columns == 20
    assert "PARAMETERS" in run("ls", "--sort", "parameters").lines[0]


async def test_a_glance_waits_for_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sampler(_context: object, _wanted: object, _interval: float) -> Sampling:
        settings = Settings()
        return Sampling(lambda: settings, command=lambda _settings: ["sleep", "60"])

    context = Context(AppOptions(), Namespace())
    monkeypatch.setattr(monitoring, "GLANCE", 0.05)
    monkeypatch.setattr(monitoring, "sampler_of", sampler)
    assert await monitoring.glance(context) is None
    monkeypatch.setenv("PADDOCK_MONITOR__ENABLED", "false")
    monkeypatch.setattr(monitoring, "sampler_of", lambda *_args: pytest.fail("measured"))
    assert await monitoring.glance(Context(AppOptions(), Namespace())) is None


def test_a_saved_filter_by_its_name(ollama: str, run: Run, configure) -> None:
    configure('[appearance]\nfilters = { "the small" = "<1g" }\n')
    assert names(run("ls", "--filter", "the small")) == names(run("ls", "--filter", "<1g"))


def test_ls_sorts(ollama: str, run: Run) -> None:
    sizes = [model["size"] for model in run("ls", "--sort", "size", "--json").json["models"]]
    assert sizes == sorted(sizes, reverse=True)
    assert [model["size"] for model in run("ls", "--sort", "si", "--reverse", "--json").json["models"]] == sorted(sizes)
    assert names(run("ls", "--sort", "name")) == sorted(names(run("ls")), key=str.casefold)
    assert "CONTEXT" in run("ls", "--sort", "context").lines[0]
    wrong = run("ls", "--sort", "colour")
    assert wrong.code == 2 and "There is no order colour" in wrong.err


def test_show_tells_everything(ollama: str, run: Run) -> None:
    said = run("show", "qwen3:8b")
    for title in ("architecture:", "parameters:", "template:", "licence:", "tensors:"):
        assert title in said.lines or title == "tensors:", title
    assert any(line.startswith("layers") for line in said.lines)
    told = run("show", "qwen3:8b", "--json").json
    assert told["info"]["general.architecture"] == "qwen3"
    assert told["history"] == [] and told["update"] is None


def test_X01_show_and_compare_of_hostile_models_are_clean(server: FaultServer, run: Run) -> None:
    async def tell(exchange: Exchange) -> None:
        bad = "\x1b[31mX\x9b2J\u202e[b]"
        info = {"general.architecture": bad, f"{bad}.block_count": bad, bad: [bad] * 3}
        tensors = [{"name": bad, "type": bad, "shape": [1, 2]}]
        await exchange.json({
            "license": bad, "template": bad, "system": bad, "parameters": f"stop {bad}", "modelfile": bad, "model_info": info,
            "projector_info": {bad: bad}, "tensors": tensors, "messages": [{"role": bad, "content": bad}], "details": {"family": bad},
        })  # fmt: skip

    server.routes["/api/show"] = tell
    for said in (run("show", HOSTILE), run("compare", HOSTILE, "tiny:latest"), run("ls", "--filter", "tiny")):
        assert said.code == 0 and said.out
        assert not FORBIDDEN & set(said.out.replace("\n", "") + said.err.replace("\n", ""))


def test_compare_says_what_differs(ollama: str, run: Run) -> None:
    first, second = (model["name"] for model in run("ls", "--json").json["models"][:2])
    said = run("compare", first, second)
    assert said.lines[0].split()[:2] == [first, second]
    lines = {line.split()[0]: line for line in said.lines[1:]}
    assert lines["size"].endswith("differs") and not lines["provider"].endswith("differs")
    assert lines["fits"].split()[3] in ("loaded", "good", "tight", "after", "slow", "no")
    found = run("compare", first, second, "--json").json
    assert [one["model"]["name"] for one in found] == [first, second] and all(one["fits"] for one in found)
    assert run("compare", first).code == 2


def test_pin_and_unpin(ollama: str, run: Run, home) -> None:
    assert run("pin", "qwen3:8b").code == 0
    assert 'pinned = ["qwen3:8b"]' in (home / "config.toml").read_text("utf-8")
    assert names(run("ls", "--filter", "pinned")) == ["qwen3:8b"]
    assert run("pin", "qwen3:8b").code == 0
    assert "never updated" in run("show", "qwen3:8b").out
    assert run("unpin", "nobody").code == 1
    assert run("unpin", "library/qwen3:8b").code == 0
    assert run("ls", "--filter", "pinned").code == 1
    assert run("pin", "qwen3:8b", readonly=True).code == 3
    assert run("pin", "qwen3:8b", "--json").json == {"ok": True, "command": "pin", "pinned": ["qwen3:8b"]}
    assert run("unpin", "qwen3:8b", "--json").json == {"ok": True, "command": "unpin", "pinned": []}
