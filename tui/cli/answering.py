"""An answer on its way to standard output: printing, signals, saving, and what is said of how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, INTERRUPTED, emit, exit_code, message, report
from tui.core.capabilities import Capability
from tui.core.chat import AnswerState, Message
from tui.core.clock import SYSTEM
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Delta, StreamEvent, Thinking
from tui.core.models import Model
from tui.providers.base import Provider
from tui.providers.options import dropped_options
from tui.services.chat.answer import CLOSED, Answer, Surroundings
from tui.services.chat.memory import ChatStore
from tui.services.chat.save import AnswerSaver, Keeper
from tui.text import StreamCleaner

_SIGNALS: Final = {signal.SIGINT: AnswerState.STOPPED, signal.SIGTERM: AnswerState.INTERRUPTED, signal.SIGHUP: AnswerState.INTERRUPTED}


class Printer:
    """Prints an answer as it comes: text for people, or one JSON object a piece.

    Args:
        as_json: Print JSON.
        end_line: End the last line of a text where the model did not.
        more: What every JSON object also says.
    """

    def __init__(self, as_json: bool, *, end_line: bool = True, more: Mapping[str, Any] | None = None) -> None:
        self.broken = False
        self._json = as_json
        self._more = dict(more or {})
        self._end_line = end_line
        self._cleaner = StreamCleaner()
        self._open_line = False

    def take(self, event: StreamEvent) -> None:
        """Print what an event brings."""
        if isinstance(event, Delta):
            if self._json:
                self.emit({"text": event.text})
            else:
                self._write(self._clean(event.text))
        elif isinstance(event, Thinking) and self._json:
            self.emit({"thinking": event.text})

    def emit(self, value: Mapping[str, Any]) -> None:
        """Print one object, unless nobody reads any more."""
        self._out(lambda: emit({**self._more, **value}))

    def close(self) -> None:
        """Print what was held back, and end the line."""
        if not self._json:
            self._write(self._cleaner.close())
            if self._open_line and self._end_line:
                self._write("\n")

    def _clean(self, text: str) -> str:
        """As a screen draws it, but for tabs: what reads us may need them, and they harm no terminal."""
        first, *others = text.split("\t")
        out = self._cleaner.feed(first)
        for part in others:
            out += f"{self._cleaner.close()}\t{self._cleaner.feed(part)}"
        return out

    def _write(self, text: str) -> None:
        if not text:
            return
        encoding = sys.stdout.encoding or "utf-8"
        self._open_line = not text.endswith("\n")

        def write() -> None:
            sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
            sys.stdout.flush()

        self._out(write)

    def _out(self, write: Callable[[], None]) -> None:
        if not self.broken:
            try:
                write()
            except BrokenPipeError:
                self.broken = True


@contextlib.contextmanager
def _signals(answer: Answer, got: list[int], stuck: list[Failure]) -> Iterator[None]:
    """While inside, ctrl+c and the signals that end a program stop the answer, which is then kept.

    The second one, and the first while nothing can be saved, ends the saving too.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop(number: int, state: AnswerState) -> None:
        got.append(number)
        answer.stop(state, CLOSED if state is AnswerState.INTERRUPTED else None)
        if task is not None and (stuck or len(got) > 1):
            task.cancel()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, state in _SIGNALS.items():
            loop.add_signal_handler(number, stop, number, state)
    except (ValueError, RuntimeError):  # not on the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def write(
    context: Context,
    row: Message,
    store: ChatStore,
    events: Callable[[], AsyncIterator[StreamEvent]],
    printer: Printer,
    *,
    ended: Callable[[Message], Mapping[str, Any]] = lambda _message: {},
    code_of: Callable[[Message], int] | None = None,
) -> tuple[Message, int]:
    """Have an answer written, printed and saved; returns it with the exit code, having said why where it is not complete.

    `ended` tells what the last JSON object says beside the figures; `code_of` says how it ended and gives the exit code, as
    `tell_end` does where there is none.
    """
    got, stuck = list[int](), list[Failure]()

    async def told() -> AsyncIterator[StreamEvent]:
        stream = events()
        try:
            async for event in stream:
                printer.take(event)
                if printer.broken:
                    answer.stop()
                    return
                yield event
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    def banner(_key: str, failure: Failure | None) -> None:
        if failure is None:
            stuck.clear()
        else:
            stuck.append(failure)
            report(replace(failure, remedy="It is tried again until ctrl+c"))

    around = Surroundings(SYSTEM, lambda: None, None, lambda _snapshot: None)
    answer = Answer(row, told, AnswerSaver(store, Keeper(banner)), around)
    written = row
    with _signals(answer, got, stuck):
        try:
            written = await answer.run()
        except asyncio.CancelledError:
            if not got:
                raise
    printer.close()
    if context.json:
        measured, reported = written.timeline, written.metrics
        printer.emit({"state": written.state, "measured": measured, "reported": reported, "failure": written.failure, **ended(written)})
    if got:
        return written, INTERRUPTED if got[0] == signal.SIGINT else 128 + got[0]
    return written, FAILED if printer.broken else (code_of or tell_end)(written)


def tell_end(ended: Message) -> int:
    """Say how it ended where that is not well; returns the exit code."""
    if ended.failure is not None:
        report(ended.failure)
        return FAILED if ended.state is AnswerState.INTERRUPTED else exit_code(ended.failure)
    if ended.state is AnswerState.LENGTH:
        message("The answer is cut: it reached its longest length. Set num_predict or num_ctx higher with --option.")
        return FAILED
    if ended.state is AnswerState.COMPLETE and not ended.content.strip():
        message("The answer is empty." if not ended.tool_calls else "The model asked for a tool instead of answering.")
    return DONE if ended.state is AnswerState.COMPLETE else FAILED


def tell_dropped(provider: Provider, options: Mapping[str, Any], think: str = "auto", keep_alive: str = "") -> tuple[str, ...]:
    """Say which options are set and not sent, because this kind of server does not know them; returns their names."""
    dropped = dropped_options(provider, options, think, keep_alive)
    if dropped:
        message(f"{provider.endpoint.name} does not know {', '.join(dropped)}: not sent.")
    return dropped


def may_answer(context: Context, provider: Provider, model: Model, capability: Capability) -> None:
    """Refuse a server that has no call for it, and a model in a cloud while offline; raises PaddockError."""
    if capability not in provider.capabilities:
        what = "chat" if capability is Capability.CHAT else "complete text"
        raise PaddockError.of(f"{provider.endpoint.name} cannot {what}", "", "Choose another with --on", FailureKind.UNSUPPORTED)
    if context.offline and model.remote:
        where = "general.network = offline"
        raise PaddockError.of(f"Nothing was sent: {model.name} runs in a cloud", where, "Choose another model", FailureKind.REFUSED)
