"""What must hold over turns, faults and workers: reasons, failures counted, loads wanted, wishes, the key kept back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.settings import having
from tests.worker.fakes import CUT, END, ENDPOINT, HANG, MB, Bench, failed, step, steps
from tests.worker.test_limits import lined
from tests.worker.test_plans import detail
from tui.config.paths import find_paths
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import LOADING, Changes, JobKind, JobState, JobWish, Plan, PlanLayer, Wait
from tui.services import space
from tui.worker import disks, process

FULL = failed("The server's disk is full", FailureKind.DISK, "write /x-partial: no space left on device")


@pytest.fixture
def clock(bench: Bench) -> ManualClock:
    assert isinstance(bench.clock, ManualClock)
    return bench.clock


async def next_worker(bench: Bench, *, killed: bool = True) -> None:
    if killed:
        tasks = [task for run in bench.queue.runs.values() for task in (run.task, run.warming) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    else:
        await bench.queue.close()
    bench.queue = bench.new_queue()
    await bench.queue.open()


# --- plans and turns --------------------------------------------------------------------------------------------------


async def test_P53_nothing_is_asked_of_a_server_whose_key_may_not_go_there(bench: Bench) -> None:
    def refuse(_reference: str) -> str:
        raise failed("nothing was sent: the port is held by another person's account", FailureKind.REFUSED)

    bench.key = refuse
    number = await bench.add()
    await bench.settle()
    assert bench.asked == []
    assert bench.job(number).wait is Wait.KEY


async def test_an_entry_whose_turn_it_is_does_not_wait_for_the_plans_of_others(bench: Bench) -> None:
    """Two plans are made at a time, and these two never come."""
    bench.settings = having(bench.settings, pulls={"at_once": 3})
    bench.hangs = {"b:latest", "c:latest"}
    bench.fake.scripts["a:latest"] = [[HANG]]
    numbers = [await bench.add(name) for name in ("b", "c", "a")]
    await bench.settle()
    assert bench.fake.open == ["a:latest"]
    assert [bench.job(number).note for number in numbers[:2]] == ["reads the manifest"] * 2


async def test_a_paused_pull_is_not_failed_by_its_plan(bench: Bench) -> None:
    bench.hangs = {"ghost:latest"}
    number = await bench.add("ghost")
    await bench.tick(2)
    await bench.table.wish([number], JobWish.PAUSE)
    await bench.tick(2)
    bench.plans["ghost:latest"] = failed("no such model", FailureKind.NOT_FOUND)
    bench.hangs = set()
    bench.go_on.set()
    await bench.settle()
    assert bench.job(number).state is JobState.PAUSED


# --- percent ----------------------------------------------------------------------------------------------------------


async def test_percent_holds_over_the_turns_of_a_model_in_several_files(bench: Bench) -> None:
    """A server names the files it has one after the other when it is asked again."""
    files = [f"sha256:{letter * 64}" for letter in "abcd"]
    bench.plans["qwen3:8b"] = Plan(tuple(PlanLayer(file, 5000 * MB, "weights") for file in files), frozenset())
    first = [step("pulling", 5000 * MB, 5000 * MB, file) for file in files[:3]]
    bench.fake.scripts["qwen3:8b"] = [[*first, step("pulling", 1000 * MB, 5000 * MB, files[3]), CUT], [first[0], HANG]]
    assert isinstance(bench.clock, ManualClock)
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).percent == pytest.approx(80)
    bench.clock.advance(10)
    await bench.settle()
    assert bench.job(number).percent == pytest.approx(80)
    await next_worker(bench)
    bench.fake.scripts["qwen3:8b"].append([first[0], HANG])
    await bench.settle()
    assert bench.job(number).percent == pytest.approx(80)


async def test_Q08_damaged_bytes_count_no_more(bench: Bench, clock: ManualClock) -> None:
    bench.fake.scripts["qwen3:8b"] = [
        [*steps(50, 100), *END[:1], failed("damaged", FailureKind.SERVER, "digest mismatch")],
        [*steps(5), HANG],
    ]
    number = await bench.add()
    await bench.settle()
    assert (bench.job(number).wait, bench.job(number).percent) == (Wait.RETRY, None)
    clock.advance(10)
    await bench.settle()
    assert bench.job(number).percent == pytest.approx(5)


async def test_a_done_pull_that_is_asked_for_again_begins_at_nothing(bench: Bench, clock: ManualClock) -> None:
    number = await bench.add()
    await bench.settle()
    clock.advance(86_000)
    bench.fake.scripts["qwen3:8b"] = [[*steps(1), HANG]]
    await bench.table.retry([number])
    await bench.settle()
    job = bench.job(number)
    assert (job.percent, job.started_at, job.fetched) == (pytest.approx(1), clock.time(), 0)


# --- faults counted ---------------------------------------------------------------------------------------------------


async def test_P34_failures_are_counted_over_workers_and_no_start_is_one(bench: Bench, clock: ManualClock) -> None:
    bench.fake.scripts["qwen3:8b"] = [[*steps(1), HANG]] * 6 + [[*steps(1), CUT]]
    number = await bench.add()
    for _ in range(6):  # killed and begun again
        await bench.settle()
        await next_worker(bench)
    await bench.settle()
    assert bench.job(number).note.startswith("waits to retry (1 of 5)")
    await next_worker(bench)
    clock.advance(10)
    await bench.settle()
    assert bench.job(number).note.startswith("waits to retry (2 of 5)")


async def test_bytes_that_came_count_as_progress_although_the_server_lost_them(bench: Bench, clock: ManualClock) -> None:
    bench.fake.scripts["qwen3:8b"] = [[*steps(0, 200, total=1000), CUT]]
    number = await bench.add()
    for _ in range(8):
        await bench.settle()
        clock.advance(10)
    assert bench.job(number).failures == 1


async def test_what_went_wrong_before_is_over_when_bytes_come(bench: Bench, clock: ManualClock) -> None:
    bench.fake.scripts["qwen3:8b"] = [[*steps(1), CUT], [*steps(1, 2), HANG]]
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).failure is not None
    clock.advance(10)
    await bench.settle()
    assert (bench.job(number).state, bench.job(number).failure) == (JobState.FETCHING, None)


async def test_the_reason_to_wait_is_the_true_one_again_after_another(bench: Bench, clock: ManualClock) -> None:
    bench.fake.scripts["qwen3:8b"] = [[*steps(1), CUT], [*steps(1), CUT], [HANG]]
    number = await bench.add()
    await bench.settle()
    clock.advance(6)
    await bench.settle()
    normal = bench.settings
    bench.settings = having(normal, general={"network": "offline"})
    await bench.tick()
    assert bench.job(number).wait is Wait.NETWORK
    bench.settings = normal
    await bench.tick()
    job = bench.job(number)
    assert (job.wait, job.note[:23]) == (Wait.RETRY, "waits to retry (2 of 5)")
    assert job.due_at == pytest.approx(clock.time() + 15)


async def test_Q07_a_full_disk_that_we_do_not_see_is_asked_again_after_ten_minutes(
    bench: Bench, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder we took for the server's has room: it is another one, or there is a quota."""
    monkeypatch.setattr(disks, "room_for", lambda *args, **more: space.Room(10**9, 300 * 10**9, tmp_path))
    bench.fake.scripts["qwen3:8b"] = [[*steps(1), FULL]]
    bench.fake.scripts["b:latest"] = [[*steps(1), HANG]]
    first, second = await bench.add(), await bench.add("b")
    bench.settings = having(bench.settings, pulls={"at_once": 1})
    for _ in range(30):
        await bench.settle()
        clock.advance(11)
    assert bench.fake.pulls == ["qwen3:8b"]
    assert bench.job(first).note == "waits for space: the server's disk is full; asks again every 10 minutes"
    assert bench.job(second).failure is None  # it never ran


async def test_a_server_that_checks_for_ever_is_asked_again(bench: Bench, clock: ManualClock) -> None:
    bench.fake.scripts["qwen3:8b"] = [[*steps(100), END[0], HANG], [*steps(100), *END]]
    number = await bench.add()
    await bench.settle()
    clock.advance(890)
    await bench.settle()
    assert bench.job(number).state is JobState.CHECKING
    clock.advance(20)
    await bench.settle()
    job = bench.job(number)
    assert job.note == "waits to retry (1 of 5): The server did not end its check"


@pytest.mark.parametrize("kind", [JobKind.CREATE, JobKind.QUANTIZE])
async def test_P34_what_was_being_made_when_the_worker_was_killed_is_not_made_twice(bench: Bench, kind: JobKind) -> None:
    job = await bench.table.add(kind, "mine", ENDPOINT, {"from": "a"})
    await bench.table.record([replace(job, state=JobState.FETCHING)])
    await next_worker(bench)
    await bench.settle()
    assert bench.job(job.id).state is JobState.FAILED
    assert "whether it was made is not known" in bench.job(job.id).note


# --- loads ------------------------------------------------------------------------------------------------------------


async def test_a_load_that_the_worker_did_not_end_is_taken_up_by_the_next(bench: Bench, clock: ManualClock) -> None:
    bench.fake.loads["qwen3:8b"] = HANG
    number = await bench.add(warm_up=True)
    await bench.settle()
    assert (bench.job(number).state, bench.job(number).warmed) == (JobState.DONE, LOADING)
    assert bench.queue.busy
    await next_worker(bench, killed=False)
    assert bench.job(number).warmed == LOADING
    del bench.fake.loads["qwen3:8b"]
    await next_worker(bench)
    await bench.settle()
    assert bench.job(number).warmed == "loaded"
    await bench.table.record([replace(bench.job(number), warmed=LOADING)])
    clock.advance(4000)
    await next_worker(bench)
    await bench.settle()
    assert bench.job(number).warmed == "not loaded: the worker ended meanwhile"
    assert not bench.queue.busy


async def test_a_fault_of_ours_in_a_load_is_no_load(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.fake.loads["qwen3:8b"] = RuntimeError("odd")
    number = await bench.add(warm_up=True)
    await bench.settle()
    assert bench.job(number).warmed == "not loaded: a fault of Paddock, see worker.log"
    assert "a load after a pull" in caplog.text


# --- changes ----------------------------------------------------------------------------------------------------------


async def test_what_was_changed_is_known_over_the_turns_of_a_limit(bench: Bench) -> None:
    bench.fake.digests["qwen3:8b"] = "1" * 64
    number = await bench.add()
    await bench.settle()
    bench.fake.digests["qwen3:8b"] = "2" * 64
    bench.fake.shows["qwen3:8b"] = [detail(system="Mine."), detail()]
    bench.settings = having(bench.settings, pulls={"bandwidth": 1 * MB})
    bench.fake.scripts["qwen3:8b"] = [[], [*steps(0, 100), HANG], [*steps(100), *END]]
    await bench.table.retry([number])
    for _ in range(40):
        await bench.settle()
        assert isinstance(bench.clock, ManualClock)
        bench.clock.advance(5)
    assert len(bench.fake.pulls) == 3
    assert bench.job(number).changes == Changes((), "Mine.", None)


async def test_changes_that_were_forgotten_stay_forgotten(bench: Bench) -> None:
    bench.fake.listed.add("qwen3:8b")
    bench.fake.shows["qwen3:8b"] = [detail(parent="x", system="Mine."), detail()]
    bench.fake.loads["qwen3:8b"] = HANG
    number = await bench.add(warm_up=True)
    await bench.settle()
    assert bench.job(number).changes
    await bench.table.forget_changes(number)
    await bench.settle()
    await next_worker(bench, killed=False)
    assert bench.job(number).changes is None


# --- wishes -----------------------------------------------------------------------------------------------------------


async def test_P38_a_wish_is_not_lost_where_reading_it_fails_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = find_paths(environ={"PADDOCK_HOME": str(bench.folder / "home")})
    worker = process.Worker(bench.database, paths, lambda: bench.settings, lambda endpoint, resolve, clock: bench.fake.make(endpoint), 1.0)
    read, faults = worker._queue.read, [failed("The disk does not answer", FailureKind.DISK)]

    async def once() -> None:
        if faults:
            raise faults.pop()
        await read()

    monkeypatch.setattr(worker._queue, "read", once)
    number = await bench.add("a")
    with pytest.raises(PaddockError):
        await worker._tick()
    await worker._tick()
    assert number in worker._queue.runs
    await worker._queue.close()


@pytest.mark.parametrize("speed", [100, 1])
async def test_offline_stops_what_runs_and_what_rests(bench: Bench, speed: int) -> None:
    bench.settings = having(bench.settings, pulls={"bandwidth": 1 * MB})
    line = lined(bench, speed * MB)
    number = await bench.add("a")
    await line.pass_(4)
    bench.settings = having(bench.settings, general={"network": "offline"})
    await line.pass_(60)
    assert (line.open, bench.job(number).wait) == ([], Wait.NETWORK)


async def test_offline_stops_no_create_on_this_machine(bench: Bench) -> None:
    bench.settings = having(bench.settings, general={"network": "offline"})
    near = await bench.table.add(JobKind.CREATE, "mine", replace(ENDPOINT, url="http://127.0.0.1:11434"), {"from": "a"})
    await bench.tick()
    assert bench.job(near.id).wait is Wait.NOTHING


async def test_an_update_keeps_what_was_changed(bench: Bench) -> None:
    """The digest that is remembered stays the registry's: the next update then still knows that a person changed the model."""
    bench.fake.digests["qwen3:8b"] = "1" * 64
    await bench.add()
    await bench.settle()
    bench.fake.digests["qwen3:8b"] = "2" * 64
    bench.fake.shows["qwen3:8b"] = [detail(system="Mine."), detail()]
    again = await bench.add(keep_changes=True)
    await bench.settle()
    job = bench.job(again)
    assert job.state is JobState.DONE and job.changes is None
    assert job.note == "what you had changed was applied again"
    assert bench.fake.creates == [("qwen3:8b", {"from": "qwen3:8b", "system": "Mine."})]
    assert job.digest == "2" * 64


async def test_what_cannot_be_applied_again_stays_offered(bench: Bench) -> None:
    bench.fake.digests["qwen3:8b"] = "1" * 64
    await bench.add()
    await bench.settle()
    bench.fake.digests["qwen3:8b"] = "2" * 64
    bench.fake.shows["qwen3:8b"] = [detail(system="Mine."), detail()]
    bench.fake.create_fails = failed("The disk is full", FailureKind.DISK)
    again = await bench.add(keep_changes=True)
    await bench.settle()
    job = bench.job(again)
    assert job.state is JobState.DONE and job.changes == Changes((), "Mine.", None)
