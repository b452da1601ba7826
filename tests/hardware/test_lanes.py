"""Sources side by side: one that hangs, fails or is dear, and what is wanted."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tui.hardware.sample import Source
from tui.sampler.lanes import FIRST, LONGEST, Lane, Lanes
from tui.sampler.wants import Wants

NOBODY: frozenset[str] = frozenset()


def wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def heard(lanes: Lanes, seconds: float = 10.0) -> bool:
    found = bool(select.select([lanes.heard], [], [], seconds)[0])
    if found:
        os.read(lanes.heard, 100)
    return found


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_all_are_asked_and_heard_together():
    made = [Lane(name, lambda names, name=name: name) for name in "abc"]  # type: ignore[misc]
    lanes = Lanes(tuple(made), 1.0)
    lanes.start(10.0, NOBODY)
    assert heard(lanes)
    assert [lane.result for lane in made] == ["a", "b", "c"] and not lanes.waiting
    lanes.start(10.5, NOBODY)  # nobody is due: nothing is heard
    assert not lanes.waiting
    lanes.start(11.0, NOBODY)
    assert heard(lanes)
    lanes.close()


def test_G04_one_that_hangs_is_silent_and_the_others_go_on(release: threading.Event):
    counted: list[int] = []
    hangs, good = Lane("GPU", lambda names: release.wait(30)), Lane("processor", lambda names: counted.append(1) or len(counted))
    lanes = Lanes((hangs, good), 1.0)
    lanes.start(10.0, NOBODY)
    wait(lambda: good.result == 1)
    assert lanes.waiting and not heard(lanes, 0)
    for turn in range(2, 6):
        lanes.start(9.0 + turn, NOBODY)
        assert heard(lanes)  # it is not waited for again
        assert good.result == turn
    assert hangs.silent(15.0 + FIRST, 1.0) == 4.0
    assert lanes.told(15.0 + FIRST, NOBODY)[0].silent == 4.0 and lanes.told(15.0, NOBODY)[1].silent == 0.0
    lanes.forgive(3.0)
    assert hangs.silent(15.0 + FIRST, 1.0) == 1.0
    release.set()
    wait(lambda: hangs.answered)
    assert hangs.silent(99.0, 1.0) == 0.0
    assert not heard(lanes, 0)  # a late answer is none for the others
    lanes.close()


def test_E04_a_machine_that_slept_makes_nobody_late(release: threading.Event):
    lane = Lane("disks", lambda names: release.wait(30))
    lanes = Lanes((lane,), 1.0)
    lanes.start(10.0, NOBODY)
    lanes.forgive(8 * 3600)
    assert lane.silent(10.5 + 8 * 3600, 1.0) == 0.0
    lanes.close()


def test_E04_one_that_answers_while_it_is_forgiven_is_not_busy_for_ever(release: threading.Event):
    lane = Lane("disks", lambda names: release.wait(30))

    class Moment(float):
        def __add__(self, other: float) -> float:
            release.set()
            wait(lambda: lane.answered)
            return float(self) + other

    lanes = Lanes((lane,), 1.0)
    lanes.start(Moment(10.0), NOBODY)
    lanes.forgive(3.0)
    assert heard(lanes) and lane.due(20.0, 1.0)
    lanes.close()


@pytest.mark.parametrize("error", [OSError("gone"), MemoryError(), ZeroDivisionError(), RecursionError(), SystemExit(1)])
def test_one_that_fails_says_so_and_is_asked_again(error: BaseException):
    answers: Iterator[BaseException | int] = iter([error, 5])

    def read(_names: frozenset[str]) -> int:
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    lane = Lane("disks", read)
    lanes = Lanes((lane,), 1.0)
    lanes.start(1.0, NOBODY)
    assert heard(lanes)
    assert lane.result is None and lane.source(1.0, 1.0).note == "it cannot be measured"
    lanes.start(2.0, NOBODY)
    assert heard(lanes)
    assert (lane.result, lane.source(2.0, 1.0).note) == (5, "")
    lanes.close()


def costing(*seconds: float) -> Lane:
    lane = Lane("x", lambda names: None)
    lane._costs = seconds
    return lane


def test_a_dear_source_is_read_less_often():
    assert costing().every(1.0) == 1.0
    assert costing(5.0).every(1.0) == 1.0  # once is chance
    assert costing(0.02, 0.02).every(1.0) == 1.0
    assert costing(0.1, 0.2).every(1.0) == pytest.approx(5.0)
    assert costing(9.0, 9.0).every(1.0) == LONGEST
    assert costing(0.1, 0.001).every(0.5) == 0.5
    lane = costing(0.1, 0.1)
    lane._last = 100.0
    assert [lane.due(now, 1.0) for now in (101.0, 104.0, 104.8, 105.0)] == [False, False, True, True]
    assert lane.source(100.0, 1.0) == Source("x", 0.1, 5.0)


def test_what_waits_costs_less_than_what_works():
    lane = Lane("nvidia-smi", lambda names: time.sleep(0.05))
    lanes = Lanes((lane,), 1.0)
    for turn in range(3):
        lanes.start(float(turn), NOBODY)
        assert heard(lanes)
    assert 0.005 <= lane.source(3.0, 1.0).seconds < 0.05
    lanes.close()


def test_what_nobody_wants_is_not_measured():
    seen: list[frozenset[str]] = []
    lane = Lane("processes", lambda names: seen.append(names) or "found", wanted=frozenset({"processes"}), every=30.0)
    lanes = Lanes((lane,), 1.0)
    lanes.start(1.0, NOBODY)
    assert not lanes.waiting and seen == [] and lanes.told(1.0, NOBODY) == ()
    both = frozenset({"processes", "cores"})
    lanes.start(2.0, both)
    assert heard(lanes)
    assert seen == [both] and lane.result == "found" and len(lanes.told(2.0, both)) == 1
    lanes.start(3.0, both)
    assert len(seen) == 1  # every 30 seconds
    lanes.start(4.0, NOBODY)
    assert lane.result is None
    lanes.start(5.0, both)  # wanted anew: at once
    assert heard(lanes)
    assert len(seen) == 2
    lanes.close()


# --- what is wanted ---------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[Wants, int]]:
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    yield Wants(["cores"], reads), writes
    for end in (reads, writes):
        try:
            os.close(end)
        except OSError:
            pass


def test_wants_follow_the_last_line(pipe: tuple[Wants, int]):
    wants, writes = pipe
    wants.read()
    assert wants.names == {"cores"}
    os.write(writes, b'{"v":2,"want":["processes","gpu_detail"]}\n{"v":2,"wa')
    wants.read()
    assert wants.names == {"processes", "gpu_detail"}
    os.write(writes, b'nt":[]}\n')
    wants.read()
    assert wants.names == frozenset()


@pytest.mark.parametrize(
    "line",
    [
        b"\n", b"garbage\n", b"[]\n", b"null\n", b'{"v":2}\n', b'{"v":1,"want":[]}\n', b'{"v":2,"want":"processes"}\n',
        b'{"v":2,"want":["passwords"]}\n', b'{"v":2,"want":[1]}\n', b'{"v":2,"want":[],"x":1}\n', b'{"v":true,"want":[]}\n',
        b"[" * 4000 + b"\n", b"\xff\xfe\n", b'{"v":2,"want":[]}', b" " * 5000 + b'{"v":2,"want":[]}\n',
        b'{"v":2,"want":[' + b'"cores",' * 600 + b'"cores"]}\n',
    ],
)  # fmt: skip
def test_G11_garbage_keeps_what_was_wanted(pipe: tuple[Wants, int], line: bytes):
    wants, writes = pipe
    os.write(writes, line)
    wants.read()
    assert wants.names == {"cores"}
    if line.endswith(b"\n"):
        os.write(writes, b'{"v":2,"want":["gpu_processes"]}\n')
        wants.read()
        assert wants.names == {"gpu_processes"}


def test_G11_a_line_without_end_is_not_kept(pipe: tuple[Wants, int]):
    wants, writes = pipe
    for _ in range(100):
        os.write(writes, b"x" * 50_000)
        wants.read()
        assert len(wants._begun) <= 4096
    os.write(writes, b'y\n{"v":2,"want":["processes"]}\n')
    wants.read()
    assert wants.names == {"processes"}


def test_nobody_who_tells_keeps_what_was_wanted(pipe: tuple[Wants, int]):
    wants, writes = pipe
    os.close(writes)
    wants.read()
    assert (wants.names, wants.place) == ({"cores"}, None)
    wants.read()
