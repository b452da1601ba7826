"""The small parent process: it outlives the interface and gives the terminal back whatever happens to it.

Standard library only, and as little of it as possible: this process stays for the whole session.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time

TYPE_CHECKING = False  # importing `typing` for it would cost as much as the rest
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

RESET = (
    b"\x1b[<u\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[?2026l"
    b"\x1b[?7h\x1b[0m\x1b[?1049l\x1b[?25h"
)
"""Ends every mode the interface may have switched on (reliability reference, section 3.7)."""
PATIENCE = 4.0
"""Seconds an interface that was told to end has for it."""

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
_COOKED = termios.ECHO | termios.ICANON
_LFLAG = 3
_ENOUGH = 2
"""Signals that leave the interface time to end; one more ends it at once."""


def problem(environ: Mapping[str, str]) -> str | None:
    """Say why no interface can be drawn here, or None."""
    for number, name in ((0, "input"), (1, "output"), (2, "error output")):
        if not os.isatty(number):
            return f"Paddock needs a terminal: its standard {name} is not one. Run it in a terminal, or use a command such as paddock ls."
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        return "This terminal cannot draw a screen: TERM is not set or dumb. Set TERM, for example to xterm-256color."
    return None


def utf8_mode(environ: Mapping[str, str]) -> dict[str, str]:
    """What to add to the interface's environment when its locale names UTF-8 and Python would use another encoding."""
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    wanted = "utf8" in named.lower().replace("-", "")
    used = {sys.getfilesystemencoding(), getattr(sys.stdout, "encoding", "utf-8") or "utf-8"}
    return {"PYTHONUTF8": "1"} if wanted and used != {"utf-8"} else {}


def run(child: Sequence[str], environ: Mapping[str, str] | None = None, log: str = "") -> int:
    """Run the interface and return its exit code: 0 to 2 of its own, 128+n after signal n.

    Args:
        child: The program and its arguments.
        environ: Its environment; COLUMNS and LINES are dropped because they go stale.
        log: The folder named in the sentence after a crash.
    """
    variables = {name: value for name, value in (os.environ if environ is None else environ).items() if name not in ("COLUMNS", "LINES")}
    sentence = problem(variables)
    if sentence:
        print(sentence, file=sys.stderr)
        return 2
    variables.update(utf8_mode(variables))
    return _Guard(child, variables, log).wait()


class _Guard:
    def __init__(self, child: Sequence[str], environ: dict[str, str], log: str) -> None:
        self._log = log
        self._saved: list[Any] = termios.tcgetattr(0)
        self._deadline: float | None = None
        self._asked: list[int] = []
        self._theirs: list[Any] | None = None
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._pid = 0
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (*_FORWARDED, signal.SIGCHLD))
        for number in _FORWARDED:
            signal.signal(number, self._forward)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._pid = os.fork()
        if self._pid == 0:
            _become(child, environ, blocked)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _forward(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP and number in self._asked:
            return  # one closed window is told by the kernel, by the shell and by the terminal itself
        self._asked.append(number)
        if len(self._asked) > _ENOUGH:
            self._send(signal.SIGKILL)
            return
        self._send(number)
        if number in (signal.SIGTERM, signal.SIGHUP):
            self._hurry()

    def _send(self, number: int) -> None:
        if self._pid:
            try:
                os.kill(self._pid, number)
            except ProcessLookupError:
                pass

    def _hurry(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + PATIENCE

    def wait(self) -> int:
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(0, 0)  # hang-up only: SIGHUP may be ignored or meant for another process
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                self._stopped()
                continue
            if pid:
                self._pid = 0
                return self._ended(status)
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            if left == 0.0:
                self._send(signal.SIGKILL)
                self._deadline = None
                poll = select.poll()
                poll.register(self._reader, select.POLLIN)
            for number, event in poll.poll(None if left is None else left * 1000 + 1):
                if number == self._reader:
                    _drain(self._reader)
                elif event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                    poll.unregister(0)
                    self._forward(signal.SIGHUP, None)

    def _stopped(self) -> None:
        # An interface that stopped itself left the terminal in order; one that was stopped by kill -STOP did not.
        now = _modes() if _is_ours() else None
        if now is not None and self._is_raw(now):
            self._theirs = now
            self._restore(flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        if self._theirs is not None and _is_ours():
            _set_modes(self._theirs)
            self._theirs = None
        self._send(signal.SIGCONT)

    def _is_raw(self, modes: list[Any]) -> bool:
        return bool(modes[_LFLAG] & _COOKED != self._saved[_LFLAG] & _COOKED)

    def _ended(self, status: int) -> int:
        code = os.waitstatus_to_exitcode(status)
        if _is_ours():
            now = _modes()
            if code < 0 or (now is not None and self._is_raw(now)):
                self._restore(flush=code != 0)
        if code == -signal.SIGKILL and self._asked:
            code = -self._asked[-1]  # the kill was ours, in answer to this one
        if code < 0:
            where = f" The log is in {self._log}." if self._log else ""
            self._say(f"Paddock was ended by {_signal_name(-code)}.{where}")
            return 128 - code
        return code

    def _restore(self, flush: bool) -> None:
        from tui.core.terminal import PROGRESS_END, shows_progress

        reset = (PROGRESS_END.encode() if shows_progress(os.environ) else b"") + RESET
        if _write(1, reset) < len(reset):
            # The terminal is stalled: what waits for it belongs to a screen that is gone.
            _flush(1, termios.TCOFLUSH)
            _write(1, reset)
        _set_modes(self._saved)
        if flush:
            # Replies of the terminal to the interface's questions are nobody's typing.
            _flush(0, termios.TCIFLUSH)

    def _say(self, line: str) -> None:
        clean = "".join(char if char.isprintable() else "?" for char in line)
        _write(2, clean.encode("utf-8", "replace") + b"\n")


def _become(child: Sequence[str], environ: dict[str, str], blocked: set[signal.Signals | int]) -> None:
    try:
        signal.set_wakeup_fd(-1)
        for number in (*_FORWARDED, signal.SIGCHLD, signal.SIGTTOU):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.execvpe(child[0], list(child), environ)
    except OSError as error:
        _write(2, f"Paddock could not start {child[0]}: {error.strerror}\n".encode("utf-8", "replace"))
    finally:
        os._exit(1)


def _modes() -> list[Any] | None:
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def _set_modes(modes: list[Any]) -> None:
    try:
        termios.tcsetattr(0, termios.TCSANOW, modes)
    except termios.error:
        return


def _flush(number: int, queue: int) -> None:
    try:
        termios.tcflush(number, queue)
    except termios.error:
        return


def _is_ours() -> bool:
    """Whether the terminal is ours to change: in the background it is the shell's. Without job control it always is."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True


def _write(number: int, data: bytes) -> int:
    """Write what the terminal takes at once; a stalled one must not hold us. The shell's open file gets its flag back."""
    try:
        blocking = os.get_blocking(number)
        os.set_blocking(number, False)
        try:
            return os.write(number, data)
        finally:
            os.set_blocking(number, blocking)
    except OSError:
        return 0


def _drain(number: int) -> None:
    try:
        while os.read(number, 512):
            pass
    except BlockingIOError:
        return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
