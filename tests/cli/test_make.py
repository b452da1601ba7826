"""push, create, import and update: jobs of the queue, and what is refused before they are one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HOSTILE, Run, Typed, controls, provider
from tests.cli.test_changes import audit
from tests.support.fault_server import Exchange, FaultServer
from tests.support.registry import FakeRegistry, error
from tui.core.errors import PaddockError
from tui.services.library.weights import looks_like_path, weights_of


def queued(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run("pulls", "--json").json["jobs"]
    return found


def gguf(path: Path, content: bytes = b"GGUF\3\0\0\0and so on") -> Path:
    path.write_bytes(content)
    return path


# --- push ----------------------------------------------------------------------------------------------------------------


def test_push_is_a_job_of_the_queue(server: FaultServer, run: Run, home: Path) -> None:
    said = run("push", "library/TINY", "--insecure")
    assert said.code == 0 and said.err == "The push of tiny:latest is queued as 1 for ollama; see paddock pulls.\n"
    (job,) = queued(run)
    assert (job["kind"], job["model"], job["arguments"]) == ("push", "tiny:latest", {"insecure": True})
    assert audit(home) == [("queue push", "ollama/tiny:latest", "ok")]
    assert run("push", "nothere").code == 1 and len(queued(run)) == 1
    assert run("push", "tiny", "--json").json["jobs"][0]["id"] == 1


# --- create --------------------------------------------------------------------------------------------------------------


def test_create_makes_a_job_of_what_is_different(server: FaultServer, run: Run) -> None:
    said = run("create", "brief", "--from", "tiny", "--system", "Be brief.", "--option", "temperature=0.2", "--option", 'stop=["a","b"]')
    assert said.code == 0 and "The making of brief:latest is queued as 1 for ollama" in said.err
    (job,) = queued(run)
    assert job["kind"] == "create" and job["arguments"] == {
        "from": "tiny:latest",
        "system": "Be brief.",
        "parameters": {"temperature": 0.2, "stop": ["a", "b"]},
    }
    run("create", "small", "--from", "tiny", "-q", "Q4_K_M")
    assert queued(run)[1]["kind"] == "quantize" and queued(run)[1]["arguments"] == {"from": "tiny:latest", "quantize": "Q4_K_M"}


def test_create_refuses_what_cannot_come_of_it(server: FaultServer, run: Run) -> None:
    async def tags(exchange: Exchange) -> None:
        small = {"name": "small:1b", "model": "small:1b", "size": 5, "details": {"quantization_level": "Q4_K_M"}}
        cloud = {"name": "far:cloud", "model": "far:cloud", "size": 5, "remote_host": "https://ollama.com", "details": {}}
        await exchange.json({"models": [small, cloud]})

    server.routes["/api/tags"] = tags
    for words, code, said in (
        (["create", "a", "--from", "small:1b", "-q", "q8_0"], 1, "quantized already (Q4_K_M)"),
        (["create", "a", "--from", "small:1b"], 2, "Nothing would be different"),
        (["create", "a", "--from", "far:cloud", "--system", "x"], 1, "runs in a cloud"),
        (["create", "a b", "--from", "small:1b"], 2, "not a valid name"),
        (["create", "a", "--from", "nothere", "--system", "x"], 1, "no model nothere"),
        (["push", "far:cloud"], 1, "runs in a cloud"),
    ):
        found = run(*words)
        assert found.code == code and said in found.err, words
    assert not queued(run)


def test_a_name_that_is_taken_needs_a_yes(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["create", "tiny", "--from", "tiny", "--system", "x"]
    said = run(*words)
    assert said.code == 3 and "already" in said.err and "--yes" in said.err
    monkeypatch.setattr(sys, "stderr", typed := Typed())
    monkeypatch.setattr(sys, "stdin", Typed("\n"))
    assert run(*words).code == 1 and "is there already. Replace it? It is kept as an earlier version. [y/N]" in typed.getvalue()
    assert not queued(run)
    assert run(*words, "--yes").code == 1 and not queued(run)  # this server copies nothing: nothing is replaced either


def test_what_is_replaced_is_kept_as_an_earlier_version(ollama: str, run: Run, tmp_path: Path) -> None:
    name = "qwen3:8b"
    assert run("import", str(gguf(tmp_path / "other.gguf")), name, "--yes").code == 0 and len(queued(run)) == 1
    assert [version["number"] for version in run("versions", name, "--json").json["versions"]] == [1]


# --- import --------------------------------------------------------------------------------------------------------------


def test_a_gguf_is_sent_by_its_absolute_path(server: FaultServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = gguf(tmp_path / "weights.gguf")
    monkeypatch.chdir(tmp_path)
    said = run("import", "weights.gguf", "mine", "--system", "Hi", "-q", "q8_0")
    assert said.code == 0 and "mine:latest: weights.gguf, 17 B, sent to ollama." in said.err
    (job,) = queued(run)
    assert job["kind"] == "upload" and job["arguments"] == {"files": {"weights.gguf": str(file)}, "system": "Hi", "quantize": "q8_0"}
    run("create", "other", "--from", "./weights.gguf")
    assert queued(run)[1]["arguments"] == {"files": {"weights.gguf": str(file)}}


def test_split_sets_and_folders_are_taken_whole(tmp_path: Path) -> None:
    parts = [gguf(tmp_path / f"big-{n:05}-of-00003.gguf") for n in (1, 2, 3)]
    assert list(weights_of(str(parts[1])).files) == [part.name for part in parts] == list(weights_of(str(tmp_path)).files)
    parts[1].unlink()
    with pytest.raises(PaddockError, match="1 of 3 parts are missing"):
        weights_of(str(parts[0]))
    folder = tmp_path / "tensors"
    folder.mkdir()
    for name in (
        "config.json",
        "model-1.safetensors",
        "tokenizer.model",
        "tokenizer.json",
        "README.md",
        "pytorch_model.bin",
        ".hidden.json",
    ):
        (folder / name).write_text("{}")
    found = weights_of(str(folder))
    assert list(found.files) == ["model-1.safetensors", "config.json", "tokenizer.json", "tokenizer.model"] and found.size == 8


@pytest.mark.parametrize(
    ("files", "path", "words"),
    [
        ({"a.bin": b"x"}, "a.bin", "may run code"),
        ({"a.pt": b"x"}, "", "may run code"),
        ({"a.pkl": b"x"}, "a.pkl", "may run code"),
        ({"a.gguf": b"PK\3\4"}, "a.gguf", "no GGUF file"),
        ({"a.gguf": b""}, "a.gguf", "no GGUF file"),
        ({"a.txt": b"x"}, "", "no GGUF and no safetensors"),
        ({"a.gguf": b"GGUF", "b.gguf": b"GGUF"}, "", "2 GGUF models"),
        ({"a.safetensors": b"x"}, "", "lacks config.json"),
        ({"a.safetensors": b"x"}, "a.safetensors", "not enough"),
        ({"a.safetensors": b"", "config.json": b"{}"}, "", "is empty"),
        ({}, "nothing.gguf", "no such file"),
    ],
)
def test_what_is_no_model_is_refused_with_the_reason(tmp_path: Path, files: dict[str, bytes], path: str, words: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PaddockError) as caught:
        weights_of(f"{tmp_path}/{path}")
    failure = caught.value.failure
    assert words in failure.what and failure.where and failure.remedy and not controls(failure.what + failure.where)


def test_a_pickle_is_no_model_for_the_command(server: FaultServer, run: Run, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    said = run("import", str(tmp_path / "pytorch_model.bin"), "mine")
    assert said.code == 1 and "may run code" in said.err and "safetensors" in said.err and not server.requests
    assert not controls(run("import", f"/nowhere/{HOSTILE}", "mine").err)


def test_what_looks_like_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks_like_path("/a") and looks_like_path("./a") and looks_like_path("~/a") and looks_like_path("a.GGUF")
    assert not looks_like_path("qwen3:8b") and not looks_like_path("hf.co/a/b:c")


# --- update --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(server: FaultServer, registry: FakeRegistry) -> FakeRegistry:
    """tiny is old, mine/other the newest, own was made here, far runs in a cloud."""
    digest = registry.add("mine/other", [("model", 1_000_000)])

    async def tags(exchange: Exchange) -> None:
        known = (("tiny:latest", "ab" * 32), ("mine/other:latest", digest), ("own:latest", "cd" * 32))
        found = [{"name": name, "model": name, "size": 5, "digest": digest, "details": {}} for name, digest in known]
        cloud = {
            "name": "far:cloud",
            "model": "far:cloud",
            "size": 5,
            "digest": "ef" * 32,
            "remote_host": "https://ollama.com",
            "details": {},
        }
        await exchange.json({"models": [*found, cloud]})

    server.routes["/api/tags"] = tags
    return registry


def test_update_all_queues_what_the_registry_has_newer(installed: FakeRegistry, run: Run, home: Path) -> None:
    said = run("update", "--all")
    assert said.code == 0 and "tiny:latest is queued as 1" in said.err and "own" not in said.err
    (job,) = queued(run)
    assert job["model"] == "tiny:latest" and job["kind"] == "pull" and job["asked_by"] == "command line, update"


def test_update_all_leaves_pinned_models_alone_and_says_so(installed: FakeRegistry, run: Run, configure, server: FaultServer) -> None:
    configure('[models]\npinned = ["tiny"]\n' + provider("box", server.url))
    said = run("update", "--all")
    assert said.code == 0
    assert "Not looked at, because models.pinned names it: tiny:latest.\n" in said.err
    assert not queued(run)
    said = run("update", "tiny")
    assert said.code == 3 and "tiny:latest is pinned: it is never updated" in said.err and not queued(run)


def test_update_of_one_says_where_nothing_is_newer(installed: FakeRegistry, run: Run) -> None:
    assert run("update", "mine/other").err == "mine/other:latest is the newest already.\n"
    said = run("update", "own")
    assert said.code == 1 and "own" in said.err and not queued(run)
    assert run("update", "nothere").code == 1
    found = run("update", "mine/other", "--json").json
    assert found == {"jobs": [], "refused": [], "plans": [], "current": ["mine/other:latest"]}


def test_update_without_a_registry_does_not_pretend(
    installed: FakeRegistry, run: Run, monkeypatch: pytest.MonkeyPatch, configure: Any
) -> None:
    monkeypatch.setenv("PADDOCK_REGISTRY", "http://127.0.0.1:9")
    said = run("update", "--all")
    assert said.code == 1 and said.err.count("it is not known whether there is a newer one") == 3 and not queued(run)
    said = run("update", "tiny")
    assert said.code == 0 and len(queued(run)) == 1
    monkeypatch.setenv("PADDOCK_GENERAL__NETWORK", "offline")
    assert run("update", "--all").code == 3


def test_update_all_where_nothing_is_newer(installed: FakeRegistry, run: Run) -> None:
    installed.fault("tiny", error(404, "no such model"))
    said = run("update", "--all")
    assert said.code == 0 and said.err == "Nothing to update: 1 model is the newest already.\n"


# --- with a server and a worker -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("slow_ollama")
def test_a_real_worker_makes_sends_and_pushes(run: Run, tmp_path: Path) -> None:
    said = run("create", "brief", "--from", "qwen3:8b", "--system", "Be brief.", "--wait")
    assert said.code == 0 and "brief:latest is made on ollama" in said.err
    assert "Be brief." in run("show", "brief").out
    gguf(tmp_path / "weights.gguf", b"GGUF\3\0\0\0" + bytes(64))
    said = run("import", str(tmp_path / "weights.gguf"), "mine", "--wait", "--json")
    assert said.code == 0 and json.loads(said.lines[-1])["job"]["state"] == "done"
    assert "mine:latest" in run("ls").out
    said = run("push", "brief", "--wait")
    assert "brief:latest" in said.err and said.code in (0, 1)
    kinds = [job["kind"] for job in run("pulls", "history", "--json").json["history"]]
    assert kinds == ["push", "upload", "create"]
