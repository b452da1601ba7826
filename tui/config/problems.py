"""What is wrong with a configuration, for banners, `config check` and exit code 2."""

from __future__ import annotations

from tui.core.errors import Failure, FailureKind
from tui.core.record import record


@record(frozen=True)
class Problem:
    """One fault of one source; every field is cleaned text.

    Attributes:
        file: Path of the file, or "environment", or "command line".
        line: Counted from 1; None outside files and where unknown.
        key: Dotted key, empty where the whole file is meant.
        what: What is wrong, one sentence without a full stop.
        remedy: One thing to do.
        warning: The value is used all the same.
    """

    file: str
    line: int | None
    key: str
    what: str
    remedy: str
    warning: bool = False

    @property
    def where(self) -> str:
        """File and line, or the variable."""
        name = self.file.rsplit("/", 1)[-1]
        return name if self.line is None else f"{name} line {self.line}"

    def sentence(self) -> str:
        """The fault on one line, without the remedy."""
        return f"{self.where}: {self.what}"

    def failure(self) -> Failure:
        """The same as the screens show other failures."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return Failure(self.what, place, self.remedy, FailureKind.CONFIG)
