"""The last line of a server's log."""

import time
from pathlib import Path

from tests.chat.live import until
from tui.core.clock import ManualClock
from tui.services.server_log import LogLines


def test_P32_the_last_line_is_known_soon_and_is_clean(tmp_path: Path) -> None:
    clock = ManualClock()
    lines = LogLines(clock)
    log = tmp_path / "ollama.log"
    log.write_bytes(b"x" * 9000 + b"\nfirst\n\x1b]0;evil\x07 loading \xff tensors\n\n")
    until(lambda: lines.line(str(log)))
    assert "loading" in lines.line(str(log))
    assert "\x1b" not in lines.line(str(log)) and "\x07" not in lines.line(str(log))
    with log.open("a") as file:
        file.write("second\n")
    assert lines.line(str(log)) != "second"  # once a second at most
    clock.advance(2)
    until(lambda: lines.line(str(log)) == "second")


def test_no_log_is_no_line_and_no_wait(tmp_path: Path) -> None:
    lines = LogLines(ManualClock())
    began = time.monotonic()
    assert lines.line("") == ""
    assert lines.line(str(tmp_path / "none.log")) == ""
    assert time.monotonic() - began < 5
