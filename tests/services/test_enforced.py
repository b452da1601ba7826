"""What limits did is in the audit trail and on the screen, newest first."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.screen import until
from tui.core.clock import ManualClock
from tui.services.audit import NAME, Audit
from tui.services.monitor.enforced import DAY, KEPT, Enforced


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


async def test_what_other_processes_did_is_told_too_and_nothing_twice(tmp_path: Path) -> None:
    clock = ManualClock()
    mine, worker = Audit(tmp_path, clock), Audit(tmp_path, clock, process="worker")
    worker.write("limit unloaded", "box/phi4:14b", "yesterday")
    clock.advance(DAY + 1)
    enforced = Enforced(clock, mine.write)
    task = asyncio.create_task(enforced.follow(tmp_path))
    enforced.tell("refused", "box/qwen3:8b", "Memory 94 %, limit 80 %")
    clock.advance(5)
    worker.write("limit unloaded", "box/phi4:14b", "not used for 1 h")
    worker.write("unload", "box/phi4:14b")
    with (tmp_path / NAME).open("a") as trail:
        trail.write('{"at": 1e999, "what": "limit x"}\n[]\n{"at"')
    await until(lambda: len(enforced.done.value) == 2)
    enforced.tell("warned", "memory", "\x1b[2JMemory pressure")
    assert [(one.what, one.target) for one in enforced.done.value] == [
        ("warned", "memory"), ("unloaded", "box/phi4:14b"), ("refused", "box/qwen3:8b"),
    ]  # fmt: skip
    assert "\x1b" not in enforced.done.value[0].why
    enforced.read(Audit.latest(tmp_path, "limit "))
    assert [one.what for one in enforced.done.value] == ["warned", "unloaded", "refused"]
    task.cancel()


def test_no_trail_and_a_link_at_its_place_are_no_trouble(tmp_path: Path) -> None:
    assert Audit.latest(tmp_path, "limit ") == []
    (tmp_path / NAME).symlink_to("/etc/hostname")
    assert Audit.latest(tmp_path, "limit ") == []
