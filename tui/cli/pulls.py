"""pull and pulls."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from tui.cli.context import Context, wrong_usage
from tui.cli.output import DASH, DONE, FAILED, USAGE, ask, cut, emit, exit_code, message, report, table
from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import Job, JobState, JobWish
from tui.core.models import Endpoint
from tui.core.names import normal
from tui.core.names import parse as parse_name
from tui.providers.base import Provider
from tui.services.jobs import Jobs
from tui.services.registry import OFFLINE
from tui.text import clean_name, duration, strip_line

LOOK: Final = 0.25
"""Seconds between two looks at the queue."""
PLAIN_EVERY: Final = 10.0
"""Seconds between two lines about progress, where the terminal cannot redraw one."""
JSON_EVERY: Final = 1.0
ACTED: float = 3.0
"""Seconds the worker is given to act on a wish before it is said that it will."""


async def pull(context: Context) -> int:
    """Queue models, and with `--wait` stay until they are done."""
    if context.args.wait:
        return await fetch(context, context.args.models, context.args.on)
    added = await _queue(context, context.args.models, context.args.on)
    if context.json:
        emit({"jobs": added})
    else:
        for job in added:
            message(f"{job.model} is queued as {job.id} for {job.endpoint.name}; see paddock pulls.")
    return DONE


async def fetch(context: Context, models: Sequence[str], on: str) -> int:
    """Queue models and wait for them; 0 when all are complete."""
    return await _wait(context, [job.id for job in await _queue(context, models, on)])


async def _queue(context: Context, models: Sequence[str], on: str) -> list[Job]:
    if context.settings.security.access != "full":
        context.allow("Fetching a model", destructive=True)
    try:
        names = list({found.key: str(found) for found in map(parse_name, models)}.values())
    except PaddockError as error:
        raise wrong_usage(error) from None
    endpoint = await _target(context, on)
    await _network(context, endpoint, names)
    jobs, insecure = context.jobs(), bool(getattr(context.args, "insecure", False))
    added: list[Job] = []
    for name in names:
        with context.audit.noting("queue pull", f"{endpoint.name}/{name}", asked_by="command line"):
            job = await jobs.add(name, endpoint, arguments={"insecure": True} if insecure else {}, asked_by="command line")
        added.append(job)
    return added


async def _target(context: Context, on: str) -> Endpoint:
    """The server to fetch on: the one named, else the default and no other, else the first that answers and can."""
    free = context.options.demo or context.options.provider
    only = bool(on or (context.settings.general.default_provider and not free))
    first: Provider | None = None
    async with aclosing(context.answers(on)) as answers:
        async for provider, _ in answers:
            first = first or provider
            if Capability.PULL in provider.capabilities:
                for failure in context.failed:  # asked before it, and silent
                    report(failure)
                return context.endpoint_of(provider)
            if only:
                break
    assert first is not None
    name, kind = first.endpoint.name, first.endpoint.kind
    raise PaddockError.of(f"{name} cannot fetch models", f"kind {kind}", "Choose another with --on", FailureKind.UNSUPPORTED)


async def _network(context: Context, endpoint: Endpoint, names: Sequence[str]) -> None:
    """Whether `general.network` lets a server fetch something.

    Raises:
        PaddockError: It does not, or there is nobody to ask.
    """
    network = context.settings.general.network
    if network == "offline" and not context.options.demo:
        raise PaddockError.of(f"Nothing is fetched: {OFFLINE}", endpoint.name, "Change general.network", FailureKind.REFUSED)
    if network != "metered" or context.options.demo:
        return
    there = sys.stdin.isatty() and sys.stderr.isatty()
    if not there or not await ask(f"Pull {', '.join(names)} over a metered network?"):
        remedy = "Run it in a terminal and say yes, or change general.network"
        raise PaddockError.of("Nothing is fetched: general.network is metered", endpoint.name, remedy, FailureKind.REFUSED)


class _Progress:
    """Says how far pulls are: one line that is redrawn, lines now and then, or JSON."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._redraw = not context.json and sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self._every = JSON_EVERY if context.json else 0.0 if self._redraw else PLAIN_EVERY
        self._said_at, self._said = float("-inf"), ""

    def tell(self, jobs: Sequence[Job]) -> None:
        """Say it, where something moved and it is time."""
        text, now = "; ".join(_line(self._context, job) for job in jobs), time.monotonic()
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


def _line(context: Context, job: Job) -> str:
    if job.state is not JobState.FETCHING or job.total is None:
        return f"{job.model} {job.state.value}{f': {job.note}' if job.note else ''}"
    percent = "" if job.percent is None else f" {job.percent:.0f}%"
    rate = "" if job.rate is None else f", {context.rate(job.rate)}"
    eta = "" if job.eta is None else f", {duration(job.eta)} left"
    return f"{job.model}{percent}, {context.size(job.done)} of {context.size(job.total)}{rate}{eta}"


async def _wait(context: Context, ids: Sequence[int]) -> int:
    jobs, progress = context.jobs(), _Progress(context)
    try:
        while True:
            found = [job for job in (jobs.get(number) for number in ids) if job is not None]
            moving = [job for job in found if not job.state.ended and not (job.state is JobState.PAUSED and job.wish is JobWish.PAUSE)]
            if not moving:
                break
            progress.tell(moving)
            await asyncio.sleep(LOOK)
            await _worker_lives(jobs)
    except asyncio.CancelledError:
        progress.end()
        message("The pull goes on without this command; see paddock pulls.")
        raise
    progress.end()
    return _ended(context, found, len(ids))


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
        if job.state is JobState.DONE:
            message(f"{job.model} is complete on {job.endpoint.name}, {context.size(job.total)}.")
        elif job.state is JobState.FAILED and job.failure is not None:
            message(f"{job.model} failed.")
            report(job.failure)
            code = exit_code(job.failure) if job.failure.kind is not FailureKind.CONFIG else FAILED
        else:
            message(f"{job.model} is {job.state.value}; it is not complete.")
            code = FAILED
    if len(found) < wanted:
        message("A pull was taken out of the queue by somebody else.")
        code = FAILED
    return code


# --- the queue -----------------------------------------------------------------------------------------------------------

_ENDS: Final = {
    "pause": (JobState.PAUSED,),
    "cancel": (JobState.CANCELLED,),
    "resume": (JobState.WAITING, JobState.FETCHING, JobState.CHECKING, JobState.DONE),
    "retry": (JobState.WAITING, JobState.FETCHING, JobState.CHECKING, JobState.DONE),
}
_DOES: Final = {"pause": "is paused", "cancel": "is cancelled", "resume": "goes on", "retry": "begins anew"}
_WILL: Final = {"pause": "will be paused", "cancel": "will be cancelled", "resume": "will go on", "retry": "will begin anew"}


async def pulls(context: Context) -> int:
    """Show the queue, or change it."""
    verb, ids = context.args.verb, list(dict.fromkeys(context.args.ids))
    if verb is None:
        return _list(context)
    if not ids:
        message(f"Which one? paddock pulls {verb} ID, as paddock pulls lists them.")
        return USAGE
    context.allow("Changing the queue", destructive=True)
    if verb in ("resume", "retry") and context.offline:
        raise PaddockError.of("Nothing is fetched", "general.network = offline", "Change general.network", FailureKind.REFUSED)
    found = _jobs(context, ids)
    for job in found:
        refusal = _pointless(verb, job)
        if refusal:
            message(f"{job.model} ({job.id}) {refusal}")
            return FAILED
    jobs = context.jobs()
    with context.audit.noting("move pull" if verb == "first" else f"{verb} pull", " ".join(str(number) for number in ids)):
        if verb == "first":
            await jobs.move(ids, "first")
        else:
            wishes = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel, "retry": jobs.retry, "remove": jobs.remove}
            await wishes[verb](ids)
    if verb in _ENDS:
        await _acted(context, verb, ids)
    if context.json:
        emit({"ok": True, "verb": verb, "jobs": [job for job in (jobs.get(number) for number in ids) if job is not None]})
    elif verb in ("first", "remove"):
        for job in found:
            message(f"{job.model} ({job.id}) {'is first in the queue' if verb == 'first' else 'was taken off the list'}.")
    return DONE


def _jobs(context: Context, ids: Sequence[int]) -> list[Job]:
    known = {job.id: job for job in _table(context)}
    for number in ids:
        if number not in known:
            raise PaddockError.of(f"There is no pull {number}", "", "See paddock pulls", FailureKind.NOT_FOUND)
    return [known[number] for number in ids]


def _pointless(verb: str, job: Job) -> str:
    """Why a verb means nothing for a job, or empty."""
    if verb in ("pause", "cancel") and job.state.ended:
        return f"is {job.state.value} already."
    if verb == "resume" and job.state.ended:
        return f"is {job.state.value}. Use paddock pulls retry {job.id}."
    if verb == "remove" and not job.state.ended:
        return f"is {job.state.value}. Use paddock pulls cancel {job.id} first."
    return f"is {job.state.value} already." if verb == "retry" and job.state in (JobState.FETCHING, JobState.CHECKING) else ""


async def _acted(context: Context, verb: str, ids: Sequence[int]) -> None:
    """Wait a little for the worker, then say what is and what will be."""
    jobs, until = context.jobs(), time.monotonic() + ACTED
    while True:
        now = [job for job in (jobs.get(number) for number in ids) if job is not None]
        left = [job for job in now if job.state not in _ENDS[verb]]
        if not left or time.monotonic() > until:
            break
        await asyncio.sleep(0.05)
    if not context.json:
        for job in now:
            message(f"{job.model} ({job.id}) {_DOES[verb] if job not in left else f'{_WILL[verb]} when the worker comes to it'}.")


def _table(context: Context) -> tuple[Job, ...]:
    if not context.paths.database.exists():
        return ()
    from tui.store.jobs import JobTable

    return JobTable(context.database(write=context.args.verb is not None)).list()


def _list(context: Context) -> int:
    found = _table(context)
    if context.json:
        emit({"jobs": found})
        return DONE
    if not found:
        message("No pulls. Begin one with paddock pull MODEL.")
        return DONE
    rows = [
        (
            str(job.id),
            normal(job.model),
            clean_name(job.endpoint.name),
            job.state.value,
            DASH if job.percent is None else f"{job.percent:.0f}%",
            context.size(job.total),
            context.rate(job.rate) if job.state is JobState.FETCHING else DASH,
            duration(job.eta) if job.state is JobState.FETCHING else DASH,
            job.failure.what if job.failure else job.note,
        )
        for job in found
    ]
    table(("ID", "MODEL", "PROVIDER", "STATE", "DONE", "SIZE", "RATE", "LEFT", "NOTE"), rows, right=(0, 4, 5, 6, 7))
    return DONE
