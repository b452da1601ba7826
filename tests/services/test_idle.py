"""Models that nobody uses are unloaded; what may be in use is not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.monitor_host import FakeHost, running
from tui.config.settings import build
from tui.core.models import Location, Origin, ProviderStatus, RunningModel
from tui.core.monitor import Loaded, ServerFigures
from tui.providers.ports import Holder
from tui.services.monitor.acting import Acting
from tui.services.monitor.idle import AFTER_FAILURE
from tui.services.monitor.working import works
from tui.services.pins import pinned

IDLE = build({"limits": {"idle_unload": "10m"}})


class World(FakeHost):
    """A host whose limits act; time passes in looks of five seconds."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(build({"limits": {"idle_unload": "10m"}} | settings))
        self.loaded: list[Loaded] = []
        self.figures: dict[str, ServerFigures] = {}
        self.work: set[str] = set()
        self.keeps = True
        self.acting = Acting(
            self,
            self.tell,
            lambda: (),
            loaded=lambda: self.loaded,
            figures=lambda: self.figures,
            keeps=lambda: self.keeps,
            working=self.working,
        )

    async def working(self, model: RunningModel) -> bool:
        return model.key in self.work

    async def pass_(self, seconds: float) -> None:
        for _look in range(round(seconds / 5)):
            await self.acting.look()
            self.time.advance(5)
        await self.acting.look()


async def test_an_idle_model_is_unloaded_and_it_is_said_and_noted() -> None:
    world = World()
    world.load_models(running("phi4"))
    await world.pass_(595)
    assert world.done == []
    await world.pass_(5)
    why = "nobody used it for 10 min, limits.idle_unload is 10 min"
    assert world.done == ["unload phi4"]
    assert world.told == [("unloaded", "lab/phi4", why)]
    assert world.said == [f"phi4 on lab was unloaded: {why}"]


@pytest.mark.parametrize("settings", [{"limits": {}}, {"security": {"access": "look"}}, {"models": {"pinned": ["phi4"]}}])
async def test_not_unless_it_is_wanted_and_allowed(settings: dict[str, Any]) -> None:
    world = World(**settings)
    world.load_models(running("phi4"))
    await world.pass_(1200)
    assert world.done == []


async def test_what_a_server_keeps_for_ever_or_is_letting_go_stays() -> None:
    world = World()
    world.load_models(running("kept", pinned=True), running("going", stopping=True))
    await world.pass_(1200)
    assert world.done == []


@pytest.mark.parametrize("use", ["answer", "moved", "slots", "waiting", "loaded", "figures"])
async def test_what_may_be_in_use_by_anybody_is_not_idle(use: str) -> None:
    world = World()
    model = running("phi4")
    world.load_models(model)
    await world.pass_(590)
    if use == "answer":
        world.writes("phi4:latest")
    elif use == "moved":
        world.change("phi4", expires_at=1e9 + 590)  # somebody's request ended
    elif use == "slots":
        world.change("phi4", busy_slots=1, slots=4)
    elif use == "waiting":
        world.change("phi4", waiting=2)
    elif use == "loaded":
        world.loaded = [Loaded(model, running=1)]
    else:
        world.figures = {"lab": ServerFigures("lab", running=1)}
    await world.acting.look()
    world.lives, world.loaded, world.figures = [], [], {}
    world.change("phi4", busy_slots=0, waiting=0)
    await world.pass_(595)
    assert world.done == []
    await world.pass_(5)
    assert world.done == ["unload phi4"]


async def test_a_server_that_tells_nothing_of_its_use_keeps_its_models() -> None:
    world = World()
    world.load_models(running("silent", expires_at=None), running("slots", expires_at=None, busy_slots=0))
    await world.pass_(1200)
    assert world.done == ["unload slots"]


async def test_processes_that_work_at_the_last_look_keep_it() -> None:
    world = World()
    world.load_models(running("phi4"))
    world.work = {"phi4"}
    await world.pass_(700)
    assert world.done == []
    world.work = set()
    await world.pass_(600)
    assert world.done == ["unload phi4"]


async def test_a_model_that_was_used_while_another_was_unloaded_stays() -> None:
    world = World()
    world.load_models(running("phi4"), running("qwen3"))
    await world.pass_(595)

    def slow(_model: str) -> None:
        world.time.advance(90)
        world.change("qwen3", expires_at=1e9 + 650)  # somebody's request came and ended meanwhile

    world.on_unload = slow
    await world.pass_(5)
    assert world.done == ["unload phi4"]


async def test_a_server_of_another_person_is_left_alone() -> None:
    world = World()
    world.load_models(running("phi4"))
    world.watching.held = Holder(uid=4711, user="alice", other_person=True)
    await world.pass_(1200)
    assert world.done == []


async def test_a_server_that_was_found_counts_as_one_that_is_configured() -> None:
    world = World()
    found = replace(world.watching.of("lab", origin=Origin.FOUND), status=ProviderStatus.FOUND)
    world.watching.providers.set((found,))
    world.load_models(running("phi4"))
    await world.pass_(600)
    assert world.done == ["unload phi4"]


async def test_servers_elsewhere_and_the_demo_are_left_alone() -> None:
    world = World()
    of = world.watching.of
    world.watching.providers.set((of("far", Location.ELSEWHERE), of("demo", origin=Origin.DEMO)))
    world.load_models(running("a", provider="far"), running("b", provider="demo"))
    await world.pass_(1200)
    world.watching.providers.set((of("lab"),))
    world.load_models(running("c"))
    world.demo = True
    await world.pass_(1200)
    assert world.done == []


async def test_an_unload_that_fails_is_said_once_and_not_tried_every_five_seconds() -> None:
    world = World()
    world.load_models(running("phi4"))
    world.stuck = {"phi4"}
    await world.pass_(900)
    assert world.done == ["unload phi4"]
    assert len(world.said) == 1
    assert world.said[0].startswith("phi4 could not be unloaded: phi4 is still loaded")
    assert [what for what, *_rest in world.told] == ["not unloaded"]
    await world.pass_(AFTER_FAILURE)
    assert world.done == ["unload phi4"] * 2


async def test_an_unload_that_the_user_stopped_is_no_failure_and_not_tried_again_at_once() -> None:
    world = World()
    world.load_models(running("phi4"))
    world.stopped = {"phi4"}
    await world.pass_(700)
    assert (world.done, world.said, world.told) == (["unload phi4"], [], [])


async def test_only_who_keeps_the_rules_acts_and_use_is_followed_by_all() -> None:
    world = World()
    world.keeps = False
    world.load_models(running("phi4"))
    await world.pass_(900)
    assert world.done == []
    assert world.acting.uses.idle(running("phi4")) == 900
    world.keeps = True
    await world.acting.look()
    assert world.done == ["unload phi4"]


async def test_E04_sleep_of_the_machine_is_no_idle_time() -> None:
    world = World()
    world.load_models(running("phi4"), running("qwen"))
    await world.pass_(300)
    world.time.advance(8 * 3600)
    await world.pass_(290)
    assert world.done == []
    await world.pass_(20)
    assert world.done == ["unload phi4", "unload qwen"]


async def test_an_answer_of_another_process_of_ours_counts_and_an_older_use_is_only_told() -> None:
    world = World()
    model = running("phi4")
    world.load_models(model)
    world.loaded = [Loaded(model, last_used=world.clock.time() - 7200)]
    await world.pass_(100)
    assert world.acting.uses.idle(model) == 100
    assert world.acting.uses.ago(model) == 7300
    world.loaded = [Loaded(model, last_used=world.clock.time() - 10)]
    await world.pass_(585)
    assert world.done == []
    await world.pass_(10)
    assert world.done == ["unload phi4"]


def test_pins_name_a_model_alone_or_with_its_provider() -> None:
    settings = build({"models": {"pinned": ["phi4", "lab/qwen3:8b", "hf.co/ann/m:q4"]}})
    assert pinned(settings, "lab", "phi4:latest")
    assert pinned(settings, "lab", "qwen3:8b")
    assert not pinned(settings, "far", "qwen3:8b")
    assert pinned(settings, "far", "hf.co/ann/m:q4")
    assert not pinned(settings, "far", "phi")


# --- processes that work -----------------------------------------------------------------------------------------------


async def test_a_process_that_computes_works_and_one_that_waits_does_not() -> None:
    code = "import sys\nprint(flush=True)\nwhile sys.argv[1] == 'work' or sys.stdin.read(1): pass"
    for word, expected in (("work", True), ("rest", False)):
        process = subprocess.Popen([sys.executable, "-c", code, word], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            if not Path(f"/proc/{process.pid}").exists():
                pytest.skip("processes cannot be seen here")
            assert await works((process.pid,), None, span=0.3) is expected
            assert await works((), Holder(pid=process.pid), span=0.3) is expected
        finally:
            process.kill()
            process.communicate()
    assert not await works((), None)


def test_the_least_recently_used_comes_first() -> None:
    world = World()
    world.load_models(running("old"))
    world.acting.uses.look()
    world.time.advance(5)
    world.load_models(running("old"), replace(running("new"), expires_at=None))
    world.acting.uses.look()
    assert sorted(world.watching.running.value, key=world.acting.uses.order)[0].name == "old"
