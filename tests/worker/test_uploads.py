"""Uploads, creates, quantizations and pushes: jobs of the same queue, from a real socket up to the row."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_server import Exchange, Request, Route
from tests.support.ports import closed_port
from tests.support.replay import Scene, scenes
from tests.worker.fakes import MB
from tests.worker.lab import SUCCESS, Box, Lab, laboratory, line, told
from tui.core.errors import FailureKind
from tui.core.jobs import Job, JobKind, JobState, JobWish, Wait
from tui.worker import upload
from tui.worker.attempt import DOWN_DELAYS

PARSING = line(status="parsing GGUF")
BASE = "qwen3:8b"
MADE = PARSING + line(status="creating new layer sha256:" + "c" * 64) + line(status="writing manifest") + line(status="success")


class Blobs(Box):
    """Takes blobs, and makes models from them, or from the one it has.

    Attributes:
        blobs: What was sent, by digest.
        takers: What the next uploads meet, before their body is read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        self.takers: list[Route] = []
        self.listed.append(BASE)
        self.routes |= {"*": self.blob, "/api/create": self.make}

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if not self.takers:
            return await super()._one(reader, writer)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"POST /api/blobs/"):
            again = asyncio.StreamReader()
            again.feed_data(head)
            length = next((int(one.split(b":")[1]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length")), 0)
            again.feed_data(await reader.readexactly(length))
            return await super()._one(again, writer)
        request = Request("POST", head.split(b" ")[1].decode(), {}, b"")
        self.requests.append(request)
        await self.takers.pop(0)(Exchange(request, reader, writer))
        return False

    async def blob(self, exchange: Exchange) -> None:
        """`HEAD` and `POST /api/blobs/…`."""
        digest = exchange.request.path.rpartition("/")[2]
        if exchange.request.method == "HEAD":
            await exchange.head(200 if digest in self.blobs else 404, {"content-length": "0"}, chunked=False)
            return
        found = f"sha256:{hashlib.sha256(exchange.request.body).hexdigest()}"
        if found != digest:
            await exchange.json({"error": f'digest mismatch, expected "{digest}", got "{found}"'}, 400)
            return
        self.blobs[digest] = exchange.request.body
        await exchange.reply(201)

    async def make(self, exchange: Exchange) -> None:
        """`POST /api/create`."""
        self.listed.append(exchange.request.json["model"])
        await exchange.stream(MADE)

    def sent(self) -> list[Request]:
        """The uploads that came."""
        return [request for request in self.requests if request.method == "POST" and "/api/blobs/" in request.path]


class Bay(Lab):
    """A laboratory whose box takes blobs."""

    box: Blobs

    async def upload(self, *files: Path) -> int:
        """Queue the upload of files."""
        return await self.add(JobKind.UPLOAD, "mine:latest", files={file.name: str(file) for file in files}, system="Hi")


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bay]:
    monkeypatch.setattr(upload, "LOOK", 0.005)
    async with laboratory(tmp_path, monkeypatch, Blobs) as found:
        found.__class__ = Bay
        assert isinstance(found, Bay)
        yield found


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"GGUF" + os.urandom(3 * MB))
    return file


def digest_of(file: Path) -> str:
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def failed(job: Job, words: str, kind: FailureKind = FailureKind.BAD_REQUEST) -> None:
    """It failed at its first attempt with these words."""
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.failure is not None
    assert (job.failure.what, job.failure.kind) == (words, kind)
    assert job.note == f"failed: {words}"


# --- files -----------------------------------------------------------------------------------------------------------------


async def test_a_file_is_sent_and_a_model_made_of_it(lab: Bay, weights: Path) -> None:
    number = await lab.upload(weights)
    job = await lab.ended(number)
    assert (job.state, job.attempts, job.done, job.percent) == (JobState.DONE, 1, 3 * MB + 4, 100.0)
    assert lab.box.blobs == {digest_of(weights): weights.read_bytes()}
    assert lab.box.requests[-2].json == {
        "model": "mine:latest",
        "stream": True,
        "system": "Hi",
        "files": {"weights.gguf": digest_of(weights)},
    }
    assert job.digest == "d" * 64


async def test_what_the_server_has_is_not_sent(lab: Bay, weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "config.json"
    other.write_bytes(b"{}")
    lab.box.blobs[digest_of(weights)] = b""
    job = await lab.ended(await lab.upload(weights, other))
    assert (job.state, job.done) == (JobState.DONE, 3 * MB + 4 + 2)
    assert [request.path.rpartition("/")[2] for request in lab.box.sent()] == [digest_of(other)]


@pytest.mark.parametrize("name", ["none.gguf", "no space left on full disk.gguf", "a\x00b", "folder", "pipe", "locked"])
async def test_a_file_that_cannot_be_read_fails_at_once_and_nothing_is_asked(
    lab: Bay, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name
    if name == "folder":
        file.mkdir()
    elif name == "pipe":
        os.mkfifo(file)
    elif name == "locked":
        file.write_bytes(b"x")

        def refuse(path: Path) -> str:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(upload, "digest_of", refuse)
    why = {
        "folder": "it is no file",
        "pipe": "it is no file",
        "locked": "Permission denied",
    }
    job = await lab.ended(await lab.upload(file))
    failed(job, f"The file {tmp_path}/{name} cannot be read: {why.get(name, 'it does not exist')}".replace("\x00", "\u2400"))
    assert lab.box.requests == []


async def test_an_upload_without_files_is_none(lab: Bay) -> None:
    failed(await lab.ended(await lab.upload()), "There is no file to send")


async def test_an_empty_file_is_sent_and_the_server_says_what_it_thinks_of_it(lab: Bay, tmp_path: Path) -> None:
    file = tmp_path / "empty.gguf"
    file.touch()
    lab.box.routes["/api/create"] = lambda exchange: exchange.stream(PARSING, line(error="invalid file magic"))
    job = await lab.ended(await lab.upload(file))
    failed(job, "The server refused: invalid file magic")
    assert list(lab.box.blobs.values()) == [b""]


@pytest.mark.parametrize("how", ["grows", "shrinks", "is written over", "goes"])
async def test_a_file_that_changes_while_it_is_sent(lab: Bay, weights: Path, how: str) -> None:
    """It was read once for its digest; the server is asked twice whether it has that, and then it is read again."""
    blob = lab.box.blob
    asked = [0]

    async def change(exchange: Exchange) -> None:
        asked[0] += exchange.request.method == "HEAD"
        if exchange.request.method == "HEAD" and asked[0] == 2:
            if how == "grows":
                weights.write_bytes(os.urandom(9 * MB))
            elif how == "shrinks":
                os.truncate(weights, MB)
            elif how == "is written over":
                weights.write_bytes(os.urandom(3 * MB + 4))
        elif exchange.request.method == "HEAD" and how == "goes":
            weights.unlink()
        await blob(exchange)

    lab.box.routes["*"] = change
    job = await lab.ended(await lab.upload(weights))
    if how == "goes":
        failed(job, f"The file {weights} cannot be read: it does not exist")
    else:
        failed(job, f"The file {weights} changed while it was sent")
        assert job.failure is not None
        assert job.failure.remedy == "Let whoever writes to it end, then retry"
    assert lab.box.blobs == {}
    assert lab.box.asked("/api/create") == 0


# --- the line ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gently", [True, False])
async def test_07_the_server_answers_and_closes_while_we_still_write(lab: Bay, weights: Path, gently: bool) -> None:
    """As recorded (`create`, third request): somebody else sent the same file meanwhile."""

    async def has_it_now(exchange: Exchange) -> None:
        await exchange.reader.readexactly(MB)
        lab.box.blobs[digest_of(weights)] = b""
        await exchange.reply(200)
        if not gently:
            exchange.reset()

    lab.box.takers = [has_it_now]
    job = await lab.ended(await lab.upload(weights))
    assert (job.state, job.attempts, job.done) == (JobState.DONE, 1, 3 * MB + 4)


async def test_H05_a_reset_in_the_middle_then_the_whole(lab: Bay, weights: Path) -> None:
    async def reset(exchange: Exchange) -> None:
        await exchange.reader.readexactly(MB)
        exchange.reset()

    lab.box.takers = [reset]
    number = await lab.upload(weights)
    job = await lab.at_rest(number)
    assert (job.wait, lab.due_in(number)) == (Wait.RETRY, 5.0)
    assert job.failure is not None
    assert job.failure.kind is FailureKind.INTERRUPTED
    await lab.pass_(5)
    job = await lab.ended(number)
    assert (job.state, job.attempts) == (JobState.DONE, 2)
    assert (len(lab.box.sent()), lab.box.asked("/api/create")) == (2, 1)


@pytest.mark.parametrize("kind", [JobKind.UPLOAD, JobKind.CREATE, JobKind.PUSH])
async def test_H01_a_server_that_is_away_is_waited_for_and_costs_no_attempt(lab: Bay, weights: Path, kind: JobKind) -> None:
    with closed_port() as port:
        files = {"files": {"a": str(weights)}} if kind is JobKind.UPLOAD else {}
        endpoint = replace(lab.endpoint, url=f"http://127.0.0.1:{port}")
        number = (await lab.bench.table.add(kind, "mine:latest", endpoint, files)).id
        for pause in DOWN_DELAYS:
            job = await lab.until(lambda job: job.wait is Wait.SERVER and (job.due_at or 0) > lab.clock.time(), number)
            assert (job.attempts, lab.due_in(number)) == (1, pause)
            assert job.note == f"waits for box at 127.0.0.1:{port}: nothing is listening"
            await lab.pass_(pause)


async def test_P33_a_server_that_takes_nothing_more_is_left_after_90_s(lab: Bay, weights: Path) -> None:
    with weights.open("ab") as file:
        file.truncate(64 * MB)  # more than the sockets hold

    async def stuck(exchange: Exchange) -> None:
        await exchange.reader.readexactly(MB)
        exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    lab.box.takers = [stuck]
    number = await lab.upload(weights)
    await lab.until(lambda job: job.done > MB, number)
    notes = set()
    for _ in range(400):  # the sockets take some more at first, as fast as the machine is
        await lab.pass_(5)
        notes.add(lab.bench.job(number).note)
        if lab.bench.job(number).failure is not None:
            break
    assert "stalled: no new bytes for 30s; reconnects after 90s" in notes
    job = lab.bench.job(number)
    assert job.failure is not None
    assert job.failure.what == "No new bytes for 90s"
    assert not lab.box.takers
    for task in list(lab.box._tasks):
        task.cancel()
    await lab.pass_(10)
    await lab.until(lambda job: job.state is JobState.DONE, number)


async def test_a_large_file_may_be_read_for_minutes(lab: Bay, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes come to nobody meanwhile; that is no stall, and reading is not begun anew."""
    go = threading.Event()
    reads: list[Path] = []

    def slow(path: Path) -> str:
        reads.append(path)
        go.wait(20)
        return digest_of(path)

    monkeypatch.setattr(upload, "digest_of", slow)
    number = await lab.upload(weights)
    await lab.until(lambda job: reads, number)
    await lab.pass_(300)
    assert (lab.bench.job(number).state, lab.bench.job(number).note) == (JobState.FETCHING, "begins")
    go.set()
    job = await lab.ended(number)
    assert (job.state, job.attempts, len(reads)) == (JobState.DONE, 1, 1)


# --- making --------------------------------------------------------------------------------------------------------------------


MAKING = [JobKind.CREATE, JobKind.QUANTIZE, JobKind.UPLOAD]


async def make(lab: Bay, kind: JobKind, weights: Path) -> int:
    """Queue a job that makes a model."""
    if kind is JobKind.UPLOAD:
        return await lab.upload(weights)
    return await lab.add(kind, "mine:latest", **{"from": BASE, "quantize": "q8_0"})


@pytest.mark.parametrize("kind", MAKING)
async def test_a_model_may_be_made_for_minutes_without_a_word(lab: Bay, kind: JobKind, weights: Path) -> None:
    go = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(PARSING)
        await told(exchange, go)
        lab.box.listed.append("mine:latest")
        await exchange.chunk(SUCCESS)
        await exchange.end()

    lab.box.routes["/api/create"] = slow
    number = await make(lab, kind, weights)
    await lab.until(lambda _job: lab.box.asked("/api/create"), number)
    await lab.pass_(300)
    job = lab.bench.job(number)
    assert job.state is JobState.FETCHING
    assert "stalled" not in job.note
    go.set()
    job = await lab.ended(number)
    assert (job.state, job.attempts, lab.box.asked("/api/create")) == (JobState.DONE, 1, 1)


async def cut_before(exchange: Exchange) -> None:
    exchange.reset()


async def cut_after(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(PARSING)
    await asyncio.sleep(0.02)
    exchange.reset()


async def ends_early(exchange: Exchange) -> None:
    await exchange.stream(PARSING)


async def junk(exchange: Exchange) -> None:
    await exchange.stream(PARSING, b"junk\n" * 20)


async def gives_up(exchange: Exchange) -> None:
    await exchange.stream(PARSING, line(error="something odd"))


async def says_nothing(exchange: Exchange) -> None:
    await exchange.stream()


@pytest.mark.parametrize("fault", [cut_before, cut_after, ends_early, junk, gives_up, says_nothing], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("kind", MAKING)
async def test_P34_a_create_that_may_have_had_its_effect_is_not_asked_for_again(
    lab: Bay, kind: JobKind, fault: Route, weights: Path
) -> None:
    lab.box.routes["/api/create"] = fault
    number = await make(lab, kind, weights)
    job = await lab.ended(number)
    assert (job.state, job.attempts, lab.box.asked("/api/create")) == (JobState.FAILED, 1, 1)
    await lab.pass_(10)
    assert lab.box.asked("/api/create") == 1
    lab.box.routes["/api/create"] = lab.box.make
    await lab.bench.table.retry([number])
    await lab.until(lambda job: job.state is JobState.DONE, number)


@pytest.mark.parametrize("kind", MAKING)
async def test_H13_a_create_that_was_not_begun_is_tried_again(lab: Bay, kind: JobKind, weights: Path) -> None:
    lab.box.routes["/api/create"] = lambda exchange: exchange.reply(503, b'{"error":"busy"}', {"retry-after": "7"})
    number = await make(lab, kind, weights)
    job = await lab.at_rest(number)
    assert (job.wait, lab.due_in(number)) == (Wait.RETRY, 7.0)
    lab.box.routes["/api/create"] = lab.box.make
    await lab.pass_(7)
    assert (await lab.ended(number)).state is JobState.DONE
    assert len(lab.box.sent()) == (kind is JobKind.UPLOAD)


@pytest.mark.parametrize("kind", MAKING)
async def test_P06_a_model_that_was_made_and_is_not_listed_is_not_done(lab: Bay, kind: JobKind, weights: Path) -> None:
    lab.box.routes["/api/create"] = lambda exchange: exchange.stream(MADE)
    job = await lab.ended(await make(lab, kind, weights))
    assert job.note == "failed: The server said success, and its list lacks mine:latest"


@pytest.mark.parametrize("stage", ["reading", "sending", "making"])
async def test_H32_a_cancel_at_every_stage(lab: Bay, weights: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    if stage == "reading":
        monkeypatch.setattr(upload, "digest_of", lambda path: str(go.wait(20)))
    elif stage == "sending":

        async def slow(exchange: Exchange) -> None:
            await exchange.gone()

        lab.box.takers = [slow]
        weights.write_bytes(bytes(32 * MB))
    else:

        async def silent(exchange: Exchange) -> None:
            await exchange.head()
            await exchange.chunk(PARSING)
            await exchange.gone()

        lab.box.routes["/api/create"] = silent
    number = await lab.upload(weights)
    arrived = {
        "reading": lambda job: job.note == "begins",
        "sending": lambda job: lab.box.sent(),
        "making": lambda job: lab.box.asked("/api/create"),
    }
    await lab.until(arrived[stage], number)
    await lab.bench.table.wish([number], JobWish.CANCEL)
    await lab.until(lambda job: job.state is JobState.CANCELLED, number)
    await lab.real(lambda: lab.box.open == 0)
    go.set()


# --- as recorded ----------------------------------------------------------------------------------------------------------------


def recorded(name: str, model: str) -> Scene:
    """The create of a model."""
    found: Scene = next(
        scene
        for scene in scenes(f"ollama-0.24/{name}")
        if scene.request["path"] == "/api/create" and scene.request["body"]["model"] == model
    )
    return found


@pytest.mark.parametrize("model", ["lab-q8_0", "lab-q4_k_m"])
async def test_a_recorded_quantization_is_followed_to_its_end(lab: Bay, model: str) -> None:
    scene = recorded("create16", model)
    assert len(scene.chunks) > 20
    go = asyncio.Semaphore(0)

    async def replay(exchange: Exchange) -> None:
        await exchange.head()
        for chunk in scene.chunks:
            await go.acquire()
            await exchange.chunk(chunk)
        lab.box.listed.append(model)
        await exchange.end()

    lab.box.routes["/api/create"] = replay
    fields: dict[str, Any] = {name: value for name, value in scene.request["body"].items() if name != "model"}
    lab.box.listed.append(f"{fields['from']}:latest")
    number = await lab.add(JobKind.QUANTIZE, model, **fields)
    shown: list[Job] = []
    for _ in scene.chunks:
        go.release()
        lab.clock.advance(0.1)
        await lab.bench.tick()
        shown.append(lab.bench.job(number))
    shown.append(await lab.ended(number))
    percents = [job.percent for job in shown if job.percent is not None]
    assert len(set(percents)) > 5
    assert percents == sorted(percents)
    assert {job.note for job in shown if job.state is JobState.FETCHING} >= {"quantizes"}
    assert any(job.state is JobState.CHECKING for job in shown)
    assert (shown[-1].state, shown[-1].attempts, shown[-1].percent) == (JobState.DONE, 1, 100.0)
    assert next(request.json for request in lab.box.requests if request.path == "/api/create") == {
        **scene.request["body"],
        "model": f"{model}:latest",
        "stream": True,
    }


@pytest.mark.parametrize(
    ("name", "model", "words"),
    [
        ("create", "lab-q8_0", "quantization is only supported for F16, BF16 and F32 models"),
        ("create", "lab-q2_k", "unsupported quantization type Q2_K - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0"),
        ("create", "lab-nonsense", "unsupported quantization type NONSENSE - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0"),
    ],
)
async def test_a_recorded_refusal_is_final(lab: Bay, name: str, model: str, words: str) -> None:
    scene = recorded(name, model)
    lab.box.routes["/api/create"] = lambda exchange: exchange.reply(scene.status, scene.body)
    job = await lab.ended(await lab.add(JobKind.QUANTIZE, model, **{"from": BASE, "quantize": "x"}))
    failed(job, f"The server refused: {words}")


# --- push -----------------------------------------------------------------------------------------------------------------------


def pushing(*done: int) -> bytes:
    digest = "sha256:" + "e" * 64
    lines = [line(status=f"pushing {digest[7:19]}", digest=digest, total=100 * MB, completed=count * MB) for count in done]
    return line(status="retrieving manifest") + b"".join(lines)


PUSHED = line(status="pushing manifest") + line(status="success")


async def test_a_push_needs_no_list_to_be_done(lab: Bay) -> None:
    lab.box.routes["/api/push"] = lambda exchange: exchange.stream(pushing(0, 50, 100), PUSHED)
    number = await lab.add(JobKind.PUSH, "me/tiny:latest", insecure=True)
    job = await lab.ended(number)
    assert (job.state, job.attempts, job.done, job.percent) == (JobState.DONE, 1, 100 * MB, 100.0)
    assert [request.path for request in lab.box.requests] == ["/api/push"]
    assert lab.box.requests[0].json == {"model": "me/tiny:latest", "stream": True, "insecure": True}


@pytest.mark.parametrize(
    "error",
    [
        "unauthorized: access denied",
        "you are not authorized to push to this namespace, create the model under a namespace you own",
        "max retries exceeded: 401: unauthorized",
    ],
)
async def test_Q09_a_push_that_is_not_allowed_is_final(lab: Bay, error: str) -> None:
    lab.box.routes["/api/push"] = lambda exchange: exchange.stream(line(status="retrieving manifest"), line(error=error))
    job = await lab.ended(await lab.add(JobKind.PUSH, "me/tiny:latest"))
    failed(job, "The registry refuses access: private or gated", FailureKind.AUTH)


@pytest.mark.parametrize("end", [b"", line(error="max retries exceeded: EOF")])
async def test_Q02_Q10_a_push_that_is_cut_goes_on(lab: Bay, end: bytes) -> None:
    lab.box.routes["/api/push"] = lambda exchange: exchange.stream(pushing(0, 40), end)
    number = await lab.add(JobKind.PUSH, "me/tiny:latest")
    job = await lab.at_rest(number)
    assert (job.wait, job.done, lab.due_in(number)) == (Wait.RETRY, 40 * MB, 5.0)
    lab.box.routes["/api/push"] = lambda exchange: exchange.stream(pushing(40, 100), PUSHED)
    await lab.pass_(5)
    job = await lab.ended(number)
    assert (job.state, job.attempts) == (JobState.DONE, 2)


async def test_Q01_a_push_on_which_nothing_moves_is_asked_again(lab: Bay) -> None:
    async def stuck(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(pushing(40))
        await exchange.gone()

    lab.box.routes["/api/push"] = stuck
    number = await lab.add(JobKind.PUSH, "me/tiny:latest")
    await lab.until(lambda job: job.done == 40 * MB, number)
    await lab.pass_(90)
    job = await lab.at_rest(number)
    assert (job.wait, job.done) == (Wait.RETRY, 40 * MB)
