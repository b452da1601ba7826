"""The queue and its history, shown: a look starts no worker and changes nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from tui.cli.asked import time_words
from tui.cli.context import Context
from tui.cli.models import when
from tui.cli.output import DASH, DONE, FAILED, aligned, cut, emit, line, message, plain, table
from tui.cli.states import note_words, state_words
from tui.core.jobs import Job, JobState, PastJob, QueueView
from tui.services.jobs import queue_view
from tui.text import clean_name, duration, strip_line

WATCHED: Final = 0.5
"""Seconds between two looks of `--watch`."""
PLAIN_EVERY: Final = 10.0
"""Seconds between two lines about a job that only moves, where the terminal cannot redraw."""
_HEAD: Final = ("ID", "MODEL", "PROVIDER", "WHAT", "STATE", "DONE", "SIZE", "RATE", "LEFT", "NOTE")
_RIGHT: Final = (0, 5, 6, 7, 8)


def look(context: Context) -> QueueView:
    """The queue as it is now, of one provider where `--on` says so."""
    context.config.poll()
    limit = context.settings.pulls.bandwidth
    if not context.paths.database.exists():
        return QueueView(limit=limit)
    jobs = context.jobs(write=False)
    jobs.refresh()
    view = jobs.view.value
    on = context.args.on
    if not on:
        return view
    return queue_view(tuple(job for job in view.jobs if job.endpoint.name == on), view.worker, time.time(), limit)


async def show(context: Context) -> int:
    """Print the queue once, or with `--watch` until interrupted."""
    if context.args.watch:
        return await _watch(context)
    view = look(context)
    if context.json:
        emit(as_json(view))
        return DONE
    if not view.jobs:
        message("No pulls. Begin one with paddock pull MODEL.")
        return DONE
    for one in _lines(context, view):
        line(one)
    message(totals(context, view))
    return DONE


def as_json(view: QueueView) -> dict[str, Any]:
    """Everything that is known."""
    return {**plain(view), "percent": view.percent}


def _lines(context: Context, view: QueueView) -> list[str]:
    now = time.time()
    return aligned(_HEAD, [_row(context, job, now) for job in view.jobs], _RIGHT)


def _row(context: Context, job: Job, now: float) -> tuple[str, ...]:
    fetching = job.state is JobState.FETCHING
    return (
        str(job.id),
        clean_name(job.model),
        clean_name(job.endpoint.name),
        job.kind.value,
        state_words(job, now),
        DASH if job.percent is None else f"{job.percent:.0f}%",
        context.size(job.size),
        context.rate(job.rate) if fetching else DASH,
        duration(job.eta) if fetching else DASH,
        note_words(context, job, now),
    )


def totals(context: Context, view: QueueView) -> str:
    """One sentence about all of it: bytes, rate, when it is done, the limit, and whether somebody works it."""
    now = time.time()
    left = [job for job in view.jobs if not job.state.ended]
    parts = [f"{len(left)} of {len(view.jobs)} to go" if left else "Nothing to go"]
    if view.total:
        parts.append(f"{context.size(view.done)} of {context.size(view.total)}")
    if view.rate is not None:
        parts.append(context.rate(view.rate))
    if view.all_at is not None:
        parts.append(f"all done about {time_words(view.all_at, now)} (in {duration(view.all_at - now)})")
    if view.limit is not None:
        parts.append(f"at most {context.rate(view.limit)}, in bursts")
    if left and not view.worker.running:
        parts.append(view.worker.note or "nobody works it now (paddock pulls resume all starts a worker)")
    return f"{', '.join(parts)}."


# --- watched -------------------------------------------------------------------------------------------------------------


async def _watch(context: Context) -> int:
    """Draw anew until interrupted; plain lines about what changed where the terminal cannot be redrawn."""
    if context.json:
        return await _watch_json(context)
    if sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        return await _watch_screen(context)
    said: dict[int, tuple[str, float]] = {}
    while True:
        view, now = look(context), time.time()
        for job in view.jobs:
            state = state_words(job, now)
            before, at = said.get(job.id, ("", float("-inf")))
            moving = job.state.running and time.monotonic() - at >= PLAIN_EVERY
            if state != before or moving:
                said[job.id] = (state, time.monotonic())
                line(_plain(context, job, now))
                sys.stdout.flush()
        for gone in said.keys() - {job.id for job in view.jobs}:
            del said[gone]
        await asyncio.sleep(WATCHED)


def _plain(context: Context, job: Job, now: float) -> str:
    figures = [
        "" if job.percent is None else f"{job.percent:.0f}%",
        f"{context.size(job.done)} of {context.size(job.total)}" if job.total is not None else "",
        context.rate(job.rate) if job.rate is not None and job.state.running else "",
        f"{duration(job.eta)} left" if job.eta is not None and job.state.running else "",
        note_words(context, job, now),
    ]
    words = ", ".join(part for part in figures if part)
    return f"{time_words(now, now)} {job.id} {clean_name(job.model)} on {clean_name(job.endpoint.name)} {state_words(job, now)}: {words}"


async def _watch_json(context: Context) -> int:
    said: Any = None
    while True:
        found = as_json(look(context))
        if found != said:
            said = found
            emit(found)
        await asyncio.sleep(WATCHED)


async def _watch_screen(context: Context) -> int:
    drawn: list[str] = []
    while True:
        columns, rows = shutil.get_terminal_size()
        view = look(context)
        lines = [*(_lines(context, view) if view.jobs else []), totals(context, view)]
        if len(lines) >= rows:
            kept = max(1, rows - 3)
            lines = [*lines[:kept], f"and {len(lines) - kept - 1} more", lines[-1]]
        lines = [cut(strip_line(one), columns - 1) for one in lines]
        if lines != drawn:
            up = f"\x1b[{len(drawn)}A\r\x1b[J" if drawn else ""
            print(f"{up}{chr(10).join(lines)}", flush=True)
            drawn = lines
        await asyncio.sleep(WATCHED)


# --- history -------------------------------------------------------------------------------------------------------------


def history(context: Context, words: Sequence[str]) -> int:
    """Print what ended, the newest first; 1 where words were given and nothing fits, as grep does."""
    found = context.jobs(write=False).past(" ".join(words)) if context.paths.database.exists() else ()
    found = tuple(job for job in found if not context.args.on or job.provider == context.args.on)
    code = FAILED if words and not found else DONE
    if context.json:
        emit({"history": [{**plain(job), "duration": _took(job), "average": job.average} for job in found]})
        return code
    if not found:
        message("Nothing in the history fits." if words else "Nothing has ended yet.")
        return code
    table(
        ("ENDED", "MODEL", "PROVIDER", "WHAT", "HOW", "SIZE", "TOOK", "AVERAGE", "TRIES", "ASKED FROM", "NOTE"),
        [_past(context, job) for job in found],
        right=(5, 6, 7, 8),
    )
    return code


def _took(job: PastJob) -> float | None:
    return None if job.started_at is None else max(0.0, job.ended_at - job.started_at)


def _past(context: Context, job: PastJob) -> tuple[str, ...]:
    return (
        when(job.ended_at),
        clean_name(job.model),
        clean_name(job.provider),
        job.kind.value,
        job.state.value,
        context.size(job.total),
        duration(_took(job)),
        context.rate(job.average),
        str(job.attempts),
        clean_name(job.asked_by) or DASH,
        job.failure.what if job.failure is not None else "",
    )
