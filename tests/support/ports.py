"""Ports of this machine on which nobody listens."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def closed_port(host: str = "127.0.0.1") -> Iterator[int]:
    """One that refuses; it is held, so that no server of another test gets it meanwhile."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as held:
        held.bind((host, 0))
        yield held.getsockname()[1]
