"""Connecting and names: what a probe must survive below HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.discovery.fakes import OLLAMA, answer, serving
from tui.core.errors import FailureKind, PaddockError
from tui.core.threads import in_thread
from tui.providers import probe
from tui.providers.address import Address, parse
from tui.providers.catalogue import kinds
from tui.providers.discovery import Found, find


async def test_H29_a_dead_resolver_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    calls: list[str] = []

    def hang(host: str, *args: Any, **kwargs: Any) -> Any:
        calls.append(host)
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    address = Address("http", "black.hole", 80)
    try:
        for _ in range(3):
            with pytest.raises(PaddockError) as caught:
                await probe.connect(address, 0.05)
            assert caught.value.failure.kind is FailureKind.TIMEOUT
        assert calls == ["black.hole"]
        waiting = [thread for thread in threading.enumerate() if thread.name == "paddock-wait"]
        assert waiting
        assert all(thread.daemon for thread in waiting)
    finally:
        release.set()


async def test_numbers_and_localhost_need_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "in_thread", lambda work: pytest.fail("asked the resolver"))
    assert [target[0] for _, target in await probe.resolve("localhost", 1)] == ["127.0.0.1", "::1"]
    assert (await probe.resolve("127.0.0.1", 1))[0][1] == ("127.0.0.1", 1)
    assert (await probe.resolve("::1", 1))[0][1][0] == "::1"


async def test_a_result_after_the_loop_is_gone_is_dropped() -> None:
    future = in_thread(lambda: 5)
    assert await asyncio.wrap_future(future) == 5
    with pytest.raises(ZeroDivisionError):
        await asyncio.wrap_future(in_thread(lambda: 1 // 0))


async def test_H27_a_link_local_address_with_a_zone_is_one_sentence() -> None:
    for text in ("http://[fe80::1%25lo]:9", "http://[fe80::1%25nosuch0]:9"):
        with pytest.raises(PaddockError) as caught:
            await probe.get(parse(text), "/")
        assert caught.value.failure.what
        assert "Error" not in caught.value.failure.what


async def unix_failure(path: str) -> str:
    with pytest.raises(PaddockError) as caught:
        await probe.get(Address("unix", "", 0, path), "/")
    return caught.value.failure.what


async def test_H39_unix_sockets_that_do_not_work_are_named(tmp_path: Path) -> None:
    missing, plain, stale = (str(tmp_path / name) for name in ("missing", "plain", "stale"))
    Path(plain).write_text("")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(stale)
    assert await unix_failure(missing) == f"There is no socket {missing}"
    assert await unix_failure(plain) == f"{plain} is not a socket"
    assert await unix_failure(stale) == f"Nobody listens on the socket {stale}"
    with pytest.raises(PaddockError) as caught:
        parse("unix://" + "/x" * 60)
    assert "longer than 107 bytes" in caught.value.failure.what


@pytest.mark.skipif(os.getuid() == 0, reason="root may use every socket")
async def test_H39_a_socket_without_permission(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    server = await asyncio.start_unix_server(lambda reader, writer: None, path)
    Path(path).chmod(0)
    assert await unix_failure(path) == f"You may not use the socket {path}"
    server.close()


async def test_H39_a_working_unix_socket_is_identified(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with serving(OLLAMA) as fake:
        server = await asyncio.start_unix_server(fake.handle, path)
        found = await find(f"unix://{path}", kinds())
        server.close()
        assert isinstance(found, Found)
        assert (found.kind, found.version) == ("ollama", "0.24.0")
        assert "Host: localhost" in fake.requests[0]


async def test_H08_a_body_shorter_than_promised_is_judged_as_far_as_it_came() -> None:
    async with serving(other=b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n[1]") as fake:
        assert (await probe.get(parse(fake.url), "/")).json() == [1]
    async with serving(other=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n[2]") as fake:
        assert (await probe.get(parse(fake.url), "/")).json() == [2]
    async with serving(other=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[2]") as fake:
        assert (await probe.get(parse(fake.url), "/")).body == b""


async def test_a_body_is_cut_at_the_limit() -> None:
    async with serving(other=answer(200, b"x" * (probe.MAX_BODY + 9))) as fake:
        assert len((await probe.get(parse(fake.url), "/")).body) == probe.MAX_BODY


async def test_a_server_that_keeps_the_connection_open_is_not_waited_for() -> None:
    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, "hi"))
        await reader.read()

    async with serving(other=keep) as fake:
        started = time.monotonic()
        assert (await probe.get(parse(fake.url), "/")).text == "hi"
        assert time.monotonic() - started < 1


async def test_a_header_flood_ends() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X: y\r\n" * 1000)
            await writer.drain()

    async with serving(other=flood) as fake:
        with pytest.raises(PaddockError) as caught:
            await probe.get(parse(fake.url), "/")
        assert "is not HTTP" in caught.value.failure.what
