"""What happened here to a model since its registry was asked: a copy on its server is younger than what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tui.core.library import EventKind, ModelEvent, UpdateState, UpdateStatus
from tui.core.models import Model
from tui.core.record import record

SLACK: Final = 300.0
"""Seconds between a copy's date, told by its server's clock, and our note of it."""
_COPIES: Final = (EventKind.RESTORED, EventKind.RENAMED, EventKind.COPIED)
_FETCHES: Final = (EventKind.PULLED, EventKind.UPDATED)


@record(frozen=True)
class Past:
    """What was found of a model at the last look, and what happened to it, newest first."""

    known: UpdateState | None = None
    events: Sequence[ModelEvent] = ()


def is_old(model: Model, pushed_at: float, past: Past) -> bool:
    """Whether it lacks what its registry published at `pushed_at`, although its own date is later and its weights are the same."""
    known, events = past.known, past.events
    if known is not None and known.status is UpdateStatus.METADATA and known.pushed_at == pushed_at and not _fetched(events, known):
        return True
    if any(event.kind is EventKind.CONFIGURED and event.digest == model.digest for event in events):
        return False
    newest = next((event for event in events if event.kind in (*_COPIES, *_FETCHES, EventKind.CONFIGURED)), None)
    return newest is not None and newest.kind in _COPIES and abs((model.modified_at or 0.0) - newest.at) <= SLACK


def _fetched(events: Sequence[ModelEvent], since: UpdateState) -> bool:
    return any(event.kind in _FETCHES and event.at > since.checked_at for event in events)
