"""An Ollama in a process of its own that may be killed like the real one: `python ollama.py FOLDER [PORT]`, standard library only.

What it fetched lies on its disk (`blobs/`, unfinished ones with `-partial`), and it goes on there after any death. `world.json` says how it
works. It is the registry of its models too. `port` holds its address, `steps` gets one byte for every progress line, `diary` one line
for every start, pull, end of one, and for two pulls of one model at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

WORLD: Final = {"lines": 24, "piece": 100_000, "every": 0.012, "check": 0.05}
"""Lines of the weights, bytes a line, seconds between lines, seconds of checking."""
SMALL: Final = (("template", 1_700), ("params", 120))
_IMAGE: Final = "application/vnd.ollama.image."
_DOCKER: Final = "application/vnd.docker."
_HEAD: Final = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"


def config_of(name: str) -> bytes:
    """The config blob of a model."""
    return json.dumps({"model_format": "gguf", "model_family": name, "model_type": "1B", "file_type": "Q4_0"}).encode()


def layers_of(name: str, world: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Kind, size and digest of every layer, the config last; no two models share one."""
    found = [(kind, size, f"sha256:{hashlib.sha256(f'{name} {kind}'.encode()).hexdigest()}") for kind, size in SMALL]
    weights = (f"{name} model", world["lines"] * world["piece"])
    config = config_of(name)
    return [
        ("model", weights[1], f"sha256:{hashlib.sha256(weights[0].encode()).hexdigest()}"),
        *found,
        ("config", len(config), f"sha256:{hashlib.sha256(config).hexdigest()}"),
    ]


def manifest_of(name: str, world: dict[str, Any]) -> bytes:
    """What the registry says."""
    *layers, (_, size, digest) = layers_of(name, world)
    value = {
        "schemaVersion": 2,
        "mediaType": f"{_DOCKER}distribution.manifest.v2+json",
        "config": {"mediaType": f"{_DOCKER}container.image.v1+json", "digest": digest, "size": size},
        "layers": [{"mediaType": _IMAGE + kind, "digest": digest, "size": size} for kind, size, digest in layers],
    }
    return json.dumps(value, separators=(",", ":")).encode()


class Server:
    """One process's view of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = {**WORLD, **json.loads((folder / "world.json").read_text())} if (folder / "world.json").exists() else dict(WORLD)
        for name in ("blobs", "listed"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.diary = os.open(folder / "diary", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.steps = os.open(folder / "steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.pulling: dict[str, asyncio.StreamReader] = {}

    def note(self, what: str, model: str = "", **more: Any) -> None:
        """A line of the diary."""
        os.write(self.diary, json.dumps({"at": time.time(), "what": what, "model": model, **more}).encode() + b"\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, path, *_ = head.split(" ", 2)
                length = next((int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length")), 0)
                body = json.loads(await reader.readexactly(length)) if length else {}
                if path == "/api/pull":
                    await self.pull(str(body["model"]).removesuffix(":latest"), reader, writer)
                    continue
                status, answer = self.change(path, body) if path in ("/api/copy", "/api/delete") else self.answer(method, path)
                writer.write(_HEAD % (status, b"OK" if status == 200 else b"Not Found", len(answer)))
                if method != "HEAD":
                    writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        """Status and body of a question."""
        if path.startswith("/v2/library/"):
            name, kind, _ = path.removeprefix("/v2/library/").split("/")
            return 200, manifest_of(name, self.world) if kind == "manifests" else config_of(name)
        if path.startswith("/api/blobs/"):
            return (200 if (self.folder / "blobs" / path.removeprefix("/api/blobs/")).exists() else 404), b""
        if path == "/api/tags":
            listed = [(unquote(file.name), file.read_text()) for file in (self.folder / "listed").iterdir()]
            models = [{"name": name, "model": name, "size": 1, "digest": digest} for name, digest in listed]
            return 200, json.dumps({"models": models}).encode()
        return 200, json.dumps({"version": "0.24.0", "models": [], "details": {}}).encode()

    def listed(self, name: str) -> Path:
        """The file that has a model's digest."""
        return self.folder / "listed" / quote(name if ":" in name else f"{name}:latest", safe=":")

    def put(self, name: str, digest: str) -> None:
        """List a model, in one step: a kill leaves it, or not."""
        new = self.folder / "new"
        new.write_text(digest)
        new.rename(self.listed(name))

    def change(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        """Copy or delete a model."""
        found = self.listed(str(body.get("source") or body.get("model")))
        if not found.exists():
            return 404, json.dumps({"error": "model not found"}).encode()
        if path == "/api/delete":
            found.unlink()
        else:
            self.put(str(body["destination"]), found.read_text())
        return 200, b""

    async def pull(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """`POST /api/pull`: goes on where the disk says, and stops where the client goes."""
        other = self.pulling.get(name)
        if other is not None and not other.at_eof():
            self.note("double", name)
        self.pulling[name] = reader
        self.note("pull", name)
        writer.write(_STREAM)

        async def say(**item: Any) -> None:
            if reader.at_eof() or writer.is_closing():
                raise ConnectionResetError
            line = json.dumps(item).encode() + b"\n"
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))
            os.write(self.steps, b".")
            await writer.drain()

        try:
            await say(status="pulling manifest")
            for _, size, digest in layers_of(name, self.world):
                await self.fetch(digest, size, say)
            await say(status="verifying sha256 digest")
            await asyncio.sleep(self.world["check"])
            await say(status="writing manifest")
            self.put(name, hashlib.sha256(manifest_of(name, self.world)).hexdigest())
            await say(status="success")
            self.note("success", name)
        except ConnectionError:
            self.note("left", name)
            raise
        finally:
            if self.pulling.get(name) is reader:
                del self.pulling[name]
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def fetch(self, digest: str, size: int, say: Any) -> None:
        """One layer; a line for every piece."""
        whole = self.folder / "blobs" / digest
        part = whole.with_name(f"{digest}-partial")
        words = f"pulling {digest[7:19]}"
        if whole.exists():
            await say(status=words, digest=digest, total=size, completed=size)
            return
        part.touch()
        done = part.stat().st_size
        begun = time.monotonic()
        for number in range(1, 1 << 30):
            await say(status=words, digest=digest, total=size, completed=done)
            if done >= size:
                break
            done = min(size, done + self.world["piece"])
            os.truncate(part, done)
            if size >= self.world["piece"]:
                await asyncio.sleep(max(0.0, begun + number * self.world["every"] - time.monotonic()))
        part.rename(whole)


async def main(folder: Path, port: int) -> None:
    """Serve until killed."""
    server = Server(folder)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port)
    server.note("start")
    new = folder / "port.new"
    new.write_text(str(listening.sockets[0].getsockname()[1]))
    new.rename(folder / "port")
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
