"""Memory that runs out: said once, or the least recently used models are unloaded, one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.monitor_host import GB, FakeHost, running, sample
from tui.config.settings import build
from tui.core.models import RunningModel
from tui.hardware.sample import Sample, Source
from tui.services.monitor.acting import Acting
from tui.services.monitor.pressure import CALM, squeezed

FULL = sample(available=1)
WELL = sample(available=20)


class World(FakeHost):
    """A host whose machine runs out of memory when told to; one sample a second, a look every five."""

    def __init__(self, action: str, **settings: Any) -> None:
        super().__init__(build({"limits": {"memory_pressure": action}} | settings))
        self.samples: list[tuple[float, Sample]] = []
        self.work: set[str] = set()
        self.acting = Acting(self, self.tell, lambda: self.samples, working=self.working)

    async def working(self, model: RunningModel) -> bool:
        return model.key in self.work

    async def pass_(self, seconds: int, now: Sample = FULL) -> None:
        for second in range(seconds):
            self.time.advance(1)
            self.samples = [*self.samples, (self.clock.monotonic(), now)][-60:]
            if second % 5 == 4:
                await self.acting.look()


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (WELL, ""),
        (sample(available=1.7), ""),
        (FULL, "1.0 GB of 32 GB is available"),
        (sample(pressure_full=14.0), "everything waits for memory 14 % of the time, 20 GB of 32 GB is available"),
        (sample(pressure_full=9.0, pressure=50.0), ""),
        (sample(available=3, swap_in=4e6, swap_out=1e6), "it swaps 5.0 MB/s, 3.0 GB of 32 GB is available"),
        (sample(swap_in=4e6), ""),
        (Sample(1.0), ""),
    ],
)
def test_when_a_machine_is_out_of_memory(one: Sample, words: str) -> None:
    assert squeezed(one) == words


async def test_a_warning_is_said_once_names_a_model_and_comes_again_after_calm() -> None:
    world = World("warn")
    world.load_models(running("phi4", vram=2, size=9))
    await world.pass_(5, WELL)
    await world.pass_(60)
    assert world.said == [
        "This machine runs out of memory: 1.0 GB of 32 GB is available. phi4 has 9.0 GB and is idle for 15s: it could be unloaded"
    ]
    assert world.told == [("warned", "memory", "1.0 GB of 32 GB is available")]
    await world.pass_(20, WELL)  # a moment of calm is no end
    await world.pass_(60)
    assert len(world.said) == 1
    await world.pass_(int(CALM) + 10, WELL)
    await world.pass_(20)
    assert len(world.said) == 2
    assert world.done == []


@pytest.mark.parametrize("action", ["off", "warn", "unload"])
async def test_a_moment_is_no_pressure(action: str) -> None:
    world = World(action)
    world.load_models(running("phi4", size=9))
    for _time in range(5):
        await world.pass_(9)
        await world.pass_(1, WELL)
    assert (world.said, world.done) == ([], [])


async def test_models_in_main_memory_go_one_by_one_the_least_recently_used_first() -> None:
    world = World("unload")
    world.load_models(running("old", size=5))
    await world.pass_(5, WELL)
    world.load_models(running("old", size=5), running("new", vram=1, size=5), running("gpu", vram=5, size=5))
    await world.pass_(5, WELL)
    await world.pass_(15)
    assert world.done == ["unload old"]
    await world.pass_(5)
    assert world.done == ["unload old"]  # memory is given time to come back
    await world.pass_(10)
    assert world.done == ["unload old", "unload new"]
    await world.pass_(60)
    assert world.done == ["unload old", "unload new"]  # what lies on the GPU gives no main memory back
    assert [what for what, *_rest in world.told] == ["unloaded", "unloaded", "warned"]
    assert world.said[0] == "old on lab was unloaded: this machine runs out of memory: 1.0 GB of 32 GB is available"


async def test_with_unified_memory_a_model_on_the_gpu_counts_too() -> None:
    world = World("unload")
    world.load_models(running("gpu", vram=5, size=5))
    await world.pass_(20, sample(available=1, gpus=[(20, 32)], unified=True))
    assert world.done == ["unload gpu"]


async def test_never_a_model_that_works_or_is_pinned() -> None:
    world = World("unload", models={"pinned": ["kept"]})
    world.load_models(running("kept", size=5), running("writes", size=5), running("busy", size=5, busy_slots=1), running("hums", size=5))
    world.writes("writes")
    world.work = {"hums"}
    await world.pass_(120)
    assert world.done == []


async def test_one_that_will_not_go_makes_way_for_the_next() -> None:
    world = World("unload")
    world.load_models(running("stuck", size=5), running("next", size=5))
    world.stuck = {"stuck"}
    await world.pass_(40)
    assert world.done == ["unload stuck", "unload next"]


async def test_figures_that_are_old_or_of_a_silent_source_make_nothing_happen() -> None:
    world = World("unload")
    world.load_models(running("phi4", size=5))
    await world.pass_(9)
    world.time.advance(30)
    await world.acting.look()
    silent = Sample(1.0, memory=FULL.memory, sources=(Source("memory", silent=60.0),))
    await world.pass_(60, silent)
    assert (world.said, world.done) == ([], [])


async def test_off_does_nothing() -> None:
    world = World("off")
    world.load_models(running("phi4", size=5 * GB / GB))
    await world.pass_(60)
    assert (world.said, world.done, world.told) == ([], [], [])
