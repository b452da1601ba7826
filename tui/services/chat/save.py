"""Saving that does not give up: a full disk is shown and tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from tui.core.chat import Message
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.services.chat.memory import ChatStore

T = TypeVar("T")
RETRY: Final = 5.0
"""Seconds between attempts to save."""
_BANNER: Final = "save"


class Keeper:
    """Runs writes until they succeed; while one cannot, a banner says so.

    Args:
        banner: Shows a standing problem under a key, or takes it away.
        retry: Seconds between attempts.
    """

    def __init__(self, banner: Callable[[str, Failure | None], None], retry: float = RETRY) -> None:
        self._banner = banner
        self._retry = retry
        self._stuck = 0

    async def keep(self, write: Callable[[], Awaitable[T]]) -> T:
        """Run a write, again and again while the disk or another process is in the way.

        Raises:
            PaddockError: Trying again would not help.
        """
        stuck = False
        try:
            while True:
                try:
                    return await write()
                except PaddockError as error:
                    if error.failure.kind not in (FailureKind.DISK, FailureKind.BUSY):
                        raise
                    if not stuck:
                        stuck, self._stuck = True, self._stuck + 1
                    self._banner(_BANNER, _words(error.failure))
                await asyncio.sleep(self._retry)
        finally:
            if stuck:
                self._stuck -= 1
                if not self._stuck:
                    self._banner(_BANNER, None)

    async def keep_whole(self, write: Callable[[], Awaitable[T]]) -> T:
        """`keep`, but a write that has begun is waited for, and what it stored returned, though the task is cancelled meanwhile.

        Only the waits between attempts are given up.
        """
        writing: list[asyncio.Future[T]] = []

        async def begun() -> T:
            writing[:] = [asyncio.ensure_future(write())]
            return await asyncio.shield(writing[0])

        try:
            return await self.keep(begun)
        except asyncio.CancelledError:
            if not writing or (writing[0].done() and (writing[0].cancelled() or writing[0].exception() is not None)):
                raise
            return await writing[0]


class AnswerSaver:
    """`answer.Saver` on a store."""

    def __init__(self, store: ChatStore, keeper: Keeper) -> None:
        self._store = store
        self._keeper = keeper

    async def append(self, message: int, content: str, thinking: str) -> None:
        """Add streamed text."""
        await self._keeper.keep(lambda: self._store.append_answer(message, content, thinking))

    async def finish(self, message: Message) -> None:
        """Store the end."""
        await self._keeper.keep(lambda: self._store.finish_answer(message))


def _words(failure: Failure) -> Failure:
    """The banner's wording; the store's own sentences begin with a capital already."""
    what = failure.what if failure.what.lower().startswith("not saved") else f"Not saved: {failure.what}"
    return replace(failure, what=what)
