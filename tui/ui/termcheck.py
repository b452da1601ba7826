"""What must hold before the screen is taken, and what the terminal can show.

Standard library and `tui.core.errors` only: this runs before Textual is imported.
"""

from __future__ import annotations

import locale
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import IO, Final

from tui.core.errors import Failure, FailureKind

_NAME_OF_UTF8: Final = re.compile(r"utf-?8", re.IGNORECASE)
_STREAMS: Final = ("input", "output", "error output")
EXIT_CODE: Final = 2
"""What the process ends with when `check` refuses."""


def check(environ: Mapping[str, str], streams: tuple[IO[str] | None, IO[str] | None, IO[str] | None] | None = None) -> Failure | None:
    """Say why the screen cannot be drawn here, or None where it can.

    Args:
        environ: The process's environment.
        streams: Standard input, output and error output; the process's own unless given.
    """
    for name, stream in zip(_STREAMS, streams or (sys.__stdin__, sys.__stdout__, sys.__stderr__), strict=True):
        if not _is_terminal(stream):
            return Failure(
                f"Paddock needs a terminal, and its standard {name} is not one",
                f"standard {name}",
                "Start it in a terminal without redirecting, or use its commands: paddock --help",
                FailureKind.BAD_REQUEST,
            )
    kind = environ.get("TERM", "")
    if kind in ("", "dumb"):
        what = "TERM is dumb: this terminal cannot draw a screen" if kind else "TERM is not set: the terminal's abilities are unknown"
        remedy = "Set TERM, for example TERM=xterm-256color, or use the commands: paddock --help"
        return Failure(what, "TERM", remedy, FailureKind.BAD_REQUEST)
    return None


def refusal(environ: Mapping[str, str]) -> str | None:
    """`check` as one line of plain text for standard error, or None; end with `EXIT_CODE` after printing it."""
    failure = check(environ)
    return None if failure is None else f"paddock: {failure.what}. {failure.remedy}."


def prepare_environment(environ: MutableMapping[str, str]) -> None:
    """Drop COLUMNS and LINES: they outlive a resize, and the terminal itself knows its size. Changes `environ`."""
    environ.pop("COLUMNS", None)
    environ.pop("LINES", None)


def _is_terminal(stream: IO[str] | None) -> bool:
    if stream is None:
        return False
    try:
        return os.isatty(stream.fileno())
    except (OSError, ValueError):
        return False


def utf8_locale(environ: Mapping[str, str]) -> bool:
    """Whether the locale is UTF-8, by the precedence of POSIX; one that names nothing (a bare container) counts as such."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if value := environ.get(name):
            return _NAME_OF_UTF8.search(value) is not None
    return True


def utf8_output() -> bool:
    """Whether what we write is encoded as UTF-8 (Textual writes to the error output)."""
    encoding = getattr(sys.__stderr__, "encoding", None) or locale.getpreferredencoding(False)
    return _NAME_OF_UTF8.search(encoding) is not None


def needs_utf8_mode(environ: Mapping[str, str]) -> bool:
    """Whether starting Python again with `-X utf8` would help: the terminal can, this process would not."""
    return utf8_locale(environ) and not utf8_output()


def ascii_only(environ: Mapping[str, str]) -> bool:
    """Whether graphics must be ASCII: not a UTF-8 locale, our output not UTF-8, or the bare Linux console."""
    return not utf8_locale(environ) or not utf8_output() or environ.get("TERM", "") == "linux"


def no_color(environ: Mapping[str, str]) -> bool:
    """NO_COLOR is set and not empty (https://no-color.org)."""
    return bool(environ.get("NO_COLOR"))


def over_ssh(environ: Mapping[str, str]) -> bool:
    """Whether the session came over SSH; motion is left out there."""
    return any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))
