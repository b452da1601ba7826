"""Providers, their health, their models: who is there, and what they have."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from tui.config.settings import ProviderSettings, Settings
from tui.config.store import ConfigStore
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.kept import kept_of
from tui.core.models import Activity, Endpoint, Location, Model, ModelDetail, ModelKey, Origin, ProviderState, ProviderStatus, RunningModel
from tui.core.observe import Observable
from tui.core.threads import in_daemon_thread
from tui.providers.address import display_url, is_loopback, ollama_host, parse
from tui.providers.base import Provider
from tui.providers.catalogue import kind_named, kinds
from tui.providers.discovery import Discovery, Found, discover, find
from tui.providers.factory import make_provider
from tui.providers.ports import ollama_program, systemd_unit_exists
from tui.services.api import DiscoveryView
from tui.services.asks import OFFLINE, excluded
from tui.services.engine import Engine
from tui.services.notices import Notices
from tui.services.ports import Ports
from tui.services.watch import FIRST_PAUSE, LONGEST_PAUSE, Watch, auth_words, label_of

_USE: Final = frozenset({Capability.PULL, Capability.PUSH, Capability.CREATE, Capability.DELETE})
_LOOK: Final = _USE | {Capability.COPY, Capability.LOAD, Capability.UNLOAD, Capability.KEEP_ALIVE}
_OUTWARD: Final = frozenset({Capability.PULL, Capability.PUSH})
"""What makes a server of this machine reach out."""
DEMO: Final = "demo"
GIVEN: Final = "given"
"""Name of what `--provider` names."""
FIRST_LIST: Final = 0.5
"""Seconds that the first server has to list its models before other things begin."""
DRAWING: Final = 0.2
"""Seconds that the screen has to draw them."""


class _Wanted(NamedTuple):
    """A server that should be watched, and its table in the settings where it has one."""

    endpoint: Endpoint
    origin: Origin
    settings: ProviderSettings | None


class Registry:
    """State of all providers; the verbs that act on them are in `actions.Actions`.

    `state`, `default` and `can` may be called from any thread, all else on the engine's.

    Args:
        extra: URL of `--provider`, or of the demo server.
        ports: What the user said about ports.
        pause: Seconds before a server that failed is asked again.
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
        ports: Ports,
        clock: Clock = SYSTEM,
        pause: float = FIRST_PAUSE,
    ) -> None:
        self.providers: Observable[tuple[ProviderState, ...]] = Observable(())
        self.models: Observable[tuple[Model, ...]] = Observable(())
        self.kept: Observable[tuple[Model, ...]] = Observable(())
        self.running: Observable[tuple[RunningModel, ...]] = Observable(())
        self.details: Observable[Mapping[ModelKey, ModelDetail | Failure]] = Observable({})
        self.discovery: Observable[DiscoveryView] = Observable(DiscoveryView())
        self.activities: Observable[tuple[Activity, ...]] = Observable(())
        self.model_failures: Observable[Mapping[str, Failure]] = Observable({})
        self.engine = engine
        self.notices = notices
        self.config = config
        self.clock = clock
        self.ports = ports
        self._environ = environ
        self._extra = extra
        self._demo = demo
        self._resolve = resolve
        self._pause = pause
        # Both are replaced, never changed: other threads may be reading them.
        self._watches: Mapping[str, Watch] = {}
        self._still: Mapping[str, ProviderState] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._found: dict[str, Found] = {}
        self._names: dict[str, str] = {}
        self._given = Endpoint(DEMO, "ollama", extra) if demo else Endpoint(GIVEN, "", extra)
        self._identifying: asyncio.Task[None] | None = None
        self._identify_now = asyncio.Event()
        self._asked_where: set[str] = set()
        self._asked_trust: set[str] = set()
        self._first = asyncio.Event()
        self._quiet_until = 0.0
        self._pending = False
        self._listed: tuple[object, ...] = ()
        self._detailed: dict[ModelKey, tuple[str, float | None] | None] = {}
        self._discovering: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Watch what is configured, and look around."""
        self.apply(self.config.current.value)
        if self._watches:
            self.engine.spawn(self._look_soon())
        else:
            self.look_around()

    async def _look_soon(self) -> None:
        await self.quiet()
        self.look_around()

    async def aclose(self) -> None:
        """End all watches."""
        for task in (self._discovering, self._identifying):
            if task is not None:
                task.cancel()
        watches, self._watches = self._watches, {}
        await asyncio.gather(*(watch.aclose() for watch in watches.values()), *self._ending, return_exceptions=True)

    async def quiet(self) -> None:
        """At the start, wait until a server's models are shown: one interpreter does all of it, and that is what people wait for."""
        if not self._watches:
            return
        try:
            async with asyncio.timeout(FIRST_LIST):
                await self._first.wait()
        except TimeoutError:
            self._first.set()
        await asyncio.sleep(self._quiet_until - self.clock.monotonic())

    # --- who is watched -----------------------------------------------------------------------------------------------

    def apply(self, settings: Settings) -> None:
        """Follow the configuration; a provider whose address did not change keeps its connections."""
        wanted = self._wanted(settings)
        still: dict[str, ProviderState] = {}
        watches = dict(self._watches)
        for name, (endpoint, where, configured) in wanted.items():
            if reason := self._not_asked(endpoint, configured, settings):
                still[name] = ProviderState(
                    endpoint, where, ProviderStatus.OFF, label_of(endpoint, ""), note=reason, location=location_of(endpoint, configured)
                )
        for name, watch in list(watches.items()):
            if name not in wanted or name in still or watch.state.endpoint != wanted[name].endpoint:
                ending = self.engine.spawn(watches.pop(name).aclose())
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
        for name, one in wanted.items():
            if name in still:
                continue
            if name in watches:
                watches[name].settle(one.origin, self._fixed(one))
            elif not one.endpoint.kind:
                still[name] = self._still.get(name) or self._state(one, "identifying")
                self._identify()
            else:
                started = self._begin(one)
                if isinstance(started, Watch):
                    watches[name] = started
                else:
                    still[name] = started
        if self._identifying is not None and any(name == GIVEN and state.status is ProviderStatus.OFF for name, state in still.items()):
            self._identifying.cancel()
            self._identifying = None
        self._watches, self._still = watches, still
        self.changed()

    def _wanted(self, settings: Settings) -> dict[str, _Wanted]:
        wanted = {name: _Wanted(endpoint_of(name, one), Origin.CONFIG, one) for name, one in settings.providers.items()}
        if self._extra:
            wanted[self._given.name] = _Wanted(self._given, Origin.DEMO if self._demo else Origin.FLAG, None)
            return wanted
        if not any(one.endpoint.kind == "ollama" for one in wanted.values()):
            host = ollama_host(self._environ)
            if host:
                wanted["ollama"] = _Wanted(Endpoint("ollama", "ollama", host), Origin.ENVIRONMENT, None)
        places = {_place(one.endpoint.url) for one in wanted.values()}
        for url, found in self._found.items():
            if _place(url) not in places:
                places.add(_place(url))
                name = self._name_for(found, wanted)
                wanted[name] = _Wanted(Endpoint(name, found.kind, url), Origin.FOUND, None)
        return wanted

    def _name_for(self, found: Found, taken: Mapping[str, object]) -> str:
        """A found server keeps its name for this run, in whatever order servers are found."""
        name = self._names.get(found.url, "")
        if not name or name in taken:
            others = {other for url, other in self._names.items() if url != found.url}
            number, name = 1, found.kind
            while name in taken or name in others:
                number += 1
                name = f"{found.kind}-{number}"
            self._names[found.url] = name
        return name

    def _not_asked(self, endpoint: Endpoint, configured: ProviderSettings | None, settings: Settings) -> str:
        """Why nothing may be asked of a server, or empty."""
        if configured is not None and not configured.enabled:
            return "switched off"
        away = not is_loopback(endpoint.url) or (configured is not None and configured.location == "elsewhere")
        if settings.general.network == "offline" and (away or self.ports.tunnel(endpoint.url) is Location.ELSEWHERE):
            return OFFLINE
        return ""

    @staticmethod
    def _fixed(one: _Wanted) -> Location | None:
        """Where it runs, where that is known whoever holds the port."""
        fixed = not is_loopback(one.endpoint.url) or (one.settings is not None and one.settings.location != "auto")
        return location_of(one.endpoint, one.settings) if fixed else None

    def _state(self, one: _Wanted, note: str) -> ProviderState:
        endpoint, where, configured = one
        kind = kind_named(endpoint.kind)
        return ProviderState(
            endpoint,
            where,
            ProviderStatus.FOUND if where is Origin.FOUND else ProviderStatus.BUSY,
            label=kind.name if kind is not None else "",
            note=note,
            busy_since=self.clock.monotonic(),
            location=location_of(endpoint, configured),
            auth=auth_words(endpoint, None),
            traps=kind.traps if kind is not None else (),
        )

    def _begin(self, one: _Wanted) -> Watch | ProviderState:
        """Begin to watch; a state that says why where that is not possible."""
        endpoint = one.endpoint
        name, url = endpoint.name, endpoint.url
        if kind_named(endpoint.kind) is None:
            what = f"There is no kind of server named {endpoint.kind!r}"
            return _failed(self._state(one, ""), Failure(what, f"providers.{name}", 'Use a known kind, or "openai"', FailureKind.CONFIG))

        def intervals() -> tuple[float, float]:
            settings = self.config.current.value
            configured = settings.providers.get(name)
            return configured.health_interval if configured is not None else 30.0, settings.general.watch_models

        try:
            provider = make_provider(endpoint, lambda reference: self._key(name, url, reference), self.clock)
        except PaddockError as error:
            return _failed(self._state(one, ""), error.failure)
        fixed = self._fixed(one) is not None
        watch = Watch(provider, self._state(one, "connecting"), self, self.clock, intervals, fixed=fixed, pause=self._pause)
        watch.start(self.engine.keep_going)
        return watch

    def _key(self, name: str, url: str, reference: str) -> str:
        """The key, unless another person's account holds the port and the user did not allow it."""
        watch = self._watches.get(name)
        if watch is not None and not self.ports.trusted(url, watch.holder):
            if name not in self._asked_trust:
                self._asked_trust.add(name)
                self.engine.spawn(self._ask_trust(watch))
            what = "Nothing was sent: another person's account holds the port"
            raise PaddockError.of(what, display_url(url), "Allow it, or check who runs that server", FailureKind.REFUSED)
        return self._resolve(reference)

    async def _ask_trust(self, watch: Watch) -> None:
        if await self.ports.ask_trust(watch.state.endpoint.url, watch.holder, "your key"):
            self._asked_trust.discard(watch.state.name)
            watch.refresh()

    def _identify(self) -> None:
        if self._identifying is None or self._identifying.done():
            self._identifying = self.engine.keep_going(self._identify_given, "identify")

    async def _identify_given(self) -> None:
        """Find out what `--provider` names, however long its server is away."""
        failures = 0
        while True:
            self._identify_now.clear()
            found = await find(self._extra, kinds())
            if isinstance(found, Found):
                break
            if not failures:
                self.notices.fail(found)
            failures += 1
            one = _Wanted(self._given, Origin.FLAG, None)
            self._still = {**self._still, GIVEN: _failed(self._state(one, ""), found)}
            self.changed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LONGEST_PAUSE, self._pause * 2 ** min(failures, 10))):
                    await self._identify_now.wait()
        self._given = Endpoint(GIVEN, found.kind, found.url)
        self._identifying = None
        self.apply(self.config.current.value)

    # --- looking around -----------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Look at the known ports, unless a look is going on or settings forbid it."""
        if self._demo or (self._discovering is not None and not self._discovering.done()):
            return
        self._discovering = self.engine.spawn(self._look(), "discovery")

    async def _look(self) -> None:
        settings = self.config.current.value
        program = str(ollama_program(self._environ) or "")
        unit = systemd_unit_exists("ollama")
        before = self.discovery.value
        if not settings.general.discover or self._extra:
            self.discovery.set(DiscoveryView(done=True, ollama_program=program, ollama_unit=unit, looked_at="only what is configured"))
            return
        self.discovery.set(replace(before, running=True))
        try:
            result = await self._discover()
        except BaseException:
            self.discovery.set(replace(before, running=False))
            raise
        self.discovery.set(
            DiscoveryView(
                running=False,
                ports=result.ports,
                looked_at=result.looked_at,
                seconds=result.elapsed,
                environment=result.environment,
                ollama_program=program,
                ollama_unit=unit,
                done=True,
            )
        )

    async def _discover(self) -> Discovery:
        def named(found: Found) -> None:
            if found.kind and not found.child_of and found.url not in self._found:
                self._found[found.url] = found
                self.apply(self.config.current.value)

        states = [watch.state for watch in self._watches.values()] + list(self._still.values())
        known = [state.endpoint.url for state in states if state.origin is not Origin.FOUND]
        result = await discover(kinds(), known=known, environ=self._environ, on_found=named)
        seen = {found.url: found for found in result.found if not found.child_of}
        # One that is well and was too slow to be named this time is not forgotten.
        well = {
            watch.state.endpoint.url for watch in self._watches.values() if watch.state.status in (ProviderStatus.UP, ProviderStatus.BUSY)
        }
        self._found = {**{url: found for url, found in self._found.items() if url in well}, **seen}
        self.apply(self.config.current.value)
        return result

    # --- state --------------------------------------------------------------------------------------------------------

    def tunnel(self, url: str) -> Location:
        """See `watch.Owner`."""
        return self.ports.tunnel(url)

    def changed(self) -> None:
        """Something moved: publish once for all that moved in this turn of the loop."""
        if not self._pending:
            self._pending = True
            asyncio.get_running_loop().call_soon(self._publish)

    def _publish(self) -> None:
        self._pending = False
        if not self._first.is_set() and any(watch.listed for watch in self._watches.values()):
            self._first.set()
            self._quiet_until = self.clock.monotonic() + DRAWING
        settings = self.config.current.value
        default = self._default_name(settings)
        states = [replace(_shown(watch.state), is_default=watch.state.name == default) for watch in self._watches.values()]
        states += self._still.values()
        states.sort(key=lambda state: _rank(state, settings))
        self._publish_models(settings)
        self.running.set(tuple(running for watch in self._watches.values() for running in watch.running))
        self.model_failures.set({name: watch.models_failure for name, watch in self._watches.items() if watch.models_failure is not None})
        self.providers.set(tuple(states))
        for watch in self._watches.values():
            name = watch.state.name
            if watch.asks_where and name not in self._asked_where:
                self._asked_where.add(name)
                self.engine.spawn(self._ask_where(watch.state))

    def _publish_models(self, settings: Settings) -> None:
        """Join the lists, where one of them or a setting moved; details of a model that changed are forgotten."""
        made_of: tuple[object, ...] = (settings.models, *(watch.models for watch in self._watches.values()))
        if len(made_of) == len(self._listed) and all(one is other for one, other in zip(made_of, self._listed, strict=True)):
            return
        self._listed = made_of
        everything = [model for watch in self._watches.values() for model in watch.models]
        preferred = {name: rank for rank, name in reversed(list(enumerate(settings.models.preferred)))}
        ours = {id(model) for model in everything if kept_of(model.key) is not None}
        self.kept.set(tuple(model for model in everything if id(model) in ours))
        models = [model for model in everything if id(model) not in ours and not excluded(model.name, settings)]
        models.sort(key=lambda model: preferred.get(model.name, len(preferred)))
        self.models.set(tuple(models))
        if self._detailed:
            marks = {(model.provider, model.key): (model.digest, model.modified_at) for model in everything}
            kept = {key: found for key, found in self.details.value.items() if marks.get(key) == self._detailed.get(key)}
            self._detailed = {key: mark for key, mark in self._detailed.items() if key in kept}
            self.details.set(kept)

    def put_detail(self, key: ModelKey, found: ModelDetail | Failure) -> None:
        """Publish the details of a model; they hold until its digest changes."""
        provider, name = key
        watch = self._watches.get(provider)
        model = next((model for model in watch.models if model.key == name), None) if watch is not None else None
        self._detailed[key] = (model.digest, model.modified_at) if model is not None else None
        self.details.set({**self.details.value, key: found})

    def forget_details(self, provider: str = "") -> None:
        """Have details fetched anew; of all providers where none is named."""
        kept = {key: found for key, found in self.details.value.items() if provider and key[0] != provider}
        self._detailed = {key: mark for key, mark in self._detailed.items() if key in kept}
        self.details.set(kept)

    async def _ask_where(self, state: ProviderState) -> None:
        await self.ports.ready()
        if self.ports.tunnel(state.endpoint.url) is Location.ASK:
            await self.set_location(state.name, await self.ports.ask_where(state))
        else:  # said in an earlier run
            self.apply(self.config.current.value)

    async def set_location(self, name: str, location: Location) -> None:
        """Keep where a provider runs: in its table where it has one, and for its port."""
        state = self.state(name)
        if state is None:
            return
        if is_loopback(state.endpoint.url):
            await self.ports.set_where(state.endpoint.url, location)
        self._asked_where.discard(name)
        watch = self._watches.get(name)
        if watch is not None:
            watch.place(location)
        if state.origin is Origin.CONFIG:
            await self.save_provider(name, {"location": "auto" if location is Location.ASK else str(location)})
        self.apply(self.config.current.value)

    async def save_provider(self, name: str, changes: Mapping[str, object]) -> None:
        """Write keys of a provider's table, the whole of it where it was not configured yet.

        Raises:
            PaddockError: There is no such provider, or it could not be saved.
        """
        state = self.state(name)
        if state is None:
            raise _nobody(name)
        fields: dict[str, object] = dict(changes)
        if state.origin is not Origin.CONFIG:
            fields = {"kind": state.endpoint.kind, "url": state.endpoint.url, **fields}
        await in_daemon_thread(lambda: self.config.set_provider(name, fields))

    def state(self, name: str) -> ProviderState | None:
        """One provider's newest state."""
        watch = self._watches.get(name)
        if watch is not None:
            return replace(_shown(watch.state), is_default=name == self._default_name(self.config.current.value))
        return self._still.get(name)

    def _default_name(self, settings: Settings) -> str:
        watches = self._watches
        wanted = settings.general.default_provider
        if wanted in watches:
            return wanted
        states = sorted((watch.state for watch in watches.values()), key=lambda state: _rank(state, settings))
        up = [state.name for state in states if state.status is ProviderStatus.UP]
        return next(iter(up or [state.name for state in states]), "")

    def default(self) -> ProviderState | None:
        """The default provider: the configured one, else the first that is up."""
        return self.state(self._default_name(self.config.current.value))

    def can(self, provider: str, capability: Capability) -> str:
        """Empty when the provider can (and `security.access` allows) it, else the reason in words."""
        settings = self.config.current.value
        access = settings.security.access
        if (access == "look" and capability in _LOOK) or (access == "use" and capability in _USE):
            return f"security.access is {access!r}"
        if settings.general.network == "offline" and capability in _OUTWARD:
            return OFFLINE
        state = self.state(provider)
        if state is None:
            return "no provider is chosen"
        if state.status is ProviderStatus.OFF:
            return f"{state.name} is switched off" if state.note != OFFLINE else OFFLINE
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
            PaddockError: There is none of that name, or nothing may be asked of it.
        """
        provider = self.provider(name)
        if provider is None:
            state = self._still.get(name)
            if state is not None:
                raise PaddockError(state.failure or Failure(f"{name}: {state.note}", f"providers.{name}", "Change the setting"))
            raise _nobody(name)
        return provider

    def refresh(self, name: str = "") -> None:
        """Ask again; engine's thread."""
        self._asked_trust -= {name} if name else set(self._watches)
        for other, watch in self._watches.items():
            if name in ("", other):
                watch.refresh()
        self._identify_now.set()
        if not name:
            self.look_around()


def _shown(state: ProviderState) -> ProviderState:
    if state.origin is Origin.FOUND and state.status is ProviderStatus.UP:
        return replace(state, status=ProviderStatus.FOUND)
    return state


def _rank(state: ProviderState, settings: Settings) -> tuple[bool, int, str]:
    """Configured ones in the order of the file, found ones last; also the order in which a default is looked for."""
    names = list(settings.providers)
    return state.origin is Origin.FOUND, names.index(state.name) if state.name in names else -1, state.name


def _failed(state: ProviderState, failure: Failure) -> ProviderState:
    return replace(
        state, status=ProviderStatus.FAILED, failure=failure, note=failure.what, busy_since=None, label=state.label or state.endpoint.kind
    )


def _nobody(name: str) -> PaddockError:
    return PaddockError.of(
        f"There is no provider named {name or '(none)'!r}", "providers", "Add one on the Providers screen", FailureKind.NOT_FOUND
    )


def _place(url: str) -> tuple[str, int, str]:
    """What makes two addresses one server: all names of this machine are the same."""
    try:
        address = parse(url)
    except PaddockError:
        return url, 0, ""
    local = is_loopback(url) and address.scheme != "unix"
    return "loopback" if local else address.host, address.port, address.path


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
