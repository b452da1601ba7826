"""Loads that are seen and kept, how servers are seen to run models, the rows of the table, and what is recommended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.library.host import Host
from tests.support.llama import INFO
from tests.unit.test_fit import GB, LLAMA, WEIGHTS
from tui.core.capabilities import Ability
from tui.core.errors import Failure
from tui.core.fit import Basis, Era, Machine, Pace, Served, Source, Verdict, need_of, subject_of
from tui.core.models import Location, Model, ModelDetail, RunningModel
from tui.core.monitor import Profile
from tui.core.observe import Observable
from tui.hardware.sample import Gpu, Sample
from tui.providers.library import Library, read_library
from tui.providers.ports import Holder
from tui.services.api import MonitorView
from tui.services.library import fits_seen
from tui.services.library.fits import FitTables
from tui.services.library.fits_recommend import recommended
from tui.services.library.fits_seen import in_command, in_environment, look, served_seen
from tui.services.library.fits_text import machine_text, mark_of, parse_tokens, placed_text
from tui.services.library.fits_variants import longest, of_catalogue, of_installed
from tui.store.load_memory import LOAD_MEMORY, LoadMemory

MODEL = Model("box", "llama3.1:8b", "llama3.1:8b", WEIGHTS, "d" * 64, "llama", "8.0B", "Q4_K_M", context=131_072)
DETAIL = ModelDetail("box", "llama3.1:8b", info=INFO, tensors=LLAMA.tensors, family="llama")


def loaded(context: int = 8192, size: float = 6.4, vram: float | None = None, **more: Any) -> RunningModel:
    whole = int(size * GB)
    return RunningModel("box", MODEL.name, MODEL.key, whole, whole if vram is None else int(vram * GB), context, **more)


class App:
    """A host with what the part watches."""

    def __init__(self, home: Path, version: str = "0.33.0") -> None:
        self.host: Any = Host(home, url="http://127.0.0.1:9")
        from dataclasses import replace

        self.host.watching.providers.set((replace(self.host.watching.providers.value[0], version=version),))
        self.host.watching.models.set((MODEL,))
        self.host.watching.watch = lambda name: SimpleNamespace(holder=self.holder)
        self.host.monitor = SimpleNamespace(profiles=Observable[Any]({}), latest=Observable(MonitorView()))
        self.shown: list[tuple[str, str]] = []
        self.host.actions = SimpleNamespace(show=lambda provider, model: self.shown.append((provider, model)))
        self.holder: Holder | None = None
        self.fits = FitTables(self.host)

    async def open(self) -> None:
        await self.fits.open(await self.host.open())

    async def settle(self) -> None:
        """Until nothing that was posted is left."""
        while tasks := [task for task in self.host.tasks if not task.done()]:
            await asyncio.gather(*tasks)

    async def loads(self, *running: RunningModel) -> None:
        self.host.watching.running.set(running)
        await self.settle()

    def need(self, context: int = 8192) -> Any:
        subject = subject_of(MODEL, DETAIL)
        assert subject is not None
        return need_of(subject, context, self.fits.served_of("box"), self.fits.lessons.value)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    made: list[App] = []

    async def make(**more: Any) -> App:
        one = App(tmp_path, **more)
        await one.open()
        made.append(one)
        return one

    yield make
    for one in made:
        await one.host.aclose()


# --- loads -------------------------------------------------------------------------------------------------------------


async def test_a_load_that_is_seen_is_kept_and_measured_from_then_on(app: Any, tmp_path: Path) -> None:
    one = await app()
    one.host.watching.details.set({("box", MODEL.key): DETAIL})
    assert one.need().basis is Basis.FORMULA
    await one.loads(loaded())
    assert (one.need().basis, one.need().total) == (Basis.MEASURED, 6.4 * GB)
    assert one.need(16_384).basis is Basis.FITTED
    kept = LoadMemory(one.host.database).all()
    assert [(load.context, load.kv_type, load.slots, load.version, load.family) for load in kept] == [(8192, "f16", 1, "0.33.0", "llama")]
    again = App(tmp_path)
    await again.fits.open(one.host.database)
    assert again.need().measured


async def test_details_are_asked_for_once_and_the_load_is_noted_when_they_come(app: Any) -> None:
    one = await app()
    await one.loads(loaded())
    await one.loads(loaded(), loaded(size=6.4))
    assert one.shown == [("box", MODEL.key)]
    assert one.fits.lessons.value.loads == ()
    one.host.watching.details.set({("box", MODEL.key): DETAIL})
    await one.settle()
    assert len(one.fits.lessons.value.loads) == 1


@pytest.mark.parametrize(
    "running",
    [loaded(size=WEIGHTS / GB), loaded(stopping=True), RunningModel("box", MODEL.name, MODEL.key, None, None, 8192),
     RunningModel("box", MODEL.name, MODEL.key, 7 * GB, None, 8192), RunningModel("box", "other", "other", GB, GB, 8192)],
)  # fmt: skip
async def test_what_tells_nothing_is_not_kept(app: Any, running: RunningModel) -> None:
    one = await app()
    one.host.watching.details.set({("box", MODEL.key): DETAIL})
    await one.loads(running)
    assert one.fits.lessons.value.loads == ()


async def test_an_old_server_tells_what_it_expects_and_that_is_no_measurement(app: Any) -> None:
    one = await app(version="0.11.4")
    one.host.watching.details.set({("box", MODEL.key): DETAIL})
    await one.loads(loaded())
    assert one.fits.lessons.value.loads == ()


async def test_the_same_load_is_written_once_and_another_context_beside_it(app: Any) -> None:
    one = await app()
    one.host.watching.details.set({("box", MODEL.key): DETAIL})
    for context in (8192, 8192, 4096):
        await one.loads(loaded(context))
        await one.loads()
    assert {load.context for load in one.fits.lessons.value.loads} == {4096, 8192}
    assert one.host.database.revisions()[LOAD_MEMORY] == 2


async def test_slots_that_a_server_tells_count(app: Any) -> None:
    one = await app()
    one.host.watching.details.set({("box", MODEL.key): DETAIL})
    await one.loads(loaded(slots=4))
    assert [load.slots for load in one.fits.lessons.value.loads] == [4]


async def test_details_that_failed_still_let_it_be_measured(app: Any) -> None:
    one = await app()
    one.host.watching.details.set({("box", MODEL.key): Failure("no", "box", "wait")})
    await one.loads(loaded())
    assert len(one.fits.lessons.value.loads) == 1


async def test_another_window_noted_a_load(app: Any, tmp_path: Path) -> None:
    one = await app()
    one.host.watching.details.set({("box", MODEL.key): DETAIL})
    other = App(tmp_path)
    other.host.database = one.host.database
    await other.fits.open(one.host.database)
    await one.loads(loaded())
    assert not other.need().measured
    await other.fits.changed(frozenset({LOAD_MEMORY}))
    assert other.need().measured


async def test_the_pace_follows_cards_and_answers(app: Any) -> None:
    one = await app()
    assert one.fits.pace.value == Pace()
    one.host.monitor.latest.set(MonitorView(sample=Sample(1.0, gpus=(Gpu("u", 0, "NVIDIA GeForce RTX 3090"),))))
    assert one.fits.pace.value.gpu == pytest.approx(0.6 * 936e9)
    assert not one.fits.pace.value.measured
    one.host.monitor.profiles.set({("box", MODEL.key): Profile(answers=9, rate=100.0, memory=6 * GB, vram=6 * GB)})
    assert one.fits.pace.value.measured
    assert one.fits.pace.value.gpu == pytest.approx(100 * WEIGHTS)


async def test_what_loads_took_is_kept_within_bounds(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tui.core.fit import load_of
    from tui.store import load_memory

    one = await app()
    monkeypatch.setattr(load_memory, "MOST", 3)
    table, subject = LoadMemory(one.host.database), subject_of(MODEL, DETAIL)
    assert subject is not None
    for number in range(6):
        await table.put(load_of(subject, 1024 * (number + 1), Served(), size=GB, vram=GB, at=float(number)))
    assert [load.at for load in table.all()] == [5.0, 4.0, 3.0]


# --- how servers run models --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "served"),
    [
        (["llama-server", "--cache-type-k", "q8_0", "-fa", "on", "-np", "4"], ("q8_0", True, 4)),
        (["llama-server", "-ctk=q4_0", "--flash-attn", "--parallel=2"], ("q4_0", True, 2)),
        (["llama-server", "-fa", "off"], ("f16", False, 1)),
        (["llama-server", "--cache-type-k", "evil\x1b", "-np", "99999999999"], ("f16", True, 1)),
        (["llama-server", "--parallel"], ("f16", True, 1)),
    ],
)
def test_a_command_line_tells_how_a_server_runs_models(words: list[str], served: tuple[str, bool, int]) -> None:
    made = served_seen(in_command(words), "llamacpp", "")
    assert (made.kv_type, made.flash, made.slots) == served


def test_an_environment_tells_it_too_and_nothing_else_of_it_is_read() -> None:
    text = "HOME=/x\0OLLAMA_KV_CACHE_TYPE=q8_0\0OLLAMA_FLASH_ATTENTION=1\0OLLAMA_GPU_OVERHEAD=500000000\0SECRET=abc\0OLLAMA_NUM_PARALLEL=2"
    told = in_environment(text)
    assert "abc" not in str(told)
    made = served_seen(told, "ollama", "0.11.0")
    assert (made.era, made.kv_type, made.flash, made.slots, made.reserve, made.told) == (Era.A, "q8_0", True, 2, 500_000_000, True)


def test_a_process_is_looked_at(tmp_path: Path) -> None:
    holder = Holder(os.getpid(), os.getuid(), "python")
    assert look(holder, "ollama", "0.33.0", tmp_path / "nowhere") is None


async def test_what_was_seen_of_a_server_counts_for_its_models(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await app()
    asked: list[str] = []

    def seen(holder: Holder, kind: str, version: str) -> Served:
        asked.append(version)
        return Served(Era.C, "q8_0", told=True)

    monkeypatch.setattr(fits_seen, "look", seen)
    one.holder = Holder(4, 1000, "ollama")
    one.host.watching.details.set({("box", MODEL.key): DETAIL})
    await one.loads(loaded())
    await one.loads(loaded(), loaded())
    assert asked == ["0.33.0"]
    assert one.fits.served_of("box").kv_type == "q8_0"
    assert [load.kv_type for load in one.fits.lessons.value.loads] == ["q8_0"]
    one.host.watching.providers.set(())
    assert one.fits.served_of("gone").kv_type == "f16"


async def test_servers_elsewhere_are_not_looked_into(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    one = await app()
    one.holder = Holder(4, 1000, "ssh")
    monkeypatch.setattr(fits_seen, "look", lambda *_args: pytest.fail("looked"))
    one.host.watching.providers.set((replace(one.host.watching.providers.value[0], location=Location.ELSEWHERE),))
    await one.loads(loaded())
    assert one.fits.seen.value == {}


# --- rows --------------------------------------------------------------------------------------------------------------

HEAD = "model,tag,bytes,context,digest12,cloud,tag_quant,dated,capabilities,licence,pulls,family,parameters,quant,snapshot"
ROWS = """\
llama3.1,latest,4920738944,131072,46e0c10c039e,,Q4_K_M,,tools,llama3.1,118000000,llama,8.0B,Q4_K_M,2026-08-21
llama3.1,8b,4920738944,131072,46e0c10c039e,,Q4_K_M,,,,,,,,
llama3.1,8b-q8_0,8500000000,131072,aaaaaaaaaaaa,,Q8_0,,,,,,,,
llama3.1,70b,42520398592,131072,bbbbbbbbbbbb,,,,,,,,,,
llama3.1,405b-cloud,,131072,,yes,,,,,,,,,
llama3,8b,4661211424,8192,cccccccccccc,,Q4_0,,,llama3,25000000,llama,8.0B,Q4_0,2026-08-21
small,1b,800000000,32768,dddddddddddd,,Q4_K_M,,tools vision,mit,900000,small,1B,Q4_K_M,2026-08-21
huge,400b,240000000000,32768,eeeeeeeeeeee,,Q4_K_M,,tools,mit,900000000,huge,400B,Q4_K_M,2026-08-21
wide,30b,19000000000,32768,abababababab,,,,tools,mit,5000000,wide,30B,Q4_K_M,2026-08-21
wide,30b-a3b,19000000000,32768,abababababab,,,,,,,,,,
"""


@pytest.fixture(scope="module")
def library() -> Library:
    return read_library([HEAD, *ROWS.splitlines()])


def test_the_rows_of_an_installed_model(library: Library) -> None:
    installed = Model("box", "llama3.1:8b-q6", "llama3.1:8b-q6", int(6.6 * GB), "e" * 64, parameters="8.0B", quantization="Q6_K")
    other = Model("else", "llama3.1:8b-q5", "llama3.1:8b-q5", int(5.6 * GB), "f" * 64, parameters="8.0B", quantization="Q5_K_M")
    rows = of_installed(MODEL, {("box", MODEL.key): DETAIL}, (MODEL, installed, other), library)
    found = {(row.label, row.source, row.name, row.other) for row in rows}
    assert ("8b", Source.INSTALLED, "llama3.1:8b", False) in found
    assert ("8b-q6", Source.INSTALLED, "llama3.1:8b-q6", False) in found
    assert ("8b-q8_0", Source.CATALOGUE, "llama3.1:8b-q8_0", False) in found
    assert ("70b", Source.CATALOGUE, "llama3.1:70b", True) in found
    levels = [row.label for row in rows if row.source is Source.COMPUTED]
    assert levels == ["F16", "Q5_K_M", "Q3_K_M", "Q2_K"]
    assert not any("cloud" in row.label or row.label == "latest" for row in rows)
    eight = next(row for row in rows if row.label == "8b-q8_0")
    assert eight.subject.shape is not None
    assert longest(rows) == 131_072


def test_X01_a_model_of_a_hostile_name_has_rows_too(library: Library) -> None:
    name = "evil\u202e:::\x1b[31m"
    rows = of_installed(Model("box", name, name, GB), {}, (), library)
    assert [row.source for row in rows] == [Source.INSTALLED]
    assert of_installed(Model("box", "m", "m"), {}, (), library) == ()


def test_the_rows_of_the_catalogue(library: Library) -> None:
    listed = library.model("llama3.1")
    assert listed is not None
    rows = of_catalogue(listed, (MODEL,))
    assert [(row.label, row.source) for row in rows] == [
        ("8b", Source.INSTALLED), ("8b-q8_0", Source.CATALOGUE), ("70b", Source.CATALOGUE),
    ]  # fmt: skip
    told = of_catalogue(listed, (MODEL,), {("box", MODEL.key): LLAMA})
    assert told[0].subject == subject_of(MODEL, LLAMA) and told[0].subject.shape is not None
    assert told[1:] == rows[1:]


# --- what to run -------------------------------------------------------------------------------------------------------

LARGE = Machine(64 * GB, 50 * GB, 26 * GB, 25 * GB, 1)


def names(library: Library, machine: Machine = LARGE, **more: Any) -> list[str]:
    return [one.name for one in recommended(library, machine, **more)]


def test_what_fits_is_recommended_the_newest_of_a_series_and_never_what_does_not_fit(library: Library) -> None:
    found = names(library)
    assert found[0] == "llama3.1:8b"
    assert "huge:400b" not in found
    assert "llama3:8b" not in found
    assert "wide:30b" in found
    assert names(library, Machine(2 * GB, GB)) == []


def test_wishes_decide_what_is_recommended(library: Library) -> None:
    assert names(library, preferred=("small",))[0] == "small:1b"
    assert "llama3.1:8b" not in names(library, excluded=("llama3.1*",))
    assert names(library, max_size=GB) == ["small:1b"]
    assert names(library, wanted=(Ability.VISION, Ability.TOOLS)) == ["small:1b"]
    assert names(library, wanted=(Ability.EMBEDDING,)) == []
    assert len(names(library, limit=1)) == 1


def test_what_can_be_read_as_it_is_written_wins_where_there_is_no_gpu(library: Library) -> None:
    found = recommended(library, Machine(64 * GB, 60 * GB), pace=Pace(None, 30e9))
    by_name = {one.name: one for one in found}
    assert "llama3.1:70b" not in by_name
    rate = by_name["wide:30b"].fit.rate
    assert rate is not None
    assert rate > 10
    assert by_name["llama3.1:8b"].fit.verdict is Verdict.GOOD


# --- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("32k", 32_768), ("8192", 8192), ("1m", 1 << 20), ("0", None), ("-4", None), ("x", None), ("99999999m", None)],
)
def test_tokens_as_people_write_them(text: str, tokens: int | None) -> None:
    assert parse_tokens(text) == tokens


def test_cells_say_what_fits_without_colours() -> None:
    from tui.core.fit import Fit, Need, Placement

    need = Need(5 * GB, GB, GB, layers=32)
    cells = [mark_of(Fit(verdict, need)) for verdict in (Verdict.GOOD, Verdict.TIGHT, Verdict.AFTER_UNLOAD, Verdict.LOADED)]
    assert cells == ["7.0", "7.0!", "7.0*", "7.0"]
    assert mark_of(Fit(Verdict.NO, need, over=3_100_000_000)) == "-3.1"
    assert mark_of(Fit(Verdict.SLOW, need, rate=4.4)) == "4/s"
    assert mark_of(Fit(Verdict.SLOW, need, rate=0.3)) == "<1/s"
    assert mark_of(Fit(Verdict.SLOW, need)) == "slow"
    assert mark_of(None) == ""
    split = Fit(Verdict.SLOW, need, cpu_share=0.3, placement=Placement((3 * GB, GB), 3 * GB, 20))
    assert placed_text(split, LARGE) == "20 of 32 layers: 3.0 GB on GPU0, 1.0 GB on GPU1, 3.0 GB in main memory (30 % on the CPU)."
    assert machine_text(LARGE) == "GPU0 26 GB, 25.0 free; RAM 64 GB, 50.0 free"
