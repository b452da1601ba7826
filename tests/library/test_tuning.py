"""Optimising and comparing levels against a server on a real socket: kept only where better, and nothing left behind otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.bench import CHANGES, GB, Bench
from tui.core.capabilities import Ability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Metrics
from tui.core.levels import LevelFigures
from tui.core.monitor import Profile
from tui.core.tuning import Optimised, OptimiseState
from tui.services.library import tuning_measure
from tui.services.library.tuning_measure import LONGEST, PROMPTS, STAYS
from tui.services.library.tuning_words import ordered, outcome
from tui.services.library.tuning_work import benchmark, optimise
from tui.store.measurements import Measurements

KEY = ("box", "a:latest")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = await Bench(tmp_path).open()
    yield made
    await made.aclose()


async def kept(bench: Bench) -> Optimised:
    return bench.table.optimised()[KEY]


async def test_what_is_better_is_kept_and_the_model_is_unloaded_as_it_was(bench: Bench) -> None:
    bench.server.speed = lambda options: 60.0 if options.get("num_batch") == 1024 else 50.0
    row = await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert row.state == OptimiseState.KEPT
    assert row.before is not None and row.after is not None
    assert (round(row.before.rate or 0), round(row.after.rate or 0)) == (50, 60)
    assert (row.before.prompt_rate, row.before.context, row.after.context) == (pytest.approx(500), 4096, 8192)
    assert bench.config.current.value.models.options_of("a") == {"num_ctx": 8192, "num_batch": 1024}
    assert "num_batch = 1024" in bench.written
    assert bench.server.loaded == {}
    assert await kept(bench) == row
    assert "20 % faster" in outcome(row) and "is kept" in outcome(row)
    assert {step.partition(":")[0] for step in bench.steps} >= {"before", "after"}


async def test_what_is_not_better_is_not_kept(bench: Bench) -> None:
    bench.server.speed = lambda options: 40.0 if options else 50.0
    row = await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert row.state == OptimiseState.NOT_BETTER
    assert bench.written == ""
    assert bench.config.current.value.models.options == {}
    assert bench.server.loaded == {}
    assert "not kept" in outcome(row)


def profile(bench: Bench, model: str = "a:latest") -> Profile:
    return Measurements(bench.database).profile("box", model)


async def test_what_is_kept_is_the_speed_of_the_model_from_then_on(bench: Bench) -> None:
    await Measurements(bench.database).add("box", "a:latest", Metrics(output_tokens=20, output_seconds=1.0))
    bench.server.speed = lambda options: 60.0 if options.get("num_batch") == 1024 else 50.0
    row = await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert row.after is not None
    found, after = profile(bench), row.after
    assert (found.answers, found.rate, found.prompt_rate, found.context) == (2, after.rate, after.prompt_rate, 8192)
    assert (found.first_token, found.memory) == (after.first_token, after.memory)


async def test_what_is_not_kept_is_no_speed_of_the_model(bench: Bench) -> None:
    await Measurements(bench.database).add("box", "a:latest", Metrics(output_tokens=50, output_seconds=1.0))
    bench.server.speed = lambda options: 40.0 if options else 50.0
    row = await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert row.state == OptimiseState.NOT_BETTER
    found = profile(bench)
    assert (found.answers, found.context) == (2, 4096)
    assert found.rate == pytest.approx(50.0)


async def test_both_times_the_same_is_asked_without_chance_and_soon_forgotten(bench: Bench) -> None:
    await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(temperature=0.9, num_thread=4), CHANGES)
    asked = [request.json for request in bench.server.requests if request.path == "/api/chat"]
    half = len(PROMPTS)
    assert [one["messages"] for one in asked[:half]] == [one["messages"] for one in asked[half:]]
    for one in asked:
        assert one["keep_alive"] == STAYS
        assert (one["options"]["temperature"], one["options"]["seed"], one["options"]["num_predict"]) == (0.0, 7, LONGEST)
        assert one["options"]["num_thread"] == 4
    assert all("num_ctx" not in one["options"] for one in asked[:half])
    assert all(one["options"]["num_ctx"] == 8192 for one in asked[half:])
    assert {load["keep_alive"] for load in bench.server.loads} == {STAYS}


async def test_a_model_that_was_loaded_is_loaded_again_as_it_was(bench: Bench) -> None:
    bench.server.loaded["a:latest"] = {"num_ctx": 2048}
    bench.server.speed = lambda options: 40.0 if options else 50.0
    await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert bench.server.loaded == {"a:latest": {"num_ctx": 2048}}
    assert bench.server.loads[-1]["keep_alive"] == -1  # it was pinned: it went in 73 years


async def test_a_model_that_was_loaded_has_the_better_options_afterwards(bench: Bench) -> None:
    bench.server.loaded["a:latest"] = {"num_ctx": 2048}
    bench.server.speed = lambda options: 60.0 if options.get("num_batch") == 1024 else 50.0
    await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert bench.server.loaded == {"a:latest": {"num_ctx": 8192, "num_batch": 1024}}


@pytest.mark.parametrize("at", [1, 3, len(PROMPTS) + 2])
async def test_H07_a_server_that_dies_midway_changes_nothing(bench: Bench, at: int) -> None:
    bench.server.speed = lambda options: 60.0 if options else 50.0
    bench.server.dies_at = at
    with pytest.raises(PaddockError) as caught:
        await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert caught.value.failure.kind in (FailureKind.INTERRUPTED, FailureKind.UNREACHABLE)
    row = await kept(bench)
    assert (row.state, bench.written) == (OptimiseState.FAILED, "")
    assert row.failure is not None
    assert "nothing was changed" in outcome(row)


@pytest.mark.parametrize("at", [2, len(PROMPTS) + 1])
async def test_a_cancelled_optimisation_puts_everything_back(bench: Bench, at: int) -> None:
    bench.server.speed = lambda options: 60.0 if options else 50.0
    bench.server.holds_at = at
    task = asyncio.ensure_future(optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES))
    await bench.server.held.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert (await kept(bench)).state == OptimiseState.STOPPED
    assert (bench.written, bench.server.loaded) == ("", {})
    assert (profile(bench).answers, profile(bench).context) == ((1, 4096) if at > len(PROMPTS) else (0, None))


async def test_D03_what_is_kept_is_kept_though_it_cannot_be_noted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be said that nothing was changed."""

    async def full(_row: Optimised) -> None:
        raise PaddockError.of("The disk is full", "paddock.db", "Make room")

    monkeypatch.setattr(bench.table, "end", full)
    bench.server.speed = lambda options: 60.0 if options else 50.0
    row = await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert row.state == OptimiseState.KEPT and "num_ctx = 8192" in bench.written


async def test_a_second_stop_does_not_leave_it_running_in_the_books(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another window would be told for ever that this one measures."""
    reached, never = asyncio.Event(), asyncio.Event()

    async def hangs(*_args: object) -> None:
        reached.set()
        await never.wait()

    monkeypatch.setattr(tuning_measure, "put_back", hangs)
    bench.server.holds_at = 2
    task = asyncio.ensure_future(optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES))
    await bench.server.held.wait()
    task.cancel()
    await reached.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert (await kept(bench)).state == OptimiseState.STOPPED


async def test_a_stop_that_comes_while_it_is_written_comes_too_late(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.server.speed = lambda options: 60.0 if options else 50.0
    real = bench.config.set_all
    task: asyncio.Task[Optimised]
    loop = asyncio.get_running_loop()

    def slow(values: dict[str, object]) -> None:
        loop.call_soon_threadsafe(task.cancel)
        real(values)

    monkeypatch.setattr(bench.config, "set_all", slow)
    task = asyncio.ensure_future(optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES))
    assert (await task).state == OptimiseState.KEPT
    assert "num_ctx = 8192" in bench.written


async def test_C03_a_file_that_cannot_be_changed_keeps_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.server.speed = lambda options: 60.0 if options else 50.0
    bench.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    bench.paths.config_file.write_text("[broken\n")
    with pytest.raises(PaddockError):
        await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert bench.written == "[broken\n"
    assert (await kept(bench)).state == OptimiseState.FAILED
    assert bench.config.current.value.models.options == {}


async def test_D01_what_is_better_and_cannot_be_saved_is_in_force_and_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.server.speed = lambda options: 60.0 if options else 50.0

    def full(*_args: object, **_more: object) -> None:
        raise PaddockError.of("The disk is full", "config.toml", "Make room", FailureKind.DISK)

    monkeypatch.setattr("tui.config.files.replace", full)
    row = await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert row.state == OptimiseState.KEPT
    assert "not yet saved: The disk is full" in row.words[-1]
    assert bench.config.current.value.models.options_of("a")["num_ctx"] == 8192


async def test_a_limit_refuses_before_anything_is_unloaded(bench: Bench) -> None:
    bench.refusal = Failure("Not loaded: GPU memory 97 %", "[limits]", "Wait", FailureKind.REFUSED)
    bench.server.loaded["a:latest"] = {}
    with pytest.raises(PaddockError, match="GPU memory 97"):
        await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert bench.server.unloads() == 0
    assert bench.table.optimised() == {}


async def test_what_makes_no_answers_is_refused(bench: Bench) -> None:
    model = await bench.model("a:latest")
    for changed in (replace(model, abilities=frozenset({Ability.EMBEDDING})), replace(model, remote=True)):
        with pytest.raises(PaddockError) as caught:
            await optimise(bench.tools, changed, bench.proposal(), CHANGES)
        assert caught.value.failure.kind is FailureKind.UNSUPPORTED
    with pytest.raises(PaddockError, match="nothing to try"):
        await optimise(bench.tools, model, bench.proposal(), ())
    assert bench.server.chats == 0


async def test_a_model_that_somebody_uses_is_not_waited_for_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_measure, "UNLOADS", 0.05)
    monkeypatch.setattr(tuning_measure, "LOOK", 0.01)
    bench.server.loaded = _Stubborn({"a:latest": {}})
    with pytest.raises(PaddockError) as caught:
        await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert caught.value.failure.kind is FailureKind.BUSY
    assert "still in use" in caught.value.failure.what


class _Stubborn(dict[str, dict[str, object]]):
    """Models that stay."""

    def pop(self, *_args: object) -> None:  # type: ignore[override]
        return None


# --- crash and other windows ------------------------------------------------------------------------------------------


async def test_S01_a_run_whose_process_is_gone_is_told_once_and_nothing_was_changed(bench: Bench) -> None:
    row = await bench.table.begin("box", "a", CHANGES)
    assert await bench.table.take_interrupted() == ()
    await _owner(bench, row.id, pid=2**22 - 1)
    (told,) = await bench.table.take_interrupted()
    assert (told.state, told.changes) == (OptimiseState.INTERRUPTED, row.changes)
    assert await bench.table.take_interrupted() == ()
    assert (await kept(bench)).state == OptimiseState.INTERRUPTED
    assert bench.written == ""


async def test_two_windows_do_not_measure_on_one_server_at_once(bench: Bench) -> None:
    row = await bench.table.begin("box", "other:1b", CHANGES)
    await _owner(bench, row.id, pid=1)
    with pytest.raises(PaddockError, match="other:1b is being measured"):
        await optimise(bench.tools, await bench.model("a:latest"), bench.proposal(), CHANGES)
    assert bench.server.chats == 0


async def _owner(bench: Bench, row: int, pid: int) -> None:
    """Have another process be the one that measures."""
    from tui.store.identity import boot_id, process_start

    who = {"pid": pid, "start": process_start(pid) or "1", "boot": boot_id()}

    def put(connection: object) -> None:
        text = connection.execute("SELECT found FROM optimised WHERE id = ?", (row,)).fetchone()[0]  # type: ignore[attr-defined]
        found = json.dumps({**json.loads(text), "who": who})
        connection.execute("UPDATE optimised SET found = ? WHERE id = ?", (found, row))  # type: ignore[attr-defined]

    assert pid != os.getpid()
    await bench.database.run(put, ())


# --- levels ----------------------------------------------------------------------------------------------------------


async def levels(bench: Bench) -> tuple[LevelFigures, ...]:
    base, *others = ordered(await bench.provider.models())
    assert base.key == "a:latest"
    return await benchmark(bench.tools, base, others)


async def test_levels_are_measured_beside_the_largest(bench: Bench) -> None:
    rates = {"a:latest": 20.0, "a:q8_0": 35.0, "a:q4_K_M": 60.0}
    bench.server.speed = lambda options: rates[next(reversed(bench.server.loaded))]
    bench.server.says = lambda model, prompt: "one two three four" if model != "a:q4_K_M" else "one two other words"
    found = await levels(bench)
    assert [row.model for row in found] == ["a:latest", "a:q8_0", "a:q4_K_M"]
    assert [row.agreement for row in found] == [1.0, 1.0, 0.5]
    assert [(row.same, row.asked) for row in found] == [(4, 4), (4, 4), (0, 4)]
    assert [round(row.rate or 0) for row in found] == [20, 35, 60]
    assert [row.size for row in found] == [2 * GB, GB, GB // 2]
    assert all(row.memory and row.load_seconds is not None and row.base == "a:latest" for row in found)
    assert bench.table.levels() == {("box", "a:latest"): found}
    assert [(profile(bench, row.model).rate, profile(bench, row.model).prompt_rate) for row in found] == [
        (row.rate, row.prompt_rate) for row in found
    ]
    assert bench.server.loaded == {}


async def test_the_base_is_asked_twice_so_that_its_own_chance_is_seen(bench: Bench) -> None:
    said = iter(range(1000))
    bench.server.says = lambda model, prompt: f"answer {next(said)}" if model == "a:latest" else "answer x"
    found = await levels(bench)
    assert found[0].agreement == 0.5
    assert found[0].same == 0


async def test_cut_answers_are_counted_and_said(bench: Bench) -> None:
    bench.server.reason = "length"
    found = await levels(bench)
    assert [(row.cut, row.asked) for row in found] == [(4, 4)] * 3


async def test_a_level_that_cannot_be_loaded_keeps_no_other_from_being_measured(bench: Bench) -> None:
    bench.server.no_room.add("a:q8_0")
    found = await levels(bench)
    assert [bool(row.problem) for row in found] == [False, True, False]
    assert "memory" in found[1].problem
    assert found[2].agreement == 1.0


async def test_H07_a_server_that_dies_keeps_what_was_measured(bench: Bench) -> None:
    bench.server.dies_at = 2 * len(PROMPTS) + 2
    with pytest.raises(PaddockError):
        await levels(bench)
    assert [row.model for row in bench.table.levels()["box", "a:latest"]] == ["a:latest"]


async def test_levels_are_stopped_and_put_back(bench: Bench) -> None:
    bench.server.holds_at = 2 * len(PROMPTS) + 1
    bench.server.loaded["a:q8_0"] = {"num_ctx": 1024}
    task = asyncio.ensure_future(levels(bench))
    await bench.server.held.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert [row.model for row in bench.table.levels()["box", "a:latest"]] == ["a:latest"]
    assert bench.server.loaded == {"a:q8_0": {"num_ctx": 1024}}


async def test_a_level_measured_again_takes_the_place_of_its_figures(bench: Bench) -> None:
    await levels(bench)
    bench.server.speed = lambda options: 99.0
    found = await levels(bench)
    assert bench.table.levels() == {("box", "a:latest"): found}


async def test_hostile_rows_of_another_hand_are_read_as_far_as_they_go(bench: Bench, tmp_path: Path) -> None:
    def put(connection: object) -> None:
        bad = '{"state":5,"changes":[1,{"key":"x","new":"y"},{"key":"num_ctx\\u001b","new":3}],"before":[],"who":7,"failure":"x"}'
        connection.execute("INSERT INTO optimised (at, provider, model, found) VALUES (1, 'box', 'a:latest', ?)", (bad,))  # type: ignore[attr-defined]
        level = '{"rate":"fast","same":true,"agreement":0.5,"problem":5,"digest":"\\u001b[1mx"}'
        query = "INSERT INTO level (at, provider, base, model, level, found) VALUES (1, 'box', 'a', 'b', 'q', ?)"
        connection.execute(query, (level,))  # type: ignore[attr-defined]

    await bench.database.run(put, ())
    row = await kept(bench)
    assert [change.new for change in row.changes] == [3]
    assert "\x1b" not in row.changes[0].key
    (figures,) = bench.table.levels()["box", "a"]
    assert (figures.rate, figures.agreement, figures.same, figures.problem) == (None, 0.5, 0, "")
    assert "\x1b" not in figures.digest
    assert await bench.table.take_interrupted() == ()
