"""Recordings of real servers served again, in the pieces they came in or in smaller ones."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.fault_server import Exchange

RECORDINGS = Path(__file__).parent.parent / "recordings"


@dataclass
class Scene:
    """One recorded request with its answer."""

    request: dict[str, Any]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


def scenes(name: str) -> list[Scene]:
    found: list[Scene] = []
    for line in (RECORDINGS / f"{name}.jsonl").read_text("utf-8").splitlines():
        item = json.loads(line)
        if "request" in item:
            found.append(Scene(item["request"]))
        elif "response" in item:
            found[-1].status = item["response"]["status"]
            found[-1].headers = item["response"]["headers"]
        elif "data" in item:
            found[-1].chunks.append(item["data"].encode())
        elif "base64" in item:
            found[-1].chunks.append(base64.b64decode(item["base64"]))
    return found


class Replay:
    """A route that answers every request with the next recorded answer for its method and path; the last one stays.

    Args:
        name: Of the recording, without `.jsonl`.
        split: Bytes a piece, 0 as recorded.
        pick: Keep only scenes for which this is true.
    """

    def __init__(self, name: str, split: int = 0, pick: Any = lambda scene: True) -> None:
        self._scenes = [scene for scene in scenes(name) if pick(scene)]
        self._split = split

    async def __call__(self, exchange: Exchange) -> None:
        wanted = (exchange.request.method, exchange.request.path)
        fitting = [scene for scene in self._scenes if (scene.request["method"], scene.request["path"]) == wanted]
        if not fitting:
            await exchange.reply(404, b"404 page not found", {"content-type": "text/plain"})
            return
        scene = fitting[0]
        if len(fitting) > 1:
            self._scenes.remove(scene)
        headers = {
            name: value
            for name, value in scene.headers.items()
            if name not in ("content-length", "transfer-encoding", "connection", "keep-alive")
        }
        if wanted[0] == "HEAD":
            await exchange.head(scene.status, headers, chunked=False)
            return
        await exchange.head(scene.status, headers)
        pieces = scene.chunks
        if self._split:
            body = scene.body
            pieces = [body[start : start + self._split] for start in range(0, len(body), self._split)]
        for piece in pieces:
            await exchange.chunk(piece)
        await exchange.end()
