"""What servers tell about their work, asked again and again: often while somebody looks or a request runs, else now and then.

Each server has a task of its own, so that one that hangs disturbs no other (P38); a task has one request open at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tui.core.capabilities import Capability
from tui.core.errors import PaddockError
from tui.core.models import ModelKey, ProviderStatus
from tui.core.monitor import ServerFigures
from tui.core.observe import Observable
from tui.core.record import record
from tui.providers.base import Provider
from tui.providers.metrics import Figures
from tui.services.monitor.host import MonitorHost

OFTEN: Final = 2.0
"""Seconds between two questions while somebody looks at the Monitor or a request runs."""
SELDOM: Final = 15.0
SLOWEST: Final = 120.0
"""Seconds between two questions to a server that does not answer them in time, at most."""
SHORTEST: Final = 0.2
"""Seconds between two answers below which a rate says nothing."""
MOST_MODELS: Final = 8
"""Models of a router that are asked for."""
AGAIN: Final = 0.1
"""Seconds until a task that should end is told again."""


@record(frozen=True)
class Counted:
    """What was counted when; for rates."""

    at: float
    written: float | None
    prompt_tokens: float | None


def counted(values: Mapping[str, float], at: float) -> Counted:
    """The counters of an answer."""
    return Counted(at, values.get("written"), values.get("prompt_tokens"))


def told(provider: str, figures: Figures, values: Mapping[str, float], at: float, before: Counted | None) -> ServerFigures:
    """An answer in the shape the screens know, with rates since the one before; a counter that was set back gives none."""

    def growth(now: float | None, then: float | None) -> float | None:
        if before is None or now is None or then is None or now < then or at - before.at < SHORTEST:
            return None
        return (now - then) / (at - before.at)

    whole = {name: round(values[name]) for name in ("running", "waiting", "memory") if name in values}
    now = counted(values, at)
    rate = values.get("rate")
    return ServerFigures(
        provider,
        at,
        figures.source,
        running=whole.get("running"),
        waiting=whole.get("waiting"),
        kv_used=values.get("kv_used"),
        rate=rate if rate is not None else growth(now.written, before.written if before else None),
        prompt_rate=growth(now.prompt_tokens, before.prompt_tokens if before else None),
        prompt_tokens=now.prompt_tokens,
        output_tokens=values.get("output_tokens"),
        memory=whole.get("memory"),
        note=figures.note,
    )


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended; more than once: a request that ends in the same moment can swallow it."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=AGAIN)


class Servers:
    """Asks every server that tells figures; runs on the engine's loop.

    Attributes:
        by_model: The same of models, where a server tells them apart, by provider and the name it gives the model.

    Args:
        host: Tells which providers there are.
        servers: Where the answers go, by provider.
        looked: Whether somebody looks at the Monitor.
        changed: Told when `by_model` moved.
    """

    def __init__(
        self,
        host: MonitorHost,
        servers: Observable[Mapping[str, ServerFigures]],
        looked: Callable[[], bool],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.by_model: Mapping[ModelKey, ServerFigures] = {}
        self._host = host
        self._servers = servers
        self._looked = looked
        self._changed = changed
        self._moved = asyncio.Event()
        self._wake = asyncio.Event()
        self._followed: dict[str, tuple[Provider, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._before: dict[ModelKey, Counted] = {}

    async def run(self) -> None:
        """Follow the providers, until cancelled."""
        stop = self._host.watching.providers.watch(lambda _states: self._moved.set())
        try:
            while True:
                self._moved.clear()
                self._settle()
                await self._moved.wait()
        finally:
            stop()
            for name in list(self._followed):
                self._forget(name)
            await end(self._ending)

    def wake(self) -> None:
        """Somebody looks now, or a request runs: ask at once those that were not asked lately."""
        self._wake.set()
        self._wake.clear()

    def _settle(self) -> None:
        wanted: dict[str, Provider] = {}
        for state in self._host.watching.providers.value:
            provider = self._host.watching.provider(state.name)
            answers = state.status in (ProviderStatus.UP, ProviderStatus.FOUND)
            if answers and provider is not None and Capability.METRICS in state.capabilities:
                wanted[state.name] = provider
        for name, (provider, task) in list(self._followed.items()):
            if wanted.get(name) is not provider or task.done():
                self._forget(name)
        for name, provider in wanted.items():
            if name not in self._followed:
                self._followed[name] = (provider, asyncio.create_task(self._follow(name, provider), name=f"figures of {name}"))

    def _forget(self, name: str) -> None:
        _provider, task = self._followed.pop(name)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()
        self._before = {key: value for key, value in self._before.items() if key[0] != name}
        self._servers.set({key: value for key, value in self._servers.value.items() if key != name})
        self.by_model = {key: value for key, value in self.by_model.items() if key[0] != name}
        self._changed()

    def _is_followed(self, name: str, provider: Provider) -> bool:
        followed = self._followed.get(name)
        return followed is not None and followed[0] is provider

    async def _follow(self, name: str, provider: Provider) -> None:
        failures = 0
        while True:
            begun = self._host.clock.monotonic()
            try:
                answers = await self._ask(name, provider)
                failures = 0
            except PaddockError as error:
                answers = [("", Figures("", note=error.failure.what))]
                failures += 1
            if not self._is_followed(name, provider):
                return
            self._take(name, answers)
            while (left := begun + self._pause(name, failures) - self._host.clock.monotonic()) > 0:
                try:
                    async with asyncio.timeout(left):  # not `wait_for`: that of Python 3.11 can swallow a cancelling
                        await self._wake.wait()
                except TimeoutError:
                    break
            if not self._is_followed(name, provider):
                return

    async def _ask(self, name: str, provider: Provider) -> list[tuple[str, Figures]]:
        if not getattr(provider, "router", False):
            return [("", await provider.figures())]
        models = [model.key for model in self._host.watching.running.value if model.provider == name]
        return [(model, await provider.figures(model)) for model in models[:MOST_MODELS]]

    def _pause(self, name: str, failures: int) -> float:
        figures = self._servers.value.get(name)
        busy = figures is not None and bool(figures.running or figures.waiting)
        often = busy or self._looked() or any(live.provider == name for live in self._host.live())
        pause = OFTEN if often else SELDOM
        return min(SLOWEST, pause * 2.0 ** min(failures, 6)) if failures else pause

    def _take(self, name: str, answers: list[tuple[str, Figures]]) -> None:
        at = self._host.clock.monotonic()
        total: dict[str, float] = {}
        models: dict[str, ServerFigures] = {}
        for asked, figures in answers:
            parts = {asked: figures.values} if asked else figures.models
            for model, values in parts.items():
                models[model] = self._one(name, model, figures, values, at)
            for figure, value in figures.values.items():
                total[figure] = total.get(figure, 0.0) + value
        if len(answers) > 1:  # a sum of shares is no share
            total.pop("kv_used", None)
        first = answers[0][1] if answers else Figures("", note="no model is loaded")
        self.by_model = {
            **{key: value for key, value in self.by_model.items() if key[0] != name},
            **{(name, model): value for model, value in models.items()},
        }
        self._servers.set({**self._servers.value, name: self._one(name, "", first, total, at)})
        self._changed()

    def _one(self, name: str, model: str, figures: Figures, values: Mapping[str, float], at: float) -> ServerFigures:
        found = told(name, figures, values, at, self._before.get((name, model)))
        self._before[name, model] = counted(values, at)
        return found
