"""Servers that answer as told, on ephemeral loopback ports."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.support.fault_server import end

Route = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int = 200, body: Any = "", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP answer; a body that is no text is sent as JSON."""
    content = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/plain" if isinstance(body, (str, bytes)) else "application/json"
    lines = {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}
    return f"HTTP/1.1 {status} X\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in lines.items()).encode() + b"\r\n" + content


def model_list(**entry: Any) -> bytes:
    """A list of one model."""
    return answer(200, {"object": "list", "data": [{"id": "m", "object": "model", **entry}]})


NOT_FOUND = answer(404, "404 page not found")


class Fake:
    """One listening server: `requests` holds the request heads it got."""

    def __init__(self, routes: Mapping[str, Route], other: Route) -> None:
        self.routes = dict(routes)
        self.other = other
        self.requests: list[str] = []
        self.open = 0
        self.port = 0

    @property
    def paths(self) -> list[str]:
        return [head.split()[1] for head in self.requests]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            start = await reader.readexactly(1)
            if start == b"\x16":  # a TLS greeting: what plain servers say to it
                writer.write(answer(400, "Bad Request"))
                return
            head = (start + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head)
            route = self.routes.get(head.split()[1], self.other)
            if isinstance(route, bytes):
                writer.write(route)
                await writer.drain()
            else:
                await route(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def serving(
    routes: Mapping[str, Route] | None = None,
    other: Route = NOT_FOUND,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Fake]:
    """Serve until left; open connections are cut."""
    fake = Fake(routes or {}, other)
    tasks: set[asyncio.Task[None]] = set()

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await fake.handle(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(tracked, host, port, ssl=tls)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        await end(server)
        for task in list(tasks):
            task.cancel()
        await asyncio.sleep(0)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never answer; ends when the other side leaves."""
    await reader.read()


OLLAMA = {
    "/": answer(200, "Ollama is running"),
    "/api/version": answer(200, {"version": "0.24.0"}),
    "/v1/models": answer(
        200, {"object": "list", "data": [{"id": "qwen3:8b", "object": "model", "created": 1795232936, "owned_by": "library"}]}
    ),
}
"""What a plain Ollama answers; everything else is its 404."""
