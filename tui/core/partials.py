"""What becomes of an unfinished download, in words that are true for the server (Ollama reference, sections 3.5 and 3.6)."""

from __future__ import annotations

from typing import Final

from tui.core.jobs import Job, JobKind, JobState
from tui.core.versions import numbers
from tui.text import clean_name, size

SPARED: Final = 3600.0
"""Seconds: since 0.21.0 a starting Ollama spares unfinished files younger than this."""


def kept(job: Job, now: float, *, binary: bool = False) -> str:
    """Whether what was fetched stays, as the rest of a sentence that begins with the amount; empty where nothing was fetched.

    Args:
        job: The pull; its plan knows the server's version and whether that prunes.
        now: Epoch seconds.
        binary: GiB instead of GB.
    """
    brought = _brought(job)
    if not brought:
        return ""
    amount, name = size(brought, binary=binary), clean_name(job.endpoint.name)
    plan = job.plan
    if plan is not None and plan.keeps_partials:
        return f"{amount} stay on {name} until they are used or deleted by hand: it runs with OLLAMA_NOPRUNE"
    if plan is None or not plan.version:
        return f"{amount} stay on {name} until it restarts; then it may drop them"
    if (numbers(plan.version) or (0,)) < (0, 21):
        return f"{amount} stay on {name} until it restarts, which drops them"
    if job.started_at is not None and now - job.started_at > SPARED:
        return f"{amount} stay on {name}; a restart of it drops what is older than an hour"
    return f"{amount} stay on {name}; a restart of it within the hour keeps them, a later one drops them"


def dropped_by_restart(job: Job, now: float, *, binary: bool = False) -> str:
    """One sentence where a restart of the server would cost bytes now: an unfinished pull older than an hour, and it prunes."""
    old = job.started_at is not None and now - job.started_at > SPARED
    brought = _brought(job)
    if job.state is JobState.DONE or not brought or not old:
        return ""
    if job.plan is not None and job.plan.keeps_partials:
        return ""
    sure = job.plan is not None and job.plan.keeps_partials is False
    amount = size(brought, binary=binary)
    unless = "" if sure else ", unless it runs with OLLAMA_NOPRUNE"
    return f"a restart of {clean_name(job.endpoint.name)} would drop up to {amount} of it{unless}"


def cancel_words(job: Job, now: float, *, binary: bool = False) -> str:
    """What a cancel does to the data, one sentence with a full stop; empty where there is nothing to say."""
    if job.state is JobState.CHECKING:
        return "The server is checking: it ends that anyway, and the model may appear in spite of the cancel."
    words = kept(job, now, binary=binary)
    return f"{words}." if words else ""


def _brought(job: Job) -> int:
    """Bytes on the server that no model holds: what it had before the pull stays in any case."""
    if job.kind is not JobKind.PULL:
        return 0
    return max(0, job.done - (job.plan.there if job.plan is not None else 0))
