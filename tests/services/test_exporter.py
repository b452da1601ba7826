"""Other machines: their exporters over real sockets."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from tests.hardware.test_exported import FULL
from tests.services.test_figures import until
from tests.support.fault_server import FaultServer, end
from tests.support.monitor_host import FakeHost
from tui.cli.prometheus import Figures
from tui.config.settings import Settings
from tui.core.clock import SYSTEM
from tui.core.observe import Observable
from tui.services.monitor import exporter as exporter_module
from tui.services.monitor.exporter import Machines

CERTIFICATES = Path(__file__).parent.parent / "providers" / "certificates"
TEXT = (
    b'paddock_cpu_percent 42\npaddock_memory_bytes{kind="total"} 64e9\npaddock_gpu_percent{gpu="0",uuid="G",name="RTX"} 90\nother_thing 5\n'
)


class Lab(FakeHost):
    def __init__(self) -> None:
        super().__init__()
        self.clock = SYSTEM
        self.looks = True
        self.published: Observable[Any] = Observable({})
        self.machines = Machines(self, self.published, lambda: self.looks)

    def use(self, *, verify_tls: bool | str = True, **urls: str) -> None:
        same = {"kind": "ollama", "url": "http://10.0.0.9:11434", "api_key": "env:KEY", "verify_tls": verify_tls}
        rows = {name: {**same, "exporter": url} for name, url in urls.items()}
        self.now = Settings(layers=[{"providers": rows}])
        self.machines.moved()

    @property
    def samples(self) -> dict[str, Any]:
        return dict(self.published.value)


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setattr(exporter_module, "EVERY", 0.01)
    found = Lab()
    running = asyncio.create_task(found.machines.run())
    yield found
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_another_machines_figures(lab: Lab, server: FaultServer) -> None:
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, TEXT)
    lab.use(box=server.url)
    found = await until(lambda: lab.samples.get("box"))
    assert found.cpu.percent == 42 and found.memory.total == 64 * 10**9 and found.gpus[0].name == "RTX"
    assert found.sources[0].name == f"exporter 127.0.0.1:{server.port}" and not found.sources[0].note
    assert all("authorization" not in request.headers for request in server.requests)
    await until(lambda: len(server.requests) >= 3)


async def test_it_is_asked_only_while_somebody_looks(lab: Lab, server: FaultServer) -> None:
    lab.looks = False
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, TEXT)
    lab.use(box=server.url)
    await asyncio.sleep(0.05)
    assert not server.requests
    lab.looks = True
    lab.machines.moved()
    await until(lambda: lab.samples.get("box"))
    lab.looks = False
    lab.machines.moved()
    await until(lambda: not lab.machines._followed)
    lab.use()
    await until(lambda: not lab.samples)


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"go_goroutines 5\n", "tells no machine's figures"), (b"garbage\n" * 30, "cannot be read"), (b"", "tells no machine's figures")],
    ids=["other", "garbage", "empty"],
)
async def test_H18_what_is_no_machine_is_said(lab: Lab, server: FaultServer, body: bytes, words: str) -> None:
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, body)
    lab.use(box=server.url)
    found = await until(lambda: lab.samples.get("box"))
    assert words in found.sources[0].note and found.cpu.percent is None and not found.gpus


async def test_P38_one_that_is_not_there_is_said_and_disturbs_no_other(lab: Lab, server: FaultServer) -> None:
    gone = FaultServer()
    await gone.start()
    url = gone.url
    await gone.stop()
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, TEXT)
    lab.use(box=server.url, gone=url, odd="http://[bad")
    await until(lambda: len(lab.samples) == 3 and len(server.requests) > 3)
    assert "nothing is listening" in lab.samples["gone"].sources[0].note or lab.samples["gone"].sources[0].note
    assert "cannot be used" in lab.samples["odd"].sources[0].note
    assert lab.samples["box"].cpu.percent == 42


async def test_H26_certificates_are_checked_as_the_provider_says(lab: Lab) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "good.pem")
    found = FaultServer({"/metrics": lambda exchange: exchange.reply(200, TEXT)})
    listener = await asyncio.start_server(found._serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    lab.use(box=url)
    refused = await until(lambda: lab.samples.get("box"))
    assert "certificate" in refused.sources[0].note and refused.cpu.percent is None and not found.requests
    lab.use(verify_tls=str(CERTIFICATES / "ca.pem"), box=url)
    await until(lambda: lab.samples["box"].cpu.percent == 42)
    lab.use()
    await until(lambda: not found.open)
    await end(listener)
    await found.stop()


async def test_what_our_own_exporter_tells_is_read_back(lab: Lab, server: FaultServer) -> None:
    figures = Figures("far \u2028 box")
    figures.sample = FULL
    registry = CollectorRegistry()
    registry.register(figures)
    server.routes["/metrics"] = lambda exchange: exchange.reply(200, generate_latest(registry))
    lab.use(box=server.url)
    found = await until(lambda: lab.samples.get("box"))
    assert replace(found, sources=()) == FULL
