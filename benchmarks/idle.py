"""The program left alone: processor, bytes to the terminal, memory: `python benchmarks/idle.py [SECONDS]`."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from common import PROGRAM, Terminal, heading, home, processes, report, wait

AIMS = {"app": 90, "worker": 60, "sampler": 30, "guard": 12}
MODEL = "qwen3:8b"


@contextlib.contextmanager
def writing(env: dict[str, str]) -> Iterator[None]:
    """The demo's model writes for somebody else, one answer after the other."""
    record = Path(env["PADDOCK_HOME"], "data/demo/demo-server.json")
    end = threading.Event()

    def ask() -> None:
        url = f"http://127.0.0.1:{json.loads(record.read_text(encoding='utf-8'))['port']}"
        body = json.dumps({"model": MODEL, "prompt": "Tell me everything"}).encode()
        while not end.is_set():
            with urllib.request.urlopen(urllib.request.Request(f"{url}/api/generate", body), timeout=60) as answer:
                for _line in answer:
                    if end.is_set():
                        break

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    yield
    end.set()
    thread.join()


def monitor(env: dict[str, str], size: tuple[int, int], seconds: float, demo: bool = False) -> None:
    """The Monitor screen at 1 Hz; with `demo` beside a GPU on which a model writes."""
    with Terminal([*PROGRAM, *(["--demo"] if demo else [])], env, rows=size[1], cols=size[0]) as terminal, contextlib.ExitStack() as stack:
        terminal.wait_for("1 Providers")
        wait(2, terminal)
        terminal.send("\x075")
        terminal.wait_for("last 2 min")
        if demo:
            stack.enter_context(writing(env))
            terminal.wait_for(MODEL)
        wait(5, terminal)
        before = {name: process.cpu_times() for name, process in processes(terminal).items()}
        sent = len(terminal.raw)
        wait(seconds, terminal)
        sent = len(terminal.raw) - sent
        where = f"monitor at 1 Hz, {size[0]}x{size[1]}{', GPU on which a model writes' if demo else ''}"
        for name, budget in (("app", 2.0), ("sampler", 1.0)):
            now = processes(terminal)[name].cpu_times()
            used = 100 * (now.user + now.system - before[name].user - before[name].system) / seconds
            report(f"{where}: {name}, of a core", f"{used:.1f} %", f"{budget:.0f} %", used <= budget)
        report(f"{where}: written", f"{sent / seconds:.0f} B/s", "2,000 B/s", sent / seconds <= 2000)
        terminal.send("\x11")
        terminal.exit_code()


def nothing(env: dict[str, str], seconds: float) -> None:
    """Sampling off, nothing changes."""
    with Terminal(PROGRAM, env, rows=40, cols=120) as terminal:
        terminal.wait_for("5 models")
        wait(10, terminal)
        sent = len(terminal.raw)
        wait(seconds, terminal)
        sent = len(terminal.raw) - sent
        report("sampling off, nothing changes: written", f"{sent / seconds:.1f} B/s", "0 B/s", sent == 0)
        terminal.send("\x11")
        terminal.exit_code()


def memory(env: dict[str, str]) -> None:
    """After every screen was seen and an answer has streamed: what no other process shares, and its part of what is shared."""
    with Terminal(PROGRAM, env, rows=40, cols=120) as terminal:
        terminal.wait_for("1 Providers")
        wait(2, terminal)
        for number in "135624":
            terminal.send(f"\x07{number}")
            wait(1.0, terminal)
        terminal.send("Tell me\r")
        terminal.wait_for("wrote ", timeout=60)
        for name, process in processes(terminal).items():
            value = process.memory_full_info().pss / 1e6
            report(f"memory of the {name}", f"{value:.1f} MB", f"{AIMS[name]} MB", value <= AIMS[name])
        terminal.send("\x11")
        terminal.exit_code()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    heading()
    with home() as env:
        monitor(env, (80, 24), seconds)
        monitor(env, (120, 40), seconds)
        monitor(env, (80, 24), seconds, demo=True)
        monitor(env, (120, 40), seconds, demo=True)
        memory(env)
    with home("[monitor]\nenabled = false\n") as env:
        nothing(env, seconds)


if __name__ == "__main__":
    main()
