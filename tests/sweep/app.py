"""What the app's engine does for the queue, without a screen: `python -m tests.sweep.app`; it ends when killed."""

from __future__ import annotations

import asyncio
import os

from tests.sweep.night import spawn
from tui.config.paths import find_paths
from tui.services import jobs
from tui.store.db import Database


async def main() -> None:
    """Follow the queue of the home that the environment names."""
    paths = find_paths(environ=os.environ)
    jobs.spawn_worker = spawn  # type: ignore[assignment]
    await jobs.Jobs(Database(paths.database), paths).follow()


if __name__ == "__main__":
    asyncio.run(main())
