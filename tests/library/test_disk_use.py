"""What models share, what deleting frees, and whose folder it is."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.models_folder import HOUR, Folder
from tui.config.settings import Settings, build
from tui.core.disk import DiskKind, DiskUse
from tui.core.errors import FailureKind
from tui.core.jobs import Job, JobKind, JobState, JobWish, Layer
from tui.core.library import EventKind, ModelEvent, ModelOrigin, OriginKind, UpdateState, UpdateStatus
from tui.core.models import Endpoint, Model
from tui.providers.ollama_folder import FolderReader
from tui.services.library import disk_read, disk_use, disk_words
from tui.services.library.disk_origin import origin_of
from tui.services.library.disk_read import DiskReader, Look, Process, use_of

NOW = 1_795_000_000.0
TRASH = "trash-1794000000.paddock/library/gone:1"
BOX = Endpoint("box", "ollama", "http://127.0.0.1:11434")


def job(state: JobState, digest: str = "", done: int = 0, number: int = 1) -> Job:
    layers = (Layer(digest, 1000, done),) if digest else ()
    return Job(number, JobKind.PULL, "big:70b", BOX, {}, JobWish.RUN, state, 0, layers=layers, done=done, total=1000)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "models")


def used(folder: Folder, jobs: tuple[Job, ...] = (), **changes: Any) -> DiskUse:
    look = Look(FolderReader(folder.path).read(), free=5, writable=True)
    return use_of("box", folder.listed(), look, {}, jobs, {TRASH: NOW + 86_400}, now=NOW, **changes)[0]


def test_by_manifests_shared_blobs_count_once(folder: Folder) -> None:
    folder.model("a:1", model=b"w" * 1000, template=b"t" * 10)
    folder.model("b:1", model=b"w" * 1000, template=b"u" * 20)
    folder.copy("a:1", TRASH)
    models = folder.listed()
    parts = disk_use.parts_by_folder(models, FolderReader(folder.path).read())
    found = disk_use.shares(models, parts)
    a, b = found["a:1"], found["b:1"]
    config = len("config of a:1")
    assert (a.size, a.own, a.shared, a.exact) == (1010 + config, 0, 1010 + config, True)
    assert a.shared_with == ("b:1", TRASH)
    assert (b.own, b.shared, b.shared_with) == (20 + config, 1000, ("a:1", TRASH))
    assert parts.freed(["a:1"]) == 0
    assert parts.freed(["a:1", TRASH]) == 10 + config
    assert parts.freed(["a:1", "b:1", TRASH]) == parts.size(["a:1", "b:1"]) == 1030 + 2 * config
    words = disk_words.frees(a)
    assert words == "deleting frees nothing: all 1.0 kB shared with b:1, gone:1 in the trash"


def test_five_thousand_models_with_one_licence_take_a_moment() -> None:
    names = [f"m{number}:1" for number in range(5000)]
    of = {name: frozenset({"licence", name, f"pair {number // 2}"}) for number, name in enumerate(names)}
    sizes = {part: 11_000 if part == "licence" else 10**9 for parts in of.values() for part in parts}
    began = time.process_time()
    parts = disk_use._parts(of, sizes, exact=True)
    found = disk_use.shares([Model("box", name, name, 1, "d") for name in names], parts)
    assert time.process_time() - began < 1.0
    assert found["m7:1"].shared_with == ("m6:1",)
    assert disk_words.frees(found["m7:1"]) == "deleting frees 1.0 of 2.0 GB (1.0 GB shared with m6:1)"
    assert parts.freed(names) == sum(sizes.values())


def test_rows_say_what_each_would_free(folder: Folder) -> None:
    folder.model("a:1", model=b"w" * 50_000)
    folder.model(TRASH, model=b"v" * 70_000)
    folder.blob(b"lost" * 10_000)
    folder.partial("a" * 64, 9_000_000, 20_000)
    folder.partial("b" * 64, 1_000, 10_000)
    use = used(folder, (job(JobState.PAUSED, f"sha256:{'b' * 64}", 10),), version="0.24.0")
    rows = {row.kind: row for row in use.rows}
    assert [kind for kind in DiskKind if kind in rows] == [DiskKind.MODELS, DiskKind.TRASH, DiskKind.PARTIALS, DiskKind.UNUSED]
    assert rows[DiskKind.TRASH].freed == 70_000 + len(f"config of {TRASH}")
    assert rows[DiskKind.UNUSED].freed == 40_960
    assert {item.name: item.queued for item in rows[DiskKind.PARTIALS].items} == {"big:70b": "paused", f"blob {'a' * 12}": ""}
    assert use.exact
    assert use.folder == str(folder.path)

    def note(kind: DiskKind, use: DiskUse = use) -> str:
        return disk_words.note(rows[kind], use, NOW)

    assert disk_words.what(rows[DiskKind.TRASH]) == "trash, 1 model"
    assert note(DiskKind.TRASH) == f"emptied {disk_words.day(NOW + 86_400, NOW)}"
    assert note(DiskKind.PARTIALS) == "1 not in the queue"
    old = replace(rows[DiskKind.UNUSED], items=tuple(replace(item, at=NOW - 2 * HOUR) for item in rows[DiskKind.UNUSED].items))
    for changes, words in (
        ({"keeps": False}, "gone as box restarts"),
        ({}, "gone as box restarts, unless OLLAMA_NOPRUNE"),
        ({"keeps": True}, "box keeps it: OLLAMA_NOPRUNE"),
        ({"damaged": True}, "box keeps it while a manifest is damaged"),
    ):
        assert disk_words.note(old, replace(use, **changes), NOW) == words
    young = disk_words.goes(replace(use, keeps=False), old=False)
    assert young == "gone as box restarts, an hour from now"
    assert disk_words.goes(replace(use, keeps=False, version="0.20.9"), old=False) == "gone as box restarts"


def test_a_damaged_manifest_makes_nobody_call_a_blob_unused(folder: Folder) -> None:
    folder.model("a:1", model=b"w")
    folder.blob(b"lost")
    folder.write("bad:1", b"{")
    row = used(folder).row(DiskKind.UNUSED)
    assert row is not None
    assert not row.known
    assert row.freed is None


def test_without_the_folder_by_digests_and_weights() -> None:
    models = (
        Model("box", "a:1", "a:1", 1000, "d1"), Model("box", "b:1", "b:1", 1010, "d2"), Model("box", "copy:1", "copy:1", 1000, "d1"),
        Model("box", "c:1", "c:1", 500, "d3"), Model("box", "cloud", "cloud", 300, "d4", remote=True), Model("box", "x", "x", None, "d5"),
    )  # fmt: skip
    parts = disk_use.parts_by_digest(models, {"a:1": "w", "b:1": "w"})
    found = disk_use.shares(models, parts)
    assert set(found) == {"a:1", "b:1", "c:1", "copy:1"}
    assert (found["a:1"].own, found["a:1"].shared_with) == (0, ("b:1", "copy:1"))
    assert (found["b:1"].own, found["b:1"].shared, found["b:1"].exact) == (10, 1000, False)
    assert found["c:1"].own == 500
    assert parts.freed(["a:1", "copy:1"]) == 0
    assert parts.freed(["a:1", "b:1", "copy:1"]) == 1010
    look = Look(failure=None)
    use = use_of("box", models, look, {}, (job(JobState.PAUSED, "sha256:1", 400), job(JobState.DONE, "sha256:2", 1000, 2)), {})[0]
    partial, unused = use.row(DiskKind.PARTIALS), use.row(DiskKind.UNUSED)
    assert partial is not None
    assert unused is not None
    assert [(item.name, item.size, item.queued) for item in partial.items] == [("big:70b", 400, "paused")]
    assert not unused.known
    assert disk_words.note(unused, use, NOW) == "not known: the server does not tell"


# --- whose folder -----------------------------------------------------------------------------------------------------


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_read, "look_at", lambda _endpoint: Process(True))
    monkeypatch.setattr(disk_read, "OLLAMA_FOLDERS", ())


def test_a_folder_with_other_models_is_not_the_servers(folder: Folder, here: None) -> None:
    folder.model("a:1", model=b"w")
    reader = DiskReader({"OLLAMA_MODELS": str(folder.path)})
    assert reader.look(BOX, Settings(), folder.listed()).folder is not None
    other = reader.look(BOX, Settings(), (Model("box", "z:1", "z:1", 1, "d"),))
    assert other.folder is None
    assert other.failure is not None
    assert other.failure.what == "The folder holds other models than box lists"
    assert other.failure.remedy
    old = tuple(replace(model, digest="another") for model in folder.listed())
    assert reader.look(BOX, Settings(), old).folder is None


def test_the_systemd_service_names_its_folder(folder: Folder, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.model("a:1", model=b"w")
    units = tmp_path / "units"
    (units / "ollama.service.d").mkdir(parents=True)
    (units / "ollama.service").mkdir()  # no file
    text = f'[Service]\nEnvironment="OLLAMA_HOST=0.0.0.0" "OLLAMA_MODELS={folder.path}"\n'
    (units / "ollama.service.d" / "override.conf").write_text(text)
    monkeypatch.setattr(disk_read, "UNITS", (tmp_path / "none", units))
    look = DiskReader({}).look(BOX, Settings(), folder.listed())
    assert look.folder is not None
    assert look.folder.path == folder.path


def test_D_a_closed_folder_says_so_and_names_one_remedy(folder: Folder, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_self: FolderReader) -> None:
        raise disk_read.PaddockError.of("The models folder cannot be read: no permission", "/usr", "Join", FailureKind.FORBIDDEN)

    monkeypatch.setattr(FolderReader, "read", closed)
    look = DiskReader({"OLLAMA_MODELS": str(folder.path)}).look(BOX, Settings(), ())
    assert look.failure is not None
    assert look.failure.kind is FailureKind.FORBIDDEN


def test_servers_elsewhere_and_of_other_kinds_are_not_looked_for(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = DiskReader({"OLLAMA_MODELS": str(folder.path)})
    far = reader.look(replace(BOX, url="http://gpu2:11434"), Settings(), ())
    assert far.failure is not None
    assert "it runs elsewhere" in far.failure.what
    assert reader.look(replace(BOX, kind="vllm"), Settings(), ()).folder is None
    monkeypatch.setattr(disk_read, "look_at", lambda _endpoint: Process(False))  # an ssh tunnel
    assert reader.look(BOX, Settings(), ()).folder is None
    named = build({"providers": {"box": {"kind": "ollama", "url": BOX.url, "models_folder": str(folder.path)}}})
    assert reader.look(BOX, named, ()).folder is not None


# --- origin -----------------------------------------------------------------------------------------------------------


def _model(name: str) -> Model:
    return Model("box", name, name, 1, "d1")


def _event(kind: EventKind, text: str = "") -> ModelEvent:
    return ModelEvent("box", "m", kind, NOW, text)


@pytest.mark.parametrize(
    ("name", "events", "status", "kind", "text", "scanned"),
    [
        ("qwen3:8b", (), None, OriginKind.REGISTRY, "registry.ollama.ai, by its name", True),
        ("qwen3:8b", (EventKind.PULLED,), None, OriginKind.REGISTRY, "registry.ollama.ai", True),
        ("qwen3:8b", (), UpdateStatus.WEIGHTS, OriginKind.REGISTRY, "registry.ollama.ai", True),
        ("ann/m:1", (EventKind.PULLED,), None, OriginKind.REGISTRY, "registry.ollama.ai, of its user ann", False),
        ("hf.co/org/repo:Q4", (EventKind.UPDATED,), None, OriginKind.HUGGING_FACE, "hf.co/org/repo", False),
        ("my.host:5000/ns/m:1", (), None, OriginKind.OTHER, "my.host:5000/ns/m, by its name", False),
        ("mine:1", (EventKind.CREATED, EventKind.PULLED), None, OriginKind.UNKNOWN, "made here: from", False),
        ("mine:1", (EventKind.IMPORTED,), UpdateStatus.GONE, OriginKind.FILE, "a file of this machine: from", False),
        ("mine:1", (), UpdateStatus.GONE, OriginKind.UNKNOWN, "made or copied here: registry.ollama.ai has no model of this name", False),
        ("copy:1", (EventKind.COPIED,), UpdateStatus.CURRENT, OriginKind.REGISTRY, "registry.ollama.ai", True),
    ],
)
def test_origins(name: str, events: tuple[EventKind, ...], status: UpdateStatus | None, kind: OriginKind, text: str, scanned: bool) -> None:
    state = UpdateState(status, "d1", NOW) if status is not None else None
    assert origin_of(_model(name), [_event(kind, "from") for kind in events], state) == ModelOrigin(kind, text, scanned)


def test_X23_origin_of_names_that_are_none() -> None:
    assert origin_of(Model("box", "x", "a b/c/d/e")).kind is OriginKind.UNKNOWN
    assert origin_of(Model("vllm", "org/served", "org/served")).text == "its server does not say"
    other = UpdateState(UpdateStatus.CURRENT, "another digest", NOW)
    assert origin_of(_model("qwen3:8b"), (), other).text == "registry.ollama.ai, by its name"
    words = disk_words.origin(origin_of(_model("hf.co/org/repo:Q4")), "3 Sep", kept=1)
    assert words == "hf.co/org/repo, by its name, pulled 3 Sep; not scanned: nobody vouches for it; previous version kept"
