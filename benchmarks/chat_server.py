"""An Ollama that streams what a prompt asks for, in a process of its own: `python chat_server.py FOLDER`, standard library only.

A prompt `SHAPE RATE TOKENS NUMBER` is answered with so many tokens of that shape, so many a second; the last one is `zqNUMBER`.
`port` in the folder holds the port; `diary` gets a line when the first and the last token were given to the socket (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import json
import os
import random
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

MODEL: Final = "stream:latest"
CONTEXT: Final = 1 << 20
WORDS: Final = [
    "the",
    "model",
    "writes",
    "some",
    "words",
    "about",
    "a",
    "local",
    "server",
    "and",
    "its",
    "memory",
    "with",
    "several",
    "layers",
    "of",
    "context",
]
SHAPES: Final = ("paragraphs", "list", "table", "fence")
_STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
_LISTED: Final = {
    "name": MODEL, "model": MODEL, "size": 5_000_000_000, "digest": "a" * 64, "modified_at": "2026-01-01T00:00:00Z",
    "details": {"format": "gguf", "family": "llama", "parameter_size": "8B", "quantization_level": "Q4_0"},
}  # fmt: skip
REPLIES: Final = {
    "/": "Ollama is running",
    "/api/version": {"version": "0.12.0"},
    "/api/tags": {"models": [_LISTED]},
    "/api/ps": {
        "models": [{**_LISTED, "size_vram": 5_000_000_000, "context_length": CONTEXT, "expires_at": "2099-01-01T00:00:00Z"}],
    },
    "/api/show": {
        "capabilities": ["completion"], "details": _LISTED["details"], "modelfile": "", "template": "{{ .Prompt }}",
        "model_info": {"general.architecture": "llama", "llama.context_length": CONTEXT},
    },
}  # fmt: skip


def tokens(shape: str, seed: int = 1) -> Iterator[str]:
    """An answer without end, in tokens of about five characters."""
    chance = random.Random(seed)
    if shape == "fence":
        yield from ("```", "python", "\n")
    elif shape == "table":
        yield from ("| a", " | b", " |\n", "|---", "|---", "|\n")
    while True:
        words = [chance.choice(WORDS) for _ in range(chance.randint(3, 12))]
        if shape == "paragraphs":
            words = [chance.choice(WORDS) for _ in range(chance.randint(8, 80))]
            yield from (f"{word} " for word in words)
            yield ".\n\n"
        elif shape == "list":
            yield f"{'  ' * chance.randint(0, 2)}- "
            yield from (f"{word} " for word in words)
            yield "\n"
        elif shape == "table":
            yield "| "
            yield from (f"{word} " for word in words[:4])
            yield "| "
            yield from (f"{word} " for word in words[4:8])
            yield "|\n"
        else:
            yield from ("    ", "value", " = ", "call(", str(chance.randint(0, 99)), ", ", "'text'", ")", "  # ")
            yield from (f"{word} " for word in words[:4])
            yield "\n"


class Server(socketserver.ThreadingTCPServer):
    """Any number of connections, each in a thread."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.diary = os.open(folder / "diary", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        (folder / "port.new").write_text(str(self.server_address[1]))
        (folder / "port.new").rename(folder / "port")

    def note(self, **what: object) -> None:
        """A line of the diary."""
        os.write(self.diary, json.dumps(what).encode() + b"\n")


class Connection(socketserver.StreamRequestHandler):
    """Requests one after another."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Read and answer until the other side is gone."""
        try:
            while line := self.rfile.readline():
                path, length = line.split(b" ")[1].decode().split("?")[0], 0
                while (head := self.rfile.readline()) not in (b"\r\n", b""):
                    if head.lower().startswith(b"content-length:"):
                        length = int(head.split(b":")[1])
                body = self.rfile.read(length)
                if path == "/api/chat":
                    self.answer(str(json.loads(body)["messages"][-1]["content"]))
                else:
                    self.reply(path)
        except OSError:
            return

    def reply(self, path: str) -> None:
        """A whole answer."""
        found = REPLIES.get(path)
        data = found.encode() if isinstance(found, str) else json.dumps(found or {"error": "not found"}).encode()
        status = b"200 OK" if found is not None else b"404 Not Found"
        self.wfile.write(b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (status, len(data), data))

    def answer(self, prompt: str) -> None:
        """Stream: a line, and a chunk, for each token, when it is due."""
        shape, rate, wanted, number = prompt.split()[-4:]
        count, every, mark = int(wanted), 1 / float(rate), f"zq{number}"
        chunks = [self.line(token) for token in [*islice(tokens(shape), count - 1), mark]]
        self.wfile.write(_STREAM)
        assert isinstance(self.server, Server)
        note = self.server.note
        began, sent = time.monotonic(), 0
        note(what="first", mark=mark, at=began)
        while True:
            now = time.monotonic()
            due = min(count, int((now - began) / every) + 1)
            for chunk in chunks[sent:due]:
                self.wfile.write(chunk)
            sent = due
            if sent == count:
                break
            time.sleep(max(0.0, began + sent * every - time.monotonic()))
        note(what="last", mark=mark, at=now, tokens=count)
        time.sleep(every)  # the token that ends it is not shown
        figures = {"total_duration": 10**9, "prompt_eval_count": 100, "eval_count": count, "eval_duration": int(count * every * 1e9)}
        end = json.dumps({"model": MODEL, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", **figures})
        data = end.encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))

    @staticmethod
    def line(token: str) -> bytes:
        """A token as Ollama sends it."""
        message = {"role": "assistant", "content": token}
        data = json.dumps({"model": MODEL, "created_at": "2026-01-01T00:00:00.000000Z", "message": message, "done": False}).encode() + b"\n"
        return b"%x\r\n%s\r\n" % (len(data), data)


def main() -> None:
    """Serve until killed."""
    server = Server(Path(sys.argv[1]))
    threading.current_thread().name = "server"
    server.serve_forever()


if __name__ == "__main__":
    main()
