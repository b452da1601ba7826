"""The demo's server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.screen import until
from tui.core.models import Endpoint
from tui.demo.models import World
from tui.demo.server import Pace, serve
from tui.providers.factory import make_provider


@asynccontextmanager
async def serving(folder: Path, pace: Pace) -> AsyncIterator[Any]:
    """A provider at the server of the folder's world; both end with the block."""
    stop, ports = asyncio.Event(), list[int]()
    task = asyncio.create_task(serve(World.open(folder), pace, 0, ports.append, stop))
    await until(lambda: ports)
    provider = make_provider(Endpoint("demo", "ollama", f"http://127.0.0.1:{ports[0]}"), lambda _reference: "")
    try:
        yield provider
    finally:
        await provider.aclose()
        stop.set()
        await task
