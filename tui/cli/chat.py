"""chat and complete: the answer goes to standard output, nothing else does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, INTERRUPTED, USAGE, ask, emit, exit_code, message, piped, read_input, report
from tui.core.capabilities import Ability, Capability
from tui.core.chat import AnswerState, ChatRequest, CompletionRequest, ConversationSettings, Message, Role
from tui.core.clock import SYSTEM
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Delta, StreamEvent, Thinking
from tui.core.models import Model
from tui.core.names import normal
from tui.providers.base import Provider
from tui.services.chat.answer import CLOSED, Answer, Surroundings
from tui.services.chat.asking import title_of
from tui.services.chat.memory import ChatStore, Memory
from tui.services.chat.save import AnswerSaver, Keeper
from tui.store.conversations import Conversations
from tui.store.measurements import Measurements
from tui.text import StreamCleaner, clean_door, clean_label, clean_name

_SIGNALS: Final = {signal.SIGINT: AnswerState.STOPPED, signal.SIGTERM: AnswerState.INTERRUPTED, signal.SIGHUP: AnswerState.INTERRUPTED}
MAX_FILE: Final = 10_000_000
"""Bytes of a file that is sent along; more is a mistake rather than a prompt."""


WAITS: float = 2.0
"""Seconds after which it is said that standard input is waited for."""


def read_options(pairs: list[str]) -> dict[str, Any]:
    """Read `K=V` pairs; values are JSON where they can be, else text.

    Raises:
        PaddockError: One has no name or no `=`.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise PaddockError.of("An option is written K=V", clean_name(pair, 60), "Write it like temperature=0.2", FailureKind.CONFIG)
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def read_file(name: str) -> str:
    """A text file's text.

    Raises:
        PaddockError: It cannot be read, is no text, or is too long.
    """
    shown, path = clean_name(name), Path(name).expanduser()
    try:
        if path.exists() and not path.is_file():
            raise PaddockError.of("This is not a file", shown, "Name a text file", FailureKind.CONFIG)
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise PaddockError.of(f"The file is longer than {MAX_FILE // 1_000_000} MB", shown, "Send a part of it", FailureKind.CONFIG)
        if b"\0" in data:
            raise PaddockError.of("The file is no text", shown, "Name a text file", FailureKind.CONFIG)
        return clean_door(data.decode("utf-8"))
    except OSError as error:
        why = clean_label(error.strerror or "not readable").lower()
        raise PaddockError.of(f"The file cannot be read: {why}", shown, "Check its name", FailureKind.CONFIG) from error
    except ValueError as error:
        raise PaddockError.of("The file is no UTF-8 text", shown, "Name a text file in UTF-8", FailureKind.CONFIG) from error


async def make_prompt(context: Context) -> str:
    """The prompt of argument, files and piped standard input, in this order.

    Without an argument, or with `-`, standard input is read whatever it is, a terminal without `-` aside.
    """
    given = context.args.prompt
    parts = [] if given in (None, "-") else [clean_door(given)]
    parts += [f"{clean_name(Path(name).name)}:\n{read_file(name)}" for name in context.args.attach]
    if given == "-" or piped() or (given is None and not sys.stdin.isatty()):
        text = clean_door((await _read_all(told=given == "-")).decode("utf-8", "replace")).removesuffix("\n")
        parts.append(text if text.strip() else "")
    return "\n\n".join(part for part in parts if part)


async def _read_all(*, told: bool) -> bytes:
    """Standard input; where it does not end and nobody said that it is wanted, what we wait for is said."""
    reading = asyncio.ensure_future(read_input())
    done, _ = await asyncio.wait({reading}, timeout=WAITS)
    if not done and not told:
        message("Waiting for standard input to end. Where nothing is piped, add </dev/null.")
    return await reading


class Printer:
    """Prints an answer as it comes: text for people, or one JSON object a piece."""

    def __init__(self, as_json: bool) -> None:
        self.broken = False
        self._json = as_json
        self._cleaner = StreamCleaner()
        self._open_line = False

    def take(self, event: StreamEvent) -> None:
        """Print what an event brings."""
        if isinstance(event, Delta):
            if self._json:
                self._out(lambda: emit({"text": event.text}))
            else:
                self._write(self._cleaner.feed(event.text))
        elif isinstance(event, Thinking) and self._json:
            self._out(lambda: emit({"thinking": event.text}))

    def close(self) -> None:
        """Print what was held back, and end the line."""
        if not self._json:
            self._write(self._cleaner.close())
            if self._open_line:
                self._write("\n")

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


async def _write(context: Context, row: Message, store: ChatStore, events: Callable[[], AsyncIterator[StreamEvent]]) -> tuple[Message, int]:
    """Have an answer written, printed and saved; returns it with the exit code, having said why where it is not complete."""
    printer, got, stuck = Printer(context.json), list[int](), list[Failure]()

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
    ended = row
    with _signals(answer, got, stuck):
        try:
            ended = await answer.run()
        except asyncio.CancelledError:
            if not got:
                raise
    printer.close()
    if context.json and not printer.broken:
        emit({"state": ended.state, "metrics": ended.metrics, "failure": ended.failure, "chat": max(row.conversation, 0) or None})
    if got:
        return ended, INTERRUPTED if got[0] == signal.SIGINT else 128 + got[0]
    return ended, FAILED if printer.broken else _code(ended)


def _code(ended: Message) -> int:
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


async def _installed(context: Context) -> tuple[Provider, Model]:
    """The model to chat with; one that is missing is fetched where `models.auto_pull` and the user say so."""
    try:
        return await context.with_model(context.args.model, context.args.on)
    except PaddockError as error:
        policy = context.settings.models.auto_pull
        may_ask = policy == "ask" and sys.stdin.isatty() and sys.stderr.isatty()
        if error.failure.kind is not FailureKind.NOT_FOUND or not (policy == "always" or may_ask):
            raise
        name = normal(context.args.model)
        if may_ask and not await ask(f"{name} is not installed. Fetch it?"):
            raise
        from tui.cli.pull import fetch

        await fetch(context, [context.args.model], context.args.on)
        return await context.with_model(context.args.model, context.args.on)


def _may_answer(context: Context, provider: Provider, model: Model, capability: Capability) -> None:
    if capability not in provider.capabilities:
        what = "chat" if capability is Capability.CHAT else "complete text"
        raise PaddockError.of(f"{provider.endpoint.name} cannot {what}", "", "Choose another with --on", FailureKind.UNSUPPORTED)
    if context.offline and model.remote:
        where = "general.network = offline"
        raise PaddockError.of(f"Nothing was sent: {model.name} runs in a cloud", where, "Choose another model", FailureKind.REFUSED)


async def _thinking(wanted: str, provider: Provider, model: Model) -> str:
    """How to ask for thoughts; `auto` where the model is known not to think, as servers refuse it there."""
    if wanted == "auto":
        return wanted
    abilities = (
        model.abilities or (await provider.show(model.key)).abilities if Capability.SHOW in provider.capabilities else model.abilities
    )
    return wanted if not abilities or Ability.THINKING in abilities else "auto"


async def chat(context: Context) -> int:
    """Send one prompt and print the answer; both are stored unless `chat.save` is off."""
    context.allow("Chatting")
    options = read_options(context.args.option)
    prompt = await make_prompt(context)
    if not prompt.strip():
        message("There is no prompt. Give one as an argument, or on standard input.")
        return USAGE
    provider, model = await _installed(context)
    _may_answer(context, provider, model, Capability.CHAT)
    await context.trust(provider.endpoint, "your prompt")
    settings, endpoint = context.settings.chat, provider.endpoint
    kept = ConversationSettings(system=context.args.system or settings.system, options=options)
    sent = {**settings.preset_options(kept.preset), **settings.options.sent(), **options}
    store: ChatStore = Conversations(context.writable()) if settings.save else Memory(SYSTEM)
    head = await store.create(endpoint.name, model.key, title=title_of(prompt), settings=kept)
    question = Message(0, head.id, 0, Role.USER, prompt, created_at=time.time())
    empty = replace(
        question, role=Role.ASSISTANT, content="", state=AnswerState.WAITING, provider=endpoint.name, model=model.key, created_at=0.0
    )
    question, row = await store.add_messages([question, empty], chain=True)
    think = await _thinking(settings.think, provider, model)
    request = ChatRequest(model.key, (question,), kept.system, think, sent, endpoint.keep_alive)
    try:
        ended, code = await _write(context, row, store, lambda: provider.chat(request))
        if settings.save and ended.state in (AnswerState.COMPLETE, AnswerState.LENGTH):
            await Measurements(context.database()).add(endpoint.name, model.key, ended.metrics)
    finally:
        with contextlib.suppress(PaddockError):
            await store.release_lease(head.id)
    return code


async def complete(context: Context) -> int:
    """Fill the gap between two files; nothing is stored."""
    context.allow("Completing")
    options = read_options(context.args.option)
    prefix, suffix = read_file(context.args.prefix), read_file(context.args.suffix) if context.args.suffix else ""
    provider, model = await context.with_model(context.args.model, context.args.on)
    _may_answer(context, provider, model, Capability.COMPLETE)
    await context.trust(provider.endpoint, "your text")
    memory = Memory(SYSTEM)
    head = await memory.create(provider.endpoint.name, model.key)
    empty = Message(0, head.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING, provider=provider.endpoint.name, model=model.key)
    (row,) = await memory.add_messages([empty])
    request = CompletionRequest(model.key, prefix, suffix, options, provider.endpoint.keep_alive)
    _, code = await _write(context, row, memory, lambda: provider.complete(request))
    return code
