"""One provider being watched: its health, its models and what it has loaded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from tui.core.capabilities import Capability
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Endpoint, Location, Model, ProviderState, ProviderStatus, RunningModel
from tui.providers.base import Provider
from tui.providers.catalogue import kinds
from tui.providers.discovery import held_by
from tui.providers.ports import Holder

CHECKS_KEPT: Final = 240
LONGEST_PAUSE: Final = 30.0
RUNNING_BUSY: Final = 2.0
"""Seconds between two looks at what is loaded, while something is."""
RUNNING_IDLE: Final = 6.0


class Owner(Protocol):
    """What a watch tells its registry."""

    def changed(self) -> None:
        """State, models or what is loaded moved."""
        ...


class Watch:
    """Keeps `state`, `models` and `running` of one provider true; three loops that never overlap themselves.

    Args:
        intervals: Seconds between health checks, and between looks at the models (0: only when asked).
    """

    def __init__(
        self,
        provider: Provider,
        state: ProviderState,
        owner: Owner,
        clock: Clock,
        intervals: Callable[[], tuple[float, float]],
    ) -> None:
        self.provider = provider
        self.state = state
        self.models: tuple[Model, ...] = ()
        self.running: tuple[RunningModel, ...] = ()
        self.models_failure: Failure | None = None
        self.holder: Holder | None = None
        self._owner = owner
        self._clock = clock
        self._intervals = intervals
        self._wake = asyncio.Event()
        self._look = asyncio.Event()
        self._again = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._failures = 0

    def start(self) -> None:
        """Begin to watch."""
        self._tasks = [asyncio.create_task(self._health()), asyncio.create_task(self._lists()), asyncio.create_task(self._loaded())]

    async def aclose(self) -> None:
        """End watching and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.provider.aclose()

    def refresh(self) -> None:
        """Ask for everything again now."""
        self._wake.set()
        self._look.set()
        self._again.set()

    def look_at_loaded(self) -> None:
        """Ask now what is loaded."""
        self._look.set()

    def _put(self, state: ProviderState) -> None:
        if state != self.state:
            self.state = state
            self._owner.changed()

    # --- health -------------------------------------------------------------------------------------------------------

    async def _health(self) -> None:
        await self._find_holder()
        while True:
            was_up = self.state.status is ProviderStatus.UP
            await self._check()
            if not was_up and self.state.status is ProviderStatus.UP:
                self._look.set()
                self._again.set()
                await self._find_holder()
            interval, _models = self._intervals()
            if self._failures:
                interval = min(LONGEST_PAUSE, 2.0 * 2 ** min(self._failures - 1, 5)) * random.uniform(0.8, 1.2)
            elif self.state.status is ProviderStatus.BUSY:
                interval = 1.0
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), interval)
            except TimeoutError:
                continue

    async def _check(self) -> None:
        started = self._clock.monotonic()
        try:
            health = await self.provider.check()
        except PaddockError as error:
            self._failures += 1
            self._put(self._failed(error.failure))
            return
        self._failures = 0
        label = label_of(self.state.endpoint, health.version)
        status = ProviderStatus.BUSY if health.loading else ProviderStatus.UP
        self._put(
            replace(
                self.state,
                status=status,
                label=label,
                version=health.version,
                latency=health.latency,
                checks=(*self.state.checks, health.latency)[-CHECKS_KEPT:],
                checked_at=self._clock.time(),
                note=health.note or ("loading model" if health.loading else ""),
                busy_since=(self.state.busy_since or started) if health.loading else None,
                failure=None,
                stale_since=None,
                capabilities=self.provider.capabilities,
                auth=auth_words(self.state.endpoint, None),
            )
        )

    def _failed(self, failure: Failure) -> ProviderState:
        status = ProviderStatus.DOWN if failure.kind is FailureKind.UNREACHABLE else ProviderStatus.FAILED
        if failure.kind is FailureKind.LOADING:
            status = ProviderStatus.BUSY
        return replace(
            self.state,
            status=status,
            failure=failure,
            note=failure.what,
            latency=None,
            checks=(*self.state.checks, None)[-CHECKS_KEPT:],
            busy_since=None,
            stale_since=self.state.stale_since or self.state.checked_at,
            auth=auth_words(self.state.endpoint, failure),
        )

    async def _find_holder(self) -> None:
        try:
            self.holder = await held_by(self.state.endpoint.url)
        except PaddockError:
            return
        if self.holder is None:
            return
        location = self.state.location
        if self.holder.is_ssh_tunnel and location is Location.HERE:
            location = Location.ASK
        self._put(
            replace(
                self.state,
                owner=self.holder.words(),
                other_person=self.holder.other_person,
                listens_wide=self.holder.listens_wide,
                location=location,
            )
        )

    # --- models -------------------------------------------------------------------------------------------------------

    async def _lists(self) -> None:
        while True:
            ready = self.state.status in (ProviderStatus.UP, ProviderStatus.BUSY)
            if ready:
                await self.list_models()
            _health, interval = self._intervals()
            self._again.clear()
            try:
                await asyncio.wait_for(self._again.wait(), (interval or 86_400.0) if ready else None)
            except TimeoutError:
                continue

    async def list_models(self) -> None:
        """Fetch the list; the old one stays where that fails."""
        try:
            models = await self.provider.models()
        except PaddockError as error:
            if error.failure != self.models_failure:
                self.models_failure = error.failure
                self._owner.changed()
            return
        if models != self.models or self.models_failure is not None or self.state.models is None:
            self.models, self.models_failure = models, None
            self.state = replace(self.state, models=len(models))
            self._owner.changed()

    async def _loaded(self) -> None:
        while True:
            if self.state.status is ProviderStatus.UP and Capability.RUNNING in self.provider.capabilities:
                await self.list_running()
            self._look.clear()
            try:
                await asyncio.wait_for(self._look.wait(), RUNNING_BUSY if self.running else RUNNING_IDLE)
            except TimeoutError:
                continue

    async def list_running(self) -> None:
        """Fetch what is loaded; a failure is the health check's to tell."""
        try:
            running = await self.provider.running()
        except PaddockError:
            return
        if running != self.running or self.state.loaded is None:
            self.running = running
            self.state = replace(self.state, loaded=len(running))
            self._owner.changed()


def label_of(endpoint: Endpoint, version: str) -> str:
    """`Ollama 0.24.0`."""
    kind = kinds().get(endpoint.kind)
    return f"{kind.name if kind else endpoint.kind} {version}".strip()


def auth_words(endpoint: Endpoint, failure: Failure | None) -> str:
    """How requests are authorised, without the key."""
    if failure is not None and failure.kind is FailureKind.AUTH:
        return "needs a key" if not endpoint.key else "the key was refused"
    return f"key from {endpoint.key}" if endpoint.key else "none"
