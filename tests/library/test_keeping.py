"""The trash, names and versions as the app has them: a whole hub over a simulated server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.live import Loop, Ollama, provider, started, until
from tui.config.paths import find_paths
from tui.core.clock import SYSTEM
from tui.core.errors import Failure
from tui.core.kept import KeptKind, kept_name, kept_of
from tui.core.library import EventKind
from tui.core.options import AppOptions
from tui.services import hub as hub_module
from tui.services import jobs as jobs_module
from tui.services.hub import Hub
from tui.services.library.keeping_moves import Mover
from tui.store.model_events import ModelEvents
from tui.store.model_moves import ModelMoves, MoveKind

QWEN, PHI = "aa" * 32, "bb" * 32
LAB = ("lab", "qwen3:8b")


@pytest.fixture
def server() -> Iterator[Ollama]:
    loop = Loop()
    one = Ollama()
    with started(loop, one):
        yield one
    loop.close()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Ollama) -> Iterator[Callable[..., Hub]]:
    """Opens hubs, each in a home of its own unless told otherwise."""
    monkeypatch.setattr(hub_module, "DATABASE_EVERY", 0.01)
    monkeypatch.setattr(hub_module, "CONFIG_EVERY", 0.01)
    monkeypatch.setattr(jobs_module, "spawn_worker", lambda *_more: None)
    monkeypatch.setattr(jobs_module, "logout_note", lambda: "")
    made: list[Hub] = []

    def open_hub(config: str = "", home: str = "home") -> Hub:
        environ = {"PADDOCK_HOME": str(tmp_path / home), "HOME": str(tmp_path), "PATH": "/nonexistent"}
        paths = find_paths(environ=environ)
        paths.config_file.parent.mkdir(parents=True, exist_ok=True)
        paths.config_file.write_text(f"[general]\ndiscover = false\n{config}\n{provider(server.url)}", "utf-8")
        hub = Hub(paths, AppOptions(), environ, start_sampler=False)
        made.append(hub)
        hub.open()
        until(lambda: hub.ready.value and hub.registry.models.value)
        return hub

    yield open_hub
    for hub in made:
        until(lambda: _still(made))
        hub.close(5.0)


def _still(hubs: list[Hub]) -> bool:
    """Nothing is under way: a connection that is given up while it is made would stay open."""
    return all(not hub.registry.activities.value and all(watch.state.checks for watch in hub.watching._watches.values()) for hub in hubs)


def said(hub: Hub, text: str) -> str:
    found: str = until(lambda: next((notice.text for notice in hub.notices.value if text in notice.text), None), text)
    return found


def audited(hub: Hub) -> list[tuple[str, str, str]]:
    lines = (hub.paths.state / "audit.jsonl").read_text("utf-8").splitlines()
    return [(entry["what"], entry["target"], entry["result"]) for entry in map(json.loads, lines)]


def events(hub: Hub, model: str) -> list[Any]:
    assert hub.database is not None
    return list(ModelEvents(hub.database, SYSTEM).of("lab", model))


def test_deleted_hidden_and_undone(make: Callable[..., Hub], server: Ollama) -> None:
    hub = make()
    server.loaded["qwen3:8b"] = 1
    hub.library.keeping.delete([LAB])
    assert said(hub, "in the trash") == "qwen3:8b: in the trash; z brings it back"
    (one,) = until(lambda: hub.library.keeping.kept.value)
    assert (one.original, one.kind, one.digest) == ("qwen3:8b", KeptKind.TRASH, QWEN)
    assert one.goes_at is not None and one.goes_at - one.at == 7 * 86_400
    assert [model.key for model in hub.registry.models.value] == ["phi4:14b"]
    until(lambda: hub.registry.state("lab").models == 1)  # type: ignore[union-attr]
    assert audited(hub)[:2] == [("unload", "lab/qwen3:8b", "ok"), ("delete", "lab/qwen3:8b", "ok")]
    assert until(lambda: hub.library.keeping.undoable.value) == "bring back qwen3:8b"
    hub.library.keeping.undo()
    said(hub, "qwen3:8b is back on lab")
    until(lambda: server.names == {"phi4:14b": PHI, "qwen3:8b": QWEN})
    until(lambda: len(hub.registry.models.value) == 2 and not hub.library.keeping.kept.value)
    assert hub.library.keeping.undoable.value == ""
    until(lambda: [event.kind for event in events(hub, "qwen3:8b")] == [EventKind.RESTORED, EventKind.DELETED])
    hub.library.keeping.undo()
    said(hub, "There is nothing to undo")


def test_what_came_out_of_the_trash_otherwise_is_nothing_to_undo(make: Callable[..., Hub], server: Ollama) -> None:
    hub = make()
    hub.library.keeping.rename("lab", "phi4:14b", "phi")
    until(lambda: hub.library.keeping.undoable.value)
    renamed = hub.library.keeping.undoable.value
    hub.library.keeping.delete([LAB])
    (one,) = until(lambda: hub.library.keeping.kept.value)
    assert until(lambda: hub.library.keeping.undoable.value != renamed)
    hub.library.keeping.restore("lab", one.key)
    said(hub, "qwen3:8b is back on lab")
    assert hub.library.keeping.undoable.value == renamed


def test_many_are_deleted_and_those_that_are_gone_are_said(make: Callable[..., Hub], server: Ollama) -> None:
    hub = make()
    hub.library.keeping.delete([LAB, ("lab", "nosuch:1b"), ("lab", "phi4:14b")], now=True)
    said(hub, "nosuch:1b is gone already")
    assert said(hub, "deleted for good") == "qwen3:8b and phi4:14b: deleted for good"
    assert server.names == {}
    assert hub.library.keeping.undoable.value == ""


def test_of_several_the_others_come_back_where_one_is_gone(make: Callable[..., Hub], server: Ollama) -> None:
    hub = make()
    hub.library.keeping.delete([LAB, ("lab", "phi4:14b")])
    said(hub, "in the trash")
    del server.names[next(name for name in server.names if "qwen3" in name)]
    until(lambda: hub.library.keeping.undoable.value)
    hub.library.keeping.undo()
    said(hub, "qwen3:8b is not in the trash any more")
    said(hub, "phi4:14b is back on lab")
    until(lambda: server.names == {"phi4:14b": PHI})
    assert hub.library.keeping.undoable.value == ""


def test_what_came_before_a_failure_is_what_z_brings_back(make: Callable[..., Hub], server: Ollama) -> None:
    """Not what was done before that."""
    hub = make()
    hub.library.keeping.rename("lab", "phi4:14b", "phi")
    said(hub, "is now named")
    until(lambda: any(model.key == "phi:latest" for model in hub.registry.models.value))
    deletes, change = 0, server._change

    async def breaks(exchange: Any, path: str, body: dict[str, Any]) -> None:
        nonlocal deletes
        deletes += path == "/api/delete"
        if path == "/api/delete" and deletes == 2:
            exchange.reset()
        else:
            await change(exchange, path, body)

    server._change = breaks  # type: ignore[method-assign]
    hub.library.keeping.delete([LAB, ("lab", "phi:latest")])
    until(lambda: hub.library.keeping.undoable.value == "bring back qwen3:8b")
    until(lambda: not hub.registry.activities.value)


def test_esc_ends_the_deleting_on_all_providers(make: Callable[..., Hub], server: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make(provider(server.url, "other"))
    until(lambda: len(hub.registry.models.value) == 4)
    begun: list[str] = []

    async def ended(text: str, target: str, _work: Any) -> None:
        """As `Actions.activity` after esc: it says so, and returns."""
        begun.append(target)

    monkeypatch.setattr(hub.library.keeping._host, "activity", ended)
    hub.library.keeping.delete([LAB, ("other", "phi4:14b")])
    hub.library.keeping.delete([("other", "phi4:14b")])  # a mark: what was posted before it has ended
    until(lambda: begun[-1:] == ["other"])
    assert begun == ["lab", "other"]


def test_esc_while_undoing_keeps_what_is_to_be_undone(make: Callable[..., Hub], server: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make()
    hub.library.keeping.delete([LAB, ("lab", "phi4:14b")])
    until(lambda: hub.library.keeping.undoable.value)
    begun: list[str] = []

    async def ended(text: str, _target: str, _work: Any) -> None:
        """As `Actions.activity` after esc: it says so, and returns."""
        begun.append(text)

    with monkeypatch.context() as here:
        here.setattr(hub.library.keeping._host, "activity", ended)
        hub.library.keeping.undo()
        until(lambda: hub.library.keeping.undoable.value == "bring back 2 that could not be brought back")
    assert begun == ["bringing back a model"]
    hub.library.keeping.undo()
    until(lambda: server.names == {"phi4:14b": PHI, "qwen3:8b": QWEN})
    hub.library.keeping.rename("lab", "qwen3:8b", "mine")
    back = "rename mine:latest back to qwen3:8b"
    until(lambda: hub.library.keeping.undoable.value == back)
    with monkeypatch.context() as here:
        here.setattr(hub.library.keeping._host, "activity", ended)
        hub.library.keeping.undo()
        until(lambda: len(begun) == 2 and hub.library.keeping.undoable.value == back)


def test_without_a_trash_it_is_for_good(make: Callable[..., Hub], server: Ollama) -> None:
    hub = make('[models]\ntrash = "0s"')
    assert not hub.library.keeping.has_trash("lab")
    hub.library.keeping.delete([LAB])
    said(hub, "qwen3:8b: deleted for good")
    assert server.names == {"phi4:14b": PHI}


def test_two_apps_delete_at_once_and_both_see_the_trash(make: Callable[..., Hub], server: Ollama) -> None:
    one, two = make(), make(home="other")
    for hub in (one, two):
        hub.library.keeping.delete([LAB])
    for hub in (one, two):
        until(lambda hub=hub: any("in the trash" in notice.text or "gone already" in notice.text for notice in hub.notices.value))  # type: ignore[misc]
    assert "qwen3:8b" not in server.names and QWEN in server.names.values()
    for hub in (one, two):
        hub.registry.refresh("lab")
    until(lambda: all(hub.library.keeping.kept.value for hub in (one, two)))
    two.library.keeping.restore("lab", two.library.keeping.kept.value[0].key)
    said(two, "qwen3:8b is back")
    assert server.names["qwen3:8b"] == QWEN


def test_rename_is_undone_and_lists_of_settings_follow(make: Callable[..., Hub], server: Ollama) -> None:
    lists = '[models]\npinned = ["qwen3:8b", "phi4:14b"]\npreferred = ["lab/qwen3:8b"]'
    hub = make(f'{lists}\n[models.options."qwen3:8b"]\nnum_ctx = 4096\nkeep_alive = "1h"')
    hub.library.keeping.rename("lab", "qwen3:8b", "mine")
    assert said(hub, "is now named") == (
        "qwen3:8b is now named mine:latest; models.pinned, models.preferred and models.options now say so, too"
    )
    assert server.names == {"phi4:14b": PHI, "mine:latest": QWEN}
    models = hub.config.current.value.models
    assert (models.pinned, models.preferred) == (("mine:latest", "phi4:14b"), ("lab/mine:latest",))
    assert (models.options_of("mine"), models.keep_alive_of("mine"), models.options_of("qwen3:8b")) == ({"num_ctx": 4096}, "1h", {})
    until(lambda: hub.library.keeping.undoable.value)
    assert [event.text for event in events(hub, "mine")] == ["from qwen3:8b"]
    hub.library.keeping.undo()
    said(hub, "mine:latest is now named qwen3:8b")
    assert server.names == {"phi4:14b": PHI, "qwen3:8b": QWEN}
    models = hub.config.current.value.models
    assert (models.pinned, models.options_of("qwen3:8b")) == (("qwen3:8b", "phi4:14b"), {"num_ctx": 4096})


def test_a_copy_and_a_name_that_is_taken(make: Callable[..., Hub], server: Ollama) -> None:
    hub = make()
    hub.library.keeping.copy("lab", "qwen3:8b", "mine")
    said(hub, "qwen3:8b is also named mine:latest")
    until(lambda: len(hub.registry.models.value) == 3)
    hub.library.keeping.copy("lab", "qwen3:8b", "PHI4:14b")
    said(hub, "There is a model named phi4:14b already")
    hub.library.keeping.copy("lab", "qwen3:8b", "--host=0.0.0.0")
    said(hub, "not a valid name")
    assert server.asked("/api/copy") == 1


def test_versions_come_back_and_are_compared(make: Callable[..., Hub], server: Ollama) -> None:
    version = kept_name(KeptKind.VERSION, "qwen3:8b", 1_700_000_000)
    server.names[version] = "ee" * 32
    hub = make()
    keeping = hub.library.keeping
    (one,) = until(lambda: keeping.kept.value)
    assert (one.kind, one.goes_at) == (KeptKind.VERSION, None)
    keeping.compare("lab", version, "qwen3:8b")
    found = until(lambda: keeping.comparisons.value.get(("lab", version, "qwen3:8b")) is not None)
    assert found and not isinstance(keeping.comparisons.value["lab", version, "qwen3:8b"], Failure)
    keeping.bring_back("lab", version)
    assert said(hub, "earlier version again") == "qwen3:8b on lab is the earlier version again; the other one is kept"
    assert server.names["qwen3:8b"] == "ee" * 32 and QWEN in server.names.values()
    until(lambda: keeping.undoable.value)
    keeping.undo()
    until(lambda: server.names["qwen3:8b"] == QWEN)
    until(lambda: [one.digest for one in keeping.kept.value] == ["ee" * 32])
    keeping.drop([("lab", keeping.kept.value[0].key)])
    said(hub, "qwen3:8b: deleted for good")
    until(lambda: not keeping.kept.value)
    assert server.names == {"phi4:14b": PHI, "qwen3:8b": QWEN}


def test_an_emptying_that_is_stopped_says_what_went(make: Callable[..., Hub], server: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [kept_name(KeptKind.TRASH, f"old:{number}", 1_600_000_000 + number) for number in range(3)]
    server.names.update({name: f"e{number}" * 32 for number, name in enumerate(old)})
    hub = make()
    keeping = hub.library.keeping
    until(lambda: len(keeping.kept.value) == 3)
    keeping.weigher = lambda: lambda keys: (10**9 * len(list(keys)), True)
    drop, dropped = Mover.drop, list[str]()

    async def slow(self: Mover, key: str, what: str = "delete for good") -> None:
        if dropped:
            await asyncio.Event().wait()
        await drop(self, key, what)
        dropped.append(key)

    monkeypatch.setattr(Mover, "drop", slow)
    keeping.drop([("lab", name) for name in old])
    until(lambda: dropped and hub.registry.activities.value)
    hub.registry.cancel(hub.registry.activities.value[-1].id)
    name = kept_of(dropped[0])
    assert name is not None
    assert said(hub, "1 of 3 deleted for good") == f"1 of 3 deleted for good: {name.original}, 1.0 GB freed"
    assert len([name for name in old if name in server.names]) == 2


def test_the_next_start_says_what_was_interrupted_and_empties_what_is_due(make: Callable[..., Hub], server: Ollama) -> None:
    old = kept_name(KeptKind.TRASH, "old:1", 1_600_000_000)
    server.names.update({old: "e1" * 32, "mine:latest": QWEN})
    first = make()

    async def noted() -> None:
        assert first.database is not None
        moves = ModelMoves(first.database)
        await moves.begin(server.url, MoveKind.RENAME, "qwen3:8b", "mine:latest")
        await moves.done(await moves.begin(server.url, MoveKind.TRASH, "old:1", old))

    first.engine.submit(noted).result(10)
    first.close(5.0)
    second = make('[security]\naccess = "use"')
    said(second, "A rename was interrupted: qwen3:8b and mine:latest are the same model under two names")
    second.engine.submit(second.library.keeping._empty_due).result(10)
    assert old in server.names  # nothing is deleted there
    second.close(5.0)
    hub = make()
    said(hub, "Out of the trash of lab, deleted for good: old:1")
    until(lambda: not hub.library.keeping.kept.value)
    assert set(server.names) == {"phi4:14b", "qwen3:8b", "mine:latest"}
    assert not any("interrupted" in notice.text for notice in hub.notices.value)


@pytest.mark.parametrize("wrong", ['[models]\ntrash = "for ever"', "[models\ntrash = "])
def test_P09_a_time_that_cannot_be_read_empties_no_trash(make: Callable[..., Hub], server: Ollama, wrong: str) -> None:
    """A default would stand for it, and be shorter than what was meant."""
    old = kept_name(KeptKind.TRASH, "old:1", 1_600_000_000)
    server.names[old] = "e1" * 32
    first = make()
    until(lambda: first.library.keeping.kept.value)
    first.paths.config_file.write_text(f"[general]\ndiscover = false\n{provider(server.url)}\n{wrong}\n", "utf-8")
    until(lambda: first.config.problems.value)

    async def noted() -> None:
        assert first.database is not None
        moves = ModelMoves(first.database)
        await moves.done(await moves.begin(server.url, MoveKind.TRASH, "old:1", old))
        first.library.keeping._read()
        assert await first.library.keeping._empty_due() > 0

    first.engine.submit(noted).result(10)
    assert old in server.names


@pytest.mark.parametrize("access", ["use", "look"])
def test_security_access_is_kept(make: Callable[..., Hub], server: Ollama, access: str) -> None:
    old = kept_name(KeptKind.TRASH, "old:1", 1_600_000_000)
    server.names[old] = "e1" * 32
    hub = make(f'[security]\naccess = "{access}"')
    keeping = hub.library.keeping
    until(lambda: keeping.kept.value)
    keeping.delete([LAB])
    keeping.rename("lab", "qwen3:8b", "mine")
    keeping.drop([("lab", old)])
    until(lambda: sum("security.access" in notice.text for notice in hub.notices.value) == 3)
    assert all(request.method == "GET" for request in server.requests)


def test_P73_a_model_that_stays_in_memory_is_not_deleted(make: Callable[..., Hub], server: Ollama) -> None:
    server.loaded["qwen3:8b"] = 1
    server.stubborn = 10**6
    hub = make()
    hub.registry._patience = 0.1
    hub.library.keeping.delete([LAB])
    said(hub, "still loaded")
    assert server.names == {"phi4:14b": PHI, "qwen3:8b": QWEN}
