"""What the benchmarks share: a home of its own with a simulated server, the program on a pty, and one table."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402

from tests.support.pty import Terminal  # noqa: E402

PROGRAM = [sys.executable, "-m", "tui"]
WORDS = [
    "the",
    "model",
    "writes",
    "some",
    "words",
    "about",
    "a",
    "local",
    "server",
    "and",
    "its",
    "memory",
    "with",
    "several",
    "layers",
    "of",
    "context",
]
"""What a benchmark's model writes."""


@contextlib.contextmanager
def home(config: str = "") -> Iterator[dict[str, str]]:
    """The environment of a person with one local server (the simulated one) and no other."""
    from tui.demo.launch import ensure_running

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "paddock").mkdir()
        (path / "paddock" / "config.toml").write_text(f"[general]\ndiscover = false\n{config}", encoding="utf-8")
        url = ensure_running(path / "server")
        yield {"HOME": folder, "PADDOCK_HOME": str(path / "paddock"), "OLLAMA_HOST": url}
        for process in psutil.process_iter(["cmdline"]):
            if folder in " ".join(process.info["cmdline"] or ()):
                process.kill()


def wait(seconds: float, terminal: Terminal) -> None:
    """Let time pass while the terminal is read."""
    end = time.monotonic() + seconds
    terminal.wait_for(lambda: time.monotonic() > end, timeout=seconds + 30)


def processes(terminal: Terminal) -> dict[str, psutil.Process]:
    """Guard, app and sampler of a running program."""
    guard = psutil.Process(terminal.process.pid)
    found = {"guard": guard}
    for process in guard.children(recursive=True):
        found["sampler" if {"sampler", "demo-sampler"} & set(process.cmdline()) else "app"] = process
    return found


def report(figure: str, measured: str, budget: str, ok: bool) -> None:
    """One line of the table."""
    print(f"| {figure} | {measured} | {budget} | {'yes' if ok else '**no**'} |", flush=True)


def heading() -> None:
    """The table's head, with the machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    print(f"{os.cpu_count()} cores {cpu}, Python {platform.python_version()}\n")
    print("| figure | measured | budget | kept |\n|---|---|---|---|")
