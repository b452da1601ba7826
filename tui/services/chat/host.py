"""What the chats need of their surroundings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tui.config.settings import Settings
from tui.core.errors import Failure
from tui.core.fit import Lessons, Machine, Served
from tui.core.jobs import Job
from tui.core.models import Model, ModelDetail, ProviderState, RunningModel, Severity
from tui.providers.base import Provider

if TYPE_CHECKING:
    from tui.store.db import Database


class Meter(Protocol):
    """Measures the energy of one answer, from when it was made."""

    def end(self, seconds: float) -> None:
        """The answer has ended, so many seconds after it was sent."""

    async def joules(self) -> float | None:
        """Its energy; waits for the figures after its end. None where it cannot be told."""


class ChatHost(Protocol):
    """What the chat engine needs of its surroundings. All but `post` is called on the engine's thread."""

    def post(self, made: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run a coroutine function on the engine's loop, from any thread; what it raises becomes a notice."""

    @property
    def database(self) -> Database | None:
        """Where conversations are stored; None: nowhere."""

    def taught(self, provider: str) -> tuple[Served, Lessons]:
        """How a provider runs models, and what loads taught about their memory."""
        ...

    def settings(self) -> Settings:
        """The current settings."""
        ...

    def provider(self, name: str) -> Provider | None:
        """A connection to a server."""

    def provider_state(self, name: str) -> ProviderState | None:
        """How a server is."""

    def default_provider(self) -> str:
        """Name of the default one, or empty."""
        ...

    def running(self) -> tuple[RunningModel, ...]:
        """Models in memory, of all servers."""
        ...

    def models(self) -> tuple[Model, ...]:
        """Models of all servers."""
        ...

    def detail(self, provider: str, model: str) -> ModelDetail | None:
        """Details of a model where they are known; asks for them where they are not."""

    def machine(self) -> Machine | None:
        """This machine's memory, from the newest sample; None before the first."""

    def ask(self, text: str, choices: Sequence[tuple[str, str]], failure: Failure | None = None) -> Awaitable[str]:
        """Have the user decide; the first choice is the safe one."""
        ...

    def notice(self, text: str, severity: Severity = Severity.INFO, failure: Failure | None = None) -> None:
        """Say something once."""

    def banner(self, key: str, failure: Failure | None) -> None:
        """Show a standing problem, or take it away."""

    def add_pull(self, model: str, provider: str) -> None:
        """Queue a pull."""

    def queue(self) -> tuple[Job, ...]:
        """The jobs of the queue."""
        ...

    def refresh(self, provider: str) -> None:
        """Look at a server's models and memory again, soon."""

    def look_at_loaded(self, provider: str) -> None:
        """Ask now what that server has in memory."""

    def log_line(self, provider: str) -> str:
        """The last line of the log of a server we started, or empty; never waits."""
        ...

    def may_send(self, provider: str) -> Awaitable[bool]:
        """Whether a prompt may go there; may ask the user."""
        ...

    def within_limits(self, provider: str, model: str) -> Awaitable[Failure | None]:
        """Why `[limits]` forbid an answer there now; may ask the user. None: go on."""
        ...

    def meter(self, provider: str, model: str) -> Meter:
        """Measure the energy of an answer that is sent now."""
        ...

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        """Write to the audit trail."""
