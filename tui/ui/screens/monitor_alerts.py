"""Alerts and what limits did, as lines: what lasts first, then what ended, newest first."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tui.core.alert_words import alert_sentence
from tui.core.monitor import Alert, AlertsView, Enforcement
from tui.text import clean_label
from tui.ui.screens.parts import clock
from tui.ui.widgets.board import BoardLine


def is_muted(view: AlertsView, now: float) -> bool:
    """Nothing is rung now."""
    return view.muted_until is not None and view.muted_until > now


def fresh(view: AlertsView) -> int:
    """Lasting alerts that nobody has seen."""
    return sum(1 for alert in view.active if not alert.acknowledged)


def alerts_title(view: AlertsView, now: float) -> str:
    """The heading of the part, with what one must know about it."""
    if is_muted(view, now) and view.muted_until is not None:
        return f"alerts, muted until {clock(view.muted_until, now)}"
    return "alerts"


def alert_line(alert: Alert, now: float, *, fahrenheit: bool, muted: bool = False) -> BoardLine:
    """`! 12:29  GPU0 86 °C, over 85 °C for 1m52s, while qwen3:8b wrote`."""
    lasts = alert.ended_at is None
    tone = "dim" if not lasts or muted else "" if alert.acknowledged else "warn"
    sentence = clean_label(alert_sentence(alert, now, fahrenheit=fahrenheit))
    return BoardLine(
        ((" ! " if lasts else "   ", tone if muted else "warn"), (f"{clock(alert.started_at, now)}  ", "dim"), (sentence, tone)),
        f"alert:{alert.id}",
    )


def enforced_line(done: Enforcement, now: float) -> BoardLine:
    """`14:02  unloaded phi4: memory pressure`."""
    words = clean_label(f"{done.what} {done.target}: {done.why}" if done.why else f"{done.what} {done.target}")
    return BoardLine((("   ", ""), (f"{clock(done.at, now)}  ", "dim"), (words, "")), f"enforced:{done.at}")


def alert_lines(view: AlertsView, enforced: Sequence[Enforcement], now: float, *, fahrenheit: bool) -> list[BoardLine]:
    """All there is to say; one line where that is nothing."""
    muted = is_muted(view, now)
    lines = [alert_line(alert, now, fahrenheit=fahrenheit, muted=muted) for alert in view.active]
    past = [(alert.ended_at or alert.started_at, alert_line(alert, now, fahrenheit=fahrenheit)) for alert in view.log]
    past += [(done.at, enforced_line(done, now)) for done in enforced]
    lines += [line for _at, line in sorted(past, key=lambda pair: pair[0], reverse=True)]
    return lines or [BoardLine((("   none", "dim"),))]


def compact_lines(view: AlertsView, now: float, *, fahrenheit: bool) -> list[BoardLine]:
    """Only what lasts, in a few words each."""
    muted = is_muted(view, now)
    lines = []
    for alert in view.active:
        tone = "dim" if muted else "" if alert.acknowledged else "warn"
        words = f"{clock(alert.started_at, now)} {short_words(alert, now, fahrenheit=fahrenheit)}"
        lines.append(BoardLine(((" ! ", "dim" if muted else "warn"), (words, tone)), f"alert:{alert.id}"))
    return lines


def newest_words(view: AlertsView, *, fahrenheit: bool) -> tuple[str, bool]:
    """For the status bar: the newest alert that lasts, and whether it is quiet (muted, or seen)."""
    now = time.time()
    fresh_ones = [alert for alert in view.active if not alert.acknowledged] or list(view.active)
    if not fresh_ones:
        return "", True
    alert = fresh_ones[0]
    return short_words(alert, now, fahrenheit=fahrenheit), is_muted(view, now) or alert.acknowledged


def short_words(alert: Alert, now: float, *, fahrenheit: bool) -> str:
    """`GPU0 86 °C`, `ollama does not answer`: the sentence up to its first comma or bracket."""
    sentence = clean_label(alert_sentence(alert, now, fahrenheit=fahrenheit), 120)
    for end in (", ", " since ", " ("):
        sentence = sentence.split(end, 1)[0]
    return sentence
