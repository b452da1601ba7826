"""Every fault of the catalogue (reliability reference, section 2.1) that a pull can meet, from a real socket up to the row of the queue.

What a server that speaks its protocol badly does is here; what is not its protocol, wishes in the middle of it, and the proof at the
end are in `test_pull_strange.py`.

Each test runs beside a pull from a server that is well, and ends with the common check: that pull never noticed, no connection and no
task is left (`Lab.finish`). Time stands still unless a test lets it pass.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_server import Exchange
from tests.support.ports import closed_port
from tests.support.registry import silent as never
from tests.support.settings import having
from tests.worker.fakes import MB
from tests.worker.lab import (
    GOOD,
    SUCCESS,
    Fault,
    Lab,
    after_forty,
    at_once,
    first,
    laboratory,
    line,
    progress,
    refused,
    reset,
    retried,
    told,
    what,
)
from tui.core.errors import FailureKind
from tui.core.jobs import JobState, JobWish, Wait
from tui.core.models import Endpoint
from tui.worker.attempt import DOWN_DELAYS, MOST_LAYERS


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path, monkeypatch) as found:
        yield found


# --- nobody there, nothing said -----------------------------------------------------------------------------------------


async def test_H01_nothing_listens_and_looks_come_at_growing_pauses(lab: Lab) -> None:
    with closed_port() as port:
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
