"""What becomes of an unfinished download, by the server's version and its environment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tui.core.jobs import Job, JobKind, JobState, JobWish, Plan, PlanLayer
from tui.core.models import Endpoint
from tui.core.partials import cancel_words, dropped_by_restart, kept

NOW = 1_700_000_000.0
HOUR = 3600.0


def job(version: str = "0.33.0", *, keeps: bool | None = None, since: float = 60.0, done: int = 1_400_000_000, **more: Any) -> Job:
    plan = None if not version else Plan(version=version, keeps_partials=keeps)
    state = more.pop("state", JobState.FETCHING)
    fields = {"done": done, "started_at": NOW - since, "plan": plan, **more}
    kind = fields.pop("kind", JobKind.PULL)
    return Job(1, kind, "gemma3:27b", Endpoint("ollama", "ollama", "http://127.0.0.1:11434"), {}, JobWish.RUN, state, 1, **fields)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (job(), "1.4 GB stay on ollama; a restart of it within the hour keeps them, a later one drops them"),
        (job(since=2 * HOUR), "1.4 GB stay on ollama; a restart of it drops what is older than an hour"),
        (job("0.20.7"), "1.4 GB stay on ollama until it restarts, which drops them"),
        (job("0.21.0-rc1"), "1.4 GB stay on ollama; a restart of it within the hour keeps them, a later one drops them"),
        (job(keeps=True), "1.4 GB stay on ollama until they are used or deleted by hand: it runs with OLLAMA_NOPRUNE"),
        (job(""), "1.4 GB stay on ollama until it restarts; then it may drop them"),
        (job(done=0), ""),
        (job(kind=JobKind.PUSH), ""),
    ],
)
def test_what_stays(what: Job, words: str) -> None:
    assert kept(what, NOW) == words
    assert cancel_words(what, NOW) == (f"{words}." if words else "")


def test_what_was_there_before_is_no_unfinished_download() -> None:
    there = PlanLayer("sha256:b", 900_000_000)
    plan = Plan((PlanLayer("sha256:a", 5_000_000_000), there), frozenset({there.digest}), version="0.20.0")
    assert kept(replace(job(), plan=plan), NOW) == "500 MB stay on ollama until it restarts, which drops them"
    assert kept(replace(job(done=900_000_000), plan=plan), NOW) == ""
    assert dropped_by_restart(replace(job(done=900_000_000, since=2 * HOUR), plan=plan), NOW) == ""


def test_a_cancel_while_it_checks_comes_too_late() -> None:
    assert "the model may appear" in cancel_words(job(state=JobState.CHECKING), NOW)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (job(since=HOUR - 1), ""),
        (job(since=HOUR + 1), "a restart of ollama would drop up to 1.4 GB of it, unless it runs with OLLAMA_NOPRUNE"),
        (job(since=HOUR + 1, keeps=False), "a restart of ollama would drop up to 1.4 GB of it"),
        (job(since=HOUR + 1, keeps=True), ""),
        (job(since=HOUR + 1, state=JobState.DONE), ""),
        (job(since=HOUR + 1, state=JobState.PAUSED, keeps=False), "a restart of ollama would drop up to 1.4 GB of it"),
    ],
)
def test_what_a_restart_would_drop_is_said_after_an_hour(what: Job, words: str) -> None:
    assert dropped_by_restart(what, NOW) == words
