"""verify and clean, against a server over a real folder."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Background, Run, Said, provider
from tests.support.models_folder import Folder, FolderServer
from tui.cli.output import DONE, FAILED, INTERRUPTED, NO_PROVIDER, REFUSED, USAGE
from tui.config.paths import find_paths
from tui.core.errors import PaddockError
from tui.services.library import disk_clean
from tui.services.library.disk_clean import Cleaned
from tui.services.library.keeping_moves import Mover
from tui.store.blob_checks import BlobChecks
from tui.store.db import Database

TRASH = "trash-1794000000.paddock/library/gone:1"


class World(FolderServer):
    @property
    def names(self) -> set[str]:
        return {path.name for path in self.folder.blobs.iterdir()}


@pytest.fixture
def world(background: Background, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    folder = Folder(home / "ollama-models")
    found = World(folder)
    background.run(found.server.start())
    monkeypatch.setenv("OLLAMA_HOST", found.url)
    monkeypatch.setenv("OLLAMA_MODELS", str(folder.path))
    folder.model("a:1", model=b"w" * 100_000, template=b"t")
    folder.model("b:1", model=b"w" * 100_000)
    yield found
    background.run(found.server.stop())


def rot(folder: Folder, content: bytes) -> None:
    path = folder.blobs / folder.blob(content).replace(":", "-")
    path.write_bytes(b"X" + content[1:])


def test_clean_dry_run_prints_the_disk_and_deletes_nothing(world: World, run: Run) -> None:
    world.folder.model(TRASH, model=b"v" * 70_000)
    world.folder.blob(b"lost" * 10_000)
    world.folder.partial("b" * 64, 9_000_000, 20_000)
    before = world.names
    said = run("clean", "--dry-run")
    assert said.code == DONE
    assert "2 models" in said.lines[1]
    assert "100 kB of it shared" in said.lines[1]
    assert "trash, 1 model" in said.out
    assert "70 kB  kept until you empty it" in said.out
    assert "unfinished pulls, 1" in said.out
    assert "1 not in the queue" in said.out
    assert "blobs no model uses, 1" in said.out
    assert "gone as ollama restarts" in said.out
    assert str(world.folder.path) in said.err
    said = run("clean", "--dry-run", "--json")
    (disk,) = said.json["disks"]
    assert disk["exact"]
    assert [row["kind"] for row in disk["rows"]] == ["models", "trash", "partials", "unused"]
    assert world.names == before
    assert not world.deleted


def test_clean_dry_run_shows_only_what_was_asked_for(world: World, run: Run) -> None:
    said = run("clean", "trash", "--dry-run")
    assert said.code == DONE and not said.out and "There is nothing to clean." in said.err
    world.folder.model(TRASH, model=b"v" * 70_000)
    world.folder.blob(b"lost" * 10_000)
    world.folder.partial("b" * 64, 9_000_000, 20_000)

    def kinds(*words: str) -> list[str]:
        (disk,) = run("clean", *words, "--dry-run", "--json").json["disks"]
        return [row["kind"] for row in disk["rows"]]

    assert kinds("trash") == ["trash"]
    assert kinds("pulls") == ["partials"]
    assert kinds("blobs", "trash") == ["trash", "unused"]
    said = run("clean", "pulls", "--dry-run")
    assert said.code == DONE
    assert [line.split("  ")[0] for line in said.lines] == ["WHAT", "unfinished pulls, 1"]
    assert len(run("clean", "--dry-run").lines) == 5


def test_P12_clean_names_a_server_that_does_not_answer(world: World, run: Run, configure: Callable[[str], None]) -> None:
    configure(provider("here", world.url) + provider("gone", "http://127.0.0.1:9"))
    said = run("clean", "--yes")
    assert said.code == FAILED
    assert "gone: " in said.err and "There is nothing to clean on the providers that answered." in said.err
    said = run("clean", "--yes", "--json")
    assert said.code == FAILED and not said.json["ok"] and said.json["deleted"] == []
    assert said.json["failures"][0]["what"].startswith("gone: ")
    said = run("clean", "--dry-run", "--json")
    assert said.code == FAILED and len(said.json["disks"]) == len(said.json["failures"]) == 1
    assert run("clean", "--dry-run", "--on", "here", "--json").json["failures"] == []
    world.folder.model(TRASH, model=b"v" * 70_000)
    said = run("clean", "trash", "--yes", "--json")
    assert said.code == FAILED and said.json["deleted"] == [TRASH] and len(said.json["failures"]) == 1
    assert run("clean", "--yes", "--on", "gone").code == NO_PROVIDER


def test_P12_verify_all_names_a_server_that_does_not_answer(world: World, run: Run, configure: Callable[[str], None]) -> None:
    configure(provider("here", world.url) + provider("gone", "http://127.0.0.1:9"))
    said = run("verify", "--all", "--json")
    assert said.code == FAILED and {check["verdict"] for check in said.json["checks"]} == {"good"}
    assert said.json["failures"][0]["what"].startswith("gone: ")
    said = run("verify", "--all", "--on", "here", "--json")
    assert said.code == DONE and said.json["failures"] == []


def test_clean_asks_and_takes_what_no_model_needs(world: World, run: Run) -> None:
    world.folder.model(TRASH, model=b"v" * 70_000)
    lost = world.folder.blob(b"lost" * 10_000)
    young = world.folder.blob(b"young", age=60)
    world.folder.partial("b" * 64, 9_000_000, 20_000)
    assert run("clean").code == REFUSED  # nobody to ask
    assert run("clean", "everything", "--yes").code == USAGE
    said = run("clean", "--yes")
    assert said.code == DONE
    assert world.deleted == [TRASH]
    assert lost.replace(":", "-") not in world.names
    assert young.replace(":", "-") in world.names
    assert f"{young[7:19]} stays: it is younger than an hour" in said.err
    assert "3 things deleted" in said.err
    said = run("clean", "blobs", "--yes", "--json")
    assert len(said.json["deleted"]) == 2  # what the emptied trash left: this server prunes only as it starts
    assert said.json["left"]


def test_clean_respects_access_and_a_folder_that_is_not_ours(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = world.folder.blob(b"lost" * 10_000)
    assert run("clean", "--yes", readonly=True).code == REFUSED
    assert run("clean", "--dry-run", readonly=True).code == DONE
    monkeypatch.setattr("tui.services.library.disk_read.os.access", lambda _path, _mode: False)
    said = run("clean", "--yes")
    assert said.code == DONE
    assert "The files of ollama stay: our account may not change" in said.err
    assert lost.replace(":", "-") in world.names


def test_clean_ended_by_ctrl_c_says_what_went(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = [world.folder.blob(bytes([number]) * 20_000) for number in range(3)]
    unlink, work = disk_clean._unlink, disk_clean.clean_files
    stopped: list[Callable[[], bool]] = []

    def cleaning(*given: Any, **more: Any) -> Cleaned:
        stopped.append(more["stopped"])
        return work(*given, **more)

    def ends_us(paths: tuple[Path, ...]) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        limit = time.monotonic() + 10
        while not stopped[-1]() and time.monotonic() < limit:
            time.sleep(0.001)
        return unlink(paths)

    monkeypatch.setattr(disk_clean, "clean_files", cleaning)
    monkeypatch.setattr(disk_clean, "_unlink", ends_us)
    said = run("clean", "--yes")
    assert said.code == INTERRUPTED
    assert "Stopped: 1 thing deleted, 20 kB freed." in said.err
    there = [digest for digest in lost if (world.folder.blobs / digest.replace(":", "-")).exists()]
    assert len(there) == 2
    said = run("clean", "--yes", "--json")
    assert said.code == INTERRUPTED
    assert not said.json["ok"] and len(said.json["deleted"]) == 1


def test_clean_counts_what_went_of_a_trash_before_its_server_failed(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    world.folder.model(TRASH, model=b"v" * 70_000)
    world.folder.model("trash-1794000001.paddock/library/lost:1", model=b"x" * 30_000)
    drop = Mover.drop
    dropped: list[str] = []

    async def fails(self: Mover, key: str, what: str = "delete for good") -> None:
        if dropped:
            raise PaddockError.of("It hung up", "ollama", "Try again")
        dropped.append(key)
        await drop(self, key, what)

    monkeypatch.setattr(Mover, "drop", fails)
    said = run("clean", "trash", "--yes", "--json")
    assert said.code == FAILED
    assert said.json["deleted"] == dropped and said.json["failures"][0]["what"] == "It hung up"
    size = 70_000 if dropped == [TRASH] else 30_000
    assert size <= said.json["freed"] < size + 5_000  # with its manifest's small layers


# --- where a model is from, and what deleting it frees ----------------------------------------------------------------


def about(said: Said, *names: str) -> list[str]:
    found = dict(line.partition("  ")[::2] for line in said.lines if line)
    return [found.get(name, "").strip() for name in names]


def test_show_tells_origin_and_what_deleting_frees(world: World, run: Run) -> None:
    world.folder.model("hf.co/org/repo:Q4_K_M", model=b"h" * 9000)
    world.folder.model("mine/alone:1", model=b"m" * 5000)
    world.folder.model("version-1794000000.paddock/library/b:1", model=b"v" * 4000)
    assert about(run("show", "a:1"), "origin", "disk") == [
        "registry.ollama.ai, by its name", "deleting frees 14 B of 100 kB (100 kB shared with b:1)",
    ]  # fmt: skip
    assert about(run("show", "b:1"), "origin") == ["registry.ollama.ai, by its name; previous version kept"]
    assert about(run("show", "hf.co/org/repo:Q4_K_M"), "origin", "disk") == [
        "hf.co/org/repo, by its name; not scanned: nobody vouches for it", "deleting frees 9.0 kB",
    ]  # fmt: skip
    assert about(run("show", "mine/alone:1"), "origin") == [
        "registry.ollama.ai, of its user mine, by its name; not scanned: nobody vouches for it"
    ]
    told = run("show", "a:1", "--json").json
    assert told["origin"] == {"kind": "registry", "text": "registry.ollama.ai, by its name", "scanned": True}
    assert told["disk"] == {"size": 100_014, "frees": 14, "shared": 100_000, "shared_with": ["b:1"], "exact": True}
    assert run("show", "hf.co/org/repo:Q4_K_M", "--json").json["origin"]["scanned"] is False


def test_show_goes_by_the_servers_digests_where_its_folder_cannot_be_read(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    world.folder.model("other:1", model=b"o" * 100_000)
    monkeypatch.setenv("OLLAMA_MODELS", "/nowhere")
    monkeypatch.setattr("tui.services.library.disk_read.OLLAMA_FOLDERS", ())
    told = run("show", "b:1", "--json").json["disk"]
    assert not told["exact"] and told["shared_with"] == ["a:1"] and told["frees"] < 1000
    assert about(run("show", "other:1"), "disk") == ["deleting frees about 100 kB"]
    monkeypatch.setattr("tui.services.library.disk_use.shares", lambda *_args: {})
    assert run("show", "b:1", "--json").json["disk"] is None
    assert about(run("show", "b:1"), "disk") == [""]


def test_verify_tells_what_is_damaged_by_its_exit_code(world: World, run: Run) -> None:
    said = run("verify", "a:1")
    assert said.code == DONE
    assert "a:1 on ollama: good: 3 blobs, 100 kB, are what their digests say." in said.err
    rot(world.folder, b"t")
    said = run("verify", "--all", "--json")
    assert said.code == FAILED
    found = {check["model"]: check["verdict"] for check in said.json["checks"]}
    assert found == {"a:1": "damaged", "b:1": "good"}
    said = run("verify", "a:1")
    assert said.code == FAILED
    assert "DAMAGED: template" in said.err
    assert "Pulling alone would not mend it" in said.err
    assert run("verify").code == USAGE
    assert run("verify", "never:1").code == FAILED


def test_verify_forgets_what_was_found_of_blobs_that_are_gone(world: World, run: Run, home: Path) -> None:
    def known() -> set[str]:
        database = Database(find_paths().database, read_only=True)
        try:
            return set(BlobChecks(database).of(str(world.folder.path)))
        finally:
            database.close()

    assert run("verify", "--all").code == DONE
    lost = world.folder.blob(b"t")
    assert lost in known()
    (world.folder.blobs / lost.replace(":", "-")).unlink()
    assert run("verify", "b:1").code == DONE
    assert lost not in known() and world.folder.blob(b"w" * 100_000) in known()


def test_verify_without_the_folder_asks_the_server(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", "/nowhere")
    monkeypatch.setattr("tui.services.library.disk_read.OLLAMA_FOLDERS", ())
    said = run("verify", "a:1")
    assert said.code == DONE
    assert "not read: the server has its weights" in said.err
    assert world.heads
    said = run("clean", "--dry-run")
    assert "not known: the server does not tell" in said.out


def test_D_verify_works_where_nothing_can_be_stored(world: World, run: Run, home: Path, configure: Callable[[str], None]) -> None:
    data = home / "data"
    data.mkdir()
    (data / "paddock.db").mkdir()
    said = run("verify", "b:1")
    assert said.code == DONE
    assert "b:1 on ollama: good" in said.err


def test_five_hundred_models_take_a_moment(world: World, run: Run) -> None:
    body = world.folder.manifest("a:1").read_bytes()
    for number in range(500):
        world.folder.write(f"m{number}:1", body)
    os.utime(world.folder.path, (time.time(), time.time()))
    began = time.process_time()
    said = run("clean", "--dry-run", "--json")
    assert time.process_time() - began < 3.0
    (disk,) = json.loads(said.out)["disks"]
    models = disk["rows"][0]
    assert len(models["items"]) == 502
    assert models["size"] < 210_000
