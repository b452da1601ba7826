"""A worker that watches the rules unloads what is idle, with a real server on a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_server import Exchange, FaultServer
from tests.support.monitor_host import sample
from tui.config.paths import find_paths
from tui.config.settings import Settings, build
from tui.core.clock import ManualClock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Endpoint, RunningModel
from tui.providers.factory import make_provider
from tui.services.audit import Audit
from tui.services.monitor.acting import Acting
from tui.store.db import Database
from tui.worker.acting import WorkerActs


class Ollama(FaultServer):
    """What is loaded, and what unloads it."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded = {"phi4:14b": "2040-01-01T00:00:00Z", "qwen3:8b": "2040-01-01T00:00:00Z"}
        self.stubborn: set[str] = set()
        self.routes |= {
            "/api/ps": self.ps,
            "/api/generate": self.generate,
            "/api/version": lambda exchange: exchange.json({"version": "0.24.0"}),
        }

    async def ps(self, exchange: Exchange) -> None:
        rows = [{"name": name, "model": name, "size": 9 * 10**9, "size_vram": 0, "expires_at": at} for name, at in self.loaded.items()]
        await exchange.json({"models": rows})

    async def generate(self, exchange: Exchange) -> None:
        body = exchange.request.json
        if body.get("keep_alive") == 0 and body["model"] not in self.stubborn:
            self.loaded.pop(body["model"])
        await exchange.json({"model": body["model"], "done": True})


class World:
    """A worker's limits on a clock that stands still."""

    def __init__(self, folder: Path, ollama: Ollama) -> None:
        self.clock = ManualClock()
        self.ollama = ollama
        self.settings: Settings = self.having({"idle_unload": "10m", "memory_pressure": "off"})
        self.database = Database(folder / "paddock.db")
        self.folder = folder
        self.refuse = False
        self.samples: list[Any] = []
        paths = find_paths(environ={"PADDOCK_HOME": str(folder), "HOME": str(folder)})
        self.acts = WorkerActs(
            self.database, paths, lambda: self.settings, self.make, self.check, Audit(folder / "state", self.clock), self.clock
        )
        self.acting = Acting(self.acts, self.tell, lambda: self.samples, working=self.rests)

    def having(self, limits: dict[str, Any]) -> Settings:
        providers = {"lab": {"kind": "ollama", "url": self.ollama.url}, "far": {"kind": "ollama", "url": "http://10.255.255.1:1"}}
        return build({"limits": limits, "providers": providers, "general": {"discover": False}})

    def make(self, endpoint: Endpoint) -> Any:
        return make_provider(endpoint, lambda _reference: "")

    async def check(self, endpoint: Endpoint) -> None:
        if self.refuse:
            raise PaddockError(Failure("nothing was sent", endpoint.url, "Allow it", FailureKind.REFUSED))

    async def rests(self, model: RunningModel) -> bool:
        return False

    def tell(self, what: str, target: str, why: str) -> None:
        self.acts.audit(f"limit {what}", target, why)

    async def look(self) -> None:
        await self.acts.look(self.acting)

    def audited(self) -> list[tuple[str, str]]:
        file = self.folder / "state" / "audit.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [(line["what"], line["target"]) for line in lines]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ollama = Ollama()
    await ollama.start()
    world = World(tmp_path, ollama)
    yield world
    await world.acts.watching.aclose()
    await world.database.aclose()
    await ollama.stop()


async def test_idle_models_are_unloaded_while_no_app_runs(world: World) -> None:
    for _minute in range(10):
        await world.look()
        world.clock.advance(59)
    assert sorted(world.ollama.loaded) == ["phi4:14b", "qwen3:8b"]
    world.ollama.loaded["qwen3:8b"] = "2040-01-01T00:10:00Z"  # somebody used it
    await world.look()
    world.clock.advance(15)
    await world.look()
    assert list(world.ollama.loaded) == ["qwen3:8b"]
    assert world.audited() == [("unload", "lab/phi4:14b"), ("limit unloaded", "lab/phi4:14b")]


async def test_nothing_is_asked_where_nothing_is_to_be_unloaded(world: World) -> None:
    world.settings = world.having({})
    await world.look()
    assert world.ollama.requests == []


async def test_a_server_that_may_not_be_asked_or_is_gone_has_nothing(world: World) -> None:
    world.refuse = True
    await world.look()
    assert world.ollama.requests == []
    world.refuse = False
    await world.look()
    assert len(world.acts.watching.running.value) == 2
    world.settings = build({"limits": {"idle_unload": "10m"}, "general": {"discover": False}})
    await world.look()
    assert not world.acts.watching.running.value


@pytest.mark.parametrize(("named", "asked"), [({}, True), ({"lab": {"enabled": False}}, False), ({"ollama": {"enabled": False}}, False)])
async def test_ollama_is_found_unless_the_settings_switch_it_off(
    world: World, monkeypatch: pytest.MonkeyPatch, named: dict[str, dict[str, Any]], asked: bool
) -> None:
    monkeypatch.setattr("tui.worker.acting.OLLAMA", world.ollama.url)
    providers = {name: {"kind": "ollama", "url": world.ollama.url.replace("127.0.0.1", "localhost")} | one for name, one in named.items()}
    world.settings = build({"limits": {"idle_unload": "10m"}, "providers": providers})
    await world.look()
    assert bool(world.acts.watching.running.value) is asked
    assert bool(world.ollama.requests) is asked


async def test_memory_that_runs_out_unloads_one(world: World) -> None:
    world.settings = world.having({"memory_pressure": "unload"})
    await world.look()
    world.clock.advance(20)
    now = world.clock.monotonic()
    world.samples = [(now - 20 + second, sample(available=1)) for second in range(21)]
    await world.look()
    assert len(world.ollama.loaded) == 1


async def test_one_that_stays_is_said_in_the_log_and_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.worker.acting.GONE_WITHIN", -1.0)
    world.ollama.stubborn = {"phi4:14b", "qwen3:8b"}
    await world.look()
    for _minute in range(11):
        world.clock.advance(59)
        await world.look()
    assert ("limit not unloaded", "lab/phi4:14b") in world.audited()
    assert len(world.ollama.loaded) == 2


async def test_it_ends_with_its_task_and_closes_its_connections(world: World) -> None:
    task = asyncio.create_task(world.acts.run(lambda: ()))
    async with asyncio.timeout(3):
        while not world.acts.watching.running.value:
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.acts.watching.provider("lab") is None
