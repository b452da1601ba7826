"""Profiles: what answers on a real server leave behind, and who hears of it."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chat.live import Ollama, provider, until
from tests.support.fault_server import Exchange
from tui.config.paths import find_paths
from tui.core.errors import PaddockError
from tui.core.events import Metrics
from tui.core.monitor import Profile
from tui.core.observe import Observable
from tui.core.options import AppOptions
from tui.hardware.sample import Gpu, Sample
from tui.services import hub as hub_module
from tui.services import jobs as jobs_module
from tui.services.hub import Hub
from tui.services.monitor import profile_words, profiles
from tui.services.monitor.profiles import Profiles
from tui.store.db import Database
from tui.store.measurements import MEASUREMENTS, Measurements

END = {
    "done": True, "done_reason": "stop", "prompt_eval_count": 300, "prompt_eval_duration": 10**9, "eval_count": 40,
    "eval_duration": 2 * 10**9, "load_duration": 3 * 10**9, "message": {"role": "assistant", "content": ""},
}  # fmt: skip


async def _answer(exchange: Exchange) -> None:
    await exchange.json({**END, "message": {"role": "assistant", "content": "It is so."}})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ollama: Ollama) -> Iterator[Hub]:
    """An open hub without a sampler, whose server has a model on its GPU and tells figures."""
    monkeypatch.setattr(hub_module, "DATABASE_EVERY", 0.01)
    monkeypatch.setattr(profiles, "EVERY", 0.01)
    monkeypatch.setattr(jobs_module, "spawn_worker", lambda *_more: None)
    monkeypatch.setattr(jobs_module, "logout_note", lambda: "")
    ollama.loaded = {"qwen3:8b": 4096}
    ollama.routes["/api/chat"] = _answer
    environ = {"PADDOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": "/nonexistent"}
    paths = find_paths(environ=environ)
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text(f"[general]\ndiscover = false\n{provider(ollama.url)}", encoding="utf-8")
    made = Hub(paths, AppOptions(), environ, start_sampler=False)
    made.open()
    until(lambda: made.ready.value)
    until(lambda: made.registry.running.value and made.registry.models.value)
    yield made
    made.close(5.0)


def measure(hub: Hub, watts: float = 100.0) -> None:
    """A sample of now, taken on the engine's thread."""
    sample = Sample(time.time(), gpus=(Gpu("GPU-1", 0, power=watts),))

    async def keep() -> None:
        hub.monitor.sampling._keep(time.monotonic(), sample, True)

    tick = hub.monitor.latest.value.tick
    hub.engine.post(keep)
    until(lambda: hub.monitor.latest.value.tick > tick)


def profile(hub: Hub) -> Profile:
    return hub.monitor.profiles.value.get(("lab", "qwen3:8b"), Profile())


def ask(hub: Hub, text: str) -> Any:
    """The ended answer to a prompt."""
    before = len(hub.chat.view.value.messages)
    hub.chat.send(text)
    messages = until(lambda: len(found := hub.chat.view.value.messages) > before + 1 and found[-1].state.ended and found)
    return messages[-1]


def test_an_answer_on_a_real_server_leaves_a_profile_with_its_energy(hub: Hub) -> None:
    hub.chat.use_model("lab", "qwen3:8b")
    until(lambda: hub.chat.view.value.model == "qwen3:8b")
    measure(hub)
    answer = ask(hub, "Why is it so? " * 40)
    first = until(lambda: profile(hub).answers and profile(hub))
    assert (first.rate, first.prompt_rate, first.load_seconds) == (20.0, 300.0, 3.0)
    assert (first.memory, first.vram, first.context) == (100, 5, 4096)
    assert first.first_token == answer.timeline.first_token
    assert first.joules is None
    measure(hub)
    whole = until(lambda: profile(hub).joules and profile(hub))
    told = until(lambda: hub.chat.view.value.messages[-1].timeline.joules)
    assert whole.joules == told and 0 < told < 100 * 10
    assert whole.joules_per_token == pytest.approx(told / 40)
    assert hub.database is not None
    stored = hub.database.read(lambda connection: connection.execute("SELECT timeline FROM message ORDER BY id DESC").fetchone()[0])
    assert json.loads(stored)["joules"] == pytest.approx(told)
    ask(hub, "And now? " * 60)
    second = until(lambda: profile(hub).answers == 2 and profile(hub))
    assert second.prompt_rate == 300.0  # of the second prompt a part was in the server's cache


def test_an_answer_that_is_not_complete_is_no_figure(hub: Hub, ollama: Ollama) -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.json({"message": {"role": "assistant", "content": "half"}, "done": False})

    ollama.routes["/api/chat"] = cut
    hub.chat.use_model("lab", "qwen3:8b")
    until(lambda: hub.chat.view.value.model == "qwen3:8b")
    measure(hub)
    ask(hub, "Why?")
    measure(hub)
    ollama.routes["/api/chat"] = _answer
    ask(hub, "Why?")
    assert until(lambda: profile(hub).answers) == 1


def test_what_another_process_measured_is_seen(hub: Hub) -> None:
    other = Database(hub.paths.database)
    try:
        asyncio.run(Measurements(other).add("lab", "phi4:14b", Metrics(output_tokens=30, output_seconds=1.0)))
        assert until(lambda: hub.monitor.profiles.value.get(("lab", "phi4:14b"))).rate == 30.0
    finally:
        other.close()


def test_why_it_is_slow_is_told_with_what_is_known(hub: Hub) -> None:
    hub.monitor.why_slow("lab", "qwen3:8b")
    until(lambda: hub.monitor.slow.value)
    measure(hub)
    measure(hub)
    view = until(lambda: hub.monitor.slow.value and hub.monitor.slow.value.checks and hub.monitor.slow.value)
    assert (view.provider, view.model) == ("lab", "qwen3:8b")
    first = view.checks[0]
    assert (first.key, first.state) == ("offload", "cause")
    assert "95 % of it (95 B) is on the CPU" in first.figure


async def test_reading_asked_for_while_it_reads_is_done_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    view: Observable[Any] = Observable({})
    posted: list[asyncio.Future[None]] = []
    database: Any = SimpleNamespace()
    kept = Profiles(database, view, lambda made: posted.append(asyncio.ensure_future(made())))
    monkeypatch.setattr(profiles, "EVERY", 0.001)
    begun, go = asyncio.Event(), asyncio.Event()
    reads: list[int] = []

    async def read() -> dict[tuple[str, str], Profile]:
        reads.append(len(reads))
        begun.set()
        await go.wait()
        return {("box", "a"): Profile(answers=len(reads))}

    monkeypatch.setattr(kept.measurements, "profiles", read)
    reading = asyncio.ensure_future(kept.read())
    await begun.wait()
    for _ in range(5):
        kept.changed(frozenset({MEASUREMENTS}))
    kept.changed(frozenset({"jobs"}))
    await asyncio.gather(*posted)
    go.set()
    await reading
    assert len(posted) == 5
    assert (len(reads), view.value) == (2, {("box", "a"): Profile(answers=2)})


async def test_a_database_that_cannot_be_read_leaves_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {("box", "a"): Profile(answers=1)}
    view: Observable[Any] = Observable(known)
    database: Any = SimpleNamespace()
    kept = Profiles(database, view, print)

    async def broken() -> Any:
        raise PaddockError.of("damaged", "paddock.db", "Restart")

    monkeypatch.setattr(kept.measurements, "profiles", broken)
    await kept.read()
    await kept.read()
    assert view.value == known


WHOLE = Profile(11, 4.2, 0.6, 22.4, 410.0, 6_800_000_000, 6_800_000_000, 8192, 210.4, 0.853)


@pytest.mark.parametrize(
    ("profile", "speed", "cost"),
    [
        (Profile(), "", ""),
        (WHOLE, "22 tok/s, first token 0.6s, prompt 410 tok/s, 11 answers", "loads in 4.2s, 6.8 GB at 8k, 210 J an answer, 0.85 J a token"),
        (
            Profile(1, load_seconds=4.2, joules_per_token=0.85),
            "– tok/s, first token –, prompt – tok/s, 1 answer",
            "loads in 4.2s, 0.85 J a token",
        ),
        (Profile(1), "– tok/s, first token –, prompt – tok/s, 1 answer", ""),
    ],
)
def test_a_profile_in_words(profile: Profile, speed: str, cost: str) -> None:
    assert (profile_words.speed(profile), profile_words.cost(profile)) == (speed, cost)


def test_how_it_usually_does() -> None:
    assert profile_words.usual(WHOLE) == "22 tok/s, first token 0.6s, 210 J, 0.85 J a token (11 answers)"
    assert profile_words.usual(Profile(1, rate=9.0)) == "9.0 tok/s, first token – (1 answer)"
    assert profile_words.usual(Profile()) == ""


@pytest.mark.parametrize(
    ("energy", "words"), [(0.0, "0.00 J"), (0.994, "0.99 J"), (4.25, "4.2 J"), (999.4, "999 J"), (3405.0, "3.4 kJ"), (123_456.0, "123 kJ")]
)
def test_joules_in_words(energy: float, words: str) -> None:
    assert profile_words.joules(energy) == words
