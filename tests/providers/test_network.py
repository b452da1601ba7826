"""What lies between us and the server: names, certificates, limits of the machine, other people's credentials."""

import asyncio
import errno
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.providers.test_faults import ASK, END, collect, line, words
from tests.support.fault_server import Exchange, FaultServer, end
from tests.support.screen import until
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta
from tui.providers.errors import Target, transport_failure
from tui.providers.http import CONTROLS

CERTIFICATES = Path(__file__).parent / "certificates"
CA = str(CERTIFICATES / "ca.pem")
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def plain(context: ssl.SSLContext | None = None):
    """An Ollama that tells its version on connections that it keeps; gives the server and its port."""

    async def version(exchange: Exchange) -> None:
        exchange.keep = True
        await exchange.json({"version": "1"})

    found = FaultServer({"/api/version": version})
    server = await asyncio.start_server(found._serve, "127.0.0.1", 0, ssl=context)
    try:
        yield found, server.sockets[0].getsockname()[1]
    finally:
        await end(server)
        await found.stop()


def secure(name: str):
    """The same behind TLS with one of our certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    return plain(context)


@pytest.fixture
def names(monkeypatch):
    """Names that resolve to this machine, or as a function says; everything else is real."""
    known = {}
    real = socket.getaddrinfo

    def look_up(host, *args, **kwargs):
        found = known.get(host.decode() if isinstance(host, bytes) else host)
        if found is None:
            return real(host, *args, **kwargs)
        return real(found, *args, **kwargs) if isinstance(found, str) else found()

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


async def test_H12_host_name_refused(server, connect, names):
    names["box"] = "127.0.0.1"
    server.routes["*"] = lambda exchange: exchange.reply(403)
    with pytest.raises(PaddockError) as caught:
        await connect(url=f"http://box:{server.port}").check()
    assert caught.value.failure.what == "Ollama refused the host name 'box' (403): a server bound to loopback accepts only local names"
    assert server.requests[0].headers["host"] == f"box:{server.port}"


@pytest.mark.parametrize(
    ("name", "verify", "why"),
    [
        ("good", True, "unable to get local issuer certificate"),
        ("expired", CA, "certificate has expired"),
        ("elsewhere", CA, "IP address mismatch"),
    ],
)
async def test_H26_a_certificate_that_proves_nothing_is_refused_with_the_reason(connect, name, verify, why):
    async with secure(name) as (server, port):
        with pytest.raises(PaddockError) as caught:
            await connect(url=f"https://127.0.0.1:{port}", verify=verify, key="env:KEY").check()
        failure = caught.value.failure
        assert failure.kind is FailureKind.TLS
        assert f"The certificate of 127.0.0.1:{port} is not accepted" in failure.what
        assert why in failure.what
        assert server.requests == []


async def test_H26_a_ca_file_of_one_server_is_for_that_server(connect):
    async with secure("good") as (_, port), secure("good") as (_, other):
        url = f"https://127.0.0.1:{port}"
        assert (await connect(url=url, verify=CA).check()).version == "1"
        with pytest.raises(PaddockError):
            await connect(url=f"https://127.0.0.1:{other}").check()
        with pytest.raises(PaddockError) as caught:
            await connect(url=url, verify="/nonexistent/ca.pem").check()
        assert "The CA file /nonexistent/ca.pem cannot be read" in caught.value.failure.what
        assert (await connect(url=url, verify=False).check()).version == "1"


@pytest.mark.parametrize("host", ["[::1]", "localhost", "[::]"])
async def test_H27_a_server_on_ipv6_loopback_only(connect, names, host):
    server = FaultServer({"/api/version": lambda exchange: exchange.json({"version": "6"})})
    try:
        await server.start("::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    names["localhost"] = "::1"
    assert (await connect(url=f"http://{host}:{server.port}").check()).version == "6"
    await server.stop()


async def test_H29_a_name_that_never_resolves_costs_one_thread_and_a_sentence(connect, names, monkeypatch):
    over = threading.Event()
    asked = []

    def hang():
        asked.append(threading.current_thread())
        over.wait()
        raise socket.gaierror

    names["dead.example"] = hang
    monkeypatch.setattr("tui.providers.http.CONNECT_FAR", 0.1)
    provider = connect(url="http://dead.example:11434")
    try:
        for _ in range(5):
            with pytest.raises(PaddockError) as caught:
                await provider.check()
            assert caught.value.failure.kind is FailureKind.UNREACHABLE
            assert "the name dead.example was not resolved within" in caught.value.failure.what
        _, failure = await collect(provider.chat(ASK))
        assert "was not resolved" in failure.what
        assert len(asked) == 1
        assert asked[0].daemon  # nobody waits for it at the end
    finally:
        over.set()


async def begun(work, steps):
    """A task that has gone so many steps of the event loop."""
    task = asyncio.ensure_future(work)
    for _ in range(steps):
        await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("tls", [False, True])
async def test_closing_in_the_middle_of_a_request_leaves_no_connection(connect, tls):
    async with secure("good") if tls else plain() as (server, port):
        for steps in range(400):
            provider = connect(url=f"{'https' if tls else 'http'}://localhost:{port}", verify=CA if tls else True)
            asked = await begun(provider.check(), steps)
            over = asked.done()
            await provider.aclose()
            await asyncio.wait({asked})
            assert over or asked.exception() is None or isinstance(asked.exception(), PaddockError)
            await until(lambda: not server.open, timeout=5, what=f"closed after {steps} steps, a connection was left")
            if over:
                break
        assert over and server.connections > 1
        with pytest.raises(PaddockError) as caught:
            await provider.check()
        assert "is not asked any more" in caught.value.failure.what


@pytest.mark.parametrize("tls", [False, True])
async def test_a_request_that_is_cancelled_leaves_no_connection_and_takes_no_place(connect, tls):
    async with secure("good") if tls else plain() as (_server, port):
        url = f"{'https' if tls else 'http'}://localhost:{port}"
        for steps in range(400):
            provider, over = connect(url=url, verify=CA if tls else True), []
            for _ in range(CONTROLS):  # as many as may be asked at once
                asked = await begun(provider.check(), steps)
                over += [asked] if asked.done() else []
                asked.cancel()
                await asyncio.wait({asked})
            if not over:
                await until(lambda: not lines_to(port), timeout=5, what=f"cancelled after {steps} steps, a connection was left")
            await asyncio.gather(*(provider.check() for _ in range(CONTROLS)))
            await provider.aclose()
            await until(lambda: not lines_to(port), timeout=5, what=f"closed after {steps} steps, a connection was left")
            if over:
                break
        assert over


async def test_one_that_is_cancelled_disturbs_none_that_is_about_to_ask(server, connect, monkeypatch):
    looked, provider, calls = asyncio.Event(), connect(), []

    async def look_up(_begun: float) -> None:
        calls.append(1)
        if len(calls) == 1:
            await looked.wait()

    async def version(exchange: Exchange) -> None:
        await (exchange.gone() if len(server.requests) == 1 else exchange.json({"version": "1"}))

    monkeypatch.setattr(provider.http, "_look_up", look_up)
    server.routes["/api/version"] = version
    first = asyncio.ensure_future(provider.check())
    await until(lambda: calls)
    second = asyncio.ensure_future(provider.check())
    await until(lambda: server.requests)
    second.cancel()
    await asyncio.wait({second})
    looked.set()
    assert (await first).version == "1"


def lines_to(port: int) -> list[object]:
    """Our connections to a port."""
    lines = psutil.Process().net_connections("tcp")
    return [line for line in lines if line.raddr and line.raddr.port == port and line.status == psutil.CONN_ESTABLISHED]


async def test_closing_that_is_cancelled_leaves_no_connection(connect):
    async with plain() as (server, port):
        for steps in range(8):
            before, provider = server.connections, connect(url=f"http://127.0.0.1:{port}")
            await asyncio.gather(provider.check(), provider.check())
            assert server.connections - before == 2
            closing = await begun(provider.aclose(), steps)
            closing.cancel()
            await asyncio.wait({closing})
            await provider.aclose()
            await until(lambda: not server.open, timeout=5, what=f"cancelled after {steps} steps, a connection was left")


async def test_H29_an_unknown_name_is_a_sentence(connect, names):
    def unknown():
        raise socket.gaierror(-2, "Name or service not known")

    names["nowhere.example"] = unknown
    with pytest.raises(PaddockError) as caught:
        await connect(url="http://nowhere.example:1").check()
    assert caught.value.failure.what == "Cannot reach Ollama at nowhere.example:1: the name nowhere.example was not resolved"


OFFLINE = """
import asyncio
from tui.core.errors import PaddockError
from tui.core.models import Endpoint
from tui.providers.factory import make_provider

async def main():
    for url in ("http://127.0.0.1:11434", "http://192.0.2.7:11434", "http://localhost:11434", "http://box.example:11434"):
        provider = make_provider(Endpoint("box", "ollama", url), lambda reference: "")
        try:
            await asyncio.wait_for(provider.check(), 8)
        except PaddockError as error:
            print(error.failure.kind.value, error.failure.what)
        await provider.aclose()

asyncio.run(main())
"""


def test_H30_without_any_network_every_server_is_unreachable_in_words():
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a network of its own")
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", OFFLINE], capture_output=True, text=True, timeout=30, check=False, cwd=ROOT
    )
    said = done.stdout.splitlines()
    assert len(said) == 4, done.stderr
    assert all(text.startswith("unreachable Cannot reach Ollama at ") for text in said)


async def test_H31_more_streams_than_places_wait_for_one(server, connect):
    most = 0
    let_go = asyncio.Event()

    async def slow(exchange):
        nonlocal most
        most = max(most, server.open)
        await exchange.head()
        await exchange.chunk(line("a"))
        await let_go.wait()
        await exchange.chunk(END)
        await exchange.end()

    server.routes["/api/chat"] = slow
    provider = connect()
    asked = [asyncio.ensure_future(collect(provider.chat(ASK))) for _ in range(64)]
    while len(server.requests) < 8:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(server.requests) == 8
    let_go.set()
    for events, failure in await asyncio.gather(*asked):
        assert failure is None
        assert words(events) == "a"
    assert most == 8


def test_H31_E01_too_many_open_files_is_a_sentence():
    error = httpx.ConnectError("all attempts failed")
    error.__cause__ = OSError(errno.EMFILE, "Too many open files")
    failure = transport_failure(error, Target("Ollama", "h:1"), "wait", 0.1)
    assert failure.what == "Too many files are open"
    assert "ulimit -n" in failure.remedy


@pytest.mark.parametrize("stage", ["connect", "header", "first token", "middle of a line", "error body"])
async def test_H32_a_cancel_at_any_stage_closes_the_connection_and_leaks_nothing(server, connect, stage, monkeypatch):
    reached = asyncio.Event()

    async def answer(exchange):
        if stage in ("first token", "middle of a line"):
            await exchange.head()
            if stage == "middle of a line":
                await exchange.chunk(line("a") + b'{"mess')
        elif stage == "error body":
            await exchange.head(500)
            await exchange.chunk(b'{"error":"because')
        reached.set()
        await exchange.gone()

    async def stuck(self, begun):
        reached.set()
        await asyncio.Event().wait()

    server.routes["/api/chat"] = answer
    server.routes["/api/version"] = lambda exchange: exchange.json({"version": "1"})
    provider = connect()
    for _ in range(20):
        reached.clear()
        server.closed.clear()
        with monkeypatch.context() as patch:
            if stage == "connect":
                patch.setattr("tui.providers.http.Http._look_up", stuck)
            task = asyncio.ensure_future(collect(provider.chat(ASK)))
            await asyncio.wait_for(reached.wait(), 2)
            task.cancel()
            await asyncio.wait({task}, timeout=1)
        assert task.cancelled()
        if stage != "connect":
            await asyncio.wait_for(server.closed.wait(), 1)
    assert server.open == 0
    assert asyncio.all_tasks() <= {asyncio.current_task()} | server._tasks
    assert (await provider.check()).version == "1"


@pytest.mark.parametrize("how", ["chat", "complete", "pull", "create", "load", "copy", "delete", "show"])
async def test_H33_P34_what_may_have_had_an_effect_is_never_sent_twice(server, connect, how):
    async def reset(exchange):
        exchange.reset()

    server.routes["*"] = reset
    provider = connect(retries=5)
    calls = {
        "chat": lambda: collect(provider.chat(ASK)),
        "complete": lambda: collect(provider.complete(_completion())),
        "pull": lambda: collect(provider.pull("m")),
        "create": lambda: collect(provider.create("m", {"from": "n"})),
        "load": lambda: provider.load("m"),
        "copy": lambda: provider.copy("m", "n"),
        "delete": lambda: provider.delete("m"),
        "show": lambda: provider.show("m"),
    }
    try:
        _, failure = await calls[how]()
    except PaddockError as error:
        failure = error.failure
    assert failure.kind is FailureKind.INTERRUPTED
    assert len(server.requests) == 1


def _completion():
    from tui.core.chat import CompletionRequest

    return CompletionRequest("m", "hi")


async def test_H22_H23_P53_no_prompt_and_no_key_reaches_anybody_else(server, connect, monkeypatch):
    other = FaultServer()
    await other.start()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, other.url)
    server.routes["*"] = lambda exchange: exchange.reply(308, b"", {"location": f"{other.url}/api/chat"})
    for kind in ("ollama", "vllm"):
        _, failure = await collect(connect(kind, key="env:KEY").chat(ASK))
        assert failure.kind is FailureKind.REDIRECT
    assert len(server.requests) == 2
    assert other.connections == 0
    await other.stop()


async def test_X11_X22_no_credentials_but_ours_and_no_cookies(server, connect, monkeypatch, tmp_path):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    headers = {"www-authenticate": 'Basic realm="give me"', "set-cookie": "session=1; Path=/"}
    server.routes["*"] = lambda exchange: exchange.reply(401, b"{}", headers)
    provider = connect()
    for _ in range(2):
        with pytest.raises(PaddockError) as caught:
            await provider.models()
        assert caught.value.failure.kind is FailureKind.AUTH
    await collect(provider.chat(ASK))
    assert len(server.requests) == 3
    for request in server.requests:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers


async def test_X09_a_library_at_debug_logs_no_key(server, connect, caplog):
    server.routes["*"] = lambda exchange: exchange.json({"version": "1"})
    with caplog.at_level("DEBUG"):
        for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
            caplog.set_level("DEBUG", name)
        await connect(key="env:KEY").check()
    assert caplog.records
    assert "sk-secret-1" not in caplog.text


async def test_H05_H09_a_silent_stream_ends_only_by_its_reader(server, connect):
    async def stall(exchange):
        await exchange.head()
        await exchange.chunk(line("a") + line("b") + line("c"))
        await exchange.gone()

    server.routes["/api/chat"] = stall
    stream = connect(timeout=0.05).chat(ASK)
    assert [await anext(stream) for _ in range(3)] == [Delta("a"), Delta("b"), Delta("c")]
    waiting = asyncio.ensure_future(anext(stream))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=1)
    await asyncio.wait_for(server.closed.wait(), 1)


SAYS = b'{"error":{"message":"Incorrect API key provided: sk-secret-1 (Bearer sk-secret-1)","type":"auth"}}'


@pytest.mark.parametrize("where", ["status", "page", "redirect", "stream", "junk", "pull", "pull refused"])
async def test_X08_P52_a_server_that_repeats_the_key_gives_nothing_away(server, connect, where):
    junk = b"sk-secret-1 is no JSON\n" * 25
    routes = {
        "status": lambda exchange: exchange.reply(400, SAYS),
        "page": lambda exchange: exchange.reply(502, b"<html><title>sk-secret-1</title></html>", {"content-type": "text/html"}),
        "redirect": lambda exchange: exchange.reply(307, b"", {"location": "http://x/sk-secret-1"}),
        "stream": lambda exchange: exchange.stream(line("a"), SAYS + b"\n"),
        "junk": lambda exchange: exchange.stream(line("a"), junk),
        "pull": lambda exchange: exchange.stream(b'{"status":"pulling manifest"}\n', b'{"error":"unauthorized: sk-secret-1"}\n'),
        "pull refused": lambda exchange: exchange.reply(500, b'{"error":"odd: sk-secret-1"}'),
    }
    server.routes["*"] = routes[where]
    provider = connect(key="env:KEY", headers={"X-Auth-Token": "Basic sk-secret-2", "X-Team": "status"})
    _, failure = await collect(provider.pull("m") if "pull" in where else provider.chat(ASK))
    assert "sk-secret-1" in server.requests[0].headers["authorization"]
    assert "sk-secret" not in str(failure)
    assert failure.what
    if where in ("status", "stream"):
        assert "Incorrect API key provided: [key]" in failure.what


async def test_X08_P52_a_secret_in_an_extra_header_is_one_too(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(400, b'{"error":"token sk-secret-2 of team status is wrong"}')
    provider = connect(headers={"X-Auth-Token": "Basic sk-secret-2", "X-Team": "status"})
    with pytest.raises(PaddockError) as caught:
        await provider.models()
    assert "token [key] of team status is wrong" in caught.value.failure.what
