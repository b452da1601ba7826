"""Sixteen pulls at sixteen lines a second, on a real socket, a real worker, a real terminal: `python benchmarks/pulls.py [SECONDS]`.

The settings allow five pulls at once; the worker measured here is the real one with that one setting replaced (`--worker`).
The same sixteen streams are read by httpx and `json.loads` alone (`--alone`) for the comparison, one run after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from common import ROOT, Terminal, heading, processes, report, wait

from tests.sweep.night import Night, until
from tui.core.jobs import JobKind, JobState
from tui.core.models import Endpoint

COUNT = 16
RATE = 16
WORLD = {"lines": 6_000, "piece": 1_000_000, "every": 1 / RATE}
NAMES = [f"m{number:02}" for number in range(COUNT)]


async def alone(url: str) -> None:
    """Read the streams, and nothing else."""
    import httpx

    async def one(client: Any, name: str) -> None:
        async with client.stream("POST", "/api/pull", json={"model": name}) as answer:
            async for line in answer.aiter_lines():
                json.loads(line)

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits, trust_env=False) as client, asyncio.TaskGroup() as group:
        for name in NAMES:
            group.create_task(one(client, name))


def worker(argv: list[str]) -> int:
    """The real worker, with as many places as there are pulls."""
    from tui.worker import process

    real = process.Worker.__init__

    def begin(self: Any, database: Any, paths: Any, settings: Callable[[], Any], *more: Any, **named: Any) -> None:
        made: list[Any] = [None, None]

        def wider() -> Any:
            if made[0] is not (now := settings()):
                made[:] = now, now.model_copy(update={"pulls": now.pulls.model_copy(update={"at_once": COUNT})})
            return made[1]

        real(self, database, paths, wider, *more, **named)

    process.Worker.__init__ = begin  # type: ignore[method-assign]
    return process.run(argv)


@contextlib.contextmanager
def night(world: dict[str, Any]) -> Iterator[Night]:
    """A server, a home and an empty queue."""
    with tempfile.TemporaryDirectory() as folder:
        found = Night(Path(folder) / "night", quick=False, world=world)
        try:
            yield found
        finally:
            asyncio.run(found.close())


def queue(found: Night, names: list[str]) -> None:
    """Wish for these models."""
    endpoint = Endpoint("box", "ollama", found.url)

    async def add() -> None:
        for name in names:
            await found.table.add(JobKind.PULL, name, endpoint, asked_by="benchmark")

    asyncio.run(add())


def start(found: Night, *words: str) -> psutil.Process:
    """A part of this script as a process of its own."""
    log = (found.folder / "log").open("ab")
    child = subprocess.Popen(
        [sys.executable, __file__, *words], cwd=ROOT, env={**found.env, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
    )
    found.processes.append(child)
    return psutil.Process(child.pid)


def used(process: psutil.Process, seconds: float, pause: Callable[[float], None] = time.sleep) -> float:
    """Percent of a core over some seconds."""
    before = process.cpu_times()
    began = time.monotonic()
    pause(seconds)
    now = process.cpu_times()
    return 100 * (now.user + now.system - before.user - before.system) / (time.monotonic() - began)


def pss(process: psutil.Process) -> float:
    """Megabytes."""
    return float(process.memory_full_info().pss) / 1e6


def said(found: Night, seconds: float) -> float:
    """Lines a second that the server says."""
    before = found.steps()
    time.sleep(seconds)
    return (found.steps() - before) / seconds


def reading_alone(seconds: float) -> float:
    """Percent of a core for httpx and JSON."""
    with night(WORLD) as found:
        process = start(found, "--alone", found.url)
        until(lambda: sum(note["what"] == "pull" for note in found.diary()) == COUNT, "the streams")
        time.sleep(3)
        return used(process, seconds)


def sixteen(seconds: float) -> None:
    """The worker against reading alone, then the app beside it."""
    alone_used = reading_alone(seconds)
    with night(WORLD) as found:
        queue(found, NAMES)
        process = start(found, "--worker", "--no-space-checks")
        until(lambda: sum(job.state is JobState.FETCHING for job in found.jobs()) == COUNT, "the pulls", 30)
        time.sleep(5)
        lines = said(found, 5)
        first = process.memory_full_info().uss / 1e6
        percent = used(process, seconds)
        ratio = percent / alone_used
        words = f"{ratio:.2f}x ({percent:.1f} % and {alone_used:.1f} % of a core, {lines:.0f} lines/s)"
        report(f"{COUNT} pulls: worker, against httpx and JSON alone", words, "2x", ratio <= 2)
        with Terminal([sys.executable, "-m", "tui"], found.env, rows=40, cols=120) as terminal:
            terminal.wait_for("1 Providers")
            terminal.send("\x073")
            terminal.wait_for("MB/s")
            wait(5, terminal)
            sent = len(terminal.raw)
            app = used(processes(terminal)["app"], seconds, lambda pause: wait(pause, terminal))
            report(f"{COUNT} pulls: app on Pulls, 120x40, of a core", f"{app:.1f} %", "3 %", app <= 3)
            report(f"{COUNT} pulls: written to the terminal", f"{(len(terminal.raw) - sent) / seconds:.0f} B/s", "–", True)
            terminal.send("\x11")
            terminal.exit_code()
        last = process.memory_full_info().uss / 1e6
        report(f"{COUNT} pulls: worker's memory", f"{pss(process):.1f} MB", "60 MB", pss(process) <= 60)
        report(f"{COUNT} pulls: its own part at the begin and the end", f"{first:.1f} and {last:.1f} MB", "flat", last < first + 2)


def from_kill_to_bytes(times: int) -> None:
    """`kill -9` of the worker while the app looks on: until the server's disk has a byte more."""
    took = []
    with night(WORLD) as found:
        queue(found, NAMES[:1])
        found.app()

        def there() -> int:
            return sum(file.stat().st_size for file in (found.box / "blobs").iterdir())

        for _ in range(times):
            before = there()
            until(lambda before=before: there() > before + 2_000_000, "bytes", 30)
            time.sleep(4)
            found.kill_worker()
            began = time.monotonic()
            time.sleep(0.2)  # what the server had in hand
            before = there()
            until(lambda before=before: there() > before, "bytes again", 30)
            took.append(time.monotonic() - began)
    report(f"kill -9 of the worker until bytes move, worst of {times}", f"{max(took):.2f} s", "5 s", max(took) <= 5)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    heading()
    sixteen(seconds)
    from_kill_to_bytes(5)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        asyncio.run(alone(sys.argv[2]))
    elif sys.argv[1:2] == ["--worker"]:
        sys.exit(worker(sys.argv[2:]))
    else:
        main()
