"""monitor --prometheus: an exporter on loopback, in the text format of the official client library."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tui import __version__
from tui.cli.context import Context
from tui.cli.loaded import Servers
from tui.cli.monitoring import Following, sampler_of, samples
from tui.cli.output import DONE, message
from tui.core.errors import FailureKind, PaddockError
from tui.core.monitor import Alert
from tui.hardware.exported import exported, label_names
from tui.hardware.sample import CORES, GPU_DETAIL, Sample, Source
from tui.providers.address import host_port
from tui.services.api import MonitorView
from tui.text import clean_name

HOST: Final = "127.0.0.1"
PORT: Final = 9345
HEAD: Final = 8192
"""Bytes the head of a request may have."""
READ: Final = 5.0
"""Seconds a request may take to come."""
WRITE: Final = 10.0
"""Seconds an answer may take to be fetched."""
LINGER: Final = 0.5
"""Seconds a client is given to close after its answer."""
MOST: Final = 64
"""Connections at once; those beyond are told to come again."""
STALE: Final = 10.0
"""Seconds of silence after which the figures are not told any more, as if the machine were away."""
ALERTS: Final = 100
LABEL: Final = 100
"""Characters of a label's value."""
WANTED: Final = frozenset((CORES, GPU_DETAIL))


# --- figures ----------------------------------------------------------------------------------------------------------


class Figures(Collector):
    """What is told: the newest of everything; made anew for each sample, not for each scrape."""

    def __init__(self, machine: str = "") -> None:
        self.machine = machine
        self.sample: Sample | None = None
        self.servers = Servers()
        self.alerts: tuple[Alert, ...] = ()
        self.silent: Callable[[], float] = lambda: 0.0

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield InfoMetricFamily("paddock", "The exporter", {"version": __version__, "machine": clean_name(self.machine, LABEL)})
        yield _one("paddock_sampler_silent_seconds", "Seconds the sampler has not answered beyond its time", self.silent())
        if self.sample is not None and self.silent() <= STALE:
            yield from machine_figures(self.sample)
            yield from _sources(self.sample.sources)
        yield from _models(self.servers)
        alerts = GaugeMetricFamily("paddock_alert", "1 for each alert that lasts", labels=("rule", "subject"))
        for rule, subject in sorted({(clean_name(one.rule, LABEL), clean_name(one.subject, LABEL)) for one in self.alerts[:ALERTS]}):
            alerts.add_metric((rule, subject), 1)
        yield alerts


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def machine_figures(sample: Sample) -> Iterator[Metric]:
    """The figures of the table in `core.exported`."""
    families: dict[str, GaugeMetricFamily] = {}
    seen: set[tuple[str, ...]] = set()
    for row, labels, value in exported(sample):
        family = families.get(row.name)
        if family is None:
            family = families[row.name] = GaugeMetricFamily(row.name, row.help, labels=label_names(row))
        cleaned = tuple(clean_name(label, LABEL) for label in labels)
        if (row.name, *cleaned) not in seen:  # the same name twice would spoil the whole answer
            seen.add((row.name, *cleaned))
            family.add_metric(cleaned, value)
    yield from families.values()


def _sources(sources: tuple[Source, ...]) -> Iterator[Metric]:
    silent = GaugeMetricFamily("paddock_source_silent_seconds", "Seconds a source of figures has not answered", labels=("source",))
    cost = GaugeMetricFamily("paddock_source_reading_seconds", "What its last reading took", labels=("source",))
    for source in {clean_name(one.name, LABEL): one for one in sources}.items():
        silent.add_metric((source[0],), source[1].silent)
        cost.add_metric((source[0],), source[1].seconds)
    yield silent
    yield cost


def _models(servers: Servers) -> Iterator[Metric]:
    up = GaugeMetricFamily("paddock_provider_up", "1 where the server answers", labels=("provider",))
    for name in sorted({*servers.answered, *servers.failures}):
        up.add_metric((clean_name(name, LABEL),), float(name in servers.answered))
    names = ("provider", "model")
    memory = GaugeMetricFamily("paddock_model_bytes", "Memory of a loaded model, all of it and on GPUs", labels=(*names, "kind"))
    context = GaugeMetricFamily("paddock_model_context_tokens", "Context it is loaded with", labels=names)
    rate = GaugeMetricFamily("paddock_model_tokens_per_second", "Tokens it writes now, all requests together", labels=names)
    requests = GaugeMetricFamily("paddock_model_requests", "Requests it works on, and that wait", labels=(*names, "state"))
    found = {(clean_name(one.model.provider, LABEL), clean_name(one.model.name, LABEL)): one for one in servers.models}
    for labels, one in found.items():
        model = one.model
        for family, more, value in (
            (memory, ("total",), model.size),
            (memory, ("gpu",), model.vram),
            (context, (), model.context),
            (rate, (), one.rate),
            (requests, ("running",), one.running),
            (requests, ("waiting",), one.waiting),
        ):
            if value is not None:
                family.add_metric((*labels, *more), value)
    yield from (up, memory, context, rate, requests)


# --- the server -------------------------------------------------------------------------------------------------------


class Address(NamedTuple):
    """Where to listen; `local`: only this machine reaches it."""

    host: str
    port: int
    local: bool


def address_of(text: str) -> Address:
    """Read `--prometheus ADDR`: nothing, a port, a host, or both.

    Raises:
        PaddockError: It is none; of kind CONFIG.
    """
    host, port = text.strip(), ""
    if host.isascii() and host.isdecimal():
        host, port = "", host
    elif host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    number = int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else PORT if not port else -1
    host = host or HOST
    odd = any(not (char.isalnum() or char in "-._:%") for char in host)
    if not 0 <= number < 65_536 or odd or len(host) > 255:
        where = clean_name(text, 80)
        raise PaddockError.of("That is no address to listen at", where, "Write it like 127.0.0.1:9345", FailureKind.CONFIG)
    return Address(host, number, is_local(host))


def is_local(host: str) -> bool:
    """Whether a name or number is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Exporter:
    """Answers scrapes; what is told is made once a sample, so that a slow or a second reader costs nothing."""

    def __init__(self, figures: Figures, *, local: bool) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(figures)
        self._local = local
        self._made: dict[str, bytes] = {}
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def refresh(self) -> None:
        """There is something new to tell."""
        self._made.clear()

    def page(self, accept: str) -> tuple[bytes, str]:
        """What a scraper gets that accepts this, and its content type."""
        encoder, kind = choose_encoder(accept)
        if kind not in self._made:
            if len(self._made) >= 8:
                self._made.clear()
            self._made[kind] = encoder(self._registry)
        return self._made[kind], kind

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                status, kind, body, head_only = await self._answer(reader)
                head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                more = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
                writer.write((head + more).encode() + (b"" if head_only else body))
                async with asyncio.timeout(WRITE):
                    await writer.drain()
                writer.write_eof()
                async with asyncio.timeout(LINGER):  # closed before all of a request is read, it would be lost with its answer
                    while await reader.read(HEAD):
                        pass
        finally:
            del self._clients[task]
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[str, str, bytes, bool]:
        plain = "text/plain; charset=utf-8"
        if len(self._clients) > MOST:
            return "503 Service Unavailable", plain, b"too many connections\n", False
        try:
            async with asyncio.timeout(READ):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return "431 Request Header Fields Too Large", plain, b"too long\n", False
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return "400 Bad Request", plain, b"not HTTP\n", False
        if self._local and not is_local(_host_of(fields.get("host", ""))):  # a page that was made to resolve to loopback
            return "403 Forbidden", plain, b"this Host is not served here\n", False
        if words[0] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", plain, b"GET /metrics\n", False
        path = words[1].split("?", 1)[0]
        if path == "/":
            return "200 OK", plain, b"Paddock's figures are at /metrics\n", words[0] == "HEAD"
        if path != "/metrics":
            return "404 Not Found", plain, b"GET /metrics\n", words[0] == "HEAD"
        body, kind = self.page(fields.get("accept", ""))
        return "200 OK", kind, body, words[0] == "HEAD"

    async def close(self) -> None:
        """End all connections."""
        for writer in self._clients.values():
            writer.transport.abort()
        await asyncio.gather(*self._clients, return_exceptions=True)


def _host_of(field: str) -> str:
    if field.startswith("["):
        return field[1:].partition("]")[0]
    return field.rpartition(":")[0] if field.count(":") == 1 else field


# --- the command ------------------------------------------------------------------------------------------------------


async def serve(context: Context) -> int:
    """Export until interrupted."""
    address = address_of(context.args.prometheus)
    import platform

    figures = Figures(platform.node().split(".")[0])
    exporter = Exporter(figures, local=address.local)
    try:
        server = await asyncio.start_server(exporter.take, address.host, address.port, limit=HEAD, backlog=MOST)
    except (OSError, UnicodeError) as error:
        raise _not_there(address, error) from error
    port = server.sockets[0].getsockname()[1]
    if not address.local:
        message(f"Warning: {host_port(address.host, port)} can be reached from other machines, and whoever reaches it reads these figures.")
    message(f"Metrics at http://{host_port(address.host, port)}/metrics; ctrl+c ends it.")
    sampling = sampler_of(context, WANTED)
    figures.silent = lambda: _silence(sampling.latest.value)
    sampling.latest.watch(lambda _view: exporter.refresh())
    try:
        async with Following(context) as following, contextlib.aclosing(samples(sampling, WANTED)) as found:
            async for sample in found:
                figures.sample, figures.servers, figures.alerts = sample, following.newest, following.alerts
                exporter.refresh()
    finally:
        server.close()
        await exporter.close()
    return DONE


def _silence(view: MonitorView) -> float:
    return round(view.silent, 1)


def _not_there(address: Address, error: Exception) -> PaddockError:
    number = getattr(error, "errno", None)
    where = host_port(clean_name(address.host, 80), address.port)
    if number == errno.EADDRINUSE:
        other = host_port(clean_name(address.host, 80), address.port % 65_535 + 1)
        return PaddockError.of("The port is in use", where, f"Name another: paddock monitor --prometheus {other}")
    if number == errno.EACCES:
        return PaddockError.of("This account may not listen there", where, "Choose a port from 1024 on")
    if number == errno.EADDRNOTAVAIL or not isinstance(error, OSError) or number is None or number < 0:
        return PaddockError.of("This machine does not have that address", where, "Leave it out, or write one of this machine")
    return PaddockError.of(f"Nothing can be listened to there: {os.strerror(number).lower()}", where, "Name another address")
