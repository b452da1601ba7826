"""The decision table against real sockets: every row, the refusals, the imitators and what is no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.discovery.fakes import NOT_FOUND, OLLAMA, Route, answer, model_list, serving, silent
from tui.core.errors import FailureKind
from tui.providers.catalogue import kinds
from tui.providers.discovery import FoundState, Identity, identify
from tui.providers.fingerprint import judge, questions
from tui.providers.probe import Reply

LLAMA = {"Server": "llama.cpp"}
UNEXPECTED = answer(200, {"error": "Unexpected endpoint or method. (GET /x). Returning 200 anyway"})


async def look(routes: Mapping[str, Route], other: Route = NOT_FOUND) -> tuple[Identity, list[str]]:
    async with serving(routes, other) as fake:
        return await identify(fake.url), fake.paths


ROWS: list[tuple[str, bytes]] = [
    ("llamacpp", answer(200, {"data": [{"id": "m", "owned_by": "llamacpp"}]}, LLAMA)),
    ("vllm", model_list(owned_by="vllm", created=1, root="m", max_model_len=4096)),
    ("sglang", model_list(owned_by="sglang", created=1)),
    ("fastchat", model_list(owned_by="fastchat", created=1)),
    ("koboldcpp", model_list(owned_by="koboldcpp", created=1)),
    ("tabbyapi", model_list(owned_by="tabbyAPI", created=1)),
    ("llamaswap", model_list(owned_by="llama-swap", created=1)),
    ("lemonade", model_list(owned_by="lemonade", created=1)),
    ("gpt4all", model_list(owned_by="humanity", created=0)),
    ("llama_cpp_python", model_list(owned_by="me", permissions=[])),
    ("lmstudio", model_list(owned_by="organization_owner")),
    ("mistralrs", answer(200, {"data": [{"id": "default", "owned_by": "local", "created": 5}]})),
    ("textgen", model_list(owned_by="user", created=0)),
    ("jan", model_list(owned_by="user", created=1)),
    ("tgi", answer(200, {"data": [{"id": "org/m", "owned_by": "org/m", "created": 0}]})),
    ("llamacpp", model_list(owned_by="llamacpp", created=7)),
    ("mlx", answer(200, {"data": [{"id": "m", "object": "model", "created": 9}]}, {"Server": "BaseHTTP/0.6 Python/3.11.7"})),
    ("localai", model_list()),
    ("openai", model_list(owned_by="somebody", created=3)),
]


@pytest.mark.parametrize(("kind", "reply"), ROWS, ids=[f"{row + 1}-{kind}" for row, (kind, _) in enumerate(ROWS)])
async def test_each_row_of_step_1(kind: str, reply: bytes) -> None:
    identity, _ = await look({"/v1/models": reply})
    assert (identity.kind, identity.state, identity.models) == (kind, FoundState.UP, 1)


REFUSALS: list[tuple[str, bytes, dict[str, bytes]]] = [
    ("llamacpp", answer(401, {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}, LLAMA), {}),
    ("vllm", answer(401, {"error": "Unauthorized"}), {"/version": answer(200, {"version": "0.33.0"})}),
    ("sglang", answer(401, {"error": "Unauthorized"}), {"/ready": answer(200, "", {"Server": "uvicorn"})}),
    ("tabbyapi", answer(401, {"detail": "Please provide an API key"}), {}),
    ("textgen", answer(401, {"detail": "Unauthorized"}), {}),
    ("llama_cpp_python", answer(401, {"detail": "Invalid API key"}), {}),
    ("koboldcpp", answer(401, {"detail": {"error": "Unauthorized", "msg": "no"}}), {}),
    ("fastchat", answer(401, {"detail": {"error": {"code": "invalid_api_key", "message": "no"}}}), {}),
    (
        "lmstudio",
        answer(401, {"error": {"type": "invalid_request", "code": "invalid_api_key", "message": "An LM Studio API token is required"}}),
        {},
    ),
    ("localai", answer(401, {"error": {"message": "An authentication key is required", "code": 401}}), {}),
    ("lemonade", answer(401, {"error": "Invalid or missing API key"}), {}),
    ("llamaswap", answer(401, "", {"WWW-Authenticate": 'Basic realm="llama-swap"'}), {}),
    ("jan", answer(401, "Invalid or missing authorization token"), {}),
]


@pytest.mark.parametrize(("kind", "reply", "more"), REFUSALS, ids=[kind for kind, _, _ in REFUSALS])
async def test_each_refusal_names_the_server_and_asks_for_a_key(kind: str, reply: bytes, more: dict[str, bytes]) -> None:
    identity, _ = await look({"/v1/models": reply, **more})
    assert (identity.kind, identity.state) == (kind, FoundState.NEEDS_KEY)
    assert identity.failure is not None
    assert identity.failure.kind is FailureKind.AUTH
    assert "needs a key (401)" in identity.failure.what


@pytest.mark.parametrize(
    ("kind", "reply"),
    [("textgen", answer(400, {"detail": "Invalid host header"})), ("jan", answer(403, "Invalid host header"))],
)
async def test_a_refused_host_name_is_said(kind: str, reply: bytes) -> None:
    identity, _ = await look({"/v1/models": reply})
    assert (identity.kind, identity.state) == (kind, FoundState.REFUSED)
    assert "host name" in identity.reason


def test_gpt4all_switched_off_is_known_by_its_port_alone() -> None:
    off = Reply(401, {}, b"", 0.0, 4891)
    verdict = judge(off, kinds())
    assert verdict is not None
    assert verdict.kind.id == "gpt4all"
    assert judge(replace(off, port=8000), kinds()) is None


EMPTY = answer(200, {"object": "list", "data": None})
STEP_2: list[tuple[str, dict[str, bytes]]] = [
    ("lmstudio", {"/lmstudio-greeting": answer(200, {"lmstudio": True})}),
    ("tabbyapi", {"/.well-known/serviceinfo": answer(200, {"software": {"name": "TabbyAPI"}})}),
    ("koboldcpp", {"/.well-known/serviceinfo": answer(200, {"software": {"name": "KoboldCpp"}})}),
    ("localai", {"/.well-known/localai.json": answer(200, {"version": "v3.1 (abc)", "endpoints": {}})}),
    ("vllm", {"/version": answer(200, {"version": "0.33.0"})}),
    ("sglang", {"/": answer(200, '"SGLang is running"')}),
    ("mistralrs", {"/": answer(200, "OK")}),
    ("llamaswap", {"/": answer(302, "", {"Location": "/ui/"})}),
    ("jan", {"/": answer(200, "<!DOCTYPE html><html><title>API Docs</title></html>")}),
    ("textgen", {"/v1/internal/model/info": answer(200, {"model_name": "None", "loader": "llama.cpp"})}),
    ("lemonade", {"/v1/health": answer(200, {"all_models_loaded": []})}),
    ("llamaswap", {"/running": answer(200, {"running": []})}),
]


@pytest.mark.parametrize(("kind", "routes"), STEP_2, ids=[f"{kind}-{next(iter(routes))}" for kind, routes in STEP_2])
async def test_each_probe_of_step_2(kind: str, routes: dict[str, bytes]) -> None:
    identity, paths = await look({"/v1/models": EMPTY, **routes})
    assert identity.kind == kind
    assert len(paths) <= 10


async def test_an_empty_mlx_and_a_workerless_fastchat_are_asked_for_at_their_own_ports() -> None:
    catalogue = kinds()
    asked = {question.path for question in questions(8080, catalogue)}
    assert "/health" in asked
    assert questions(8080, catalogue)[0].path == "/.well-known/localai.json"
    assert any(question.port == 21001 for question in questions(8000, catalogue))
    assert not any(question.port for question in questions(8080, catalogue))
    assert [question.path for question in questions(1234, catalogue)][:2] == ["/lmstudio-greeting", "/"]


async def test_ollama_needs_banner_version_and_no_imitator() -> None:
    identity, paths = await look(OLLAMA)
    assert (identity.kind, identity.version, identity.state, identity.models) == ("ollama", "0.24.0", FoundState.UP, 1)
    assert set(paths) == {"/v1/models", "/", "/api/version", "/.well-known/localai.json", "/.well-known/serviceinfo", "/v1/health"}


async def test_an_empty_ollama_is_found_by_its_banner() -> None:
    identity, _ = await look({**OLLAMA, "/v1/models": EMPTY})
    assert (identity.kind, identity.version) == ("ollama", "0.24.0")


async def test_ollama_serving_only_models_of_a_namespace() -> None:
    identity, _ = await look({**OLLAMA, "/v1/models": model_list(owned_by="ann", created=4)})
    assert identity.kind == "ollama"


@pytest.mark.parametrize(
    ("kind", "proof"),
    [
        ("localai", {"/.well-known/localai.json": answer(200, {"version": "v3", "endpoints": {}})}),
        ("koboldcpp", {"/.well-known/serviceinfo": answer(200, {"software": {"name": "KoboldCpp"}})}),
        ("lemonade", {"/v1/health": answer(200, {"all_models_loaded": []})}),
    ],
)
async def test_an_imitator_with_the_whole_banner_is_not_ollama(kind: str, proof: dict[str, bytes]) -> None:
    identity, _ = await look({**OLLAMA, **proof})
    assert identity.kind == kind


@pytest.mark.parametrize(("kind", "version"), [("koboldcpp", "0.7.0"), ("localai", "0.9.0"), ("lemonade", "0.16.1")])
async def test_an_imitator_without_the_banner_is_told_by_its_version(kind: str, version: str) -> None:
    identity, _ = await look({"/v1/models": OLLAMA["/v1/models"], "/api/version": answer(200, {"version": version})})
    assert identity.kind == kind


async def test_llama_swaps_own_api_version_is_not_ollamas() -> None:
    version = answer(200, {"version": "v170", "commit": "abc", "build_date": "2026"})
    identity, _ = await look({"/v1/models": EMPTY, "/": answer(200, "Ollama is running"), "/api/version": version})
    assert identity.kind != "ollama"


async def test_lm_studio_says_200_to_anything_and_is_known_by_that_body() -> None:
    identity, paths = await look({"/v1/models": EMPTY}, UNEXPECTED)
    assert identity.kind == "lmstudio"
    assert len(paths) == 2


async def test_llama_cpp_loading_is_busy_and_tells_its_build_when_up() -> None:
    loading = answer(503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, LLAMA)
    identity, _ = await look({}, loading)
    assert (identity.kind, identity.state) == ("llamacpp", FoundState.LOADING)
    identity, _ = await look({"/v1/models": ROWS[0][1], "/props": answer(200, {"build_info": "b9000-abc\x1b]0;x\x07"}, LLAMA)})
    assert identity.version == "b9000-abc␛]0;x␇"


async def test_H25_ssh_and_tls_answers_are_named() -> None:
    async with serving(other=b"SSH-2.0-OpenSSH_9.6\r\n") as fake:
        identity = await identify(fake.url)
        assert identity.reason == f"127.0.0.1:{fake.port} does not speak HTTP (answer looks like SSH)"
    async with serving(other=b"\x15\x03\x01\x00\x02\x02\x46") as fake:
        identity = await identify(fake.url)
        assert identity.reason == f"127.0.0.1:{fake.port} does not speak HTTP (answer looks like TLS)"
        assert identity.failure is not None
        assert "https://" in identity.failure.remedy
    async with serving(other=answer(400, "Client sent an HTTP request to an HTTPS server.\n")) as fake:
        assert "looks like TLS" in (await identify(fake.url)).reason


@pytest.mark.parametrize("junk", [b"hello, old web\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1\n\n", b"\x00" * 99, b""])
async def test_H25_junk_is_one_sentence(junk: bytes) -> None:
    async with serving(other=junk) as fake:
        identity = await identify(fake.url)
        assert identity.kind == ""
        assert f"127.0.0.1:{fake.port}" in identity.reason


async def test_H25_tls_to_a_plain_port() -> None:
    async with serving(OLLAMA) as fake:
        identity = await identify(f"https://127.0.0.1:{fake.port}")
        assert identity.reason == f"https://127.0.0.1:{fake.port} does not speak TLS"


async def test_H02_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.providers.probe.get.__kwdefaults__", {"headers": None, "timeout": 0.2, "verify": True})
    async with serving(other=silent) as fake:
        identity = await identify(fake.url)
        assert identity.failure is not None
        assert identity.failure.kind is FailureKind.TIMEOUT
        assert "did not answer" in identity.reason


async def test_H04_dripped_headers_end_with_the_whole_time() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    async with serving(other=drip) as fake:
        started = asyncio.get_running_loop().time()
        identity = await identify(fake.url, timeout=0.3)
        assert identity.failure is not None
        assert identity.failure.kind is FailureKind.TIMEOUT
        assert asyncio.get_running_loop().time() - started < 2


async def test_H22_a_redirect_is_named_and_not_followed() -> None:
    async with serving(OLLAMA) as other, serving(other=answer(307, "", {"Location": f"http://127.0.0.1:{other.port}/x"})) as fake:
        identity = await identify(fake.url)
        assert other.requests == []
        assert "points elsewhere" in identity.reason
        assert str(other.port) in identity.reason


async def test_X10_the_key_goes_to_the_typed_origin_only_and_discovery_asks_without() -> None:
    async with serving({"/v1/models": EMPTY}) as fake:
        await identify(fake.url, headers={"Authorization": "Bearer sk-1"})
        assert all("Authorization: Bearer sk-1" in head for head in fake.requests)
        fake.requests.clear()
        await identify(fake.url)
        assert fake.requests
        assert not any("authorization" in head.lower() for head in fake.requests)


async def test_X10_the_question_to_a_neighbouring_port_carries_no_key() -> None:
    async with serving({"/v1/models": EMPTY}) as fake, serving({"/test_connection": answer(200, '"success"')}) as controller:
        fastchat = kinds()["fastchat"]
        (question,) = fastchat.fingerprint.probes
        moved = fastchat.fingerprint.model_copy(update={"probes": (question.model_copy(update={"port": controller.port}),)})
        catalogue = {**kinds(), "fastchat": fastchat.model_copy(update={"ports": (fake.port,), "fingerprint": moved})}
        identity = await identify(fake.url, headers={"Authorization": "Bearer sk-1"}, catalogue=catalogue)
        assert (identity.kind, identity.models) == ("fastchat", None)
        assert len(controller.requests) == 1
        assert "sk-1" not in controller.requests[0]


async def test_a_header_with_a_line_break_is_not_sent() -> None:
    async with serving(OLLAMA) as fake:
        await identify(fake.url, headers={"X-A": "1\r\nX-Evil: 2"})
        assert not any("X-Evil" in head for head in fake.requests)


async def test_only_gets_are_sent_and_they_ask_for_no_compression() -> None:
    async with serving({"/v1/models": EMPTY}) as fake:
        await identify(fake.url)
        assert all(head.startswith("GET /") and "Accept-Encoding: identity" in head for head in fake.requests)


async def test_H20_a_body_without_end_is_cut() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"[" * 65536)
            await writer.drain()

    async with serving(other=flood) as fake:
        identity = await asyncio.wait_for(identify(fake.url), 5)
        assert identity.kind == ""


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"data": [' + b"9" * 6000 + b"]}",
        b'{"data": {"0": 1}}',
        b'{"data": [null]}',
        b'{"data": ["x"]}',
        b"\xff\xfe",
        b"42",
        b'"x"',
    ],
)
async def test_H19_hostile_json_is_no_server(body: bytes) -> None:
    identity, _ = await look({"/v1/models": answer(200, body)})
    assert identity.kind == ""
    assert identity.reason


async def test_a_web_page_is_called_one() -> None:
    identity, _ = await look({}, answer(200, "<!doctype html><html><script>window.gradio_config={}</script></html>"))
    assert "is a web page (Gradio), not a model server" in identity.reason


async def test_chunked_answers_are_read() -> None:
    part = b'{"data": [{"id": "m", "owned_by"'
    rest = b': "vllm"}]}'
    body = b"%x\r\n%b\r\n%x;ext=1\r\n%b\r\n0\r\n\r\n" % (len(part), part, len(rest), rest)
    identity, _ = await look({"/v1/models": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body})
    assert identity.kind == "vllm"


async def test_a_base_path_is_kept() -> None:
    async with serving({"/gw/v1/models": ROWS[1][1]}) as fake:
        assert (await identify(fake.url + "/gw/v1/chat/completions")).kind == "vllm"
    async with serving({"/api/v4/models": ROWS[18][1]}) as fake:
        assert (await identify(fake.url + "/api/v4")).kind == "openai"


async def test_H12_an_empty_403_is_about_the_host_name() -> None:
    identity, _ = await look({}, answer(403, ""))
    assert "refused the host name (403)" in identity.reason
