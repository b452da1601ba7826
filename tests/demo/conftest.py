"""The demo's server, fast enough for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.demo.serving import serving
from tui.demo.server import Pace
from tui.providers.base import Provider


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Provider]:
    """A running server's provider."""
    async with serving(tmp_path, Pace(pull=40e9, tokens=5000, load=0.01, idle=600)) as found:
        yield found
