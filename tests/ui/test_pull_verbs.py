"""What an entry waits for, and the keys that answer, limit, time, chain, repeat and apply again; the history."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui import library_data
from tests.ui.test_pulls import NOON, job, plan, queue
from tui.core.errors import Failure
from tui.core.jobs import Ask, Changes, Job, JobKind, JobState, JobWish, Layer, PastJob, QueueView, Wait, WorkerState
from tui.text import clean_label, clean_name
from tui.ui.dialogs.form import FormDialog
from tui.ui.dialogs.pull import PullDialog
from tui.ui.screens.pull_detail import layer_line
from tui.ui.screens.pull_history import PastTable
from tui.ui.screens.pull_rows import PullTable
from tui.ui.screens.pull_words import cancel_question, summary, there, waits
from tui.ui.screens.pulls import PullsScreen
from tui.ui.widgets.confirm import ConfirmDialog

OFFLINE = Failure("The connection to the registry broke", "registry.ollama.ai", "Check the network")


def waiting(number: int = 1, wait: Wait = Wait.PLACE, **changes: Any) -> Job:
    return job(number, f"model{number}:7b", JobState.WAITING, **{"wait": wait, "started_at": None, "attempts": 0, **changes})


def past(number: int, model: str, state: JobState = JobState.DONE, **changes: Any) -> PastJob:
    values: dict[str, Any] = {
        "kind": JobKind.PULL, "provider": "ollama", "url": "http://127.0.0.1:11434", "total": 5_200_000_000, "fetched": 5_000_000_000,
        "busy": 200.0, "attempts": 2, "asked_by": "library", "created_at": NOON, "started_at": NOON + 60, "ended_at": NOON + 300,
        "digest": "ab" * 32, **changes,
    }  # fmt: skip
    return PastJob(number, number, model=model, state=state, **values)


class Opened:
    """The Pulls screen with these entries."""

    def __init__(self, fake: FakeServices, *jobs: Job, **changes: Any) -> None:
        fake.jobs.view.set(QueueView(jobs, WorkerState(True, 1), **changes))
        self.fake, self.app = fake, ScreenHost(PullsScreen(fake))

    @property
    def words(self) -> str:
        return " ".join(screen_text(self.app).replace("│", " ").split())

    async def answer(self, pilot: Any, *keys: str) -> None:
        dialog = self.app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press(*keys)


# --- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (waiting(), "waits for a place (2 at once)"),
        (waiting(wait=Wait.HOURS), "waits for its hours, 23:00-07:00"),
        (waiting(wait=Wait.START, not_before=NOON + 7200), "starts 14:08"),
        (waiting(wait=Wait.CHAIN, after=7), "after qwen3:8b"),
        (waiting(wait=Wait.CHAIN, after=8), "after another entry"),
        (waiting(wait=Wait.SPACE), "waits for space"),
        (waiting(wait=Wait.SPACE, note="waits for space: 42 GB needed, 39 free in /var"), "waits for space: 42 GB needed, 39 free in /var"),
        (waiting(wait=Wait.SERVER), "waits for ollama, which does not answer"),
        (waiting(wait=Wait.KEY), "waits for a key for ollama"),
        (waiting(wait=Wait.RETRY, failure=OFFLINE, due_at=NOON + 60), "again at 12:09: The connection to the registry broke"),
        (waiting(wait=Wait.NETWORK), "waits: general.network is offline"),
        (waiting(wait=Wait.LIMITS), "waits: this machine is fuller than [limits] allow"),
        (waiting(wait=Wait.LIMITS, note="waits: this machine is full: Memory 93 %"), "waits: this machine is full: Memory 93 %"),
        (
            waiting(wait=Wait.ANSWER, asks=frozenset({Ask.LIMITS}), note="waits for your yes: this machine is full: Memory 93 %"),
            "asks, p answers: this machine is full: Memory 93 %",
        ),
        (waiting(wait=Wait.ANSWER, asks=frozenset({Ask.LIMITS})), "asks, p answers: this machine is fuller than [limits] allow"),
        (waiting(wait=Wait.ANSWER, asks=frozenset({Ask.METERED})), "asks, p answers: the network is metered"),
        (waiting(wait=Wait.NOTHING), "waits"),
    ],
)
def test_what_it_waits_for(fake: FakeServices, monkeypatch: pytest.MonkeyPatch, one: Job, words: str) -> None:
    monkeypatch.setattr(time, "time", lambda: NOON)
    fake.config.set("pulls.only_between", "23:00-07:00")
    assert waits(one, fake.config.current.value, {7: "qwen3:8b"}) == words


def test_what_is_there_already() -> None:
    assert there(plan(5_200_000_000, 4_900_000_000)) == "5.2 GB, of which 4.9 GB is already there"
    assert there(plan(5_200_000_000)) == "5.2 GB to fetch"
    assert there(plan(5_200_000_000, present=None)) == "5.2 GB"
    assert there(plan(5_200_000_000, 5_200_000_000)) == "5.2 GB, all of it is already there"
    assert there(None) == ""


def test_the_summary_says_when_all_is_done_and_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOON)

    def words(width: int, **changes: Any) -> str:
        return "".join(text for text, _style in summary(queue(**changes), width))

    assert "2 running, 1 waits, 1 lacks space, 1 paused, 1 failed   38 MB/s   all done ~13:09" in words(100, all_at=NOON + 3660)
    assert "running ones done ~13:09" in words(100)
    assert words(140, limit=20_000_000).endswith("38 MB/s of at most 20 MB/s, in bursts   running ones done ~13:09   69 % of 22 GB")
    assert " of 20 MB/s" in words(92, limit=20_000_000)
    for width in range(60, 160):
        assert len(words(width, limit=20_000_000, all_at=NOON + 3660)) <= max(width, 65)


def test_layers_are_named_by_what_they_hold() -> None:
    kinds = ("weights", "projector", "template", "licence", "config")
    layers = [Layer(f"sha256:{n:064d}", 100, 100 if n == 0 else 0, kind) for n, kind in enumerate(kinds)]
    one = job(1, "a", JobState.FETCHING, layers=tuple(layers), planned=True)
    assert layer_line(one) == "layer 2 of 5, projector 000000000000; then template, licence"


def test_cancel_sums_up_what_stays_in_words_that_are_true() -> None:
    old = plan(17_000_000_000, version="0.18.0")
    jobs = [job(n, f"m{n}:7b", JobState.FETCHING, done=10**9, plan=old) for n in range(3)]
    text, choices = cancel_question(jobs, now=NOON + 60)
    assert text == "Cancel 3 pulls? 3.0 GB stay on ollama until it restarts, which drops them."
    assert [label for _key, label in choices] == ["Go on", "Pause", "Cancel"]
    kept = job(4, "m4:7b", JobState.FETCHING, done=2 * 10**9, plan=plan(17_000_000_000, keeps_partials=True))
    text, _choices = cancel_question([*jobs, kept], now=NOON + 60)
    assert "3.0 GB stay on ollama until it restarts, which drops them." in text
    assert "2.0 GB stay on ollama until they are used or deleted by hand: it runs with OLLAMA_NOPRUNE." in text
    checking = job(5, "m5:7b", JobState.CHECKING, done=10**9)
    assert "may appear in spite of the cancel" in cancel_question([checking], now=NOON)[0]


# --- rows and detail ---------------------------------------------------------------------------------------------------


async def test_other_kinds_say_what_they_are(fake: FakeServices) -> None:
    push = Job(1, JobKind.PUSH, "ann/mine:7b", job(1, "x", JobState.DONE).endpoint, {}, JobWish.RUN, JobState.FETCHING, 1, percent=10.0)
    at = Opened(fake, push)
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "push ann/mine:7b" in at.words
        await pilot.press("d")
        await until(lambda: "Cancel push ann/mine:7b?" in at.words)


async def test_interrupted_goes_on_when_a_worker_runs(fake: FakeServices) -> None:
    at = Opened(fake, job(1, "qwen3:8b", JobState.INTERRUPTED))
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "interrupted, goes on when a worker runs" in at.words
        assert "1 interrupted" in at.words
        await pilot.press("p")
        assert fake.called("pause") == [([1],)]


async def test_the_detail_says_what_was_planned_and_wished(fake: FakeServices) -> None:
    library_data.fill(fake)
    first = waiting(1, plan=plan(5_200_000_000, 4_900_000_000, requires="0.20.1", note="from a mirror"))
    second = waiting(2, Wait.CHAIN, after=1, limit=5_000_000, not_before=NOON + 3600)
    second = replace(second, arguments={"warm_up": True})
    at = Opened(fake, first, second)
    async with at.app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "5.2 GB, of which 4.9 GB is already there; fits: good; needs 0.20.1 or newer; manifest abababababab" in at.words
        assert "from a mirror" in at.words
        await pilot.press("j")
        await until(lambda: "after model1:7b, loaded afterwards, at most 5.0 MB/s, in bursts" in at.words)


async def test_P13_a_restart_that_would_cost_bytes_is_said(fake: FakeServices) -> None:
    old = job(1, "gemma3:27b", JobState.PAUSED, done=1_400_000_000, started_at=time.time() - 7200)
    at = Opened(fake, old)
    async with at.app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "a restart of ollama would drop up to 1.4 GB of it, unless it runs with OLLAMA_NOPRUNE" in at.words


# --- keys --------------------------------------------------------------------------------------------------------------


async def test_p_says_yes_after_naming_the_reasons(fake: FakeServices) -> None:
    fake.config.set("models.max_size", "40 GB")
    asking = waiting(3, Wait.ANSWER, asks=frozenset({Ask.SIZE, Ask.METERED}), plan=plan(47_000_000_000))
    at = Opened(fake, asking)
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.press("p")
        await until(lambda: "Pull model3:7b? 47 GB is more than models.max_size (40 GB) and the network is metered." in at.words)
        await at.answer(pilot, "enter")
        assert fake.calls == []
        await pilot.press("p")
        await at.answer(pilot, "right", "right", "enter")
        assert fake.called("resume") == [([3],)]


async def test_r_ends_a_wait_and_says_why_it_cannot(fake: FakeServices) -> None:
    at = Opened(fake, waiting(1, Wait.RETRY, due_at=NOON), waiting(2, Wait.PLACE))
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.press("r", "j", "r")
        assert fake.called("retry") == [([1],)]
        await pilot.pause()
        assert any("there is nothing to retry" in note.message for note in at.app._notifications)


async def test_bandwidth_of_the_queue_and_of_the_entry(fake: FakeServices) -> None:
    at = Opened(fake, job(1, "qwen3:8b", JobState.FETCHING))
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.press("b")
        await until(lambda: "so it comes in bursts" in at.words)
        await pilot.press(*"500 kB", "enter")
        await until(lambda: "500 kB a second is too little to be kept (limit). Give 1MB or more" in at.words)
        await pilot.press("ctrl+u", *"20 MB", "tab", "ctrl+o", "ctrl+o", "enter")
        await until(lambda: fake.called("limit") == [([1], 5_000_000)])
        assert fake.called("limit_queue") == [(20_000_000,)]


async def test_bandwidth_is_lifted_by_an_empty_field(fake: FakeServices) -> None:
    fake.config.set("pulls.bandwidth", "20 MB")
    at = Opened(fake)
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.press("b", "ctrl+u", "ctrl+k", "enter")
        await until(lambda: fake.called("limit_queue") == [(None,)])


async def test_options_of_an_entry(fake: FakeServices) -> None:
    at = Opened(fake, waiting(1), waiting(2), waiting(3, Wait.CHAIN, after=2))
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "e")
        assert isinstance(at.app.screen, FormDialog)
        await pilot.press(*"in 2h", "tab", *"model3:7b", "enter")
        await until(lambda: "No entry of the queue has that name" in at.words)  # it would wait for itself
        await pilot.press("ctrl+u", "ctrl+o", "tab", *"5 MB", "tab", "ctrl+u", *"yes", "enter")
        await until(lambda: fake.called("warm_up") == [([2], True)])
        assert fake.called("chain") == [([2], 1)]
        assert fake.called("limit") == [([2], 5_000_000)]
        ((ids, at_time),) = fake.called("start_at")
        assert ids == [2]
        assert abs(at_time - time.time() - 7200) < 60


async def test_options_that_were_not_touched_stay(fake: FakeServices) -> None:
    at = Opened(fake, waiting(1, limit=5_000_000), waiting(2, limit=7_000_000))
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.press("A", "e", "enter")
        await until(lambda: at.app.screen is at.app.first)
        assert fake.calls == []


async def test_u_applies_again_what_an_update_replaced(fake: FakeServices) -> None:
    changes = Changes((("num_ctx", "16384"), ("stop", "<|im_end|>")), system="You are\nterse.")
    at = Opened(fake, job(1, "qwen3:8b", JobState.DONE, ended_at=NOON + 9, changes=changes))
    async with at.app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "you had changed num_ctx, stop, system: u applies that again" in at.words)
        await pilot.press("u")
        await until(lambda: "num_ctx 16384" in at.words)
        assert "system You are⏎terse." in at.words
        await at.answer(pilot, "right", "right", "enter")
        assert fake.called("apply_changes") == [(1,)]


async def test_the_filter_looks_at_names_and_states(fake: FakeServices) -> None:
    at = Opened(fake, *queue().jobs)
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"space", "enter")
        await until(lambda: "1 of 7" in at.words)
        assert at.app.first.query_one(PullTable).highlighted.model == "llama3.1:70b"
        await pilot.press("escape")
        await until(lambda: "2 running" in at.words)


# --- history -----------------------------------------------------------------------------------------------------------


async def test_the_history_is_searched_and_pulled_again(fake: FakeServices) -> None:
    library_data.fill(fake)
    fake.jobs.past.set((past(2, "qwen3:8b"), past(1, "mistral:7b", JobState.FAILED, failure=OFFLINE)))
    at = Opened(fake)
    async with at.app.run_test(size=(120, 40)) as pilot:
        await pilot.press("right_square_bracket")
        await until(lambda: "[History]" in at.words)
        assert fake.called("search_past") == [("",)]
        assert "2 entries, newest first" in at.words
        assert "25 MB/s" in at.words
        assert "average 25 MB/s, 2 tries, asked for" in at.words
        await pilot.press("j")
        await until(lambda: "The connection to the registry broke (registry.ollama.ai)" in at.words)
        await pilot.press("p", "slash", *"mistral", "enter")
        await until(lambda: fake.called("search_past")[-1] == ("mistral",))
        assert fake.called("pause") == []
        await pilot.press("y", "r")
        assert at.app.copied == ["mistral:7b"]
        dialog = at.app.screen
        assert isinstance(dialog, PullDialog)
        assert dialog.names == ["mistral:7b"]
        await pilot.press("escape", "escape", "escape")
        await until(lambda: "[Queue]" in at.words)


@pytest.mark.parametrize("size", [(80, 24), (60, 16)])
async def test_the_history_fits(fake: FakeServices, size: tuple[int, int]) -> None:
    fake.jobs.past.set(tuple(past(n, f"model{n}:7b", ended_at=NOON - n * 20 * 86_400) for n in range(40)))
    at = Opened(fake)
    async with at.app.run_test(size=size) as pilot:
        await pilot.press("left_square_bracket")
        await until(lambda: "model0:7b" in at.words)
        assert all(len(line) <= size[0] for line in screen_lines(at.app))
        assert "5.2 GB" in at.words


async def test_a_create_is_not_run_again_from_the_history(fake: FakeServices) -> None:
    fake.jobs.past.set((past(1, "mine:latest", kind=JobKind.CREATE),))
    at = Opened(fake)
    async with at.app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right_square_bracket", "enter")
        await pilot.pause()
        assert at.app.screen is at.app.first
        assert any("Only pulls" in note.message for note in at.app._notifications)


async def test_X01_hostile_history(fake: FakeServices) -> None:
    rows = [
        past(n, clean_name(text), JobState.FAILED, provider=clean_name(text, 40), url=clean_name(text), asked_by=clean_name(text),
             failure=Failure(clean_label(text), clean_name(text), clean_label(text)))
        for n, text in enumerate(CANARIES)
    ]  # fmt: skip
    fake.jobs.past.set(tuple(rows))
    at = Opened(fake)
    async with at.app.run_test(size=(120, 40)) as pilot:
        await pilot.press("right_square_bracket")
        for row in range(len(rows)):
            at.app.first.query_one(PastTable).move_to(row)
            await pilot.pause()
            assert not FORBIDDEN & set(screen_text(at.app).replace("\n", ""))
