"""A table of 10,000 models: first paint, a cursor key, a filter key: `python benchmarks/rows.py`."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from common import heading, report

from tests.support.fake_services import FakeServices, ScreenHost
from tests.ui import library_data
from tui.core.models import Model
from tui.ui.screens.library import LibraryScreen
from tui.ui.screens.library_installed import InstalledView

COUNT = 10_000


async def measure() -> dict[str, float]:
    """Milliseconds of the Library screen, paint included."""
    models = tuple(
        Model("ollama", f"family{n % 400}:{n}b", f"family{n % 400}:{n}b", n * 10**6, quantization="Q4_K_M", modified_at=time.time() - n)
        for n in range(COUNT)
    )
    out: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        fake = FakeServices(Path(folder))
        library_data.fill(fake)
        fake.registry.models.set(())
        app = ScreenHost(LibraryScreen(fake))
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()

            def took(act: Callable[[], object]) -> float:
                began = time.perf_counter()
                act()
                app.screen._on_timer_update()
                return (time.perf_counter() - began) * 1000

            screen = app.screen
            assert isinstance(screen, LibraryScreen)
            view = screen.views[0]
            assert isinstance(view, InstalledView)
            out["first paint"] = took(lambda: view._draw_models(models))
            table = view.table
            out["cursor key"] = statistics.median([took(lambda: table.action_move(1)) for _ in range(50)])
            out["page key"] = statistics.median([took(lambda: table.action_page(1)) for _ in range(50)])
            out["first filter key"] = took(lambda: table.set_filter("f"))
            out["filter key"] = max(took(lambda text=text: table.set_filter(text)) for text in ("fa", "fam", "family39", "family39 b"))
            out["sort"] = took(lambda: table.sort_by("size"))
    return out


def main() -> None:
    found = asyncio.run(measure())
    heading()
    budgets = {"first paint": 50, "cursor key": 10, "page key": 10, "first filter key": 30, "filter key": 30, "sort": 50}
    for name, value in found.items():
        report(f"10,000 models, {name}", f"{value:.1f} ms", f"{budgets[name]} ms", value <= budgets[name])


if __name__ == "__main__":
    main()
