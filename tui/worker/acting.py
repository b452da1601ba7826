"""Limits that act while no app runs: a worker that watches the rules unloads idle models, and makes room in main memory.

It asks the configured servers of this machine what they have loaded, and only where the settings want something unloaded.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tui.config.settings import Settings
from tui.core.capabilities import Capability
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.fit import NOTHING, SERVED, Lessons, Served
from tui.core.models import Endpoint, Location, ModelDetail, Origin, ProviderState, ProviderStatus, RunningModel, Severity
from tui.core.observe import Observable
from tui.providers.base import Provider
from tui.providers.discovery import held_by
from tui.providers.ports import Holder
from tui.services.audit import Audit
from tui.services.limits import Samples
from tui.services.monitor.acting import EVERY, Acting
from tui.services.registry import endpoint_of
from tui.services.space import LOOPBACK, runs_here

if TYPE_CHECKING:
    from tui.config.paths import Paths
    from tui.services.chat.api import LiveAnswer
    from tui.store.db import Database

OLLAMA: Final = "http://127.0.0.1:11434"
"""A server that apps find without being told of it."""
WITHIN: Final = 5.0
"""Seconds a server may take to tell what it has loaded."""
GONE_WITHIN: Final = 120.0
"""Seconds until an unload that did not happen has failed; running requests end first."""
POLL: Final = 0.5
_log = logging.getLogger("paddock.worker")


class Watched:
    """`host.Watched`: one server."""

    def __init__(self, provider: Provider, holder: Holder | None) -> None:
        self.provider = provider
        self.holder = holder


class Servers:
    """`host.Watching` over the configured servers of this machine; `look` asks them.

    Args:
        settings: The running settings.
        make: A connection from the snapshot of a provider.
        check: Raises where the key of a provider may not be sent.
    """

    def __init__(
        self, settings: Callable[[], Settings], make: Callable[[Endpoint], Provider], check: Callable[[Endpoint], Awaitable[None]]
    ) -> None:
        self.providers: Observable[tuple[ProviderState, ...]] = Observable(())
        self.models: Observable[Any] = Observable(())
        self.running: Observable[tuple[RunningModel, ...]] = Observable(())
        self._settings = settings
        self._make = make
        self._check = check
        self._known: dict[str, tuple[Endpoint, Watched]] = {}

    async def look(self) -> None:
        """Ask every server what it has loaded; one that does not answer has nothing."""
        settings = self._settings()
        wanted = {name: endpoint_of(name, one) for name, one in settings.providers.items() if one.enabled}
        if settings.general.discover and "ollama" not in settings.providers and not _is_named(OLLAMA, settings):
            wanted["ollama"] = Endpoint("ollama", "ollama", OLLAMA)
        wanted = {name: endpoint for name, endpoint in wanted.items() if runs_here(endpoint, settings)}
        for name in self._known.keys() - {name for name, endpoint in wanted.items() if self._known.get(name, (None,))[0] == endpoint}:
            _endpoint, watched = self._known.pop(name)
            await watched.provider.aclose()
        states: list[ProviderState] = []
        running: list[RunningModel] = []
        for name, endpoint in wanted.items():
            try:
                async with asyncio.timeout(WITHIN):
                    running += await self._running(name, endpoint)
            except (PaddockError, TimeoutError):
                continue
            states.append(ProviderState(endpoint, Origin.CONFIG, ProviderStatus.UP, location=Location.HERE))
        self.providers.set(tuple(states))
        self.running.set(tuple(running))

    async def _running(self, name: str, endpoint: Endpoint) -> tuple[RunningModel, ...]:
        await self._check(endpoint)
        holder = await held_by(endpoint.url)
        if holder is not None and holder.is_ssh_tunnel:
            return ()
        if name not in self._known:
            self._known[name] = (endpoint, Watched(self._make(endpoint), holder))
        watched = self._known[name][1]
        watched.holder = holder
        return await watched.provider.running() if Capability.RUNNING in watched.provider.capabilities else ()

    def state(self, name: str) -> ProviderState | None:
        """See `host.Watching`."""
        return next((state for state in self.providers.value if state.name == name), None)

    def provider(self, name: str) -> Provider | None:
        """See `host.Watching`."""
        watched = self.watch(name)
        return watched.provider if watched is not None else None

    def watch(self, name: str) -> Watched | None:
        """See `host.Watching`."""
        return self._known[name][1] if name in self._known else None

    async def aclose(self) -> None:
        """Close the connections."""
        known, self._known = self._known, {}
        for _endpoint, watched in known.values():
            await watched.provider.aclose()


def _is_named(url: str, settings: Settings) -> bool:
    """Whether the settings name the server at this address, be it switched off."""
    port = urlsplit(url).port
    found = [urlsplit(one.url) for one in settings.providers.values()]
    return any((one.hostname or "") in LOOPBACK and one.port == port for one in found)


class WorkerActs:
    """`host.MonitorHost` of a worker: what needs a person is not there, what is told goes into its log.

    Args:
        settings: The running settings.
        make: A connection from the snapshot of a provider.
        check: Raises where the key of a provider may not be sent.
    """

    demo = False

    def __init__(
        self,
        database: Database,
        paths: Paths,
        settings: Callable[[], Settings],
        make: Callable[[Endpoint], Provider],
        check: Callable[[Endpoint], Awaitable[None]],
        audit: Audit,
        clock: Clock,
    ) -> None:
        self.clock = clock
        self.paths = paths
        self.database: Database | None = database
        self.watching = Servers(settings, make, check)
        self._settings = settings
        self._audit = audit

    async def run(self, samples: Callable[[], Samples]) -> None:
        """Look every few seconds, until cancelled."""
        acting = Acting(self, lambda what, target, why: self.audit(f"limit {what}", target, why), samples)
        try:
            while True:
                await self.look(acting)
                await asyncio.sleep(EVERY)
        finally:
            await self.watching.aclose()

    async def look(self, acting: Acting) -> None:
        """Once; what goes wrong is written down, and ends nothing."""
        limits = self._settings().limits
        try:
            if limits.idle_unload or limits.memory_pressure == "unload":
                await self.watching.look()
            await acting.look()
        except Exception:
            _log.exception("limits")

    # --- as a host ----------------------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """The running settings."""
        return self._settings()

    def live(self) -> Sequence[LiveAnswer]:
        """None: a worker writes no answers."""
        return ()

    def detail(self, provider: str, model: str) -> ModelDetail | None:
        """Nobody asks."""
        return None

    def taught(self, provider: str) -> tuple[Served, Lessons]:
        """Nobody asks."""
        return SERVED, NOTHING

    def look_at_loaded(self, provider: str) -> None:
        """It is looked at anyway."""

    async def load(self, provider: str, model: str) -> None:
        """Nobody asks.

        Raises:
            PaddockError: Always.
        """
        raise PaddockError.of("The worker loads nothing by itself", provider, "Load it in the app", FailureKind.UNSUPPORTED)

    async def unload(self, provider: str, model: str) -> None:
        """Unload a model and wait until it is gone.

        Raises:
            PaddockError: It is not gone.
        """
        connection = self.watching.provider(provider)
        if connection is None:
            raise PaddockError.of(f"{provider} does not answer", provider, "Look at the server", FailureKind.UNREACHABLE)
        with self._audit.noting("unload", f"{provider}/{model}"):
            await connection.unload(model)
            until = self.clock.monotonic() + GONE_WITHIN
            while any(one.key == model for one in await connection.running()):
                if self.clock.monotonic() > until:
                    remedy = "Wait for the request that uses it"
                    raise PaddockError.of(f"{model} is still loaded after {GONE_WITHIN:.0f}s", provider, remedy, FailureKind.BUSY)
                await asyncio.sleep(POLL)
        self.watching.running.set(tuple(one for one in self.watching.running.value if (one.provider, one.key) != (provider, model)))

    def say(self, text: str, severity: Severity = Severity.INFO, failure: Failure | None = None) -> None:
        """Into the worker's log."""
        _log.log(logging.INFO if severity is Severity.INFO else logging.WARNING, "%s", text)

    async def ask(self, text: str, choices: Sequence[tuple[str, str]]) -> str:
        """Nobody is there: the safe choice."""
        return choices[0][0]

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        """Write to the audit trail."""
        self._audit.write(what, target, result)

    def post(self, made: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Nothing is posted here."""

    def keep_going(self, made: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Nothing is begun here."""

    def environ(self) -> Mapping[str, str]:
        """Of this process."""
        return os.environ
