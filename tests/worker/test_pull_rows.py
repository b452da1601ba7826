"""The rows of the catalogue about the queue (reliability reference, section 2.2) over real sockets, where other files have them in memory.

Q03 and Q13 are in `test_process.py` and `tests/sweep`, Q14 and Q15 in `test_queue.py`, Q17 and Q07 with real disks there and in
`test_gates.py`; Q04 and Q05 also in `tests/unit/test_pulls.py`. Q18 to Q20 are about downloads of our own, which are none of the queue's.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_server import Exchange
from tests.worker.fakes import MB
from tests.worker.lab import GOOD, MANIFEST, SUCCESS, WEIGHTS, Box, Lab, laboratory, line, progress, told
from tui.config.paths import Paths, find_paths
from tui.core.errors import FailureKind
from tui.core.jobs import Job, JobState, JobWish, Wait
from tui.core.models import Endpoint
from tui.core.partials import dropped_by_restart
from tui.services import jobs as jobs_module
from tui.store.db import Database
from tui.store.jobs import JobTable
from tui.worker.attempt import DELAYS

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path, monkeypatch) as found:
        yield found


async def complained(lab: Lab, text: str, *later: str) -> Job:
    """A pull, with others behind it, whose first stream ends, after 40 MB, with an error of the server."""

    async def route(exchange: Exchange) -> None:
        lab.box.routes["/api/pull"] = lab.box.whole
        await exchange.stream(GOOD, line(error=text))

    lab.box.routes["/api/pull"] = route
    number = await lab.pull()
    for model in later:
        await lab.pull(model)
    return await lab.at_rest(number)


# --- what the server says (Ollama reference, section 3.7) -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words", "kind"),
    [
        ("pull model manifest: file does not exist", "The registry has no such model or tag", FailureKind.NOT_FOUND),
        ("file does not exist", "The registry lacks a part of this model", FailureKind.NOT_FOUND),
        ("unauthorized: access denied", "The registry refuses access: private or gated", FailureKind.AUTH),
        ("pull model manifest: 401: {}", "The registry refuses access: private or gated", FailureKind.AUTH),
        ("pull model manifest: 403: x", "The registry refuses access: private or gated", FailureKind.AUTH),
        ("invalid model name", "That is not a model's name", FailureKind.BAD_REQUEST),
        ("pull model manifest: 412: requires a newer version of Ollama", "This model needs a newer Ollama", FailureKind.UNSUPPORTED),
        (
            'pull model manifest: realm host "huggingface.co" does not match original host "hf.co"',
            "The registry asks for a sign-in: private, gated, or no such model",
            FailureKind.AUTH,
        ),
        ("x509: certificate signed by unknown authority", "The registry's certificate is not accepted by the server", FailureKind.TLS),
        ("http: server gave HTTP response to HTTPS client", "The registry speaks plain HTTP", FailureKind.TLS),
        ("http: no Location header in response", "The registry does not work the way Ollama downloads", FailureKind.UNSUPPORTED),
        ("open /m/blobs/x-partial: permission denied", "The server may not write to its models folder", FailureKind.DISK),
        ("open /m/blobs/x-partial: read-only file system", "The server's models folder is read-only", FailureKind.DISK),
        (
            "this model requires MLX support, but the MLX runtime is not available",
            "This model needs the MLX engine, which this server lacks",
            FailureKind.UNSUPPORTED,
        ),
    ],
)
async def test_Q09_Q21_what_no_retry_mends_fails_at_once(lab: Lab, text: str, words: str, kind: FailureKind) -> None:
    job = await complained(lab, text)
    assert (job.state, job.attempts, job.done, job.due_at) == (JobState.FAILED, 1, 40 * MB, None)
    assert job.failure is not None
    assert (job.failure.what, job.failure.kind, job.failure.details) == (words, kind, text)
    assert job.failure.remedy
    assert job.note == f"failed: {words}"
    await lab.pass_(30)
    assert lab.box.asked("/api/pull") == 1


@pytest.mark.parametrize(
    "text",
    [
        "max retries exceeded: EOF",
        "max retries exceeded: unexpected EOF",
        "max retries exceeded: net/http: TLS handshake timeout",
        'Get "https://x": read tcp 1.2.3.4:1->5.6.7.8:443: read: connection reset by peer',
        "unexpected EOF",
        "context canceled",
        "pull model manifest: 429: slow down",
        "pull model manifest: 503: x",
        "500: ",
        'pull model manifest: Get "https://x/v2": dial tcp: lookup x: no such host',
        'pull model manifest: Get "https://x/v2": dial tcp 1.2.3.4:443: i/o timeout',
        'pull model manifest: Get "https://x/v2": dial tcp 1.2.3.4:443: connect: connection refused',
        "something nobody has seen yet",
    ],
)
async def test_Q10_Q02_what_may_pass_is_tried_again_after_5_s(lab: Lab, text: str) -> None:
    job = await complained(lab, text)
    assert (job.state, job.wait, job.done, job.attempts) == (JobState.WAITING, Wait.RETRY, 40 * MB, 1)
    assert lab.due_in(job.id) == DELAYS[0]
    await lab.pass_(5)
    assert (await lab.ended(job.id)).state is JobState.DONE


@pytest.mark.parametrize("text", ["write /m/x-partial: no space left on device", "write /m/x: disk quota exceeded"])
async def test_Q07_a_full_disk_rests_the_queue_of_that_server_and_of_no_other(lab: Lab, text: str) -> None:
    job = await complained(lab, text, "later:1b")
    second = job.id + 1
    assert (job.wait, job.done) == (Wait.SPACE, 40 * MB)
    assert job.note == "waits for space: the server's disk is full; asks again every 10 minutes"
    assert lab.bench.job(second).wait is Wait.SPACE
    assert lab.due_in(job.id) == lab.due_in(second) == 600
    await lab.pass_(595)
    assert lab.box.asked("/api/pull") == 1  # no loop of retries; the other server's pull goes on meanwhile
    await lab.pass_(5)
    assert {(await lab.ended(number)).state for number in (job.id, second)} == {JobState.DONE}


async def test_Q08_damaged_bytes_once_afresh_then_never(lab: Lab) -> None:
    text = "digest mismatch, file must be downloaded again: want sha256:x, got sha256:y"
    job = await complained(lab, text)
    assert (job.wait, job.note) == (Wait.RETRY, "arrived damaged (checksum), loads the damaged part anew")
    lab.box.routes["/api/pull"] = lambda exchange: exchange.stream(MANIFEST, line(error=text))
    await lab.pass_(2)
    job = await lab.ended(job.id)
    assert (job.state, job.attempts, job.note) == (JobState.FAILED, 2, "failed: The download arrived damaged twice (checksum)")


# --- bytes -----------------------------------------------------------------------------------------------------------------


async def test_Q04_a_count_that_falls_is_named_and_nothing_shown_falls(lab: Lab) -> None:
    step, go = asyncio.Semaphore(0), asyncio.Event()

    async def falls(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(MANIFEST)
        for count in (10, 30, 50, 20, 25, 60):
            await step.acquire()
            await exchange.chunk(progress(count))
        await told(exchange, go)
        lab.box.listed.append("qwen3:8b")
        await exchange.chunk(SUCCESS)
        await exchange.end()

    lab.box.routes["/api/pull"] = falls
    number = await lab.pull()
    shown: list[Job] = []
    for count in (10, 30, 50, 50, 50, 60):
        step.release()
        await lab.pass_(1)
        shown.append(await lab.until(lambda job, count=count: job.done == count * MB, number))  # type: ignore[misc]
    assert [job.done for job in shown] == sorted(job.done for job in shown)
    assert [job.percent for job in shown] == sorted(job.percent or 0 for job in shown)
    assert all(job.rate is None or job.rate >= 0 for job in shown)
    job = await lab.until(lambda job: job.note == "", number)
    assert job.attempts == 1
    go.set()
    assert (await lab.ended(number)).state is JobState.DONE


async def test_Q04_the_fall_is_said_while_it_lasts(lab: Lab) -> None:
    async def falls(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(MANIFEST + progress(50, 20))
        await exchange.gone()

    lab.box.routes["/api/pull"] = falls
    job = await lab.until(lambda job: job.note == "restarted by the server", await lab.pull())
    assert (job.done, job.percent) == (50 * MB, 50.0)
    await lab.bench.table.wish([job.id], JobWish.CANCEL)
    await lab.ended(job.id)


async def test_P25_a_database_that_hangs_makes_no_server_wait(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is sent than sockets hold: the worker reads on while its own writing waits, and keeps what it would have written."""
    record, go, start, all_sent = JobTable.record, asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hangs(self: Any, *args: Any, **more: Any) -> None:
        await go.wait()
        await record(self, *args, **more)

    async def much(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(GOOD)
        await told(exchange, start)
        padding = "x" * 200_000
        for count in range(40, 101):
            await exchange.chunk(line(status=padding, digest=f"sha256:{WEIGHTS}", total=100 * MB, completed=count * MB))
        all_sent.set()
        lab.box.listed.append("qwen3:8b")
        await exchange.chunk(SUCCESS)
        await exchange.end()

    lab.box.routes["/api/pull"] = much
    number = await lab.pull()
    await lab.until(lambda job: job.done == 40 * MB, number)
    monkeypatch.setattr(JobTable, "record", hangs)
    lab.clock.advance(1)
    tick = asyncio.ensure_future(lab.bench.queue.tick())
    try:
        start.set()
        await asyncio.wait_for(all_sent.wait(), 5)
        await lab.real(lambda: lab.box.asked("/api/show") == 1)  # the attempt itself went to its end
        assert lab.bench.job(number).state is JobState.FETCHING
    finally:
        go.set()
        await tick
    assert (await lab.ended(number)).attempts == 1


# --- processes ---------------------------------------------------------------------------------------------------------------


async def test_Q12_the_worker_stopped_and_continued_neither_stalls_nor_reconnects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own under `kill -STOP` for longer than a reconnect takes; nothing comes until a while after it goes on."""
    paths = find_paths(environ={"PADDOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)})
    box, sent, beats, quiet, over = Box(), [0], [0], asyncio.Event(), asyncio.Event()

    async def steady(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(MANIFEST)
        while not over.is_set():
            beats[0] += 1
            if not quiet.is_set():
                sent[0] += 1
                await exchange.chunk(progress(sent[0], total=100_000))
            await asyncio.sleep(0.02)
        box.listed.append("qwen3:latest")
        await exchange.chunk(SUCCESS)
        await exchange.end()

    box.routes["/api/pull"] = steady
    await box.start()
    workers: list[subprocess.Popen[bytes]] = []

    def spawn(of: Paths, *_arguments: str) -> subprocess.Popen[bytes]:
        workers.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.worker.quick_worker", "--linger", "0.1", "--no-space-checks"],
                cwd=ROOT,
                env={**os.environ, **of.environment()},
                start_new_session=True,
            )
        )
        return workers[-1]

    monkeypatch.setattr(jobs_module, "spawn_worker", spawn)
    database = Database(paths.database)
    jobs = jobs_module.Jobs(database, paths)
    job = await jobs.add("qwen3", Endpoint("box", "ollama", box.url))
    notes: set[str] = set()

    async def until(condition: Any, seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                found = jobs.get(job.id)
                notes.add(found.note if found is not None else "")
                await asyncio.sleep(0.01)

    def done() -> int:
        found = jobs.get(job.id)
        return found.done if found is not None else 0

    try:
        await until(lambda: done() > 20 * MB)
        workers[0].send_signal(signal.SIGSTOP)
        quiet.set()
        begun = beats[0]
        await until(lambda: beats[0] > begun + 140)  # 2.8 s and more
        workers[0].send_signal(signal.SIGCONT)
        begun = beats[0]
        await until(lambda: beats[0] > begun + 20)
        quiet.clear()
        behind = sent[0]
        await until(lambda: done() > behind * MB)
        over.set()
        assert await asyncio.to_thread(workers[0].wait, 20) == 0
        (ended,) = JobTable(database).list()
        assert (ended.state, ended.attempts, ended.failure) == (JobState.DONE, 1, None)
        assert box.asked("/api/pull") == 1
        assert not any("stalled" in note for note in notes)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        await database.aclose()
        await box.stop()


async def test_Q16_a_second_client_on_the_same_model_goes_on_when_we_cancel(lab: Lab) -> None:
    go = asyncio.Event()

    async def shared(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(GOOD)
        await told(exchange, go)
        await exchange.chunk(progress(100) + SUCCESS)
        await exchange.end()

    lab.box.routes["/api/pull"] = shared
    number = await lab.pull()
    await lab.until(lambda job: job.done == 40 * MB, number)
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.box.port)
    body = json.dumps({"model": "qwen3:8b"}).encode()
    writer.write(b"POST /api/pull HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await reader.readuntil(b'"completed": 40000000}')
    await lab.bench.table.wish([number], JobWish.CANCEL)
    await lab.until(lambda job: job.state is JobState.CANCELLED, number)
    await lab.real(lambda: lab.box.open == 1)
    go.set()
    assert b'"success"' in await reader.read()
    writer.close()
    assert {request.method for request in lab.box.requests} <= {"GET", "POST"}
    assert {request.path for request in lab.box.requests} == {"/api/tags", "/api/pull"}  # nothing was deleted


async def test_Q11_what_a_server_drops_at_its_start_is_said_while_it_is_away(lab: Lab) -> None:
    """An hour after it began, its partial files may be gone when it comes back; then it goes on from where the server says."""

    async def cut(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(GOOD)
        await exchange.gone()

    lab.box.routes["/api/pull"] = cut
    number = await lab.pull()
    await lab.until(lambda job: job.done == 40 * MB, number)
    assert dropped_by_restart(lab.bench.job(number), lab.clock.time()) == ""
    port = lab.box.port
    await lab.box.stop()
    lab.box.routes["/api/pull"] = lab.box.whole
    job = await lab.until(lambda job: job.wait is Wait.SERVER or job.wait is Wait.RETRY, number)
    while (job := lab.bench.job(number)).wait is not Wait.SERVER:
        await lab.pass_(5)
    assert job.note == f"waits for box at 127.0.0.1:{port}: nothing is listening"
    lab.clock.offset += 3600  # the hour as the wall clock sees it
    job = lab.bench.job(number)
    assert dropped_by_restart(job, lab.clock.time()) == "a restart of box would drop up to 40 MB of it, unless it runs with OLLAMA_NOPRUNE"
    await lab.box.start(port=port)
    await lab.pass_(60)
    job = await lab.ended(number)
    assert (job.state, job.done) == (JobState.DONE, 100 * MB)


async def test_Q15_a_wish_is_on_disk_before_anyone_can_show_it(lab: Lab) -> None:
    numbers = [await lab.pull(f"m{index}") for index in range(20)]
    other = Database(lab.bench.folder / "data" / "paddock.db", read_only=True)
    table = JobTable(other)
    await lab.bench.table.move([numbers[-1]], "first")
    assert table.list()[0].id == numbers[-1]
    for wish in (JobWish.PAUSE, JobWish.RUN, JobWish.CANCEL):
        await lab.bench.table.wish(numbers, wish)
        assert {job.wish for job in table.list() if job.id in numbers} == {wish}
    other.close()
    for number in numbers:
        await lab.ended(number)
