"""Two apps and the command line at once on one queue, random actions: one worker, and each entry ends as it was wished last."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from tests.sweep import ollama
from tests.sweep.hands import PICK, Hands
from tests.sweep.night import spawn, until
from tests.worker.fakes import CUT, END, MB, failed, step
from tui.cli import pulls as pulls_command
from tui.config.settings import Settings
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM, Clock, ManualClock
from tui.core.errors import FailureKind
from tui.core.events import JobStep
from tui.core.jobs import Job, Plan
from tui.core.models import Endpoint, Model, ModelDetail
from tui.services import jobs as jobs_module
from tui.services.audit import Audit
from tui.services.locks import WORKER_LOCK, Lock, read_holder, take
from tui.store.db import Database
from tui.worker.queue import Queue

PIECES = 5
AT_ONCE = 2
ENOUGH = 400
"""Ticks, five seconds each, within which everything comes to rest."""


class Server:
    """Pulls that go on piece by piece, when told to; what came stays."""

    def __init__(self) -> None:
        self.kept: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.listed: set[str] = set()
        self.gone: set[str] = set()
        self.ever_gone: set[str] = set()
        self.cut: set[str] = set()
        self.free = False
        self.waiting: list[asyncio.Future[None]] = []

    def serve(self) -> None:
        """A piece for each stream."""
        for one in self.waiting:
            if not one.done():
                one.set_result(None)
        self.waiting.clear()

    async def turn(self) -> None:
        """Wait for the next piece."""
        if self.free:
            await asyncio.sleep(0)
            return
        self.waiting.append(asyncio.get_running_loop().create_future())
        await self.waiting[-1]


class Connection:
    """A provider at the server."""

    capabilities = frozenset({Capability.PULL})

    def __init__(self, server: Server, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.server = server

    async def pull(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        server = self.server
        if model in server.gone:
            raise failed("There is no such model", FailureKind.NOT_FOUND)
        server.open[model] += 1
        try:
            yield step("pulling manifest")
            while server.kept[model] < PIECES:
                yield step("pulling", server.kept[model] * MB, PIECES * MB, f"sha256:{model}")
                await server.turn()
                if model in server.cut:
                    server.cut.discard(model)
                    raise CUT
                server.kept[model] += 1
            for end in END:
                if end.status == "success":
                    server.listed.add(model)
                yield end
        finally:
            server.open[model] -= 1

    async def models(self) -> tuple[Model, ...]:
        return tuple(Model("box", name, name) for name in sorted(self.server.listed))

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetail:
        return ModelDetail("box", model)

    async def aclose(self) -> None:
        pass


class Planner:
    """Knows no sizes."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    async def plan(self, provider: Any, model: str, *, insecure: bool = False) -> Plan:
        return Plan(made_at=self.clock.time())


class Child:
    """What `Popen` shows of a worker's process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code


class InMemory(Hands):
    """A queue that is ticked by a rule, on a clock that stands still; workers are objects that hold the real lock, and may die."""

    def open_world(self) -> tuple[Endpoint, Clock]:
        self.server = Server()
        self.now = ManualClock(float(int(time.time())))
        self.spawned: list[Child] = []
        self.alive: tuple[Child, Lock, Database, Queue] | None = None
        jobs_module.spawn_worker = self.spawn  # type: ignore[assignment]
        return Endpoint("box", "ollama", os.environ["TEST_FRONT"]), self.now

    def spawn(self, *_more: object) -> Child:
        self.spawned.append(Child())
        return self.spawned[-1]

    def run_a_while(self) -> None:
        async def some() -> None:
            for _ in range(30):
                await asyncio.sleep(0)

        self.do(some())

    # --- the workers' lives -------------------------------------------------------------------------------------------

    @rule()
    @precondition(lambda self: self.spawned)
    def a_worker_begins(self) -> None:
        """One of those that were started comes to life; where another holds the lock, it leaves."""
        child = self.spawned.pop(0)
        lock = take(self.paths.locks / WORKER_LOCK)
        assert (lock is None) is (self.alive is not None)
        if lock is None:
            child.code = 0
            return
        database = Database(self.paths.database)
        known = Settings()
        known = known.model_copy(update={"models": known.models.model_copy(update={"excluded": ("dog*",)})})
        audit = Audit(self.paths.state, self.now)
        queue = Queue(
            database,
            lambda: known,
            lambda endpoint: cast("Any", Connection(self.server, endpoint)),
            _nothing_to_check,
            cast("Any", Planner(self.now)),
            audit,
            self.now,
            lambda low, high: 1.0,
        )
        self.alive = (child, lock, database, queue)
        self.do(queue.open())

    @rule()
    def somebody_starts_another(self) -> None:
        """By hand, although one works already."""
        self.spawn()

    @rule()
    @precondition(lambda self: self.alive is not None)
    def the_worker_is_killed(self) -> None:
        """Its streams and its lock are gone, and what it had not written."""
        assert self.alive is not None
        child, lock, database, queue = self.alive
        self.alive = None
        tasks = [task for run in queue.runs.values() for task in (run.task, run.warming) if task is not None]
        for task in tasks:
            task.cancel()
        self.run_a_while()
        assert all(task.done() for task in tasks)
        child.code = -9
        self.lose(lock)
        database.close()

    def lose(self, lock: Lock) -> None:
        """As the kernel does: the lock is free, and the file names a process that is not there."""
        said = json.loads(lock.path.read_text())
        lock.release()
        lock.path.write_text(json.dumps({**said, "start": "0"}))

    @rule()
    @precondition(lambda self: self.alive is not None)
    def it_reads(self) -> None:
        """The wishes; others may write before it acts."""
        assert self.alive is not None
        self.do(self.alive[3].read())

    @rule(seconds=st.sampled_from((0.25, 0.25, 3.0, 20.0)))
    @precondition(lambda self: self.alive is not None)
    def it_ticks(self, seconds: float) -> None:
        """Once, some time later."""
        assert self.alive is not None
        self.now.advance(seconds)
        self.do(self.alive[3].tick())
        self.run_a_while()

    # --- the server ---------------------------------------------------------------------------------------------------

    @rule(times=st.integers(1, 7))
    def bytes_come(self, times: int) -> None:
        """Some pieces of everything that runs."""
        for _ in range(times):
            self.server.serve()
            self.run_a_while()

    @rule(pick=PICK)
    def a_stream_breaks(self, pick: int) -> None:
        """Some time from now."""
        if (job := self.pick(pick)) is not None:
            self.server.cut.add(job.model)

    @rule(pick=PICK)
    def a_model_is_gone(self, pick: int) -> None:
        """The registry has it no more."""
        if (job := self.pick(pick)) is not None:
            self.server.gone.add(job.model)
            self.server.ever_gone.add(job.model)

    def may_fail(self, job: Job) -> bool:
        return job.model in self.server.ever_gone

    # --- what must be true --------------------------------------------------------------------------------------------

    @invariant()
    def one_worker(self) -> None:
        """At most one holds the lock, and everybody is told who."""
        path = self.paths.locks / WORKER_LOCK
        assert (read_holder(path) is not None) is (self.alive is not None)
        if path.exists():
            handle = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = True
            except BlockingIOError:
                free = False
            finally:
                os.close(handle)
            assert free is (self.alive is None)

    @invariant()
    def one_stream_a_model(self) -> None:
        """And no more than places."""
        assert all(count in (0, 1) for count in self.server.open.values()), self.server.open
        assert self.server.open.total() <= AT_ONCE

    # --- the end ------------------------------------------------------------------------------------------------------

    def settle(self, done: Callable[[], bool]) -> None:
        self.server.free = True
        self.server.gone.clear()
        for _ in range(ENOUGH):
            if self.alive is None:
                self.do(self.apps[0].ensure_worker())
                if not self.spawned and done():
                    return
                if not self.spawned:  # it was started a moment ago, and is given three seconds to appear
                    self.spawn()
                self.a_worker_begins()
            self.server.serve()
            self.it_reads()
            self.it_ticks(5.0)
            self.one_stream_a_model()
            if done():
                return

    def close_world(self) -> None:
        if self.alive is not None:
            self.the_worker_is_killed()


class Real(Hands):
    """The same hands, with a server and workers that are processes."""

    moves_by_itself = True

    def open_world(self) -> tuple[Endpoint, Clock]:
        self.box = self.folder / "box"
        self.box.mkdir()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.server = self.serve(0)
        self.port = int((self.box / "port").read_text())
        url = f"http://127.0.0.1:{self.port}"
        os.environ |= {"PADDOCK_REGISTRY": url, "OLLAMA_MODELS": str(self.folder / "nowhere"), "SWEEP_QUICK": "1"}
        jobs_module.spawn_worker = self.spawn  # type: ignore[assignment]
        return Endpoint("box", "ollama", url), SYSTEM

    def serve(self, port: int) -> subprocess.Popen[bytes]:
        (self.box / "port").unlink(missing_ok=True)
        script = Path(ollama.__file__)
        child = subprocess.Popen([sys.executable, "-S", str(script), str(self.box), str(port)], stdin=subprocess.DEVNULL)
        until(lambda: (self.box / "port").exists(), "the server's port")
        return child

    def spawn(self, *_more: object) -> subprocess.Popen[bytes]:
        self.workers.append(spawn(self.paths))
        return self.workers[-1]

    @rule(seconds=st.sampled_from((0.02, 0.1, 0.3)))
    def time_passes(self, seconds: float) -> None:
        """And something happens, or nothing."""
        self.do(asyncio.sleep(seconds))
        self.do(self.apps[0].ensure_worker())

    @rule()
    def somebody_starts_another(self) -> None:
        """By hand, although one may work already."""
        self.spawn()

    @rule()
    def the_worker_is_killed(self) -> None:
        """Whichever holds the lock."""
        holder = read_holder(self.paths.locks / WORKER_LOCK)
        if holder is not None:
            os.kill(holder.who.pid, signal.SIGKILL)

    @rule()
    def the_server_is_killed(self) -> None:
        """And started again."""
        self.server.kill()
        self.server.wait(10)
        self.server = self.serve(self.port)

    def settle(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not done() and time.monotonic() < end:
            self.do(self.apps[0].ensure_worker())
            self.do(asyncio.sleep(0.05))
        assert [line for line in (self.box / "diary").read_text().splitlines() if '"double"' in line] == []

    def close_world(self) -> None:
        for child in [*self.workers, self.server]:
            child.kill()
            child.wait(10)


class Front(BaseHTTPRequestHandler):
    """What the command line asks of the server before it queues."""

    def do_GET(self) -> None:
        body = b'{"version": "0.24.0", "models": []}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same server's address, for the command line."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        monkeypatch.setenv("TEST_FRONT", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()
        thread.join(5)


async def _nothing_to_check(_endpoint: Endpoint) -> None:
    return None


@pytest.fixture(autouse=True)
def as_a_person_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line waits for no worker that a rule moves."""
    monkeypatch.setattr(pulls_command, "ACTED", 0.0)
    monkeypatch.setattr(jobs_module, "spawn_worker", lambda *_more: None)
    monkeypatch.setattr(jobs_module, "logout_note", lambda: "")
    for name in ("PADDOCK_HOME", "PADDOCK_REGISTRY", "OLLAMA_MODELS", "SWEEP_QUICK"):  # set by each world, and as they were afterwards
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv("PADDOCK_GENERAL__DISCOVER", "false")


def passes(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),  # to shrink takes minutes; add Phase.shrink to look at one failure
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize(
    ("examples", "steps"), [pytest.param(12, 30, id="sample"), pytest.param(400, 60, id="whole", marks=pytest.mark.sweep)]
)
def test_Q13_P13_Q15_many_hands_on_one_queue(front: None, examples: int, steps: int) -> None:
    run_state_machine_as_test(InMemory, settings=passes(examples, steps))


@pytest.mark.parametrize(
    ("examples", "steps"), [pytest.param(2, 20, id="sample"), pytest.param(40, 40, id="whole", marks=pytest.mark.sweep)]
)
def test_Q13_P13_P05_many_hands_on_real_processes(examples: int, steps: int) -> None:
    run_state_machine_as_test(Real, settings=passes(examples, steps))
