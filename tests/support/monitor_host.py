"""A `MonitorHost` by hand: what is loaded, what we write, and what was said, asked, loaded and unloaded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from tui.config.paths import Paths
from tui.config.settings import Settings
from tui.core.capabilities import Capability
from tui.core.clock import Clock, ManualClock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.fit import NOTHING, SERVED
from tui.core.models import Endpoint, Location, Origin, ProviderState, ProviderStatus, RunningModel, Severity
from tui.core.observe import Observable
from tui.hardware.sample import Gpu, Memory, Sample
from tui.providers.ports import Holder

GB = 10**9


def running(name: str, vram: float = 0, size: float | None = None, provider: str = "lab", **more: Any) -> RunningModel:
    """A loaded model; its server tells when it will be unloaded, as Ollama does."""
    whole = vram if size is None else size
    return RunningModel(provider, name, name, round(whole * GB), round(vram * GB), **({"expires_at": 1e9} | more))


def sample(available: float = 20, gpus: Sequence[tuple[float, float]] = (), unified: bool = False, **more: Any) -> Sample:
    """Of a machine with 32 GB; of each GPU the GB in use and in all."""
    cards = tuple(
        Gpu(f"GPU-{number}", number, memory_total=round(total * GB), memory_used=round(used * GB), unified=unified)
        for number, (used, total) in enumerate(gpus)
    )
    memory = Memory(32 * GB, round((32 - available) * GB), available=round(available * GB), **more)
    return Sample(1.0, 1.0, memory=memory, gpus=cards)


class Watching:
    """A registry by hand."""

    def __init__(self) -> None:
        self.providers: Observable[tuple[ProviderState, ...]] = Observable((self.of("lab"),))
        self.models: Observable[Any] = Observable(())
        self.running: Observable[tuple[RunningModel, ...]] = Observable(())
        self.can = frozenset({Capability.UNLOAD, Capability.LOAD, Capability.RUNNING})
        self.held: Holder | None = None

    @staticmethod
    def of(name: str, location: Location = Location.HERE, origin: Origin = Origin.CONFIG) -> ProviderState:
        """A provider that answers."""
        return ProviderState(Endpoint(name, "ollama", "http://127.0.0.1:1"), origin, ProviderStatus.UP, location=location)

    def state(self, name: str) -> ProviderState | None:
        """See `host.Watching`."""
        return next((one for one in self.providers.value if one.name == name), None)

    def provider(self, name: str) -> Any:
        """See `host.Watching`."""
        return SimpleNamespace(capabilities=self.can) if self.state(name) is not None else None

    def watch(self, name: str) -> Any:
        """See `host.Watching`."""
        return SimpleNamespace(holder=self.held)


class FakeHost:
    """The hub of a monitor by hand; unloading takes what `freed` says off the list."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.time = ManualClock()
        self.clock: Clock = self.time
        self.paths = cast("Paths", None)
        self.demo = False
        self.database = None
        self.watching = Watching()
        self.now = settings or Settings()
        self.said: list[str] = []
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.choice = ""
        self.done: list[str] = []
        self.audited: list[tuple[str, str, str]] = []
        self.told: list[tuple[str, str, str]] = []
        self.lives: list[Any] = []
        self.stuck: set[str] = set()
        self.stopped: set[str] = set()
        self.on_unload: Callable[[str], None] = lambda model: None
        self.posted: list[Coroutine[Any, Any, Any]] = []

    def load_models(self, *models: RunningModel) -> None:
        """What is in memory now."""
        self.watching.running.set(models)

    def change(self, name: str, **changes: Any) -> None:
        """Change one loaded model."""
        self.watching.running.set(tuple(replace(one, **changes) if one.key == name else one for one in self.watching.running.value))

    def writes(self, model: str, provider: str = "lab") -> None:
        """We have it write an answer."""
        self.lives = [SimpleNamespace(model=model, provider=provider)]

    def tell(self, what: str, target: str, why: str) -> None:
        """As `Enforced.tell`."""
        self.told.append((what, target, why))

    def settings(self) -> Settings:
        """See `MonitorHost`."""
        return self.now

    def live(self) -> Any:
        """See `MonitorHost`."""
        return self.lives

    def detail(self, provider: str, model: str) -> None:
        """See `MonitorHost`."""

    def taught(self, provider: str) -> Any:
        """See `MonitorHost`."""
        return SERVED, NOTHING

    def look_at_loaded(self, provider: str) -> None:
        """See `MonitorHost`."""

    async def load(self, provider: str, model: str) -> None:
        """See `MonitorHost`."""
        if model in self.stuck:
            raise PaddockError(Failure(f"{model} does not load", provider, "Retry", FailureKind.SERVER))
        self.done.append(f"load {model}")

    async def unload(self, provider: str, model: str) -> None:
        """See `MonitorHost`."""
        self.done.append(f"unload {model}")
        if model in self.stuck:
            raise PaddockError(Failure(f"{model} is still loaded", provider, "Wait", FailureKind.BUSY))
        if model not in self.stopped:
            self.watching.running.set(tuple(one for one in self.watching.running.value if one.key != model))
            self.on_unload(model)

    def say(self, text: str, severity: Severity = Severity.INFO, failure: Failure | None = None) -> None:
        """See `MonitorHost`."""
        self.said.append(text)

    async def _answer(self, text: str, choices: Sequence[tuple[str, str]]) -> str:
        self.asked.append((text, tuple(key for key, _label in choices)))
        return self.choice or choices[0][0]

    def ask(self, text: str, choices: Sequence[tuple[str, str]]) -> Awaitable[str]:
        """See `MonitorHost`."""
        return self._answer(text, choices)

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        """See `MonitorHost`."""
        self.audited.append((what, target, result))

    def post(self, made: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """See `MonitorHost`."""
        self.posted.append(made(*args))

    def keep_going(self, made: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """See `MonitorHost`."""

    def environ(self) -> Mapping[str, str]:
        """See `MonitorHost`."""
        return {}
