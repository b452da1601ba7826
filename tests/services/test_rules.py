"""Who watches the rules: apps, workers, killed ones; what the keeper writes, and what others see."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import until
from tests.services.test_alerts import state
from tests.services.test_history import at
from tui.config.paths import Paths, find_paths
from tui.config.settings import Settings, build
from tui.core.clock import ManualClock
from tui.core.models import ProviderState, ProviderStatus, RunningModel, Severity
from tui.core.monitor import Alert, AlertsView
from tui.core.observe import Observable
from tui.hardware.sample import Cpu, Sample
from tui.providers.ports import Holder
from tui.services.monitor import alarms as alarms_module
from tui.services.monitor.history import History
from tui.services.monitor.rules import APP_LOCK, RULES_LOCK, Rules
from tui.services.own_use import OwnUse, Process
from tui.store.alerts import ALERTS, AlertTable
from tui.store.db import Database
from tui.store.samples import Samples

ROOT = Path(__file__).parents[2]
QUICK = {"alerts": {"cpu": 70, "after": 3}, "limits": {"count": "all"}}


class One:
    """A process of the home: an app, or a worker."""

    def __init__(self, home: "Home", app: bool) -> None:
        self.clock = home.clock
        self.paths = home.paths
        self.config: Settings = build(QUICK)
        self.said: list[str] = []
        self.audited: list[tuple[str, str, str]] = []
        self.servers: tuple[ProviderState, ...] = ()
        self.looks = app
        self.database = Database(home.paths.database, patience=0.1)
        self.history = History()
        self.view: Observable[AlertsView] = Observable(AlertsView())
        self.wanted: list[frozenset[str]] = []
        self.rules = Rules(self, self.history, self.database, self.view, "box", want=self.wanted.append, app=app)
        self.changes = self.database.changes()

    def settings(self) -> Settings:
        return self.config

    def live(self) -> tuple[()]:
        return ()

    def say(self, text: str, severity: Severity = Severity.INFO) -> None:
        self.said.append(text)

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        self.audited.append((what, target, result))

    def environ(self) -> Mapping[str, str]:
        return {"PATH": "/usr/bin:/bin", "PADDOCK_HOME": "/x", "OPENAI_API_KEY": "sk-1", "LANG": "C"}

    def states(self) -> Sequence[ProviderState] | None:
        return self.servers if self.looks else None

    def running(self) -> tuple[RunningModel, ...]:
        return ()

    async def own_servers(self) -> tuple[Sequence[Holder], int]:
        return (), 0

    async def tick(self) -> AlertsView:
        await self.rules.changed(self.changes.poll())
        await self.rules.tick()
        return self.view.value

    async def seconds(self, count: int, cpu: float | None = 90.0) -> AlertsView:
        """Seconds of this use of the processor."""
        for _second in range(count):
            self.clock.advance(1.0)
            if cpu is not None:
                sample = replace(at(self.clock.time()), cpu=Cpu(cpu), gpus=())
                self.history.add(sample, 1.0)
                self.rules.take(sample, 1.0)
            await self.tick()
        return self.view.value

    async def end(self) -> None:
        await self.rules.aclose()
        await self.database.aclose()


class Home:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.paths: Paths = find_paths(environ={"PADDOCK_HOME": str(folder / "home"), "HOME": str(folder)})
        self.all: list[One] = []
        self.children: list[subprocess.Popen[str]] = []

    def one(self, app: bool = True) -> One:
        self.all.append(One(self, app))
        return self.all[-1]

    def process(self, *names: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.services.holder", str(self.paths.locks), *names]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    async def close(self) -> None:
        for one in self.all:
            with contextlib.suppress(Exception):
                await one.end()
        for child in self.children:
            child.kill()
            child.communicate()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path)
    yield home
    await home.close()


# --- who ---------------------------------------------------------------------------------------------------------------


async def test_one_of_two_apps_watches_and_the_other_takes_over(home: Home) -> None:
    first, second = home.one(), home.one()
    assert (await first.tick()).keeper == "this window"
    assert (await second.tick()).keeper.startswith("another window (pid ")
    assert (first.rules.held, second.rules.held) == (True, False)
    await first.rules.aclose()
    assert (await second.tick()).keeper == "this window"
    assert second.rules.held


async def test_a_worker_makes_way_for_an_app_and_watches_again_when_it_ended(home: Home) -> None:
    worker, app = home.one(app=False), home.one()
    assert (await worker.tick()).keeper == "the worker"
    assert (await app.tick()).keeper == "the worker", "it asks by waiting"
    assert not app.rules.held
    assert (await worker.tick()).keeper == "the worker"
    assert not worker.rules.held
    assert (await app.tick()).keeper == "this window"
    assert (await worker.tick()).keeper.startswith("another window")
    await app.rules.aclose()
    await worker.tick()
    assert worker.rules.held


async def test_the_locks_of_a_killed_holder_go_with_it(home: Home) -> None:
    app = home.one()
    child = home.process(APP_LOCK, RULES_LOCK)
    assert (await app.tick()).keeper == f"another window (pid {child.pid})"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert (await app.tick()).keeper == "this window"


async def test_a_worker_in_another_process_is_waited_for(home: Home) -> None:
    app = home.one()
    child = home.process(RULES_LOCK)
    assert (await app.tick()).keeper == "the worker"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert (await app.tick()).keeper == "this window"


async def test_a_lock_folder_that_cannot_be_used_is_said_once(home: Home) -> None:
    home.paths.locks.parent.mkdir(parents=True, exist_ok=True)
    home.paths.locks.write_text("a file")
    app = home.one()
    assert (await app.tick()).keeper == ""
    await app.tick()
    (said,) = app.said
    assert said.startswith("Alerts are not watched: ")


async def test_closed_while_it_waits_for_a_lock_it_holds_none(home: Home) -> None:
    app, other = home.one(), home.one()
    ticking = asyncio.ensure_future(app.tick())
    await asyncio.sleep(0)
    await app.rules.aclose()
    await ticking
    assert not app.rules.held
    assert (await other.tick()).keeper == "this window"


async def test_closed_while_it_begins_it_watches_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    app = home.one()
    begin = alarms_module.Alarms.begin

    async def closed(self: alarms_module.Alarms) -> None:
        await begin(self)
        await app.rules.aclose()

    monkeypatch.setattr(alarms_module.Alarms, "begin", closed)
    await app.tick()
    assert not app.rules.held


async def test_the_loop_watches_by_itself(home: Home) -> None:
    app = home.one()
    running = asyncio.ensure_future(app.rules.run())
    await until(lambda: app.view.value.keeper == "this window")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# --- what it does ------------------------------------------------------------------------------------------------------


async def test_an_alert_is_published_written_and_seen_by_the_other_process(home: Home) -> None:
    keeper, reader = home.one(), home.one()
    await keeper.tick()
    await keeper.seconds(5)
    (alert,) = keeper.view.value.active
    assert (alert.rule, alert.figure, alert.limit) == ("cpu", 90.0, 70)
    assert (await reader.tick()).active == (replace(alert, limit=70.0),)
    await keeper.seconds(12, 10.0)
    assert keeper.view.value.active == ()
    (ended,) = keeper.view.value.log
    assert ended.ended_at is not None
    view = await reader.tick()
    assert (view.active, [one.id for one in view.log]) == ((), [alert.id])


async def test_an_alert_that_lasts_goes_on_under_its_number_with_the_next_keeper(home: Home) -> None:
    first, second = home.one(), home.one()
    await first.tick()
    (alert,) = (await first.seconds(5)).active
    await first.rules.aclose()
    await second.tick()
    view = await second.seconds(3, 95.0)
    assert [(one.id, one.started_at, one.figure) for one in view.active] == [(alert.id, alert.started_at, 95.0)]
    view = await second.seconds(12, 5.0)
    assert (view.active, [one.id for one in view.log]) == ((), [alert.id])


async def test_an_alert_that_a_crash_left_is_closed_with_the_time_last_known(home: Home) -> None:
    app = home.one()
    table = AlertTable(app.database)
    known = home.clock.time() - 9000
    await table.put([Alert(5, "cpu", "", 90.0, 70.0, known - 100), Alert(6, "provider_down", "ollama", 50.0, 30.0, known + 5)])
    await table.watched(known)
    view = await app.tick()
    assert view.active == ()
    assert {one.id: (one.ended_at, one.culprit) for one in view.log} == {5: (known, ""), 6: (known + 5, "then nobody looked")}
    assert {one.id for one in table.log()} == {5, 6}


async def test_an_alert_of_a_rule_that_is_none_ends(home: Home) -> None:
    app = home.one()
    table = AlertTable(app.database)
    await table.put([Alert(5, "humidity", "", 90.0, 70.0, home.clock.time() - 100)])
    await table.watched(home.clock.time())
    await app.tick()
    view = await app.seconds(5)
    assert ([one.rule for one in view.active], [one.rule for one in view.log]) == (["cpu"], ["humidity"])
    assert [one.id for one in table.open()] == [view.active[0].id]


async def test_rules_whose_beginning_broke_are_begun_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    app = home.one()
    begin, times = alarms_module.Alarms.begin, []

    async def breaks(self: alarms_module.Alarms) -> None:
        times.append(1)
        if len(times) == 1:
            raise RuntimeError("a fault")
        await begin(self)

    monkeypatch.setattr(alarms_module.Alarms, "begin", breaks)
    with pytest.raises(RuntimeError):
        await app.tick()
    assert (await app.tick()).keeper == "this window"
    assert app.rules.held


async def test_a_worker_leaves_the_alerts_of_providers_alone(home: Home) -> None:
    app, worker = home.one(), home.one(app=False)
    app.servers = (state(ProviderStatus.UP),)
    await app.tick()
    app.servers = (state(ProviderStatus.DOWN),)
    app.config = build({"alerts": {"provider_down": 5}})
    (alert,) = (await app.seconds(8, None)).active
    await app.rules.aclose()
    await worker.tick()
    await worker.seconds(30, 5.0)
    assert [one.id for one in AlertTable(worker.database).open()] == [alert.id]
    again = home.one()
    again.servers = (state(ProviderStatus.UP),)
    await again.tick()
    await worker.tick()
    view = await again.tick()
    assert [(one.id, one.culprit) for one in view.log] == [(alert.id, "")], "it came back"


async def test_seen_in_one_window_is_seen_in_all(home: Home) -> None:
    keeper, reader = home.one(), home.one()
    await keeper.tick()
    (alert,) = (await keeper.seconds(5)).active
    await reader.tick()
    await reader.rules.acknowledge([alert.id])
    assert (await reader.tick()).active[0].acknowledged
    assert (await keeper.seconds(1)).active[0].acknowledged
    await keeper.seconds(1, 99.0)
    assert AlertTable(keeper.database).open()[0].acknowledged, "writing a worse figure does not undo it"
    await keeper.rules.acknowledge([])
    await keeper.seconds(12, 5.0)
    assert (await reader.tick()).log[0].acknowledged


async def test_muted_in_one_window_is_muted_in_all_for_its_time(home: Home) -> None:
    keeper, reader = home.one(), home.one()
    await keeper.tick()
    await reader.tick()
    await reader.rules.mute(3600)
    assert reader.view.value.muted_until == home.clock.time() + 3600
    assert (await keeper.tick()).muted_until == home.clock.time() + 3600
    home.clock.advance(3601)
    assert (await keeper.tick()).muted_until is None
    await keeper.rules.mute(60)
    assert keeper.view.value.muted_until is not None
    await keeper.rules.mute(0)
    assert keeper.view.value.muted_until is None
    assert (await reader.tick()).muted_until is None


async def test_the_keeper_writes_the_history_and_nobody_else(home: Home) -> None:
    keeper, reader = home.one(), home.one()
    await keeper.tick()
    await reader.tick()
    for _second in range(65):
        home.clock.advance(1.0)
        for one in (keeper, reader):
            one.history.add(at(home.clock.time()), 1.0)
    before = reader.database.revisions().get("samples", 0)
    await reader.tick()
    assert reader.database.revisions().get("samples", 0) == before
    await keeper.tick()
    assert Samples(keeper.database).read(10, 0, 10**12)


async def test_a_database_that_cannot_be_written_keeps_no_alert_away(home: Home) -> None:
    home.one()
    app = home.one()
    read_only = Database(home.paths.database, read_only=True)
    app.rules = Rules(app, app.history, read_only, app.view, "box")
    await app.tick()
    assert (await app.seconds(5)).active
    await app.seconds(12, 5.0)
    view = await app.seconds(1, 5.0)
    assert (view.active, len(view.log)) == ((), 1)
    assert [text.partition(":")[0] for text in app.said] == ["Alerts are not written down"]
    await app.rules.aclose()
    read_only.close()


async def test_what_own_servers_use_is_measured_while_it_decides(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    cores = 4
    monkeypatch.setattr(alarms_module.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(alarms_module, "processes", lambda: {7: Process(7, 1, 0, "ollama", seconds[0])})
    monkeypatch.setattr(alarms_module, "own_use", lambda *_a, **_k: OwnUse(frozenset({7})))
    app = home.one()
    app.config = build({"alerts": {"cpu": 70, "after": 3}, "limits": {"count": "others"}})
    await app.tick()

    async def second(own: float) -> None:
        seconds[0] += cores * own
        await app.seconds(1, 90.0)
        alarms = app.rules._alarms
        assert alarms is not None
        if alarms._own._task is not None:
            await alarms._own._task

    for _second in range(40):
        await second(0.5)  # half the machine is ours
    assert app.view.value.active == ()
    for _second in range(20):
        await second(0.01)
    assert [round(alert.figure) for alert in app.view.value.active] == [89]
    assert {"gpu_processes", "processes"} in app.wanted
    await app.seconds(15, 5.0)
    assert app.wanted[-1] == frozenset()


# --- the command -------------------------------------------------------------------------------------------------------


def script(folder: Path, text: str) -> str:
    path = folder / "alert.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def told(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


async def test_the_command_gets_each_alert_as_json_when_it_begins_and_ends(home: Home, tmp_path: Path) -> None:
    app, out = home.one(), tmp_path / "out"
    program = script(tmp_path, f"env | sort > {tmp_path}/env; echo noise; echo noise >&2; cat >> {out}")
    app.config = build({**QUICK, "alerts": {"cpu": 70, "after": 3, "command": [program, "$(touch /tmp/never)"]}})
    await app.tick()
    (alert,) = (await app.seconds(5)).active
    await until(lambda: len(told(out)) == 1)
    await app.seconds(12, 5.0)
    await until(lambda: len(told(out)) == 2)
    begin, end = told(out)
    assert (begin["event"], begin["rule"], begin["figure"], begin["limit"], begin["unit"]) == ("begin", "cpu", 90.0, 70, "percent")
    assert (begin["id"], begin["ended_at"], begin["machine"]) == (alert.id, None, "box")
    assert begin["started_at"] == "2023-11-14T22:13:21Z"
    assert (end["event"], end["id"], end["ended_at"], end["sentence"]) == (
        "end", alert.id, "2023-11-14T22:13:26Z", "CPU over 70 %, cleared after 5.0s",
    )  # fmt: skip
    environment = (tmp_path / "env").read_text()
    assert "LANG=C" in environment
    assert "PADDOCK" not in environment
    assert "sk-1" not in environment


@pytest.mark.parametrize(
    ("text", "why"),
    [("exit 3", "it ended with 3"), (None, "it cannot be started: No such file or directory"), ("sleep 99 & wait", "it took longer")],
)
async def test_a_command_that_fails_is_said_once_and_audited(
    home: Home, tmp_path: Path, text: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui.services.monitor import notify

    quick = notify.run_command
    monkeypatch.setattr(notify, "run_command", lambda *a: quick(*a, limit=0.2))
    app = home.one()
    program = str(tmp_path / "nothing") if text is None else script(tmp_path, text)
    app.config = build({**QUICK, "alerts": {"cpu": 70, "after": 3, "command": [program]}})
    await app.tick()
    await app.seconds(5)
    await app.seconds(12, 5.0)
    await until(lambda: len(app.audited) == 2)
    (said,) = app.said
    assert said.startswith(f"The alert command {program} failed: {why}")
    assert app.audited[0][2].startswith(f"failed: {why}")


@pytest.mark.parametrize("why", ["muted", "look", "reader"])
async def test_nothing_is_run_while_muted_with_access_look_and_by_others(home: Home, tmp_path: Path, why: str) -> None:
    keeper, reader, out = home.one(), home.one(), tmp_path / "out"
    alerts = {"cpu": 70, "after": 3, "command": [script(tmp_path, f"cat >> {out}")]}
    access = {"security": {"access": "look"}} if why == "look" else {}
    (reader if why == "reader" else keeper).config = build({**QUICK, **access, "alerts": alerts})
    await keeper.tick()
    await reader.tick()
    if why == "muted":
        await keeper.rules.mute(10)
    await keeper.seconds(5)
    await reader.seconds(5)
    assert keeper.view.value.active
    await keeper.seconds(12, 5.0)
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "alert command"))
    assert not out.exists(), "not its end either, where nobody heard of its beginning"


async def test_a_flood_of_alerts_is_worked_one_after_the_other_and_bounded(tmp_path: Path) -> None:
    from tui.services.monitor.notify import WAITING, Notifier

    out = tmp_path / "out"
    config = build({"alerts": {"command": [script(tmp_path, f"cat >> {out}")]}})
    notifier = Notifier(lambda: config, "box", {"PATH": "/usr/bin:/bin"}, lambda *_a: None, lambda *_a: None)
    for number in range(WAITING + 30):
        notifier.tell(Alert(number, "cpu", "", 90.0, 70.0, 0.0), 0.0)
    assert len(notifier._waiting) == WAITING
    await until(lambda: told(out))
    await notifier.aclose()
    assert [found["id"] for found in told(out)] == list(range(30, 30 + len(told(out))))


async def test_a_fault_of_the_rules_ends_no_measuring(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    app = home.one()
    await app.tick()

    def breaks() -> tuple[()]:
        raise RuntimeError("broken")

    app.live = breaks  # type: ignore[method-assign]
    await app.seconds(3)
    assert [record.message for record in caplog.records].count("a sample could not be looked at") == 1


# --- the table ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "paddock.db")
    yield database
    database.close()


async def test_the_log_keeps_thirty_days_and_shows_two_hundred(database: Database) -> None:
    table = AlertTable(database)
    day = 86_400.0
    await table.put(Alert(n, "cpu", "\x1b[31mx", 90.0, 70.0, n * day / 10, n * day / 10 + 5) for n in range(400))
    await table.prune(40 * day)
    assert (len(table.log()), table.log()[0].id, table.newest()) == (200, 399, 399)
    assert database.read(lambda connection: connection.execute("SELECT min(id) FROM alert").fetchone()[0]) == 100
    assert table.log()[0].subject == "␛[31mx"
    assert database.revisions()[ALERTS] == 1, "dropping old ones is no news"
    assert table.lasting(0.0) == ()
    await table.put([Alert(1000, "cpu", "", 90.0, 70.0, 5.0)])
    await table.watched(100.0)
    assert ([alert.id for alert in table.lasting(200.0)], table.lasting(500.0)) == ([1000], ())
    await table.acknowledge()
    assert all(alert.acknowledged for alert in table.log())


def test_a_sample_of_a_silent_source_is_no_measurement() -> None:
    from tui.hardware.sample import Source
    from tui.services.limits import heard

    silent = Sample(1.0, cpu=Cpu(99.0), sources=(Source("processor", silent=9.0),))
    assert heard(silent).cpu.percent is None
