"""The queue as everyone passes it around: jobs, their plans, their history; frozen, cleaned, without behaviour.

Times are UTC epoch seconds, sizes bytes, durations seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any, Final

from tui.core.errors import Failure
from tui.core.models import Endpoint
from tui.core.record import record


class JobKind(StrEnum):
    """What the queue can work."""

    PULL = "pull"
    PUSH = "push"
    CREATE = "create"
    QUANTIZE = "quantize"  # a create that makes the weights smaller
    UPLOAD = "upload"  # files sent as blobs, then a create from them


class JobWish(StrEnum):
    """What the user wants of a job; written by app and command line only."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class JobState(StrEnum):
    """How a job is; written by the worker only."""

    WAITING = "waiting"  # `Job.wait` says for what
    FETCHING = "fetching"
    CHECKING = "checking"
    DONE = "done"
    PAUSED = "paused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # it ran, and the worker that ran it is gone; the next one goes on with it

    @property
    def ended(self) -> bool:
        """Nothing more happens by itself."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)

    @property
    def running(self) -> bool:
        """A connection is open for it, or about to be opened again after a pause for the bandwidth limit."""
        return self in (JobState.FETCHING, JobState.CHECKING)


class Wait(StrEnum):
    """What a waiting job waits for."""

    NOTHING = ""
    PLACE = "place"  # so many run at once
    HOURS = "hours"  # pulls.only_between
    START = "start"  # the time it was given
    CHAIN = "chain"  # the job it comes after
    SPACE = "space"
    SERVER = "server"  # that does not answer
    KEY = "key"
    RETRY = "retry"  # at `due_at`
    NETWORK = "network"  # general.network = offline
    ANSWER = "answer"  # the user's yes to `Job.asks`
    LIMITS = "limits"  # this machine is fuller than [limits] allow


LOADING: Final = "is being loaded"
"""`Job.warmed` while the model is loaded after its pull."""


class Ask(StrEnum):
    """What must be allowed before a pull starts."""

    SIZE = "size"  # larger than models.max_size
    EXCLUDED = "excluded"  # models.excluded names it
    METERED = "metered"  # general.network = metered
    LIMITS = "limits"  # this machine is fuller than [limits] allow


@record(frozen=True)
class Layer:
    """One layer of a pull: bytes on the server of bytes in all; `kind` as the manifest says (`weights`, `template` …) or empty."""

    digest: str
    total: int
    completed: int
    kind: str = ""


@record(frozen=True)
class PlanLayer:
    """One layer of a manifest; `digest` as `sha256:…`."""

    digest: str
    size: int
    kind: str = ""


@record(frozen=True)
class Plan:
    """What a pull will fetch, as known before it starts (Ollama reference, section 4.3).

    Attributes:
        layers: In the manifest's order, the config last; empty where the manifest could not be read.
        present: Digests the server has already; None where that could not be asked.
        digest: SHA-256 of the manifest's exact bytes, bare hex.
        canonical: The same after serialising anew, as servers before 0.19 do.
        requires: Oldest version of the server that can run it, or empty.
        context: Trained context length in tokens, where the config says.
        note: Why something is not known, one sentence, or empty.
        version: Of the server, as it says.
        keeps_partials: Whether the server keeps unfinished downloads for ever (`OLLAMA_NOPRUNE`); None where not known.
        made_at: Epoch seconds.
    """

    layers: tuple[PlanLayer, ...] = ()
    present: frozenset[str] | None = None
    digest: str = ""
    canonical: str = ""
    requires: str = ""
    context: int | None = None
    parameters: str = ""
    quantization: str = ""
    family: str = ""
    note: str = ""
    version: str = ""
    keeps_partials: bool | None = None
    made_at: float = 0.0

    @property
    def total(self) -> int | None:
        """Bytes of all layers, each counted once; None where not known."""
        return sum(self.sizes().values()) if self.layers else None

    @property
    def missing(self) -> int | None:
        """Bytes the server does not have; None where the manifest is not known."""
        there = self.present or frozenset()
        return sum(size for digest, size in self.sizes().items() if digest not in there) if self.layers else None

    @property
    def there(self) -> int:
        """Bytes of it that the server has already, as far as known."""
        return (self.total or 0) - (self.missing or 0)

    @property
    def weights(self) -> frozenset[str]:
        """Bare hex digests of the layers that hold weights."""
        return frozenset(layer.digest.removeprefix("sha256:") for layer in self.layers if layer.kind in ("weights", "tensor"))

    def sizes(self) -> dict[str, int]:
        """Bytes by digest."""
        return {layer.digest: layer.size for layer in self.layers}


@record(frozen=True)
class Changes:
    """What a person changed of a model by a create: to be applied again after an update replaced it.

    Attributes:
        options: Parameters by name, as `show` lists them (one name may come several times).
        system: System prompt, None where it is the same.
        template: Template, None where it is the same.
    """

    options: tuple[tuple[str, str], ...] = ()
    system: str | None = None
    template: str | None = None

    def __bool__(self) -> bool:
        """Whether anything is different."""
        return bool(self.options) or self.system is not None or self.template is not None


@record(frozen=True)
class Job:
    """One row of the queue.

    Attributes:
        model: Normal form of the name; one entry per model and provider.
        endpoint: The provider as it was when the job was added: references to keys, never keys.
        arguments: `insecure` (bool), `warm_up` (bool: load it afterwards); of a create its fields;
            of an upload `files` (name: path) and the create's fields.
        position: Order in the queue.
        limit: Bytes a second for this job alone, None for no limit of its own; the user's.
        after: Id of the job it comes after, 0 for none; the user's.
        not_before: Epoch seconds it was given to start, None for at once; the user's.
        allowed: What the user said yes to.
        wait: What it waits for, while it waits.
        asks: What it needs a yes for, while `wait` is ANSWER.
        note: What it waits for or does, in words; no figures that move.
        total: Bytes in all as far as known, None before anything is known.
        done: Bytes on the server; never falls while an attempt runs.
        fetched: Bytes that came over the line, all attempts together.
        busy: Seconds in which they came.
        rate: Bytes a second now, smoothed; None while unknown.
        eta: Seconds left, None while unknown.
        layers: As the manifest lists them, else as the stream named them so far.
        planned: The layers are those of the manifest: all of them.
        history: Bytes a second since the start, at most 240 values (neighbours are merged).
        step: Seconds that one value of `history` stands for.
        attempts: Begun so far.
        failures: Attempts in a row that failed without bytes to speak of.
        due_at: Epoch seconds of the next attempt, where it waits for one.
        plan: What was known before it started.
        changes: What may be applied again after this update.
        digest: Of the model as listed afterwards, bare hex.
        warmed: What became of `warm_up`, in words.
    """

    id: int
    kind: JobKind
    model: str
    endpoint: Endpoint
    arguments: Mapping[str, Any]
    wish: JobWish
    state: JobState
    position: int
    limit: int | None = None
    after: int = 0
    not_before: float | None = None
    allowed: frozenset[Ask] = frozenset()
    wait: Wait = Wait.NOTHING
    asks: frozenset[Ask] = frozenset()
    note: str = ""
    total: int | None = None
    done: int = 0
    fetched: int = 0
    busy: float = 0.0
    percent: float | None = None
    rate: float | None = None
    average: float | None = None
    peak: float | None = None
    eta: float | None = None
    layers: tuple[Layer, ...] = ()
    planned: bool = False
    history: tuple[float, ...] = ()
    step: float = 1.0
    attempts: int = 0
    failures: int = 0
    failure: Failure | None = None
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    due_at: float | None = None
    asked_by: str = ""  # "library", "command line", "chat"
    plan: Plan | None = None
    changes: Changes | None = None
    digest: str = ""
    warmed: str = ""

    @property
    def size(self) -> int | None:
        """Bytes in all, as the stream says, else the manifest; None before anything is known."""
        return self.total if self.total is not None else self.plan.total if self.plan is not None else None


def circle(after_of: Mapping[int, int], number: int, after: int) -> bool:
    """Whether a job that comes after another would come after itself; `after_of` holds what each comes after."""
    seen, at = set[int](), after
    while at and at != number and at not in seen:
        seen.add(at)
        at = after_of.get(at, 0)
    return at == number


@record(frozen=True)
class PastJob:
    """A job that ended, as the history keeps it.

    Attributes:
        job: Its id in the queue at that time.
        fetched: Bytes that came over the line; `total` is the size of the model.
        busy: Seconds in which they came; `average` is their quotient.
    """

    id: int
    job: int
    kind: JobKind
    model: str
    provider: str
    url: str
    state: JobState
    total: int | None
    fetched: int
    busy: float
    attempts: int
    asked_by: str
    created_at: float
    started_at: float | None
    ended_at: float
    failure: Failure | None = None
    digest: str = ""

    @property
    def average(self) -> float | None:
        """Bytes a second over the time in which bytes came."""
        return self.fetched / self.busy if self.busy >= 1.0 else None


@record(frozen=True)
class WorkerState:
    """Who works the queue, from its lock file."""

    running: bool
    pid: int | None = None
    version: str = ""
    note: str = ""


@record(frozen=True)
class QueueView:
    """The queue as the Pulls screen and the status bar show it.

    Attributes:
        rate: Bytes a second of all that run.
        finish_at: Epoch seconds when the running ones are done, as far as known.
        all_at: The same for everything that runs or waits for a place, None while it cannot be known.
        done: Bytes on the servers of `total`: of the pulls that go on and whose size is known, and of those that were done since the
            queue last rested.
        limit: Bytes a second for the whole queue, None for no limit.
    """

    jobs: tuple[Job, ...] = ()
    worker: WorkerState = field(default_factory=lambda: WorkerState(False))
    rate: float | None = None
    finish_at: float | None = None
    all_at: float | None = None
    done: int = 0
    total: int = 0
    limit: int | None = None

    def count(self, *states: JobState) -> int:
        """How many jobs are in one of these states."""
        return sum(1 for job in self.jobs if job.state in states)

    @property
    def percent(self) -> float | None:
        """Of all that goes on, and what was done since the queue last rested; below 100 until all of it is."""
        return min(99.4, 100.0 * self.done / self.total) if self.total else None
