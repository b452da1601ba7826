"""The address of a server that is talked to, taken apart, and how near it is."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.record import record
from tui.providers.address import parse
from tui.providers.errors import failed
from tui.text import clean_name

_NEAR_NAMES: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_PORTS: Final = {"http": 80, "https": 443}


@record(frozen=True)
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
    try:
        address = parse(url)
    except PaddockError as error:
        what = error.failure.what
        raise _bad_url(url, f"{what[:1].lower()}{what[1:]}") from None
    if address.scheme not in _PORTS:
        raise _bad_url(url, "it must begin with http:// or https://")
    bracketed = f"[{address.host}]" if ":" in address.host else address.host
    number = address.port or _PORTS[address.scheme]
    return Base(
        origin=f"{address.scheme}://{bracketed}:{number}",
        host=address.host,
        shown=clean_name(f"{bracketed}:{number}"),
        prefix=address.path,
        secure=address.scheme == "https",
    )


def _bad_url(url: str, why: str) -> PaddockError:
    shown = clean_name(re.sub(r"//[^/@]*@", "//", url.strip()), 100)
    return failed(
        Failure(f"The address {shown!r} cannot be used: {why}", "url", "Write it like http://127.0.0.1:11434", FailureKind.CONFIG)
    )


def is_near(host: str) -> bool:
    """Whether a host is this machine or on a private network; names count by their form, nothing is looked up."""
    name = host.strip("[]").split("%", 1)[0].rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(_NEAR_NAMES)
    return address.is_loopback or address.is_private or address.is_link_local or address.is_unspecified


def is_local_name(host: str) -> bool:
    """Whether a host names this machine or a container's host, by its form."""
    name = host.strip("[]").split("%", 1)[0].lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith((".localhost", ".local", ".internal")) or name == socket.gethostname().lower()
    return True
