"""What is sent: which model, which options, which messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tui.config.settings import Settings
from tui.core.capabilities import Ability, Capability
from tui.core.chat import ChatRequest, ConversationHead, ConversationSettings, Message
from tui.core.errors import Failure, FailureKind
from tui.core.models import Model
from tui.core.names import same
from tui.services.chat.context import sent_messages
from tui.services.chat.host import ChatHost
from tui.text import clean_label, clean_name

if TYPE_CHECKING:
    pass

TITLE: int = 48
"""Characters of a title made from the first prompt."""


def title_of(text: str) -> str:
    """A title: the first words of the first line that has any."""
    line = next((line.strip() for line in text.splitlines() if line.strip(" #>*`-\t")), "").lstrip("#>*`- ")
    line = clean_label(line, 1000)
    if len(line) <= TITLE:
        return line
    cut = line[:TITLE].rsplit(" ", 1)[0]
    return (cut if len(cut) > TITLE // 2 else line[:TITLE]).rstrip(" ,.;:") + "\u2026"


def options_of(settings: Settings, chosen: ConversationSettings) -> dict[str, Any]:
    """The preset's options, then those of the settings, then those of the conversation; only what is set."""
    merged = {**settings.chat.preset_options(chosen.preset), **settings.chat.options.sent(), **chosen.options}
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

    def known(name: str) -> str:
        return next((model.key for model in usable if model.key == name or same(model.name, name)), "")

    wanted = [head.model for head in heads if head.provider == provider]
    wanted += [*settings.models.preferred, *(other.key for other in host.running() if other.provider == provider)]
    return next((found for name in wanted if (found := known(name))), usable[0].key if usable else "")


def thinking_of(host: ChatHost, provider: str, model: str, chosen: ConversationSettings) -> str:
    """How to ask for thoughts; `auto` where the model is known not to think, as servers refuse it there."""
    think = chosen.think if chosen.think != "auto" else host.settings().chat.think
    if think == "auto":
        return think
    detail, listed = host.detail(provider, model), find_model(host, provider, model)
    abilities = detail.abilities if detail is not None else listed.abilities if listed is not None else frozenset[Ability]()
    return think if not abilities or Ability.THINKING in abilities else "auto"


def build(host: ChatHost, provider: str, model: str, chosen: ConversationSettings, messages: Sequence[Message]) -> ChatRequest:
    """The request for the next answer; `messages` end with what is answered or continued."""
    return ChatRequest(
        model=model,
        messages=sent_messages(messages),
        system=chosen.system,
        think=thinking_of(host, provider, model, chosen),
        options=options_of(host.settings(), chosen),
        keep_alive=chosen.keep_alive,
    )


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


async def offer_pull(host: ChatHost, provider: str, model: str) -> None:
    """After an answer failed because the model is not there: as `models.auto_pull` says."""
    policy = host.settings().models.auto_pull
    if policy == "never" or not can_pull(host, provider):
        return
    name, where = clean_name(model), clean_name(provider)
    if policy == "ask":
        choices = (("no", "Not now"), ("pull", f"Pull {name}"))
        if await host.ask(f"{name} is not installed on {where}. Pull it?", choices) != "pull":
            return
    host.add_pull(model, provider)
    host.notice(f"Pulling {name}; retry with r when it is there")
