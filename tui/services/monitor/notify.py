"""The alert command: a program of the user's that gets each alert as JSON on its standard input. No shell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tui.core.alert_words import PROVIDER_DOWN, alert_sentence
from tui.core.models import Severity
from tui.core.monitor import Alert
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.config.settings import Settings

LIMIT: Final = 10.0
"""Seconds that the command may take."""
WAITING: Final = 50
"""Alerts that wait for it at most; older ones are dropped."""
_SECRET: Final = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_LOG: Final = logging.getLogger("paddock.alerts")


def payload(alert: Alert, machine: str, now: float, *, fahrenheit: bool = False) -> dict[str, object]:
    """What the command gets: temperatures in °C and percent as numbers, times in ISO 8601, UTC."""
    unit = {"gpu_temperature": "celsius", PROVIDER_DOWN: "seconds"}.get(alert.rule, "percent")
    return {
        "event": "begin" if alert.ended_at is None else "end",
        "id": alert.id,
        "rule": alert.rule,
        "subject": alert.subject,
        "figure": round(alert.figure, 1),
        "limit": alert.limit,
        "unit": unit,
        "started_at": iso(alert.started_at),
        "ended_at": None if alert.ended_at is None else iso(alert.ended_at),
        "culprit": alert.culprit,
        "sentence": alert_sentence(alert, now, fahrenheit=fahrenheit),
        "machine": machine,
    }


def iso(at: float) -> str:
    """An epoch second as ISO 8601, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the command sees of ours: no keys, nothing of Paddock's own."""
    return {name: value for name, value in environ.items() if not name.startswith("PADDOCK") and not _SECRET.search(name)}


async def run_command(command: Sequence[str], text: bytes, environ: Mapping[str, str], limit: float = LIMIT) -> str:
    """Run it once, in a session of its own; returns why it failed, or nothing.

    Args:
        command: Program and arguments.
        text: Its standard input.
        environ: Its environment.
        limit: Seconds after which it and its children are killed.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(environ),
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"it cannot be started: {clean_name(getattr(error, 'strerror', None) or 'wrong arguments', 100)}"
    try:
        async with asyncio.timeout(limit):
            await process.communicate(text)
    except TimeoutError:
        return f"it took longer than {limit:.0f} s and was ended"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return "" if process.returncode == 0 else f"it ended with {process.returncode}"


class Notifier:
    """Runs the alert command for one alert after the other.

    Args:
        settings: The running settings.
        machine: This machine's name.
        say: Told once when the command fails, until it works again.
        audit: Noted each time it fails.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        machine: str,
        environ: Mapping[str, str],
        say: Callable[[str, Severity], None],
        audit: Callable[[str, str, str], None],
    ) -> None:
        self._settings = settings
        self._machine = machine
        self._environ = environment(environ)
        self._say = say
        self._audit = audit
        self._waiting: list[tuple[Alert, float]] = []
        self._task: asyncio.Task[None] | None = None
        self._said = False

    def tell(self, alert: Alert, now: float) -> None:
        """Have the command run for an alert that began or ended; `now` is in epoch seconds."""
        settings = self._settings()
        if not settings.alerts.command or settings.security.access == "look":
            return
        self._waiting = [*self._waiting, (alert, now)][-WAITING:]
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work(), name="alert command")

    async def _work(self) -> None:
        while self._waiting:
            alert, now = self._waiting.pop(0)
            settings = self._settings()
            command = settings.alerts.command
            if not command or settings.security.access == "look":
                continue
            found = payload(alert, self._machine, now, fahrenheit=settings.monitor.temperature_unit == "F")
            why = await run_command(command, json.dumps(found).encode() + b"\n", self._environ)
            if not why:
                self._said = False
                continue
            name = clean_name(command[0], 100)
            _LOG.warning("the alert command %s: %s", name, why)
            self._audit("alert command", name, f"failed: {why}")
            if not self._said:
                self._said = True
                self._say(f"The alert command {name} failed: {why}", Severity.WARNING)

    async def aclose(self) -> None:
        """End a command that runs; drop what waits."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
