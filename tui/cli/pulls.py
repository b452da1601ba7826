"""pulls: the queue's list, its history, and the verbs that change it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from tui.cli import listing
from tui.cli.asked import read_limit, read_time, time_words
from tui.cli.choose import ALL, choose, choose_one
from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, USAGE, ask, emit, message
from tui.cli.planning import read_queue
from tui.cli.pull import allow
from tui.cli.states import needs, state_words
from tui.core.jobs import Job, JobKind, JobState, JobWish, Wait, circle
from tui.core.partials import cancel_words
from tui.services.asks import OFFLINE
from tui.services.wishes import NONE
from tui.text import clean_name

ACTED: float = 3.0
"""Seconds the worker is given to act on a wish before it is said that it will."""
SIGHT: Final = 0.05
_LIVE: Final = (JobState.WAITING, JobState.FETCHING, JobState.CHECKING, JobState.DONE)
_ENDS: Final = {"pause": (JobState.PAUSED,), "cancel": (JobState.CANCELLED,), "resume": _LIVE, "retry": _LIVE, "allow": _LIVE}
_DOES: Final = {"pause": "is paused", "cancel": "is cancelled", "resume": "goes on", "retry": "begins anew", "allow": "is allowed"}
_WILL: Final = {
    "pause": "will be paused",
    "cancel": "will be cancelled",
    "resume": "will go on",
    "retry": "will begin anew",
    "allow": "will go on",
}
_DONE: Final = {
    "first": "is first in the queue",
    "up": "is one place further up",
    "down": "is one place further down",
    "remove": "was taken off the list; the history keeps it",
    "forget": "keeps the new version as it is",
}
_VALUE: Final = {"limit": " 20MB|none", "at": " 23:00|+2h|none", "after": " OTHER|none"}
"""Verbs whose last word is a value, and what it looks like."""
_SHOWN: Final = ("first", "up", "down", "limit", "at", "after")


async def pulls(context: Context) -> int:
    """Show the queue, or change it."""
    verb, words = context.args.verb, context.args.what
    if verb is None:
        return await listing.show(context)
    if context.args.watch:
        message("--watch goes with the list alone: paddock pulls --watch.")
        return USAGE
    if verb == "history":
        return listing.history(context, words)
    if len(words) < (2 if verb in _VALUE else 1):
        message(f"Which one? paddock pulls {verb} ID{_VALUE.get(verb, '')}, as paddock pulls lists them; a model's name or all will do.")
        return USAGE
    allow(context, "Changing the queue")
    if verb in _VALUE:
        return await _set(context, verb, words[:-1], words[-1])
    found, code = _sorted(context, verb, words)
    if not found:
        if verb == "resume":
            await context.jobs().ensure_worker()
        return code
    if verb == "cancel" and not await _sure(context, found):
        message("Nothing was cancelled.")
        return FAILED
    ids = [job.id for job in found]
    with context.audit.noting("move pull" if verb in ("first", "up", "down") else f"{verb} pull", " ".join(map(str, ids))):
        await _do(context, verb, ids)
    if verb in _ENDS:
        await _acted(context, verb, ids)
    elif verb == "apply":
        _said(context, found, "gets your changes again; see paddock pulls")
    else:
        _said(context, found, _DONE[verb])
    return _emitted(context, verb, found, code)


async def _do(context: Context, verb: str, ids: Sequence[int]) -> None:
    jobs = context.jobs()
    if verb in ("first", "up", "down"):
        await jobs.move(ids, verb)
    elif verb in ("apply", "forget"):
        for number in ids:
            await (jobs.apply_changes(number) if verb == "apply" else jobs.forget_changes(number))
    else:
        wishes = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel, "retry": jobs.retry, "remove": jobs.remove}
        await (jobs.allow if verb == "allow" else wishes[verb])(ids)


def _sorted(context: Context, verb: str, words: Sequence[str]) -> tuple[list[Job], int]:
    """The jobs for which a verb means something, and the exit code of the others, which are told."""
    found = choose(read_queue(context, write=True), words, context.args.on, lambda job: meant(verb, job))
    good, code = [], DONE
    for job in found:
        refusal = pointless(verb, job)
        if refusal:
            message(f"{job.model} ({job.id}) {refusal}")
            code = FAILED
        else:
            good.append(job)
    if not found:
        message(f"There is nothing to {verb}.")
        _emitted(context, verb, [], code)
    return good, code


def pointless(verb: str, job: Job) -> str:
    """Why a verb means nothing for a job, or empty."""
    state = job.state.value
    if verb in ("pause", "cancel", *_SHOWN):
        if verb == "limit" and job.kind is not JobKind.PULL:
            return f"is a {job.kind}: only pulls can be kept to a limit."
        if verb in ("at", "after") and job.state.running:
            return f"is {state} already. Use paddock pulls pause {job.id} first."
        return f"is {state} already." if job.state.ended else ""
    if verb == "resume":
        if job.state is JobState.WAITING and job.wait is Wait.ANSWER:
            return f"needs a yes. Use paddock pulls allow {job.id}."
        return f"is {state}. Use paddock pulls retry {job.id}." if job.state.ended else ""
    if verb == "remove":
        return "" if job.state.ended else f"is {state}. Use paddock pulls cancel {job.id} first."
    if verb == "allow":
        return "" if job.wait is Wait.ANSWER and not job.state.ended else "asks for nothing."
    if verb in ("apply", "forget"):
        return "" if job.changes else "has no changes to apply again."
    return f"is {state} already." if verb == "retry" and job.state.running else ""


def meant(verb: str, job: Job) -> bool:
    """Whether `all`, or a name that several have, means this one too."""
    if verb == "retry":
        return job.state in (JobState.FAILED, JobState.CANCELLED) or job.wait is Wait.RETRY
    if verb == "resume" and job.wish is JobWish.RUN and job.state is not JobState.INTERRUPTED:
        return False
    return not pointless(verb, job)


async def _sure(context: Context, found: Sequence[Job]) -> bool:
    """Say what becomes of the data, and ask where somebody is there."""
    binary, now = context.settings.appearance.units == "binary", time.time()
    for job in found:
        words = cancel_words(job, now, binary=binary)
        if words:
            message(f"{job.model} ({job.id}): {words}")
    if context.args.yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    names = ", ".join(f"{clean_name(job.model)} ({job.id})" for job in found)
    return await ask(f"Cancel {names}?")


async def _acted(context: Context, verb: str, ids: Sequence[int]) -> None:
    """Wait a little for the worker, then say what is and what will be."""
    jobs, until = context.jobs(), time.monotonic() + ACTED
    while True:
        now = [job for job in (jobs.get(number) for number in ids) if job is not None]
        left = [job for job in now if not _has(verb, job)]
        if not left or time.monotonic() > until:
            break
        await asyncio.sleep(SIGHT)
    if context.json:
        return
    for job in now:
        if job in left:
            message(f"{job.model} ({job.id}) {_WILL[verb]} when the worker comes to it.")
        else:
            message(f"{job.model} ({job.id}) {_DOES[verb]}{_but(context, job)}.")


def _has(verb: str, job: Job) -> bool:
    """Whether the worker has done it."""
    left = {"allow": Wait.ANSWER, "retry": Wait.RETRY}.get(verb)
    return job.state in _ENDS[verb] and (left is None or job.wait is not left)


def _but(context: Context, job: Job) -> str:
    """What it waits for all the same."""
    if job.state is not JobState.WAITING:
        return ""
    if context.offline and not context.options.demo:
        return f"; it waits: {OFFLINE}"
    if job.wait is Wait.ANSWER:
        return f"; it needs a yes: {needs(context.settings, job)}"
    return "" if job.wait in (Wait.NOTHING, Wait.PLACE) else f"; it {state_words(job, time.time())}"


def _said(context: Context, found: Sequence[Job], words: str | Callable[[Job], str]) -> None:
    if not context.json:
        for job in found:
            message(f"{job.model} ({job.id}) {words if isinstance(words, str) else words(job)}.")


def _emitted(context: Context, verb: str, found: Sequence[Job], code: int) -> int:
    if context.json:
        jobs = context.jobs()
        emit({"ok": code == DONE, "verb": verb, "jobs": [jobs.get(job.id) or job for job in found]})
    return code


# --- verbs with a value --------------------------------------------------------------------------------------------------


async def _set(context: Context, verb: str, words: Sequence[str], value: str) -> int:
    """limit, at, after."""
    if verb == "limit" and [word.lower() for word in words] == [ALL] and not context.args.on:
        return _limit_queue(context, value)
    queue, now = read_queue(context, write=True), time.time()
    given: Any
    if verb == "limit":
        given = read_limit(value, "limit")
    elif verb == "at":
        given = read_time(value, "at", now)
    else:
        given = 0 if value.lower() in NONE else choose_one(queue, value, context.args.on).id
    found, code = _sorted(context, verb, words)
    if verb == "after" and given:
        for job in [job for job in found if circle({one.id: one.after for one in queue}, job.id, given)]:
            message(f"{job.model} ({job.id}) cannot come after {given}: that one comes after it.")
            found, code = [other for other in found if other.id != job.id], FAILED
    if not found:
        return code
    ids, jobs = [job.id for job in found], context.jobs()
    with context.audit.noting(f"{_NOTED[verb]} pull", " ".join(map(str, ids)), value=clean_name(value, 40)):
        await {"limit": jobs.limit, "at": jobs.start_at, "after": jobs.chain}[verb](ids, given)
    if verb == "limit":
        _said(context, found, "has no limit of its own" if given is None else f"is kept to {context.rate(given)}, in bursts")
    elif verb == "at":
        _said(context, found, "may start at once" if given is None else f"starts at {time_words(given, now)}")
    else:
        _said(context, found, "waits for no other" if not given else f"comes after {given}")
    return _emitted(context, verb, found, code)


_NOTED: Final = {"limit": "limit", "at": "time", "after": "chain"}


def _limit_queue(context: Context, value: str) -> int:
    """All of them together: the setting `pulls.bandwidth`."""
    given = read_limit(value, "limit")
    with context.audit.noting("limit queue", "pulls.bandwidth", value=clean_name(value, 40)):
        note = context.config.unset("pulls.bandwidth") if given is None else context.config.set("pulls.bandwidth", given)
    if note:
        message(f"{note}.")
    now = context.settings.pulls.bandwidth
    if context.json:
        emit({"ok": True, "verb": "limit", "bandwidth": now})
    else:
        message("The queue has no limit." if now is None else f"The queue is kept to {context.rate(now)}, in bursts.")
    return DONE
