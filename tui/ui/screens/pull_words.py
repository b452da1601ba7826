"""The words of the queue: what an entry is, waits for, and costs; what a key is about to do to it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import groupby

from tui.config.settings import Settings
from tui.core.jobs import Changes, Job, JobKind, JobState, JobWish, Plan, QueueView, Wait
from tui.core.partials import cancel_words
from tui.services.asks import because
from tui.text import clean_label, duration, rate, size
from tui.ui.frame import Part
from tui.ui.screens.parts import clock, part_of
from tui.ui.widgets.columns import Cell

_KINDS = {JobKind.PULL: "", JobKind.PUSH: "push ", JobKind.CREATE: "create ", JobKind.QUANTIZE: "quantize ", JobKind.UPLOAD: "upload "}
_NOUNS = {
    JobKind.PULL: "pull",
    JobKind.PUSH: "push",
    JobKind.CREATE: "create",
    JobKind.QUANTIZE: "quantize",
    JobKind.UPLOAD: "upload",
}
WORTH_NAMING = 0.005
"""Share of a model below which what is there already is a licence or a template that others have too."""
AGAIN = (Wait.RETRY, Wait.SERVER, Wait.SPACE, Wait.KEY)
"""What `r` ends at once."""


def title(job: Job) -> str:
    """The model, and what is done with it where that is not a pull: `push ann/mine:7b`."""
    return f"{_KINDS[job.kind]}{job.model}"


def noun(jobs: Sequence[Job]) -> str:
    """`3 pulls`, `2 entries`, or the only one's title."""
    if len(jobs) == 1:
        return title(jobs[0])
    kinds = {job.kind for job in jobs}
    word = _NOUNS[jobs[0].kind] if len(kinds) == 1 else ""
    return f"{len(jobs)} {'entries' if not word else 'pushes' if word == 'push' else f'{word}s'}"


def there(plan: Plan | None, *, brief: bool = False, binary: bool = False) -> str:
    """`5.2 GB, of which 4.9 GB is already there`, in brief `5.2 GB, 4.9 GB there`; empty where nothing is known."""
    if plan is None or plan.total is None:
        return ""
    total, missing = plan.total, plan.missing or 0
    whole = size(total, binary=binary)
    if plan.present is None:
        return whole
    if not missing:
        return f"{whole}, all there" if brief else f"{whole}, all of it is already there"
    if total - missing < total * WORTH_NAMING:
        return f"{whole} to fetch"
    present = size(total - missing, binary=binary)
    return f"{whole}, {present} there" if brief else f"{whole}, of which {present} is already there"


def waits(job: Job, settings: Settings, names: Mapping[int, str], *, binary: bool = False) -> str:
    """What a waiting entry waits for; `names` are the titles by id."""
    at_once = settings.pulls.at_once
    if job.wait is Wait.ANSWER:
        return f"asks, p answers: {because(settings, job)}" if job.asks else "asks, p answers"
    if job.wait is Wait.CHAIN:
        return f"after {names.get(job.after, 'another entry')}"
    if job.wait is Wait.START:
        return f"starts {clock(job.not_before)}"
    if job.wait is Wait.HOURS:
        return f"waits for its hours, {settings.pulls.only_between}" if settings.pulls.only_between else "waits for its hours"
    if job.wait is Wait.RETRY:
        why = f": {job.failure.what}" if job.failure is not None else ""
        return f"again {'soon' if job.due_at is None else f'at {clock(job.due_at)}'}{why}"
    if job.note:
        return job.note
    plain = {
        Wait.PLACE: f"waits for a place ({at_once} at once)",
        Wait.SPACE: "waits for space",
        Wait.SERVER: f"waits for {job.endpoint.name}, which does not answer",
        Wait.KEY: f"waits for a key for {job.endpoint.name}",
        Wait.NETWORK: "waits: general.network is offline",
        Wait.LIMITS: "waits: this machine is fuller than [limits] allow",
    }
    return plain.get(job.wait, "waits")


def reason(job: Job, settings: Settings, names: Mapping[int, str], *, binary: bool = False) -> Cell | None:
    """What stands across the bar and its figures; None while the bar says it."""
    if job.state.running or job.state in (JobState.WAITING, JobState.INTERRUPTED):
        wish = {JobWish.PAUSE: "pausing", JobWish.CANCEL: "cancelling"}.get(job.wish)
        if wish is not None:
            return Cell(wish, "dim", rest=True)
    if job.state.running:
        return None
    if job.state is JobState.DONE:
        return Cell(_done(job, binary=binary), "ok", rest=True)
    if job.state is JobState.CANCELLED:
        return Cell(job.note or "cancelled", "dim", rest=True)
    if job.state is JobState.FAILED:
        return Cell(job.note or (f"failed: {job.failure.sentence()}" if job.failure else "failed"), "bad", rest=True)
    if job.state is JobState.PAUSED:
        if job.wish is JobWish.RUN:
            return Cell("goes on soon", "dim", rest=True)
        kept = f", {part_of(job.done, job.total, binary=binary)} kept" if job.done else ""
        return Cell(job.note or f"paused{kept}", "dim", rest=True)
    if job.state is JobState.INTERRUPTED:
        return Cell("interrupted, goes on when a worker runs", "warn", rest=True)
    words = waits(job, settings, names, binary=binary)
    cost = there(job.plan, brief=True, binary=binary) if not job.done and job.wait not in (Wait.SPACE, Wait.RETRY, Wait.ANSWER) else ""
    tone = "warn" if job.wait in (Wait.ANSWER, Wait.RETRY, Wait.SPACE, Wait.KEY, Wait.LIMITS) or job.failure is not None else "dim"
    return Cell(f"{words}; {cost}" if cost else words, tone, rest=True)


def _done(job: Job, *, binary: bool) -> str:
    took = job.ended_at - job.started_at if job.ended_at is not None and job.started_at is not None else None
    figures = f", {size(job.total, binary=binary)}" if job.total else ""
    spent = f" in {duration(took)}" if took is not None and took >= 0 else ""
    words = f"done {clock(job.ended_at)}{figures}{spent}" if job.ended_at else f"done{figures}"
    return f"{words}; u applies again what you changed" if job.changes else words


def summary(view: QueueView, width: int, *, hint: str = "", binary: bool = False) -> list[Part]:
    """The first line for `width` cells: how many do what, how fast, when it is done, of how much, and the limit."""
    if not view.jobs:
        return [(hint.rjust(width - 1), "$text-muted")] if hint else []
    waiting = [job for job in view.jobs if job.state is JobState.WAITING]
    lacking = sum(1 for job in waiting if job.wait is Wait.SPACE)
    asking = sum(1 for job in waiting if job.wait is Wait.ANSWER)
    running = sum(1 for job in view.jobs if job.state.running)
    counts = (
        (running, "running", "running"),
        (len(waiting) - lacking - asking, "waits", "wait"),
        (lacking, "lacks space", "lack space"),
        (asking, "asks", "ask"),
        (view.count(JobState.INTERRUPTED), "interrupted", "interrupted"),
        (view.count(JobState.PAUSED), "paused", "paused"),
        (view.count(JobState.FAILED), "failed", "failed"),
    )
    words = ", ".join(f"{number} {one if number == 1 else many}" for number, one, many in counts if number)
    if not words:
        words = f"nothing to do, {len(view.jobs)} in the list"
    speed = f"   {rate(view.rate, binary=binary)}" if view.rate is not None and running else ""
    parts: list[Part] = [(f" {words}", "$foreground"), (speed, "bold $success")]
    room = width - 1 - len(words) - len(speed)
    limits = [f" of at most {rate(view.limit, binary=binary)}, in bursts", f" of {rate(view.limit, binary=binary)}"] if view.limit else []
    pairs = ((limit, ending) for limit in [*limits, ""] for ending in [*_endings(view, running), ""])
    limit, ending = next((pair for pair in pairs if len("".join(pair)) <= room), ("", ""))
    parts += [(limit, "$text-muted"), (ending, "$text-muted")]
    whole = f"   {view.percent:.0f} % of {size(view.total, binary=binary)}" if view.percent is not None and view.total else ""
    room -= len(limit) + len(ending)
    if len(whole) < room:
        parts.append((whole, "$text-muted"))
        room -= len(whole)
    if hint and len(hint) + 3 < room:
        parts.append((hint.rjust(room - 1), "$text-muted"))
    return parts


def _endings(view: QueueView, running: int) -> list[str]:
    """When it is done, from the longest wording to the shortest."""
    if not running:
        return []
    if view.all_at is not None:
        at = f"~{clock(view.all_at)}"
        return [f"   all done {at}", f"  all {at}", f"  {at}"]
    if view.finish_at is not None:
        at = f"~{clock(view.finish_at)}"
        return [f"   running ones done {at}", f"  done {at}", f"  {at}"]
    return []


# --- questions --------------------------------------------------------------------------------------------------------


def cancel_question(jobs: Sequence[Job], *, now: float | None = None, binary: bool = False) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What to ask before these are cancelled (or, where all have ended, dropped from the list)."""
    now = time.time() if now is None else now
    going = [job for job in jobs if not job.state.ended]
    what = noun(jobs)
    if not going:
        models = "" if any(job.state is not JobState.DONE for job in jobs) else " What was pulled stays."
        return f"Drop {what} from the list?{models} The history keeps it.", (("keep", "Keep"), ("cancel", "Drop"))
    stay = _stay(going, now, binary=binary)
    dropped = len(jobs) - len(going)
    also = f"\n{dropped} that ended only {'leaves' if dropped == 1 else 'leave'} the list." if dropped else ""
    if any(job.wish is JobWish.RUN for job in going):
        return f"Cancel {what}?{stay}{also}", (("keep", "Go on"), ("pause", "Pause"), ("cancel", "Cancel"))
    return f"Cancel {what}?{stay}{also}", (("keep", "Keep"), ("cancel", "Cancel"))


def _stay(jobs: Sequence[Job], now: float, *, binary: bool) -> str:
    """What becomes of the data, the same words said once with the sum of their amounts."""
    said: list[tuple[str, int]] = []
    for job in jobs:
        words = cancel_words(job, now, binary=binary)
        amount = size(job.done, binary=binary)
        if words:
            said.append((words.removeprefix(amount), job.done) if words.startswith(amount) else (words, 0))
    if not said:
        return ""
    lines = []
    for rest, group in groupby(sorted(said), key=lambda one: one[0]):
        total = sum(done for _rest, done in group)
        lines.append(f"{size(total, binary=binary)}{rest}" if total else rest)
    return (" " if len(lines) == 1 else "\n") + "\n".join(lines)


def changed_names(changes: Changes) -> str:
    """`num_ctx, system`."""
    names = list(dict.fromkeys(name for name, _value in changes.options))
    return ", ".join([*names, *(["system"] if changes.system is not None else []), *(["template"] if changes.template is not None else [])])


def changes_question(job: Job) -> str:
    """What would be applied again, line by line."""
    changes = job.changes or Changes()
    lines = [f"  {name} {clean_label(value, 50)}" for name, value in changes.options[:8]]
    if len(changes.options) > 8:
        lines.append(f"  and {len(changes.options) - 8} more")
    for name, text in (("system", changes.system), ("template", changes.template)):
        if text is not None:
            lines.append(f"  {name} {clean_label(text, 60) or '(empty)'}")
    what = f"The update of {job.model} replaced what you had changed. Apply it again?"
    return "\n".join((what, *lines, "It makes a new model of that name from the new version; no weights are copied."))
