"""What can be done to providers and their models: verbs that become activities and end as state or a notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Activity, Location, Severity
from tui.core.names import same
from tui.providers.catalogue import kinds
from tui.providers.discovery import find
from tui.services.audit import Audit
from tui.services.engine import in_daemon_thread
from tui.services.jobs import Jobs
from tui.services.registry import Registry
from tui.services.servers import ServerJobs

UNLOAD_PATIENCE: Final = 120.0
"""Seconds until an unload that did not happen is said to have failed; running requests end first."""
POLL: Final = 0.3
OLLAMA_ADDRESS: Final = "127.0.0.1:11434"


class Actions:
    """Verbs of `api.RegistryApi`, callable from any thread.

    Args:
        jobs: The queue, for `ensure_worker`; None while the database is not open.
    """

    def __init__(self, registry: Registry, audit: Audit, servers: Callable[[], ServerJobs | None], jobs: Callable[[], Jobs | None]) -> None:
        self._registry = registry
        self._audit = audit
        self._servers = servers
        self._jobs = jobs
        self._number = 0
        self._waits: dict[int, asyncio.Task[Any]] = {}

    def _post(self, made: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        self._registry.engine.post(made, *args)

    def _run(self, text: str, target: str, capability: Capability, provider: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something that may take long, as an activity that can be cancelled."""
        self._post(self._activity, text, target, capability, provider, work)

    async def _activity(
        self, text: str, target: str, capability: Capability, provider: str, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        registry = self._registry
        reason = registry.can(provider, capability)
        if reason:
            raise PaddockError.of(f"Not done: {reason}", target, "Choose another provider, or change the setting", FailureKind.REFUSED)
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

    # --- models -------------------------------------------------------------------------------------------------------

    def show(self, provider: str, model: str) -> None:
        """Fetch details into `details` unless they are there."""

        async def fetch() -> None:
            key = (provider, model)
            if key in self._registry.details.value and not isinstance(self._registry.details.value[key], Failure):
                return
            try:
                found: Any = await self._registry.require(provider).show(model)
            except PaddockError as error:
                found = error.failure
            self._registry.details.set({**self._registry.details.value, key: found})

        self._post(fetch)

    def load(self, provider: str, model: str, keep_alive: str = "") -> None:
        """Load a model; an activity until it is ready."""

        async def work() -> None:
            await self._registry.require(provider).load(model, keep_alive=keep_alive)
            await self._look(provider)
            self._registry.notices.say(f"{model} is loaded on {provider}")

        self._run(f"loading {model}", provider, Capability.LOAD, provider, work)

    def keep(self, provider: str, model: str, keep_alive: str) -> None:
        """Change how long a loaded model stays."""

        async def work() -> None:
            await self._registry.require(provider).load(model, keep_alive=keep_alive)
            await self._look(provider)

        self._run(f"keeping {model}", provider, Capability.KEEP_ALIVE, provider, work)

    def unload(self, provider: str, model: str) -> None:
        """Unload a model; an activity until it is gone."""

        async def work() -> None:
            await self._unloaded(provider, model)
            self._registry.notices.say(f"{model} is unloaded")

        self._run(f"unloading {model}", provider, Capability.UNLOAD, provider, work)

    async def _unloaded(self, provider: str, model: str) -> None:
        connection = self._registry.require(provider)
        await connection.unload(model)
        until = self._registry.clock.monotonic() + UNLOAD_PATIENCE
        while any(same(running.key, model) for running in await connection.running()):
            if self._registry.clock.monotonic() > until:
                remedy = "Wait for the request that uses it, then try again"
                raise PaddockError.of(f"{model} is still loaded after {UNLOAD_PATIENCE:.0f}s", provider, remedy, FailureKind.BUSY)
            await asyncio.sleep(POLL)
        await self._look(provider)

    def copy(self, provider: str, model: str, destination: str) -> None:
        """Give a model a second name."""

        async def work() -> None:
            await self._registry.require(provider).copy(model, destination)
            self._audit.write("copy", f"{provider}/{model}", to=destination)
            await self._listed(provider)
            self._registry.notices.say(f"{model} is also named {destination}")

        self._run(f"copying {model}", provider, Capability.COPY, provider, work)

    def delete(self, provider: str, models: Sequence[str]) -> None:
        """Unload, then delete."""

        async def work() -> None:
            connection = self._registry.require(provider)
            loaded = await connection.running() if Capability.RUNNING in connection.capabilities else ()
            for model in models:
                if any(same(running.key, model) for running in loaded):
                    await self._unloaded(provider, model)
                await connection.delete(model)
                self._audit.write("delete", f"{provider}/{model}")
            await self._listed(provider)
            left = [
                model for model in models if any(other.key == model and other.provider == provider for other in self._registry.models.value)
            ]
            if left:
                raise PaddockError.of(f"{', '.join(left)} is still listed", provider, "Refresh with r", FailureKind.SERVER)
            self._registry.notices.say(f"deleted {', '.join(models)}")

        self._run(f"deleting {', '.join(models)}", provider, Capability.DELETE, provider, work)

    async def _look(self, provider: str) -> None:
        watch = self._registry.watch(provider)
        if watch is not None:
            await watch.list_running()

    async def _listed(self, provider: str) -> None:
        watch = self._registry.watch(provider)
        if watch is not None:
            await watch.list_models()
            await watch.list_running()
            await asyncio.sleep(0)

    # --- providers ----------------------------------------------------------------------------------------------------

    def refresh(self, provider: str = "") -> None:
        """Ask again for health, models and what is loaded; empty means all, and looks around."""

        async def again() -> None:
            self._registry.details.set(
                {} if not provider else {key: found for key, found in self._registry.details.value.items() if key[0] != provider}
            )
            self._registry.refresh(provider)

        self._post(again)

    def discover(self) -> None:
        """Look at the known ports."""

        async def look() -> None:
            self._registry.look_around()

        self._post(look)

    def add_provider(self, address: str, name: str = "", key: str = "") -> None:
        """Find what answers at an address (bare hosts too) and save it; the outcome is a notice."""

        async def work() -> None:
            found = await find(address, kinds())
            if isinstance(found, Failure):
                raise PaddockError(found)
            taken = self._registry.config.current.value.providers
            base = name or _name_of(found.url, found.kind)
            wanted, number = base, 1
            while wanted in taken:
                number += 1
                wanted = f"{base}-{number}"
            fields: dict[str, object] = {"kind": found.kind, "url": found.url}
            if key:
                fields["api_key"] = key
            if found.location is Location.ELSEWHERE:
                fields["location"] = "elsewhere"
            await in_daemon_thread(lambda: self._registry.config.set_provider(wanted, fields))
            self._audit.write("add provider", wanted, url=found.url)
            self._registry.notices.say(f"{wanted}: {found.label or found.kind} at {found.url}")

        async def run() -> None:
            self._number += 1
            activity = Activity(self._number, f"looking at {address}", address, self._registry.clock.monotonic())
            self._registry.activities.set((*self._registry.activities.value, activity))
            task = asyncio.ensure_future(work())
            self._waits[activity.id] = task
            try:
                await task
            except asyncio.CancelledError:
                if not task.cancelled():
                    raise
            finally:
                self._waits.pop(activity.id, None)
                self._registry.activities.set(tuple(other for other in self._registry.activities.value if other.id != activity.id))

        self._post(run)

    def adopt(self, name: str) -> None:
        """Save a discovered provider to the configuration."""

        async def save() -> None:
            self._registry.save_provider(name, {})
            self._registry.notices.say(f"{name} is saved")

        self._post(save)

    def edit_provider(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change keys of `[providers.<name>]`."""

        async def save() -> None:
            self._audit.write("edit provider", name, keys=", ".join(sorted(changes)))
            self._registry.save_provider(name, changes)

        self._post(save)

    def remove_provider(self, name: str) -> None:
        """Remove it from the configuration; running work goes on."""

        async def drop() -> None:
            await in_daemon_thread(lambda: self._registry.config.remove_provider(name))
            self._audit.write("remove provider", name)

        self._post(drop)

    def set_default(self, name: str) -> None:
        """Make it the default provider."""

        async def save() -> None:
            await in_daemon_thread(lambda: self._registry.config.set("general.default_provider", name))

        self._post(save)

    def set_location(self, name: str, location: Location) -> None:
        """Save where a tunnelled provider really is."""

        async def save() -> None:
            self._registry.set_location(name, location)

        self._post(save)

    # --- servers ------------------------------------------------------------------------------------------------------

    def start_server(self, name: str = "ollama") -> None:
        """Have the worker start the installed `ollama` program."""

        async def start() -> None:
            servers, jobs = self._servers(), self._jobs()
            program = self._registry.discovery.value.ollama_program
            if servers is None or jobs is None or not program:
                raise PaddockError.of(
                    "Ollama is not installed here", "PATH", "Install it from ollama.com, then press r", FailureKind.NOT_FOUND
                )
            state = self._registry.state(name)
            address = state.endpoint.url.split("://", 1)[-1].split("/")[0] if state is not None else OLLAMA_ADDRESS
            await servers.start(name, program, address)
            await jobs.ensure_worker()
            self._registry.notices.say(f"starting {program} at {address}")
            self._registry.engine.spawn(self._follow_start(name))

        self._post(start)

    async def _follow_start(self, name: str) -> None:
        servers = self._servers()
        until = self._registry.clock.monotonic() + 60.0
        while servers is not None and self._registry.clock.monotonic() < until:
            row = next((row for row in servers.view.value if row.name == name), None)
            if row is not None and row.state in ("running", "failed"):
                if row.state == "failed":
                    self._registry.notices.say(row.note or f"{name} did not start", Severity.ERROR)
                self._registry.refresh()
                return
            await asyncio.sleep(POLL)

    def stop_server(self, name: str) -> None:
        """Have the worker stop a server we started."""

        async def stop() -> None:
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
        return servers.log(name) if servers is not None else ""


def _name_of(url: str, kind: str) -> str:
    host = url.split("://", 1)[-1].split("/")[0].rsplit(":", 1)[0].strip("[]").split(".")[0]
    return kind if host in ("127", "localhost", "") or host.isdigit() or ":" in host else host


def failure_or(error: PaddockError, remedy: str) -> Failure:
    """The error's failure, with a remedy where it has none."""
    return error.failure if error.failure.remedy else replace(error.failure, remedy=remedy)
