"""What the Library's services need of the hub."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tui.core.clock import Clock
from tui.core.models import Notice, Severity

if TYPE_CHECKING:
    from tui.config.paths import Paths
    from tui.config.settings import Settings
    from tui.config.store import ConfigStore
    from tui.core.errors import Failure
    from tui.providers.base import Provider
    from tui.services.actions import Actions
    from tui.services.api import JobsApi, MonitorApi
    from tui.services.audit import Audit
    from tui.services.engine import Engine
    from tui.services.jobs import Jobs
    from tui.services.plan import Planner
    from tui.services.registry import Registry
    from tui.store.db import Database

Choices = Sequence[tuple[str, str]]
Made = Callable[..., Coroutine[Any, Any, Any]]


class LibraryHost(Protocol):
    """The hub as the Library's parts see it; everything but `post` on the engine's loop."""

    paths: Paths
    clock: Clock
    config: ConfigStore
    environ: Mapping[str, str]
    demo: bool
    engine: Engine
    watching: Registry
    audit: Audit

    @property
    def actions(self) -> Actions:
        """Verbs of single models."""
        ...

    @property
    def jobs(self) -> JobsApi:
        """The queue's verbs and view."""
        ...

    @property
    def monitor(self) -> MonitorApi:
        """This machine."""
        ...

    @property
    def database(self) -> Database | None:
        """None while it is not open."""
        ...

    def settings(self) -> Settings:
        """The running settings."""
        ...

    def queue(self) -> Jobs:
        """The queue; raises where the database is not open."""
        ...

    def planner(self) -> Planner:
        """Asks registries for manifests."""
        ...

    def secret(self, reference: str) -> str:
        """A key by its reference."""
        ...

    def provider(self, name: str) -> Provider:
        """A connection.

        Raises:
            PaddockError: There is none of this name, or it is off.
        """
        ...

    async def may_load(self, provider: str, model: str) -> Failure | None:
        """Why `[limits]` forbid a load now; asks or warns as they say."""
        ...

    def post(self, made: Made, *args: Any) -> None:
        """Run a coroutine function on the engine, once the database is open or cannot be; from any thread."""

    async def ask(self, text: str, choices: tuple[tuple[str, str], ...], failure: Failure | None = None) -> str:
        """Ask the user; the key of the choice, the first where nobody answers."""
        ...

    def say(self, text: str, severity: Severity = Severity.INFO, failure: Failure | None = None) -> Notice | None:
        """Tell the user."""
        ...

    async def activity(self, text: str, target: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something that may take long, shown as a wait that esc ends."""
        ...
