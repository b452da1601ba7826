"""Previews with a planner and servers made of objects: who asks, how often, and what is kept."""

import asyncio
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.screen import until
from tui.config.settings import Settings, build
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import Ask, Job, JobKind, JobState, JobWish, Plan, PlanLayer
from tui.core.models import Endpoint
from tui.services import previews as previews_module
from tui.services.previews import AT_ONCE, BRIEF, FRESH, KEPT, Previews

GB = 10**9


class Planner:
    """Remembers who was asked; answers at once, or where `hold` is set when that is."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.answers: dict[str, Plan | Exception] = {}
        self.hold: asyncio.Event | None = None
        self.running = self.most = 0

    async def plan(self, provider, model, *, insecure=False):
        self.asked.append((model, insecure))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.hold is not None:
                await self.hold.wait()
        finally:
            self.running -= 1
        answer = self.answers.get(model, plan(5 * GB))
        if isinstance(answer, Exception):
            raise answer
        return answer


def plan(*sizes: int, note: str = "") -> Plan:
    return Plan(tuple(PlanLayer(f"sha256:{at:064x}", size, "weights") for at, size in enumerate(sizes)), frozenset(), note=note)


class World:
    def __init__(self, **more) -> None:
        self.clock = ManualClock()
        self.planner = Planner()
        self.servers = {"box": Endpoint("box", "ollama", "http://127.0.0.1:11434")}
        self.jobs: tuple[Job, ...] = ()
        self.settings = Settings()
        self.previews = Previews(
            lambda: self.planner, self.provider, lambda: self.jobs, lambda: self.settings, self.clock, **{"disks": False, **more}
        )

    def provider(self, name):
        if name not in self.servers:
            raise PaddockError.of("There is no such server", name, "Add it")
        return SimpleNamespace(endpoint=self.servers[name])

    def of(self, model, provider="box"):
        return self.previews.found.value.get((provider, model))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nobody types here, unless a test says so."""
    monkeypatch.setattr(previews_module, "SETTLE", 0.001)


@pytest.fixture
def world():
    return World()


async def test_asked_once_a_minute_whatever_the_spelling(world):
    await world.previews.look("qwen3", "box", False)
    await world.previews.look(" qwen3:latest ", "box", False)
    await world.previews.look("library/qwen3", "box", False)
    assert world.planner.asked == [("qwen3:latest", False)]
    assert world.of("qwen3:latest").plan.total == 5 * GB
    assert world.previews.fresh("qwen3", "box") is world.of("qwen3:latest")
    world.clock.advance(FRESH)
    assert world.previews.fresh("qwen3", "box") is None
    await world.previews.look("qwen3", "box", False)
    assert len(world.planner.asked) == 2


async def test_an_unreachable_registry_is_asked_again_sooner(world):
    world.planner.answers["qwen3:8b"] = Plan(note="not reached")
    await world.previews.look("qwen3:8b", "box", False)
    world.clock.advance(BRIEF)
    await world.previews.look("qwen3:8b", "box", False)
    assert len(world.planner.asked) == 2


async def test_while_it_is_asked_for_it_is_there_and_empty(world):
    world.planner.hold = asyncio.Event()
    task = asyncio.ensure_future(world.previews.look("qwen3:8b", "box", False))
    await until(lambda: world.planner.asked)
    assert world.of("qwen3:8b").plan is None
    assert world.previews.fresh("qwen3:8b", "box") is None
    await world.previews.look("qwen3:8b", "box", False)
    world.planner.hold.set()
    await task
    assert len(world.planner.asked) == 1


async def test_a_refusal_of_the_registry_is_what_is_found(world):
    world.planner.answers["nope:latest"] = PaddockError.of("No such model", "registry", "Check the name", FailureKind.NOT_FOUND)
    await world.previews.look("nope", "box", False)
    assert world.of("nope:latest").failure.what == "No such model"
    await world.previews.look("not a name", "box", False)
    assert world.of("not a name").failure.kind is FailureKind.BAD_REQUEST
    assert len(world.planner.asked) == 1


async def test_no_such_server_is_said_every_time(world):
    for _twice in range(2):
        with pytest.raises(PaddockError):
            await world.previews.look("qwen3", "nobody", False)
    assert not world.previews.found.value


async def test_insecure_and_another_address_are_other_questions(world):
    world.planner.answers["box.lan/me/m:latest"] = PaddockError.of("No", "x", "y", FailureKind.NOT_FOUND)
    await world.previews.look("box.lan/me/m", "box", False)
    world.planner.answers.clear()
    await world.previews.look("box.lan/me/m", "box", True)
    assert world.of("box.lan/me/m:latest").failure is None
    world.servers["box"] = Endpoint("box", "ollama", "http://127.0.0.1:11435")
    await world.previews.look("box.lan/me/m", "box", True)
    assert [insecure for _model, insecure in world.planner.asked] == [False, True, True]


async def test_a_late_answer_does_not_replace_that_of_a_newer_question(world):
    world.planner.hold = first = asyncio.Event()
    old = asyncio.ensure_future(world.previews.look("m", "box", False))
    await until(lambda: len(world.planner.asked) == 1)
    world.planner.hold = None
    world.planner.answers["m:latest"] = plan(7 * GB)
    await world.previews.look("m", "box", True)
    world.planner.answers["m:latest"] = plan(1 * GB)
    first.set()
    await old
    assert world.of("m:latest").plan.total == 7 * GB


async def test_an_abandoned_lookup_leaves_nothing_behind(world):
    world.planner.hold = asyncio.Event()
    task = asyncio.ensure_future(world.previews.look("m", "box", False))
    await until(lambda: world.planner.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.of("m:latest") is None
    world.planner.hold = None
    await world.previews.look("m", "box", False)
    assert world.of("m:latest").plan is not None


async def test_a_planner_that_breaks_does_not_look_busy_for_ever(world):
    world.planner.answers["m:latest"] = RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError):
        await world.previews.look("m", "box", False)
    assert world.of("m:latest") is None


async def test_many_pasted_names_are_asked_about_a_few_at_a_time(world):
    world.planner.hold = asyncio.Event()
    names = [f"model{at}:{at}b" for at in range(20)]
    tasks = [asyncio.ensure_future(world.previews.look(name, "box", False)) for name in names]
    await until(lambda: world.planner.running == AT_ONCE)
    world.planner.hold.set()
    await asyncio.gather(*tasks)
    assert world.planner.most == AT_ONCE
    assert {model for model, _insecure in world.planner.asked} == set(names)
    assert all(world.of(name).plan is not None for name in names)


async def test_names_that_begin_alike_and_are_pasted_together_are_all_asked_about(world):
    names = ["qwen3", "qwen3:8b", "qwen3:0.6b"]
    await asyncio.gather(*(world.previews.look(name, "box", False) for name in names))
    assert len(world.planner.asked) == 3


async def test_who_types_without_pause_is_asked_about_once(world, monkeypatch):
    monkeypatch.setattr(previews_module, "SETTLE", 0.2)
    text = "qwen3:8bx"
    tasks = []
    for length in [*range(1, len(text) + 1), len(text) - 1]:  # the last letter is taken back
        tasks.append(asyncio.ensure_future(world.previews.look(text[:length], "box", False)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert world.planner.asked == [("qwen3:8b", False)]
    assert list(world.previews.found.value) == [("box", "qwen3:8b")]


async def test_a_letter_taken_back_and_typed_again_is_still_asked_about(world, monkeypatch):
    monkeypatch.setattr(previews_module, "SETTLE", 0.1)
    tasks = [asyncio.ensure_future(world.previews.look(text, "box", False)) for text in ("qwen3:8", "qwen3:8b", "qwen3:8")]
    await asyncio.gather(*tasks)
    assert world.planner.asked == [("qwen3:8", False)]
    assert world.of("qwen3:8").plan is not None


async def test_only_so_many_are_kept_and_the_newest_of_them(world):
    await world.previews.look("first", "box", False)
    for at in range(KEPT - 1):
        await world.previews.look(f"m{at}", "box", False)
    world.clock.advance(FRESH)
    await world.previews.look("first", "box", False)
    await world.previews.look("last", "box", False)
    assert len(world.previews.found.value) == KEPT
    assert world.of("first:latest") is not None
    assert world.of("m0:latest") is None
    await world.previews.look("m0", "box", False)
    assert world.of("m0:latest").plan is not None


async def test_what_needs_a_yes(world):
    world.settings = build({"models": {"max_size": 4 * GB, "excluded": ("secret*",)}, "general": {"network": "metered"}})
    await world.previews.look("secret", "box", False)
    assert world.of("secret:latest").asks == {Ask.SIZE, Ask.EXCLUDED, Ask.METERED}


def job(at: int, model: str, endpoint: Endpoint, size: int, **more) -> Job:
    layers = (PlanLayer(f"sha256:{at + 100:064x}", size),)
    return Job(at, JobKind.PULL, model, endpoint, {}, JobWish.RUN, JobState.WAITING, at, plan=Plan(layers, frozenset()), **more)


async def test_room_is_counted_with_what_the_queue_brings(tmp_path: Path):
    world = World(disks=True)
    world.settings = build(
        {
            "providers": {
                name: {"url": f"http://127.0.0.1:{port}", "models_folder": str(tmp_path)} for name, port in (("box", 1), ("b2", 2))
            },
            "pulls": {"margin": 1.1, "keep_free": 0},
        }
    )
    box, other = world.servers["box"], Endpoint("b2", "ollama", "http://127.0.0.1:2")
    world.jobs = (job(1, "phi4:14b", box, 9 * GB), job(2, "qwen3:8b", box, 5 * GB), job(3, "qwen3:8b", other, 3 * GB))
    await world.previews.look("qwen3:8b", "box", False)
    found = world.of("qwen3:8b")
    assert found.queued == 12 * GB
    assert found.needed == round(1.1 * 17 * GB)
    assert abs(found.free - shutil.disk_usage(tmp_path).free) < GB
    world.planner.answers["new:latest"] = Plan(note="size not known")
    await world.previews.look("new", "box", False)
    assert world.of("new:latest").needed is None
    assert world.of("new:latest").free is not None


async def test_a_disk_that_hangs_costs_only_the_room(monkeypatch):
    world = World(disks=True)
    ended = threading.Event()

    def hang(*_args):
        ended.wait(20)

    monkeypatch.setattr(previews_module, "room_for", hang)
    monkeypatch.setattr(previews_module, "DISK_WITHIN", 0.05)
    await world.previews.look("m", "box", False)
    assert world.of("m:latest").plan is not None
    assert world.of("m:latest").free is None
    ended.set()
