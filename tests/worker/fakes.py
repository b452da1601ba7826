"""A server of downloads in one object, and a worker's queue around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from tui.config.settings import Settings
from tui.core.capabilities import Capability
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import JobStep
from tui.core.jobs import Job, JobKind, Plan
from tui.core.models import Endpoint, Model, ModelDetail
from tui.services.audit import Audit
from tui.store.db import Database
from tui.store.jobs import JobTable
from tui.worker.queue import Queue

MB = 1_000_000
ENDPOINT = Endpoint("box", "ollama", "http://192.0.2.7:11434")
"""Elsewhere, so that no disk of this machine matters."""


def failed(what: str, kind: FailureKind, details: str = "") -> PaddockError:
    return PaddockError(Failure(what, "192.0.2.7:11434", "Retry", kind, details))


def step(status: str, completed: int | None = None, total: int | None = None, digest: str = "") -> JobStep:
    return JobStep(status, digest or ("sha256:a" if total else ""), total, completed)


def steps(*done: int, total: int = 100) -> list[JobStep]:
    return [step("pulling manifest"), *(step("pulling a", value * MB, total * MB) for value in done)]


END = [step("verifying sha256 digest"), step("writing manifest"), step("success")]
HANG = "hang"
CUT = failed("Connection lost", FailureKind.INTERRUPTED)


class Fake:
    """What each pull of a model answers, one script an attempt (the last again); items are steps, errors, HANG, waits."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[list[Any]]] = {}
        self.pulls: list[str] = []
        self.open: list[str] = []
        self.closed: list[str] = []
        self.listed: set[str] = set()
        self.digests: dict[str, str] = {}
        self.brings: dict[str, dict[str, str]] = {}
        """Digests that are others once a model was pulled."""
        self.weights: dict[str, str | Exception] = {}
        self.shows: dict[str, list[ModelDetail]] = {}
        self.loads: dict[str, Exception | str] = {}
        self.creates: list[tuple[str, dict[str, Any]]] = []
        self.create_fails: Exception | None = None

    def make(self, endpoint: Endpoint) -> Any:
        return _Connection(self, endpoint)


class _Connection:
    capabilities = frozenset({Capability.PULL, Capability.COPY, Capability.DELETE})

    def __init__(self, fake: Fake, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.fake = fake

    async def pull(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        fake = self.fake
        scripts = fake.scripts.get(model, [[*steps(50, 100), *END]])
        script = scripts[min(fake.pulls.count(model), len(scripts) - 1)]
        fake.pulls.append(model)
        fake.open.append(model)
        try:
            for item in script:
                if item is HANG:
                    await asyncio.Event().wait()
                elif isinstance(item, Exception):
                    raise item
                elif callable(item):
                    await item()
                else:
                    if item.status == "success":
                        fake.listed.add(model)
                        fake.digests.update(fake.brings.pop(model, {}))
                    yield item
            if getattr(script[-1], "status", "") != "success":
                raise CUT
        finally:
            fake.open.remove(model)
            fake.closed.append(model)

    async def create(self, model: str, fields: Any) -> AsyncIterator[JobStep]:
        self.fake.creates.append((model, dict(fields)))
        if self.fake.create_fails is not None:
            raise self.fake.create_fails
        yield JobStep("success")

    async def models(self) -> tuple[Model, ...]:
        return tuple(Model(self.endpoint.name, name, name, digest=self.fake.digests.get(name, "")) for name in sorted(self.fake.listed))

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetail:
        if self.fake.shows.get(model):
            return self.fake.shows[model].pop(0)
        weights = self.fake.weights.get(model, "")
        if isinstance(weights, Exception):
            raise weights
        return ModelDetail(self.endpoint.name, model, weights_digest=weights)

    async def copy(self, model: str, destination: str) -> None:
        self.fake.listed.add(destination)
        self.fake.digests[destination] = self.fake.digests.get(model, "")

    async def delete(self, model: str) -> None:
        self.fake.listed.discard(model)

    async def load(self, model: str, *, keep_alive: str = "", options: Any = None) -> None:
        fault = self.fake.loads.get(model)
        if fault is HANG:
            await asyncio.Event().wait()
        if isinstance(fault, Exception):
            raise fault

    async def aclose(self) -> None:
        pass


class Bench:
    """A queue that is ticked by hand, on a clock that stands still unless moved."""

    def __init__(self, folder: Path, clock: Clock, settings: Settings | None = None) -> None:
        self.folder = folder
        self.clock = clock
        self.fake = Fake()
        self.settings = settings or Settings()
        self.database = Database(folder / "data" / "paddock.db")
        self.table = JobTable(self.database, clock)
        self.plans: dict[str, Plan | Exception] = {}
        self.asked: list[str] = []
        self.hangs: set[str] = set()
        self.go_on = asyncio.Event()
        self.key: Callable[[str], str] = lambda reference: ""
        self.queue = self.new_queue()

    async def plan(self, provider: Any, model: str, *, insecure: bool = False) -> Plan:
        self.asked.append(model)
        while model in self.hangs:
            await self.go_on.wait()
        found = self.plans.get(model)
        if isinstance(found, Exception):
            raise found
        return replace(found or Plan(), made_at=self.clock.time())

    def new_queue(self) -> Queue:
        audit = Audit(self.folder / "state", self.clock)
        planner = cast("Any", self)
        return Queue(self.database, lambda: self.settings, self.fake.make, self.check, planner, audit, self.clock, lambda a, b: 1.0)

    async def check(self, endpoint: Endpoint) -> None:
        self.key(endpoint.key)

    async def add(self, model: str = "qwen3:8b", **more: Any) -> int:
        return (await self.table.add(JobKind.PULL, model, more.pop("endpoint", ENDPOINT), more)).id

    async def tick(self, times: int = 1) -> None:
        for _ in range(times):
            await self.queue.read()
            await self.queue.tick()
            for _ in range(20):  # let the attempts' tasks run until they wait for something
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Ticks enough for an attempt to begin, end and be written down."""
        await self.tick(6)

    def job(self, number: int) -> Job:
        job = self.table.get(number)
        assert job is not None
        return job

    async def close(self) -> None:
        await self.queue.close()
        await self.database.aclose()
