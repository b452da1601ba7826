"""Imports out of files and Modelfiles, exports, and the part that queues, backs up and restores."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.library.host import Host
from tests.library.kitchen import Kitchen
from tests.library.test_making_bake import NAME, Events, Keeping
from tests.support.screen import until
from tui.config.settings import build
from tui.core.errors import Failure, PaddockError
from tui.core.jobs import JobKind
from tui.core.kept import kept_of
from tui.core.modelfile import Modelfile, parse_modelfile
from tui.core.models import Endpoint
from tui.services.library.exporting import file_name, modelfile_text, weights_path, write_text
from tui.services.library.importing import Source, may_be_path, source_of
from tui.services.library.making import Making, Opened, Progress


def gguf(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF and so on")
    return path


# --- what is found at a path ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "path", "name", "kind"),
    [
        (["Qwen3-8B-Q4_K_M.gguf"], "Qwen3-8B-Q4_K_M.gguf", "qwen3-8b:q4_k_m", "GGUF"),
        (["Big Model-00001-of-00002.gguf", "Big Model-00002-of-00002.gguf"], "Big Model-00002-of-00002.gguf", "big-model:latest", "GGUF"),
        (["My Tensors/model.safetensors", "My Tensors/config.json"], "My Tensors", "my-tensors:latest", "safetensors"),
        (["模型.gguf"], "模型.gguf", "my-model:latest", "GGUF"),
    ],
)
def test_weights_get_a_name_out_of_theirs(tmp_path: Path, files: list[str], path: str, name: str, kind: str) -> None:
    for file in files:
        gguf(tmp_path / file)
    found = source_of(str(tmp_path / path))
    assert (found.name, found.kind, found.job) == (name, kind, JobKind.UPLOAD)
    assert list(found.groups["files"].values()) == sorted(str(tmp_path / file) for file in files) or kind == "safetensors"


def test_a_modelfile_means_a_model_or_files_beside_it(tmp_path: Path) -> None:
    gguf(tmp_path / "weights.gguf")
    gguf(tmp_path / "lora.gguf")
    gguf(tmp_path / "blobs" / ("sha256-" + "a" * 64))
    file = tmp_path / "Modelfile"
    file.write_text("FROM ./weights.gguf\nADAPTER lora.gguf\nSYSTEM Hi\nPARAMETER top_k 3\nPARAMETER mirostat 1")
    found = source_of(str(file))
    assert found.groups == {
        "files": {"weights.gguf": str(tmp_path / "weights.gguf")},
        "adapters": {"lora.gguf": str(tmp_path / "lora.gguf")},
    }
    assert (found.size, found.job, found.name) == (28, JobKind.UPLOAD, "weights:latest") and "mirostat" in found.notes[0]
    assert found.arguments({"system": "Other", "parameters": {"seed": 1}}) == {
        **found.groups,
        "system": "Other",
        "parameters": {"top_k": 3, "seed": 1},
    }
    file.write_text("FROM qwen3:8b\nPARAMETER top_k 3")
    found = source_of(str(file))
    assert (found.job, found.base, found.name) == (JobKind.CREATE, "qwen3:8b", "my-qwen3:latest")
    assert found.arguments() == {"from": "qwen3:8b", "parameters": {"top_k": 3}}
    file.write_text(f"FROM {tmp_path}/blobs/sha256-{'a' * 64}")
    assert list(source_of(str(file)).groups["files"]) == [f"sha256-{'a' * 64}.gguf"]
    assert may_be_path(str(file)) and not may_be_path("modelfile:8b")


@pytest.mark.parametrize("text", ["FROM qwen3:8b\n", "# comment\n\n  from qwen3:8b\r\nSYSTEM hi", "LICENSE x\nFROM qwen3:8b"])
def test_a_modelfile_of_any_name_is_known_by_its_from(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(text)
    assert source_of(str(file)).base == "qwen3:8b"


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("mine.txt", b"SYSTEM hi\n", "no GGUF file"),
        ("mine.txt", b"FROM\n", "no GGUF file"),
        ("mine.txt", b"\0\nFROM qwen3:8b\n", "no GGUF file"),
        ("model.bin", b"FROM qwen3:8b\n", "may run code"),
        ("model.gguf", b"FROM qwen3:8b\n", "no GGUF file"),
    ],
)
def test_what_has_no_from_or_says_weights_is_no_modelfile(tmp_path: Path, name: str, body: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(PaddockError) as caught:
        source_of(str(tmp_path / name))
    assert words in caught.value.failure.what + caught.value.failure.remedy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM ./nothere.gguf", "no such file"),
        ("FROM ./pytorch_model.bin", "may run code"),
        ("FROM ./weights.gguf\nADAPTER ./adapter.pt", "may run code"),
        ("FROM a\nFROM b", "names two models"),
        ("FROM a\nFROM ./weights.gguf", "a model and a file"),
        ("FROM a b c", "not a valid name"),
        ("FROM --host=0.0.0.0", "not a valid name"),
        ("FROM /etc/passwd", "no GGUF file"),
        ("FROM a\nDRAFT ./weights.gguf", "DRAFT is not taken"),
        ("FROM a\nHELLO", "no instruction"),
        ("FROM \x1b[31m", "no text holds"),
    ],
)
def test_X13_what_a_modelfile_may_not_name(tmp_path: Path, text: str, words: str) -> None:
    for name in ("weights.gguf", "pytorch_model.bin", "adapter.pt"):
        gguf(tmp_path / name)
    (tmp_path / "Modelfile").write_text(text)
    with pytest.raises(PaddockError, match=words) as caught:
        source_of(str(tmp_path / "Modelfile"))
    assert caught.value.failure.remedy and "\x1b" not in f"{caught.value.failure.what}{caught.value.failure.where}"


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    (tmp_path / "binary.Modelfile").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "Modelfile").mkdir()
    for path, words in (
        ("", "No file is named"),
        (str(tmp_path / "model.pt"), "may run code"),
        (str(tmp_path / "nothere.Modelfile"), "no such file"),
        (str(tmp_path / "Modelfile"), "not a file"),
        (str(tmp_path / "binary.Modelfile"), "not UTF-8"),
        ("a\0Modelfile", "not usable|no such file|cannot be read"),
    ):
        with pytest.raises(PaddockError, match=words):
            source_of(path)


# --- exports -------------------------------------------------------------------------------------------------------------


def test_a_modelfile_is_written_whole_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    made = Modelfile(("/m/blobs/sha256-" + "a" * 64,), (("top_k", 3),), "{{ .Prompt }}", 'a "quoted"\ntext', notes=("x is left out",))
    text = modelfile_text("qwen3:8b", made)
    assert parse_modelfile(text).system == made.system and "# x is left out\nFROM qwen3:8b" in text
    path = write_text(tmp_path / "a", text)
    assert path.read_text() == text
    with pytest.raises(PaddockError, match="already"):
        write_text(tmp_path / "a", "other")
    assert write_text(tmp_path / "a", "other", overwrite=True).read_text() == "other"
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert write_text(tmp_path / "link", "by the link", overwrite=True) == tmp_path / "a"
    assert (tmp_path / "link").is_symlink() and (tmp_path / "a").read_text() == "by the link"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for bad in (tmp_path / "pipe", tmp_path / "nowhere"):
        with pytest.raises(PaddockError, match="This is not a file"):
            write_text(bad, "x", overwrite=True)
    assert (tmp_path / "pipe").is_fifo() and not (tmp_path / "gone").exists()
    for bad in (tmp_path, tmp_path / "no" / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(PaddockError):
            write_text(bad, text, overwrite=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "link", "nowhere", "pipe"]
    assert file_name("hf.co/org/x:Q4") == "hf.co-org-x-Q4.Modelfile" and file_name("../..") == "model.Modelfile"


def test_the_weights_are_named_where_they_can_be_read(tmp_path: Path) -> None:
    blob = gguf(tmp_path / "blobs" / ("sha256-" + "a" * 64))
    url = "http://127.0.0.1:1"
    settings = build({"providers": {"box": {"url": url, "models_folder": str(tmp_path)}, "far": {"url": url, "location": "elsewhere"}}})
    made = Modelfile((f"/of/the/server/{blob.name}",))
    assert weights_path(Endpoint("box", "ollama", url), made, settings, tmp_path) == blob
    for endpoint, one, words in (
        (Endpoint("far", "ollama", url), made, "not on this machine"),
        (Endpoint("demo", "ollama", url), made, "demo has no weights"),
        (Endpoint("box", "ollama", url), Modelfile(("qwen3:8b",)), "does not name one file"),
        (Endpoint("box", "ollama", url), Modelfile(("/x/sha256-" + "b" * 64,)), "may not be read"),
    ):
        with pytest.raises(PaddockError, match=words):
            weights_path(endpoint, one, settings, None if endpoint.name == "far" else tmp_path)
    blob.write_bytes(b"no weights")
    with pytest.raises(PaddockError, match="or is no GGUF"):
        weights_path(Endpoint("box", "ollama", url), made, settings, tmp_path)


# --- the part ------------------------------------------------------------------------------------------------------------


class Queue:
    def __init__(self) -> None:
        self.added: list[tuple[Any, ...]] = []

    async def add(self, name: str, _endpoint: Any, kind: JobKind, arguments: Any, asked_by: str) -> None:
        self.added.append((name, kind, arguments, asked_by))


@pytest.fixture
async def kitchen() -> AsyncIterator[Kitchen]:
    found = Kitchen()
    await found.start()
    found.put(NAME, b"GGUF weights" * 1000, system="Be brief.")
    yield found
    await found.stop()


@pytest.fixture
async def desk(kitchen: Kitchen, tmp_path: Path) -> AsyncIterator[tuple[Making, Host, Queue]]:
    host, queue = Host(tmp_path / "home"), Queue()
    host.up("box", kitchen.url)
    host.providers["box"] = kitchen.provider()
    host.watching.can = lambda _provider, _capability: ""  # type: ignore[attr-defined]
    host.queue = lambda: queue  # type: ignore[attr-defined]
    yield Making(host, Keeping(), Events()), host, queue  # type: ignore[arg-type]
    await host.aclose()


async def test_an_import_is_queued_and_a_taken_name_asked_about(desk: tuple[Making, Host, Queue], kitchen: Kitchen, tmp_path: Path) -> None:
    making, host, queue = desk
    making.look_at(str(gguf(tmp_path / "new.gguf")))
    await until(lambda: making.source.value is not None)
    source = making.source.value
    assert isinstance(source, Source)
    making.make("box", "new", source)
    await until(lambda: queue.added)
    assert queue.added == [("new:latest", JobKind.UPLOAD, {"files": {"new.gguf": str(tmp_path / "new.gguf")}}, "library")]
    making.make("box", NAME, source)
    await until(lambda: host.asked)
    host.answers = ["replace"]
    making.make("box", NAME, source)
    await until(lambda: len(queue.added) == 2)
    assert [kept_of(name) is not None for name in kitchen.models] == [False, True], "what is there stays as a version"
    making.look_at(str(tmp_path / "model.pt"))
    await until(lambda: isinstance(making.source.value, Failure))
    assert not host.failures
    making.make("box", "third", Source("Modelfile", "x", "Modelfile", base="nothere:1b"))
    await until(lambda: host.failures)
    assert "nothere:1b is not installed on box" in str(host.failures[0]) and len(queue.added) == 2, "nothing is fetched unasked"


async def test_a_backup_and_back_through_the_part(desk: tuple[Making, Host, Queue], kitchen: Kitchen, tmp_path: Path) -> None:
    making, host, _queue = desk
    host.config.set("general.log_level", "debug")
    host.config.set_provider("box", {"url": kitchen.url, "models_folder": str(kitchen.write(tmp_path / "models"))})
    seen: list[Progress | None] = []
    making.progress.watch(seen.append)
    path = str(tmp_path / "b.tar")
    making.back_up([("box", NAME)], path)
    await until(lambda: host.said)
    assert "1 model with weights and the configuration" in host.said[0] and path in host.said[0]
    await until(lambda: making.progress.value is None)
    assert any(one is not None and one.total > 12_000 for one in seen)
    making.open_backup(path)
    await until(lambda: making.opened.value is not None)
    assert isinstance(making.opened.value, Opened)
    host.config.set("general.log_level", "info")
    del kitchen.models[NAME]
    making.restore(path, {("box", NAME): "box"}, config=True)
    await until(lambda: len(host.said) == 2)
    assert host.said[1] == f"Restored: {NAME}, the configuration" and kitchen.models[NAME]["system"] == "Be brief."
    assert host.settings().general.log_level == "debug"
    making.restore(path, {("box", NAME): "box"})
    await until(lambda: host.asked)
    await until(lambda: len(host.said) == 3)
    assert host.said[2] == "Nothing was restored"
    making.back_up([("box", NAME)], path)
    making.back_up([("box", "nothere")], str(tmp_path / "c"))
    making.open_backup(str(tmp_path / "nothere"))
    await until(lambda: isinstance(making.opened.value, Failure) and len(host.failures) >= 2)
    assert not (tmp_path / "c").exists() and making.ended.value == 5 and making.progress.value is None


async def test_one_that_was_ended_stays_ended_when_the_next_begins(desk: tuple[Making, Host, Queue]) -> None:
    making, host, _queue = desk
    seen = []

    async def work(_told: Any) -> None:
        seen.append(making._stop)

    await making._long("one", work)
    await making._long("other", work)
    assert seen[0] is not seen[1] and all(stop.is_set() for stop in seen) and not host.failures


async def test_exports_through_the_part(desk: tuple[Making, Host, Queue], tmp_path: Path) -> None:
    making, host, _queue = desk
    making.export_modelfile("box", NAME, str(tmp_path / "a"))
    await until(lambda: making.exported.value)
    assert making.exported.value == str(tmp_path / "a") and "SYSTEM Be brief." in (tmp_path / "a").read_text()
    (tmp_path / "a").write_text("mine")
    making.export_modelfile("box", NAME, str(tmp_path / "a"))
    await until(lambda: host.asked)
    assert (tmp_path / "a").read_text() == "mine"
    making.find_weights("box", NAME)
    await until(lambda: host.failures)
    assert making.exported.value == ""
