"""A program on a pseudo-terminal, and the screen it draws, as a terminal emulator sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

_EXEC = "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*[A-Za-z]|\x1b\[\?[0-9;]*\$p|\x1b_[^\x1b]*\x1b\\|\x1b\]22;[^\x07]*\x07")
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*|_[^\x1b]*)?\Z")
ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """Runs `argv` with a controlling terminal of its own; a thread reads what it draws.

    Args:
        argv: The program; a Python one starts with `sys.executable`.
        env: Variables added to a small, fixed environment; None removes one.
        rows: Lines of the terminal.
        cols: Columns of the terminal.
        sync: Answer that synchronized output is supported, as modern terminals do.
        cwd: Working directory; the repository root unless given.

    Attributes:
        before: The modes that the program found.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str | None] | None = None,
        rows: int = 24,
        cols: int = 80,
        *,
        sync: bool = False,
        cwd: Path = ROOT,
    ) -> None:
        self._screen = pyte.Screen(cols, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._raw = bytearray()
        self._held = b""
        self._sync = sync
        self._changed = threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        self._ended = threading.Event()
        self._master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self._set_size(rows, cols)
        variables = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": os.environ.get("HOME", "/tmp"),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PADDOCK_REGISTRY": os.environ.get("PADDOCK_REGISTRY", "http://127.0.0.1:9"),
        }
        for name, value in (env or {}).items():
            if value is None:
                variables.pop(name, None)
            else:
                variables[name] = value
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _EXEC, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=variables,
            cwd=cwd,
            start_new_session=True,
        )
        os.close(slave)
        self._wake, self._waker = os.pipe()
        self._reader = threading.Thread(target=self._read, name="pty-reader", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            self._reading.wait()
            if self._ended.is_set():
                return
            ready, _, _ = select.select([self._master, self._wake], [], [])
            if self._wake in ready:
                os.read(self._wake, 64)
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:
                data = b""
            with self._changed:
                if data:
                    self._feed(data)
                else:
                    self._ended.set()
                self._changed.notify_all()
            if not data:
                return

    def _feed(self, data: bytes) -> None:
        self._raw += data
        if self._sync and b"\x1b[?2026$p" in data:
            os.write(self._master, b"\x1b[?2026;2$y")
        data = self._held + data
        tail = _UNFINISHED.search(data)
        self._held = data[tail.start() :] if tail else b""
        data = data[: tail.start()] if tail else data
        data = _UNKNOWN_TO_PYTE.sub(b"", data).replace(b"\x1b[?1049h", b"\x1b[?1049h\x1b[2J\x1b[H")
        self._stream.feed(data)

    def _set_size(self, rows: int, cols: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    @property
    def raw(self) -> bytes:
        """Every byte the program wrote so far."""
        with self._changed:
            return bytes(self._raw)

    def screen_lines(self) -> list[str]:
        """The lines on screen, right side stripped."""
        with self._changed:
            cells = [
                [line[x].data for x in range(self._screen.columns)] for line in (self._screen.buffer[y] for y in range(self._screen.lines))
            ]
        return ["".join(line).rstrip() for line in cells]

    def screen_text(self) -> str:
        """The screen as one string."""
        return "\n".join(self.screen_lines())

    def send(self, data: bytes | str) -> None:
        """Type."""
        os.write(self._master, data.encode() if isinstance(data, str) else data)

    def resize(self, rows: int, cols: int) -> None:
        """Give the terminal another size, as a window manager does; the kernel sends SIGWINCH."""
        with self._changed:
            self._screen.resize(rows, cols)
            self._set_size(rows, cols)

    def signal(self, number: int) -> None:
        """Send a signal to the program (not to its group)."""
        self.process.send_signal(number)

    def stall(self) -> None:
        """Stop reading what the program writes."""
        self._reading.clear()
        os.write(self._waker, b"x")

    def resume(self) -> None:
        """Read on."""
        self._reading.set()

    def wait_for(self, wanted: str | Callable[[], object], timeout: float = 30.0) -> None:
        """Wait until the text is on screen, or the condition holds.

        Raises:
            AssertionError: Not within `timeout` seconds; shows the screen.
        """
        deadline = time.monotonic() + timeout
        holds = (lambda: wanted in self.screen_text()) if isinstance(wanted, str) else wanted
        while not holds():
            left = deadline - time.monotonic()
            if left <= 0:
                shown = f"the screen:\n{self.screen_text()}\nlast bytes: {self.raw[-300:]!r}"
                raise AssertionError(f"not within {timeout} s: {wanted!r}; {shown}")
            with self._changed:
                self._changed.wait(min(left, 0.05))

    def exit_code(self, timeout: float = 30.0) -> int:
        """Wait for the end; negative for a signal, as in `subprocess`. What was written until then has been read."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end within {timeout} s; the screen:\n{self.screen_text()}") from None
        if self._reading.is_set():
            self._reader.join(2.0)
        return code

    def hang_up(self) -> None:
        """Close the terminal's side, as a closed window does."""
        self._end_reading()
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        """End the program and free the terminal."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self._end_reading()
        for end in (self._master, self._wake, self._waker):
            if end >= 0:
                os.close(end)
        self._master = self._wake = self._waker = -1

    def _end_reading(self) -> None:
        if self._waker < 0:
            return
        self._ended.set()
        self._reading.set()
        os.write(self._waker, b"x")
        self._reader.join(5.0)

    def __enter__(self) -> Terminal:
        """The terminal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `close`."""
        self.close()
