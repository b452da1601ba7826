"""Limits that act without being asked: idle models, and memory that runs out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tui.core.monitor import Loaded, ServerFigures
from tui.services.limits import Samples, Tell
from tui.services.monitor.host import MonitorHost
from tui.services.monitor.idle import Idle, Unloading, Works
from tui.services.monitor.pressure import Pressure
from tui.services.monitor.uses import Uses

EVERY: Final = 5.0
"""Seconds between two looks."""


class Acting:
    """All of it. `look` is called every `EVERY` seconds in every process; only one of them, which `keeps` the rules, acts.

    Args:
        host: The hub, or a worker.
        tell: Told every deed of a limit.
        samples: Monotonic time and sample of the last minute, oldest first.
        loaded: What else is known of loaded models.
        figures: What servers say of their work, by provider.
        keeps: Whether this process holds the rules.
        working: See `idle.Unloading`.
    """

    def __init__(
        self,
        host: MonitorHost,
        tell: Tell,
        samples: Callable[[], Samples],
        *,
        loaded: Callable[[], Sequence[Loaded]] = lambda: (),
        figures: Callable[[], Mapping[str, ServerFigures]] = dict,
        keeps: Callable[[], bool] = lambda: True,
        working: Works | None = None,
    ) -> None:
        self.uses = Uses(host, loaded, figures)
        self.unloading = Unloading(host, self.uses, tell, working)
        self._keeps = keeps
        self._idle = Idle(host, self.uses, self.unloading)
        self._pressure = Pressure(host, self.uses, self.unloading, tell, samples)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Note what is used, and act."""
        self.uses.look()
        if self._keeps():
            await self._idle.look()
            await self._pressure.look()
