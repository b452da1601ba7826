"""Blocking work in daemon threads: unlike those of asyncio's own executor, the end of the program waits for none of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Run something that may hang in a daemon thread of its own."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="paddock-wait", daemon=True).start()
    return future


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Wait for blocking work without blocking the loop. A cancelled wait leaves the work running."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[T] = loop.create_future()

    def tell(done: Future[T]) -> None:
        if waiting.done():
            return
        error = done.exception()
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(done.result())

    def hand_over(done: Future[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(tell, done)

    in_thread(work).add_done_callback(hand_over)
    return await waiting


class DaemonThreads(ThreadPoolExecutor):
    """For `loop.set_default_executor`: what libraries send to threads (names being resolved) runs in daemon threads too."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run it now."""
        return in_thread(lambda: fn(*args, **kwargs))
