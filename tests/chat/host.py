"""A host for the chat engine, a scripted provider, and waiting for conditions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from tui.config.settings import Settings
from tui.core.capabilities import Capability
from tui.core.chat import ChatRequest
from tui.core.clock import ManualClock
from tui.core.errors import Failure
from tui.core.events import Done, Metrics
from tui.core.fit import NOTHING, SERVED, Lessons, Machine, Served
from tui.core.jobs import Job
from tui.core.models import Endpoint, Model, Origin, ProviderState, ProviderStatus, RunningModel
from tui.services.chat.engine import ChatEngine
from tui.services.chat.verbs import ChatVerbs
from tui.store.conversations import Conversations
from tui.store.db import Database

DONE = Done("stop", Metrics(prompt_tokens=20, output_tokens=3, output_seconds=0.1, load_seconds=0.0))


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until something is true; fails after 15 s."""
    async with asyncio.timeout(15):
        while not (found := condition()):
            await asyncio.sleep(0.002)
    return found


class Scripted:
    """Answers from a script: events are yielded, exceptions raised, asyncio events waited for."""

    endpoint = Endpoint("lab", "ollama", "http://127.0.0.1:1")
    capabilities = frozenset({Capability.CHAT})

    def __init__(self, *answers: list[Any]) -> None:
        self.answers = list(answers)
        self.requests: list[ChatRequest] = []
        self.closed = 0
        self.before: Callable[[], None] = lambda: None

    async def chat(self, request: ChatRequest) -> AsyncIterator[Any]:
        self.before()
        self.requests.append(request)
        try:
            for step in self.answers.pop(0):
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.closed += 1


class Meter:
    """Tells what its host says, once the answer has ended."""

    def __init__(self, host: "Host", provider: str, model: str) -> None:
        self.of = (provider, model)
        self.seconds: float | None = None
        self._host = host

    def end(self, seconds: float) -> None:
        self.seconds = seconds

    async def joules(self) -> float | None:
        assert self.seconds is not None
        return self._host.joules


class Host:
    def __init__(self, folder: Path | None, provider: Any) -> None:
        self.database = Database(folder / "paddock.db") if folder is not None else None
        self.config = Settings()
        self.lab = provider
        self.loaded = True
        self.allowed = True
        self.listed: tuple[Model, ...] = (Model("lab", "qwen3:8b", "qwen3:8b"),)
        self.notices: list[str] = []
        self.banners: dict[str, Any] = {}
        self.pulls: list[tuple[str, str]] = []
        self.choice = "no"
        self.tasks: set[asyncio.Task[Any]] = set()
        self.errors: list[BaseException] = []
        self.asked: list[str] = []
        self.memory: Machine | None = None
        self.jobs: tuple[Job, ...] = ()
        self.refreshed: list[str] = []
        self.over: Failure | None = None
        self.audited: list[tuple[str, str, str]] = []
        self.metered: list[Meter] = []
        self.joules: float | None = None
        self.others: dict[str, Any] = {}

    def post(self, made: Any, *args: Any) -> None:
        task = asyncio.get_running_loop().create_task(made(*args))
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    def settings(self) -> Settings:
        return self.config

    def provider(self, name: str) -> Any:
        return self.lab if name == "lab" else self.others.get(name)

    def provider_state(self, name: str) -> ProviderState:
        can = frozenset({Capability.PULL, Capability.RUNNING, Capability.CHAT})
        return ProviderState(Endpoint(name, "ollama", "http://127.0.0.1:1"), Origin.CONFIG, ProviderStatus.UP, capabilities=can)

    def default_provider(self) -> str:
        return "lab"

    def running(self) -> tuple[RunningModel, ...]:
        return (RunningModel("lab", "qwen3:8b", "qwen3:8b", context=4096),) if self.loaded else ()

    def models(self) -> tuple[Model, ...]:
        return self.listed

    def detail(self, provider: str, model: str) -> None:
        return None

    async def ask(self, text: str, choices: Any, failure: Any = None) -> str:
        self.asked.append(text)
        return self.choice

    def notice(self, text: str, severity: Any = None, failure: Any = None) -> None:
        self.notices.append(text)

    def banner(self, key: str, failure: Any) -> None:
        self.banners[key] = failure

    def add_pull(self, model: str, provider: str) -> None:
        self.pulls.append((model, provider))

    def taught(self, provider: str) -> tuple[Served, Lessons]:
        return SERVED, NOTHING

    def look_at_loaded(self, provider: str) -> None:
        pass

    def log_line(self, provider: str) -> str:
        return ""

    async def may_send(self, provider: str) -> bool:
        return self.allowed

    def machine(self) -> Machine | None:
        return self.memory

    def queue(self) -> tuple[Job, ...]:
        return self.jobs

    def refresh(self, provider: str) -> None:
        self.refreshed.append(provider)

    async def within_limits(self, provider: str, model: str) -> Failure | None:
        return self.over

    def meter(self, provider: str, model: str) -> "Meter":
        self.metered.append(Meter(self, provider, model))
        return self.metered[-1]

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        self.audited.append((what, target, result))


class Bench:
    """An engine with its host; `await` its `begin`."""

    def __init__(self, folder: Path | None, provider: Any) -> None:
        self.clock = ManualClock()
        self.host = Host(folder, provider)
        self.engine = ChatEngine(host=self.host, clock=self.clock, tick=0.005, retry=0.01, draft_after=0.01, look=0.005)
        self.chat = ChatVerbs(self.engine, self.host)

    @property
    def stored(self) -> Conversations:
        """The repository on disk."""
        assert self.engine._shelf.stored is not None
        return self.engine._shelf.stored

    async def begin(self) -> "Bench":
        await self.engine.start()
        return self

    async def idle(self) -> None:
        """Wait until nothing is written."""
        await until(lambda: not self.host.tasks and not self.engine._open.busy)

    async def say(self, text: str) -> Any:
        """Send, wait for the end, return the answer."""
        before = len(self.chat.view.value.messages)
        self.chat.send(text)
        await until(lambda: len(self.chat.view.value.messages) > before)
        await self.idle()
        return self.chat.view.value.messages[-1]

    async def end(self) -> None:
        await self.engine.aclose()
        await asyncio.gather(*self.host.tasks, return_exceptions=True)
        if self.host.database is not None:
            await self.host.database.aclose()


Make = Callable[..., Awaitable[Bench]]
"""Makes a begun `Bench`; what of, each fixture says."""
