"""What app and command line do for the queue besides wishing: locks, the start of a worker, the machine's habits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tui.config.paths import find_paths
from tui.core.errors import PaddockError
from tui.core.jobs import JobKind
from tui.core.models import Endpoint
from tui.services import jobs as jobs_module
from tui.services.jobs import Jobs, logout_note, spawn_worker
from tui.services.locks import read_holder, take
from tui.store.db import Database
from tui.store.identity import myself
from tui.store.jobs import JobTable


def test_a_lock_names_its_holder_and_is_free_after_its_end(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "worker.lock"
    assert read_holder(path) is None
    code = (
        "import sys; from pathlib import Path; from tui.services.locks import take\n"
        f"lock = take(Path({str(path)!r})); print(lock is not None, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        holder = read_holder(path)
        assert holder is not None
        assert holder.who.pid == process.pid
        assert take(path) is None
        process.kill()
    assert read_holder(path) is None
    lock = take(path)
    assert lock is not None
    mine = read_holder(path)
    assert mine is not None
    assert mine.who == myself()
    lock.release()
    assert read_holder(path) is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "nonsense", '{"pid": "x"}', '{"pid": 1, "start": "0", "boot": "b", "version": "1", "schema": 1}']
)
def test_S03_a_lock_file_that_names_nobody_alive(tmp_path: Path, text: str) -> None:
    path = tmp_path / "worker.lock"
    path.write_text(text)
    assert read_holder(path) is None


def test_C14_a_planted_lock_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "worker.lock").symlink_to(victim)
    with pytest.raises(PaddockError):
        take(tmp_path / "worker.lock")
    assert victim.read_text() == "precious"


def test_the_worker_is_started_detached_and_finds_the_same_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def popen(command: list[str], **more: Any) -> None:
        seen.update(more, command=command, mode=os.fstat(more["stdout"]).st_mode & 0o777)

    monkeypatch.setattr(jobs_module.subprocess, "Popen", popen)
    monkeypatch.setenv("PADDOCK_PULLS__AT_ONCE", "5")
    monkeypatch.setenv("BOX_KEY", "k")
    paths = find_paths(demo=True, environ={"PADDOCK_HOME": str(tmp_path), "HOME": str(tmp_path)})
    spawn_worker(paths)
    assert seen["command"] == [sys.executable, "-m", "tui", "worker", "--simulated"]
    assert seen["start_new_session"] is True
    assert seen["stdin"] == subprocess.DEVNULL
    assert seen["mode"] == 0o600
    assert (seen["cwd"] / "tui" / "__init__.py").exists()
    assert "PADDOCK_PULLS__AT_ONCE" not in seen["env"]
    assert seen["env"]["BOX_KEY"] == "k"
    assert find_paths(environ=seen["env"]).database == paths.database


@pytest.mark.parametrize(("linger", "kill", "said"), [("no", "yes", True), ("yes", "yes", False), ("no", "no", False)])
def test_S32_logind_that_ends_processes_at_logout_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linger: str, kill: str, said: bool
) -> None:
    program = tmp_path / "loginctl"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *Linger*) echo Linger={linger};; *KillUserProcesses*) echo KillUserProcesses={kill};; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert ("enable-linger" in logout_note()) is said


def test_S32_without_logind_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert logout_note() == ""


def test_the_lock_file_is_readable_text(tmp_path: Path) -> None:
    lock = take(tmp_path / "l")
    assert lock is not None
    assert set(json.loads((tmp_path / "l").read_text())) == {"pid", "start", "boot", "version", "schema"}
    lock.release()


async def test_a_worker_that_cannot_start_is_not_started_in_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = find_paths(environ={"PADDOCK_HOME": str(tmp_path), "HOME": str(tmp_path)})
    database = Database(paths.database)
    jobs = Jobs(database, paths)
    started: list[subprocess.Popen[bytes]] = []
    now = [1000.0]

    def spawn(of: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["false"]))
        started[-1].wait()
        return started[-1]

    monkeypatch.setattr(jobs_module, "spawn_worker", spawn)
    monkeypatch.setattr(jobs_module.time, "monotonic", lambda: now[0])
    await JobTable(database).add(JobKind.PULL, "a", Endpoint("box", "ollama", "http://127.0.0.1:1"))
    for _ in range(300):
        await jobs.ensure_worker()
        now[0] += 1
    monkeypatch.undo()
    assert 6 <= len(started) <= 12
    assert "ended unexpectedly" in jobs.worker().note
    assert "worker.log" in jobs.worker().note
    await database.aclose()
