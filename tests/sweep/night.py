"""One night of one person: a home, a server that may be killed, a queue, and whoever works it, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from tests.sweep.ollama import WORLD, layers_of
from tui.config.paths import Paths, find_paths
from tui.core.jobs import Job, JobKind, JobState, JobWish
from tui.core.models import Endpoint
from tui.services.locks import WORKER_LOCK, read_holder
from tui.store.db import Database
from tui.store.jobs import JobTable

ROOT: Final = Path(__file__).resolve().parents[2]
MODELS: Final = ("ant", "bee", "cat")
PAUSED: Final = "dog"
STEPS: Final = len(MODELS) * (WORLD["lines"] + 1 + 2 * 2 + 2 + 4)
"""Progress lines of all pulls, the small layers' and those without bytes included."""
WITHIN: Final = 60.0


def spawn(paths: Paths, *_arguments: str) -> subprocess.Popen[bytes]:
    """A worker that ends soon; `SWEEP_QUICK` makes it a hasty one."""
    module = ["tests.sweep.worker"] if os.environ.get("SWEEP_QUICK") else ["tui", "worker"]
    paths.logs.mkdir(parents=True, exist_ok=True)
    with (paths.logs / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *module, "--linger", "0.3", "--no-space-checks"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **paths.environment()},
            start_new_session=True,
        )


class Night:
    """Servers, workers, apps; `close` ends what is left.

    Attributes:
        order: Ids of the queue, as they must stay.
    """

    def __init__(self, folder: Path, *, quick: bool, world: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.box = folder / "box"
        self.box.mkdir(parents=True)
        self.world = {**WORLD, **(world or {})}
        (self.box / "world.json").write_text(json.dumps(self.world))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.server = self._serve()
        until(lambda: (self.box / "port").exists(), "the server's port")
        self.port = int((self.box / "port").read_text())
        self.url = f"http://127.0.0.1:{self.port}"
        self.paths = find_paths(environ={"PADDOCK_HOME": str(folder / "home"), "HOME": str(folder)})
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PADDOCK_", "OLLAMA_", "SWEEP_"))},
            "HOME": str(folder),
            **self.paths.environment(),
            "PADDOCK_REGISTRY": self.url,
            "OLLAMA_MODELS": str(folder / "nowhere"),
            **({"SWEEP_QUICK": "1"} if quick else {}),
        }
        self.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.paths.config_file.write_text(f'[general]\ndiscover = false\n[providers.box]\nkind = "ollama"\nurl = "{self.url}"\n')
        self.database = Database(self.paths.database)
        self.table = JobTable(self.database)
        self.order: list[int] = []
        self.wishes: list[JobWish] = []

    # --- processes -------------------------------------------------------------------------------------------------

    def _serve(self, port: int = 0) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("ollama.py")
        return subprocess.Popen([sys.executable, "-S", str(script), str(self.box), str(port)], stdin=subprocess.DEVNULL)

    def serve_again(self) -> None:
        """The server on the same port, with what its disk has."""
        (self.box / "port").unlink()
        self.server = self._serve(self.port)
        until(lambda: (self.box / "port").exists(), "the server's port")

    def kill_server(self) -> None:
        """`kill -9`."""
        self.server.kill()
        self.server.wait(10)

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """A Python process of this home."""
        with (self.folder / "said").open("ab") as said:
            child = subprocess.Popen(
                [sys.executable, *argv], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=self.env, start_new_session=True
            )
        self.processes.append(child)
        return child

    def app(self) -> subprocess.Popen[bytes]:
        """The app's engine, without a screen."""
        return self.start("-m", "tests.sweep.app")

    def command(self, *words: str) -> subprocess.Popen[bytes]:
        """The command line."""
        return self.start("-m", "tui", *words)

    def worker(self) -> int:
        """Who works the queue; 0 where nobody does."""
        holder = read_holder(self.paths.locks / WORKER_LOCK)
        return 0 if holder is None else holder.who.pid

    def kill_worker(self) -> int:
        """`kill -9` where one lives; its pid."""
        pid = self.worker()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pid

    def left(self) -> list[psutil.Process]:
        """The processes of this home that live."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
                if mine and process.environ().get("PADDOCK_HOME") == self.env["PADDOCK_HOME"]:
                    found.append(process)
        return found

    # --- the queue -------------------------------------------------------------------------------------------------

    async def fill(self) -> None:
        """Four entries: the last moved to the front, one of them paused."""
        endpoint = Endpoint("box", "ollama", self.url)
        numbers = [(await self.table.add(JobKind.PULL, name, endpoint, asked_by="test")).id for name in (*MODELS, PAUSED)]
        await self.table.wish([numbers[-1]], JobWish.PAUSE)
        await self.table.move([numbers[2]], "first")
        self.order = [numbers[2], numbers[0], numbers[1], numbers[3]]
        self.wishes = [job.wish for job in self.jobs()]

    def jobs(self) -> tuple[Job, ...]:
        """The queue."""
        return self.table.list()

    def check_queue(self) -> None:
        """Nothing is lost, doubled, moved or wished otherwise."""
        jobs = self.jobs()
        assert [job.id for job in jobs] == self.order
        assert [job.wish for job in jobs] == self.wishes
        assert Counter(job.model for job in jobs) == Counter(f"{name}:latest" for name in (*MODELS, PAUSED))

    def ended(self) -> bool:
        """Whether nothing more can happen."""
        return all(job.state is (JobState.PAUSED if job.wish is JobWish.PAUSE else JobState.DONE) for job in self.jobs())

    def steps(self) -> int:
        """Progress lines that the server said, over all its lives."""
        file = self.box / "steps"
        return file.stat().st_size if file.exists() else 0

    def diary(self) -> list[dict[str, Any]]:
        """What the server noted."""
        return [json.loads(line) for line in (self.box / "diary").read_text().splitlines()]

    def words(self) -> str:
        """For a failure: everything that is known."""
        log = self.paths.logs / "worker.log"
        said = self.folder / "said"
        rows = [f"{job.id} {job.model} {job.wish} {job.state} {job.wait} {job.note} {job.done}/{job.total}" for job in self.jobs()]
        return "\n".join([*rows, *(file.read_text() for file in (log, said) if file.exists()), *map(str, self.diary()[-20:])])

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition."""
        end = time.monotonic() + WITHIN
        while not condition():
            assert time.monotonic() < end, f"not within {WITHIN:.0f} s: {what}\n{self.words()}"
            await asyncio.sleep(0.01)

    def check_end(self) -> None:
        """All is as if nobody had ever been killed."""
        self.check_queue()
        jobs = {job.model.removesuffix(":latest"): job for job in self.jobs()}
        for name in MODELS:
            sizes = {digest: size for _, size, digest in layers_of(name, self.world)}
            job = jobs[name]
            assert (job.state, job.percent, job.done, job.total) == (JobState.DONE, 100.0, sum(sizes.values()), sum(sizes.values())), job
            assert (self.box / "listed" / f"{name}:latest").read_text() == job.digest
            assert {file.name for file in (self.box / "blobs").iterdir()} >= sizes.keys()
        assert not list((self.box / "blobs").glob("*-partial"))
        assert [note for note in self.diary() if note["what"] == "double"] == []
        assert all(note["model"] != PAUSED for note in self.diary())
        with contextlib.closing(sqlite3.connect(f"file:{self.paths.database}?mode=ro", uri=True)) as connection:
            assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            past = connection.execute("SELECT job, state FROM job_history ORDER BY job").fetchall()
        assert past == sorted((jobs[name].id, "done") for name in MODELS)

    async def finish(self) -> None:
        """The queue ends, the worker too, and nothing of this home is left."""
        await self.until(self.ended, "the end of the queue")
        for child in self.processes:
            if child.poll() is None:
                child.kill()
            await asyncio.to_thread(child.wait, 10)
        if pid := self.worker():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)  # one that the program itself started lingers for a minute
        await self.until(lambda: not self.worker() and not self.left(), "the end of all processes")
        self.check_end()

    async def close(self) -> None:
        """End what is left."""
        for child in [self.server, *self.processes]:
            child.kill()
            child.wait(10)
        for process in self.left():
            with contextlib.suppress(psutil.Error):
                process.kill()
        await self.database.aclose()


def until(condition: Callable[[], object], what: str, within: float = 10.0) -> None:
    """Wait for a condition without a loop."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)
