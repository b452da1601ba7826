"""What keeps a job from starting, apart from its server, its key, the disk and [limits]: the network, its time, its turn, a yes."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from tui.config.settings import Settings
from tui.core.hours import opens_at
from tui.core.jobs import Ask, Job, JobKind, Wait
from tui.core.record import record
from tui.providers.base_url import is_near
from tui.services.asks import OFFLINE, YES, asks_before, reasons
from tui.text import clean_name


@record(frozen=True)
class Gate:
    """A reason to wait; `due_at` in epoch seconds where the end is known."""

    wait: Wait
    note: str
    due_at: float | None = None
    asks: frozenset[Ask] = frozenset()


def gate(job: Job, jobs: Mapping[int, Job], settings: Settings, now: float, *, demo: bool = False) -> Gate | None:
    """The first thing that keeps a job from its place, or None.

    Args:
        job: A job that wants to run.
        jobs: All of the queue, by id.
        settings: The running settings.
        now: Epoch seconds.
        demo: The server is a simulation on this machine: nothing leaves it.
    """
    if settings.general.network == "offline" and not demo and _goes_out(job):
        return Gate(Wait.NETWORK, f"waits: {OFFLINE}")
    if job.not_before is not None and job.not_before > now:
        return Gate(Wait.START, "waits for its time", job.not_before)
    before = jobs.get(job.after)
    if before is not None and not before.state.ended:
        return Gate(Wait.CHAIN, f"waits for {clean_name(before.model)}")
    if job.kind in (JobKind.PULL, JobKind.PUSH) and (opening := opens_at(settings.pulls.only_between, now)) is not None:
        return Gate(Wait.HOURS, f"waits for its hours ({settings.pulls.only_between})", opening)
    if job.kind is JobKind.PULL:
        total = job.plan.total if job.plan is not None else None
        asks = asks_before(settings, job.model, total) - job.allowed - ({Ask.METERED} if demo else set())
        if asks:
            return Gate(Wait.ANSWER, f"{YES}{reasons(settings, total, asks)}", asks=asks)
    return None


def _goes_out(job: Job) -> bool:
    """Whether working it sends or fetches something beyond this machine and its network."""
    return job.kind in (JobKind.PULL, JobKind.PUSH) or not is_near(urlsplit(job.endpoint.url).hostname or "")
