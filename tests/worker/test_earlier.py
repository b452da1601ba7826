"""An update keeps the earlier version; the worker empties the trash that this home filled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.settings import having
from tests.worker.fakes import CUT, END, ENDPOINT, Bench, Fake, failed, steps
from tui.config.paths import find_paths
from tui.config.settings import ProviderSettings, Settings
from tui.config.store import ConfigStore
from tui.core.capabilities import Capability
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind
from tui.core.jobs import JobState
from tui.core.kept import KeptKind, kept_name, kept_of
from tui.core.models import Endpoint
from tui.services.audit import Audit
from tui.services.jobs import worker_environment
from tui.services.library.keeping_trash import HOLD
from tui.store.db import Database
from tui.store.model_moves import ModelMoves, MoveKind
from tui.worker.trash import Trash

OLD, NEW = "aa" * 32, "bb" * 32


def versions(fake: Fake) -> list[str]:
    found = [(name, kept_of(name)) for name in sorted(fake.listed)]
    return [fake.digests[name] for name, kept in found if kept is not None and kept.kind is KeptKind.VERSION]


async def pulled(one: Bench, model: str = "qwen3:8b", state: JobState = JobState.DONE) -> None:
    job = await one.add(model)
    for _ in range(4):
        await one.settle()
        one.clock.advance(20)  # type: ignore[attr-defined]
    assert one.job(job).state is state, one.job(job).note


def installed(one: Bench, digest: str = OLD, brings: str = NEW) -> None:
    one.fake.listed.add("qwen3:8b")
    one.fake.digests["qwen3:8b"] = digest
    one.fake.brings["qwen3:8b"] = {"qwen3:8b": brings}


async def test_an_update_keeps_what_it_replaced(bench: Bench) -> None:
    installed(bench)
    await pulled(bench)
    assert bench.fake.digests["qwen3:8b"] == NEW
    assert versions(bench.fake) == [OLD]


async def test_a_pull_that_changed_nothing_keeps_nothing(bench: Bench) -> None:
    installed(bench, brings=OLD)
    await pulled(bench)
    assert versions(bench.fake) == []


async def test_a_first_pull_keeps_nothing(bench: Bench) -> None:
    await pulled(bench)
    assert versions(bench.fake) == []


async def test_only_so_many_versions_are_kept_and_the_oldest_go(bench: Bench) -> None:
    installed(bench)
    older = kept_name(KeptKind.VERSION, "qwen3:8b", 1000)
    bench.fake.listed.add(older)
    bench.fake.digests[older] = "00" * 32
    await pulled(bench)
    assert versions(bench.fake) == [OLD]


@pytest.mark.parametrize(
    ("models", "kept"),
    [({"versions": 0}, []), ({"versions": 3}, ["00" * 32, OLD]), ({"pinned": ("qwen3:8b",)}, ["00" * 32, OLD])],
)
async def test_the_settings_say_how_many_and_whose(bench: Bench, models: dict[str, Any], kept: list[str]) -> None:
    """None of a pinned model is dropped, though it was pulled on request."""
    bench.settings = having(bench.settings, models=models)
    installed(bench)
    older = kept_name(KeptKind.VERSION, "qwen3:8b", 1000)
    bench.fake.listed.add(older)
    bench.fake.digests[older] = "00" * 32
    await pulled(bench)
    assert sorted(versions(bench.fake)) == sorted(kept)


async def test_H07_a_pull_that_was_cut_keeps_the_version_once(bench: Bench) -> None:
    installed(bench)
    bench.fake.scripts["qwen3:8b"] = [[*steps(10), CUT], [*steps(50, 100), *END]]
    await pulled(bench)
    assert bench.fake.pulls == ["qwen3:8b"] * 2
    assert versions(bench.fake) == [OLD]


async def test_a_model_that_cannot_be_shown_is_kept_all_the_same(bench: Bench) -> None:
    installed(bench)
    bench.fake.weights["qwen3:8b"] = failed("out of memory", FailureKind.SERVER)
    await pulled(bench)
    assert (bench.fake.digests["qwen3:8b"], versions(bench.fake)) == (NEW, [OLD])


async def test_H01_what_could_not_be_listed_at_first_is_kept_before_the_next_attempt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.worker import fakes

    lists, models = 0, fakes._Connection.models

    async def away(self: Any) -> Any:
        nonlocal lists
        lists += 1
        if lists == 1:
            raise failed("nothing is listening", FailureKind.UNREACHABLE)
        return await models(self)

    monkeypatch.setattr(fakes._Connection, "models", away)
    installed(bench)
    bench.fake.scripts["qwen3:8b"] = [[failed("nothing is listening", FailureKind.UNREACHABLE)], [*steps(50, 100), *END]]
    await pulled(bench)
    assert (bench.fake.digests["qwen3:8b"], versions(bench.fake)) == (NEW, [OLD])


async def test_a_server_that_refuses_the_copy_is_pulled_from_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.worker import fakes

    async def refuses(_self: object, _model: str, _destination: str) -> None:
        raise fakes.failed("invalid model name", FailureKind.BAD_REQUEST)

    monkeypatch.setattr(fakes._Connection, "copy", refuses)
    installed(bench)
    await pulled(bench)
    assert bench.fake.digests["qwen3:8b"] == NEW


async def test_a_server_that_cannot_copy_is_pulled_from_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.worker import fakes

    monkeypatch.setattr(fakes._Connection, "capabilities", frozenset({Capability.PULL}))
    installed(bench)
    await pulled(bench)
    assert versions(bench.fake) == []


async def test_the_worker_empties_what_is_due_and_ours(tmp_path: Path) -> None:
    clock, fake = ManualClock(), Fake()
    database = Database(tmp_path / "paddock.db")
    moves = ModelMoves(database, clock)
    mine, foreign = kept_name(KeptKind.TRASH, "a:1", clock.time()), kept_name(KeptKind.TRASH, "b:1", clock.time())
    fake.listed |= {mine, foreign, "c:1"}
    await moves.done(await moves.begin(ENDPOINT.url, MoveKind.TRASH, "a:1", mine))
    box = ProviderSettings(url=ENDPOINT.url)
    settings = having(Settings(), models={"trash": 3600.0}).model_copy(update={"providers": {"box": box}})
    asked: list[str] = []

    async def check(endpoint: Endpoint) -> None:
        asked.append(endpoint.name)

    trash = Trash(database, lambda: settings, fake.make, check, Audit(tmp_path, clock), clock)
    await trash.look()
    assert asked == []  # nothing is due: nobody is asked
    clock.advance(3601)
    for more in ({"security": {"access": "use"}}, {"security": {"access": "full"}, "general": {"network": "offline"}}):
        settings = having(settings, **more)
        await trash.look()
    assert asked == [] and mine in fake.listed
    settings = having(settings, general={"network": "normal"})
    await Trash(database, lambda: settings, fake.make, check, Audit(tmp_path, clock), clock, lambda: False).look()
    clock.offset = 86_400.0  # Q17
    await trash.look()
    assert asked == [] and mine in fake.listed
    clock.advance(HOLD)
    await trash.look()
    assert fake.listed == {foreign, "c:1"} and moves.list() == ()
    await database.aclose()


def test_what_a_worker_throws_away_goes_when_whoever_started_it_says() -> None:
    """Else a trash that shows 30 days in the app would be emptied by its worker after seven."""
    given = {
        "PADDOCK_MODELS__TRASH": "30d",
        "PADDOCK_MODELS__VERSIONS": "5",
        "PADDOCK_PULLS__AT_ONCE": "9",
        "PADDOCK_HOME": "/h",
        "A__B": "c",
    }
    assert worker_environment(given) == {key: value for key, value in given.items() if key != "PADDOCK_PULLS__AT_ONCE"}
    settings = ConfigStore(find_paths(environ={"HOME": "/nonexistent"}), worker_environment(given)).current.value
    assert (settings.models.trash, settings.models.versions, settings.pulls.at_once) == (30 * 86_400.0, 5, Settings().pulls.at_once)
