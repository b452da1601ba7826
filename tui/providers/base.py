"""What every provider offers, whatever wire protocol it speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tui.core.capabilities import Capability
from tui.core.chat import ChatRequest, CompletionRequest
from tui.core.events import JobStep, StreamEvent
from tui.core.models import Endpoint, Model, ModelDetail, RunningModel
from tui.core.record import record

if TYPE_CHECKING:
    from tui.core.modelfile import Modelfile
    from tui.providers.metrics import Figures


@record(frozen=True)
class Health:
    """Answer of a check: `version` is cleaned, `latency` in seconds, `note` says what it is busy with."""

    version: str
    latency: float
    loading: bool = False
    note: str = ""


class Provider(Protocol):
    """A connection to one server. Methods raise `PaddockError`; streams may raise it midway.

    A stream that ends without raising and without its end marker (`Done`, status `success`) does not exist:
    implementations raise a failure of kind INTERRUPTED instead. Closing the generator closes the connection.
    A method whose capability is missing raises a failure of kind UNSUPPORTED.
    """

    endpoint: Endpoint
    capabilities: frozenset[Capability]

    async def check(self) -> Health:
        """Ask for the health and version; at most 5 s."""
        ...

    async def models(self) -> tuple[Model, ...]:
        """Installed or offered models."""
        ...

    async def running(self) -> tuple[RunningModel, ...]:
        """Models in memory."""
        ...

    async def figures(self, model: str = "") -> Figures:
        """What it tells about its work, of one model where it has to be asked so; at most 2 s."""
        ...

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetail:
        """Details of one model."""
        ...

    def chat(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """Stream an answer; the last event is `Done`. A last message of the assistant is gone on with.

        Images, tools, a format or going on that this kind of server cannot take are a failure of kind UNSUPPORTED; options it does
        not know are left out, and `options.dropped_options` names them.
        """
        ...

    def complete(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]:
        """Stream a completion, with suffix a fill-in-the-middle; see `services.filling` for servers that cannot."""
        ...

    async def embed(self, model: str, texts: Sequence[str], *, dimensions: int | None = None) -> tuple[tuple[float, ...], ...]:
        """One vector a text."""
        ...

    def pull(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        """Stream a download; the last step's status is `success`."""
        ...

    def push(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        """Stream an upload to a registry."""
        ...

    def create(self, model: str, fields: Mapping[str, Any]) -> AsyncIterator[JobStep]:
        """Stream the making of a model (`from`, `files`, `quantize`, `system`, … of the Ollama API)."""
        ...

    async def made_of(self, model: str) -> Modelfile:
        """What a model is made of, its texts not shortened and not cleaned for a screen; sources as the server names them."""
        ...

    async def has_blob(self, digest: str) -> bool:
        """Whether the server has this blob (`sha256:…`)."""
        ...

    async def upload_blob(self, digest: str, path: Path, progress: Callable[[int], None] | None = None) -> None:
        """Upload a file as a blob, asking with HEAD first; `progress` gets bytes sent."""
        ...

    async def copy(self, model: str, destination: str) -> None:
        """Give a model a second name."""
        ...

    async def delete(self, model: str) -> None:
        """Delete a model."""
        ...

    async def load(self, model: str, *, keep_alive: str = "", options: Mapping[str, Any] | None = None) -> None:
        """Load a model; returns when it is ready. Closing (cancelling) aborts the load."""
        ...

    async def unload(self, model: str) -> None:
        """Ask for an unload; memory is free when `running` no longer lists it."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
