"""What the parts of the monitor need of the rest of the program."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tui.core.clock import Clock
from tui.core.fit import Lessons, Served
from tui.core.models import Model, ModelDetail, ProviderState, RunningModel, Severity
from tui.core.observe import Observable

if TYPE_CHECKING:
    from tui.config.paths import Paths
    from tui.config.settings import Settings
    from tui.core.errors import Failure
    from tui.providers.base import Provider
    from tui.providers.ports import Holder
    from tui.services.chat.api import LiveAnswer
    from tui.store.db import Database


class Watched(Protocol):
    """What is needed of a `watch.Watch`."""

    holder: Holder | None
    provider: Provider


class Watching(Protocol):
    """What is needed of `registry.Registry`."""

    providers: Observable[tuple[ProviderState, ...]]
    models: Observable[tuple[Model, ...]]
    running: Observable[tuple[RunningModel, ...]]

    def state(self, name: str) -> ProviderState | None:
        """One provider's newest state."""

    def provider(self, name: str) -> Provider | None:
        """The connection to it."""

    def watch(self, name: str) -> Any:
        """Its `Watched`, or None."""


class MonitorHost(Protocol):
    """The hub, or a worker without one."""

    clock: Clock
    paths: Paths

    @property
    def demo(self) -> bool:
        """Everything is simulated."""
        ...

    @property
    def watching(self) -> Watching:
        """Providers and what is loaded on them."""
        ...

    @property
    def database(self) -> Database | None:
        """None while it is not open."""
        ...

    def settings(self) -> Settings:
        """The running settings."""

    def live(self) -> Sequence[LiveAnswer]:
        """Our answers that are being written: of the chat, and of a comparison."""

    def detail(self, provider: str, model: str) -> ModelDetail | None:
        """Details of a model; fetched where they are not known yet."""

    def taught(self, provider: str) -> tuple[Served, Lessons]:
        """How a provider runs models, and what loads taught about their memory."""

    def look_at_loaded(self, provider: str) -> None:
        """Ask now what a server has in memory."""

    async def load(self, provider: str, model: str) -> None:
        """Load a model, as an activity; limits are asked."""

    async def unload(self, provider: str, model: str) -> None:
        """Unload a model and wait until it is gone, as an activity.

        Raises:
            PaddockError: It is not gone.
        """

    def say(self, text: str, severity: Severity = Severity.INFO, failure: Failure | None = None) -> None:
        """Tell the user."""

    def ask(self, text: str, choices: Sequence[tuple[str, str]]) -> Awaitable[str]:
        """Let the user decide; the first choice is the safe one."""

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        """Write to the audit trail."""

    def post(self, made: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run a coroutine function on the engine; from any thread."""

    def keep_going(self, made: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run something until the end, again where it fails."""

    def environ(self) -> Mapping[str, str]:
        """Of this process."""
