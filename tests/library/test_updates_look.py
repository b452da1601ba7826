"""The update radar with a registry and a server on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.support.fault_server import Exchange, FaultServer
from tests.support.registry import LAYERS, FakeRegistry, answer, digest_of, error, layer, manifest_bytes, place, redirect, reset, silent
from tui.config.settings import build
from tui.core.clock import SYSTEM
from tui.core.library import EventKind, ModelEvent, UpdateState, UpdateStatus
from tui.core.models import Endpoint, Model
from tui.core.names import parse
from tui.providers import manifest as manifest_module
from tui.providers.factory import make_provider
from tui.services.library.updates_look import GIVE_UP, Radar
from tui.services.library.updates_past import Past
from tui.services.plan import Planner

NAME = "qwen3:8b"
WEIGHTS = digest_of("model").removeprefix("sha256:")


class World:
    """A registry, an Ollama that has some blobs, and the radar between them."""

    def __init__(self) -> None:
        self.registry = FakeRegistry()
        self.server = FaultServer()
        self.blobs = {digest_of(kind) for kind, _size in LAYERS}
        self.shown = {"template": "{{ .Prompt }}", "parameters": 'stop                           "<|im_end|>"'}
        self.weights = WEIGHTS
        self.past = Past()
        self.server.routes["*"] = self._answer

    async def _answer(self, exchange: Exchange) -> None:
        path = exchange.request.path
        if path == "/api/version":
            await exchange.json({"version": "0.24.0"})
        elif path == "/api/show":
            await exchange.json({**self.shown, "modelfile": f"FROM /blobs/sha256-{self.weights}\n", "model_info": {}, "details": {}})
        else:
            await exchange.head(200 if path.removeprefix("/api/blobs/") in self.blobs else 404, {"content-length": "0"}, chunked=False)

    async def _past(self, model: Model) -> Past:
        return self.past

    async def look(self, *models: Model, demo: bool = False) -> dict[str, UpdateState]:
        planner = Planner(lambda: build({}), {"PADDOCK_REGISTRY": self.registry.url}, demo=demo)
        provider = make_provider(Endpoint("box", "ollama", self.server.url, retries=0), lambda _reference: "")
        try:
            found = Radar(planner, SYSTEM, self._past).look((provider, model) for model in models)
            return {model.key: state async for _provider, model, state in found}
        finally:
            await provider.aclose()

    async def one(self, model: Model) -> UpdateState:
        return (await self.look(model))[model.key]

    def head(self, name: str, digest: str, pushed: str = "") -> None:
        headers = {"ollama_content_digest": digest} | ({"ollama_push_time": pushed} if pushed else {})
        self.registry.routes[f"HEAD {place(name)}/manifests/{parse(name).tag}"] = answer(b"", **headers)

    def texts(self, name: str, **texts: bytes) -> str:
        """Serve a model with these small layers; returns its digest."""
        layers = [layer("model", LAYERS[0][1]), *(layer(kind, len(text), digest_of(text)) for kind, text in texts.items())]
        for text in texts.values():
            self.registry.routes[f"{place(name)}/blobs/{digest_of(text)}"] = answer(text)
        return self.registry.add(name, body=manifest_bytes(layers, None))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    await asyncio.gather(found.registry.start(), found.server.start())
    yield found
    await asyncio.gather(found.registry.stop(), found.server.stop())


def model(digest: str, name: str = NAME, at: float = 1000.0) -> Model:
    return Model("box", name, name, 5_000_000_000, digest, modified_at=at)


async def test_the_same_costs_one_head(world: World) -> None:
    digest = world.registry.add(NAME)
    world.head(NAME, digest, "1700000000")
    state = await world.one(model(digest))
    assert (state.status, state.pushed_at, state.digest) == (UpdateStatus.CURRENT, 1_700_000_000.0, digest)
    assert [request.method for request in world.registry.requests] == ["HEAD"]
    assert not world.server.requests


async def test_a_registry_that_tells_nothing_by_head_is_asked_for_the_manifest(world: World) -> None:
    digest = world.registry.add(NAME)
    world.registry.routes[f"HEAD {place(NAME)}/manifests/8b"] = answer(b"", 405)
    assert (await world.one(model(digest))).status is UpdateStatus.CURRENT


async def test_servers_before_0_19_wrote_the_manifest_anew(world: World) -> None:
    spaced = json.dumps(json.loads(manifest_bytes([layer(kind, size) for kind, size in LAYERS], None)), indent=1).encode()
    world.registry.add(NAME, body=spaced)
    canonical = manifest_module.parse_manifest(spaced)[2]
    assert (await world.one(model(canonical))).status is UpdateStatus.CURRENT


async def test_another_template_is_told_apart_from_other_weights_and_shown_as_a_diff(world: World) -> None:
    world.texts(NAME, template=b"{{ .System }}\n{{ .Prompt }}", params=b'{"stop":["<|im_end|>"],"temperature":0.6}')
    world.head(NAME, "ff" * 32, "1700000000")
    state = await world.one(model("ee" * 32))
    assert state.status is UpdateStatus.METADATA
    assert state.changes == ("template changed", "parameters changed")
    assert state.fetch == len(b"{{ .System }}\n{{ .Prompt }}") + len(b'{"stop":["<|im_end|>"],"temperature":0.6}')
    assert "+{{ .System }}" in state.diff and "+temperature 0.6" in state.diff
    assert " {{ .Prompt }}" in state.diff


async def test_what_you_changed_after_the_pull_is_no_update(world: World) -> None:
    world.texts(NAME, template=b"{{ .Prompt }} of the registry")
    world.head(NAME, "ff" * 32, "500")
    state = await world.one(model("ee" * 32, at=1000.0))
    assert (state.status, state.changes) == (UpdateStatus.CURRENT, ("you changed it after it was pulled",))


@pytest.mark.parametrize(
    ("known", "events", "status"),
    [
        (None, [(EventKind.RESTORED, 990.0), (EventKind.DELETED, 980.0)], UpdateStatus.METADATA),
        (None, [(EventKind.VERIFIED, 2000.0), (EventKind.RENAMED, 1010.0)], UpdateStatus.METADATA),
        (None, [(EventKind.RESTORED, 1000.0), (EventKind.UPDATED, 900.0)], UpdateStatus.METADATA),  # gone back
        (None, [(EventKind.RESTORED, 100.0)], UpdateStatus.CURRENT),  # changed elsewhere since
        (None, [(EventKind.RESTORED, 1000.0), (EventKind.CONFIGURED, 950.0)], UpdateStatus.CURRENT),
        (None, [(EventKind.CONFIGURED, 1000.0)], UpdateStatus.CURRENT),
        (500.0, [(EventKind.CONFIGURED, 1000.0)], UpdateStatus.METADATA),  # what was old and is changed is still old
        (500.0, [], UpdateStatus.METADATA),
        (500.0, [(EventKind.CONFIGURED, 1000.0), (EventKind.UPDATED, 999.0)], UpdateStatus.CURRENT),  # applied again
        (400.0, [(EventKind.CONFIGURED, 1000.0)], UpdateStatus.CURRENT),
    ],
)
async def test_a_copy_made_here_is_no_change_of_yours(
    world: World, known: float | None, events: list[tuple[EventKind, float]], status: UpdateStatus
) -> None:
    world.texts(NAME, template=b"{{ .Prompt }} of the registry")
    world.head(NAME, "ff" * 32, "500")
    digest = "ee" * 32
    before = UpdateState(UpdateStatus.METADATA, "dd" * 32, 600.0, pushed_at=known) if known is not None else None
    world.past = Past(before, [ModelEvent("box", NAME, kind, at, digest=digest) for kind, at in events])
    assert (await world.one(model(digest, at=1000.0))).status is status


async def test_other_weights_with_what_is_to_fetch(world: World) -> None:
    world.registry.add(NAME)
    world.blobs -= {digest_of("model")}
    world.weights = "12" * 32
    state = await world.one(model("ee" * 32))
    assert state.status is UpdateStatus.WEIGHTS
    assert state.fetch is not None and 5_225_374_496 <= state.fetch < 5_225_374_496 + 1000
    assert state.changes == ("weights: 5.2 GB of others", "template the same")


async def test_a_version_brought_back_stays_behind_its_registry(world: World) -> None:
    """It was written after the push, yet its weights are others: still something newer."""
    world.registry.add(NAME)
    world.head(NAME, "ff" * 32, "500")
    world.weights = "12" * 32
    assert (await world.one(model("ee" * 32, at=1000.0))).status is UpdateStatus.WEIGHTS


async def test_a_name_of_ones_own_is_in_no_registry(world: World) -> None:
    assert (await world.one(model("ee" * 32, "me/mine:latest"))).status is UpdateStatus.GONE
    assert (await world.one(model("ee" * 32, "not a name"))).status is UpdateStatus.GONE


@pytest.mark.parametrize("status", [401, 403, 500, 503, 429])
async def test_what_could_not_be_asked_is_not_known(world: World, status: int) -> None:
    route = error(status, "no \x1b[31m[b]way[/b]")
    for method in ("HEAD", "GET"):
        world.registry.routes[f"{method} {place(NAME)}/manifests/8b"] = route
    state = await world.one(model("ee" * 32))
    assert state.status is UpdateStatus.UNKNOWN
    assert state.failure is not None and "\x1b" not in state.failure.sentence()


async def test_H_an_outage_is_noticed_after_a_few_tags(world: World) -> None:
    for number in range(20):
        world.registry.fault(f"m{number}:1", reset)
    found = await world.look(*(model("ee" * 32, f"m{number}:1") for number in range(20)))
    assert {state.status for state in found.values()} == {UpdateStatus.UNKNOWN}
    asked = [request.path for request in world.registry.requests if request.method == "HEAD"]
    assert GIVE_UP <= len(asked) < 20
    assert any(state.failure and "was not asked about this one" in state.failure.what for state in found.values())


async def test_H_silence_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "HEAD_WITHIN", 0.05)
    world.registry.fault(NAME, silent)
    assert (await world.one(model("ee" * 32))).status is UpdateStatus.UNKNOWN


async def test_P53_a_redirect_of_the_question_is_not_followed(world: World) -> None:
    other = FakeRegistry()
    await other.start()
    try:
        world.registry.add(NAME)
        for method in ("HEAD", "GET"):
            world.registry.routes[f"{method} {place(NAME)}/manifests/8b"] = redirect(f"{other.url}/v2/library/qwen3/manifests/8b")
        assert (await world.one(model("ee" * 32))).status is UpdateStatus.UNKNOWN
        assert not other.requests
    finally:
        await other.stop()


async def test_X01_what_a_registry_sends_is_cleaned(world: World) -> None:
    world.texts(NAME, template="{{ .Prompt }}\x1b]0;pwned\x07\u202e[@click=app.quit]x[/]".encode())
    state = await world.one(model("ee" * 32))
    assert not any(bad in line for line in state.diff for bad in ("\x1b", "\x07", "\u202e"))
    assert any("[@click=app.quit]x[/]" in line for line in state.diff)


async def test_a_blob_that_is_not_its_digest_gives_no_diff(world: World) -> None:
    world.texts(NAME, template=b"good")
    world.registry.routes[f"{place(NAME)}/blobs/{digest_of(b'good')}"] = answer(b"evil")
    state = await world.one(model("ee" * 32))
    assert state.changes == ("template changed",) and state.diff == ()


async def test_models_in_a_cloud_are_left_out(world: World) -> None:
    assert await world.look(Model("box", "big:cloud", "big:cloud", 300, "aa" * 32, remote=True)) == {}
    assert not world.registry.requests


async def test_leaving_early_closes_everything(world: World) -> None:
    world.registry.fault(NAME, silent)
    planner = Planner(lambda: build({}), {"PADDOCK_REGISTRY": world.registry.url})
    provider = make_provider(Endpoint("box", "ollama", world.server.url, retries=0), lambda _reference: "")
    found = Radar(planner, SYSTEM, world._past).look([(provider, model("ee" * 32))])
    waiting = asyncio.ensure_future(anext(found))
    while not world.registry.requests:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await found.aclose()
    await asyncio.wait_for(world.registry.closed.wait(), 5)
    await provider.aclose()
