"""Servers on a thread, and registries that are closed at the end."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.live import Bench, Loop, Ollama, provider, started
from tests.support.servers import connect, server  # noqa: F401 (fixtures)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def ollama(loop: Loop) -> Iterator[Ollama]:
    """An Ollama that listens."""
    found = Ollama()
    with started(loop, found):
        yield found


@pytest.fixture
def bench(tmp_path: Path, ollama: Ollama) -> Iterator[Callable[..., Bench]]:
    """Makes and opens registries; they are closed before the server is."""
    made: list[Bench] = []

    def make(config: str = "", **more: Any) -> Bench:
        made.append(Bench(tmp_path / f"home{len(made)}", config, **more))
        return made[-1].open()

    yield make
    for one in made:
        one.close()
    gc.collect()  # a connection left open is this test's fault, not the next one's


@pytest.fixture
def lab(bench: Callable[..., Bench], ollama: Ollama) -> Bench:
    """One Ollama, configured as `lab`."""
    return bench(provider(ollama.url))
