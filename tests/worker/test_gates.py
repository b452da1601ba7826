"""What a job waits for: hours, its time, its turn, a yes, a place on its server, room beside others."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.settings import having
from tests.worker.fakes import ENDPOINT, HANG, MB, Bench, steps
from tests.worker.test_plans import plan
from tui.core.clock import ManualClock
from tui.core.jobs import Ask, JobState, JobWish, Wait
from tui.services import space

GB = 1000 * MB
OTHER = replace(ENDPOINT, name="other", url="http://192.0.2.8:11434")


def at(clock: ManualClock, hour: int, minute: int = 0) -> None:
    """Set the wall clock to a time of the day, here."""
    now = time.localtime(clock.time())
    clock.offset += time.mktime((now.tm_year, now.tm_mon, now.tm_mday, hour, minute, 0, 0, 0, -1)) - clock.time()


@pytest.fixture
def clock(bench: Bench) -> ManualClock:
    assert isinstance(bench.clock, ManualClock)
    return bench.clock


async def test_pulls_run_in_their_hours_only_and_what_runs_then_stops(bench: Bench, clock: ManualClock) -> None:
    bench.settings = having(bench.settings, pulls={"only_between": "23:00-07:00"})
    bench.fake.scripts["a:latest"] = [[*steps(10), HANG], [*steps(40), HANG]]
    at(clock, 12)
    number = await bench.add("a")
    await bench.settle()
    job = bench.job(number)
    assert (job.wait, job.note) == (Wait.HOURS, "waits for its hours (23:00-07:00)")
    assert time.strftime("%H:%M", time.localtime(job.due_at)) == "23:00"
    at(clock, 23, 30)
    await bench.settle()
    assert bench.job(number).state is JobState.FETCHING
    at(clock, 7)
    await bench.settle()
    job = bench.job(number)
    assert (job.state, job.wait, job.done) == (JobState.WAITING, Wait.HOURS, 10 * MB)
    assert bench.fake.open == []
    bench.settings = having(bench.settings, pulls={"only_between": ""})
    await bench.settle()
    assert bench.job(number).done == 40 * MB


async def test_one_starts_at_the_time_it_was_given(bench: Bench, clock: ManualClock) -> None:
    bench.fake.scripts["a:latest"] = [[*steps(10), HANG]]
    number = await bench.add("a")
    await bench.table.start_at([number], clock.time() + 3600)
    await bench.settle()
    assert (bench.job(number).wait, bench.job(number).due_at) == (Wait.START, clock.time() + 3600)
    clock.advance(3601)
    await bench.settle()
    assert bench.job(number).state is JobState.FETCHING


async def test_one_comes_after_another_however_that_ended(bench: Bench) -> None:
    bench.fake.scripts["a:latest"] = bench.fake.scripts["b:latest"] = [[*steps(10), HANG]]
    first, second = await bench.add("a"), await bench.add("b")
    await bench.table.chain([second], first)
    await bench.table.chain([first], second)  # a circle: not made
    await bench.settle()
    assert (bench.job(first).state, bench.job(second).wait) == (JobState.FETCHING, Wait.CHAIN)
    assert bench.job(second).note == "waits for a:latest"
    await bench.table.wish([first], JobWish.CANCEL)
    await bench.settle()
    assert bench.job(second).state is JobState.FETCHING


async def test_what_is_too_large_excluded_or_metered_waits_for_a_yes(bench: Bench) -> None:
    bench.settings = having(bench.settings, models={"max_size": 2 * GB, "excluded": ("qwen*",)}, general={"network": "metered"})
    bench.plans["qwen3:8b"] = plan()
    bench.fake.scripts["qwen3:8b"] = [[*steps(1), HANG]]
    number = await bench.add()
    await bench.settle()
    job = bench.job(number)
    assert job.wait is Wait.ANSWER
    assert job.asks == {Ask.SIZE, Ask.EXCLUDED, Ask.METERED}
    assert job.note == (
        "waits for your yes: 5.1 GB is more than models.max_size (2.0 GB) and models.excluded names it and the network is metered"
    )
    assert not bench.fake.pulls
    await bench.table.allow([number])
    await bench.settle()
    assert (bench.job(number).state, bench.job(number).asks) == (JobState.FETCHING, frozenset())


async def test_places_go_round_among_servers_and_each_keeps_its_order(bench: Bench) -> None:
    for name in "abcd":
        bench.fake.scripts[f"{name}:latest"] = [[*steps(1), HANG]]
    for name, endpoint in (("a", ENDPOINT), ("b", ENDPOINT), ("c", OTHER), ("d", OTHER)):
        await bench.add(name, endpoint=endpoint)
    await bench.settle()
    assert sorted(bench.fake.open) == ["a:latest", "c:latest"]


async def test_a_full_queue_says_so_and_the_first_comes_first(bench: Bench) -> None:
    bench.settings = having(bench.settings, pulls={"at_once": 1})
    for name in "abc":
        bench.fake.scripts[f"{name}:latest"] = [[*steps(1), HANG]]
    numbers = [await bench.add(name) for name in "abc"]
    await bench.table.move([numbers[2]], "first")
    await bench.settle()
    assert bench.fake.open == ["c:latest"]
    assert {bench.job(number).wait for number in numbers[:2]} == {Wait.PLACE}


# --- room -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """A folder with models on a disk with so many bytes free."""
    free = [20 * GB]
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(space, "models_folder", lambda endpoint, settings: folder)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free[0]}))
    return free


async def test_Q07_what_is_queued_is_counted_together(bench: Bench, disk: list[int]) -> None:
    """Each alone would fit beside the 10 GB to keep free; the second does not beside the first."""
    for name, layer in (("a:latest", "1"), ("b:latest", "2")):
        own = plan()
        bench.plans[name] = replace(own, layers=tuple(replace(one, digest=one.digest.replace("a", layer)) for one in own.layers))
        bench.fake.scripts[name] = [[*steps(1), HANG]]
    first, second = await bench.add("a"), await bench.add("b")
    disk[0] = 19 * GB
    await bench.settle()
    assert bench.job(first).state is JobState.FETCHING
    job = bench.job(second)
    assert (job.wait, job.note) == (Wait.SPACE, f"waits for space: 20 GB needed, 19 GB free in {bench.folder / 'models'}")


async def test_layers_that_two_pulls_share_count_once(bench: Bench, disk: list[int]) -> None:
    for name in ("a:latest", "b:latest"):
        bench.plans[name] = plan()
        bench.fake.scripts[name] = [[HANG]]
    numbers = [await bench.add(name) for name in "ab"]
    disk[0] = 16 * GB
    await bench.settle()
    assert [bench.job(number).state for number in numbers] == [JobState.FETCHING] * 2


async def test_what_came_last_makes_room_first(bench: Bench, disk: list[int], clock: ManualClock) -> None:
    for name, layer in (("a:latest", "1"), ("b:latest", "2")):
        own = plan()
        bench.plans[name] = replace(own, layers=tuple(replace(one, digest=one.digest.replace("a", layer)) for one in own.layers))
        bench.fake.scripts[name] = [[HANG]]
    first, second = await bench.add("a"), await bench.add("b")
    disk[0] = 40 * GB
    await bench.settle()
    assert len(bench.fake.open) == 2
    disk[0] = 16 * GB
    clock.advance(11)
    await bench.settle()
    assert bench.fake.open == ["a:latest"]
    assert (bench.job(first).state, bench.job(second).wait) == (JobState.FETCHING, Wait.SPACE)
