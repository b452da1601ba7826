"""Chat engines that end with the test, and servers for them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import Bench, Make
from tests.support.servers import connect, server  # noqa: F401 (fixtures)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes engines of a provider, in one folder unless told otherwise."""
    made: list[Bench] = []

    async def make(provider: Any, folder: Path | None = tmp_path) -> Bench:
        made.append(await Bench(folder, provider).begin())
        return made[-1]

    yield make
    for one in made:
        await one.end()
