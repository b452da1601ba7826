"""What lies on a server's disk, and whether it is what it should be: frozen, cleaned, without behaviour.

Times are UTC epoch seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from tui.core.errors import Failure
from tui.core.record import record


class DiskKind(StrEnum):
    """The kinds of things that lie there."""

    MODELS = "models"
    VERSIONS = "versions"  # see `core.kept`
    TRASH = "trash"
    PARTIALS = "partials"  # unfinished downloads
    UNUSED = "unused"  # blobs no model uses


@record(frozen=True)
class DiskItem:
    """One thing on the disk.

    Attributes:
        key: The exact name of a model; of files the digest, or the name of an upload that was not finished.
        name: For people.
        size: Bytes, None where not known.
        freed: Bytes that deleting it alone frees, None where not known.
        shared_with: Names of other models that use some of it.
        at: When the trash is emptied of it, a version was replaced, a file was last written; None where not known.
        queued: What the queue says of it: "paused", "fetching"; empty where it is not in the queue.
        total: Bytes of an unfinished download when it is done.
    """

    provider: str
    kind: DiskKind
    key: str
    name: str
    size: int | None = None
    freed: int | None = None
    shared_with: tuple[str, ...] = ()
    at: float | None = None
    queued: str = ""
    total: int | None = None


@record(frozen=True)
class DiskRow:
    """All things of one kind on one server.

    Attributes:
        size: Bytes, each blob once; None where not known.
        freed: Bytes that deleting all of them frees; None where not known.
        shared: Bytes of models that more than one uses.
        known: False where nobody can tell from here whether there are any.
    """

    provider: str
    kind: DiskKind
    items: tuple[DiskItem, ...] = ()
    size: int | None = None
    freed: int | None = None
    shared: int = 0
    known: bool = True


@record(frozen=True)
class DiskUse:
    """What lies on one server's disk.

    Attributes:
        folder: Its models folder, cleaned; empty where it cannot be read from here.
        failure: Why it cannot be read.
        free: Bytes of room on its disk, None where not known.
        exact: By manifests and blobs; else by what the server lists and says.
        writable: Files of the folder may be deleted by our account.
        keeps: The server keeps what no model uses (`OLLAMA_NOPRUNE`); None where not known.
        simulated: It is the demo's: no files are there.
        damaged: A manifest is none: a starting server then deletes nothing.
        troubles: Parts of the folder that could not be read, in words.
        read_at: When.
    """

    provider: str
    rows: tuple[DiskRow, ...] = ()
    folder: str = ""
    failure: Failure | None = None
    free: int | None = None
    exact: bool = False
    writable: bool = False
    keeps: bool | None = None
    version: str = ""
    simulated: bool = False
    damaged: bool = False
    troubles: tuple[str, ...] = ()
    read_at: float = 0.0

    def row(self, kind: DiskKind) -> DiskRow | None:
        """The row of a kind."""
        return next((row for row in self.rows if row.kind is kind), None)


class Verdict(StrEnum):
    """What a check of a model found."""

    GOOD = "good"  # every blob has its digest
    THERE = "there"  # the server says it has them; nobody looked inside
    DAMAGED = "damaged"
    MISSING = "missing"
    UNKNOWN = "unknown"  # it could not be checked, or changed meanwhile


@record(frozen=True)
class ModelCheck:
    """What a check of one model found.

    Attributes:
        text: What was found, in words; ends no sentence.
        remedy: One thing to do, or empty.
        at: When; of several blobs the oldest.
        blobs: How many were looked at, `size` bytes in all.
        bad: Digests that are damaged or missing.
    """

    provider: str
    model: str
    verdict: Verdict
    text: str
    remedy: str = ""
    at: float = 0.0
    blobs: int = 0
    size: int = 0
    bad: tuple[str, ...] = ()


@record(frozen=True)
class CheckView:
    """How the check of models goes on.

    Attributes:
        model: Which is checked now, empty where none is; `provider` has it.
        done: Bytes read of `total` of all that were asked for.
        waiting: Models that come after it.
        since: When it began.
        results: The newest by provider and exact model name.
    """

    provider: str = ""
    model: str = ""
    done: int = 0
    total: int = 0
    waiting: int = 0
    since: float = 0.0
    results: Mapping[tuple[str, str], ModelCheck] = field(default_factory=dict)
