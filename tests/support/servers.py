"""Fixtures: a misbehaving server, and providers that talk to it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import tui.providers.client  # noqa: F401  the first questions are asked otherwise: see tests/providers/test_first.py
from tests.support.fault_server import FaultServer
from tui.core.models import Endpoint
from tui.providers.base import Provider
from tui.providers.factory import make_provider


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    found = FaultServer()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def connect(server: FaultServer) -> AsyncIterator[Callable[..., Any]]:
    """Makes a provider of a kind at the server (or elsewhere); closed at the end."""
    made: list[Provider] = []

    def make(kind: str = "ollama", url: str = "", **fields: Any) -> Any:
        endpoint = Endpoint("lab", kind, url or server.url, **{"retries": 0, "retry_delay": 0.01, **fields})
        made.append(make_provider(endpoint, lambda reference: {"env:KEY": "sk-secret-1"}.get(reference, "")))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()
