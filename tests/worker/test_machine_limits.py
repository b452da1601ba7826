"""E01, E02 and E05 in the worker: few open files, no memory for a pull, and days of work."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.worker.fakes import END, HANG, Bench, failed, steps
from tests.worker.test_process import Home, all_done
from tui.config.paths import Paths
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind
from tui.core.jobs import JobState, JobWish, Wait
from tui.services import audit
from tui.store.backup import KEPT, backups


class FewFiles(Home):
    """A home whose workers may open 64 files."""

    def spawn(self, paths: Paths, *arguments: str) -> subprocess.Popen[bytes]:
        popen = subprocess.Popen

        def limited(command: list[str], **more: Any) -> subprocess.Popen[bytes]:
            return popen(["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *command], **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subprocess, "Popen", limited)
            return super().spawn(paths, *arguments)


async def test_E01_a_worker_with_64_open_files_works_its_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = FewFiles(tmp_path, monkeypatch)
    try:
        for name in "abcde":
            await home.jobs.add(name, home.endpoint)
        await home.until(all_done)
        assert "Too many" not in home.words()
    finally:
        await home.close()


async def test_E02_a_pull_without_memory_is_tried_again_with_a_sentence_and_the_others_go_on(bench: Bench) -> None:
    bench.fake.scripts["a:latest"] = [[*steps(10), MemoryError()], [*steps(100), *END]]
    bench.fake.scripts["b:latest"] = [[*steps(10), HANG]]
    first, second = await bench.add("a"), await bench.add("b")
    await bench.settle()
    job = bench.job(first)
    assert (job.state, job.wait) == (JobState.WAITING, Wait.RETRY)
    assert job.failure is not None
    assert job.failure.what == "There is not enough memory for this"
    assert job.failure.remedy
    assert bench.job(second).state is JobState.FETCHING
    assert isinstance(bench.clock, ManualClock)
    bench.clock.advance(60)
    await bench.settle()
    assert bench.job(first).state is JobState.DONE


# --- E05 ---------------------------------------------------------------------------------------------------------------

FAULTS: tuple[Callable[[], Exception], ...] = (
    lambda: failed("Connection lost", FailureKind.INTERRUPTED),
    MemoryError,
    lambda: OSError(24, "Too many open files"),
    lambda: failed("The server is overloaded", FailureKind.BUSY),
    lambda: failed("The answer is not what the protocol says", FailureKind.PROTOCOL),
    lambda: failed("No answer", FailureKind.TIMEOUT),
)


async def days(bench: Bench, hours: int) -> None:
    """Pulls come, fail at random, are paused, cancelled and taken off the list, for so many hours."""
    clock, chance = bench.clock, random.Random(5)
    assert isinstance(clock, ManualClock)
    sizes: list[int] = []
    for hour in range(hours):
        name = f"m{hour % 7}"
        script = [*steps(chance.randrange(100)), chance.choice(FAULTS)()]
        bench.fake.scripts[f"{name}:latest"] = [script, [*steps(100), *END]]
        bench.fake.pulls.clear()
        number = await bench.add(name)
        for _attempt in range(chance.randrange(4)):
            await bench.tick(2)
            clock.advance(chance.choice((0.25, 5, 60, 700)))
        if chance.random() < 0.2:
            await bench.table.wish([number], JobWish.CANCEL)
        clock.advance(3600)
        await bench.tick(3)
        if hour % 24 == 12:
            bench.database.back_up()
        await bench.table.remove([job.id for job in bench.table.list() if job.state.ended])
        bench.fake.closed.clear()
        if hour % 24 == 23:
            sizes.append(bench.database.path.stat().st_size)
    await bench.tick()
    assert len(bench.table.list()) <= 8
    assert 1 <= len(backups(bench.database.path)) <= KEPT
    assert sizes[-1] <= 2 * sizes[len(sizes) // 2] + 400_000
    trail = bench.folder / "state"
    assert sum(file.stat().st_size for file in trail.iterdir()) <= (audit.KEPT + 1) * (audit.MAX_SIZE + 10_000)
    for line in (trail / "audit.jsonl").read_text().splitlines():
        json.loads(line)
    assert set(bench.queue.runs) == {job.id for job in bench.table.list()}


async def test_E05_days_of_faults_leave_database_backups_and_trail_within_limits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_SIZE", 5_000)
    await days(bench, 50)


@pytest.mark.sweep
async def test_E05_months_of_faults_leave_database_backups_and_trail_within_limits(bench: Bench) -> None:
    await days(bench, 2000)
