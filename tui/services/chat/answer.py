"""One answer while it is written: its states, its time, its watchdog, and its saving."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from tui.core.chat import AnswerState, Message, Timeline
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Delta, Done, Metrics, PromptProgress, StreamEvent, Thinking, ToolCall
from tui.core.record import record
from tui.services.chat.api import AnswerBuffer, LiveAnswer
from tui.text import StreamCleaner, clean_block, clean_name, count, duration

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
LET_GO: Final = 0.8
"""Seconds a stream may take to close."""


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
    """

    clock: Clock
    loaded: Callable[[], bool | None]
    last_load: float | None
    show: Callable[[LiveAnswer], None]
    tick: float = 0.25


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
        self._wake = asyncio.Event()
        self._calls: list[Mapping[str, Any]] = list(message.tool_calls)
        self._cleaners = (StreamCleaner(), StreamCleaner())
        self.buffer = AnswerBuffer()
        if message.content:
            self.buffer.text.append(clean_block(message.content))
        if message.thinking:
            self.buffer.thinking.append(clean_block(message.thinking))
        now = self._clock.monotonic()
        self._sent = self._since = self._heard = now
        self._phase, self._note = "waiting", ""
        self._was = "writing"
        self._saw_load = False
        self._load_ended: float | None = None
        self._first_byte: float | None = None
        self._first_token: float | None = None
        self._first_thought: float | None = None
        self._first_text: float | None = None
        self._last_token: float | None = None
        self._first_is_token = False
        self._pieces = 0
        self._done: Done | None = None
        self._end: tuple[AnswerState, Failure | None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._shown_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.snapshot = self._snapshot(AnswerState.WAITING)

    # --- outside

    def stop(self, state: AnswerState = AnswerState.STOPPED, failure: Failure | None = None) -> None:
        """End it now, keeping what came; the stream is closed. Later calls change nothing."""
        if self._end is not None:
            return
        self._end = (state, failure)
        if self._reader is not None:
            self._reader.cancel()

    async def run(self) -> Message:
        """Stream to the end, whatever that is."""
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
        while not self._reader.done():
            if self._end is None:
                await asyncio.wait({self._reader}, timeout=60)
                continue
            await asyncio.wait({self._reader}, timeout=LET_GO)
            if not self._reader.done():
                _LOG.warning("a stream does not close; it is left behind")
                return

    # --- reading

    async def _read(self) -> None:
        """Take events until the end; sets how it ended unless that was decided already."""
        end: tuple[AnswerState, Failure | None]
        stream: AsyncIterator[StreamEvent] | None = None
        try:
            stream = self._open_stream()
            async for event in stream:
                if self._end is not None:
                    return
                self._take(event)
                if isinstance(event, Done):
                    self._done = event
                    break
            end = self._natural_end()
        except asyncio.CancelledError:
            return
        except PaddockError as error:
            end = (self._state_of(error.failure), error.failure)
        except Exception as error:
            _LOG.exception("an answer failed")
            end = (
                AnswerState.FAILED,
                Failure("The answer could not be read", clean_name(type(error).__name__), "Please report it; the log has the details"),
            )
        finally:
            if stream is not None:
                await _close(stream)
        if self._end is None:
            self._end = end

    def _natural_end(self) -> tuple[AnswerState, Failure | None]:
        if self._done is None:
            what = "The answer ended without its end mark"
            return AnswerState.INTERRUPTED, Failure(what, "", "What came is kept; continue or retry", FailureKind.INTERRUPTED)
        return (AnswerState.LENGTH if self._done.reason == "length" else AnswerState.COMPLETE), None

    def _state_of(self, failure: Failure) -> AnswerState:
        cut = failure.kind is FailureKind.INTERRUPTED
        late = failure.kind in (FailureKind.UNREACHABLE, FailureKind.TIMEOUT) and self._first_token is not None
        return AnswerState.INTERRUPTED if cut or late else AnswerState.FAILED

    def _take(self, event: StreamEvent) -> None:
        now = self._clock.monotonic()
        if self._first_byte is None:
            self._first_byte = now
            self._first_is_token = isinstance(event, (Delta, Thinking, ToolCall))
        self._heard = now
        if isinstance(event, Delta):
            self._add(0, event.text, now)
        elif isinstance(event, Thinking):
            self._add(1, event.text, now)
        elif isinstance(event, ToolCall):
            self._mark_token(now)
            self._calls.append({"id": event.id, "function": {"name": event.name, "arguments": dict(event.arguments)}})
        elif isinstance(event, PromptProgress):
            self._enter("reading", f"reading the prompt, {count(event.done)} of {count(event.total)} tokens")
        self._publish_soon()

    def _add(self, kind: int, text: str, now: float) -> None:
        if not text:
            return
        self._mark_token(now)
        self._pieces += 1
        if kind:
            self._first_thought = now if self._first_thought is None else self._first_thought
            self._enter("thinking", "")
        else:
            self._first_text = now if self._first_text is None else self._first_text
            self._enter("writing", "")
        (self._thinking if kind else self._content).append(text)
        self._unsaved[kind].append(text)
        self._unsaved_size += len(text)
        if self._unsaved_size >= SAVE_BYTES:
            self._wake.set()
        cleaned = self._cleaners[kind].feed(text)
        if cleaned:
            (self.buffer.thinking if kind else self.buffer.text).append(cleaned)

    def _mark_token(self, now: float) -> None:
        self._first_token = now if self._first_token is None else self._first_token
        self._last_token = now

    # --- watching

    def _enter(self, phase: str, note: str) -> None:
        if phase != self._phase:
            if self._phase == "loading" and self._load_ended is None:
                self._load_ended = self._clock.monotonic()
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
        """What the clock alone tells: waiting, loading, silence."""
        now = self._clock.monotonic()
        if self._first_byte is None:
            if self._around.loaded() is False:
                self._saw_load = True
                last = self._around.last_load
                known = f", last time {duration(last)}" if last else ""
                self._enter("loading", f"loading {clean_name(self.message.model)}, {duration(now - self._sent)}{known}")
            else:
                self._enter("waiting", f"waiting for the first token, {duration(now - self._sent)}")
            return
        silent = now - self._heard
        if silent >= STALLED:
            self._enter("stalled", f"stalled: no data for {duration(silent)}")
        elif silent >= QUIET:
            self._note = f"no data for {duration(silent)}"

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
        self.snapshot = self._snapshot(AnswerState.WAITING if self._first_token is None else AnswerState.WRITING)
        self._around.show(self.snapshot)

    def _snapshot(self, state: AnswerState, failure: Failure | None = None) -> LiveAnswer:
        return LiveAnswer(
            conversation=self.message.conversation, message_id=self.message.id, model=self.message.model, provider=self.message.provider,
            state=state, phase=self._phase, note=self._note, since=self._since, sent_at=self._sent, pieces=self._pieces,
            timeline=self._timeline(), metrics=self._metrics(), buffer=self.buffer, failure=failure,
        )  # fmt: skip

    def _metrics(self) -> Metrics:
        return self._done.metrics if self._done is not None else Metrics()

    def _timeline(self) -> Timeline:
        metrics = self._metrics()
        loaded = metrics.load_seconds
        if loaded is None and self._saw_load:
            ended = self._load_ended if self._load_ended is not None else self._clock.monotonic()
            loaded = ended - self._sent
        first_token = None if self._first_token is None else self._first_token - self._sent
        waited = read = None
        if self._first_byte is not None:
            read = metrics.prompt_seconds
            inside = (loaded or 0.0) + (read or 0.0 if self._first_is_token else 0.0)
            waited = max(0.0, self._first_byte - self._sent - inside)
            if read is None and first_token is not None:
                read = max(0.0, first_token - waited - (loaded or 0.0))
        wrote = None if self._first_token is None or self._last_token is None else self._last_token - self._first_token
        thought = None
        if self._first_thought is not None:
            until = self._first_text if self._first_text is not None else self._last_token
            thought = None if until is None else max(0.0, until - self._first_thought)
        rate, estimated = metrics.rate, False
        if rate is None and wrote and self._pieces > 1:
            rate, estimated = (self._pieces - 1) / wrote, True
        return Timeline(
            waited=waited,
            loaded=loaded,
            read=read,
            wrote=wrote,
            first_token=first_token,
            thought=thought,
            rate=rate,
            rate_estimated=estimated,
        )

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
        self._note = ""
        self.message = replace(
            self.message,
            content="".join(self._content), thinking="".join(self._thinking), tool_calls=tuple(self._calls), state=state,
            failure=failure, model=(self._done.model if self._done is not None else "") or self.message.model,
            metrics=self._metrics(), timeline=self._timeline(),
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
