"""What real servers answered, replayed: the recordings win over the table."""

from __future__ import annotations

import json
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.discovery.fakes import NOT_FOUND, OLLAMA, Fake, answer, serving
from tui.core.errors import Failure, FailureKind
from tui.providers.catalogue import kinds
from tui.providers.discovery import Found, FoundState, find, identify
from tui.providers.fingerprint import matches
from tui.providers.probe import Reply

FOLDER = Path(__file__).parent / "recorded"
PEM = str(FOLDER / "self-signed.pem")


def replies(name: str) -> dict[str, list[tuple[int, dict[str, str], str]]]:
    """The recorded answers to GETs by path, in order."""
    found: dict[str, list[tuple[int, dict[str, str], str]]] = {}
    path, status, headers, body = "", 0, {}, ""
    for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        if "request" in entry:
            asked = entry["request"]
            path, body = asked["path"] if asked["method"] == "GET" else "", ""
        elif "response" in entry:
            status, headers = entry["response"]["status"], entry["response"]["headers"]
        elif "data" in entry:
            body += entry["data"]
        elif "end" in entry and path:
            found.setdefault(path, []).append((status, headers, body))
    return found


@pytest.mark.parametrize(
    ("name", "kind", "state", "version"),
    [
        ("llama-server-single", "llamacpp", FoundState.UP, True),
        ("llama-server-router", "llamacpp", FoundState.UP, False),
        ("llama-server-api_key", "llamacpp", FoundState.NEEDS_KEY, False),
        ("mlx-lm-single", "mlx", FoundState.UP, False),
        ("llama-cpp-python-single", "llama_cpp_python", FoundState.UP, False),
        ("ollama-0.24-basics", "ollama", FoundState.UP, True),
        ("ollama-0.33-basics", "ollama", FoundState.UP, True),
    ],
)
async def test_recorded_servers_are_recognised(name: str, kind: str, state: FoundState, version: bool) -> None:
    routes = {}
    for path, answers in replies(name).items():
        status, headers, body = answers[0]
        kept = {key: value for key, value in headers.items() if key.lower() in ("server", "content-type")}
        routes[path] = answer(status, body, kept)
    async with serving(routes, routes.get("/nope", NOT_FOUND)) as fake:
        identity = await identify(fake.url)
    assert (identity.kind, identity.state) == (kind, state)
    assert bool(identity.version) == version


def test_H37_the_recorded_health_answers_are_told_apart() -> None:
    health = kinds()["llamacpp"].health
    assert health is not None
    seen = [Reply(status, headers, body.encode(), 0.0) for status, headers, body in replies("llama-server-loading")["/health"]]
    assert matches(health.loading, seen[0])
    assert not matches(health.ok, seen[0])
    assert matches(health.ok, seen[-1])
    assert not matches(health.loading, seen[-1])


def tls_server() -> AbstractAsyncContextManager[Fake]:
    """Ollama behind TLS with a certificate nobody signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return serving(OLLAMA, tls=context)


async def test_H26_a_certificate_nobody_signed_is_refused_with_the_reason() -> None:
    async with tls_server() as fake:
        url = f"https://127.0.0.1:{fake.port}"
        identity = await identify(url)
        assert identity.failure is not None
        assert identity.failure.kind is FailureKind.TLS
        assert "was refused: self-signed certificate" in identity.reason
        assert fake.requests == []
        assert (await identify(url, verify=PEM)).kind == "ollama"
        assert (await identify(url, verify=False)).kind == "ollama"
        assert "cannot be used" in (await identify(url, verify="/nonexistent")).reason


async def test_H25_a_typed_address_without_scheme_finds_the_tls_port() -> None:
    async with tls_server() as fake:
        found = await find(f"127.0.0.1:{fake.port}", kinds(), verify=PEM)
        assert isinstance(found, Found)
        assert found.url == f"https://127.0.0.1:{fake.port}"
        failure = await find(f"127.0.0.1:{fake.port}", kinds())
        assert isinstance(failure, Failure)
        assert "certificate" in failure.what
        failure = await find(f"http://127.0.0.1:{fake.port}", kinds())
        assert isinstance(failure, Failure)
        assert "https://" in failure.remedy
