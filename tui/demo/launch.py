"""Finds the demo home's server, or starts it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Final

import tui
from tui.core.errors import FailureKind, PaddockError
from tui.core.spawn import own_command
from tui.text import clean_name

RECORD: Final = "demo-server.json"
LOG: Final = "demo-server.log"
PATIENCE: Final = 5.0
"""Seconds a started server is given until it answers."""
_started: list[subprocess.Popen[bytes]] = []
"""Kept: the server outlives us, and a forgotten child would be reported as a leak."""


def ensure_running(home: Path) -> str:
    """The address of this home's demo server, started where it does not run.

    Raises:
        PaddockError: It could not be started, or does not answer.
    """
    url = _live(home)
    if url:
        return url
    log = home / LOG
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            child = subprocess.Popen(
                own_command("demo-server", "--home", str(home)),
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                cwd=Path(tui.__file__).resolve().parent.parent,
                start_new_session=True,
            )
        finally:
            os.close(handle)
    except OSError as error:
        remedy = "Make the folder writable, or set PADDOCK_HOME to one that is"
        raise PaddockError.of(
            "The demo server could not be started", clean_name(str(home)), remedy, FailureKind.DISK, str(error)
        ) from error
    _started.append(child)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        url = _live(home)
        if url:
            return url
        if child.poll() not in (None, 0):
            break
        time.sleep(0.02)
    raise PaddockError.of("The demo server did not answer", clean_name(str(log)), "See that log, then start again", FailureKind.TIMEOUT)


def _live(home: Path) -> str:
    """The recorded server's address, where it answers as ours."""
    try:
        port = int(json.loads((home / RECORD).read_text(encoding="utf-8"))["port"])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
        try:
            connection.request("GET", "/api/version")
            answer = connection.getresponse()
            answer.read()
            return f"http://127.0.0.1:{port}" if answer.headers.get("Server") == "paddock-demo" else ""
        finally:
            connection.close()
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return ""
