"""Copying out."""

from __future__ import annotations

import base64
import stat
from pathlib import Path
from types import SimpleNamespace

from tui.ui import clipboard


class Driver:
    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, data: str) -> None:
        self.written.append(data)

    def flush(self) -> None:
        """Nothing waits here."""


def app_with(driver: Driver) -> SimpleNamespace:
    return SimpleNamespace(_driver=driver)


def copied(driver: Driver) -> str:
    (data,) = driver.written
    assert data.startswith("\x1b]52;c;")
    assert data.endswith("\x07")
    return base64.b64decode(data[7:-1]).decode()


async def test_X07_cleaned_without_the_last_line_break(tmp_path: Path) -> None:
    driver = Driver()
    said = await clipboard.copy(app_with(driver), "rm -rf x\r\n", state=tmp_path, environ={})
    assert copied(driver) == "rm -rf x"
    assert said == "copied 8 characters to the terminal's clipboard (OSC 52)"


async def test_X07_hidden_characters_are_told(tmp_path: Path) -> None:
    driver = Driver()
    said = await clipboard.copy(app_with(driver), "a\u200bb\x1b[2Jc", state=tmp_path, environ={})
    assert "\u200b" not in copied(driver)
    assert "\x1b" not in copied(driver)
    assert "2 hidden characters removed or made visible" in said


async def test_X07_what_is_too_long_goes_to_a_private_file(tmp_path: Path) -> None:
    driver = Driver()
    said = await clipboard.copy(app_with(driver), "x" * 100_001, state=tmp_path / "state", environ={})
    (file,) = (tmp_path / "state").iterdir()
    assert driver.written == []
    assert str(file) in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "x" * 100_001


async def test_D01_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = await clipboard.copy(app_with(Driver()), "x" * 100_001, state=tmp_path / "file", environ={})
    assert said.startswith("not copied: ")


async def test_inside_tmux_its_buffer_is_loaded(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    fake = tmp_path / "tmux"
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/buffer\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    driver = Driver()
    said = await clipboard.copy(app_with(driver), "héllo\n", state=tmp_path, environ={"TMUX": "/tmp/x,1,0"})
    assert said == "copied 5 characters to tmux's buffer"
    assert (tmp_path / "arguments").read_text() == "load-buffer -w -\n"
    assert (tmp_path / "buffer").read_text() == "héllo"
    assert driver.written == []


async def test_a_tmux_that_hangs_or_fails_is_not_waited_for(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    fake = tmp_path / "tmux"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(clipboard, "TMUX_SECONDS", 0.1)
    driver = Driver()
    said = await clipboard.copy(app_with(driver), "text", state=tmp_path, environ={"TMUX": "/tmp/x,1,0"})
    assert said.endswith("clipboard (OSC 52)")
    assert copied(driver) == "text"
