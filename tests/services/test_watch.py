"""The watch of one provider: pauses, order of answers, what a failure leaves."""

import asyncio
from typing import Any

import pytest

from tests.chat.host import until
from tui.core.capabilities import Capability
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Endpoint, Location, Model, Origin, ProviderState, ProviderStatus, RunningModel
from tui.providers.base import Health
from tui.providers.ports import Holder
from tui.services import watch as watch_module
from tui.services.watch import LONGEST_PAUSE, Watch, auth_words, label_of


class Owner:
    def __init__(self) -> None:
        self.changes = 0
        self.leads = Location.ASK

    def changed(self) -> None:
        self.changes += 1

    async def quiet(self) -> None:
        return

    def tunnel(self, url: str) -> Location:
        return self.leads


class Server:
    """A provider whose answers are scripted; a future is waited for."""

    capabilities = frozenset({Capability.RUNNING})

    def __init__(self) -> None:
        self.health: Any = Health("1.0", 0.01)
        self.lists: list[Any] = []
        self.loaded: Any = ()
        self.asked = 0

    async def check(self) -> Health:
        if isinstance(self.health, Exception):
            raise self.health
        return self.health

    async def models(self) -> tuple[Model, ...]:
        self.asked += 1
        found = self.lists.pop(0) if self.lists else ()
        found = await found if isinstance(found, asyncio.Future) else found
        if isinstance(found, Exception):
            raise found
        return found

    async def running(self) -> tuple[RunningModel, ...]:
        return self.loaded

    async def aclose(self) -> None:
        return


def failed(kind: FailureKind) -> PaddockError:
    return PaddockError.of("no", "127.0.0.1:1", "wait", kind)


def made(server: Server, owner: Owner | None = None, key: str = "", models: float = 0.0, **more: Any) -> Watch:
    state = ProviderState(Endpoint("lab", "ollama", "http://127.0.0.1:1", key), Origin.CONFIG, ProviderStatus.BUSY)
    clock = ManualClock()
    clock.advance(5.0)
    return Watch(server, state, owner or Owner(), clock, lambda: (30.0, models), **more)  # type: ignore[arg-type]


def keep(work: Any, name: str) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work())


async def test_H01_the_pauses_grow_to_a_limit_and_are_forgotten() -> None:
    server = Server()
    watch = made(server)
    server.health = failed(FailureKind.UNREACHABLE)
    pauses = []
    for _ in range(8):
        await watch._check()
        pauses.append(watch._until_next())
    assert 1.6 <= pauses[0] <= 2.4
    assert 3.2 <= pauses[1] <= 4.8
    assert max(pauses) <= LONGEST_PAUSE
    assert min(pauses[5:]) >= 24.0
    server.health = Health("1.0", 0.01)
    await watch._check()
    assert watch._until_next() == 30.0


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FailureKind.UNREACHABLE, ProviderStatus.DOWN),
        (FailureKind.TIMEOUT, ProviderStatus.FAILED),
        (FailureKind.AUTH, ProviderStatus.FAILED),
        (FailureKind.PROTOCOL, ProviderStatus.FAILED),
        (FailureKind.LOADING, ProviderStatus.BUSY),
    ],
)
async def test_what_a_failure_says_about_a_server(kind: FailureKind, status: ProviderStatus) -> None:
    server = Server()
    watch = made(server)
    await watch._check()
    server.health = failed(kind)
    await watch._check()
    assert watch.state.status is status
    assert watch.state.stale_since == watch._clock.time()
    assert watch.state.checks == (0.01, None)


async def test_P32_a_server_that_loads_is_asked_every_second_and_its_wait_is_counted_from_the_start() -> None:
    server = Server()
    watch = made(server)
    server.health = failed(FailureKind.LOADING)
    await watch._check()
    began = watch.state.busy_since
    watch._clock.advance(40.0)  # type: ignore[attr-defined]
    await watch._check()
    assert watch.state.busy_since == began
    assert watch._until_next() == 1.0
    server.health = Health("1.0", 0.01, loading=True)
    await watch._check()
    assert (watch.state.busy_since, watch.state.note) == (began, "loading model")


async def test_an_answer_that_was_overtaken_is_dropped() -> None:
    server, owner = Server(), Owner()
    watch = made(server, owner)
    slow: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    new = (Model("lab", "new", "new"),)
    server.lists = [slow, new]
    first = asyncio.ensure_future(watch.list_models())
    await until(lambda: server.asked == 1)
    await watch.list_models()
    slow.set_result((Model("lab", "old", "old"),))
    await first
    assert watch.models == new


async def test_a_list_that_failed_is_asked_for_again_even_where_lists_are_only_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LIST_AGAIN", 0.01)
    server = Server()
    server.lists = [(), failed(FailureKind.TIMEOUT), failed(FailureKind.TIMEOUT), (Model("lab", "a", "a"),)]
    server.lists.pop(0)
    watch = made(server)
    watch.start(keep)
    try:
        await until(lambda: watch.models)
        assert watch.models_failure is None
        assert watch.state.models == 1
    finally:
        await watch.aclose()


async def test_a_refresh_during_a_list_asks_once_more() -> None:
    server = Server()
    slow: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    watch = made(server)
    watch.state = watch_module.replace(watch.state, status=ProviderStatus.UP)
    server.lists = [slow, (Model("lab", "a", "a"),)]
    task = asyncio.ensure_future(watch._lists())
    await until(lambda: server.asked == 1)
    watch.refresh()  # a pull ended meanwhile
    slow.set_result(())
    await until(lambda: watch.models)
    task.cancel()


async def test_X17_with_a_key_nothing_is_sent_before_the_holder_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()

    async def held_by(_url: str) -> Holder:
        await release.wait()
        return Holder(uid=1234, other_person=True)

    monkeypatch.setattr(watch_module, "held_by", held_by)
    server = Server()
    watch = made(server, key="env:KEY")
    watch.start(keep)
    try:
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.asked == 0
        assert watch.state.checked_at is None
        release.set()
        await until(lambda: server.asked and watch.state.checked_at)
        assert watch.state.other_person
    finally:
        await watch.aclose()


async def test_the_location_follows_the_holder_unless_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Holder | None] = [Holder(is_ssh_tunnel=True)]

    async def held_by(_url: str) -> Holder | None:
        return held[0]

    monkeypatch.setattr(watch_module, "held_by", held_by)
    owner = Owner()
    watch = made(Server(), owner)
    await watch._find_holder()
    assert watch.state.location is Location.ASK
    owner.leads = Location.ELSEWHERE
    await watch._find_holder()
    assert watch.state.location is Location.ELSEWHERE
    held[0] = None  # nobody listens: nothing new is known
    await watch._find_holder()
    assert watch.state.location is Location.ELSEWHERE
    assert watch.state.owner == ""
    held[0] = Holder(pid=7, user="me")
    await watch._find_holder()
    assert watch.state.location is Location.HERE
    assert watch.state.owner == "pid 7, user me"
    watch.settle(Origin.CONFIG, Location.ELSEWHERE)
    await watch._find_holder()
    assert watch.state.location is Location.ELSEWHERE


def test_words() -> None:
    endpoint = Endpoint("lab", "ollama", "http://127.0.0.1:1")
    keyed = Endpoint("lab", "odd", "http://127.0.0.1:1", "env:KEY")
    refused = failed(FailureKind.AUTH).failure
    assert label_of(endpoint, "0.24.0") == "Ollama 0.24.0"
    assert label_of(keyed, "") == "odd"
    assert [auth_words(endpoint, None), auth_words(endpoint, refused)] == ["none", "needs a key"]
    assert [auth_words(keyed, None), auth_words(keyed, refused)] == ["key from env:KEY", "the key was refused"]


async def test_P77_a_watch_ends_even_where_a_request_swallows_the_cancelling() -> None:
    server = Server()
    begun, release = asyncio.Event(), asyncio.Event()

    async def stubborn() -> tuple[Model, ...]:
        begun.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            return ()
        return ()

    server.models = stubborn  # type: ignore[method-assign]
    watch = made(server)
    watch.start(keep)
    await begun.wait()
    async with asyncio.timeout(5):
        await watch.aclose()
    assert all(task.done() for task in watch._tasks)
