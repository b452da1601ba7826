"""From an act to what shows it: 500 entries in the queue, and the end of a pull: `python benchmarks/visible.py [TIMES]`.

The engine's verbs in this process, with the worker at work; then keys on a real terminal with the whole program, 120x40.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from common import Terminal, heading, report, wait
from pulls import night, queue

from tests.sweep.night import Night, until
from tui.core.jobs import JobState, JobWish, QueueView
from tui.services.jobs import Jobs
from tui.store.db import Database

COUNT = 500
WORLD = {"lines": 6_000, "piece": 1_000_000, "every": 1 / 16}
SHORT = {"lines": 24, "piece": 1_000_000, "every": 1 / 16, "check": 0.3}
NAMES = [f"m{number:03}" for number in range(COUNT)]


def row(figure: str, took: Sequence[float], budget: float) -> None:
    """A line of the table, in milliseconds."""
    worst, middle = max(took) * 1000, statistics.median(took) * 1000
    report(figure, f"{worst:.0f} ms worst, {middle:.0f} ms median of {len(took)}", f"{budget:.0f} ms", worst <= budget)


async def verbs(found: Night, times: int) -> None:
    """From the call to the view that shows it."""
    database = Database(found.paths.database)
    jobs = Jobs(database, found.paths)
    jobs.refresh()
    follow = asyncio.create_task(jobs.follow())

    async def took(act: Callable[[], Awaitable[None]], shows: Callable[[QueueView], bool]) -> float:
        seen = asyncio.Event()
        unwatch = jobs.view.watch(lambda view: seen.set() if shows(view) else None)
        await asyncio.sleep(0.3)
        began = time.perf_counter()
        await act()
        await asyncio.wait_for(seen.wait(), 10)
        passed = time.perf_counter() - began
        unwatch()
        return passed

    def wished(number: int, wish: JobWish) -> Callable[[QueueView], bool]:
        return lambda view: any(job.id == number and job.wish is wish for job in view.jobs)

    def leads(number: int) -> Callable[[QueueView], bool]:
        return lambda view: next(job.id for job in view.jobs if not job.state.ended) == number

    pauses, moves, cancels = [], [], []
    for step in range(times):
        number = jobs.view.value.jobs[-1 - step].id
        pauses.append(await took(lambda number=number: jobs.pause([number]), wished(number, JobWish.PAUSE)))
        moves.append(await took(lambda number=number: jobs.move([number], "first"), leads(number)))
        cancels.append(await took(lambda number=number: jobs.cancel([number]), wished(number, JobWish.CANCEL)))
    follow.cancel()
    await database.aclose()
    row(f"{COUNT} entries: pause, call to view", pauses, 100)
    row(f"{COUNT} entries: move to the front, call to view", moves, 100)
    row(f"{COUNT} entries: cancel, call to view", cancels, 100)


def keys(found: Night, times: int) -> None:
    """From the key to the screen."""
    with Terminal([sys.executable, "-m", "tui"], found.env, rows=40, cols=120) as terminal:
        terminal.wait_for("1 Providers")
        terminal.send("\x073")
        terminal.wait_for("MB/s")
        wait(3, terminal)
        terminal.send("G")
        wait(2, terminal)

        def took(key: str, shows: Callable[[], bool]) -> float:
            wait(0.4 + 0.037 * len(pauses), terminal)
            began = time.perf_counter()
            terminal.send(key)
            terminal.wait_for(shows)
            return time.perf_counter() - began

        def shown(name: str) -> str:
            return next((line for line in terminal.screen_lines()[2:28] if f" {name}:" in line), "")

        pauses: list[float] = []
        ons: list[float] = []
        moves: list[float] = []
        for _ in range(times):
            other, name = [found[1] for line in terminal.screen_lines()[2:28] if (found := re.search(r" (m\d{3}):", line))][-2:]
            pauses.append(took("p", lambda name=name: "paus" in shown(name)))
            ons.append(took("p", lambda name=name: "paus" not in shown(name)))
            moves.append(took("K", lambda name=name, other=other: above(terminal, name, other)))
            terminal.send("G")
            wait(0.5, terminal)
        row(f"{COUNT} entries: pause, key to screen", pauses, 100)
        row(f"{COUNT} entries: go on, key to screen", ons, 100)
        row(f"{COUNT} entries: move up, key to screen", moves, 100)
        terminal.send("\x11")
        terminal.exit_code()


def above(terminal: Terminal, one: str, other: str) -> bool:
    """Whether one row is above another."""
    lines = terminal.screen_lines()[2:28]
    places = {name: place for place, line in enumerate(lines) for name in (one, other) if f" {name}:" in line}
    return len(places) == 2 and places[one] < places[other]


def to_done(times: int) -> None:
    """From `success` on the wire to "done" on the screen."""
    took = []
    with night(SHORT) as found, Terminal([sys.executable, "-m", "tui"], found.env, rows=40, cols=120) as terminal:
        terminal.wait_for("1 Providers")
        terminal.send("\x073")
        wait(3, terminal)
        for name in NAMES[:times]:
            queue(found, [name])

            def shown(name: str = name) -> bool:
                return any(f" {name}:" in line and "done" in line for line in terminal.screen_lines())

            terminal.wait_for(shown, timeout=60)
            now = time.time()
            until(lambda name=name: any(note["what"] == "success" and note["model"] == name for note in found.diary()), "success")
            took.append(now - next(note["at"] for note in found.diary() if note["what"] == "success" and note["model"] == name))
        terminal.send("\x11")
        terminal.exit_code()
    row("success on the wire to done on the screen", took, 250)


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    heading()
    to_done(times)
    with night(WORLD) as found:
        queue(found, NAMES)
        found.app()
        until(lambda: sum(job.state is JobState.FETCHING for job in found.jobs()) == 2, "the pulls", 30)
        until(lambda: all(job.plan is not None for job in found.jobs()), "the plans", 120)
        asyncio.run(verbs(found, times))
        keys(found, times)


if __name__ == "__main__":
    main()
