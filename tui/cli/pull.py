"""pull and update: planned, asked for where a yes is needed, queued, and with `--wait` waited for."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tui.cli.asked import read_limit, read_names, read_time
from tui.cli.choose import choose_one
from tui.cli.context import Context
from tui.cli.output import DASH, DONE, FAILED, REFUSED, USAGE, ask, emit, message, report, table
from tui.cli.planning import Candidate, look, read_queue, same_entry, targets, tell_plan
from tui.cli.waiting import wait_for, worse
from tui.core.errors import Failure, FailureKind
from tui.core.jobs import Ask, Job, JobKind, JobState, JobWish, Plan, circle
from tui.core.record import record
from tui.providers.base import Provider
from tui.services.asks import question, reasons
from tui.services.wishes import Wanted
from tui.text import clean_name

ASKED_BY = "command line"
UPDATE = "command line, update"


@record(frozen=True)
class Order:
    """How pulls are to run.

    Attributes:
        yes: Everything that needs a yes has it.
        force: It starts although a limit of `[limits]` is passed.
        keep_changes: What a person had changed of the model is applied again.
    """

    asked_by: str = ASKED_BY
    yes: bool = False
    force: bool = False
    warm_up: bool = False
    keep_changes: bool = False
    limit: int | None = None
    after: int = 0
    not_before: float | None = None


async def pull(context: Context) -> int:
    """Queue models, and with `--wait` stay until they are done."""
    args = context.args
    if not args.dry_run:
        allow(context)
    names = await read_names(args.models, args.file, insecure=args.insecure)
    if not names:
        message("Which models? paddock pull MODEL, or --file LIST with one a line.")
        return USAGE
    limit = read_limit(args.limit, "--limit") if args.limit else None
    not_before = read_time(args.at, "--at", time.time()) if args.at else None
    after = choose_one(read_queue(context, write=not args.dry_run), args.after).id if args.after else 0
    order = Order(yes=args.yes, force=args.force, warm_up=args.then_load, limit=limit, after=after, not_before=not_before)
    providers, code = await targets(context, args.on)
    there = read_queue(context, write=not args.dry_run)
    found = _chained(await look(context, _pairs(names, providers), there), there, after)
    if args.dry_run:
        return show_plans(context, found, code)
    return await run(context, found, order, code, wait=args.wait)


def allow(context: Context, what: str = "Fetching a model") -> None:
    """Refuse where `security.access` is not full."""
    if context.settings.security.access != "full":
        context.allow(what, destructive=True)


async def fetch(context: Context, models: Sequence[str], on: str) -> int:
    """Queue models and wait for them; 0 when all are complete."""
    allow(context)
    names = await read_names(models, "")
    providers, code = await targets(context, on)
    found = await look(context, _pairs(names, providers), read_queue(context, write=True))
    return await run(context, found, Order(), code, wait=True)


def _pairs(names: Sequence[Wanted], providers: Sequence[Provider]) -> list[tuple[Wanted, Provider]]:
    return [(wanted, provider) for wanted in names for provider in providers]


async def run(context: Context, found: Sequence[Candidate], order: Order, code: int = DONE, *, wait: bool) -> int:
    """Queue what may be queued, say what is not, and wait where that is wanted; returns the exit code."""
    added, refused = await queue(context, found, order)
    for _, failure in refused:
        code = worse(code, REFUSED if failure.kind is FailureKind.REFUSED else FAILED)
    if wait:
        return worse(code, await wait_for(context, [job.id for job in added])) if added else code
    if context.json:
        gone = [{"model": one.wanted.name, "provider": one.endpoint.name, "failure": failure} for one, failure in refused]
        emit({"jobs": added, "refused": gone, "plans": [one.shown() for one in found]})
    return code


async def queue(context: Context, found: Sequence[Candidate], order: Order) -> tuple[list[Job], list[tuple[Candidate, Failure]]]:
    """Queue candidates; returns the jobs, and why the others are none, which is reported."""
    several = len({candidate.endpoint.name for candidate in found}) > 1
    refused = [(candidate, _refusal(candidate)) for candidate in found if candidate.failure is not None]
    for _, failure in refused:
        report(failure)
    good = [candidate for candidate in found if candidate.failure is None]
    allowed, before = await _allowed(context, good, order), read_queue(context, write=True)
    added: list[Job] = []
    for candidate in good:
        given = allowed[candidate.wanted.name]
        if given is None:
            refused.append((candidate, _unasked(context, candidate)))
            report(refused[-1][1])
            continue
        there = next((job for job in before if not job.state.ended and same_entry(job, _entry(candidate))), None)
        runs = there is not None and there.state.running
        if not context.json:
            later = (None, 0) if runs else (order.not_before, order.after)
            tell_plan(context, candidate, several=several, not_before=later[0], after=later[1])
        job = await _add(context, candidate, order, given)
        added.append(job)
        if not context.json:
            how = "runs already, as" if runs else "is queued as" if there is None else "is in the queue already, as"
            message(f"{job.model} {how} {job.id} for {clean_name(job.endpoint.name)}; see paddock pulls.")
    return added, refused


def _refusal(candidate: Candidate) -> Failure:
    """Why the registry's answer keeps one out of the queue."""
    assert candidate.failure is not None
    failure, name = candidate.failure, candidate.wanted.name
    named = failure.what if name.lower() in failure.what.lower() else f"{name}: {failure.what}"
    kind = FailureKind.SERVER if failure.kind is FailureKind.REFUSED else failure.kind
    return replace(failure, what=named, kind=kind)


async def _allowed(context: Context, found: Sequence[Candidate], order: Order) -> dict[str, frozenset[Ask] | None]:
    """What each model is allowed, asked once a model; None where the answer was no, or nobody is there to ask."""
    given: dict[str, frozenset[Ask] | None] = {}
    there = sys.stdin.isatty() and sys.stderr.isatty()
    for candidate in found:
        name = candidate.wanted.name
        if name in given:
            continue
        asks = frozenset[Ask]().union(*(one.asks for one in found if one.wanted.name == name))
        total = candidate.plan.total if candidate.plan is not None else None
        if order.yes:
            given[name] = frozenset(Ask)
        elif asks and not (there and await ask(question(context.settings, name, total, asks))):
            given[name] = None
        else:
            given[name] = asks | ({Ask.LIMITS} if order.force else set())
    return given


def _unasked(context: Context, candidate: Candidate) -> Failure:
    total = candidate.plan.total if candidate.plan is not None else None
    what = f"{candidate.wanted.name} is not fetched: {reasons(context.settings, total, candidate.asks)}"
    return Failure(what, candidate.endpoint.name, "Say yes in a terminal, or add --yes", FailureKind.REFUSED)


async def _add(context: Context, candidate: Candidate, order: Order, allowed: frozenset[Ask]) -> Job:
    wanted, endpoint = candidate.wanted, candidate.endpoint
    given = {"insecure": wanted.insecure, "warm_up": order.warm_up, "keep_changes": order.keep_changes}
    arguments: dict[str, Any] = {name: True for name, on in given.items() if on}
    with context.audit.noting("queue pull", f"{endpoint.name}/{wanted.name}", asked_by=order.asked_by):
        return await context.jobs().add(
            wanted.name,
            endpoint,
            arguments=arguments,
            asked_by=order.asked_by,
            allowed=allowed,
            limit=order.limit,
            after=order.after,
            not_before=order.not_before,
        )


def _entry(candidate: Candidate) -> Job:
    """What it would be in the queue."""
    return Job(0, JobKind.PULL, candidate.wanted.name, candidate.endpoint, {}, JobWish.RUN, JobState.WAITING, 0)


def _chained(found: Sequence[Candidate], there: Sequence[Job], after: int) -> list[Candidate]:
    """The same; those that `after` waits for already cannot come after it."""
    done = []
    for candidate in found:
        same = next((job.id for job in there if same_entry(job, _entry(candidate))), 0)
        if after and same and circle({one.id: one.after for one in there}, same, after):
            failure = Failure(f"{candidate.wanted.name} cannot come after {after}", "", "That one comes after it", FailureKind.BAD_REQUEST)
            candidate = replace(candidate, failure=failure)
        done.append(candidate)
    return done


# --- only looked at ------------------------------------------------------------------------------------------------------


def show_plans(context: Context, found: Sequence[Candidate], code: int) -> int:
    """Print what would be queued."""
    code = worse(code, FAILED if any(candidate.failure is not None for candidate in found) else DONE)
    if context.json:
        emit({"plans": [candidate.shown() for candidate in found]})
        return code
    rows = [_row(context, candidate) for candidate in found]
    table(("MODEL", "PROVIDER", "SIZE", "THERE", "TO FETCH", "FREE", "NOTE"), rows, right=(2, 3, 4, 5))
    message("Nothing was queued.")
    return code


def _row(context: Context, candidate: Candidate) -> tuple[str, ...]:
    plan, room = candidate.plan or Plan(), candidate.room
    return (
        candidate.wanted.name,
        candidate.endpoint.name,
        context.size(plan.total),
        context.size(plan.there) if plan.present is not None and plan.total is not None else DASH,
        context.size(plan.missing),
        context.size(room.free) if room is not None else DASH,
        "; ".join(_notes(context, candidate)),
    )


def _notes(context: Context, candidate: Candidate) -> Iterable[str]:
    plan, room, settings = candidate.plan, candidate.room, context.settings
    binary = settings.appearance.units == "binary"
    if candidate.failure is not None:
        yield f"{candidate.failure.what}. {candidate.failure.remedy}"
    if candidate.asks:
        yield f"needs a yes: {reasons(settings, plan.total if plan is not None else None, candidate.asks)}"
    if room is not None and not room.enough:
        yield room.sentence(binary=binary)
    if plan is None and candidate.failure is None:
        yield "general.network is offline: it would wait"
    if plan is not None and plan.note:
        yield plan.note
