"""An Ollama models folder as a server leaves it, and a server that lists what lies in it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from tests.support.fault_server import Exchange, FaultServer
from tui.core.models import Model
from tui.core.names import parse

HOUR = 3600.0


class Folder:
    """Writes manifests and blobs; small ones, as their digests are real."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs = path / "blobs"
        self.blobs.mkdir(parents=True)
        self.served: dict[str, Any] = {}

    def blob(self, content: bytes, *, age: float = 2 * HOUR) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self._put(self.blobs / f"sha256-{digest}", content, age)
        return f"sha256:{digest}"

    def _put(self, path: Path, content: bytes, age: float) -> None:
        path.write_bytes(content)
        at = time.time() - age
        os.utime(path, (at, at))

    def manifest(self, name: str) -> Path:
        parsed = parse(name)
        return self.path / "manifests" / parsed.host / parsed.namespace / parsed.model / parsed.tag

    def model(self, name: str, **layers: bytes) -> str:
        """Install a model: content by kind of layer; returns its digest as the server lists it."""
        listed = []
        for kind, content in layers.items():
            digest = self.blob(content)
            listed.append({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": len(content)})
        config = self.blob(f"config of {name}".encode())
        body = {"schemaVersion": 2, "config": {"mediaType": "x", "digest": config, "size": len(f"config of {name}")}, "layers": listed}
        return self.write(name, json.dumps(body).encode())

    def write(self, name: str, body: bytes) -> str:
        path = self.manifest(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return hashlib.sha256(body).hexdigest()

    def copy(self, name: str, new: str) -> str:
        return self.write(new, self.manifest(name).read_bytes())

    def partial(self, digest: str, total: int, done: int, *, age: float = 2 * HOUR) -> None:
        """An unfinished download: a sparse file and one range."""
        data = self.blobs / f"sha256-{digest}-partial"
        with data.open("wb") as file:
            file.truncate(total)
            file.write(b"x" * done)
        self._put(
            self.blobs / f"sha256-{digest}-partial-0",
            json.dumps({"N": 0, "Offset": 0, "Size": total, "Completed": done}).encode(),
            age,
        )
        at = time.time() - age
        os.utime(data, (at, at))

    def listed(self, provider: str = "box") -> tuple[Model, ...]:
        """As the server would list it."""
        found = []
        for path in sorted((self.path / "manifests").glob("*/*/*/*")):
            host, namespace, model, tag = path.relative_to(self.path / "manifests").parts
            name = str(parse(f"{host}/{namespace}/{model}:{tag}"))
            body = path.read_bytes()
            try:
                value = json.loads(body)
                size = sum(layer["size"] for layer in (*value["layers"], value["config"]))
            except (ValueError, KeyError, TypeError):
                continue
            found.append(Model(provider, name, name, size, hashlib.sha256(body).hexdigest()))
        return tuple(found)


class FolderServer:
    """An Ollama over a folder: tags, show, blobs, delete; nothing runs."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.server = FaultServer({"*": self._serve})
        self.deleted: list[str] = []
        self.heads: list[str] = []

    @property
    def url(self) -> str:
        return self.server.url

    async def _serve(self, exchange: Exchange) -> None:
        request, path = exchange.request, exchange.request.path
        if path == "/api/tags":
            listed = [{"name": one.name, "model": one.key, "size": one.size, "digest": one.digest} for one in self.folder.listed()]
            await exchange.json({"models": listed})
        elif path == "/api/version":
            await exchange.json({"version": "0.24.0"})
        elif path == "/api/show":
            body = json.loads(self.folder.manifest(request.json["model"]).read_bytes())
            weights = body["layers"][0]["digest"].replace(":", "-")
            await exchange.json({"modelfile": f"FROM {self.folder.blobs}/{weights}\n", "details": {}, "capabilities": ["completion"]})
        elif path.startswith("/api/blobs/"):
            self.heads.append(path.rpartition("/")[2])
            there = (self.folder.blobs / path.rpartition("/")[2].replace(":", "-")).exists()
            await exchange.reply(200 if there else 404)
        elif path == "/api/delete":
            name = request.json["model"]
            self.deleted.append(name)
            self.folder.manifest(name).unlink()
            await exchange.reply(200)
        elif path == "/api/ps":
            await exchange.json({"models": []})
        else:
            await exchange.reply(404)
