"""Reads one address out in the world, by GET: within bounds, and with redirects followed as far as that is safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from tui.core.clock import SYSTEM, Clock
from tui.core.errors import PaddockError
from tui.core.models import Endpoint
from tui.providers.base_url import parse_base
from tui.providers.errors import protocol
from tui.providers.http import Reply
from tui.providers.redirects import MAX_REDIRECTS, Moving, is_hugging_face, next_hop

_SAFE: Final = "/?&=%:@!$'()*+,;~-._"


class Reader:
    """Reads from one address; close it.

    Args:
        url: Where; what stands behind the host is kept for `place`.
        label: What answers there, in words.
        key: Gives a key for Hugging Face; it is asked for, and sent, only where the address is Hugging Face's (P53).
        headers: Sent along.
        clock: For elapsed times.

    Raises:
        PaddockError: The address cannot be used (kind CONFIG).
    """

    def __init__(
        self,
        url: str,
        label: str,
        *,
        key: Callable[[], str] | None = None,
        headers: Mapping[str, str] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._label, self._key, self._headers, self._clock = label, key, dict(headers or {}), clock
        base = parse_base(url)
        parts = urlsplit(url.strip())
        self.place = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_SAFE)
        """What the address names, behind the host."""
        self.host = base.shown.removesuffix(":443")
        self.origin = base.origin
        self.with_key = False
        """Whether a key was sent."""
        self._http = self._open(base.origin)

    def _open(self, origin: str) -> Moving:
        give = self._key if is_hugging_face(origin) else None

        def resolve(_reference: str) -> str:
            found = give() if give is not None else ""
            self.with_key = bool(found)
            return found

        endpoint = Endpoint("reader", "reader", origin, key="key" if give else "", headers=self._headers, timeout=10.0, retries=0)
        return Moving(endpoint, resolve, self._clock, label=self._label)

    async def get(self, place: str, timeout: float, limit: int, *, anywhere: bool = False) -> Reply:
        """What is at a place: everything behind the host's name, with the query.

        Args:
            place: See `place`.
            timeout: Seconds of each request.
            limit: Bytes.
            anywhere: Follow redirects to other public hosts; else only where the host stays the same (or is Hugging Face's other name).

        Raises:
            PaddockError: It cannot be had; redirects are followed `MAX_REDIRECTS` times.
        """
        http, url = self._http, f"{self.origin}{place}"
        for _hop in range(MAX_REDIRECTS + 1):
            http.moved = ""
            try:
                return await http.get(place, timeout=timeout, limit=limit)
            except PaddockError:
                if not http.moved:
                    raise
                url, origin, place = await next_hop(url, http.moved, http, anywhere=anywhere, same=True)
            finally:
                if http is not self._http:
                    await http.aclose()
            http = self._open(origin)
        raise protocol(self._http.target, "it redirects again and again")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()
