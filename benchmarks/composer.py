"""A key in a composer that holds 200 KB: from the change until it is drawn.

python benchmarks/composer.py
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.screen import screen_text
from tests.widgets.test_prompt_area import Host

KEYS: Final = "abcdefghijklmnopqrstuvwxyz"
BUDGET: Final = 0.05
"""Seconds, P20 allows twice as much."""
TEXTS: Final = {"lines": "lorem ipsum dolor sit amet\n" * 7500, "one line": "lorem ipsum dolor " * 11_000}


async def keys(text: str) -> list[float]:
    """Seconds each key took."""
    app = Host()
    taken = []
    async with app.run_test(size=(80, 24)) as pilot:
        app.box.fill(text)
        await pilot.pause()
        for key in KEYS:
            before = time.perf_counter()
            app.box.replace_typed(key, *app.box.selection)
            await asyncio.sleep(0)
            screen_text(app)
            taken.append(time.perf_counter() - before)
    return taken


def main() -> None:
    """Print the figures."""
    for name, text in TEXTS.items():
        taken = asyncio.run(keys(text))
        median, worst = statistics.median(taken), max(taken)
        print(f"{name}: median {median * 1e3:.1f} ms, worst {worst * 1e3:.1f} ms, budget {BUDGET * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
