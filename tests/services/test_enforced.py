"""What limits did is in the audit trail and on the screen, newest first."""

from __future__ import annotations

from tui.core.clock import ManualClock
from tui.services.monitor.enforced import KEPT, Enforced


def test_everything_is_audited_and_the_last_fifty_are_shown() -> None:
    clock, audited = ManualClock(), list[tuple[str, str, str]]()
    enforced = Enforced(clock, lambda *words: audited.append(words))
    for number in range(KEPT + 5):
        clock.advance(1)
        enforced.tell("unloaded", f"lab/m{number}", "idle for 10m")
    shown = enforced.done.value
    assert len(audited) == KEPT + 5
    assert audited[0] == ("limit unloaded", "lab/m0", "idle for 10m")
    assert len(shown) == KEPT
    assert (shown[0].target, shown[0].what, shown[0].why) == ("lab/m54", "unloaded", "idle for 10m")
    assert shown[0].at == clock.time()
