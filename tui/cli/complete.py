"""complete: fill the gap in a text, for editors; the suggestion goes to standard output, nothing else does, and nothing is stored."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from tui.cli.answering import Printer, may_answer, tell_dropped, tell_end, write
from tui.cli.chat import sampling_options
from tui.cli.context import Context, wrong_usage
from tui.cli.limited import within_limits
from tui.cli.output import DONE, FAILED, USAGE, message, read_input
from tui.core.capabilities import Ability, Capability
from tui.core.chat import AnswerState, CompletionRequest, Message, Role
from tui.core.clock import SYSTEM
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import StreamEvent
from tui.services.chat.attachments import read_file
from tui.services.chat.memory import Memory
from tui.services.filling import Way, abilities_of, filled, ways
from tui.text import clean_door, clean_name

MOST: Final = 20
"""Suggestions at once."""
_SEEDS: Final = 2**31


async def _read(name: str) -> str:
    """A text file, or with `-` standard input; raises PaddockError of kind CONFIG where it is none."""
    if name == "-":
        return clean_door((await read_input()).decode("utf-8", "replace"))
    try:
        return read_file(Path(name)).text
    except PaddockError as error:
        raise wrong_usage(error) from None


async def _parts(context: Context) -> tuple[str, str]:
    """What stands before and behind the gap."""
    args = context.args
    if args.cursor and args.suffix:
        raise PaddockError.of("--cursor and --suffix exclude each other", "", "Give one of them", FailureKind.CONFIG)
    if args.prefix == args.suffix == "-":
        raise PaddockError.of("Standard input can be read once", "", "Use --cursor, or a file", FailureKind.CONFIG)
    prefix = await _read(args.prefix)
    if args.cursor:
        before, mark, after = prefix.partition(args.cursor)
        if not mark:
            where = clean_name(args.prefix)
            raise PaddockError.of(f"There is no {clean_name(args.cursor, 40)} in the text", where, "Mark the place", FailureKind.CONFIG)
        return before, after
    return prefix, await _read(args.suffix) if args.suffix else ""


async def complete(context: Context) -> int:
    """Suggest what stands in a gap, once or several times."""
    context.allow("Completing")
    args, models = context.args, context.settings.models
    options = sampling_options(args.option)
    if not 1 <= args.count <= MOST:
        message(f"-n takes 1 to {MOST}.")
        return USAGE
    prefix, suffix = await _parts(context)
    if not prefix and not suffix:
        message("There is no text to complete.")
        return USAGE
    provider, model = await context.with_model(args.model, args.on)
    may_answer(context, provider, model, Capability.COMPLETE)
    await context.trust(provider.endpoint, "your text")
    sent = {**models.options_of(model.key), **context.settings.chat.options.sent(), **options}
    tell_dropped(provider, sent)
    known: frozenset[Ability] = await abilities_of(provider, model.key, model.abilities) if suffix else model.abilities
    keep_alive, code = models.keep_alive_of(model.key) or provider.endpoint.keep_alive, DONE
    async with within_limits(context, provider, model):
        for number in range(args.count):
            seeded = sent if not number else {**sent, "seed": _seed(sent, number)}
            plan = ways(provider, CompletionRequest(model.key, prefix, suffix, seeded, keep_alive, args.raw), known)
            if number and not context.json:
                print("\0", end="", flush=True)
            code = await _once(context, provider, plan, number)
            if code:
                break
    return code


def _seed(options: Mapping[str, Any], number: int) -> int:
    seed = options.get("seed")
    return (seed + number) % _SEEDS if isinstance(seed, int) and seed >= 0 else random.randrange(_SEEDS)


async def _once(context: Context, provider: Any, plan: tuple[Way, ...], number: int) -> int:
    store, used = Memory(SYSTEM), [plan[0]]
    model = plan[0].request.model
    head = await store.create(provider.endpoint.name, model)
    row = Message(0, head.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING, provider=provider.endpoint.name, model=model)
    (row,) = await store.add_messages([row])

    async def events() -> AsyncIterator[StreamEvent]:
        async with aclosing(filled(provider, plan, used.append)) as stream:  # type: ignore[type-var]
            async for event in stream:
                yield event

    def ended(_message: Message) -> Mapping[str, Any]:
        return {"provider": provider.endpoint.name, "model": model, "filled": used[-1].filled, "note": used[-1].note}

    def code_of(written: Message) -> int:
        if used[-1].note and written.content and not number:
            message(f"{used[-1].note}.")
        if written.state is AnswerState.LENGTH:
            message("The suggestion is cut: it reached its longest length. Set num_predict higher with --option.")
            return DONE
        if written.state is AnswerState.COMPLETE:
            if not written.content.strip():
                message("The model has nothing to add.")
            return DONE
        return tell_end(written) or FAILED

    printer = Printer(context.json, end_line=False, more={"candidate": number})
    _, code = await write(context, row, store, events, printer, ended=ended, code_of=code_of)
    return code
