"""The rules in the app: opened with the database, acted on by its verbs, closed before it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chat.live import until
from tests.worker.test_rules import SAMPLER
from tui.config.paths import find_paths
from tui.core.options import AppOptions
from tui.hardware.sample import Cpu, Sample
from tui.hardware.sample_line import format_sample
from tui.services import hub as hub_module
from tui.services import jobs as jobs_module
from tui.services.hub import Hub
from tui.services.locks import read_holder
from tui.services.monitor import rules as rules_module
from tui.store.db import Database
from tui.store.samples import Samples

Make = Callable[[], Hub]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Opens hubs of one home, each with a sampler that says 95 %."""
    monkeypatch.setattr(hub_module, "DATABASE_EVERY", 0.01)
    monkeypatch.setattr(rules_module, "TICK", 0.02)
    monkeypatch.setattr(jobs_module, "spawn_worker", lambda *_more: None)
    monkeypatch.setattr(jobs_module, "logout_note", lambda: "")
    line = format_sample(Sample(1234567890.0, 1.0, Cpu(95.0)))
    text = (line.decode() if isinstance(line, bytes) else line).rstrip("\n") + "\n"
    script = tmp_path / "sampler.py"
    script.write_text(SAMPLER.format(line=text, pid=str(tmp_path / "pid")))
    environ = {"PADDOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": "/nonexistent"}
    paths = find_paths(environ=environ)
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text('[general]\ndiscover = false\n[limits]\ncount = "all"\n[alerts]\nafter = "1s"\n')
    made: list[Hub] = []

    def open_hub() -> Hub:
        hub = Hub(paths, AppOptions(), environ, sampler=lambda _settings: [sys.executable, "-S", str(script)])
        made.append(hub)
        hub.open()
        until(lambda: hub.ready.value)
        return hub

    yield open_hub
    for hub in made:
        hub.close(5.0)


def test_alerts_are_raised_seen_muted_and_handed_on(make: Make) -> None:
    first = make()
    until(lambda: first.monitor.alerts.value.active)
    assert first.monitor.keeps_rules
    second = make()
    until(lambda: second.monitor.alerts.value.active)
    assert not second.monitor.keeps_rules
    second.monitor.acknowledge()
    until(lambda: first.monitor.alerts.value.active[0].acknowledged)
    second.monitor.mute(3600)
    until(lambda: first.monitor.alerts.value.muted_until)
    (alert,) = first.monitor.alerts.value.active
    first.close(5.0)
    until(lambda: second.monitor.keeps_rules and second.monitor.alerts.value.active)
    assert [one.id for one in second.monitor.alerts.value.active] == [alert.id]


def test_the_history_is_exported_kept_at_the_end_and_there_at_the_next_start(make: Make) -> None:
    first = make()
    until(lambda: len(first.monitor.series("cpu", 600)) and first.monitor.keeps_rules and first.monitor.latest.value.sample)
    first.monitor.export("jsonl", 600)
    until(lambda: first.notices.value)
    folder = first.paths.data / "exports"
    (file,) = folder.iterdir()
    assert str(file) in first.notices.value[-1].text
    assert '"cpu": 95' in file.read_text()
    first.monitor.export("csv", 600)
    until(lambda: len(list(folder.glob("monitor-*.csv"))) == 1)
    oldest = first.monitor.oldest()
    first.close(5.0)
    assert read_holder(first.paths.locks / rules_module.RULES_LOCK) is None
    database = Database(first.paths.database, read_only=True)
    assert Samples(database).read(10, 0, 10**12)
    database.close()
    second = make()
    until(lambda: second.monitor.oldest() is not None and second.monitor.oldest() == (oldest or 0) // 60 * 60)
