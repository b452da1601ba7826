"""Turns references to keys into keys, at the moment one is sent."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tui.core.errors import FailureKind, PaddockError
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.config.settings import Settings

_LIMIT: Final = 16_384


def resolve_secret(reference: str, *, settings: Settings | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Return the key a reference means; empty for an empty one.

    Args:
        reference: `env:NAME`, `file:PATH`, or `config:PROVIDER` for a key that stands in the configuration file.
        settings: Needed for `config:` only.
        environ: `os.environ` where not given.

    Raises:
        PaddockError: There is no such variable, file or key; the message never holds a key.
    """
    scheme, _, rest = reference.partition(":")
    if not reference:
        return ""
    if scheme == "env":
        key = (os.environ if environ is None else environ).get(rest, "")
        if not key:
            raise _missing(
                f"The variable {clean_name(rest, 60)} is not set", reference, f"Run `export {clean_name(rest, 60)}=…` before Paddock"
            )
    elif scheme == "file":
        key = _of_file(Path(rest).expanduser(), reference)
    elif scheme == "config":
        provider = settings.providers.get(rest) if settings else None
        key = provider.api_key.text if provider and provider.api_key.literal else ""
        if not key:
            raise _missing(f"There is no key of {clean_name(rest, 60)} in the settings", reference, "Set api_key of this provider")
    else:
        raise _missing("The key is not a reference", "api_key", 'Write "env:NAME" or "file:PATH"')
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise _missing("The key is empty or holds characters that cannot be sent", reference, "Store the bare key, on one line")
    return key


def _of_file(path: Path, reference: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _missing("The key file is not a regular file", reference, "Name a file that holds the key")
            return os.read(handle, _LIMIT).decode("ascii", "replace")
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or "bad path").lower()
        raise _missing(f"The key file cannot be read: {why}", reference, "Check its path and mode (600)") from None


def _missing(what: str, reference: str, remedy: str) -> PaddockError:
    where = "api_key" if reference == "api_key" else clean_name(reference, 120)
    return PaddockError.of(what, where, remedy, FailureKind.AUTH)
