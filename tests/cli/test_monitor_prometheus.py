"""monitor --prometheus: over real sockets, read by the official parser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import HOSTILE, Run, controls
from tests.cli.test_monitor import SAMPLE, sampler
from tests.cli.test_process import environment, paddock
from tests.support.fault_server import end
from tui import __version__
from tui.cli import prometheus
from tui.cli.loaded import InMemory, Servers
from tui.cli.parser import build
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.exported import EXPORTED
from tui.core.models import RunningModel
from tui.core.monitor import Alert
from tui.hardware.exported import sample_of
from tui.hardware.sample import Disk, Sample, Source
from tui.hardware.sample_line import format_sample
from tui.providers.metrics import Exporter as RemoteExporter

MODEL = RunningModel("ollama", "qwen3:8b", "qwen3:8b", size=5_200_000_000, vram=2_600_000_000, context=8192)
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def figures(sample: Sample | None = SAMPLE) -> prometheus.Figures:
    found = prometheus.Figures("box")
    found.sample = sample
    found.servers = Servers((InMemory(MODEL, 41.5, 1, 3),), ("ollama",), {"rack": Failure("it is down", "rack:1")})
    found.alerts = (Alert(1, "gpu_temperature", "GPU0", 91.0, 85.0, 1.0), Alert(2, "gpu_temperature", "GPU0", 91.0, 85.0, 1.0))
    return found


def read(text: str) -> Found:
    """Every figure by its name and labels; none comes twice."""
    found: Found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = (one.name, frozenset(one.labels.items()))
            assert key not in found, key
            found[key] = one.value
    return found


def at(found: Found, name: str, /, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


class Served:
    """An exporter on a port of its own."""

    def __init__(self, exporter: prometheus.Exporter, port: int) -> None:
        self.exporter, self.port = exporter, port

    async def ask(self, path: str = "/metrics", *, method: str = "GET", host: str = "localhost", more: str = "") -> tuple[str, str]:
        """Status line and body."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{self.port}\r\n{more}\r\n"
        return await self.send(head.encode())

    async def send(self, data: bytes) -> tuple[str, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(10):
                reply = (await reader.read()).decode()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        head, _, body = reply.partition("\r\n\r\n")
        return head.split("\r\n")[0].removeprefix("HTTP/1.1 "), body


@contextlib.asynccontextmanager
async def serving(found: prometheus.Figures, *, local: bool = True) -> AsyncIterator[Served]:
    exporter = prometheus.Exporter(found, local=local)
    server = await asyncio.start_server(exporter.take, "127.0.0.1", 0, limit=prometheus.HEAD)
    try:
        yield Served(exporter, server.sockets[0].getsockname()[1])
    finally:
        await end(server)
        await exporter.close()


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_every_figure_under_its_name_as_the_parser_reads_it() -> None:
    async with serving(figures()) as served:
        status, body = await served.ask()
    found = read(body)
    assert status == "200 OK"
    assert at(found, "paddock_info", version=__version__, machine="box") == 1
    assert at(found, "paddock_cpu_percent") == 34.2 and at(found, "paddock_cpu_core_percent", core="1") == 38.4
    assert at(found, "paddock_memory_bytes", kind="used") == 13e9
    assert at(found, "paddock_gpu_memory_bytes", kind="used", gpu="0", uuid="GPU-1", name="RTX 3090") == 13.5e9
    assert at(found, "paddock_model_bytes", provider="ollama", model="qwen3:8b", kind="gpu") == 2.6e9
    assert at(found, "paddock_model_tokens_per_second", provider="ollama", model="qwen3:8b") == 41.5
    assert at(found, "paddock_model_requests", provider="ollama", model="qwen3:8b", state="waiting") == 3
    assert (at(found, "paddock_provider_up", provider="ollama"), at(found, "paddock_provider_up", provider="rack")) == (1, 0)
    assert at(found, "paddock_alert", rule="gpu_temperature", subject="GPU0") == 1
    assert at(found, "paddock_sampler_silent_seconds") == 0
    families = {family.name: family for family in text_string_to_metric_families(body)}
    for row in EXPORTED:
        if row.name in families:
            assert families[row.name].documentation == row.help and families[row.name].type == "gauge"


def test_the_paper_names_every_figure() -> None:
    paper = (Path(prometheus.__file__).parents[2] / "docs" / "monitor-json.md").read_text("utf-8")
    told = {row.name for row in EXPORTED} | {family.name for family in figures().collect() if family.name != "paddock"}
    assert {name for name in told if f"`{name}`" not in paper} == set()
    assert set(re.findall(r"`(paddock_\w+)`", paper)) - told == {"paddock_info"}


async def test_another_paddock_reads_the_same_machine_out_of_it() -> None:
    async with serving(figures()) as served:
        _status, body = await served.ask()
    again = sample_of((name, dict(labels), value) for (name, labels), value in read(body).items())
    assert again is not None
    assert (again.cpu, again.memory, again.disks, again.network) == (SAMPLE.cpu, SAMPLE.memory, SAMPLE.disks, SAMPLE.network)
    assert (again.gpus[0].power, again.gpus[0].memory_used, again.gpus[1].lost) == (280.0, 13_500_000_000, True)


async def test_the_reader_of_other_machines_understands_the_exporter() -> None:
    async with serving(figures()) as served:
        reader = RemoteExporter("box", f"http://127.0.0.1:{served.port}")
        try:
            again = sample_of(await reader.read(lambda _name: True))
        finally:
            await reader.aclose()
    assert again is not None and again.cpu == SAMPLE.cpu and again.gpus[0].percent == 97.0


async def test_open_metrics_for_who_asks_for_it() -> None:
    async with serving(figures()) as served:
        _status, body = await served.ask(more="Accept: application/openmetrics-text;version=1.0.0\r\n")
    assert body.endswith("# EOF\n") and any(family.name == "paddock_cpu_percent" for family in open_metrics(body))


async def test_X02_hostile_names_are_labels_without_control_characters() -> None:
    evil = f'{HOSTILE}"\\\n{"x" * 500}'
    found = figures(replace(SAMPLE, disks=(Disk(evil, 1, 1, 1), Disk(evil, 2, 2, 2)), sources=(Source(evil), Source(evil))))
    model = replace(MODEL, provider=evil, name=evil)
    found.servers = Servers((InMemory(model), InMemory(model)), (evil,), {})
    found.alerts = (Alert(1, "disk", evil, 99.0, 90.0, 1.0),)
    async with serving(found) as served:
        _status, body = await served.ask()
    read(body)
    assert not controls(body) and len(body) < 30_000


async def test_figures_that_are_too_old_are_not_told_but_the_silence_is() -> None:
    found = figures()
    found.silent = lambda: 12.5
    async with serving(found) as served:
        parsed = read((await served.ask())[1])
    assert at(parsed, "paddock_sampler_silent_seconds") == 12.5
    assert not [name for name, _labels in parsed if name.startswith(("paddock_cpu", "paddock_gpu"))]
    assert at(parsed, "paddock_provider_up", provider="ollama") == 1


async def test_before_the_first_sample_there_is_an_answer() -> None:
    async with serving(prometheus.Figures()) as served:
        status, body = await served.ask()
    assert status == "200 OK" and at(read(body), "paddock_sampler_silent_seconds") == 0


# --- who asks ---------------------------------------------------------------------------------------------------------


async def test_a_page_of_the_web_gets_nothing_from_loopback() -> None:
    async with serving(figures()) as served:
        for host in ("evil.example", "localhost.evil.example", "10.0.0.1", ""):
            assert (await served.ask(host=host))[0].startswith("403"), host
        for host in ("127.0.0.1", "LOCALHOST", "[::1]"):
            assert (await served.ask(host=host))[0].startswith("200"), host
        assert (await served.send(b"GET /metrics HTTP/1.0\r\n\r\n"))[0].startswith("403")
    async with serving(figures(), local=False) as served:
        assert (await served.ask(host="gpu-box.lan"))[0].startswith("200")


async def test_odd_requests() -> None:
    async with serving(figures()) as served:
        assert (await served.ask("/"))[1] == "Paddock's figures are at /metrics\n"
        assert (await served.ask("/metrics?x=1"))[0] == "200 OK"
        assert (await served.ask("/../etc/passwd"))[0].startswith("404")
        assert (await served.ask(method="POST"))[0].startswith("405")
        assert await served.ask(method="HEAD") == ("200 OK", "")
        assert (await served.send(b"\x16\x03\x01 hello\r\n\r\n"))[0].startswith("400")
        assert (await served.send(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"))[0].startswith("431")
        assert await served.send(b"\r\n\r\n") == ("400 Bad Request", "not HTTP\n")


async def test_P25_slow_and_many_scrapers_delay_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MOST", 60)
    found = figures(replace(SAMPLE, cpu=replace(SAMPLE.cpu, cores=tuple(float(core % 100) for core in range(1000)))))
    made: list[int] = []
    collect = found.collect
    monkeypatch.setattr(found, "collect", lambda: (made.append(1), collect())[1])
    async with serving(found) as served:
        idle = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(5)]  # say nothing
        slow = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(5)]  # read nothing
        for _reader, writer in slow:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answers = await asyncio.gather(*(served.ask() for _ in range(50)))
        assert [status for status, _body in answers] == ["200 OK"] * 50
        assert len(made) <= 1, "made once a sample, not once a scrape"
        served.exporter.refresh()
        await served.ask()
        assert len(made) <= 2
        for _reader, writer in (*idle, *slow):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_connections_are_bounded_and_do_not_stay_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MOST", 3)
    monkeypatch.setattr(prometheus, "READ", 0.3)
    async with serving(figures()) as served:
        idle = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(3)]
        assert (await served.ask())[0].startswith("503")
        for reader, writer in idle:
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()
        assert (await served.ask())[0] == "200 OK"


async def test_who_does_not_fetch_the_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "WRITE", 0.1)
    exporter = prometheus.Exporter(figures(), local=True)
    monkeypatch.setattr(exporter, "page", lambda _accept: (b"x" * 30_000_000, "text/plain"))
    server = await asyncio.start_server(exporter.take, "127.0.0.1", 0)
    with socket.socket() as line:
        line.setblocking(False)
        await asyncio.get_running_loop().sock_connect(line, server.sockets[0].getsockname())
        await asyncio.get_running_loop().sock_sendall(line, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            while not exporter._clients:
                await asyncio.sleep(0)
            while exporter._clients:
                await asyncio.sleep(0.01)
    server.close()


# --- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ("127.0.0.1", 9345, True)), ("9000", ("127.0.0.1", 9000, True)), (":9000", ("127.0.0.1", 9000, True)),
     ("localhost", ("localhost", 9345, True)), ("0.0.0.0", ("0.0.0.0", 9345, False)), ("0.0.0.0:1", ("0.0.0.0", 1, False)),
     ("[::1]:9000", ("::1", 9000, True)), ("[::]", ("::", 9345, False)), ("::1", ("::1", 9345, True)),
     ("box.lan:80", ("box.lan", 80, False)),
     ("127.9.9.9:0", ("127.9.9.9", 0, True))],
)  # fmt: skip
def test_addresses(text: str, expected: tuple[str, int, bool]) -> None:
    assert prometheus.address_of(text) == expected


@pytest.mark.parametrize("text", ["127.0.0.1:99999", "127.0.0.1:x", "http://x", "a b", "x\x1b[0m:1", "[::1]9:", "1.2.3.4:-1", "x" * 300])
def test_what_is_no_address_is_wrong_usage(text: str) -> None:
    with pytest.raises(PaddockError) as refused:
        prometheus.address_of(text)
    assert refused.value.failure.kind is FailureKind.CONFIG and not controls(refused.value.failure.sentence())


def test_a_port_that_is_taken_says_what_where_and_what_to_do(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = run("monitor", "--prometheus", str(port))
    assert said.code == 1 and not said.out
    assert f"127.0.0.1:{port}" in said.err and "in use" in said.err and f"--prometheus 127.0.0.1:{port % 65_535 + 1}" in said.err


def test_an_address_of_another_machine_is_refused(run: Run) -> None:
    said = run("monitor", "--prometheus", "192.0.2.1:9345")
    assert said.code == 1 and "does not have that address" in said.err


@pytest.mark.parametrize("address", ["127.0.0.1:0", "0.0.0.0:0"])
def test_a_wide_address_is_warned_about_and_ctrl_c_ends_it(run: Run, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    sampler(monkeypatch, format_sample(SAMPLE))
    refresh = prometheus.Exporter.refresh

    def stop(exporter: prometheus.Exporter) -> None:
        refresh(exporter)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(prometheus.Exporter, "refresh", stop)
    said = run("monitor", "--prometheus", address)
    assert said.code == 130 and not said.out
    assert ("Warning: 0.0.0.0:" in said.err) == (address[0] == "0") and "/metrics; ctrl+c ends it." in said.err


def test_the_command_serves_this_machine_until_it_is_ended(home: Path) -> None:
    with paddock(home, "monitor", "--prometheus", "0", PADDOCK_MONITOR__INTERVAL="0.5s") as child:
        assert child.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", child.stderr.readline())
        assert found
        url, parsed, until = found[0], {}, time.monotonic() + 20
        while ("paddock_cpu_percent", frozenset()) not in parsed and time.monotonic() < until:
            with urllib.request.urlopen(url, timeout=10) as reply:
                assert reply.headers["Content-Type"].startswith("text/plain")
                parsed = read(reply.read().decode())
        assert 0 <= at(parsed, "paddock_cpu_percent") <= 100 and at(parsed, "paddock_memory_bytes", kind="total") > 0
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(url, headers={"Host": "evil.example"}), timeout=10)
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err) == (128 + signal.SIGTERM, "", "")


def test_the_library_is_imported_only_there(home: Path) -> None:
    script = (
        "import json, sys\nimport tui.cli.monitoring, tui.cli.program, tui.services.hub, tui.ui.app\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('prometheus')]))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(home), capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == []


def test_the_help_names_where_it_listens() -> None:
    action: Any = next(one for one in build()._actions if hasattr(one, "choices") and one.choices and "monitor" in one.choices)
    assert f"{prometheus.HOST}:{prometheus.PORT}" in action.choices["monitor"].format_help().replace("\n", " ")
