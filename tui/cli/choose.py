"""Which jobs of the queue a command means: by number, by the model's name, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tui.core import names
from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import Job
from tui.text import clean_name, nearest

ALL: Final = "all"


def choose(queue: Sequence[Job], words: Sequence[str], on: str = "", fits: Callable[[Job], bool] = lambda job: True) -> list[Job]:
    """The jobs of numbers, names and `all`, each once, in the order given.

    Args:
        queue: All jobs.
        words: As typed.
        on: Only jobs of this provider.
        fits: Of several jobs with one name, those for which the command means nothing are not meant; nor are they with `all`.

    Raises:
        PaddockError: There is no such job, or a name fits several.
    """
    found: dict[int, Job] = {}
    here = [job for job in queue if not on or job.endpoint.name == on]
    for word in words:
        if word.lower() == ALL:
            found |= {job.id: job for job in here if fits(job)}
        else:
            job = choose_one(here, word, on, fits)
            found[job.id] = job
    return list(found.values())


def choose_one(queue: Sequence[Job], word: str, on: str = "", fits: Callable[[Job], bool] = lambda job: True) -> Job:
    """One job by its number or its model's name.

    Raises:
        PaddockError: There is none, or there are several.
    """
    shown = clean_name(word, 80)
    where = clean_name(on)
    if word.isascii() and word.isdigit() and len(word) < 16:
        for job in queue:
            if job.id == int(word):
                return job
        raise PaddockError.of(f"There is no pull {shown}", where, "See paddock pulls", FailureKind.NOT_FOUND)
    found = [job for job in queue if names.same(job.model, word)]
    found = found if len(found) < 2 else [job for job in found if fits(job)] or found
    if not found:
        near = nearest(word, [job.model for job in queue])
        remedy = f"The nearest name is {near}" if near else "See paddock pulls"
        raise PaddockError.of(f"There is no pull of {shown}", where, remedy, FailureKind.NOT_FOUND)
    if len(found) > 1:
        which = ", ".join(f"{job.id} ({job.kind.value} on {clean_name(job.endpoint.name)})" for job in found)
        raise PaddockError.of(f"{shown} is in the queue {len(found)} times: {which}", "", "Say which by its number, or add --on PROVIDER")
    return found[0]
