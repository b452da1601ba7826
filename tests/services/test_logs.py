"""The application log: private, bounded, without keys."""

import base64
import contextlib
import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tui.services import logs
from tui.services.logs import know_secret, log_trouble, redact, start_log

KEY = "pk+live/Zm9v?=&9"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs._FORMAT, "known", frozenset())
    raising = logging.raiseExceptions
    yield
    logging.raiseExceptions = raising
    root = logging.getLogger("paddock")
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()


def _entries(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "app.log").read_text("ascii").splitlines()]


def test_P54_the_log_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert start_log(tmp_path / "state" / "logs", "info") is None
        logging.getLogger("paddock.x").info("hello")
    finally:
        os.umask(before)
    file = tmp_path / "state" / "logs" / "app.log"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (file.parent, file.parent.parent)] == [0o700, 0o700]
    assert [(entry["level"], entry["event"], entry["where"]) for entry in _entries(file.parent)] == [("info", "hello", "paddock.x")]


def test_C04_an_open_log_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("")
    (tmp_path / "app.log").chmod(0o644)
    assert start_log(tmp_path, "info") is None
    assert stat.S_IMODE((tmp_path / "app.log").stat().st_mode) == 0o600


def test_C14_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "app.log").symlink_to(victim)
    failure = start_log(tmp_path / "logs", "info")
    logging.getLogger("paddock.x").error("more")
    assert victim.read_text() == "untouched"
    assert failure is not None
    assert failure.what.startswith("No log is written")
    assert failure.remedy


def test_E03_a_log_that_cannot_be_written_is_said_and_never_raised(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    failure = start_log(tmp_path / "logs", "info")
    logging.getLogger("paddock.x").error("nobody hears")
    assert failure is not None
    assert "app.log" in failure.where
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_E03_a_log_on_a_full_disk_is_told_once_never_raised_never_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert start_log(tmp_path, "info") is None
    (handler,) = logging.getLogger("paddock").handlers
    assert isinstance(handler, logs._Private)
    handler.stream.close()
    handler.stream = Path("/dev/full").open("a", encoding="ascii")  # noqa: SIM115  (the handler closes it)
    assert log_trouble() is None
    for number in range(50):
        logging.getLogger("paddock.x").error("nobody hears %d", number)
    failure = log_trouble()
    assert failure is not None
    assert failure.what == "No log is written: No space left on device"
    assert failure.remedy
    assert log_trouble() is None
    with contextlib.suppress(OSError):
        handler.stream.close()
    handler.stream = handler._open()
    logging.getLogger("paddock.x").error("heard again")
    assert _entries(tmp_path)[-1]["event"] == "heard again"
    assert capfd.readouterr() == ("", "")


def test_X08_known_keys_never_reach_the_log_in_any_form(tmp_path: Path) -> None:
    start_log(tmp_path, "debug")
    know_secret(KEY)
    log = logging.getLogger("paddock.x")
    log.info("key %s", KEY)
    log.info("as sent %s and %s", base64.b64encode(KEY.encode()).decode(), quote(KEY, safe=""))
    try:
        raise ValueError(f"bad header {KEY}")
    except ValueError:
        log.exception("while sending")
    text = (tmp_path / "app.log").read_text("ascii")
    assert "as sent" in text
    assert "bad header" in text
    for form in (KEY, base64.b64encode(KEY.encode()).decode(), quote(KEY, safe=""), json.dumps(KEY)[1:-1]):
        assert form not in text


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cr3tvalue",
        "authorization=s3cr3tvalue",
        "{'Authorization': 'Basic s3cr3tvalue'}",
        '{"api_key": "s3cr3tvalue"}',
        "x-api-key: s3cr3tvalue",
        "https://host/v1?token=s3cr3tvalue&x=1",
        "http://bob:s3cr3tvalue@host:80/",
        "Bearer s3cr3tvalue",
        "sk-s3cr3tvalue",
        "hf_s3cr3tvalue",
    ],
)
def test_X09_what_looks_like_a_key_is_hidden(text: str) -> None:
    assert "s3cr3tvalue" not in redact(text)
    assert "***" in redact(text)


def test_ordinary_words_stay() -> None:
    text = "GET http://127.0.0.1:11434/api/tags 200 in 0.01 s, 3 models, qwen3:8b"
    assert redact(text) == text
    know_secret("ab")
    assert redact("about a table") == "about a table"


def test_X01_control_sequences_are_cleaned(tmp_path: Path) -> None:
    start_log(tmp_path, "info")
    logging.getLogger("paddock.x").info("\x1b]52;c;eA==\x07 evil \x9b2J")
    raw = (tmp_path / "app.log").read_bytes()
    assert b"evil" in raw
    assert not set(raw) & {*range(10), *range(11, 32), *range(127, 256)}
    assert "\x1b" not in _entries(tmp_path)[0]["event"]
    assert "\x9b" not in _entries(tmp_path)[0]["event"]


def test_P76_the_log_stays_within_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 20_000)
    start_log(tmp_path, "info")
    for number in range(400):
        logging.getLogger("paddock.x").info("%d %s", number, "x" * 1000)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["app.log", "app.log.1", "app.log.2", "app.log.3"]
    assert all(file.stat().st_size <= 20_000 for file in files)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    logging.getLogger("paddock.x").info("y" * 1_000_000)
    assert len(_entries(tmp_path)[-1]["event"]) <= 2000


def test_the_level_changes_and_a_second_start_adds_nothing(tmp_path: Path) -> None:
    start_log(tmp_path, "info")
    logging.getLogger("paddock.x").debug("not yet")
    start_log(tmp_path, "debug")
    logging.getLogger("paddock.x").debug("now")
    assert [entry["event"] for entry in _entries(tmp_path)] == ["now"]
    start_log(tmp_path / "other", "debug")
    logging.getLogger("paddock.x").debug("elsewhere")
    assert [entry["event"] for entry in _entries(tmp_path / "other")] == ["elsewhere"]
