"""200 installed tags, each asked about at a registry that takes 50 ms: how long, and what keys feel: `python benchmarks/updates.py`.

The look runs where it does in the app: on the engine's thread. The loop that is measured does what Textual's does between keys: nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from common import heading, report

from tests.library.host import Host
from tests.support.fault_server import Exchange
from tests.support.registry import FakeRegistry, registry_on_a_thread
from tui.core.models import Model
from tui.providers.factory import make_provider
from tui.services.library import updates
from tui.services.library.events import Events
from tui.services.library.updates import Updates

TAGS = 200
SLOW = 0.05
"""Seconds of each request."""
DIGEST = "ab" * 32


def prepare(registry: FakeRegistry) -> None:
    """Every tag is the newest, and it takes a while to say so."""

    async def answer(exchange: Exchange) -> None:
        exchange.keep = True
        await asyncio.sleep(SLOW)
        await exchange.reply(200, b"", {"ollama-content-digest": DIGEST})

    registry.routes["*"] = answer


async def look(home: Path, url: str) -> float:
    """Seconds of one look at all tags."""
    updates.SETTLE = 3600.0
    host = Host(home, url="http://127.0.0.1:9", environ={"PADDOCK_REGISTRY": url})
    host.providers["box"] = make_provider(host.watching.providers.value[0].endpoint, lambda _reference: "")
    host.watching.models.set(tuple(Model("box", f"m{n}:1b", f"m{n}:1b", 10**9, DIGEST) for n in range(TAGS)))
    part = Updates(host, Events(host))  # type: ignore[arg-type]
    await part.open(await host.open())
    began = time.perf_counter()
    part.check()
    while len(part.states.value) < TAGS or part.progress.value is not None:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    took = time.perf_counter() - began
    await part.aclose()
    await host.aclose()
    return took


async def longest_hold(until: threading.Event, least: float = 0.0) -> float:
    """The longest time, in milliseconds, that a loop with nothing to do was late, until something is set."""
    worst, end = 0.0, time.perf_counter() + least
    while not until.is_set() or time.perf_counter() < end:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - began - 0.001)
    return worst * 1000


def main() -> None:
    """Print the table."""
    logging.disable()
    nothing = threading.Event()
    nothing.set()
    before = asyncio.run(longest_hold(nothing, 3.0))
    found: list[float] = []
    with TemporaryDirectory() as folder, registry_on_a_thread(prepare) as registry:
        done = threading.Event()

        def work() -> None:
            try:
                found.append(asyncio.run(look(Path(folder), registry.url)))
            finally:
                done.set()

        engine = threading.Thread(target=work)
        engine.start()
        during = asyncio.run(longest_hold(done))
        engine.join()
    heading()
    report(f"{TAGS} tags at {SLOW * 1000:.0f} ms a request", f"{found[0]:.1f} s", "5 s", found[0] <= 5)
    report("longest hold of the other loop meanwhile (without: " + f"{before:.0f} ms)", f"{during:.0f} ms", "33 ms", during <= 33)


if __name__ == "__main__":
    main()
