"""Looking around on loopback, and finding what a typed text means."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from tests.discovery.fakes import OLLAMA, answer, model_list, serving, silent
from tests.support import ports
from tui.core.errors import Failure, FailureKind
from tui.core.models import Location, ProviderStatus
from tui.providers import discovery
from tui.providers.catalogue import Kind, default_ports, kinds
from tui.providers.discovery import Found, FoundState, discover, find
from tui.providers.ports import Holder

_HELD = ExitStack()


def closed_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on until the test ends."""
    return _HELD.enter_context(ports.closed_port(host))


@pytest.fixture(autouse=True)
def let_go() -> Iterator[None]:
    yield
    _HELD.close()


def at_ports(**ports: int) -> Mapping[str, Kind]:
    """The catalogue with these kinds on these ports, and no others anywhere."""
    return {name: kind.model_copy(update={"ports": (ports[name],) if name in ports else ()}) for name, kind in kinds().items()}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gpu2` is this machine by another name; everything else is unknown."""
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "gpu2":
            return real("127.0.0.1", *args, **kwargs)
        if host == "nowhere":
            raise socket.gaierror(-2, "Name or service not known")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def hurry(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Give up silent servers sooner."""
    monkeypatch.setattr("tui.providers.probe.get.__kwdefaults__", {"headers": None, "timeout": seconds, "verify": True})


async def test_closed_ports_are_known_in_half_a_second() -> None:
    ports = tuple(closed_port() for _ in range(13))
    started = time.monotonic()
    result = await discover(kinds(), ports=ports)
    assert time.monotonic() - started < 0.5
    assert (result.found, result.unknown, result.environment) == ((), (), None)
    assert result.elapsed < 0.5


def test_what_was_looked_at_reads_like_the_first_run_panel() -> None:
    catalogue = kinds()
    ports = default_ports(catalogue)
    assert len(ports) == 13
    assert discovery._in_words(ports, catalogue) == "127.0.0.1:11434 (Ollama), :8080 (llama.cpp), :1234, :8000 and 9 more ports"
    assert discovery._in_words(ports[:1], catalogue) == "127.0.0.1:11434 (Ollama)"


async def test_servers_are_shown_identifying_then_named() -> None:
    seen: list[Found] = []
    async with serving(OLLAMA) as ollama, serving({"/v1/models": model_list(owned_by="vllm")}) as vllm:
        catalogue = at_ports(ollama=ollama.port, vllm=vllm.port, tgi=closed_port())
        result = await discover(catalogue, on_found=seen.append)
    assert [found.kind for found in result.found] == ["ollama", "vllm"]
    assert [found.label for found in result.found] == ["Ollama 0.24.0", "vLLM"]
    assert all(found.status is ProviderStatus.FOUND for found in result.found)
    first = [found.state for found in seen if found.url == ollama.url]
    assert first == [FoundState.IDENTIFYING, FoundState.UP]
    assert Found("x").status is ProviderStatus.BUSY


async def test_the_holder_of_a_found_port_is_named() -> None:
    async with serving(OLLAMA) as ollama:
        result = await discover(at_ports(ollama=ollama.port))
        (found,) = result.found
        assert found.holder is not None
        assert found.holder.pid == os.getpid()
        assert f"pid {os.getpid()}" in found.owner
        assert found.listens_wide is False
        assert found.child_of == ""


async def test_H02_a_silent_port_is_given_up_and_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, 0.2)
    seen: list[FoundState] = []
    async with serving(other=silent) as fake:
        result = await discover(kinds(), ports=(fake.port,), on_found=lambda found: seen.append(found.state))
    assert result.found == ()
    (unknown,) = result.unknown
    assert unknown.failure is not None
    assert "did not answer" in unknown.failure.what
    assert seen == [FoundState.IDENTIFYING, FoundState.UNKNOWN]


async def test_a_silent_ollama_is_starting_when_its_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, 0.2)
    monkeypatch.setattr(
        discovery, "holders", lambda ports, host: {ports[0]: Holder(7, "ollama", "/usr/local/bin/ollama serve", 999, "ollama")}
    )
    async with serving(other=silent) as fake:
        (found,) = (await discover(kinds(), ports=(fake.port,))).found
    assert (found.kind, found.state, found.status) == ("ollama", FoundState.STARTING, ProviderStatus.BUSY)
    assert found.owner == "pid 7, user ollama"


async def test_a_tunnelled_server_is_of_nobody_knows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Holder(7, "ssh", "ssh -L 11435:127.0.0.1:11434 gpu2", 1000, "ann", is_ssh_tunnel=True)
    monkeypatch.setattr(discovery, "holders", lambda ports, host: {ports[0]: held})
    async with serving(OLLAMA) as fake:
        (found,) = (await discover(kinds(), ports=(fake.port,))).found
    assert found.location is Location.ASK
    assert (Found("http://127.0.0.1:1").location, Found("http://gpu2:1").location) == (Location.HERE, Location.ELSEWHERE)


async def test_a_child_of_another_server_is_attributed(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Holder(7, "llama-server", "/opt/llama-server --port 5", 1, "ann", parent="/usr/bin/llama-swap --config c.yaml")
    monkeypatch.setattr(discovery, "holders", lambda ports, host: {ports[0]: held})
    async with serving({"/v1/models": answer(200, {"data": []}, {"Server": "llama.cpp"})}) as fake:
        (found,) = (await discover(kinds(), ports=(fake.port,))).found
    assert (found.kind, found.child_of) == ("llamacpp", "llama-swap")


async def test_a_llamafile_is_told_from_llama_cpp_by_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "holders", lambda ports, host: {ports[0]: Holder(7, "x", "/home/ann/q.llamafile --server", 1, "ann")})
    async with serving({"/v1/models": answer(200, {"data": []}, {"Server": "llama.cpp"})}) as fake:
        (found,) = (await discover(kinds(), ports=(fake.port,))).found
    assert found.kind == "llamafile"


async def test_known_servers_are_not_asked() -> None:
    async with serving(OLLAMA) as ollama:
        result = await discover(at_ports(ollama=ollama.port), known=[f"http://localhost:{ollama.port}"])
        assert ollama.requests == []
        assert result.found == ()


async def test_H27_a_server_on_ipv6_loopback_only_is_found() -> None:
    try:
        closed_port("::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with serving(OLLAMA, host="::1", port=closed_port()) as ollama:
        (found,) = (await discover(kinds(), ports=(ollama.port,))).found
        assert found.url == f"http://[::1]:{ollama.port}"
        assert isinstance(await find(f"localhost:{ollama.port}", kinds()), Found)


async def test_ollama_host_that_refuses_is_said() -> None:
    port = closed_port()
    result = await discover(kinds(), ports=(), environ={"OLLAMA_HOST": f"127.0.0.1:{port}"})
    assert result.environment is not None
    assert result.environment.what == f"OLLAMA_HOST=127.0.0.1:{port} refused the connection"
    result = await discover(kinds(), ports=(), environ={"OLLAMA_HOST": "ann:secret@bad host"})
    assert result.environment is not None
    assert "secret" not in result.environment.what
    assert "is not an address" in result.environment.what


async def test_ollama_host_that_answers_is_found_and_marked() -> None:
    async with serving(OLLAMA) as ollama:
        result = await discover(kinds(), ports=(), environ={"OLLAMA_HOST": f"127.0.0.1:{ollama.port}"})
        assert result.environment is None
        assert [(found.kind, found.from_environment) for found in result.found] == [("ollama", True)]
        result = await discover(kinds(), ports=(ollama.port,), environ={"OLLAMA_HOST": f"127.0.0.1:{ollama.port}"})
        assert [(found.kind, found.from_environment) for found in result.found] == [("ollama", True)]


async def test_discovery_leaves_no_connection_open() -> None:
    async with serving(OLLAMA) as ollama:
        await discover(kinds(), ports=(ollama.port,))
        async with asyncio.timeout(5):
            while ollama.open:
                await asyncio.sleep(0.01)


# --- typed addresses -------------------------------------------------------------------------------------------------------


async def test_a_bare_host_is_tried_on_the_known_ports(names: None) -> None:
    async with serving({"/v1/models": model_list(owned_by="vllm")}) as vllm:
        found = await find("gpu2", at_ports(ollama=closed_port(), vllm=vllm.port))
        assert isinstance(found, Found)
        assert (found.url, found.kind, found.models) == (f"http://gpu2:{vllm.port}", "vllm", 1)
        assert found.holder is None


async def test_refused_from_outside_names_the_tunnel(names: None) -> None:
    failure = await find("gpu2", at_ports(ollama=closed_port(), vllm=closed_port()))
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.UNREACHABLE
    assert failure.remedy == "Ollama there probably listens on its own 127.0.0.1. From here: `ssh -L 11435:127.0.0.1:11434 gpu2`"
    port = closed_port()
    failure = await find(f"gpu2:{port}", kinds())
    assert isinstance(failure, Failure)
    assert f"`ssh -L {port + 1}:127.0.0.1:{port} gpu2`" in failure.remedy


async def test_H01_refused_here_is_not_about_tunnels() -> None:
    port = closed_port()
    failure = await find(f"127.0.0.1:{port}", kinds())
    assert isinstance(failure, Failure)
    assert failure.what == f"127.0.0.1:{port} refused the connection: nothing is listening"
    assert "ssh" not in failure.remedy


async def test_H29_an_unknown_name_is_a_sentence(names: None) -> None:
    failure = await find("nowhere", kinds())
    assert isinstance(failure, Failure)
    assert failure.what == "The name nowhere was not resolved"


async def test_H28_a_bad_address_is_refused_by_field() -> None:
    failure = await find("gpu2:70000", kinds())
    assert isinstance(failure, Failure)
    assert (failure.where, failure.kind) == ("port", FailureKind.BAD_REQUEST)


async def test_what_answered_wrongly_is_said_rather_than_what_refused() -> None:
    async with serving(other=b"SSH-2.0-x\r\n") as fake:
        failure = await find(f"127.0.0.1:{fake.port}", kinds())
    assert isinstance(failure, Failure)
    assert "looks like SSH" in failure.what


async def test_X10_a_typed_key_is_not_sent_to_guessed_ports(names: None) -> None:
    async with serving(OLLAMA) as fake:
        catalogue = at_ports(ollama=fake.port)
        await find("gpu2", catalogue, headers={"Authorization": "Bearer sk-1"})
        assert fake.requests
        assert not any("sk-1" in head for head in fake.requests)
        fake.requests.clear()
        await find(f"gpu2:{fake.port}", catalogue, headers={"Authorization": "Bearer sk-1"})
        assert any("sk-1" in head for head in fake.requests)


async def test_a_server_that_needs_a_key_is_found_all_the_same() -> None:
    async with serving({"/v1/models": answer(401, {"detail": "Please provide an API key"})}) as fake:
        found = await find(f"127.0.0.1:{fake.port}", kinds())
    assert isinstance(found, Found)
    assert (found.kind, found.state, found.status) == ("tabbyapi", FoundState.NEEDS_KEY, ProviderStatus.FOUND)
    assert found.failure is not None
