"""`paddock status --line`: milliseconds, and how many times as long as `python -c pass`; out of the last sample, and asking the server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from common import PROGRAM, heading, home, report

from tests.cli.test_monitor_line import keep
from tui.core.places import last_file

ROUNDS = 40


def times(commands: dict[str, list[str]], environ: dict[str, str], before: dict[str, object]) -> dict[str, list[float]]:
    """Seconds of each command, one after the other in turn, so that what else runs here is the same for all."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _round in range(ROUNDS):
        for name, command in commands.items():
            prepare = before.get(name)
            if callable(prepare):
                prepare()
            began = time.perf_counter()
            subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=False, cwd=Path(__file__).parents[1])
            found[name].append(time.perf_counter() - began)
    return found


def main() -> None:
    heading()
    with home() as made:
        environ = {**made, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        place = Path(last_file(environ))
        line = [*PROGRAM, "status", "--line"]
        commands = {
            "python": [sys.executable, "-c", "pass"],
            "last": line,
            "tmux": [*line, "--for", "tmux"],
            "waybar": [*line, "--for", "waybar"],
            "asked": line,
        }
        found = times(
            commands, environ, {**dict.fromkeys(("last", "tmux", "waybar"), lambda: keep(place)), "asked": lambda: place.unlink(True)}
        )
    bare = median(found["python"])
    for name, words, budget in (
        ("last", "status --line, out of the last sample", 0.05),
        ("tmux", "the same --for tmux", 0.05),
        ("waybar", "the same --for waybar", 0.05),
        ("asked", "the same where nobody measures: the server is asked", 0.1),
    ):
        took = sorted(found[name])
        middle, late = median(took), took[int(0.95 * len(took))]
        measured = f"{1000 * middle:.0f} ms, p95 {1000 * late:.0f} ms; {middle / bare:.2f}× python -c pass ({1000 * bare:.0f} ms)"
        report(words, measured, f"{1000 * budget:.0f} ms", middle < budget)


if __name__ == "__main__":
    main()
