"""Faults of the catalogue (reliability reference, section 2.1) on real loopback sockets."""

import asyncio
import json
import socket

import pytest

from tests.support.fault_server import FaultServer
from tests.support.ports import closed_port
from tui.core.chat import ChatRequest, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done
from tui.providers.errors import Target, retry_after, transport_failure
from tui.providers.http import CONTROL
from tui.providers.ollama import CHANGE, SHOW

ASK = ChatRequest("m", (Message(0, 0, 0, Role.USER, "hi"),))


def line(text: str, **more) -> bytes:
    return json.dumps({"model": "m", "message": {"role": "assistant", "content": text}, "done": False, **more}).encode() + b"\n"


END = line("", done=True, done_reason="stop", eval_count=3, eval_duration=1_000_000_000)


def sse(text: str, reason: str | None = None) -> bytes:
    return b"data: " + json.dumps({"model": "m", "choices": [{"delta": {"content": text}, "finish_reason": reason}]}).encode() + b"\n\n"


async def collect(stream):
    """Events until the end or the failure, and the failure."""
    events = []
    try:
        async for event in stream:
            events.append(event)
    except PaddockError as error:
        return events, error.failure
    return events, None


def words(events) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def streams(server: FaultServer, *chunks: bytes, path: str = "/api/chat", kind: str = "application/x-ndjson") -> None:
    server.routes[path] = lambda exchange: exchange.stream(*chunks, kind=kind)


async def test_H01_nothing_listens(connect):
    with closed_port() as port, pytest.raises(PaddockError) as caught:
        await connect(url=f"http://127.0.0.1:{port}").check()
    assert caught.value.failure.kind is FailureKind.UNREACHABLE
    assert caught.value.failure.what == f"Cannot reach Ollama at 127.0.0.1:{port}: nothing is listening"


async def test_H02_accepts_and_never_answers(server, connect):
    server.routes["*"] = lambda exchange: exchange.gone()
    with pytest.raises(PaddockError) as caught:
        await connect().http.get_json("/api/tags", timeout=0.2)
    assert caught.value.failure.kind is FailureKind.TIMEOUT
    assert "did not answer within 0." in caught.value.failure.what
    await asyncio.wait_for(server.closed.wait(), 2)


async def test_H02_a_stopped_process_accepts_and_says_nothing(connect):
    """What `kill -STOP` looks like: the kernel takes the connection, and nobody reads it."""
    with socket.socket() as stopped:
        stopped.bind(("127.0.0.1", 0))
        stopped.listen()
        with pytest.raises(PaddockError) as caught:
            await connect(url=f"http://127.0.0.1:{stopped.getsockname()[1]}").http.get("/api/tags", timeout=0.2)
    assert caught.value.failure.kind is FailureKind.TIMEOUT
    assert (CONTROL, SHOW, CHANGE) == (5.0, 10.0, 30.0)


async def test_H04_dripped_header_keeps_the_limit(server, connect):
    async def drip(exchange):
        while True:
            await exchange.raw(b"H")
            await asyncio.sleep(0.05)

    server.routes["*"] = drip
    with pytest.raises(PaddockError) as caught:
        await connect().http.get_json("/api/tags", timeout=0.3)
    assert caught.value.failure.kind is FailureKind.TIMEOUT


async def test_H03_H09_a_stream_has_no_time_limit(server, connect):
    go = asyncio.Event()

    async def late(exchange):
        await go.wait()
        await exchange.stream(line("yes"), END)

    server.routes["/api/chat"] = late
    provider = connect()
    stream = provider.chat(ASK)
    first = asyncio.ensure_future(anext(stream))
    while not server.requests:
        await asyncio.sleep(0)
    assert provider.http._client(streams=True).timeout.read is None
    assert not first.done()
    go.set()
    assert await first == Delta("yes")
    assert isinstance((await collect(stream))[0][-1], Done)


async def test_H05_reset_keeps_what_came(server, connect):
    seen = asyncio.Event()

    async def three_then_reset(exchange):
        await exchange.head()
        for text in ("a", "b", "c"):
            await exchange.chunk(line(text))
        await seen.wait()
        exchange.reset()

    server.routes["/api/chat"] = three_then_reset
    stream = connect().chat(ASK)
    events = [await anext(stream) for _ in range(3)]
    seen.set()
    rest, failure = await collect(stream)
    assert words(events) == "abc"
    assert not rest
    assert failure is not None
    assert failure.kind is FailureKind.INTERRUPTED
    assert "reset by the server" in failure.what
    assert len(server.requests) == 1


@pytest.mark.parametrize("how", ["reset", "end of the chunked body"])
@pytest.mark.parametrize("kind", ["ollama", "vllm"])
async def test_H06_half_a_line_is_no_text_and_goes_to_the_details(server, connect, kind, how, caplog):
    half = b'{"message":{"content":"HALF \x1b[31m' if kind == "ollama" else b'data: {"choices":[{"delta":{"content":"HALF \x1b[31m'
    go = asyncio.Event()

    async def cut(exchange):
        await exchange.head(200, {} if kind == "ollama" else {"content-type": "text/event-stream"})
        await exchange.chunk(line("a") if kind == "ollama" else sse("a"))
        await exchange.chunk(half)
        await go.wait()
        if how == "reset":
            exchange.reset()
        else:
            await exchange.end()

    server.routes["*"] = cut
    stream = connect(kind).chat(ASK)
    assert await anext(stream) == Delta("a")
    for _ in range(200):  # let the half line arrive before the end does
        await asyncio.sleep(0)
    go.set()
    rest, failure = await collect(stream)
    assert rest == []
    assert failure.kind is FailureKind.INTERRUPTED
    assert "HALF" not in failure.what
    assert "\x1b" not in failure.details
    if how != "reset":  # a reset may overtake what was sent before it
        assert "It ended in the middle of a line: " in failure.details
        assert "HALF \\x1b[31m" in failure.details
        assert "in the middle of a line" in caplog.text
    assert "HALF" not in caplog.text  # no answer text in logs


@pytest.mark.parametrize("kind", ["ollama", "vllm"])
async def test_H05_what_might_have_become_a_tag_is_kept_as_text(server, connect, kind):
    streams(server, line("<thi"))
    streams(server, sse("<thi"), path="/v1/chat/completions", kind="text/event-stream")
    events, failure = await collect(connect(kind).chat(ASK))
    assert words(events) == "<thi"
    assert failure.kind is FailureKind.INTERRUPTED


@pytest.mark.parametrize("kind", ["ollama", "vllm"])
async def test_H07_clean_end_without_done(server, connect, kind):
    streams(server, line("a"))
    streams(server, sse("a"), path="/v1/chat/completions", kind="text/event-stream")
    events, failure = await collect(connect(kind).chat(ASK))
    assert words(events) == "a"
    assert failure.kind is FailureKind.INTERRUPTED


async def test_H08_body_longer_and_shorter_than_said(server, connect):
    body = line("a") + END
    for said, kept in ((len(body) + 50, True), (len(line("a")), False)):

        async def lie(exchange, said=said):
            await exchange.head(200, {"content-length": str(said)}, chunked=False)
            await exchange.raw(body)

        server.routes["/api/chat"] = lie
        events, failure = await collect(connect().chat(ASK))
        assert words(events) == "a"
        assert (failure is None) is kept


async def test_H10_error_inside_a_good_stream(server, connect):
    streams(server, line("a"), b'{"error":"CUDA out of \\u001b[31mmemory"}\n')
    events, failure = await collect(connect().chat(ASK))
    assert words(events) == "a"
    assert failure.kind is FailureKind.SERVER
    assert "CUDA out of" in failure.what
    assert "\x1b" not in failure.what + failure.details


@pytest.mark.parametrize(
    "error", [b'{"error":{"message":"bad"}}', b'{"error":"bad"}', b'{"object":"error","message":"bad"}', b'{"text":"bad","error_code":5}']
)
async def test_H10_every_shape_of_error_in_an_event_stream(server, connect, error):
    streams(server, sse("a"), b"data: " + error + b"\n\n", path="/v1/chat/completions", kind="text/event-stream")
    events, failure = await collect(connect("vllm").chat(ASK))
    assert words(events) == "a"
    assert "bad" in failure.what


BODIES = [
    b'{"error":"because"}', b'{"error":{"message":"because"}}', b'{"detail":[{"loc":["body","x"],"msg":"because"}]}',
    b'{"detail":"because"}', b'{"message":"because"}', b"",
    b"<html><title>Nice Page</title>" + b"x" * 100_000, bytes(range(128, 256)) * 20,
]  # fmt: skip
KINDS = {
    400: FailureKind.BAD_REQUEST, 401: FailureKind.AUTH, 403: FailureKind.FORBIDDEN, 404: FailureKind.NOT_FOUND,
    409: FailureKind.BAD_REQUEST,
    422: FailureKind.BAD_REQUEST, 429: FailureKind.BUSY, 500: FailureKind.SERVER, 502: FailureKind.SERVER, 503: FailureKind.BUSY,
    504: FailureKind.SERVER, 405: FailureKind.UNSUPPORTED, 501: FailureKind.UNSUPPORTED,
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_H11_every_status_and_body(server, connect, body):
    provider = connect()
    for status, kind in KINDS.items():

        async def answer(exchange, status=status):
            await exchange.reply(status, body, {"content-type": "text/html" if b"<html" in body else "application/json"})

        server.routes["/api/chat"] = answer
        _, failure = await collect(provider.chat(ASK))
        assert failure.kind is kind, status
        assert failure.status == status
        assert failure.what and str(status) in failure.what and "<html" not in failure.what
        assert len(failure.what) < 600 and len(failure.details) <= 70_000
        if b"because" in body and status not in (401, 404):
            assert "because" in failure.what
        if b"Nice Page" in body and status in (502, 504):
            assert "A proxy answered" in failure.what and "Nice Page" in failure.what


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-1", None),
        ("99999999999", None),
        ("abc", None),
        (None, None),
        ("²", None),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_H13_retry_after(value, seconds):
    assert retry_after(value, 1000.0) == seconds


async def test_H13_only_gets_are_repeated(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(503, b'{"error":"busy"}', {"retry-after": "0"})
    provider = connect(retries=2)
    with pytest.raises(PaddockError) as caught:
        await provider.models()
    assert caught.value.failure.retry_after == 0
    assert len(server.requests) == 3
    await collect(provider.chat(ASK))
    assert len(server.requests) == 4


async def test_H14_bad_bytes_and_split_characters(server, connect):
    whole = '{"message":{"content":"grüße 🦙"}}\n'.encode() + b'{"message":{"content":"\xff\xfe\xe2\x82"}}\n' + END
    streams(server, *(whole[at : at + 1] for at in range(len(whole))))
    events, failure = await collect(connect().chat(ASK))
    assert failure is None
    assert words(events) == "grüße 🦙\ufffd\ufffd\ufffd"


async def test_H15_lone_surrogate_becomes_a_replacement(server, connect):
    streams(server, b'{"message":{"content":"a\\ud83db\\u0000"}}\n', END)
    events, _ = await collect(connect().chat(ASK))
    assert words(events) == "a\ufffdb\u2400"
    words(events).encode()


@pytest.mark.parametrize("kind", ["ollama", "vllm"])
async def test_H16_H17_unicode_line_ends_and_foreign_charsets(server, connect, kind):
    text = "one\u2028two\u2029three\u0085four\x0bfive"
    raw = json.dumps(
        {"message": {"content": text}, "choices": [{"delta": {"content": text}, "finish_reason": "stop"}], "done": False},
        ensure_ascii=False,
    )
    streams(server, raw.encode() + b"\n", END, kind="application/x-ndjson; charset=utf-16")
    streams(server, b"data: " + raw.encode() + b"\n\ndata: [DONE]\n\n", path="/v1/chat/completions", kind="text/event-stream; charset=foo")
    events, failure = await collect(connect(kind).chat(ASK))
    assert failure is None
    assert words(events) == text


ODD = [
    b"",
    b"42",
    b"[]",
    b"null",
    b"not json",
    b'{"done":NaN}',
    b'{"x":1}',
    b'{"message":[],"done":"yes"}',
    b'{"message":{"content":7}}',
    b"[" * 100_000,
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"message":{"content":"k","content":"k"},"eval_count":1e999999}',
]


async def test_H18_H19_odd_lines_are_skipped(server, connect):
    streams(server, b"\xef\xbb\xbf" + line("a"), *(odd + b"\n" for odd in ODD), line("z"), END)
    events, failure = await collect(connect().chat(ASK))
    assert failure is None
    assert words(events) == "akz"


async def test_H18_twenty_bad_lines_in_a_row_end_it(server, connect):
    streams(server, line("a"), b"junk\n" * 19, line("b"), b"junk\n" * 20, line("never"), END)
    events, failure = await collect(connect().chat(ASK))
    assert words(events) == "ab"
    assert failure.kind is FailureKind.PROTOCOL


async def test_H18_odd_chunks_of_an_event_stream(server, connect):
    odd = [
        b"42",
        b'{"choices":[]}',
        b'{"choices":[{"delta":null}]}',
        b'{"choices":[{"delta":{"content":5,"tool_calls":[null]}}]}',
        b'{"choices":7}',
        b"{",
    ]
    chunks = [b"data: " + item + b"\n\n" for item in odd]
    streams(server, *chunks, sse("a", "stop"), b"data: [DONE]\n\n", path="/v1/chat/completions", kind="text/event-stream")
    events, failure = await collect(connect("vllm").chat(ASK))
    assert failure is None
    assert words(events) == "a"


async def test_H20_line_without_end_is_capped(server, connect):
    async def endless(exchange):
        await exchange.head()
        while True:
            await exchange.chunk(b"x" * 262_144)

    server.routes["/api/chat"] = endless
    _, failure = await collect(connect().chat(ASK))
    assert failure.kind is FailureKind.PROTOCOL
    assert "longer than 8 MB" in failure.what
    await asyncio.wait_for(server.closed.wait(), 2)


async def test_H20_many_lines_at_once(server, connect):
    streams(server, b"".join(line("x") for _ in range(20_000)), END)
    events, failure = await collect(connect().chat(ASK))
    assert failure is None
    assert len(words(events)) == 20_000


async def test_H21_compressed_answers_are_refused(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(200, b"junk", {"content-encoding": "gzip"})
    with pytest.raises(PaddockError) as caught:
        await connect().models()
    assert caught.value.failure.kind is FailureKind.PROTOCOL
    assert "compressed (gzip)" in caught.value.failure.what
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_H21_a_control_answer_is_capped(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(200, b" " * 5000)
    with pytest.raises(PaddockError) as caught:
        await connect().http.get("/api/tags", limit=4096)
    assert "larger than" in caught.value.failure.what


@pytest.mark.parametrize("location", ["", "http://127.0.0.1:{port}/api/tags", "file:///etc/passwd", "http://[bad", "/api/tags"])
async def test_H22_redirects_are_never_followed(server, connect, location):
    other = FaultServer()
    await other.start()
    server.routes["*"] = lambda exchange: exchange.reply(307, b"", {"location": location.format(port=other.port)})
    with pytest.raises(PaddockError) as caught:
        await connect(key="env:KEY").models()
    assert caught.value.failure.kind is FailureKind.REDIRECT
    assert caught.value.failure.what.endswith("add that address as a server if you trust it")
    assert other.connections == 0
    assert len(server.requests) == 1
    await other.stop()


@pytest.mark.parametrize(
    "variables",
    [
        {"ALL_PROXY": "socks5h://127.0.0.1:1"},
        {"NO_PROXY": "[::1]"},
        {"HTTP_PROXY": "ftp://x"},
        {"SSLKEYLOGFILE": "/nonexistent/x"},
        {"SSL_CERT_FILE": "/nonexistent"},
        {"HTTP_PROXY": "{proxy}", "ALL_PROXY": "{proxy}"},
    ],
)
async def test_H23_H24_proxy_and_tls_variables_do_not_touch_local_servers(server, connect, monkeypatch, variables):
    proxy = FaultServer()
    await proxy.start()
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(proxy=proxy.url))
        monkeypatch.setenv(name.lower(), value.format(proxy=proxy.url))
    server.routes["/api/version"] = lambda exchange: exchange.json({"version": "0.24.0"})
    assert (await connect().check()).version == "0.24.0"
    assert proxy.connections == 0
    await proxy.stop()


async def test_H24_a_bad_proxy_for_the_world_is_named(connect, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "ftp://x")
    monkeypatch.setenv("http_proxy", "ftp://x")
    with pytest.raises(PaddockError) as caught:
        await connect(url="http://example.com").check()
    assert "HTTP_PROXY" in caught.value.failure.what


async def test_H25_not_http(server, connect):
    async def ssh(exchange):
        await exchange.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

    server.routes["*"] = ssh
    with pytest.raises(PaddockError) as caught:
        await connect().check()
    assert caught.value.failure.what == f"127.0.0.1:{server.port} does not speak HTTP (the answer looks like SSH)"


async def test_H27_localhost_and_unspecified_addresses(server, connect):
    server.routes["/api/version"] = lambda exchange: exchange.json({"version": "1"})
    for host in ("localhost", "0.0.0.0"):
        assert (await connect(url=f"http://{host}:{server.port}").check()).version == "1"


@pytest.mark.parametrize(
    "url", ["", "http://[bad", "a b", "http://h:0", "http://h:70000", "ftp://x", "http://" + "x" * 5000, "http://user:secret@h:0"]
)
def test_H28_bad_addresses_are_refused_without_the_password(connect, url):
    with pytest.raises(PaddockError) as caught:
        connect(url=url or " ")
    assert caught.value.failure.kind is FailureKind.CONFIG
    assert "secret" not in caught.value.failure.sentence()


async def test_H32_cancelling_closes_the_connection(server, connect):
    async def forever(exchange):
        await exchange.head()
        await exchange.chunk(line("a"))
        await exchange.gone()

    server.routes["/api/chat"] = forever
    provider = connect()
    for _ in range(20):
        server.closed.clear()
        stream = provider.chat(ASK)
        assert await anext(stream) == Delta("a")
        await stream.aclose()
        await asyncio.wait_for(server.closed.wait(), 1)
    assert server.open == 0


async def test_H32_cancelling_while_waiting_for_the_header(server, connect):
    server.routes["/api/chat"] = lambda exchange: exchange.gone()
    provider = connect("vllm")
    server.routes["/v1/chat/completions"] = server.routes["/api/chat"]
    task = asyncio.ensure_future(collect(provider.chat(ASK)))
    while not server.requests:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    await asyncio.wait_for(server.closed.wait(), 1)
    assert task.cancelled()


async def test_H33_a_dead_kept_connection_costs_one_silent_retry(server, connect):
    async def once(exchange):
        exchange.keep = True
        if len(server.requests) == 2:
            exchange.keep = False
            exchange.reset()
            return
        await exchange.json({"version": "1"})

    server.routes["/api/version"] = once
    provider = connect()
    await provider.check()
    assert (await provider.check()).version == "1"
    assert len(server.requests) == 3


async def test_H34_prompts_are_sent_as_valid_utf8(server, connect):
    streams(server, END)
    prompt = "a\0b\ud83dc" + "x" * 5_000_000
    await collect(connect().chat(ChatRequest("m", (Message(0, 0, 0, Role.USER, prompt),) * 2)))
    sent = server.requests[0].json["messages"]
    assert sent[1]["content"].startswith("a\0b\ufffdc")
    assert len(sent[1]["content"]) == len(prompt)


async def test_H34_a_request_out_of_size_is_refused_before_sending(server, connect, monkeypatch):
    monkeypatch.setattr("tui.providers.http.MAX_REQUEST", 1000)
    _, failure = await collect(connect().chat(ChatRequest("m", (Message(0, 0, 0, Role.USER, "x" * 2000),))))
    assert failure.kind is FailureKind.BAD_REQUEST
    assert server.connections == 0


@pytest.mark.parametrize("raw", [
    b'\xef\xbb\xbfdata:{"choices":[{"delta":{"content":"hi"}}]}\r\n\r\n: ping\r\nretry: 3\r\nevent: x\r\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\r\n\r\n',
    b'data: {"choices":\ndata: [{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"hi"}}]}\ndata: {"choices":[{"delta":{},"finish_reason":"stop"}]}\ndata: [DONE]',
    b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"completion_tokens":9}}\n\ndata: [DONE]\n\n',
], ids=["crlf-bom", "two-data-lines", "single-newlines", "usage"])  # fmt: skip
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_H35_event_stream_variants(server, connect, raw, size):
    streams(server, *(raw[at : at + size] for at in range(0, len(raw), size)), path="/v1/chat/completions", kind="text/event-stream")
    events, failure = await collect(connect("vllm").chat(ASK))
    assert failure is None
    assert words(events) == "hi"
    assert events[-1].reason == "stop"
    assert events[-1].metrics.output_tokens == (9 if b"usage" in raw else None)


def test_H36_exceptions_without_words_get_a_sentence():
    import httpx

    target = Target("Ollama", "h:1")
    for error in (
        httpx.ReadError(""),
        httpx.ReadTimeout(""),
        httpx.ConnectTimeout(""),
        httpx.WriteTimeout(""),
        httpx.PoolTimeout(""),
        TimeoutError(),
        httpx.RemoteProtocolError(""),
        OSError(),
    ):
        for phase in ("connect", "wait", "body"):
            failure = transport_failure(error, target, phase, 3.0)
            assert "h:1" in failure.sentence()
            assert len(failure.what) > 20 and failure.remedy
            assert type(error).__name__ not in failure.what


async def test_H38_odd_lists(server, connect):
    many = [{"name": f"m{number}:latest", "size": number} for number in range(5000)]
    odd = [
        {"name": "m1:latest"},
        {"size": 5},
        None,
        7,
        {"name": "neg", "size": -5, "modified_at": "0001-01-01T00:00:00Z", "details": None},
        {"name": "late", "modified_at": "2199-01-01T00:00:00Z", "details": {"families": None, "family": 3}},
    ]
    server.routes["/api/tags"] = lambda exchange: exchange.json({"models": many + odd})
    models = {model.key: model for model in await connect().models()}
    assert len(models) == 5002
    assert models["neg"].size is None and models["neg"].modified_at is None
    assert models["late"].modified_at is None and models["late"].family == ""


async def test_keys_go_to_their_server_only_and_never_into_sentences(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(401, b'{"error":"no"}')
    with pytest.raises(PaddockError) as caught:
        await connect(key="env:KEY").models()
    assert server.requests[0].headers["authorization"] == "Bearer sk-secret-1"
    assert server.requests[0].headers["content-type"] == "application/json"
    assert server.requests[0].headers["user-agent"].startswith("paddock/")
    assert "refuses the API key" in caught.value.failure.what
    assert "sk-secret" not in str(caught.value.failure)
    with pytest.raises(PaddockError):
        await connect("tabbyapi", key="env:KEY").models()
    assert server.requests[-1].headers["x-api-key"] == "sk-secret-1" and "authorization" not in server.requests[-1].headers


async def test_H37_a_web_page_is_no_health(server, connect):
    server.routes["*"] = lambda exchange: exchange.reply(200, b"<!DOCTYPE html><title>Login</title>", {"content-type": "text/html"})
    for kind in ("ollama", "vllm", "llamacpp"):
        with pytest.raises(PaddockError) as caught:
            await connect(kind).check()
        assert caught.value.failure.kind is FailureKind.PROTOCOL
        assert "web page" in caught.value.failure.what


async def test_streams_do_not_wait_for_control_calls(server, connect):
    """Lists that hang take their own connections only; a chat goes through."""
    server.routes["/api/tags"] = lambda exchange: exchange.gone()
    streams(server, END)
    provider = connect()
    hanging = [asyncio.ensure_future(provider.models()) for _ in range(5)]
    while len(server.requests) < 2:
        await asyncio.sleep(0)
    _, failure = await collect(provider.chat(ASK))
    assert failure is None
    assert len([request for request in server.requests if request.path == "/api/tags"]) == 2
    for task in hanging:
        task.cancel()
    await asyncio.wait(hanging)
