"""The audit trail."""

import json
import os
import stat
from pathlib import Path

import pytest

from tui.core.clock import ManualClock
from tui.services import audit, logs
from tui.services.audit import KEPT, Audit
from tui.services.logs import know_secret


def _lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text("ascii").splitlines()]


def test_P60_a_line_says_who_did_what_when_to_what(tmp_path: Path) -> None:
    clock = ManualClock(1000.0)
    Audit(tmp_path / "state", clock).write("delete", "lab/qwen3:8b", "failed", why="busy")
    assert _lines(tmp_path / "state") == [
        {
            "at": 1000.0,
            "uid": os.getuid(),
            "process": "app",
            "what": "delete",
            "target": "lab/qwen3:8b",
            "result": "failed",
            "why": "busy",
        }
    ]
    assert stat.S_IMODE((tmp_path / "state" / "audit.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_X08_no_key_is_written_and_no_line_is_forged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs._FORMAT, "known", frozenset())
    know_secret("hunter2-key")
    Audit(tmp_path, ManualClock()).write("edit provider", 'a\n{"what":"x"}\x1b[2J', url="http://u:pw@h/?api_key=abcdef", why="hunter2-key")
    raw = (tmp_path / "audit.jsonl").read_text("ascii")
    assert raw.count("\n") == 1
    assert "\x1b" not in raw
    assert not any(secret in raw for secret in ("hunter2", "pw@", "abcdef"))


def test_security_audit_off_writes_nothing(tmp_path: Path) -> None:
    wanted = [False]
    trail = Audit(tmp_path, ManualClock(), lambda: wanted[0])
    trail.write("delete", "x")
    assert not (tmp_path / "audit.jsonl").exists()
    wanted[0] = True
    trail.write("delete", "x")
    assert len(_lines(tmp_path)) == 1


def test_P76_it_is_rotated_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_SIZE", 500)
    trail = Audit(tmp_path, ManualClock())
    for number in range(60):
        trail.write("load", f"model {number}")
    older = [f"audit.jsonl.{number}" for number in range(1, KEPT + 1)]
    assert {file.name for file in tmp_path.iterdir()} - {"audit.jsonl"} == set(older)
    assert all(file.stat().st_size < 1000 for file in tmp_path.iterdir())
    newest = (tmp_path / "audit.jsonl.1").read_text().splitlines()[-1]
    assert int(json.loads(newest)["target"].split()[1]) > int(
        json.loads((tmp_path / f"audit.jsonl.{KEPT}").read_text().splitlines()[0])["target"].split()[1]
    )


def test_trouble_with_the_trail_never_stops_the_work(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "audit.jsonl").symlink_to(victim)
    Audit(tmp_path / "state", ManualClock()).write("delete", "x")
    assert victim.read_text() == ""
    (tmp_path / "file").write_text("")
    Audit(tmp_path / "file", ManualClock()).write("delete", "x")
