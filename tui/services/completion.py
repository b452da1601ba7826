"""Completing text: candidates one after the other, of which only the figures are kept."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tui.core.chat import AnswerState, CompletionRequest, Message, Role, Timeline
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Delta, Metrics, StreamEvent
from tui.core.observe import Observable
from tui.providers.base import Provider
from tui.services.chat.answer import Answer, Surroundings
from tui.services.chat.api import CompletionView, LiveAnswer
from tui.services.chat.context import loaded_as
from tui.services.chat.host import ChatHost, Meter
from tui.services.chat.sending import find_model, is_loaded
from tui.store.measurements import Measurements
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.services.filling import Way

_SEEDS: Final = 2**31
_SAME: Final = "temperature is 0: another seed changes nothing"
Asked = tuple[str, str, str, str, bool]
"""Provider, model, prefix, suffix, raw."""


class Nowhere:
    """`answer.Saver` that keeps nothing."""

    async def append(self, message: int, content: str, thinking: str) -> None:
        """Keep nothing."""

    async def finish(self, message: Message) -> None:
        """Keep nothing."""


async def _keep_energy(kept: Measurements, row: int, meter: Meter) -> None:
    joules = await meter.joules()
    if joules is not None:
        with contextlib.suppress(PaddockError):
            await kept.set_energy(row, joules)


class Completion:
    """`api.CompletionApi`; the text of candidates is exact: it must be cleaned to be drawn.

    Args:
        host: The surroundings, those of the chats.
        tick: Seconds between two looks at the clock while nothing comes.
    """

    def __init__(self, *, host: ChatHost, clock: Clock, tick: float = 0.25) -> None:
        self.view: Observable[CompletionView] = Observable(CompletionView())
        self._host = host
        self._clock = clock
        self._tick = tick
        self._asked: Asked | None = None
        self._answer: Answer | None = None
        self._work: asyncio.Task[None] | None = None
        self._turn = 0
        self._ends: dict[int, dict[str, Any]] = {}

    # --- verbs, from any thread

    def ask(self, provider: str, model: str, prefix: str, suffix: str = "", *, raw: bool = False, again: bool = False) -> None:
        """See `CompletionApi`."""
        self._host.post(self._ask, (provider, model, prefix, suffix, raw), again)

    def show(self, step: int) -> None:
        """See `CompletionApi`."""
        self._host.post(self._show, step)

    def stop(self) -> None:
        """See `CompletionApi`."""
        self._host.post(self._stop)

    def clear(self) -> None:
        """See `CompletionApi`."""
        self._host.post(self._clear)

    async def aclose(self) -> None:
        """Stop what is being written."""
        await self._stop()

    # --- on the engine's thread

    async def _show(self, step: int) -> None:
        view = self.view.value
        if view.candidates:
            shown = (view.shown + step) % len(view.candidates)
            self.view.set(replace(view, shown=shown, **self._ends.get(shown, {})))

    async def _stop(self) -> None:
        if self._answer is not None:
            self._answer.stop()
        elif self._work is not None:
            self._work.cancel()
        if self._work is not None:
            await asyncio.wait({self._work})

    async def _clear(self) -> None:
        self._turn += 1
        await self._stop()
        self._asked = None
        self.view.set(CompletionView())

    async def _ask(self, asked: Asked, again: bool) -> None:
        self._turn += 1
        turn = self._turn
        await self._stop()
        if turn != self._turn:  # asked once more meanwhile
            return
        name, model, *_, raw = asked
        more = again and asked == self._asked
        self._asked = asked
        before = self.view.value.candidates if more else ()
        if not more:
            self._ends.clear()
        self.view.set(
            CompletionView(provider=name, model=model, raw=raw, candidates=before, shown=len(before) - 1, state=AnswerState.WAITING)
        )
        self._work = asyncio.ensure_future(self._complete(asked, before, more))
        try:
            await self._work
        except asyncio.CancelledError:
            if not self._work.cancelled():
                raise
            self._end(AnswerState.STOPPED, None)
        except PaddockError as error:
            self._end(AnswerState.FAILED, error.failure)
        finally:
            if turn == self._turn:
                self._work = None

    def _end(self, state: AnswerState, failure: Failure | None) -> None:
        self.view.set(replace(self.view.value, state=state, note="", failure=failure))

    async def _complete(self, asked: Asked, before: tuple[str, ...], more: bool) -> None:
        from tui.services.filling import abilities_of, ways  # only where something is completed

        name, model, prefix, suffix, raw = asked
        provider = await self._ready(name, model)
        settings = self._host.settings()
        options = {**settings.models.options_of(model), **settings.chat.options.sent()}
        told = ""
        if more:
            told = _SAME if options.get("temperature") == 0 else ""
            seed = options.get("seed")
            options["seed"] = (seed + len(before)) % _SEEDS if isinstance(seed, int) and seed >= 0 else random.randrange(_SEEDS)
        keep_alive = settings.models.keep_alive_of(model)
        listed, detail = find_model(self._host, name, model), self._host.detail(name, model)
        known = detail.abilities if detail is not None else listed.abilities if listed is not None else frozenset()
        abilities = known if detail is not None or not suffix else await abilities_of(provider, model, known)
        plan = ways(provider, CompletionRequest(model, prefix, suffix, options, keep_alive, raw), abilities)
        await self._write(provider, plan, before, told)

    async def _ready(self, name: str, model: str) -> Provider:
        """The server, where text may be sent there now; raises PaddockError else."""
        settings, listed = self._host.settings(), find_model(self._host, name, model)
        if settings.security.access == "look":
            raise PaddockError.of("Completing is refused", "security.access = look", "Change security.access", FailureKind.REFUSED)
        if settings.general.network == "offline" and listed is not None and listed.remote:
            what = f"Completing is refused: {listed.name} runs in a cloud"
            raise PaddockError.of(what, "general.network = offline", "Choose another model", FailureKind.REFUSED)
        provider = self._host.provider(name)
        if provider is None:
            what = f"There is no server {clean_name(name, 80)}"
            raise PaddockError.of(what, "", "Choose another model with ctrl+t", FailureKind.NOT_FOUND)
        if not await self._host.may_send(name):
            what = f"Nothing was sent to {clean_name(name, 80)}"
            raise PaddockError.of(what, "", "Ask again, and say yes", FailureKind.REFUSED)
        if (limited := await self._host.within_limits(name, model)) is not None:
            raise PaddockError(limited)
        return provider

    async def _write(self, provider: Provider, plan: tuple[Way, ...], before: tuple[str, ...], told: str) -> None:
        from tui.services.filling import filled

        model, text, way = plan[0].request.model, list[str](), plan[0]

        def chosen(tried: Way) -> None:
            nonlocal way
            way = tried

        async def events() -> AsyncIterator[StreamEvent]:
            stream = filled(provider, plan, chosen)
            try:
                async for event in stream:
                    if isinstance(event, Delta):
                        text.append(event.text)
                    yield event
            finally:
                await stream.aclose()  # type: ignore[attr-defined]

        def show(live: LiveAnswer) -> None:
            note = live.note if live.note and live.state is AnswerState.WAITING else way.note or told or live.note
            self._put(before, "".join(text), way, state=live.state, note=note, timeline=live.timeline, metrics=live.metrics)

        name = provider.endpoint.name
        around = Surroundings(self._clock, lambda: is_loaded(self._host, name, model), None, show, self._tick)
        row = Message(0, 0, 0, Role.ASSISTANT, "", state=AnswerState.WAITING, provider=name, model=model)
        answer = self._answer = Answer(row, events, Nowhere(), around)
        meter = self._host.meter(name, model)
        try:
            ended = await answer.run()
        finally:
            self._answer = None
            meter.end(answer.seconds)
        note = way.note or told
        if ended.state is AnswerState.COMPLETE and not "".join(text).strip():
            note = "The model has nothing to add"
        self._put(
            before, "".join(text), way, state=ended.state, note=note, timeline=ended.timeline, metrics=ended.metrics, failure=ended.failure
        )
        if self._host.database is not None and ended.state in (AnswerState.COMPLETE, AnswerState.LENGTH):
            kept, held = Measurements(self._host.database, self._clock), loaded_as(name, model, self._host.running())
            first = ended.timeline.first_token
            number = await kept.add(name, model, ended.metrics, kind="complete", first_token=first, loaded=held)
            self._host.post(_keep_energy, kept, number, meter)

    def _put(self, before: tuple[str, ...], text: str, way: Way, *, timeline: Timeline, metrics: Metrics, **state: Any) -> None:
        """Show how the newest candidate is; where the user looks at an earlier one, that one stays in view."""
        view, state = self.view.value, {"filled": way.filled, "failure": None, **state}
        candidates = (*before, text) if text else before
        if text:
            self._ends[len(before)] = state
        if view.shown < len(view.candidates) - 1:
            self.view.set(replace(view, candidates=candidates, timeline=timeline, metrics=metrics))
        else:
            self.view.set(replace(view, candidates=candidates, shown=len(candidates) - 1, timeline=timeline, metrics=metrics, **state))
