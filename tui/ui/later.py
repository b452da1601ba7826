"""A call in some milliseconds that surely comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from textual.message_pump import MessagePump


def later(pump: MessagePump, seconds: float, callback: Callable[[], Any]) -> asyncio.TimerHandle:
    """Call something once between two messages of a widget, if it is still there.

    Textual's `set_timer` (8.2.8, `Timer._run`) passes over a timer that is due before its task has looked at the clock for the
    second time. On a busy machine one of 0.5 ms in some ten thousand never comes.
    """
    return asyncio.get_running_loop().call_later(seconds, pump.call_next, callback)
