"""pulls: the verbs, who is meant, the list and the history; the worker's part is written into the database."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HOSTILE, Run, Typed, controls, provider
from tests.cli.test_changes import audit
from tests.cli.test_process import paddock
from tests.support.fault_server import FaultServer
from tui.cli import pulls
from tui.cli.choose import choose
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import Ask, Changes, Job, JobKind, JobState, JobWish, Layer, Plan, Wait, WorkerState, circle
from tui.core.models import Endpoint
from tui.services.jobs import Jobs
from tui.store.db import Database
from tui.store.jobs import JobTable

BOX = Endpoint("box", "ollama", "http://127.0.0.1:9")
OTHER = Endpoint("other", "ollama", "http://127.0.0.1:8")
Put = Callable[..., Job]


@pytest.fixture
def put(home: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Writes a job as a worker might have left it; keywords are its facts."""
    monkeypatch.setattr(pulls, "ACTED", 0.0)
    (home / "data").mkdir(exist_ok=True)

    def one(model: str, endpoint: Endpoint = BOX, kind: JobKind = JobKind.PULL, *, past: bool = False, **facts: Any) -> Job:
        async def work() -> Job:
            database = Database(home / "data" / "paddock.db")
            table = JobTable(database)
            given = {key: facts.pop(key) for key in ("limit", "after", "not_before", "asked_by") if key in facts}
            asked_by = given.pop("asked_by", "")
            job = await table.add(kind, model, endpoint, {}, asked_by, **given)
            job = replace(job, **facts)
            if "wish" in facts:
                await table.wish([job.id], facts["wish"])
            await table.record([job], ended=[job] if past else (), plans=[job] if job.plan else ())
            await database.aclose()
            return job

        return asyncio.run(work())

    return one


def listed(run: Run) -> dict[int, dict[str, Any]]:
    return {job["id"]: job for job in run("pulls", "--json").json["jobs"]}


# --- who is meant --------------------------------------------------------------------------------------------------------


def job(number: int, model: str, endpoint: Endpoint = BOX, kind: JobKind = JobKind.PULL, **more: Any) -> Job:
    return Job(number, kind, model, endpoint, {}, JobWish.RUN, more.pop("state", JobState.WAITING), number, **more)


def test_jobs_are_chosen_by_number_name_and_all() -> None:
    queue = [
        job(1, "a:latest"),
        job(2, "b:1b"),
        job(3, "b:1b", OTHER),
        job(4, "c:1b", state=JobState.DONE),
        job(5, "c:1b", kind=JobKind.PUSH),
    ]
    fits: Callable[[Job], bool] = lambda one: not one.state.ended  # noqa: E731
    assert [one.id for one in choose(queue, ["library/A", "1", "2"])] == [1, 2]
    assert [one.id for one in choose(queue, ["all"], fits=fits)] == [1, 2, 3, 5]
    assert [one.id for one in choose(queue, ["b:1b"], "other")] == [3]
    assert [one.id for one in choose(queue, ["c:1b"], fits=fits)] == [5], "the one for which the verb means something"
    for words, said in (
        (["b:1b"], "2 (pull on box), 3 (pull on other)"),
        (["c:1b"], "4 (pull on box), 5 (push on box)"),
        (["9"], "no pull 9"),
        (["d"], "no pull of d"),
    ):
        with pytest.raises(PaddockError) as caught:
            choose(queue, words)
        assert said in caught.value.failure.what and caught.value.failure.remedy
    with pytest.raises(PaddockError):
        choose(queue, ["1"], "other")


def test_a_chain_that_bites_its_tail_is_seen() -> None:
    queue = [job(1, "a"), job(2, "b", after=1), job(3, "c", after=2), job(4, "d", after=5), job(5, "e", after=4)]
    after_of = {job.id: job.after for job in queue}
    assert circle(after_of, 1, 3) and circle(after_of, 2, 2) and not circle(after_of, 3, 1) and not circle(after_of, 1, 4)


# --- verbs ---------------------------------------------------------------------------------------------------------------


def test_the_good_ones_are_done_and_the_others_told(put: Put, run: Run) -> None:
    put("a")
    put("b", state=JobState.DONE)
    said = run("pulls", "pause", "1", "2")
    assert said.code == 1 and "b:latest (2) is done already." in said.err and "a:latest (1) will be paused" in said.err
    assert listed(run)[1]["wish"] == "pause"
    said = run("pulls", "pause", "all", "--json")
    assert said.code == 0 and said.json["ok"] and [job["id"] for job in said.json["jobs"]] == [1]
    said = run("pulls", "retry", "all", "--on", "nobody")
    assert said.code == 0 and "nothing to retry" in said.err
    assert run("pulls", "pause", "1", "nothere").code == 1


def test_all_means_those_that_it_would_help(put: Put, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    put("done", state=JobState.DONE)
    put("failed", state=JobState.FAILED)
    put("runs", state=JobState.FETCHING)
    put("rests", state=JobState.PAUSED, wish=JobWish.PAUSE)
    put("waits")
    monkeypatch.setattr(Jobs, "worker", lambda _jobs: WorkerState(True, 1))

    def meant(*words: str) -> list[int]:
        return [job["id"] for job in run("pulls", *words, "--json").json["jobs"]]

    assert meant("resume", "all") == [4]
    assert meant("pause", "all") == [3, 4, 5] and meant("retry", "all") == [2]
    assert meant("remove", "all") == [1, 2]
    started: list[int] = []

    async def start(_jobs: Jobs) -> None:
        started.append(1)

    monkeypatch.setattr(Jobs, "ensure_worker", start)
    run("pulls", "cancel", "all", "--yes")
    put("one")
    started.clear()
    assert "nothing to resume" in run("pulls", "resume", "all", "--on", "nobody").err and started


def test_what_runs_is_not_put_off(put: Put, run: Run, server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jobs, "worker", lambda _jobs: WorkerState(True, 1))
    put("tiny", Endpoint("ollama", "ollama", server.url), state=JobState.FETCHING)
    put("b")
    for words in (["at", "tiny", "+1h"], ["after", "tiny", "b"]):
        said = run("pulls", *words)
        assert said.code == 1 and "is fetching already. Use paddock pulls pause 1 first." in said.err
    said = run("pull", "tiny", "--at", "+1h")
    assert said.code == 0 and "tiny:latest runs already, as 1 for ollama" in said.err and "starts at" not in said.err


def test_order(put: Put, run: Run, home: Path) -> None:
    for name in "abc":
        put(name)
    assert "c:latest (3) is one place further up." in run("pulls", "up", "c").err and list(listed(run)) == [1, 3, 2]
    assert run("pulls", "down", "a").code == 0 and list(listed(run)) == [3, 1, 2]
    assert run("pulls", "first", "2", "1").code == 0 and list(listed(run)) == [1, 2, 3]
    assert {what for what, *_ in audit(home)} == {"move pull"}


def test_limits_of_one_and_of_the_queue(put: Put, run: Run, home: Path) -> None:
    put("a")
    put("b")
    said = run("pulls", "limit", "a", "b", "20MB")
    assert said.code == 0 and "a:latest (1) is kept to 20 MB/s, in bursts." in said.err
    assert [job["limit"] for job in listed(run).values()] == [20_000_000] * 2
    assert "at most 20 MB/s" in run("pulls").out
    assert "has no limit of its own" in run("pulls", "limit", "2", "none").err and listed(run)[2]["limit"] is None
    assert "The queue is kept to 5.0 MB/s, in bursts." in run("pulls", "limit", "all", "5MB").err
    assert run("config", "get", "pulls.bandwidth").out == "5 MB\n" and run("pulls", "--json").json["limit"] == 5_000_000
    assert "at most 5.0 MB/s, in bursts" in run("pulls").err
    assert run("pulls", "limit", "all", "none", "--json").json == {"ok": True, "verb": "limit", "bandwidth": None}
    assert "\nbandwidth" not in (home / "config.toml").read_text()
    assert run("pulls", "limit", "a", "1kB").code == 2


def test_times_and_chains(put: Put, run: Run) -> None:
    put("a")
    put("b")
    said = run("pulls", "at", "a", "+1h")
    assert said.code == 0 and "a:latest (1) starts at " in said.err
    assert listed(run)[1]["not_before"] == pytest.approx(time.time() + 3600, abs=60)
    assert "may start at once" in run("pulls", "at", "1", "none").err and listed(run)[1]["not_before"] is None
    assert "b:latest (2) comes after 1." in run("pulls", "after", "b", "a").err and listed(run)[2]["after"] == 1
    said = run("pulls", "after", "a", "b")
    assert said.code == 1 and "cannot come after 2" in said.err and listed(run)[1]["after"] == 0
    assert run("pulls", "after", "1", "1").code == 1
    assert "waits for no other" in run("pulls", "after", "2", "none").err and listed(run)[2]["after"] == 0


def test_a_yes_is_given_by_allow_alone(put: Put, run: Run, configure: Any) -> None:
    configure('[models]\nmax_size = "20 GB"\n')
    put("a", wait=Wait.ANSWER, asks=frozenset({Ask.SIZE}), total=40 * 10**9)
    assert "needs a yes" in run("pulls").out and "40 GB is more than models.max_size (20 GB): paddock pulls allow 1" in run("pulls").out
    said = run("pulls", "resume", "1")
    assert said.code == 1 and "paddock pulls allow 1" in said.err and not listed(run)[1]["allowed"]
    assert run("pulls", "allow", "a").code == 0 and "size" in listed(run)[1]["allowed"]
    put("b")
    assert "asks for nothing" in run("pulls", "allow", "b").err


def test_cancel_says_what_becomes_of_the_data_and_asks(put: Put, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    put("a", state=JobState.PAUSED, done=2_100_000_000, total=4 * 10**9, started_at=time.time(), plan=Plan(version="0.20.1", made_at=1.0))
    monkeypatch.setattr(sys, "stderr", typed := Typed())
    monkeypatch.setattr(sys, "stdin", Typed("\n"))
    assert run("pulls", "cancel", "a").code == 1
    assert "a:latest (1): 2.1 GB stay on box until it restarts, which drops them." in typed.getvalue()
    assert "Cancel a:latest (1)? [y/N]" in typed.getvalue() and listed(run)[1]["wish"] == "run"
    assert run("pulls", "cancel", "a", "--yes").code == 0 and listed(run)[1]["wish"] == "cancel"


def test_changes_that_an_update_replaced_are_offered(put: Put, run: Run) -> None:
    put("a", state=JobState.DONE, changes=Changes((("temperature", "0.2"),), system="Be brief."))
    assert "your changes can be applied again: paddock pulls apply 1" in run("pulls").out
    assert run("pulls", "apply", "a").code == 0
    found = listed(run)
    assert found[2]["kind"] == "create" and found[2]["arguments"] == {
        "from": "a:latest",
        "system": "Be brief.",
        "parameters": {"temperature": 0.2},
    }
    assert found[1]["changes"] is None
    assert "has no changes" in run("pulls", "apply", "1").err
    put("b", state=JobState.DONE, changes=Changes(system="x"))
    assert run("pulls", "forget", "b").code == 0 and listed(run)[3]["changes"] is None


# --- the list ------------------------------------------------------------------------------------------------------------


def test_the_list_says_what_each_waits_for(put: Put, run: Run) -> None:
    now = time.time()
    put("place", wait=Wait.PLACE)
    put("hours", wait=Wait.HOURS, note="waits for its hours: 23:00-07:00")
    put("start", wait=Wait.START, not_before=now + 60)
    put("chain", wait=Wait.CHAIN, after=1)
    put("space", wait=Wait.SPACE, note="waits for space: 40 GB needed, 12 GB free in /x")
    put("server", wait=Wait.SERVER)
    put("key", wait=Wait.KEY)
    put("retry", wait=Wait.RETRY, due_at=now + 100, failure=Failure("The line broke", "box", "Retry", FailureKind.INTERRUPTED))
    put("net", wait=Wait.NETWORK)
    put("full", wait=Wait.LIMITS, note="waits: this machine is full: Memory 93 %, limit 80 %")
    put("gone", state=JobState.FETCHING, percent=40.0, total=10**9, done=4 * 10**8, rate=5.0)
    put("bad", state=JobState.FAILED, failure=Failure("There is no such model", "box", "Check the name", FailureKind.NOT_FOUND))
    out = run("pulls").out
    for words in (
        "waits for a place",
        "waits for its hours  ",
        "23:00-07:00",
        "starts at ",
        "comes after 1",
        "waits for space  ",
        "40 GB needed",
    ):
        assert words in out
    for words in (
        "waits for the server",
        "waits for a key",
        "tries again at ",
        "The line broke",
        "waits for the network",
        "interrupted",
        "waits for room  ",
    ):
        assert words in out
    assert "  this machine is full: Memory 93 %, limit 80 %" in out
    assert "There is no such model. Check the name" in out and "waits for space: waits" not in out
    assert "11 of 12 to go, 400 MB of 1.0 GB, nobody works it now" in run("pulls").err


def test_the_totals_say_when_all_is_done(put: Put, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jobs, "worker", lambda _jobs: WorkerState(True, 1))
    put("a", state=JobState.FETCHING, total=2 * 10**9, done=10**9, percent=50.0, rate=10_000_000.0, eta=100.0)
    put("b", OTHER, state=JobState.WAITING, wait=Wait.PLACE, total=10**9)
    said = run("pulls")
    assert "2 of 2 to go, 1.0 GB of 3.0 GB, 10 MB/s, all done about " in said.err and "(in 3m20s)" in said.err
    assert "fetching" in said.out and "1m40s" in said.out
    found = run("pulls", "--json").json
    assert found["percent"] == pytest.approx(33.3, abs=0.1) and found["worker"]["running"] and found["all_at"] > time.time()
    assert set(found["jobs"][0]) >= {"plan", "layers", "history", "limit", "after", "not_before", "wait", "asks", "fetched", "attempts"}
    assert [job["model"] for job in run("pulls", "--on", "other", "--json").json["jobs"]] == ["b:latest"]


def test_a_look_starts_no_worker_and_writes_nothing(put: Put, run: Run, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    put("a")

    async def started(_jobs: Jobs) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(Jobs, "ensure_worker", started)
    for words in (["pulls"], ["pulls", "--json"], ["pulls", "history"], ["pulls", "history", "--json"]):
        assert run(*words, readonly=True).code == 0
    assert not (home / "state" / "audit.jsonl").exists()


def test_nothing_there_makes_no_database(run: Run, home: Path) -> None:
    assert run("pulls", "--json").json["jobs"] == [] and run("pulls", "history", "--json").json == {"history": []}
    assert "No pulls" in run("pulls").err and "Nothing has ended yet" in run("pulls", "history").err
    assert not (home / "data" / "paddock.db").exists()


# --- history -------------------------------------------------------------------------------------------------------------


def test_the_history_is_searched_and_tells_how_it_went(put: Put, run: Run) -> None:
    facts = {"started_at": 1000.0, "created_at": 900.0, "past": True}
    put("a", state=JobState.DONE, total=10**9, fetched=10**9, busy=100.0, attempts=2, ended_at=1200.0, asked_by="library", **facts)
    failure = Failure("The disk is full", "other", "Make room", FailureKind.DISK)
    put("b", OTHER, state=JobState.FAILED, failure=failure, ended_at=1300.0, **facts)
    said = run("pulls", "history")
    assert said.lines[0].split()[:4] == ["ENDED", "MODEL", "PROVIDER", "WHAT"] and "b:latest" in said.lines[1]
    for words in ("a:latest", "pull", "done", "1.0 GB", "3m20s", "10 MB/s", "library"):
        assert words in said.lines[2]
    (entry,) = run("pulls", "history", "disk", "full", "--json").json["history"]
    assert entry["model"] == "b:latest" and entry["duration"] == 300.0 and entry["average"] is None and entry["failure"]["kind"] == "disk"
    said = run("pulls", "history", "nothing of the kind")
    assert said.code == 1 and "fits" in said.err
    assert len(run("pulls", "history", "--on", "box", "--json").json["history"]) == 1


# --- watched -------------------------------------------------------------------------------------------------------------


def test_watch_tells_what_changes_until_interrupted(put: Put, home: Path) -> None:
    put("a", wait=Wait.PLACE)
    with paddock(home, "pulls", "--watch") as child:
        assert child.stdout is not None
        assert "a:latest on box waits for a place" in child.stdout.readline()
        put("a", state=JobState.PAUSED)
        assert "a:latest on box paused" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 130
        assert child.stderr is not None and child.stderr.read() == ""


def test_watch_as_json_is_one_object_a_change(put: Put, home: Path) -> None:
    put("a", wait=Wait.PLACE)
    with paddock(home, "pulls", "--watch", "--json") as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["jobs"][0]["wait"] == "place"
        put("b")
        assert len(json.loads(child.stdout.readline())["jobs"]) == 2
        child.stdout.close()
        put("c")
        assert child.wait(20) == 0


def test_watch_redraws_on_a_terminal(put: Put, home: Path) -> None:
    from tests.cli.test_process import environment
    from tests.support.pty import Terminal

    put("a", wait=Wait.PLACE)
    kept = {name: value for name, value in environment(home).items() if name not in ("PATH", "HOME")}
    with Terminal([sys.executable, "-m", "tui", "pulls", "--watch"], kept) as terminal:
        terminal.wait_for("waits for a place")
        put("a", state=JobState.PAUSED)
        terminal.wait_for("paused")
        assert "waits for a place" not in terminal.screen_text() and terminal.screen_text().count("a:latest") == 1
        terminal.send(b"\x03")
        assert terminal.exit_code() == 130


# --- waited for ----------------------------------------------------------------------------------------------------------


def test_waiting_ends_with_3_where_an_answer_is_needed(
    put: Put, run: Run, server: FaultServer, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure('[models]\nmax_size = "20 GB"\n' + provider("srv", server.url))

    async def asks(jobs: Jobs) -> None:
        for one in jobs._table.list():
            await jobs._table.record([replace(one, wait=Wait.ANSWER, asks=frozenset({Ask.SIZE}), total=40 * 10**9)])

    monkeypatch.setattr(Jobs, "ensure_worker", asks)
    said = run("pull", "tiny", "--wait")
    assert said.code == 3 and "40 GB is more than models.max_size (20 GB)" in said.err and "paddock pulls allow 1" in said.err


def test_progress_says_layer_rate_and_rest_and_of_several_the_sum(
    put: Put, run: Run, monkeypatch: pytest.MonkeyPatch, server: FaultServer
) -> None:
    from tui.cli import waiting

    monkeypatch.setattr(waiting, "LOOK", 0.01)
    monkeypatch.setattr(waiting, "PLAIN_EVERY", 0.0)
    monkeypatch.setattr(Jobs, "worker", lambda _jobs: WorkerState(True, 1))
    steps = [
        {"state": JobState.WAITING, "wait": Wait.SERVER},
        {
            "state": JobState.FETCHING, "total": 2 * 10**9, "done": 10**9, "percent": 50.0, "rate": 1e7, "eta": 100.0, "planned": True,
            "layers": (Layer("sha256:a", 10**9, 10**9), Layer("sha256:b", 10**9, 0)),
        },
        {"state": JobState.CHECKING, "total": 2 * 10**9, "done": 2 * 10**9, "note": "checking the last layer"},
        {"state": JobState.DONE, "total": 2 * 10**9, "done": 2 * 10**9},
    ]  # fmt: skip

    async def next_step(jobs: Jobs) -> None:
        facts = steps.pop(0) if len(steps) > 1 else steps[0]
        await jobs._table.record([replace(one, **{"wait": Wait.NOTHING, **facts}) for one in jobs._table.list()])

    monkeypatch.setattr(Jobs, "ensure_worker", next_step)
    said = run("pull", "tiny", "--wait")
    assert said.code == 0
    for words in (
        "tiny:latest waits for the server",
        "tiny:latest 50%, 1.0 GB of 2.0 GB, 10 MB/s, 1m40s left, layer 2 of 2",
        "checking the last layer",
    ):
        assert words in said.err
    steps[:] = [
        {"state": JobState.DONE, "ended_at": time.time(), "warmed": ""},
        {"state": JobState.DONE, "warmed": "is being loaded"},
        {"state": JobState.DONE, "warmed": "loaded"},
    ]
    said = run("pull", "warm", "--wait", "--then-load")
    assert said.code == 0 and "warm:latest is being loaded\n" in said.err and said.err.endswith("warm:latest is loaded.\n")
    steps[:] = [{"state": JobState.DONE, "ended_at": time.time(), "warmed": "not loaded: there is no room"}]
    said = run("pull", "cold", "--wait", "--then-load")
    assert said.code == 1 and "cold:latest is not loaded: there is no room." in said.err
    steps[:] = [
        {"state": JobState.WAITING},
        {"state": JobState.WAITING},
        {"state": JobState.FETCHING, "total": 10**9, "done": 5 * 10**8, "percent": 50.0, "rate": 10**7},
        {"state": JobState.DONE},
    ]
    said = run("pull", "one:1b", "two:1b", "--wait")
    assert "2 to go, 50% of 2.0 GB, 20 MB/s, 50s left: one:1b 50%" in said.err


def test_X02_a_hostile_job_says_nothing_to_the_terminal(put: Put, run: Run) -> None:
    failure, evil = Failure(HOSTILE, HOSTILE, HOSTILE), Endpoint(HOSTILE, "ollama", "http://127.0.0.1:9")
    put(
        "a",
        evil,
        state=JobState.FAILED,
        failure=failure,
        note=HOSTILE,
        warmed=HOSTILE,
        asked_by=HOSTILE,
        past=True,
        ended_at=1.0,
    )
    put("b", evil, wait=Wait.SPACE, note=HOSTILE)
    for words in (
        ["pulls"],
        ["pulls", "history"],
        ["pulls", "pause", HOSTILE],
        ["pulls", "limit", "b", HOSTILE],
        ["pulls", "history", HOSTILE],
        ["pulls", "cancel", "b"],
        ["pulls", HOSTILE],
    ):
        said = run(*words)
        assert not controls(said.out + said.err), words
        assert (said.out + said.err).strip()
    assert run("pulls", "--json").out.isascii()
