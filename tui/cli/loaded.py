"""What all servers have in memory, for `paddock monitor`: those that answer soon enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from tui.cli.context import Context, named_failure
from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Endpoint, RunningModel
from tui.core.names import same
from tui.core.record import record
from tui.providers.address import display_place
from tui.providers.base import Provider
from tui.providers.metrics import Figures

PATIENCE: Final = 2.0
"""Seconds a server is given."""
MOST: Final = 256
"""Models that are told in all."""


@record(frozen=True)
class InMemory:
    """A model in memory and what its server tells about its work now.

    Attributes:
        rate: Tokens a second it writes, all requests together.
        running: Requests it works on.
        waiting: Requests that wait.
    """

    model: RunningModel
    rate: float | None = None
    running: int | None = None
    waiting: int | None = None


@record(frozen=True)
class Servers:
    """What all servers told: models by provider and name, who answered, and why the others did not."""

    models: tuple[InMemory, ...] = ()
    answered: tuple[str, ...] = ()
    failures: Mapping[str, Failure] = field(default_factory=dict)


Told = Mapping[tuple[str, str], tuple[float, Mapping[str, float]]]
"""By provider and model: when, and the figures."""


class Asking:
    """Asks again and again; rates are between two answers where a server only counts."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._before: Told = {}

    async def ask(self, endpoints: Sequence[Endpoint]) -> Servers:
        """Ask all of them at once, each for at most `PATIENCE`."""
        answers = await asyncio.gather(*(self._one(endpoint) for endpoint in endpoints))
        models: list[InMemory] = []
        told: dict[tuple[str, str], tuple[float, Mapping[str, float]]] = {}
        failures = {}
        for endpoint, answer in zip(endpoints, answers, strict=True):
            if isinstance(answer, Failure):
                failures[endpoint.name] = answer
                continue
            running, figures = answer
            for model in running:
                values = _figures_of(model, figures, alone=len(running) == 1)
                key = (model.provider, model.key)
                told[key] = (time.monotonic(), values)
                models.append(InMemory(model, self._rate(key, told[key]), _whole(values, "running"), _whole(values, "waiting")))
        self._before = told
        models.sort(key=lambda one: (one.model.provider, one.model.name))
        answered = tuple(endpoint.name for endpoint in endpoints if endpoint.name not in failures)
        return Servers(tuple(models[:MOST]), answered, failures)

    def figures(self) -> list[Mapping[str, float]]:
        """What the servers told about their work the last time, by model."""
        return [values for _at, values in self._before.values()]

    async def _one(self, endpoint: Endpoint) -> tuple[tuple[RunningModel, ...], Figures | None] | Failure:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._context.trust(endpoint, "your key", only_with_key=True)
                provider = self._context.connect(endpoint)
                if Capability.RUNNING not in provider.capabilities:
                    await provider.check()
                    return (), None
                return await provider.running(), await _figures(provider)
        except PaddockError as error:
            return named_failure(endpoint, error.failure)
        except TimeoutError:
            what = f"{endpoint.name} did not answer in {PATIENCE:g} s"
            return Failure(what, display_place(endpoint.url), "See whether it is busy", FailureKind.TIMEOUT)

    def _rate(self, key: tuple[str, str], now: tuple[float, Mapping[str, float]]) -> float | None:
        at, values = now
        if "rate" in values:
            return values["rate"]
        before = self._before.get(key)
        for name in ("written", "output_tokens"):
            if before is not None and name in values and name in before[1] and at > before[0]:
                return max(0.0, values[name] - before[1][name]) / (at - before[0])
        return None


async def _figures(provider: Provider) -> Figures | None:
    try:
        return await provider.figures()
    except PaddockError:
        return None


def _figures_of(model: RunningModel, figures: Figures | None, *, alone: bool) -> Mapping[str, float]:
    if figures is None:
        return {}
    for name, values in figures.models.items():
        if name in (model.key, model.name) or same(name, model.key):
            return values
    return figures.values if alone else {}


def _whole(values: Mapping[str, float], name: str) -> int | None:
    return round(values[name]) if name in values else None


def as_json(one: InMemory) -> dict[str, Any]:
    """One model, as docs/monitor-json.md has it."""
    model = one.model
    return {
        "provider": model.provider,
        "model": model.name,
        "size": model.size,
        "vram": model.vram,
        "context": model.context,
        "expires_at": model.expires_at,
        "pinned": model.pinned,
        "rate": one.rate,
        "running": one.running,
        "waiting": one.waiting,
    }
