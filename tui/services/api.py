"""What screens and commands may ask of the services: verbs return at once, effects come back as state.

Every verb may be called from any thread; it hops to the engine's loop. Observables are set on the engine's
thread. What fails becomes a `Notice` (and state where it belongs to something shown); nothing raises into a screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tui.core.capabilities import Capability
from tui.core.errors import Failure
from tui.core.jobs import Ask, PastJob, Plan, QueueView
from tui.core.models import Activity, Location, Model, ModelDetail, ModelKey, Notice, ProviderState, ProviderStatus, RunningModel
from tui.core.monitor import AlertsView, Enforcement, Loaded, MemoryMap, Points, Profile, ServerFigures, SlowView, Take
from tui.core.observe import Observable
from tui.core.record import record
from tui.services.asks import OFFLINE
from tui.services.chat.api import ChatApi, CompletionApi

if TYPE_CHECKING:
    from tui.config.store import ConfigStore
    from tui.hardware.sample import Sample
    from tui.services.library.verbs import Library


@record(frozen=True)
class DiscoveryView:
    """What the last look around found: for the first-run panel."""

    running: bool = False
    ports: tuple[int, ...] = ()
    looked_at: str = ""  # "127.0.0.1:11434 (Ollama), :8080 (llama.cpp), :1234, :8000 and 9 more ports"
    seconds: float = 0.0
    environment: Failure | None = None  # OLLAMA_HOST was set and did not answer
    ollama_program: str = ""  # path, where the program is installed
    ollama_unit: bool = False  # a systemd unit exists
    done: bool = False


@record(frozen=True)
class Question:
    """Something only the user can decide before a service goes on; answer with `Services.answer(id, key)`.

    Attributes:
        choices: (key, label) pairs; the first is the safe one, and what Esc means.
    """

    id: int
    text: str
    choices: tuple[tuple[str, str], ...]
    failure: Failure | None = None


class RegistryApi(Protocol):
    """Providers, their health, their models."""

    providers: Observable[tuple[ProviderState, ...]]
    models: Observable[tuple[Model, ...]]
    kept: Observable[tuple[Model, ...]]  # see `core.kept`; never among `models`
    running: Observable[tuple[RunningModel, ...]]
    details: Observable[Mapping[ModelKey, ModelDetail | Failure]]
    discovery: Observable[DiscoveryView]
    activities: Observable[tuple[Activity, ...]]
    model_failures: Observable[Mapping[str, Failure]]  # provider name -> why its list is stale

    def refresh(self, provider: str = "") -> None:
        """Ask again for health, models and what is loaded; empty means all, and looks around."""

    def discover(self) -> None:
        """Look at the known ports."""

    def show(self, provider: str, model: str) -> None:
        """Fetch details into `details` unless they are there."""

    def load(self, provider: str, model: str, keep_alive: str = "") -> None:
        """Load a model; an activity until it is ready."""

    def unload(self, provider: str, model: str) -> None:
        """Unload a model; an activity until it is gone."""

    def keep(self, provider: str, model: str, keep_alive: str) -> None:
        """Change how long a loaded model stays."""

    def cancel(self, activity: int) -> None:
        """End a wait."""

    def add_provider(self, address: str, name: str = "", key: str = "") -> None:
        """Find what answers at an address (bare hosts too) and save it; the outcome is a notice or a question."""

    def adopt(self, name: str) -> None:
        """Save a discovered provider to the configuration."""

    def edit_provider(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change keys of `[providers.<name>]`."""

    def remove_provider(self, name: str) -> None:
        """Remove it from the configuration; running work goes on."""

    def set_default(self, name: str) -> None:
        """Make it the default provider."""

    def set_location(self, name: str, location: Location) -> None:
        """Save where a tunnelled provider really is."""

    def start_server(self, name: str = "ollama") -> None:
        """Have the worker start the installed `ollama` program."""

    def stop_server(self, name: str) -> None:
        """Have the worker stop a server we started."""

    def server_log(self, name: str) -> str:
        """Path of the log of a server we started, or empty."""
        ...

    def log_line(self, name: str) -> str:
        """The last line of that log, a second old at most, or empty; never waits."""
        ...

    def state(self, name: str) -> ProviderState | None:
        """One provider's newest state."""
        ...

    def default(self) -> ProviderState | None:
        """The default provider: the configured one, else the first that is up."""
        ...

    def can(self, provider: str, capability: Capability) -> str:
        """Empty when the provider can (and `security.access` allows) it, else the reason in words."""
        ...


def pullers(registry: RegistryApi) -> list[ProviderState]:
    """The providers that can pull, if only once the network is back; the default first."""
    on = [state for state in registry.providers.value if state.status is not ProviderStatus.OFF]
    able = [state for state in on if Capability.PULL in state.capabilities and registry.can(state.name, Capability.PULL) in ("", OFFLINE)]
    return sorted(able, key=lambda state: not state.is_default)


PreviewKey = tuple[str, str]
"""Provider name and normal form of a model's name."""


@record(frozen=True)
class Preview:
    """What a pull would mean, for the dialog: known step by step.

    Attributes:
        plan: None while it is being asked for.
        free: Bytes of room on the server's disk where that is this machine's, None where not known.
        queued: Bytes that the queue still brings to the same disk.
        needed: Bytes of room it needs with the margin of the settings, the queue's included; None where the size is not known.
        asks: What a yes is needed for.
        failure: Why it will not be pulled: the registry says so already.
    """

    plan: Plan | None = None
    free: int | None = None
    queued: int = 0
    needed: int | None = None
    asks: frozenset[Ask] = frozenset()
    failure: Failure | None = None


class JobsApi(Protocol):
    """The queue that the worker works."""

    view: Observable[QueueView]
    previews: Observable[Mapping[PreviewKey, Preview]]
    past: Observable[tuple[PastJob, ...]]  # what `search_past` found last, newest first

    def add(
        self,
        model: str,
        provider: str = "",
        *,
        insecure: bool = False,
        asked_by: str = "",
        allowed: Iterable[Ask] = (),
        warm_up: bool = False,
        after: int = 0,
        not_before: float | None = None,
        limit: int | None = None,
        keep_changes: bool = False,
    ) -> None:
        """Queue a pull on a provider (empty: the default). What needs a yes and has none in `allowed` becomes a question first.

        With `keep_changes`, what a person had changed of the model (parameters, system prompt, template) is applied again at its end.
        """

    def push(self, model: str, provider: str, *, insecure: bool = False, asked_by: str = "") -> None:
        """Queue an upload of a model to its registry."""

    def preview(self, model: str, provider: str, *, insecure: bool = False) -> None:
        """Find out what a pull would mean; the answer comes in `previews`, and is kept for a minute."""

    def pause(self, ids: Sequence[int]) -> None:
        """Wish: paused; bytes are kept."""

    def resume(self, ids: Sequence[int]) -> None:
        """Wish: run; a job that waits for a yes gets it."""

    def cancel(self, ids: Sequence[int]) -> None:
        """Wish: cancelled."""

    def retry(self, ids: Sequence[int]) -> None:
        """Run failed or cancelled ones again, and at once those that wait for a retry."""

    def move(self, ids: Sequence[int], where: str) -> None:
        """`up`, `down` or `first`."""

    def remove(self, ids: Sequence[int]) -> None:
        """Drop ended ones from the list; the history keeps them."""

    def limit(self, ids: Sequence[int], bytes_a_second: int | None) -> None:
        """Limit these jobs, each for itself; None lifts it."""

    def limit_queue(self, bytes_a_second: int | None) -> None:
        """Limit all of them together: sets `pulls.bandwidth`."""

    def start_at(self, ids: Sequence[int], at: float | None) -> None:
        """Have them wait until a time (epoch seconds); None for at once."""

    def chain(self, ids: Sequence[int], after: int) -> None:
        """Have them wait until another has ended; 0 for none."""

    def warm_up(self, ids: Sequence[int], on: bool) -> None:
        """Have these models loaded once they are there, or not."""

    def apply_changes(self, job: int) -> None:
        """Apply again what an update replaced: a create from `Job.changes`."""

    def forget_changes(self, job: int) -> None:
        """Do not offer that any more."""

    def search_past(self, text: str = "") -> None:
        """Look through the history; the answer comes in `past`."""


@record(frozen=True)
class MonitorView:
    """Newest sample and how the sampler does.

    Attributes:
        sample: None before the first.
        at: Monotonic time it came.
        silent: Seconds without a sample beyond the interval, 0 while it is on time.
        note: Why there is none ("GPU data: no answer for 12s", "sampling is off").
        tick: Grows with each sample.
    """

    sample: Sample | None = None
    at: float = 0.0
    silent: float = 0.0
    note: str = ""
    tick: int = 0


class MonitorApi(Protocol):
    """What this machine does, and for whom."""

    latest: Observable[MonitorView]
    loaded: Observable[tuple[Loaded, ...]]
    maps: Observable[tuple[MemoryMap, ...]]  # GPUs in their order, then main memory; while `GPU_PROCESSES` is wanted
    servers: Observable[Mapping[str, ServerFigures]]  # by provider name
    machines: Observable[Mapping[str, Sample]]  # of providers with an `exporter`, while somebody looks; `sources` says why not
    alerts: Observable[AlertsView]
    enforced: Observable[tuple[Enforcement, ...]]  # what `[limits]` did, newest first, at most 50
    profiles: Observable[Mapping[ModelKey, Profile]]
    slow: Observable[SlowView | None]  # what `why_slow` asked for last

    def series(self, name: str, seconds: float) -> Sequence[float | None]:
        """One value an interval for the last seconds, oldest first. Names: see `tui.hardware.series`."""
        ...

    def points(self, name: str, seconds: float, until: float | None = None) -> Points:
        """The last `seconds` before `until` (epoch seconds; None: now), in the finest step that is kept for so long."""
        ...

    def moment(self, at: float) -> Sample | None:
        """All figures of a moment (epoch seconds); None where nothing was measured then."""
        ...

    def oldest(self) -> float | None:
        """Epoch seconds of the first moment that is known."""
        ...

    def machine(self) -> str:
        """This machine's name, cleaned."""
        ...

    def summary(self) -> str:
        """`8 cores, 31.2 GB RAM (22.8 free), RTX 3090 24.0 GB`."""
        ...

    def want(self, who: str, names: Iterable[str]) -> None:
        """Say what `who` (a screen, a page) shows of `hardware.sample.WANTED`; nothing ends it. What nobody wants is not measured."""

    def would_take(self, provider: str, model: str, context: int | None = None) -> Take | None:
        """What a model would take with this context (None: as it would be loaded); None while its details are not known, asks for them."""
        ...

    def why_slow(self, provider: str, model: str) -> None:
        """Find out why a loaded model is slow; the answer comes in `slow`."""

    def make_room(self, provider: str, model: str) -> None:
        """Load a model, after unloading those not used for longest until it fits; asks first, naming them and what each frees."""

    def acknowledge(self, ids: Iterable[int] = ()) -> None:
        """Mark alerts as seen; none: all."""

    def mute(self, seconds: float) -> None:
        """Ring, tell and run nothing for so long; 0 ends it."""

    def export(self, kind: str, seconds: float) -> None:
        """Write the history of the last seconds as "csv" or "jsonl" into the data folder; a notice says where it went."""


class Services(Protocol):
    """Everything, built once; the one thing screens get."""

    @property
    def config(self) -> ConfigStore:
        """The settings."""
        ...

    @property
    def registry(self) -> RegistryApi:
        """Providers and models."""
        ...

    @property
    def chat(self) -> ChatApi:
        """Conversations."""
        ...

    @property
    def completion(self) -> CompletionApi:
        """Completing text."""
        ...

    @property
    def jobs(self) -> JobsApi:
        """The queue."""
        ...

    @property
    def monitor(self) -> MonitorApi:
        """This machine's figures."""
        ...

    @property
    def library(self) -> Library:
        """What is installed and kept, what fits, what is new, what lies on the disk."""
        ...

    notices: Observable[tuple[Notice, ...]]
    questions: Observable[tuple[Question, ...]]
    ready: Observable[bool]
    banner: Observable[tuple[Failure, ...]]  # standing problems: settings, database, disk

    def answer(self, question: int, choice: str) -> None:
        """Answer a question."""

    def open(self) -> None:
        """Start the engine; returns at once."""

    def close(self, timeout: float = 2.0) -> None:
        """Save, close and end the engine; at most `timeout` seconds."""
