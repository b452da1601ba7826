"""The queue as screens and commands see it, what needs a yes, and room for several pulls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.settings import having
from tui.config.settings import Settings
from tui.core.jobs import Ask, Job, JobKind, JobState, JobWish, Layer, Plan, PlanLayer, Wait, WorkerState
from tui.core.models import Endpoint
from tui.services import space
from tui.services.asks import asks_before, question, reasons
from tui.services.changes import parameters_of
from tui.services.jobs import queue_view

GB = 10**9
ENDPOINT = Endpoint("box", "ollama", "http://127.0.0.1:11434")
WORKS = WorkerState(True, 1)


def job(number: int = 1, **more: Any) -> Job:
    fields = {"state": JobState.WAITING, "wish": JobWish.RUN, "kind": JobKind.PULL, **more}
    kind, wish, state = fields.pop("kind"), fields.pop("wish"), fields.pop("state")
    return Job(number, kind, f"m{number}:latest", ENDPOINT, fields.pop("arguments", {}), wish, state, number, **fields)


def plan(*sizes: int, present: int = 0) -> Plan:
    layers = tuple(PlanLayer(f"sha256:{number}", size) for number, size in enumerate(sizes))
    return Plan(layers, frozenset(layer.digest for layer in layers[:present]))


# --- the view ---------------------------------------------------------------------------------------------------------


def test_the_time_when_all_is_done_is_of_what_runs_and_waits_for_a_place() -> None:
    jobs = (
        job(1, state=JobState.FETCHING, total=10 * GB, done=4 * GB, rate=1e8, eta=60.0, created_at=50.0),
        job(2, wait=Wait.PLACE, plan=plan(4 * GB), created_at=50.0),
        job(4, state=JobState.PAUSED, wish=JobWish.PAUSE, total=7 * GB),
    )
    view = queue_view(jobs, WORKS, 1000.0, None)
    assert (view.rate, view.finish_at, view.all_at) == (1e8, 1060.0, 1100.0)
    assert (view.done, view.total, view.percent) == (4 * GB, 14 * GB, pytest.approx(100 * 4 / 14))


def test_the_percent_of_the_queue_does_not_fall_when_an_entry_ends() -> None:
    """What was done since the queue last rested is part of the whole; what was done before that is not."""
    old = job(9, state=JobState.DONE, total=90 * GB, done=90 * GB, created_at=1.0, ended_at=5.0)
    first = job(1, state=JobState.FETCHING, total=5 * GB, done=5 * GB, created_at=10.0)
    second = job(2, state=JobState.FETCHING, total=5 * GB, done=GB, created_at=20.0)
    third = job(3, state=JobState.FETCHING, total=5 * GB, created_at=40.0)
    seen = [queue_view((old, first, second), WORKS, 0.0, None).percent]
    first = replace(first, state=JobState.DONE, ended_at=30.0)
    seen.append(queue_view((old, first, second), WORKS, 0.0, None).percent)
    second = replace(second, state=JobState.DONE, done=5 * GB, ended_at=50.0)
    assert seen == [pytest.approx(60)] * 2
    assert queue_view((old, first, second, third), WORKS, 0.0, None).total == 15 * GB
    assert queue_view((old, first, second), WORKS, 0.0, None).percent is None
    almost = replace(third, done=5 * GB)
    assert queue_view((almost,), WORKS, 0.0, None).percent == 99.4


@pytest.mark.parametrize(
    "other", [job(2, wait=Wait.HOURS, total=GB), job(2, wait=Wait.PLACE), job(2, wait=Wait.ANSWER, plan=plan(GB)), job(2, wait=Wait.SPACE)]
)
def test_no_end_is_promised_where_one_waits_for_what_nobody_knows(other: Job) -> None:
    running = job(1, state=JobState.FETCHING, total=10 * GB, done=4 * GB, rate=1e8, eta=60.0)
    view = queue_view((running, other), WORKS, 1000.0, None)
    assert (view.finish_at, view.all_at) == (1060.0, None)


def test_what_nobody_works_is_interrupted_whatever_was_written() -> None:
    running = job(1, state=JobState.FETCHING, rate=1e8, eta=60.0, total=GB)
    view = queue_view((running,), WorkerState(False), 0.0, 5)
    assert [(one.state, one.rate, one.eta) for one in view.jobs] == [(JobState.INTERRUPTED, None, None)]
    assert (view.rate, view.limit) == (None, 5)


# --- asks -------------------------------------------------------------------------------------------------------------


def test_what_needs_a_yes() -> None:
    strict = having(Settings(), models={"max_size": 10 * GB, "excluded": ("llama*",)}, general={"network": "metered"})
    assert asks_before(strict, "llama3.2:3b", 20 * GB) == {Ask.SIZE, Ask.EXCLUDED, Ask.METERED}
    assert asks_before(strict, "qwen3:8b", 10 * GB) == {Ask.METERED}
    assert asks_before(strict, "qwen3:8b", None) == {Ask.METERED}
    assert asks_before(Settings(), "llama3.2:3b", 20 * GB) == frozenset()
    assert reasons(strict, 20 * GB, frozenset({Ask.SIZE})) == "20 GB is more than models.max_size (10 GB)"
    assert question(strict, "qwen3:8b", 5 * GB, frozenset({Ask.METERED})) == "Pull qwen3:8b, 5.0 GB? The network is metered."


# --- room -------------------------------------------------------------------------------------------------------------


def test_bytes_to_come_know_layers_that_are_there_shared_and_half_fetched() -> None:
    assert space.to_come([job(plan=plan(5 * GB, GB, present=1))]) == GB
    assert space.to_come([job(1, plan=plan(5 * GB)), job(2, plan=plan(5 * GB))]) == 5 * GB
    half = job(plan=plan(5 * GB, GB), layers=(Layer("sha256:0", 5 * GB, 4 * GB),))
    assert space.to_come([half]) == 2 * GB
    assert space.to_come([job(total=9 * GB, done=2 * GB), job(2)]) == 7 * GB
    assert space.to_come([job(kind=JobKind.PUSH, total=GB)]) == 0
    elsewhere = replace(job(2, plan=plan(5 * GB)), endpoint=replace(ENDPOINT, url="http://127.0.0.1:11435"))
    assert space.to_come([job(1, plan=plan(5 * GB)), elsewhere]) == 10 * GB  # another folder: it is there twice


def test_the_larger_of_margin_and_reserve_counts() -> None:
    found = having(Settings(), pulls={"keep_free": 10 * GB, "margin": 1.2})
    assert space.with_margin(10 * GB, found) == 20 * GB
    assert space.with_margin(100 * GB, found) == 120 * GB
    assert space.with_margin(0, found) == 0  # nothing to fetch needs no room, however full the disk is


def test_only_pulls_to_the_same_disk_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path, Path("/proc")
    places = {"box": here, "far": None, "other": there}
    monkeypatch.setattr(space, "models_folder", lambda endpoint, settings: places[endpoint.name])
    mine = job(1, plan=plan(GB))
    elsewhere = replace(job(2, total=4 * GB), endpoint=replace(ENDPOINT, name="other"))
    remote = replace(job(3, total=4 * GB), endpoint=replace(ENDPOINT, name="far"))
    same = job(4, total=2 * GB)
    room = space.room_for(mine, Settings(), [mine, elsewhere, remote, same])
    assert room is not None
    assert room.coming == 3 * GB


# --- what an update replaced ------------------------------------------------------------------------------------------


def test_parameters_go_back_as_the_numbers_they_were() -> None:
    options = (("stop", '"<a>"'), ("stop", "<b>"), ("num_ctx", "16384"), ("temperature", "0.6"), ("use_mmap", "true"), ("x", "word"))
    assert parameters_of(options) == {"stop": ["<a>", "<b>"], "num_ctx": 16384, "temperature": 0.6, "use_mmap": True, "x": "word"}
