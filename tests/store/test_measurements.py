"""Measurements: what a profile is made of, and how cheap it stays."""

from __future__ import annotations

import time

import pytest

from tui.core.clock import ManualClock
from tui.core.events import Metrics
from tui.core.models import RunningModel
from tui.core.monitor import Profile
from tui.core.tuning import Measured
from tui.store.db import Database
from tui.store.measurements import MEASUREMENTS, RECENT, Measurements


@pytest.fixture
def kept(database: Database, clock: ManualClock) -> Measurements:
    return Measurements(database, clock)


async def test_a_profile_is_the_medians_of_what_is_known(kept: Measurements, clock: ManualClock) -> None:
    for rate, load, first in ((10, 3.0, 0.4), (30, None, None), (20, 0.1, 0.6)):
        await kept.add("box", "a", Metrics(output_tokens=rate, output_seconds=1.0, load_seconds=load), first_token=first)
        clock.advance(1)
    await kept.add("box", "b", Metrics())
    profile = kept.profile("box", "a")
    assert (profile.answers, profile.rate, profile.load_seconds, profile.first_token) == (3, 20.0, 3.0, 0.5)
    assert profile.last_used == pytest.approx(clock.time() - 1)
    assert kept.profile("box", "b") == Profile(answers=1, last_used=clock.time())
    assert kept.profile("box", "c") == Profile()
    assert await kept.profiles() == {("box", "a"): profile, ("box", "b"): kept.profile("box", "b")}


async def test_memory_is_of_the_newest_report(kept: Measurements) -> None:
    for size, vram, context in ((5, 5, 4096), (7, 6, 8192), (None, None, None)):
        await kept.add("box", "a", Metrics(), loaded=RunningModel("box", "a", "a", size, vram, context))
    await kept.add("box", "a", Metrics())
    profile = kept.profile("box", "a")
    assert (profile.memory, profile.vram, profile.context) == (7, 6, 8192)


async def test_energy_comes_later_and_counts_where_it_is_known(kept: Measurements, database: Database) -> None:
    rows = [await kept.add("box", "a", Metrics(output_tokens=tokens)) for tokens in (10, 20, 40, None)]
    for row, joules in zip(rows, (100.0, 100.0, 200.0, 300.0), strict=True):
        await kept.set_energy(row, joules)
    await kept.add("box", "a", Metrics(output_tokens=1000))
    profile = kept.profile("box", "a")
    assert (profile.joules, profile.joules_per_token) == (150.0, 5.0)
    assert database.revisions()[MEASUREMENTS] == 9


async def test_what_was_measured_on_purpose_is_one_answer(kept: Measurements, clock: ManualClock) -> None:
    await kept.add("box", "a", Metrics(output_tokens=10, output_seconds=1.0), first_token=0.4)
    await kept.add_measured("box", "a", Measured(2.0, 0.2, 30.0, 500.0, 7, 6, 4096))
    profile = kept.profile("box", "a")
    assert (profile.answers, profile.rate, profile.prompt_rate, profile.load_seconds) == (2, 20.0, 500.0, 2.0)
    assert profile.first_token == pytest.approx(0.3)
    assert (profile.memory, profile.vram, profile.context, profile.last_used) == (7, 6, 4096, clock.time())


async def test_settings_that_were_kept_begin_a_profile_anew(kept: Measurements) -> None:
    for _number in range(RECENT):
        await kept.add("box", "a", Metrics(output_tokens=10, output_seconds=1.0), first_token=0.4)
    await kept.add_measured("box", "a", Measured(rate=60.0), tuned=True)
    profile = kept.profile("box", "a")
    assert (profile.answers, profile.rate, profile.first_token) == (RECENT + 1, 60.0, None)
    await kept.add("box", "a", Metrics(output_tokens=40, output_seconds=1.0), first_token=0.1)
    profile = kept.profile("box", "a")
    assert (profile.answers, profile.rate, profile.first_token) == (RECENT + 2, 50.0, 0.1)


@pytest.mark.parametrize(
    ("metrics", "given", "rate"),
    [
        (Metrics(prompt_tokens=400, prompt_seconds=2.0), None, None),  # a part of it may have come from a cache
        (Metrics(prompt_tokens=400, prompt_seconds=2.0, cached_tokens=0), None, 200.0),
        (Metrics(prompt_tokens=400, prompt_seconds=0.5, cached_tokens=300), None, 200.0),
        (Metrics(prompt_tokens=400, prompt_seconds=0.01, cached_tokens=399), None, None),
        (Metrics(prompt_tokens=400, prompt_seconds=2.0), 150.0, 150.0),
    ],
)
async def test_the_rate_of_a_prompt_leaves_cached_tokens_out(
    kept: Measurements, metrics: Metrics, given: float | None, rate: float | None
) -> None:
    await kept.add("box", "a", metrics, prompt_rate=given)
    assert kept.profile("box", "a").prompt_rate == rate


async def test_the_longest_lately(kept: Measurements) -> None:
    assert kept.longest("box", "a") is None
    await kept.add("box", "a", Metrics(prompt_tokens=9000, output_tokens=9000))
    for _ in range(RECENT):
        await kept.add("box", "a", Metrics(prompt_tokens=300, output_tokens=50))
    assert kept.longest("box", "a") == 350


async def test_a_profile_stays_cheap_among_many_measurements(kept: Measurements, database: Database) -> None:
    """100,000 of them, of 50 models: the index is used, and no table is read whole."""
    rows = [(float(number), f"m{number % 50}", 20.0 + number % 7) for number in range(100_000)]
    await database.run(
        lambda connection: connection.executemany(
            "INSERT INTO measurement (at, kind, provider, model, rate) VALUES (?, 'chat', 'box', ?, ?)", rows
        )
    )
    began = time.perf_counter()
    profiles = await kept.profiles()
    assert time.perf_counter() - began < 0.5  # 20 ms on a quiet machine
    assert len(profiles) == 50
    assert profiles["box", "m3"].answers == 2000
    plans = database.read(
        lambda connection: [
            row[3]
            for query in ("SELECT provider, model, count(*) FROM measurement GROUP BY provider, model",
                          "SELECT joules FROM measurement WHERE provider = 'box' AND model = 'm1' ORDER BY id DESC LIMIT 20")
            for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")
        ]
    )  # fmt: skip
    assert all("INDEX measurement_model" in plan for plan in plans), plans
