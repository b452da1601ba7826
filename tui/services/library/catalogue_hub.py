"""The hub as the settings want it: which address, with which key, and whether it may be asked at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tui.core.clock import SYSTEM, Clock
from tui.providers.hub import Hub, hub_url
from tui.services.library.catalogue_list import may_ask

if TYPE_CHECKING:
    from tui.config.settings import Settings


def open_hub(settings: Settings, environ: Mapping[str, str], secret: Callable[[str], str], clock: Clock = SYSTEM, *, demo: str = "") -> Hub:
    """The hub to ask; close it.

    Args:
        settings: The network, the key.
        environ: `HF_ENDPOINT` names another hub; it gets no key.
        secret: Gives the key of a reference.
        clock: For elapsed times.
        demo: The address of the demo's server, which is a hub too.

    Raises:
        PaddockError: The network is offline (kind REFUSED), or the address is none.
    """
    url = demo or hub_url(environ)
    may_ask(settings, url)
    token = settings.models.hf_token
    key = (lambda: token.text if token.literal else secret(token.text)) if token else None
    return Hub(url, key=key, clock=clock)
