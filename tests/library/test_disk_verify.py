"""Checking blobs: what rots, is cut off, changes meanwhile or is missing; and deleting what no model uses."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.models_folder import HOUR, Folder, FolderServer
from tui.core.clock import ManualClock
from tui.core.disk import Verdict
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Endpoint, Model
from tui.providers.factory import make_provider
from tui.providers.ollama_folder import FolderReader
from tui.services.library import disk_clean, disk_use, disk_verify
from tui.services.library.disk_clean import clean_files
from tui.services.library.disk_verify import Found, Reading, Task, check, earlier
from tui.store.blob_checks import BlobCheck

BOX: Any = SimpleNamespace(endpoint=Endpoint("box", "ollama", "http://127.0.0.1:1"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "models")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Kept(dict[str, BlobCheck]):
    def put(self, _folder: str, digest: str, made: BlobCheck) -> None:
        self[digest] = made


async def checked(folder: Folder, name: str, clock: ManualClock, kept: Kept | None = None, reading: Reading | None = None) -> Any:
    kept = Kept() if kept is None else kept
    found = FolderReader(folder.path).read()
    return await check(Task(BOX, name, found), dict(kept), reading or Reading(), clock, kept.put)


def weights(folder: Folder, content: bytes) -> Path:
    return next(path for path in folder.blobs.iterdir() if path.read_bytes() == content)


async def test_good_blobs_are_kept_and_not_read_again_within_the_hour(folder: Folder, clock: ManualClock) -> None:
    folder.model("a:1", model=b"w" * 3_000_000, template=b"t")
    kept, reading = Kept(), Reading()
    result = await checked(folder, "a:1", clock, kept, reading)
    assert (result.verdict, result.blobs, result.bad) == (Verdict.GOOD, 3, ())
    assert result.text == "3 blobs, 3.0 MB, are what their digests say"
    assert reading.done == result.size == 3_000_014
    assert len(kept) == 3
    assert all(one.good for one in kept.values())
    clock.advance(600)
    weights(folder, b"t").chmod(0)  # it is not opened again
    again = await checked(folder, "a:1", clock, kept)
    assert again.verdict is Verdict.GOOD
    assert again.at == clock.time() - 600
    found = FolderReader(folder.path).read()
    before = earlier("box", found.models[0], "a:1", found, kept)
    assert before is not None
    assert (before.verdict, before.at) == (Verdict.GOOD, clock.time() - 600)


async def test_D_bits_that_rotted_are_found(folder: Folder, clock: ManualClock) -> None:
    folder.model("a:1", model=b"w" * 100_000, template=b"t")
    path = weights(folder, b"w" * 100_000)
    times = path.stat().st_mtime_ns
    path.write_bytes(b"w" * 50_000 + b"X" + b"w" * 49_999)
    os.utime(path, ns=(times, times))
    kept = Kept()
    result = await checked(folder, "a:1", clock, kept)
    digest = f"sha256:{path.name.removeprefix('sha256-')}"
    assert (result.verdict, result.bad) == (Verdict.DAMAGED, (digest,))
    assert result.text == f"weights {digest[7:19]}: its content is not what its digest says"
    assert "Pulling alone would not mend it" in result.remedy
    assert not kept[digest].good
    found = FolderReader(folder.path).read()
    before = earlier("box", found.models[0], "a:1", found, kept)
    assert before is not None
    assert before.verdict is Verdict.DAMAGED


async def test_D_a_blob_that_is_cut_off_or_missing(folder: Folder, clock: ManualClock) -> None:
    folder.model("a:1", model=b"w" * 1000, template=b"tt")
    weights(folder, b"w" * 1000).write_bytes(b"w" * 999)
    result = await checked(folder, "a:1", clock)
    assert result.verdict is Verdict.DAMAGED
    assert "it is cut off" in result.text
    weights(folder, b"tt").unlink()
    result = await checked(folder, "a:1", clock)
    assert result.verdict is Verdict.MISSING
    assert len(result.bad) == 2


async def test_a_blob_that_changes_while_it_is_read_proves_nothing(folder: Folder, clock: ManualClock) -> None:
    folder.model("a:1", model=b"w" * 1000)
    path = weights(folder, b"w" * 1000)

    class Touching(Reading):
        def _hash(self, handle: int) -> str:
            digest = super()._hash(handle)
            path.write_bytes(b"v" * 1000)
            return digest

    kept = Kept()
    result = await checked(folder, "a:1", clock, kept, Touching())
    assert result.verdict is Verdict.UNKNOWN
    assert "it changed while it was read" in result.text
    assert result.bad == ()
    assert not any(digest.endswith(path.name[7:]) for digest in kept)


async def test_a_model_that_is_deleted_or_updated_while_it_is_checked(folder: Folder, clock: ManualClock) -> None:
    folder.model("a:1", model=b"w" * 10)
    found = FolderReader(folder.path).read()
    weights(folder, b"w" * 10).unlink()
    folder.manifest("a:1").unlink()
    result = await check(Task(BOX, "a:1", found), {}, Reading(), clock, lambda *_all: None)
    assert (result.verdict, result.text) == (Verdict.UNKNOWN, "it was deleted while it was checked")
    folder.write("a:1", b"{}")
    result = await check(Task(BOX, "a:1", found), {}, Reading(), clock, lambda *_all: None)
    assert result.text == "it was updated while it was checked"


def test_a_pipe_in_place_of_a_blob_waits_for_nobody(folder: Folder) -> None:
    os.mkfifo(folder.blobs / "pipe")
    assert Reading().blob(folder.blobs / "pipe", "sha256:x", 5)[0] is Found.UNREADABLE
    assert Reading().blob(folder.blobs / "none", "sha256:x", 5)[0] is Found.MISSING


async def test_a_cancelled_check_stops_reading(folder: Folder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_verify, "PIECE", 10)
    folder.model("a:1", model=b"w" * 1000)
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    class Slow(Reading):
        def _hash(self, handle: int) -> str:
            begun.set()
            go.wait(10)
            try:
                return super()._hash(handle)
            except InterruptedError:
                ended.set()
                raise

    work = asyncio.ensure_future(checked(folder, "a:1", clock, reading=Slow()))
    await asyncio.to_thread(begun.wait, 10)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    go.set()
    assert await asyncio.to_thread(ended.wait, 10)


def test_reading_is_idle_for_its_thread_alone() -> None:
    import psutil

    if not hasattr(psutil, "IOPRIO_CLASS_IDLE"):
        pytest.skip("this system has no such priority")
    found: list[Any] = []

    def work() -> None:
        disk_verify.be_idle()
        found.append(psutil.Process(threading.get_native_id()).ionice().ioclass)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [psutil.IOPRIO_CLASS_IDLE]
    assert psutil.Process().ionice().ioclass != psutil.IOPRIO_CLASS_IDLE


# --- by the server ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def server(folder: Folder) -> AsyncIterator[FolderServer]:
    found = FolderServer(folder)
    await found.server.start()
    yield found
    await found.server.stop()


async def test_without_a_folder_the_server_is_asked_for_each_blob(server: FolderServer, folder: Folder, clock: ManualClock) -> None:
    folder.model("a:1", model=b"w" * 10)
    provider = make_provider(Endpoint("box", "ollama", server.url, retries=0), lambda _reference: "")
    try:
        result = await check(Task(provider, "a:1", None), {}, Reading(), clock, lambda *_all: None)
        assert (result.verdict, result.blobs) == (Verdict.THERE, 1)
        assert len(server.heads) == 1
        weights(folder, b"w" * 10).unlink()
        result = await check(Task(provider, "a:1", None), {}, Reading(), clock, lambda *_all: None)
        assert result.verdict is Verdict.MISSING
        assert result.remedy == "Pull it again"
    finally:
        await provider.aclose()


async def test_a_server_that_is_gone_is_no_damage(clock: ManualClock) -> None:
    provider = make_provider(Endpoint("box", "ollama", "http://127.0.0.1:9", retries=0), lambda _reference: "")
    try:
        result = await check(Task(provider, "a:1", None), {}, Reading(), clock, lambda *_all: None)
    finally:
        await provider.aclose()
    assert result.verdict is Verdict.UNKNOWN
    assert result.bad == ()


# --- cleaning ---------------------------------------------------------------------------------------------------------


def _now(folder: Folder) -> float:
    return max(path.stat().st_mtime for path in folder.blobs.iterdir()) + 3 * HOUR


def test_only_what_is_still_unused_goes(folder: Folder) -> None:
    folder.model("a:1", model=b"w" * 10)
    lost = folder.blob(b"lost" * 5000)
    used = f"sha256:{weights(folder, b'w' * 10).name[7:]}"
    folder.partial("b" * 64, 1_000_000, 30_000)
    (folder.blobs / "sha256-12345").write_bytes(b"upload")
    keys = [lost, used, f"sha256:{'b' * 64}", "sha256-12345", "sha256:never", "../manifests"]
    done = clean_files(folder.path, keys, [], folder.listed(), _now(folder), working=False)
    assert set(done.gone) == {lost, f"sha256:{'b' * 64}", "sha256-12345"}
    assert dict(done.left) == dict.fromkeys((used, "sha256:never", "../manifests"), "it is not there any more, or a model uses it")
    assert done.freed >= 20_000 + 30_000
    left = {path.name for path in folder.blobs.iterdir()}
    assert used.replace(":", "-") in left
    assert len(left) == 2
    assert FolderReader(folder.path).read().models


def test_what_is_young_wanted_or_being_written_stays(folder: Folder) -> None:
    lost = folder.blob(b"lost")
    partial = f"sha256:{'b' * 64}"
    folder.partial("b" * 64, 1000, 10)
    now = _now(folder)
    why = dict(clean_files(folder.path, [lost, partial], [partial], (), now, working=True).left)
    assert why[lost].startswith("the queue works for this server")
    assert why[partial].startswith("a pull of the queue wants it")
    why = dict(clean_files(folder.path, [lost, partial], [], (), now - 3 * HOUR + 30, working=False).left)
    assert why[lost].startswith("it is younger than an hour")
    assert why[partial] == "it is being written"
    assert len(list(folder.blobs.iterdir())) == 3


def test_nothing_goes_while_a_manifest_cannot_be_read(folder: Folder) -> None:
    lost = folder.blob(b"lost")
    folder.write("bad:1", b"{")
    with pytest.raises(PaddockError) as caught:
        clean_files(folder.path, [lost], [], folder.listed(), _now(folder), working=False)
    assert caught.value.failure.kind is FailureKind.REFUSED
    assert "library/bad/1" in caught.value.failure.where
    assert (folder.blobs / lost.replace(":", "-")).exists()


def test_nothing_goes_while_the_server_lists_what_the_folder_lacks(folder: Folder) -> None:
    folder.model("a:1", model=b"w")
    lost = folder.blob(b"lost")
    other = Model("box", "new:1", "new:1", 1, "d")
    with pytest.raises(PaddockError) as caught:
        clean_files(folder.path, [lost], [], (*folder.listed(), other), _now(folder), working=False)
    assert "no manifest of new:1" in caught.value.failure.what
    assert (folder.blobs / lost.replace(":", "-")).exists()
    assert not disk_use.unused_row("box", (*folder.listed(), other), FolderReader(folder.path).read()).known
    assert disk_use.unused_row("box", folder.listed(), FolderReader(folder.path).read()).known


def test_D_a_file_that_cannot_be_deleted_is_named(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = folder.blob(b"lost")

    def refused(_path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(disk_clean.Path, "unlink", refused)
    done = clean_files(folder.path, [lost], [], folder.listed(), _now(folder), working=False)
    assert done.left == ((lost, "Operation not permitted"),)
    assert (done.freed, done.gone) == (0, ())
