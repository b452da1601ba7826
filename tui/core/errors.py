"""What went wrong, as people are told: what, where, one remedy."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Final

from tui.core.record import record


class FailureKind(StrEnum):
    """Why something failed, for code that must branch; people read the sentences."""

    UNREACHABLE = "unreachable"  # nothing listens, no route, name not resolved
    TIMEOUT = "timeout"  # it listens and does not answer
    AUTH = "auth"  # 401: a key is missing or wrong
    FORBIDDEN = "forbidden"  # 403
    NOT_FOUND = "not_found"  # no such model, route or job
    BAD_REQUEST = "bad_request"  # our input, or the user's
    BUSY = "busy"  # 429, 503
    LOADING = "loading"  # 503 while a model is loaded
    SERVER = "server"  # 5xx, an error line in a stream
    PROTOCOL = "protocol"  # the answer is not what the protocol says
    INTERRUPTED = "interrupted"  # a stream was cut: what came is kept
    REDIRECT = "redirect"  # the server points elsewhere
    TLS = "tls"
    UNSUPPORTED = "unsupported"  # this server cannot do that
    DISK = "disk"  # no space, not writable
    CONFIG = "config"
    REFUSED = "refused"  # by a limit or by security.access
    CANCELLED = "cancelled"
    INTERNAL = "internal"


@record(frozen=True)
class Failure:
    """A refusal or fault in words; every field is cleaned text.

    Attributes:
        what: What happened, one sentence without a full stop.
        where: Host and port, file and line, or field.
        remedy: One thing to do.
        kind: For code.
        details: The server's own words (at most 64 KB), shown on request.
        retry_after: Seconds the server asked to wait, where it did.
        status: The HTTP status, where there was one.
    """

    what: str
    where: str = ""
    remedy: str = ""
    kind: FailureKind = FailureKind.INTERNAL
    details: str = ""
    retry_after: float | None = None
    status: int | None = None

    def sentence(self) -> str:
        """What and where on one line."""
        return f"{self.what} ({self.where})" if self.where and self.where not in self.what else self.what


class PaddockError(Exception):
    """The one exception that carries a `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.what)
        self.failure = failure

    @classmethod
    def of(cls, what: str, where: str = "", remedy: str = "", kind: FailureKind = FailureKind.INTERNAL, details: str = "") -> PaddockError:
        """Build the failure in place."""
        return cls(Failure(what, where, remedy, kind, details))


_LIMITS: Final = {
    errno.EMFILE: ("Too many files are open", "Raise the limit of open files (ulimit -n)"),
    errno.ENFILE: ("Too many files are open on this machine", "End a program that opens many"),
    errno.ENOSPC: ("The disk is full", "Make room"),
    errno.EDQUOT: ("The disk quota is used up", "Make room"),
    errno.ENOMEM: ("There is not enough memory for this", "Close a program or unload a model, then try again"),
}


def limit_of(error: BaseException) -> Failure | None:
    """What a limit of this machine made fail, in words: memory, open files, the disk; None for everything else."""
    number = errno.ENOMEM if isinstance(error, MemoryError) else error.errno if isinstance(error, OSError) else None
    if number not in _LIMITS:
        return None
    what, remedy = _LIMITS[number]
    return Failure(what, "this machine", remedy, FailureKind.DISK if number in (errno.ENOSPC, errno.EDQUOT) else FailureKind.INTERNAL)
