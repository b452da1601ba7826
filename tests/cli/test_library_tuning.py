"""optimise, quantize and levels against the demo's server on a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chat.live import until
from tests.cli.conftest import Background, Run, provider, start_ollama
from tests.support.fault_server import Exchange, FaultServer
from tui.cli import library_tuning
from tui.core import tuning
from tui.core.tuning import OptimiseState
from tui.demo.server import Pace
from tui.hardware.sample import Cpu, Gpu, Memory, Sample
from tui.services.library import tuning_measure
from tui.services.library.tuning_words import interrupted
from tui.store.db import Database
from tui.store.tunings import Tunings

GB = 10**9
FULL = "llama3.2:1b-instruct-fp16"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 GB of GPU memory; answers are short."""
    gpu = Gpu("u", 0, "RTX", memory_total=24 * GB, memory_used=GB)

    async def sample(_context: object) -> Sample:
        return Sample(time=1.0, cpu=Cpu(physical=4), memory=Memory(32 * GB, 8 * GB), gpus=(gpu,))

    monkeypatch.setattr(library_tuning, "_sample", sample)
    monkeypatch.setattr(tuning_measure, "LOOK", 0.01)
    monkeypatch.setattr(tuning, "_NOISE", 50.0)  # this machine's own speed decides nothing


def make(run: Run, model: str, *more: str) -> None:
    """Have the demo's server make a model; the queue is not worked in these tests."""
    body = {"model": model, "from": FULL, **dict(part.split("=") for part in more)}
    answer = httpx.post(f"{os.environ['OLLAMA_HOST']}/api/create", json=body, timeout=20)
    assert '"success"' in answer.text


def test_a_proposal_is_told_and_nothing_is_done(run: Run, ollama: str, home: Path) -> None:
    said = run("optimise", "qwen3:8b")
    assert said.code == 0
    assert "num_ctx the server chooses -> 8192" in said.out
    assert "num_batch the server chooses -> 1024" in said.out
    assert "OLLAMA_KV_CACHE_TYPE=q8_0" in said.out
    assert "Nothing is changed. --apply" in said.err
    found = run("optimise", "qwen3:8b", "--json").json
    assert [(change["key"], change["old"], change["new"]) for change in found["changes"]] == [
        ("num_ctx", None, 8192),
        ("num_batch", None, 1024),
    ]
    assert not (home / "config.toml").exists()


def test_applied_it_is_measured_and_written_where_better(run: Run, ollama: str, home: Path) -> None:
    said = run("optimise", "qwen3:8b", "--apply")
    assert said.code == 0, said.err
    assert "BEFORE" in said.out and "AFTER" in said.out
    assert "is kept:" in said.out and "8k tokens of context instead of 4k" in said.out
    text = (home / "config.toml").read_text()
    assert "num_ctx = 8192" in text and "num_batch = 1024" in text
    assert "base:" not in run("ps").out and "qwen3" not in run("ps").out
    again = run("optimise", "qwen3:8b", "--apply", "--json").json
    assert again["changes"] == [] and again["result"] is None


def test_why_nothing_is_proposed(run: Run, ollama: str, configure: Callable[[str], None]) -> None:
    said = run("optimise", "nomic-embed-text")
    assert said.code == 1 and "does not answer" in said.err
    assert run("optimise", "qwen3:8b", "--apply", readonly=True).code == 3
    configure("[optimise]\nenabled = false\n")
    said = run("optimise", "qwen3:8b")
    assert said.code == 3 and "optimise.enabled" in said.err


def test_a_server_of_another_kind_is_not_optimised(run: Run, server: FaultServer, configure: Callable[[str], None]) -> None:
    async def models(exchange: Exchange) -> None:
        await exchange.json({"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    server.routes["/v1/models"] = models
    configure(provider("v", server.url, "vllm"))
    said = run("optimise", "tiny", "--on", "v")
    assert said.code == 1 and "v cannot load" in said.err and "Choose another model" in said.err
    said = run("quantize", "tiny", "q8_0", "--on", "v")
    assert said.code == 1 and "v cannot make models" in said.err


def test_what_each_level_would_be(run: Run, ollama: str) -> None:
    make(run, "base:fp16")
    said = run("quantize", "base:fp16")
    assert said.code == 0
    assert [line.split()[0] for line in said.lines] == ["LEVEL", "F16", "q8_0", "q4_K_M", "q4_K_S"]
    assert "base:q4_K_M" in said.out and "~" in said.out and "small" in said.out
    levels = run("quantize", "base:fp16", "--json").json["levels"]
    assert [level["level"] for level in levels] == ["q8_0", "q4_K_M", "q4_K_S"]
    assert all(level["estimate"] and level["size"] < 2.5 * GB for level in levels)


def test_levels_are_queued(run: Run, ollama: str) -> None:
    make(run, "base:fp16")
    said = run("quantize", "base:fp16", "Q4_K", "q8_0", "--json")
    assert [(job["kind"], job["model"], job["arguments"]) for job in said.json["jobs"]] == [
        ("quantize", "base:q4_K_M", {"from": "base:fp16", "quantize": "q4_K_M"}),
        ("quantize", "base:q8_0", {"from": "base:fp16", "quantize": "q8_0"}),
    ]
    said = run("quantize", "base:fp16", "q4_K_S", "--name", "mine")
    assert said.code == 0 and "The making of mine:latest is queued" in said.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("qwen3:8b", "q8_0"), 1, "quantized already (Q4_K_M)"),
        (("base:fp16", "q2_K"), 1, "There is no level q2_K"),
        (("base:fp16", "q8_0", "--name", "qwen3:8b"), 3, "a model named qwen3:8b already"),
        (("base:fp16", "q8_0", "q4_K_M", "--name", "x"), 2, "One name is for one level"),
        (("base:fp16", "q8_0", "--name", "no name!"), 1, "not a valid name"),
    ],
)
def test_what_is_refused_of_a_quantization(run: Run, ollama: str, words: tuple[str, ...], code: int, said: str) -> None:
    make(run, "base:fp16")
    found = run("quantize", *words)
    assert (found.code, found.out) == (code, "")
    assert said in found.err
    assert run("pulls", "--json").json["jobs"] == []


def test_access_forbids_it(run: Run, ollama: str, configure: Callable[[str], None]) -> None:
    make(run, "base:fp16")
    configure('[security]\naccess = "use"\n')
    said = run("quantize", "base:fp16", "q8_0")
    assert said.code == 3 and "security.access" in said.err


def test_levels_side_by_side(run: Run, ollama: str) -> None:
    make(run, "base:fp16")
    said = run("levels", "base:fp16")
    assert said.code == 0 and "Nothing was measured of base:fp16" in said.out
    said = run("levels", "base:fp16", "--run")
    assert said.code == 1 and "There is no other level of base:fp16" in said.err
    make(run, "base:q4_K_M", "quantize=q4_K_M")
    said = run("levels", "base:q4_K_M", "--run")
    assert said.code == 0, said.err
    head, first, second = said.lines
    assert head.split() == ["LEVEL", "MODEL", "SIZE", "MEMORY", "LOAD", "TOK/S", "PROMPT", "AGREES", "WHEN"]
    assert first.split()[:2] == ["F16", "base:fp16"] and " 100 %" in first
    assert second.split()[:2] == ["Q4_K_M", "base:q4_K_M"] and " 82 %" in second
    assert "share of words" in said.err
    kept = run("levels", "base:fp16", "--json").json["levels"]
    assert [(level["model"], level["same"], level["asked"]) for level in kept] == [("base:fp16", 4, 4), ("base:q4_K_M", 2, 4)]
    assert "base:" not in run("ps").out and "qwen3" not in run("ps").out


def test_levels_of_models_that_are_named(run: Run, ollama: str) -> None:
    said = run("levels", "llama3.2:3b", "qwen2.5-coder:1.5b", "--run", "--json")
    assert [level["model"] for level in said.json["levels"]] == ["llama3.2:3b", "qwen2.5-coder:1.5b"]
    said = run("levels", "llama3.2:3b", "nobody")
    assert said.code == 1 and "There is no model nobody" in said.err


def test_H07_a_server_that_dies_in_the_middle(run: Run, server: FaultServer) -> None:
    async def chat(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(json.dumps({"message": {"content": "half an"}, "done": False}).encode() + b"\n")
        exchange.reset()

    async def load(exchange: Exchange) -> None:
        await exchange.json({"done": True, "done_reason": "load"})

    server.routes |= {"/api/chat": chat, "/api/generate": load}
    said = run("optimise", "tiny", "--apply")
    assert said.code == 1
    assert "reset" in said.err or "lost" in said.err
    assert not said.out.rstrip().endswith("kept")


def test_S01_a_killed_command_leaves_nothing_changed_and_is_told_of(
    run: Run, background: Background, home: Path, tmp_path_factory: Any
) -> None:
    url, end = start_ollama(background, tmp_path_factory.mktemp("slow"), Pace(pull=40e9, tokens=4, load=0.01))
    environ = {**os.environ, "OLLAMA_HOST": url, "PADDOCK_MONITOR__GPU": "false"}
    command = [sys.executable, "-m", "tui", "optimise", "llama3.2:3b", "--apply"]
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: httpx.get(f"{url}/api/ps", timeout=5).json()["models"], "it never loaded the model", 30)
        child.kill()
        child.wait(10)
        assert not (home / "config.toml").exists()
        (loaded,) = httpx.get(f"{url}/api/ps", timeout=5).json()["models"]
        left = datetime.fromisoformat(loaded["expires_at"]).timestamp() - time.time()
        assert left <= 121
    finally:
        child.kill()
        end()
    database = Database(home / "data" / "paddock.db")
    (row,) = asyncio.run(Tunings(database).take_interrupted())
    database.close()
    assert (row.model, row.state) == ("llama3.2:3b", OptimiseState.INTERRUPTED)
    assert "no setting was changed" in interrupted(row)
