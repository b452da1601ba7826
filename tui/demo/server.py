"""A simulated Ollama on a real loopback socket: the shapes and habits of Ollama 0.24 as recorded, without its weights."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tui.core.record import record
from tui.demo import hub
from tui.demo.answers import READS, Counted, Memory, limit_of, paced, part_on_gpu, pieces, reading, refusal, speed_of, wrapped
from tui.demo.changes import Changes, registry
from tui.demo.http import UPLOADS, Exchange, Request, read_request
from tui.demo.models import (
    PARAMETERS,
    Loaded,
    Spec,
    World,
    details_of,
    digest_of,
    info_of,
    layers_of,
    licence_of,
    manifest_of,
    memory_of,
    template_of,
)
from tui.demo.prompts import Given, given

VERSION: Final = "0.24.0"
CONTEXT: Final = 4096
FOR_EVER: Final = 292 * 365 * 86_400
GPU_ROOM: Final = 17_600_000_000
"""Bytes of the demo machine's GPU that are left for models."""
SLOWER: Final = 8
"""How many times as long the part of a model takes that is not on the GPU."""
_RUNNER: Final = ("num_gpu", "num_batch", "num_thread", "main_gpu")
"""Options that, beside the context, a model is loaded anew for."""
Handler = Callable[[Request, Exchange], Awaitable[None]]


@record(frozen=True)
class Pace:
    """How fast the simulation runs.

    Attributes:
        pull: Bytes a second.
        tokens: Tokens a second of a model of 5 GB; larger ones are slower, and prompts are read `answers.READS` times as fast.
        load: Seconds a model takes to load.
        idle: Seconds without a connection until the server ends.
    """

    pull: float = 60_000_000.0
    tokens: float = 45.0
    load: float = 2.0
    idle: float = 600.0


def stamp(at: float) -> str:
    """A time as Ollama writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def seconds_of(keep_alive: Any) -> float | None:
    """Seconds of a keep-alive, None for ever; 300 for none and for what cannot be read."""
    if isinstance(keep_alive, bool) or keep_alive is None or keep_alive == "":
        return 300.0
    if isinstance(keep_alive, (int, float)):
        return None if keep_alive < 0 else float(keep_alive)
    text = str(keep_alive)
    if text.startswith("-"):
        return None
    total, number = 0.0, ""
    for char in text:
        if char.isdigit() or char == ".":
            number += char
        elif char in "hms" and number:
            total += float(number) * {"h": 3600, "m": 60, "s": 1}[char]
            number = ""
    return total if not number or text == "0" else 300.0


class DemoServer:
    """Answers requests out of a `World`."""

    def __init__(self, world: World, pace: Pace) -> None:
        self.world = world
        self.pace = pace
        self.last_used = time.monotonic()
        self.open_connections = 0
        self._read = Memory()
        self._loading: dict[str, asyncio.Lock] = {}
        self._writing = 0
        changes = self._changes = Changes(world, pace.pull)
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "/"): lambda _request, answer: answer.text("Ollama is running"),
            ("GET", "/api/version"): lambda _request, answer: answer.json({"version": VERSION}),
            ("GET", "/api/status"): lambda _request, answer: answer.json({"cloud": {"disabled": True, "source": "demo"}}),
            ("GET", "/api/tags"): self._tags,
            ("GET", "/api/ps"): self._ps,
            ("GET", "/demo/work"): self._work,
            ("GET", "/v1/models"): self._v1_models,
            ("POST", "/api/show"): self._show,
            ("POST", "/api/chat"): self._chat,
            ("POST", "/api/generate"): self._generate,
            ("POST", "/api/embed"): self._embed,
            ("POST", "/api/pull"): changes.pull,
            ("POST", "/api/push"): changes.push,
            ("POST", "/api/create"): changes.create,
            ("POST", "/api/copy"): changes.copy,
            ("DELETE", "/api/delete"): changes.delete,
        }

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until its client leaves."""
        self.open_connections += 1
        try:
            while (request := await read_request(reader)) is not None:
                self.last_used = time.monotonic()
                answer = Exchange(writer, head=request.method == "HEAD")
                work = asyncio.ensure_future(self._serve(request, answer, reader))
                gone = asyncio.ensure_future(_left(reader))
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                if not work.done():
                    work.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await work
                if work.cancelled():
                    return
        finally:
            self.open_connections -= 1
            self.last_used = time.monotonic()
            writer.close()

    async def _serve(self, request: Request, answer: Exchange, reader: asyncio.StreamReader) -> None:
        method = "GET" if request.method == "HEAD" else request.method
        if request.path.startswith(UPLOADS):
            await self._changes.blob(request, answer, reader)
            return
        if request.path.startswith("/v2/"):
            await registry(request, answer)
            return
        if method == "GET" and (request.path == hub.PATH or request.path.startswith(f"{hub.PATH}/")):
            await hub.models(request, answer)
            return
        handler = self._routes.get((method, request.path))
        if handler is None:
            await answer.text("404 page not found", 404)
            return
        await handler(request, answer)
        await answer.finish()

    # --- lists --------------------------------------------------------------------------------------------------------

    def _entry(self, name: str, spec: Spec) -> dict[str, Any]:
        digest = hashlib.sha256(manifest_of(spec)).hexdigest()
        return {"name": name, "model": name, "size": spec.size, "digest": digest, "details": details_of(spec)}

    async def _tags(self, _request: Request, answer: Exchange) -> None:
        found = []
        for name in sorted(self.world.installed, key=lambda name: -self.world.changed_at.get(name, 0.0)):
            entry = self._entry(name, self.world.spec(name))
            found.append({**entry, "modified_at": stamp(self.world.changed_at.get(name, 0.0))})
        await answer.json({"models": found})

    async def _ps(self, _request: Request, answer: Exchange) -> None:
        self.world.expire()
        found = []
        for name, loaded in self.world.loaded.items():
            if name in self.world.installed:
                spec = self.world.spec(name)
                size = _size(spec, loaded)
                ends = stamp(loaded.expires_at if loaded.expires_at is not None else time.time() + FOR_EVER)
                vram = self._placed().get(name, 0)
                found.append(
                    {**self._entry(name, spec), "size": size, "size_vram": vram, "expires_at": ends, "context_length": loaded.context}
                )
        await answer.json({"models": found})

    def _placed(self) -> dict[str, int]:
        """Bytes of each loaded model that are on the demo machine's GPU: who came first has the room."""
        room, found = GPU_ROOM, dict[str, int]()
        for name, loaded in self.world.loaded.items():
            if name in self.world.installed:
                spec = self.world.spec(name)
                found[name] = min(room, int(_size(spec, loaded) * part_on_gpu(spec, loaded.options)))
                room -= found[name]
        return found

    async def _work(self, _request: Request, answer: Exchange) -> None:
        """For the demo's machine: what its graphs follow."""
        self.world.expire()
        vram = self._placed()
        size = sum(_size(self.world.spec(name), self.world.loaded[name]) for name in vram)
        on_gpu = sum(vram.values())
        pulling = self._changes.pulling * self.pace.pull
        await answer.json({"vram": on_gpu, "ram": size - on_gpu, "writing": self._writing, "pulling": pulling})

    async def _v1_models(self, _request: Request, answer: Exchange) -> None:
        data = [
            {"id": name, "object": "model", "created": int(self.world.changed_at.get(name, 0)), "owned_by": "library"}
            for name in self.world.installed
        ]
        await answer.json({"object": "list", "data": data or None})

    async def _installed(self, body: Mapping[str, Any], answer: Exchange) -> tuple[str, Spec] | None:
        name = str(body.get("model") or body.get("name") or "")
        found = self.world.find(name)
        if found is None:
            await answer.error(404, f"model '{name}' not found")
        return found

    async def _show(self, request: Request, answer: Exchange) -> None:
        found = await self._installed(request.json(), answer)
        if found is None:
            return
        name, spec = found
        weights = layers_of(spec)[0][0]
        made = self.world.made.get(name, {})
        template = made.get("template") or template_of(spec)
        parameters = {**({} if made.get("bare") else PARAMETERS), **made.get("parameters", {})}
        system = {"system": made["system"]} if made.get("system") else {}
        await answer.json(
            {
                **system,
                "license": licence_of(spec),
                "modelfile": f"# Modelfile of the demo\nFROM /demo/blobs/sha256-{weights}\nTEMPLATE {template}\n",
                "parameters": "\n".join(
                    f"{key:<30} {json.dumps(each)}"
                    for key, value in parameters.items()
                    for each in (value if isinstance(value, list) else [value])
                ),
                "template": template,
                "details": details_of(spec),
                "model_info": info_of(spec),
                "capabilities": list(spec.abilities),
                "modified_at": stamp(self.world.changed_at.get(name, 0.0)),
            }
        )

    # --- answers ------------------------------------------------------------------------------------------------------

    async def _ready(self, name: str, body: Mapping[str, Any]) -> float:
        """Load a model where it is not; returns the seconds it took."""
        options = body.get("options")
        context = options.get("num_ctx") if isinstance(options, dict) else None
        wanted = int(context) if isinstance(context, (int, float)) and context >= 4 else CONTEXT
        wanted = min(wanted, self.world.spec(name).context)
        started = time.monotonic()
        async with self._loading.setdefault(name, asyncio.Lock()):
            self.world.expire()
            loaded = self.world.loaded.get(name)
            given = {key: int(options[key]) for key in _RUNNER if isinstance(options, dict) and isinstance(options.get(key), (int, float))}
            moved = loaded is not None and any(loaded.options.get(key) != value for key, value in given.items())
            if loaded is None or moved or (isinstance(context, (int, float)) and loaded.context != wanted):
                await asyncio.sleep(self.pace.load)
                self._read.forget(name)
                loaded = self.world.loaded[name] = Loaded(None, wanted, given)
                loaded.expires_at = time.time() + 300
            if "keep_alive" in body:
                seconds = seconds_of(body["keep_alive"])
                loaded.expires_at = None if seconds is None else time.time() + seconds
        return time.monotonic() - started

    async def _chat(self, request: Request, answer: Exchange) -> None:
        body = request.json()
        messages = body.get("messages")
        if await self._unloads(body, answer, bool(messages), {"message": {"role": "assistant", "content": ""}}):
            return
        await self._write(body, answer, chat=messages if isinstance(messages, list) else [])

    async def _generate(self, request: Request, answer: Exchange) -> None:
        body = request.json()
        if await self._unloads(body, answer, bool(body.get("prompt")), {"response": ""}):
            return
        await self._write(body, answer, chat=None)

    async def _unloads(self, body: Mapping[str, Any], answer: Exchange, asked: bool, empty: Mapping[str, Any]) -> bool:
        """Answer what is no question but a load or an unload, or cannot be answered; returns whether that was it."""
        found = await self._installed(body, answer)
        if found is None:
            return True
        name, spec = found
        if "completion" not in spec.abilities:
            await answer.error(400, f'"{name}" does not support chat')
            return True
        if asked:
            return False
        reason = "load"
        if seconds_of(body.get("keep_alive")) == 0:
            self.world.loaded.pop(name, None)
            reason = "unload"
        else:
            await self._ready(name, body)
        await answer.json({"model": name, "created_at": stamp(time.time()), **empty, "done": True, "done_reason": reason})
        return True

    async def _write(self, body: Mapping[str, Any], answer: Exchange, chat: list[Any] | None) -> None:
        found = self.world.find(str(body.get("model") or body.get("name") or ""))
        assert found is not None
        name, spec = found
        refused = refusal(name, spec, body, chat)
        if refused:
            await answer.error(400, refused)
            return
        started = time.monotonic()
        load = await self._ready(name, body)
        loaded = self.world.loaded[name]
        context = loaded.context
        asked = given(chat or [], context, bool(body.get("tools")), vision="vision" in spec.abilities)
        if chat is None:
            asked = given([{"role": "user", "content": f"{body.get('prompt') or ''}{body.get('suffix') or ''}"}], context)
        if asked.over and body.get("truncate") is False:
            await answer.error(400, "the input length exceeds the context length")
            return
        size, on_gpu = _size(spec, loaded), self._placed().get(name, 0)
        speed = self.pace.tokens * speed_of(spec) * size / (on_gpu + SLOWER * max(0, size - on_gpu))
        self._writing += 1
        try:
            await self._told(body, answer, chat, (name, spec, asked, context), (started, load, speed))
        finally:
            self._writing -= 1

    async def _told(
        self,
        body: Mapping[str, Any],
        answer: Exchange,
        chat: list[Any] | None,
        what: tuple[str, Spec, Given, int],
        times: tuple[float, float, float],
    ) -> None:
        name, spec, asked, context = what
        started, load, speed = times
        begun = time.monotonic()
        options = self.world.loaded[name].options if name in self.world.loaded else {}
        await asyncio.sleep(self._read.seconds(name, asked, speed * READS * reading(options)))
        read = time.monotonic() - begun
        room = context - asked.tokens if asked.tokens < context else context // 2
        counted = Counted(limit_of(body), room)
        writing = time.monotonic()
        async for text, thinking, calls in paced(pieces(body, name, spec, asked, chat), speed):
            if not counted.more():
                break
            await answer.line({"model": name, "created_at": stamp(time.time()), **wrapped(chat, text, thinking, calls), "done": False})
        loaded = self.world.loaded.get(name)
        if loaded is not None and loaded.expires_at is not None:
            seconds = seconds_of(body["keep_alive"]) if "keep_alive" in body else 300.0
            loaded.expires_at = None if seconds is None else time.time() + seconds
        now = time.monotonic()
        figures = {
            "total_duration": now - started, "load_duration": load, "prompt_eval_count": asked.tokens, "prompt_eval_duration": read,
            "eval_count": counted.written, "eval_duration": now - writing,
        }  # fmt: skip
        await answer.line(
            {
                "model": name,
                "created_at": stamp(time.time()),
                **wrapped(chat, "", "", None),
                "done": True,
                "done_reason": counted.reason,
                **{key: int(value * 1e9) if key.endswith("duration") else value for key, value in figures.items() if value},
            }
        )

    async def _embed(self, request: Request, answer: Exchange) -> None:
        body = request.json()
        found = await self._installed(body, answer)
        if found is None:
            return
        name, spec = found
        await self._ready(name, body)
        given = body.get("input") or []
        texts = [given] if isinstance(given, str) else [str(text) for text in given]
        vectors = []
        for text in texts:
            raw = [byte - 128 for byte in bytes.fromhex(digest_of(text)) * (spec.embedding // 32)]
            length = sum(value * value for value in raw) ** 0.5 or 1.0
            vectors.append([round(value / length, 6) for value in raw])
        await answer.json({"model": name, "embeddings": vectors, "prompt_eval_count": sum(len(text) // 4 + 1 for text in texts)})


def _size(spec: Spec, loaded: Loaded) -> int:
    """Bytes that a model takes as it is loaded."""
    return memory_of(spec, loaded.context, loaded.options.get("num_batch", 512))


async def _left(reader: asyncio.StreamReader) -> None:
    """Return when the client has closed its side."""
    while not reader.at_eof():  # noqa: ASYNC110 - a stream reader has no event for its end
        await asyncio.sleep(0.05)


async def serve(world: World, pace: Pace, port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
    """Serve on 127.0.0.1 until `stop`, or until nobody came for `pace.idle` seconds."""
    demo = DemoServer(world, pace)
    server = await asyncio.start_server(demo.connection, "127.0.0.1", port)
    ready(server.sockets[0].getsockname()[1])
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(1.0, pace.idle))
        if not demo.open_connections and time.monotonic() - demo.last_used > pace.idle:
            break
    server.close()
