"""fit: the table of an installed model and of one of the catalogue, what to run, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HOSTILE, Run, controls, provider
from tests.support.fault_server import Exchange, FaultServer
from tui.cli import monitoring
from tui.cli.context import Context
from tui.core.fit import Served, Subject, load_of
from tui.hardware.sample import Gpu, Memory, Sample
from tui.services.jobs import Jobs
from tui.store.db import Database
from tui.store.load_memory import LoadMemory

GB = 10**9
CARD = Gpu("u", 0, "NVIDIA GeForce RTX 3090", memory_total=24 * GB, memory_used=4 * GB)


@pytest.fixture(autouse=True)
def box(monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """A machine with one card; a test may put another in its place."""
    found = [Sample(1.0, memory=Memory(32 * GB, 8 * GB), gpus=(CARD,))]

    async def measured(_context: Context, _wanted: frozenset[str] = frozenset(), *, rates: bool = True) -> Sample:
        assert not rates  # memory is known at once
        return found[0]

    monkeypatch.setattr(monitoring, "measure", measured)
    return found


def listed(*models: tuple[str, int]) -> Any:
    async def route(exchange: Exchange) -> None:
        details = {"family": "qwen3", "parameter_size": "8.2B", "quantization_level": "Q4_K_M"}
        await exchange.json({"models": [{"name": n, "model": n, "size": s, "digest": "ab" * 32, "details": details} for n, s in models]})

    return route


async def _show(exchange: Exchange) -> None:
    info = {
        "general.architecture": "qwen3", "qwen3.block_count": 36, "qwen3.embedding_length": 4096, "qwen3.attention.head_count": 32,
        "qwen3.attention.head_count_kv": 8, "qwen3.context_length": 40960,
    }  # fmt: skip
    await exchange.json({"details": {"family": "qwen3"}, "model_info": info, "capabilities": ["completion"]})


@pytest.fixture
def qwen(server: FaultServer) -> FaultServer:
    """A server that has qwen3:8b."""
    server.routes["/api/tags"] = listed(("qwen3:8b", 5_225_374_496))
    server.routes["/api/show"] = _show
    return server


def test_fit_tells_the_table_and_the_largest_context(qwen: FaultServer, run: Run) -> None:
    said = run("fit", "qwen3:8b")
    assert said.code == 0
    assert said.lines[0] == "qwen3:8b on ollama: cache f16 assumed, 1 slot."
    assert said.lines[1] == "RTX 3090 24 GB, 20.0 free; RAM 32 GB, 24.0 free."
    head = next(line for line in said.lines if "MODEL" in line)
    assert head.split() == ["MODEL", "SIZE", "2k", "4k", "8k", "16k", "32k", "40k", "LARGEST"]
    own = next(line for line in said.lines if line.startswith("*"))
    assert own.split()[1:4] == ["8b", "Q4_K_M", "5.2"]
    assert own.endswith("40k")
    assert "8b Q4_K_M at 8k: fits well, ~" in said.lines[-1]
    assert "by formula" in said.lines[-1]
    assert "by bits a weight" in said.err


def test_fit_as_json_has_bytes_and_their_basis(qwen: FaultServer, run: Run) -> None:
    found = run("fit", "qwen3:8b", "--context", "32k", "--json").json
    assert found["contexts"] == [32768]
    own = next(row for row in found["rows"] if row["source"] == "installed")
    (fit,) = own["fits"]
    assert fit["verdict"] == "good"
    assert fit["basis"] == "formula"
    assert fit["needed"] == sum(fit["parts"].values())
    assert fit["parts"]["cache"] == 36 * 8 * 256 * 2 * 32768
    assert own["largest_context"] == 40960


def test_what_the_app_learned_counts_here_too(qwen: FaultServer, run: Run, home: Path) -> None:
    run("pulls")  # makes the database
    database = Database(home / "data" / "paddock.db")
    subject = Subject(5_225_374_496, family="qwen3", provider="ollama", digest="ab" * 32, name="qwen3:8b")
    load = load_of(subject, 8192, Served(), size=7 * GB, vram=7 * GB, at=1.0)
    asyncio.run(LoadMemory(database).put(load))
    database.close()
    said = run("fit", "qwen3:8b", "--context", "8192")
    assert "= 7.0 GB, measured when it was loaded" in said.lines[-1]


def test_a_model_of_the_catalogue_needs_no_server(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    said = run("fit", "gemma3")
    assert said.code == 0
    assert "not installed" in said.err
    assert any(line.split()[:1] == ["27b"] for line in said.lines)
    assert run("fit", "no-such-model-anywhere").code != 0


def test_of_the_catalogue_the_tag_that_was_asked_about_is_told_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    said = run("fit", "llama3.1:70b", "--context", "32k")
    assert said.code == 1 and said.lines[-1].startswith("70b at 32k: does not fit"), said.lines[-1]
    said = run("fit", "llama3.1:8b", "--context", "8k")
    assert said.code == 0 and said.lines[-1].startswith("8b at 8k: fits")


def test_names_ignore_case_and_a_bare_one_is_latest(qwen: FaultServer, run: Run) -> None:
    said = run("fit", "LLAMA3.1:8B", "--context", "8k")
    assert said.code == 0 and said.lines[-1].startswith("8b at 8k: fits")
    assert said.err.startswith("llama3.1:8b is not installed")
    said = run("fit", "qwen3")
    assert said.code == 0 and said.lines[-1].startswith("8b Q4_K_M at 8k: fits")  # which is installed, so its server tells
    assert said.err.startswith("qwen3:latest (that is 8b) is not installed")
    assert run("fit", "QWEN3:8B").lines[0].startswith("qwen3:8b on ollama")


def test_the_tag_that_is_not_installed_is_named_and_those_that_are_have_a_mark(qwen: FaultServer, run: Run) -> None:
    said = run("fit", "qwen3:14b")
    assert said.code == 0 and said.lines[-1].startswith("14b at 8k: fits")
    assert said.err.startswith("qwen3:14b is not installed")
    assert [line.split()[1] for line in said.lines if line.startswith("*")] == ["8b"]
    assert run("fit", "qwen3:14b", "--json").json["asked"] == "qwen3:14b"


@pytest.mark.parametrize(
    ("name", "known"), [("qwen3:8b-q8_0", "qwen3:8b, "), ("llama3.1:9b", "llama3.1:8b, llama3.1:70b or llama3.1:405b")], ids=str
)
def test_a_tag_nobody_knows_has_no_verdict(qwen: FaultServer, run: Run, name: str, known: str) -> None:
    said = run("fit", name)
    assert said.code == 1
    assert f"has no {name}: nothing was reckoned for it. Ask about {known}" in said.err
    assert any(line.split()[:1] == ["70b"] or line.split()[:1] == ["14b"] for line in said.lines)
    assert not any(" at 8k: " in line for line in said.lines)
    found = run("fit", name, "--json")
    assert found.code == 1 and found.json["asked"] is None and found.json["rows"]
    assert f"has no {name}" in found.err


@pytest.mark.parametrize(("name", "why"), [("glm-5.1", "runs in a cloud only"), ("wizardlm", "does not know how large")])
def test_what_has_no_weights_in_the_catalogue_has_no_table(qwen: FaultServer, run: Run, name: str, why: str) -> None:
    said = run("fit", name)
    assert said.code == 1 and why in said.err and not said.out
    assert run("fit", name, "--json").json["rows"] == []


def test_of_two_installed_tags_the_one_asked_about_decides(qwen: FaultServer, run: Run) -> None:
    qwen.routes["/api/tags"] = listed(("qwen3:8b", 5_225_374_496), ("qwen3:8b-huge", 90 * GB))
    said = run("fit", "qwen3:8b")
    assert said.code == 0 and said.lines[-1].startswith("8b Q4_K_M at 8k: fits well")
    said = run("fit", "qwen3:8b-huge")
    assert said.code == 1 and said.lines[-1].startswith("8b-huge Q4_K_M at 8k: does not fit")


def test_the_context_asked_for_decides(qwen: FaultServer, run: Run) -> None:
    assert run("fit", "llama3.1:8b", "--context", "32k").code == 0
    assert run("fit", "qwen3:14b", "--context", "128k").code == 1  # trained for 40k


def test_1_where_nothing_fits(run: Run, box: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    box[0] = Sample(1.0, memory=Memory(GB, GB // 2))
    said = run("fit", "llama3.1:8b", "--context", "8k")
    assert said.code == 1
    assert "GB missing" in said.err


def test_another_machine_needs_its_vram_set(qwen: FaultServer, run: Run, configure: Any) -> None:
    configure(provider("far", qwen.url, location='"elsewhere"'))
    said = run("fit", "qwen3:8b", "--on", "far")
    assert said.code != 0
    assert "providers.far.vram" in said.err
    configure(provider("far", qwen.url, location='"elsewhere"', vram='"8GB"'))
    said = run("fit", "qwen3:8b", "--on", "far")
    assert said.code == 0
    assert "GPU0 8.0 GB" in said.lines[1]


def test_settings_of_optimise_feed_the_estimate(qwen: FaultServer, run: Run, configure: Any) -> None:
    whole = run("fit", "qwen3:8b", "--context", "32k", "--json").json
    configure('[optimise]\nkv_cache = "q8_0"\nparallel = 2\n')
    half = run("fit", "qwen3:8b", "--context", "32k", "--json").json
    assert half["served"]["kv_type"] == "q8_0"
    cache = [next(row for row in one["rows"] if row["source"] == "installed")["fits"][0]["parts"]["cache"] for one in (whole, half)]
    assert cache[1] == cache[0] * 2 * 34 / 64


@pytest.mark.parametrize(
    ("words", "said"),
    [(["fit"], "Which model?"), (["fit", "x", "--recommend"], "takes no model"), (["fit", "--can", "fly"], "fly is nothing"),
     (["fit", "qwen3:8b", "--context", "many"], "many is no number"),
     (["fit", "--recommend", "--context", "many"], "many is no number"),
     (["fit", "--recommend", "--context", "8k,32k"], "8k,32k is no number")],
)  # fmt: skip
def test_wrong_usage_is_2(qwen: FaultServer, run: Run, words: list[str], said: str) -> None:
    found = run(*words)
    assert found.code == 2
    assert said in found.err


def test_recommended_for_this_machine(qwen: FaultServer, run: Run, configure: Any) -> None:
    said = run("fit", "--recommend")
    assert said.code == 0
    assert said.lines[2].split()[:2] == ["MODEL", "SIZE"]
    assert "235 models were looked at" in said.err
    configure('[models]\npreferred = ["phi4"]\nexcluded = ["llama*", "deepseek*"]\nmax_size = "10GB"\n')
    found = run("fit", "--recommend", "--json").json["models"]
    assert found[0]["name"] == "phi4:14b"
    assert found[0]["preferred"]
    assert all(one["size"] <= 10 * GB and not one["name"].startswith(("llama", "deepseek")) for one in found)
    seeing = run("fit", "--can", "vision,tools", "--json").json["models"]
    assert seeing
    assert all({"vision", "tools"} <= set(one["can"]) for one in seeing)


def test_recommended_for_a_context(qwen: FaultServer, run: Run) -> None:
    short, long = run("fit", "--recommend"), run("fit", "--recommend", "--context", "128k")
    assert "FITS AT 8k" in short.lines[2] and "FITS AT 128k" in long.lines[2]
    assert run("fit", "--recommend", "--json").json["context"] == 8192
    found = run("fit", "--recommend", "--context", "128k", "--json").json
    assert found["context"] == 131_072 and found["models"]
    for one in found["models"]:
        judged = run("fit", one["name"], "--context", "128k")
        assert judged.code == 0 and "at 128k: fits" in judged.lines[-1], one["name"]
    said = run("fit", "--recommend", "--context", "4m")
    assert said.code == 1 and "--can or --context" in said.err


def test_nothing_to_recommend_is_1(run: Run, box: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    box[0] = Sample(1.0, memory=Memory(GB, GB - 1000))
    said = run("fit", "--recommend")
    assert said.code == 1
    assert "Nothing of the catalogue that can do this fits" in said.err


def test_X01_a_model_of_a_hostile_name(server: FaultServer, run: Run) -> None:
    said = run("fit", HOSTILE)
    assert not controls(said.out + said.err)


def test_the_worker_is_not_started(qwen: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jobs, "ensure_worker", lambda _jobs: pytest.fail("started"))
    assert run("fit", "qwen3:8b").code == 0
