"""The one way we speak HTTP: limits, time-outs, keys and redirects for a server at one address.

Values: reliability reference, section 3.3. Measured facts about the library: same, section 5, M10 and M11.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tui import __version__
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Endpoint
from tui.core.record import record
from tui.providers import probe
from tui.providers.address import parse
from tui.providers.base_url import is_local_name, is_near, parse_base
from tui.providers.errors import (
    ERROR_BODY,
    Asked,
    Target,
    failed,
    protocol,
    redirect_failure,
    status_failure,
    transport_failure,
)
from tui.providers.streams import decode_json
from tui.text import clean_label, clean_name, duration, size

if TYPE_CHECKING:
    import httpx

    from tui.providers.client import Answer

_CLIENT: Final = "tui.providers.client"
_CONNECTED: Final = (".connect_tcp.complete", ".start_tls.complete")
"""Ends of the names of what the client library reports when a connection is made."""
_NO_TLS: Final = ".start_tls.failed"
CONNECT_NEAR: Final = 3.0
CONNECT_FAR: Final = 5.0
CONTROL: Final = 5.0
"""Seconds for lists, health and the like; further limits are given by the callers."""

NAME_GOOD: Final = 30.0
"""Seconds a resolved name is not looked up again by us."""

MAX_CONTROL: Final = 12 * 1024 * 1024
"""Bytes of an answer that is not streamed. Parsing holds every thread up: this much of the worst JSON for 0.2 s, 32 MB for 0.5 s (P20)."""
MAX_REQUEST: Final = 64 * 1024 * 1024
STREAMS: Final = 8
CONTROLS: Final = 2

_REPEATABLE: Final = frozenset({429, 502, 503, 504})
_SECRET_HEADER: Final = re.compile("key|token|secret|auth|cookie|password", re.IGNORECASE)
_SHORTEST_SECRET: Final = 6
"""Characters; hiding shorter keys would tear words apart."""
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}\Z")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*\Z")


def _no_key(reference: str) -> str:
    del reference
    return ""


@record(frozen=True)
class Reply:
    """A whole answer to a control call."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Requests to one endpoint, until it is closed. Connections are opened at the first request and belong to its event loop.

    Args:
        endpoint: Where; its key is only resolved when a request is sent, and only ever sent there.
        resolve: Gives the key for a reference (`env:NAME`, `file:PATH`, `config:NAME`), or raises `PaddockError`.
        clock: For elapsed times.
        label: What kind of server it is, in words.
        trim: Path ends to cut off the base URL (`/v1`), where the paths we ask bring them.
        key_header: Name of the header a key goes into, and what stands before it there.

    Raises:
        PaddockError: The address cannot be used (kind CONFIG).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        resolve: Callable[[str], str] = _no_key,
        clock: Clock = SYSTEM,
        *,
        label: str = "the server",
        trim: tuple[str, ...] = (),
        key_header: tuple[str, str] = ("authorization", "Bearer "),
    ) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self.base = parse_base(endpoint.url)
        self.prefix = self.base.prefix
        for end in trim:
            self.prefix = self.prefix.removesuffix(end).rstrip("/")
        self.target = Target(label, self.base.shown)
        self._resolve = resolve
        self._key_header = (key_header[0].lower(), key_header[1])
        self._clients: dict[bool, httpx.AsyncClient] = {}  # for streams, for control calls
        self._asking: Counter[httpx.AsyncClient] = Counter()
        self._turn = asyncio.Semaphore(CONTROLS)
        self._name_good_until = float("-inf")
        self._closed = False

    # --- control calls

    async def get(self, path: str, *, timeout: float = CONTROL, retry: bool = False, limit: int = MAX_CONTROL) -> Reply:
        """GET, the only requests that are ever repeated.

        Args:
            path: Behind the base URL's own path, with a query if any.
            timeout: Seconds for all of it.
            retry: Also repeat answers like 503 and broken lines, as the endpoint's settings say; without, one
                silent second attempt is made where a kept connection turned out dead.
            limit: Bytes of body.

        Raises:
            PaddockError: As the sentences of section 3.3 say.
        """
        attempts = 0
        while True:
            try:
                return await self.request("GET", path, timeout=timeout, limit=limit)
            except PaddockError as error:
                failure = error.failure
                silent = attempts == 0 and failure.kind is FailureKind.INTERRUPTED
                again = retry and (failure.kind is FailureKind.INTERRUPTED or failure.status in _REPEATABLE)
                if not silent and (not again or attempts >= self.endpoint.retries):
                    raise
                attempts += 1
            if not silent:
                pause = min(self.endpoint.retry_delay * 2 ** (attempts - 1), 30.0) * random.uniform(0.8, 1.2)
                await asyncio.sleep(failure.retry_after if failure.retry_after is not None else pause)

    async def _first(self, path: str, timeout: float, limit: int) -> Reply | None:
        """The first questions to a server near by, asked as a probe does while the client library is not loaded: it costs 120 ms.

        None where the answer is not whole: `request` then asks again, and tells what is wrong.
        """
        plain = not self.base.secure and is_near(self.base.host) and not self.endpoint.key and not self.endpoint.headers
        if self._closed or _CLIENT in sys.modules or not plain:
            return None
        try:
            reply = await probe.get(parse(self.base.origin), f"{self.prefix}{path}", timeout=min(timeout, self._connect_limit()))
        except PaddockError:
            return None
        if not reply.complete or len(reply.body) > limit or reply.status < 200 or "content-encoding" in reply.headers:
            return None
        if reply.status >= 300:
            asked = Asked(path.split("?", 1)[0], "", False, is_local_name(self.base.host))
            raise failed(self._refusal(reply.status, reply.headers, reply.body, asked))
        return Reply(reply.status, reply.headers, reply.body)

    async def get_json(self, path: str, *, timeout: float = CONTROL, retry: bool = False) -> Any:
        """GET and parse; see `get`."""
        return self.parse(await self.get(path, timeout=timeout, retry=retry))

    def parse(self, reply: Reply) -> Any:
        """The JSON of a reply.

        Raises:
            PaddockError: It is none (kind PROTOCOL).
        """
        try:
            return decode_json(reply.body)
        except ValueError:
            kind = clean_label(reply.headers.get("content-type", ""), 60)
            page = " (it is a web page)" if "html" in kind or reply.body[:200].lstrip().lower().startswith((b"<!doc", b"<html")) else ""
            raise protocol(self.target, f"it is not JSON{page}" if reply.body else "it is empty") from None

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout: float = CONTROL,
        limit: int = MAX_CONTROL,
        model: str = "",
    ) -> Reply:
        """One control call, never repeated, at most two at a time.

        Args:
            method: HTTP method.
            path: Behind the base URL's own path.
            body: Sent as JSON unless None.
            timeout: Seconds for all of it, from connecting to the last byte.
            limit: Bytes of body.
            model: Named in the request, for the sentences.

        Raises:
            PaddockError: As the sentences of section 3.3 say.
        """
        content = None if body is None else self.encode(body)
        async with self._turn:
            begun = self.clock.monotonic()
            try:
                async with asyncio.timeout(timeout):
                    if method == "GET" and (first := await self._first(path, timeout, limit)) is not None:
                        return first
                    async with self._open(method, path, content, model, begun) as answer:
                        return Reply(answer.status, answer.headers, b"" if method == "HEAD" else await answer.whole(limit))
            except TimeoutError as error:
                failure = transport_failure(error, self.target, "wait", self.clock.monotonic() - begun)
                raise failed(failure) from None

    # --- streams

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: AsyncIterator[bytes] | None = None,
        length: int | None = None,
        model: str = "",
    ) -> AsyncIterator[Answer]:
        """A request whose answer may begin late and go on for ever; leaving the context closes the connection.

        Args:
            method: HTTP method.
            path: Behind the base URL's own path.
            body: Sent as JSON unless None.
            content: Sent as it is, instead of `body`, and of `length` bytes.
            length: See `content`.
            model: Named in the request, for the sentences.

        Raises:
            PaddockError: As the sentences of section 3.3 say; also by the iteration.
        """
        data: bytes | AsyncIterator[bytes] | None = content
        if body is not None:
            data = self.encode(body)
        begun = self.clock.monotonic()
        async with self._open(method, path, data, model, begun, length, streams=True) as answer:
            yield answer

    def encode(self, body: Any) -> bytes:
        """JSON as it is sent: UTF-8 whatever the strings hold (H34).

        Raises:
            PaddockError: It is too large or holds a number JSON has no form for (kind BAD_REQUEST).
        """
        try:
            text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (ValueError, TypeError, RecursionError):
            what = "The request holds a value that cannot be sent"
            raise failed(Failure(what, self.base.shown, "Check the options", FailureKind.BAD_REQUEST)) from None
        data = re.sub("[\ud800-\udfff]", "\ufffd", text).encode()
        if len(data) > MAX_REQUEST:
            what = f"The request has {size(len(data))}, more than the {size(MAX_REQUEST)} we send"
            raise failed(Failure(what, self.base.shown, "Shorten the conversation, or send smaller files", FailureKind.BAD_REQUEST))
        return data

    async def aclose(self) -> None:
        """Close every connection, those in use and those still being made, too; requests that come later are refused."""
        self._closed = True
        clients = {*self._clients.values(), *self._asking}
        self._clients = {}
        await _ended(clients)

    # --- inside

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        content: bytes | AsyncIterator[bytes] | None,
        model: str,
        begun: float,
        length: int | None = None,
        *,
        streams: bool = False,
    ) -> AsyncIterator[Answer]:
        from tui.providers.client import NOT_SENT, Answer

        headers = self._headers()
        if length is not None:
            headers["content-length"] = str(length)
        asked = Asked(path.split("?", 1)[0], model, self._key_header[0] in headers, is_local_name(self.base.host))
        await self._look_up(begun)
        async with self._used(streams=streams) as (client, extensions):
            try:
                url = f"{self.base.origin}{self.prefix}{path}"
                request = client.build_request(method, url, content=content, headers=headers, extensions=extensions)
                response = await client.send(request, stream=True)
            except NOT_SENT as error:
                self._fail(error, begun)
            try:
                answer = Answer(response, self.target, self.clock, begun)
                await self._check(response, answer, asked)
                yield answer
            finally:
                await response.aclose()

    @asynccontextmanager
    async def _used(self, *, streams: bool) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any]]]:
        """A client, and what it needs for a request that may be cancelled, or closed while it connects (httpcore 1.0.9).

        Its pool forgets a connection that is still being made when the pool is closed, or whose TLS handshake is cancelled; and what is
        cancelled in other moments keeps its place in the pool for ever. So connections are closed here, and the client is not used again.
        """
        client, made = self._client(streams=streams), None

        async def traced(event: str, info: Mapping[str, Any]) -> None:
            nonlocal made
            if event.endswith(_CONNECTED):
                made = info["return_value"]
                if self._closed:
                    await made.aclose()
                    raise self._over()
            elif event.endswith(_NO_TLS) and made is not None:
                await made.aclose()

        self._asking[client] += 1
        try:
            yield client, {"trace": traced}
        except asyncio.CancelledError:
            if self._clients.get(streams) is client:
                del self._clients[streams]
            raise
        finally:
            self._asking[client] -= 1
            if not self._asking[client]:
                del self._asking[client]
                if self._clients.get(streams) is not client:
                    await _ended({client})

    def _over(self) -> PaddockError:
        return failed(Failure(f"{self.target} is not asked any more", self.base.shown, "Try again", FailureKind.CANCELLED))

    async def _look_up(self, begun: float) -> None:
        """Know the name before the client asks for it: its own lookups sit in threads that the end of the program waits for (H29)."""
        from tui.providers.client import proxy

        host, now = self.base.host, self.clock.monotonic()
        if ":" in host or host.replace(".", "").isdecimal() or now < self._name_good_until or proxy(self.base) is not None:
            return
        try:
            async with asyncio.timeout(self._connect_limit()):
                await probe.resolve(host, 0)
        except TimeoutError:
            name = clean_name(host, 100)
            what = f"Cannot reach {self.target}: the name {name} was not resolved within {duration(self.clock.monotonic() - begun)}"
            raise failed(Failure(what, self.target.host, "Check the network's name server", FailureKind.UNREACHABLE)) from None
        except PaddockError:
            self._fail(socket.gaierror(), begun, "connect")
        self._name_good_until = now + NAME_GOOD

    def _connect_limit(self) -> float:
        return min(CONNECT_NEAR if is_near(self.base.host) else CONNECT_FAR, self.endpoint.timeout)

    def _fail(self, error: Exception, begun: float, phase: str = "wait") -> NoReturn:
        raise failed(transport_failure(error, self.target, phase, self.clock.monotonic() - begun)) from error

    async def _check(self, response: httpx.Response, answer: Answer, asked: Asked) -> None:
        status = response.status_code
        if 300 <= status < 400:
            raise failed(self._refusal(status, response.headers, b"", asked))
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise protocol(self.target, f"it is compressed ({clean_name(encoding, 40)}) although we asked for plain")
        if status < 400:
            return
        body = bytearray()
        try:
            async with asyncio.timeout(CONTROL):
                async for chunk in answer:
                    body += chunk
                    if len(body) >= ERROR_BODY:
                        break
        except (PaddockError, TimeoutError):
            pass  # the status says enough; its explanation may be cut
        raise failed(self._refusal(status, response.headers, bytes(body), asked))

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes, asked: Asked) -> Failure:
        if status < 400:
            return redirect_failure(headers.get("location", ""), status, self.target)
        return status_failure(status, headers, body[:ERROR_BODY], self.target, asked, self.clock.time())

    def _headers(self) -> dict[str, str]:
        headers = {
            "accept": "*/*",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": f"paddock/{__version__}",
        }
        for name, value in self.endpoint.headers.items():
            if not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
                what = f"The extra header {clean_name(name, 60)!r} cannot be sent"
                raise failed(Failure(what, self.endpoint.name, "Correct headers in this server's settings", FailureKind.CONFIG))
            headers[name.lower()] = value
            if _SECRET_HEADER.search(name):
                self._keep_secret(value.rpartition(" ")[2])
        key = self._resolve(self.endpoint.key).strip() if self.endpoint.key else ""
        if key:
            if not key.isascii() or not key.isprintable():
                what = "The API key holds characters that cannot be sent"
                raise failed(Failure(what, self.endpoint.name, "Check the key of this server", FailureKind.CONFIG))
            name, prefix = self._key_header
            headers[name] = prefix + key
            self._keep_secret(key)
        return headers

    def _keep_secret(self, secret: str) -> None:
        if len(secret) >= _SHORTEST_SECRET:
            self.target.secrets.add(secret)

    def _client(self, *, streams: bool = False) -> httpx.AsyncClient:
        from tui.providers.client import build_client

        if self._closed:
            raise self._over()
        if streams not in self._clients:
            count = STREAMS if streams else CONTROLS
            self._clients[streams] = build_client(self.base, self.endpoint.verify, self._connect_limit(), count, keep=not streams)
        return self._clients[streams]


async def _ended(clients: set[httpx.AsyncClient]) -> None:
    """Close clients whole: one whose closing is cancelled would leave the connections that it did not come to."""
    closing = asyncio.gather(*(client.aclose() for client in clients))
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait({closing})
        raise
