"""Limits of bandwidth, which a server does not offer: the worker closes and resumes, and the average is kept over minutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.settings import having
from tests.worker.fakes import ENDPOINT, MB, Bench
from tui.core.clock import ManualClock
from tui.core.events import JobStep
from tui.core.jobs import JobState, JobWish
from tui.core.models import Endpoint, Model

LINE = 0.06
"""Seconds between two lines of a pull, as Ollama sends them."""


class Line:
    """A line of so many bytes a second that all pulls share, and servers that keep what arrived; time passes when `pass_` says so."""

    def __init__(self, bench: Bench, speed: float, size: int) -> None:
        assert isinstance(bench.clock, ManualClock)
        self.bench, self.clock, self.speed, self.size = bench, bench.clock, speed, size
        self.have: dict[str, float] = {}
        self.open: list[str] = []
        self.opened = 0
        self._tick = asyncio.Event()

    def make(self, endpoint: Endpoint) -> Any:
        self.endpoint = endpoint
        return self

    async def pull(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        self.opened += 1
        self.open.append(model)
        try:
            yield JobStep("pulling manifest")
            while self.have.get(model, 0.0) < self.size:
                yield JobStep("pulling", f"sha256:{model}", self.size, int(self.have.get(model, 0.0)))
                await self._tick.wait()
            yield JobStep("success")
        finally:
            self.open.remove(model)

    async def models(self) -> tuple[Model, ...]:
        return tuple(Model("box", name, name) for name, have in self.have.items() if have >= self.size)

    async def aclose(self) -> None:
        pass

    async def pass_(self, seconds: float) -> None:
        """Let time pass, line by line."""
        due = 0.0
        for _ in range(round(seconds / LINE)):
            self.clock.advance(LINE)
            for model in self.open:
                self.have[model] = self.have.get(model, 0.0) + self.speed * LINE / len(self.open)
            self._tick.set()
            self._tick = asyncio.Event()
            for _ in range(6):
                await asyncio.sleep(0)
            due += LINE
            if due >= 0.25:
                due = 0.0
                await self.bench.queue.read()
                await self.bench.queue.tick()


def lined(bench: Bench, speed: float, size: int = 10**12) -> Line:
    line = Line(bench, speed, size)
    bench.fake.make = line.make  # type: ignore[method-assign]
    bench.queue = bench.new_queue()
    return line


@pytest.mark.parametrize(
    ("limit", "speed", "pulls"),
    [
        (1, 100, 1),
        (20, 110, 2),
        pytest.param(1, 1000, 1, marks=pytest.mark.sweep),
        pytest.param(5, 12, 3, marks=pytest.mark.sweep),
        pytest.param(100, 1200, 5, marks=pytest.mark.sweep),
        pytest.param(20, 21, 1, marks=pytest.mark.sweep),
    ],
)
async def test_a_limit_is_kept_within_a_tenth_over_ten_minutes(bench: Bench, limit: int, speed: int, pulls: int) -> None:
    bench.settings = having(bench.settings, pulls={"bandwidth": limit * MB, "at_once": 5})
    line = lined(bench, speed * MB)
    numbers = [await bench.add(f"m{index}") for index in range(pulls)]
    await line.pass_(600)
    brought = sum(line.have.values())
    assert 0.9 <= brought / (limit * MB * 600) <= 1.1
    for number in numbers:
        job = bench.job(number)
        assert job.state is JobState.FETCHING
        assert job.attempts == 1  # a pause is no attempt
        assert job.rate is not None
    shown = sum(bench.job(number).rate or 0.0 for number in numbers)
    assert 0.5 <= shown / (limit * MB) <= 1.6


async def test_a_slow_line_is_never_paused(bench: Bench) -> None:
    bench.settings = having(bench.settings, pulls={"bandwidth": 20 * MB})
    line = lined(bench, 10 * MB)
    await bench.add("a")
    await line.pass_(60)
    assert line.opened == 1


async def test_one_pull_may_be_limited_alone_and_while_it_runs(bench: Bench) -> None:
    line = lined(bench, 50 * MB)
    slow, fast = await bench.add("a"), await bench.add("b")
    await line.pass_(3)
    await bench.table.limit([slow], 2 * MB)
    before = dict(line.have)
    await line.pass_(120)
    gained = {name: (line.have[name] - before[name]) / 120 / MB for name in before}
    assert gained["a:latest"] == pytest.approx(2, rel=0.2)
    assert gained["b:latest"] > 40
    await bench.table.limit([slow], None)
    await line.pass_(20)
    assert line.open == ["b:latest", "a:latest"]
    assert bench.job(fast).note == ""


async def test_a_limit_lifted_ends_the_pause_and_one_set_is_said(bench: Bench) -> None:
    bench.settings = having(bench.settings, pulls={"bandwidth": 1 * MB})
    line = lined(bench, 100 * MB)
    number = await bench.add("a")
    await line.pass_(4)
    job = bench.job(number)
    assert (line.open, job.state, job.note) == ([], JobState.FETCHING, "pauses to keep to its limit")
    bench.settings = having(bench.settings, pulls={"bandwidth": None})
    await line.pass_(1)
    assert line.open == ["a:latest"]
    assert bench.job(number).note == ""


@pytest.mark.parametrize(("wish", "state"), [(JobWish.PAUSE, JobState.PAUSED), (JobWish.CANCEL, JobState.CANCELLED)])
async def test_a_pull_that_rests_for_its_limit_obeys(bench: Bench, wish: JobWish, state: JobState) -> None:
    bench.settings = having(bench.settings, pulls={"bandwidth": 1 * MB})
    line = lined(bench, 100 * MB)
    number = await bench.add("a")
    await line.pass_(4)
    await bench.table.wish([number], wish)
    await line.pass_(0.6)
    assert bench.job(number).state is state
    await line.pass_(120)
    assert line.open == []


async def test_it_keeps_its_place_while_it_rests(bench: Bench) -> None:
    bench.settings = having(bench.settings, pulls={"bandwidth": 1 * MB, "at_once": 1})
    line = lined(bench, 100 * MB)
    await bench.add("a")
    await bench.add("b")
    await line.pass_(60)
    assert set(line.have) == {"a:latest"}


async def test_Q01_a_rest_is_no_stall(bench: Bench) -> None:
    bench.settings = having(bench.settings, pulls={"bandwidth": 1 * MB})
    line = lined(bench, 1000 * MB)
    number = await bench.add("a", endpoint=ENDPOINT)
    notes = set()
    for _ in range(60):
        await line.pass_(3)
        notes.add(bench.job(number).note)
    assert not any("stalled" in note for note in notes)


async def test_P05_what_rested_when_the_worker_ended_goes_on(bench: Bench) -> None:
    bench.settings = having(bench.settings, pulls={"bandwidth": 1 * MB})
    line = lined(bench, 100 * MB)
    number = await bench.add("a")
    await line.pass_(4)
    await bench.queue.close()
    assert bench.job(number).state is JobState.INTERRUPTED
    bench.queue = bench.new_queue()
    await bench.queue.open()
    await line.pass_(1)
    assert bench.job(number).state is JobState.FETCHING
    assert bench.job(number).fetched >= 10 * MB
