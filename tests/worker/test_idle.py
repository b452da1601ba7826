"""P77: what runs for days without work grows in nothing: memory, open files, threads, tasks."""

from __future__ import annotations

import asyncio
import gc
import pathlib
import threading
import tracemalloc

import psutil
import pytest

from tests.support.fault_server import Exchange, FaultServer
from tests.worker.fakes import HANG, Bench, steps
from tui.config.paths import find_paths
from tui.config.store import ConfigStore
from tui.core.clock import ManualClock
from tui.core.models import Endpoint
from tui.hardware.once import Meter
from tui.providers.factory import make_provider
from tui.services.audit import Audit
from tui.worker.servers import Supervisor


def held() -> tuple[int, int, int]:
    """Open files, threads and tasks of this process."""
    return psutil.Process().num_fds(), threading.active_count(), len(asyncio.all_tasks())


def traced() -> int:
    """Bytes that Python holds, but for its table of interned strings: that doubles once in a while, whoever adds the last one."""
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, pathlib.__file__)])
    return sum(found.size for found in snapshot.statistics("filename"))


async def live(bench: Bench, rounds: int) -> None:
    """Looks at everything that is looked at again and again, `rounds` times, and compares the second half's end with its begin."""
    clock = bench.clock
    assert isinstance(clock, ManualClock)

    async def lists(exchange: Exchange) -> None:
        exchange.keep = True
        await exchange.json({"models": [{"name": f"m{number}", "model": f"m{number}", "size": 1} for number in range(20)]})

    server = FaultServer({"*": lists})
    await server.start()
    provider = make_provider(Endpoint("box", "ollama", server.url), lambda reference: "")
    gone = make_provider(Endpoint("gone", "ollama", "http://127.0.0.1:9"), lambda reference: "")
    config = ConfigStore(find_paths(environ={"PADDOCK_HOME": str(bench.folder / "home")}), {})
    supervisor = Supervisor(bench.database, bench.folder / "logs", Audit(bench.folder, clock))
    changes, meter = bench.database.changes(), Meter([str(bench.folder)], gpu=False)
    bench.fake.scripts["qwen3:8b"] = [[*steps(10), HANG]]
    number = await bench.add()
    bench.clock.advance(1)

    async def once() -> None:
        clock.advance(0.25)
        changes.poll()
        config.poll()
        await bench.queue.tick()
        await supervisor.tick()
        meter.read()
        server.requests.clear()
        await provider.models()
        await provider.running()
        with pytest.raises(Exception, match="nothing is listening"):
            await gone.check()

    from tui.providers import client  # without it the first questions are asked without a connection that is kept

    del client
    await bench.tick(2)
    for _ in range(rounds // 2):
        await once()
    gc.collect()
    before, memory = held(), traced()
    for _ in range(rounds // 2):
        await once()
    gc.collect()
    grown = traced() - memory
    assert held() == before
    assert grown < 100_000 + 200 * rounds**0.5
    assert bench.job(number).attempts == len(bench.fake.pulls) >= 1  # a hanging pull was retried meanwhile, each time as noted
    assert server.connections == 1  # the connection is kept
    await provider.aclose()
    await gone.aclose()
    await server.stop()


async def test_P77_a_while_of_nothing_grows_in_nothing(bench: Bench) -> None:
    tracemalloc.start()
    try:
        await live(bench, 100)
    finally:
        tracemalloc.stop()


@pytest.mark.sweep
async def test_P77_many_rounds_of_nothing_grow_in_nothing(bench: Bench) -> None:
    tracemalloc.start()
    try:
        await live(bench, 6000)
    finally:
        tracemalloc.stop()
