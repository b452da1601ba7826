"""Draws the README's pictures: the real program on its demo server, driven by its keys.

`python scripts/screenshots.py` writes docs/*.svg; `--out FOLDER --size 80x24` draws those and the other screens elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.screen import until  # noqa: E402

SHOWN = ("library", "pulls", "chat", "monitor")
"""Those the README shows."""


def make_app(home: Path) -> Any:
    """The program on the demo server of a home of its own."""
    os.environ.update(PADDOCK_HOME=str(home), HOME=str(home))
    from tui.config.paths import ensure_dirs, find_paths
    from tui.core.options import AppOptions
    from tui.demo.launch import ensure_running
    from tui.services.hub import build_services
    from tui.ui.app import TuiApp
    from tui.ui.start import read_early

    options = AppOptions(demo=True)
    paths = find_paths(demo=True, environ=os.environ)
    ensure_dirs(paths)
    url = ensure_running(paths.home or paths.data)
    early = read_early(options, paths, os.environ)
    return TuiApp(options, early, lambda: build_services(paths, options, os.environ, demo_url=url), paths=paths)


async def draw(app: Any, size: tuple[int, int], keep: Callable[[str], Awaitable[None]]) -> None:
    """Go through the screens as a person would."""
    async with app.run_test(size=size) as pilot:
        await until(lambda: app.services is not None and app.services.registry.models.value, what="the models")
        services = app.services
        for key in "jjkk":
            await pilot.press(key)
        await until(lambda: services.registry.details.value, what="what a model can do")
        await until(lambda: len(services.library.updates.states.value) >= 5, what="what is newer")
        await keep("library")
        await pilot.press("right_square_bracket")
        await keep("catalogue")
        for model in ("gemma3:12b", "mistral:7b", "phi4:14b"):
            services.jobs.add(model, "demo")
        await pilot.press("3")
        await until(lambda: services.jobs.view.value.rate, what="a pull")
        await asyncio.sleep(6)
        await keep("pulls")
        await pilot.press("4")
        await pilot.press(*"Show me a table and some code", "enter")
        await until(lambda: app.services.chat.live.value is not None, what="an answer")
        await until(lambda: app.services.chat.live.value is None, what="the end of the answer")
        await keep("chat")
        await pilot.press("ctrl+g", "5")
        await asyncio.sleep(12)
        await keep("monitor")
        await pilot.press("1")
        await keep("providers")
        await pilot.press("6")
        await keep("settings")
        await pilot.press("question_mark")
        await keep("help")
    app.services.close()


def main() -> int:
    """Draw all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--size", default="100x30", help="columns x rows")
    options = parser.parse_args()
    columns, rows = (int(part) for part in options.size.split("x"))
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        app = make_app(Path(home))

        async def keep(name: str) -> None:
            if options.out == ROOT / "docs" and name not in SHOWN:
                return
            await asyncio.sleep(0.8)
            path = options.out / f"{name}.svg"
            path.write_text(app.export_screenshot(title="paddock --demo"), encoding="utf-8")
            print(path)

        asyncio.run(draw(app, (columns, rows), keep))
    return 0


if __name__ == "__main__":
    sys.exit(main())
