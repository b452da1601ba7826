"""The words of a model's history: the pane's line, and all of it for the page."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tui.core.library import EventKind, ModelEvent
from tui.core.monitor import Profile
from tui.text import duration
from tui.ui.widgets.detail import Fact

_TONES = {EventKind.DAMAGED: "$text-error", EventKind.DELETED: "$text-muted"}


def day(at: float, now: float) -> str:
    """`14:05` of today, else `3 Sep` or `3 Sep 2025`."""
    then, today = time.localtime(at), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    return f"{then.tm_mday} {time.strftime('%b' if then.tm_year == today.tm_year else '%b %Y', then)}"


def uses(profile: Profile | None, now: float) -> str:
    """`41 answers, the last 3 d ago`; empty where it was never used here."""
    if profile is None or not profile.answers:
        return ""
    last = f", the last {duration(max(0.0, now - profile.last_used))} ago" if profile.last_used is not None else ""
    return f"{profile.answers} answer{'' if profile.answers == 1 else 's'}{last}"


def facts(events: Sequence[ModelEvent], profile: Profile | None, now: float) -> list[Fact]:
    """The pane's line: when it came, when it was changed last, how often it was used."""
    first = next((event for event in reversed(events) if event.kind in (EventKind.PULLED, EventKind.IMPORTED, EventKind.CREATED)), None)
    newest = events[0] if events and events[0] is not first else None
    parts = [f"{event.kind} {day(event.at, now)}" for event in (first, newest) if event is not None]
    if used := uses(profile, now):
        parts.append(used)
    return [Fact("history", "   ".join(parts))] if parts else []


def page(events: Sequence[ModelEvent], profile: Profile | None, now: float) -> list[Fact]:
    """Everything that is known, newest first."""
    out = [Fact("uses", uses(profile, now))] if profile is not None and profile.answers else []
    for number, event in enumerate(events):
        text = f"{day(event.at, now):<12} {event.kind:<10} {event.text}".rstrip()
        out.append(Fact("history" if number == 0 else "", text, _TONES.get(event.kind, "$foreground")))
    return out
