"""Enough of HTTP/1.1 for one loopback server: requests with a length or in chunks, answers whole or in chunks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from tui.core.record import record

MAX_HEAD: Final = 65_536
MAX_BODY: Final = 64_000_000
UPLOADS: Final = "/api/blobs/"
_REASONS: Final = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error"}


@record(frozen=True)
class Request:
    """One request.

    Attributes:
        rest: Bytes of the body that are still to be read from the connection: of an upload, all of them.
        query: What stands behind the path, without its question mark.
    """

    method: str
    path: str
    body: bytes
    rest: int = 0
    query: str = ""

    def json(self) -> dict[str, Any]:
        """The body as an object; empty where it is none."""
        try:
            value = json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class Exchange:
    """One answer on a connection."""

    def __init__(self, writer: asyncio.StreamWriter, *, head: bool) -> None:
        self._writer = writer
        self._head = head
        self._chunked = False

    def _start(self, status: int, kind: str, extra: str) -> None:
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\nServer: paddock-demo\r\nContent-Type: {kind}\r\n{extra}\r\n"
        self._writer.write(head.encode("ascii"))

    async def text(
        self, text: str, status: int = 200, kind: str = "text/plain; charset=utf-8", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with a text, and further headers."""
        body = text.encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._start(status, kind, f"Content-Length: {len(body)}\r\n{more}")
        if not self._head:
            self._writer.write(body)
        await self._writer.drain()

    async def json(self, value: Any, status: int = 200) -> None:
        """Answer with one object, without a newline, as Ollama does."""
        await self.text(json.dumps(value), status, "application/json; charset=utf-8")

    async def error(self, status: int, text: str) -> None:
        """Answer with `{"error": text}`."""
        await self.json({"error": text}, status)

    async def line(self, value: Any, kind: str = "application/x-ndjson") -> None:
        """Send one line of a stream."""
        await self.chunk(json.dumps(value).encode() + b"\n", kind)

    async def chunk(self, data: bytes, kind: str) -> None:
        """Send one chunk of a stream."""
        if not self._chunked:
            self._chunked = True
            self._start(200, kind, "Transfer-Encoding: chunked\r\n")
        self._writer.write(f"{len(data):x}\r\n".encode("ascii") + data + b"\r\n")
        await self._writer.drain()

    async def finish(self) -> None:
        """End a stream."""
        if self._chunked:
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read a request, an upload's body excepted; None at the end of the connection, and for what is no request."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _version = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines if line)}
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = b""
            while size := int((await reader.readline()).split(b";")[0], 16):
                body += await reader.readexactly(size)
                await reader.readline()
                if len(body) > MAX_BODY:
                    return None
            await reader.readline()
        else:
            length = int(headers.get("content-length") or 0)
            if length >= 0 and method == "POST" and path.startswith(UPLOADS):
                return Request(method, path, b"", length)
            if not 0 <= length <= MAX_BODY:
                return None
            body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, ConnectionError):
        return None
    where, _mark, query = path.partition("?")
    return Request(method, where, body, query=query)
