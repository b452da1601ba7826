"""What happened to a model: from jobs and from notes, newest first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.host import Host
from tests.support.screen import until
from tui.core.errors import PaddockError
from tui.core.jobs import JobKind, JobState, PastJob
from tui.core.library import EventKind
from tui.core.monitor import Profile
from tui.services.library.events import Events, from_jobs
from tui.store.history import write_past
from tui.store.jobs import JobTable
from tui.ui.screens import library_history_words as words

KEY = ("box", "qwen3:8b")


def past(number: int, at: float, kind: JobKind = JobKind.PULL, model: str = "qwen3:8b") -> PastJob:
    return PastJob(number, number, kind, model, "box", "http://x", JobState.DONE, 5, 5_200_000_000, 60.0, 1, "library", at, at, at)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    found = Host(tmp_path, url="http://127.0.0.1:1")
    await found.open()
    yield found
    await found.aclose()


async def test_jobs_and_notes_in_one_row(host: Host) -> None:
    assert host.database is not None
    events = Events(host)  # type: ignore[arg-type]
    await events.open(host.database)
    jobs = JobTable(host.database, host.clock)
    job = await jobs.add(JobKind.PULL, "qwen3:8b", host.watching.providers.value[0].endpoint, asked_by="library")
    done = replace(job, state=JobState.DONE, ended_at=host.clock.time(), fetched=5_200_000_000, busy=60.0, digest="ab" * 32)
    await host.database.run(lambda connection: write_past(connection, [done]))
    host.clock.advance(100)
    await events.note("box", "qwen3:8b", EventKind.COPIED, "as mine:1")
    await events.note("elsewhere", "qwen3:8b", EventKind.DELETED)
    events.look(*KEY)
    await until(lambda: KEY in events.history.value)
    found = events.history.value[KEY]
    assert [event.kind for event in found] == [EventKind.COPIED, EventKind.PULLED]
    assert found[1].text == "from registry.ollama.ai, 5.2 GB in 1m00s, asked for from the library"
    await events.note("box", "qwen3:8b", EventKind.VERIFIED)
    assert events.history.value[KEY][0].kind is EventKind.VERIFIED


async def test_D03_what_cannot_be_noted_undoes_no_deed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a full disk would keep the second of two models from being deleted, and the first from being brought back."""
    assert host.database is not None

    async def full(*_args: object, **_more: object) -> None:
        raise PaddockError.of("The disk is full", "paddock.db", "Make room")

    events = Events(host)  # type: ignore[arg-type]
    await events.open(host.database)
    monkeypatch.setattr(host.database, "run", full)
    await events.note("box", "qwen3:8b", EventKind.DELETED)


def test_the_first_pull_brought_it_and_later_ones_updated_it() -> None:
    jobs = [past(3, 300.0), past(2, 200.0, JobKind.PUSH), past(1, 100.0)]
    assert [(event.kind, event.at) for event in from_jobs(jobs, *KEY)] == [(EventKind.UPDATED, 300.0), (EventKind.PULLED, 100.0)]
    assert [event.kind for event in from_jobs([past(1, 1.0, JobKind.UPLOAD)], *KEY)] == [EventKind.IMPORTED]
    assert from_jobs([past(1, 1.0, model="hf.co/o/r:Q4")], *KEY)[0].text.startswith("from hf.co")


def test_words(host: Host) -> None:
    jobs = from_jobs([past(3, 1_700_000_000.0), past(1, 1_690_000_000.0)], *KEY)
    now = 1_700_000_000.0 + 86_400 * 3
    (fact,) = words.facts(jobs, Profile(answers=41, last_used=now - 7260), now)
    assert fact.text == "pulled 22 Jul   updated 14 Nov   41 answers, the last 2 h ago"
    assert [line.label for line in words.page(jobs, None, now)] == ["history", ""]
    assert words.facts((), None, now) == []
