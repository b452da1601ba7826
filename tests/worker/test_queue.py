"""The queue as the worker works it, against a server in memory and a clock that stands still."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worker.fakes import CUT, END, ENDPOINT, HANG, MB, Bench, failed, step, steps
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind
from tui.core.jobs import JobState, JobWish, Plan, PlanLayer
from tui.services import space
from tui.worker import disks

RESET = failed("The connection to the registry broke", FailureKind.INTERRUPTED, "max retries exceeded: EOF")
FULL = failed("The server's disk is full", FailureKind.DISK, "write /x-partial: no space left on device")


def audit(bench: Bench) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bench.folder / "state" / "audit.jsonl").read_text("utf-8").splitlines()]


async def test_a_pull_is_done_when_success_came_and_the_model_is_listed(bench: Bench) -> None:
    bench.fake.digests["qwen3:8b"] = "abc"
    number = await bench.add()
    await bench.settle()
    job = bench.job(number)
    assert job.state is JobState.DONE
    assert (job.percent, job.done, job.total, job.attempts) == (100.0, 100 * MB, 100 * MB, 1)
    assert job.ended_at is not None
    assert not bench.queue.busy
    events = audit(bench)
    assert [event["result"] for event in events] == ["started", "done"]
    assert events[1]["digest"] == "abc"
    assert (bench.folder / "state" / "audit.jsonl").stat().st_mode & 0o777 == 0o600


async def test_P06_success_without_the_model_in_the_list_is_not_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        await sleep(0)

    monkeypatch.setattr("tui.worker.proof.asyncio.sleep", at_once)
    number = await bench.add("ghost:1b")
    bench.fake.scripts["ghost:1b"] = [[*steps(100), *END]]
    bench.fake.listed = _Never()
    await bench.settle()
    job = bench.job(number)
    assert job.state is JobState.WAITING
    assert "its list lacks ghost:1b" in job.note


class _Never(set[str]):
    def add(self, item: str) -> None:
        pass


async def test_offline_nothing_is_fetched_until_it_is_set_back(bench: Bench) -> None:
    normal = bench.settings
    bench.settings = normal.model_copy(update={"general": normal.general.model_copy(update={"network": "offline"})})
    bench.fake.scripts["a:latest"] = [[*steps(10), HANG]]
    number = await bench.add("a")
    await bench.tick(2)
    assert bench.job(number).note == "waits: general.network is offline"
    assert not bench.fake.open
    bench.settings = normal
    await bench.tick(2)
    assert bench.fake.open == ["a:latest"]


async def test_only_so_many_at_once_and_the_note_says_so(bench: Bench) -> None:
    numbers = []
    for name in "abcd":
        bench.fake.scripts[f"{name}:latest"] = [[*steps(10), HANG]]
        numbers.append(await bench.add(name))
    await bench.tick(2)
    assert bench.fake.open == ["a:latest", "b:latest"]
    assert [bench.job(number).state for number in numbers] == [JobState.FETCHING] * 2 + [JobState.WAITING] * 2
    assert bench.job(numbers[2]).note == "waits for a place (2 at once)"
    bench.settings = bench.settings.model_copy(update={"pulls": bench.settings.pulls.model_copy(update={"at_once": 3})})
    await bench.tick(1)
    assert len(bench.fake.open) == 3


async def test_Q01_P33_no_new_bytes_are_named_after_30_s_and_reconnected_after_90(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    bench.fake.scripts["qwen3:8b"] = [[*steps(10), HANG], [*steps(20, 100), *END]]
    number = await bench.add()
    await bench.tick(2)
    for _ in range(6):
        bench.clock.advance(5)
        await bench.tick()
    assert bench.job(number).note.startswith("stalled: no new bytes")
    assert bench.fake.open == ["qwen3:8b"]
    for _ in range(12):
        bench.clock.advance(5)
        await bench.tick()
    await bench.tick(2)
    job = bench.job(number)
    assert bench.fake.open == []
    assert "No new bytes for 90s" in job.note
    assert job.done == 10 * MB
    bench.clock.advance(6)
    await bench.settle()
    assert bench.job(number).state is JobState.DONE


async def test_Q02_P34_a_cut_pull_is_retried_with_growing_pauses_then_failed(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    bench.fake.scripts["qwen3:8b"] = [[*steps(40), CUT]]
    number = await bench.add()
    pauses = []
    for _ in range(6):
        await bench.settle()
        job = bench.job(number)
        if job.state is JobState.FAILED:
            break
        assert job.state is JobState.WAITING
        assert job.done == 40 * MB
        assert job.due_at is not None
        pauses.append(round(job.due_at - bench.clock.time()))
        bench.clock.advance(pauses[-1] - 0.5)
        begun = len(bench.fake.pulls)
        await bench.tick()
        assert len(bench.fake.pulls) == begun
        bench.clock.advance(1)
    assert pauses == [5, 15, 45, 120, 300]
    assert job.state is JobState.FAILED
    assert job.note == "failed after 5 retries: Connection lost"
    assert job.attempts == len(bench.fake.pulls) == 6
    assert job.done == 40 * MB


async def test_Q02_new_bytes_forgive_earlier_failures(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    bench.fake.scripts["qwen3:8b"] = [[*steps(100 * n, total=5000), CUT] for n in range(1, 12)]
    number = await bench.add()
    for _ in range(10):
        await bench.settle()
        assert "(1 of 5)" in bench.job(number).note
        bench.clock.advance(6)


async def test_Q06_a_clean_end_without_success_is_not_done(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    bench.fake.scripts["qwen3:8b"] = [[*steps(100), END[0]], [*steps(100), *END]]
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).state is JobState.WAITING
    assert bench.job(number).note == "unclear how it ended, asks again"
    bench.clock.advance(1.1)
    await bench.settle()
    assert bench.job(number).state is JobState.DONE


async def test_Q07_a_full_disk_rests_the_queue_of_that_server(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isinstance(bench.clock, ManualClock)
    free = [500 * 10**9]
    room: dict[str, Any] = {"free": free}

    def fake_room(job: Any, settings: Any, others: Any = (), *, extra: int = 0) -> space.Room:
        return space.Room(10**9 + extra, room["free"][0], tmp_path)

    monkeypatch.setattr(disks, "room_for", fake_room)
    bench.fake.scripts["a:latest"] = [[*steps(40), FULL], [*steps(100), *END]]
    first, second = await bench.add("a"), await bench.add("b")
    bench.settings = bench.settings.model_copy(update={"pulls": bench.settings.pulls.model_copy(update={"at_once": 1})})
    free[0] = 500 * 10**9
    await bench.tick(2)
    free[0] = 10**6
    await bench.tick(2)
    assert bench.fake.pulls == ["a:latest"]
    for number in (first, second):
        assert bench.job(number).state is JobState.WAITING
        assert bench.job(number).note.startswith("waits for space: ")
    free[0] = 2 * 10**9  # enough for the pull, not for the margin after a full disk
    for _ in range(5):
        bench.clock.advance(11)
        await bench.tick()
    assert bench.fake.pulls == ["a:latest"]
    free[0] = 4 * 10**9
    bench.clock.advance(11)
    await bench.settle()
    await bench.settle()
    assert bench.job(first).state is bench.job(second).state is JobState.DONE


async def test_Q07_a_full_disk_elsewhere_is_asked_again_after_ten_minutes(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    bench.fake.scripts["qwen3:8b"] = [[*steps(40), FULL], [*steps(100), *END]]
    number = await bench.add()
    await bench.settle()
    bench.clock.advance(590)
    await bench.tick(3)
    assert len(bench.fake.pulls) == 1
    bench.clock.advance(11)
    await bench.settle()
    assert bench.job(number).state is JobState.DONE


async def test_Q08_damaged_bytes_are_loaded_anew_once(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    damaged = failed("The download arrived damaged", FailureKind.SERVER, "digest mismatch, file must be downloaded again: want x, got y")
    bench.fake.scripts["qwen3:8b"] = [[*steps(100), damaged]]
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).state is JobState.WAITING
    bench.clock.advance(10)
    await bench.settle()
    job = bench.job(number)
    assert job.state is JobState.FAILED
    assert "checksum" in job.note
    assert len(bench.fake.pulls) == 2


@pytest.mark.parametrize(
    "kind", [FailureKind.NOT_FOUND, FailureKind.AUTH, FailureKind.FORBIDDEN, FailureKind.BAD_REQUEST, FailureKind.UNSUPPORTED]
)
async def test_Q09_what_no_retry_can_mend_fails_at_once(bench: Bench, kind: FailureKind) -> None:
    bench.fake.scripts["qwen3:8b"] = [[step("pulling manifest"), failed("The registry has no such model or tag", kind)]]
    number = await bench.add()
    await bench.settle()
    job = bench.job(number)
    assert job.state is JobState.FAILED
    assert job.note == "failed: The registry has no such model or tag"
    assert job.failure is not None
    assert job.failure.kind is kind


async def test_Q10_the_registrys_troubles_are_transient(bench: Bench) -> None:
    bench.fake.scripts["qwen3:8b"] = [[*steps(40), RESET]]
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).note == "waits to retry (1 of 5): The connection to the registry broke"


async def test_Q11_a_server_that_is_down_costs_no_attempt(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    down = failed("Cannot reach Ollama at 192.0.2.7:11434: nothing is listening", FailureKind.UNREACHABLE)
    bench.fake.scripts["qwen3:8b"] = [[*steps(40), CUT], *[[down]] * 30, [*steps(100), *END]]
    number = await bench.add()
    for _ in range(31):
        await bench.settle()
        bench.clock.advance(100)
    job = bench.job(number)
    assert job.state is JobState.WAITING
    assert job.note == "waits for box at 192.0.2.7:11434: nothing is listening"
    assert job.done == 40 * MB
    await bench.settle()
    bench.clock.advance(100)
    await bench.settle()
    assert bench.job(number).state is JobState.DONE
    assert bench.job(number).attempts == 2


async def test_Q11_a_registry_out_of_reach_costs_an_attempt(bench: Bench) -> None:
    bench.fake.scripts["qwen3:8b"] = [[step("pulling manifest"), failed("The server cannot reach the registry", FailureKind.UNREACHABLE)]]
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).note == "waits to retry (1 of 5): The server cannot reach the registry"


async def test_Q14_one_entry_however_spelled(bench: Bench) -> None:
    bench.fake.scripts["a:latest"] = [[*steps(1), HANG]]
    numbers = {await bench.add(name) for name in ("a", "a:latest", "library/a", "A:LATEST", "registry.ollama.ai/library/a:latest")}
    assert len(numbers) == 1
    other = await bench.add("a", endpoint=replace(ENDPOINT, url="http://192.0.2.8:11434"))
    assert other not in numbers
    assert len(bench.table.list()) == 2


async def test_Q15_wishes_while_running(bench: Bench) -> None:
    bench.fake.scripts["qwen3:8b"] = [[*steps(40), HANG], [*steps(60), HANG]]
    number = await bench.add()
    await bench.tick(2)
    await bench.table.wish([number], JobWish.PAUSE)
    await bench.tick(2)
    job = bench.job(number)
    assert (job.state, bench.fake.open) == (JobState.PAUSED, [])
    assert job.note == "paused: 40 MB stay on box until it restarts; then it may drop them"
    assert not bench.queue.busy
    await bench.table.wish([number], JobWish.RUN)
    await bench.tick(2)
    assert bench.job(number).state is JobState.FETCHING
    await bench.table.wish([number], JobWish.CANCEL)
    await bench.tick(2)
    assert (bench.job(number).state, bench.fake.open) == (JobState.CANCELLED, [])
    await bench.table.retry([number])
    await bench.tick(2)
    assert bench.job(number).state is JobState.FETCHING
    assert bench.job(number).attempts == 1


async def test_Q15_five_hundred_entries(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"pulls": bench.settings.pulls.model_copy(update={"at_once": 1})})
    numbers = []
    for index in range(500):
        bench.fake.scripts[f"m{index}:latest"] = [[*steps(1), HANG]]
        numbers.append(await bench.add(f"m{index}"))
    await bench.tick(2)
    assert bench.fake.open == ["m0:latest"]
    await bench.table.move([numbers[499]], "first")
    await bench.table.wish([numbers[0]], JobWish.CANCEL)
    await bench.tick(2)
    assert bench.fake.open == ["m499:latest"]
    assert [job.id for job in bench.table.list()][:2] == [numbers[499], numbers[0]]


async def test_Q17_the_clock_may_be_set(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    bench.fake.scripts["qwen3:8b"] = [[*steps(40), CUT]]
    number = await bench.add()
    await bench.settle()
    for offset in (-3600.0, 365 * 86400.0):
        bench.clock.offset = offset
        await bench.tick()
        due_at = bench.job(number).due_at
        assert due_at is not None
        assert 0 <= due_at - bench.clock.time() <= 5.1
    # A worker that starts after the clock was set back a year reads a due time far ahead.
    bench.clock.offset = -365 * 86400.0
    bench.queue = bench.new_queue()
    await bench.queue.open()
    bench.clock.advance(401)
    await bench.tick(3)
    assert len(bench.fake.pulls) == 2


async def test_a_reference_that_cannot_be_resolved_waits_and_says_what_it_needs(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)

    def refuse(reference: str) -> str:
        raise failed("The variable BOX_KEY is not set", FailureKind.AUTH)

    bench.key = refuse
    number = await bench.add(endpoint=replace(ENDPOINT, key="env:BOX_KEY"))
    await bench.settle()
    assert bench.job(number).state is JobState.WAITING
    assert bench.job(number).note == "needs BOX_KEY"
    bench.key = lambda reference: "k"
    bench.clock.advance(11)
    await bench.settle()
    assert bench.job(number).state is JobState.DONE


async def test_P05_what_ran_runs_again_after_a_crash_in_the_old_order(bench: Bench) -> None:
    for name in "abc":
        bench.fake.scripts[f"{name}:latest"] = [[*steps(10), HANG]]
        await bench.add(name)
    await bench.tick(2)
    before = [(job.id, job.model) for job in bench.table.list()]
    crashed, bench.queue = bench.queue, bench.new_queue()
    await bench.queue.open()
    assert [(job.id, job.model) for job in bench.table.list()] == before
    await bench.tick(2)
    assert bench.fake.open.count("a:latest") == 2  # the crashed one's stream, and ours
    await crashed.close()
    await bench.tick()


async def test_space_is_waited_for_and_watched_while_fetching(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isinstance(bench.clock, ManualClock)
    folder = tmp_path / "models"
    folder.mkdir()
    free = [30 * 10**9]
    monkeypatch.setenv("OLLAMA_MODELS", str(folder))
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free[0]}))
    here = replace(ENDPOINT, url="http://127.0.0.1:11434")
    bench.fake.scripts["qwen3:8b"] = [[*steps(1000, total=30_000), HANG]]
    bench.plans["qwen3:8b"] = Plan((PlanLayer("sha256:a", 30 * 10**9),), frozenset())
    number = await bench.add(endpoint=here)
    await bench.settle()
    assert bench.job(number).note == f"waits for space: 40 GB needed, 30 GB free in {folder}"
    assert bench.fake.pulls == []
    free[0] = 50 * 10**9
    bench.clock.advance(11)
    await bench.tick(2)
    assert bench.job(number).state is JobState.FETCHING
    free[0] = 20 * 10**9
    bench.clock.advance(5)
    await bench.tick(3)
    bench.clock.advance(11)
    await bench.tick(3)
    assert bench.fake.open == []
    assert bench.job(number).note.startswith("waits for space: 39 GB needed")


async def test_D03_a_database_that_cannot_be_written_keeps_the_facts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    number = await bench.add()
    record = bench.table.__class__.record
    full = [True]

    async def refuse(self: Any, jobs: Any, **more: Any) -> None:
        if full[0]:
            raise failed("Not saved: the disk is full", FailureKind.DISK)
        await record(self, jobs, **more)

    monkeypatch.setattr(bench.table.__class__, "record", refuse)
    await bench.settle()
    assert bench.job(number).state is JobState.WAITING
    full[0] = False
    await bench.tick()
    assert bench.job(number).state is JobState.DONE
