"""What hundreds of apps in one process need not do again, and waiting for them without fixed waits.

Each of these only saves time: what the apps do and what tests see of them is the same without.
"""

from __future__ import annotations

import asyncio
from time import monotonic, process_time
from typing import Any

import textual.app
import textual.pilot
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

WINDOW = 0.02  # seconds; a timer due within them is waited for, as Textual's own rule does
_LOOK = 0.004
_BUSY = _LOOK / 20  # processor seconds of this process, its threads included

_parse_rules = Stylesheet._parse_rules
_parsed: dict[tuple[object, ...], list[RuleSet]] = {}


async def wait_for_idle(min_sleep: float = WINDOW, max_sleep: float = 1.0) -> None:
    """Wait until nothing is ready to run, no timer is about to, and no thread computes.

    Textual's own looks only at the processor time, 20 ms at a time, twice for each key: more than half of the time that the tests of
    the interface took was waiting.
    """
    loop: Any = asyncio.get_running_loop()
    began = monotonic()
    soon = loop.time() + WINDOW
    while True:
        before = process_time()
        await asyncio.sleep(_LOOK)
        waited = monotonic() - began
        if waited >= max_sleep:
            return
        if waited < min_sleep or process_time() - before >= _BUSY or loop._ready:
            continue
        if waited >= WINDOW or not any(timer.when() < soon and not timer.cancelled() for timer in loop._scheduled):
            return


def _parse_once(sheet: Stylesheet, *args: Any, **kwargs: Any) -> list[RuleSet]:
    """The rules of a style sheet, which Textual parses anew for each app, and on each change of colours."""
    key = (frozenset(sheet._variables.items()), args, frozenset(kwargs.items()))
    found = _parsed.get(key)
    if found is None:
        found = _parsed[key] = _parse_rules(sheet, *args, **kwargs)
    return found


def install() -> None:
    """For all apps of this process."""
    textual.app.wait_for_idle = wait_for_idle  # type: ignore[attr-defined]
    textual.pilot.wait_for_idle = wait_for_idle  # type: ignore[attr-defined]
    Stylesheet._parse_rules = _parse_once  # type: ignore[method-assign]
