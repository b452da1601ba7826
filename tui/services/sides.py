"""The hub, as its parts see it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from tui.core.errors import Failure
from tui.core.fit import Lessons, Machine, Served
from tui.core.jobs import Job
from tui.core.models import Model, ModelDetail, Origin, RunningModel
from tui.core.names import normal
from tui.core.spawn import own_command
from tui.services.chat import sending
from tui.services.machine import machine_of

if TYPE_CHECKING:
    from tui.config.paths import Paths
    from tui.config.settings import Settings
    from tui.services.chat.api import LiveAnswer
    from tui.services.chat.host import Meter
    from tui.services.hub import Hub
    from tui.store.db import Database


class ChatSide:
    """`sending.ChatHost` over the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.post = hub.post
        self.settings = hub.settings
        self.ask = hub.said.ask
        self.notice = hub.said.say
        self.banner = hub.said.stand
        self.provider = hub.watching.provider
        self.provider_state = hub.watching.state

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
        """Details of a model; fetched where they are not known."""
        found = self._hub.watching.details.value.get((provider, model))
        if found is None and model:
            self._hub.registry.show(provider, model)
        return found if isinstance(found, ModelDetail) else None

    def machine(self) -> Machine | None:
        """This machine's memory, from the newest sample."""
        watching = self._hub.watching
        return machine_of(self._hub.monitor.latest.value.sample, watching.providers.value, watching.running.value)

    def queue(self) -> tuple[Job, ...]:
        """The jobs of the queue."""
        return self._hub.jobs.view.value.jobs

    def refresh(self, provider: str) -> None:
        """Look at a server again."""
        self._hub.watching.refresh(provider)

    def taught(self, provider: str) -> tuple[Served, Lessons]:
        """How a provider runs models, and what loads taught about their memory."""
        fits = self._hub.library.fits
        return fits.served_of(provider), fits.lessons.value

    def look_at_loaded(self, provider: str) -> None:
        """Ask now what a server has in memory."""
        if (watch := self._hub.watching.watch(provider)) is not None:
            watch.look_at_loaded()

    def log_line(self, provider: str) -> str:
        """The last line of the log of a server we started."""
        return self._hub.registry.log_line(provider)

    def meter(self, provider: str, model: str) -> Meter:
        """Measure the energy of an answer that is sent now."""
        return self._hub.monitor.meter(provider, model)

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        """Write to the audit trail."""
        self._hub.audit.write(what, target, result)

    def add_pull(self, model: str, provider: str) -> None:
        """Queue a pull for a chat."""
        self._hub.jobs.add(normal(model), provider, asked_by="chat")

    async def within_limits(self, provider: str, model: str) -> Failure | None:
        """Why `[limits]` forbid an answer there now; asks or warns as they say."""
        need, cards = self.need(provider, model)
        return await self._hub.limits.allow(provider, need, model=model, cards=cards, ask=self.ask, notice=self.notice)

    def need(self, provider: str, model: str) -> tuple[int | None, tuple[str, ...]]:
        """Bytes of GPU memory that a model would take beyond what is in use (0: it is loaded, None: not known), and on which GPUs."""
        need = sending.need_of(self, provider, model)
        take = self._hub.monitor.would_take(provider, model) if need else None
        if take is None:
            return need, ()
        return sum(size for _uuid, size in take.gpu), tuple(uuid for uuid, _size in take.gpu)

    async def may_send(self, provider: str) -> bool:
        """Before a prompt goes to a port that another person's account holds: ask once for each such port and account."""
        watch = self._hub.watching.watch(provider)
        if watch is None or watch.state.origin is Origin.DEMO:
            return True
        await watch.examined()
        return await self._hub.ports.ask_trust(watch.state.endpoint.url, watch.holder, "your prompt")


class LibrarySide:
    """`library.host.LibraryHost` over the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.paths = hub.paths
        self.clock = hub.clock
        self.config = hub.config
        self.environ = hub.environ
        self.demo = hub.is_demo
        self.engine = hub.engine
        self.watching = hub.watching
        self.actions = hub.registry
        self.audit = hub.audit
        self.jobs = hub.jobs
        self.monitor = hub.monitor
        self.settings = hub.settings
        self.queue = hub.queue
        self.planner = hub.planner
        self.secret = hub.secret
        self.provider = hub.watching.require
        self.post = hub.post
        self.ask = hub.said.ask
        self.say = hub.said.say
        self.activity = hub.registry.activity

    async def may_load(self, provider: str, model: str) -> Failure | None:
        """See `LibraryHost`."""
        return await self._hub._may_load(provider, model)

    @property
    def database(self) -> Database | None:
        """None while it is not open."""
        return self._hub.database


class MonitorSide:
    """`monitor.host.MonitorHost` over the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.clock = hub.clock
        self.paths = hub.paths
        self.settings = hub.settings
        self.watching = hub.watching
        self.say = hub.said.say
        self.ask = hub.said.ask
        self.post = hub.post

    @property
    def demo(self) -> bool:
        """Everything is simulated."""
        return self._hub.is_demo

    @property
    def database(self) -> Database | None:
        """None while it is not open."""
        return self._hub.database

    def live(self) -> tuple[LiveAnswer, ...]:
        """Our answers that are being written."""
        chat = self._hub.chat
        return tuple(live for live in (chat.live.value, *chat.compared.value) if live is not None and not live.state.ended)

    def detail(self, provider: str, model: str) -> ModelDetail | None:
        """Details of a model; fetched where they are not known yet."""
        return self._hub.side.detail(provider, model)

    def taught(self, provider: str) -> tuple[Served, Lessons]:
        """How a provider runs models, and what loads taught about their memory."""
        return self._hub.side.taught(provider)

    def look_at_loaded(self, provider: str) -> None:
        """Ask now what a server has in memory."""
        self._hub.side.look_at_loaded(provider)

    async def load(self, provider: str, model: str) -> None:
        """Load a model, as an activity; limits are asked."""
        await self._hub.registry.load_now(provider, model)

    async def unload(self, provider: str, model: str) -> None:
        """Unload a model and wait until it is gone, as an activity."""
        await self._hub.registry.unload_now(provider, model)

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        """Write to the audit trail."""
        self._hub.audit.write(what, target, result)

    def keep_going(self, made: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run something until the end, again where it fails."""
        self._hub.engine.keep_going(made, name)

    def environ(self) -> Mapping[str, str]:
        """Of this process."""
        return self._hub.environ


def demo_sampler(paths: Paths) -> Callable[[Settings], list[str]]:
    """The demo's simulated machine, as a sampler's command line."""
    return lambda settings: own_command("demo-sampler", "--home", str(paths.data.parent), "--interval", f"{settings.monitor.interval:g}")
