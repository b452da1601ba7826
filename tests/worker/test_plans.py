"""What the queue knows before it starts, what it proves at the end, and what it does afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.worker.fakes import END, ENDPOINT, HANG, MB, Bench, failed, step
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind
from tui.core.jobs import Changes, JobKind, JobState, Plan, PlanLayer, Wait
from tui.core.models import ModelDetail
from tui.store.history import History

WEIGHTS, TEMPLATE, CONFIG = "a" * 64, "b" * 64, "c" * 64


def plan(*, present: frozenset[str] | None = frozenset(), **more: Any) -> Plan:
    layers = (
        PlanLayer(f"sha256:{WEIGHTS}", 5000 * MB, "weights"),
        PlanLayer(f"sha256:{TEMPLATE}", 100 * MB, "template"),
        PlanLayer(f"sha256:{CONFIG}", 1 * MB, "config"),
    )
    return Plan(layers, present, **{"digest": "f" * 64, "version": "0.33.0", **more})


def weights(*done: int) -> list[Any]:
    return [step("pulling manifest"), *(step("pulling", count * MB, 5000 * MB, f"sha256:{WEIGHTS}") for count in done)]


@pytest.fixture
async def planned(bench: Bench) -> AsyncIterator[Bench]:
    bench.plans["qwen3:8b"] = plan(present=frozenset({f"sha256:{TEMPLATE}"}))
    yield bench


async def test_the_size_and_what_is_there_are_known_before_anything_runs(planned: Bench) -> None:
    bench = planned
    bench.settings = bench.settings.model_copy(update={"pulls": bench.settings.pulls.model_copy(update={"only_between": "00:00-00:01"})})
    assert isinstance(bench.clock, ManualClock)
    number = await bench.add()
    await bench.settle()
    job = bench.job(number)
    assert job.wait is Wait.HOURS
    assert job.plan is not None
    assert (job.total, job.done, job.plan.missing) == (5101 * MB, 100 * MB, 5001 * MB)


async def test_percent_is_of_all_layers_and_none_is_missing_from_the_list(planned: Bench) -> None:
    bench = planned
    bench.fake.scripts["qwen3:8b"] = [[*weights(1000, 2450), HANG]]
    number = await bench.add()
    await bench.settle()
    job = bench.job(number)
    assert job.percent == pytest.approx(100 * 2550 / 5101)
    assert job.planned
    assert [(layer.kind, layer.completed // MB) for layer in job.layers] == [("weights", 2450), ("template", 100), ("config", 0)]


async def test_layers_that_the_manifest_does_not_name_set_the_plan_aside(planned: Bench) -> None:
    bench = planned
    other = step("pulling", 10 * MB, 400 * MB, "sha256:" + "d" * 64)
    bench.fake.scripts["qwen3:8b"] = [[step("pulling manifest"), other, HANG]]
    number = await bench.add()
    await bench.settle()
    job = bench.job(number)
    assert not job.planned
    assert (job.total, len(job.layers)) == (400 * MB, 1)


@pytest.mark.parametrize("kind", [FailureKind.NOT_FOUND, FailureKind.FORBIDDEN, FailureKind.UNSUPPORTED])
async def test_Q09_what_the_registry_refuses_fails_before_its_turn(bench: Bench, kind: FailureKind) -> None:
    bench.fake.scripts["a:latest"] = bench.fake.scripts["b:latest"] = [[*weights(1), HANG]]
    bench.plans["ghost:latest"] = failed("The registry knows no ghost:latest", kind)
    numbers = [await bench.add(name) for name in ("a", "b", "ghost")]
    await bench.settle()
    job = bench.job(numbers[2])
    assert (job.state, job.note) == (JobState.FAILED, "failed: The registry knows no ghost:latest")
    assert bench.fake.pulls == ["a:latest", "b:latest"]


async def test_a_plan_that_could_not_be_made_stops_no_pull(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.plans["qwen3:8b"] = RuntimeError("odd")
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).state is JobState.DONE
    assert "a plan could not be made" in caplog.text


async def test_an_old_plan_is_made_anew_before_the_pull(planned: Bench) -> None:
    bench = planned
    assert isinstance(bench.clock, ManualClock)
    bench.settings = bench.settings.model_copy(update={"general": bench.settings.general.model_copy(update={"network": "offline"})})
    number = await bench.add()
    await bench.settle()
    bench.plans["qwen3:8b"] = plan(digest="e" * 64)
    bench.settings = bench.settings.model_copy(update={"general": bench.settings.general.model_copy(update={"network": "normal"})})
    bench.fake.scripts["qwen3:8b"] = [[HANG]]
    bench.clock.advance(700)
    await bench.settle()
    job = bench.job(number)
    assert job.plan is not None
    assert job.plan.digest == "e" * 64


# --- proof ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "shown", "done", "remark"),
    [
        ("f" * 64, "9" * 64, True, ""),  # the digest that was announced
        ("e" * 64, "9" * 64, True, ""),  # the same as servers before 0.19 write it
        ("0" * 64, WEIGHTS, True, "the weights are the same"),  # Hugging Face answers each client with another manifest
        ("0" * 64, "", True, "its weights cannot be compared"),
        ("0" * 64, "9" * 64, False, "damaged"),
    ],
)
async def test_P06_done_is_what_was_announced(planned: Bench, listed: str, shown: str, done: bool, remark: str) -> None:
    bench = planned
    bench.plans["qwen3:8b"] = plan(canonical="e" * 64)
    bench.fake.scripts["qwen3:8b"] = [[*weights(5000), *END]]
    bench.fake.digests["qwen3:8b"], bench.fake.weights["qwen3:8b"] = listed, shown
    number = await bench.add()
    await bench.settle()
    job = bench.job(number)
    assert (job.state is JobState.DONE) is done
    assert job.digest == (listed if done else "")
    assert (remark in job.note) if remark else not job.note


async def test_a_mismatch_has_the_expectation_asked_anew(planned: Bench) -> None:
    bench = planned
    assert isinstance(bench.clock, ManualClock)

    async def the_tag_moves() -> None:
        bench.plans["qwen3:8b"] = plan(digest="0" * 64)

    bench.fake.scripts["qwen3:8b"] = [[the_tag_moves, *weights(5000), *END]]
    bench.fake.digests["qwen3:8b"], bench.fake.weights["qwen3:8b"] = "0" * 64, "8" * 64
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).wait is Wait.RETRY
    bench.clock.advance(10)
    await bench.settle()
    assert bench.job(number).state is JobState.DONE


# --- afterwards -------------------------------------------------------------------------------------------------------


async def test_the_history_keeps_what_ended_with_its_figures(bench: Bench) -> None:
    assert isinstance(bench.clock, ManualClock)
    clock = bench.clock

    async def passes() -> None:
        clock.advance(2)

    bench.fake.digests["qwen3:8b"] = "d" * 64
    bench.fake.scripts["qwen3:8b"] = [[*weights(0), passes, *weights(10)[1:], passes, *weights(30)[1:], *END]]
    number = (await bench.table.add(JobKind.PULL, "qwen3:8b", ENDPOINT, asked_by="library")).id
    await bench.settle()
    (past,) = History(bench.database).search("QWEN3 library done")
    assert (past.job, past.model, past.provider, past.state, past.attempts) == (number, "qwen3:8b", "box", JobState.DONE, 1)
    assert (past.fetched, past.busy, past.average, past.digest) == (30 * MB, 4.0, 7.5 * MB, "d" * 64)
    assert past.ended_at - (past.started_at or 0) == 4.0
    assert History(bench.database).search("qwen3 failed") == ()
    assert History(bench.database).search("100%") == History(bench.database).search("_") == ()
    await bench.table.remove([number])
    assert len(History(bench.database).search()) == 1


async def test_a_model_is_loaded_after_its_pull_where_asked(bench: Bench) -> None:
    number = await bench.add(warm_up=True)
    other = await bench.add("bad:1b", warm_up=True)
    bench.fake.loads["bad:1b"] = failed("Not enough memory", FailureKind.SERVER)
    await bench.settle()
    await bench.tick()
    assert (bench.job(number).state, bench.job(number).warmed) == (JobState.DONE, "loaded")
    assert (bench.job(other).state, bench.job(other).warmed) == (JobState.DONE, "not loaded: Not enough memory")
    assert not bench.queue.busy


def detail(**more: Any) -> ModelDetail:
    return ModelDetail("box", "qwen3:8b", **more)


async def test_an_update_offers_again_what_a_create_had_changed(bench: Bench) -> None:
    bench.fake.listed.add("qwen3:8b")
    mine = (("stop", "<end>"), ("num_ctx", "16384"))
    bench.fake.shows["qwen3:8b"] = [
        detail(parent="qwen3:8b", options=mine, system="Be brief.", template="T"),
        detail(options=(("stop", "<end>"),), template="T"),
    ]
    number = await bench.add()
    await bench.settle()
    job = bench.job(number)
    assert job.state is JobState.DONE
    assert job.changes == Changes((("num_ctx", "16384"),), "Be brief.", None)
    await bench.table.forget_changes(number)
    await bench.tick()
    assert bench.job(number).changes is None


async def test_an_update_of_what_nobody_changed_offers_nothing(bench: Bench) -> None:
    bench.fake.listed.add("qwen3:8b")
    bench.fake.shows["qwen3:8b"] = [detail(options=(("num_ctx", "1"),)), detail()]
    number = await bench.add()
    await bench.settle()
    assert bench.job(number).changes is None


async def test_a_model_that_is_not_the_one_we_pulled_was_changed(bench: Bench) -> None:
    bench.fake.digests["qwen3:8b"] = "1" * 64
    number = await bench.add()
    await bench.settle()
    bench.fake.digests["qwen3:8b"] = "2" * 64
    bench.fake.shows["qwen3:8b"] = [detail(system="Mine."), detail()]
    await bench.table.retry([number])
    await bench.settle()
    assert bench.job(number).changes == Changes((), "Mine.", None)


async def test_a_retry_of_the_same_wish_starts_a_job_again_with_new_arguments(bench: Bench) -> None:
    number = await bench.add()
    await bench.settle()
    job = await bench.table.add(JobKind.PULL, "qwen3:8b", replace(ENDPOINT), {"warm_up": True})
    assert job.id != number
    await bench.settle()
    assert bench.job(job.id).warmed == "loaded"
