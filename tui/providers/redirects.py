"""Redirects, where they are followed at all: to where, and never with a key that belongs elsewhere (P53)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

from tui.core.errors import Failure, PaddockError
from tui.providers import probe
from tui.providers.base_url import is_near, parse_base
from tui.providers.errors import Asked, protocol
from tui.providers.http import Http

MAX_REDIRECTS: Final = 3
HUGGING_FACE: Final = frozenset({"https://hf.co:443", "https://huggingface.co:443"})
"""The origins of Hugging Face's two names."""


def is_hugging_face(url: str) -> bool:
    """Whether a key for Hugging Face may go to this address: its two names, TLS, the usual port."""
    try:
        return parse_base(url).origin in HUGGING_FACE
    except PaddockError:
        return False


class Moving(Http):
    """`Http` that tells where a redirect leads.

    Attributes:
        moved: The `Location` of the last answer that was one, as it came; empty it before asking.
    """

    moved: str = ""

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes, asked: Asked) -> Failure:
        if status < 400:
            self.moved = headers.get("location", "")
        return super()._refusal(status, headers, body, asked)


async def next_hop(url: str, location: str, http: Http, *, anywhere: bool, same: bool = False) -> tuple[str, str, str]:
    """Where a redirect leads: address, origin and path.

    Args:
        url: What was asked for.
        location: What the answer said.
        http: Who answered.
        anywhere: Other public hosts are expected.
        same: Another path of the same host is.

    Raises:
        PaddockError: It is not followed: to another scheme than http and https, from https to http, from the world into a
            private network, or to another host where that is not expected (P53).
    """
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or parts.username is not None or not parts.hostname or not target.isascii():
            raise ValueError(target)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        base = parse_base(f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}")
    except (ValueError, PaddockError):
        raise protocol(http.target, "it redirects to no address") from None
    ours = (same and base.origin == http.base.origin) or (http.base.origin in HUGGING_FACE and base.origin in HUGGING_FACE)
    if not ours and (not anywhere or (http.base.secure and not base.secure)):
        raise protocol(http.target, "it redirects to another address")
    if not is_near(http.base.host) and await _leads_inside(base.host, base.origin):
        raise protocol(http.target, "it redirects into a private network")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return target, base.origin, path


async def _leads_inside(host: str, origin: str) -> bool:
    """Whether a host is no public one, by its form or by what its name resolves to."""
    from tui.providers.client import proxy

    if is_near(host):
        return True
    if proxy(parse_base(origin)) is not None:
        return False  # the proxy resolves names, and this machine may be unable to
    return any(not _public(str(address[0])) for _family, address in await probe.resolve(host, 0))


def _public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_global)
