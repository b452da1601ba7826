"""What the sweeps found, each as the few steps that show it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.worker.fakes import Bench
from tui.core.clock import ManualClock
from tui.core.jobs import JobState, JobWish


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, ManualClock())
    await bench.queue.open()
    yield bench
    await bench.close()


@pytest.mark.parametrize(("wish", "state"), [(JobWish.RUN, JobState.DONE), (JobWish.PAUSE, JobState.PAUSED)])
@pytest.mark.parametrize("killed", [False, True])
async def test_Q13_a_wish_that_comes_while_a_cancel_is_written_is_the_last(
    bench: Bench, wish: JobWish, state: JobState, killed: bool
) -> None:
    number = await bench.add()
    await bench.table.wish([number], JobWish.CANCEL)
    await bench.queue.read()
    await bench.table.wish([number], wish)
    await bench.queue.tick()
    assert bench.job(number).state is JobState.CANCELLED
    if killed:
        bench.queue = bench.new_queue()
        await bench.queue.open()
    await bench.settle()
    assert (bench.job(number).state, bench.job(number).wish) == (state, wish)


async def test_Q13_a_load_that_ends_late_does_not_end_the_pull_that_began_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    loading = asyncio.Event()

    async def load(*_words: object, **_more: object) -> None:
        await loading.wait()

    monkeypatch.setattr("tests.worker.fakes._Connection.load", load)
    number = await bench.add(warm_up=True)
    await bench.settle()
    assert bench.job(number).state is JobState.DONE
    await bench.table.retry([number])
    await bench.table.wish([number], JobWish.PAUSE)  # before the worker has seen the retry
    await bench.settle()
    assert bench.job(number).state is JobState.PAUSED
    loading.set()
    await bench.settle()
    assert bench.job(number).state is JobState.PAUSED
