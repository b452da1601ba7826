"""The engine: one thread with an asyncio loop of its own, on which providers, services and store run.

The interface's loop only draws; a terminal that is not read stops nothing here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from tui.core.errors import PaddockError
from tui.core.threads import DaemonThreads
from tui.core.watchdog import WATCHDOG

T = TypeVar("T")
_LOG: Final = logging.getLogger("paddock.engine")
Made = Callable[..., Coroutine[Any, Any, T]]
AGAIN: Final = 5.0
"""Seconds until a task that must go on is begun anew after a fault."""


class Engine:
    """Owns the thread, the loop and every task on it.

    Args:
        on_failure: Told what a task met; called on the engine's thread.
    """

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started = threading.Event()
        self._closing = False
        self._unwatch: Callable[[], None] = lambda: None
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(DaemonThreads())
        self._loop.set_exception_handler(self._loose_end)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._started.wait()
        self._unwatch = WATCHDOG.watch("engine", self._loop, self._thread.ident)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._started.set)
        self._loop.run_forever()

    @property
    def here(self) -> bool:
        """Whether the caller is on the engine's thread."""
        return threading.current_thread() is self._thread

    def post(self, made: Made[Any], *args: Any, **kwargs: Any) -> None:
        """Run a coroutine function on the loop; from any thread, returns at once. What it raises is reported.

        Once the engine closes, nothing more is begun.
        """

        def begin() -> None:
            if self._closing:
                return
            try:
                self.spawn(made(*args, **kwargs))
            except Exception as error:  # the call itself: wrong arguments
                self._report("post", error)

        try:
            self._loop.call_soon_threadsafe(begin)
        except RuntimeError:  # the loop was closed meanwhile: the program ends
            return

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """Start a task from the engine's thread; it is kept, and what it raises is reported."""
        task = self._loop.create_task(coroutine, name=name or getattr(coroutine, "__qualname__", ""))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep_going(self, work: Callable[[], Coroutine[Any, Any, None]], name: str, pause: float = AGAIN) -> asyncio.Task[Any]:
        """Start a task that runs as long as the engine: what it raises is reported, and after a pause it begins anew."""
        return self.spawn(self._forever(work, name, pause), name)

    async def _forever(self, work: Callable[[], Coroutine[Any, Any, None]], name: str, pause: float) -> None:
        told = ""
        while True:
            try:
                await work()
                return
            except Exception as error:
                if repr(error) != told:  # the same trouble every few seconds is said once
                    told = repr(error)
                    self._report(name, error)
            await asyncio.sleep(pause)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._report(task.get_name(), error)

    def _report(self, name: str, error: BaseException) -> None:
        if not isinstance(error, PaddockError):
            _LOG.error("task %s failed", name, exc_info=error)
        self._on_failure(error)

    def _loose_end(self, _loop: asyncio.AbstractEventLoop, found: dict[str, Any]) -> None:
        """What failed outside of any task of ours: in a callback, or in a library."""
        _LOG.error("%s", found.get("message", "loop"), exc_info=found.get("exception"))

    def submit(self, made: Made[T], *args: Any) -> concurrent.futures.Future[T]:
        """Run a coroutine function on the loop and give its result to another thread."""
        return asyncio.run_coroutine_threadsafe(made(*args), self._loop)

    def close(self, closing: Made[None], timeout: float) -> None:
        """Run `closing`, cancel what is left and end the thread; after `timeout` seconds leave it behind."""
        if not self._thread.is_alive():
            self._loop.close()
            return
        self._unwatch()
        done = threading.Event()
        ending: list[asyncio.Task[None]] = []  # the loop itself holds tasks weakly

        def begin() -> None:
            self._closing = True
            ending.append(self._loop.create_task(self._end(closing, timeout, done)))

        try:
            self._loop.call_soon_threadsafe(begin)
        except RuntimeError:  # closed before
            return
        if done.wait(timeout):
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(0.5)
            if not self._thread.is_alive():
                self._loop.close()

    async def _end(self, closing: Made[None], timeout: float, done: threading.Event) -> None:
        try:
            async with asyncio.timeout(timeout * 0.7):
                await closing()
        except Exception as error:
            _LOG.warning("closing: %r", error)
        finally:
            me = asyncio.current_task()
            left = [task for task in asyncio.all_tasks(self._loop) if task is not me]
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=timeout * 0.2)
            await self._loop.shutdown_asyncgens()
            done.set()
