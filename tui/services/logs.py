"""The application log: one JSON object a line, rotated, readable by its owner only, without keys and without prompts."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from tui.text import clean_block

MAX_BYTES: Final = 5_000_000
KEEP: Final = 3
_SECRETS: Final = re.compile(
    r"(?i)(authorization\s*[:=]\s*)(bearer\s+)?[^\s,;'\"]+|((?:api[_-]?key|token|sig|key)=)[^&\s'\"]+|\b(sk-|hf_)[A-Za-z0-9_-]{6,}|(://)[^/@\s]+@"
)


def redact(text: str, known: frozenset[str] = frozenset()) -> str:
    """Take keys out of a text: the known ones, and what looks like one."""
    for value in known:
        if len(value) >= 4:
            text = text.replace(value, "***")
    return _SECRETS.sub(lambda found: f"{found[1] or found[3] or found[4] or found[5] or ''}***{'@' if found[5] else ''}", text)


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
            "event": clean_block(redact(record.getMessage(), self.known))[:2000],
            "where": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["trace"] = clean_block(redact(self.formatException(record.exc_info), self.known))[:8000]
        return json.dumps(entry, ensure_ascii=True)


_FORMAT: Final = _Lines()


def know_secret(value: str) -> None:
    """Never write this value."""
    _FORMAT.known |= {value}


class _Private(RotatingFileHandler):
    def _open(self):  # type: ignore[no-untyped-def]
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        return os.fdopen(os.open(self.baseFilename, flags, 0o600), "a", encoding="ascii")


def start_log(folder: Path, level: str) -> None:
    """Log to `<folder>/app.log`; a log that cannot be written is no reason to fail."""
    logging.raiseExceptions = False
    root = logging.getLogger("paddock")
    root.setLevel(level.upper())
    root.propagate = False
    for name in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL if name == "asyncio" else logging.WARNING)
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    if root.handlers:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler: logging.Handler = _Private(folder / "app.log", maxBytes=MAX_BYTES, backupCount=KEEP, delay=True)
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(_FORMAT)
    root.addHandler(handler)
