"""Reading a models folder that belongs to a server, which changes it meanwhile."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from tests.support.models_folder import Folder
from tui.core.errors import FailureKind, PaddockError
from tui.providers import ollama_folder
from tui.providers.ollama_folder import FolderReader

HEX = "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "models")


def test_models_blobs_and_what_no_model_uses(folder: Folder) -> None:
    digest = folder.model("qwen3:8b", model=b"weights", template=b"text")
    folder.model("hf.co/org/repo:Q4_K_M", model=b"weights", license=b"free")
    lost = folder.blob(b"nobody's")
    found = FolderReader(folder.path).read()
    assert [model.name for model in found.models] == ["hf.co/org/repo:Q4_K_M", "qwen3:8b"]
    assert found.models[1].digest == digest
    assert [(layer.kind, layer.size) for layer in found.models[1].layers] == [("weights", 7), ("template", 4), ("config", 18)]
    assert found.whole
    assert not found.damaged
    assert [(blob.digest, blob.size) for blob in found.unused()] == [(lost, 8)]


def test_unfinished_downloads_count_what_is_allocated(folder: Folder) -> None:
    folder.partial(HEX, 50_000_000, 100_000)
    (folder.blobs / "sha256-123456").write_bytes(b"an upload")
    found = FolderReader(folder.path).read()
    (partial,) = found.partials
    assert (partial.digest, partial.total, partial.done) == (f"sha256:{HEX}", 50_000_000, 100_000)
    assert 100_000 <= partial.allocated < 1_000_000
    assert [path.name for path in partial.paths] == [f"sha256-{HEX}-partial", f"sha256-{HEX}-partial-0"]
    assert [file.path.name for file in found.others] == ["sha256-123456"]
    assert not found.blobs


def test_a_range_that_lies_counts_nothing(folder: Folder) -> None:
    folder.partial(HEX, 1_000_000, 4096)
    for number, text in enumerate(('{"Size": "x"}', "[", '{"Size": -5, "Completed": 1}', "9" * 5000), 1):
        (folder.blobs / f"sha256-{HEX}-partial-{number}").write_text(text)
    (partial,) = FolderReader(folder.path).read().partials
    assert (partial.total, partial.done) == (1_000_000, 4096)


def test_what_did_not_change_is_not_read_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.model("a:1", model=b"one")
    folder.model("b:1", model=b"two")
    reader = FolderReader(folder.path)
    reader.read()
    opened: list[Path] = []
    read = ollama_folder._read
    monkeypatch.setattr(ollama_folder, "_read", lambda path, limit: opened.append(path) or read(path, limit))
    folder.write("b:1", json.dumps({"layers": []}).encode())
    found = reader.read()
    assert opened == [folder.manifest("b:1")]
    assert [(model.name, model.size) for model in found.models] == [("a:1", 16), ("b:1", 0)]


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"", "it is not JSON"), (b"\xff\xfe{", "it is not JSON"), (b"[]", "it is no manifest: it lists no layers"),
     (b'{"layers": [{"digest": "sha256:x", "size": 1}]}', "a layer has no digest"), (b"{" * 100_000, "it is not JSON")],
)  # fmt: skip
def test_X13_a_manifest_that_is_none_is_named_and_nothing_is_called_unused(folder: Folder, body: bytes, why: str) -> None:
    folder.model("good:1", model=b"good")
    folder.write("bad:1", body)
    folder.blob(b"whose?")
    found = FolderReader(folder.path).read()
    assert [model.name for model in found.models] == ["good:1"]
    assert [(trouble.where, trouble.why) for trouble in found.troubles] == [("manifests/registry.ollama.ai/library/bad/1", why)]
    assert found.damaged
    assert not found.whole
    assert found.unused() == ()


def test_X13_a_manifest_of_more_than_four_megabytes_is_not_read(folder: Folder) -> None:
    folder.write("huge:1", b'{"layers": [' + b" " * (ollama_folder.MAX_MANIFEST + 1) + b"]}")
    found = FolderReader(folder.path).read()
    assert [trouble.why for trouble in found.troubles] == ["it is larger than 4096 KB"]
    assert not found.whole


def test_X01_names_that_are_none_are_shown_cleaned(folder: Folder) -> None:
    top = folder.path / "manifests" / "registry.ollama.ai" / "library"
    top.mkdir(parents=True)
    for name in (b"\xff\xfe", b"ev\x1b[31mil", "a\u202eb".encode(), b".hidden"):
        place = top / os.fsdecode(name)
        place.mkdir()
        (place / "latest").write_bytes(b'{"layers": []}')
    (folder.blobs / os.fsdecode(b"sha256-\xff")).write_bytes(b"x")
    (folder.path / "manifests" / "README").write_text("no folder")
    found = FolderReader(folder.path).read()
    assert not found.models
    assert len(found.troubles) == 4
    assert all(trouble.why == "its path is no model name" for trouble in found.troubles)
    assert all(text.isprintable() and "\x1b" not in text for text in (trouble.where for trouble in found.troubles))
    assert not found.damaged


def test_links_and_loops_end(folder: Folder) -> None:
    folder.model("real:1", model=b"weights")
    manifests = folder.path / "manifests"
    (manifests / "loop").symlink_to(manifests)
    (manifests / "registry.ollama.ai" / "library" / "again").symlink_to(manifests / "registry.ollama.ai" / "library" / "real")
    (manifests / "registry.ollama.ai" / "library" / "circle").symlink_to("circle")
    elsewhere = folder.path.parent / "elsewhere"
    elsewhere.write_bytes(b"big")
    (folder.blobs / f"sha256-{HEX}").symlink_to(elsewhere)
    (folder.blobs / f"sha256-{'b' * 64}").symlink_to("nowhere")
    os.mkfifo(folder.blobs / f"sha256-{'c' * 64}")
    os.mkfifo(manifests / "registry.ollama.ai" / "library" / "real" / "pipe")
    found = FolderReader(folder.path).read()
    # the folder is read under the name that comes first, and once
    assert len([model for model in found.models if model.size == 7 + len("config of real:1")]) == 1
    blob = found.blobs[f"sha256:{HEX}"]
    assert (blob.link, blob.size, blob.allocated) == (True, 3, 0)
    why = {trouble.where.rpartition("/")[2]: trouble.why for trouble in found.troubles}
    assert why[f"sha256-{'b' * 64}"] == "its link leads nowhere"
    assert why[f"sha256-{'c' * 64}"] == "it is no file"
    assert why["circle"] == "its link leads to itself"
    assert why["pipe"] == "it is no file"


def test_a_folder_that_vanishes_while_it_is_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        folder.model(f"m{number:02}:1", model=b"same")
    gone = iter(range(1))

    def rest() -> None:
        for _once in gone:
            for path in sorted((folder.path / "manifests").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()

    found = FolderReader(folder.path, rest).read()
    assert 0 < len(found.models) < 30
    assert not found.troubles


def test_no_folder_no_permission_and_no_file_are_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(PaddockError) as caught:
        FolderReader(tmp_path / "no\x1bthing").read()
    assert caught.value.failure.kind is FailureKind.NOT_FOUND
    assert "\x1b" not in caught.value.failure.sentence()
    assert caught.value.failure.remedy
    (tmp_path / "file").write_text("x")
    assert not FolderReader(tmp_path / "file").read().whole
    assert FolderReader(tmp_path).read().whole  # a server that never pulled has neither folder


def test_D_a_folder_of_the_systems_account_may_be_closed_to_us(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.model("a:1", model=b"one")
    scandir = os.scandir

    def closed(path: Path | int) -> object:
        if not isinstance(path, int) and Path(path).name in ("library", "blobs"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(ollama_folder.os, "scandir", closed)
    found = FolderReader(folder.path).read()
    assert not found.models
    assert not found.whole
    assert not found.damaged
    assert {(trouble.where, trouble.why) for trouble in found.troubles} == {
        ("manifests/registry.ollama.ai/library", "no permission"), ("blobs", "no permission"),
    }  # fmt: skip


def test_five_thousand_manifests_give_others_their_turn(folder: Folder) -> None:
    digest = folder.blob(b"weights")
    body = json.dumps({"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": 7}]}).encode()
    place = folder.path / "manifests" / "registry.ollama.ai" / "library"
    for number in range(50):
        (place / f"m{number}").mkdir(parents=True)
        for tag in range(100):
            (place / f"m{number}" / f"t{tag}").write_bytes(body)
    turns = threading.Semaphore(0)
    found = FolderReader(folder.path, turns.release).read()
    assert len(found.models) == 5000
    assert turns._value >= 5000 // ollama_folder.REST_EVERY
