"""What the rules need, over the hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui.core.models import ProviderState, RunningModel
from tui.services.machine import own_servers

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
        return own_servers(self._host.watching, demo=self._host.demo)
