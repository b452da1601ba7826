"""`limits.idle_unload`: models of servers here that nobody used for so long are unloaded, by the process that watches the rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tui.core.capabilities import Capability
from tui.core.errors import PaddockError
from tui.core.models import ModelKey, RunningModel, Severity
from tui.services.limits import Tell
from tui.services.monitor.host import MonitorHost
from tui.services.monitor.uses import Uses
from tui.services.monitor.working import works
from tui.text import duration

AFTER_FAILURE: Final = 600.0
"""Seconds until an unload that failed is tried again."""

Works = Callable[[RunningModel], Awaitable[bool]]


class Unloading:
    """Unloads models for a reason, says so, and leaves alone for a while what would not go.

    Args:
        host: Unloads, tells the user, and knows the settings.
        uses: What is used.
        tell: Told every deed of a limit.
        working: Whether the processes of a model work now; tests give their own.
    """

    def __init__(self, host: MonitorHost, uses: Uses, tell: Tell, working: Works | None = None) -> None:
        self._host = host
        self._uses = uses
        self._tell = tell
        self._working = working or self._works
        self._failed: dict[ModelKey, float] = {}

    def may(self, model: RunningModel) -> bool:
        """Whether it may be unloaded: neither wanted to stay, nor at work, and its server knows how and is no other person's."""
        settings, provider = self._host.settings(), self._host.watching.provider(model.provider)
        if settings.security.access == "look" or provider is None or Capability.UNLOAD not in provider.capabilities:
            return False
        watch = self._host.watching.watch(model.provider)
        if watch is not None and watch.holder is not None and watch.holder.other_person:  # whether it works is hidden from us
            return False
        failed = self._failed.get((model.provider, model.key))
        if failed is not None and 0 <= self._host.clock.monotonic() - failed < AFTER_FAILURE:
            return False
        return not self._uses.protected(model) and not self._uses.busy(model)

    async def unload(self, model: RunningModel, why: str) -> bool:
        """Unload it, unless it turns out to work; whether it is gone."""
        target = f"{model.provider}/{model.name}"
        if await self._working(model):
            self._uses.mark(model)
            return False
        if not self.may(model):
            return False
        try:
            await self._host.unload(model.provider, model.key)
        except PaddockError as error:
            self._failed[model.provider, model.key] = self._host.clock.monotonic()
            self._tell("not unloaded", target, f"{why}: {error.failure.what}")
            self._host.say(f"{model.name} could not be unloaded: {error.failure.sentence()}", Severity.WARNING, error.failure)
            return False
        if any((one.provider, one.key) == (model.provider, model.key) for one in self._host.watching.running.value):
            self._failed[model.provider, model.key] = self._host.clock.monotonic()  # the user stopped it
            return False
        self._failed.pop((model.provider, model.key), None)
        self._tell("unloaded", target, why)
        self._host.say(f"{model.name} on {model.provider} was unloaded: {why}")
        return True

    async def _works(self, model: RunningModel) -> bool:
        watch = self._host.watching.watch(model.provider)
        return await works(self._uses.pids(model), watch.holder if watch is not None else None)


class Idle:
    """Looks for idle models.

    Args:
        host: Knows the settings.
        uses: What is used; `look` is called before.
        unloading: Unloads.
    """

    def __init__(self, host: MonitorHost, uses: Uses, unloading: Unloading) -> None:
        self._host = host
        self._uses = uses
        self._unloading = unloading

    async def look(self) -> None:
        """Unload what is idle; to be called every few seconds."""
        limit = self._host.settings().limits.idle_unload
        if not limit:
            return
        for key in [(model.provider, model.key) for model in self._uses.here()]:
            model = next((one for one in self._uses.here() if (one.provider, one.key) == key), None)
            idle = self._uses.idle(model) if model is not None else None
            if model is None or idle is None or idle < limit or not self._unloading.may(model):
                continue
            await self._unloading.unload(model, f"nobody used it for {duration(idle)}, limits.idle_unload is {duration(limit)}")
            self._uses.look()  # that can take minutes, in which others are used
