"""When a server is seen to be free again after an answer was stopped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tui.core.capabilities import Capability
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import RunningModel
from tui.services.chat.settling import LONGEST, PAUSES, Mark, Seen, Settled, Settling, look


def loaded(**more: Any) -> RunningModel:
    return RunningModel("lab", "qwen3:8b", "qwen3:8b", **more)


MARK = Mark("lab", "qwen3:8b", True, 1000.0)


@pytest.mark.parametrize(
    ("mark", "found", "seen"),
    [
        (MARK, loaded(slots=4, busy_slots=0), Seen.FREE),
        (MARK, loaded(slots=4, busy_slots=1), Seen.BUSY),
        (MARK, None, Seen.FREE),
        (MARK, loaded(expires_at=1000.0), Seen.BUSY),  # stands still while a request runs: ollama-api 5.1
        (MARK, loaded(expires_at=1000.2), Seen.BUSY),
        (MARK, loaded(expires_at=1090.0), Seen.FREE),
        (MARK, loaded(expires_at=900.0, stopping=True), Seen.BUSY),  # recordings 13
        (MARK, loaded(pinned=True), Seen.NOTHING),
        (MARK, loaded(), Seen.NOTHING),
        (Mark("lab", "qwen3:8b", True, None), loaded(expires_at=1000.0), Seen.BUSY),
        (Mark("lab", "qwen3:8b", False, None), loaded(expires_at=1000.0), Seen.FREE),
    ],
)
def test_H32_what_one_look_tells(mark: Mark, found: RunningModel | None, seen: Seen) -> None:
    assert look(mark, found) is seen


class Lab:
    """A host with one server; each look at it takes the next of `answers`, the last one again and again."""

    def __init__(self, *answers: Any, can: bool = True, before: RunningModel | None = None) -> None:
        self.answers = list(answers)
        self.capabilities = frozenset({Capability.RUNNING}) if can else frozenset[Capability]()
        self.before = before
        self.looks = 0
        self.clock = ManualClock()
        self.pauses: list[float] = []
        self.settling = Settling(self, self.clock, self.pause)
        self.at_pause: dict[int, Any] = {}

    def provider(self, name: str) -> Any:
        return Link(self) if name == "lab" else None

    def running(self) -> tuple[RunningModel, ...]:
        return (self.before,) if self.before else ()

    async def pause(self, event: asyncio.Event, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)
        if act := self.at_pause.get(len(self.pauses)):
            act()


class Link:
    """A connection to it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.capabilities = lab.capabilities

    async def running(self) -> tuple[RunningModel, ...]:
        lab = self.lab
        lab.looks += 1
        answer = lab.answers.pop(0) if len(lab.answers) > 1 else lab.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return (answer,) if answer else ()


async def settled(lab: Lab) -> Settled:
    return await lab.settling.watch(lab.settling.mark("lab", "qwen3:8b"))


async def test_H32_ollama_is_free_once_the_time_of_unloading_moved() -> None:
    still, moved = loaded(expires_at=1000.0), loaded(expires_at=1300.0)
    lab = Lab(still, still, still, moved, before=still)
    assert await settled(lab) is Settled.FREE
    assert lab.looks == 4
    assert lab.pauses == list(PAUSES)


async def test_H32_llama_cpp_is_free_once_no_slot_is_busy() -> None:
    lab = Lab(loaded(slots=1, busy_slots=1), loaded(slots=1, busy_slots=0), before=loaded(slots=1, busy_slots=1))
    assert await settled(lab) is Settled.FREE


async def test_nobody_looks_for_ever() -> None:
    lab = Lab(loaded(expires_at=1000.0), before=loaded(expires_at=1000.0))
    assert await settled(lab) is Settled.LONG
    assert LONGEST <= lab.clock.monotonic() < LONGEST + 5
    assert lab.looks < 70
    assert "still busy after 2 minutes" in lab.settling.words(MARK, Settled.LONG)


async def test_a_server_that_shows_nothing_is_not_asked_and_that_is_said_once() -> None:
    lab = Lab(loaded(), can=False)
    assert await settled(lab) is Settled.UNSEEN
    assert lab.looks == 0
    assert "cannot be seen with this server" in lab.settling.words(MARK, Settled.UNSEEN)
    assert lab.settling.words(MARK, Settled.UNSEEN) == ""
    assert lab.settling.words(MARK, Settled.FREE) == ""
    pinned = Lab(loaded(pinned=True), before=loaded(pinned=True))
    assert await settled(pinned) is Settled.UNSEEN
    assert pinned.looks == 1


async def test_a_later_first_token_proves_it_unless_the_server_works_at_several() -> None:
    still = loaded(expires_at=1000.0)
    lab = Lab(still, before=still)
    assert not lab.settling.proved("lab", "qwen3:8b")  # nothing was stopped there
    lab.at_pause[2] = lambda: lab.settling.proved("lab", "qwen3:8b")
    assert await settled(lab) is Settled.FREE
    assert lab.looks == 1
    several = Lab(loaded(slots=4, busy_slots=1), loaded(slots=4, busy_slots=0), before=loaded(slots=4, busy_slots=1))
    assert not several.settling.proved("lab", "qwen3:8b")
    several.at_pause[1] = lambda: several.settling.proved("lab", "qwen3:8b")
    assert await settled(several) is Settled.FREE
    assert several.looks == 2


async def test_what_could_not_be_seen_is_proved_by_the_next_first_token() -> None:
    lab = Lab(loaded(), can=False)
    assert await settled(lab) is Settled.UNSEEN
    assert not lab.settling.proved("lab", "other")
    assert lab.settling.proved("lab", "qwen3:8b")
    assert not lab.settling.proved("lab", "qwen3:8b")


async def test_P38_a_server_that_died_reads_nothing_and_one_that_stammers_is_asked_again() -> None:
    gone = PaddockError.of("x", kind=FailureKind.UNREACHABLE)
    late = PaddockError.of("x", kind=FailureKind.TIMEOUT)
    assert await settled(Lab(gone)) is Settled.FREE
    lab = Lab(late, late, None, before=loaded(expires_at=1.0))
    assert await settled(lab) is Settled.FREE
    assert lab.looks == 3


async def test_a_provider_that_was_removed_is_free() -> None:
    lab = Lab(None)
    assert await lab.settling.watch(Mark("gone", "m", True, None)) is Settled.FREE


async def test_closing_ends_the_watch_and_nothing_stays() -> None:
    still = loaded(expires_at=1000.0)
    lab = Lab(still, before=still)
    hold = asyncio.Event()

    async def never(event: asyncio.Event, seconds: float) -> None:
        await hold.wait()

    lab.settling = Settling(lab, lab.clock, never)
    task = asyncio.ensure_future(settled(lab))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert not lab.settling._waiting


async def test_real_pauses_end_with_the_event() -> None:
    still = loaded(expires_at=1000.0)
    lab = Lab(still, before=still)
    lab.settling = Settling(lab, lab.clock)
    task = asyncio.ensure_future(settled(lab))
    await asyncio.sleep(0)
    lab.settling.proved("lab", "qwen3:8b")
    async with asyncio.timeout(5):
        assert await task is Settled.FREE
    assert lab.looks == 0
