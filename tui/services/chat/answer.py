"""One answer while it is written: its states, its time, its watchdog, and its saving."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from tui.core.chat import AnswerState, Message
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError, limit_of
from tui.core.events import Delta, Done, Metrics, PromptProgress, StreamEvent, Thinking, ToolCall
from tui.core.record import record
from tui.services.chat.api import AnswerBuffer, LiveAnswer
from tui.services.chat.timing import Stage, Stopwatch
from tui.text import StreamCleaner, clean_block, clean_label, clean_name, count, duration

_LOG: Final = logging.getLogger("paddock.chat")

SAVE_EVERY: Final = 0.5
"""Seconds of streamed text that may be unsaved."""
SAVE_BYTES: Final = 4096
"""Characters of it that may."""
SHOW_EVERY: Final = 1 / 15
"""Seconds between two snapshots."""
QUIET: Final = 15.0
"""Seconds without data after which the note says so."""
STALLED: Final = 60.0
"""Seconds without data after which the answer counts as stalled; it never ends by itself."""
LOOK: Final = 2.0
"""Seconds between two looks at what is in memory while a load is waited for: what we measure is as exact as that."""
LOADS_WITHIN: Final = 3600.0
"""Seconds for which a server that loads its model and refuses requests meanwhile is asked again."""
LET_GO: Final = 0.8
"""Seconds a stream may take to close."""
_BROKEN_OFF: Final = frozenset({"abort", "aborted", "cancelled", "canceled", "error"})
"""Ends that servers name and that are no ends of an answer."""


class Saver(Protocol):
    """Where an answer is kept. Both return when it is stored, however long that takes."""

    async def append(self, message: int, content: str, thinking: str) -> None:
        """Add streamed text."""

    async def finish(self, message: Message) -> None:
        """Store the end."""


@record(frozen=True)
class Surroundings:
    """What an answer must know of the world.

    Attributes:
        loaded: Whether the model is in memory now; None where the server does not say.
        last_load: Seconds its last load took.
        show: Called with every snapshot, at most 15 a second.
        tick: Seconds between two looks of the watchdog at the clock.
        slots: How many requests the server works at, and how many it can; None where it does not say.
        log: The last line of the server's own log, cleaned, or empty (P32).
        look: Has the list of what is in memory asked for anew; called every `LOOK` seconds while a load is waited for.
        again: Seconds until a server that loads its model, and refuses requests meanwhile, is asked again.
    """

    clock: Clock
    loaded: Callable[[], bool | None]
    last_load: float | None
    show: Callable[[LiveAnswer], None]
    tick: float = 0.25
    slots: Callable[[], tuple[int, int] | None] = lambda: None
    log: Callable[[], str] = lambda: ""
    look: Callable[[], None] = lambda: None
    again: float = 2.0


class Answer:
    """One streaming answer. `run` never raises and returns the ended message, which is stored by then or being retried.

    Args:
        message: The stored row; text it already has stays in front (an answer that is continued).
        stream: Opens the provider's stream.
    """

    def __init__(self, message: Message, stream: Callable[[], AsyncIterator[StreamEvent]], saver: Saver, around: Surroundings) -> None:
        self.message = message
        self._open_stream = stream
        self._saver = saver
        self._around = around
        self._clock = around.clock
        self._content, self._thinking = [message.content], [message.thinking]
        self._unsaved: tuple[list[str], list[str]] = ([], [])
        self._unsaved_size = 0
        self._wake, self._stopped = asyncio.Event(), asyncio.Event()
        self._calls: list[Mapping[str, Any]] = list(message.tool_calls)
        self._cleaners = (StreamCleaner(), StreamCleaner())
        self.buffer = AnswerBuffer()
        if message.content:
            self.buffer.text.append(clean_block(message.content))
        if message.thinking:
            self.buffer.thinking.append(clean_block(message.thinking))
        self._begin()
        self._pieces = 0
        self._done: Done | None = None
        self._end: tuple[AnswerState, Failure | None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._shown_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.snapshot = self._snapshot(AnswerState.WAITING)

    def _begin(self) -> None:
        now = self._clock.monotonic()
        self._time = Stopwatch(now)
        self._since = now
        self._heard: float | None = None
        self._progress = ""
        self._refused = False
        self._looked = float("-inf")
        self._phase, self._note = "waiting", ""
        slots = self._around.slots()
        self._queued = slots is not None and slots[1] > 0 and slots[0] >= slots[1]

    # --- outside

    @property
    def seconds(self) -> float:
        """From sending to the end, or until now."""
        return self._time.took(self._clock.monotonic())

    def stop(self, state: AnswerState = AnswerState.STOPPED, failure: Failure | None = None) -> None:
        """End it now, keeping what came; the stream is closed. Later calls change nothing."""
        if self._end is not None:
            return
        self._end = (state, failure)
        self._time.end(self._clock.monotonic())
        self._stopped.set()
        if self._reader is not None:
            self._reader.cancel()

    async def run(self) -> Message:
        """Stream to the end, whatever that is; the time counts from here."""
        self._begin()
        self._watch()
        self._publish()
        helpers = [asyncio.ensure_future(self._keep_watching()), asyncio.ensure_future(self._keep_saving())]
        self._reader = asyncio.ensure_future(self._read())
        try:
            if self._end is not None:
                self._reader.cancel()
            await self._until_read()
        except asyncio.CancelledError:
            self.stop(AnswerState.INTERRUPTED, CLOSED)
            raise
        finally:
            for helper in helpers:
                helper.cancel()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        await asyncio.gather(*helpers, return_exceptions=True)
        return await self._finish()

    async def _until_read(self) -> None:
        """Wait for the reader; a stream that does not let go of its connection is left behind."""
        assert self._reader is not None
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({self._reader, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        await asyncio.wait({self._reader}, timeout=LET_GO)
        if not self._reader.done():
            _LOG.warning("a stream does not close; it is left behind")

    # --- reading

    async def _read(self) -> None:
        """Take events until the end; sets how it ended unless that was decided already."""
        end: tuple[AnswerState, Failure | None]
        try:
            while not await self._attempt():
                pass
            if self._end is not None:
                return
            end = self._natural_end()
        except asyncio.CancelledError:
            return
        except PaddockError as error:
            end = (self._state_of(error.failure), self._explained(error.failure))
        except Exception as error:
            _LOG.exception("an answer failed")
            end = (
                AnswerState.FAILED,
                limit_of(error)
                or Failure("The answer could not be read", clean_name(type(error).__name__), "Please report it; the log has the details"),
            )
        if self._end is None:
            self._end = end
            self._time.end(self._clock.monotonic())

    async def _attempt(self) -> bool:
        """Read one stream to its end; False where the server does not take requests yet because it loads its model.

        Such a refusal had no effect and is no error, so asking again is neither (P32, P34).
        """
        stream = self._open_stream()
        try:
            async for event in stream:
                if self._end is not None:
                    break
                self._take(event)
                if isinstance(event, Done):
                    self._done = event
                    break
        except PaddockError as error:
            waited = self._clock.monotonic() - self._time.sent
            if error.failure.kind is not FailureKind.LOADING or self._heard is not None or waited > LOADS_WITHIN:
                raise
            if not self._refused:
                _LOG.info("the server loads its model and refuses until then; it is asked again")
            self._refused = True
            self._watch()
            self._publish()
            await asyncio.sleep(self._around.again)
            return False
        finally:
            await _close(stream)
        return True

    def _natural_end(self) -> tuple[AnswerState, Failure | None]:
        if self._done is None and self._heard is None:
            what, remedy = (
                "The server ended the answer without a word",
                "The prompt may be longer than its context; drop the oldest messages",
            )
            return AnswerState.INTERRUPTED, Failure(what, "", remedy, FailureKind.INTERRUPTED)
        if self._done is None:
            what = "The answer ended without its end mark"
            return AnswerState.INTERRUPTED, Failure(what, "", "What came is kept; continue or retry", FailureKind.INTERRUPTED)
        reason = self._done.reason.lower()
        if reason in _BROKEN_OFF:
            what = f"The server broke the answer off ({clean_name(reason)})"
            return AnswerState.INTERRUPTED, Failure(what, "", "What came is kept; continue or retry", FailureKind.INTERRUPTED)
        if reason == "content_filter":
            what = "A filter of the server cut the answer off"
            return AnswerState.INTERRUPTED, Failure(what, "", "Ask in other words", FailureKind.INTERRUPTED)
        return (AnswerState.LENGTH if reason == "length" else AnswerState.COMPLETE), None

    def _explained(self, failure: Failure) -> Failure:
        """What ended before a word may be a prompt that was too long: some servers say nothing then (recordings 19)."""
        if failure.kind is not FailureKind.INTERRUPTED or self._heard is not None:
            return failure
        return replace(failure, remedy="Try again; if it stays so, the prompt may be longer than the server's context")

    def _state_of(self, failure: Failure) -> AnswerState:
        cut = failure.kind is FailureKind.INTERRUPTED
        late = failure.kind in (FailureKind.UNREACHABLE, FailureKind.TIMEOUT) and self._time.first_token is not None
        return AnswerState.INTERRUPTED if cut or late else AnswerState.FAILED

    def _take(self, event: StreamEvent) -> None:
        now = self._clock.monotonic()
        self._heard = now
        if isinstance(event, Delta):
            self._add(0, event.text, now)
        elif isinstance(event, Thinking):
            self._add(1, event.text, now)
        elif isinstance(event, ToolCall):
            self._time.token(now, f"{event.name} {event.arguments}")
            self._calls.append({"id": event.id, "function": {"name": event.name, "arguments": dict(event.arguments)}})
            self._enter("writing", "")
        elif isinstance(event, PromptProgress):
            self._time.reading(now)
            self._progress = f"reading the prompt, {count(event.done)} of {count(event.total)} tokens"
            self._watch()
        self._publish_soon()

    def _add(self, kind: int, text: str, now: float) -> None:
        if not text:
            self._time.reading(now)
            return
        self._pieces += 1
        if kind:
            self._time.thought(now, text)
            self._enter("thinking", "")
        else:
            self._time.text(now, text)
            self._enter("writing", "")
        (self._thinking if kind else self._content).append(text)
        self._unsaved[kind].append(text)
        self._unsaved_size += len(text)
        if self._unsaved_size >= SAVE_BYTES:
            self._wake.set()
        cleaned = self._cleaners[kind].feed(text)
        if cleaned:
            (self.buffer.thinking if kind else self.buffer.text).append(cleaned)

    # --- watching

    def _enter(self, phase: str, note: str) -> None:
        if phase != self._phase:
            self._phase, self._since = phase, self._clock.monotonic()
        self._note = note

    async def _keep_watching(self) -> None:
        while True:
            await asyncio.sleep(self._around.tick)
            before = (self._phase, self._note)
            self._watch()
            if (self._phase, self._note) != before:
                self._publish()

    def _watch(self) -> None:
        """What the clock and the server's lists tell: waiting, loading, reading, silence (P23, P32, P33)."""
        now = self._clock.monotonic()
        if self._heard is None:
            self._time.in_memory(False if self._refused else self._around.loaded(), now)
            if self._time.stage is Stage.LOADING and now - self._looked >= LOOK:
                self._looked = now
                self._around.look()
        silent = 0.0 if self._heard is None else now - self._heard
        if silent >= STALLED:
            self._enter("stalled", f"stalled: no data for {duration(silent)}")
        elif self._time.stage is not Stage.WRITING:
            self._enter(self._time.stage.value, self._waits_for(now))
        else:
            self._note = ""
        if QUIET <= silent < STALLED:
            self._note = f"{self._note}; no data for {duration(silent)}" if self._note else f"no data for {duration(silent)}"

    def _waits_for(self, now: float) -> str:
        stage, took = self._time.stage, duration(now - self._time.since)
        if stage is Stage.LOADING:
            last = f" (last time {duration(self._around.last_load)})" if self._around.last_load else ""
            log = clean_label(self._around.log(), 120)
            return f"loading {clean_name(self.message.model)}, {took}{last}" + (f"; {log}" if log else "")
        if stage is Stage.READING:
            return self._progress or f"reading the prompt, {took}"
        slots = self._around.slots() if self._queued and self._heard is None else None
        self._queued = slots is not None and slots[0] >= slots[1]
        if slots is not None and self._queued:
            return f"waiting in the server's queue, {took}; it works at {count(slots[0])} of {count(slots[1])} requests"
        return f"waiting for the first token, {duration(now - self._time.sent)}"

    # --- showing

    def _publish_soon(self) -> None:
        if self._timer is not None:
            return
        wait = SHOW_EVERY - (asyncio.get_running_loop().time() - self._shown_at)
        if wait <= 0:
            self._publish()
        else:
            self._timer = asyncio.get_running_loop().call_later(wait, self._publish)

    def _publish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._shown_at = asyncio.get_running_loop().time()
        self.snapshot = self._snapshot(AnswerState.WAITING if self._time.first_token is None else AnswerState.WRITING)
        self._around.show(self.snapshot)

    def _snapshot(self, state: AnswerState, failure: Failure | None = None) -> LiveAnswer:
        timeline = self._time.timeline(self._clock.monotonic(), self._metrics())
        return LiveAnswer(
            conversation=self.message.conversation, message_id=self.message.id, model=self.message.model, provider=self.message.provider,
            state=state, phase=self._phase, note=self._note, since=self._since, sent_at=self._time.sent, pieces=self._pieces,
            timeline=timeline, metrics=self._metrics(), buffer=self.buffer, failure=failure,
        )  # fmt: skip

    def _metrics(self) -> Metrics:
        return self._done.metrics if self._done is not None else Metrics()

    # --- saving

    async def _keep_saving(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), SAVE_EVERY)
            self._wake.clear()
            if not self._unsaved_size:
                continue
            text, thoughts = self._unsaved
            self._unsaved, self._unsaved_size = ([], []), 0
            # What cannot be stored now is tried again by the saver; meanwhile more gathers here.
            await self._saver.append(self.message.id, "".join(text), "".join(thoughts))

    async def _finish(self) -> Message:
        for cleaner, shown in zip(self._cleaners, (self.buffer.text, self.buffer.thinking), strict=True):
            if held := cleaner.close():
                shown.append(held)
        state, failure = self._end or (AnswerState.INTERRUPTED, CLOSED)
        self._time.end(self._clock.monotonic())
        self._note = ""
        self.message = replace(
            self.message,
            content="".join(self._content), thinking="".join(self._thinking), tool_calls=tuple(self._calls), state=state,
            failure=failure, model=(self._done.model if self._done is not None else "") or self.message.model,
            metrics=self._metrics(), timeline=self._time.timeline(self._clock.monotonic(), self._metrics()),
        )  # fmt: skip
        self.snapshot = self._snapshot(state, failure)
        self._around.show(self.snapshot)
        await self._saver.finish(self.message)
        return self.message


async def _close(stream: AsyncIterator[StreamEvent]) -> None:
    closing: Callable[[], Awaitable[None]] | None = getattr(stream, "aclose", None)
    if closing is not None:
        with contextlib.suppress(Exception):
            await closing()


CLOSED: Final = Failure("Paddock was closed while the answer was being written", "", "Continue it, or retry", FailureKind.INTERRUPTED)
"""Why an answer ended that was being written when the app was closed."""
