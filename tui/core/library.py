"""What the Library knows of a model beyond its server's list: frozen, cleaned, without behaviour.

Times are UTC epoch seconds, sizes bytes.
"""

from __future__ import annotations

from enum import StrEnum

from tui.core.errors import Failure
from tui.core.kept import KeptKind
from tui.core.record import record


@record(frozen=True)
class KeptModel:
    """A model in the trash, or an earlier version of one.

    Attributes:
        key: Its exact name on the server (see `core.kept`).
        original: The name it had.
        at: When it was deleted or replaced.
        goes_at: When it is deleted for good, None where only a person does that.
    """

    provider: str
    key: str
    kind: KeptKind
    original: str
    at: float
    size: int | None = None
    digest: str = ""
    goes_at: float | None = None


class UpdateStatus(StrEnum):
    """What the registry has of an installed model."""

    CURRENT = "current"
    METADATA = "metadata"  # template, parameters or licence only: some KB
    WEIGHTS = "weights"
    GONE = "gone"  # the registry has it no more, or never had
    UNKNOWN = "unknown"  # it could not be asked, or wants a key


@record(frozen=True)
class UpdateState:
    """What was found at the last look.

    Attributes:
        digest: Of the model that was compared; another digest makes this void.
        checked_at: When.
        fetch: Bytes an update would fetch, None where not known.
        pushed_at: When the registry got its newest, None where it does not say.
        changes: What is different, a line each, in words.
        diff: The same of the small texts (template, parameters, system prompt, licence), as lines of a unified diff; ours is what
            goes, theirs what comes.
        failure: Why it is not known.
    """

    status: UpdateStatus
    digest: str
    checked_at: float
    fetch: int | None = None
    pushed_at: float | None = None
    changes: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def newer(self) -> bool:
        """Whether an update would change anything."""
        return self.status in (UpdateStatus.METADATA, UpdateStatus.WEIGHTS)


class OriginKind(StrEnum):
    """Where a model is from."""

    REGISTRY = "registry"  # Ollama's own library
    HUGGING_FACE = "Hugging Face"
    OTHER = "another registry"
    FILE = "file"  # made or imported here: nobody vouches for it
    UNKNOWN = "unknown"


@record(frozen=True)
class ModelOrigin:
    """Where a model is from; `scanned` is False where nobody vouches for its weights."""

    kind: OriginKind
    text: str
    scanned: bool = False


@record(frozen=True)
class DiskShare:
    """Where the space of a model goes.

    Attributes:
        size: Of all its blobs.
        own: Bytes that only it uses: what deleting it for good frees.
        shared: Bytes that others use too; `shared_with` are their names.
        exact: Read from manifests and blobs on disk; else told by digests and sizes that servers list.
    """

    size: int
    own: int
    shared: int = 0
    shared_with: tuple[str, ...] = ()
    exact: bool = False


class EventKind(StrEnum):
    """What happened to a model here."""

    PULLED = "pulled"
    UPDATED = "updated"
    CREATED = "created"
    IMPORTED = "imported"
    COPIED = "copied"
    RENAMED = "renamed"
    DELETED = "deleted"
    RESTORED = "restored"
    CONFIGURED = "configured"
    VERIFIED = "verified"
    DAMAGED = "damaged"


@record(frozen=True)
class ModelEvent:
    """Something that happened to a model here; `text` says what, in words."""

    provider: str
    model: str
    kind: EventKind
    at: float
    text: str = ""
    digest: str = ""
