"""The history: rings, gaps, clocks that jump, scales, GPUs that come and go, and the means in the database."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.test_sampling import sample
from tui.core.clock import ManualClock
from tui.core.models import Severity
from tui.hardware.sample import Cgroup, Cpu, Gpu, Memory, Sample
from tui.hardware.series import Value, figures, rebuilt
from tui.services.monitor.history import COARSE, WHOLE, History, Ring
from tui.services.monitor.keeping import EVERY, Keeping, stored_rings
from tui.store.db import Database
from tui.store.samples import Samples

START = 1_700_000_040.0
"""A whole minute."""


def at(moment: float, cpu: float = 12.0) -> Sample:
    return replace(sample(cpu), time=moment)


def filled(seconds: int, start: float = START) -> History:
    history = History()
    for second in range(seconds):
        history.add(at(start + second, float(second)), 1.0)
    return history


# --- rings -------------------------------------------------------------------------------------------------------------

_VALUE = st.none() | st.floats(-1e9, 1e9)
_PUTS = st.lists(st.tuples(st.integers(-30, 40), st.dictionaries(st.sampled_from("abc"), _VALUE)), max_size=40)


@given(st.integers(1, 20), _PUTS, st.integers(-5, 120), st.integers(0, 60))
def test_a_ring_is_a_table_of_the_newest_buckets(size: int, puts: list[tuple[int, dict[str, Value]]], first: int, count: int) -> None:
    ring, known, newest, number = Ring(1.0, size), dict[int, dict[str, float]](), -1, 50
    for move, values in puts:
        number = max(0, number + move)
        ring.put(number, values)
        newest = number
        known = {n: found for n, found in known.items() if newest - size < n <= newest}
        known.setdefault(number, {}).update({name: value for name, value in values.items() if value is not None})
    for name in "abc":
        assert ring.get(name, first, first + count) == [known.get(n, {}).get(name) for n in range(first, first + count + 1)]
    assert {n: ring.bucket(n) for n in range(0, 400) if ring.bucket(n)} == {n: found for n, found in known.items() if found}
    assert ring.oldest() == min((n for n, found in known.items() if found), default=None)


@given(_PUTS, _PUTS)
def test_what_was_measured_stands_over_what_was_kept(
    before: list[tuple[int, dict[str, Value]]], now: list[tuple[int, dict[str, Value]]]
) -> None:
    old, new = Ring(1.0, 20), Ring(1.0, 20)
    number = 50
    for move, values in before:
        number = max(0, number + abs(move))
        old.put(number, values)
    kept = {n: old.bucket(n) for n in range(number + 1)}
    number = max(0, number - 10)
    for move, values in now:
        number += abs(move)
        new.put(number, values)
    mine = {n: new.bucket(n) for n in range(number + 1)}
    newest = new.newest if new.newest >= 0 else old.newest
    new.below(old)
    assert new.newest == newest
    for n in range(max(0, newest - 19), newest + 1):
        assert new.bucket(n) == {**kept.get(n, {}), **mine.get(n, {})}


def test_series_that_nobody_measures_any_more_are_forgotten() -> None:
    ring = Ring(1.0, 10)
    for number in range(25):
        ring.put(number, {"cpu": 1.0} if number else {"cpu": 1.0, "gpu:gone": 2.0})
    assert ring.names() == ("cpu",)


# --- figures -----------------------------------------------------------------------------------------------------------

_SHARE = st.none() | st.floats(0, 100)
_BYTES = st.none() | st.integers(0, 10**12)


@st.composite
def _samples(draw: st.DrawFn) -> Sample:
    gpus = tuple(
        Gpu(f"GPU-{index}", index, memory_total=10**10, memory_used=draw(_BYTES), percent=draw(_SHARE), temperature=draw(_SHARE))
        for index in range(draw(st.integers(0, 3)))
    )
    cores = tuple(draw(st.lists(st.floats(0, 100), max_size=4)))
    cpu = Cpu(draw(_SHARE), cores, temperature=draw(_SHARE), frequency=draw(_SHARE))
    memory = Memory(10**11, draw(_BYTES), 10**9, draw(_BYTES), cache=draw(_BYTES))
    group = Cgroup(2, 10**9, draw(st.none() | st.integers(0, 10**9)), cpu_percent=draw(_SHARE))
    return Sample(START, 1.0, cpu, memory, gpus=gpus, cgroup=draw(st.none() | st.just(group)))


@given(_samples())
def test_a_sample_rebuilt_out_of_its_figures_has_the_same_figures(one: Sample) -> None:
    values = figures(one)
    again = figures(rebuilt(one, START + 60, values))
    assert again.keys() == values.keys()
    for name, value in values.items():
        assert again[name] == (None if value is None else pytest.approx(value, abs=1e-6))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory", 40.0), ("swap", 50.0), ("disk_read", 4.0), ("disk_write", 4.0), ("net_in", 7.0), ("net_out", 8.0),
        ("gpu:GPU-1", 50.0), ("gpu:GPU-1:memory", 25.0), ("gpu:GPU-1:temperature", 60.0), ("gpu:GPU-1:power", 200.0), ("gpu:x", None),
    ],
)  # fmt: skip
def test_figures_by_name(name: str, value: float | None) -> None:
    history = History()
    history.add(sample(), 1.0)
    assert history.points(name, 1).values == (value,)


# --- time --------------------------------------------------------------------------------------------------------------


def test_a_gap_is_a_gap_in_the_graph_too() -> None:
    history = History()
    for moment in (10.0, 11.0, 12.02, 17.0, 18.0):
        history.add(at(moment, moment), 1.0)
    assert list(history.points("cpu", 9).values) == [10.0, 11.0, 12.02, None, None, None, None, 17.0, 18.0]
    assert history.points("cpu", 3).values == (None, 17.0, 18.0)


def test_a_sample_that_is_a_little_late_leaves_no_gap() -> None:
    history = History()
    for moment in (10.5, 11.99, 13.01, 13.99):
        history.add(at(moment, moment), 1.0)
    assert history.points("cpu", 4).values == (10.5, 11.99, 13.01, 13.99)


def test_samples_of_another_interval_are_drawn_on_this_ones_scale() -> None:
    history = History()
    history.add(at(10.0, 1.0), 1.0)
    history.add(at(11.0, 2.0), 1.0)
    history.add(at(16.0, 3.0), 5.0)
    points = history.points("cpu", 10)
    assert (points.values, points.step) == ((2.0, 3.0), 5.0)
    history.add(at(20.5, 4.0), 0.5)
    assert history.points("cpu", 600).step == 0.5
    assert history.moment(11.0) is not None


def test_E04_after_a_suspension_there_is_a_gap_and_the_day_before_it_is_kept() -> None:
    history = filled(1800)
    history.add(at(START + 1800 + 8 * 3600, 99.0), 1.0)
    assert history.points("cpu", 600).values[-2:] == (None, 99.0)
    assert not any(history.points("cpu", 600).values[:-1])
    day = history.points("cpu", 86_400).values
    assert [value for value in day if value is not None] == [pytest.approx(29.5 + 60 * minute) for minute in range(30)] + [99.0]
    assert history.moment(START + 1800 + 3600) is None
    assert history.oldest() == START


def test_a_clock_that_is_set_back_drops_what_is_still_to_come() -> None:
    history = filled(300)
    history.add(at(START + 100, 7.0), 1.0)
    assert history.points("cpu", 3).values == (98.0, 99.0, 7.0)
    assert (found := history.moment(START + 250)) is None or found.time <= START + 100
    assert history.samples()[-1].time == START + 100
    history.add(at(1000.0, 8.0), 1.0)  # by years: no battery
    history.add(at(1001.0, 9.0), 1.0)
    assert history.points("cpu", 600).values[-3:] == (None, 8.0, 9.0)
    assert history.oldest() == 960.0
    history.add(at(START, 5.0), 1.0)  # and right again
    assert history.points("cpu", 2).values == (None, 5.0)


def test_a_mean_that_is_not_finished_is_shown_so_far() -> None:
    history = filled(15)
    assert history.points("cpu", 3600).values[-2:] == (4.5, 12.0)
    assert history.points("cpu", 86_400).values[-1] == 7.0


def test_the_span_decides_the_step_and_freezing_keeps_its_place() -> None:
    history = filled(1300)
    assert [history.points("cpu", seconds).step for seconds in (120, 600, 3600, 7200, 86_400)] == [1.0, 1.0, 10.0, 10.0, 60.0]
    frozen = history.points("cpu", 120, until=START + 1200)
    assert frozen.values[-1] == 1200.0
    assert (frozen.newest, frozen.step) == (int(START) + 1200, 1.0)
    assert history.points("cpu", 120, until=START + 100).step == 10.0, "the samples of then are gone"


def test_walking_back_gives_samples_then_figures_then_means() -> None:
    history = filled(1300)
    now = START + 1299
    whole, fine, mean = history.moment(now - 10.5), history.moment(now - WHOLE - 100), history.moment(now - 1200)
    assert whole is not None
    assert fine is not None
    assert mean is not None
    assert (whole.time, whole.cpu.percent, whole.disks) == (now - 11, 1288.0, sample().disks)
    assert (fine.time, fine.cpu.percent) == (now - WHOLE - 100, 1299 - WHOLE - 100)
    assert (mean.time, mean.cpu.percent) == (START + 90, pytest.approx(94.5))
    assert history.moment(START - 5) is None


def test_cores_are_kept_ten_minutes_and_no_longer() -> None:
    history = History()
    history.add(replace(at(START), cpu=Cpu(5.0, (1.0, 2.0))), 1.0)
    assert history.points("core:1", 1).values == (2.0,)
    assert not any(name.startswith("core:") for ring in history.coarse for name in ring.names())


def test_a_gpu_that_went_is_there_when_one_walks_back() -> None:
    history = History()
    history.add(at(START), 1.0)
    for second in range(1, 200):
        history.add(replace(at(START + second), gpus=()), 1.0)
    then, now = history.moment(START), history.moment(START + 199)
    assert then is not None
    assert now is not None
    assert [(gpu.uuid, gpu.name, gpu.temperature) for gpu in then.gpus] == [("GPU-1", "RTX 3090", 60.0)]
    assert now.gpus == ()


def test_a_sample_of_a_large_machine_is_taken_in_well_under_a_millisecond() -> None:
    gpus = tuple(Gpu(f"GPU-{n}", n, percent=5.0, memory_total=10**10, memory_used=n, temperature=50.0, power=9.0) for n in range(8))
    many = replace(sample(), cpu=Cpu(5.0, tuple(float(n) for n in range(128))), gpus=gpus)
    history, best = History(), 1.0
    for second in range(40):
        began = time.perf_counter()
        history.add(replace(many, time=START + second), 1.0)
        best = min(best, time.perf_counter() - began)
    assert best < 0.001


# --- in the database ---------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "paddock.db", patience=0.1)
    yield database
    database.close()


class Kept:
    def __init__(self, history: History, database: Database) -> None:
        self.clock = ManualClock(START)
        self.said: list[str] = []
        self.keeping = Keeping(history, database, self.clock, self._say)

    def _say(self, text: str, _severity: Severity) -> None:
        self.said.append(text)


async def test_means_are_written_once_a_minute_and_read_at_the_next_start(database: Database) -> None:
    history = filled(125)
    kept = Kept(history, database)
    await kept.keeping.write_if_due()
    assert Samples(database).read(10, 0, 10**12) == {}, "a minute is not over"
    kept.clock.advance(EVERY)
    await kept.keeping.write_if_due()
    first = int(START / 10)
    stored = Samples(database).read(10, 0, 10**12)
    assert list(stored) == list(range(first, first + 12)), "the thirteenth is not finished"
    assert stored[first]["cpu"] == 4.5
    await kept.keeping.finish()
    again = History()
    again.add(at(START + 130, 50.0), 1.0)
    reader = Kept(again, database)
    reader.clock.advance(131)
    await reader.keeping.load()
    assert again.points("cpu", 3600).values[-3:] == (114.5, 122.0, 50.0)
    assert again.points("cpu", 86_400).values[-3:] == (29.5, 89.5, 50.0), "what was measured now stands over it"
    fine = again.points("cpu", 120)
    assert (fine.step, fine.values[-1], fine.values[-2], fine.values[-22]) == (1.0, 50.0, 122.0, 104.5)
    assert again.oldest() == START


async def test_means_older_than_their_day_and_of_a_time_to_come_are_dropped(database: Database) -> None:
    samples = Samples(database)
    now = int(START / 60)
    await samples.append(60, [(now - 1500, {"old": 1.0}), (now + 9999, {"wrong": 1.0})])
    kept = Kept(filled(125), database)
    assert await kept.keeping.write()
    assert set(samples.read(60, 0, 10**9)) == {now, now + 1}
    names = database.read(lambda connection: {row[0] for row in connection.execute("SELECT name FROM series")})
    assert "cpu" in names
    assert not names & {"old", "wrong"}


async def test_means_of_a_time_to_come_are_not_read(database: Database) -> None:
    await Samples(database).append(10, [(int(START / 10) + 500, {"cpu": 1.0})])
    assert [ring.newest for ring in await stored_rings(database, START)] == [-1, -1]
    assert [(ring.step, ring.size) for ring in await stored_rings(database, START)] == list(COARSE)


async def test_a_history_that_cannot_be_written_is_said_once_and_tried_again(tmp_path: Path, database: Database) -> None:
    read_only = Database(database.path, read_only=True)
    history = filled(125)
    kept = Kept(history, read_only)
    assert not await kept.keeping.write()
    assert not await kept.keeping.write()
    await kept.keeping.finish()
    (said,) = kept.said
    assert said.startswith("The history of figures is not kept: ")
    kept.keeping._samples = Samples(database)
    assert await kept.keeping.write(), "it works again"
    assert len(Samples(database).read(10, 0, 10**12)) == 12
    read_only.close()
