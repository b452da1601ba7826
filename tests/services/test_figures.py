"""Figures of servers over real sockets: rates, rhythm, and servers that hang or lie."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.fault_server import FaultServer
from tests.support.monitor_host import FakeHost
from tui.core.clock import SYSTEM
from tui.core.models import Endpoint, Location, Origin, ProviderState, ProviderStatus, RunningModel
from tui.core.monitor import ServerFigures
from tui.core.observe import Observable
from tui.providers.factory import make_provider
from tui.providers.metrics import Figures
from tui.services.monitor import figures as figures_module
from tui.services.monitor.figures import Counted, Servers, told

NAMES = (("num_requests_running", 1), ("num_requests_waiting", 0), ("generation_tokens_total", 100), ("prompt_tokens_total", 1000))


def text(model: str = "m", **changed: float) -> bytes:
    return b"".join(f'vllm:{name}{{model_name="{model}"}} {changed.get(name, value)}\n'.encode() for name, value in NAMES)


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(5):
        while not (found := condition()):
            await asyncio.sleep(0.003)
    return found


class Lab(FakeHost):
    """Providers at real sockets, and what is published of them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SYSTEM
        self.made: dict[str, Any] = {}
        self.watching.providers.set(())
        self.watching.provider = lambda name: self.made.get(name)  # type: ignore[method-assign]
        self.published: Observable[Any] = Observable({})
        self.looks = False
        self.servers = Servers(self, self.published, lambda: self.looks)

    def add(self, name: str, url: str, kind: str = "vllm") -> Any:
        provider = self.made[name] = make_provider(Endpoint(name, kind, url, retries=0), lambda _reference: "")
        state = ProviderState(
            provider.endpoint, Origin.CONFIG, ProviderStatus.UP, location=Location.HERE, capabilities=provider.capabilities
        )
        self.watching.providers.set((*self.watching.providers.value, state))
        return provider

    def status(self, name: str, status: ProviderStatus) -> None:
        states = self.watching.providers.value
        self.watching.providers.set(tuple(replace(one, status=status) if one.name == name else one for one in states))

    @property
    def figures(self) -> dict[str, ServerFigures]:
        return dict(self.published.value)


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setattr(figures_module, "OFTEN", 0.02)
    monkeypatch.setattr(figures_module, "SHORTEST", 0.001)
    found = Lab()
    running = asyncio.create_task(found.servers.run())
    yield found
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    for provider in found.made.values():
        await provider.aclose()


# --- rates --------------------------------------------------------------------------------------------------------------


def test_counters_become_rates() -> None:
    figures = Figures("/metrics", {"running": 2.0, "written": 150.0, "output_tokens": 150.0, "prompt_tokens": 900.0, "kv_used": 0.5})
    found = told("lab", figures, figures.values, 12.0, Counted(10.0, 100.0, 700.0))
    assert (found.running, found.rate, found.prompt_rate, found.output_tokens, found.kv_used) == (2, 25.0, 100.0, 150.0, 0.5)


@pytest.mark.parametrize("before", [None, Counted(10.0, 400.0, 950.0), Counted(11.9, 100.0, 700.0), Counted(10.0, None, None)])
def test_no_rate_at_first_after_a_restart_or_too_soon(before: Counted | None) -> None:
    figures = Figures("/metrics", {"written": 150.0, "prompt_tokens": 900.0})
    found = told("lab", figures, figures.values, 12.0, before)
    assert found.rate is None and found.prompt_rate is None


def test_a_rate_the_server_tells_is_taken() -> None:
    assert told("lab", Figures("/metrics"), {"rate": 33.0, "written": 5.0}, 12.0, Counted(10.0, 1.0, None)).rate == 33.0


# --- asking -------------------------------------------------------------------------------------------------------------


async def test_a_busy_server_is_asked_often_and_by_model(lab: Lab, server: FaultServer) -> None:
    count = iter(range(100, 10_000, 50))
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, text(generation_tokens_total=next(count)))
    lab.add("gpu", server.url)
    found = await until(lambda: (one := lab.figures.get("gpu")) and one.rate and one)
    assert found.running == 1 and found.source == "/metrics" and found.rate > 0
    assert lab.servers.by_model["gpu", "m"].rate
    assert max(server.open, 1) == 1


async def test_an_idle_server_is_asked_seldom_and_at_once_when_somebody_looks(lab: Lab, server: FaultServer) -> None:
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, text(num_requests_running=0))
    lab.add("gpu", server.url)
    await until(lambda: "gpu" in lab.figures)
    await asyncio.sleep(0.1)  # five times as long as a busy one would wait
    assert len(server.requests) == 1
    lab.looks = True
    lab.servers.wake()
    await until(lambda: len(server.requests) >= 3)


async def test_P38_one_that_hangs_disturbs_no_other_and_is_asked_less(
    lab: Lab, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.providers.metrics.PATIENCE", 0.03)
    hanging = FaultServer()
    await hanging.start()
    open_now: list[int] = []

    async def hang(exchange: Any) -> None:
        open_now.append(hanging.open)
        await exchange.gone()

    hanging.routes["/metrics"] = hang
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, text())
    lab.looks = True
    lab.add("hung", hanging.url)
    lab.add("good", server.url)
    await until(lambda: len(server.requests) >= 12)
    assert 1 <= len(hanging.requests) < 6 and set(open_now) == {1}
    assert lab.figures["good"].running == 1 and lab.figures["hung"].running is None
    assert lab.figures["hung"].note
    await hanging.stop()


@pytest.mark.parametrize(
    "body",
    [b"garbage\n" * 30, b"\x00" * 100, b"vllm:num_requests_running NaN\n", b"", b"<html>\n"],
    ids=["garbage", "zeros", "nan", "empty", "page"],
)
async def test_H18_nonsense_is_no_figure_and_the_next_answer_counts(lab: Lab, server: FaultServer, body: bytes) -> None:
    answers = iter([body])
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, next(answers, text()))
    lab.looks = True
    lab.add("gpu", server.url)
    await until(lambda: len(server.requests) >= 2 and lab.figures["gpu"].running == 1)
    assert lab.figures["gpu"].rate in (None, 0.0)


async def test_a_server_that_was_found_is_asked_like_one_that_is_configured(lab: Lab, server: FaultServer) -> None:
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, text(num_requests_waiting=3))
    lab.add("gpu", server.url)
    lab.status("gpu", ProviderStatus.FOUND)
    assert (await until(lambda: lab.figures.get("gpu"))).waiting == 3


async def test_what_is_gone_is_forgotten(lab: Lab, server: FaultServer) -> None:
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, text())
    lab.add("gpu", server.url)
    await until(lambda: lab.servers.by_model)
    lab.status("gpu", ProviderStatus.DOWN)
    await until(lambda: not lab.figures and not lab.servers.by_model)
    seen = len(server.requests)
    lab.status("gpu", ProviderStatus.UP)
    await until(lambda: len(server.requests) > seen and "gpu" in lab.figures)
    assert lab.figures["gpu"].rate is None  # what was counted before may be of another process


async def test_a_router_is_asked_for_each_loaded_model(lab: Lab, server: FaultServer) -> None:
    server.routes["*"] = lambda exchange: exchange.reply(200, b"llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\n")
    server.routes["*"], metrics = (lambda exchange: exchange.json([])), server.routes["*"]
    server.routes |= {f"/metrics?model={name}": metrics for name in ("a", "b")}
    lab.watching.running.set(tuple(RunningModel("gpu", name, name) for name in ("a", "b")))
    lab.add("gpu", server.url, "llamacpp").router = True
    found = await until(lambda: lab.figures.get("gpu"))
    assert (found.running, found.waiting) == (2, 4)
    assert lab.servers.by_model["gpu", "a"].running == 1 and lab.servers.by_model["gpu", "b"].waiting == 2


async def test_our_own_answer_has_it_asked_often(lab: Lab, server: FaultServer) -> None:
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, text(num_requests_running=0))
    lab.lives = [SimpleNamespace(provider="gpu", model="m")]
    lab.add("gpu", server.url)
    await until(lambda: len(server.requests) >= 3)
