"""A home of its own, servers on threads, and the program on a pseudo-terminal, ended with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.app.machines import Machine
from tests.hardware import stub
from tests.support.fault_server import FaultServer
from tests.support.pty import Terminal
from tui.config.paths import Paths, find_paths
from tui.demo.models import World
from tui.demo.server import Pace, serve

PROGRAM = (sys.executable, "-m", "tui")


class Loop:
    """An event loop on a thread: a test that waits for a terminal must not stop its servers."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        """End the tasks and the thread."""

        async def end() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Home:
    """One person's settings, history and processes.

    Attributes:
        url: Of the server that `OLLAMA_HOST` names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.env: dict[str, str] = {"HOME": str(folder), "PADDOCK_HOME": str(folder / "paddock")}
        self.paths: Paths = find_paths(environ=self.env)
        self._open: list[Terminal] = []

    def configure(self, text: str) -> None:
        """Write the settings file; discovery of the machine's own servers is off."""
        self.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.paths.config_file.write_text("[general]\ndiscover = false\n" + text, encoding="utf-8")

    def start(self, *arguments: str, rows: int = 24, cols: int = 80, env: dict[str, str] | None = None) -> Terminal:
        """Start the program; it knows one server, where one was made."""
        host = {"OLLAMA_HOST": self.url} if self.url else {}
        terminal = Terminal([*PROGRAM, *arguments], {**self.env, **host, **(env or {})}, rows, cols)
        self._open.append(terminal)
        return terminal

    def read(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database, as a stranger would; nothing, as long as the program did not make it."""
        if not self.paths.database.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{self.paths.database}?mode=ro", uri=True, timeout=5)) as connection:
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                return []
            return list(connection.execute(question, values))

    def worker(self) -> int:
        """The process that works the queue; 0 where none does."""
        try:
            pid = int(json.loads((self.paths.locks / "worker.lock").read_text())["pid"])
            os.kill(pid, 0)
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return pid

    def close(self) -> None:
        """End everything."""
        while self._open:
            self._open.pop().close()
        pid = self.worker()
        if pid:
            os.kill(pid, signal.SIGKILL)


def wait(condition: Callable[[], object], what: str, timeout: float = 30.0) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: Not within `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.02)


def leave(terminal: Terminal) -> None:
    """Quit by the key; the exit code says it was one."""
    terminal.send("\x11")
    assert terminal.exit_code() == 0


def type_slowly(terminal: Terminal, keys: Sequence[str]) -> None:
    """Keys that each wait for what they show: (key, text to wait for) pairs, flat."""
    for key, shown in zip(keys[::2], keys[1::2], strict=True):
        terminal.send(key)
        terminal.wait_for(shown)


@pytest.fixture
def servers() -> Iterator[Loop]:
    found = Loop()
    yield found
    found.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path)
    found.configure("")
    yield found
    found.close()


@pytest.fixture
def ollama(home: Home, servers: Loop, tmp_path: Path) -> Iterator[Callable[[Pace], None]]:
    """Starts a simulated Ollama of the given pace and tells the home about it."""
    running: list[tuple[asyncio.Event, Future[None]]] = []

    def start(pace: Pace) -> None:
        ports: list[int] = []
        stop = asyncio.Event()
        work = asyncio.run_coroutine_threadsafe(serve(World.open(tmp_path), pace, 0, ports.append, stop), servers.loop)
        running.append((stop, work))
        wait(lambda: ports, "the simulated server")
        home.url = f"http://127.0.0.1:{ports[0]}"

    yield start
    home.close()
    for stop, work in running:
        servers.loop.call_soon_threadsafe(stop.set)
        work.result(10)


@pytest.fixture
def faults(home: Home, servers: Loop) -> Iterator[FaultServer]:
    """A server that misbehaves on command; the home knows it."""
    found = FaultServer()
    servers.run(found.start())
    home.url = found.url
    yield found
    servers.run(found.stop())


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stand-in for NVIDIA's library."""
    folder = stub.build(tmp_path_factory.mktemp("nvml"))
    if folder is None:
        pytest.skip("no C compiler (cc) to build the stand-in for libnvidia-ml.so.1")
    return folder


@pytest.fixture
def machine(home: Home, library: Path, tmp_path: Path) -> Machine:
    """The home on a machine whose GPUs a test chooses; no servers, two samples a second."""
    home.configure('[monitor]\ninterval = "500ms"\n')
    return Machine(home, library, tmp_path / "machine")
