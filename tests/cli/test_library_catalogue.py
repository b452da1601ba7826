"""search: the dated list, a newer one, and Hugging Face."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.fault_server import Exchange, FaultServer
from tests.support.registry import FakeRegistry
from tui.cli import library_fit
from tui.core.fit import Lessons, Machine, Pace
from tui.services.library.catalogue_list import FILE

REPO = {"id": "org/Model-GGUF", "downloads": 5000, "gated": "auto", "tags": ["license:mit"], "gguf": {"total": 8_200_000_000}}
GB = 10**9


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 GB of GPU, 17 of them free."""

    async def known(*_args: object) -> library_fit.Known:
        return library_fit.Known(Machine(64 * GB, 40 * GB, 24 * GB, 17 * GB, 1), Lessons(), Pace())

    monkeypatch.setattr(library_fit, "known_here", known)


def names(said: object) -> list[str]:
    return [line.split()[0] for line in said.lines[1:]]  # type: ignore[attr-defined]


def test_the_list_is_searched_by_task_size_and_licence(run: Run) -> None:
    said = run("search", "code", "--can", "complete", "--max", "8 GB", "--licence", "llama")
    assert said.code == 0 and names(said) == ["codellama"]
    assert "facts of 2026-08-21, " in said.err and "old" in said.err
    assert "codellama" in names(run("search", "--can", "insert,code"))
    assert "nomic-embed-text" in names(run("search", "--can", "embedding"))
    assert run("search", "zzzzqqq").code == 1
    found = run("search", "codellama", "--json").json
    assert found["snapshot"] == "2026-08-21" and found["models"][0]["tags"][0]["quant"] == "Q4_0"


def test_tags_are_listed_with_their_quantizations(run: Run) -> None:
    said = run("search", "tinyllama", "quant:q8", "--tags")
    assert said.code == 0
    assert [line.split()[:4] for line in said.lines[1:]] == [
        ["tinyllama:1.1b-chat-v0.6-q8_0", "1.2", "GB", "Q8_0"],
        ["tinyllama:1.1b-chat-v1-q8_0", "1.2", "GB", "Q8_0"],
    ]


def test_what_is_excluded_is_not_listed(run: Run, configure: Callable[[str], None]) -> None:
    configure('[models]\nexcluded = ["codellama*"]\n')
    assert names(run("search", "codellama")) == ["phind-codellama"]


def test_what_fits_is_measured_here(run: Run, machine: None) -> None:
    said = run("search", "llama3.1", "--fits")
    assert said.code == 0 and names(said)[0] == "llama3.1"
    assert "8b, 4.9 GB" in said.out and "LARGEST THAT FITS" in said.lines[0]
    assert run("search", "fits", ">40g").code == 1


def test_the_largest_that_fits_meets_the_other_words_too(run: Run, machine: None) -> None:
    def best(*words: str) -> dict[str, str]:
        said = run("search", *words)
        at, end = said.lines[0].index("LARGEST"), said.lines[0].index("CAN")
        return {line.split()[0]: line[at:end].strip() for line in said.lines[1:]}

    assert best("coder", "--fits")["qwen2.5-coder"] == "14b, 9.0 GB"
    assert best("coder", "<8gb", "--fits")["qwen2.5-coder"] == "7b, 4.7 GB"
    assert best("codellama", "quant:q8", "<8gb", "--fits")["codellama"].endswith("q8_0, 7.2 GB")
    assert set(best("!fits").values()) == {"–"}


def test_the_json_of_tags_has_those_of_the_table(run: Run) -> None:
    table = names(run("search", "codellama", "<8gb", "--tags"))
    models = run("search", "codellama", "<8gb", "--tags", "--json").json["models"]
    assert [f"{model['name']}:{tag['tag']}" for model in models for tag in model["tags"]] == table
    whole = run("search", "codellama", "<8gb", "--json").json["models"]
    assert max(tag["bytes"] for tag in whole[0]["tags"]) > 8 * GB


@pytest.mark.parametrize(
    "words", [("x", "--can", "fly"), ("x", "--max", "huge"), ("--hub",), ("x", "--hub", "--tags"), ("x", "--limit", "many")], ids=str
)
def test_options_that_make_no_sense_end_with_2(run: Run, words: tuple[str, ...]) -> None:
    said = run("search", *words)
    assert said.code == 2 and said.err and not said.out


def test_a_newer_list_is_fetched_and_used_by_the_next_command(
    run: Run, home: Path, server: FaultServer, configure: Callable[[str], None]
) -> None:
    models = [{"name": "newcomer", "capabilities": ["vision"], "tags": [{"tag": "7b", "size": 4 * GB, "estimated": True}]}]
    body = json.dumps({"format": "paddock-catalogue", "version": 1, "date": "2026-09-01", "models": models}).encode()
    server.routes["/models.json"] = lambda exchange: exchange.reply(200, body)
    configure(f'[models]\ncatalogue_url = "{server.url}/models.json"\n')
    said = run("search", "--refresh")
    assert said.code == 0 and "1 model, of 2026-09-01" in said.err.lower()
    assert (home / "cache" / FILE).exists()
    assert run("search", "--refresh", "--json").json == {"ok": True, "command": "search", "snapshot": "2026-09-01", "models": 1}
    assert [one["name"] for one in run("search", "--refresh", "newcomer", "--json").json["models"]] == ["newcomer"]
    said = run("search", "newcomer", "--tags")
    assert said.lines[1].split()[:2] == ["newcomer:7b", "~4.0"] and "facts of 2026-09-01" in said.err
    server.routes["/models.json"] = lambda exchange: exchange.reply(500)
    said = run("search", "--refresh")
    assert said.code == 1 and "The list of 2026-09-01 stays" in said.err
    assert run("search", "newcomer").code == 0
    (home / "cache" / FILE).write_text("{")
    said = run("search", "qwen3")
    assert said.code == 0 and "is damaged" in said.err


def test_without_an_address_what_is_installed_is_looked_up(run: Run, ollama: str, registry: FakeRegistry) -> None:
    registry.add("qwen3:8b", [("model", 5_000_000_000)])
    said = run("search", "--refresh", "qwen3", "--tags")
    assert (said.code == 0 and "installed models are of today" in said.err) or "1 installed model are of today" in said.err
    row = next(line for line in said.lines if line.startswith("qwen3:8b "))
    assert "5.0 GB" in row and row.split()[-1].startswith("20")


def test_the_network_is_respected(run: Run, configure: Callable[[str], None], server: FaultServer) -> None:
    configure('[general]\nnetwork = "offline"\n[models]\ncatalogue_url = "https://lists.example.org/x.json"\n')
    said = run("search", "--refresh")
    assert said.code == 3 and "lists.example.org is not asked" in said.err
    said = run("search", "--hub", "qwen")
    assert said.code == 3 and "huggingface.co is not asked" in said.err
    configure(f'[general]\nnetwork = "metered"\n[models]\ncatalogue_url = "{server.url}/x.json"\n')
    asked = len(server.requests)
    assert run("search", "--refresh").code == 1
    assert len(server.requests) == asked


def test_the_hub_is_searched_page_by_page(run: Run, second: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(exchange: Exchange) -> None:
        number = 2 if "cursor=2" in exchange.request.path else 1
        found = [{**REPO, "id": f"org/Model-{number}-{at}"} for at in range(3)]
        link = {"link": f'<{second.url}/api/models?cursor=2>; rel="next"'} if number == 1 else {}
        await exchange.reply(200, json.dumps(found).encode(), link)

    second.routes["*"] = answer
    monkeypatch.setenv("HF_ENDPOINT", second.url)
    said = run("search", "--hub", "some", "model", "--limit", "5")
    assert said.code == 0 and len(said.lines) == 6 and "--limit shows more" in said.err
    assert said.lines[1].split()[:4] == ["org/Model-1-0", "8.2B", "5,000", "–"] and "gated" in said.lines[1] and "mit" in said.lines[1]
    assert "search=some+model" in second.requests[0].path
    found = run("search", "--hub", "x", "--limit", "2", "--json").json
    assert found["more"] and len(found["repositories"]) == 2


def test_a_hub_that_pages_in_circles_is_left(run: Run, second: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(exchange: Exchange) -> None:
        if len(second.requests) > 9:
            await exchange.reply(500)
        else:
            await exchange.reply(200, json.dumps([REPO]).encode(), {"link": f'<{second.url}/api/models?cursor=1>; rel="next"'})

    second.routes["*"] = answer
    monkeypatch.setenv("HF_ENDPOINT", second.url)
    said = run("search", "--hub", "some")
    assert said.code == 0 and len(second.requests) == 2


def test_the_files_of_a_repository_with_the_names_to_pull_them_by(
    run: Run, second: FaultServer, machine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [("m-Q4_K_M.gguf", 5 * GB), ("m-Q8_0.gguf", 9 * GB), ("m-F16-00001-of-00002.gguf", 30 * GB), ("mmproj.gguf", GB)]
    second.routes["/api/models/org/Model-GGUF?blobs=true"] = lambda exchange: exchange.json(
        {**REPO, "siblings": [{"rfilename": name, "size": size} for name, size in files]}
    )
    monkeypatch.setenv("HF_ENDPOINT", second.url)
    said = run("search", "--hub", "org/Model-GGUF")
    assert said.code == 0 and "gated: the server needs its own key" in said.err and "not scanned" in said.err
    assert said.lines[1].split() == ["Q4_K_M", "5.0", "GB", "hf.co/org/Model-GGUF:Q4_K_M"]
    assert "(1 of 2 parts are missing)" in said.out and "(comes with the model)" in said.out
    said = run("search", "--hub", "org/Model-GGUF", "--fits", "--max", "8GB")
    assert [line.split()[0] for line in said.lines[1:]] == ["Q4_K_M"] and "good" in said.lines[1]
    assert run("search", "--hub", "org/Model-GGUF", "--max", "1GB", "--json").json["files"][0]["projector"]
    assert run("search", "--hub", "org/Other").code == 1


def test_the_demo_is_a_hub_and_a_registry(run: Run, ollama: str) -> None:
    said = run("search", "--hub", "codellama", demo=True, demo_url=ollama)
    assert said.code == 0 and names(said) == ["TheBloke/CodeLlama-7B-GGUF"]
    said = run("search", "--hub", "thebloke/codellama-7b-gguf", demo=True, demo_url=ollama)
    assert said.code == 0 and "hf.co/TheBloke/CodeLlama-7B-GGUF:Q8_0" in said.out
    said = run("pull", "hf.co/TheBloke/CodeLlama-7B-GGUF:Q8_0", "--dry-run", demo=True, demo_url=ollama)
    assert said.code == 0 and "7.2 GB" in said.out + said.err


@pytest.mark.parametrize(
    "name", ["codellama:7b-code-q4_K_M", "codellama:7b-code-q8_0", "tinyllama:1.1b-chat-v1-q4_K_M", "tinyllama:1.1b-chat-v1-q8_0"]
)
def test_codellama_and_tinyllama_at_four_and_eight_bits_complete_code(run: Run, ollama: str, tmp_path: Path, name: str) -> None:
    assert name in run("search", name.partition(":")[0], "--tags").out
    body = json.dumps({"model": name}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{ollama}/api/pull", body, method="POST"), timeout=10) as answer:
        assert b"success" in answer.read()
    (tmp_path / "before.py").write_text("def fib(n):\n    ")
    (tmp_path / "after.py").write_text("\n\nprint(fib(9))\n")
    said = run("complete", name, "--prefix", str(tmp_path / "before.py"))
    assert said.code == 0 and said.out
    said = run("complete", name, "--prefix", str(tmp_path / "before.py"), "--suffix", str(tmp_path / "after.py"))
    assert said.code == 0 and said.out
    assert "<PRE>" not in said.out and ("knows no way to fill a gap" in said.err) == name.startswith("tinyllama")
