"""Services without an engine: observables a test sets, verbs that only remember they were called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App

from tui.config.paths import find_paths
from tui.config.store import ConfigStore
from tui.core.disk import CheckView
from tui.core.fit import NOTHING, Pace
from tui.core.jobs import QueueView
from tui.core.monitor import AlertsView, Points
from tui.core.observe import Observable
from tui.resources import resource
from tui.services.api import DiscoveryView, MonitorView
from tui.services.chat.api import CompletionView, ConversationView
from tui.services.library.catalogue import CatalogueView, HubView
from tui.ui.themes import THEMES, concrete

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class Recorder:
    """Any verb not written out is recorded in `calls` as (name, args, kwargs)."""

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)

        def verb(*args: Any, **kwargs: Any) -> None:
            self.calls.append((name, args, kwargs))

        return verb


class FakeRegistry(Recorder):
    def __init__(self, calls: list[Call]) -> None:
        super().__init__(calls)
        self.providers: Observable[Any] = Observable(())
        self.models: Observable[Any] = Observable(())
        self.kept: Observable[Any] = Observable(())
        self.running: Observable[Any] = Observable(())
        self.details: Observable[Any] = Observable({})
        self.discovery: Observable[Any] = Observable(DiscoveryView())
        self.activities: Observable[Any] = Observable(())
        self.model_failures: Observable[Any] = Observable({})
        self.reasons: dict[tuple[str, str], str] = {}
        self.log_lines: dict[str, str] = {}

    def state(self, name: str) -> Any:
        return next((state for state in self.providers.value if state.name == name), None)

    def default(self) -> Any:
        return next((state for state in self.providers.value if state.is_default), None) or next(iter(self.providers.value), None)

    def can(self, provider: str, capability: Any) -> str:
        return self.reasons.get((provider, str(capability)), "")

    def server_log(self, name: str) -> str:
        return ""

    def log_line(self, name: str) -> str:
        return self.log_lines.get(name, "")


class FakeChat(Recorder):
    def __init__(self, calls: list[Call]) -> None:
        super().__init__(calls)
        self.heads: Observable[Any] = Observable(())
        self.view: Observable[Any] = Observable(ConversationView())
        self.live: Observable[Any] = Observable(None)
        self.compared: Observable[Any] = Observable(())
        self.prompts: list[str] = []

    def history(self) -> Sequence[str]:
        return self.prompts


class FakeCompletion(Recorder):
    def __init__(self, calls: list[Call]) -> None:
        super().__init__(calls)
        self.view: Observable[Any] = Observable(CompletionView())


class FakeJobs(Recorder):
    def __init__(self, calls: list[Call]) -> None:
        super().__init__(calls)
        self.view: Observable[Any] = Observable(QueueView())
        self.previews: Observable[Any] = Observable({})
        self.past: Observable[Any] = Observable(())


class FakeMonitor(Recorder):
    """One value a second in `values`; the newest is of the sample's second."""

    def __init__(self, calls: list[Call]) -> None:
        super().__init__(calls)
        self.latest: Observable[Any] = Observable(MonitorView())
        self.loaded: Observable[Any] = Observable(())
        self.maps: Observable[Any] = Observable(())
        self.servers: Observable[Any] = Observable({})
        self.machines: Observable[Any] = Observable({})
        self.alerts: Observable[Any] = Observable(AlertsView())
        self.enforced: Observable[Any] = Observable(())
        self.profiles: Observable[Any] = Observable({})
        self.slow: Observable[Any] = Observable(None)
        self.values: dict[str, list[float | None]] = {}
        self.moments: dict[int, Any] = {}
        self.takes: dict[tuple[str, str], Any] = {}

    def _now(self) -> int:
        sample = self.latest.value.sample
        return int(sample.time) if sample is not None else 0

    def series(self, name: str, seconds: float) -> Sequence[float | None]:
        return self.values.get(name, [])[-int(seconds) or None :]

    def points(self, name: str, seconds: float, until: float | None = None) -> Points:
        values = self.values.get(name, [])
        newest = self._now() if until is None else min(self._now(), int(until))
        end = max(0, len(values) - (self._now() - newest))
        return Points(tuple(values[max(0, end - int(seconds)) : end]), 1.0, newest)

    def moment(self, at: float) -> Any:
        return self.moments.get(int(at), self.latest.value.sample)

    def oldest(self) -> float | None:
        longest = max((len(values) for values in self.values.values()), default=0)
        return self._now() - longest + 1 if longest else None

    def would_take(self, provider: str, model: str, context: int | None = None) -> Any:
        return self.takes.get((provider, model))

    def machine(self) -> str:
        return "gpu-box"

    def summary(self) -> str:
        return "8 cores, 31.2 GB RAM (22.8 free), RTX 3090 24.0 GB"


class FakeLibrary:
    """The parts of the Library, each a `Recorder` with the observables of the real one."""

    def __init__(self, calls: list[Call]) -> None:
        self.events = FakePart(calls, history={})
        self.keeping = FakePart(calls, kept=(), undoable="", comparisons={})
        self.updates = FakePart(calls, states={}, progress=None)
        self.fits = FakePart(calls, lessons=NOTHING, seen={}, pace=Pace())
        self.disk = FakeDisk(calls, shares={}, origins={}, uses={}, checks=CheckView())
        self.catalogue = FakePart(calls, view=CatalogueView(), hub=HubView())
        self.making = FakePart(calls, made={}, progress=None, ended=0, opened=None, source=None, exported="")
        self.tuning = FakePart(calls, proposals={}, run=None, optimised={}, levels={})


class FakePart(Recorder):
    """Observables by name, verbs recorded."""

    def __init__(self, calls: list[Call], **values: Any) -> None:
        super().__init__(calls)
        for name, value in values.items():
            setattr(self, name, Observable(value))


class FakeDisk(FakePart):
    """What deleting frees is what a test put into `frees`; why nothing can be cleaned is `reason`."""

    def __init__(self, calls: list[Call], **values: Any) -> None:
        super().__init__(calls, **values)
        self.frees: dict[tuple[str, str], int] = {}
        self.reason = ""

    def freed(self, keys: Any) -> tuple[int, bool] | None:
        wanted = list(keys)
        return (sum(self.frees[key] for key in wanted), True) if wanted and all(key in self.frees for key in wanted) else None

    def can_clean(self, provider: str) -> str:
        return self.reason


class FakeServices:
    """As `tui.services.api.Services`; `calls` lists the verbs in order."""

    def __init__(self, home: Path) -> None:
        self.calls: list[Call] = []
        self.config = ConfigStore(find_paths(environ={"PADDOCK_HOME": str(home), "HOME": str(home)}), {})
        self.registry = FakeRegistry(self.calls)
        self.chat = FakeChat(self.calls)
        self.completion = FakeCompletion(self.calls)
        self.jobs = FakeJobs(self.calls)
        self.monitor = FakeMonitor(self.calls)
        self.library = FakeLibrary(self.calls)
        self.notices: Observable[Any] = Observable(())
        self.questions: Observable[Any] = Observable(())
        self.ready: Observable[bool] = Observable(True)
        self.banner: Observable[Any] = Observable(())

    def answer(self, question: int, choice: str) -> None:
        self.calls.append(("answer", (question, choice), {}))

    def open(self) -> None:
        self.calls.append(("open", (), {}))

    def close(self, timeout: float = 2.0) -> None:
        self.calls.append(("close", (), {}))

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of a verb."""
        return [args for verb, args, _kwargs in self.calls if verb == name]


class ScreenHost(App[Any]):
    """One screen in an app with our styles and themes, without starting anything."""

    CSS_PATH: ClassVar[Any] = sorted(resource("styles").glob("*.tcss"), key=lambda path: (path.name != "app.tcss", path.name))
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-normal"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (24, "-medium"), (36, "-high")]

    def __init__(self, screen: Any, *, ascii_only: bool = False) -> None:
        super().__init__()
        self.first = screen
        self.ascii_only = ascii_only
        self.demo = False
        self.copied: list[str] = []
        self.went: list[str] = []
        self.demo_restarts = 0
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = "paddock"

    def get_css_variables(self) -> dict[str, str]:
        self.theme_variables = concrete(super().get_css_variables())
        return self.theme_variables

    def get_default_screen(self) -> Any:
        return self.first

    def copy_to_clipboard(self, text: str) -> None:
        self.copied.append(text)

    def action_go(self, name: str) -> None:
        self.went.append(name)

    def restart_demo(self) -> None:
        self.demo_restarts += 1
