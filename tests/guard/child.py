"""A stand-in for the interface: takes the terminal as Textual does, then acts as its first argument says."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty

TAKE = b"\x1b[?1049h\x1b[?1000h\x1b[?1003h\x1b[?1006h\x1b[?2004h\x1b[?25l\x1b[>1u"


def _wait() -> None:
    while True:
        signal.pause()


def _note(number: int, file: str) -> None:
    place = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if file else 1
    os.write(place, f"<got {number}>".encode())


def main(what: str, argument: str = "") -> None:
    """Act."""
    if what == "encoding":
        print(f"encoding {sys.stdout.encoding} {os.environ.get('COLUMNS')} {os.environ.get('LINES')}", flush=True)
        return
    if what == "exit":
        sys.exit(int(argument))
    saved = termios.tcgetattr(0)
    if what == "typed":
        if argument == "raw":
            tty.setraw(0, termios.TCSANOW)
        print("ready", flush=True)
        signal.sigwait({signal.SIGUSR1})
        return
    tty.setraw(0, termios.TCSANOW)
    os.write(1, TAKE)
    if what == "clean":
        termios.tcsetattr(0, termios.TCSANOW, saved)
        sys.exit(int(argument))
    if what == "die":
        os.kill(os.getpid(), int(argument))
        _wait()
    if what == "raw-exit":
        os._exit(int(argument))
    if what == "stubborn":
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, lambda number, _frame: _note(number, argument))
    if what == "stop":
        signal.signal(signal.SIGCONT, lambda *_: os.write(1, b"<continued>"))
    if what == "flood":
        os.write(1, f"<ready {os.getpid()}>".encode())
        while True:
            os.write(1, b"\x1b[1;1Hxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
    os.write(1, f"<ready {os.getpid()}>".encode())
    while what == "stop":
        os.read(0, 1)
    _wait()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    main(*sys.argv[1:])
