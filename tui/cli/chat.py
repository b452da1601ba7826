"""chat and complete: the answer goes to standard output, nothing else does."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, USAGE, emit, message, report
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Delta, Done, Metrics, StreamEvent, Thinking
from tui.core.models import AnswerState, ChatRequest, CompletionRequest, ConversationSettings, Message, Role
from tui.store.conversations import Conversations
from tui.text import StreamCleaner, clean_door, clean_label, clean_name


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


def _file(name: str) -> str:
    try:
        return clean_door(Path(name).expanduser().read_text("utf-8"))
    except OSError as error:
        why = clean_label(error.strerror or "not readable").lower()
        raise PaddockError.of(f"The file cannot be read: {why}", clean_name(name), "Check its name", FailureKind.CONFIG) from error
    except ValueError as error:
        raise PaddockError.of("The file is no UTF-8 text", clean_name(name), "Give a text file", FailureKind.CONFIG) from error


def _prompt(context: Context) -> str:
    parts = [f"{Path(name).name}:\n{_file(name)}" for name in context.args.attach]
    if context.args.prompt is not None:
        parts.append(clean_door(context.args.prompt))
    if not sys.stdin.isatty() and (context.args.prompt is None or context.args.prompt == "-"):
        piped = clean_door(sys.stdin.buffer.read().decode("utf-8", "replace"))
        parts = [part for part in parts if part != "-"] + ([piped] if piped.strip() else [])
    return "\n\n".join(part for part in parts if part)


class _Answer:
    """Prints an answer as it comes and keeps how it ended."""

    def __init__(self, context: Context) -> None:
        self.state = AnswerState.INTERRUPTED
        self.failure: Failure | None = None
        self.text = ""
        self.thinking = ""
        self.metrics = Metrics()
        self._json = context.json
        self._cleaner = StreamCleaner()

    async def run(self, events: AsyncIterator[StreamEvent]) -> None:
        """Read to the end; raises only what ends the program."""
        try:
            async for event in events:
                self._take(event)
        except PaddockError as error:
            self.failure = error.failure
            self.state = AnswerState.INTERRUPTED if self.text or self.thinking else AnswerState.FAILED
        except (asyncio.CancelledError, KeyboardInterrupt, BrokenPipeError):
            self.state = AnswerState.STOPPED
            raise
        finally:
            if not self._json and self.state is not AnswerState.STOPPED:
                self._write(self._cleaner.close())
                if self.text and not self.text.endswith("\n"):
                    self._write("\n")

    def _take(self, event: StreamEvent) -> None:
        if isinstance(event, Delta):
            self.text += event.text
            if self._json:
                emit({"text": event.text})
            else:
                self._write(self._cleaner.feed(event.text))
        elif isinstance(event, Thinking):
            self.thinking += event.text
            if self._json:
                emit({"thinking": event.text})
        elif isinstance(event, Done):
            self.state = AnswerState.LENGTH if event.reason == "length" else AnswerState.COMPLETE
            self.metrics = event.metrics

    def _write(self, text: str) -> None:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()

    def code(self) -> int:
        """Say how it ended where that is not well; returns the exit code."""
        if self._json:
            emit({"state": self.state, "metrics": self.metrics, "failure": self.failure})
        if self.failure is not None:
            code = report(self.failure)
            return FAILED if self.state is AnswerState.INTERRUPTED else code
        if self.state is AnswerState.LENGTH:
            message("The answer was cut at its longest length (num_predict or the context).")
        return DONE if self.state in (AnswerState.COMPLETE, AnswerState.LENGTH) else FAILED


async def chat(context: Context) -> int:
    """Send one prompt and print the answer."""
    options = read_options(context.args.option)
    prompt = _prompt(context)
    if not prompt.strip():
        message("There is no prompt. Give one as an argument, or on standard input.")
        return USAGE
    provider, model = await context.with_model(context.args.model, context.args.on)
    settings = context.settings.chat
    system = context.args.system or settings.system
    merged = {**settings.preset_options(settings.preset), **settings.options.sent(), **options}
    question = Message(0, 0, 0, Role.USER, prompt, created_at=time.time())
    store: Conversations | None = None
    stored: Message | None = None
    if settings.save:
        store = Conversations(context.database())
        kept = ConversationSettings(system=system, think=settings.think, options=merged)
        head = await store.create(provider.endpoint.name, model.key, title=clean_label(prompt, 60), settings=kept)
        question = replace(question, conversation=head.id)
        empty = replace(
            question, role=Role.ASSISTANT, content="", state=AnswerState.WAITING, provider=provider.endpoint.name, model=model.key
        )
        question, stored = await store.add_messages([question, empty])
    request = ChatRequest(model.key, (question,), system, settings.think, merged, provider.endpoint.keep_alive)
    answer = _Answer(context)
    try:
        await answer.run(provider.chat(request))
    finally:
        if store is not None and stored is not None:
            await store.finish_answer(
                replace(
                    stored,
                    content=answer.text,
                    thinking=answer.thinking,
                    state=answer.state,
                    failure=answer.failure,
                    metrics=answer.metrics,
                )
            )
    return answer.code()


async def complete(context: Context) -> int:
    """Fill the gap between two files."""
    options = read_options(context.args.option)
    prefix, suffix = _file(context.args.prefix), _file(context.args.suffix) if context.args.suffix else ""
    provider, model = await context.with_model(context.args.model, context.args.on)
    answer = _Answer(context)
    await answer.run(provider.complete(CompletionRequest(model.key, prefix, suffix, options, provider.endpoint.keep_alive)))
    return answer.code()
