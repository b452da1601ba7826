"""The small parts that everything shares: clocks, observables, options, how we start ourselves."""

from __future__ import annotations

import sys
import time

import pytest

from tui.core.clock import SYSTEM, ManualClock
from tui.core.errors import Failure, PaddockError
from tui.core.observe import Observable
from tui.core.spawn import own_command


def test_the_system_clock_is_the_systems() -> None:
    assert abs(SYSTEM.time() - time.time()) < 5
    assert SYSTEM.monotonic() <= time.monotonic()


def test_a_manual_clock_moves_when_told_and_may_be_set() -> None:
    clock = ManualClock(100.0)
    clock.advance(5)
    clock.offset = -3600
    assert (clock.monotonic(), clock.time()) == (5.0, 100.0 + 5 - 3600)


def test_watchers_hear_each_change_once_until_they_stop() -> None:
    seen: list[int] = []
    value = Observable(1)
    stop = value.watch(seen.append)
    value.set(2)
    value.set(2)
    stop()
    value.set(3)
    assert seen == [2]
    assert value.value == 3


def test_P38_a_watcher_that_raises_keeps_no_other_from_being_told() -> None:
    seen: list[int] = []
    value = Observable(1)

    def broken(number: int) -> None:
        raise RuntimeError("its loop is closed")

    value.watch(broken)
    value.watch(seen.append)
    with pytest.raises(RuntimeError, match="its loop is closed"):
        value.set(2)
    assert seen == [2]
    assert value.value == 2


def test_a_failure_names_its_place_once() -> None:
    assert Failure("Cannot reach box:1", "box:1").sentence() == "Cannot reach box:1"
    assert Failure("Not saved", "config.toml:3").sentence() == "Not saved (config.toml:3)"
    with pytest.raises(PaddockError, match="Not saved") as caught:
        raise PaddockError.of("Not saved", "config.toml:3", "Correct it")
    assert caught.value.failure.remedy == "Correct it"


def test_we_start_ourselves_with_the_same_python() -> None:
    command = own_command("worker", "--demo")
    assert command[0] == sys.executable
    assert command[-2:] == ["worker", "--demo"]
