"""An answer streams into the conversation, on a real pseudo-terminal: `python benchmarks/streaming.py [--long]`.

Loop lag while 100 and 1,000 tokens/s arrive below 400 KB of conversation, bytes a token to the terminal with our driver and
with Textual's own frames, and (--long, a minute) what a token costs at the end of 50,000 against the first 3,000.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import WORDS, Terminal, heading, report
from textual.app import App, ComposeResult

from tui.ui.widgets.prompt import Composer
from tui.ui.widgets.transcript import Transcript
from tui.ui.wire import driver_class

PIECE = 1 / 50


def tokens(seed: int = 1) -> list[str]:
    """Markdown as models write it, in tokens of about five characters."""
    chance = random.Random(seed)
    out: list[str] = []
    while len(out) < 60_000:
        kind = chance.random()
        words = [chance.choice(WORDS) + " " for _ in range(chance.randint(8, 40))]
        if kind < 0.5:
            out += [*words, "\n\n"]
        elif kind < 0.75:
            out += [piece for word in words for piece in (("\n", "- ", word) if chance.random() < 0.2 else (word,))]
            out.append("\n\n")
        elif kind < 0.9:
            out += ["```", "python", "\n", *("x", " = ", "f(", "1", ")", "\n") * 5, "```", "\n\n"]
        else:
            out += ["**", chance.choice(WORDS), "** ", *words, "\n\n"]
    return out


class Stream(App[None]):
    """The conversation and the composer."""

    def __init__(self, rate: int, seconds: float, shown: int, out: str, wire: str) -> None:
        super().__init__(driver_class=driver_class(wire))
        self.rate, self.seconds, self.shown, self.out = rate, seconds, shown, out
        self.lags: list[float] = []
        self.costs: list[tuple[int, float]] = []

    def compose(self) -> ComposeResult:
        """Two parts."""
        yield Transcript()
        yield Composer()

    def on_mount(self) -> None:
        """Load what is shown, then stream."""
        chat = self.query_one(Transcript)
        old = "".join(tokens(2))
        old = (old * (1 + self.shown // len(old)))[: self.shown]
        chat.load([(number, "m", "", old[at : at + 20_000], "") for number, at in enumerate(range(0, len(old), 20_000))])
        self.run_worker(self.stream())
        self.run_worker(self.probe())

    async def probe(self) -> None:
        """How late the loop is."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            self.lags.append(time.perf_counter() - began - 0.005)

    async def stream(self) -> None:
        """Tokens at the rate, as many pieces a second as a network gives."""
        chat = self.query_one(Transcript)
        await asyncio.sleep(4.0)
        Path(f"{self.out}.begin").touch()
        self.lags.clear()
        chat.begin("answer", "m")
        source = tokens()
        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - began) < self.seconds and sent < len(source):
            due = min(len(source), int(now * self.rate))
            if due > sent:
                chat.append("answer", "".join(source[sent:due]))
                sent = due
                self.costs.append((sent, time.process_time()))
            await asyncio.sleep(PIECE)
        lags = list(self.lags)
        Path(f"{self.out}.end").touch()
        await asyncio.sleep(0.5)
        Path(self.out).write_text(json.dumps({"lags": lags, "costs": self.costs, "tokens": sent}), encoding="utf-8")
        self.exit()


def run(rate: int, seconds: float, shown: int, size: tuple[int, int], wire: str = "auto") -> dict[str, Any]:
    """One run; adds the bytes written while tokens came."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        argv = [sys.executable, __file__, "--app", str(rate), str(seconds), str(shown), str(out), wire]
        with Terminal(argv, rows=size[1], cols=size[0], sync=True) as terminal:
            terminal.wait_for(Path(f"{out}.begin").exists, timeout=60)
            before = len(terminal.raw)
            terminal.wait_for(Path(f"{out}.end").exists, timeout=seconds + 60)
            after = len(terminal.raw)
            terminal.exit_code()
        return {**json.loads(out.read_text(encoding="utf-8")), "bytes": after - before}


def cost(costs: list[tuple[int, float]], first: int, last: int) -> float:
    """CPU seconds a token between two tokens."""
    inside = [(count, at) for count, at in costs if first <= count <= last]
    return (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])


def main() -> None:
    heading()
    for rate in (100, 1000):
        found = run(rate, 8, 400_000, (120, 40))
        p95 = statistics.quantiles(found["lags"], n=20)[-1] * 1000
        report(f"loop lag p95, {rate} tokens/s, 400 KB shown", f"{p95:.1f} ms", "30 ms", p95 <= 30)
    for size in ((80, 24), (120, 40)):
        for wire in ("auto", "full"):
            found = run(100, 8, 10_000, size, wire)
            each = found["bytes"] / found["tokens"]
            name = f"bytes a token at 100 tokens/s, {size[0]}x{size[1]}" + ("" if wire == "auto" else ", Textual's own frames")
            report(name, f"{each:.1f} B", "40 B" if wire == "auto" else "–", wire == "full" or each <= 40)
    if "--long" in sys.argv:
        costs = run(1000, 52, 0, (120, 40))["costs"]
        ratio = cost(costs, 47_000, 50_000) / cost(costs, 0, 3_000)
        report("CPU a token, end of 50,000 against begin", f"{ratio:.2f}x", "1.3x", ratio <= 1.3)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--app"]:
        Stream(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6]).run()
    else:
        main()
