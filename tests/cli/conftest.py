"""Commands in this process against servers on real sockets, which run on a loop of their own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_server import Exchange, FaultServer
from tests.support.registry import FakeRegistry, answer, digest_of, registry_on_a_thread
from tui.cli import machine, main
from tui.config.paths import Paths
from tui.core.options import AppOptions
from tui.demo.models import World
from tui.demo.server import Pace, serve
from tui.services import jobs
from tui.services.jobs import Jobs

HOSTILE = "evil\x1b]0;x\x07\x9b\u202em"
MODELS = {"models": [{"name": "tiny:latest", "model": "tiny:latest", "size": 5_000_000, "digest": "ab", "details": {}},
                     {"name": HOSTILE, "model": HOSTILE, "size": 1, "digest": "cd", "details": {}}]}  # fmt: skip


class Background:
    """A loop on a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Said]
ENSURE = Jobs.ensure_worker


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    found = Background()
    yield found
    found.end()


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl+c works, also where the tests were started in the background with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own, without looking around and without a worker."""
    monkeypatch.setenv("PADDOCK_HOME", str(tmp_path))
    monkeypatch.setenv("PADDOCK_GENERAL__DISCOVER", "false")
    for limit in ("CPU", "MEMORY", "GPU", "DISK"):  # this machine may be full
        monkeypatch.setenv(f"PADDOCK_LIMITS__{limit}", "0")
    monkeypatch.setenv("PADDOCK_REGISTRY", "http://127.0.0.1:9")
    monkeypatch.setattr(Jobs, "ensure_worker", _no_worker)
    monkeypatch.setattr(machine, "PATIENCE", 2.0)
    return tmp_path


async def _no_worker(_jobs: Jobs) -> None:
    return None


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; keywords are global options."""

    def one(*argv: str, **options: Any) -> Said:
        capsys.readouterr()
        demo_url = options.pop("demo_url", "")
        code = main(list(argv), AppOptions(**options), demo_url)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return one


@pytest.fixture
def configure(home: Path) -> Callable[[str], None]:
    """Writes the configuration file."""

    def write(text: str) -> None:
        (home / "config.toml").write_text(text, "utf-8")

    return write


async def _serve(exchange: Exchange) -> None:
    path = exchange.request.path
    if path == "/api/tags":
        await exchange.json(MODELS)
    elif path == "/api/ps":
        await exchange.json({"models": []})
    elif path == "/api/version":
        await exchange.json({"version": "0.24.0"})
    elif path.startswith("/api/blobs/"):
        await exchange.reply(404)
    elif path == "/api/chat":
        await exchange.stream(
            b'{"model":"tiny","message":{"role":"assistant","content":"hi \\u001b[31mred"},"done":false}\n',
            b'{"model":"tiny","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}\n',
        )
    else:
        await exchange.json({})


class KeptServer(FaultServer):
    """One that keeps its connections, as servers do: a closed one may meet a request that is not safe to repeat."""

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await super()._one(reader, writer)
        return not writer.is_closing()


@pytest.fixture
def server(background: Background, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server that does as told; OLLAMA_HOST names it."""

    async def start() -> FaultServer:
        found = KeptServer()
        await found.start()
        return found

    found = background.run(start())
    found.routes["*"] = _serve
    monkeypatch.setenv("OLLAMA_HOST", found.url)
    yield found
    background.run(found.stop())


@pytest.fixture
def second(background: Background) -> Iterator[FaultServer]:
    """Another one, that nothing names."""

    async def start() -> FaultServer:
        found = KeptServer()
        await found.start()
        return found

    found = background.run(start())
    found.routes["*"] = _serve
    yield found
    background.run(found.stop())


@pytest.fixture
def registry(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    """Ollama's own registry, with some models: tiny (3 MB, in two layers), big (40 GB), mine/other."""
    with registry_on_a_thread(_stock) as found:
        monkeypatch.setenv("PADDOCK_REGISTRY", found.url)
        yield found


def _stock(registry: FakeRegistry) -> None:
    registry.add("tiny", [("model", 2_999_000), ("template", 1000)], config={"a": "b" * 90})
    registry.add("big:70b", [("model", 40_000_000_000)])
    registry.add("mine/other", [("model", 1_000_000)])


def has_blob(server: FaultServer, kind: str) -> None:
    """The server has this layer of everything in the registry."""
    server.routes[f"HEAD /api/blobs/{digest_of(kind)}"] = answer()


@pytest.fixture
def ollama(background: Background, home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A simulated Ollama that loads, copies, deletes and answers; OLLAMA_HOST names it."""
    url, end = start_ollama(background, tmp_path_factory.mktemp("ollama"))
    monkeypatch.setenv("OLLAMA_HOST", url)
    yield url
    end()


def start_ollama(background: Background, folder: Path, pace: Pace | None = None) -> tuple[str, Callable[[], None]]:
    """Its address, and what ends it."""
    ready: list[int] = []
    there = threading.Event()

    def told(port: int) -> None:
        ready.append(port)
        there.set()

    async def begin() -> tuple[asyncio.Event, asyncio.Task[Any]]:
        stop = asyncio.Event()
        return stop, asyncio.ensure_future(serve(World.open(folder), pace or Pace(pull=40e9, tokens=5000, load=0.01), 0, told, stop))

    stop, task = background.run(begin())
    assert there.wait(10)

    async def finish() -> None:
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return f"http://127.0.0.1:{ready[0]}", lambda: background.run(finish())


@pytest.fixture
def slow_ollama(
    background: Background, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, home: Path
) -> Iterator[str]:
    """One whose pull of the smallest model takes some seconds; and a real worker, ended at the end."""
    url, end = start_ollama(background, tmp_path_factory.mktemp("slow"), Pace(pull=800e6, tokens=5000, load=0.01))
    monkeypatch.setenv("OLLAMA_HOST", url)
    monkeypatch.setenv("PADDOCK_PULLS__KEEP_FREE", "1 MB")
    monkeypatch.setattr(Jobs, "ensure_worker", ENSURE)
    (home / "config.toml").write_text('[pulls]\nkeep_free = "1 MB"\nmargin = 1.0\n')
    children: list[subprocess.Popen[bytes]] = []
    spawn = jobs.spawn_worker

    def kept(paths: Paths) -> subprocess.Popen[bytes]:
        children.append(spawn(paths))
        return children[-1]

    monkeypatch.setattr(jobs, "spawn_worker", kept)
    yield url
    for child in children:
        child.terminate()
        child.wait(20)
    end()


class Typed(io.StringIO):
    """Standard input of somebody at a terminal."""

    def isatty(self) -> bool:
        return True


def provider(name: str, url: str, kind: str = "ollama", **more: str) -> str:
    """A table of the configuration file."""
    lines = [f"[providers.{name}]", f'kind = "{kind}"', f'url = "{url}"', *(f"{key} = {value}" for key, value in more.items())]
    return "\n".join(lines) + "\n"


def controls(text: str) -> list[str]:
    """Characters a terminal could act on."""
    return [char for char in text if (ord(char) < 32 and char != "\n") or 127 <= ord(char) < 160 or 0x202A <= ord(char) <= 0x202E]
