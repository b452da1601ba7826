"""An Ollama on a real socket whose speed depends on the options a model is loaded with; it dies, hangs or refuses where told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.fault_server import Exchange, FaultServer
from tui.config.paths import find_paths
from tui.config.store import ConfigStore
from tui.core.clock import SYSTEM
from tui.core.errors import Failure
from tui.core.models import Endpoint, Model
from tui.core.tuning import Change, Proposal
from tui.providers.base import Provider
from tui.providers.factory import make_provider
from tui.services.audit import Audit
from tui.services.library.tuning_work import Tools
from tui.store.db import Database
from tui.store.tunings import Tunings

GB = 10**9
RUNNER = ("num_ctx", "num_batch", "num_gpu", "num_thread")
CHANGES = (Change("num_ctx", None, 8192, "more room"), Change("num_batch", None, 1024, "faster"))


class Machine(FaultServer):
    """`speed` gives tokens a second by options; `answers` what is said by model; `fault` is asked before each chat's answer."""

    def __init__(self) -> None:
        super().__init__()
        self.names = {"a:latest": ("F16", 2 * GB), "a:q8_0": ("Q8_0", GB), "a:q4_K_M": ("Q4_K_M", GB // 2)}
        self.loaded: dict[str, dict[str, Any]] = {}
        self.loads: list[dict[str, Any]] = []
        self.speed: Callable[[dict[str, Any]], float] = lambda options: 50.0
        self.says: Callable[[str, str], str] = lambda model, prompt: "the same words"
        self.reason = "stop"
        self.chats = 0
        self.dies_at = 0
        self.holds_at = 0
        self.held = asyncio.Event()
        self.no_room: set[str] = set()
        self.down = False
        self.routes = {"*": self._any}

    def unloads(self) -> int:
        """How often a model was asked to go."""
        return sum(request.path == "/api/generate" and request.json.get("keep_alive") == 0 for request in self.requests)

    async def _any(self, exchange: Exchange) -> None:
        if self.down:
            exchange.reset()
            return
        path, body = exchange.request.path, exchange.request.json if exchange.request.body else {}
        if path == "/api/version":
            await exchange.json({"version": "0.24.0"})
        elif path == "/api/tags":
            await exchange.json({"models": [self._listed(name) for name in self.names]})
        elif path == "/api/ps":
            await exchange.json({"models": [self._running(name) for name in self.loaded]})
        elif path == "/api/generate":
            await self._load(exchange, body)
        elif path == "/api/chat":
            await self._chat(exchange, body)
        else:
            await exchange.json({"details": {}, "capabilities": ["completion"], "model_info": {}})

    def _listed(self, name: str) -> dict[str, Any]:
        level, size = self.names[name]
        return {"name": name, "model": name, "size": size, "digest": "d" * 64, "details": {"quantization_level": level}}

    def _running(self, name: str) -> dict[str, Any]:
        context = self.loaded[name].get("num_ctx", 4096)
        size = self.names[name][1] + context * 100_000
        return {**self._listed(name), "size": size, "size_vram": size, "context_length": context, "expires_at": "2099-01-01T00:00:00Z"}

    async def _load(self, exchange: Exchange, body: dict[str, Any]) -> None:
        name = body["model"]
        if body.get("keep_alive") == 0:
            self.loaded.pop(name, None)
        elif name in self.no_room:
            await exchange.json({"error": "model requires more system memory (9 GiB) than is available"}, 500)
            return
        else:
            self._put(name, body)
        await exchange.json({"model": name, "done": True, "done_reason": "load"})

    def _put(self, name: str, body: dict[str, Any]) -> None:
        options = {key: value for key, value in (body.get("options") or {}).items() if key in RUNNER}
        self.loaded[name] = options
        self.loads.append({"model": name, "keep_alive": body.get("keep_alive"), **options})

    async def _chat(self, exchange: Exchange, body: dict[str, Any]) -> None:
        self.chats += 1
        name, options = body["model"], {key: value for key, value in body["options"].items() if key in RUNNER}
        if self.loaded.get(name) != options:
            self._put(name, body)
        prompt = body["messages"][-1]["content"]
        await exchange.head()
        await exchange.chunk(self._line(name, self.says(name, prompt)))
        if self.chats == self.holds_at:
            self.held.set()
            await exchange.gone()
            return
        if self.chats == self.dies_at:
            self.down = True
            exchange.reset()
            return
        rate = self.speed(options)
        figures = {
            "eval_count": 40, "eval_duration": int(40 / rate * 1e9), "prompt_eval_count": 200, "prompt_eval_duration": int(20 / rate * 1e9)
        }  # fmt: skip
        await exchange.chunk(self._line(name, "", done=True, done_reason=self.reason, **figures))
        await exchange.end()

    @staticmethod
    def _line(name: str, text: str, **more: Any) -> bytes:
        return json.dumps({"model": name, "message": {"role": "assistant", "content": text}, "done": False, **more}).encode() + b"\n"


class Bench:
    """A server, a connection, settings and a database; `tools` is what the work is given."""

    def __init__(self, home: Path) -> None:
        self.server = Machine()
        self.paths = find_paths(environ={"PADDOCK_HOME": str(home), "HOME": str(home)})
        self.config = ConfigStore(self.paths, {})
        self.database = Database(self.paths.database)
        self.table = Tunings(self.database)
        self.steps: list[str] = []
        self.refusal: Failure | None = None
        self.provider: Provider

    async def open(self) -> Bench:
        await self.server.start()
        self.provider = make_provider(Endpoint("box", "ollama", self.server.url, retries=0, retry_delay=0.001), lambda _key: "")
        return self

    async def may_load(self, _model: Model) -> Failure | None:
        return self.refusal

    @property
    def tools(self) -> Tools:
        audit = Audit(self.paths.state, SYSTEM)
        return Tools(self.provider, self.config, self.table, audit, SYSTEM, self.may_load, self.steps.append)

    async def model(self, name: str) -> Model:
        return next(model for model in await self.provider.models() if model.key == name)

    def proposal(self, **options: object) -> Proposal:
        return Proposal("box", "a:latest", "fits well", CHANGES, options=options)

    @property
    def written(self) -> str:
        """The configuration file; empty where there is none."""
        file = self.paths.config_file
        return file.read_text() if file.exists() else ""

    async def aclose(self) -> None:
        await self.provider.aclose()
        await self.database.aclose()
        await self.server.stop()
