"""The one way we speak HTTP: limits, time-outs, keys and redirects for a server at one address.

Values: reliability reference, section 3.3. Measured facts about the library: same, section 5, M10 and M11.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
import re
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final, NoReturn

import httpx

from tui import __version__
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Endpoint
from tui.providers import probe
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

_NEAR_NAMES: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_REPEATABLE: Final = frozenset({429, 502, 503, 504})
_SECRET_HEADER: Final = re.compile("key|token|secret|auth|cookie|password", re.IGNORECASE)
_SHORTEST_SECRET: Final = 6
"""Characters; hiding shorter keys would tear words apart."""
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}\Z")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*\Z")


def _no_key(reference: str) -> str:
    del reference
    return ""


def is_near(host: str) -> bool:
    """Whether a host is this machine or on a private network; names count by their form, nothing is looked up."""
    name = host.strip("[]").split("%", 1)[0].rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(_NEAR_NAMES)
    return address.is_loopback or address.is_private or address.is_link_local or address.is_unspecified


def _is_local_name(host: str) -> bool:
    name = host.strip("[]").split("%", 1)[0].lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith((".localhost", ".local", ".internal")) or name == socket.gethostname().lower()
    return True


@dataclass(frozen=True, slots=True)
class Base:
    """A server's address taken apart: `origin` is scheme, host and port, `prefix` a path without slash at its end."""

    origin: str
    host: str
    shown: str
    prefix: str
    secure: bool


def parse_base(url: str) -> Base:
    """Read a server's base URL; `0.0.0.0` and `::`, which are addresses to listen on, become loopback.

    Raises:
        PaddockError: It is no http or https address (kind CONFIG); a user part never shows.
    """
    text = url.strip()
    if len(text) > 2000 or not text.isprintable() or " " in text:
        raise _bad_url(text, "it holds blanks or is too long")
    if "://" not in text:
        text = f"http://{text}"
    try:
        parsed = httpx.URL(text)
        port = parsed.port
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise _bad_url(text, "it is no address") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise _bad_url(text, "it must begin with http:// or https://")
    if port is not None and not 0 < port < 65536:
        raise _bad_url(text, "the port must be 1 to 65535")
    if "%" in parsed.host and ":" not in parsed.host:
        raise _bad_url(text, "it is no address")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(parsed.host, parsed.host)
    bracketed = f"[{host}]" if ":" in host else host
    number = port or (443 if parsed.scheme == "https" else 80)
    return Base(
        origin=f"{parsed.scheme}://{bracketed}:{number}",
        host=host,
        shown=clean_name(f"{bracketed}:{number}"),
        prefix=parsed.path.rstrip("/"),
        secure=parsed.scheme == "https",
    )


def _bad_url(text: str, why: str) -> PaddockError:
    shown = clean_name(re.sub(r"//[^/@]*@", "//", text), 100)
    return failed(
        Failure(f"The address {shown!r} cannot be used: {why}", "url", "Write it like http://127.0.0.1:11434", FailureKind.CONFIG)
    )


def _tls(base: Base, verify: bool | str) -> ssl.SSLContext | bool:
    """The trust for one server. Building one costs 40 ms, so plain HTTP gets none."""
    if not base.secure:
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if isinstance(verify, str):
        file = Path(verify).expanduser()
        try:
            context.load_verify_locations(cafile=str(file))
        except (OSError, ssl.SSLError):
            what = f"The CA file {clean_name(verify, 200)} cannot be read"
            raise failed(Failure(what, base.shown, "Correct verify in this server's settings", FailureKind.TLS)) from None
        return context
    import certifi  # only for https servers

    context.load_verify_locations(cafile=certifi.where())
    context.load_default_certs()
    return context


def _proxy(base: Base) -> httpx.Proxy | None:
    """The proxy of the environment, for servers out in the world only (H23)."""
    if is_near(base.host):
        return None
    scheme = base.origin.split(":", 1)[0]
    found = urllib.request.getproxies_environment()
    address = found.get(scheme) or found.get("all")
    if not address or _bypassed(base.host, found.get("no", "")):
        return None
    variable = f"{scheme if scheme in found else 'all'}_proxy".upper()
    try:
        if not address.lower().startswith(("http://", "https://")):
            raise ValueError(address)
        return httpx.Proxy(address)
    except (httpx.InvalidURL, ValueError):
        what = f"{base.shown} cannot be reached: the proxy in {variable} cannot be used"
        raise failed(Failure(what, variable, f"Give {variable} as http://host:port, or unset it", FailureKind.CONFIG)) from None


def _bypassed(host: str, exceptions: str) -> bool:
    """Whether `NO_PROXY` names this host: exactly, by a domain it is in, or all by `*`."""
    names = [name.strip().lstrip(".").lower() for name in exceptions.split(",")]
    return any(name == "*" or (name and (host.lower() == name or host.lower().endswith(f".{name}"))) for name in names)


def _socket_options() -> list[tuple[int, int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer to a control call."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Answer:
    """The body of a streamed answer, piece by piece as it arrives; faults come as `PaddockError`.

    Attributes:
        status: HTTP status, always 200 to 299.
        headers: Names compare without case.
        received: Bytes of body so far.
    """

    def __init__(self, response: httpx.Response, target: Target, clock: Clock, begun: float) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.received = 0
        self._raw = response.aiter_raw()
        self._target = target
        self._clock = clock
        self._begun = begun

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._raw)
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            failure = transport_failure(error, self._target, "body", self._clock.monotonic() - self._begun)
            raise failed(failure) from error
        self.received += len(chunk)
        return chunk

    async def whole(self, limit: int = MAX_CONTROL) -> bytes:
        """Read all of it.

        Raises:
            PaddockError: It is larger than `limit` bytes (kind PROTOCOL), or the line broke.
        """
        parts: list[bytes] = []
        async for chunk in self:
            if self.received > limit:
                raise protocol(self._target, f"it is larger than {size(limit)}")
            parts.append(chunk)
        return b"".join(parts)


class Http:
    """Requests to one endpoint. Connections are opened at the first request and belong to its event loop.

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
        self._control: httpx.AsyncClient | None = None
        self._streams: httpx.AsyncClient | None = None
        self._turn = asyncio.Semaphore(CONTROLS)
        self._name_good_until = float("-inf")

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
                async with asyncio.timeout(timeout), self._open(self._client(), method, path, content, model, begun) as answer:
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
        async with self._open(self._client(streams=True), method, path, data, model, begun, length) as answer:
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
        """Close every connection."""
        for client in (self._control, self._streams):
            if client is not None:
                await client.aclose()
        self._control = self._streams = None

    # --- inside

    @asynccontextmanager
    async def _open(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        content: bytes | AsyncIterator[bytes] | None,
        model: str,
        begun: float,
        length: int | None = None,
    ) -> AsyncIterator[Answer]:
        headers = self._headers()
        if length is not None:
            headers["content-length"] = str(length)
        asked = Asked(path.split("?", 1)[0], model, self._key_header[0] in headers, _is_local_name(self.base.host))
        await self._look_up(begun)
        try:
            request = client.build_request(method, f"{self.base.origin}{self.prefix}{path}", content=content, headers=headers)
            response = await client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self._fail(error, begun)
        try:
            answer = Answer(response, self.target, self.clock, begun)
            await self._check(response, answer, asked)
            yield answer
        finally:
            await response.aclose()

    async def _look_up(self, begun: float) -> None:
        """Know the name before the client asks for it: its own lookups sit in threads that the end of the program waits for (H29)."""
        host, now = self.base.host, self.clock.monotonic()
        if ":" in host or host.replace(".", "").isdecimal() or now < self._name_good_until or _proxy(self.base) is not None:
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
            raise failed(redirect_failure(response.headers.get("location", ""), status, self.target))
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
        raise failed(status_failure(status, response.headers, bytes(body[:ERROR_BODY]), self.target, asked, self.clock.time()))

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
        client = self._streams if streams else self._control
        if client is None:
            client = self._build(streams=streams)
            if streams:
                self._streams = client
            else:
                self._control = client
        return client

    def _build(self, *, streams: bool) -> httpx.AsyncClient:
        connect = self._connect_limit()
        if streams:
            # No kept connections: a POST is never sent into one that may be dead (H33).
            limits = httpx.Limits(max_connections=STREAMS, max_keepalive_connections=0)
            timeout = httpx.Timeout(connect=connect, read=None, write=30.0, pool=None)
        else:
            limits = httpx.Limits(max_connections=CONTROLS, max_keepalive_connections=CONTROLS, keepalive_expiry=30.0)
            timeout = httpx.Timeout(connect=connect, read=None, write=30.0, pool=None)
        transport = httpx.AsyncHTTPTransport(
            verify=_tls(self.base, self.endpoint.verify),
            trust_env=False,
            limits=limits,
            proxy=_proxy(self.base),
            socket_options=_socket_options(),
        )
        jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        return httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False, cookies=jar)
