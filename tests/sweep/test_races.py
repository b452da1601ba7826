"""What the sweeps found, each as the few steps that show it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.worker.fakes import Bench
from tui.core.clock import ManualClock
from tui.core.jobs import JobState, JobWish
from tui.store.db import Database


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


async def test_P13_two_databases_of_one_process_see_what_another_process_writes(tmp_path: Path) -> None:
    """SQLite's locks belong to the process: opening a second time must not give up those of the first."""
    path = tmp_path / "paddock.db"
    first, second = Database(path), Database(path)
    words = "import sys; from pathlib import Path; from tui.store.db import Database; database = Database(Path(sys.argv[1]))\n"
    words += "database.run_sync(lambda connection: connection.execute('INSERT INTO meta VALUES (?, 1)', (sys.argv[2],))); database.close()"
    for number in ("other 1", "other 2"):  # the first would take the log away from us, the second write a new one
        done = await asyncio.create_subprocess_exec(sys.executable, "-c", words, str(path), number, cwd=Path(__file__).parents[2])
        assert await done.wait() == 0
        for database in (first, second):
            query = "SELECT max(key) FROM meta WHERE key LIKE 'other%'"
            assert database.read(lambda connection, query=query: connection.execute(query).fetchone()) == (number,)
    await first.aclose()
    await second.aclose()
