"""Before Textual is imported: no motion, no developer's own settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

os.environ["TEXTUAL_ANIMATIONS"] = "none"
for _name in [
    name for name in os.environ if name.startswith(("PADDOCK_", "OLLAMA_", "NO_COLOR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"))
]:
    del os.environ[_name]

import pytest  # noqa: E402

from tests.support.fake_services import FakeServices  # noqa: E402


@pytest.fixture
def fake(tmp_path: Path) -> FakeServices:
    """Services a UI test sets and reads."""
    return FakeServices(tmp_path / "home")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The log that a test starts ends with it."""
    loggers = [logging.getLogger(name) for name in ("paddock", "httpx", "httpcore", "asyncio")]
    before = [(logger, logger.propagate, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, propagate, level, handlers in before:
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.propagate, logger.handlers[:] = propagate, handlers
        logger.setLevel(level)
