"""Providers, their health, their models: who is there, and what they have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Final

from tui.config.settings import ProviderSettings, Settings
from tui.config.store import ConfigStore
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, PaddockError
from tui.core.models import (
    Activity,
    Endpoint,
    Location,
    Model,
    ModelDetail,
    Origin,
    ProviderState,
    ProviderStatus,
    RunningModel,
)
from tui.core.observe import Observable
from tui.providers.address import display_url, is_loopback, ollama_host, origin
from tui.providers.base import Provider
from tui.providers.catalogue import kinds
from tui.providers.discovery import Found, discover
from tui.providers.factory import make_provider
from tui.providers.ports import ollama_program, systemd_unit_exists
from tui.services.api import DiscoveryView, ModelKey
from tui.services.engine import Engine
from tui.services.notices import Notices
from tui.services.watch import Watch, auth_words, label_of

_USE: Final = frozenset({Capability.PULL, Capability.PUSH, Capability.CREATE, Capability.DELETE})
_LOOK: Final = _USE | {Capability.COPY, Capability.LOAD, Capability.UNLOAD, Capability.KEEP_ALIVE}
DEMO: Final = "demo"


class Registry:
    """State of all providers; the verbs that act on them are in `actions.Actions`.

    Args:
        extra: URL of `--provider`, or of the demo server.
    """

    def __init__(
        self,
        engine: Engine,
        notices: Notices,
        config: ConfigStore,
        environ: Mapping[str, str],
        *,
        extra: str = "",
        demo: bool = False,
        resolve: Callable[[str], str],
        clock: Clock = SYSTEM,
    ) -> None:
        self.providers: Observable[tuple[ProviderState, ...]] = Observable(())
        self.models: Observable[tuple[Model, ...]] = Observable(())
        self.running: Observable[tuple[RunningModel, ...]] = Observable(())
        self.details: Observable[Mapping[ModelKey, ModelDetail | Failure]] = Observable({})
        self.discovery: Observable[DiscoveryView] = Observable(DiscoveryView())
        self.activities: Observable[tuple[Activity, ...]] = Observable(())
        self.model_failures: Observable[Mapping[str, Failure]] = Observable({})
        self.engine = engine
        self.notices = notices
        self.config = config
        self.clock = clock
        self._environ = environ
        self._extra = extra
        self._demo = demo
        self._resolve = resolve
        self._watches: dict[str, Watch] = {}
        self._off: dict[str, ProviderState] = {}
        self._found: dict[str, Found] = {}
        self._asked_where: set[str] = set()
        self._pending = False
        self._discovering: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Watch what is configured, and look around."""
        self.apply(self.config.current.value)
        if not self._demo:
            self.look_around()

    async def aclose(self) -> None:
        """End all watches."""
        await asyncio.gather(*(watch.aclose() for watch in self._watches.values()), return_exceptions=True)

    def apply(self, settings: Settings) -> None:
        """Follow the configuration; a provider that did not change keeps its connections."""
        wanted: dict[str, tuple[Endpoint, Origin, ProviderSettings | None]] = {}
        for name, configured in settings.providers.items():
            wanted[name] = (endpoint_of(name, configured), Origin.CONFIG, configured)
        if self._extra:
            name = DEMO if self._demo else "given"
            wanted[name] = (Endpoint(name, "ollama" if self._demo else "", self._extra), Origin.DEMO if self._demo else Origin.FLAG, None)
        elif not any(endpoint.kind == "ollama" for endpoint, _origin, _settings in wanted.values()):
            host = ollama_host(self._environ)
            if host and self._environ.get("OLLAMA_HOST"):
                wanted["ollama"] = (Endpoint("ollama", "ollama", host), Origin.ENVIRONMENT, None)
        places = {origin(endpoint.url) for endpoint, _origin, _settings in wanted.values()}
        if not self._demo and not self._extra:
            for url, found in self._found.items():
                if origin(url) not in places and found.kind:
                    name = self._name_for(found.kind, wanted)
                    wanted[name] = (Endpoint(name, found.kind, url), Origin.FOUND, None)
        self._off = {
            name: ProviderState(
                endpoint,
                where,
                ProviderStatus.OFF,
                label=label_of(endpoint, ""),
                note="switched off",
                location=location_of(endpoint, provider),
            )
            for name, (endpoint, where, provider) in wanted.items()
            if provider is not None and not provider.enabled
        }
        for name in [name for name in self._watches if name not in wanted or name in self._off or self._differs(name, wanted[name])]:
            self.engine.spawn(self._watches.pop(name).aclose())
        for name, (endpoint, where, provider) in wanted.items():
            if name not in self._watches and name not in self._off:
                self._begin(endpoint, where, provider)
        self.changed()

    def _differs(self, name: str, wanted: tuple[Endpoint, Origin, ProviderSettings | None]) -> bool:
        state = self._watches[name].state
        endpoint, where, provider = wanted
        if not endpoint.kind:
            endpoint = replace(endpoint, kind=state.endpoint.kind)
        moved = provider is not None and provider.location != "auto" and location_of(endpoint, provider) is not state.location
        return state.endpoint != endpoint or state.origin is not where or moved

    def _name_for(self, kind: str, taken: Mapping[str, Any]) -> str:
        number, name = 1, kind
        while name in taken:
            number += 1
            name = f"{kind}-{number}"
        return name

    def _begin(self, endpoint: Endpoint, where: Origin, provider: ProviderSettings | None) -> None:
        if not endpoint.kind:
            self.engine.spawn(self._identify_extra(endpoint, where))
            return
        kind = kinds().get(endpoint.kind)
        if kind is None:
            failure = Failure(
                f"There is no kind of server named {endpoint.kind!r}", f"providers.{endpoint.name}", 'Use a known kind, or "openai"'
            )
            self._off[endpoint.name] = ProviderState(
                endpoint, where, ProviderStatus.FAILED, label=endpoint.kind, failure=failure, note=failure.what
            )
            return
        state = ProviderState(
            endpoint,
            where,
            ProviderStatus.FOUND if where is Origin.FOUND else ProviderStatus.BUSY,
            label=kind.name,
            note="connecting",
            busy_since=self.clock.monotonic(),
            location=location_of(endpoint, provider),
            auth=auth_words(endpoint, None),
            traps=kind.traps,
        )

        def intervals() -> tuple[float, float]:
            settings = self.config.current.value
            return provider.health_interval if provider is not None else 30.0, settings.general.watch_models

        watch = Watch(make_provider(endpoint, self._resolve, self.clock), state, self, self.clock, intervals)
        self._watches[endpoint.name] = watch
        watch.start()

    async def _identify_extra(self, endpoint: Endpoint, where: Origin) -> None:
        from tui.providers.discovery import find

        found = await find(endpoint.url, kinds())
        if isinstance(found, Failure):
            self.notices.fail(found)
            self._off[endpoint.name] = ProviderState(endpoint, where, ProviderStatus.FAILED, label="", failure=found, note=found.what)
            self.changed()
            return
        self._begin(replace(endpoint, kind=found.kind, url=found.url), where, None)
        self.changed()

    # --- looking around -----------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Look at the known ports, unless a look is going on or settings forbid it."""
        if self._demo or (self._discovering is not None and not self._discovering.done()):
            return
        self._discovering = self.engine.spawn(self._look())

    async def _look(self) -> None:
        settings = self.config.current.value
        known = [state.endpoint.url for state in self.providers.value if state.origin is not Origin.FOUND]
        program = ollama_program(self._environ)
        unit = systemd_unit_exists("ollama")
        self.discovery.set(replace(self.discovery.value, running=True))
        if not settings.general.discover or self._extra:
            self.discovery.set(
                DiscoveryView(done=True, ollama_program=str(program or ""), ollama_unit=unit, looked_at="only what is configured")
            )
            return

        def named(found: Found) -> None:
            if found.kind:
                self._found[found.url] = found
                self.apply(self.config.current.value)

        result = await discover(kinds(), known=known, environ=self._environ, on_found=named)
        self._found = {found.url: found for found in result.found}
        self.apply(self.config.current.value)
        self.discovery.set(
            DiscoveryView(
                running=False,
                ports=result.ports,
                looked_at=result.looked_at,
                seconds=result.elapsed,
                environment=result.environment,
                ollama_program=str(program or ""),
                ollama_unit=unit,
                done=True,
            )
        )

    # --- state --------------------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something moved: publish once for all that moved in this turn of the loop."""
        if not self._pending:
            self._pending = True
            asyncio.get_running_loop().call_soon(self._publish)

    def _publish(self) -> None:
        self._pending = False
        settings = self.config.current.value
        default = self._default_name(settings)
        states = [replace(self._shown(watch), is_default=name == default) for name, watch in self._watches.items()]
        states += [replace(state, is_default=False) for state in self._off.values()]
        order = list(settings.providers)
        states.sort(key=lambda state: (state.origin is Origin.FOUND, order.index(state.name) if state.name in order else -1, state.name))
        self.providers.set(tuple(states))
        models = [model for watch in self._watches.values() for model in watch.models if not excluded(model.name, settings)]
        preferred = {name: rank for rank, name in enumerate(settings.models.preferred)}
        models.sort(key=lambda model: (preferred.get(model.name, len(preferred)), 0))
        self.models.set(tuple(models))
        self.running.set(tuple(running for watch in self._watches.values() for running in watch.running))
        self.model_failures.set({name: watch.models_failure for name, watch in self._watches.items() if watch.models_failure is not None})
        for state in states:
            if state.location is Location.ASK and state.name not in self._asked_where:
                self._asked_where.add(state.name)
                self.engine.spawn(self._ask_where(state))

    def _shown(self, watch: Watch) -> ProviderState:
        state = watch.state
        if state.origin is Origin.FOUND and state.status is ProviderStatus.UP:
            return replace(state, status=ProviderStatus.FOUND)
        return state

    async def _ask_where(self, state: ProviderState) -> None:
        text = f"{display_url(state.endpoint.url)} is held by ssh: a tunnel. Where does {state.label or state.name} really run?"
        choice = await self.notices.ask(text, (("elsewhere", "On another machine"), ("here", "On this machine")))
        self.set_location(state.name, Location(choice))

    def set_location(self, name: str, location: Location) -> None:
        """Save where a provider runs; engine's thread."""
        watch = self._watches.get(name)
        if watch is not None:
            watch.state = replace(watch.state, location=location)
            self.changed()
            self.save_provider(name, {"location": str(location)})

    def save_provider(self, name: str, changes: Mapping[str, object]) -> None:
        """Write keys of a provider's table, the whole of it where it was not configured yet."""
        state = self.state(name)
        if state is None:
            return
        fields: dict[str, object] = dict(changes)
        if state.origin is not Origin.CONFIG:
            fields = {"kind": state.endpoint.kind, "url": state.endpoint.url, **fields}
        self.engine.spawn(self._write_provider(name, fields))

    async def _write_provider(self, name: str, fields: Mapping[str, object]) -> None:
        from tui.services.engine import in_daemon_thread

        await in_daemon_thread(lambda: self.config.set_provider(name, fields))

    def state(self, name: str) -> ProviderState | None:
        """One provider's newest state."""
        watch = self._watches.get(name)
        if watch is not None:
            return replace(self._shown(watch), is_default=name == self._default_name(self.config.current.value))
        return self._off.get(name)

    def _default_name(self, settings: Settings) -> str:
        wanted = settings.general.default_provider
        if wanted in self._watches:
            return wanted
        up = [name for name, watch in self._watches.items() if watch.state.status is ProviderStatus.UP]
        named = [name for name in up if self._watches[name].state.origin is not Origin.FOUND]
        return next(iter(named or up or self._watches), "")

    def default(self) -> ProviderState | None:
        """The default provider: the configured one, else the first that is up."""
        return self.state(self._default_name(self.config.current.value))

    def can(self, provider: str, capability: Capability) -> str:
        """Empty when the provider can (and `security.access` allows) it, else the reason in words."""
        access = self.config.current.value.security.access
        if (access == "look" and capability in _LOOK) or (access == "use" and capability in _USE):
            return f"security.access is {access!r}"
        state = self.state(provider)
        if state is None:
            return "no provider is chosen"
        if state.status is ProviderStatus.OFF:
            return f"{state.name} is switched off"
        if state.capabilities and capability not in state.capabilities:
            return f"{state.label or state.name} cannot {capability.value.replace('_', ' ')}"
        return ""

    # --- for the other services ---------------------------------------------------------------------------------------

    def provider(self, name: str) -> Provider | None:
        """The connection to a provider."""
        watch = self._watches.get(name)
        return watch.provider if watch is not None else None

    def watch(self, name: str) -> Watch | None:
        """The watch of a provider."""
        return self._watches.get(name)

    def require(self, name: str) -> Provider:
        """The connection to a provider.

        Raises:
            PaddockError: There is none of that name.
        """
        provider = self.provider(name)
        if provider is None:
            raise PaddockError.of(f"There is no provider named {name or '(none)'!r}", "providers", "Add one on the Providers screen")
        return provider

    def refresh(self, name: str = "") -> None:
        """Ask again; engine's thread."""
        for other, watch in self._watches.items():
            if name in ("", other):
                watch.refresh()
        if not name:
            self.look_around()


def endpoint_of(name: str, provider: ProviderSettings) -> Endpoint:
    """The endpoint of a configured provider; the key stays a reference."""
    return Endpoint(
        name=name,
        kind=provider.kind,
        url=provider.url,
        key=provider.api_key.reference(name),
        headers=dict(provider.headers),
        verify=provider.verify_tls,
        timeout=provider.timeout,
        retries=provider.retries,
        retry_delay=provider.retry_delay,
        keep_alive=provider.keep_alive,
    )


def location_of(endpoint: Endpoint, provider: ProviderSettings | None) -> Location:
    """Where a provider runs as far as settings and address tell."""
    if provider is not None and provider.location in ("here", "elsewhere"):
        return Location(provider.location)
    return Location.HERE if is_loopback(endpoint.url) else Location.ELSEWHERE


def excluded(model: str, settings: Settings) -> bool:
    """Whether `models.excluded` hides a model."""
    return any(fnmatchcase(model.lower(), pattern.lower()) for pattern in settings.models.excluded)
