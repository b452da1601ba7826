"""Energy of answers: constant power is power times time; gaps, strangers, other answers and unknown cards are no figure."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.core.clock import ManualClock
from tui.core.models import Location, RunningModel
from tui.core.monitor import Loaded
from tui.core.observe import Observable
from tui.hardware.sample import Gpu, Sample
from tui.services.monitor import energy
from tui.services.monitor.energy import Energy, Nothing, Power, Span, cards_of, integrate
from tui.services.monitor.history import History

# --- the integral ------------------------------------------------------------------------------------------------------


@given(
    watts=st.floats(0, 1000),
    steps=st.lists(st.floats(0.01, 3.0), min_size=2, max_size=50),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_constant_power_is_power_times_time(watts: float, steps: list[float], ends: tuple[float, float]) -> None:
    points: list[Power] = [(1000.0, watts)]
    for step in steps:
        points.append((points[-1][0] + step, watts))
    whole = points[-1][0] - 1000.0
    started, ended = (1000.0 + share * whole for share in sorted(ends))
    assert integrate(points, started, ended, 1.0) == pytest.approx(watts * (ended - started), abs=1e-6)


@given(st.lists(st.floats(0, 500), min_size=2, max_size=40), st.data())
def test_a_whole_is_the_sum_of_its_parts_and_between_its_extremes(watts: list[float], data: Any) -> None:
    points: list[Power] = [(float(at), value) for at, value in enumerate(watts)]
    moment = st.floats(0, len(watts) - 1)
    started, between, ended = sorted((data.draw(moment), data.draw(moment), data.draw(moment)))
    first, second, whole = (integrate(points, *span, 1.0) for span in ((started, between), (between, ended), (started, ended)))
    assert first is not None and second is not None and whole is not None
    assert first + second == pytest.approx(whole, abs=1e-6)
    assert min(watts) * (ended - started) - 1e-6 <= whole <= max(watts) * (ended - started) + 1e-6


@given(at=st.integers(0, 9), gap=st.floats(3.01, 100))
def test_a_gap_inside_is_no_figure_and_one_outside_does_not_matter(at: int, gap: float) -> None:
    times = [float(number) + (gap if number > at else 0.0) for number in range(11)]
    points: list[Power] = [(time, 100.0) for time in times]
    assert integrate(points, times[at], times[at + 1], 1.0) is None
    assert integrate(points, times[0], times[-1], 1.0) is None
    if at:
        assert integrate(points, times[0], times[at], 1.0) == pytest.approx(100.0 * at)


@pytest.mark.parametrize(
    ("points", "started", "ended"),
    [
        ([], 1.0, 2.0),
        ([(1.0, 10.0)], 1.0, 2.0),
        ([(1.5, 10.0), (2.5, 10.0)], 1.0, 2.0),  # begins before the samples
        ([(0.5, 10.0), (1.5, 10.0)], 1.0, 2.0),  # ends after them
        ([(0.5, 10.0), (1.5, None), (2.5, 10.0)], 1.0, 2.0),
        ([(0.5, 10.0), (1.5, 10.0), (1.2, 10.0), (2.5, 10.0)], 1.0, 2.0),  # the clock was set back
        ([(0.5, 10.0), (2.5, 10.0)], 2.0, 1.0),
    ],
)
def test_what_is_not_known_is_no_figure(points: list[Power], started: float, ended: float) -> None:
    assert integrate(points, started, ended, 1.0) is None


def test_a_short_answer_is_read_off_the_samples_around_it() -> None:
    assert integrate([(0.0, 100.0), (1.0, 300.0)], 0.25, 0.75, 1.0) == pytest.approx(100.0)
    assert integrate([(0.0, None), (1.0, 100.0), (2.0, 100.0), (3.0, None)], 1.2, 1.7, 1.0) == pytest.approx(50.0)


# --- cards -------------------------------------------------------------------------------------------------------------


def gpu(index: int = 0, power: float | None = 100.0) -> Gpu:
    return Gpu(f"GPU-{index}", index, power=power)


def running(provider: str = "box", vram: int | None = 5, **more: Any) -> RunningModel:
    return RunningModel(provider, "a:1b", "a:1b", 6, vram, **more)


@pytest.mark.parametrize(
    ("loaded", "gpus", "cards"),
    [
        (Loaded(running(), cards="GPU0"), 2, ("GPU-0",)),
        (Loaded(running(), cards="GPU0+1"), 3, ("GPU-0", "GPU-1")),
        (Loaded(running(), cards="GPU0+4"), 2, ()),
        (Loaded(running()), 1, ("GPU-0",)),
        (Loaded(running()), 2, ()),
        (Loaded(running(vram=None)), 1, ()),  # whether it is on the GPU at all nobody told
        (Loaded(running(vram=0), cards="GPU0"), 1, ()),
        (Loaded(running()), 0, ()),
        (None, 1, ()),
    ],
)
def test_the_cards_of_a_model(loaded: Loaded | None, gpus: int, cards: tuple[str, ...]) -> None:
    assert cards_of(loaded, Sample(0.0, gpus=tuple(gpu(index) for index in range(gpus)))) == cards


# --- answers -----------------------------------------------------------------------------------------------------------


class Bench:
    """One GPU, a provider here and one elsewhere, and a sample when the test says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.history = History()
        self.running: Observable[tuple[RunningModel, ...]] = Observable((running(),))
        self.loaded: tuple[Loaded, ...] = ()
        states = {"box": SimpleNamespace(location=Location.HERE), "far": SimpleNamespace(location=Location.ELSEWHERE)}
        host: Any = SimpleNamespace(clock=self.clock, watching=SimpleNamespace(running=self.running, state=states.get))
        self.energy = Energy(host, self.history, lambda: self.loaded)

    def pass_time(self, seconds: int, power: float | None = 100.0, gpus: int = 1) -> None:
        for _ in range(seconds):
            self.clock.advance(1.0)
            self.sample(power, gpus)

    def sample(self, power: float | None = 100.0, gpus: int = 1) -> None:
        sample = Sample(self.clock.time(), gpus=tuple(gpu(index, power) for index in range(gpus)))
        self.history.add(sample, 1.0)
        self.energy.take(sample, 1.0)

    def begin(self, provider: str = "box") -> Span | Nothing:
        return self.energy.begin(provider, "a:1b")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(energy, "PATIENCE", 0.01)
    made = Bench()
    made.pass_time(3)
    return made


async def test_an_answer_is_measured_from_sending_to_its_end(bench: Bench) -> None:
    span = bench.begin()
    bench.pass_time(4, 200.0)
    bench.clock.advance(0.5)
    span.end(4.5)
    told = asyncio.ensure_future(span.joules())
    await asyncio.sleep(0)
    bench.clock.advance(0.5)
    bench.sample(200.0)
    assert await told == pytest.approx(150 + 3.5 * 200)
    assert not bench.energy._awaited


async def test_the_sample_after_the_end_is_not_waited_for_for_ever(bench: Bench) -> None:
    span = bench.begin()
    bench.pass_time(2)
    bench.clock.advance(0.5)
    span.end(2.5)
    assert await span.joules() is None


async def test_an_answer_of_half_an_hour_is_measured_whole(bench: Bench) -> None:
    span = bench.begin()
    bench.pass_time(1800)
    span.end(1800.0)
    assert await span.joules() == pytest.approx(180_000.0)


async def test_answers_that_overlap_have_none(bench: Bench) -> None:
    first = bench.begin()
    bench.pass_time(2)
    second = bench.begin()
    first.end(2.0)
    bench.pass_time(2)
    second.end(2.0)
    third = bench.begin()
    bench.pass_time(2)
    third.end(2.0)
    assert [await one.joules() for one in (first, second, third)] == [None, None, pytest.approx(200.0)]


async def test_a_server_elsewhere_uses_none_of_ours(bench: Bench) -> None:
    far = bench.begin("far")
    near = bench.begin()
    bench.pass_time(2)
    far.end(2.0)
    near.end(2.0)
    assert [await far.joules(), await near.joules()] == [None, pytest.approx(200.0)]


async def test_a_server_that_works_for_others_too_has_none(bench: Bench) -> None:
    span = bench.begin()
    bench.running.set((running(busy_slots=1),))
    bench.pass_time(2)
    other = bench.begin("far")
    bench.running.set((running(busy_slots=2),))
    bench.running.set((running(busy_slots=1),))
    span.end(2.0)
    other.end(2.0)
    assert await span.joules() is None
    alone = bench.begin()
    bench.running.set((running(busy_slots=1, waiting=0),))
    bench.pass_time(2)
    alone.end(2.0)
    assert await alone.joules() == pytest.approx(200.0)


async def test_requests_that_only_metrics_tell_of_count_too(bench: Bench) -> None:
    span = bench.begin()
    bench.loaded = (Loaded(running(), True, running=1, waiting=1),)
    bench.running.set((replace(running(), context=1),))
    bench.pass_time(2)
    span.end(2.0)
    assert await span.joules() is None


@pytest.mark.parametrize("power", [None])
async def test_without_power_or_with_a_choice_of_cards_there_is_none(bench: Bench, power: float | None) -> None:
    span = bench.begin()
    bench.pass_time(2, power)
    span.end(2.0)
    assert await span.joules() is None
    span = bench.begin()
    bench.pass_time(2, gpus=2)
    span.end(2.0)
    assert await span.joules() is None


async def test_cards_that_are_only_concluded_are_none_where_there_is_a_choice(bench: Bench) -> None:
    for about, joules in ((True, None), (False, 200.0)):
        span = bench.begin()
        bench.loaded = (Loaded(running(), True, cards="GPU1", about=about),)
        bench.pass_time(2, gpus=2)
        span.end(2.0)
        assert await span.joules() == (joules and pytest.approx(joules))
        bench.pass_time(3, gpus=2)


async def test_a_model_that_is_listed_only_after_its_first_answer_is_measured_all_the_same(bench: Bench) -> None:
    listed = bench.running.value
    bench.running.set(())
    span = bench.begin()
    bench.pass_time(2)
    span.end(2.0)
    bench.running.set(listed)
    assert await span.joules() == pytest.approx(200.0)


async def test_a_gap_or_a_clock_that_was_set_is_no_figure(bench: Bench) -> None:
    span = bench.begin()
    bench.pass_time(2)
    bench.clock.advance(10)
    bench.pass_time(2)
    span.end(14.0)
    assert await span.joules() is None
    span = bench.begin()
    bench.pass_time(2)
    bench.clock.offset = -3600
    bench.pass_time(2)
    span.end(4.0)
    assert await span.joules() is None


async def test_what_nobody_follows_any_more_is_let_go(bench: Bench) -> None:
    for _ in range(5):
        span = bench.begin()
        span.end(0.5)
        span.end(9.0)
        bench.clock.advance(100)
    bench.begin()
    assert len(bench.energy._awaited) == 1
