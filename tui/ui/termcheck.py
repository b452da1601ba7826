"""What the terminal can show, by its environment; `guard.problem` says where it can show nothing. Standard library only."""

from __future__ import annotations

import locale
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Final

_NAME_OF_UTF8: Final = re.compile(r"utf-?8", re.IGNORECASE)


def prepare_environment(environ: MutableMapping[str, str]) -> None:
    """Drop COLUMNS and LINES: they outlive a resize, and the terminal itself knows its size. Changes `environ`."""
    environ.pop("COLUMNS", None)
    environ.pop("LINES", None)


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


def ascii_only(environ: Mapping[str, str]) -> bool:
    """Whether graphics must be ASCII: not a UTF-8 locale, our output not UTF-8, or the bare Linux console."""
    return not utf8_locale(environ) or not utf8_output() or environ.get("TERM", "") == "linux"


def no_color(environ: Mapping[str, str]) -> bool:
    """NO_COLOR is set and not empty (https://no-color.org)."""
    return bool(environ.get("NO_COLOR"))


def over_ssh(environ: Mapping[str, str]) -> bool:
    """Whether the session came over SSH; motion is left out there."""
    return any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))
