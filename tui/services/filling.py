"""How a gap in a text is filled on each kind of server: its own call, the model's own tokens, or only going on from what stands before."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, cast

from tui.core.capabilities import Ability, Capability
from tui.core.chat import CompletionRequest
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import StreamEvent
from tui.core.fim import fim_of, trimmed
from tui.core.record import record
from tui.providers.base import Provider
from tui.providers.catalogue import kind_named
from tui.text import clean_name

LONGEST: Final = 512
"""Tokens of a completion where `num_predict` is not set: a base model never ends by itself."""


@record(frozen=True)
class Way:
    """One way to ask.

    Attributes:
        filled: What stands behind the gap is sent too.
        note: What the user should know of it, or empty.
        stops: Tokens that are no part of the text.
    """

    request: CompletionRequest
    filled: bool = True
    note: str = ""
    stops: tuple[str, ...] = ()


def _stopped(request: CompletionRequest, stops: tuple[str, ...]) -> Mapping[str, Any]:
    own = request.options.get("stop")
    before = [own] if isinstance(own, str) else [str(stop) for stop in own] if isinstance(own, (list, tuple)) else []
    return {**request.options, "stop": [*before, *(stop for stop in stops if stop not in before)]}


def ways(provider: Provider, wanted: CompletionRequest, abilities: frozenset[Ability] = frozenset()) -> tuple[Way, ...]:
    """The ways to ask for a completion, best first; each later one is for a server or model that refuses the one before.

    Text alone is gone on with as it stands (Ollama: raw, else its chat template would make a question of it). With a suffix: the
    server's call (`suffix`, `/infill`) unless `raw` forbids its template; then the model family's own tokens, raw; then without it.

    Args:
        provider: The server.
        wanted: Prefix, suffix, options; without `num_predict` at most `LONGEST` tokens are asked for.
        abilities: What the model can, empty where that is not known.

    Raises:
        PaddockError: Nothing stands before the gap, and this model knows no way to begin a text (kind UNSUPPORTED).
    """
    if wanted.options.get("num_predict") is None:
        wanted = replace(wanted, options={**wanted.options, "num_predict": LONGEST})
    plain = replace(wanted, suffix="", raw=True)
    if wanted.prompt and not wanted.suffix:
        return (Way(plain),)
    family = fim_of(wanted.model)
    stops = family.stops if family is not None else ()
    found = []
    if not wanted.raw and _fills_itself(provider, abilities, wanted.prompt):
        found.append(Way(wanted, stops=stops))
    if family is not None:
        request = replace(plain, prompt=family.prompt(wanted.prompt, wanted.suffix), options=_stopped(wanted, stops))
        found.append(Way(request, stops=stops))
    name = clean_name(wanted.model, 60)
    if wanted.prompt:
        found.append(Way(plain, False, f"{name} knows no way to fill a gap: it goes on from the text before it"))
    if not found:
        raise PaddockError.of(f"{name} needs some text before the gap", "", "Write its beginning", FailureKind.UNSUPPORTED)
    return tuple(found)


def _fills_itself(provider: Provider, abilities: frozenset[Ability], prefix: str) -> bool:
    kind = kind_named(provider.endpoint.kind)
    if kind is None:
        return False
    if kind.family == "ollama":
        return bool(prefix) and (not abilities or Ability.INSERT in abilities)  # an empty prompt only loads the model there
    return Capability.INFILL in provider.capabilities or kind.chat.suffix


async def filled(provider: Provider, plan: Sequence[Way], chosen: Callable[[Way], None]) -> AsyncIterator[StreamEvent]:
    """Stream a completion by the first way that is not refused before its first token; `chosen` is told each one that is tried.

    Raises:
        PaddockError: As `Provider.complete`, of the last way where all were refused.
    """
    for index, way in enumerate(plan):
        chosen(way)
        began = False
        try:
            events = cast(AsyncGenerator[StreamEvent, None], trimmed(provider.complete(way.request), way.stops))
            async with aclosing(events) as stream:
                async for event in stream:
                    began = True
                    yield event
            return
        except PaddockError as error:
            refused = error.failure.kind in (FailureKind.UNSUPPORTED, FailureKind.BAD_REQUEST)
            if began or not refused or index == len(plan) - 1:
                raise


async def abilities_of(provider: Provider, model: str, known: frozenset[Ability]) -> frozenset[Ability]:
    """What a model can: as the server describes it, else what its list said."""
    if Capability.SHOW not in provider.capabilities:
        return known
    try:
        return (await provider.show(model)).abilities or known
    except PaddockError:
        return known
