"""The arithmetic of pulls, on recorded streams of real servers and on invented ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tui.core.events import JobStep
from tui.core.jobs import Plan, PlanLayer
from tui.core.pulls import HISTORY, Phase, PullMeter, PullProgress, Stall

PULLS = Path(__file__).parents[1] / "recordings" / "pulls"
MB = 1_000_000


def recorded(name: str) -> list[list[tuple[float, JobStep]]]:
    """The pulls of a recording: lines with their times in seconds."""
    pulls: list[list[tuple[float, JobStep]]] = []
    rest = ""
    for line in (PULLS / f"{name}.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        if "request" in entry:
            rest = ""
            if entry["request"]["path"] == "/api/pull":
                pulls.append([])
        elif "data" in entry and pulls:
            *lines, rest = (rest + entry["data"]).split("\n")
            for text in lines:
                step = json.loads(text) if text else {}
                if "status" in step or "digest" in step:
                    step = JobStep(step.get("status", ""), step.get("digest", ""), step.get("total"), step.get("completed"))
                    pulls[-1].append((entry["t"] / 1000, step))
    return pulls


def fed(meter: PullMeter, step: JobStep, now: float) -> PullProgress:
    meter.feed(step, now)
    return meter.progress(now)


def replay(lines: list[tuple[float, JobStep]], meter: PullMeter | None = None, start: float = 0.0) -> list[PullProgress]:
    meter = meter or PullMeter(start)
    return [fed(meter, step, start + at) for at, step in lines]


def layer(completed: Any, total: Any = 100 * MB, digest: str = "sha256:a", status: str = "pulling a") -> JobStep:
    return JobStep(status, digest, total, completed)


@pytest.mark.parametrize(
    "name", ["0.24_pull_fresh", "0.33_pull_fresh", "0.24_pull_cancel_resume", "0.33_pull_cancel_resume", "0.24_pull_reset"]
)
def test_recorded_pulls_never_jump(name: str) -> None:
    for lines in recorded(name):
        seen = replay(lines)
        percents = [one.percent for one in seen if one.percent is not None]
        assert percents == sorted(percents)
        assert [one.done for one in seen] == sorted(one.done for one in seen)
        assert all(0 <= value <= 100 for value in percents)
        assert all(one.rate is None or 0 <= one.rate < 100 * MB for one in seen)
        if lines[-1][1].status == "success":
            assert seen[-1].percent == 100.0
            assert seen[-1].phase is Phase.DONE
            assert seen[-1].done == seen[-1].total
            assert all(one.percent is None or one.percent <= 99 for one in seen if one.phase is Phase.FETCHING)


def test_layer_is_complete_when_the_stream_moves_on() -> None:
    (lines,) = recorded("0.33_pull_fresh")
    last = max(step.completed or 0 for _, step in lines)
    seen = replay(lines)
    assert last < 77_967_776  # the server never says so itself
    checking = next(one for one in seen if one.phase is Phase.CHECKING)
    assert checking.layers[0].completed == checking.layers[0].total == 77_967_776


def test_small_layers_at_the_end_are_no_slowness() -> None:
    (lines,) = recorded("0.24_pull_fresh")
    seen = replay(lines)
    fetching = [one for one in seen if one.phase is Phase.FETCHING and one.rate is not None]
    before = next(one.rate for one in reversed(fetching) if len(one.layers) == 1)
    assert fetching[-1].rate == pytest.approx(before, rel=0.05)
    assert all(one.eta is None or one.eta < 60 for one in seen)


def test_resumed_bytes_are_no_speed() -> None:
    first, second = recorded("0.33_pull_cancel_resume")[:2]
    meter = PullMeter(0.0)
    stopped = replay(first, meter)[-1]
    meter.restart(10.0)
    assert meter.progress(10.0).done == stopped.done  # shown until the server reports again
    seen = replay(second, meter, 10.0)
    assert next(one for one in seen if one.layers).done > 20 * MB
    rates = [one.rate for one in seen if one.rate is not None]
    assert rates
    assert max(rates) < 30 * MB


def test_everything_there_makes_no_rate() -> None:
    for name in ("0.24_pull_cached", "0.33_pull_cached"):
        (lines,) = recorded(name)
        seen = replay(lines)
        assert all(one.rate is None and one.eta is None and one.average is None for one in seen)
        assert seen[-1].percent == 100.0


def test_Q01_stall_is_measured_in_bytes_not_lines() -> None:
    meter = PullMeter(0.0)
    fed(meter, layer(5 * MB), 1.0)
    seen = {}
    for tick in range(1, 1600):  # a line every 60 ms, as Ollama sends them
        now = 1.0 + tick * 0.06
        seen[now] = fed(meter, layer(5 * MB), now)
    assert all(one.stall is Stall.NONE for now, one in seen.items() if now < 30.9)
    assert all(one.stall is Stall.NOTICE for now, one in seen.items() if 31.1 < now < 90.9)
    assert all(one.stall is Stall.RECONNECT for now, one in seen.items() if now > 91.1)
    assert fed(meter, layer(6 * MB), 97.0).stall is Stall.NONE


def test_Q01_no_stall_while_checking() -> None:
    meter = PullMeter(0.0)
    fed(meter, layer(99 * MB), 1.0)
    fed(meter, JobStep("verifying sha256 digest"), 2.0)
    assert meter.progress(9.0).silent == 0
    for now in range(10, 600, 5):
        assert meter.progress(float(now)).stall is Stall.NONE


def test_Q01_stalled_speed_falls_to_nothing() -> None:
    meter = PullMeter(0.0)
    for tick in range(1, 41):
        fed(meter, layer(tick * MB), tick * 0.25)
    assert 3.5 * MB < (meter.progress(10.0).rate or 0) < 4.5 * MB
    for tick in range(1, 240):
        fed(meter, layer(40 * MB), 10 + tick * 0.25)
    stuck = meter.progress(70.0)
    assert (stuck.rate or 0) < 1000
    assert stuck.eta is None


def test_Q04_rollback_is_absorbed_and_named() -> None:
    meter = PullMeter(0.0)
    for tick in range(1, 61):
        fed(meter, layer(tick * MB), tick * 0.25)
    fallen = fed(meter, layer(20 * MB), 15.25)
    assert fallen.restarted
    assert fallen.done == 60 * MB
    assert fallen.percent == 60.0
    for tick in range(1, 41):
        again = fed(meter, layer((20 + tick) * MB), 15.25 + tick * 0.25)
        assert (again.rate or 0) >= 0
        assert again.done == 60 * MB
    assert not again.restarted
    assert fed(meter, layer(61 * MB), 26.0).done == 61 * MB


def test_Q04_recorded_resets_never_show_a_negative_speed() -> None:
    seen = [one for lines in recorded("0.24_pull_reset") for one in replay(lines)]
    assert any(one.restarted for one in seen)
    assert min(one.rate or 0 for one in seen) >= 0


@pytest.mark.parametrize("total", [0, -1, 10**40, 1.5e9, "12", None, True, float("nan"), float("inf")])
@pytest.mark.parametrize("completed", [0, -5, 10**40, 2.5, "7", None, float("nan"), 10**12])
def test_Q05_senseless_figures(total: Any, completed: Any) -> None:
    meter = PullMeter(0.0)
    for tick in range(8):
        seen = fed(meter, layer(completed, total), tick * 0.5)
        assert seen.percent is None or 0 <= seen.percent <= 99
        assert seen.done >= 0
        assert seen.rate is None or seen.rate >= 0


def test_Q05_several_digests_interleaved() -> None:
    meter = PullMeter(0.0)
    for digest in "abc":
        fed(meter, layer(None, 10 * MB, digest, ""), 0.0)
    for tick in range(1, 9):
        for digest in "abc":
            seen = fed(meter, layer(tick * MB, 10 * MB, digest, ""), tick * 0.5)
    assert seen.done == 24 * MB
    assert seen.total == 30 * MB
    assert seen.percent == pytest.approx(80.0)


def test_Q12_a_suspended_program_is_no_stall() -> None:
    meter = PullMeter(0.0)
    for tick in range(1, 21):
        fed(meter, layer(tick * MB), tick * 0.25)
    before = meter.progress(5.0).rate
    after = fed(meter, layer(20 * MB), 305.0)
    assert after.stall is Stall.NONE
    assert meter.progress(306.0).stall is Stall.NONE
    assert after.rate == pytest.approx(before, rel=0.3)


def test_time_left_is_rounded_and_waits_for_data() -> None:
    meter = PullMeter(0.0)
    assert fed(meter, layer(MB), 0.1).eta is None
    for tick in range(1, 21):
        seen = fed(meter, layer(MB + tick * MB), 0.1 + tick * 0.25)
    assert seen.eta == 20.0  # 79 MB at 4 MB/s
    meter = PullMeter(0.0)
    for tick in range(21):
        seen = fed(meter, layer(tick * MB, 2000 * MB), tick * 0.25)
    assert seen.eta is not None
    assert seen.eta % 30 == 0


def test_history_has_one_value_a_second_and_merges_old_ones() -> None:
    meter = PullMeter(0.0)
    for tick in range(41):
        fed(meter, layer(tick * MB, 10_000 * MB), tick * 0.25)
    history = meter.progress(10.0).history
    assert len(history) == 10
    assert history[5] == pytest.approx(4 * MB, rel=0.3)
    for tick in range(41, 4000):
        fed(meter, layer(tick * MB, 10_000 * MB), tick * 0.25)
    history = meter.progress(1000.0).history
    assert HISTORY / 2 <= len(history) <= HISTORY
    assert sum(history) / len(history) == pytest.approx(4 * MB, rel=0.1)


# --- against the manifest ---------------------------------------------------------------------------------------------


def manifest(lines: list[tuple[float, JobStep]], *extra: int, present: frozenset[str] | None = frozenset()) -> Plan:
    """The plan of a recorded pull: the layers it named and small ones that it never names."""
    sizes = {step.digest: step.total for _, step in lines if step.digest and step.total}
    layers = [PlanLayer(digest, total, "weights") for digest, total in sizes.items()]
    return Plan((*layers, *(PlanLayer(f"sha256:extra{n}", size, "licence") for n, size in enumerate(extra))), present)


@pytest.mark.parametrize("name", ["0.24_pull_fresh", "0.33_pull_fresh", "0.24_pull_cancel_resume", "0.24_pull_reset"])
def test_recorded_pulls_against_their_manifest_never_jump(name: str) -> None:
    for lines in recorded(name):
        meter = PullMeter(0.0)
        plan = manifest(lines, 1500, 11_000)
        meter.expect(plan)
        seen = replay(lines, meter)
        percents = [one.percent for one in seen if one.percent is not None]
        assert percents == sorted(percents)
        assert {one.total for one in seen if one.layers} <= {plan.total}
        assert all(one.percent is None or one.percent < 99.5 for one in seen if one.phase in (Phase.ASKING, Phase.FETCHING))
        assert all(one.planned for one in seen if one.layers)
        if lines[-1][1].status == "success":
            assert (seen[-1].percent, seen[-1].done) == (100.0, plan.total)


def test_everything_there_by_the_manifest_is_done_at_once() -> None:
    (lines,) = recorded("0.33_pull_cached")[:1]
    plan = manifest(lines)
    meter = PullMeter(0.0)
    meter.expect(replace(plan, present=frozenset(plan.sizes())))
    seen = replay(lines, meter)
    assert (seen[-1].percent, seen[-1].fetched, seen[-1].rate) == (100.0, 0, None)


def test_one_counter_for_all_layers_replaces_the_manifest() -> None:
    meter = PullMeter(0.0)
    meter.expect(Plan(tuple(PlanLayer(f"sha256:{n}", 10 * MB, "tensor") for n in range(300)), frozenset()))
    seen = fed(meter, layer(900 * MB, 3000 * MB, "sha256:model", "pulling model"), 1.0)
    assert (seen.percent, seen.total, len(seen.layers), seen.planned) == (30.0, 3000 * MB, 1, False)


def test_bytes_that_came_after_we_left_are_counted_and_are_no_speed() -> None:
    meter = PullMeter(0.0)
    fed(meter, layer(0), 0.1)
    fed(meter, layer(10 * MB), 1.1)
    meter.restart(2.0)
    fed(meter, layer(14 * MB), 5.0)
    seen = fed(meter, layer(15 * MB), 6.0)
    assert seen.fetched == 15 * MB
    assert seen.busy == pytest.approx(2.0)
    assert seen.rate == pytest.approx(MB)


def test_what_an_earlier_worker_counted_goes_on() -> None:
    meter = PullMeter(0.0, fetched=100 * MB, busy=10.0, history=[5.0, 10.0])
    fed(meter, layer(0), 0.1)
    seen = fed(meter, layer(10 * MB), 1.6)
    assert (seen.fetched, seen.peak) == (110 * MB, pytest.approx(10 * MB / 1.5))
    assert seen.average == pytest.approx(110 * MB / 11.5)
    assert seen.history[:2] == (5.0, 10.0)


# --- over attempts ----------------------------------------------------------------------------------------------------

FILES = tuple(f"sha256:{letter * 64}" for letter in "abcd")


@pytest.mark.parametrize("known", [True, False])
def test_a_model_in_several_files_holds_its_percent_over_attempts(known: bool) -> None:
    meter = PullMeter(0.0)
    if known:
        meter.expect(Plan(tuple(PlanLayer(file, 100 * MB) for file in FILES), frozenset()))
    for file in FILES[:3]:
        fed(meter, layer(100 * MB, digest=file), 1.0)
    before = fed(meter, layer(20 * MB, digest=FILES[3]), 2.0)
    assert before.percent == pytest.approx(80 if known else 99)
    meter.restart(10.0)
    assert meter.progress(10.0).percent == before.percent
    for at, file in enumerate(FILES[:3]):
        seen = fed(meter, layer(100 * MB, digest=file), 11.0 + at)
        assert (seen.percent, seen.done) == (before.percent, 320 * MB)
    assert not seen.restarted


def test_what_the_server_lost_is_said_and_counts_no_more() -> None:
    meter = PullMeter(0.0)
    fed(meter, layer(90 * MB), 1.0)
    meter.restart(10.0)
    seen = fed(meter, layer(0), 11.0)
    assert (seen.percent, seen.done, seen.restarted) == (0.0, 0, True)
    assert not fed(meter, layer(10 * MB), 45.0).restarted
    meter.forget()
    assert meter.progress(46.0).percent is None


def test_layers_that_only_an_earlier_attempt_named_are_none_of_the_model() -> None:
    meter = PullMeter(0.0)
    fed(meter, layer(1, 5, "sha256:odd"), 1.0)
    meter.restart(2.0)
    fed(meter, layer(100 * MB), 3.0)
    seen = fed(meter, JobStep("success"), 4.0)
    assert (seen.total, seen.done) == (100 * MB, 100 * MB)


def test_a_graph_that_was_merged_goes_on_as_it_is() -> None:
    meter = PullMeter(0.0, history=[1.0] * 200, step=8.0)
    for tick in range(64):
        fed(meter, layer(tick * MB), tick * 0.25)
    seen = meter.progress(16.0)
    assert (seen.step, len(seen.history)) == (8.0, 202)
