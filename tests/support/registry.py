"""A registry on a loopback socket: manifests and configs as told, faults where wanted, and all that was asked."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.support.fault_server import Exchange, FaultServer, Request, Route
from tui.core.names import parse

MEDIA = "application/vnd.ollama.image."
CONFIG_MEDIA = "application/vnd.docker.container.image.v1+json"
MANIFEST_MEDIA = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = {"model_format": "gguf", "model_family": "qwen3", "model_type": "8.2B", "file_type": "Q4_K_M", "context_length": 40960}
LAYERS = (("model", 5_225_374_496), ("template", 1_723), ("license", 11_338), ("params", 120))


def digest_of(text: str | bytes) -> str:
    """`sha256:…` of some bytes."""
    return "sha256:" + hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def layer(kind: str, size: Any, digest: Any = None) -> dict[str, Any]:
    """One layer of a manifest."""
    return {"mediaType": MEDIA + kind, "digest": digest_of(kind) if digest is None else digest, "size": size}


def manifest_bytes(layers: Sequence[Mapping[str, Any]], config: bytes | None) -> bytes:
    """A manifest as Ollama's registry writes it."""
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST_MEDIA}
    if config is not None:
        value["config"] = {"mediaType": CONFIG_MEDIA, "digest": digest_of(config), "size": len(config)}
    return json.dumps({**value, "layers": list(layers)}, separators=(",", ":")).encode()


class FakeRegistry(FaultServer):
    """Serves what was added; everything else is unknown. `requests` holds what was asked."""

    def add(
        self, name: str, layers: Sequence[tuple[str, int]] = LAYERS, config: Mapping[str, Any] | None = CONFIG, body: bytes | None = None
    ) -> str:
        """Serve a model (or `body` as its manifest); returns the digest that its manifest has, bare hex."""
        path, known = place(name), None if config is None else json.dumps(config).encode()
        made = manifest_bytes([layer(kind, size) for kind, size in layers], known) if body is None else body
        self.routes[f"{path}/manifests/{parse(name).tag}"] = answer(made, kind="text/plain; charset=utf-8")
        if known is not None:
            self.routes[f"{path}/blobs/{digest_of(known)}"] = answer(known)
        return hashlib.sha256(made).hexdigest()

    def fault(self, name: str, route: Route) -> None:
        """Answer the manifest of a name otherwise."""
        self.routes[f"{place(name)}/manifests/{parse(name).tag}"] = route

    def asked(self, part: str = "/v2/") -> list[Request]:
        """The requests whose path holds this."""
        return [request for request in self.requests if part in request.path]


def place(name: str) -> str:
    """Where a model is, in any registry."""
    parsed = parse(name)
    return f"/v2/{parsed.namespace}/{parsed.model}"


def answer(body: bytes = b"", status: int = 200, *, kind: str = "application/json", **headers: str) -> Route:
    """A route that gives this; header names with `_` for `-`."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}

    async def route(exchange: Exchange) -> None:
        await exchange.reply(status, body, {"content-type": kind, **more})

    return route


def error(status: int, text: str) -> Route:
    """A refusal as registries word it."""
    return answer(json.dumps({"error": text}).encode(), status)


def redirect(where: str, status: int = 307) -> Route:
    """A route that points elsewhere."""
    return answer(b"", status, location=where)


def zipped(body: bytes) -> Route:
    """Compressed although nobody asked for it."""
    return answer(gzip.compress(body), content_encoding="gzip")


async def reset(exchange: Exchange) -> None:
    """Breaks the connection."""
    exchange.reset()


async def silent(exchange: Exchange) -> None:
    """Never answers."""
    await exchange.gone()


@contextmanager
def registry_on_a_thread(prepare: Callable[[FakeRegistry], object] = lambda _registry: None) -> Iterator[FakeRegistry]:
    """For tests whose own loop or process must not be the registry's."""
    loop, found = asyncio.new_event_loop(), FakeRegistry()
    prepare(found)
    thread = threading.Thread(target=loop.run_forever, name="registry", daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(found.start(), loop).result(10)
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(found.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
