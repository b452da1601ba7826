"""pull and pulls; in one test with a real worker, else with its part played."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Run, provider
from tests.cli.test_changes import audit
from tests.support.fault_server import FaultServer
from tui.cli import pulls, waiting
from tui.core.errors import Failure, FailureKind
from tui.core.jobs import Job, JobState, JobWish, WorkerState
from tui.services.jobs import Jobs
from tui.store.jobs import JobTable


class Worker:
    """Does what is wished at each look of a command, as the worker does."""

    def __init__(self, *ends: JobState) -> None:
        self.ends = list(ends)
        self.busy = False
        self.failure = Failure("There is no such model in the registry", "registry.ollama.ai", "Check the name", FailureKind.NOT_FOUND)

    async def __call__(self, jobs: Jobs) -> None:
        table: JobTable = jobs._table
        for job in table.list():
            await table.record([self._next(job)])

    def _next(self, job: Job) -> Job:
        if job.state.ended:
            return job
        if job.wish is JobWish.PAUSE:
            return replace(job, state=JobState.PAUSED)
        if job.wish is JobWish.CANCEL:
            return replace(job, state=JobState.CANCELLED)
        if job.state is not JobState.FETCHING:
            return replace(job, state=JobState.FETCHING, total=2000, done=500, percent=25.0, rate=100.0, eta=15.0)
        if self.busy:
            return job
        end = self.ends.pop(0) if self.ends else JobState.DONE
        return replace(job, state=end, done=2000, failure=self.failure if end is JobState.FAILED else None)


@pytest.fixture
def worker(home: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    found = Worker()
    monkeypatch.setattr(Jobs, "ensure_worker", lambda jobs: found(jobs))
    monkeypatch.setattr(waiting, "LOOK", 0.01)
    return found


def test_pull_queues_and_says_where(server: FaultServer, run: Run, home: Path) -> None:
    said = run("pull", "library/TINY:latest", "tiny", "other:1b")
    assert said.code == 0
    queued = [line for line in said.err.splitlines() if " is queued as " in line]
    assert [line.split(" is queued as ")[0] for line in queued] == ["tiny:latest", "other:1b"]
    assert all(line.endswith(" for ollama; see paddock pulls.") for line in queued)
    assert "the registry cannot be reached from here" in said.err
    assert [job["model"] for job in run("pulls", "--json").json["jobs"]][-1] == "other:1b"
    assert ("queue pull", "ollama/other:1b", "ok") in audit(home)


def test_a_name_that_breaks_the_grammar_is_2_and_queues_nothing(server: FaultServer, run: Run) -> None:
    said = run("pull", "fine:1b", "not a name")
    assert said.code == 2 and "qwen3:8b" in said.err
    assert not server.requests and run("pulls", "--json").json["jobs"] == []


def test_pull_goes_to_the_first_that_can_and_names_it(server: FaultServer, second: FaultServer, run: Run, configure) -> None:
    async def models(exchange: object) -> None:
        await exchange.json({"object": "list", "data": []})  # type: ignore[attr-defined]

    server.routes["/v1/models"] = models
    configure(provider("gpu", server.url, "vllm") + provider("box", second.url))
    assert "for box" in run("pull", "tiny").err
    configure('[general]\ndefault_provider = "gpu"\n' + provider("gpu", server.url, "vllm") + provider("box", second.url))
    said = run("pull", "other")
    assert said.code == 1 and "gpu cannot fetch" in said.err and "--on" in said.err
    assert len(run("pulls", "--json").json["jobs"]) == 1


def test_offline_it_is_queued_and_waits(server: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "ACTED", 0.0)
    configure('[general]\nnetwork = "offline"\n' + provider("far", "http://192.0.2.1:11434") + provider("box", server.url))
    said = run("pull", "tiny", "--on", "far,box")
    assert said.code == 0 and said.err.count("waits: general.network is offline") == 2 and not said.out
    assert [job["endpoint"]["name"] for job in run("pulls", "--json").json["jobs"]] == ["far", "box"]
    assert {request.path for request in server.requests} == {"/api/tags"}
    assert run("pulls", "retry", "1").code == 0
    configure('[general]\nnetwork = "offline"\n' + provider("far", "http://192.0.2.1:11434"))
    said = run("pull", "other")
    assert said.code == 0 and "other:latest is queued as 3 for far" in said.err


def test_pull_wait_is_0_when_all_are_complete(server: FaultServer, run: Run, worker: Worker) -> None:
    said = run("pull", "tiny", "other:1b", "--wait")
    assert said.code == 0 and "tiny:latest is complete on ollama, 2.0 kB." in said.err and "other:1b is complete" in said.err


@pytest.mark.parametrize(("end", "words"), [(JobState.FAILED, "no such model"), (JobState.CANCELLED, "is cancelled; it is not complete")])
def test_pull_wait_is_1_when_one_is_not(server: FaultServer, run: Run, worker: Worker, end: JobState, words: str) -> None:
    worker.ends = [end, JobState.DONE]
    said = run("pull", "tiny", "other:1b", "--wait")
    assert said.code == 1 and words in said.err and "other:1b is complete" in said.err
    assert run("pulls").code == 0


def test_pull_wait_as_json_ends_with_the_job(server: FaultServer, run: Run, worker: Worker) -> None:
    said = run("pull", "tiny", "--wait", "--json")
    assert [json.loads(line)["job"]["state"] for line in said.lines][-1] == "done"


def test_pull_wait_ends_where_the_worker_cannot_live(
    server: FaultServer, run: Run, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dead(_jobs: Jobs) -> None:
        return None

    monkeypatch.setattr(Jobs, "ensure_worker", dead)
    monkeypatch.setattr(Jobs, "worker", lambda _jobs: WorkerState(False, note="the worker ended unexpectedly 3 times, see worker.log"))
    said = run("pull", "tiny", "--wait")
    assert said.code == 1 and "worker.log" in said.err


def test_ctrl_c_leaves_the_pull_running(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK", 0.01)
    looks: list[int] = []

    async def pressed(_jobs: Jobs) -> None:
        looks.append(1)
        if len(looks) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0)

    monkeypatch.setattr(Jobs, "ensure_worker", pressed)
    said = run("pull", "tiny", "--wait")
    assert said.code == 130 and "goes on without this command" in said.err
    assert run("pulls", "--json").json["jobs"][0]["wish"] == "run"


def test_the_verbs_of_the_queue(server: FaultServer, run: Run, worker: Worker, home: Path) -> None:
    worker.busy = True
    run("pull", "one:1b", "two:1b")
    for verb, words in (("pause", "is paused"), ("resume", "goes on"), ("first", "is first in the queue"), ("cancel", "is cancelled")):
        said = run("pulls", verb, "2")
        assert said.code == 0 and f"two:1b (2) {words}" in said.err, verb
    assert run("pulls", "--json").json["jobs"][0]["id"] == 2
    for verb, words in (("pause", "already"), ("cancel", "already"), ("resume", "retry 2")):
        said = run("pulls", verb, "2")
        assert said.code == 1 and words in said.err
    assert run("pulls", "remove", "1").code == 1
    assert run("pulls", "remove", "2").code == 0
    assert [job["id"] for job in run("pulls", "--json").json["jobs"]] == [1]
    assert run("pulls", "cancel", "7").code == 1
    assert run("pulls", "pause", "1", "--json").json["jobs"][0]["state"] == "paused"
    assert {what for what, *_ in audit(home)} == {"queue pull", "pause pull", "resume pull", "move pull", "cancel pull", "remove pull"}


def test_a_wish_nobody_acted_on_yet_is_no_deed(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "ACTED", 0.05)
    run("pull", "one:1b")
    said = run("pulls", "pause", "1")
    assert said.code == 0 and "one:1b (1) will be paused when the worker comes to it." in said.err


def test_the_queue_as_a_table(server: FaultServer, run: Run, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jobs, "worker", lambda _jobs: WorkerState(True, 1))
    assert "No pulls" in run("pulls").err
    worker.ends = [JobState.FAILED]
    run("pull", "one:1b", "--wait")
    run("pull", "two:1b")
    said = run("pulls")
    assert said.lines[0].split() == ["ID", "MODEL", "PROVIDER", "WHAT", "STATE", "DONE", "SIZE", "RATE", "LEFT", "NOTE"]
    assert "There is no such model in the registry" in said.lines[1] and "2.0 kB" in said.lines[1]
    assert "fetching" in said.lines[2] and "25%" in said.lines[2] and "100 B/s" in said.lines[2]


def test_a_real_worker_pauses_goes_on_and_finishes(slow_ollama: str, run: Run) -> None:
    assert run("pull", "llama3.2:1b").code == 0
    said = run("pulls", "pause", "1")
    assert said.code == 0 and "paused" in said.err
    assert run("pulls", "--json").json["jobs"][0]["state"] in ("paused", "waiting")
    assert run("pulls", "resume", "1").code == 0
    said = run("pull", "llama3.2:1b", "--wait")
    assert said.code == 0 and "llama3.2:1b is complete on ollama, 1.3 GB." in said.err
    assert "llama3.2:1b" in run("ls").out
