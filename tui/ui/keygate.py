"""Keys are handed over one at a time: what is typed ahead goes to the dialog that the key before it opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

PATIENCE: Final = 2.0
"""Seconds a key may take until the next one goes on regardless."""
_QUIET_ROUNDS: Final = 2
_LOOK_AGAIN: Final = 0.02
_QUIT: Final = "ctrl+q"

Deliver = Callable[[events.Event], Awaitable[None]]


class KeyGate:
    """Textual forwards a key to what has the focus when it is read, not when the key before it has been obeyed.

    Over a slow line many keys come in one piece: without this, the name typed after `a` would run as commands of the list.

    Args:
        app: Whose keys.
        deliver: Textual's own handling of an input event.
    """

    def __init__(self, app: App[Any], deliver: Deliver) -> None:
        self._app = app
        self._deliver = deliver
        self._waiting: deque[events.Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._shut = True

    def open(self) -> None:
        """There are screens now: hand over what was typed while the program started."""
        self._shut = False
        if self._waiting and self._task is None:
            self._task = asyncio.create_task(self._go_on())

    async def take(self, event: events.Event) -> None:
        """Deliver a key or a paste now, or after those before it; only quitting needs no screen."""
        quits = isinstance(event, events.Key) and event.key == _QUIT
        if self._task is not None or (self._shut and not quits):
            self._waiting.append(event)
            return
        if await self._hand_over(event):
            self._task = asyncio.create_task(self._go_on())

    async def _hand_over(self, event: events.Event) -> bool:
        """Deliver; returns whether the next one must wait until this one was obeyed."""
        moves = self._may_move_focus(event)
        await self._deliver(event)
        return moves

    def _may_move_focus(self, event: events.Event) -> bool:
        from textual.widgets import Input, TextArea  # not for the first frame

        if not isinstance(self._app.focused, (Input, TextArea)):
            return True
        return isinstance(event, events.Key) and not event.is_printable

    async def _go_on(self) -> None:
        try:
            await self._settle()
            while self._waiting:
                if await self._hand_over(self._waiting.popleft()):
                    await self._settle()
        except Exception as error:
            self._app._handle_exception(error)
        finally:
            self._task = None

    async def _settle(self) -> None:
        """Wait until the event was obeyed and the screen it leads to can take the next.

        A key becomes a message, which climbs from queue to queue: nothing moves any more after two quiet rounds.
        """
        app = self._app
        quiet = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while quiet < _QUIET_ROUNDS:
                    before = (app.screen, app.focused)
                    for pump in (app.focused or app.screen).ancestors_with_self:
                        await self._emptied(pump)
                    quiet = quiet + 1 if (app.screen, app.focused) == before else 0

    async def _emptied(self, pump: MessagePump) -> None:
        """Wait until a pump has handled what is in its queue now; one that has yet to start is waited for, one that ends is not."""
        done = asyncio.Event()
        if not pump.call_later(done.set):
            return
        while not (done.is_set() or pump._closing or pump._closed):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), _LOOK_AGAIN)
