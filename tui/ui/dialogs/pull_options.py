"""What can be set of entries of the queue: bandwidth, start, order, and what follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tui.config.kinds import Bytes
from tui.core.jobs import Job, JobKind
from tui.services.wishes import problem, read_limit, read_time
from tui.ui.dialogs.form import Field, FormDialog
from tui.ui.screens.pull_words import noun, title

if TYPE_CHECKING:
    from tui.services.api import JobsApi

PRESETS: Final = ("", "2 MB", "5 MB", "10 MB", "20 MB", "50 MB", "100 MB")
_DAY: Final = 86_400.0
_YES: Final = ("no", "yes")


def limit_text(limit: int | None) -> str:
    """A limit as it is typed; empty for none."""
    return "" if limit is None else str(Bytes().literal(limit))


def time_text(at: float | None, now: float) -> str:
    """A start as it is typed; empty for at once and for what is over."""
    if at is None or at <= now:
        return ""
    return time.strftime("%H:%M" if at - now < _DAY else "%Y-%m-%d %H:%M", time.localtime(at))


def _common(values: Sequence[str]) -> str:
    return values[0] if values and len(set(values)) == 1 else ""


def bandwidth_dialog(queue: int | None, jobs: Sequence[Job]) -> FormDialog:
    """The dialog; its result has `queue` and, with entries, `entry`."""
    check = partial(problem, read_limit)
    fields = [Field("queue", "Whole queue", limit_text(queue), "no limit", check, PRESETS)]
    if jobs:
        own = _common([limit_text(job.limit) for job in jobs])
        fields.append(Field("entry", "Each of them" if len(jobs) > 1 else "This entry", own, "no limit of its own", check, PRESETS))
    what = f"Bandwidth: the queue, and {noun(jobs)}" if jobs else "Bandwidth of the queue"
    hint = (
        "Bytes a second, from 1 MB; empty is no limit. Ollama has no limit of its own: pulls pause and go on in short turns, "
        "so it comes in bursts and the average over minutes is right.\nctrl+o usual values   enter saves   esc back"
    )
    return FormDialog(what, fields, hint=hint)


def apply_bandwidth(verbs: JobsApi, queue: int | None, jobs: Sequence[Job], values: Mapping[str, str]) -> None:
    """Set what differs."""
    wanted = read_limit(values["queue"])
    if wanted != queue:
        verbs.limit_queue(wanted)
    if "entry" in values:
        own = read_limit(values["entry"])
        ids = [job.id for job in jobs if job.limit != own]
        if ids and values["entry"] != _common([limit_text(job.limit) for job in jobs]):
            verbs.limit(ids, own)


# --- one entry, or several ---------------------------------------------------------------------------------------------


def label(job: Job) -> str:
    """An entry as it is named in a list: `qwen3:8b on ollama`."""
    return f"{title(job)} on {job.endpoint.name}"


def _find(text: str, others: Sequence[Job]) -> Job | None:
    wanted = text.strip().lower()
    return next((job for job in others if wanted in (label(job).lower(), title(job).lower())), None)


def _after_problem(others: Sequence[Job]) -> Callable[[str], str | None]:
    def check(text: str) -> str | None:
        if not text.strip() or _find(text, others) is not None:
            return None
        return "No entry of the queue has that name (after). ctrl+o offers those there are, or leave it empty."

    return check


def _yes_problem(text: str) -> str | None:
    return None if text.strip().lower() in ("", *_YES) else "Write yes or no (load it). ctrl+o changes it."


def shown_values(jobs: Sequence[Job], names: Mapping[int, str], now: float) -> dict[str, str]:
    """What stands in the fields at first: what all of them have in common."""
    return {
        "start": _common([time_text(job.not_before, now) for job in jobs]),
        "after": _common([names.get(job.after, "") if job.after else "" for job in jobs]),
        "limit": _common([limit_text(job.limit) for job in jobs]),
        "load": _common([_YES[bool(job.arguments.get("warm_up"))] for job in jobs]) or "no",
    }


def options_dialog(jobs: Sequence[Job], others: Sequence[Job], now: float) -> FormDialog:
    """The dialog for these entries; `others` are those they may come after."""
    names = {job.id: label(job) for job in others}
    values = shown_values(jobs, names, now)
    fields = [
        Field(
            "start", "Start", values["start"], "at once; 23:00, in 2h, tomorrow 7:00", lambda text: problem(read_time, text, time.time())
        ),
        Field("after", "After", values["after"], "no other entry", _after_problem(others), ("", *names.values())),
    ]
    if any(job.kind is JobKind.PULL for job in jobs):
        fields.append(Field("limit", "At most", values["limit"], "no limit of its own", partial(problem, read_limit), PRESETS))
        fields.append(Field("load", "Load it", values["load"], "no", _yes_problem, _YES))
    hint = "Load it: into memory, once it is there. The limit comes in bursts.\nctrl+o usual values   tab next   enter saves   esc back"
    return FormDialog(f"Options of {noun(jobs)}", fields, hint=hint)


def apply_options(verbs: Any, jobs: Sequence[Job], others: Sequence[Job], values: Mapping[str, str], now: float) -> None:
    """Set what differs from what stood there."""
    ids, pulls = [job.id for job in jobs], [job.id for job in jobs if job.kind is JobKind.PULL]
    before = shown_values(jobs, {job.id: label(job) for job in others}, now)
    changed = {key for key, text in values.items() if text.strip() != before[key]}
    if "start" in changed:
        verbs.start_at(ids, read_time(values["start"], now))
    if "after" in changed:
        found = _find(values["after"], others)
        verbs.chain(ids, found.id if found is not None else 0)
    if "limit" in changed:
        verbs.limit(pulls, read_limit(values["limit"]))
    if "load" in changed:
        verbs.warm_up(pulls, values["load"].strip().lower() == "yes")
