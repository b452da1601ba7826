"""Faults of the catalogue (section 2.1) that a pull can meet, continued: other protocols, wishes at every stage, the proof, the plan."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import random
import resource
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fault_server import Exchange, FaultServer, Route, end
from tests.support.registry import LAYERS, FakeRegistry
from tests.support.registry import silent as never
from tests.support.settings import having
from tests.worker.fakes import MB
from tests.worker.lab import (
    GOOD,
    WEIGHTS,
    Lab,
    at_once,
    laboratory,
    refused,
    reset,
    retried,
    said,
    what,
)
from tui.core.errors import FailureKind
from tui.core.jobs import JobState, JobWish, Wait
from tui.core.models import Endpoint
from tui.services.plan import Planner
from tui.worker.attempt import DELAYS, delay


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path, monkeypatch) as found:
        yield found


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
    await end(server)


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
    if fault is never:
        monkeypatch.setattr("tui.services.plan.WITHIN", 3.0)
    if where == "version":
        monkeypatch.setattr("tui.services.plan.VERSION_WITHIN", 0.2)
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
