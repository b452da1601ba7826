"""Loaded models of all providers, with what their servers, our own answers and this machine tell about them. Pure but for `Used`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tui.core.models import Endpoint, ModelKey, RunningModel
from tui.core.monitor import Loaded, ServerFigures
from tui.core.names import same
from tui.services.monitor.joining import Join

if TYPE_CHECKING:
    from tui.services.chat.api import LiveAnswer

_WRITES: Final = ("thinking", "writing")
_STAY: Final = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h)){1,4}\Z|\d{1,9}(?:\.\d{1,9})?\Z")
_PART: Final = re.compile(r"([\d.]+)(ms|s|m|h|\Z)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def loaded_models(
    models: Sequence[RunningModel],
    here: frozenset[str],
    joins: Mapping[ModelKey, Join],
    servers: Mapping[str, ServerFigures],
    by_model: Mapping[ModelKey, ServerFigures],
    live: Sequence[LiveAnswer],
    cards: Mapping[str, int],
    used: Mapping[ModelKey, float],
) -> tuple[Loaded, ...]:
    """Every loaded model.

    Args:
        models: As the providers list them.
        here: Providers of this machine.
        joins: Where the models of this machine are.
        servers: What servers tell.
        by_model: The same of models, where servers tell them apart.
        live: Our answers that are being written.
        cards: Numbers of GPUs by uuid.
        used: When models were last used, epoch seconds, as far as known.
    """
    alone = {name for name in {model.provider for model in models} if sum(model.provider == name for model in models) == 1}
    found = []
    for model in models:
        key = (model.provider, model.key)
        figures = by_model.get(key) or (servers.get(model.provider) if model.provider in alone else None)
        join = joins.get(key, Join()) if model.provider in here else Join()
        mine = [answer for answer in live if is_of(answer, model)]
        found.append(_one(model, model.provider in here, join, figures, mine, cards, used.get(key)))
    return tuple(found)


def is_of(answer: LiveAnswer, model: RunningModel) -> bool:
    """Whether a model writes this answer."""
    return answer.provider == model.provider and (answer.model in (model.key, model.name) or same(answer.model, model.name))


def _one(
    model: RunningModel,
    here: bool,
    join: Join,
    figures: ServerFigures | None,
    mine: Sequence[LiveAnswer],
    cards: Mapping[str, int],
    used: float | None,
) -> Loaded:
    figures = figures or ServerFigures(model.provider)
    running = figures.running if figures.running is not None else model.busy_slots
    return Loaded(
        model,
        here,
        words_of_cards(join.gpus, cards),
        join.about,
        tuple(sorted(join.pids)),
        kv_used=figures.kv_used,
        rate=_rate(figures.rate if figures.rate is not None else model.rate, running, mine),
        running=running,
        waiting=figures.waiting if figures.waiting is not None else model.waiting,
        own=len(mine),
        last_used=used,
    )


def _rate(told: float | None, running: int | None, mine: Sequence[LiveAnswer]) -> float | None:
    """Ours as we measure it where nobody else asks; else the server's."""
    ours = sum(answer.timeline.rate or 0.0 for answer in mine if answer.phase in _WRITES)
    if ours and (told is None or running is None or running <= len(mine)):
        return ours
    return told or None


def words_of_cards(gpus: Mapping[str, int], cards: Mapping[str, int]) -> str:
    """`GPU0`, `GPU0+1`."""
    numbers = sorted(cards[uuid] for uuid, memory in gpus.items() if memory and uuid in cards)
    return f"GPU{'+'.join(map(str, numbers))}" if numbers else ""


class Used:
    """When models were last used, as far as that was seen: while they work, and when their server sets their time anew."""

    def __init__(self) -> None:
        self._expires: dict[ModelKey, float | None] = {}
        self._used: dict[ModelKey, float] = {}

    def look(self, models: Iterable[tuple[RunningModel, bool]], endpoints: Mapping[str, Endpoint], now: float) -> dict[ModelKey, float]:
        """What is known now.

        Args:
            models: What is loaded, and whether it works on something.
            endpoints: Of the providers: with how long models stay, where the user said so.
            now: Epoch seconds.
        """
        seen: dict[ModelKey, float | None] = {}
        for model, busy in models:
            key = (model.provider, model.key)
            seen[key] = model.expires_at
            before = self._expires.get(key)
            if busy or (before is not None and model.expires_at is not None and model.expires_at - before > 1):
                self._used[key] = now
            elif key not in self._used and (since := _since(model, endpoints.get(model.provider), now)) is not None:
                self._used[key] = since
        self._expires = seen
        self._used = {key: used for key, used in self._used.items() if key in seen}
        return dict(self._used)


def _since(model: RunningModel, endpoint: Endpoint | None, now: float) -> float | None:
    """When a model was used that leaves at a known time after a stay that the user set."""
    stay = stay_of(endpoint.keep_alive) if endpoint is not None else None
    if not stay or model.expires_at is None:
        return None
    used = model.expires_at - stay
    return used if used <= now else None


def stay_of(keep_alive: str) -> float | None:
    """Seconds of a keep-alive as it is sent (`10m`, `1h30m`, `300`); None where it is for ever, or no such time."""
    text = keep_alive.strip()
    if not _STAY.match(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
