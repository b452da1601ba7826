"""The queue where others fail it: wrong bytes, a disk that hangs, a sleeping machine, rows nobody can read; recorded pulls."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.unit.test_pulls import recorded
from tests.worker.fakes import END, ENDPOINT, HANG, MB, Bench, failed, step, steps
from tui.config.settings import Settings
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind
from tui.core.jobs import Job, JobKind, JobState, JobWish
from tui.services import space
from tui.store.jobs import JOBS, WISHES
from tui.worker import disks

NAMED = "a" * 64
OTHER = "b" * 64


def layers(*digests: str) -> list[Any]:
    return [step("pulling manifest"), *(step("pulling", 100 * MB, 100 * MB, f"sha256:{digest}") for digest in digests), *END]


# --- pulls.verify ------------------------------------------------------------------------------------------------------


async def test_P06_other_weights_than_the_registry_named_are_not_done(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    bench.fake.scripts["qwen3:8b"] = [layers(NAMED, "c" * 64)]
    bench.fake.weights["qwen3:8b"] = OTHER
    number = await bench.add()
    await bench.settle()
    job = bench.job(number)
    assert job.state is JobState.WAITING
    assert "damaged (checksum)" in job.note
    bench.clock.advance(10)
    await bench.settle()
    job = bench.job(number)
    assert job.state is JobState.FAILED
    assert len(bench.fake.pulls) == 2
    assert job.failure is not None
    assert job.failure.remedy == "Delete the model, then retry"


@pytest.mark.parametrize(
    ("announced", "listed"),
    [
        ((NAMED, "c" * 64), NAMED),  # as it should be
        ((NAMED,), ""),  # the server does not say
        (("model",), OTHER),  # one counter for all layers: nothing was named
        ((NAMED,), failed("no answer", FailureKind.TIMEOUT)),  # it cannot be asked
    ],
)
async def test_P06_what_cannot_be_compared_is_done_when_it_is_listed(bench: Bench, announced: tuple[str, ...], listed: Any) -> None:
    bench.fake.scripts["qwen3:8b"] = [layers(*announced)]
    bench.fake.weights["qwen3:8b"] = listed
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).state is JobState.DONE


async def test_without_verify_nothing_is_compared(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"pulls": bench.settings.pulls.model_copy(update={"verify": False})})
    bench.fake.scripts["qwen3:8b"] = [layers(NAMED)]
    bench.fake.weights["qwen3:8b"] = OTHER
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).state is JobState.DONE


# --- time and figures --------------------------------------------------------------------------------------------------


async def test_Q12_a_machine_that_slept_is_no_stall(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    bench.fake.scripts["qwen3:8b"] = [[*steps(10, 20), HANG]]
    number = await bench.add()
    await bench.tick(3)
    for sleep in (300.0, 8 * 3600.0):
        bench.clock.advance(sleep)
        await bench.tick(3)
        job = bench.job(number)
        assert job.state is JobState.FETCHING
        assert "stalled" not in job.note
        assert len(bench.fake.pulls) == 1


@pytest.mark.parametrize(
    "name", ["0.24_pull_fresh", "0.33_pull_fresh", "0.24_pull_cancel_resume", "0.33_pull_cancel_resume", "0.24_pull_reset"]
)
async def test_Q04_recorded_pulls_as_the_queue_shows_them_never_fall(bench: Bench, name: str) -> None:
    """What real servers sent, line by line on the clock of the recording, as it is written down for the screens."""
    clock = bench.clock
    assert isinstance(clock, ManualClock)
    attempts = recorded(name)
    go = asyncio.Semaphore(0)
    bench.fake.scripts["qwen3:8b"] = [[item for _, line in lines for item in (go.acquire, line)] or [HANG] for lines in attempts]
    number = await bench.add()
    await bench.tick()
    for lines in attempts:
        shown: list[Job] = []
        before = 0.0
        for place, (at, _) in enumerate(lines):
            clock.advance(max(0.0, at - before))
            before = max(at, before)
            go.release()
            if place % 8 == 7 or place == len(lines) - 1:
                await bench.tick()
                shown.append(bench.job(number))
        await bench.tick(2)
        shown.append(bench.job(number))
        percents = [job.percent for job in shown if job.percent is not None]
        assert percents == sorted(percents)
        assert all(0 <= percent <= 100 for percent in percents)
        assert [job.done for job in shown] == sorted(job.done for job in shown)
        assert all(job.rate is None or 0 <= job.rate < 100 * MB for job in shown)
        assert all(job.eta is None or job.eta > 0 for job in shown)
        assert shown[-1].state is (JobState.DONE if lines[-1][1].status == "success" else JobState.WAITING)
        if shown[-1].state is JobState.DONE:
            assert shown[-1].percent == 100.0
            break
        clock.advance(400)
        await bench.tick()


# --- what hangs, and what cannot be read ---------------------------------------------------------------------------------


async def test_Q21_a_disk_that_hangs_costs_one_look_and_no_pull(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(bench.clock, ManualClock)
    over = threading.Event()
    looks: list[threading.Thread] = []

    def hang(job: Job, settings: Any, others: Any = (), *, extra: int = 0) -> space.Room | None:
        looks.append(threading.current_thread())
        over.wait()
        return None

    monkeypatch.setattr(disks, "room_for", hang)
    monkeypatch.setattr(disks, "DISK_WITHIN", 0.05)
    bench.fake.scripts["b:latest"] = [[*steps(10), HANG]]
    first, second = await bench.add("a"), await bench.add("b")
    try:
        await bench.settle()
        assert bench.job(first).state is JobState.DONE
        assert bench.job(second).state is JobState.FETCHING
        for _ in range(5):
            bench.clock.advance(11)
            await bench.tick()
        assert len(looks) == 1
        assert looks[0].daemon  # the end of the worker waits for none
    finally:
        over.set()


@pytest.mark.parametrize("error", [PermissionError(13, "no"), ValueError("embedded null byte"), RuntimeError("no home")])
def test_Q21_a_folder_that_cannot_be_asked_is_not_known(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(space, "models_folder", refuse)
    assert space.room_for(Job(1, JobKind.PULL, "m", ENDPOINT, {}, JobWish.RUN, JobState.WAITING, 1), Settings()) is None


@pytest.mark.parametrize(
    "damage",
    ["kind = 'of a newer version'", "endpoint = 'nonsense'", "endpoint = '[]'", "wish = ''", "progress = '{\"layers\": 7}'", "state = 'x'"],
)
async def test_P13_P38_an_entry_nobody_can_read_costs_no_other(bench: Bench, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    broken, good = await bench.add("a"), await bench.add("b")
    await bench.database.run(lambda connection: connection.execute(f"UPDATE job SET {damage} WHERE id = ?", (broken,)), (JOBS, WISHES))
    await bench.settle()
    assert [job.id for job in bench.table.list()] == [good]
    assert bench.job(good).state is JobState.DONE
    assert caplog.text.count(f"entry {broken} of the queue cannot be read") == 2  # once a reader: the queue's, the test's
    count = bench.database.read(lambda connection: connection.execute("SELECT count(*) FROM job").fetchone()[0])
    assert count == 2


async def test_columns_that_are_no_json_count_as_empty(bench: Bench) -> None:
    number = await bench.add("a", size=5)
    await bench.database.run(
        lambda connection: connection.execute("UPDATE job SET arguments = '{', failure = '{}', progress = ']' WHERE id = ?", (number,)),
        (JOBS,),
    )
    (job,) = bench.table.list()
    assert (job.arguments, job.failure, job.layers) == ({}, None, ())
