"""Plans with a registry and a server on real sockets."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from tests.support.fault_server import Exchange, FaultServer
from tests.support.registry import LAYERS, FakeRegistry, answer, digest_of, error, redirect, reset, silent
from tests.support.screen import until
from tui.config.settings import build
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Endpoint
from tui.demo.models import World as DemoWorld
from tui.demo.server import Pace, serve
from tui.providers import http as http_module
from tui.providers import manifest as manifest_module
from tui.providers import ports, redirects
from tui.providers.factory import make_provider
from tui.services import plan as plan_module
from tui.services.plan import MOST_HEADS, Planner, look_at

NAME = "qwen3:8b"
LATER = "sizes come while it runs"


class World:
    """A registry, a server that has some blobs, and a planner between them."""

    def __init__(self) -> None:
        self.registry = FakeRegistry()
        self.server = FaultServer()
        self.blobs: set[str] = set()
        self.version = "0.24.0"
        self.heads = 0
        self.settings = build({})
        self.environ: dict[str, str] = {}
        self.demo = False
        self.server.routes["*"] = self._answer

    async def _answer(self, exchange: Exchange) -> None:
        path = exchange.request.path
        if path == "/api/version":
            await exchange.json({"version": self.version})
        elif exchange.request.method == "HEAD" and path.startswith("/api/blobs/"):
            self.heads += 1
            await exchange.head(200 if path.removeprefix("/api/blobs/") in self.blobs else 404, {"content-length": "0"}, chunked=False)
        else:
            await exchange.reply(404)

    async def plan(self, name: str = NAME, *, kind: str = "ollama", url: str = "", **more):
        provider = make_provider(Endpoint("box", kind, url or self.server.url, retries=0), lambda _reference: "")
        planner = Planner(lambda: self.settings, self.environ, demo=self.demo)
        try:
            return await planner.plan(provider, name, **more)
        finally:
            await provider.aclose()

    async def refused(self, name: str = NAME):
        with pytest.raises(PaddockError) as caught:
            await self.plan(name)
        return caught.value.failure


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    await found.registry.start()
    await found.server.start()
    found.environ["PADDOCK_REGISTRY"] = found.registry.url
    yield found
    await found.server.stop()
    await found.registry.stop()


async def test_what_is_missing_of_what(world):
    digest = world.registry.add(NAME, config={"requires": "0.20", "context_length": 40960, "model_family": "qwen3"})
    world.blobs = {digest_of("model"), digest_of("license")}
    plan = await world.plan()
    assert plan.digest == digest
    assert plan.present == world.blobs
    assert plan.total == sum(size for _kind, size in LAYERS) + plan.layers[-1].size
    assert plan.missing == 1_723 + 120 + plan.layers[-1].size
    assert plan.weights == {digest_of("model").removeprefix("sha256:")}
    assert (plan.version, plan.requires, plan.context, plan.family, plan.note) == ("0.24.0", "0.20", 40960, "qwen3", "")
    assert plan.made_at > 0
    assert world.registry.requests[0].headers["user-agent"].startswith("ollama/0.24.0 ")


async def test_Q09_what_the_registry_refuses_is_refused_before_it_starts(world):
    assert (await world.refused("nope:1b")).kind is FailureKind.NOT_FOUND
    world.registry.fault(NAME, answer(b"requires a newer version of Ollama", 412))
    failure = await world.refused()
    assert failure.kind is FailureKind.UNSUPPORTED
    assert "the server has 0.24.0" in failure.what
    world.registry.fault(NAME, error(403, "Access to model x is restricted"))
    assert (await world.refused()).kind is FailureKind.FORBIDDEN
    assert (await world.refused("not a name")).kind is FailureKind.BAD_REQUEST
    assert world.heads == 0


@pytest.mark.parametrize(
    ("requires", "version", "refused"),
    [
        ("0.30.0", "0.24.0", True), ("0.24.1", "0.24.0", True), ("1.0", "0.33.2", True), ("v0.25", "0.24.9-rc1", True),
        ("0.24.0", "0.24.0", False), ("0.9.6", "0.24.0", False), ("0.24", "0.24.0-rc2", False), ("0.30.0", "0.0.0", False),
        ("soon", "0.24.0", False), ("0.30.0", "main-abc", False), ("", "0.24.0", False),
    ],
)  # fmt: skip
async def test_a_model_that_needs_a_newer_server_is_refused(world, requires, version, refused):
    world.registry.add(NAME, config={"requires": requires})
    world.version = version
    if not refused:
        assert (await world.plan()).requires == requires
        return
    failure = await world.refused()
    assert failure.kind is FailureKind.UNSUPPORTED
    assert failure.what == f"qwen3:8b needs Ollama {requires}; box has {version}"
    assert failure.where == "box"


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (reset, "cannot be reached from here"), (error(401, "unauthorized"), "wants a key, which the server may have"),
        (error(403, "no"), "wants a key, which the server may have"),
        (answer(b"", 429), "answered 429"), (answer(b"", 502), "answered 502"),
        (answer(b"<html>"), "gave no manifest that can be used"), (redirect("http://127.0.0.1:9/"), "gave no manifest that can be used"),
        (answer(b"", 405), "gave no manifest that can be used"), (answer(b'{"layers":[{"size":-1}]}'), "gave no manifest that can be used"),
    ],
)  # fmt: skip
async def test_H11_a_registry_that_cannot_be_asked_from_here_is_said_and_nothing_is_refused(world, route, words):
    world.registry.fault(NAME, route)
    plan = await world.plan()
    assert plan.layers == ()
    assert (plan.total, plan.missing, plan.present) == (None, None, None)
    assert plan.version == "0.24.0"
    assert words in plan.note
    assert plan.note.endswith(LATER)
    assert world.heads == 0


async def test_nobody_listens_where_the_registry_should_be(world):
    world.environ["PADDOCK_REGISTRY"] = "http://127.0.0.1:9"
    plan = await world.plan()
    assert plan.note == f"the registry cannot be reached from here; the server may reach it: {LATER}"


async def test_names_out_there_are_not_resolved_and_that_is_said(world):
    plan = await world.plan("hf.co/org/repo:Q4_K_M")
    assert plan.note == f"hf.co cannot be reached from here; the server may reach it: {LATER}"
    world.environ.clear()
    assert (await world.plan()).note.startswith("registry.ollama.ai cannot be reached from here")


async def test_an_address_that_is_none(world):
    world.environ["PADDOCK_REGISTRY"] = "ftp://mirror"
    plan = await world.plan()
    assert plan.note.startswith("The address 'ftp://mirror' cannot be used")
    assert plan.note.endswith(LATER)


async def test_a_silent_registry_costs_its_time_only(world, monkeypatch):
    monkeypatch.setattr(manifest_module, "MANIFEST_WITHIN", 0.1)
    world.registry.fault(NAME, silent)
    assert "cannot be reached from here" in (await world.plan()).note
    monkeypatch.setattr(manifest_module, "MANIFEST_WITHIN", 30.0)
    monkeypatch.setattr(plan_module, "MANIFEST_WITHIN", 0.1)
    assert "did not answer in time" in (await world.plan()).note
    monkeypatch.setattr(plan_module, "MANIFEST_WITHIN", 30.0)
    monkeypatch.setattr(plan_module, "WITHIN", 0.2)
    plan = await world.plan()
    assert plan.note == f"Neither the registry nor the server answered in time; {LATER}"


def test_the_parts_take_no_longer_than_the_whole():
    assert plan_module.VERSION_WITHIN + plan_module.MANIFEST_WITHIN + plan_module.HEADS_END < plan_module.WITHIN <= 15
    assert manifest_module.MANIFEST_WITHIN + manifest_module.CONFIG_WITHIN <= plan_module.MANIFEST_WITHIN


# --- the server ------------------------------------------------------------------------------------------------------


async def test_a_server_that_is_down_does_not_hide_the_size(world):
    digest = world.registry.add(NAME, config={"requires": "99.0"})
    plan = await world.plan(url="http://127.0.0.1:9")
    assert plan.digest == digest
    assert plan.present is None
    assert plan.missing == plan.total
    assert plan.note == "box does not answer: what it has already is not known"
    assert world.registry.requests[0].headers["user-agent"].startswith("paddock/")
    world.registry.fault(NAME, answer(b"requires a newer version", 412))
    assert "the server's version is not known" in (await world.plan(url="http://127.0.0.1:9")).note


@pytest.mark.parametrize("status", [405, 500])
async def test_a_server_that_does_not_tell_what_it_has(world, status):
    world.registry.add(NAME)
    real = world._answer

    async def odd(exchange: Exchange) -> None:
        await (exchange.reply(status) if exchange.request.method == "HEAD" else real(exchange))

    world.server.routes["*"] = odd
    plan = await world.plan()
    assert plan.present is None
    assert plan.note == "box does not tell which layers it has"
    assert plan.total


async def test_a_server_that_hangs_after_some_answers(world, monkeypatch):
    monkeypatch.setattr(plan_module, "WITHIN", 1.5)
    monkeypatch.setattr(plan_module, "HEADS_END", 0.5)
    world.registry.add(NAME)
    world.blobs = {digest_of("model")}
    real = world._answer

    async def slow(exchange: Exchange) -> None:
        await (exchange.gone() if exchange.request.method == "HEAD" and world.heads else real(exchange))

    world.server.routes["*"] = slow
    plan = await world.plan()
    assert plan.present == {digest_of("model")}
    assert plan.note == "box was asked about the largest 1 of 5 layers"


async def test_of_a_thousand_layers_the_largest_are_asked_about(world):
    world.registry.add(NAME, [(f"tensor{at}", 1000 + at) for at in range(MOST_HEADS + 50)], None)
    world.blobs = {digest_of(f"tensor{MOST_HEADS + 49}"), digest_of("tensor0")}
    plan = await world.plan()
    assert world.heads == MOST_HEADS
    assert plan.present == {digest_of(f"tensor{MOST_HEADS + 49}")}
    assert plan.note == f"box was asked about the largest {MOST_HEADS} of {MOST_HEADS + 50} layers"


async def test_who_cannot_pull_is_not_planned_for(world):
    with pytest.raises(PaddockError) as caught:
        await world.plan(kind="openai")
    assert caught.value.failure.kind is FailureKind.UNSUPPORTED
    assert not world.registry.requests


# --- who is asked ----------------------------------------------------------------------------------------------------


async def test_offline_nobody_out_there_is_asked(world, monkeypatch):
    asked = []
    monkeypatch.setattr(plan_module, "Registry", lambda *args, **more: asked.append(args))
    world.settings = build({"general": {"network": "offline"}})
    world.environ.clear()
    for name, host in ((NAME, "registry.ollama.ai"), ("hf.co/a/b", "hf.co"), ("192.168.1.9:5000/a/b", "192.168.1.9:5000")):
        assert (await world.plan(name)).note == f"general.network is offline: {host} is not asked, {LATER}"
    assert not asked


async def test_offline_a_registry_of_this_machine_is(world):
    world.settings = build({"general": {"network": "offline"}})
    world.registry.add(NAME)
    assert (await world.plan()).total


async def test_a_private_registry_is_asked_by_its_own_address(world, monkeypatch):
    monkeypatch.setattr(http_module, "CONNECT_NEAR", 0.2)
    name = f"127.0.0.1:{world.registry.port}/me/m:v1"
    world.registry.add(name)
    world.environ["PADDOCK_REGISTRY"] = "http://127.0.0.1:9"
    assert (await world.plan(name, insecure=True)).total
    assert world.registry.requests[0].path == "/v2/me/m/manifests/v1"
    assert "cannot be reached from here" in (await world.plan(name)).note  # TLS is wanted, and it speaks none


async def test_localhost_of_another_machine_is_not_ours(world):
    name = f"localhost:{world.registry.port}/me/m:v1"
    world.registry.add(name)
    world.settings = build({"providers": {"box": {"url": world.server.url, "location": "elsewhere"}}})
    assert (await world.plan(name, insecure=True)).note == (
        f"localhost:{world.registry.port} is an address of the server's own machine: {LATER}"
    )
    assert not world.registry.requests


async def test_in_the_demo_the_server_is_the_registry(tmp_path, world):
    stop, ready = asyncio.Event(), []
    task = asyncio.create_task(serve(DemoWorld.open(tmp_path), Pace(), 0, ready.append, stop))
    await until(lambda: ready)
    world.demo, url = True, f"http://127.0.0.1:{ready[0]}"
    there = await world.plan(url=url)
    assert there.missing == 0
    assert there.total == 5_225_400_000
    new = await world.plan("phi4:14b", url=url)
    assert new.present is not None
    assert new.missing > 9 * 10**9
    with pytest.raises(PaddockError):
        await world.plan("hf.co/org/repo", url=url)
    assert not world.registry.requests
    stop.set()
    await task


@pytest.mark.parametrize(
    ("name", "config"),
    [("gpt-oss:120b-cloud", {}), ("kimi:cloud", {"remote_host": "https://ollama.com"}), ("far:latest", {"remote_host": "https://o"})],
)
async def test_a_model_of_the_cloud_has_nothing_to_fetch(world, name, config):
    world.registry.add(name, (), config)
    plan = await world.plan(name)
    assert plan.note == f"{name} runs in Ollama's cloud: there are no weights to fetch"
    assert plan.total is not None
    assert plan.total < 1000


# --- keys ------------------------------------------------------------------------------------------------------------


async def test_P53_the_token_of_hugging_face_goes_there_only(world, monkeypatch):
    world.environ["HF"] = "hf_secret_token"
    world.settings = build({"models": {"hf_token": "env:HF"}})
    world.registry.add(NAME)
    await world.plan()
    assert not [one for one in (*world.registry.requests, *world.server.requests) if "hf_secret" in str(one.headers)]
    monkeypatch.setattr(plan_module, "is_hugging_face", lambda url: url == world.registry.url)
    monkeypatch.setattr(redirects, "HUGGING_FACE", frozenset({world.registry.url}))
    await world.plan()
    assert world.registry.requests[-1].headers["authorization"] == "Bearer hf_secret_token"
    assert not [one for one in world.server.requests if "hf_secret" in str(one.headers)]
    del world.environ["HF"]
    assert (await world.plan()).note == f"The variable HF is not set: {LATER}"
    world.settings = build({"models": {"hf_token": "hf_literal_token"}})
    await world.plan()
    assert world.registry.requests[-1].headers["authorization"] == "Bearer hf_literal_token"


# --- unfinished downloads --------------------------------------------------------------------------------------------

LISTEN = (
    "import socket,sys; s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); print(s.getsockname()[1], flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize(
    ("value", "keeps"), [(None, False), ("", False), ("0", False), ("False", False), ("1", True), ('"true"', True), ("yes", True)]
)
def test_whether_the_server_keeps_unfinished_downloads(value, keeps):
    environ = {**os.environ, **({} if value is None else {"OLLAMA_NOPRUNE": value})}
    command = [sys.executable, "-c", LISTEN, "ollama"]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline())
            found = look_at(port, "127.0.0.1")
        finally:
            process.kill()
    assert (found.local, found.keeps_partials) == (True, keeps)


def test_of_what_is_no_ollama_nothing_is_concluded():
    with subprocess.Popen([sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = look_at(int(process.stdout.readline()), "127.0.0.1")
        finally:
            process.kill()
    assert (found.local, found.keeps_partials) == (True, None)


def test_a_tunnel_leads_away(monkeypatch):
    monkeypatch.setattr(ports, "holder", lambda port, host: ports.Holder(pid=1, process_name="ssh", is_ssh_tunnel=True))
    assert not look_at(11434, "127.0.0.1").local


def test_a_process_that_we_may_not_read_says_nothing(monkeypatch):
    monkeypatch.setattr(ports, "holder", lambda port, host: ports.Holder(pid=2**22 + 5, process_name="ollama"))
    assert look_at(11434, "127.0.0.1").keeps_partials is None


async def test_a_server_elsewhere_is_not_looked_at(world, monkeypatch):
    monkeypatch.setattr(plan_module, "look_at", lambda port, host: pytest.fail("looked"))
    world.settings = build({"providers": {"box": {"url": world.server.url, "location": "elsewhere"}}})
    world.registry.add(NAME)
    assert (await world.plan()).keeps_partials is None


async def test_a_look_that_hangs_costs_a_second_at_most(world, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(plan_module, "LOOK_WITHIN", 0.05)
    monkeypatch.setattr(plan_module, "look_at", lambda port, host: ended.wait(20))
    world.registry.add(NAME)
    plan = await world.plan()
    ended.set()
    assert plan.total
    assert plan.keeps_partials is None
