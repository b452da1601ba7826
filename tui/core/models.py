"""The snapshots that everything passes around: frozen, cleaned, without behaviour.

Times are UTC epoch seconds, sizes bytes, durations seconds. Every text that came from outside was cleaned
where it entered; `Message.content` alone is exact (see `text.clean_door`) and must be cleaned to be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from tui.core.capabilities import Ability, Capability
from tui.core.errors import Failure
from tui.core.record import record

ModelKey = tuple[str, str]
"""Provider name and exact model name."""

# --- providers -------------------------------------------------------------------------------------------------------


@record(frozen=True)
class Endpoint:
    """How to reach a server: all a provider object needs, and what a job keeps (never a key, only its reference).

    Attributes:
        name: The user's name for it, or one made from kind and port.
        kind: Id of the catalogue.
        url: Scheme, host, port and path prefix; no user part.
        key: Reference to the key: `env:NAME`, `file:PATH`, or empty. (A literal key of the file is `config:NAME`.)
        headers: Further headers to send.
        verify: True, False, or the path of a CA file.
        timeout: Seconds for connecting and plain answers, not for streams, loads, creates or copies.
        retries: Of requests that are safe to repeat.
        retry_delay: Seconds before the first, doubled each time.
        keep_alive: How long a model stays loaded; empty: the server's own.
    """

    name: str
    kind: str
    url: str
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    verify: bool | str = True
    timeout: float = 30.0
    retries: int = 3
    retry_delay: float = 1.0
    keep_alive: str = ""


class ProviderStatus(StrEnum):
    """How a server is; the glyphs are the interface's."""

    UP = "up"
    BUSY = "busy"  # identifying, loading, starting
    DOWN = "down"  # nothing listens
    FAILED = "failed"  # it answers wrongly, refuses us, or needs a key
    FOUND = "found"  # discovered, not configured
    OFF = "off"  # enabled = false


class Origin(StrEnum):
    """Where a provider comes from."""

    CONFIG = "config"
    ENVIRONMENT = "environment"  # OLLAMA_HOST
    FLAG = "flag"  # --provider
    FOUND = "found"
    DEMO = "demo"


class Location(StrEnum):
    """Whether a provider runs on this machine; never guessed for a tunnel."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    ASK = "ask"  # a loopback port held by ssh: the user must say


@record(frozen=True)
class ProviderState:
    """One server as the screens show it.

    Attributes:
        latency: Seconds of the last check.
        checks: Seconds of the last checks, oldest first, None for a failed one; at most 240.
        owner: Who runs it, in words: "systemd, pid 812, user ollama"; empty where not visible.
        other_person: The port is held by another person's account (uid from 1000): ask before a prompt or key.
        listens_wide: Reachable from outside this machine.
        busy_since: Monotonic seconds since when it loads or is identified.
        auth: "none", "key from env:NAME", "needs a key".
    """

    endpoint: Endpoint
    origin: Origin
    status: ProviderStatus
    label: str = ""  # "Ollama 0.24.0"
    version: str = ""
    failure: Failure | None = None
    note: str = ""  # "loading model"
    latency: float | None = None
    checks: tuple[float | None, ...] = ()
    checked_at: float | None = None
    busy_since: float | None = None
    models: int | None = None
    loaded: int | None = None
    is_default: bool = False
    location: Location = Location.HERE
    capabilities: frozenset[Capability] = frozenset()
    owner: str = ""
    other_person: bool = False
    listens_wide: bool | None = None
    auth: str = "none"
    traps: tuple[str, ...] = ()
    stale_since: float | None = None  # epoch: since when the last good data is old

    @property
    def name(self) -> str:
        """The user's name for it."""
        return self.endpoint.name


# --- models ----------------------------------------------------------------------------------------------------------


@record(frozen=True)
class Model:
    """An installed (or offered) model of one provider.

    Attributes:
        name: As the server spells it, cleaned; `key` is what is sent back.
        key: The exact name for requests.
        size: Bytes on the server's disk, None where not said.
        digest: Bare hex of the manifest (Ollama), or empty.
        context: Trained context length in tokens.
        remote: Runs in a cloud: prompts leave the machine.
        loaded: The server says it is loaded (servers with one model: always).
    """

    provider: str
    name: str
    key: str
    size: int | None = None
    digest: str = ""
    family: str = ""
    parameters: str = ""
    quantization: str = ""
    format: str = ""
    context: int | None = None
    modified_at: float | None = None
    abilities: frozenset[Ability] = frozenset()
    remote: bool = False
    loaded: bool = False
    state: str = ""  # router mode: unloaded, loading, loaded, sleeping


@record(frozen=True)
class RunningModel:
    """A model in memory.

    Attributes:
        size: Bytes of memory in all; None where unknown.
        vram: Bytes of it on GPUs.
        context: Served context length in tokens.
        expires_at: Epoch seconds; None where never or unknown.
        pinned: Stays until unloaded.
        stopping: An unload was asked for and waits for running requests.
        slots: Requests worked at once, where known; `busy_slots` of them are.
    """

    provider: str
    name: str
    key: str
    size: int | None = None
    vram: int | None = None
    context: int | None = None
    trained_context: int | None = None
    expires_at: float | None = None
    pinned: bool = False
    stopping: bool = False
    parameters: str = ""
    quantization: str = ""
    slots: int | None = None
    busy_slots: int | None = None
    waiting: int | None = None
    rate: float | None = None


@record(frozen=True)
class ModelDetail:
    """Everything `show` gives, cleaned; `info` holds plain JSON values by their GGUF keys.

    Attributes:
        weights_digest: Hex of the weight blob, from the FROM line.
        parent: The model that a create made this one from, or empty.
        tensors: (name, type, shape) rows where the server lists them.
    """

    provider: str
    name: str
    abilities: frozenset[Ability] = frozenset()
    family: str = ""
    parameters: str = ""
    quantization: str = ""
    format: str = ""
    licence: str = ""
    system: str = ""
    template: str = ""
    options: tuple[tuple[str, str], ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    modelfile: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    projector: Mapping[str, Any] = field(default_factory=dict)
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    weights_digest: str = ""
    parent: str = ""
    context: int | None = None
    modified_at: float | None = None
    requires: str = ""
    remote_host: str = ""


# --- notices ---------------------------------------------------------------------------------------------------------


class Severity(StrEnum):
    """How a notice is marked."""

    INFO = "information"
    WARNING = "warning"
    ERROR = "error"


@record(frozen=True)
class Notice:
    """An event worth a toast; `number` grows, so that a screen can tell which it has shown."""

    number: int
    text: str
    severity: Severity = Severity.INFO
    failure: Failure | None = None


@record(frozen=True)
class Activity:
    """A wait of over a second that can be cancelled: what for, since when (monotonic)."""

    id: int
    text: str
    target: str
    since: float
