"""What is noted of models and of their blobs does not grow for ever, and what is of use stays."""

from __future__ import annotations

import pytest

from tui.core.clock import ManualClock
from tui.core.library import EventKind
from tui.store import model_events
from tui.store.blob_checks import KEPT, BlobCheck, BlobChecks
from tui.store.db import Database
from tui.store.model_events import GONE, MOST, ModelEvents


def kinds(events: ModelEvents, model: str) -> list[EventKind]:
    return [event.kind for event in events.of("box", model)]


def rows(database: Database, table: str) -> int:
    return int(database.read(lambda connection: connection.execute(f"SELECT count(*) FROM {table}").fetchone())[0])


async def test_of_a_model_the_newest_events_stay(database: Database, clock: ManualClock) -> None:
    events = ModelEvents(database, clock)
    await events.add("box", "other", EventKind.IMPORTED)
    for number in range(MOST + 5):
        await events.add("box", "a", EventKind.VERIFIED, str(number))
    assert [event.text for event in events.of("box", "a")] == [str(number) for number in reversed(range(5, MOST + 5))]
    assert kinds(events, "other") == [EventKind.IMPORTED]
    assert rows(database, "model_event") == MOST + 1


async def test_models_that_are_gone_for_a_year_are_forgotten(database: Database, clock: ManualClock) -> None:
    events = ModelEvents(database, clock)
    for model, deeds in (
        ("gone", (EventKind.PULLED, EventKind.DELETED)),
        ("back", (EventKind.PULLED, EventKind.DELETED, EventKind.RESTORED)),
        ("here", (EventKind.IMPORTED,)),
    ):
        for deed in deeds:
            await events.add("box", model, deed)
    await events.add("attic", "gone", EventKind.PULLED)
    clock.advance(GONE - 60)
    await events.add("box", "late", EventKind.DELETED)
    assert kinds(events, "gone") == [EventKind.DELETED, EventKind.PULLED]
    clock.advance(120)
    await events.add("box", "here", EventKind.VERIFIED)
    assert len(kinds(events, "gone")) == 2  # only a deletion looks
    await events.add("box", "later", EventKind.DELETED)
    assert kinds(events, "gone") == []
    assert kinds(events, "back") == [EventKind.RESTORED, EventKind.DELETED, EventKind.PULLED]
    assert kinds(events, "here") == [EventKind.VERIFIED, EventKind.IMPORTED]
    assert kinds(events, "late") == [EventKind.DELETED]
    assert len(events.of("attic", "gone")) == 1


async def test_in_all_there_is_an_end(database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_events, "ALL", 10)
    events = ModelEvents(database, clock)
    for number in range(25):
        await events.add("box", f"m{number}", EventKind.PULLED)
    assert rows(database, "model_event") == 10
    assert kinds(events, "m15") and not kinds(events, "m14")


async def test_checks_go_with_their_blobs_and_after_a_year(database: Database) -> None:
    checks = BlobChecks(database)

    def check(at: float) -> BlobCheck:
        return BlobCheck(9, 1.0, at, good=True)

    await checks.put("/old", "sha256:a", check(0.0))
    for digest in ("a", "b"):
        await checks.put("/here", f"sha256:{digest}", check(KEPT))
    assert set(checks.of("/old")) == {"sha256:a"}
    await checks.put("/here", "sha256:c", check(KEPT + 1))
    assert not checks.of("/old")
    await checks.forget("/here", ("sha256:a", "sha256:never"))
    await checks.forget("/there", ("sha256:b",))
    await checks.forget("/here", ())
    assert set(checks.of("/here")) == {"sha256:b", "sha256:c"}
