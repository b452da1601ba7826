"""Staying until jobs of the queue have ended, and saying how far they are."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Final

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, REFUSED, cut, emit, exit_code, message, report
from tui.cli.states import loading, needs_yes, progress_words
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import Job, JobKind, JobState, JobWish, Wait
from tui.services.jobs import Jobs, queue_view
from tui.text import clean_name, duration, strip_line

LOOK: Final = 0.25
"""Seconds between two looks at the queue."""
PLAIN_EVERY: Final = 10.0
"""Seconds between two lines about progress, where the terminal cannot redraw one."""
JSON_EVERY: Final = 1.0
_COMPLETE: Final = {
    JobKind.PULL: "is complete on",
    JobKind.PUSH: "was pushed from",
    JobKind.CREATE: "is made on",
    JobKind.QUANTIZE: "is made on",
    JobKind.UPLOAD: "is made on",
}
_UNFINISHED: Final = {JobKind.PULL: "it is not complete", JobKind.PUSH: "it was not pushed"}


def worse(one: int, other: int) -> int:
    """The exit code of two deeds: a failure tells more than a refusal."""
    return FAILED if FAILED in (one, other) else one or other


def redraws() -> bool:
    """Whether standard error is a terminal that can draw a line again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


class Progress:
    """Says how far jobs are: one line that is redrawn, lines now and then, or JSON."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._redraw = not context.json and redraws()
        self._every = JSON_EVERY if context.json else 0.0 if self._redraw else PLAIN_EVERY
        self._said_at, self._said = float("-inf"), ""

    def tell(self, jobs: Sequence[Job]) -> None:
        """Say it, where something moved and it is time."""
        text, now = all_words(self._context, jobs, time.time()), time.monotonic()
        if text == self._said or now - self._said_at < self._every:
            return
        self._said_at, self._said = now, text
        if self._context.json:
            for job in jobs:
                emit({"job": job})
        elif self._redraw:
            columns = shutil.get_terminal_size().columns - 1
            print(f"\r{cut(strip_line(text), columns)}\x1b[K", end="", file=sys.stderr, flush=True)
        else:
            message(text)

    def end(self) -> None:
        """Leave the line that was redrawn."""
        if self._redraw and self._said:
            print(file=sys.stderr, flush=True)


def all_words(context: Context, jobs: Sequence[Job], now: float) -> str:
    """All jobs on one line; of several the sum comes first."""
    each = "; ".join(progress_words(context, job, now) for job in jobs)
    if len(jobs) < 2:
        return each
    view = queue_view(tuple(jobs), context.jobs().worker(), now, None)
    parts = [
        "" if view.percent is None else f"{view.percent:.0f}% of {context.size(view.total)}",
        "" if view.rate is None else context.rate(view.rate),
        "" if view.all_at is None else f"{duration(view.all_at - now)} left",
    ]
    return f"{', '.join([f'{len(jobs)} to go', *(part for part in parts if part)])}: {each}"


async def wait_for(context: Context, ids: Sequence[int]) -> int:
    """Stay until these jobs have ended, were paused, or need an answer; returns the exit code."""
    jobs, progress = context.jobs(), Progress(context)
    try:
        while True:
            found = [job for job in (jobs.get(number) for number in ids) if job is not None]
            moving = [job for job in found if _moves(job) or (jobs.worker().running and loading(job, time.time()))]
            if not moving:
                break
            progress.tell(moving)
            await asyncio.sleep(LOOK)
            await _worker_lives(jobs)
    except asyncio.CancelledError:
        progress.end()
        what = "The pull goes on" if [job.kind for job in found] == [JobKind.PULL] else "The queue goes on"
        message(f"{what} without this command; see paddock pulls.")
        raise
    except PaddockError:
        progress.end()
        raise
    progress.end()
    return _ended(context, found, len(ids))


def _moves(job: Job) -> bool:
    """Something may still happen to it without a person."""
    if job.state.ended or (job.state is JobState.PAUSED and job.wish is JobWish.PAUSE):
        return False
    return not (job.state is JobState.WAITING and job.wait is Wait.ANSWER)


async def _worker_lives(jobs: Jobs) -> None:
    """Start a worker where none lives.

    Raises:
        PaddockError: It ended unexpectedly more than once.
    """
    await jobs.ensure_worker()
    state = jobs.worker()
    if not state.running and "unexpectedly" in state.note:
        what = f"{state.note[0].upper()}{state.note[1:]}"
        raise PaddockError(Failure(what, "", "The queue is kept; paddock doctor may tell more"))


def _ended(context: Context, found: Sequence[Job], wanted: int) -> int:
    code = DONE
    for job in found:
        if context.json:
            emit({"job": job})
        code = worse(code, _end_of(context, job))
    if len(found) < wanted:
        message("One was taken out of the queue by somebody else.")
        code = FAILED
    return code


def _end_of(context: Context, job: Job) -> int:
    """Say how one ended; returns its exit code."""
    name, server = clean_name(job.model), clean_name(job.endpoint.name)
    if job.state is JobState.DONE:
        total = f", {context.size(job.total)}" if job.total is not None and job.kind not in (JobKind.CREATE, JobKind.QUANTIZE) else ""
        message(f"{name} {_COMPLETE[job.kind]} {server}{total}.")
        if job.warmed:
            message(f"{name} is {job.warmed.removeprefix('is ')}.")
        if job.changes:
            message(f"What you had changed of {name} can be applied again: paddock pulls apply {job.id}.")
        return FAILED if job.warmed.startswith("not ") else DONE
    if job.state is JobState.FAILED and job.failure is not None:
        message(f"{name} failed.")
        report(job.failure)
        return exit_code(job.failure) if job.failure.kind is not FailureKind.CONFIG else FAILED
    if job.state is JobState.WAITING and job.wait is Wait.ANSWER:
        report(needs_yes(context.settings, job))
        return REFUSED
    message(f"{name} is {job.state.value}; {_UNFINISHED.get(job.kind, 'it was not made')}.")
    return FAILED
