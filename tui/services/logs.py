"""The application log: one JSON object a line, rotated, readable by its owner only, without keys and without prompts."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

from tui.core.errors import Failure, FailureKind, PaddockError
from tui.store.files import make_folder, open_private
from tui.text import clean_block, clean_name

MAX_BYTES: Final = 5_000_000
KEEP: Final = 3
_SHORTEST: Final = 4
"""Characters from which a key is looked for; shorter ones would blacken ordinary words."""
_SECRETS: Final = re.compile(
    r"""(?ix) (authorization["']?\s*[:=]\s*["']?) (?:(?:bearer|basic|token)\s+)? [^\s,;'"]+
    | ((?:api[_-]?key|token|secret|password|sig|key)["']?\s*[=:]\s*["']?) [^&\s,;'"]+
    | (\bbearer\s+) [^\s,;'"]+
    | \b(sk-|hf_) [A-Za-z0-9_-]{6,}
    | (://) [^/@\s]+@"""
)


def redact(text: str, known: frozenset[str] | None = None) -> str:
    """Take keys out of a text: the known ones (those of `know_secret` where not given), and what looks like one."""
    for value in sorted(_FORMAT.known if known is None else known, key=len, reverse=True):
        text = text.replace(value, "***")
    return _SECRETS.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    kept = next((group for group in found.groups() if group), "")
    return f"{kept}***{'@' if found[5] else ''}"


class _Lines(logging.Formatter):
    """Known keys are added as they are resolved."""

    def __init__(self) -> None:
        super().__init__()
        self.known: frozenset[str] = frozenset()

    def format(self, record: logging.LogRecord) -> str:
        """One line of ASCII."""
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": clean_block(redact(record.getMessage()))[:2000],
            "where": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["trace"] = clean_block(redact(self.formatException(record.exc_info)))[-8000:]
        return json.dumps(entry, ensure_ascii=True)


_FORMAT: Final = _Lines()


def know_secret(value: str) -> None:
    """Never write this value, nor the forms it takes in headers and addresses."""
    if len(value) < _SHORTEST or value in _FORMAT.known:
        return
    raw = value.encode("utf-8", "replace")
    forms = {value, quote(value, safe=""), quote_plus(value), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    _FORMAT.known |= {form.rstrip("=") for form in forms}


class _Private(RotatingFileHandler):
    trouble: Failure | None = None

    def _open(self):  # type: ignore[no-untyped-def]
        return os.fdopen(open_private(Path(self.baseFilename), os.O_WRONLY | os.O_APPEND), "a", encoding="ascii")

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written is lost; why is told to who asks, see `log_trouble`."""
        self.trouble = _not_written(sys.exc_info()[1], Path(self.baseFilename))


def _not_written(error: BaseException | None, file: Path) -> Failure:
    why = error.failure.what if isinstance(error, PaddockError) else (getattr(error, "strerror", "") or "not possible")
    return Failure(
        f"No log is written: {why}", clean_name(str(file)), "Make room, and check the owner and mode of the folder", FailureKind.DISK
    )


def log_trouble() -> Failure | None:
    """Why the log could not be written, once; None where it could."""
    for handler in logging.getLogger("paddock").handlers:
        if isinstance(handler, _Private) and handler.trouble is not None:
            trouble, handler.trouble = handler.trouble, None
            return trouble
    return None


def start_log(folder: Path, level: str) -> Failure | None:
    """Log to `<folder>/app.log`, or change the level; a log that cannot be written is no reason to stop: it is returned."""
    logging.raiseExceptions = False
    root = logging.getLogger("paddock")
    root.setLevel(level.upper())
    root.propagate = False
    for name in ("httpx", "httpcore", "asyncio"):
        library = logging.getLogger(name)
        library.setLevel(logging.CRITICAL if name == "asyncio" else logging.WARNING)
        if not library.handlers:
            library.addHandler(logging.NullHandler())
        library.propagate = False
    file = folder / "app.log"
    for handler in list(root.handlers):
        if isinstance(handler, _Private) and Path(handler.baseFilename) == file.absolute():
            return None
        root.removeHandler(handler)
        handler.close()
    failure: Failure | None = None
    try:
        make_folder(folder)
        new: logging.Handler = _Private(file, maxBytes=MAX_BYTES, backupCount=KEEP)
    except (OSError, PaddockError) as error:
        failure = _not_written(error, file)
        new = logging.NullHandler()
    new.setFormatter(_FORMAT)
    root.addHandler(new)
    return failure
