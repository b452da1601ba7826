"""Everything built once and joined: what screens get, and how it starts and ends."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from tui.config.paths import Paths
from tui.config.secrets import resolve_secret
from tui.config.settings import Settings
from tui.config.store import ConfigStore
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import (
    Model,
    ModelDetail,
    Notice,
    Origin,
    QueueView,
    RunningModel,
    Severity,
)
from tui.core.names import normal, parse
from tui.core.observe import Observable
from tui.core.options import AppOptions
from tui.services.actions import Actions
from tui.services.api import Question
from tui.services.audit import Audit
from tui.services.chat import ChatEngine
from tui.services.engine import Engine, in_daemon_thread
from tui.services.jobs import Jobs, make_way
from tui.services.logs import know_secret, start_log
from tui.services.monitor import Monitor
from tui.services.notices import Notices
from tui.services.registry import Registry
from tui.services.servers import ServerJobs
from tui.store.db import Database

CONFIG_EVERY: Final = 2.0
"""Seconds between two looks at the configuration file."""
_LOG: Final = logging.getLogger("paddock.hub")


class JobVerbs:
    """`api.JobsApi` over the queue; callable from any thread."""

    def __init__(self, hub: Hub) -> None:
        self.view: Observable[QueueView] = Observable(QueueView())
        self._hub = hub

    def add(self, model: str, provider: str = "", *, insecure: bool = False, asked_by: str = "") -> None:
        """Queue a pull on a provider (empty: the default)."""
        self._hub.post(self._add, model, provider, insecure, asked_by)

    async def _add(self, model: str, provider: str, insecure: bool, asked_by: str) -> None:
        registry = self._hub.watching
        name = str(parse(model))
        state = registry.state(provider) if provider else registry.default()
        if state is None:
            raise PaddockError.of("There is no server to pull to", "providers", "Add one on the Providers screen", FailureKind.NOT_FOUND)
        reason = registry.can(state.name, Capability.PULL)
        network = self._hub.settings().general.network
        if network == "offline":
            reason = "general.network is offline"
        if reason:
            raise PaddockError.of(
                f"{name} is not pulled: {reason}", state.name, "Choose another server, or change the setting", FailureKind.REFUSED
            )
        if network == "metered":
            choice = await self._hub.said.ask(f"Pull {name} over a metered network?", (("keep", "Not now"), ("pull", "Pull")))
            if choice != "pull":
                return
        await self._hub.queue().add(name, state.endpoint, arguments={"insecure": True} if insecure else {}, asked_by=asked_by)
        self._hub.said.say(f"{name} is queued on {state.name}")

    def _wish(self, verb: str, *args: Any) -> None:
        async def work() -> None:
            await getattr(self._hub.queue(), verb)(*args)

        self._hub.post(work)

    def pause(self, ids: Sequence[int]) -> None:
        """Wish: paused; bytes are kept."""
        self._wish("pause", tuple(ids))

    def resume(self, ids: Sequence[int]) -> None:
        """Wish: run."""
        self._wish("resume", tuple(ids))

    def cancel(self, ids: Sequence[int]) -> None:
        """Wish: cancelled."""
        self._wish("cancel", tuple(ids))

    def retry(self, ids: Sequence[int]) -> None:
        """Run failed or cancelled ones again."""
        self._wish("retry", tuple(ids))

    def move(self, job: int, where: str) -> None:
        """`up`, `down` or `first`."""
        self._wish("move", job, where)

    def remove(self, ids: Sequence[int]) -> None:
        """Drop ended ones from the list."""
        self._wish("remove", tuple(ids))


class RegistryVerbs(Actions):
    """`api.RegistryApi`: state of the registry, verbs of the actions."""

    def __init__(self, registry: Registry, audit: Audit, servers: Callable[[], ServerJobs | None], jobs: Callable[[], Jobs | None]) -> None:
        super().__init__(registry, audit, servers, jobs)
        self.providers = registry.providers
        self.models = registry.models
        self.running = registry.running
        self.details = registry.details
        self.discovery = registry.discovery
        self.activities = registry.activities
        self.model_failures = registry.model_failures
        self.state = registry.state
        self.default = registry.default
        self.can = registry.can


class ChatSide:
    """`chat_request.ChatHost` over the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.post = hub.post
        self.settings = hub.settings
        self.ask = hub.said.ask
        self.notice = hub.said.say
        self.banner = hub.said.stand
        self.provider = hub.watching.provider
        self.provider_state = hub.watching.state
        self._trusted: set[str] = set()

    @property
    def database(self) -> Database | None:
        """Where conversations are stored."""
        return self._hub.database

    def default_provider(self) -> str:
        """Name of the default provider, empty where there is none."""
        state = self._hub.watching.default()
        return state.name if state is not None else ""

    def running(self) -> tuple[RunningModel, ...]:
        """What is loaded, on all providers."""
        return self._hub.watching.running.value

    def models(self) -> tuple[Model, ...]:
        """What is installed, on all providers."""
        return self._hub.watching.models.value

    def detail(self, provider: str, model: str) -> ModelDetail | None:
        """Details of a model, where they were fetched."""
        found = self._hub.watching.details.value.get((provider, model))
        return found if isinstance(found, ModelDetail) else None

    def add_pull(self, model: str, provider: str) -> None:
        """Queue a pull for a chat."""
        self._hub.jobs.add(normal(model), provider, asked_by="chat")

    async def may_send(self, provider: str) -> bool:
        """Before a prompt goes to a port that another person's account holds: ask once for each such port."""
        state = self._hub.watching.state(provider)
        if state is None or not state.other_person or state.origin is Origin.DEMO:
            return True
        place = f"{state.endpoint.url} {state.owner}"
        if place in self._trusted:
            return True
        text = f"{state.endpoint.url} is held by another person's account ({state.owner}). Send your prompt there?"
        if await self.ask(text, (("no", "Do not send"), ("send", "Send"))) != "send":
            return False
        self._trusted.add(place)
        self._hub.audit.write("trust", state.endpoint.url, owner=state.owner)
        return True


class Hub:
    """`api.Services`."""

    def __init__(
        self,
        paths: Paths,
        options: AppOptions,
        environ: Mapping[str, str],
        *,
        demo_url: str = "",
        clock: Clock = SYSTEM,
        start_sampler: bool = True,
        sampler: Callable[[Settings], list[str]] | None = None,
    ) -> None:
        self.paths = paths
        self.clock = clock
        overrides: dict[str, object] = {}
        if options.readonly:
            overrides["security.access"] = "look"
        if options.log_level:
            overrides["general.log_level"] = options.log_level
        self.config = ConfigStore(paths, environ, overrides)
        self.said = Notices()
        self.notices: Observable[tuple[Notice, ...]] = self.said.notices
        self.questions: Observable[tuple[Question, ...]] = self.said.questions
        self.banner: Observable[tuple[Failure, ...]] = self.said.banner
        self.ready: Observable[bool] = Observable(False)
        self.engine = Engine(self.said.report)
        self.audit = Audit(paths.state, clock, lambda: self.config.current.value.security.audit)
        self.database: Database | None = None
        self._environ = environ
        self._start_sampler = start_sampler
        self._queue: Jobs | None = None
        self._servers: ServerJobs | None = None
        self.watching = Registry(
            self.engine,
            self.said,
            self.config,
            environ,
            extra=demo_url or options.provider,
            demo=options.demo,
            resolve=self._key,
            clock=clock,
        )
        self.registry = RegistryVerbs(self.watching, self.audit, lambda: self._servers, lambda: self._queue)
        self.jobs = JobVerbs(self)
        self.monitor = Monitor(self.settings, clock=clock, command=sampler)
        self.chat = ChatEngine(host=ChatSide(self), clock=clock)

    # --- start and end ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the engine; returns at once."""
        start_log(self.paths.logs, self.settings().general.log_level)
        self.engine.start()
        self.engine.post(self._open)

    async def _open(self) -> None:
        self._show_problems()
        self.config.current.watch(lambda _settings: self.post(self._apply))
        await self.watching.open()
        if self._start_sampler:
            self.engine.spawn(self.monitor.run(), "monitor")
        self.engine.spawn(self._follow_config(), "config")
        await self._open_database()
        await self.chat.start()
        self.ready.set(True)

    async def _apply(self) -> None:
        self.watching.apply(self.settings())

    async def _open_database(self) -> None:
        def opened() -> Database:
            if not make_way(self.paths):
                raise PaddockError.of(
                    "A worker of another version keeps the database", str(self.paths.locks), "Wait until it ends, then start again"
                )
            return Database(self.paths.database)

        try:
            database = await in_daemon_thread(opened)
        except PaddockError as error:
            self.said.stand("database", error.failure)
            return
        self.database = database
        if database.problem is not None:
            self.said.stand("database", database.problem)
        if database.opened.sentence():
            self.said.say(database.opened.sentence(), Severity.WARNING)
        self._queue = Jobs(database, self.paths, self.clock)
        self._queue.view.watch(self.jobs.view.set)
        self._queue.failure.watch(lambda failure: self.said.stand("queue", failure))
        self._servers = ServerJobs(database)
        self.engine.spawn(self._queue.follow(), "queue")
        self.engine.spawn(self._servers.follow(), "servers")
        self.engine.spawn(self._follow_database(database), "database")

    async def _follow_config(self) -> None:
        while True:
            await asyncio.sleep(CONFIG_EVERY)
            self.config.poll()
            self._show_problems()

    def _show_problems(self) -> None:
        problems = [problem for problem in self.config.problems.value if not problem.warning]
        self.said.stand("config", problems[0].failure() if problems else None)

    async def _follow_database(self, database: Database) -> None:
        changes = database.changes()
        while True:
            await asyncio.sleep(0.25)
            try:
                moved = changes.poll()
            except PaddockError as error:
                self.said.stand("database", error.failure)
                continue
            if moved:
                await self.chat.changed(moved)

    def close(self, timeout: float = 2.0) -> None:
        """Save, close and end the engine; at most `timeout` seconds."""

        async def closing() -> None:
            await self.chat.aclose()
            await self.watching.aclose()
            if self.database is not None:
                await self.database.aclose()

        self.engine.close(closing, timeout)
        if self.config.unsaved:
            try:
                self.config.retry()
            except PaddockError as error:
                _LOG.warning("settings not saved: %s", error.failure.what)

    # --- verbs --------------------------------------------------------------------------------------------------------

    def answer(self, question: int, choice: str) -> None:
        """Answer a question."""

        async def give() -> None:
            self.said.answer(question, choice)

        self.post(give)

    def post(self, made: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run a coroutine function on the engine; from any thread."""
        self.engine.post(made, *args)

    def queue(self) -> Jobs:
        """The queue.

        Raises:
            PaddockError: The database is not open.
        """
        if self._queue is None:
            raise PaddockError.of(
                "The queue is not available: the database is not open", str(self.paths.database), "See the line at the top"
            )
        return self._queue

    # --- for its parts ------------------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """The running settings."""
        return self.config.current.value

    def _key(self, reference: str) -> str:
        key = resolve_secret(reference, settings=self.settings(), environ=self._environ)
        if key:
            know_secret(key)
        return key


def build_services(
    paths: Paths, options: AppOptions, environ: Mapping[str, str] | None = None, *, demo_url: str = "", clock: Clock = SYSTEM
) -> Hub:
    """Build everything; nothing runs before `open`."""
    return Hub(paths, options, os.environ if environ is None else environ, demo_url=demo_url, clock=clock)
