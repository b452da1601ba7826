"""Where an answer's time and energy went: what we measured, and beside it what the server says; the two are never mixed."""

from __future__ import annotations

from typing import Final

from tui.core.chat import Timeline
from tui.core.events import Metrics
from tui.services.monitor.profile_words import joules
from tui.text import count, duration
from tui.ui.widgets.transcript_message import Said

BAR: Final = 40
"""Cells of the bar at most."""
_PHASES: Final = (("waited", "·", "."), ("loaded", "▒", "#"), ("read", "░", ":"), ("wrote", "▓", "|"), ("stalled", "-", "-"))
"""Name, mark, mark without Unicode."""
_APART: Final = 1.0
"""Seconds that the server's figure may differ from ours and still be an ordinary answer."""


def time_line(timeline: Timeline, prompt_tokens: int | None) -> str:
    """`waited 0.0  loaded 0.0  read 0.3s (31 tokens)  wrote 4.4s`; empty before anything is known."""
    parts = []
    for word, seconds in (("waited", timeline.waited), ("loaded", timeline.loaded), ("read", timeline.read), ("wrote", timeline.wrote)):
        if seconds is not None:
            more = f" ({count(prompt_tokens)} tokens)" if word == "read" and prompt_tokens else ""
            parts.append(f"{word} {duration(seconds)}{more}")
    return "  ".join(parts)


def is_ordinary(timeline: Timeline, metrics: Metrics) -> bool:
    """Nothing stalled, and the server tells about what we saw."""
    if (timeline.stalled or 0.0) > 0.0:
        return False
    pairs = ((timeline.loaded, metrics.load_seconds), (timeline.read, metrics.prompt_seconds), (timeline.wrote, metrics.output_seconds))
    return all(server is None or abs((ours or 0.0) - server) <= max(_APART, 0.5 * server) for ours, server in pairs)


def measured(timeline: Timeline, *, marked: bool = False, ascii: bool = False) -> str:
    """`measured  waited 0.1s  loaded 2.1s  read 0.3s  wrote 4.4s  stalled 0.5s`; empty before anything is known.

    Marked: with each phase's mark in the bar before it.
    """
    parts = [
        f"{f'{plain if ascii else mark} ' if marked else ''}{word} {duration(seconds)}"
        for word, mark, plain in _PHASES
        if (seconds := getattr(timeline, word)) is not None and (seconds or word != "stalled")
    ]
    return f"measured  {'  '.join(parts)}" if parts else ""


def reported(metrics: Metrics) -> str:
    """`server    loaded 2.0s  read 0.3s (31 tokens, 110/s)  wrote 4.3s (212 tokens, 49/s)`."""
    parts = []
    if metrics.load_seconds is not None:
        parts.append(f"loaded {duration(metrics.load_seconds)}")
    parts.append(_with_tokens("read", metrics.prompt_seconds, metrics.prompt_tokens))
    parts.append(_with_tokens("wrote", metrics.output_seconds, metrics.output_tokens))
    if metrics.total_seconds is not None:
        parts.append(f"in all {duration(metrics.total_seconds)}")
    return f"server    {'  '.join(part for part in parts if part) or 'says nothing of its times'}"


def used(timeline: Timeline, metrics: Metrics) -> str:
    """`energy    34 J, 0.82 J a token, of the GPU`; empty where it is not known."""
    if timeline.joules is None:
        return ""
    each = f", {joules(timeline.joules / metrics.output_tokens)} a token" if metrics.output_tokens else ""
    return f"energy    {joules(timeline.joules)}{each}, of the GPU"


def _with_tokens(word: str, seconds: float | None, tokens: int | None) -> str:
    if seconds is None:
        return f"{word} {count(tokens)} tokens" if tokens is not None else ""
    if tokens is None:
        return f"{word} {duration(seconds)}"
    each = f", {tokens / seconds:.0f}/s" if seconds > 0 else ""
    return f"{word} {duration(seconds)} ({count(tokens)} tokens{each})"


def bar(timeline: Timeline, *, ascii: bool = False) -> str:
    """Our phases as parts of a bar, and all of their time; empty where nothing took any."""
    stalled = timeline.stalled or 0.0
    spans = {word: getattr(timeline, word) or 0.0 for word, _mark, _ascii in _PHASES}
    spans["wrote"] = max(0.0, spans["wrote"] - stalled)
    total = sum(spans.values())
    if total <= 0:
        return ""
    out, so_far = "", 0.0
    for word, mark, plain in _PHASES:
        so_far += spans[word]
        cells = max(int(spans[word] > 0), round(so_far / total * BAR) - len(out))
        out += (plain if ascii else mark) * cells
    return f"          {out[:BAR]}  {duration(total)}"


def footer(timeline: Timeline, metrics: Metrics, *, full: bool, ascii: bool = False, usual: str = "") -> tuple[Said, ...]:
    """What stands below an answer about its time: a line, two where it was no ordinary one.

    Where all is asked for, also the bar, the energy, and how the model usually does.
    """
    if not full and is_ordinary(timeline, metrics):
        lines = [time_line(timeline, metrics.prompt_tokens)]
    else:
        lines = [measured(timeline, marked=full, ascii=ascii), reported(metrics)]
        if full:
            lines.insert(1, bar(timeline, ascii=ascii))
            lines.append(used(timeline, metrics))
            lines.append(f"usually   {usual}" if usual else "")
    return tuple((line, "dim") for line in lines if line)
