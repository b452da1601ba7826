"""[limits] before a pull: it waits, asks or says so, and goes on by itself when there is room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.worker.fakes import END, ENDPOINT, HANG, Bench, steps
from tui.config.settings import Settings, build
from tui.core.clock import ManualClock
from tui.core.jobs import Ask, JobKind, JobState, JobWish, Wait
from tui.core.models import Endpoint
from tui.services import limits
from tui.services.asks import because, question
from tui.services.limits import Breach, check_pull
from tui.worker.fullness import FRESH, WITHIN, Fullness

HERE = Endpoint("box", "ollama", "http://127.0.0.1:11434")
MEMORY = Breach("memory", 93.0, 80, "Memory 93 %, limit 80 %")


class Machine:
    """How full it is, and how often that was asked."""

    def __init__(self) -> None:
        self.found: Sequence[Breach] | Exception = (MEMORY,)
        self.asked = 0
        self.hangs = False

    async def measure(self, settings: Settings, endpoint: Endpoint) -> Sequence[Breach]:
        self.asked += 1
        while self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Yard(Bench):
    """A bench whose queue asks how full this machine is."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.machine = Machine()
        super().__init__(folder, clock)
        self.fake.scripts["qwen3:8b"] = [[*steps(1), HANG]]

    def new_queue(self) -> Any:
        queue = super().new_queue()
        queue._fullness = Fullness(lambda: self.settings, self.machine.measure, queue._audit, self.clock)
        queue._disks._on = False
        return queue

    def pass_(self, seconds: float) -> None:
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(seconds)

    def act(self, action: str, **more: Any) -> None:
        self.settings = build({"limits": {"action": action, **more}})

    def audited(self) -> list[tuple[str, str, str]]:
        lines = [json.loads(line) for line in (self.folder / "state" / "audit.jsonl").read_text().splitlines()]
        return [(line["what"], line["target"], line["result"]) for line in lines if line["what"].startswith("limit")]


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    yard = Yard(tmp_path, ManualClock())
    await yard.queue.open()
    yield yard
    await yard.close()


async def test_a_refused_pull_waits_says_why_and_goes_on_by_itself(yard: Yard) -> None:
    yard.act("refuse")
    number = await yard.add(endpoint=HERE)
    await yard.settle()
    job = yard.job(number)
    assert (job.state, job.wait, job.note) == (JobState.WAITING, Wait.LIMITS, "waits: this machine is full: Memory 93 %, limit 80 %")
    assert yard.machine.asked == 1
    assert yard.audited() == [("limit refused", "box/qwen3:8b", "Memory 93 %, limit 80 %")]
    yard.machine.found = ()
    await yard.settle()
    assert yard.machine.asked == 1  # not more often than every ten seconds
    yard.pass_(FRESH)
    await yard.settle()
    assert yard.machine.asked == 2
    assert (yard.job(number).state, yard.job(number).wait) == (JobState.FETCHING, Wait.NOTHING)
    assert len(yard.audited()) == 1


async def test_the_old_figures_stand_while_it_measures_again(yard: Yard) -> None:
    yard.act("refuse")
    number = await yard.add(endpoint=HERE)
    await yard.settle()
    yard.machine.hangs = True
    yard.pass_(FRESH)
    await yard.settle()
    assert yard.job(number).wait is Wait.LIMITS
    yard.pass_(FRESH + WITHIN)
    await yard.settle()
    assert yard.job(number).note == "measures how full this machine is"


async def test_a_pull_that_needs_a_yes_starts_with_it_and_is_not_asked_again(yard: Yard) -> None:
    yard.act("ask")
    number = await yard.add(endpoint=HERE)
    await yard.settle()
    job = yard.job(number)
    assert job.wait is Wait.ANSWER
    assert job.asks == {Ask.LIMITS}
    assert job.note == "waits for your yes: this machine is full: Memory 93 %, limit 80 %"
    assert because(yard.settings, job) == "this machine is full: Memory 93 %, limit 80 %"
    text = question(yard.settings, job.model, None, job.asks, because(yard.settings, job))
    assert text == "Pull qwen3:8b? This machine is full: Memory 93 %, limit 80 %."
    await yard.table.allow([number])
    await yard.settle()
    assert yard.job(number).state is JobState.FETCHING
    assert yard.audited() == [("limit asked", "box/qwen3:8b", "Memory 93 %, limit 80 %")]


async def test_what_was_allowed_before_is_not_even_measured(yard: Yard) -> None:
    yard.act("refuse")
    job = await yard.table.add(JobKind.PULL, "qwen3:8b", HERE, {}, allowed=frozenset(Ask))
    await yard.settle()
    assert (yard.job(job.id).state, yard.machine.asked) == (JobState.FETCHING, 0)


async def test_a_warning_delays_nothing_and_is_told_with_the_job(yard: Yard) -> None:
    yard.machine.hangs = True
    number = await yard.add(endpoint=HERE)
    await yard.settle()
    assert (yard.job(number).state, yard.job(number).note) == (JobState.FETCHING, "")
    assert yard.queue._fullness is not None
    await yard.queue._fullness.close()
    yard.machine.hangs = False
    await yard.settle()
    assert yard.job(number).note == "this machine is full: Memory 93 %, limit 80 %"
    assert yard.audited() == [("limit warned", "box/qwen3:8b", "Memory 93 %, limit 80 %")]
    asked = yard.machine.asked
    yard.pass_(5 * FRESH)
    await yard.settle()
    assert yard.machine.asked == asked  # said once


async def test_servers_elsewhere_and_begun_pulls_are_not_limited(yard: Yard) -> None:
    yard.act("refuse")
    far = await yard.add("far:1b", endpoint=ENDPOINT)
    yard.fake.scripts["far:1b"] = [[HANG]]
    here = await yard.add(endpoint=HERE)
    yard.machine.found = ()
    await yard.settle()
    assert [yard.job(number).state for number in (far, here)] == [JobState.FETCHING] * 2
    yard.machine.found = (MEMORY,)
    yard.pass_(FRESH)
    await yard.table.wish([here], JobWish.PAUSE)
    await yard.settle()
    await yard.table.wish([here], JobWish.RUN)
    await yard.settle()
    assert (yard.job(here).state, yard.machine.asked) == (JobState.FETCHING, 1)


@pytest.mark.parametrize("limits", [{"cpu": 0, "memory": 0, "disk": 0}])
async def test_without_limits_nothing_is_measured(yard: Yard, limits: dict[str, int]) -> None:
    yard.act("refuse", **limits)
    number = await yard.add(endpoint=HERE)
    await yard.settle()
    assert (yard.job(number).state, yard.machine.asked) == (JobState.FETCHING, 0)


async def test_a_machine_that_cannot_be_measured_keeps_no_pull_waiting(yard: Yard) -> None:
    yard.act("refuse")
    yard.machine.found = RuntimeError("proc")
    number = await yard.add(endpoint=HERE)
    await yard.settle()
    assert yard.job(number).state is JobState.FETCHING


async def test_a_full_machine_holds_no_pull_of_another_server(yard: Yard) -> None:
    yard.act("refuse")
    first, second = await yard.add(endpoint=HERE), await yard.add("far:1b", endpoint=ENDPOINT)
    yard.fake.scripts["far:1b"] = [[HANG]]
    await yard.settle()
    assert (yard.job(first).wait, yard.job(second).state) == (Wait.LIMITS, JobState.FETCHING)


# --- the load afterwards -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "allowed", "warmed"),
    [
        ("warn", False, "loaded, though this machine is full: Memory 93 %, limit 80 %"),
        ("ask", False, "not loaded: this machine is full: Memory 93 %, limit 80 %"),
        ("refuse", False, "not loaded: this machine is full: Memory 93 %, limit 80 %"),
        ("refuse", True, "loaded"),
    ],
)
async def test_a_load_after_a_pull_asks_the_limits_too(yard: Yard, action: str, allowed: bool, warmed: str) -> None:
    yard.act(action)
    yard.queue._fullness = None
    yard.queue._warmth._measure = yard.machine.measure
    yard.fake.scripts["qwen3:8b"] = [[*steps(50, 100), *END]]
    yes = frozenset(Ask) if allowed else frozenset()
    job = await yard.table.add(JobKind.PULL, "qwen3:8b", HERE, {"warm_up": True}, allowed=yes)
    await yard.settle()
    assert (yard.job(job.id).state, yard.job(job.id).warmed) == (JobState.DONE, warmed)


# --- the measuring -----------------------------------------------------------------------------------------------------


async def test_only_a_processor_that_stays_busy_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.services.test_limits import sample

    spans: list[float] = []
    later = [99.0]

    def measured(disks: list[str], gpu: bool, seconds: float = limits.APART) -> Any:
        assert not gpu
        spans.append(seconds)
        return sample(cpu=99.0 if seconds == limits.APART else later[0])

    async def pause(seconds: float) -> None:
        spans.append(seconds)

    monkeypatch.setattr(limits, "_sample", measured)
    strict = build({"limits": {"count": "all"}})
    found = await check_pull(strict, HERE, pause=pause)
    assert [breach.sentence for breach in found] == ["CPU 99 %, limit 80 %"]
    assert sorted(spans) == [limits.APART, limits.OVER, limits.OVER]
    later[0] = 10.0
    assert await check_pull(strict, HERE, pause=pause) == ()
    assert await check_pull(strict, ENDPOINT, pause=pause) == ()


async def test_a_gpu_that_is_busy_keeps_no_pull_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.services.test_limits import FULL, gpu, sample

    busy = sample(gpus=(gpu(24, 100),))
    monkeypatch.setattr(limits, "_sample", lambda disks, gpu, seconds=0.5: sample() if not gpu else busy)
    assert await check_pull(build({"limits": {"keep_free_vram": "20 GB"}}), HERE) == ()
    monkeypatch.setattr(limits, "_sample", lambda disks, gpu, seconds=0.5: FULL)
    assert [breach.what for breach in await check_pull(build({"limits": {"count": "all"}}), HERE)] == ["memory"]
