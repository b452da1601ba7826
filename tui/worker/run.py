"""What the worker remembers of a job while it lives, and how that is said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tui.core.errors import Failure, FailureKind
from tui.core.jobs import Job, JobKind, JobState, Wait
from tui.core.pace import Pace
from tui.core.pulls import Phase, PullMeter, PullProgress, Stall
from tui.worker.attempt import Attempt, Before


@dataclass(slots=True)
class Run:
    """One job in the worker's memory.

    Attributes:
        best: Bytes that had come when a failure was last counted.
        began_at: The same when the attempt began.
        held: What it waits for until `due`, and the note that says so.
        downs: Looks in a row at a server that did not answer.
        due: Monotonic time of the next look.
        reason: Why we closed the stream: `pause`, `cancel`, `stall`, `space`, `hours`, `pace`, `end`, or empty.
        paced: The stream is closed for a while to keep to a limit; the job keeps its place.
        again: The one fresh attempt after damaged bytes was used.
        unclear: The stream ended without a word and the model was asked for again at once.
        full: The disk was full, so more room is asked for.
        checking_since: Monotonic time since when the server checks.
        before: The model that this pull replaces, once that was looked at.
        warming: Loads the model after the pull.
        warning: What [limits] have to say about it; None while that is not known.
        gone: The job left the queue, or is remembered anew.
    """

    job: Job
    meter: PullMeter
    pace: Pace
    attempt: Attempt | None = None
    task: asyncio.Task[None] | None = None
    best: int = 0
    began_at: int = 0
    held: tuple[Wait, str] = (Wait.NOTHING, "")
    downs: int = 0
    due: float = 0.0
    reason: str = ""
    paced: bool = False
    again: bool = False
    unclear: bool = False
    full: bool = False
    checking_since: float | None = None
    before: Before | None = None
    gone: bool = False
    warning: str | None = None
    warming: asyncio.Task[None] | None = field(default=None)

    @property
    def placed(self) -> bool:
        """Whether it takes one of the places."""
        return self.task is not None or self.paced

    @property
    def may_begin(self) -> bool:
        """Whether it waits for its turn, in whatever way."""
        return self.job.state in (JobState.WAITING, JobState.INTERRUPTED) and not self.placed


def figures_of(figures: PullProgress, job: Job) -> dict[str, Any]:
    """The meter's figures as fields of a job; what is not known yet leaves what was shown."""
    found: dict[str, Any] = {"fetched": figures.fetched, "busy": figures.busy}
    if figures.total is None:
        return found | ({"history": figures.history, "step": figures.step} if figures.history else {})
    return found | {
        "total": figures.total,
        "done": figures.done,
        "percent": figures.percent if figures.percent is not None else job.percent,
        "rate": figures.rate,
        "average": figures.average,
        "peak": figures.peak,
        "eta": figures.eta,
        "layers": figures.layers,
        "planned": figures.planned,
        "history": figures.history,
        "step": figures.step,
    }


def doing(figures: PullProgress, kind: JobKind) -> str:
    """What a running job does, in words without figures; empty while it simply fetches."""
    if figures.stall is not Stall.NONE:
        return "stalled: no new bytes for 30s; reconnects after 90s"
    if figures.restarted:
        return "restarted by the server"
    if figures.phase is Phase.ASKING:
        return "asks for the manifest" if kind is JobKind.PULL else "begins"
    if figures.phase in (Phase.CHECKING, Phase.DONE):
        return "checks what arrived" if kind is JobKind.PULL else "ends"
    return "quantizes" if kind is JobKind.QUANTIZE else ""


def stalled(job: Job) -> Failure:
    """The failure of a stream on which nothing came."""
    return Failure("No new bytes for 90s", job.endpoint.url, "Check the server's network; it reconnects by itself", FailureKind.TIMEOUT)


def checks_too_long(job: Job) -> Failure:
    """The failure of a server that does not come to an end with checking."""
    return Failure("The server did not end its check", job.endpoint.url, "Look at the server's log; it is asked again", FailureKind.TIMEOUT)


def half_made(job: Job) -> Failure:
    """The failure of a create that nobody saw the end of."""
    what = "The worker ended while it was being made; whether it was made is not known"
    return Failure(what, job.endpoint.url, "Look for it in the library, and retry where it is not there", FailureKind.INTERRUPTED)


def check_limit(job: Job) -> float:
    """Seconds a server may check: it reads every byte once, a slow disk gives 50 MB a second, and other checks may come before."""
    return 900.0 + (job.total or 0) / 50e6


def waits_for_server(job: Job, failure: Failure) -> str:
    """The note of a job whose server does not answer."""
    reason = failure.what.split(": ", 1)[-1]
    return f"waits for {job.endpoint.name} at {failure.where or job.endpoint.url}: {reason}"
