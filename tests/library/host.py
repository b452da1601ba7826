"""The hub as the Library's parts see it, on the test's own loop: observables a test sets, what was said and asked, tasks that it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tui.config.paths import find_paths
from tui.config.store import ConfigStore
from tui.core.capabilities import Capability
from tui.core.clock import ManualClock
from tui.core.errors import PaddockError
from tui.core.models import Endpoint, Origin, ProviderState, ProviderStatus
from tui.core.observe import Observable
from tui.providers.base import Provider
from tui.services.audit import Audit
from tui.services.plan import Planner
from tui.store.db import Database

ABLE = frozenset(
    {Capability.CHAT, Capability.PULL, Capability.CREATE, Capability.COPY, Capability.DELETE, Capability.SHOW, Capability.LOAD}
    | {Capability.UNLOAD, Capability.KEEP_ALIVE, Capability.RUNNING, Capability.PUSH}
)


class Watching:
    """What of the registry the parts read."""

    def __init__(self) -> None:
        self.providers: Observable[Any] = Observable(())
        self.models: Observable[Any] = Observable(())
        self.kept: Observable[Any] = Observable(())
        self.running: Observable[Any] = Observable(())
        self.details: Observable[Any] = Observable({})
        self.refreshed: list[str] = []

    def state(self, name: str) -> Any:
        return next((state for state in self.providers.value if state.name == name), None)

    def refresh(self, name: str = "") -> None:
        self.refreshed.append(name)


class Host:
    """`library.host.LibraryHost`."""

    def __init__(self, home: Path, *, url: str = "", environ: dict[str, str] | None = None) -> None:
        self.paths = find_paths(environ={"PADDOCK_HOME": str(home), "HOME": str(home)})
        self.clock = ManualClock()
        self.environ = dict(environ or {})
        self.config = ConfigStore(self.paths, {})
        self.demo = False
        self.engine = self
        self.watching = Watching()
        self.audit = Audit(self.paths.state, self.clock, lambda: True)
        self.database: Database | None = None
        self.providers: dict[str, Provider] = {}
        self.said: list[str] = []
        self.asked: list[str] = []
        self.answers: list[str] = []
        self.failures: list[BaseException] = []
        self.tasks: list[asyncio.Task[Any]] = []
        if url:
            self.up("box", url)

    def up(self, name: str, url: str) -> None:
        """A server that answers."""
        endpoint = Endpoint(name, "ollama", url, retries=0)
        state = ProviderState(endpoint, Origin.CONFIG, ProviderStatus.UP, capabilities=ABLE)
        self.watching.providers.set((*self.watching.providers.value, state))

    async def open(self) -> Database:
        """Open the database."""
        self.database = Database(self.paths.database)
        return self.database

    def settings(self) -> Any:
        return self.config.current.value

    def planner(self) -> Planner:
        return Planner(self.settings, self.environ, self.clock, demo=self.demo)

    def secret(self, reference: str) -> str:
        return {"env:KEY": "sk-secret-1"}.get(reference, "")

    def provider(self, name: str) -> Provider:
        if name not in self.providers:
            raise PaddockError.of(f"There is no provider {name}", name, "Add it")
        return self.providers[name]

    def post(self, made: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        async def work() -> None:
            try:
                await made(*args)
            except PaddockError as error:
                self.failures.append(error)

        self.tasks.append(asyncio.get_running_loop().create_task(work()))

    def keep_going(self, work: Callable[[], Coroutine[Any, Any, None]], name: str, pause: float = 1.0) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work(), name=name)
        self.tasks.append(task)
        return task

    spawn = keep_going

    async def ask(self, text: str, choices: Any, failure: Any = None) -> str:
        self.asked.append(text)
        return self.answers.pop(0) if self.answers else choices[0][0]

    def say(self, text: str, severity: Any = None, failure: Any = None) -> None:
        self.said.append(text)

    async def activity(self, text: str, target: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await work()

    async def aclose(self) -> None:
        """End everything."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for provider in self.providers.values():
            await provider.aclose()
        if self.database is not None:
            await self.database.aclose()
