"""pull: names however they come, the plan before anything is queued, what needs a yes, and what it will wait for."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections import namedtuple
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HOSTILE, Run, Typed, controls, has_blob, provider
from tests.cli.test_changes import audit
from tests.cli.test_process import paddock
from tests.support.fault_server import Exchange, FaultServer
from tests.support.registry import FakeRegistry, error, silent
from tui.cli import planning
from tui.cli.asked import read_limit, read_names, read_time, time_words
from tui.core.errors import PaddockError
from tui.services import space

Usage = namedtuple("Usage", "total used free")


def jobs(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run("pulls", "--json").json["jobs"]
    return found


def models(run: Run) -> list[str]:
    return [job["model"] for job in jobs(run)]


# --- names ---------------------------------------------------------------------------------------------------------------


async def test_names_come_once_however_spelled_and_http_means_insecure(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text(
        "\ufeff# for the night\n\nqwen3:8b   # the good one\n  library/QWEN3:8B\n"
        "http://box:5000/ns/m\nbox:5000/ns/m:latest\nhttps://hf.co/org/repo:Q4_K_M\n",
        "utf-8",
    )
    found = await read_names(["tiny", "a/b:c"], str(names))
    assert [(one.name.lower(), one.insecure) for one in found] == [
        ("tiny:latest", False),
        ("a/b:c", False),
        ("qwen3:8b", False),
        ("box:5000/ns/m:latest", True),
        ("hf.co/org/repo:q4_k_m", False),
    ]
    assert all(one.insecure for one in await read_names(["tiny"], "", insecure=True))


@pytest.mark.parametrize(
    ("content", "where"),
    [(b"fine:1b\nnot a name\n", "names:2"), (b"fine\0:1b", "names"), (b"\xff\xfe/\n", "names:1"), (b"x" * 1_000_001, "names")],
)
async def test_a_bad_list_is_refused_with_its_line(tmp_path: Path, content: bytes, where: str) -> None:
    names = tmp_path / "names"
    names.write_bytes(content)
    with pytest.raises(PaddockError) as caught:
        await read_names([], str(names))
    assert caught.value.failure.where.endswith(where) and caught.value.failure.kind == "config" and caught.value.failure.remedy


def test_names_from_standard_input(server: FaultServer, registry: FakeRegistry, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("tiny\n# no\nmine/other\n"))
    assert run("pull", "--file", "-").code == 0
    assert models(run) == ["tiny:latest", "mine/other:latest"]


def test_a_folder_is_no_list(server: FaultServer, run: Run, tmp_path: Path) -> None:
    said = run("pull", "--file", str(tmp_path))
    assert said.code == 2 and "not a file" in said.err


# --- amounts and times ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("20MB", 20_000_000), ("20 MB/s", 20_000_000), ("1mib", 1_048_576), ("5000000", 5_000_000), ("none", None), ("Off", None)],
)
def test_limits_are_read(text: str, wanted: int | None) -> None:
    assert read_limit(text, "x") == wanted


@pytest.mark.parametrize("text", ["", "fast", "999kB", "-5MB", "20MB/h", "1e9", "nan"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(PaddockError) as caught:
        read_limit(text, "--limit")
    assert caught.value.failure.kind == "config" and "none is no limit" in caught.value.failure.remedy


def wall(*parts: int) -> float:
    return datetime(*parts).timestamp()  # type: ignore[arg-type]  # noqa: DTZ001


def test_times_are_those_of_the_clock_on_the_wall() -> None:
    now = wall(2026, 11, 21, 22, 30)
    assert read_time("23:00", "x", now) == now + 1800
    assert read_time("22:30", "x", now) == wall(2026, 11, 22, 22, 30)
    assert read_time("7:05", "x", now) == wall(2026, 11, 22, 7, 5)
    assert read_time("+2h", "x", now) == now + 7200
    assert read_time("2026-11-23 06:00", "x", now) == wall(2026, 11, 23, 6, 0)
    assert read_time("none", "x", now) is None
    for text in ("24:00", "noon", "+", "+2y", "2026-11-20", "99999-01-01", ""):
        with pytest.raises(PaddockError):
            read_time(text, "x", now)
    assert time_words(now, now) == "22:30" and time_words(now + 90_000, now) == "2026-11-22 23:30"


# --- the plan ------------------------------------------------------------------------------------------------------------


def test_it_says_how_much_is_there_already(server: FaultServer, registry: FakeRegistry, run: Run) -> None:
    has_blob(server, "model")
    said = run("pull", "tiny")
    assert said.code == 0 and not said.out
    assert said.err.splitlines()[0] == "tiny:latest: 3.0 MB, all but 1.1 kB of it already there."
    said = run("pull", "mine/other")
    assert "mine/other:latest: 1.0 MB" in said.err


def test_what_the_registry_does_not_know_is_refused_and_the_rest_is_queued(server: FaultServer, registry: FakeRegistry, run: Run) -> None:
    registry.fault("gated/model", error(403, "access to this model is restricted"))
    said = run("pull", "nothere:1b", "tiny", "gated/model")
    assert said.code == 1 and "nothere:1b" in said.err and "gated/model" in said.err and "Traceback" not in said.err
    assert models(run) == ["tiny:latest"]
    said = run("pull", "nothere:1b", "tiny", "--json")
    assert said.code == 1
    assert [job["model"] for job in said.json["jobs"]] == ["tiny:latest"]
    (refused,) = said.json["refused"]
    assert (
        refused["model"] == "nothere:1b" and refused["provider"] == "ollama" and refused["failure"]["what"] and refused["failure"]["remedy"]
    )
    assert said.json["plans"][0]["plan"] is None and said.json["plans"][1]["plan"]["total"] == 3_000_099


def test_a_server_that_is_too_old_is_refused_before_anything_is_queued(server: FaultServer, registry: FakeRegistry, run: Run) -> None:
    registry.add("new:1b", [("model", 10)], config={"requires": "9.1.0"})
    said = run("pull", "new:1b", "--wait")
    assert said.code == 1 and "needs Ollama 9.1.0" in said.err and "Update" in said.err
    assert not jobs(run)


def test_a_dry_run_shows_the_plan_and_queues_nothing(server: FaultServer, registry: FakeRegistry, run: Run, home: Path) -> None:
    has_blob(server, "model")
    said = run("pull", "tiny", "nothere:1b", "--dry-run")
    assert said.code == 1 and "Nothing was queued" in said.err
    assert said.lines[0].split() == ["MODEL", "PROVIDER", "SIZE", "THERE", "TO", "FETCH", "FREE", "NOTE"]
    assert said.lines[1].split()[:6] == ["tiny:latest", "ollama", "3.0", "MB", "3.0", "MB"] and "nothere:1b" in said.lines[2]
    said = run("pull", "tiny", "--dry-run", "--json", readonly=True)
    (plan,) = said.json["plans"]
    assert said.code == 0 and plan["plan"]["missing"] == 1099 and plan["plan"]["total"] == 3_000_099 and plan["asks"] == []
    assert not (home / "data" / "paddock.db").exists()


def test_this_model_on_these_boxes(server: FaultServer, second: FaultServer, registry: FakeRegistry, run: Run, configure: Any) -> None:
    configure(provider("one", server.url) + provider("two", second.url) + provider("gone", "http://127.0.0.1:9"))
    said = run("pull", "tiny", "mine/other", "--on", "one, two,one")
    assert said.code == 0 and "tiny:latest on two: 3.0 MB" in said.err
    assert [(job["model"], job["endpoint"]["name"]) for job in jobs(run)] == [
        ("tiny:latest", "one"),
        ("tiny:latest", "two"),
        ("mine/other:latest", "one"),
        ("mine/other:latest", "two"),
    ]
    said = run("pull", "big:70b", "--on", "gone,two")
    assert said.code == 1 and "127.0.0.1:9" in said.err and "for two" in said.err
    assert run("pull", "big:70b", "--on", "gone").code == 4
    before = len(jobs(run))
    assert run("pull", "new", "--on", "one,nobody").code == 2 and len(jobs(run)) == before


# --- how it runs ---------------------------------------------------------------------------------------------------------


def test_how_it_is_to_run_is_kept_and_said(server: FaultServer, registry: FakeRegistry, run: Run, home: Path) -> None:
    run("pull", "tiny")
    said = run("pull", "mine/other", "--limit", "20MB", "--at", "+2h", "--after", "tiny", "--then-load", "--insecure")
    assert said.code == 0 and "mine/other:latest comes after 1." in said.err and "starts at" in said.err
    job = jobs(run)[1]
    assert (job["limit"], job["after"], job["arguments"]) == (20_000_000, 1, {"insecure": True, "warm_up": True})
    assert job["not_before"] == pytest.approx(time.time() + 7200, abs=60)
    assert job["asked_by"] == "command line" and ("queue pull", "ollama/mine/other:latest", "ok") in audit(home)
    assert run("pull", "big:70b", "--after", "9").code == 1 and len(jobs(run)) == 2


def test_a_chain_is_no_circle(server: FaultServer, registry: FakeRegistry, run: Run) -> None:
    run("pull", "tiny")
    run("pull", "mine/other", "--after", "1")
    said = run("pull", "tiny", "--after", "2")
    assert said.code == 1 and "cannot come after 2" in said.err
    assert [job["after"] for job in jobs(run)] == [0, 1]


def test_it_says_when_its_hours_begin(server: FaultServer, registry: FakeRegistry, run: Run, configure: Any) -> None:
    soon = datetime.now() + timedelta(hours=2)  # noqa: DTZ005
    hours = f"{soon:%H:%M}-{soon + timedelta(hours=1):%H:%M}"
    configure(f'[pulls]\nonly_between = "{hours}"\n' + provider("box", server.url))
    assert f"waits for its hours: pulls.only_between = {hours}, from {soon:%H:%M}" in run("pull", "tiny").err


def test_what_does_not_fit_is_queued_and_says_what_is_missing(
    server: FaultServer, registry: FakeRegistry, run: Run, configure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    configure('[pulls]\nkeep_free = "1 MB"\nmargin = 1.0\n' + provider("box", server.url, models_folder=f'"{folder}"'))
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _path: Usage(10**11, 0, 41 * 10**9))
    registry.add("other:70b", [("model", 2_000_000_000), ("adapter", 5)])
    said = run("pull", "big:70b")
    assert said.code == 0 and "waits for space" not in said.err
    registry.add("second:70b", [("projector", 2_000_000_000)])
    said = run("pull", "second:70b", "--dry-run", "--json")
    assert said.json["plans"][0]["room"]["enough"] is True, "the queue's own job has no plan yet"
    said = run("pull", "big:70b", "second:70b")
    assert said.code == 0
    assert f"second:70b waits for space: 42 GB needed, 41 GB free in {folder}, 1.0 GB missing." in said.err
    assert "big:70b waits for space" not in said.err and len(jobs(run)) == 2


# --- what needs a yes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def careful(server: FaultServer, registry: FakeRegistry, configure: Any) -> None:
    configure('[models]\nmax_size = "20 GB"\nexcluded = ["mine/*"]\n' + provider("box", server.url) + provider("box2", server.url + "/"))


def test_what_needs_a_yes_and_has_none_is_3_and_the_rest_is_queued(careful: None, run: Run) -> None:
    said = run("pull", "big:70b", "tiny", "mine/other", "--on", "box")
    assert (
        said.code == 3
        and "40 GB is more than models.max_size (20 GB)" in said.err
        and "models.excluded" in said.err
        and "--yes" in said.err
    )
    assert models(run) == ["tiny:latest"]
    assert run("pull", "big:70b", "nothere", "--on", "box").code == 1


def test_yes_allows_all_that_the_worker_could_ask(careful: None, run: Run) -> None:
    assert run("pull", "big:70b", "--on", "box", "--yes").code == 0
    assert jobs(run)[0]["allowed"] == ["excluded", "limits", "metered", "size"]


def test_a_person_is_asked_once_a_model(careful: None, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", typed := Typed())
    monkeypatch.setattr(sys, "stdin", Typed("n\ny\n"))
    assert run("pull", "big:70b", "mine/other", "--on", "box").code == 3
    assert typed.getvalue().count("[y/N]") == 2 and "Pull big:70b? 40 GB is more than" in typed.getvalue()
    assert [(job["model"], job["allowed"]) for job in jobs(run)] == [("mine/other:latest", ["excluded"])]


def test_the_demo_is_no_metered_network(ollama: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDOCK_GENERAL__NETWORK", "metered")
    said = run("pull", "llama3.2:1b", demo=True, demo_url=ollama)
    assert said.code == 0 and "llama3.2:1b is queued as 1 for demo" in said.err


def test_access_is_obeyed(server: FaultServer, registry: FakeRegistry, run: Run, configure: Any) -> None:
    configure('[security]\naccess = "use"\n' + provider("box", server.url))
    for words in (
        ["pull", "tiny"],
        ["push", "tiny"],
        ["create", "a", "--from", "tiny"],
        ["import", "a.gguf", "b"],
        ["update", "--all"],
        ["pulls", "limit", "all", "5MB"],
    ):
        said = run(*words)
        assert said.code == 3 and "security.access" in said.err, words
    assert run("pulls", "history").code == 0 and run("pull", "tiny", "--dry-run").code == 0


def test_X02_a_hostile_registry_says_nothing_to_the_terminal(server: FaultServer, registry: FakeRegistry, run: Run) -> None:
    registry.fault("tiny", error(404, HOSTILE))
    registry.add("new:1b", [("model", 10)], config={"requires": HOSTILE, "model_family": HOSTILE})

    async def version(exchange: Exchange) -> None:
        await exchange.json({"version": HOSTILE})

    server.routes["/api/version"] = version
    for words in (
        ["pull", "tiny", "new:1b"],
        ["pull", "tiny", "new:1b", "--dry-run"],
        ["pull", HOSTILE],
        ["pull", "x", "--after", HOSTILE],
    ):
        said = run(*words)
        assert not controls(said.out + said.err), words
        assert not controls(run(*words, "--json").out.replace("\n", ""))


def test_an_unreadable_list_names_the_reason(server: FaultServer, run: Run, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        said = run("pull", "--file", str(tmp_path / "none"))
        assert said.code == 2 and "no such file" in said.err
        return
    (tmp_path / "names").write_text("tiny")
    (tmp_path / "names").chmod(0)
    assert run("pull", "--file", str(tmp_path / "names")).code == 2


def test_a_registry_that_does_not_answer_keeps_nobody_waiting(
    server: FaultServer, registry: FakeRegistry, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "WITHIN", 0.3)
    registry.fault("tiny", silent)
    said = run("pull", "tiny", "mine/other")
    assert (
        said.code == 0 and "tiny:latest: it was not found out in time" in said.err and models(run) == ["tiny:latest", "mine/other:latest"]
    )
    assert "tiny:latest is in the queue already, as 1 for ollama" in run("pull", "tiny").err


def test_ctrl_c_before_anything_is_queued_queues_nothing(server: FaultServer, registry: FakeRegistry, run: Run, home: Path) -> None:
    asked = threading.Event()

    async def hold(exchange: Exchange) -> None:
        asked.set()
        await exchange.gone()

    registry.fault("tiny", hold)
    with paddock(home, "pull", "tiny", OLLAMA_HOST=server.url, PADDOCK_REGISTRY=registry.url) as child:
        assert asked.wait(20)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err) == (130, "", "") and not jobs(run)
