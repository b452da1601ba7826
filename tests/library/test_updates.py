"""How often updates are looked for, and by whom; a registry and a server on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.library.host import Host
from tests.library.test_updates_look import NAME, World, model
from tests.support.fault_server import Exchange
from tests.support.screen import until
from tui.core.library import UpdateStatus
from tui.providers.factory import make_provider
from tui.services.library import updates as updates_module
from tui.services.library.events import Events
from tui.services.library.updates import LOCK, Updates
from tui.services.locks import take
from tui.store.update_states import UpdateStates

DAY = 86_400.0
KEY = ("box", NAME)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    await found.registry.start()
    await found.server.start()
    yield found
    await found.registry.stop()
    await found.server.stop()


@pytest.fixture
async def host(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    monkeypatch.setattr(updates_module, "SETTLE", 0.0)
    monkeypatch.setattr(updates_module, "TICK", 0.005)
    found = Host(tmp_path, url=world.server.url, environ={"PADDOCK_REGISTRY": world.registry.url})
    found.providers["box"] = make_provider(found.watching.providers.value[0].endpoint, lambda _reference: "")
    digest = world.registry.add(NAME)
    world.head(NAME, digest)
    found.watching.models.set((model(digest),))
    yield found
    await found.aclose()


async def opened(host: Host) -> Updates:
    part = Updates(host, Events(host))  # type: ignore[arg-type]
    await part.open(host.database or await host.open())
    return part


async def test_looked_at_once_a_day_and_kept_for_the_next_start(world: World, host: Host) -> None:
    part = await opened(host)
    await until(lambda: KEY in part.states.value and part.progress.value is None)
    assert part.states.value[KEY].status is UpdateStatus.CURRENT
    assert len(world.registry.requests) == 1
    await part.aclose()
    again = await opened(host)
    assert again.states.value[KEY].status is UpdateStatus.CURRENT
    host.clock.advance(DAY - 60)
    assert not again._due()
    host.clock.advance(120)
    await until(lambda: len(world.registry.requests) == 2)


async def test_a_clock_that_was_set_back_makes_it_due(world: World, host: Host) -> None:
    part = await opened(host)
    await until(lambda: KEY in part.states.value and part.progress.value is None)
    host.clock.offset = -30 * DAY
    await until(lambda: len(world.registry.requests) == 2)


@pytest.mark.parametrize(
    ("key", "value"),
    [("models.update_check", "never"), ("general.network", "metered"), ("general.network", "offline"), ("security.access", "look")],
)
async def test_nothing_is_asked_by_itself_where_that_is_not_wanted(world: World, host: Host, key: str, value: str) -> None:
    host.config.set(key, value)
    part = await opened(host)
    assert not part._due()
    assert not world.registry.requests


async def test_a_person_may_look_on_a_metered_network_and_not_offline(world: World, host: Host) -> None:
    host.config.set("general.network", "metered")
    part = await opened(host)
    part.check()
    await until(lambda: any("nothing newer for 1" in text for text in host.said))
    host.config.set("general.network", "offline")
    part.check()
    await until(lambda: host.failures)
    assert "offline" in str(host.failures[0])
    assert len(world.registry.requests) == 1


async def test_two_apps_do_not_both_ask(world: World, host: Host) -> None:
    host.config.set("models.update_check", "never")
    lock = take(host.paths.locks / LOCK)
    assert lock is not None
    part = await opened(host)
    part.check()
    await until(lambda: any("Another Paddock looks" in text for text in host.said))
    assert not world.registry.requests
    lock.release()
    part.check([KEY])
    await until(lambda: KEY in part.states.value)


async def test_what_another_window_found_is_shown(world: World, host: Host) -> None:
    host.config.set("models.update_check", "never")
    part = await opened(host)
    assert host.database is not None
    other = await opened(host)
    other.check()
    await until(lambda: KEY in other.states.value and other.progress.value is None)
    assert KEY not in part.states.value
    await part.changed(frozenset({"updates"}))
    assert KEY in part.states.value


async def test_models_that_are_gone_are_forgotten(world: World, host: Host) -> None:
    part = await opened(host)
    await until(lambda: KEY in part.states.value and part.progress.value is None)
    digest = part.states.value[KEY].digest
    host.config.set("models.update_check", "never")
    host.watching.models.set((model(digest, "phi4:14b"),))
    await part.models_moved()
    assert host.database is not None
    assert UpdateStates(host.database).all() == {}


async def test_closing_in_the_middle_leaves_no_lock(world: World, host: Host) -> None:
    async def never(exchange: object) -> None:
        await exchange.gone()  # type: ignore[attr-defined]

    for route in list(world.registry.routes):
        world.registry.routes[route] = never
    part = await opened(host)
    await until(lambda: world.registry.requests)
    await part.aclose()
    lock = take(host.paths.locks / LOCK)
    assert lock is not None
    lock.release()


@pytest.mark.parametrize("network", ["metered", "offline"])
async def test_a_look_ends_when_the_network_becomes_another(world: World, host: Host, network: str) -> None:
    names = [f"m{number}:1" for number in range(40)]
    asked = [0]

    async def slowly(exchange: Exchange) -> None:
        asked[0] += 1
        if asked[0] == 3:
            host.config.set("general.network", network)
        await exchange.reply(200, b"", {"ollama-content-digest": "ab" * 32})

    world.registry.routes["*"] = slowly
    host.watching.models.set(tuple(model("ab" * 32, name) for name in names))
    part = await opened(host)
    await until(lambda: part.states.value and part.progress.value is None)
    assert len(part.states.value) < 20
    assert UpdateStates(host.database).all() == part.states.value  # type: ignore[arg-type]
