"""The queue against a real socket, through the real provider."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.fault_server import end
from tests.worker.fakes import MB, Bench
from tui.core.clock import SYSTEM
from tui.core.jobs import Job, JobState, JobWish
from tui.core.models import Endpoint
from tui.providers.factory import make_provider


class Server:
    """Speaks enough of Ollama's HTTP for pulls; each pull takes the next script, the last one again.

    A script is the byte counts (in MB, of 100) to report, then how the stream ends: `success`, `reset`, `end` or `hold`.
    """

    def __init__(self) -> None:
        self.scripts: list[tuple[list[int], str]] = [([50, 100], "success")]
        self.pulls = 0
        self.left = 0
        self.listed: list[str] = []
        self.open: set[asyncio.StreamWriter] = set()
        self.heads: list[str] = []
        self.complaint = ""

    async def listen(self, port: int = 0) -> int:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port)
        number: int = self.server.sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        await end(self.server)
        for writer in list(self.open):
            writer.transport.abort()
        await self.server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                self.heads.append(head)
                length = next((int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length")), 0)
                body = json.loads(await reader.readexactly(length)) if length else {}
                if "post /api/pull" in head:
                    await self.pull(body["model"], reader, writer)
                else:
                    names = [{"name": name, "model": name, "size": 1, "digest": "d" * 64} for name in self.listed]
                    answer = json.dumps({"models": names, "version": "0.24.0"}).encode()
                    writer.write(
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer)
                    )
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def pull(self, model: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts, end = self.scripts[min(self.pulls, len(self.scripts) - 1)]
        self.pulls += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")

        def say(**item: object) -> None:
            line = json.dumps(item).encode() + b"\n"
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))

        say(status="pulling manifest")
        if self.complaint:
            say(error=self.complaint)
        for count in counts:
            say(status="pulling a", digest="sha256:" + "a" * 64, total=100 * MB, completed=count * MB)
        await writer.drain()
        if end == "hold":
            await reader.read()
            self.left += 1
            raise ConnectionResetError
        if end == "reset":
            await asyncio.sleep(0.05)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            raise ConnectionResetError
        if end == "success":
            say(status="verifying sha256 digest")
            self.listed.append(model)
            say(status="success")
        writer.write(b"0\r\n\r\n")
        await writer.drain()


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr("tui.worker.ends.DELAYS", (0.05,))
    monkeypatch.setattr("tui.worker.ends.DOWN_DELAYS", (0.05,))
    monkeypatch.setattr("tui.worker.disks.room_for", lambda *args, **more: None)
    bench = Bench(tmp_path, SYSTEM)
    monkeypatch.setattr(bench.fake, "make", lambda endpoint: make_provider(endpoint, lambda reference: "", SYSTEM))
    bench.queue = bench.new_queue()
    await bench.queue.open()
    yield bench
    await bench.close()


async def until(bench: Bench, number: int, condition: Callable[[Job], bool]) -> Job:
    limit = time.monotonic() + 10
    while not condition(bench.job(number)):
        assert time.monotonic() < limit, bench.job(number)
        await bench.tick()
        await asyncio.sleep(0.005)
    return bench.job(number)


async def test_Q02_a_reset_then_the_rest(bench: Bench) -> None:
    server = Server()
    server.scripts = [([10, 40], "reset"), ([40, 100], "success")]
    port = await server.listen()
    number = await bench.add("qwen3:8b", endpoint=Endpoint("box", "ollama", f"http://127.0.0.1:{port}"))
    job = await until(bench, number, lambda job: "retry" in job.note)
    assert job.done == 40 * MB
    job = await until(bench, number, lambda job: job.state.ended)
    assert (job.state, job.attempts) == (JobState.DONE, 2)
    await server.close()


async def test_Q11_a_server_stopped_and_started_during_a_pull(bench: Bench) -> None:
    server = Server()
    server.scripts = [([10, 40], "hold"), ([40, 100], "success")]
    port = await server.listen()
    number = await bench.add("qwen3:8b", endpoint=Endpoint("box", "ollama", f"http://127.0.0.1:{port}"))
    await until(bench, number, lambda job: job.done == 40 * MB)
    await server.close()
    job = await until(bench, number, lambda job: job.note.startswith("waits for box"))
    assert job.note == f"waits for box at 127.0.0.1:{port}: nothing is listening"
    await server.listen(port)
    job = await until(bench, number, lambda job: job.state.ended)
    assert job.state is JobState.DONE
    await server.close()


async def test_Q16_cancelling_closes_our_connection_and_deletes_nothing(bench: Bench) -> None:
    server = Server()
    server.scripts = [([10], "hold")]
    port = await server.listen()
    number = await bench.add("qwen3:8b", endpoint=Endpoint("box", "ollama", f"http://127.0.0.1:{port}"))
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"model": "qwen3:8b"}'
    writer.write(b"POST /api/pull HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await until(bench, number, lambda job: job.done == 10 * MB)
    assert server.pulls == 2
    await bench.table.wish([number], JobWish.CANCEL)
    await until(bench, number, lambda job: job.state is JobState.CANCELLED)
    while server.left < 1:
        await asyncio.sleep(0.005)
    assert server.left == 1
    assert len(server.open) == 1
    writer.close()
    await server.close()


async def test_Q06_a_clean_end_without_success(bench: Bench) -> None:
    server = Server()
    server.scripts = [([10, 100], "end"), ([100], "success")]
    port = await server.listen()
    number = await bench.add("qwen3:8b", endpoint=Endpoint("box", "ollama", f"http://127.0.0.1:{port}"))
    await until(bench, number, lambda job: job.state is JobState.WAITING and job.failure is not None)
    job = await until(bench, number, lambda job: job.state.ended)
    assert job.state is JobState.DONE
    assert server.pulls == 2
    await server.close()


async def test_X25_P25_the_real_worker_from_the_wish_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Jobs` starts `python -m tui worker`, which speaks to a socket; the app's part ends meanwhile."""
    from tui.config.paths import find_paths
    from tui.services import jobs as jobs_module
    from tui.store.db import Database

    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "nowhere"))
    paths = find_paths(environ={"PADDOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)})
    spawned = []
    real = jobs_module.spawn_worker

    def spawn(of: jobs_module.Paths) -> object:
        spawned.append(real(of, "--linger", "0.1"))
        return spawned[-1]

    monkeypatch.setattr(jobs_module, "spawn_worker", spawn)
    server = Server()
    port = await server.listen()
    database = Database(paths.database)
    jobs = jobs_module.Jobs(database, paths)
    job = await jobs.add("Qwen3", Endpoint("box", "ollama", f"http://127.0.0.1:{port}"), asked_by="command line")
    await database.aclose()  # the app is gone; the worker is not
    limits = Path(f"/proc/{spawned[0].pid}/limits")
    # X25: no dump holds prompts and keys
    while re.search(r"Max core file size +0 +0 ", limits.read_text()) is None:
        assert spawned[0].poll() is None
        await asyncio.sleep(0.01)
    assert await asyncio.to_thread(spawned[0].wait, 20) == 0, (paths.logs / "worker.log").read_text()
    database = Database(paths.database, read_only=True)
    (done,) = jobs_module.JobTable(database).list()
    assert (done.id, done.state, done.done, done.asked_by) == (job.id, JobState.DONE, 100 * MB, "command line")
    assert server.listed == ["Qwen3:latest"]
    await database.aclose()
    await server.close()


async def test_Q03_P05_the_real_worker_killed_in_the_middle_of_a_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 on a real stream: the server sees us go, the queue is whole, and the next worker goes on by itself."""
    from tui.config.paths import find_paths
    from tui.services import jobs as jobs_module
    from tui.store.db import Database

    paths = find_paths(environ={"PADDOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)})
    real = jobs_module.spawn_worker
    spawned = []

    def spawn(of: jobs_module.Paths) -> object:
        spawned.append(real(of, "--linger", "0.1", "--no-space-checks"))
        return spawned[-1]

    monkeypatch.setattr(jobs_module, "spawn_worker", spawn)
    server = Server()
    server.scripts = [([10, 40], "hold"), ([40, 100], "success")]
    port = await server.listen()
    database = Database(paths.database)
    jobs = jobs_module.Jobs(database, paths)
    job = await jobs.add("qwen3", Endpoint("box", "ollama", f"http://127.0.0.1:{port}"))
    limit = time.monotonic() + 20
    while (found := jobs.get(job.id)) is None or found.done != 40 * MB:
        assert time.monotonic() < limit
        await asyncio.sleep(0.02)
    spawned[0].kill()
    await asyncio.to_thread(spawned[0].wait, 10)
    while not server.left:
        assert time.monotonic() < limit
        await asyncio.sleep(0.01)
    assert jobs.worker().running is False
    await jobs.ensure_worker()
    assert await asyncio.to_thread(spawned[1].wait, 20) == 0, (paths.logs / "worker.log").read_text()
    (done,) = jobs_module.JobTable(database).list()
    assert (done.id, done.state, done.done, done.attempts) == (job.id, JobState.DONE, 100 * MB, 2)
    assert server.pulls == 2
    await database.aclose()
    await server.close()


async def test_X08_P52_the_key_of_a_pull_is_in_no_file_no_argument_and_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the settings, a server that repeats it in its complaint, and the real worker: then everything is searched."""
    from tui.config.paths import find_paths
    from tui.services import jobs as jobs_module
    from tui.store.db import Database

    key = "hunter2/very secret+key"
    paths = find_paths(environ={"PADDOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)})
    server = Server()
    server.complaint = f"unauthorized: the key {key} is wrong"
    port = await server.listen()
    paths.config_file.parent.mkdir(parents=True)
    paths.config_file.write_text(f"[providers.box]\nurl = 'http://127.0.0.1:{port}'\nkind = 'ollama'\napi_key = '{key}'\n")
    real = jobs_module.spawn_worker
    spawned = []

    def spawn(of: jobs_module.Paths) -> object:
        spawned.append(real(of, "--linger", "0.5", "--no-space-checks"))
        return spawned[-1]

    monkeypatch.setattr(jobs_module, "spawn_worker", spawn)
    database = Database(paths.database)
    jobs = jobs_module.Jobs(database, paths)
    await jobs.add("qwen3", Endpoint("box", "ollama", f"http://127.0.0.1:{port}", key="config:box"))
    command = b""
    while spawned[0].poll() is None:
        with contextlib.suppress(OSError):  # it may end just now
            command += Path(f"/proc/{spawned[0].pid}/cmdline").read_bytes() + Path(f"/proc/{spawned[0].pid}/environ").read_bytes()
        await asyncio.sleep(0.05)
    (job,) = jobs_module.JobTable(database).list()
    assert job.state is JobState.FAILED
    assert f"authorization: bearer {key}" in server.heads[0]
    database.back_up()
    await database.aclose()
    forms = [
        key.encode(),
        base64.b64encode(key.encode()),
        quote(key, safe="").encode(),
        quote(key).encode(),
        json.dumps(key)[1:-1].encode(),
    ]
    searched = {file: file.read_bytes() for file in paths.config_file.parent.rglob("*") if file.is_file() and file != paths.config_file}
    assert {file.suffix for file in searched} >= {".db", ".jsonl", ".log"}
    assert b"worker" in command
    for form in forms:
        assert form not in command
        assert [file for file, data in searched.items() if form in data] == []
    await server.close()
