"""What of a prompt the model saw: servers cut one that is longer than the context without a word, a pipe has to say it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

from tui.cli.output import message
from tui.core.capabilities import Capability
from tui.core.chat import ChatRequest, Message
from tui.core.errors import PaddockError
from tui.core.events import Done, StreamEvent
from tui.core.models import RunningModel
from tui.providers.base import Provider
from tui.services.chat import context
from tui.services.chat.tokens import estimate

PATIENCE: Final = 1.0
"""Seconds that the end of an answer waits for the server to say how large its context is."""

LEAST: Final = 2048
"""The smallest context, in tokens, that a server is known to take by itself."""


class Seen:
    """Asks while the answer is written how large the context is: by then the model is loaded.

    Args:
        provider: The server.
        request: What is sent to it.
    """

    def __init__(self, provider: Provider, request: ChatRequest) -> None:
        self._provider, self._request = provider, request
        self._running: Sequence[RunningModel] = ()
        asked = request.options.get("num_ctx")
        least = asked if isinstance(asked, int) and asked > 0 else LEAST
        self._may_be_cut = estimate(request.messages, request.system) > least // 2

    async def events(self) -> AsyncIterator[StreamEvent]:
        """The answer, as the server streams it."""
        looking: asyncio.Task[None] | None = None
        try:
            async with contextlib.aclosing(self._provider.chat(self._request)) as stream:  # type: ignore[type-var]
                async for event in stream:
                    if looking is None and self._may_be_cut and Capability.RUNNING in self._provider.capabilities:
                        looking = asyncio.ensure_future(self._look())
                    if looking is not None and isinstance(event, Done):
                        await asyncio.wait({looking}, timeout=PATIENCE)
                    yield event
        finally:
            if looking is not None:
                looking.cancel()

    async def _look(self) -> None:
        with contextlib.suppress(PaddockError):
            self._running = await self._provider.running()

    @property
    def held(self) -> RunningModel | None:
        """The model as it was in memory, where that was asked."""
        return context.loaded_as(self._provider.endpoint.name, self._request.model, self._running)

    def alarm(self, answer: Message) -> str:
        """The sentence for a prompt that was cut, else empty."""
        request = self._request
        served = context.window(self._provider.endpoint.name, request.model, self._running, request.options)
        return context.alarm(answer, request.messages, served, system=request.system)

    def tell(self, answer: Message) -> None:
        """Say it on standard error."""
        if alarm := self.alarm(answer):
            message(f"{alarm[0].upper()}{alarm[1:]}. Send less, or set num_ctx higher with --option.")
