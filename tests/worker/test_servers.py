"""Servers we start: adopted again, never mistaken, ready only when it is they who listen."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tui.core.clock import SYSTEM
from tui.services.audit import Audit
from tui.services.servers import ServerJobs
from tui.store.db import Database
from tui.store.identity import boot_id, identify, process_start
from tui.store.meta import ServerRow, Servers
from tui.worker.servers import MARK, Supervisor

PROGRAM = """#!{python} -S
import os, signal, socket, sys, time
mode = os.environ.get("FAKE_MODE", "")
if mode == "exits":
    sys.exit(3)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode in ("wrapper", "escapes") and os.fork() == 0:
    # The child that really serves: of the session, and deaf to TERM; or in a session of its own.
    if mode == "escapes":
        os.setsid()
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(os.environ["CHILD_FILE"] + "~", "w").write(str(os.getpid()))
    os.rename(os.environ["CHILD_FILE"] + "~", os.environ["CHILD_FILE"])
    os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(60) # ollama"])
print("serving", sys.argv[1:], os.environ.get("SECRET_KEY", "no secret"), flush=True)
if mode != "deaf":
    host, port = os.environ["OLLAMA_HOST"].rsplit(":", 1)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, int(port)))
    sock.listen()
while True:
    time.sleep(60)
"""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.program = folder / "ollama"
        self.program.write_text(PROGRAM.format(python=sys.executable))
        self.program.chmod(0o755)
        self.logs = folder / "logs"
        self.database = Database(folder / "paddock.db")
        self.verbs = ServerJobs(self.database)
        self.folder = folder
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.supervisors: list[Supervisor] = []
        self.supervisor = self.new()
        self.pids: set[int] = set()

    def new(self) -> Supervisor:
        self.supervisors.append(Supervisor(self.database, self.logs, Audit(self.folder, SYSTEM), grace=0.3))
        return self.supervisors[-1]

    async def start(self, mode: str = "") -> None:
        await self.verbs.start(
            "ollama", str(self.program), self.address, environment={"FAKE_MODE": mode, "CHILD_FILE": str(self.child_file)}
        )

    @property
    def child_file(self) -> Path:
        return self.folder / "child"

    def child(self) -> int:
        """The pid of the process that the fake server put beside itself, once it is there."""
        limit = time.monotonic() + 10
        while not self.child_file.exists():
            assert time.monotonic() < limit
            time.sleep(0.01)
        pid = int(self.child_file.read_text())
        self.pids.add(pid)
        return pid

    def row(self) -> ServerRow:
        self.verbs.refresh()
        (row,) = self.verbs.view.value
        if row.record.get("pid"):
            self.pids.add(int(row.record["pid"]))
        return row

    async def until(self, condition: Callable[[ServerRow], bool]) -> ServerRow:
        limit = time.monotonic() + 10
        while not condition(self.row()):
            assert time.monotonic() < limit, self.row()
            await self.supervisor.tick()
            await asyncio.sleep(0.01)
        return self.row()

    async def close(self) -> None:
        self.row() if Servers(self.database).list() else None
        for pid in self.pids:
            if process_start(pid) is not None and b"ollama" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        for supervisor in self.supervisors:
            for child in supervisor._children.values():
                child.wait()
        await self.database.aclose()


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


def of_ours(row: ServerRow) -> int:
    return int(row.record["pid"])


async def test_S02_started_in_a_session_of_its_own_with_output_in_a_file(bench: Bench) -> None:
    await bench.start()
    row = await bench.until(lambda row: row.state == "running")
    pid = of_ours(row)
    assert os.getsid(pid) == pid != os.getsid(0)
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    log = Path(row.record["log"])
    assert Path(f"/proc/{pid}/fd/1").readlink() == log == Path(bench.verbs.log("ollama"))
    assert log.read_text() == "serving ['serve'] no secret\n"
    assert log.stat().st_mode & 0o777 == 0o600
    assert not bench.supervisor.busy


async def test_S01_P36_adopted_by_the_next_worker(bench: Bench) -> None:
    await bench.start()
    before = await bench.until(lambda row: row.state == "running")
    bench.supervisor = bench.new()
    await bench.supervisor.open()
    await bench.supervisor.tick()
    after = bench.row()
    assert (after.state, after.record) == ("running", before.record)
    await bench.verbs.stop("ollama")
    row = await bench.until(lambda row: row.state == "stopped")
    assert row.record == {}
    assert identify(of_ours(before)) is None


async def test_S01_one_that_was_lost_between_fork_and_record_is_found_by_its_mark(bench: Bench) -> None:
    await bench.start()
    before = await bench.until(lambda row: row.state == "running")
    unfinished = {key: value for key, value in before.record.items() if key not in ("pid", "start", "boot")}
    await Servers(bench.database).record(replace(before, state="starting", record=unfinished))
    bench.supervisor = bench.new()
    await bench.supervisor.open()
    assert of_ours(bench.row()) == of_ours(before)
    await bench.until(lambda row: row.state == "running")


async def test_S03_S04_P74_a_stale_record_is_never_signalled_nor_shown_as_ours(bench: Bench) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        for record in (
            {"pid": stranger.pid, "start": "12345", "boot": boot_id()},
            {"pid": stranger.pid, "start": process_start(stranger.pid), "boot": "another boot"},
            {"pid": stranger.pid},
        ):
            await bench.verbs.start("ollama", str(bench.program), bench.address)
            row = bench.row()
            await Servers(bench.database).record(replace(row, seen=row.asked, state="running", record=record))
            bench.supervisor = bench.new()
            await bench.supervisor.open()
            assert bench.row().state == "stopped"
            await bench.verbs.stop("ollama")
            await bench.until(lambda row: row.state == "stopped" and row.seen == row.asked)
            assert stranger.poll() is None
        bench.pids.clear()
        stranger.kill()


async def test_S06_a_port_in_use_is_said_with_its_holder_before_starting(bench: Bench) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", bench.port))
        sock.listen()
        await bench.start()
        row = await bench.until(lambda row: row.state == "failed")
    assert f"{bench.address} is already used by" in row.note
    assert f"pid {os.getpid()}" in row.note
    assert not (bench.logs / "servers" / "ollama.log").exists()
    assert not bench.supervisor.busy


async def test_S07_P37_an_impostor_on_the_port_is_not_readiness(bench: Bench) -> None:
    await bench.start("deaf")
    await bench.until(lambda row: row.state == "starting" and "pid" in row.record)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", bench.port))
        sock.listen()
        row = await bench.until(lambda row: bool(row.note))
    assert row.state == "starting"
    assert "not ready" in row.note
    assert f"pid {os.getpid()}" in row.note


async def test_one_that_ends_while_starting_is_said_with_its_code(bench: Bench) -> None:
    await bench.start("exits")
    row = await bench.until(lambda row: row.state == "failed")
    assert "exit code 3" in row.note
    assert "ollama.log" in row.note


async def test_one_that_does_not_exist(bench: Bench) -> None:
    await bench.verbs.start("ollama", "/nonexistent/ollama", bench.address)
    row = await bench.until(lambda row: row.state == "failed")
    assert "/nonexistent/ollama could not be started: No such file or directory" in row.note


async def test_S08_one_that_ignores_the_request_to_end_is_killed(bench: Bench) -> None:
    await bench.start("stubborn")
    pid = of_ours(await bench.until(lambda row: row.state == "running"))
    await bench.verbs.stop("ollama")
    await bench.until(lambda row: row.state == "stopped")
    assert process_start(pid) is None
    assert "kill server" in (bench.folder / "audit.jsonl").read_text()


async def test_S09_P73_stopped_is_said_when_the_whole_family_is_gone(bench: Bench) -> None:
    await bench.start("wrapper")
    leader = of_ours(await bench.until(lambda row: row.state == "running"))
    child = bench.child()
    await bench.verbs.stop("ollama")
    row = await bench.until(lambda row: process_start(leader) is None)
    assert (row.state, process_start(child) is None) == ("stopping", False)
    await bench.until(lambda row: row.state == "stopped")
    assert process_start(child) is None
    assert "kill server" in (bench.folder / "audit.jsonl").read_text()


async def test_S10_P73_a_survivor_outside_of_the_session_is_named_and_ended_only_on_a_second_request(bench: Bench) -> None:
    await bench.start("escapes")
    leader = of_ours(await bench.until(lambda row: row.state == "running"))
    child = bench.child()
    await bench.verbs.stop("ollama")
    row = await bench.until(lambda row: row.state == "failed")
    assert process_start(leader) is None
    assert process_start(child) is not None
    assert row.note.startswith(f"the stop left 1 process: pid {child} (")
    assert "server survived" in (bench.folder / "audit.jsonl").read_text()
    await bench.verbs.stop("ollama")
    await bench.until(lambda row: row.state == "stopped")
    assert process_start(child) is None


async def test_S09_P73_a_server_that_dies_and_leaves_a_child_is_not_called_gone(bench: Bench) -> None:
    await bench.start("wrapper")
    leader = of_ours(await bench.until(lambda row: row.state == "running"))
    child = bench.child()
    os.kill(leader, signal.SIGKILL)
    row = await bench.until(lambda row: row.state != "running")
    assert row.state == "failed"
    assert row.note.startswith(f"it ended by itself (signal 9), and left 1 process: pid {child} (")
    await bench.verbs.stop("ollama")
    await bench.until(lambda row: row.state == "stopped")
    assert process_start(child) is None


async def test_S17_one_that_dies_alone_is_stopped_and_its_signal_is_said(bench: Bench) -> None:
    await bench.start()
    os.kill(of_ours(await bench.until(lambda row: row.state == "running")), signal.SIGKILL)
    row = await bench.until(lambda row: row.state != "running")
    assert (row.state, row.note) == ("stopped", "it ended by itself (signal 9)")


async def test_S01_a_stop_that_a_killed_worker_left_half_done_is_finished(bench: Bench) -> None:
    await bench.start("wrapper")
    leader = of_ours(await bench.until(lambda row: row.state == "running"))
    child = bench.child()
    await bench.verbs.stop("ollama")
    await bench.until(lambda row: row.state == "stopping" and process_start(leader) is None)
    bench.supervisor = bench.new()
    await bench.supervisor.open()
    assert bench.row().state == "stopping"
    await bench.until(lambda row: row.state == "stopped")
    assert process_start(child) is None


async def test_P74_a_process_that_only_shares_the_number_of_the_session_is_left_alone(bench: Bench) -> None:
    """The record's leader is gone and its number is a stranger's session: no mark, no signal."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        await bench.verbs.start("ollama", str(bench.program), bench.address)
        row = bench.row()
        record = {"pid": stranger.pid, "start": "12345", "boot": boot_id(), "uuid": "f" * 32}
        await Servers(bench.database).record(replace(row, seen=row.asked, state="stopping", record=record))
        row = await bench.until(lambda row: row.state == "stopped")
        assert stranger.poll() is None
        bench.pids.clear()
        stranger.kill()


async def test_X12_P55_arguments_are_passed_as_they_are(bench: Bench) -> None:
    hostile = ["serve", "; touch pwned", "$(touch pwned)", "`touch pwned`", "~", "*", "{port}", "-rf", "two\nlines", "'\""]
    await bench.verbs.start("ollama", str(bench.program), bench.address, hostile, {"FAKE_MODE": ""})
    row = await bench.until(lambda row: row.state == "running")
    given = Path(f"/proc/{of_ours(row)}/cmdline").read_bytes().decode().split("\0")
    assert given[-len(hostile) - 1 : -1] == hostile
    assert list(bench.folder.rglob("pwned")) == []


async def test_X16_P51_S28_the_environment_opens_nothing_and_carries_no_keys(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "PADDOCK_PROVIDERS__BOX__KEY", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:1")
    await bench.start()
    row = await bench.until(lambda row: row.state == "running")
    environment = Path(f"/proc/{of_ours(row)}/environ").read_bytes()
    assert b"hunter2" not in environment
    assert f"OLLAMA_HOST={bench.address}".encode() in environment.split(b"\0")
    assert b"0.0.0.0" not in environment


async def test_S29_a_log_that_cannot_be_written_starts_nothing(bench: Bench) -> None:
    (bench.logs / "servers").mkdir(parents=True)
    (bench.logs / "servers" / "ollama.log").symlink_to(bench.folder / "victim")
    await bench.start()
    row = await bench.until(lambda row: row.state == "failed")
    assert "could not be started" in row.note
    assert not (bench.folder / "victim").exists()


async def test_S25_it_outlives_the_thread_that_started_it(bench: Bench) -> None:
    await bench.start()
    thread = threading.Thread(target=lambda: asyncio.run(bench.supervisor.tick()))
    thread.start()
    thread.join()
    row = await bench.until(lambda row: row.state == "running")
    assert process_start(of_ours(row)) is not None
    assert MARK.encode() in Path(f"/proc/{of_ours(row)}/environ").read_bytes()


async def test_P76_a_large_log_is_copied_aside_and_cut(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.worker.servers.MAX_LOG", 100)
    await bench.start()
    row = await bench.until(lambda row: row.state == "running")
    log = Path(row.record["log"])
    for number in range(6):
        with log.open("a") as file:
            file.write(f"{number}" * 200)
        await bench.supervisor.tick()
        assert log.stat().st_size == 0
    kept = sorted(file.name for file in log.parent.iterdir())
    assert kept == ["ollama.log", "ollama.log.1", "ollama.log.2", "ollama.log.3"]
    assert log.with_suffix(".log.1").read_text() == "5" * 200
    assert log.with_suffix(".log.1").stat().st_mode & 0o777 == 0o600
