"""One answer from its stored empty row to its end: what is asked before, which servers are tried, what is kept of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from tui.core.capabilities import Capability
from tui.core.chat import AnswerState, ChatRequest, Message
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import StreamEvent
from tui.core.jobs import Job, JobKind, JobState
from tui.core.models import Severity
from tui.core.names import same
from tui.providers.options import dropped_options
from tui.services.chat import context, sending, tokens
from tui.services.chat.answer import CLOSED, Answer, Surroundings
from tui.services.chat.api import LiveAnswer
from tui.services.chat.formats import check_format
from tui.services.chat.host import ChatHost, Meter
from tui.services.chat.save import AnswerSaver, Keeper
from tui.services.chat.session import Session
from tui.store.measurements import Measurements
from tui.text import clean_name, duration

T = TypeVar("T")
LOOK: Final = 0.25
"""Seconds between two looks at a pull that is waited for."""
QUEUED_WITHIN: Final = 10.0
"""Seconds until a pull that was asked for must stand in the queue."""
_ELSEWHERE: Final = frozenset({FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.BUSY, FailureKind.SERVER, FailureKind.TLS})
"""Failures of a server that another one may not have."""


class Stopped(Exception):
    """The user ended a wait."""


class Shown(Protocol):
    """Where an answer and its conversation are shown."""

    def show(self, session: Session) -> None:
        """The conversation has changed."""

    def snapshot(self, session: Session, snapshot: LiveAnswer) -> None:
        """An answer being written has a new snapshot."""


async def held(session: Session, shown: Shown, work: Coroutine[Any, Any, T], message: int = 0) -> T:
    """Wait for something that esc ends; where it is for one answer, stopping that one ends it too.

    Raises:
        Stopped: It was ended so.
    """
    if session.ends(message):  # esc came between two waits
        work.close()
        raise Stopped
    task = asyncio.ensure_future(work)
    session.waiting[task] = message
    try:
        return await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            task.cancel()
            raise
        raise Stopped from None
    finally:
        session.waiting.pop(task, None)
        session.waits = ""
        shown.show(session)


class Writer:
    """Has answers written; never raises for what a server does.

    Args:
        tick: Seconds between two looks of an answer's watchdog.
        look: Seconds between two looks at a pull that is waited for.
    """

    def __init__(self, host: ChatHost, clock: Clock, keeper: Keeper, shown: Shown, *, tick: float, look: float = LOOK) -> None:
        self._host, self._clock, self._keeper, self._shown = host, clock, keeper, shown
        self._tick, self._look = tick, look
        self._meters: dict[int, Meter] = {}

    async def write(self, session: Session, row: Message, changes: Mapping[str, Any] | None = None) -> Message:
        """Have a stored empty (or partial) answer written, by the first of the configured servers that can; returns how it ended.

        Args:
            session: Its conversation.
            row: As it is stored; what it holds already is continued.
            changes: Options that differ from the conversation's for this once.
        """
        chain = self._chain(row)
        first = chain[0][0]
        ended = row
        request = sending.build(self._host, session, row, changes)
        for at, (provider, model) in enumerate(chain):
            row = replace(row, provider=provider, model=model)
            if at:
                request = sending.build(self._host, session, row, changes)
            ended = await self._once(session, row, request)
            if at + 1 == len(chain) or not _passes_on(ended):
                break
            why = ended.failure.what if ended.failure is not None else "it failed"
            note = f"{clean_name(chain[at + 1][0])} answers instead of {clean_name(first)}: {why}"
            row = replace(ended, state=AnswerState.WAITING, failure=None, note=note)
            await self._keeper.keep(lambda row=row: session.store.update_answer(row))  # type: ignore[misc]
            session.put(row)
            self._shown.show(session)
        return await self._after(session, ended, request)

    def _chain(self, row: Message) -> list[tuple[str, str]]:
        """The server of the row, then those of its `fallback` that have the model."""
        chain = [(row.provider, row.model)]
        settings = self._host.settings().providers.get(row.provider)
        for name in settings.fallback if settings is not None and not row.content else ():
            state, listed = self._host.provider_state(name), sending.find_model(self._host, name, row.model)
            if state is not None and listed is not None and Capability.CHAT in state.capabilities and (name, listed.key) not in chain:
                chain.append((name, listed.key))
        return chain

    async def _once(self, session: Session, row: Message, request: ChatRequest) -> Message:
        """One attempt with one server."""
        failure: Failure | None = None
        stopped = False
        try:
            failure = await held(session, self._shown, self._hindrance(session, row), row.id)
        except Stopped:
            stopped = True
        if failure is None and not stopped and (found := self._answered_before(session, row, request)) is not None:
            session.put(found)
            await self._keeper.keep(lambda: session.store.finish_answer(found))
            return found
        row = replace(
            row,
            prompt_estimate=tokens.estimate(request.messages, request.system, self._calibration(session, row), request.tools),
            options=sending.told(session.settings, request),
            request=sending.digest(self._host, row, request),
        )
        answer = self._answer(session, row, request, failure)
        if stopped or session.ends(row.id):
            answer.stop()
        session.active[row.id] = answer
        meter = self._meters[row.id] = self._host.meter(row.provider, row.model)
        try:
            ended = await answer.run()
        except PaddockError as error:  # its place on disk is gone; what came is still here to be read
            ended = answer.message
            session.read_only = session.read_only or f"Not saved: {error.failure.what}; here it can only be read"
            self._host.notice(session.read_only, Severity.WARNING, error.failure)
        finally:
            session.active.pop(row.id, None)
            meter.end(answer.seconds)
        session.put(ended)
        return ended

    # --- before

    async def _hindrance(self, session: Session, row: Message) -> Failure | None:
        """Why nothing may be sent, where that is so; asks, and waits for a pull."""
        if self._host.provider(row.provider) is None:
            what = f"There is no provider named {clean_name(row.provider)}"
            return Failure(what, "", "Choose a model with ctrl+t", FailureKind.CONFIG)
        if not await self._host.may_send(row.provider):
            return Failure(
                "Not sent: you did not allow it", clean_name(row.provider), "Retry with r to be asked again", FailureKind.REFUSED
            )
        return await self._not_installed(session, row) or await self._host.within_limits(row.provider, row.model)

    async def _not_installed(self, session: Session, row: Message) -> Failure | None:
        """A model that is not there is pulled, as `models.auto_pull` says, and waited for."""
        missing = sending.missing(self._host, row.provider, row.model)
        policy = self._host.settings().models.auto_pull
        if missing is None or policy == "never":
            return missing
        name, where = clean_name(row.model), clean_name(row.provider)
        if policy == "ask":
            choices = (("no", "Not now"), ("pull", f"Pull {name}"))
            if await self._host.ask(f"{name} is not installed on {where}. Pull it, then go on?", choices) != "pull":
                return missing
        self._host.add_pull(row.model, row.provider)
        asked = self._clock.monotonic()
        while sending.missing(self._host, row.provider, row.model) is not None:
            job = self._pull(row)
            if job is not None and job.state in (JobState.FAILED, JobState.CANCELLED):
                why = job.failure.what if job.failure is not None else "it was cancelled"
                return Failure(f"{name} was not pulled: {why}", where, "See 3 Pulls, then retry with r", FailureKind.NOT_FOUND)
            if job is None and self._clock.monotonic() - asked > QUEUED_WITHIN:
                return missing
            session.waits = _pull_words(name, job)
            self._shown.show(session)
            await asyncio.sleep(self._look)
        return None

    def _pull(self, row: Message) -> Job | None:
        pulls = (job for job in self._host.queue() if job.kind is JobKind.PULL and job.endpoint.name == row.provider)
        return max((job for job in pulls if same(job.model, row.model)), key=lambda job: job.id, default=None)

    def _answered_before(self, session: Session, row: Message, request: ChatRequest) -> Message | None:
        """The answer to the very same question where `chat.reuse_answers` wants it and chance has no part in it."""
        if not self._host.settings().chat.reuse_answers or row.content or not sending.certain(request):
            return None
        found = session.store.find_answer(sending.digest(self._host, row, request))
        if found is None:
            return None
        return replace(
            row, content=found.content, thinking=found.thinking, tool_calls=found.tool_calls, state=AnswerState.COMPLETE,
            model=found.model, options=found.options, note="from the history: the same was asked before; nothing was sent",
        )  # fmt: skip

    # --- the stream

    def _answer(self, session: Session, row: Message, request: ChatRequest, failure: Failure | None) -> Answer:
        provider = self._host.provider(row.provider)

        async def stream() -> AsyncIterator[StreamEvent]:
            if failure is not None or provider is None:
                raise PaddockError(failure or CLOSED)
            events = provider.chat(sending.with_images(session.store, request))
            try:
                async for event in events:
                    yield event
            finally:
                await _close(events)

        last_load: float | None = None
        if self._host.database is not None:
            with contextlib.suppress(PaddockError):
                last_load = Measurements(self._host.database, self._clock).profile(row.provider, row.model).load_seconds
        around = Surroundings(
            self._clock,
            lambda: sending.is_loaded(self._host, row.provider, row.model),
            last_load,
            lambda snapshot: self._shown.snapshot(session, snapshot),
            self._tick,
            slots=lambda: sending.slots_of(self._host, row.provider, row.model),
            log=lambda: self._host.log_line(row.provider),
            look=lambda: self._host.look_at_loaded(row.provider),
        )
        return Answer(row, stream, AnswerSaver(session.store, self._keeper), around)

    # --- after

    async def _after(self, session: Session, ended: Message, request: ChatRequest) -> Message:
        """Say what is remarkable about it, keep its figures; returns it with the remarks."""
        served = context.window(ended.provider, ended.model, self._host.running(), request.options)
        before, system = session.upto(ended.parent), session.settings.system
        session.alarm = context.alarm(ended, before, served, system=system, calibration=self._calibration(session, ended))
        remarks = "; ".join(part for part in (ended.note, *self._remarks(ended, request, before)) if part)
        if remarks != ended.note:
            ended = replace(ended, note=remarks)
            if not session.read_only:
                await self._keeper.keep(lambda: session.store.update_answer(ended))
            session.put(ended)
        self._shown.show(session)
        await self._measure(session, ended, request)
        return ended

    def _remarks(self, ended: Message, request: ChatRequest, before: Sequence[Message]) -> Iterator[str]:
        """What was set or attached and not sent, and whether it is the JSON that was asked for."""
        provider = self._host.provider(ended.provider)
        if provider is not None and ended.request:
            names = dropped_options(provider, request.options, request.think, request.keep_alive)
            if names:
                yield f"{clean_name(ended.provider)} does not know {', '.join(names)}: not sent"
            unseen = tokens.images(context.sent(before).messages) - tokens.images(request.messages)
            if unseen > 0:
                images = "1 image was" if unseen == 1 else f"{unseen} images were"
                yield f"{images} not sent: {clean_name(ended.model)} cannot see"
        if ended.state is AnswerState.COMPLETE and not ended.tool_calls and (wrong := check_format(ended.content, request.format)):
            yield f"the answer is {wrong}"

    def _calibration(self, session: Session, row: Message) -> tokens.Calibration:
        """What was learned of the model that answers this row, which need not be the conversation's."""
        if (row.provider, row.model) == (session.provider, session.model):
            return session.calibration
        try:
            return tokens.stored_calibration(self._host.database, row.provider, row.model)
        except PaddockError:
            return tokens.UNMEASURED

    async def _measure(self, session: Session, ended: Message, request: ChatRequest) -> None:
        """One row a complete answer: speed, load, memory, and how much text a token is; its energy once that is known."""
        meter = self._meters.pop(ended.id, None)
        if ended.state not in (AnswerState.COMPLETE, AnswerState.LENGTH) or not ended.request:  # without one nothing was sent
            return
        kept: tuple[Measurements, int] | None = None
        database: Any = self._host.database
        if session.id >= 0 and database is not None and not database.read_only:
            with contextlib.suppress(PaddockError):  # figures are not worth a word when they are lost
                kept = await self._keep_figures(session, ended, request, Measurements(database, self._clock))
                session.calibration = tokens.stored_calibration(database, session.provider, session.model)
        if meter is not None:
            self._host.post(self._keep_energy, session, ended.id, kept, meter)

    async def _keep_figures(
        self, session: Session, ended: Message, request: ChatRequest, measurements: Measurements
    ) -> tuple[Measurements, int]:
        again = len(session.branches.get(ended.id, ())) > 1
        row = await measurements.add(
            ended.provider,
            request.model,
            ended.metrics,
            note="" if session.alarm else tokens.prompt_note(request, ended.metrics),
            first_token=ended.timeline.first_token,
            prompt_rate=None if again else tokens.first_read(request, ended.metrics),
            loaded=context.loaded_as(ended.provider, request.model, self._host.running()),
        )
        return measurements, row

    async def _keep_energy(self, session: Session, message: int, kept: tuple[Measurements, int] | None, meter: Meter) -> None:
        """Once the figures after the end are there: with the measurement, and with the answer unless it is written on meanwhile."""
        joules = await meter.joules()
        if joules is None:
            return
        with contextlib.suppress(PaddockError):
            if kept is not None:
                await kept[0].set_energy(kept[1], joules)
            if message not in session.active:
                await session.store.set_energy(message, joules)
                session.measured(message, joules)
                self._shown.show(session)


async def _close(events: AsyncIterator[StreamEvent]) -> None:
    close: Callable[[], Coroutine[Any, Any, None]] | None = getattr(events, "aclose", None)
    if close is not None:
        await close()


def _passes_on(ended: Message) -> bool:
    """Whether another server may be tried: this one failed before a first token, and not by our own wish."""
    failure = ended.failure
    nothing = not (ended.content or ended.thinking or ended.tool_calls)
    return ended.state is AnswerState.FAILED and nothing and failure is not None and failure.kind in _ELSEWHERE


def _pull_words(name: str, job: Job | None) -> str:
    if job is None:
        return f"{name} is put into the queue"
    if job.state is JobState.PAUSED:
        return f"the pull of {name} is paused; 3 Pulls goes on with it"
    if not job.state.running:
        return f"the pull of {name} waits for its turn"
    done = f", {job.percent:.0f} %" if job.percent is not None else ""
    left = f", {duration(job.eta)} left" if job.eta is not None else ""
    return f"{name} is being pulled{done}{left}"
