"""Before Textual is imported: no motion, no developer's own settings, no registry of the world."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["TEXTUAL_ANIMATIONS"] = "none"
for _name in [
    name for name in os.environ if name.startswith(("PADDOCK_", "OLLAMA_", "NO_COLOR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"))
]:
    del os.environ[_name]
os.environ["PADDOCK_REGISTRY"] = "http://127.0.0.1:9"  # nothing listens there; processes that tests start inherit it

# Compiled once, not by each of the processes that tests start: hundreds, of which each would take seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Tests open some two thousand databases that are synchronised with the disk at each change: in memory, where there is room, nobody waits.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 * 1024**3:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests.support import quick  # noqa: E402
from tests.support.fake_services import FakeServices  # noqa: E402

quick.install()

# How fast the machine is, is for benchmarks.
settings.register_profile("paddock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("paddock")

_REGISTRIES = ("registry.ollama.ai", "ollama.com", "hf.co", "huggingface.co")


def pytest_collection_finish() -> None:
    """Thousands of collected tests are no garbage: looking through them again and again was a fifth of the processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(autouse=True)
def no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a test gives the program an environment of its own, nobody out there is asked: the names are unknown."""
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode("latin-1") if isinstance(host, bytes) else str(host)
        if name.lower().endswith(_REGISTRIES):
            raise socket.gaierror(socket.EAI_NONAME, "not asked by tests")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


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
