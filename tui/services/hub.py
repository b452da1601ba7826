"""Everything built once and joined: what screens get, and how it starts and ends."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from tui.config.paths import Paths
from tui.config.secrets import resolve_secret
from tui.config.settings import Settings
from tui.config.store import ConfigStore
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, PaddockError
from tui.core.jobs import JobKind, JobState, QueueView
from tui.core.models import Notice, Severity
from tui.core.observe import Observable
from tui.core.options import AppOptions
from tui.core.threads import in_daemon_thread
from tui.services.actions import Actions
from tui.services.api import Question
from tui.services.audit import Audit
from tui.services.chat.engine import ChatEngine
from tui.services.chat.verbs import ChatVerbs
from tui.services.completion import Completion
from tui.services.engine import Engine
from tui.services.job_verbs import JobVerbs
from tui.services.library.verbs import Library
from tui.services.limits import Limits
from tui.services.logs import know_secret, log_trouble, start_log
from tui.services.monitor.verbs import MonitorVerbs
from tui.services.notices import Notices
from tui.services.ports import Ports
from tui.services.previews import Previews
from tui.services.registry import Registry
from tui.services.sides import ChatSide, LibrarySide, MonitorSide, demo_sampler
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.hardware.sample import Sample
    from tui.services.jobs import Jobs
    from tui.services.monitor.last import LastFile
    from tui.services.plan import Planner
    from tui.services.servers import ServerJobs
    from tui.store.db import Database
    from tui.store.meta import Meta

CONFIG_EVERY: Final = 2.0
"""Seconds between two looks at the configuration file."""
DATABASE_EVERY: Final = 0.25
"""Seconds between two looks whether another process changed something."""
_NETWORK_SAID: Final = "said network"
_LOG: Final = logging.getLogger("paddock.hub")


class RegistryVerbs(Actions):
    """`api.RegistryApi`: state of the registry, verbs of the actions."""

    def __init__(
        self,
        registry: Registry,
        audit: Audit,
        servers: Callable[[], ServerJobs | None],
        jobs: Callable[[], Jobs | None],
        allowed: Callable[[str, str], Awaitable[Failure | None]],
    ) -> None:
        super().__init__(registry, audit, servers, jobs, allowed=allowed)
        self.providers = registry.providers
        self.models = registry.models
        self.kept = registry.kept
        self.running = registry.running
        self.details = registry.details
        self.discovery = registry.discovery
        self.activities = registry.activities
        self.model_failures = registry.model_failures
        self.state = registry.state
        self.default = registry.default
        self.can = registry.can


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
        self.ports = Ports(self.said.ask, self.audit)
        self.database: Database | None = None
        self._opened = asyncio.Event()
        self._chat_stale = True
        self._said_logout = False
        self._said_log = False
        self._done: frozenset[tuple[int, str]] | None = None
        self.environ = environ
        self.is_demo = options.demo
        self._start_sampler = start_sampler
        self._meta: Meta | None = None
        self._last: LastFile | None = None
        self._queue: Jobs | None = None
        self._plans: Planner | None = None
        self._servers: ServerJobs | None = None
        self.watching = Registry(
            self.engine,
            self.said,
            self.config,
            environ,
            extra=demo_url or options.provider,
            demo=options.demo,
            resolve=self.secret,
            ports=self.ports,
            clock=clock,
        )
        self._build_monitor(sampler or (demo_sampler(paths) if options.demo else None))
        self.registry = RegistryVerbs(self.watching, self.audit, lambda: self._servers, lambda: self._queue, self._may_load)
        self.previewing = Previews(
            self.planner, self.watching.require, lambda: self.jobs.view.value.jobs, self.settings, clock, disks=not options.demo
        )
        self.jobs: JobVerbs = JobVerbs(self)
        self.library = Library(LibrarySide(self))
        self._build_chats()

    def _build_monitor(self, sampler: Callable[[Settings], list[str]] | None) -> None:
        self.monitor = MonitorVerbs(MonitorSide(self), command=sampler)
        self.monitor.sampling.taken.append(self._tell_last)
        self.limits = Limits(self.settings, self.monitor, self.watching, tell=self.monitor.enforcing.tell, clock=self.clock)

    async def _may_load(self, provider: str, model: str) -> Failure | None:
        """Why `[limits]` forbid a load now; asks or warns as they say."""
        need, cards = self.side.need(provider, model)
        ask, notice = self.said.ask, self.said.say
        return await self.limits.allow(provider, need, model=model, what="loaded", cards=cards, ask=ask, notice=notice)

    def _tell_last(self, sample: Sample, interval: float) -> None:
        """Keep the newest figures where `paddock status --line` looks."""
        if self._last is None:
            from tui.services.monitor.last import last_of

            self._last = last_of(self)
        self._last.take(sample, interval)

    def _build_chats(self) -> None:
        side = self.side = ChatSide(self)
        self.chatting = ChatEngine(host=side, clock=self.clock)
        self.chat = ChatVerbs(self.chatting, side)
        self.completion = Completion(host=side, clock=self.clock)

    # --- start and end ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the engine; returns at once."""
        self.engine.start()
        self.engine.post(self._open)

    async def _open(self) -> None:
        """Each part on its own: what fails is said, and the others work."""
        self._say_log(start_log(self.paths.logs, self.settings().general.log_level))
        self._show_problems()
        self.config.current.watch(lambda _settings: self.engine.post(self._apply))
        for moved in (self.watching.running, self.watching.models, self.watching.providers):
            moved.watch(lambda _value: self._refresh_chat())
        await self._part("providers", self.watching.open)
        await self.watching.quiet()
        if self._start_sampler:
            self.engine.keep_going(self.monitor.run, "monitor")
        self.engine.keep_going(self.monitor.follow, "models")
        self.engine.keep_going(self._follow_config, "config")
        await self._part("database", self._open_database)
        self.ports.open(self._meta)
        await self._part("chat", self.chatting.start)
        self._opened.set()
        self._chat_stale = False
        await self._apply()
        self.ready.set(True)

    async def _part(self, name: str, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await begin()
        except Exception as error:
            if not isinstance(error, PaddockError):
                _LOG.exception("%s did not start", name)
            self.said.report(error)

    async def _apply(self) -> None:
        start_log(self.paths.logs, self.settings().general.log_level)
        self._refresh_chat()
        self.watching.apply(self.settings())

    def _refresh_chat(self) -> None:
        """Once for all that moved in this turn of the loop."""
        if not self._chat_stale:
            self._chat_stale = True
            self.engine.post(self._chat_follows)

    async def _chat_follows(self) -> None:
        self._chat_stale = False
        await self.chatting.follow_host()

    async def _open_database(self) -> None:
        from tui.services.jobs import Jobs, make_way
        from tui.services.servers import ServerJobs
        from tui.store.db import Database
        from tui.store.meta import Meta

        def opened() -> Database:
            if not make_way(self.paths):
                raise PaddockError.of(
                    "A worker of another version keeps the database", str(self.paths.locks), "Wait until it ends, then start again"
                )
            return Database(self.paths.database, network_fs=self.paths.network)

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
        self._meta = Meta(database)
        self._queue = Jobs(database, self.paths, self.clock, lambda: self.settings().pulls.bandwidth)
        self._queue.view.watch(self.jobs.view.set)
        self._queue.failure.watch(lambda failure: self.said.stand("queue", failure))
        self._queue.view.watch(lambda _view: self._say_logout())
        self._queue.view.watch(self._lists_follow)
        self._queue.logout_note.watch(lambda _note: self._say_logout())
        self._servers = ServerJobs(database)
        self.engine.keep_going(self._queue.follow, "queue")
        self.engine.keep_going(self._servers.follow, "servers")
        self.engine.keep_going(lambda: self._follow_database(database), "database")
        await self._part("monitor", lambda: self.monitor.open(database))
        await self._part("library", lambda: self.library.open(database))
        if self.paths.network:
            await self._say_network(database, self._meta)

    def _lists_follow(self, view: QueueView) -> None:
        """What a job has just changed on a server is looked at at once."""
        done = {(job.id, job.warmed): job for job in view.jobs if job.state is JobState.DONE and job.kind is not JobKind.PUSH}
        news = done.keys() - self._done if self._done is not None else ()
        self._done = frozenset(done)
        for name in {done[key].endpoint.name for key in news}:
            self.watching.refresh(name)

    def _say_logout(self) -> None:
        """S32, once: there is a worker, and logging out would end it."""
        if self._queue is None or self._said_logout or not self._queue.view.value.worker.running:
            return
        note = self._queue.logout_note.value
        if note:
            self._said_logout = True
            self.said.say(f"{note[0].upper()}{note[1:]}", Severity.WARNING)

    async def _say_network(self, database: Database, meta: Meta) -> None:
        """C16, once ever: the data folder is shared, and this machine has its own database in it."""
        if not database.read_only and not meta.get(_NETWORK_SAID):
            folder = clean_name(str(self.paths.database.parent))
            self.said.say(f"The data folder lies on a network filesystem: this machine's own database is in {folder}", Severity.WARNING)
            await meta.set(_NETWORK_SAID, "yes")

    async def _follow_config(self) -> None:
        while True:
            await asyncio.sleep(CONFIG_EVERY)
            await in_daemon_thread(self.config.poll)
            self._show_problems()
            self._say_log(log_trouble())

    def _say_log(self, failure: Failure | None) -> None:
        """Once: without a log everything else goes on."""
        if failure is not None and not self._said_log:
            self._said_log = True
            self.said.say(failure.sentence(), Severity.WARNING, failure)

    def _show_problems(self) -> None:
        problems = [problem for problem in self.config.problems.value if not problem.warning]
        self.said.stand("config", problems[0].failure() if problems else None)

    async def _follow_database(self, database: Database) -> None:
        changes = database.changes()
        moved: frozenset[str] = frozenset()
        while True:
            await asyncio.sleep(DATABASE_EVERY)
            problem: Failure | None = None
            try:
                moved |= changes.poll()
                if moved:
                    await self.chatting.changed(moved)
                    await self.monitor.changed(moved)
                    await self.library.changed(moved)
                    moved = frozenset()
            except PaddockError as error:
                problem = error.failure
            self.said.stand("database", problem or database.problem)

    def close(self, timeout: float = 2.0) -> None:
        """Save, close and end the engine; at most `timeout` seconds."""

        async def closing() -> None:
            for end in (self.chatting.aclose, self.completion.aclose, self.library.aclose, self.monitor.aclose, self.watching.aclose):
                try:
                    await end()
                except Exception:
                    _LOG.exception("closing")
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

        self.engine.post(give)

    def post(self, made: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run a coroutine function on the engine, once the database is open or cannot be; from any thread."""

        async def work() -> None:
            await self._opened.wait()
            await made(*args)

        self.engine.post(work)

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

    def planner(self) -> Planner:
        """Finds out what a pull would fetch."""
        if self._plans is None:
            from tui.services.plan import Planner

            self._plans = Planner(self.settings, self.environ, self.clock, demo=self.is_demo)
        return self._plans

    # --- for its parts ------------------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """The running settings."""
        return self.config.current.value

    def secret(self, reference: str) -> str:
        """A key by its reference; the log is told to hide it."""
        key = resolve_secret(reference, settings=self.settings(), environ=self.environ)
        if key:
            know_secret(key)
        return key


def build_services(
    paths: Paths, options: AppOptions, environ: Mapping[str, str] | None = None, *, demo_url: str = "", clock: Clock = SYSTEM
) -> Hub:
    """Build everything; nothing runs before `open`."""
    return Hub(paths, options, os.environ if environ is None else environ, demo_url=demo_url, clock=clock)
