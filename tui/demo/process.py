"""The demo server's process: one a home, named in a record file, ended by idleness or a signal."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tui.demo.launch import RECORD
from tui.demo.models import World
from tui.demo.server import Pace, serve

LAST_PORT: Final = "demo-server.port"


def run(argv: Sequence[str]) -> int:
    """Serve `--home`; returns 0, also where another process serves it already."""
    parser = argparse.ArgumentParser(prog="paddock demo-server")
    pace = Pace()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pull-rate", type=float, default=pace.pull, help="bytes a second")
    parser.add_argument("--tokens-per-second", type=float, default=pace.tokens)
    parser.add_argument("--load-delay", type=float, default=pace.load, help="seconds")
    parser.add_argument("--idle", type=float, default=pace.idle, help="seconds without a connection until the end")
    given = parser.parse_args(argv)
    home: Path = given.home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(home / "demo-server.lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 0
    record = home / RECORD
    try:
        pace = Pace(given.pull_rate, given.tokens_per_second, given.load_delay, given.idle)
        asyncio.run(_serve(home, pace, given.port or _last_port(home), record))
    finally:
        record.unlink(missing_ok=True)
    return 0


def _last_port(home: Path) -> int:
    """The port of last time, where it is free: pulls that are still queued are for that address; else 0."""
    try:
        port = int((home / LAST_PORT).read_text(encoding="ascii"))
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("127.0.0.1", port))
    except (OSError, ValueError, OverflowError):
        return 0
    return port


async def _serve(home: Path, pace: Pace, port: int, record: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)

    def ready(used: int) -> None:
        text = json.dumps({"pid": os.getpid(), "port": used})
        temporary = record.with_suffix(f".{os.getpid()}")
        temporary.write_text(text, encoding="ascii")
        temporary.chmod(0o600)
        temporary.replace(record)
        (home / LAST_PORT).write_text(str(used), encoding="ascii")
        print(text, flush=True)

    await serve(World.open(home), pace, port, ready, stop)
