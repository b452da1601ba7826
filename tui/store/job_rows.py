"""Rows of the tables `job` and `job_history` as records and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from tui.core.jobs import Ask, Changes, Job, JobKind, JobState, JobWish, Layer, PastJob, Plan, PlanLayer, Wait
from tui.core.models import Endpoint
from tui.store import codec

SELECT: Final = """SELECT id, kind, model, endpoint, arguments, wish, state, position, note, progress, attempts, failure,
    created_at, started_at, ended_at, due_at, asked_by, rate_limit, after_job, not_before, allowed, wait, asks, plan, outcome FROM job"""
_FIGURES: Final = ("total", "done", "fetched", "busy", "percent", "rate", "average", "peak", "eta", "planned", "step", "failures")
_KNOWN: Final = {ask.value: ask for ask in Ask}
_NOTHING: Final = frozenset[Ask]()
_PLAN_TEXTS: Final = ("digest", "canonical", "requires", "parameters", "quantization", "family", "note", "version")


def job_of(row: Sequence[Any]) -> Job:
    """A row of `SELECT`."""
    progress, outcome = codec.mapping(row[9]), codec.mapping(row[24])
    return Job(
        id=row[0],
        kind=JobKind(row[1]),
        model=row[2],
        endpoint=_endpoint_of(row[3]),
        arguments=codec.mapping(row[4]),
        wish=JobWish(row[5]),
        state=JobState(row[6]),
        position=row[7],
        note=row[8],
        layers=tuple(Layer(*layer) for layer in progress.get("layers", ())),
        history=tuple(progress.get("history", ())),
        attempts=row[10],
        failure=codec.load_failure(row[11]),
        created_at=row[12],
        started_at=row[13],
        ended_at=row[14],
        due_at=row[15],
        asked_by=row[16],
        limit=row[17],
        after=row[18],
        not_before=row[19],
        allowed=_asks(row[20]),
        wait=codec.one_of(Wait, row[21], Wait.NOTHING),
        asks=_asks(row[22]),
        plan=plan_of(row[23]),
        changes=_changes(outcome.get("changes")),
        digest=str(outcome.get("digest", "")),
        warmed=str(outcome.get("warmed", "")),
        **{key: progress[key] for key in _FIGURES if key in progress},
    )


@lru_cache(maxsize=64)
def _endpoint_of(text: str) -> Endpoint:
    """Remembered, like plans: a queue has few servers."""
    return codec.load_endpoint(text)


def progress_of(job: Job) -> str:
    """The column `progress`: what moves four times a second."""
    figures: dict[str, Any] = {key: value for key in _FIGURES if (value := getattr(job, key))}
    figures["layers"] = codec.door([(layer.digest, layer.total, layer.completed, layer.kind) for layer in job.layers])
    figures["history"] = [round(value) for value in job.history]
    return json.dumps(figures, separators=(",", ":"))  # numbers but for the layers: nothing else needs to pass the door


def outcome_of(job: Job) -> str:
    """The column `outcome`: what is known once it is done."""
    found: dict[str, Any] = {key: value for key in ("digest", "warmed") if (value := getattr(job, key))}
    if job.changes:
        found["changes"] = {"options": job.changes.options, "system": job.changes.system, "template": job.changes.template}
    return codec.dump(found)


def asks_text(asks: frozenset[Ask]) -> str:
    """The columns `allowed` and `asks`."""
    return " ".join(sorted(asks))


def _asks(text: Any) -> frozenset[Ask]:
    return frozenset(_KNOWN[word] for word in str(text).split() if word in _KNOWN) if text else _NOTHING


def plan_text(plan: Plan | None) -> str | None:
    """The column `plan`."""
    if plan is None:
        return None
    found: dict[str, Any] = {key: value for key in _PLAN_TEXTS if (value := getattr(plan, key))}
    found["layers"] = [(layer.digest, layer.size, layer.kind) for layer in plan.layers]
    found["present"] = None if plan.present is None else sorted(plan.present)
    found |= {"context": plan.context, "keeps_partials": plan.keeps_partials, "made_at": plan.made_at}
    return codec.dump(found)


@lru_cache(maxsize=1024)
def plan_of(text: str | None) -> Plan | None:
    """A plan from its column; remembered, because a queue is read four times a second and plans stay."""
    found = codec.mapping(text)
    if not found:
        return None
    present = found.get("present")
    return Plan(
        layers=tuple(PlanLayer(*layer) for layer in found.get("layers", ())),
        present=None if present is None else frozenset(present),
        context=found.get("context"),
        keeps_partials=found.get("keeps_partials"),
        made_at=found.get("made_at", 0.0),
        **{key: str(found.get(key, "")) for key in _PLAN_TEXTS},
    )


def _changes(found: Any) -> Changes | None:
    if not isinstance(found, Mapping):
        return None
    options = tuple((str(name), str(value)) for name, value in found.get("options", ()))
    return Changes(options, found.get("system"), found.get("template"))


PAST: Final = """id, job, kind, model, provider, url, state, total, fetched, busy, attempts, asked_by, created_at, started_at, ended_at,
    failure, digest"""


def past_of(row: Sequence[Any]) -> PastJob:
    """A row of the history, its columns as `PAST` lists them."""
    return PastJob(
        id=row[0],
        job=row[1],
        kind=JobKind(row[2]),
        model=row[3],
        provider=row[4],
        url=row[5],
        state=JobState(row[6]),
        total=row[7],
        fetched=row[8],
        busy=row[9],
        attempts=row[10],
        asked_by=row[11],
        created_at=row[12],
        started_at=row[13],
        ended_at=row[14],
        failure=codec.load_failure(row[15]),
        digest=row[16],
    )
