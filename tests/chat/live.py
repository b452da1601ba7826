"""A simulated Ollama on a real socket, a registry in an engine, and waiting for conditions from the test's thread."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.fault_server import Exchange, FaultServer
from tui.config.paths import find_paths
from tui.config.store import ConfigStore
from tui.core.clock import SYSTEM
from tui.services.actions import Actions
from tui.services.audit import Audit
from tui.services.engine import Engine
from tui.services.notices import Notices
from tui.services.ports import Ports
from tui.services.registry import Registry


def until(condition: Callable[[], Any], what: str = "", timeout: float = 10.0) -> Any:
    """Wait until something is true, from a thread that is not the engine's."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, what or "not in time"
        time.sleep(0.003)
    return found


class Ollama(FaultServer):
    """What `tui.providers.ollama` needs, with switches."""

    def __init__(self) -> None:
        super().__init__()
        self.version = "0.24.0"
        self.names = {"qwen3:8b": "aa" * 32, "phi4:14b": "bb" * 32}
        self.loaded: dict[str, int] = {}
        self.status = 200
        self.hold: asyncio.Event | None = None
        self.lies: set[str] = set()
        self.stubborn = 0
        self.remote: set[str] = set()
        self.routes = {"*": self._any}

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(request.path == path for request in self.requests)

    async def _any(self, exchange: Exchange) -> None:
        exchange.keep = True
        if self.hold is not None:
            await self.hold.wait()
        if self.status != 200:
            await exchange.json({"error": "out of order"}, self.status)
            return
        path, body = exchange.request.path, exchange.request.json if exchange.request.body else {}
        if path == "/api/version":
            await exchange.json({"version": self.version})
        elif path == "/api/tags":
            await exchange.json({"models": [self._listed(name) for name in self.names]})
        elif path == "/api/ps":
            if self.stubborn:
                self.stubborn -= 1
                if not self.stubborn:
                    self.loaded.clear()
            await exchange.json(
                {"models": [{**self._listed(name), "size_vram": 5, "context_length": size} for name, size in self.loaded.items()]}
            )
        elif path == "/api/show":
            await exchange.json(
                {"details": {"family": "qwen3"}, "model_info": {"general.architecture": "qwen3"}, "capabilities": ["completion"]}
            )
        else:
            await self._change(exchange, path, body)

    def _listed(self, name: str) -> dict[str, Any]:
        away = {"remote_model": name, "remote_host": "https://ollama.com:443"} if name in self.remote else {}
        row = {"name": name, "model": name, "size": 100, "digest": self.names.get(name, "cc" * 32), "details": {"family": "qwen3"}}
        return {**row, **away}

    async def _change(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        name = body.get("model", "")
        if path == "/api/generate":
            if "generate" not in self.lies:
                if body.get("keep_alive") == 0:
                    if not self.stubborn:
                        self.loaded.pop(name, None)
                else:
                    self.loaded[name] = 4096
            await exchange.json({"model": name, "done": True, "done_reason": "load", "response": ""})
        elif path == "/api/chat":
            await exchange.json({"message": {"role": "assistant", "content": "Hi"}, "done": True, "done_reason": "stop"})
        elif path == "/api/copy":
            if body["source"] not in self.names:
                await exchange.json({"error": f"model '{body['source']}' not found"}, 404)
                return
            if "copy" not in self.lies:
                self.names[body["destination"]] = self.names[body["source"]]
            await exchange.reply(200)
        elif path == "/api/delete":
            if name not in self.names:
                await exchange.json({"error": f"model '{name}' not found"}, 404)
                return
            if "delete" not in self.lies:
                self.names.pop(name)
            await exchange.reply(200)
        else:
            await exchange.reply(404, b"404 page not found", {"content-type": "text/plain"})


class Loop:
    """The servers' own loop and thread, so that a test may block."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def run(self, work: Any) -> Any:
        """The result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def call(self, work: Callable[[], Any]) -> None:
        """Call something there."""

        async def there() -> None:
            work()

        self.run(there())

    def close(self) -> None:
        """End all tasks and the thread."""

        async def end() -> None:
            for _ in range(5):  # a connection just taken must be served before it can be closed
                await asyncio.sleep(0)
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for _ in range(3):  # closed connections are told so in the next turns
                await asyncio.sleep(0)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Bench:
    """A registry with its verbs in a running engine; discovery is off unless a test says otherwise."""

    def __init__(self, home: Path, config: str = "", environ: dict[str, str] | None = None, meta: Any = None, **more: Any) -> None:
        self._meta = meta
        self.environ = {"PADDOCK_HOME": str(home), "HOME": str(home), "PATH": "/nonexistent", **(environ or {})}
        self.paths = find_paths(environ=self.environ)
        self.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.write(config)
        self.notices = Notices()
        self.engine = Engine(self.notices.report)
        self.config = ConfigStore(self.paths, self.environ)
        self.audit = Audit(self.paths.state, SYSTEM)
        self.ports = Ports(self.notices.ask, self.audit)
        self.registry = Registry(
            self.engine,
            self.notices,
            self.config,
            self.environ,
            resolve=more.pop("resolve", lambda reference: "sk-key-1" if reference else ""),
            ports=self.ports,
            pause=0.01,
            **more,
        )
        self.actions = Actions(self.registry, self.audit, lambda: None, lambda: None, patience=0.3, poll=0.005)

    def write(self, config: str, general: str = "") -> None:
        discover = "" if "discover" in general else "discover = false"
        self.paths.config_file.write_text(f"[general]\n{discover}\n{general}\n{config}", encoding="utf-8")

    def rewrite(self, config: str, general: str = "") -> None:
        """Change the file and follow it, as the hub does."""
        self.write(config, general)
        self.config.poll()
        self.do(lambda: self.registry.apply(self.config.current.value))

    def do(self, work: Callable[[], Any]) -> Any:
        """Call something on the engine's thread."""

        async def there() -> Any:
            return work()

        return self.engine.submit(there).result(10)

    def wait(self, work: Callable[[], Any]) -> Any:
        """Run a coroutine function on the engine's thread to its end."""
        return self.engine.submit(work).result(10)

    def open(self) -> "Bench":
        self.engine.start()
        self.do(lambda: self.ports.open(self._meta))
        self.wait(self.registry.open)
        return self

    def close(self) -> None:
        """End it."""
        self.engine.close(self.registry.aclose, 5.0)

    def state(self, name: str = "lab") -> Any:
        return next((state for state in self.registry.providers.value if state.name == name), None)

    def said(self) -> list[str]:
        return [notice.text for notice in self.notices.notices.value]

    def idle(self) -> None:
        """Wait until no activity is left and everything posted has run."""
        self.do(lambda: None)
        until(lambda: not self.registry.activities.value, "an activity goes on")

    def audited(self) -> list[tuple[str, str, str]]:
        import json

        file = self.paths.state / "audit.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(entry["what"], entry["target"], entry["result"]) for entry in map(json.loads, lines)]


@contextlib.contextmanager
def started(loop: Loop, server: FaultServer, port: int = 0) -> Iterator[FaultServer]:
    """A server that listens meanwhile."""
    loop.run(server.start(port=port))
    try:
        yield server
    finally:
        loop.run(_stopped(server))


async def _stopped(server: FaultServer) -> None:
    """Take no more connections, serve those taken to their end, then stop: `close` in between would leave one open."""
    assert server._server is not None
    for listening in server._server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(5):
        await asyncio.sleep(0)
    await server.stop()


def provider(url: str, name: str = "lab", more: str = "") -> str:
    """The table of a provider."""
    return f'[providers.{name}]\nkind = "ollama"\nurl = "{url}"\nretries = 0\n{more}\n'
