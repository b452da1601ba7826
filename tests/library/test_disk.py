"""The Library's part for disks, over a folder and a server on a real socket."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.library.host import Host
from tests.support.models_folder import HOUR, Folder, FolderServer
from tests.support.screen import until
from tui.core.disk import DiskKind, Verdict
from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import QueueView
from tui.core.library import EventKind, ModelEvent, OriginKind
from tui.core.models import Location, Model, ModelDetail, Origin
from tui.core.observe import Observable
from tui.demo.models import World as Demo
from tui.providers import ollama_folder
from tui.providers.factory import make_provider
from tui.services.library import disk as disk_module
from tui.services.library import disk_clean, disk_read, disk_verify
from tui.services.library.disk import Disk
from tui.store.blob_checks import BlobChecks

TRASH = "trash-1794000000.paddock/library/gone:1"


class Jobs:
    def __init__(self) -> None:
        self.view: Observable[Any] = Observable(QueueView())


class Other:
    """What the disk needs of other parts."""

    def __init__(self) -> None:
        self.history: Observable[Any] = Observable({})
        self.states: Observable[Any] = Observable({})
        self.kept: Observable[Any] = Observable(())
        self.weigher: Any = None
        self.noted: list[tuple[str, str, EventKind]] = []

    async def note(self, provider: str, model: str, kind: EventKind, text: str = "", digest: str = "") -> None:
        self.noted.append((provider, model, kind))


class World:
    def __init__(self, folder: Folder, host: Host, server: FolderServer) -> None:
        self.folder, self.host, self.server = folder, host, server
        self.other = Other()
        self.disk = Disk(host, self.other, self.other, self.other)  # type: ignore[arg-type]
        self.reasons: dict[str, str] = {}
        host.jobs = Jobs()  # type: ignore[attr-defined]
        host.watching.can = lambda provider, _capability: self.reasons.get(provider, "")  # type: ignore[attr-defined]

    def list(self) -> None:
        """The server's list came."""
        self.host.watching.models.set(tuple(one for one in self.folder.listed() if ".paddock/" not in one.key))
        self.host.watching.kept.set(tuple(one for one in self.folder.listed() if ".paddock/" in one.key))

    async def looked(self) -> Any:
        self.disk.attend(whole=True)
        await until(lambda: "box" in self.disk.uses.value)
        return self.disk.uses.value["box"]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(disk_module, "SETTLE", 0.0)
    monkeypatch.setattr(disk_module, "BETWEEN", 0.0)
    monkeypatch.setattr(disk_module, "DRAWN_EVERY", 0.001)
    monkeypatch.setattr(disk_read, "look_at", lambda _endpoint: disk_read.Process(True))
    folder = Folder(tmp_path / "models")
    server = FolderServer(folder)
    await server.server.start()
    host = Host(tmp_path / "home", url=server.url, environ={"OLLAMA_MODELS": str(folder.path)})
    host.providers["box"] = make_provider(host.watching.providers.value[0].endpoint, lambda _reference: "")
    found = World(folder, host, server)
    await found.disk.open(await host.open())
    yield found
    await found.disk.aclose()
    await host.aclose()
    await server.server.stop()


async def test_shares_and_origins_come_once_somebody_looks(world: World) -> None:
    world.folder.model("a:1", model=b"w" * 1000)
    world.folder.copy("a:1", TRASH)
    world.list()
    await world.disk.models_moved()
    assert not world.disk.uses.value
    use = await world.looked()
    assert use.exact
    assert use.free
    assert use.writable
    assert [row.kind for row in use.rows] == [DiskKind.MODELS, DiskKind.TRASH, DiskKind.PARTIALS, DiskKind.UNUSED]
    share = world.disk.shares.value["box", "a:1"]
    assert (share.own, share.shared_with) == (0, (TRASH,))
    assert world.disk.freed([("box", "a:1"), ("box", TRASH)]) == (share.size, True)
    assert world.disk.freed([("box", "never")]) is None
    assert world.disk.origins.value["box", "a:1"].kind is OriginKind.REGISTRY
    world.other.history.set({("box", "a:1"): (ModelEvent("box", "a:1", EventKind.IMPORTED, 1.0),)})
    assert world.disk.origins.value["box", "a:1"].kind is OriginKind.FILE
    world.folder.model("b:1", model=b"w" * 1000)
    world.list()
    await world.disk.models_moved()
    await until(lambda: ("box", "b:1") in world.disk.shares.value)


async def test_without_a_folder_the_weights_are_asked_for_once(world: World) -> None:
    world.folder.model("a:1", model=b"w" * 1000)
    world.folder.model("b:1", model=b"w" * 1000)
    world.folder.model("c:1", model=b"v" * 1000)
    state = world.host.watching.providers.value[0]
    world.host.watching.providers.set((replace(state, location=Location.ELSEWHERE),))
    world.list()
    world.host.watching.details.set({("box", "c:1"): ModelDetail("box", "c:1", weights_digest="cc")})
    use = await world.looked()
    assert not use.exact
    assert use.failure.remedy
    await until(lambda: world.disk.shares.value["box", "a:1"].shared_with == ("b:1",))
    await until(lambda: world.disk._work is not None and world.disk._work.done())
    assert sum(request.path == "/api/show" for request in world.server.server.requests) == 2
    assert not world.disk.shares.value["box", "a:1"].exact


async def test_the_demos_disk_is_simulated_by_its_server(world: World) -> None:
    home = world.host.paths.data.parent
    home.mkdir(parents=True, exist_ok=True)
    demo = Demo.open(home)
    demo.put("mine:latest", "qwen3:8b")
    world.host.watching.providers.set((replace(world.host.watching.providers.value[0], origin=Origin.DEMO),))
    listed = [Model("box", name, name, one["layers"][0][2], one["digest"]) for name, one in demo.disk()["models"].items()]
    world.host.watching.models.set(tuple(listed))
    use = await world.looked()
    assert (use.exact, use.simulated, use.folder) == (True, True, "/demo")
    assert world.disk.shares.value["box", "mine:latest"].shared_with == ("qwen3:8b",)
    assert len(use.row(DiskKind.PARTIALS).items) == len(use.row(DiskKind.UNUSED).items) == 1
    assert world.disk.can_clean("box") == "the demo's files are simulated"


async def test_a_demo_without_a_listing_has_no_folder(world: World) -> None:
    world.folder.model("a:1", model=b"w")
    world.host.watching.providers.set((replace(world.host.watching.providers.value[0], origin=Origin.DEMO),))
    world.list()
    use = await world.looked()
    assert not use.folder
    assert "simulated" in use.failure.what


async def test_verify_tells_damage_notes_it_and_remembers(world: World) -> None:
    world.folder.model("good:1", model=b"g" * 1000)
    world.folder.model("bad:1", model=b"b" * 1000)
    digest = world.folder.blob(b"b" * 1000)
    path = world.folder.blobs / digest.replace(":", "-")
    path.write_bytes(b"b" * 999 + b"X")
    world.list()
    await world.looked()
    world.disk.verify([("box", "good:1"), ("box", "bad:1")])
    await until(lambda: len(world.disk.checks.value.results) == 2 and not world.disk.checks.value.model)
    results = world.disk.checks.value.results
    assert results["box", "good:1"].verdict is Verdict.GOOD
    assert results["box", "bad:1"].bad == (digest,)
    assert world.other.noted == [("box", "good:1", EventKind.VERIFIED), ("box", "bad:1", EventKind.DAMAGED)]
    assert any(text.startswith("bad:1 is damaged: weights") for text in world.host.said)
    again = Disk(world.host, world.other, world.other, world.other)  # type: ignore[arg-type]
    assert world.host.database is not None
    await again.open(world.host.database)
    again.attend()
    await until(lambda: len(again.checks.value.results) == 2)
    assert again.checks.value.results["box", "bad:1"].verdict is Verdict.DAMAGED
    await again.aclose()


async def test_checks_of_blobs_that_are_gone_are_forgotten_where_all_could_be_read(world: World) -> None:
    world.folder.model("a:1", model=b"a" * 1000)
    world.folder.model("b:1", model=b"b" * 1000)
    world.list()
    await world.looked()
    world.disk.verify([("box", "a:1"), ("box", "b:1")])
    await until(lambda: len(world.disk.checks.value.results) == 2 and not world.disk.checks.value.model)
    assert world.host.database is not None
    kept, folder = BlobChecks(world.host.database), str(world.folder.path)
    lost = world.folder.blob(b"b" * 1000)
    assert lost in kept.of(folder)
    world.folder.write("strange:1", b"no manifest")
    (world.folder.blobs / lost.replace(":", "-")).unlink()
    before = world.disk.uses.value
    world.disk.refresh()
    await until(lambda: world.disk.uses.value is not before)
    assert lost in kept.of(folder)
    world.folder.manifest("strange:1").unlink()
    world.disk.refresh()
    await until(lambda: lost not in kept.of(folder))
    assert world.folder.blob(b"a" * 1000) in kept.of(folder)


async def test_D_a_full_disk_keeps_nobody_from_checking(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.folder.model("a:1", model=b"a" * 1000)
    world.folder.copy("a:1", TRASH)
    world.list()
    await world.looked()

    async def full(*_all: Any, **_more: Any) -> None:
        raise PaddockError.of("The disk is full", "paddock.db", "Make room", FailureKind.DISK)

    assert world.host.database is not None
    monkeypatch.setattr(world.host.database, "run", full)
    world.other.note = full  # type: ignore[method-assign]
    world.disk.verify([("box", "a:1"), ("box", TRASH)])
    await until(lambda: len(world.disk.checks.value.results) == 2 and not world.disk.checks.value.model)
    assert {check.verdict for check in world.disk.checks.value.results.values()} == {Verdict.GOOD}
    assert not world.host.failures


async def test_a_check_shows_where_it_is_and_can_be_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_verify, "PIECE", 100)
    world.folder.model("a:1", model=b"w" * 1000)
    world.folder.model("b:1", model=b"v" * 1000)
    world.list()
    await world.looked()
    go, hashed = threading.Event(), disk_verify.Reading._hash

    def slow(self: disk_verify.Reading, handle: int) -> str:
        self.done += 100
        go.wait(10)
        return hashed(self, handle)

    monkeypatch.setattr(disk_verify.Reading, "_hash", slow)
    world.disk.verify([("box", "a:1"), ("box", "b:1")])
    await until(lambda: world.disk.checks.value.done == 100)
    view = world.disk.checks.value
    assert (view.provider, view.model, view.waiting) == ("box", "a:1", 1)
    assert view.total == 2 * (1000 + len("config of a:1"))
    await world.disk.aclose()
    await until(lambda: not world.disk.checks.value.model)
    go.set()
    assert not world.disk.checks.value.results


async def test_cleaning_deletes_files_where_that_is_allowed(world: World) -> None:
    world.folder.model("a:1", model=b"w")
    lost = world.folder.blob(b"lost" * 5000)
    world.list()
    use = await world.looked()
    assert use.row(DiskKind.UNUSED).freed
    world.host.clock.offset = max(path.stat().st_mtime for path in world.folder.blobs.iterdir()) + 3 * HOUR - world.host.clock.time()
    world.reasons["box"] = "security.access is 'look'"
    assert world.disk.can_clean("box") == "security.access is 'look'"
    world.disk.clean("box", [lost])
    await until(lambda: bool(world.host.failures))
    assert (world.folder.blobs / lost.replace(":", "-")).exists()
    world.reasons.clear()
    world.disk.clean("box", [lost])
    await world.host.tasks[-1]
    await until(lambda: bool(world.host.said))
    assert world.host.said[0].startswith("1 thing deleted, 20 kB freed")
    assert not (world.folder.blobs / lost.replace(":", "-")).exists()
    await until(lambda: world.disk.uses.value["box"].row(DiskKind.UNUSED).items == ())
    assert '"what": "clean"' in (world.host.paths.state / "audit.jsonl").read_text()


async def test_cleaning_that_is_stopped_says_what_is_gone_and_leaves_the_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.folder.model("a:1", model=b"w")
    lost = [world.folder.blob(bytes([number]) * 20_000) for number in range(3)]
    world.list()
    await world.looked()
    world.host.clock.offset = max(path.stat().st_mtime for path in world.folder.blobs.iterdir()) + 3 * HOUR - world.host.clock.time()
    reached, go, unlink = threading.Event(), threading.Event(), disk_clean._unlink

    def slow(paths: tuple[Path, ...]) -> str:
        reached.set()
        go.wait(10)
        return unlink(paths)

    async def activity(text: str, _target: str, work: Any) -> None:
        task = asyncio.ensure_future(work())
        await until(reached.is_set)
        task.cancel()
        asyncio.get_running_loop().call_soon(go.set)
        await asyncio.wait({task})
        assert task.cancelled()
        world.host.say(f"{text}: stopped")

    monkeypatch.setattr(disk_clean, "_unlink", slow)
    monkeypatch.setattr(world.host, "activity", activity)
    world.disk.clean("box", lost)
    await world.host.tasks[-1]
    assert world.host.said == ["cleaning box: stopped", "1 of 3 things deleted, 20 kB freed"]
    assert [(world.folder.blobs / digest.replace(":", "-")).exists() for digest in lost] == [False, True, True]
    assert '"result": "not finished"' in (world.host.paths.state / "audit.jsonl").read_text()
    await until(lambda: len(world.disk.uses.value["box"].row(DiskKind.UNUSED).items) == 2)


async def test_what_is_dropped_is_weighed_as_the_disk_was_before(world: World) -> None:
    world.folder.model(TRASH, model=b"w" * 1000)
    world.list()
    await world.looked()
    weigh = world.other.weigher()
    size = world.disk.freed([("box", TRASH)])
    assert size is not None and size[0] > 1000
    (world.folder.path / "manifests").rename(world.folder.path / "gone")
    world.host.watching.kept.set(())
    await world.disk.models_moved()
    await until(lambda: world.disk.freed([("box", TRASH)]) is None)
    assert weigh([("box", TRASH)]) == size


async def test_a_folder_that_we_may_not_change_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.folder.model("a:1", model=b"w")
    monkeypatch.setattr(disk_read.os, "access", lambda _path, _mode: False)
    world.list()
    await world.looked()
    assert world.disk.can_clean("box") == f"our account may not change {world.folder.path}"


async def test_a_folder_that_closes_later_falls_back_to_digests(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.folder.model("a:1", model=b"w" * 100)
    world.list()
    assert (await world.looked()).exact
    scandir = os.scandir

    def closed(path: Any) -> object:
        if not isinstance(path, int) and Path(path).name in ("library", "blobs"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(ollama_folder.os, "scandir", closed)
    world.disk.refresh()
    await until(lambda: not world.disk.uses.value["box"].exact)
    use = world.disk.uses.value["box"]
    assert "no permission" in use.failure.what
    assert not use.row(DiskKind.UNUSED).known
    assert world.disk.shares.value["box", "a:1"].size == 100 + len("config of a:1")
