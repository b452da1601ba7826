"""Answers that are hard to lay out, and a resize below 400 KB: `python benchmarks/transcript.py`.

An answer of 50,000 tokens (270 KB) without a line break, all one list, one code block, one table: what a token costs at its end
against its first 1,000, drawing included. Then how long one step holds the loop while 400 KB are wrapped for another width.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Callable

from common import WORDS, heading, report

from tests.support.transcript_host import Host

SIZE = 270_000
TOKEN = 5.4
PIECE = 36
"""Characters of a flush at 100 tokens/s."""


def words(chance: random.Random, least: int, most: int) -> str:
    """Some words."""
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(least, most)))


def answers() -> dict[str, str]:
    """Text by what is hard about it."""
    chance = random.Random(3)

    def many(make: Callable[[], str]) -> str:
        return "".join(make() for _ in range(SIZE // 20))[:SIZE]

    return {
        "paragraphs and lists": many(lambda: words(chance, 5, 60) + chance.choice(["\n\n", "\n\n", "\n\n- **one** of it\n- two\n\n"])),
        "one line": many(lambda: words(chance, 4, 5) + " "),
        "one word": "x" * SIZE,
        "one paragraph": many(lambda: words(chance, 8, 12) + "\n"),
        "one list": many(lambda: f"{'  ' * chance.randint(0, 3)}- {words(chance, 3, 12)}\n"),
        "one code block": "```python\n" + many(lambda: f"    value = call({chance.randint(0, 99)}, 'text')  # {words(chance, 1, 3)}\n"),
        "one table": "| a | b |\n|---|---|\n" + many(lambda: f"| {words(chance, 1, 4)} | {words(chance, 1, 4)} |\n"),
        "thoughts": many(lambda: words(chance, 4, 5) + " "),
    }


async def cost(text: str, *, thoughts: bool) -> tuple[float, float]:
    """Seconds a token among the first 1,000 and the last 1,000."""
    app = Host()
    async with app.run_test(size=(120, 40)):
        chat = app.chat
        chat.begin(1, "m")
        append = chat.append_thinking if thoughts else chat.append

        def took(start: int, end: int) -> float:
            began = time.process_time()
            for at in range(start, end, PIECE):
                append(1, text[at : at + PIECE])
                chat.flush()
                app.screen._on_timer_update()
            return (time.process_time() - began) / (end - start) * TOKEN

        thousand = round(1000 * TOKEN)
        append(1, text[:PIECE])
        chat.flush()
        if thoughts:
            chat.action_fold()
        first = took(PIECE, thousand)
        for at in range(thousand, SIZE - thousand, 100 * PIECE):
            append(1, text[at : min(at + 100 * PIECE, SIZE - thousand)])
            chat.flush()
        return first, took(SIZE - thousand, SIZE)


async def resize(shown: int) -> list[float]:
    """How late the loop was while a conversation was wrapped for another width, seconds."""
    text = answers()["paragraphs and lists"]
    app = Host()
    lags: list[float] = []
    async with app.run_test(size=(120, 40)) as pilot:
        chat = app.chat
        text = (text * (1 + shown // len(text)))[:shown]
        chat.load([(number, "m", "", text[at : at + 20_000], "") for number, at in enumerate(range(0, len(text), 20_000))])
        chat.flush()

        def stale() -> bool:
            return any(True for message in chat._order for _block in message.stale(chat._look))

        async def probe() -> None:
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0.002)
                lags.append(time.perf_counter() - began - 0.002)

        async def settled() -> None:
            while stale():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

        await settled()
        await asyncio.sleep(0.5)
        gc.freeze()  # as Paddock does once its screens are there
        task = asyncio.create_task(probe())
        for width in (90, 120, 60, 100):
            await pilot.resize_terminal(width, 40)
            await settled()
        task.cancel()
    return lags


def main() -> None:
    heading()
    for name, text in answers().items():
        first, last = asyncio.run(cost(text, thoughts=name == "thoughts"))
        each = f"{last / first:.2f}x ({first * 1e6:.0f} and {last * 1e6:.0f} µs)"
        report(f"CPU a token, last 1,000 of 50,000 against first: {name}", each, "1.3x", last <= 1.3 * first)
    for shown in (1_000, 400_000):
        lags = asyncio.run(resize(shown))
        p95, worst = statistics.quantiles(lags, n=20)[-1] * 1000, max(lags) * 1000
        name = f"resize with {shown // 1000} KB shown: loop lag p95, worst"
        report(name, f"{p95:.1f} ms, {worst:.1f} ms", "30 ms", p95 <= 30)


if __name__ == "__main__":
    main()
