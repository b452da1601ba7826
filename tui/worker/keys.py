"""The keys of jobs: each goes to the address it belongs to, and to no port that another person holds (P53, P59)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from tui.config.secrets import resolve_secret
from tui.config.settings import Settings
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Endpoint
from tui.core.threads import in_daemon_thread
from tui.providers import ports
from tui.providers.address import display_url, is_loopback, origin
from tui.services.audit import Audit
from tui.services.ports import Ports
from tui.store.meta import Meta
from tui.text import clean_name

LOOK_WITHIN: Final = 1.0
"""Seconds: the queue waits for this look, and everything in it."""


class Keys:
    """Resolves the references of endpoints as they were when their jobs were queued."""

    def __init__(self, settings: Callable[[], Settings], meta: Meta, audit: Audit) -> None:
        self._settings = settings
        self._meta = meta
        self._audit = audit

    def key(self, endpoint: Endpoint) -> str:
        """The key of a server.

        Raises:
            PaddockError: It is not there, or the settings hold it for another address now.
        """
        settings = self._settings()
        source, _, name = endpoint.key.partition(":")
        provider = settings.providers.get(name) if source == "config" else None
        if provider is not None and origin(provider.url) != origin(endpoint.url):
            raise PaddockError.of(
                f"the key of {clean_name(name, 60)} is for {display_url(provider.url)} now",
                display_url(endpoint.url),
                "Cancel this, and queue it for the new address",
                FailureKind.AUTH,
            )
        return resolve_secret(endpoint.key, settings=settings)

    async def check(self, endpoint: Endpoint) -> None:
        """Before a job starts: whether its key may be sent.

        Raises:
            PaddockError: See `key`; or another person's account holds the port, and nobody allowed that.
        """
        if not self.key(endpoint) or not is_loopback(endpoint.url):
            return
        parts = urlsplit(endpoint.url)
        if parts.scheme not in ("http", "https"):
            return
        number = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                holder = await in_daemon_thread(lambda: ports.holder(number, host=parts.hostname or "127.0.0.1"))
        except TimeoutError:
            what = "nothing was sent: who holds the port could not be found out in time"
            raise PaddockError.of(what, display_url(endpoint.url), "It is looked at again", FailureKind.TIMEOUT) from None
        said = Ports(_ask_nobody, self._audit)
        said.open(self._meta)  # anew each time: the answer may have been given since
        if holder is not None and not said.trusted(endpoint.url, holder):
            raise PaddockError.of(
                f"nothing was sent: the port is held by another person's account ({holder.words()})",
                display_url(endpoint.url),
                "Open Paddock and allow it, or check who runs that server",
                FailureKind.REFUSED,
            )


async def _ask_nobody(_text: str, _choices: Sequence[tuple[str, str]]) -> str:
    return ""
