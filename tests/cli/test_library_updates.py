"""outdated: what the registries have that is newer, with a server and a registry on real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HOSTILE, Run, controls, provider
from tests.cli.test_make import installed, queued
from tests.support.fault_server import FaultServer
from tests.support.registry import FakeRegistry, error
from tui.core.library import UpdateStatus
from tui.store.db import Database
from tui.store.update_states import UpdateStates

__all__ = ["installed"]


def test_outdated_lists_what_is_newer(installed: FakeRegistry, run: Run) -> None:
    said = run("outdated")
    assert said.code == 0
    assert [line.split()[:3] for line in said.lines] == [["MODEL", "PROVIDER", "UPDATE"], ["tiny:latest", "ollama", "weights"]]
    assert said.err == "1 of 3 models has something newer.\n"
    assert not queued(run)
    found = run("outdated", "--json").json["updates"]
    assert {one["model"]: one["status"] for one in found} == {
        "tiny:latest": "weights", "mine/other:latest": "current", "own:latest": "gone",
    }  # fmt: skip
    assert len(run("outdated", "--all").lines) == 4
    assert run("outdated", "mine/other").err == "0 of 1 models have something newer.\n"


def test_what_was_found_is_kept_for_the_app(installed: FakeRegistry, run: Run, home: Path) -> None:
    run("update", "tiny")  # makes the database
    run("outdated")
    database = Database(home / "data" / "paddock.db")
    states = UpdateStates(database).all()
    database.close()
    assert states["ollama", "tiny:latest"].status is UpdateStatus.WEIGHTS


def test_outdated_is_refused_offline_and_asks_for_a_yes_on_a_metered_network(
    installed: FakeRegistry, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PADDOCK_GENERAL__NETWORK", "offline")
    assert run("outdated").code == 3
    monkeypatch.setenv("PADDOCK_GENERAL__NETWORK", "metered")
    before = len(installed.requests)
    said = run("outdated")
    assert said.code == 3 and "--yes" in said.err and len(installed.requests) == before
    assert run("outdated", "--yes").code == 0


def test_X01_a_registry_that_refuses_in_hostile_words(installed: FakeRegistry, run: Run) -> None:
    installed.fault("tiny", error(403, f"no {HOSTILE}"))
    said = run("outdated")
    assert said.code == 1 and "it is not known whether there is a newer one" in said.err
    assert not controls(said.out + said.err)


def test_update_of_several_and_a_dry_run(installed: FakeRegistry, run: Run, configure: Any, server: FaultServer) -> None:
    said = run("update", "tiny", "mine/other", "--dry-run")
    assert said.code == 0 and "tiny:latest" in said.out and "mine/other:latest is the newest already." in said.err
    assert not queued(run)
    configure('[models]\npinned = ["tiny"]\n' + provider("box", server.url))
    said = run("update", "mine/other", "tiny")
    assert said.code == 3 and "never updated" in said.err and not queued(run)
