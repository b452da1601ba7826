"""When loaded models were last used, as far as their servers and this program tell; what may be in use counts as used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tui.core.models import ModelKey, ProviderStatus, RunningModel
from tui.core.monitor import Loaded, ServerFigures
from tui.core.names import same
from tui.core.record import record
from tui.services.machine import is_here
from tui.services.monitor.host import MonitorHost
from tui.services.pins import pinned

MOVED: Final = 1.0
"""Seconds by which `expires_at` must move to be no rounding: the server moves it when a request ends."""
GAP: Final = 60.0
"""Seconds between two looks from which on this machine slept: that is no idle time of a model."""


@record(frozen=True)
class _Seen:
    used: float
    expires_at: float | None


class Uses:
    """Follows what is loaded; used on the engine's loop.

    Args:
        host: Tells what is loaded, and what we are writing.
        loaded: What else is known of loaded models.
        figures: What servers say of their work.
    """

    def __init__(
        self,
        host: MonitorHost,
        loaded: Callable[[], Sequence[Loaded]] = lambda: (),
        figures: Callable[[], Mapping[str, ServerFigures]] = dict,
    ) -> None:
        self._host = host
        self._loaded = loaded
        self._figures = figures
        self._seen: dict[ModelKey, _Seen] = {}
        self._looked = float("-inf")

    def look(self) -> None:
        """Note what is used now; to be called every few seconds, by everybody who asks for idle times."""
        now = self._host.clock.monotonic()
        slept = now - self._looked if now - self._looked > GAP else 0.0
        self._looked = now
        seen: dict[ModelKey, _Seen] = {}
        for model in self._host.watching.running.value:
            key = (model.provider, model.key)
            before = self._seen.get(key)
            moved = before is not None and abs((model.expires_at or 0.0) - (before.expires_at or 0.0)) > MOVED
            used = now if before is None or moved or self.busy(model) else min(now, before.used + slept)
            known = self._known(model)
            if known is not None and known.last_used is not None:  # an answer of another process of ours
                used = max(used, min(now, now - (self._host.clock.time() - known.last_used)))
            seen[key] = _Seen(used, model.expires_at)
        self._seen = seen

    def mark(self, model: RunningModel) -> None:
        """It was found at work."""
        key, now = (model.provider, model.key), self._host.clock.monotonic()
        self._seen[key] = _Seen(now, model.expires_at)

    def idle(self, model: RunningModel) -> float | None:
        """Seconds since it was last used; None where nobody would tell if it was, and before it was looked at."""
        seen = self._seen.get((model.provider, model.key))
        if seen is None or not self._told(model):
            return None
        return max(0.0, self._host.clock.monotonic() - seen.used)

    def ago(self, model: RunningModel) -> float | None:
        """Seconds since it was last used as people are told: also from what was before this program began; None where not known."""
        known = self._known(model)
        if known is not None and known.last_used is not None and not self.busy(model):
            return max(0.0, self._host.clock.time() - known.last_used)
        return self.idle(model)

    def order(self, model: RunningModel) -> float:
        """Sorts the least recently used first."""
        seen = self._seen.get((model.provider, model.key))
        watched = self._host.clock.monotonic() - seen.used if seen is not None else 0.0
        return -max(watched, self.ago(model) or 0.0)

    def busy(self, model: RunningModel) -> bool:
        """Whether it works on something now, for us or for anybody, or leaves by itself."""
        if model.stopping or model.busy_slots or model.waiting or self.answering(model):
            return True
        known = self._known(model)
        if known is not None and (known.running or known.waiting or known.own):
            return True
        figures = self._figures().get(model.provider)
        return figures is not None and bool(figures.running or figures.waiting)

    def answering(self, model: RunningModel) -> bool:
        """Whether we are having it write an answer."""
        return any(
            live.provider == model.provider and (live.model in (model.key, model.name) or same(live.model, model.name))
            for live in self._host.live()
        )

    def pids(self, model: RunningModel) -> tuple[int, ...]:
        """Its processes, where they are known."""
        known = self._known(model)
        return known.pids if known is not None else ()

    def protected(self, model: RunningModel) -> bool:
        """Whether the user wants it to stay, by a setting or at the server."""
        settings = self._host.settings()
        return model.pinned or pinned(settings, model.provider, model.name) or pinned(settings, model.provider, model.key)

    def here(self, *, demo: bool = False) -> tuple[RunningModel, ...]:
        """Loaded models of servers of this machine that answer, the demo's only where that is wanted."""
        if self._host.demo and not demo:
            return ()
        good = (ProviderStatus.UP, ProviderStatus.FOUND, ProviderStatus.BUSY)
        names = {state.endpoint.name for state in self._host.watching.providers.value if is_here(state, demo=demo) and state.status in good}
        return tuple(model for model in self._host.watching.running.value if model.provider in names)

    def _told(self, model: RunningModel) -> bool:
        figures = self._figures().get(model.provider)
        return model.expires_at is not None or model.busy_slots is not None or (figures is not None and figures.running is not None)

    def _known(self, model: RunningModel) -> Loaded | None:
        return next((one for one in self._loaded() if one.model.provider == model.provider and one.model.key == model.key), None)
