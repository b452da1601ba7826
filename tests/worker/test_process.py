"""The worker as a process: one a home, killed at bad moments, handed over, ended."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tui.config.paths import Paths, find_paths
from tui.core.jobs import JobState, QueueView
from tui.core.models import Endpoint
from tui.services import jobs as jobs_module
from tui.services.jobs import Jobs
from tui.services.locks import WORKER_LOCK, read_holder
from tui.store.db import Database
from tui.store.meta import HAND_OVER, Meta

ROOT = Path(__file__).parents[2]


class Home:
    """A home, a folder that plays the server, and the workers started for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = folder / "server"
        (self.server / "listed").mkdir(parents=True)
        self.endpoint = Endpoint("box", "ollama", f"folder:{self.server}")
        self.paths: Paths = find_paths(environ={"PADDOCK_HOME": str(folder / "home"), "HOME": str(folder)})
        self.workers: list[subprocess.Popen[bytes]] = []
        self.linger = "0.3"
        monkeypatch.setattr(jobs_module, "spawn_worker", self.spawn)
        monkeypatch.setattr(jobs_module, "logout_note", lambda: "")
        self.database = Database(self.paths.database)
        self.jobs = Jobs(self.database, self.paths)

    def spawn(self, paths: Paths, *arguments: str) -> subprocess.Popen[bytes]:
        paths.logs.mkdir(parents=True, exist_ok=True)
        with (paths.logs / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.worker.fake_worker", "--linger", self.linger],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **paths.environment(), "PYTHONWARNINGS": "error"},
                start_new_session=True,
            )
        self.workers.append(worker)
        return worker

    def hold(self, on: bool) -> None:
        (self.server / "hold").touch() if on else (self.server / "hold").unlink(missing_ok=True)

    def log(self) -> list[str]:
        file = self.server / "log"
        return file.read_text().splitlines() if file.exists() else []

    def words(self) -> str:
        file = self.paths.logs / "worker.log"
        return file.read_text() if file.exists() else ""

    async def until(self, condition: Callable[[QueueView], Any], seconds: float = 10.0) -> None:
        limit = time.monotonic() + seconds
        while not condition(self.jobs.view.value):
            assert time.monotonic() < limit, f"{self.jobs.view.value}\n{self.words()}"
            await asyncio.sleep(0.01)
            self.jobs.refresh()

    async def close(self) -> None:
        self.hold(False)
        for worker in self.workers:
            if worker.poll() is None:
                worker.terminate()
            await asyncio.to_thread(worker.wait, 10)
        await self.database.aclose()


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    home = Home(tmp_path, monkeypatch)
    yield home
    await home.close()


def all_done(view: QueueView) -> bool:
    return bool(view.jobs) and all(job.state is JobState.DONE for job in view.jobs)


async def test_it_starts_on_demand_works_and_ends_by_itself(home: Home) -> None:
    await home.jobs.ensure_worker()
    assert home.workers == []
    await home.jobs.add("a", home.endpoint)
    await home.jobs.add("b", home.endpoint)
    await home.until(lambda view: view.worker.running)
    assert home.jobs.view.value.worker.pid == home.workers[0].pid
    await home.until(all_done)
    assert await asyncio.to_thread(home.workers[0].wait, 10) == 0
    assert len(home.workers) == 1
    assert read_holder(home.paths.locks / WORKER_LOCK) is None
    await home.jobs.ensure_worker()
    assert len(home.workers) == 1
    assert (home.paths.locks / WORKER_LOCK).stat().st_mode & 0o777 == 0o600


async def test_Q13_P13_a_second_worker_leaves_at_once(home: Home) -> None:
    home.hold(True)
    await home.jobs.add("a", home.endpoint)
    await home.until(lambda view: view.worker.running and view.jobs[0].state is JobState.FETCHING)
    second = home.spawn(home.paths)
    assert await asyncio.to_thread(second.wait, 10) == 0
    holder = read_holder(home.paths.locks / WORKER_LOCK)
    assert holder is not None
    assert holder.who.pid == home.workers[0].pid
    assert len(home.log()) == 1


async def test_X24_the_worker_listens_nowhere(home: Home) -> None:
    home.hold(True)
    await home.jobs.add("a", home.endpoint)
    await home.until(lambda view: view.worker.running and view.jobs[0].state is JobState.FETCHING)
    assert psutil.Process(home.workers[0].pid).net_connections() == []


async def test_P38_an_entry_nobody_can_read_ends_no_worker(home: Home) -> None:
    home.hold(True)
    broken = await home.jobs.add("a", home.endpoint)
    await home.jobs.add("b", home.endpoint)
    await home.until(lambda view: view.count(JobState.FETCHING) == 2)
    await home.database.run(
        lambda connection: connection.execute("UPDATE job SET kind = 'of a newer version' WHERE id = ?", (broken.id,)), ("jobs", "wishes")
    )
    home.hold(False)
    await home.until(all_done)
    assert [job.model for job in home.jobs.view.value.jobs] == ["b:latest"]
    assert await asyncio.to_thread(home.workers[0].wait, 10) == 0
    assert len(home.workers) == 1


async def test_P38_a_fault_of_ours_in_one_tick_ends_no_worker(home: Home) -> None:
    home.hold(True)
    await home.jobs.add("a", home.endpoint)
    await home.until(lambda view: view.worker.running and view.jobs[0].state is JobState.FETCHING)
    await home.database.run(
        lambda connection: connection.execute(
            "INSERT INTO server (name, program, arguments, environment, address, wish) VALUES ('x', x'00ff', '[]', '{}', 7, 'running')"
        ),
        ("servers",),
    )
    await asyncio.to_thread(_until, lambda: "a tick failed" in home.words())
    home.hold(False)
    await home.until(all_done)
    assert home.words().count("a tick failed") == 1  # the same trouble every quarter of a second is said once
    assert home.workers[0].poll() is None


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


async def test_Q13_a_killed_worker_is_replaced_by_whoever_follows(home: Home) -> None:
    home.hold(True)
    follow = asyncio.create_task(home.jobs.follow())
    await home.jobs.add("a", home.endpoint)
    await home.until(lambda view: view.jobs[0].state is JobState.FETCHING)
    killed = time.monotonic()
    home.workers[0].kill()
    home.hold(False)
    await home.until(lambda view: view.worker.running and view.worker.pid != home.workers[0].pid)
    assert time.monotonic() - killed < 5
    await home.until(all_done)
    follow.cancel()
    assert len(home.workers) == 2


async def kill_often(home: Home, times: int, seed: int) -> None:
    (home.server / "size").write_text("300")
    names = [f"m{number}" for number in range(4)]
    for name in names:
        await home.jobs.add(name, home.endpoint)
    order = [job.id for job in home.jobs.view.value.jobs]
    choice = random.Random(seed)
    for _ in range(times):
        await home.until(lambda view: view.worker.running)
        seen = len(home.log())
        await home.until(lambda view, seen=seen: len(home.log()) > seen or all_done(view))
        steps = choice.randint(0, 60)
        before = sum(file.stat().st_size for file in home.server.glob("m*"))
        await home.until(
            lambda view, before=before, steps=steps: (
                sum(file.stat().st_size for file in home.server.glob("m*")) >= before + steps or all_done(view)
            )
        )
        home.workers[-1].kill()
        await asyncio.to_thread(home.workers[-1].wait, 10)
        home.jobs.refresh()
        assert [job.id for job in home.jobs.view.value.jobs] == order
        assert sorted(job.model for job in home.jobs.view.value.jobs) == sorted(f"{name}:latest" for name in names)
        if all_done(home.jobs.view.value):
            break
        await home.jobs.ensure_worker()
    (home.server / "size").write_text("310")
    await home.until(all_done, 30)
    assert [job.id for job in home.jobs.view.value.jobs] == order
    assert {file.name for file in (home.server / "listed").iterdir()} == set(names)


async def test_Q03_P05_killed_at_five_moments(home: Home) -> None:
    await kill_often(home, 5, seed=3)


@pytest.mark.sweep
async def test_Q03_killed_at_twenty_moments(home: Home) -> None:
    await kill_often(home, 25, seed=4)


async def test_pause_resume_and_cancel_reach_the_running_worker(home: Home) -> None:
    home.hold(True)
    job = await home.jobs.add("a", home.endpoint)
    await home.until(lambda view: view.jobs[0].state is JobState.FETCHING)
    await home.jobs.pause([job.id])
    await home.until(lambda view: view.jobs[0].state is JobState.PAUSED)
    await home.jobs.resume([job.id])
    await home.until(lambda view: view.jobs[0].state is JobState.FETCHING)
    await home.jobs.cancel([job.id])
    await home.until(lambda view: view.jobs[0].state is JobState.CANCELLED)
    await home.jobs.remove([job.id])
    assert home.jobs.view.value.jobs == ()


@pytest.mark.parametrize("how", ["hand over", "SIGTERM"])
async def test_it_ends_within_seconds_when_told_to_and_keeps_the_queue(home: Home, how: str) -> None:
    home.hold(True)
    await home.jobs.add("a", home.endpoint)
    await home.until(lambda view: view.jobs[0].state is JobState.FETCHING)
    began = time.monotonic()
    if how == "hand over":
        await Meta(home.database).set(HAND_OVER, str(home.workers[0].pid))
    else:
        home.workers[0].terminate()
    assert await asyncio.to_thread(home.workers[0].wait, 10) == 0
    assert time.monotonic() - began < 5
    home.jobs.refresh()
    (job,) = home.jobs.view.value.jobs
    assert job.state is JobState.INTERRUPTED
    assert not home.jobs.view.value.worker.running


async def test_P36_it_survives_a_hangup(home: Home) -> None:
    home.hold(True)
    await home.jobs.add("a", home.endpoint)
    await home.until(lambda view: view.jobs[0].state is JobState.FETCHING)
    home.workers[0].send_signal(signal.SIGHUP)
    home.hold(False)
    await home.until(all_done)


async def test_an_older_worker_is_asked_to_hand_over(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.hold(True)
    await home.jobs.add("a", home.endpoint)
    await home.until(lambda view: view.jobs[0].state is JobState.FETCHING)
    monkeypatch.setattr(jobs_module, "__version__", "999.0.0")
    await home.jobs.ensure_worker()
    assert await asyncio.to_thread(home.workers[0].wait, 10) == 0
    await home.jobs.ensure_worker()
    assert len(home.workers) == 2
    await home.until(lambda view: view.worker.pid == home.workers[1].pid)


async def test_settings_are_followed_while_it_works(home: Home) -> None:
    home.hold(True)
    for name in "abc":
        await home.jobs.add(name, home.endpoint)
    await home.until(lambda view: view.count(JobState.FETCHING) == 2)
    home.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    home.paths.config_file.write_text("[pulls]\nat_once = 3\n")
    await home.until(lambda view: view.count(JobState.FETCHING) == 3)


def test_a_worker_reads_all_its_modules_at_the_start() -> None:
    """An upgrade of the files under it must not break it: what it measures, watches and does is there before it works."""
    code = (
        "import sys; from tui.worker import process; process._real(); before = set(sys.modules)\n"
        "from tui.hardware import gpus, once, processes\n"
        "from tui.services.monitor import acting, alarms, history, keeping, rules, sampling\n"
        "from tui.worker import acting as _acting, fullness, rules as _rules\n"
        "print(sorted(name for name in set(sys.modules) - before if name.startswith('tui.')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == "[]"
