"""How a job does, in the words of every command that tells about the queue."""

from __future__ import annotations

from typing import Final

from tui.cli.asked import time_words
from tui.cli.context import Context
from tui.config.settings import Settings
from tui.core.errors import Failure, FailureKind
from tui.core.jobs import LOADING, Job, JobKind, JobState, JobWish, Wait
from tui.core.partials import dropped_by_restart
from tui.services.asks import because
from tui.text import clean_name, duration

_WAITS: Final = {
    Wait.NOTHING: "waiting",
    Wait.PLACE: "waits for a place",
    Wait.HOURS: "waits for its hours",
    Wait.SPACE: "waits for space",
    Wait.SERVER: "waits for the server",
    Wait.KEY: "waits for a key",
    Wait.NETWORK: "waits for the network",
    Wait.ANSWER: "needs a yes",
    Wait.LIMITS: "waits for room",
}
LOADS: Final = 600.0
"""Seconds a load is given before nobody waits for it any more."""
_VERBS: Final = {JobKind.PUSH: "sending", JobKind.CREATE: "making", JobKind.QUANTIZE: "quantizing", JobKind.UPLOAD: "sending"}


def state_words(job: Job, now: float) -> str:
    """The state, and of a waiting job what for; short enough for a column."""
    if job.state is JobState.FETCHING:
        return _VERBS.get(job.kind, job.state.value)
    if job.state is JobState.INTERRUPTED and job.wish is JobWish.PAUSE:
        return "paused"
    if job.state is not JobState.WAITING:
        return job.state.value
    if job.wait is Wait.START:
        return f"starts at {time_words(job.not_before, now)}" if job.not_before is not None else "waits for its time"
    if job.wait is Wait.CHAIN:
        return f"comes after {job.after}"
    if job.wait is Wait.RETRY:
        return f"tries again at {time_words(job.due_at, now)}" if job.due_at is not None else "tries again"
    return _WAITS.get(job.wait, "waiting")


def needs(settings: Settings, job: Job) -> str:
    """Why a job needs a yes, and how to give it."""
    words = because(settings, job) or job.note
    return f"{words}{': ' if words else ''}paddock pulls allow {job.id}"


def needs_yes(settings: Settings, job: Job) -> Failure:
    """The same as a refusal: for a command that does not wait for the answer."""
    words = because(settings, job)
    what = f"{job.model} needs a yes{f': {words}' if words else ''}"
    return Failure(what, job.endpoint.name, f"Allow it with paddock pulls allow {job.id}", FailureKind.REFUSED)


def detail(job: Job, state: str) -> str:
    """What the worker's note says beyond the words of the state."""
    rest = job.note.removeprefix(state)
    if job.wait is Wait.START or not rest:
        return ""
    if rest == job.note or not rest.startswith((":", " (")):
        return job.note.removeprefix("waits: ")
    rest = rest.lstrip(": ")
    return rest[1:-1] if rest.startswith("(") and rest.endswith(")") else rest


def note_words(context: Context, job: Job, now: float) -> str:
    """What else is to be said about a job: why it failed, what it asks, what may be done with it."""
    said = []
    if job.state is JobState.FAILED and job.failure is not None:
        said.append(f"{job.failure.what}{f'. {job.failure.remedy}' if job.failure.remedy else ''}")
    elif job.state is JobState.WAITING and job.wait is Wait.ANSWER:
        said.append(needs(context.settings, job))
    else:
        said += [detail(job, state_words(job, now)), job.failure.what if job.failure is not None and job.wait is Wait.RETRY else ""]
    if job.limit is not None and not job.state.ended:
        said.append(f"at most {context.rate(job.limit)}")
    if job.wish is JobWish.CANCEL and not job.state.ended:
        said.append("to be cancelled")
    binary = context.settings.appearance.units == "binary"
    if job.state in (JobState.PAUSED, JobState.FAILED, JobState.INTERRUPTED) or job.wait is not Wait.NOTHING:
        said.append(dropped_by_restart(job, now, binary=binary))
    if job.warmed:
        said.append(job.warmed)
    if job.changes:
        said.append(f"your changes can be applied again: paddock pulls apply {job.id}, or forget {job.id}")
    return "; ".join(dict.fromkeys(part for part in said if part))


def layer_words(job: Job) -> str:
    """`layer 2 of 5`: the first that is not complete; how many there are only where the manifest says so."""
    if len(job.layers) < 2:
        return ""
    at = next((number for number, layer in enumerate(job.layers, 1) if layer.completed < layer.total), len(job.layers))
    return f"layer {at}{f' of {len(job.layers)}' if job.planned else ''}"


def loading(job: Job, now: float) -> bool:
    """It is done, and what was asked for after it is not: the model is being loaded."""
    if job.state is not JobState.DONE or not job.arguments.get("warm_up") or job.ended_at is None:
        return False
    return job.warmed in ("", LOADING) and now - job.ended_at < LOADS


def progress_words(context: Context, job: Job, now: float) -> str:
    """One job as a line about progress says it."""
    name = clean_name(job.model)
    if job.state is not JobState.FETCHING or job.total is None:
        state = state_words(job, now)
        note = needs(context.settings, job) if job.wait is Wait.ANSWER else detail(job, state)
        if job.warmed:
            return f"{name} {job.warmed}"
        return f"{name} {note if note.startswith(state) else f'{state}: {note}' if note else state}"
    parts = [
        "" if job.percent is None else f"{job.percent:.0f}%",
        f"{context.size(job.done)} of {context.size(job.total)}",
        "" if job.rate is None else context.rate(job.rate),
        "" if job.eta is None else f"{duration(job.eta)} left",
        layer_words(job),
        job.note,
    ]
    return f"{name} {', '.join(part for part in parts if part)}"
