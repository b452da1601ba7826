"""The Pulls screen: words, keys, hostile names, and what its keys ask of the queue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tui.core.errors import Failure
from tui.core.jobs import Job, JobKind, JobState, JobWish, Layer, Plan, PlanLayer, QueueView, Wait, WorkerState
from tui.core.models import Endpoint
from tui.text import clean_label, clean_name
from tui.ui.dialogs.pull import PullDialog
from tui.ui.screens.parts import part_of
from tui.ui.screens.pull_detail import PullDetail, layer_line, squeeze
from tui.ui.screens.pull_rows import PullTable
from tui.ui.screens.pulls import PullsScreen
from tui.ui.widgets.confirm import ConfirmDialog

OLLAMA = Endpoint("ollama", "ollama", "http://127.0.0.1:11434")
NOON = time.mktime((2026, 11, 21, 12, 8, 0, 0, 0, -1))
DIGEST = "sha256:500a1f067a9f" + "0" * 52


def job(number: int, model: str, state: JobState, **changes: Any) -> Job:
    wish = changes.pop("wish", JobWish.PAUSE if state is JobState.PAUSED else JobWish.RUN)
    values: dict[str, Any] = {"attempts": 1, "created_at": NOON - 60, "started_at": NOON, "asked_by": "library", **changes}
    return Job(number, JobKind.PULL, model, OLLAMA, {}, wish, state, number, **values)


def plan(total: int, there: int = 0, **changes: Any) -> Plan:
    layers = (PlanLayer(DIGEST, total - there, "weights"), *((PlanLayer("sha256:there", there, "weights"),) if there else ()))
    values: dict[str, Any] = {"present": frozenset({"sha256:there"}), "digest": "ab" * 32, "version": "0.24.0", **changes}
    return Plan(layers, **values)


def queue(jobs: Sequence[Job] | None = None, **changes: Any) -> QueueView:
    kinds = ("template", "licence", "parameters", "metadata")
    layers = (
        Layer(DIGEST, 5_190_000_000, 3_200_000_000, "weights"),
        *(Layer(f"sha256:{n:064d}", 1000 * n, 0, kind) for n, kind in enumerate(kinds, 1)),
    )
    rows = jobs if jobs is not None else (
        job(1, "qwen3:8b", JobState.FETCHING, total=5_200_000_000, done=3_200_000_000, percent=62.0, rate=31e6, average=29e6, peak=44e6,
            eta=65.0, layers=layers, planned=True, plan=plan(5_200_000_000),
            history=tuple(float(10e6 + n * 1e6 % 30e6) for n in range(110))),
        job(2, "gemma3:27b", JobState.FETCHING, total=17_000_000_000, done=1_400_000_000, percent=8.2, rate=7e6, eta=2280.0),
        job(3, "llama3.1:70b", JobState.WAITING, wait=Wait.SPACE, note="waits for space: 42.5 GB needed, 39.1 free in /var"),
        job(4, "phi4:14b", JobState.WAITING, wait=Wait.PLACE, started_at=None, attempts=0, plan=plan(9_100_000_000, 8_200_000_000)),
        job(5, "mixtral:8x7b", JobState.PAUSED, note="paused, 10.8 of 26 GB kept until ollama restarts", done=10_800_000_000,
            total=26_000_000_000),
        job(6, "mistral:7b", JobState.FAILED, note="failed after 5 retries: no route to the registry", attempts=6,
            failure=Failure("The registry cannot be reached", "registry.ollama.ai", "Check the server's network, then r")),
        job(7, "nomic-embed-text", JobState.DONE, total=274_000_000, done=274_000_000, percent=100.0, ended_at=NOON + 9),
    )  # fmt: skip
    figures: dict[str, Any] = {"rate": 38e6, "finish_at": NOON + 3660, "done": 15_400_000_000, "total": 22_200_000_000, **changes}
    return QueueView(tuple(rows), WorkerState(True, 4242, "0.1.0"), **figures)


def host(fake: FakeServices, **changes: Any) -> ScreenHost:
    return ScreenHost(PullsScreen(fake), **changes)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_the_queue_as_drawn(fake: FakeServices, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOON + 60)
    fake.jobs.view.set(queue())
    app = host(fake)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        lines = screen_lines(app)
        text = "\n".join(lines)
        assert all(len(line) <= size[0] for line in lines)
        assert "2 running, 1 waits, 1 lacks space, 1 paused, 1 failed" in text
        row = next(line for line in lines if "qwen3:8b" in line)
        assert "62 %" in row
        assert "3.2 of 5.2 GB" in row
        assert "31 MB/s" in row
        assert ("█" in row) == (size[0] >= 72)
        if size[0] >= 72:
            assert row.rstrip().endswith("1m05s")
            assert ("running ones done ~13:09" if size[0] > 80 else "38 MB/s  done ~13:09") in text
            assert "waits for space: 42.5 GB needed, 39.1 free in /var" in text
            assert "done 12:08, 274 MB in 9.0s" in text
            assert "layer 1 of 5, weights 500a1f067a9f; then template, licence, parameters" in text
            assert "peak 44, average 29, now 31 MB/s" in text
            assert "asked for 12:07 from the library, started 12:08, first attempt" in text
            assert "goes on while this machine is awake, also when you quit or the line drops" in text
            assert "waits for a place (2 at once); 9.1 GB, 8.2 GB there" in text
            assert lines[-1].startswith(" a add  p pause/go on  d cancel  r retry  K J T move  b bandwidth")
            assert lines[-1].endswith("space mark")


async def test_empty_queue_says_what_to_do(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "Nothing is queued. a pulls a model." in screen_text(app)
        await pilot.press("p", "d", "r", "K", "y")
        assert fake.calls == []


async def test_ascii_draws_no_unicode_graphics(fake: FakeServices) -> None:
    fake.jobs.view.set(queue())
    app = host(fake, ascii_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        text = "\n".join(screen_lines(app)[1:-2])
        assert not [char for char in text if ord(char) > 126]
        assert "####" in text


async def test_the_failure_stands_in_the_detail(fake: FakeServices) -> None:
    fake.jobs.view.set(queue())
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        app.first.query_one(PullTable).move_to(5)
        await until(lambda: "Check the server's network, then r" in screen_text(app))
        text = screen_text(app)
        assert "The registry cannot be reached (registry.ollama.ai)" in text
        assert "sixth attempt" in text
        assert "goes on while" not in text
        await pilot.press("r")
        assert fake.called("retry") == [([6],)]


async def test_how_a_pull_was_proved_stands_in_the_detail(fake: FakeServices) -> None:
    one = job(1, "qwen3:8b", JobState.DONE, note="listed with another manifest than the registry showed here; the weights are the same")
    fake.jobs.view.set(QueueView(jobs=(one,), worker=WorkerState(True, 5)))
    app = host(fake)
    async with app.run_test(size=(120, 40)):
        await until(lambda: "the weights are the same" in screen_text(app))


async def test_S32_the_workers_note_is_shown(fake: FakeServices) -> None:
    note = "logind ends user processes at logout; loginctl enable-linger keeps pulls going"
    fake.jobs.view.set(QueueView(queue().jobs, WorkerState(True, 1, note=note)))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert note in screen_text(app)


async def test_a_queue_nobody_works_says_so(fake: FakeServices) -> None:
    fake.jobs.view.set(QueueView(queue().jobs))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "nobody works the queue right now" in screen_text(app)


async def test_pause_and_go_on(fake: FakeServices) -> None:
    fake.jobs.view.set(queue())
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("p")
        app.first.query_one(PullTable).move_to(4)
        await pilot.press("p")
        assert fake.called("pause") == [([1],)]
        assert fake.called("resume") == [([5],)]


async def test_marks_apply_the_key_to_all_and_keep_the_order(fake: FakeServices) -> None:
    fake.jobs.view.set(queue())
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "space", "space", "p", "K", "T", "y")
        assert fake.called("pause") == [([2, 3],)]
        assert fake.called("move") == [([2, 3], "up"), ([2, 3], "first")]
        assert app.copied == ["gemma3:27b\nllama3.1:70b"]
        await pilot.press("escape", "J")
        assert fake.called("move")[-1] == ([4], "down")


async def test_P12_cancelling_asks_with_the_safe_answer_first(fake: FakeServices) -> None:
    fake.jobs.view.set(queue())
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "d", "enter", "enter")
        await pilot.pause()
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        words = " ".join(screen_text(app).replace("│", " ").split())
        assert "Cancel gemma3:27b? 1.4 GB stay on ollama until it restarts; then it may drop them." in words
        assert "Go on" in screen_text(app)
        assert fake.called("cancel") == []
        await until(lambda: dialog.armed)
        await pilot.press("enter")
        assert fake.called("cancel") == []
        await pilot.press("d")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press("right", "right", "enter")
        await until(lambda: fake.called("cancel") == [([2],)])


async def test_cancel_dialog_can_pause_instead(fake: FakeServices) -> None:
    fake.jobs.view.set(queue())
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("d")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: fake.called("pause") == [([1],)])


async def test_an_ended_pull_is_dropped_from_the_list(fake: FakeServices) -> None:
    fake.jobs.view.set(queue())
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("G", "d")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        assert "What was pulled stays." in screen_text(app)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: fake.called("remove") == [([7],)])
        assert fake.called("cancel") == []


async def test_a_asks_which_model(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
        await until(lambda: isinstance(app.screen, PullDialog))


async def test_looking_only_changes_nothing(fake: FakeServices) -> None:
    fake.config.set("security.access", "look")
    fake.jobs.view.set(queue())
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("p", "d", "r", "K", "J", "T", "a")
        assert fake.calls == []
        assert app.screen is app.first


async def test_enter_opens_the_layers_and_esc_goes_back(fake: FakeServices) -> None:
    fake.jobs.view.set(queue())
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        await until(lambda: "3.2 of 5.2 GB" in "\n".join(screen_lines(app)[9:]))
        assert app.first.query_one(PullDetail).has_focus
        await pilot.press("escape")
        assert app.first.query_one(PullTable).has_focus


async def test_X01_hostile_names_stay_literal_in_every_column(fake: FakeServices) -> None:
    jobs = [
        job(number, clean_name(name), state, note=clean_label(name), asked_by=clean_label(name),
            failure=Failure(clean_label(name), clean_name(name), clean_label(name)) if state is JobState.FAILED else None)
        for number, (name, state) in enumerate(((name, state) for name in CANARIES for state in (JobState.FAILED, JobState.FETCHING)), 1)
    ]  # fmt: skip
    fake.jobs.view.set(queue(jobs))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        for row in range(0, len(jobs), 2):
            app.first.query_one(PullTable).move_to(row)
            await pilot.pause()
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        app.first.query_one(PullTable).move_to(8)
        await until(lambda: "[@click=app.quit]x[/]" in screen_text(app))


def test_figures_share_the_unit_of_the_total() -> None:
    assert part_of(3_200_000_000, 5_200_000_000) == "3.2 of 5.2 GB"
    assert part_of(10_800_000_000, 26_000_000_000) == "11 of 26 GB"
    assert part_of(400_000_000, 17_000_000_000) == "0.4 of 17 GB"
    assert part_of(2**30, 2**31, binary=True) == "1.0 of 2.0 GiB"
    assert part_of(0, None) == "–"


def test_history_is_squeezed_to_the_whole_time() -> None:
    assert squeeze([1.0, 3.0, 5.0, 7.0], 2) == [2.0, 6.0]
    assert squeeze([1.0], 10) == [1.0]
    assert len(squeeze([float(n) for n in range(240)], 92)) == 92


def test_layers_unknown_to_come_are_not_counted() -> None:
    one = job(1, "a", JobState.FETCHING, layers=(Layer("sha256:" + "a" * 64, 1000, 1000), Layer("sha256:" + "b" * 64, 10, 5)))
    assert layer_line(one) == "layer 2, bbbbbbbbbbbb"
