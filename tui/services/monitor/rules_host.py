"""What the rules need, over the hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui.core.models import Location, Origin, ProviderState, RunningModel

if TYPE_CHECKING:
    from tui.providers.ports import Holder
    from tui.services.monitor.host import MonitorHost


class AppRulesHost:
    """`alarms.RulesHost` of an app."""

    def __init__(self, host: MonitorHost) -> None:
        self._host = host
        self.clock = host.clock
        self.paths = host.paths
        self.settings = host.settings
        self.live = host.live
        self.say = host.say
        self.audit = host.audit
        self.environ = host.environ

    def states(self) -> Sequence[ProviderState]:
        """All providers."""
        return self._host.watching.providers.value

    def running(self) -> Sequence[RunningModel]:
        """What is loaded."""
        return self._host.watching.running.value

    async def own_servers(self) -> tuple[Sequence[Holder], int]:
        """Who holds the ports of the providers on this machine, and bytes of GPU memory their models have."""
        watching = self._host.watching
        names = {
            one.name
            for one in watching.providers.value
            if one.location is Location.HERE and (one.origin is not Origin.DEMO or self._host.demo)
        }
        watches = [watching.watch(name) for name in names]
        holders = [watch.holder for watch in watches if watch is not None and watch.holder is not None]
        return holders, sum(model.vram or 0 for model in watching.running.value if model.provider in names)
