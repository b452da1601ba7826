"""One GET, as small and as distrustful as a probe must be, over asyncio streams.

Why not httpx: a probe talks to ports whose owner is unknown. It must tell a TLS or SSH answer from HTTP (an HTTP client
only reports a protocol error), must not follow, decode, pool or send anything beyond five headers, needs the moment
of the TCP connect apart from the answer, and runs 13 times in parallel before the first screen is useful, where a client with
its own pool, TLS context and imports costs more than all probes. What is sent to a known server goes through httpx.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import ssl
import stat
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

from tui import __version__
from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.core.threads import in_thread
from tui.providers.address import Address, display_place, host_port
from tui.text import clean_label

T = TypeVar("T")

TIMEOUT: Final = 2.0
"""Seconds for one answer."""
MAX_BODY: Final = 256 * 1024
MAX_HEADER: Final = 32 * 1024

SockAddress = tuple[Any, ...]


@record(frozen=True)
class Reply:
    """An answer: header names in lower case, the body as sent, cut at `MAX_BODY`; `seconds` from connecting to its end.

    Attributes:
        complete: All of the body came, as its length or its last chunk says.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    port: int = 0
    complete: bool = False

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 becomes U+FFFD. Not cleaned."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON, None where it is none."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None


# --- threads and names -------------------------------------------------------------------------------------------------


_lookups: dict[tuple[str, int], Future[list[Any]]] = {}


async def resolve(host: str, port: int) -> tuple[tuple[int, SockAddress], ...]:
    """Family and socket address of a host, IPv4 first for `localhost`; numbers and `localhost` need no resolver.

    A name that is being looked up already is not looked up twice, so that a dead resolver costs one thread a name.

    Raises:
        PaddockError: The name is not known.
    """
    if host == "localhost":
        return ((socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port, 0, 0)))
    flags = socket.AI_NUMERICHOST if "%" in host or ":" in host or host.replace(".", "").isdecimal() else 0

    def look_up() -> list[Any]:
        known: str | bytes = host.encode() if flags else host  # numbers as bytes: for text Python loads the codec of foreign names
        return list(socket.getaddrinfo(known, port, type=socket.SOCK_STREAM, flags=flags))

    try:
        if flags:
            found = look_up()
        else:
            pending = _lookups.get((host, port))
            if pending is None or pending.done():
                pending = _lookups[host, port] = in_thread(look_up)
            found = await asyncio.wrap_future(pending)
            _lookups.pop((host, port), None)
    except (OSError, UnicodeError) as error:
        raise PaddockError.of(
            f"The name {host} was not resolved",
            host,
            "Check the spelling, or write the IP address",
            FailureKind.UNREACHABLE,
        ) from error
    return tuple(dict.fromkeys((entry[0], tuple(entry[4])) for entry in found))


# --- connecting --------------------------------------------------------------------------------------------------------


async def connect(address: Address, timeout: float) -> socket.socket:
    """A connected, non-blocking socket; the host's addresses are tried in order within the time.

    Raises:
        PaddockError: Nothing listens, no route, no answer, no such socket; says which.
    """
    place = display_place(address.url)
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            if address.scheme == "unix":
                return await _connect(socket.AF_UNIX, address.path)
            targets = await resolve(address.host, address.port)
            for family, target in targets[:-1]:
                try:
                    return await _connect(family, target)
                except OSError:
                    continue
            return await _connect(*targets[-1])
    except TimeoutError as error:
        waited = f"after {time.monotonic() - started:.1f} s"
        raise PaddockError.of(
            f"{place} did not take the connection {waited}", place, "Check the address, the network and the firewall", FailureKind.TIMEOUT
        ) from error
    except OSError as error:
        raise _unreachable(error, address, place) from error


async def _connect(family: int, target: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


def _unreachable(error: OSError, address: Address, place: str) -> PaddockError:
    if address.scheme == "unix":
        return _socket_problem(error, address.path)
    if error.errno == errno.ECONNREFUSED:
        return PaddockError.of(
            f"{place} refused the connection: nothing is listening", place, "Start the server, or check the port", FailureKind.UNREACHABLE
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return PaddockError.of(
            "Too many files are open to connect", place, "Raise the limit of open files (ulimit -n)", FailureKind.UNREACHABLE
        )
    words = os.strerror(error.errno).lower() if error.errno else "the network gave no reason"
    return PaddockError.of(f"{place} cannot be reached: {words}", place, "Check the address and the network", FailureKind.UNREACHABLE)


def _socket_problem(error: OSError, path: str) -> PaddockError:
    shown = clean_label(path, 120)
    try:
        is_socket = stat.S_ISSOCK(Path(path).stat().st_mode)
    except PermissionError:
        return PaddockError.of(f"You may not look at the socket {shown}", shown, "Ask its owner for access", FailureKind.UNREACHABLE)
    except OSError:
        return PaddockError.of(f"There is no socket {shown}", shown, "Start the server, or check the path", FailureKind.UNREACHABLE)
    if not is_socket:
        return PaddockError.of(f"{shown} is not a socket", shown, "Write the path of the server's socket", FailureKind.BAD_REQUEST)
    if isinstance(error, PermissionError):
        return PaddockError.of(f"You may not use the socket {shown}", shown, "Ask its owner for access", FailureKind.UNREACHABLE)
    return PaddockError.of(f"Nobody listens on the socket {shown}", shown, "Start the server", FailureKind.UNREACHABLE)


# --- asking ------------------------------------------------------------------------------------------------------------


async def get(
    address: Address,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    verify: bool | str = True,
) -> Reply:
    """GET `address.url + path`: no redirects, no compression, no cookies, one connection.

    Args:
        address: Where; its path prefix is kept.
        path: Begins with a slash.
        headers: Further headers, for addresses the user gave a key for.
        timeout: Seconds for all of it.
        verify: For https: check the certificate, or the path of a CA file.

    Raises:
        PaddockError: Unreachable, silent, or not HTTP.
    """
    place = display_place(address.url)
    started = time.monotonic()
    writer: asyncio.StreamWriter | None = None
    sock = await connect(address, timeout)
    try:
        async with asyncio.timeout(max(0.05, timeout - (time.monotonic() - started))):
            reader, writer = await _open(sock, address, verify)
            prefix = "" if address.scheme == "unix" else address.path
            writer.write(_request(address, prefix + path, headers or {}))
            status, found, body, complete = await _read(reader, place)
        return Reply(status, found, body, time.monotonic() - started, address.port, complete)
    except TimeoutError as error:
        raise PaddockError.of(
            f"{place} takes connections but did not answer in {time.monotonic() - started:.0f} s",
            place,
            "Wait if it is starting, else restart it",
            FailureKind.TIMEOUT,
        ) from error
    except ssl.SSLError as error:
        raise _tls_problem(error, place) from error
    except OSError as error:
        raise PaddockError.of(
            f"{place} broke the connection off", place, "Try again; if it stays so, restart the server", FailureKind.PROTOCOL
        ) from error
    finally:
        if writer is not None:
            writer.transport.abort()
        else:
            sock.close()


async def _open(sock: socket.socket, address: Address, verify: bool | str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.scheme != "https":
        return await asyncio.open_connection(sock=sock, limit=MAX_HEADER)
    try:
        context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    except (OSError, ValueError) as error:
        shown = clean_label(str(verify), 120)
        raise PaddockError.of(
            f"The CA file {shown} cannot be used", "verify_tls", "Name a readable file with certificates in PEM form", FailureKind.CONFIG
        ) from error
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return await asyncio.open_connection(sock=sock, limit=MAX_HEADER, ssl=context, server_hostname=address.host)


def _request(address: Address, path: str, headers: Mapping[str, str]) -> bytes:
    host = "localhost" if address.scheme == "unix" else host_port(address.host.partition("%")[0], address.port)
    lines = {
        "Host": host,
        "User-Agent": f"paddock/{__version__}",
        "Accept": "application/json, text/plain, */*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
    }
    text = (
        f"GET {path or '/'} HTTP/1.1\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in lines.items() if not set("\r\n") & set(name + value))
        + "\r\n"
    )
    return text.encode("latin-1", "replace")


async def _read(reader: asyncio.StreamReader, place: str) -> tuple[int, dict[str, str], bytes, bool]:
    start = await reader.read(5)
    while start and len(start) < 5 and b"HTTP/".startswith(start):
        more = await reader.read(5 - len(start))
        if not more:
            break
        start += more
    if not start.startswith(b"HTTP/"):
        raise _not_http(start, place)
    try:
        head = start + await reader.readuntil(b"\n")
        status = int(head.split(None, 2)[1])
        headers: dict[str, str] = {}
        size = 0
        while (line := await reader.readuntil(b"\n")).strip():
            size += len(line)
            if size > MAX_HEADER:
                raise ValueError
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
    except (ValueError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise PaddockError.of(f"{place} sent an answer that is not HTTP", place, "Check the port", FailureKind.PROTOCOL) from error
    body, complete = await _body(reader, headers)
    if status == 400 and b"HTTPS" in body:
        raise PaddockError.of(
            f"{place} does not speak plain HTTP (answer looks like TLS)", place, "Write the address with https://", FailureKind.TLS
        )
    return status, headers, body, complete


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> tuple[bytes, bool]:
    """What came of the body, at most `MAX_BODY`, and whether that is all; a body that breaks off is judged as far as it came."""
    try:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return await _chunks(reader)
        length = headers.get("content-length", "")
        told = int(length) if length.isdecimal() and len(length) < 19 else -1
        wanted = min(told, MAX_BODY) if told >= 0 else MAX_BODY
        parts: list[bytes] = []
        while wanted > 0 and (part := await reader.read(min(wanted, 65536))):
            parts.append(part)
            wanted -= len(part)
        body = b"".join(parts)
        return body, len(body) == told
    except ConnectionError:
        return b"", False


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    total = 0
    complete = False
    try:
        while total < MAX_BODY:
            line = (await reader.readuntil(b"\n")).split(b";")[0].strip()
            size = int(line or b"0", 16)
            if size <= 0:
                complete = line.strip(b"0") == b"" != line
                break
            parts.append(await reader.readexactly(min(size, MAX_BODY - total)))
            total += len(parts[-1])
            if total < MAX_BODY:
                await reader.readexactly(2)
    except asyncio.IncompleteReadError as error:
        parts.append(error.partial)
    except (ValueError, asyncio.LimitOverrunError):
        pass
    return b"".join(parts), complete


def _not_http(start: bytes, place: str) -> PaddockError:
    if not start:
        return PaddockError.of(
            f"{place} closed the connection without an answer",
            place,
            "If it speaks TLS, write the address with https://",
            FailureKind.PROTOCOL,
        )
    if start.startswith(b"SSH-"):
        looks, remedy = "SSH", "That is the port of an SSH server; write the port of the model server"
    elif start[:2] in (b"\x15\x03", b"\x16\x03"):
        looks, remedy = "TLS", "Write the address with https://"
    else:
        looks, remedy = "another protocol", "Check the port"
    kind = FailureKind.TLS if looks == "TLS" else FailureKind.PROTOCOL
    return PaddockError.of(f"{place} does not speak HTTP (answer looks like {looks})", place, remedy, kind)


def _tls_problem(error: ssl.SSLError, place: str) -> PaddockError:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = clean_label(error.verify_message or "it cannot be checked", 120)
        return PaddockError.of(
            f"The certificate of {place} was refused: {why}", place, "Name its CA file in verify_tls of this provider", FailureKind.TLS
        )
    return PaddockError.of(f"{place} does not speak TLS", place, "Write the address with http://", FailureKind.TLS)
