"""The Library's tuning verbs in the app: proposals, one measurement at a time, stopped, interrupted, and levels for the queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.library.bench import CHANGES, GB, Bench
from tests.library.host import Host
from tests.support.llama import INFO
from tui.core.clock import SYSTEM
from tui.core.errors import Failure, PaddockError
from tui.core.jobs import JobKind
from tui.core.models import Location, Model, ModelDetail
from tui.core.observe import Observable
from tui.core.tuning import OptimiseState, Proposal
from tui.hardware.sample import Cpu, Gpu, Memory, Sample
from tui.services.api import MonitorView
from tui.services.library.fits import FitTables
from tui.services.library.tuning import Tuning
from tui.store.model_events import ModelEvents
from tui.store.tunings import Tunings

SAMPLE = Sample(
    time=1.0, cpu=Cpu(physical=8), memory=Memory(32 * GB, 8 * GB), gpus=(Gpu("u", 0, "RTX", memory_total=24 * GB, memory_used=0),)
)


class Queue:
    """Remembers what was added."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, JobKind, dict[str, Any]]] = []

    async def add(self, model: str, endpoint: Any, kind: JobKind, arguments: dict[str, Any], asked_by: str) -> Any:
        self.jobs.append((model, kind, arguments))
        return SimpleNamespace(model=model)


class App:
    """A host whose server is a `Bench`'s."""

    def __init__(self, home: Path, bench: Bench) -> None:
        self.bench = bench
        self.host: Any = Host(home / "app", url=bench.server.url)
        self.host.clock = SYSTEM
        self.host.providers["box"] = bench.provider
        self.host.may_load = self._may_load
        self.host.monitor = SimpleNamespace(latest=Observable(MonitorView(sample=SAMPLE)))
        self.jobs = Queue()
        self.host.queue = lambda: self.jobs
        self.refused: Failure | None = None
        self.reason = ""
        self.host.watching.can = lambda _provider, _capability: self.reason
        self.part = Tuning(self.host, FitTables(self.host))

    async def _may_load(self, _provider: str, _model: str) -> Failure | None:
        return self.refused

    async def open(self) -> App:
        state = self.host.watching.providers.value[0]
        assert state.location is Location.HERE
        self.host.watching.models.set(await self.bench.provider.models())
        known = ModelDetail("box", "a:latest", info=INFO, context=131_072)
        self.host.watching.details.set({("box", "a:latest"): known})
        await self.part.open(await self.host.open())
        return self

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(10):
            while not (found := condition()):
                await asyncio.sleep(0.005)
        return found

    async def quiet(self) -> None:
        """Everything that was asked for is done."""
        await asyncio.gather(*self.host.tasks)

    @property
    def failure(self) -> str:
        return " ".join(str(error) for error in self.host.failures)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    bench = await Bench(tmp_path / "bench").open()
    made = await App(tmp_path, bench).open()
    yield made
    await made.part.aclose()
    await made.host.aclose()
    await bench.aclose()


async def proposal(app: App) -> Proposal | Failure:
    app.part.propose("box", "a:latest")
    await app.quiet()
    return app.part.proposals.value["box", "a:latest"]


async def test_proposals_come_with_what_is_in_force(app: App) -> None:
    app.host.config.set("models.options.a.num_batch", 256)
    found = await proposal(app)
    assert isinstance(found, Proposal)
    assert [(change.key, change.old, change.new) for change in found.changes] == [("num_ctx", None, 8192), ("num_batch", 256, 1024)]
    assert "fits well at 4,096 tokens" in found.fits
    assert any("OLLAMA_KV_CACHE_TYPE" in text for text in found.advice)
    assert app.bench.server.loads == []


async def test_what_all_models_are_given_is_said_and_left_alone(app: App) -> None:
    app.host.config.set("chat.options.num_ctx", 2048)
    found = await proposal(app)
    assert isinstance(found, Proposal)
    assert [change.key for change in found.changes] == ["num_batch"]
    assert found.held == ("num_ctx is left alone: [chat.options] sets it for all models",)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda app: app.host.config.set("optimise.enabled", False), "Nothing is proposed"),
        (lambda app: app.host.monitor.latest.set(MonitorView()), "no figures of this machine yet"),
        (lambda app: app.host.watching.models.set(()), "is not installed any more"),
    ],
)
async def test_why_nothing_is_proposed(app: App, prepare: Callable[[App], Any], words: str) -> None:
    prepare(app)
    found = await proposal(app)
    assert isinstance(found, Failure)
    assert words in found.what
    assert found.remedy


async def test_a_smaller_quantization_is_offered_only_where_it_is_wanted(app: App) -> None:
    small = Gpu("u", 0, "RTX", memory_total=4 * GB, memory_used=int(1.2 * GB))
    app.host.monitor.latest.set(MonitorView(sample=Sample(time=1.0, memory=SAMPLE.memory, cpu=SAMPLE.cpu, gpus=(small,))))
    app.host.config.set("models.options.a.num_ctx", 512)
    found = await proposal(app)
    assert isinstance(found, Proposal) and "fits partly" in found.fits
    assert found.smaller == ()
    app.host.config.set("optimise.quantize", True)
    found = await proposal(app)
    assert isinstance(found, Proposal)
    assert ("q4_K_M", False) in [(one.name, one.pull) for one in found.smaller]
    assert all("would fit; loss: " in one.words for one in found.smaller)


async def test_of_a_quantized_model_a_smaller_tag_of_the_catalogue_is_offered(app: App) -> None:
    small = Gpu("u", 0, "RTX", memory_total=8 * GB, memory_used=0)
    app.host.monitor.latest.set(MonitorView(sample=Sample(time=1.0, memory=SAMPLE.memory, cpu=SAMPLE.cpu, gpus=(small,))))
    app.host.config.set("optimise.quantize", True)
    big = Model("box", "qwen3:14b", "qwen3:14b", size=9_276_400_000, quantization="Q4_K_M")
    app.host.watching.models.set((big,))
    app.part.propose("box", "qwen3:14b")
    await app.quiet()
    found = app.part.proposals.value["box", "qwen3:14b"]
    assert isinstance(found, Proposal)
    (smaller,) = found.smaller
    assert smaller.pull and smaller.name.startswith("qwen3:") and smaller.size < 8 * GB


async def test_it_is_measured_kept_and_told(app: App) -> None:
    app.bench.server.speed = lambda options: 60.0 if options.get("num_batch") else 50.0
    steps: set[str] = set()
    app.part.run.watch(lambda run: steps.add(run.step) if run is not None else None)
    app.part.optimise("box", "a:latest", ["num_ctx", "num_batch"])
    await app.quiet()
    assert app.failure == ""
    assert app.part.run.value is None
    row = app.part.optimised.value["box", "a:latest"]
    assert row.state == OptimiseState.KEPT
    assert app.host.config.current.value.models.options_of("a") == {"num_ctx": 8192, "num_batch": 1024}
    assert any("is kept" in text for text in app.host.said)
    assert {"before: loading it", "after: loading it", "putting it back as it was"} <= steps
    after = app.part.proposals.value["box", "a:latest"]
    assert isinstance(after, Proposal) and after.changes == ()
    (event,) = ModelEvents(app.host.database).of("box", "a")
    assert event.text == "optimised: num_ctx the server chooses -> 8192, num_batch the server chooses -> 1024"
    log = (app.host.paths.state / "audit.jsonl").read_text()
    assert '"what": "measure", "target": "box/a:latest"' in log
    assert "optimise" in log and "num_ctx the server chooses -> 8192" in log


async def test_what_was_seen_is_what_is_tried(app: App) -> None:
    """Free memory moves between the look and the yes."""
    seen = await proposal(app)
    assert isinstance(seen, Proposal)
    other = replace(seen, changes=tuple(replace(change, new=change.new // 2) for change in seen.changes))
    app.part.proposals.set({("box", "a:latest"): other})
    app.part.optimise("box", "a:latest", ["num_ctx"])
    await app.quiet()
    row = app.part.optimised.value["box", "a:latest"]
    assert [(change.key, change.new) for change in row.changes] == [("num_ctx", 4096)]


async def test_one_measurement_at_a_time_and_stopped_by_x(app: App) -> None:
    server = app.bench.server
    server.holds_at = 2
    app.part.optimise("box", "a:latest", ["num_ctx"])
    await server.held.wait()
    app.part.benchmark("box", ["a:latest", "a:q8_0"])
    await app.until(lambda: app.host.failures)
    assert "two measurements would disturb each other" in app.failure
    app.part.stop()
    await app.until(lambda: app.part.run.value is None)
    assert app.part.optimised.value["box", "a:latest"].state == OptimiseState.STOPPED
    assert server.loaded == {}
    assert app.host.config.current.value.models.options == {}
    app.part.stop()
    await asyncio.sleep(0)


async def test_closing_the_app_unloads_the_trial(app: App) -> None:
    app.bench.server.holds_at = 1
    app.part.optimise("box", "a:latest", ["num_ctx"])
    await app.bench.server.held.wait()
    assert app.bench.server.loaded
    await app.part.aclose()
    assert app.bench.server.loaded == {}


async def test_what_fails_says_that_nothing_was_changed(app: App) -> None:
    app.bench.server.dies_at = 1
    app.part.optimise("box", "a:latest", ["num_ctx"])
    await app.quiet()
    assert "nothing was changed" in app.failure
    assert app.part.optimised.value["box", "a:latest"].state == OptimiseState.FAILED


async def test_S01_the_next_start_tells_of_an_optimisation_that_was_killed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    await Tunings(app.host.database).begin("box", "a:latest", CHANGES)
    monkeypatch.setattr("tui.store.tunings.alive", lambda _who: False)
    again = Tuning(app.host, FitTables(app.host))
    await again.open(app.host.database)
    assert app.host.said == ["Optimising a:latest on box was interrupted before it was done; no setting was changed"]
    assert again.optimised.value["box", "a:latest"].state == OptimiseState.INTERRUPTED


async def test_levels_are_measured_and_told(app: App) -> None:
    app.part.benchmark("box", ["a:q8_0", "a:latest"])
    await app.quiet()
    rows = app.part.levels.value["box", "a:latest"]
    assert [row.model for row in rows] == ["a:latest", "a:q8_0"]
    assert app.host.said == ["2 levels of a:latest are measured"]
    app.part.benchmark("box", ["a:latest"])
    await app.quiet()
    assert "two levels or more" in app.failure


async def test_levels_are_queued_under_their_names(app: App) -> None:
    app.part.quantize("box", "a:latest", [("q4_k_m", "new:4"), ("q8_0", "new:8")])
    await app.quiet()
    assert app.failure == ""
    assert app.jobs.jobs == [
        ("new:4", JobKind.QUANTIZE, {"from": "a:latest", "quantize": "q4_K_M"}),
        ("new:8", JobKind.QUANTIZE, {"from": "a:latest", "quantize": "q8_0"}),
    ]
    assert "new:4 and new:8: queued on box" in app.host.said[0]


@pytest.mark.parametrize(
    ("model", "wanted", "words"),
    [
        ("a:q8_0", [("q4_K_M", "b")], "quantized already (Q8_0)"),
        ("a:latest", [("q2_K", "b")], "There is no level q2_K"),
        ("a:latest", [("q8_0", "a:Q8_0")], "a model named a:Q8_0 already"),
        ("a:latest", [("q8_0", "b"), ("q4_K_M", "B:latest")], "already"),
        ("a:latest", [("q8_0", "no name!")], "not a valid name"),
        ("a:latest", [], "No level was chosen"),
    ],
)
async def test_what_is_refused_of_a_quantization(app: App, model: str, wanted: list[tuple[str, str]], words: str) -> None:
    app.part.quantize("box", model, wanted)
    await app.quiet()
    (error,) = app.host.failures
    assert isinstance(error, PaddockError)
    assert words in error.failure.what
    assert error.failure.remedy
    assert app.jobs.jobs == []


async def test_access_and_limits_are_asked_first(app: App) -> None:
    app.reason = "security.access is 'look'"
    app.part.optimise("box", "a:latest", ["num_ctx"])
    app.part.benchmark("box", ["a:latest", "a:q8_0"])
    app.part.quantize("box", "a:latest", [("q8_0", "b")])
    await app.quiet()
    assert app.failure.count("security.access is 'look'") == 3
    app.reason, app.refused = "", Failure("Not loaded: GPU memory 97 %", "[limits]", "Wait")
    app.part.benchmark("box", ["a:latest", "a:q8_0"])
    await app.quiet()
    assert "GPU memory 97 %" in app.failure
    assert app.bench.server.loads == []
