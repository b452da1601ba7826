"""The HTTP client library, as we use it: trust, proxies, connections and the bodies of answers. Import late: it costs 120 ms."""

from __future__ import annotations

import importlib.util
import socket
import ssl
import sys
import urllib.request
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Final

import httpx

from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind
from tui.providers.base_url import Base, is_near
from tui.providers.errors import Target, failed, protocol, transport_failure
from tui.text import clean_name, size

if importlib.util.find_spec("sniffio") is None:
    # The library below httpx looks for it some twenty times a request, through all of sys.path: what is known to be missing is not sought.
    sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]

NOT_SENT: Final = (httpx.HTTPError, httpx.InvalidURL, OSError)
"""What sending a request raises."""


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


def proxy(base: Base) -> httpx.Proxy | None:
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

    async def whole(self, limit: int) -> bytes:
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


def build_client(base: Base, verify: bool | str, connect: float, connections: int, *, keep: bool) -> httpx.AsyncClient:
    """A client for one server.

    Args:
        base: The server.
        verify: Whether its certificate is checked, or the path of its CA file.
        connect: Seconds for connecting.
        connections: How many at once.
        keep: Use connections again. Without, a POST is never sent into one that may be dead (H33).

    Raises:
        PaddockError: The CA file or the proxy of the environment cannot be used.
    """
    transport = httpx.AsyncHTTPTransport(
        verify=_tls(base, verify),
        trust_env=False,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections if keep else 0, keepalive_expiry=30.0),
        proxy=proxy(base),
        socket_options=_socket_options(),
    )
    timeout = httpx.Timeout(connect=connect, read=None, write=30.0, pool=None)
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False, cookies=jar)
