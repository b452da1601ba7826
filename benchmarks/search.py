"""A search over 100,000 messages, and opening long conversations, straight from the store: `python benchmarks/search.py [MESSAGES]`."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import heading, report

from tui.store import index
from tui.store.conversations import Conversations
from tui.store.db import Database

MESSAGES = 100_000
IN_EACH = 50
RUNS = 7
QUERIES = (
    "q", "th", "the", "word77", "the word77", "the of", "quicksort", "quicksort python", "foo.bar()", "日本", "語の", "nothingatall",
    "the of and to in", "needle the of and", "word19999 word19998 the", "#work", "#work the", "zé", "needle pin haystack", "",
)  # fmt: skip


def vocabulary() -> list[str]:
    """Common words often, rare ones seldom, as in any language."""
    common = [
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "that",
        "model",
        "python",
        "function",
        "quicksort",
        "zèbre",
        "日本語の文章",
        "foo.bar()",
    ]
    return [*common, *(f"word{number}" for number in range(20_000))]


def texts(count: int, seed: int = 5) -> list[str]:
    choice = random.Random(seed)
    words = vocabulary()
    weights = [1 / (rank + 1) for rank in range(len(words))]
    pool = choice.choices(words, weights, k=1_000_000)
    made = []
    for _ in range(count):
        start, length = choice.randrange(len(pool) - 400), choice.choice((8, 12, 30, 60, 120, 300))
        made.append(" ".join(pool[start : start + length]))
    return made


def fill(connection: sqlite3.Connection, messages: int) -> None:
    """Many conversations; the last three are one of 5,000 messages, one of 2 MB, and one with a message of 20 MB."""
    bodies = texts(messages)
    bodies[messages // 2] += " needle haystack pin"
    conversations = messages // IN_EACH
    connection.executemany(
        "INSERT INTO conversation (id, title, provider, model, created_at, updated_at, tags) VALUES (?, ?, 'box', 'm', ?, ?, ?)",
        [(n, f"chat {n}", n, n, '["work"]' if n % 9 == 0 else "[]") for n in range(1, conversations + 4)],
    )
    rows = [(1 + n // IN_EACH, 1 + n % IN_EACH, n, text) for n, text in enumerate(bodies)]
    rows += [(conversations + 1, n, n, text) for n, text in enumerate(bodies[:5000], 1)]
    rows += [(conversations + 2, n, n, ("lorem ipsum dolor\n" * 1200)[:20_000]) for n in range(1, 101)]
    rows += [(conversations + 3, 1, 1, "long " * (4 << 20))]
    connection.executemany(
        "INSERT INTO message (conversation, seq, role, content, state, created_at, metrics, timeline) VALUES (?1, ?2,"
        " CASE ?3 % 2 WHEN 0 THEN 'user' ELSE 'assistant' END, ?4, 'complete', ?3,"
        ' CASE ?3 % 2 WHEN 0 THEN \'{}\' ELSE \'{"prompt_tokens":100,"output_tokens":50,"output_seconds":1.5}\' END,'
        ' CASE ?3 % 2 WHEN 0 THEN \'{}\' ELSE \'{"waited":0.1,"wrote":1.5,"first_token":0.4,"rate":33.3}\' END)',
        rows,
    )
    connection.execute(
        "UPDATE message SET parent = coalesce((SELECT max(m.id) FROM message m WHERE m.conversation = message.conversation"
        " AND m.id < message.id), 0)"
    )
    connection.execute("UPDATE conversation SET tip = (SELECT max(id) FROM message m WHERE m.conversation = conversation.id)")


def timed(work: Callable[[], object], runs: int = RUNS) -> tuple[float, float]:
    """Median and slowest, milliseconds."""
    took = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took), max(took)


def made(path: Path, messages: int) -> str:
    """Fill a database and index it; returns its sizes in words."""
    database = Database(path)
    database.run_sync(lambda connection: fill(connection, messages), durable=False)
    text, started = path.stat().st_size + path.with_name(f"{path.name}-wal").stat().st_size, time.perf_counter()
    database.run_sync(index.rebuild, durable=False)
    seconds = time.perf_counter() - started
    database.close()
    return f"{path.stat().st_size / 1e6:.0f} MB, of them {(path.stat().st_size - text) / 1e6:.0f} MB index, made in {seconds:.1f} s"


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    with tempfile.TemporaryDirectory() as folder:
        words = made(Path(folder) / "paddock.db", messages)
        database = Database(Path(folder) / "paddock.db")
        chats = Conversations(database)
        heading()
        for text in QUERIES:
            count = len(asyncio.run(chats.search_async(text)))
            median, slowest = timed(lambda text=text: asyncio.run(chats.search_async(text)))  # type: ignore[misc]
            said = f"{median:.1f} ms, slowest {slowest:.1f} ms"
            report(f"search over {messages:,} messages, {text or 'nothing typed'!r} ({count} found)", said, "100 ms", median <= 100)
        last = messages // IN_EACH + 3
        for what, number, budget in (("5,000 messages", last - 2, 500), ("2 MB", last - 1, 300), ("a message of 20 MB", last, 500)):
            median, slowest = timed(lambda number=number: (chats.branch(number), chats.branches(number)))  # type: ignore[misc]
            report(f"open a chat of {what}, store alone", f"{median:.1f} ms, slowest {slowest:.1f} ms", f"{budget} ms", median <= budget)
        median, slowest = timed(chats.heads)
        report("list 500 conversations, store alone", f"{median:.1f} ms, slowest {slowest:.1f} ms", "50 ms", median <= 50)
        print(f"\nThe database: {words}.")
        database.close()


if __name__ == "__main__":
    main()
