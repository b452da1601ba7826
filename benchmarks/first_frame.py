"""First frame, and a local server's model list, against a bare Textual app: `python benchmarks/first_frame.py [ROUNDS]`.

Each round starts both on a pseudo-terminal, one after the other; the medians' ratio counts.
"""

from __future__ import annotations

import statistics
import sys
import time

from common import PROGRAM, Terminal, heading, home, report

BARE = """
from textual.app import App
from textual.widgets import Label
class Bare(App):
    def compose(self):
        yield Label("ready")
Bare().run()
"""


def seconds_until(argv: list[str], env: dict[str, str], *texts: str) -> list[float]:
    """From the start of a program until each text is on its screen."""
    began = time.monotonic()
    out = []
    with Terminal(argv, env) as terminal:
        for text in texts:
            terminal.wait_for(text)
            out.append(time.monotonic() - began)
        terminal.send("\x11")
        terminal.exit_code()
    return out


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    bare, first, models = [], [], []
    with home() as env:
        for _round in range(rounds):
            bare += seconds_until([sys.executable, "-c", BARE], env, "ready")
            one, two = seconds_until(PROGRAM, env, "1 Providers", "5 models")
            first.append(one)
            models.append(two)
    base = statistics.median(bare)
    heading()
    for name, values, budget in (("first frame", first, 1.3), ("model list of a local server", models, 2.5)):
        middle = statistics.median(values)
        text = f"{middle / base:.2f}x ({middle * 1000:.0f} ms; bare Textual {base * 1000:.0f} ms)"
        report(name, text, f"{budget}x", middle <= budget * base)


if __name__ == "__main__":
    main()
