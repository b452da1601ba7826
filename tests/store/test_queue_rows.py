"""The queue's rows: plans, limits, chains and the history come back; a queue of the first schema is taken over."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tui.core.clock import ManualClock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import Ask, Changes, Job, JobKind, JobState, JobWish, Layer, Plan, PlanLayer, Wait
from tui.core.models import Endpoint
from tui.store import backup
from tui.store.db import Database
from tui.store.history import KEPT, History
from tui.store.jobs import LISTED, JobTable
from tui.store.schema import MIGRATIONS, SCHEMA

ENDPOINT = Endpoint("box", "ollama", "http://127.0.0.1:11434")
PLAN = Plan(
    (PlanLayer("sha256:a", 5, "weights"), PlanLayer("sha256:b", 2, "template")),
    frozenset({"sha256:b"}),
    digest="d",
    canonical="c",
    requires="0.30",
    context=4096,
    parameters="8B",
    quantization="Q4_K_M",
    family="qwen3",
    note="n",
    version="0.33.0",
    keeps_partials=False,
    made_at=9.5,
)


def found(jobs: JobTable, number: int) -> Job:
    job = jobs.get(number)
    assert job is not None
    return job


async def test_everything_of_a_job_comes_back(jobs: JobTable) -> None:
    job = await jobs.add(JobKind.PULL, "a", ENDPOINT, allowed=[Ask.SIZE], limit=5, after=3, not_before=7.0)
    assert (job.allowed, job.limit, job.after, job.not_before) == ({Ask.SIZE}, 5, 3, 7.0)
    facts = replace(
        job,
        state=JobState.WAITING,
        wait=Wait.ANSWER,
        asks=frozenset({Ask.METERED, Ask.SIZE}),
        plan=PLAN,
        layers=(Layer("sha256:a", 5, 1, "weights"),),
        planned=True,
        fetched=11,
        busy=2.5,
        digest="e",
        warmed="loaded",
        changes=Changes((("stop", "a"), ("stop", "b")), "s", None),
    )
    await jobs.record([facts], plans=[facts])
    assert found(jobs, job.id) == facts
    await jobs.forget_changes(job.id)
    assert found(jobs, job.id) == replace(facts, changes=None)


@pytest.mark.parametrize("plan", [Plan(made_at=1.0), Plan(present=frozenset(), note="x"), replace(PLAN, present=None)])
async def test_a_plan_knows_what_it_does_not_know(jobs: JobTable, plan: Plan) -> None:
    job = await jobs.add(JobKind.PULL, "a", ENDPOINT)
    await jobs.record([], plans=[replace(job, plan=plan)])
    assert found(jobs, job.id).plan == plan


def test_a_plan_counts_a_layer_once_and_what_is_there_not_at_all() -> None:
    twice = Plan((*PLAN.layers, PlanLayer("sha256:a", 5, "tensor")), frozenset({"sha256:b"}))
    assert (twice.total, twice.missing, twice.weights) == (7, 5, {"a"})
    assert (Plan().total, Plan().missing) == (None, None)
    assert replace(PLAN, present=None).missing == 7


async def test_asking_again_adds_to_what_was_said(jobs: JobTable) -> None:
    first = await jobs.add(JobKind.PULL, "a", ENDPOINT, {"insecure": True}, allowed=[Ask.SIZE], limit=5)
    again = await jobs.add(JobKind.PULL, "library/a", ENDPOINT, {"warm_up": True}, allowed=[Ask.METERED])
    assert again.id == first.id
    assert again.allowed == {Ask.SIZE, Ask.METERED}
    assert (again.limit, again.arguments) == (5, {"insecure": True, "warm_up": True})


async def test_several_move_together_and_ended_ones_are_passed(jobs: JobTable) -> None:
    a, b, c, d, e = [(await jobs.add(JobKind.PULL, name, ENDPOINT)).id for name in "abcde"]
    await jobs.record([replace(found(jobs, b), state=JobState.DONE)])
    for numbers, where, order in (
        ([c], "up", [c, b, a, d, e]),
        ([d, e], "up", [c, b, d, e, a]),
        ([e, a], "first", [e, b, a, c, d]),
        ([e, a], "down", [c, b, e, a, d]),
        ([b], "first", [c, b, e, a, d]),
        ([99], "up", [c, b, e, a, d]),
    ):
        await jobs.move(numbers, where)
        assert [job.id for job in jobs.list()] == order


async def test_loading_afterwards_is_wished_and_unwished(jobs: JobTable) -> None:
    job = await jobs.add(JobKind.PULL, "a", ENDPOINT, {"insecure": True})
    await jobs.warm_up([job.id], True)
    assert found(jobs, job.id).arguments == {"insecure": True, "warm_up": True}
    await jobs.warm_up([job.id, 99], False)
    assert found(jobs, job.id).arguments == {"insecure": True, "warm_up": False}


async def test_a_chain_makes_no_circle(jobs: JobTable) -> None:
    a, b, c = [(await jobs.add(JobKind.PULL, name, ENDPOINT)).id for name in "abc"]
    await jobs.chain([b], a)
    await jobs.chain([c], b)
    await jobs.chain([a], c)
    await jobs.chain([a], a)
    assert [job.after for job in jobs.list()] == [0, a, b]
    await jobs.add(JobKind.PULL, "a", ENDPOINT, after=c)
    assert [job.after for job in jobs.list()] == [0, a, b]
    await jobs.chain([b, c], 0)
    assert [job.after for job in jobs.list()] == [0, 0, 0]


async def test_P05_what_ran_was_interrupted_and_old_done_ones_leave_the_list(jobs: JobTable, clock: ManualClock) -> None:
    a, b, c, d = [await jobs.add(JobKind.PULL, name, ENDPOINT) for name in "abcd"]
    await jobs.record(
        [
            replace(a, state=JobState.FETCHING),
            replace(b, state=JobState.CHECKING),
            replace(c, state=JobState.DONE, ended_at=clock.time()),
            replace(d, state=JobState.FAILED, ended_at=clock.time()),
        ]
    )
    clock.advance(LISTED + 1)
    await jobs.adopt()
    assert [(job.id, job.state) for job in jobs.list()] == [
        (a.id, JobState.INTERRUPTED),
        (b.id, JobState.INTERRUPTED),
        (d.id, JobState.FAILED),
    ]


async def test_the_history_is_written_with_the_end_and_is_bounded(database: Database, jobs: JobTable) -> None:
    job = await jobs.add(JobKind.PULL, "a", ENDPOINT, asked_by="chat")
    failed = replace(job, state=JobState.FAILED, ended_at=5.0, failure=Failure("No such model", kind=FailureKind.NOT_FOUND))
    await jobs.record([failed], ended=[failed])
    (past,) = History(database).search("no such chat")
    assert (past.failure, past.state, past.ended_at, past.average) == (failed.failure, JobState.FAILED, 5.0, None)
    for start in range(0, KEPT + 10, 500):
        await jobs.record([], ended=[replace(job, state=JobState.DONE, ended_at=float(start + n)) for n in range(500)])
    assert len(History(database).search(limit=10_000)) == KEPT


async def test_the_digest_we_pulled_last(database: Database, jobs: JobTable) -> None:
    job = await jobs.add(JobKind.PULL, "a", ENDPOINT)
    history = History(database)
    assert history.last_digest(job) == ""
    for at, state, digest in ((1.0, JobState.DONE, "old"), (2.0, JobState.DONE, "new"), (3.0, JobState.FAILED, "none")):
        await jobs.record([], ended=[replace(job, state=state, ended_at=at, digest=digest)])
    assert history.last_digest(job) == "new"
    assert history.last_digest(replace(job, endpoint=replace(ENDPOINT, url="http://other:1"))) == ""


def test_C12_P10_a_queue_of_the_first_schema_is_taken_over_with_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "paddock.db"
    old = Database(path, migrations=MIGRATIONS[:1])
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO job (kind, model, model_key, provider_key, endpoint, wish, state, position, progress, created_at)"
            " VALUES ('pull', 'a:latest', 'k', 'p', '{\"name\": \"box\", \"kind\": \"ollama\", \"url\": \"http://h:1\"}', 'pause',"
            ' \'paused\', 1, \'{"total": 10, "done": 4, "layers": [["sha256:a", 10, 4]]}\', 1.0)'
        )
    connection.close()
    old.close()
    database = Database(path)
    assert (database.opened.migrated_from, database.opened.schema) == (1, SCHEMA)
    assert len(backup.backups(path)) == 1
    (job,) = JobTable(database).list()
    assert (job.model, job.wish, job.state, job.total, job.done) == ("a:latest", JobWish.PAUSE, JobState.PAUSED, 10, 4)
    assert job.layers == (Layer("sha256:a", 10, 4),)
    assert (job.limit, job.after, job.plan, job.allowed) == (None, 0, None, frozenset())
    database.close()


# --- asked for again --------------------------------------------------------------------------------------------------


async def test_a_second_create_of_a_name_replaces_the_first_and_takes_nothing_of_it(jobs: JobTable) -> None:
    first = await jobs.add(JobKind.CREATE, "mine", ENDPOINT, {"from": "a", "system": "one"})
    second = await jobs.add(JobKind.CREATE, "mine", ENDPOINT, {"from": "b"})
    assert (second.id, second.arguments) == (first.id, {"from": "b"})


async def test_a_create_that_runs_is_not_another_one(jobs: JobTable) -> None:
    first = await jobs.add(JobKind.CREATE, "mine", ENDPOINT, {"from": "a"})
    await jobs.record([replace(first, state=JobState.FETCHING)])
    with pytest.raises(PaddockError) as caught:
        await jobs.add(JobKind.CREATE, "mine", ENDPOINT, {"from": "b"})
    assert caught.value.failure.kind is FailureKind.BUSY
    assert found(jobs, first.id).arguments == {"from": "a"}
    assert (await jobs.add(JobKind.CREATE, "mine", ENDPOINT, {"from": "a"})).id == first.id


async def test_a_provider_that_was_changed_is_the_new_one_where_it_is_asked_again(jobs: JobTable) -> None:
    await jobs.add(JobKind.PULL, "a", replace(ENDPOINT, key="env:OLD"))
    again = await jobs.add(JobKind.PULL, "a", replace(ENDPOINT, key="env:NEW", url="http://localhost:11434/"))
    assert (again.endpoint.key, len(jobs.list())) == ("env:NEW", 1)


async def test_a_done_job_that_is_asked_for_again_begins_at_nothing(jobs: JobTable) -> None:
    job = await jobs.add(JobKind.PULL, "a", ENDPOINT)
    await jobs.record([replace(job, state=JobState.DONE, percent=100.0, done=5, fetched=5, started_at=1.0, ended_at=2.0, digest="d")])
    await jobs.retry([job.id])
    await jobs.take_renewals()
    again = found(jobs, job.id)
    assert (again.state, again.percent, again.done, again.fetched, again.started_at, again.digest) == (
        JobState.WAITING,
        None,
        0,
        0,
        None,
        "",
    )


async def test_only_pulls_have_a_limit(jobs: JobTable) -> None:
    pull, push = await jobs.add(JobKind.PULL, "a", ENDPOINT), await jobs.add(JobKind.PUSH, "me/a", ENDPOINT)
    await jobs.limit([pull.id, push.id], 10**6)
    assert [job.limit for job in jobs.list()] == [10**6, None]
