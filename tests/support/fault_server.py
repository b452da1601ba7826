"""A server on a raw socket that misbehaves as told: what HTTP libraries refuse to do, this does.

A route is a coroutine that gets an `Exchange` and may send what it likes. Nothing sleeps: tests hold a route by an event
and wait for what it saw.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Exchange:
    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    keep: bool = False

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, headers: dict[str, str] | None = None, *, chunked: bool = True) -> None:
        lines = {"content-type": "application/x-ndjson", **(headers or {})}
        if chunked:
            lines["transfer-encoding"] = "chunked"
        if not self.keep:  # else the next request may meet the end of this connection
            lines.setdefault("connection", "close")
        text = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        await self.raw(text.encode())

    async def chunk(self, data: bytes) -> None:
        if data:
            await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def reply(self, status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        await self.head(status, {"content-type": "application/json", **(headers or {}), "content-length": str(len(body))}, chunked=False)
        await self.raw(body)

    async def json(self, value: Any, status: int = 200) -> None:
        await self.reply(status, json.dumps(value).encode())

    async def stream(self, *chunks: bytes, kind: str = "application/x-ndjson") -> None:
        await self.head(200, {"content-type": kind})
        for data in chunks:
            await self.chunk(data)
        await self.end()

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed its side."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass


Route = Callable[[Exchange], Awaitable[None]]


async def end(server: asyncio.Server) -> None:
    """Listen no more. What was just accepted gets its task, which can then be ended: one that was never begun closes nothing."""
    server.close()
    for _ in range(10):
        await asyncio.sleep(0)


@dataclass
class FaultServer:
    routes: dict[str, Route] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, host, port)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        if self._server is not None:
            await end(self._server)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self.closed.set()
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(method, path, headers, body)
        self.requests.append(request)
        exchange = Exchange(request, reader, writer)
        route = self.routes.get(f"{method} {path}") or self.routes.get(path) or self.routes.get("*")
        if route is None:
            await exchange.reply(404, b"404 page not found", {"content-type": "text/plain"})
        else:
            await route(exchange)
        return exchange.keep
