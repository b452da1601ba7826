"""A server that misbehaves, and the provider of a kitchen: what stands in the kitchen, each file says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.library.kitchen import Kitchen
from tests.support.servers import server  # noqa: F401 (fixture)
from tui.providers.ollama import Ollama


@pytest.fixture
async def box(kitchen: Kitchen) -> AsyncIterator[Ollama]:
    found = kitchen.provider()
    yield found
    await found.aclose()
