"""Room for a model: the least recently used make way, as few as suffice, after one question."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.support.monitor_host import GB, FakeHost, running, sample
from tui.config.settings import build
from tui.core.errors import PaddockError
from tui.core.models import Location, Origin, RunningModel
from tui.core.monitor import Loaded, Take
from tui.hardware.sample import Sample
from tui.services.monitor.acting import Acting
from tui.services.monitor.freeing import Free, Freeing, Way, free_of, frees, plan


def takes(gpu: float = 0, ram: float = 0) -> Take:
    return Take((("GPU-0", round(gpu * GB)),) if gpu else (), round(ram * GB))


def loaded(*models: RunningModel) -> list[Loaded]:
    return [Loaded(model, here=True) for model in models]


def names(way: Way) -> list[str]:
    return [one.model.name for one in way.unload]


# --- the plan ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vram", "need", "chosen", "missing"),
    [
        ((5, 5, 5), 9, [], 0),  # it fits already
        ((5, 5, 5), 10, ["m0"], 0),  # the least recently used first
        ((5, 5, 5), 18, ["m0", "m1"], 0),
        ((0.3, 9, 5), 18, ["m1"], 0),  # the small one alone would not do, and is not needed
        ((9, 0.3, 5), 18, ["m0"], 0),
        ((5, 5, 4), 24, ["m0", "m1", "m2"], 1),  # not even all of them would do
        ((0, 5), 14, ["m1"], 0),  # what lies in main memory gives no GPU memory back
        ((), 20, [], 11),
    ],
)
def test_as_few_as_suffice_the_least_recently_used_first(vram: Sequence[float], need: float, chosen: list[str], missing: float) -> None:
    models = loaded(*(running(f"m{number}", vram=each, size=each or 8) for number, each in enumerate(vram)))
    way = plan(models, takes(gpu=need), Free(9 * GB, 24 * GB, 20 * GB))
    assert names(way) == chosen
    assert way.missing == missing * GB
    assert way.on_gpu


def test_what_is_larger_than_the_gpus_needs_both_memories() -> None:
    models = loaded(running("a", vram=5, size=8), running("b", size=3))
    way = plan(models, takes(gpu=20, ram=20), Free(9 * GB, 24 * GB, 22 * GB))
    assert (names(way), way.missing, way.on_gpu) == (["a", "b"], 0, False)
    assert plan(models, takes(gpu=20, ram=23), Free(9 * GB, 24 * GB, 22 * GB)).missing == 1 * GB


def test_what_the_server_leaves_free_is_missing_too() -> None:
    take = Take((("GPU-0", 8 * GB),), missing=2 * GB)
    way = plan(loaded(running("a", vram=1), running("b", vram=3)), take, Free(9 * GB, 24 * GB, 30 * GB))
    assert (names(way), way.missing) == (["b"], 0)


def test_without_gpus_main_memory_is_what_counts() -> None:
    way = plan(loaded(running("a", size=4)), takes(ram=6), Free(ram=3 * GB))
    assert (names(way), way.missing, way.on_gpu) == (["a"], 0, False)


def test_a_part_that_the_server_would_put_into_main_memory_is_wanted_on_the_gpu() -> None:
    way = plan(loaded(running("a", vram=12)), takes(gpu=8, ram=12), Free(8 * GB, 24 * GB, 30 * GB))
    assert (names(way), way.on_gpu) == (["a"], True)


def test_what_is_free_is_told_by_the_driver_less_the_reserve() -> None:
    two = sample(available=12, gpus=[(20, 24), (23.5, 24)])
    assert free_of(two) == Free(round(4.5 * GB), 48 * GB, 12 * GB)
    assert free_of(two, keep=GB) == Free(3 * GB, 46 * GB, 12 * GB)
    assert free_of(sample(available=12, gpus=[(20, 32)], unified=True)) == Free(0, 0, 12 * GB)
    assert frees(Loaded(running("a", vram=2, size=5)), on_gpu=True) == 2 * GB
    assert frees(Loaded(running("a", vram=2, size=5)), on_gpu=False) == 5 * GB


# --- the deed ----------------------------------------------------------------------------------------------------------


class World(FakeHost):
    """A host with a GPU of 24 GB whose driver shows memory a second after an unload."""

    def __init__(self, used: float = 22, **settings: Any) -> None:
        super().__init__(build(settings))
        self.used = used
        self.need: Take | None = takes(gpu=20)
        self.slow = 0
        self.pauses = 0
        self.acting = Acting(self, self.tell, self.samples, keeps=lambda: False)
        self.freeing = Freeing(
            self,
            self.acting.uses,
            self.acting.unloading,
            self.tell,
            self.would_take,
            lambda: (),
            self.samples,
            pause=self.pause,
        )
        self.coming: list[tuple[int, float]] = []
        self.on_unload = self.unloaded
        self.off = False

    def samples(self) -> list[tuple[float, Sample]]:
        return [] if self.off else [(self.clock.monotonic(), sample(available=20, gpus=[(self.used, 24)]))]

    def would_take(self, provider: str, model: str) -> Take | None:
        if self.slow:
            self.slow -= 1
            return None
        return self.need

    def unloaded(self, model: str) -> None:
        gone = next(one for one in self.models if one.key == model)
        self.coming.append((2, (gone.vram or 0) / GB))

    async def pause(self, seconds: float) -> None:
        self.pauses += 1
        self.time.advance(seconds)
        self.used -= sum(count for looks, count in self.coming if looks == 1)
        self.coming = [(looks - 1, count) for looks, count in self.coming if looks > 1]
        await asyncio.sleep(0)

    def fill(self, *models: RunningModel) -> None:
        self.models = models
        for number in range(len(models)):
            self.load_models(*models[: number + 1])
            self.acting.uses.look()
            self.time.advance(50)

    async def go(self, provider: str = "lab") -> None:
        await self.freeing.make_room(provider, "qwen3:32b")


FULL = (running("nomic-embed-text", vram=0.3), running("phi4", vram=9.1), running("gemma3", vram=12))


async def test_it_asks_naming_each_unloads_waits_for_the_driver_and_loads() -> None:
    world = World()
    world.fill(*FULL)
    world.choice = "unload"
    await world.go()
    question = "Unload phi4 (9.1 GB, idle 1m40s) and gemma3 (12 GB, idle 50s) to make room for qwen3:32b (20 GB)?"
    assert world.asked == [(question, ("keep", "unload"))]
    assert world.done == ["unload phi4", "unload gemma3", "load qwen3:32b"]
    assert world.told == [
        ("unloaded", "lab/phi4", "to make room for qwen3:32b"),
        ("unloaded", "lab/gemma3", "to make room for qwen3:32b"),
    ]
    assert world.pauses == 4  # the driver showed each after two looks
    assert world.used == pytest.approx(0.9)


async def test_keep_is_the_first_choice_and_changes_nothing() -> None:
    world = World()
    world.fill(*FULL)
    await world.go()
    assert world.done == []


async def test_what_fits_is_loaded_without_a_question() -> None:
    world = World(used=2)
    world.fill(running("nomic-embed-text", vram=0.3))
    await world.go()
    assert (world.asked, world.done) == ([], ["load qwen3:32b"])


async def test_what_is_loaded_already_is_only_said() -> None:
    world = World()
    world.fill(running("qwen3:32b", vram=20))
    await world.go()
    assert (world.said, world.done) == (["qwen3:32b is loaded already"], [])


async def test_pinned_and_busy_models_stay_and_what_is_missing_is_said() -> None:
    world = World(models={"pinned": ["gemma3"]})
    world.fill(*FULL)
    world.writes("nomic-embed-text")
    world.choice = "unload"
    await world.go()
    text = (
        "Unload phi4 (9.1 GB, idle 1m40s)? 8.9 GB of GPU memory would still be missing for qwen3:32b (20 GB): it would not fit, or be slow."
    )
    assert world.asked[0][0] == text
    assert world.done == ["unload phi4", "load qwen3:32b"]


async def test_where_nothing_can_make_way_it_says_so() -> None:
    world = World()
    world.fill(running("kept", vram=22, pinned=True))
    await world.go()
    text = "18 GB of GPU memory is missing for qwen3:32b (20 GB), and nothing that is loaded can make way. Load it all the same?"
    assert world.asked == [(text, ("keep", "load"))]
    world.choice = "load"
    await world.go()
    assert world.done == ["load qwen3:32b"]


async def test_one_that_begins_to_work_meanwhile_is_not_unloaded() -> None:
    world = World()
    world.fill(*FULL)
    world.choice = "unload"

    def works(model: str) -> None:
        world.unloaded(model)
        world.change("gemma3", busy_slots=1)

    world.on_unload = works
    with pytest.raises(PaddockError, match="gemma3 has begun to work meanwhile, so qwen3:32b was not loaded"):
        await world.go()
    assert world.done == ["unload phi4"]


async def test_an_unload_that_fails_or_is_stopped_ends_it() -> None:
    world = World()
    world.fill(*FULL)
    world.choice = "unload"
    world.stopped = {"phi4"}
    await world.go()
    assert world.said == ["phi4 was not unloaded, so qwen3:32b was not loaded"]
    world.stopped, world.stuck = set(), {"phi4"}
    with pytest.raises(PaddockError, match="phi4 is still loaded"):
        await world.go()
    assert world.done == ["unload phi4"] * 2


async def test_what_left_by_itself_needs_no_unload() -> None:
    world = World()
    world.fill(*FULL)
    world.choice = "unload"

    def leaves(model: str) -> None:
        world.unloaded(model)
        world.load_models(world.models[0])

    world.on_unload = leaves
    await world.go()
    assert world.done == ["unload phi4", "load qwen3:32b"]


async def test_a_driver_that_shows_nothing_is_not_waited_for_for_ever() -> None:
    world = World()
    world.fill(*FULL)
    world.choice = "unload"
    world.on_unload = lambda model: None
    await world.go()
    assert world.done[-1] == "load qwen3:32b"
    assert world.pauses == 40


async def test_details_are_waited_for_and_their_absence_is_said() -> None:
    world = World(used=2)
    world.slow = 5
    await world.go()
    assert world.done == ["load qwen3:32b"]
    world.need = None
    with pytest.raises(PaddockError, match="It is not known how much memory qwen3:32b takes"):
        await world.go()


async def test_servers_elsewhere_and_a_machine_that_is_not_measured() -> None:
    world = World()
    world.watching.providers.set((world.watching.of("far", Location.ELSEWHERE), world.watching.of("lab")))
    with pytest.raises(PaddockError, match="far has: it runs on another machine"):
        await world.go("far")
    world.off = True
    with pytest.raises(PaddockError, match="It is not known what memory is free"):
        await world.go()


async def test_in_the_demo_the_models_of_the_demo_make_way() -> None:
    world = World()
    world.demo = True
    world.watching.providers.set((world.watching.of("lab", origin=Origin.DEMO),))
    world.fill(*FULL)
    world.choice = "unload"
    await world.go()
    assert world.done[-1] == "load qwen3:32b"
    assert len(world.done) == 3


async def test_room_is_made_for_one_model_at_a_time() -> None:
    world = World()
    world.fill(*FULL)
    answer = asyncio.get_running_loop().create_future()
    world.ask = lambda text, choices: answer  # type: ignore[method-assign]
    first = asyncio.create_task(world.go())
    await asyncio.sleep(0)
    with pytest.raises(PaddockError, match="Room is being made for qwen3:32b"):
        await world.go()
    answer.set_result("keep")
    await first
    world.ask = FakeHost.ask.__get__(world)  # type: ignore[method-assign]
    await world.go()


async def test_the_reserve_is_kept() -> None:
    world = World(used=3, limits={"keep_free_vram": "2 GB"})
    world.fill(replace(running("phi4", vram=2)))
    await world.go()
    assert world.asked[0][0].startswith("Unload phi4 (2.0 GB")
