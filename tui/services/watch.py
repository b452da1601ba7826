"""One provider being watched: its health, its models and what it has loaded."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol

from tui.core.capabilities import Capability
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.kept import kept_of
from tui.core.models import Endpoint, Location, Model, Origin, ProviderState, ProviderStatus, RunningModel
from tui.providers.base import Provider
from tui.providers.catalogue import kind_named
from tui.providers.discovery import held_by
from tui.providers.ports import Holder

CHECKS_KEPT: Final = 240
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 30.0
BUSY_PAUSE: Final = 1.0
"""Seconds between two checks of a server that loads its model."""
RUNNING_BUSY: Final = 2.0
"""Seconds between two looks at what is loaded, while something is."""
RUNNING_IDLE: Final = 6.0
LIST_AGAIN: Final = 10.0
"""Seconds until a list that failed is asked for again."""
AGAIN: Final = 0.1
"""Seconds until a task that should end is told again."""
_ANSWERS: Final = (ProviderStatus.UP, ProviderStatus.BUSY, ProviderStatus.FOUND)


class Owner(Protocol):
    """What a watch tells and asks its registry."""

    def changed(self) -> None:
        """State, models or what is loaded moved."""
        ...

    async def quiet(self) -> None:
        """Wait until what is shown first is shown."""
        ...

    def tunnel(self, url: str) -> Location:
        """Where a server behind an ssh tunnel runs, as the user said; ASK where not said yet."""
        ...


Keep = Callable[[Callable[[], Coroutine[Any, Any, None]], str], "asyncio.Task[Any]"]


class Watch:
    """Keeps `state`, `models` and `running` of one provider true; three loops that never overlap themselves.

    Args:
        intervals: Seconds between health checks, and between looks at the models (0: only when asked).
        fixed: The location is what the settings say, whoever holds the port.
        pause: Seconds before a server that failed is asked again, doubled each time.
    """

    def __init__(
        self,
        provider: Provider,
        state: ProviderState,
        owner: Owner,
        clock: Clock,
        intervals: Callable[[], tuple[float, float]],
        *,
        fixed: bool = False,
        pause: float = FIRST_PAUSE,
    ) -> None:
        self.provider = provider
        unknown = state.location is Location.HERE and not fixed  # until it is known who holds the port, it may be a tunnel
        self.state = replace(state, capabilities=provider.capabilities, location=Location.ASK if unknown else state.location)
        self.models: tuple[Model, ...] = ()
        self.running: tuple[RunningModel, ...] = ()
        self.models_failure: Failure | None = None
        self.holder: Holder | None = None
        self._owner = owner
        self._clock = clock
        self._intervals = intervals
        self._fixed = fixed
        self._pause = pause
        self._wake = asyncio.Event()
        self._look = asyncio.Event()
        self._again = asyncio.Event()
        self._examined = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self._failures = 0
        self._over = False
        self._asked = {"models": 0, "running": 0}
        self._taken = {"models": 0, "running": 0}

    @property
    def asks_where(self) -> bool:
        """Its port is held by ssh, and the user did not say yet where it leads."""
        return self.holder is not None and self.state.location is Location.ASK

    @property
    def listed(self) -> bool:
        """The models are known, or why they are not."""
        return self.state.models is not None or self.models_failure is not None or self.state.failure is not None

    def start(self, keep: Keep) -> None:
        """Begin to watch; `keep` starts a task that goes on after a fault."""
        name = self.state.name
        self._tasks = [keep(self._health, f"health of {name}"), keep(self._lists, f"models of {name}"), keep(self._loaded, f"ps of {name}")]

    async def aclose(self) -> None:
        """End watching and close the connections."""
        self._over = True
        self.refresh()
        try:
            while left := [task for task in self._tasks if not task.done()]:
                for task in left:  # more than once: a request that ends in the same moment can swallow it
                    task.cancel()
                await asyncio.wait(left, timeout=AGAIN)
        finally:
            await self.provider.aclose()

    async def examined(self) -> None:
        """Wait until it is known who holds the port, as far as that can be known."""
        await self._examined.wait()

    def refresh(self) -> None:
        """Ask for everything again now."""
        self._wake.set()
        self._look.set()
        self._again.set()

    def look_at_loaded(self) -> None:
        """Ask now what is loaded."""
        self._look.set()

    def settle(self, where: Origin, location: Location | None) -> None:
        """Follow settings that need no new connection: whose it is, and where it runs (None: as the port's holder tells)."""
        self._fixed = location is not None
        status = self.state.status
        if status is ProviderStatus.FOUND and where is not Origin.FOUND:
            status = ProviderStatus.BUSY
        self._put(replace(self.state, origin=where, status=status, location=location or self._location(self.state.location)))

    def place(self, location: Location) -> None:
        """The user said where it runs."""
        self._put(replace(self.state, location=location))

    def _put(self, state: ProviderState) -> None:
        if state != self.state:
            self.state = state
            self._owner.changed()

    # --- health -------------------------------------------------------------------------------------------------------

    async def _health(self) -> None:
        while not self._over:
            self._wake.clear()
            before = self.state
            was_up = before.status is ProviderStatus.UP
            examined = not was_up and bool(before.endpoint.key)
            if examined:  # a key may not go to whoever took the port meanwhile
                await self._find_holder()
                self._examined.set()
            await self._check()
            came = self.state.status is ProviderStatus.UP and (not was_up or self.state.version != before.version)
            if came:
                self._look.set()
                self._again.set()
            if not examined and (came or not was_up):
                await self._owner.quiet()
                await self._find_holder()
                self._examined.set()
            with contextlib.suppress(TimeoutError):  # not `wait_for`: that of Python 3.11 can swallow a cancelling
                async with asyncio.timeout(self._until_next()):
                    await self._wake.wait()

    def _until_next(self) -> float:
        if self.state.status is ProviderStatus.BUSY:
            return BUSY_PAUSE
        if self._failures:
            growing: float = self._pause * 2.0 ** min(self._failures - 1, 10)
            return min(LONGEST_PAUSE, growing * random.uniform(0.8, 1.2))
        return self._intervals()[0]

    async def _check(self) -> None:
        started = self._clock.monotonic()
        try:
            health = await self.provider.check()
        except PaddockError as error:
            self._fail(error.failure, started)
            return
        self._failures = 0
        status = ProviderStatus.BUSY if health.loading else ProviderStatus.UP
        self._put(
            replace(
                self.state,
                status=status,
                label=label_of(self.state.endpoint, health.version),
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

    def _fail(self, failure: Failure, started: float) -> None:
        status = ProviderStatus.DOWN if failure.kind is FailureKind.UNREACHABLE else ProviderStatus.FAILED
        busy_since = None
        if failure.kind is FailureKind.LOADING:
            status = ProviderStatus.BUSY
            busy_since = self.state.busy_since or started
        else:
            self._failures += 1
        if status is ProviderStatus.DOWN:  # nothing listens, so nothing is loaded
            self.running = ()
        self._put(
            replace(
                self.state,
                status=status,
                failure=failure,
                note=failure.what,
                latency=None,
                checks=(*self.state.checks, None)[-CHECKS_KEPT:],
                busy_since=busy_since,
                loaded=None if status is ProviderStatus.DOWN else self.state.loaded,
                stale_since=self.state.stale_since or self.state.checked_at,
                auth=auth_words(self.state.endpoint, failure),
            )
        )

    async def _find_holder(self) -> None:
        try:
            self.holder = await held_by(self.state.endpoint.url)
        except PaddockError:
            self.holder = None
        holder, location = self.holder, self._location(self.state.location)
        if location is Location.ASK and holder is None and not self._examined.is_set():
            location = Location.HERE  # nobody is known who would lead elsewhere
        self._put(
            replace(
                self.state,
                owner=holder.words() if holder is not None else "",
                other_person=holder is not None and holder.other_person,
                listens_wide=holder.listens_wide if holder is not None else None,
                location=location,
            )
        )

    def _location(self, before: Location) -> Location:
        if self._fixed or self.holder is None:
            return before
        return self._owner.tunnel(self.state.endpoint.url) if self.holder.is_ssh_tunnel else Location.HERE

    # --- models -------------------------------------------------------------------------------------------------------

    async def _lists(self) -> None:
        if self.state.endpoint.key:
            await self._examined.wait()
        while not self._over:
            self._again.clear()
            ready = self.state.status in _ANSWERS
            if ready:
                await self.list_models()
            pause = self._intervals()[1] or None
            if self.models_failure is not None:
                pause = min(pause or LIST_AGAIN, LIST_AGAIN)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause if self.state.status in _ANSWERS else None):
                    await self._again.wait()

    async def list_models(self) -> Failure | None:
        """Fetch the list; the old one stays where that fails, and the reason is returned."""
        self._asked["models"] += 1
        number = self._asked["models"]
        try:
            models = await self.provider.models()
        except PaddockError as error:
            if error.failure != self.models_failure:
                self.models_failure = error.failure
                self._owner.changed()
            return error.failure
        if self._outdated("models", number):
            return None
        if models != self.models or self.models_failure is not None or self.state.models is None:
            self.models, self.models_failure = models, None
            self.state = replace(self.state, models=sum(1 for model in models if kept_of(model.key) is None))
            self._owner.changed()
        return None

    def _outdated(self, what: str, number: int) -> bool:
        """Whether an answer to a later question was taken already."""
        if number < self._taken[what]:
            return True
        self._taken[what] = number
        return False

    async def _loaded(self) -> None:
        if self.state.endpoint.key:
            await self._examined.wait()
        while not self._over:
            self._look.clear()
            if self.state.status is ProviderStatus.UP and Capability.RUNNING in self.provider.capabilities:
                await self.list_running()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RUNNING_BUSY if self.running else RUNNING_IDLE):
                    await self._look.wait()

    async def list_running(self) -> None:
        """Fetch what is loaded; a failure is the health check's to tell."""
        self._asked["running"] += 1
        number = self._asked["running"]
        try:
            running = await self.provider.running()
        except PaddockError:
            return
        if self._outdated("running", number):
            return
        if running != self.running or self.state.loaded is None:
            self.running = running
            self.state = replace(self.state, loaded=len(running))
            self._owner.changed()


def label_of(endpoint: Endpoint, version: str) -> str:
    """`Ollama 0.24.0`."""
    kind = kind_named(endpoint.kind)
    return f"{kind.name if kind else endpoint.kind} {version}".strip()


def auth_words(endpoint: Endpoint, failure: Failure | None) -> str:
    """How requests are authorised, without the key."""
    if failure is not None and failure.kind is FailureKind.AUTH:
        return "needs a key" if not endpoint.key else "the key was refused"
    return f"key from {endpoint.key}" if endpoint.key else "none"
