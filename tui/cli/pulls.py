"""pull and pulls."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, USAGE, emit, exit_code, message, report, table
from tui.core.capabilities import Capability
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Job, JobState
from tui.core.names import normal
from tui.core.names import parse as parse_name
from tui.text import clean_name, duration, rate

_TTY_EVERY: Final = 0.25
_PLAIN_EVERY: Final = 10.0


async def pull(context: Context) -> int:
    """Queue models, and with `--wait` stay until they are done."""
    context.allow("Fetching a model", destructive=True)
    names = [str(parse_name(name)) for name in context.args.models]
    provider = await context.provider(context.args.on)
    if Capability.PULL not in provider.capabilities:
        raise PaddockError.of(
            "This server cannot fetch models", provider.endpoint.name, "Choose another with --on", FailureKind.UNSUPPORTED
        )
    jobs = context.jobs()
    arguments = {"insecure": True} if context.args.insecure else {}
    added = [await jobs.add(name, provider.endpoint, arguments=arguments, asked_by="command line") for name in names]
    if context.args.wait:
        return await _wait(context, [job.id for job in added])
    if context.json:
        emit({"jobs": added})
    else:
        for job in added:
            message(f"{job.model} is queued as {job.id} for {provider.endpoint.name}; see paddock pulls.")
    return DONE


async def _wait(context: Context, ids: list[int]) -> int:
    jobs, tty = context.jobs(), sys.stderr.isatty()
    said_at, said = float("-inf"), ""
    try:
        while True:
            found = [job for job in (jobs.get(number) for number in ids) if job is not None]
            if all(job.state.ended or job.state is JobState.PAUSED for job in found):
                break
            text = "; ".join(_progress(context, job) for job in found if not job.state.ended)
            now = time.monotonic()
            if text != said and (tty or now - said_at >= _PLAIN_EVERY):
                said_at, said = now, text
                print(f"\r{text[:78]}\x1b[K" if tty else text, end="" if tty else "\n", file=sys.stderr, flush=True)
            await asyncio.sleep(_TTY_EVERY)
            await jobs.ensure_worker()
    except asyncio.CancelledError:
        message(f"{chr(10) if tty else ''}The pull goes on without this command; see paddock pulls.")
        raise
    if tty and said:
        print(file=sys.stderr)
    return _ended(context, found)


def _ended(context: Context, found: list[Job]) -> int:
    code = DONE if found else FAILED
    for job in found:
        if context.json:
            emit({"job": job})
        if job.state is JobState.DONE:
            message(f"{job.model} is complete, {context.size(job.total)}.")
        elif job.failure is not None:
            report(job.failure)
            code = exit_code(job.failure)
        else:
            message(f"{job.model} is {job.state.value}.")
            code = FAILED
    return code


def _progress(context: Context, job: Job) -> str:
    if job.state is not JobState.FETCHING or job.total is None:
        return f"{job.model} {job.state.value}{f': {job.note}' if job.note else ''}"
    percent = "" if job.percent is None else f" {job.percent:.0f}%"
    return f"{job.model}{percent} {context.size(job.done)} of {context.size(job.total)} {rate(job.rate)} {duration(job.eta)}"


async def pulls(context: Context) -> int:
    """Show the queue, or change it."""
    verb, ids = context.args.verb, context.args.ids
    if verb is None:
        return _list(context)
    if not ids:
        message(f"Which one? paddock pulls {verb} ID, as paddock pulls lists them.")
        return USAGE
    context.allow("Changing the queue", destructive=True)
    jobs = context.jobs()
    missing = [number for number in ids if jobs.get(number) is None]
    if missing:
        message(f"There is no pull {missing[0]}. See paddock pulls.")
        return FAILED
    if verb == "first":
        for number in reversed(ids):
            await jobs.move(number, "first")
    else:
        await {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel, "retry": jobs.retry}[verb](ids)
    if context.json:
        emit({"ok": True, "verb": verb, "ids": ids})
    return DONE


def _list(context: Context) -> int:
    found: tuple[Job, ...] = ()
    if context.paths.database.exists():
        from tui.store.jobs import JobTable

        found = JobTable(context.database(write=False)).list()
    if context.json:
        emit({"jobs": found})
        return DONE
    rows = [
        (
            str(job.id),
            normal(job.model),
            clean_name(job.endpoint.name),
            job.state.value,
            "" if job.percent is None else f"{job.percent:.0f}%",
            context.size(job.total),
            rate(job.rate),
            job.failure.what if job.failure else job.note,
        )
        for job in found
    ]  # fmt: skip
    table(("ID", "MODEL", "PROVIDER", "STATE", "DONE", "SIZE", "RATE", "NOTE"), rows, right=(0, 4, 5, 6))
    return DONE
