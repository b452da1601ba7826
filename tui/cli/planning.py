"""What pulls would mean, found out before they are queued: servers, sizes, room, and what needs a yes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from tui.cli.asked import time_words
from tui.cli.context import Context
from tui.cli.output import FAILED, message, plain, report
from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.hours import opens_at
from tui.core.jobs import Ask, Job, JobKind, JobState, JobWish, Plan
from tui.core.models import Endpoint
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.providers.base import Provider
from tui.services.asks import OFFLINE, asks_before
from tui.services.plan import Planner
from tui.services.registry import endpoint_of
from tui.services.space import Room, room_for
from tui.services.wishes import Wanted
from tui.store.jobs import model_key, provider_key
from tui.text import clean_name

AT_ONCE: Final = 8
"""Plans made at the same time."""
WITHIN: float = 40.0
"""Seconds for all plans of one command."""
DISK_WITHIN: Final = 2.0
"""Seconds a disk is given to tell its room; a network share may hang."""


@record(frozen=True)
class Candidate:
    """One model on one server, and what is known before it is queued.

    Attributes:
        endpoint: As the settings have it, for a job that runs without us.
        plan: None where nothing was asked, because of the network.
        room: None where it cannot be known.
        failure: Why it is not queued.
    """

    wanted: Wanted
    endpoint: Endpoint
    plan: Plan | None = None
    asks: frozenset[Ask] = frozenset()
    room: Room | None = None
    failure: Failure | None = None

    @property
    def label(self) -> str:
        """Model and server, where several are meant."""
        return f"{self.wanted.name} on {clean_name(self.endpoint.name)}"

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        plan = None if self.plan is None else {**plain(self.plan), "total": self.plan.total, "missing": self.plan.missing}
        return {
            "model": self.wanted.name,
            "provider": clean_name(self.endpoint.name),
            "insecure": self.wanted.insecure,
            "plan": plan,
            "asks": self.asks,
            "room": None if self.room is None else {**plain(self.room), "enough": self.room.enough},
            "failure": self.failure,
        }


# --- servers -------------------------------------------------------------------------------------------------------------


async def targets(context: Context, on: str) -> tuple[list[Provider], int]:
    """The servers to fetch on, comma-separated names or the one that a pull goes to; and the exit code of those that cannot.

    Raises:
        PaddockError: None can, or there is none of a name.
    """
    names = list(dict.fromkeys(name.strip() for name in on.split(",") if name.strip()))
    if len(names) < 2:
        return [await _target(context, names[0] if names else "")], 0
    found: list[Provider] = []
    failures: list[Failure] = []
    for name in names:
        try:
            found.append(await _target(context, name))
        except PaddockError as error:
            if error.failure.kind is FailureKind.CONFIG:
                raise
            failures.append(error.failure)
    if not found:
        for failure in failures[:-1]:
            report(failure)
        raise PaddockError(failures[-1])
    for failure in failures:
        report(failure)
    return found, FAILED if failures else 0


async def _target(context: Context, on: str) -> Provider:
    """The server to fetch on: the one named, else the default and no other, else the first that answers and can."""
    free = context.options.demo or context.options.provider
    if not free and context.offline and (quiet := _not_asked(context, on)) is not None:
        return _able(context.connect(quiet))
    only = bool(on or (context.settings.general.default_provider and not free))
    first: Provider | None = None
    async with aclosing(context.answers(on)) as answers:
        async for provider, _ in answers:
            first = first or provider
            if Capability.PULL in provider.capabilities:
                for failure in context.failed:  # asked before it, and silent
                    report(failure)
                return provider
            if only:
                break
    assert first is not None
    return _able(first)


def _not_asked(context: Context, on: str) -> Endpoint | None:
    """The server elsewhere that a pull would go to, were the network not switched off: the pull waits for it."""
    configured = context.settings.providers
    name = on or context.settings.general.default_provider
    if not name and configured and all(context.silent(other) for other in configured):
        name = next((other for other, one in configured.items() if one.enabled), "")
    return endpoint_of(name, configured[name]) if name in configured and context.silent(name) == OFFLINE else None


def _able(provider: Provider) -> Provider:
    if Capability.PULL in provider.capabilities:
        return provider
    name, kind = provider.endpoint.name, provider.endpoint.kind
    raise PaddockError.of(f"{name} cannot fetch models", f"kind {kind}", "Choose another with --on", FailureKind.UNSUPPORTED)


# --- plans ---------------------------------------------------------------------------------------------------------------


async def look(context: Context, pairs: Sequence[tuple[Wanted, Provider]], queue: Sequence[Job]) -> list[Candidate]:
    """Plan models on servers, in their order; what was not found out within `WITHIN` seconds the worker asks again."""
    planner, turn = Planner(lambda: context.settings, os.environ, demo=context.options.demo), asyncio.Semaphore(AT_ONCE)

    async def one(wanted: Wanted, provider: Provider) -> Candidate:
        async with turn:
            return await _candidate(context, planner, wanted, provider)

    tasks = [asyncio.ensure_future(one(*pair)) for pair in pairs]
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=WITHIN)
    finally:
        for task in tasks:
            task.cancel()
    found = [
        task.result() if task.done() and not task.cancelled() else _late(context, *pair) for task, pair in zip(tasks, pairs, strict=True)
    ]
    return await _with_room(context, found, queue)


def _late(context: Context, wanted: Wanted, provider: Provider) -> Candidate:
    plan = Plan(note="it was not found out in time what it will fetch; the worker asks again")
    return Candidate(wanted, context.endpoint_of(provider), plan, _asks(context, wanted.name, None))


async def _candidate(context: Context, planner: Planner, wanted: Wanted, provider: Provider) -> Candidate:
    found = Candidate(wanted, context.endpoint_of(provider))
    if context.offline and not context.options.demo:
        return replace(found, asks=_asks(context, wanted.name, None))
    try:
        plan = await planner.plan(provider, wanted.name, insecure=wanted.insecure)
    except PaddockError as error:
        return replace(found, failure=error.failure)
    return replace(found, plan=plan, asks=_asks(context, wanted.name, plan.total))


def _asks(context: Context, model: str, total: int | None) -> frozenset[Ask]:
    asks = asks_before(context.settings, model, total)
    return asks - {Ask.METERED} if context.options.demo else asks


async def _with_room(context: Context, found: Sequence[Candidate], queue: Sequence[Job]) -> list[Candidate]:
    """How much room each needs beside the queue and those before it."""
    if context.options.demo:
        return list(found)
    others = [job for job in queue if not job.state.ended and job.wish is JobWish.RUN]
    done: list[Candidate] = []
    tells = True
    for number, candidate in enumerate(found, 1):
        if candidate.failure is not None:
            done.append(candidate)
            continue
        job = Job(
            -number, JobKind.PULL, candidate.wanted.name, candidate.endpoint, {}, JobWish.RUN, JobState.WAITING, 0, plan=candidate.plan
        )
        others = [other for other in others if not same_entry(other, job)]
        room, tells = await _room(context, job, others) if tells else (None, False)
        done.append(replace(candidate, room=room))
        others.append(job)
    return done


async def _room(context: Context, job: Job, others: Iterable[Job]) -> tuple[Room | None, bool]:
    """The room, and whether the disk told in time."""
    settings, beside = context.settings, list(others)
    try:
        async with asyncio.timeout(DISK_WITHIN):
            return await in_daemon_thread(lambda: room_for(job, settings, beside)), True
    except TimeoutError:
        return None, False


def same_entry(one: Job, other: Job) -> bool:
    """Whether the queue keeps one entry for both."""

    def key(job: Job) -> tuple[str, str, str]:
        return job.kind, provider_key(job.endpoint), model_key(job.model)

    return key(one) == key(other)


# --- words ---------------------------------------------------------------------------------------------------------------


def size_words(context: Context, plan: Plan | None) -> str:
    """`5.2 GB, of which 4.9 GB is already there`; empty where nothing is known, the reason where the registry could not be asked."""
    if plan is None:
        return ""
    if plan.total is None:
        return plan.note
    there = plan.there
    if plan.present is None or not there:
        some = ""
    elif plan.missing and context.size(there) == context.size(plan.total):
        some = f", all but {context.size(plan.missing)} of it already there"
    elif plan.missing:
        some = f", of which {context.size(there)} is already there"
    else:
        some = ", all of it already there"
    return f"{context.size(plan.total)}{some}{f' ({plan.note})' if plan.note else ''}"


def tell_plan(context: Context, candidate: Candidate, *, several: bool, not_before: float | None = None, after: int = 0) -> None:
    """Say what is known of one before it starts, and what it will wait for."""
    name = candidate.label if several else candidate.wanted.name
    words = size_words(context, candidate.plan)
    if words:
        message(f"{name}: {words}.")
    now, hours = time.time(), context.settings.pulls.only_between
    opening = opens_at(hours, max(now, not_before or 0.0))
    if context.offline and not context.options.demo:
        message(f"{name} waits: {OFFLINE}.")
    if not_before is not None:
        message(f"{name} starts at {time_words(not_before, now)}.")
    if opening is not None:
        message(f"{name} waits for its hours: pulls.only_between = {hours}, from {time_words(opening, now)}.")
    if after:
        message(f"{name} comes after {after}.")
    if candidate.room is not None and not candidate.room.enough:
        binary = context.settings.appearance.units == "binary"
        message(f"{name} {candidate.room.sentence(binary=binary)}, {context.size(candidate.room.needed - candidate.room.free)} missing.")


def read_queue(context: Context, *, write: bool = False) -> tuple[Job, ...]:
    """The jobs there are, as they are: what nobody works is interrupted. Without `write` no database is made."""
    if not write and not context.paths.database.exists():
        return ()
    jobs = context.jobs(write=write)
    jobs.refresh()
    return jobs.view.value.jobs
