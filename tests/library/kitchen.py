"""A simulated Ollama that makes models of models and blobs, and a models folder as it would keep it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.support.fault_server import Exchange, FaultServer
from tui.core.models import Endpoint
from tui.providers.factory import make_provider
from tui.providers.ollama import Ollama


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Kitchen(FaultServer):
    """Attributes:
    models: Fields of the create that made each, by name.
    blobs: What it has, by digest.
    refuses: What a create answers instead of making something.
    """

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, dict[str, Any]] = {}
        self.blobs: dict[str, bytes] = {}
        self.refuses = ""
        self.created: list[dict[str, Any]] = []
        self.routes = {"*": self._any}

    def put(self, name: str, weights: bytes = b"GGUF weights", **fields: Any) -> None:
        """Install a model."""
        self.blobs[sha(weights)] = weights
        self.models[name] = {"files": {"model.gguf": sha(weights)}, **fields}

    def digest(self, name: str) -> str:
        return hashlib.sha256(self.manifest(name)).hexdigest()

    def manifest(self, name: str) -> bytes:
        """The manifest's exact bytes; makes the small layers blobs."""
        made, layers = self.models[name], []
        for digest in made["files"].values():
            layers.append({"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": len(self.blobs[digest])})
        for key, kind in (("system", "system"), ("template", "template"), ("parameters", "params")):
            if made.get(key):
                body = made[key].encode() if isinstance(made[key], str) else json.dumps(made[key]).encode()
                self.blobs[sha(body)] = body
                layers.append({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": sha(body), "size": len(body)})
        config = b'{"model_format":"gguf"}'
        self.blobs[sha(config)] = config
        about = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": sha(config), "size": len(config)}
        return json.dumps({"schemaVersion": 2, "config": about, "layers": layers}).encode()

    def write(self, folder: Path) -> Path:
        """The models folder."""
        (folder / "blobs").mkdir(parents=True)
        for name in self.models:
            stem, _, tag = name.partition(":")
            place = folder / "manifests" / "registry.ollama.ai" / "library" / stem
            place.mkdir(parents=True, exist_ok=True)
            (place / tag).write_bytes(self.manifest(name))
        for digest, body in self.blobs.items():
            (folder / "blobs" / digest.replace(":", "-")).write_bytes(body)
        return folder

    async def _any(self, exchange: Exchange) -> None:
        exchange.keep = True
        path, method = exchange.request.path, exchange.request.method
        body = exchange.request.json if exchange.request.body and not path.startswith("/api/blobs/") else {}
        if path == "/api/tags":
            rows = [{"name": name, "model": name, "size": 12, "digest": self.digest(name), "details": {}} for name in self.models]
            await exchange.json({"models": rows})
        elif path == "/api/show":
            await self._show(exchange, body["model"])
        elif path == "/api/create":
            await self._create(exchange, body)
        elif path == "/api/copy":
            self.models[body["destination"]] = dict(self.models[body["source"]])
            await exchange.reply()
        elif path == "/api/delete":
            del self.models[body["model"]]
            await exchange.reply()
        elif path.startswith("/api/blobs/"):
            digest = path.rpartition("/")[2]
            if method == "HEAD":
                await exchange.head(200 if digest in self.blobs else 404, {"content-length": "0"}, chunked=False)
            else:
                assert sha(exchange.request.body) == digest
                self.blobs[digest] = exchange.request.body
                await exchange.reply(201)
        else:
            await exchange.json({"version": "0.24.0", "models": []})

    async def _show(self, exchange: Exchange, name: str) -> None:
        made = self.models.get(name)
        if made is None:
            await exchange.json({"error": f"model '{name}' not found"}, 404)
            return
        lines = [f"FROM /models/blobs/{digest.replace(':', '-')}" for digest in made["files"].values()]
        parameters = [f"{key} {json.dumps(one)}" for key, value in made.get("parameters", {}).items() for one in _list(value)]
        texts = {key: made[key] for key in ("template", "system", "messages", "license", "renderer") if made.get(key)}
        if isinstance(texts.get("license"), list):
            texts["license"] = "\n".join(texts["license"])
        modelfile = "\n".join(["# from the server", *lines, "TEMPLATE x", "FROM /not/this"])
        await exchange.json({"modelfile": modelfile, "parameters": "\n".join(parameters), "details": {}, **texts})

    async def _create(self, exchange: Exchange, body: dict[str, Any]) -> None:
        self.created.append(body)
        if self.refuses:
            await exchange.stream(json.dumps({"error": self.refuses}).encode() + b"\n")
            return
        fields = {key: value for key, value in body.items() if key not in ("model", "stream", "from")}
        base = dict(self.models[body["from"]]) if "from" in body else {}
        if "parameters" in fields and "parameters" in base:
            fields["parameters"] = {**base["parameters"], **fields["parameters"]}
        self.models[body["model"]] = {**base, **fields}
        await exchange.stream(b'{"status":"writing manifest"}\n{"status":"success"}\n')

    def provider(self, name: str = "box") -> Ollama:
        """A connection."""
        found = make_provider(Endpoint(name, "ollama", self.url, retries=0), lambda _reference: "")
        assert isinstance(found, Ollama)
        return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
