"""chat: one prompt; the answer goes to standard output, nothing else does. Tools are not offered here: nobody could be asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from tui.cli.answering import Printer, may_answer, tell_dropped, tell_end, write
from tui.cli.context import Context, wrong_usage
from tui.cli.limited import within_limits
from tui.cli.output import FAILED, USAGE, ask, message, piped, read_input
from tui.cli.seen import Seen
from tui.config import schema
from tui.core.capabilities import Ability, Capability
from tui.core.chat import AnswerState, Attachment, AttachmentKind, ChatRequest, ConversationSettings, Message, Role
from tui.core.clock import SYSTEM
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Model
from tui.core.names import normal
from tui.providers.base import Provider
from tui.services.chat.asking import title_of
from tui.services.chat.attachments import read_file
from tui.services.chat.formats import check_format
from tui.services.chat.memory import ChatStore, Memory
from tui.services.chat.tokens import estimate
from tui.store.conversations import Conversations
from tui.store.measurements import Measurements
from tui.text import clean_door, clean_name, nearest

WAITS: float = 2.0
"""Seconds after which it is said that standard input is waited for."""
THINK: Final = ("auto", "on", "off", "low", "medium", "high")


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


def sampling_options(pairs: list[str]) -> dict[str, Any]:
    """Read `K=V` pairs as what an answer is sampled with; a value out of range is none that a server should have to mend silently.

    Raises:
        PaddockError: There is no such option, or the value is not allowed (kind CONFIG).
    """
    options = read_options(pairs)
    known = [field.key for field in schema.fields() if field.section == "chat.options"]
    for key, value in options.items():
        if key not in known:
            near = nearest(key, known)
            remedy = f"Did you mean {near}?" if near else f"There are: {', '.join(known)}"
            raise PaddockError.of(f"There is no option {clean_name(key, 60)}", "--option", remedy, FailureKind.CONFIG)
        schema.raw_value(("chat", "options", key), value)
    return options


def read_attachments(names: list[str]) -> tuple[Attachment, ...]:
    """The files to send along.

    Raises:
        PaddockError: One cannot be (kind CONFIG).
    """
    try:
        return tuple(read_file(Path(name)) for name in names)
    except PaddockError as error:
        raise wrong_usage(error) from None


def read_format(given: str) -> Any:
    """What `--format` asks for: None, `json`, or the schema in a file.

    Raises:
        PaddockError: The file cannot be read, or holds no object (kind CONFIG).
    """
    if given in ("", "json"):
        return given or None
    (file,) = read_attachments([given])
    try:
        schema = json.loads(file.text)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise PaddockError.of("This is no JSON schema", clean_name(given), "Name a file with a JSON object", FailureKind.CONFIG)
    return schema


async def make_prompt(context: Context) -> str:
    """The prompt of argument and piped standard input, in this order.

    Without an argument, or with `-`, standard input is read whatever it is, a terminal without `-` aside.
    """
    given = context.args.prompt
    parts = [] if given in (None, "-") else [clean_door(given)]
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


async def _abilities(provider: Provider, model: Model) -> frozenset[Ability]:
    """What the model can, empty where nobody says."""
    if model.abilities or Capability.SHOW not in provider.capabilities:
        return model.abilities
    return (await provider.show(model.key)).abilities


async def _fitting(wanted: str, *, asked: bool, provider: Provider, model: Model, attachments: tuple[Attachment, ...]) -> str:
    """How to ask for thoughts, `auto` where the model is known not to think and the settings only ask, as servers refuse it there.

    Raises:
        PaddockError: There are images, and the model cannot see (kind UNSUPPORTED).
    """
    images = [attachment for attachment in attachments if attachment.kind is AttachmentKind.IMAGE]
    if not images and (wanted == "auto" or asked):
        return wanted
    abilities = await _abilities(provider, model)
    if images and abilities and Ability.VISION not in abilities:
        what = f"{model.name} cannot see: {clean_name(images[0].name, 100)} is an image"
        raise PaddockError.of(what, provider.endpoint.name, "Choose a model for images", FailureKind.UNSUPPORTED)
    return wanted if asked or not abilities or Ability.THINKING in abilities else "auto"


def _preset(context: Context) -> str:
    name: str = context.args.preset
    known = context.settings.chat.preset_names()
    if name and name not in known:
        near = nearest(name, list(known))
        remedy = f"The nearest is {near}" if near else f"There are: {', '.join(known)}"
        raise PaddockError.of(f"There is no preset {clean_name(name, 60)}", "--preset", remedy, FailureKind.CONFIG)
    return name


async def chat(context: Context) -> int:
    """Send one prompt and print the answer; both are stored unless `chat.save` is off."""
    context.allow("Chatting")
    args, settings = context.args, context.settings.chat
    options, preset, wanted = sampling_options(args.option), _preset(context), read_format(args.format)
    attachments = read_attachments(args.attach)
    prompt = await make_prompt(context)
    if not prompt.strip() and not attachments:
        message("There is no prompt. Give one as an argument, or on standard input.")
        return USAGE
    provider, model = await _installed(context)
    endpoint = provider.endpoint
    may_answer(context, provider, model, Capability.CHAT)
    think = await _fitting(args.think or settings.think, asked=bool(args.think), provider=provider, model=model, attachments=attachments)
    await context.trust(endpoint, "your prompt")
    kept = ConversationSettings(
        system=args.system or settings.system, think=args.think or "auto", preset=preset, options=options, format=wanted
    )
    async with within_limits(context, provider, model):
        return await _ask(context, provider, model, kept, think, Prompt(prompt, attachments))


class Prompt(NamedTuple):
    """What is asked."""

    text: str
    attachments: tuple[Attachment, ...]


async def _ask(context: Context, provider: Provider, model: Model, kept: ConversationSettings, think: str, prompt: Prompt) -> int:
    settings, models, endpoint = context.settings.chat, context.settings.models, provider.endpoint
    sent = {**settings.preset_options(kept.preset), **models.options_of(model.key), **settings.options.sent(), **kept.options}
    keep_alive, wanted = models.keep_alive_of(model.key), kept.format
    dropped = tell_dropped(provider, sent, think, keep_alive)
    save = settings.save and not context.args.no_save
    store: ChatStore = Conversations(context.writable()) if save else Memory(SYSTEM)
    title = title_of(prompt.text) if prompt.text.strip() else prompt.attachments[0].name
    head = await store.create(endpoint.name, model.key, title=title, settings=kept)
    question = Message(0, head.id, 0, Role.USER, prompt.text, created_at=time.time(), attachments=prompt.attachments)
    asked = {**sent, **({"think": think} if think != "auto" else {}), **({"format": wanted} if wanted else {})}
    row = Message(
        0, head.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING, provider=endpoint.name, model=model.key, options=asked,
        prompt_estimate=estimate([question], kept.system),
    )  # fmt: skip
    stored, row = await store.add_messages([question, row], chain=True)
    messages = (replace(stored, attachments=prompt.attachments),)  # what is stored comes back without the bytes of images
    request = ChatRequest(model.key, messages, kept.system, think, sent, keep_alive or endpoint.keep_alive, wanted)
    seen = Seen(provider, request)

    def ended(answer: Message) -> Mapping[str, Any]:
        told = {"chat": head.id if save else None, "provider": endpoint.name, "model": answer.model, "not_sent": list(dropped)}
        told["alarm"] = seen.alarm(answer)
        return {**told, "format": check_format(answer.content, wanted)} if wanted is not None else told

    def code_of(answer: Message) -> int:
        seen.tell(answer)
        code = tell_end(answer)
        if not code and (why := check_format(answer.content, wanted)):
            message(f"The answer is {why}.")
            return FAILED
        return code

    try:
        printer = Printer(context.json)
        answer, code = await write(context, row, store, seen.events, printer, ended=ended, code_of=code_of)
        if save and answer.state in (AnswerState.COMPLETE, AnswerState.LENGTH):
            held, first = seen.held, answer.timeline.first_token
            await Measurements(context.database()).add(endpoint.name, model.key, answer.metrics, first_token=first, loaded=held)
    finally:
        with contextlib.suppress(PaddockError):
            await store.release_lease(head.id)
    return code
