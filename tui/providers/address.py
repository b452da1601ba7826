"""Addresses of servers: what people type, what OLLAMA_HOST holds, and what may be shown. Pure functions.

An address in its normal form is `scheme://host:port/prefix` with the port always written out, so that comparing two is
comparing text, or `unix:///path/of.sock`. Names and passwords in an address are dropped where it is read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.providers.catalogue import Kind

MAX_LENGTH: Final = 2048
MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path that the kernel takes, its closing NUL not counted."""
OLLAMA_PORT: Final = 11434

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_ZONE: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_API_TAILS: Final = (
    *("/chat/completions", "/completions", "/embeddings", "/models", "/v1"),
    *("/api/tags", "/api/chat", "/api/generate", "/api/version", "/api/ps"),
)
_PRIVATE_ENDINGS: Final = (".local", ".lan", ".internal", ".home.arpa", ".localhost", ".home", ".ts.net")
_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")


@record(frozen=True)
class Address:
    """A server's address in parts.

    Attributes:
        scheme: `http`, `https` or `unix`.
        host: Lower case, ASCII (IDNA), an IPv6 address without brackets; for `unix` empty.
        port: As written, else the scheme's (0 where neither is written, and for `unix`).
        path: Prefix with a leading and no trailing slash, or empty; for `unix` the socket.
        scheme_given: The scheme was written.
        port_given: The port was written.
        user_dropped: A name or password was written and dropped.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    scheme_given: bool = False
    port_given: bool = False
    user_dropped: bool = False

    @property
    def url(self) -> str:
        """The normal form; without a port where none is known yet."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        if not self.port:
            return f"{self.scheme}://{host_port(self.host, 0).removesuffix(':0')}{self.path}"
        return f"{self.scheme}://{host_port(self.host.replace('%', '%25'), self.port)}{self.path}"


@record(frozen=True)
class Candidate:
    """An address to try, and why, in words for people."""

    url: str
    why: str


def host_port(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(text: str) -> Address:
    """Read what a person typed; an unspecified address (`0.0.0.0`, `::`) becomes the loopback one.

    Raises:
        PaddockError: It is no address; `where` names the field that is wrong.
    """
    typed = text.strip().strip("\"'")
    if not typed:
        raise _refused("The address is empty", "address", "Write a host, host:port or http://…")
    if len(typed) > MAX_LENGTH:
        raise _refused(f"The address is {len(typed):,} characters long", "address", f"Write at most {MAX_LENGTH:,} characters")
    if any(char.isspace() or not char.isprintable() for char in typed):
        raise _refused("The address holds a space or an invisible character", "address", "Write it without")
    match = _SCHEME.match(typed)
    scheme = match[1].lower() if match else ""
    rest = typed[match.end() :] if match else typed
    if scheme == "unix":
        return _unix(rest)
    if scheme and scheme not in _DEFAULT_PORTS:
        raise _refused(f"The scheme {clean_name(scheme, 20)}:// is not for model servers", "scheme", "Write http://, https:// or unix://")
    authority, slash, path = rest.partition("/")
    authority, _, _ = authority.partition("?")
    authority, _, _ = authority.partition("#")
    _, at, authority = authority.rpartition("@")
    host, port = _split(authority)
    number = _port(port)
    return Address(
        scheme or "http",
        _host(host),
        _DEFAULT_PORTS.get(scheme, 0) if number is None else number,
        _prefix(slash + path),
        bool(scheme),
        number is not None,
        bool(at),
    )


def candidates(text: str, kinds: Mapping[str, Kind]) -> tuple[Candidate, ...]:
    """The addresses that a typed text may mean, in the order to try them.

    A bare host is tried on every port of the catalogue over http, then as https on 443. A written port is
    tried over http, then https; a written scheme is kept.

    Raises:
        PaddockError: It is no address.
    """
    from tui.providers.catalogue import default_ports  # pydantic, which a status line has no time for

    typed = parse(text)
    if typed.scheme == "unix":
        return (Candidate(typed.url, "the socket you named"),)

    def at(scheme: str, port: int, why: str) -> Candidate:
        return Candidate(Address(scheme, typed.host, port, typed.path).url, why)

    if typed.scheme_given and (typed.port_given or typed.scheme == "https"):
        return (at(typed.scheme, typed.port, "the address you typed"),)
    if typed.port_given:
        order = ("https", "http") if typed.port in (443, 8443) else ("http", "https")
        return tuple(at(scheme, typed.port, f"the port you typed, {scheme}") for scheme in order)
    first = (at("http", 80, "the address you typed"),) if typed.scheme_given else ()
    usual = tuple(at("http", port, port_name(port, kinds)) for port in default_ports(kinds))
    return (*first, *usual) if typed.scheme_given else (*usual, at("https", 443, "https"))


def port_name(port: int, kinds: Mapping[str, Kind]) -> str:
    """The kind that a port is first known for: `Ollama`; empty for none."""
    known = [kind for kind in kinds.values() if port in kind.ports]
    return min(known, key=lambda kind: (kind.ports.index(port), kind.rank)).name if known else ""


def ollama_host(environ: Mapping[str, str]) -> str | None:
    """Where Ollama's own client would connect, after envconfig/config.go; None where OLLAMA_HOST is unset or unusable.

    Without a scheme the default port is 11434, with `http://` 80, with `https://` 443; a port out of range falls
    back to it; an unspecified or missing host means this machine.
    """
    value = environ.get("OLLAMA_HOST", "").strip().strip("\"'").strip()
    if not value:
        return None
    scheme, found, rest = value.partition("://")
    if not found:
        scheme, rest, default = "http", value, OLLAMA_PORT
    else:
        scheme = scheme.lower()
        default = _DEFAULT_PORTS.get(scheme, OLLAMA_PORT)
    if value == "ollama.com":
        scheme, default = "https", 443
    if scheme not in _DEFAULT_PORTS:
        return None
    authority, slash, path = rest.partition("/")
    try:
        host, port = _split(authority.rpartition("@")[2])
        number = int(port) if re.fullmatch(r"[0-9]{1,6}", port) and 0 < int(port) <= 65535 else default
        return Address(scheme, _host(host or "127.0.0.1"), number, (slash + path).rstrip("/")).url
    except PaddockError:
        return None


def is_loopback(url: str) -> bool:
    """Whether the address is this machine itself (a tunnel may still lead elsewhere)."""
    parts = _parts(url)
    if parts is None:
        return False
    if parts.scheme == "unix" or parts.host == "localhost" or parts.host.endswith(".localhost"):
        return True
    number = _number(parts.host)
    return number is not None and number.is_loopback


def is_private(url: str) -> bool:
    """Whether the address is of this machine or a private network, so that plain http and no proxy are in order."""
    parts = _parts(url)
    if parts is None:
        return False
    number = _number(parts.host)
    if number is not None:
        return number.is_private or number.is_link_local or number.is_loopback or (number.version == 4 and number in _SHARED)
    return is_loopback(url) or "." not in parts.host or parts.host.endswith(_PRIVATE_ENDINGS)


def origin(url: str) -> str:
    """Scheme, host and port: what a key is bound to. `localhost` and 127.0.0.1 differ, as they may lead to two servers."""
    parts = _parts(url)
    if parts is None:
        return ""
    return parts.url if parts.scheme == "unix" else Address(parts.scheme, parts.host, parts.port).url


def display_url(url: str) -> str:
    """The address for screens and logs: without name and password, anything odd made visible."""
    parts = _parts(url)
    if parts is None:
        return clean_name(re.sub(r"^([^/@]*//)?.*@", r"\1", url), 200)
    return clean_name(parts.url, 200)


def display_place(url: str) -> str:
    """`host:port` for tables and messages; a scheme only where it is not http."""
    return display_url(url).removeprefix("http://")


def ssh_command(host: str, port: int) -> str:
    """The tunnel that makes a port of another machine's loopback reachable here, one number above the port."""
    return f"ssh -L {port + 1 if port < 65535 else 60000}:127.0.0.1:{port} {host}"


def _parts(url: str) -> Address | None:
    try:
        parts = parse(url)
    except PaddockError:
        return None
    return parts if parts.port or parts.scheme == "unix" else Address("http", parts.host, 80, parts.path)


def _split(authority: str) -> tuple[str, str]:
    """Host and port as written; a bare IPv6 address has no port."""
    if authority.startswith("["):
        host, closed, port = authority[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise _refused("The brackets around the IPv6 address do not close", "host", "Write it like [::1]:8080")
        return host, port[1:]
    if authority.count(":") > 1:
        return authority, ""
    host, _, port = authority.partition(":")
    return host, port


def _port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 0 < int(text) <= 65535:
        shown = f"The port {text[:12]} is out of range" if text.isdecimal() else "The port is not a number"
        raise _refused(shown, "port", "Write a number from 1 to 65535")
    return int(text)


def _host(text: str) -> str:
    if not text:
        raise _refused("The address has no host", "host", "Write a name or an IP address before the port")
    name = unquote(text) if "%25" in text else text
    number = _number(name)
    if number is not None:
        if number.is_unspecified:
            return "127.0.0.1" if number.version == 4 else "::1"
        if number.version == 4:
            return str(number)
        address, percent, zone = name.partition("%")
        if percent and not _ZONE.match(zone):
            raise _refused("The zone of the IPv6 address is not a name of an interface", "host", "Write it like [fe80::1%eth0]:8080")
        return f"{ipaddress.ip_address(address).compressed}{percent}{zone}"
    if ":" in name:
        raise _refused(f"{clean_name(text, 60)} is not an IPv6 address", "host", "Write it like [::1]:8080")
    try:
        ascii_name = (name if name.isascii() else name.encode("idna").decode("ascii")).lower().rstrip(".")
    except UnicodeError:
        ascii_name = ""
    labels = ascii_name.split(".")
    if len(ascii_name) > 253 or not all(_LABEL.match(label) for label in labels) or re.fullmatch(r"[0-9.]+", ascii_name):
        raise _refused(f"{clean_name(text, 60)} is not a host name", "host", "Write a name like gpu2 or an address like 192.168.1.20")
    return ascii_name


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(number, ipaddress.IPv6Address) and number.ipv4_mapped:
        return number.ipv4_mapped
    return number


def _prefix(path: str) -> str:
    """The part before the API's own paths: people paste whole addresses of endpoints."""
    clean = quote(path.partition("?")[0].partition("#")[0].rstrip("/"), safe="/%:@!$&'()*+,;=~")
    again = True
    while again:
        again = False
        for tail in _API_TAILS:
            if clean.endswith(tail):
                clean, again = clean[: -len(tail)].rstrip("/"), True
    return clean


def _unix(path: str) -> Address:
    name = unquote(path)
    if not name.startswith("/"):
        raise _refused("The path of the socket is not absolute", "socket", "Write it like unix:///run/user/1000/server.sock")
    if len(name.encode("utf-8", "replace")) > MAX_SOCKET_PATH:
        raise _refused(
            f"The path of the socket is longer than {MAX_SOCKET_PATH} bytes",
            clean_name(name, 60),
            "Make the socket in a folder with a shorter path",
        )
    return Address("unix", "", 0, name, True)


def _refused(what: str, where: str, remedy: str) -> PaddockError:
    return PaddockError.of(what, where, remedy, FailureKind.BAD_REQUEST)
