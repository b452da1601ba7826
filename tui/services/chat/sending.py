"""What is sent: which model, which options, which messages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tui.config.settings import Settings
from tui.core.capabilities import Ability, Capability
from tui.core.chat import Attachment, AttachmentKind, ChatRequest, ConversationHead, ConversationSettings, Message, Role
from tui.core.errors import Failure, FailureKind
from tui.core.fit import need_of as memory_of
from tui.core.fit import subject_of
from tui.core.models import Location, Model
from tui.core.names import same
from tui.services.chat import asking, context, tools
from tui.services.chat.host import ChatHost
from tui.services.chat.memory import ChatStore
from tui.services.chat.session import Session
from tui.text import clean_name

CONTEXT: Final = 8192
"""Tokens of context that a model's memory is estimated for where nothing else is set."""


def options_of(settings: Settings, model: str, chosen: ConversationSettings) -> dict[str, Any]:
    """What is set, the last wins: the preset, the model's own table, `[chat.options]`, the conversation."""
    merged = {
        **settings.chat.preset_options(chosen.preset),
        **settings.models.options_of(model),
        **settings.chat.options.sent(),
        **chosen.options,
    }
    return {name: value for name, value in merged.items() if value is not None}


def find_model(host: ChatHost, provider: str, model: str) -> Model | None:
    """The listed model of this name."""
    for other in host.models():
        if other.provider == provider and (other.key == model or same(other.name, model)):
            return other
    return None


def pick_model(host: ChatHost, provider: str, heads: Sequence[ConversationHead]) -> str:
    """A model to begin with: the configured one, the last used, a preferred one, one in memory, any that can chat."""
    settings = host.settings()
    if settings.general.default_model:
        return settings.general.default_model
    offered = [model for model in host.models() if model.provider == provider]
    usable = [model for model in offered if not model.abilities or Ability.COMPLETION in model.abilities]
    usable = [model for model in usable if clean_name(model.key, len(model.key) + 1) == model.key]  # no unusual name is chosen for anybody

    def known(name: str) -> str:
        return next((model.key for model in usable if model.key == name or same(model.name, name)), "")

    wanted = [head.model for head in heads if head.provider == provider]
    wanted += [*settings.models.preferred, *(other.key for other in host.running() if other.provider == provider)]
    return next((found for name in wanted if (found := known(name))), usable[0].key if usable else "")


def abilities_of(host: ChatHost, provider: str, model: str) -> frozenset[Ability]:
    """What a model can do; empty where that is not known."""
    detail, listed = host.detail(provider, model), find_model(host, provider, model)
    return detail.abilities if detail is not None else listed.abilities if listed is not None else frozenset[Ability]()


def thinking_of(host: ChatHost, provider: str, model: str, chosen: ConversationSettings) -> str:
    """How to ask for thoughts; `auto` where the model is known not to think, as servers refuse it there."""
    think = chosen.think if chosen.think != "auto" else host.settings().chat.think
    if think == "auto":
        return think
    abilities = abilities_of(host, provider, model)
    return think if not abilities or Ability.THINKING in abilities else "auto"


def build(host: ChatHost, session: Session, row: Message, changes: Mapping[str, Any] | None = None) -> ChatRequest:
    """The request for an answer: the branch up to it, and what it already holds where it is continued."""
    chosen, settings = session.settings, host.settings()
    sent = context.sent([*session.upto(row.parent), row])
    abilities = abilities_of(host, row.provider, row.model)
    blind = bool(abilities) and Ability.VISION not in abilities
    return ChatRequest(
        model=row.model,
        messages=tuple(without_images(message) for message in sent.messages) if blind else sent.messages,
        system=sent.system(chosen.system),
        think=thinking_of(host, row.provider, row.model, chosen),
        options={**options_of(settings, row.model, chosen), **(changes or {})},
        keep_alive=chosen.keep_alive or settings.models.keep_alive_of(row.model),
        format=chosen.format,
        tools=tools.offered(settings, chosen.tools),
    )


def same_load(host: ChatHost, session: Session) -> asking.Load:
    """How the model is loaded for this conversation, for a question beside it."""
    options = options_of(host.settings(), session.model, session.settings)
    keep_alive = session.settings.keep_alive or host.settings().models.keep_alive_of(session.model)
    return asking.Load({name: options[name] for name in ("num_ctx", "num_gpu") if name in options}, keep_alive)


def need_of(host: ChatHost, provider: str, model: str, chosen: ConversationSettings | None = None) -> int | None:
    """Bytes of memory that a model would take beyond what is in use: 0 where it is loaded, None where its size is not known."""
    if is_loaded(host, provider, model):
        return 0
    listed = find_model(host, provider, model)
    if listed is None or not listed.size:
        return None
    detail = host.detail(provider, model)
    asked = options_of(host.settings(), model, chosen or ConversationSettings()).get("num_ctx")
    length = asked if isinstance(asked, int) else min(CONTEXT, listed.context or CONTEXT)
    subject = subject_of(listed, detail)
    if subject is None:
        return None
    return memory_of(subject, length, *host.taught(provider)).total


def place(host: ChatHost, session: Session) -> context.Place:
    """The model that will be asked, for what its context costs."""
    state = host.provider_state(session.provider)
    here = state is not None and state.location is Location.HERE
    return context.Place(
        provider=session.provider,
        model=session.model,
        running=host.running(),
        listed=find_model(host, session.provider, session.model),
        detail=host.detail(session.provider, session.model),
        settable=state is not None and state.endpoint.kind == "ollama",
        machine=host.machine() if here else None,
        binary=host.settings().appearance.units == "binary",
    )


def weighing(host: ChatHost, session: Session) -> dict[str, Any]:
    """What else of a conversation counts into its context, as `context` takes it."""
    settings, chosen = host.settings(), session.settings
    return {
        "system": chosen.system,
        "tools": tools.offered(settings, chosen.tools),
        "options": options_of(settings, session.model, chosen),
        "calibration": session.calibration,
    }


def without_images(message: Message) -> Message:
    """A message for a model that cannot see; servers drop images silently, or refuse the whole prompt (recordings, chat 12)."""
    kept = tuple(file for file in message.attachments if file.kind is not AttachmentKind.IMAGE)
    return replace(message, attachments=kept) if len(kept) < len(message.attachments) else message


def told(chosen: ConversationSettings, request: ChatRequest) -> dict[str, Any]:
    """What an answer's row keeps of what was asked for: options, preset, thinking, format."""
    kept = dict(request.options)
    if chosen.preset:
        kept["preset"] = chosen.preset
    if request.think != "auto":
        kept["think"] = request.think
    if request.format is not None:
        kept["format"] = "json" if request.format == "json" else "schema"
    return kept


def with_images(store: ChatStore, request: ChatRequest) -> ChatRequest:
    """The request with the bytes of its images."""

    def filled(file: Attachment) -> Attachment:
        wanted = file.kind is AttachmentKind.IMAGE and not file.data and file.id
        return replace(file, data=store.image(file.id)) if wanted else file

    messages = tuple(
        replace(message, attachments=tuple(filled(file) for file in message.attachments)) if message.attachments else message
        for message in request.messages
    )
    return replace(request, messages=messages)


def certain(request: ChatRequest) -> bool:
    """Whether chance has no part in the answer: no temperature, or only ever one candidate; and no tool to call."""
    greedy = request.options.get("temperature") == 0 or request.options.get("top_k") == 1
    return greedy and not request.tools


def digest(host: ChatHost, row: Message, request: ChatRequest) -> str:
    """SHA-256 of all that decides an answer; another build of the model is another question."""
    listed = find_model(host, row.provider, row.model)
    spoken = [
        (message.role, message.content, message.tool_name, [(file.name, file.digest) for file in message.attachments])
        for message in request.messages
    ]
    asked = (
        request.model,
        listed.digest if listed is not None else "",
        request.system,
        request.think,
        request.options,
        request.format,
        spoken,
    )
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()


def can_pull(host: ChatHost, provider: str) -> bool:
    """Whether this server can be told to fetch a model."""
    state = host.provider_state(provider)
    return state is not None and Capability.PULL in state.capabilities


def missing(host: ChatHost, provider: str, model: str) -> Failure | None:
    """A failure where the server's list of models is known and lacks this one."""
    listed = any(other.provider == provider for other in host.models())
    if not listed or not can_pull(host, provider) or find_model(host, provider, model) is not None:
        return None
    what = f"{clean_name(model)} is not installed on {clean_name(provider)}"
    return Failure(what, "", "Pull it, then retry with r", FailureKind.NOT_FOUND)


def is_loaded(host: ChatHost, provider: str, model: str) -> bool | None:
    """Whether a model is in memory; None where the server does not tell."""
    state = host.provider_state(provider)
    if state is None or Capability.RUNNING not in state.capabilities:
        return None
    return any(other.provider == provider and (other.key == model or same(other.name, model)) for other in host.running())


def slots_of(host: ChatHost, provider: str, model: str) -> tuple[int, int] | None:
    """How many requests the server works at, and how many it can; None where it does not say."""
    for other in host.running():
        if other.provider == provider and (other.key == model or same(other.name, model)) and other.slots:
            return (other.busy_slots, other.slots) if other.busy_slots is not None else None
    return None


def last_prompt(messages: Sequence[Message]) -> Message | None:
    """The prompt that was sent last."""
    return next((message for message in reversed(messages) if message.role is Role.USER), None)
