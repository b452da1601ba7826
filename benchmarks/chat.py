"""A conversation with a model that streams, the real program on a pseudo-terminal: `python benchmarks/chat.py [--all] [ROW ...]`.

A row is one of stream, flat, keys, lag, bytes, slow, open, resize; without one, all. The server is a process of its own (`chat_server.py`),
both clocks are CLOCK_MONOTONIC. By default a part of the matrix of streams, under six minutes; `--all` takes hours.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import product

from chat_runs import Cell, Measured, opening, reading, resizing, stream
from chat_server import SHAPES
from common import heading, report

ABOVE = (1_000, 40_000, 400_000)
RATES = {1000: (1_000, 10_000, 50_000), 100: (1_000, 10_000, 50_000)}
MOST = {1000: 3.0, 100: 5.0}
"""CPU against reading alone."""
LARGE = 2_000_000


def chosen(everything: bool) -> list[Cell]:
    """The cells of the matrix that are run; those of 50,000 tokens at 1,000 a second belong to `flat`."""
    if everything:
        return [Cell(*some) for rate, counts in RATES.items() for some in product(SHAPES, (rate,), counts, ABOVE)]
    quick = [Cell(shape, 1000, 1_000, above) for shape in SHAPES for above in (1_000, 400_000)]
    long = [Cell("paragraphs", 1000, 10_000, 40_000), Cell("table", 1000, 10_000, 400_000)]
    slow = [Cell("paragraphs", 100, 1_000, 1_000), Cell("fence", 100, 1_000, 40_000), Cell("list", 100, 1_000, 400_000)]
    return [*quick, *long, *slow]


def named(cell: Cell) -> str:
    """A cell in words."""
    return f"{cell.tokens:,} tokens at {cell.rate:,}/s, {cell.shape}, {cell.above // 1000} KB above"


def milliseconds(values: Sequence[float]) -> str:
    """Worst and median."""
    return f"{max(values) * 1000:.0f} ms worst, {statistics.median(values) * 1000:.0f} ms median of {len(values)}"


def p95(values: Sequence[float]) -> float:
    """Milliseconds that one value of twenty passes."""
    return statistics.quantiles(values, n=20)[-1] * 1000


def late(figure: str, found: Iterable[Measured], most: float) -> None:
    """From the last token to the screen."""
    values = [one.late for one in found]
    seen = [value for value in values if value is not None]
    missing = f"; {len(values) - len(seen)} never" if len(seen) < len(values) else ""
    ok = not missing and max(seen, default=1) * 1000 <= most
    report(figure, milliseconds(seen or [9.999]) + missing, f"{most:.0f} ms", ok)


def streams(everything: bool) -> None:
    """The matrix: the last token on the screen, and the cost of a token against reading alone."""
    cells = chosen(everything)
    found = [(cell, stream(cell)) for cell in cells]
    for rate in RATES:
        mine = [(cell, one) for cell, one in found if cell.rate == rate]
        alone = statistics.median(reading(Cell("paragraphs", rate, 500 if rate == 100 else 5_000, 0)) for _ in range(3))
        for cell, one in mine:
            seen = "never" if one.late is None else f"{one.late * 1000:.0f} ms"
            times = one.cpu / alone
            words = f"last token {seen}; CPU {times:.2f}x ({one.cpu * 1e6:.0f} and {alone * 1e6:.0f} µs a token)"
            report(named(cell), words, f"100 ms; {MOST[rate]:.0f}x", one.late is not None and one.late <= 0.1 and times <= MOST[rate])
        late(f"last token visible, {rate:,} tokens/s", (one for _cell, one in mine), 100)
        middle = statistics.median(one.cpu for _cell, one in mine) / alone
        report(
            f"CPU a token against reading alone, {rate:,} tokens/s, median", f"{middle:.2f}x", f"{MOST[rate]:.0f}x", middle <= MOST[rate]
        )


def flat(everything: bool) -> None:
    """A token of 50,000 against one of 1,000; the end of an answer costs something, so 1,000 are the first of as long an answer."""
    for shape in SHAPES if everything else ("paragraphs",):
        one = stream(Cell(shape, 1000, 50_000, 1_000, parts=True))
        first, whole = one.parts[0], one.cpu
        words = f"{whole / first:.2f}x ({first * 1e6:.0f} and {whole * 1e6:.0f} µs)"
        report(f"CPU a token, 50,000 against its first 1,000: {shape}", words, "1.3x", whole <= 1.3 * first)
        last = one.parts[-1]
        report(f"the same, last 1,000 of 50,000: {shape}", f"{last / first:.2f}x ({last * 1e6:.0f} µs)", "1.3x", last <= 1.3 * first)
        late(f"last token visible, 50,000 tokens at 1,000/s, {shape}", [one], 100)


def keys(everything: bool) -> None:
    """Typing while an answer streams."""
    for rate, above in product((100, 1000), ABOVE if everything else ABOVE[-1:]):
        one = stream(Cell("paragraphs", rate, rate * 8, above, keys=45))
        figure = p95(one.keys)
        words = f"{figure:.0f} ms p95, {milliseconds(one.keys)}"
        report(f"a key at {rate:,} tokens/s, {above // 1000} KB above", words, "50 ms", figure <= 50)


def lag(everything: bool) -> None:
    """How late the loop of the app is."""
    for rate, above in product((100, 1000), ABOVE if everything else ABOVE[-1:]):
        one = stream(Cell("paragraphs", rate, rate * 6, above, probe=True))
        words = f"{p95(one.lags):.1f} ms p95, {max(one.lags) * 1000:.0f} ms worst"
        report(f"loop lag at {rate:,} tokens/s, {above // 1000} KB above", words, "30 ms", p95(one.lags) <= 30)


def written(_everything: bool) -> None:
    """Bytes to the terminal."""
    for size in ((80, 24), (120, 40)):
        one = stream(Cell("paragraphs", 100, 1_000, 40_000, size))
        report(f"bytes a token at 100 tokens/s, {size[0]}x{size[1]}", f"{one.bytes:.1f} B", "40 B", one.bytes <= 40)


def slow(_everything: bool) -> None:
    """A line of 10,000 bytes a second, and a reader that reads no faster."""
    for rate, count in ((100, 600), (1000, 5_000)):
        found = [stream(Cell("paragraphs", rate, count, 40_000, (80, 24), speed=10_000)) for _ in range(2)]
        late(f"last token visible on 10,000 bytes/s, {rate:,} tokens/s", found, 150)


def opened(_everything: bool) -> None:
    """A conversation of 2 MB, with keys."""
    for key, times in opening(LARGE).items():
        report(f"conversation of 2 MB, {key} until its end is shown", milliseconds(times), "300 ms", max(times) <= 0.3)


def resized(_everything: bool) -> None:
    """Another width below 2 MB."""
    times = resizing(LARGE)
    report("resize of 2 MB until what is visible is drawn", milliseconds(times), "100 ms", max(times) <= 0.1)


ROWS: dict[str, Callable[[bool], None]] = {
    "stream": streams, "flat": flat, "keys": keys, "lag": lag, "bytes": written, "slow": slow, "open": opened, "resize": resized,
}  # fmt: skip


def main() -> None:
    words = sys.argv[1:]
    print(f"load {os.getloadavg()[0]:.1f} before; ", end="")
    heading()
    for name in [word for word in words if word in ROWS] or ROWS:
        ROWS[name]("--all" in words)
    print(f"\nload {os.getloadavg()[0]:.1f} after. Search over 100,000 messages: python -m benchmarks.search")


if __name__ == "__main__":
    main()
