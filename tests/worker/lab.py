"""The queue at a server that misbehaves on a raw socket, beside a pull from another server that nothing may disturb."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_server import Exchange, FaultServer, Route
from tests.worker.fakes import MB, Bench
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind
from tui.core.jobs import Job, JobKind, JobState, Wait
from tui.core.models import Endpoint
from tui.providers.factory import make_provider
from tui.providers.http import Http
from tui.worker.attempt import DELAYS

WEIGHTS = "a" * 64
Fault = Callable[[Exchange], Awaitable[None]]
NO_SENTENCE = re.compile(r"[a-z](Error|Exception|Timeout)\b|Errno|Traceback|<html|\bNone\b|\[key\]|[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""What no sentence for people holds: names of classes, pages, traces, control characters."""


def line(**fields: Any) -> bytes:
    """One line of a stream."""
    return json.dumps(fields).encode() + b"\n"


def progress(*counts: int, total: int = 100) -> bytes:
    """Lines of a pull whose weights have so many MB."""
    return b"".join(line(status="pulling", digest=f"sha256:{WEIGHTS}", total=total * MB, completed=count * MB) for count in counts)


MANIFEST = line(status="pulling manifest")
GOOD = MANIFEST + progress(10, 25, 40)
"""Forty of a hundred MB."""
SUCCESS = line(status="verifying sha256 digest") + line(status="success")


class Box(FaultServer):
    """An Ollama: it lists what it has pulled whole; every route may be replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []
        self.routes |= {
            "/api/version": lambda exchange: exchange.json({"version": "0.24.0"}),
            "/api/tags": lambda exchange: exchange.json(self.tags()),
            "/api/show": lambda exchange: exchange.json({"modelfile": f"FROM /models/blobs/sha256-{WEIGHTS}", "details": {}}),
            "/api/pull": self.whole,
        }

    def tags(self) -> dict[str, Any]:
        """The list as Ollama gives it."""
        return {"models": [{"name": name, "model": name, "size": 100 * MB, "digest": "d" * 64} for name in self.listed]}

    async def whole(self, exchange: Exchange) -> None:
        """A pull that ends well."""
        self.listed.append(exchange.request.json["model"])
        await exchange.stream(MANIFEST, progress(40, 70, 100), SUCCESS)

    def streams(self, *chunks: bytes, kind: str = "application/x-ndjson") -> None:
        """Every pull is answered by this and a clean end, and then the model is there."""

        async def route(exchange: Exchange) -> None:
            self.listed.append(exchange.request.json["model"])
            await exchange.stream(*chunks, kind=kind)

        self.routes["/api/pull"] = route

    def asked(self, path: str) -> int:
        """How many requests there were for a path."""
        return sum(request.path == path for request in self.requests)


async def told(exchange: Exchange, event: asyncio.Event) -> None:
    """Wait for an event, or end with the client."""
    waiting = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(exchange.gone())}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()
    if not event.is_set():
        raise ConnectionResetError


def said(job: Job) -> None:
    """What a job says is made for people: what, where, remedy."""
    if job.state is JobState.WAITING and job.wait is not Wait.NOTHING:
        assert job.note
    if job.state is JobState.FAILED:
        assert job.note
        assert job.failure is not None
    texts = [job.note]
    if job.failure is not None:
        texts += [job.failure.what, job.failure.where, job.failure.remedy]
        assert all(texts[1:]), job.failure
    for text in texts:
        assert not NO_SENTENCE.search(text), text
        assert len(text) <= 600


class Lab:
    """A box with faults, another that is well, and the queue of a worker on a clock that stands still."""

    def __init__(self, bench: Bench, box: Box, other: Box) -> None:
        assert isinstance(bench.clock, ManualClock)
        self.bench, self.box, self.other, self.clock = bench, box, other, bench.clock
        self.endpoint = Endpoint("box", "ollama", box.url, retries=0, retry_delay=0.001)
        self.beside = 0
        self._beat: asyncio.Queue[bool] = asyncio.Queue()
        self._beats = 0
        other.routes["/api/pull"] = self._steady

    async def _steady(self, exchange: Exchange) -> None:
        await exchange.head()
        count = 1
        await exchange.chunk(MANIFEST + progress(count, total=1000))
        while await self._beat.get():
            count += 1
            await exchange.chunk(progress(count, total=1000))
        self.other.listed.append("beside:1b")
        await exchange.chunk(SUCCESS)
        await exchange.end()

    async def begin(self) -> None:
        """Start the pull on the server that is well."""
        self.beside = await self.bench.add("beside:1b", endpoint=Endpoint("other", "ollama", self.other.url))
        await self.until(lambda job: job.done == MB, self.beside)

    async def pull(self, model: str = "qwen3:8b", **more: Any) -> int:
        """Queue a pull at the box."""
        return await self.bench.add(model, endpoint=more.pop("endpoint", self.endpoint), **more)

    async def add(self, kind: JobKind, model: str, **arguments: Any) -> int:
        """Queue another job at the box."""
        return (await self.bench.table.add(kind, model, self.endpoint, arguments)).id

    async def until(self, condition: Callable[[Job], object], number: int) -> Job:
        """Tick until a job is so; everything it says meanwhile must be sayable."""
        limit = time.monotonic() + 10
        while True:
            job = self.bench.job(number)
            said(job)
            if condition(job):
                return job
            assert time.monotonic() < limit, job
            await self.bench.tick()
            await asyncio.sleep(0.001)

    async def at_rest(self, number: int) -> Job:
        """The job after its attempt: it waits for something, or has ended."""
        return await self.until(lambda job: job.attempts and not job.state.running and not self.placed(number), number)

    def placed(self, number: int) -> bool:
        """Whether an attempt of the job is under way."""
        run = self.bench.queue.runs.get(number)
        return run is not None and (run.placed or run.job.id in self.bench.queue._plans._tasks)

    async def ended(self, number: int) -> Job:
        """The job when nothing more happens to it."""
        return await self.until(lambda job: job.state.ended, number)

    async def pass_(self, seconds: float) -> None:
        """Let time pass in steps that are no sleep of the machine; the other server goes on meanwhile."""
        while seconds > 0:
            step = min(seconds, 5.0)
            seconds -= step
            self.clock.advance(step)
            self._beats += 1
            self._beat.put_nowait(True)
            await self.until(lambda job: job.done == (1 + self._beats) * MB, self.beside)

    def due_in(self, number: int) -> float:
        """Seconds until the next attempt."""
        due_at = self.bench.job(number).due_at
        assert due_at is not None
        return round(due_at - self.clock.time(), 2)

    async def real(self, condition: Callable[[], object], seconds: float = 1.0) -> None:
        """Wait for something on the wire."""
        limit = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < limit
            await asyncio.sleep(0.002)

    async def finish(self) -> None:
        """What must hold after every fault: the other pull never noticed, and nothing is left open."""
        if self.beside:
            job = self.bench.job(self.beside)
            assert (job.state, job.attempts, job.failure) == (JobState.FETCHING, 1, None)
            self._beat.put_nowait(False)
            job = await self.ended(self.beside)
            assert job.state is JobState.DONE
        await self.bench.queue.close()
        await self.real(lambda: self.box.open == self.other.open == 0)
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(("job", "plan", "load"))]
        assert left == []


@asynccontextmanager
async def laboratory(folder: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Box] = Box) -> AsyncIterator[Lab]:
    """For fixtures."""
    monkeypatch.setattr("tui.worker.disks.room_for", lambda *args, **more: None)
    monkeypatch.setattr("tui.worker.proof.LIST_PAUSE", 0.001)
    for method in (Http.get, Http.get_json, Http.request):
        assert method.__kwdefaults__ is not None
        monkeypatch.setitem(method.__kwdefaults__, "timeout", 1.5)  # questions that nobody answers take 5 s otherwise
    bench = Bench(folder, ManualClock())
    bench.fake.make = lambda endpoint: make_provider(endpoint, lambda _reference: "", bench.clock)  # type: ignore[method-assign]
    bench.queue = bench.new_queue()
    await bench.queue.open()
    box, other = make(), Box()
    await box.start()
    await other.start()
    lab = Lab(bench, box, other)
    await lab.begin()
    try:
        yield lab
        await lab.finish()
    finally:
        await bench.close()
        await box.stop()
        await other.stop()


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
    """The words of its failure."""
    assert job.failure is not None
    return job.failure.what


async def reset(exchange: Exchange) -> None:
    exchange.reset()
