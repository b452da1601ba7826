"""What can be done to providers and their models: verbs that become activities and end as state or a notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Activity, Location, Origin, ProviderStatus, Severity
from tui.core.names import same
from tui.core.threads import in_daemon_thread
from tui.providers.address import display_url, is_loopback, origin
from tui.providers.base import Provider
from tui.providers.catalogue import kinds
from tui.providers.discovery import Found, find
from tui.services.asks import OFFLINE
from tui.services.audit import Audit
from tui.services.logs import know_secret
from tui.services.registry import Registry
from tui.services.server_log import LogLines

if TYPE_CHECKING:
    from tui.services.jobs import Jobs
    from tui.services.servers import ServerJobs

UNLOAD_PATIENCE: Final = 120.0
"""Seconds until an unload that did not happen is said to have failed; running requests end first."""
START_PATIENCE: Final = 60.0
"""Seconds the worker is given to start a server."""
POLL: Final = 0.3
OLLAMA_ADDRESS: Final = "127.0.0.1:11434"
_LONGEST_NAME: Final = 36
Work = Callable[[], Coroutine[Any, Any, None]]


class Actions:
    """Verbs of `api.RegistryApi`, callable from any thread.

    Args:
        jobs: The queue, for `ensure_worker`; None while the database is not open.
        patience: Seconds an unload may take.
        poll: Seconds between two looks while waiting.
    """

    def __init__(
        self,
        registry: Registry,
        audit: Audit,
        servers: Callable[[], ServerJobs | None],
        jobs: Callable[[], Jobs | None],
        *,
        allowed: Callable[[str, str], Awaitable[Failure | None]] | None = None,
        patience: float = UNLOAD_PATIENCE,
        poll: float = POLL,
    ) -> None:
        self._registry = registry
        self._audit = audit
        self._servers = servers
        self._jobs = jobs
        self._allowed = allowed
        self._patience = patience
        self._poll = poll
        self._number = 0
        self._log_lines = LogLines(registry.clock)
        self._waits: dict[int, asyncio.Task[Any]] = {}
        self._showing: set[tuple[str, str]] = set()

    def _post(self, made: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        self._registry.engine.post(made, *args)

    def _run(self, text: str, target: str, capability: Capability, work: Work) -> None:
        """Do something to a provider that may take long, as an activity that can be cancelled."""
        self._post(self._checked, text, target, capability, work)

    async def _checked(self, text: str, target: str, capability: Capability, work: Work) -> None:
        reason = self._registry.can(target, capability)
        if reason:
            what = f"{text[0].upper()}{text[1:]}: not done, {reason}"
            raise PaddockError.of(what, target, "Choose another provider, or change the setting", FailureKind.REFUSED)
        await self.activity(text, target, work)

    async def activity(self, text: str, target: str, work: Work) -> None:
        """Do something that may take long, shown as a wait that esc ends."""
        registry = self._registry
        self._number += 1
        activity = Activity(self._number, text, target, registry.clock.monotonic())
        task = asyncio.ensure_future(work())
        self._waits[activity.id] = task
        registry.activities.set((*registry.activities.value, activity))
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                task.cancel()
                raise
            registry.notices.say(f"{text}: stopped")
        finally:
            self._waits.pop(activity.id, None)
            registry.activities.set(tuple(other for other in registry.activities.value if other.id != activity.id))

    def cancel(self, activity: int) -> None:
        """End a wait."""

        async def end() -> None:
            task = self._waits.get(activity)
            if task is not None:
                task.cancel()

        self._post(end)

    def _change(self, what: str, work: Work) -> None:
        """Change something of ours that `security.access = "look"` forbids."""

        async def checked() -> None:
            self._allow(what)
            await work()

        self._post(checked)

    def _allow(self, what: str, *, stops: bool = False) -> None:
        access = self._registry.config.current.value.security.access
        if access == "look" or (stops and access == "use"):
            raise PaddockError.of(f"{what} is refused", f"security.access = {access}", "Change security.access", FailureKind.REFUSED)

    # --- models -------------------------------------------------------------------------------------------------------

    def show(self, provider: str, model: str) -> None:
        """Fetch details into `details` unless they are there, or on their way."""
        self._post(self._show, provider, model)

    async def _show(self, provider: str, model: str) -> None:
        key = (provider, model)
        there = self._registry.details.value.get(key)
        if key in self._showing or (there is not None and not isinstance(there, Failure)):
            return
        self._showing.add(key)
        try:
            self._registry.put_detail(key, await self._registry.require(provider).show(model))
        except PaddockError as error:
            self._registry.put_detail(key, error.failure)
        except Exception:
            what = f"The details of {model} cannot be read"
            self._registry.put_detail(key, Failure(what, provider, "Please report it; the log has the details"))
            raise
        finally:
            self._showing.discard(key)

    def load(self, provider: str, model: str, keep_alive: str = "") -> None:
        """Load a model; an activity until it is ready."""

        async def work() -> None:
            if self._allowed is not None and (refused := await self._allowed(provider, model)) is not None:
                raise PaddockError(refused)
            await self._load(provider, model, keep_alive, "load")
            self._registry.notices.say(f"{model} is loaded on {provider}")

        self._run(f"loading {model}", provider, Capability.LOAD, work)

    async def _load(self, provider: str, model: str, keep_alive: str, what: str) -> None:
        connection = self._registry.require(provider)
        with self._audit.noting(what, f"{provider}/{model}"):
            await connection.load(model, keep_alive=keep_alive)
            if not await self._is_loaded(connection, model):
                remedy = "Look at its keep_alive and at the server's log"
                raise PaddockError.of(f"{model} was loaded and is gone again", provider, remedy, FailureKind.SERVER)
        await self._look(provider)

    @staticmethod
    async def _is_loaded(connection: Provider, model: str) -> bool:
        if Capability.RUNNING not in connection.capabilities:
            return True
        return any(running.key == model or same(running.key, model) for running in await connection.running())

    def keep(self, provider: str, model: str, keep_alive: str) -> None:
        """Change how long a loaded model stays."""

        async def work() -> None:
            if keep_alive.strip() in ("0", "0s", "0m"):
                await self._unloaded(provider, model)
            else:
                await self._load(provider, model, keep_alive, "keep")

        self._run(f"keeping {model}", provider, Capability.KEEP_ALIVE, work)

    def unload(self, provider: str, model: str) -> None:
        """Unload a model; an activity until it is gone."""

        async def work() -> None:
            await self._unloaded(provider, model)
            self._registry.notices.say(f"{model} is unloaded")

        self._run(f"unloading {model}", provider, Capability.UNLOAD, work)

    async def load_now(self, provider: str, model: str) -> None:
        """As `load`, awaited; on the engine only.

        Raises:
            PaddockError: It is not loaded: the server, `security.access` or `[limits]` refused.
        """

        async def work() -> None:
            if self._allowed is not None and (refused := await self._allowed(provider, model)) is not None:
                raise PaddockError(refused)
            await self._load(provider, model, "", "load")

        await self._checked(f"loading {model}", provider, Capability.LOAD, work)

    async def unload_now(self, provider: str, model: str) -> None:
        """As `unload`, awaited; on the engine only.

        Raises:
            PaddockError: It is not gone, or `security.access` forbids it.
        """
        await self._checked(f"unloading {model}", provider, Capability.UNLOAD, lambda: self._unloaded(provider, model))

    async def _unloaded(self, provider: str, model: str) -> None:
        connection = self._registry.require(provider)
        with self._audit.noting("unload", f"{provider}/{model}"):
            await connection.unload(model)
            until = self._registry.clock.monotonic() + self._patience
            while Capability.RUNNING in connection.capabilities and await self._is_loaded(connection, model):
                await self._look(provider)
                if self._registry.clock.monotonic() > until:
                    remedy = "Wait for the request that uses it, then try again"
                    raise PaddockError.of(f"{model} is still loaded after {self._patience:.0f}s", provider, remedy, FailureKind.BUSY)
                await asyncio.sleep(self._poll)
        await self._look(provider)

    async def out_of_memory(self, provider: str, model: str) -> None:
        """Unload a model that is about to go, where it is loaded; on the engine only.

        Raises:
            PaddockError: It is not gone.
        """
        connection = self._registry.require(provider)
        if Capability.RUNNING in connection.capabilities and await self._is_loaded(connection, model):
            await self._unloaded(provider, model)

    async def _look(self, provider: str) -> None:
        watch = self._registry.watch(provider)
        if watch is not None:
            await watch.list_running()

    async def look_again(self, provider: str) -> None:
        """List models and what is loaded anew; returns when they are there; on the engine only."""
        watch = self._registry.watch(provider)
        if watch is not None:
            await watch.list_models()
            await watch.list_running()

    # --- providers ----------------------------------------------------------------------------------------------------

    def refresh(self, provider: str = "") -> None:
        """Ask again for health, models and what is loaded; empty means all, and looks around."""

        async def again() -> None:
            self._registry.forget_details(provider)
            self._registry.refresh(provider)

        self._post(again)

    def discover(self) -> None:
        """Look at the known ports."""

        async def look() -> None:
            self._registry.look_around()

        self._post(look)

    def add_provider(self, address: str, name: str = "", key: str = "") -> None:
        """Find what answers at an address (bare hosts too) and save it; the outcome is a notice."""
        if not key.startswith(("env:", "file:")):
            know_secret(key)

        async def run() -> None:
            await self.activity(f"looking at {display_url(address)}", display_url(address), lambda: self._add(address, name, key))

        self._change("Adding a provider", run)

    async def _add(self, address: str, name: str, key: str) -> None:
        config = self._registry.config
        if config.current.value.general.network == "offline" and not is_loopback(address):
            raise PaddockError.of(f"Not asked: {OFFLINE}", display_url(address), "Change general.network", FailureKind.REFUSED)
        found = await find(address, kinds())
        if isinstance(found, Failure):
            raise PaddockError(found)
        taken = config.current.value.providers
        there = next((other for other, one in taken.items() if origin(one.url) == origin(found.url) and not name), "")
        if there:
            raise PaddockError.of(f"{display_url(found.url)} is there already: {there}", there, "Edit it", FailureKind.REFUSED)
        base = name or _name_of(found.url, found.kind)
        wanted, number = base, 1
        while wanted in taken:
            number += 1
            wanted = f"{base}-{number}"
        await in_daemon_thread(lambda: config.set_provider(wanted, _fields(found, key)))
        self._audit.write("add provider", wanted, url=display_url(found.url))
        self._registry.notices.say(f"{wanted}: {found.label or found.kind} at {display_url(found.url)}")

    def adopt(self, name: str) -> None:
        """Save a discovered provider to the configuration."""

        async def save() -> None:
            await self._registry.save_provider(name, {})
            self._audit.write("add provider", name)
            self._registry.notices.say(f"{name} is saved")

        self._change("Saving a provider", save)

    def edit_provider(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change keys of `[providers.<name>]`; a key goes to another address only where the user says so."""

        async def save() -> None:
            changed = await self._bound(name, dict(changes))
            await self._registry.save_provider(name, changed)
            self._audit.write("edit provider", name, keys=", ".join(sorted(changed)))

        self._change("Editing a provider", save)

    async def _bound(self, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        state = self._registry.state(name)
        url = str(changes.get("url") or "")
        if state is None or not state.endpoint.key or not url or "api_key" in changes or origin(url) == origin(state.endpoint.url):
            return changes
        text = f"The key of {name} was stored for {display_url(state.endpoint.url)}. Send it to {display_url(url)} too?"
        if await self._registry.notices.ask(text, (("drop", "No, forget the key"), ("send", "Send it there"))) != "send":
            changes["api_key"] = None
        return changes

    def remove_provider(self, name: str) -> None:
        """Remove it from the configuration; running work goes on."""

        async def drop() -> None:
            await in_daemon_thread(lambda: self._registry.config.remove_provider(name))
            self._audit.write("remove provider", name)

        self._change("Removing a provider", drop)

    def set_default(self, name: str) -> None:
        """Make it the default provider; a discovered one is saved first, so that its name stays."""

        async def save() -> None:
            state = self._registry.state(name)
            if state is not None and state.origin is Origin.FOUND:
                await self._registry.save_provider(name, {})
            await in_daemon_thread(lambda: self._registry.config.set("general.default_provider", name))
            self._audit.write("default provider", name)

        self._change("Choosing the default", save)

    def set_location(self, name: str, location: Location) -> None:
        """Save where a tunnelled provider really is."""

        async def save() -> None:
            await self._registry.set_location(name, location)
            self._audit.write("locate provider", name, location=str(location))

        self._change("Saving where a provider is", save)

    # --- servers ------------------------------------------------------------------------------------------------------

    def start_server(self, name: str = "ollama") -> None:
        """Have the worker start the installed `ollama` program."""

        async def start() -> None:
            self._allow("Starting a server")
            servers, jobs = self._servers(), self._jobs()
            program = self._registry.discovery.value.ollama_program
            if servers is None or jobs is None:
                raise PaddockError.of("The database is not open", name, "See the line at the top", FailureKind.DISK)
            if not program:
                remedy = "Install it from ollama.com, then press r"
                raise PaddockError.of("Ollama is not installed here", "PATH", remedy, FailureKind.NOT_FOUND)
            address = self._start_address(name)
            await servers.start(name, program, address)
            await jobs.ensure_worker()
            self._registry.notices.say(f"starting {program} at {address}")
            self._registry.engine.spawn(self._follow_start(name, servers))

        self._post(start)

    def _start_address(self, name: str) -> str:
        state = self._registry.state(name)
        if state is None:
            return OLLAMA_ADDRESS
        if state.endpoint.kind != "ollama" or not is_loopback(state.endpoint.url) or state.location is not Location.HERE:
            what = f"{name} is not an Ollama server of this machine"
            raise PaddockError.of(what, display_url(state.endpoint.url), "Start it where it runs", FailureKind.REFUSED)
        if state.status is ProviderStatus.UP:
            raise PaddockError.of(f"{name} runs already", display_url(state.endpoint.url), "Use it", FailureKind.REFUSED)
        return state.endpoint.url.split("://", 1)[-1].split("/")[0]

    async def _follow_start(self, name: str, servers: ServerJobs) -> None:
        until = self._registry.clock.monotonic() + START_PATIENCE
        while self._registry.clock.monotonic() < until:
            row = next((row for row in servers.view.value if row.name == name), None)
            if row is not None and row.seen >= row.asked and row.state in ("running", "failed", "stopped"):
                if row.state == "failed":
                    self._registry.notices.say(row.note or f"{name} did not start", Severity.ERROR)
                self._registry.refresh()
                return
            await asyncio.sleep(self._poll)
        self._registry.notices.say(f"{name} is not ready after {START_PATIENCE:.0f}s; its log tells more", Severity.WARNING)

    def stop_server(self, name: str) -> None:
        """Have the worker stop a server we started."""

        async def stop() -> None:
            self._allow("Stopping a server", stops=True)
            servers, jobs = self._servers(), self._jobs()
            if servers is None or jobs is None or not servers.log(name):
                remedy = "Stop it where it was started, for example with systemctl stop ollama"
                raise PaddockError.of(f"Paddock did not start {name}", name, remedy, FailureKind.REFUSED)
            await servers.stop(name)
            await jobs.ensure_worker()

        self._post(stop)

    def server_log(self, name: str) -> str:
        """Path of the log of a server we started, or empty."""
        servers = self._servers()
        rows = servers.view.value if servers is not None else ()
        return next((str(row.record.get("log", "")) for row in rows if row.name == name), "")

    def log_line(self, name: str) -> str:
        """See `api.RegistryApi.log_line`."""
        return self._log_lines.line(self.server_log(name))


def _fields(found: Found, key: str) -> dict[str, object]:
    fields: dict[str, object] = {"kind": found.kind, "url": found.url}
    if key:
        fields["api_key"] = key
    if found.location is Location.ELSEWHERE:
        fields["location"] = "elsewhere"
    return fields


def _name_of(url: str, kind: str) -> str:
    host = url.split("://", 1)[-1].split("/")[0].rsplit(":", 1)[0].strip("[]").split(".")[0][:_LONGEST_NAME]
    return kind if host in ("127", "localhost", "") or host.isdigit() or ":" in host else host
