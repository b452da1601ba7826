"""What `[limits]` did: into the audit trail, and onto the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tui.core.clock import Clock
from tui.core.monitor import Enforcement
from tui.core.observe import Observable

KEPT: Final = 50


class Enforced:
    """The last things that limits did, newest first.

    Args:
        clock: Tells when.
        audit: Writes to the audit trail: what, to what, with which result.
    """

    def __init__(self, clock: Clock, audit: Callable[[str, str, str], None]) -> None:
        self.done: Observable[tuple[Enforcement, ...]] = Observable(())
        self._clock = clock
        self._audit = audit

    def tell(self, what: str, target: str, why: str) -> None:
        """Note one: "warned", "asked", "refused", "unloaded", "not unloaded"."""
        self._audit(f"limit {what}", target, why)
        self.done.set((Enforcement(self._clock.time(), what, target, why), *self.done.value)[:KEPT])
