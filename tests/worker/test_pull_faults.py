"""Every fault of the catalogue (reliability reference, section 2.1) that a pull can meet, from a real socket up to the row of the queue.

Each test runs beside a pull from a server that is well, and ends with the common check: that pull never noticed, no connection and no
task is left (`Lab.finish`). Time stands still unless a test lets it pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import random
import re
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fault_server import Exchange, FaultServer, Route
from tests.support.registry import LAYERS, FakeRegistry
from tests.support.registry import silent as never
from tests.worker.fakes import MB
from tests.worker.lab import GOOD, SUCCESS, WEIGHTS, Lab, laboratory, line, progress, said, told
from tests.worker.test_gates import having
from tui.core.errors import FailureKind
from tui.core.jobs import Job, JobState, JobWish, Wait
from tui.core.models import Endpoint
from tui.services.plan import Planner
from tui.worker.attempt import DELAYS, DOWN_DELAYS, MOST_LAYERS, delay

Fault = Callable[[Exchange], Awaitable[None]]


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path, monkeypatch) as found:
        yield found


def first(lab: Lab, fault: Route, path: str = "/api/pull") -> None:
    """The first request for a path meets a fault, the later ones are answered well."""
    well, met = lab.box.routes[path], [False]

    async def route(exchange: Exchange) -> None:
        fault_now, met[0] = not met[0], True
        await (fault if fault_now else well)(exchange)

    lab.box.routes[path] = route


async def after_forty(lab: Lab, fault: Fault) -> Job:
    """A pull that meets a fault when 40 of its 100 MB have come; as it is after that attempt."""
    go = asyncio.Event()

    async def route(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(GOOD)
        await go.wait()
        await fault(exchange)

    first(lab, route)
    number = await lab.pull()
    await lab.until(lambda job: job.done == 40 * MB, number)
    go.set()
    return await lab.at_rest(number)


async def at_once(lab: Lab, fault: Fault) -> Job:
    """A pull whose first attempt is answered by a fault; as it is after that attempt."""
    first(lab, fault)
    return await lab.at_rest(await lab.pull())


async def retried(lab: Lab, job: Job, seconds: float = DELAYS[0], *, kind: FailureKind = FailureKind.INTERRUPTED) -> Job:
    """It waits so long, not a moment less, and the second attempt brings it home."""
    assert (job.state, job.wait, job.attempts) == (JobState.WAITING, Wait.RETRY, 1)
    assert job.failure is not None
    assert job.failure.kind is kind
    assert job.note == f"waits to retry (1 of 5): {job.failure.what}"
    assert (job.rate, job.eta) == (None, None)
    assert lab.due_in(job.id) == seconds
    pulls = lab.box.asked("/api/pull")
    await lab.pass_(seconds - 0.5)
    assert (lab.box.asked("/api/pull"), lab.bench.job(job.id).state) == (pulls, JobState.WAITING)
    await lab.pass_(1.0)
    done = await lab.ended(job.id)
    assert (done.state, done.attempts, done.done, done.failure) == (JobState.DONE, 2, 100 * MB, None)
    return done


def refused(job: Job, kind: FailureKind) -> None:
    """It failed at the first attempt, and nothing is tried again."""
    assert (job.state, job.attempts, job.due_at) == (JobState.FAILED, 1, None)
    assert job.failure is not None
    assert job.failure.kind is kind
    assert job.note == f"failed: {job.failure.what}"


def what(job: Job) -> str:
    assert job.failure is not None
    return job.failure.what


# --- nobody there, nothing said -----------------------------------------------------------------------------------------


async def test_H01_nothing_listens_and_looks_come_at_growing_pauses(lab: Lab) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    number = await lab.pull(endpoint=Endpoint("box", "ollama", f"http://127.0.0.1:{port}"))
    pauses = []
    for _ in range(6):
        job = await lab.until(lambda job: job.wait is Wait.SERVER and (job.due_at or 0) > lab.clock.time(), number)
        assert job.note == f"waits for box at 127.0.0.1:{port}: nothing is listening"
        assert job.attempts == 1  # looks cost none
        pauses.append(lab.due_in(number))
        await lab.pass_(pauses[-1])
    assert pauses == [*DOWN_DELAYS, DOWN_DELAYS[-1]]


async def test_H02_P33_a_server_that_never_answers_is_named_at_30_s_and_left_at_90(lab: Lab) -> None:
    first(lab, never)
    number = await lab.pull()
    await lab.until(lambda _job: lab.box.asked("/api/pull") == 1, number)
    await lab.pass_(25)
    assert lab.bench.job(number).note == "asks for the manifest"
    await lab.pass_(5.1)
    assert lab.bench.job(number).note == "stalled: no new bytes for 30s; reconnects after 90s"
    await lab.pass_(60)
    job = await lab.at_rest(number)
    assert what(job) == "No new bytes for 90s"
    await lab.real(lambda: lab.box.open == 0)
    await retried(lab, job, kind=FailureKind.TIMEOUT)


async def test_H02_a_stopped_process_takes_the_connection_and_says_nothing(lab: Lab) -> None:
    """What `kill -STOP` looks like: the kernel takes the connection, and nobody reads it."""
    with socket.socket() as stopped:
        stopped.bind(("127.0.0.1", 0))
        stopped.listen()
        number = await lab.pull(endpoint=replace(lab.endpoint, url=f"http://127.0.0.1:{stopped.getsockname()[1]}"))
        await lab.until(lambda job: job.note == "asks for the manifest", number)
        await asyncio.sleep(0.4)  # the list is asked for first, and given up
        await lab.pass_(90.1)
        job = await lab.at_rest(number)
        assert (job.wait, what(job)) == (Wait.RETRY, "No new bytes for 90s")


async def test_H03_a_late_first_byte_is_no_error(lab: Lab) -> None:
    go = asyncio.Event()

    async def late(exchange: Exchange) -> None:
        await go.wait()
        await lab.box.whole(exchange)

    lab.box.routes["/api/pull"] = late
    number = await lab.pull()
    await lab.until(lambda _job: lab.box.asked("/api/pull") == 1, number)
    await lab.pass_(85)
    go.set()
    job = await lab.ended(number)
    assert (job.state, job.attempts, job.failure) == (JobState.DONE, 1, None)


@pytest.mark.parametrize("ends", [True, False])
async def test_H04_a_header_byte_by_byte_keeps_the_same_limits(lab: Lab, ends: bool) -> None:
    step = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n"
    given = [0]

    async def drip(exchange: Exchange) -> None:
        for at in range(len(head)):
            await exchange.raw(head[at : at + 1])
            given[0] += 1
            await told(exchange, step)
            step.clear()
        lab.box.listed.append("qwen3:8b")
        await exchange.raw(b"\r\n" + progress(100) + SUCCESS)

    first(lab, drip)
    number = await lab.pull()
    await lab.until(lambda _job: given[0], number)
    for _ in range(len(head) if ends else 18):
        before = given[0]
        step.set()
        await lab.pass_(1 if ends else 5)
        await lab.until(lambda _job, before=before: given[0] > before or not lab.placed(number), number)  # type: ignore[misc]
    if ends:
        assert (await lab.ended(number)).attempts == 1
    else:
        await retried(lab, await lab.at_rest(number), kind=FailureKind.TIMEOUT)


# --- cut in the middle --------------------------------------------------------------------------------------------------


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def clean_end(exchange: Exchange) -> None:
    await exchange.end()


async def close(exchange: Exchange) -> None:
    exchange.writer.close()


async def test_H05_H36_a_reset_keeps_the_bytes_and_goes_on_after_5_s(lab: Lab) -> None:
    """The client's own exception has an empty text here."""
    job = await after_forty(lab, reset)
    assert job.done == 40 * MB
    assert job.failure is not None
    words = r"Connection to Ollama at 127\.0\.0\.1:\d+ lost in the middle of the answer, after \S+: reset by the server"
    assert re.fullmatch(words, what(job))
    assert (job.failure.where, job.failure.remedy) == (f"127.0.0.1:{lab.box.port}", "Try again")
    await retried(lab, job)


@pytest.mark.parametrize("end", [reset, clean_end, close])
async def test_H06_half_a_line_is_shown_nowhere_and_lies_in_the_details(lab: Lab, end: Fault, caplog: pytest.LogCaptureFixture) -> None:
    came = asyncio.Event()

    async def half(exchange: Exchange) -> None:
        await exchange.chunk(b'{"status":"HALF \x1b[31m')
        await came.wait()
        await end(exchange)

    asyncio.get_running_loop().call_later(0.05, came.set)  # a reset may overtake what was sent before it
    job = await after_forty(lab, half)
    assert job.done == 40 * MB
    assert job.failure is not None
    assert "HALF" not in job.note
    assert "It ended in the middle of a line: " in job.failure.details
    assert "HALF \\x1b[31m" in job.failure.details
    assert "in the middle of a line" in caplog.text
    assert "HALF" not in caplog.text
    await retried(lab, job)


async def test_H06_a_last_line_without_its_end_counts(lab: Lab) -> None:
    lab.box.streams(progress(100), SUCCESS.rstrip(b"\n"))
    assert (await lab.ended(await lab.pull())).state is JobState.DONE


async def test_H07_clean_end_without_success(lab: Lab) -> None:
    job = await after_forty(lab, clean_end)
    assert job.done == 40 * MB
    assert what(job) == f"The answer of Ollama at 127.0.0.1:{lab.box.port} was cut off: it ended without success"
    await retried(lab, job)


async def test_H07_Q06_clean_end_after_the_check_is_unclear_and_asked_again_at_once(lab: Lab) -> None:
    async def no_success(exchange: Exchange) -> None:
        await exchange.stream(progress(100), line(status="verifying sha256 digest"), line(status="writing manifest"))

    job = await at_once(lab, no_success)
    assert (job.wait, job.note) == (Wait.RETRY, "unclear how it ended, asks again")
    assert lab.due_in(job.id) == 1.0
    await lab.pass_(1.1)
    assert (await lab.ended(job.id)).state is JobState.DONE


async def test_H07_nothing_at_all_is_no_success(lab: Lab) -> None:
    async def empty(exchange: Exchange) -> None:
        await exchange.stream()

    job = await at_once(lab, empty)
    assert (job.done, job.total, job.percent) == (0, None, None)
    await retried(lab, job)


@pytest.mark.parametrize("more", [-20, 50])
async def test_H08_a_length_that_is_wrong(lab: Lab, more: int) -> None:
    """Shorter: the library cuts silently. Longer: the line ends before."""
    body = GOOD + progress(100)

    async def lie(exchange: Exchange) -> None:
        await exchange.head(200, {"content-length": str(len(body) + more)}, chunked=False)
        await exchange.raw(body)

    job = await at_once(lab, lie)
    assert job.done == (100 if more > 0 else 40) * MB
    await retried(lab, job)


async def test_H09_silence_with_the_socket_open(lab: Lab) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(GOOD)
        await exchange.gone()

    first(lab, silent)
    number = await lab.pull()
    await lab.until(lambda job: job.done == 40 * MB, number)
    await lab.pass_(35)
    job = lab.bench.job(number)
    assert (job.state, job.note) == (JobState.FETCHING, "stalled: no new bytes for 30s; reconnects after 90s")
    assert lab.box.open == 1
    await lab.pass_(55)
    job = await lab.at_rest(number)
    assert job.done == 40 * MB
    await lab.real(lambda: lab.box.open == 0)
    await retried(lab, job, kind=FailureKind.TIMEOUT)


async def test_H09_Q01_the_same_count_over_and_over_is_silence_too(lab: Lab) -> None:
    beat = asyncio.Event()

    async def stuck(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(GOOD)
        while True:
            await told(exchange, beat)
            beat.clear()
            await exchange.chunk(progress(40) * 80)

    first(lab, stuck)
    number = await lab.pull()
    await lab.until(lambda job: job.done == 40 * MB, number)
    for _ in range(18):
        await lab.pass_(5)
        beat.set()
        await lab.bench.tick()
    job = await lab.at_rest(number)
    assert what(job) == "No new bytes for 90s"
    await retried(lab, job, kind=FailureKind.TIMEOUT)


async def test_Q01_a_check_may_be_silent_for_minutes(lab: Lab) -> None:
    go = asyncio.Event()

    async def hashing(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(progress(100) + line(status="verifying sha256 digest"))
        await go.wait()
        lab.box.listed.append("qwen3:8b")
        await exchange.chunk(line(status="success"))
        await exchange.end()

    lab.box.routes["/api/pull"] = hashing
    number = await lab.pull()
    await lab.until(lambda job: job.state is JobState.CHECKING, number)
    await lab.pass_(300)
    assert (lab.bench.job(number).state, lab.bench.job(number).note) == (JobState.CHECKING, "checks what arrived")
    go.set()
    assert (await lab.ended(number)).attempts == 1


# --- errors in words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (b'{"error":"max retries exceeded: EOF"}', "The connection to the registry broke"),
        (b'{"error":{"message":"max retries exceeded: EOF"}}', "The connection to the registry broke"),
        (b'{"error":["max retries exceeded: EOF"]}', "The connection to the registry broke"),
        (b'{"status":"x","error":"something odd"}', "The server gave up: something odd"),
        (b'{"error":{}, "message":"x"}' + b"\n" + b'{"error":7}', "The server gave up without a reason"),
        (b'{"error":"\\u001b]0;title\\u0007\\ud83d"}', "The server gave up: \u241b]0;title\u2407\ufffd"),
        (b'{"error":"caf\xff"}', "The server gave up: caf\ufffd"),
        ('{"error":"one\u2028two\u0085three"}'.encode(), "The server gave up: one⏎two⏎three"),
        (b'{"error":"' + b"x" * 100_000 + b'"}', "The server gave up: " + "x" * 200 + "…" + "x" * 99),
        (b'{"error":"PrematureEOF: ReadError"}', "The server gave up: PrematureEOF: ReadError"),
    ],
    ids=range(10),
)
async def test_H10_H14_H15_H16_an_error_object_in_the_middle(lab: Lab, error: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.worker.lab.NO_SENTENCE", re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]"))  # the words are the server's

    async def fault(exchange: Exchange) -> None:
        await exchange.chunk(error + b"\n")
        await exchange.gone()

    job = await after_forty(lab, fault)
    assert what(job) == words
    assert job.done == 40 * MB
    assert len(job.failure.details if job.failure else "") <= 64 * 1024
    await retried(lab, job, kind=FailureKind.INTERRUPTED if "broke" in words else FailureKind.SERVER)


BODIES = {
    "text": b'{"error":"because"}',
    "object": b'{"error":{"message":"because"}}',
    "FastAPI": b'{"detail":[{"loc":["body","x"],"msg":"because"}]}',
    "empty": b"",
    "page": b"<html><head><title>Nice Page</title></head>" + b"x" * 100_000,
    "binary": bytes(range(128, 256)) * 20,
    "deep": b"[" * 60_000,
}
FINAL = {
    400: FailureKind.BAD_REQUEST, 401: FailureKind.AUTH, 403: FailureKind.FORBIDDEN, 404: FailureKind.NOT_FOUND,
    405: FailureKind.UNSUPPORTED, 409: FailureKind.BAD_REQUEST, 422: FailureKind.BAD_REQUEST, 501: FailureKind.UNSUPPORTED,
}  # fmt: skip
PASSING = {429: FailureKind.BUSY, 500: FailureKind.SERVER, 502: FailureKind.SERVER, 503: FailureKind.BUSY, 504: FailureKind.SERVER}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_H11_every_status_with_every_body(lab: Lab, body: bytes) -> None:
    """What no retry can mend fails at once; the rest is tried again. The page's title is all of it that is shown."""

    async def answer(exchange: Exchange) -> None:
        status = int(exchange.request.json["model"].removeprefix("m").removesuffix(":latest"))
        await exchange.reply(status, body, {"content-type": "text/html" if b"<html" in body else "application/json"})

    lab.bench.settings = having(lab.bench.settings, pulls={"at_once": 5})
    lab.box.routes["/api/pull"] = answer
    numbers = {status: await lab.pull(f"m{status}") for status in (FINAL | PASSING)}
    for status, number in numbers.items():
        job = await lab.at_rest(number)
        assert job.failure is not None
        assert (job.failure.kind, job.attempts) == ((FINAL | PASSING)[status], 1), status
        assert job.state is (JobState.FAILED if status in FINAL else JobState.WAITING), status
        assert job.wait is (Wait.NOTHING if status in FINAL else Wait.RETRY)
        assert job.failure.where == f"127.0.0.1:{lab.box.port}"
        assert len(job.failure.details) <= 64 * 1024
        if b"because" in body and status not in (401, 404):
            assert "because" in f"{what(job)} {job.failure.details}"
        if status in (502, 504) and b"Nice Page" in body:
            assert what(job).startswith("A proxy answered instead of Ollama")
            assert "Nice Page" in job.note
    for number in numbers.values():
        await lab.bench.table.wish([number], JobWish.CANCEL)
        await lab.ended(number)


async def test_H11_a_server_that_knows_no_pulls_is_not_said_to_lack_the_model(lab: Lab) -> None:
    async def unknown(exchange: Exchange) -> None:
        await exchange.json({"error": {"message": "File Not Found", "code": 404}}, 404)

    job = await at_once(lab, unknown)
    refused(job, FailureKind.NOT_FOUND)
    assert what(job) == f"Ollama at 127.0.0.1:{lab.box.port} knows no /api/pull (404)"


async def test_H11_Q09_a_name_that_the_server_takes_for_none(lab: Lab) -> None:
    async def invalid(exchange: Exchange) -> None:
        await exchange.json({"error": "invalid model name"}, 400)

    job = await at_once(lab, invalid)
    refused(job, FailureKind.BAD_REQUEST)
    assert "name" in what(job)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("60", 60.0), ("0", 5.0), ("61", 5.0), ("-1", 5.0), ("99999999999", 5.0), ("abc", 5.0), ("Sat, 99", 5.0), (None, 5.0)],
)
async def test_H13_retry_after_is_honoured_up_to_a_minute(lab: Lab, status: int, value: str | None, seconds: float) -> None:
    async def busy(exchange: Exchange) -> None:
        await exchange.reply(status, b'{"error":"busy"}', {} if value is None else {"retry-after": value})

    job = await at_once(lab, busy)
    await retried(lab, job, seconds, kind=FailureKind.BUSY)


async def test_H13_retry_after_as_a_date(lab: Lab) -> None:
    import email.utils

    async def busy(exchange: Exchange) -> None:
        await exchange.reply(503, b"", {"retry-after": email.utils.formatdate(lab.clock.time() + 20, usegmt=True)})

    job = await at_once(lab, busy)
    assert 19 <= lab.due_in(job.id) <= 20
    await lab.pass_(20)
    assert (await lab.ended(job.id)).state is JobState.DONE


async def test_H13_a_server_that_loads_costs_no_attempt(lab: Lab) -> None:
    async def loading(exchange: Exchange) -> None:
        await exchange.json({"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, 503)

    job = await at_once(lab, loading)
    assert (job.wait, lab.due_in(job.id)) == (Wait.SERVER, DOWN_DELAYS[0])
    await lab.pass_(2.1)
    assert (await lab.ended(job.id)).attempts == 1


# --- odd text -----------------------------------------------------------------------------------------------------------


async def test_H14_bad_bytes_and_characters_split_over_packets(lab: Lab) -> None:
    text = '{"status":"hölzern 🦙"}\n'.encode() + b'{"status":"\xff\xfe\xe2\x82"}\n' + progress(40, 100) + SUCCESS
    lab.box.streams(*(text[at : at + 1] for at in range(len(text))))
    assert (await lab.ended(await lab.pull())).state is JobState.DONE


async def test_H15_lone_surrogates_everywhere_reach_the_database_as_replacements(lab: Lab) -> None:
    odd = b'{"status":"\\ud83d\\u0000","digest":"sha256:\\udc00","total":5,"completed":1}\n'

    async def fault(exchange: Exchange) -> None:
        await exchange.stream(odd)

    job = await at_once(lab, fault)
    (layer,) = job.layers
    assert layer.digest == "sha256:\ufffd"
    await retried(lab, job)


@pytest.mark.parametrize("kind", ["application/x-ndjson; charset=utf-16", "text/html; charset=foo", "nonsense", ""])
async def test_H16_H17_line_ends_of_unicode_and_foreign_charsets(lab: Lab, kind: str) -> None:
    lab.box.streams('{"status":"a\u2028b\u2029c\u0085d"}\n'.encode(), GOOD, progress(100), SUCCESS, kind=kind)
    job = await lab.ended(await lab.pull())
    assert (job.state, job.attempts, job.done) == (JobState.DONE, 1, 100 * MB)


ODD = [
    b"", b"42", b"[]", b"null", b"not json", b'{"status":NaN}', b"{}", b'{"status":[],"digest":{}}', b'{"status":7,"total":"x"}',
    b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}", b'{"status":"pulling","digest":7,"total":1e999999,"completed":-1}',
    b'{"status":"pulling","status":"pulling","completed":{"a":1}}', b'{"error":null}', b'{"error":""}',
]  # fmt: skip


async def test_H18_H19_senseless_lines_are_skipped(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.box.streams(b"\xef\xbb\xbf" + GOOD, *(odd + b"\n" for odd in ODD), progress(100), SUCCESS)
    job = await lab.ended(await lab.pull())
    assert (job.state, job.attempts, job.done) == (JobState.DONE, 1, 100 * MB)
    assert caplog.text.count("makes no sense") == 1


async def test_H18_twenty_senseless_lines_in_a_row_end_the_attempt(lab: Lab) -> None:
    async def junk(exchange: Exchange) -> None:
        await exchange.chunk(b"junk\n" * 19 + progress(40) + b"junk\n" * 20)
        await exchange.gone()

    job = await after_forty(lab, junk)
    assert what(job) == f"The answer of Ollama at 127.0.0.1:{lab.box.port} cannot be used: 20 lines in a row make no sense"
    assert job.done == 40 * MB
    await retried(lab, job, kind=FailureKind.PROTOCOL)


FIGURES: list[Any] = [0, -1, 2**63, 1 << 400, 1.5, float(10**30), "7", None, True, [], {}, "∞"]


@pytest.mark.parametrize("total", FIGURES, ids=repr)
async def test_Q05_senseless_figures_up_to_the_stored_row(lab: Lab, total: Any) -> None:
    """Every senseless total with every senseless count, after each of which the row is read back."""
    go = asyncio.Event()

    async def route(exchange: Exchange) -> None:
        await exchange.head()
        for place, completed in enumerate((*FIGURES, 150 * MB)):
            await exchange.chunk(line(status="pulling", digest=f"sha256:{place % 3}", total=total, completed=completed))
            await exchange.chunk(line(status="pulling", digest="sha256:" + "a" * 64, total=100 * MB, completed=completed))
            await exchange.chunk(line(status="pulling", digest="sha256:" + "b" * 64, completed=completed))
        await go.wait()
        lab.box.listed.append("qwen3:8b")
        await exchange.chunk(SUCCESS)
        await exchange.end()

    lab.box.routes["/api/pull"] = route
    number = await lab.pull()
    job = await lab.until(lambda job: job.done >= 100 * MB, number)
    assert job.total is not None
    assert 0 <= job.done <= job.total < 2**63
    assert job.percent is not None
    assert 0 <= job.percent <= 99
    assert all(0 <= layer.completed <= max(layer.total, layer.completed) for layer in job.layers)
    for rate in (job.rate, job.average, job.peak, job.eta):
        assert rate is None or rate >= 0
    await lab.pass_(10)
    go.set()
    job = await lab.ended(number)
    assert (job.state, job.percent) == (JobState.DONE, 100.0)


async def test_H20_a_line_without_end(lab: Lab) -> None:
    async def endless(exchange: Exchange) -> None:
        while True:
            await exchange.chunk(b"x" * 262_144)

    job = await after_forty(lab, endless)
    assert what(job) == f"The answer of Ollama at 127.0.0.1:{lab.box.port} cannot be used: a line is longer than 8 MB"
    await lab.real(lambda: lab.box.open == 0)
    await retried(lab, job, kind=FailureKind.PROTOCOL)


async def test_H20_twenty_thousand_lines_at_once(lab: Lab) -> None:
    counts = [progress(n // 200) for n in range(20_000)]
    lab.box.streams(b"".join(counts), SUCCESS)
    job = await lab.ended(await lab.pull())
    assert (job.state, job.attempts) == (JobState.DONE, 1)


async def test_H20_a_line_of_one_large_object(lab: Lab) -> None:
    lab.box.streams(GOOD, line(status="x" * 5_000_000, digest="d" * 1_000_000), progress(100), SUCCESS)
    job = await lab.ended(await lab.pull())
    assert (job.state, job.attempts) == (JobState.DONE, 1)
    assert all(len(layer.digest) <= 80 for layer in job.layers)


async def test_H20_layers_without_end_are_no_pull(lab: Lab) -> None:
    """Each new layer looks like progress, is remembered, and is written down."""

    async def endless(exchange: Exchange) -> None:
        number = 0
        while True:
            lines = [line(status="", digest=f"{number + more:x}", total=5) for more in range(500)]
            await exchange.chunk(b"".join(lines))
            number += 500

    job = await after_forty(lab, endless)
    assert what(job) == "The server names layers without end"
    assert len(job.layers) <= MOST_LAYERS + 1
    await retried(lab, job, kind=FailureKind.PROTOCOL)


# --- not what was asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-none"])
async def test_H21_compressed_answers_are_refused(lab: Lab, encoding: str) -> None:
    async def zipped(exchange: Exchange) -> None:
        await exchange.reply(200, gzip.compress(b"\0" * 3_000_000), {"content-encoding": encoding})

    job = await at_once(lab, zipped)
    assert f"compressed ({encoding})" in what(job)
    assert lab.box.requests[-1].headers["accept-encoding"] == "identity"
    await retried(lab, job, kind=FailureKind.PROTOCOL)


@pytest.mark.parametrize("location", ["", "http://127.0.0.1:{port}/api/pull", "file:///etc/passwd", "http://[bad", "/api/pull"])
async def test_H22_redirects_are_not_followed_and_not_tried_again(lab: Lab, location: str) -> None:
    """Nobody but a person can mend that."""
    stranger = FaultServer()
    await stranger.start()

    async def elsewhere(exchange: Exchange) -> None:
        await exchange.reply(307, b"", {"location": location.format(port=stranger.port)})

    job = await at_once(lab, elsewhere)
    refused(job, FailureKind.REDIRECT)
    assert what(job).endswith("add that address as a server if you trust it")
    assert stranger.connections == 0
    await stranger.stop()


async def test_H23_H24_proxies_of_the_environment_get_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = FaultServer()
    await proxy.start()
    for name in ("HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv(name.lower(), proxy.url)
    monkeypatch.setenv("SSLKEYLOGFILE", "/nonexistent/x")
    assert (await lab.ended(await lab.pull())).state is JobState.DONE
    assert proxy.connections == 0
    await proxy.stop()


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "127.0.0.1:{port} does not speak HTTP (the answer looks like SSH)"),
        (b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n", "127.0.0.1:{port} does not speak HTTP (the answer looks like TLS)"),
        (b"<html>HTTP/0.9</html>\r\n\r\n", "127.0.0.1:{port} does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n", "127.0.0.1:{port} does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "Ollama at 127.0.0.1:{port} broke the HTTP protocol"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000, "Ollama at 127.0.0.1:{port} broke the HTTP protocol"),
    ],
    ids=["SSH", "TLS", "HTTP/0.9", "header", "chunk", "long header"],
)
async def test_H25_not_http(lab: Lab, greeting: bytes, words: str) -> None:
    async def greet(exchange: Exchange) -> None:
        await exchange.raw(greeting)

    job = await at_once(lab, greet)
    assert what(job).startswith(words.format(port=lab.box.port))
    await retried(lab, job, kind=FailureKind.PROTOCOL)


async def test_H25_tls_asked_of_a_plain_port_is_for_a_person_to_mend(lab: Lab) -> None:

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    job = await lab.at_rest(await lab.pull(endpoint=replace(lab.endpoint, url=f"https://127.0.0.1:{port}")))
    refused(job, FailureKind.TLS)
    assert what(job) == f"127.0.0.1:{port} does not speak TLS as asked"
    server.close()


async def test_H28_H39_an_address_that_cannot_be_used_fails_before_anything_is_sent(lab: Lab) -> None:
    for url in ("http://[bad", "unix:///nowhere.sock", "http://127.0.0.1:70000", ""):
        number = await lab.pull(f"m{len(url)}", endpoint=replace(lab.endpoint, url=url))
        job = await lab.until(lambda job: job.state.ended, number)
        assert job.state is JobState.FAILED
    assert lab.box.connections == 0


async def test_H29_a_name_that_is_unknown_waits_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: Any, *_args: Any, **_more: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    number = await lab.pull(endpoint=replace(lab.endpoint, url="http://gpu.example.invalid:11434"))
    job = await lab.until(lambda job: job.wait is Wait.SERVER, number)
    assert job.note == "waits for box at gpu.example.invalid:11434: the name gpu.example.invalid was not resolved"


# --- many, cancelled, restarted -----------------------------------------------------------------------------------------


async def test_H31_many_pulls_one_after_another_leave_nothing_open(lab: Lab) -> None:
    lab.bench.settings = having(lab.bench.settings, pulls={"at_once": 5})
    most = [0]
    pulling = [0]

    async def count(exchange: Exchange) -> None:
        pulling[0] += 1
        most[0] = max(most[0], pulling[0])
        await asyncio.sleep(0)
        await lab.box.whole(exchange)
        pulling[0] -= 1

    lab.box.routes["/api/pull"] = count
    numbers = [await lab.pull(f"m{index}") for index in range(24)]
    for number in numbers:
        assert (await lab.ended(number)).state is JobState.DONE
    assert 1 <= most[0] <= 4  # the fifth place is the other server's
    await lab.real(lambda: lab.box.open == 0)


async def test_H31_E01_too_many_open_files_is_a_sentence_and_passes(lab: Lab) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = await lab.pull()
    await lab.bench.queue.read()
    highest = max(int(one.name) for one in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    filling: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                filling.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(60):
            await lab.bench.queue.tick()
            await asyncio.sleep(0.001)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in filling:
            os.close(one)
    job = await lab.at_rest(number)
    assert what(job) == "Too many files are open"
    await retried(lab, job, kind=FailureKind.INTERNAL)


async def stage_header(exchange: Exchange) -> None:
    await exchange.gone()


async def stage_first_line(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.gone()


async def stage_mid_line(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(GOOD + b'{"status":"pul')
    await exchange.gone()


async def stage_error_body(exchange: Exchange) -> None:
    await exchange.head(500, {"content-length": "1000"}, chunked=False)
    await exchange.raw(b'{"error":"so')
    await exchange.gone()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


STAGES: dict[str, tuple[str, Route]] = {
    "list before": ("/api/tags", stage_header),
    "header": ("/api/pull", stage_header),
    "first line": ("/api/pull", stage_first_line),
    "mid-line": ("/api/pull", stage_mid_line),
    "error body": ("/api/pull", stage_error_body),
    "proof": ("/api/show", stage_first_line),
}


@pytest.mark.parametrize("wish", [JobWish.CANCEL, JobWish.PAUSE])
@pytest.mark.parametrize("stage", STAGES)
async def test_H32_a_wish_at_every_stage_closes_the_connection_within_a_second(lab: Lab, stage: str, wish: JobWish) -> None:
    path, route = STAGES[stage]
    well = lab.box.routes[path]
    lab.box.routes[path] = route
    number = await lab.pull()
    await lab.until(lambda _job: lab.box.asked(path), number)
    await lab.bench.table.wish([number], wish)
    await lab.bench.tick(2)
    await lab.real(lambda: lab.box.open == 0)
    state = JobState.CANCELLED if wish is JobWish.CANCEL else JobState.PAUSED
    job = await lab.until(lambda job: job.state is state, number)
    assert job.failure is None
    lab.box.routes[path] = well
    if wish is JobWish.CANCEL:
        await lab.bench.table.retry([number])
    else:
        await lab.bench.table.wish([number], JobWish.RUN)
    await lab.until(lambda job: job.state is JobState.DONE, number)


async def test_H32_a_cancel_while_connecting(lab: Lab) -> None:
    """A listener whose queue is full: connecting itself waits."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        crowd = [socket.socket() for _ in range(3)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(address)
        number = await lab.pull(endpoint=replace(lab.endpoint, url=f"http://127.0.0.1:{address[1]}"))
        await lab.until(lambda job: job.state is JobState.FETCHING, number)
        await lab.bench.table.wish([number], JobWish.CANCEL)
        await lab.until(lambda job: job.state is JobState.CANCELLED, number)
        for one in crowd:
            one.close()


async def test_H32_forty_cancels_in_a_row_leak_nothing(lab: Lab) -> None:
    lab.box.routes["/api/pull"] = stage_mid_line
    number = await lab.pull()
    files = 0
    for turn in range(40):
        await lab.until(lambda job: job.done == 40 * MB and job.state is JobState.FETCHING, number)
        await lab.bench.table.wish([number], JobWish.CANCEL)
        await lab.until(lambda job: job.state is JobState.CANCELLED, number)
        await lab.real(lambda: lab.box.open == 0)
        if turn == 4:
            files = open_files()
        await lab.bench.table.retry([number])
    assert open_files() <= files + 2
    lab.box.routes["/api/pull"] = lab.box.whole
    await lab.bench.table.wish([number], JobWish.CANCEL)
    await lab.ended(number)


async def test_H33_a_kept_connection_that_died_during_the_pull_is_no_fault(lab: Lab) -> None:
    """The list was asked for before, the server restarted since: the proof asks once more on a new connection."""
    kept: list[Exchange] = []

    async def tags(exchange: Exchange) -> None:
        exchange.keep = True
        kept.append(exchange)
        await exchange.json(lab.box.tags())

    async def pull(exchange: Exchange) -> None:
        for one in kept:
            one.reset()
        await lab.box.whole(exchange)

    lab.box.routes |= {"/api/tags": tags, "/api/pull": pull}
    job = await lab.ended(await lab.pull())
    assert (job.state, job.attempts) == (JobState.DONE, 1)
    assert len(kept) == 2


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError(""), httpx.WriteError(""), httpx.ReadTimeout(""), httpx.WriteTimeout(""), httpx.ConnectTimeout(""),
        httpx.PoolTimeout(""), httpx.ConnectError(""), httpx.CloseError(""), httpx.RemoteProtocolError(""),
        httpx.LocalProtocolError(""), httpx.DecodingError(""),
        httpx.UnsupportedProtocol(""), httpx.ProxyError(""), httpx.InvalidURL(""), OSError(), ConnectionResetError(), BrokenPipeError(),
        TimeoutError(), RuntimeError(""), KeyError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
async def test_H36_exceptions_without_a_text_are_sentences(lab: Lab, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    real = httpx.AsyncHTTPTransport.handle_async_request

    async def broken(self: Any, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/pull" and request.url.port == lab.box.port:
            raise error
        return await real(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", broken)
        job = await lab.at_rest(await lab.pull())
    assert job.failure is not None
    assert len(job.failure.what) > 20
    assert job.failure.where
    assert job.failure.remedy
    assert not job.state.ended or job.failure.kind is FailureKind.CONFIG
    assert job.due_at is None or 0 < lab.due_in(job.id) <= DELAYS[0]


async def test_P34_six_attempts_at_5_15_45_120_300_seconds_and_no_more(lab: Lab) -> None:
    """On a real socket, with every attempt counted by the server."""

    async def cut(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(GOOD)
        await exchange.end()

    lab.box.routes["/api/pull"] = cut
    number = await lab.pull()
    for attempt, seconds in enumerate(DELAYS, 1):
        job = await lab.until(
            lambda job, attempt=attempt: job.attempts == attempt and job.wait is Wait.RETRY and not lab.placed(number),  # type: ignore[misc]
            number,
        )
        assert (lab.due_in(number), job.done, lab.box.asked("/api/pull")) == (seconds, 40 * MB, attempt)
        assert f"({attempt} of 5)" in job.note
        await lab.pass_(seconds + 0.0001)
    job = await lab.ended(number)
    assert (job.state, job.attempts, job.done) == (JobState.FAILED, 6, 40 * MB)
    assert job.note == f"failed after 5 retries: {what(job)}"
    await lab.pass_(60)
    assert lab.box.asked("/api/pull") == 6


def test_P34_pauses_vary_by_a_fifth() -> None:
    spread = random.Random(1)
    for number, seconds in enumerate((5.0, 15.0, 45.0, 120.0, 300.0, 300.0), 1):
        found = [delay(number, DELAYS, spread.uniform) for _ in range(400)]
        assert 0.8 * seconds <= min(found) < 0.85 * seconds
        assert 1.15 * seconds < max(found) <= 1.2 * seconds


# --- the proof ------------------------------------------------------------------------------------------------------------


async def broken_json(exchange: Exchange) -> None:
    await exchange.reply(200, b'{"models":[')


async def page(exchange: Exchange) -> None:
    await exchange.reply(200, b"<html><title>Sign in</title></html>", {"content-type": "text/html"})


async def server_error(exchange: Exchange) -> None:
    await exchange.json({"error": "out of memory"}, 500)


async def moved(exchange: Exchange) -> None:
    await exchange.reply(301, b"", {"location": "http://192.0.2.9/"})


async def zipped_list(exchange: Exchange) -> None:
    await exchange.reply(200, gzip.compress(b"{}"), {"content-encoding": "gzip"})


async def half_a_list(exchange: Exchange) -> None:
    await exchange.head(200, {"content-length": "500"}, chunked=False)
    await exchange.raw(b'{"models":[{"name":"qwen3:8b"')


def a_list(value: Any) -> Route:
    async def route(exchange: Exchange) -> None:
        await exchange.json(value)

    return route


NO_PROOF: dict[str, Route] = {
    "reset": reset,
    "silent": never,
    "broken JSON": broken_json,
    "page": page,
    "500": server_error,
    "moved": moved,
    "zipped": zipped_list,
    "half": half_a_list,
    "null": a_list({"models": None}),
    "nothing": a_list({}),
    "an array": a_list([]),
    "numbers": a_list({"models": [1, None, "qwen3:8b", ["qwen3:8b"], {"name": 7}]}),
    "others": a_list({"models": [{"name": "qwen3:80b"}, {"name": "qwen3"}]}),
}


@pytest.mark.parametrize("proof", NO_PROOF)
async def test_P06_H38_success_without_a_list_to_prove_it_is_not_done(lab: Lab, proof: str) -> None:
    well = lab.box.routes["/api/tags"]
    number = await lab.pull()
    lab.box.routes["/api/tags"] = NO_PROOF[proof]
    job = await lab.at_rest(number)
    assert lab.box.asked("/api/pull") == 1
    assert job.digest == ""
    if proof == "moved":
        refused(job, FailureKind.REDIRECT)
        return
    assert (job.state, job.wait) == (JobState.WAITING, Wait.RETRY)
    assert job.done == 100 * MB
    assert lab.due_in(number) == DELAYS[0]
    assert lab.box.asked("/api/tags") >= 4  # once before, three times after
    lab.box.routes["/api/tags"] = well
    await lab.pass_(6)
    assert (await lab.ended(number)).state is JobState.DONE


async def test_H38_a_list_of_five_thousand_odd_entries_holds_the_proof(lab: Lab) -> None:
    odd: list[Any] = [{"name": f"m{index}", "size": -5, "modified_at": "0001-01-01T00:00:00Z"} for index in range(5000)]
    odd += [{"name": "m1"}, {}, None, {"name": None, "model": 5}]
    odd += [{"model": "qwen3:8b", "size": "big", "digest": 7, "modified_at": "2999-01-01"}]
    odd += [{"name": "\ud83d\x1b[31m"}, {"name": "x" * 100_000}]
    lab.box.routes["/api/tags"] = a_list({"models": odd})
    job = await lab.ended(await lab.pull())
    assert (job.state, job.digest) == (JobState.DONE, "")


async def test_P06_a_list_that_lags_behind_is_asked_again(lab: Lab) -> None:
    async def lags(exchange: Exchange) -> None:
        await exchange.json(lab.box.tags() if lab.box.asked("/api/tags") >= 3 else {"models": []})

    lab.box.routes["/api/tags"] = lags
    job = await lab.ended(await lab.pull())
    assert (job.state, job.attempts) == (JobState.DONE, 1)


odd_detail = a_list({"modelfile": 7, "details": [], "model_info": 1})


@pytest.mark.parametrize("fault", [reset, broken_json, page, server_error, a_list([]), odd_detail])
async def test_P06_what_show_cannot_tell_does_not_undo_what_is_listed(lab: Lab, fault: Route) -> None:
    lab.box.routes["/api/show"] = fault
    job = await lab.ended(await lab.pull())
    assert (job.state, job.attempts, job.digest) == (JobState.DONE, 1, "d" * 64)


async def test_Q08_other_weights_than_the_stream_named(lab: Lab) -> None:
    lab.box.routes["/api/show"] = a_list({"modelfile": "FROM /models/blobs/sha256-" + "b" * 64})
    job = await lab.at_rest(await lab.pull())
    assert job.note == "arrived damaged (checksum), loads the damaged part anew"
    assert job.state is JobState.WAITING
    await lab.pass_(2.1)
    job = await lab.ended(job.id)
    assert (job.state, job.attempts) == (JobState.FAILED, 2)


# --- the plan --------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def registry(lab: Lab) -> AsyncIterator[FakeRegistry]:
    """The queue's planner is the real one, and asks this registry."""
    found = FakeRegistry()
    await found.start()
    found.add("qwen3:8b")
    planner = Planner(lambda: lab.bench.settings, {"PADDOCK_REGISTRY": found.url}, lab.clock)
    lab.bench.plan = planner.plan  # type: ignore[method-assign]
    yield found
    await found.stop()


@pytest.mark.parametrize("fault", [reset, server_error, moved, broken_json, half_a_list, never], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("where", ["blobs", "version"])
async def test_a_plan_that_meets_a_fault_stops_no_pull(
    lab: Lab, registry: FakeRegistry, where: str, fault: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.services.plan.VERSION_WITHIN", 0.2)
    monkeypatch.setattr("tui.services.plan.WITHIN", 1.2)
    if where == "version":
        lab.box.routes["/api/version"] = fault
    lab.box.routes["*"] = fault
    number = await lab.pull()
    job = await lab.ended(number)
    assert (job.state, job.attempts) == (JobState.DONE, 1)
    assert job.plan is not None
    assert job.plan.total == sum(size for _, size in LAYERS) + job.plan.layers[-1].size
    if where == "version":
        assert job.plan.note == "box does not answer: what it has already is not known"
    elif fault in (broken_json, half_a_list):
        assert job.plan.missing == 0  # HEAD has no body: 200 is a yes
    else:
        assert job.plan.present in (None, frozenset())
        assert job.plan.note == "box does not tell which layers it has"


async def test_a_registry_that_is_away_stops_no_pull_either(lab: Lab, registry: FakeRegistry) -> None:
    registry.fault("qwen3:8b", reset)
    job = await lab.ended(await lab.pull())
    assert job.state is JobState.DONE
    assert job.plan is not None
    assert (job.plan.layers, bool(job.plan.note)) == ((), True)


async def test_no_pull_starts_without_its_plan_while_others_are_being_planned(lab: Lab) -> None:
    """Its size and what it needs a yes for are known only then."""
    lab.bench.settings = having(lab.bench.settings, pulls={"at_once": 5})
    go = asyncio.Event()
    plan = lab.bench.plan

    async def slow(*args: Any, **more: Any) -> Any:
        await go.wait()
        return await plan(*args, **more)

    lab.bench.plan = slow  # type: ignore[method-assign]
    numbers = [await lab.pull(f"m{index}") for index in range(4)]
    await lab.bench.tick(10)
    assert lab.box.requests == []
    go.set()
    for number in numbers:
        job = await lab.ended(number)
        assert (job.state, job.plan is not None) == (JobState.DONE, True)


# --- what a fault costs others ---------------------------------------------------------------------------------------------


async def test_P38_a_server_that_breaks_all_its_pulls_delays_no_other(lab: Lab) -> None:
    """More jobs than places, all at the faulty server: the other's are worked meanwhile."""
    lab.box.routes["/api/pull"] = reset
    numbers = [await lab.pull(f"m{index}") for index in range(6)]
    later = await lab.bench.add("after:1b", endpoint=Endpoint("other", "ollama", lab.other.url))
    steady = lab.other.routes["/api/pull"]

    async def route(exchange: Exchange) -> None:
        await (lab.other.whole if exchange.request.json["model"] == "after:1b" else steady)(exchange)

    lab.other.routes["/api/pull"] = route
    assert (await lab.ended(later)).state is JobState.DONE
    for number in numbers:
        job = await lab.at_rest(number)
        assert (job.wait, job.attempts) == (Wait.RETRY, 1)
        said(job)
    order = [job.id for job in lab.bench.table.list()]
    assert order == [lab.beside, *numbers, later]


def test_the_words_that_are_no_sentence_are_found() -> None:
    from tests.worker.lab import NO_SENTENCE

    for bad in ("ReadError", "x: ConnectTimeout", "[Errno 104]", "<html>", "a\x1b[3m", "got None"):
        assert NO_SENTENCE.search(bad)
    for good in ("Connection lost: reset by the server", "The server gave up", json.dumps(WEIGHTS)):
        assert not NO_SENTENCE.search(good)
