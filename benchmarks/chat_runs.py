"""Runs of the real program on a pseudo-terminal beside `chat_server.py`, for `chat.py`: what came when, and what it cost."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any, Final

from chat_server import MODEL, tokens
from common import PROGRAM, ROOT, processes, wait

from tests.support.pty import Terminal
from tui.core.chat import AnswerState, Message, Role
from tui.core.events import Metrics
from tui.store.conversations import Conversations
from tui.store.db import Database

SPOKEN: Final = 4_000
"""Characters of a stored answer."""
SETTLED: Final = 0.7
"""Seconds after the last token that count as its costs: the end is drawn and stored."""
LAST: Final = "zlast"
"""The last word of a stored conversation, with its number."""
_MARKS: Final = count(random.randrange(1000, 2000))


class Recorded(Terminal):
    """A terminal that keeps what came and when, and draws it later: drawing would take the processor from what is measured.

    Args:
        speed: Bytes a second that it reads; None is no limit.
    """

    def __init__(self, *arguments: Any, speed: int | None = None, **named: Any) -> None:
        self.chunks: list[tuple[float, bytes | tuple[int, int]]] = []
        self._recording = False
        self._speed = speed
        super().__init__(*arguments, sync=True, **named)

    def _feed(self, data: bytes) -> None:
        if self._recording:
            self.chunks.append((time.monotonic(), data))
        else:
            super()._feed(data)

    def _read(self) -> None:
        if self._speed is None:
            super()._read()
            return
        free = time.monotonic()
        while not self._ended.is_set():
            ready, _, _ = select.select([self._master, self._wake], [], [])
            if self._wake in ready:
                return
            try:
                data = os.read(self._master, 50)
            except OSError:
                data = b""
            free = max(free, time.monotonic()) + len(data) / self._speed
            time.sleep(max(0.0, free - time.monotonic()))
            with self._changed:
                if data:
                    self._feed(data)
                else:
                    self._ended.set()
                self._changed.notify_all()

    def record(self) -> None:
        """Only keep what comes from here on."""
        with self._changed:
            self.chunks, self._recording = [], True

    def resize(self, rows: int, cols: int) -> None:
        """See `Terminal`; while recording, the emulator is resized when it comes to it."""
        if not self._recording:
            super().resize(rows, cols)
            return
        with self._changed:
            self.chunks.append((time.monotonic(), (rows, cols)))
            self._set_size(rows, cols)

    def replay(self) -> Iterator[float]:
        """Draw what was kept, piece by piece: the time each came at. Afterwards the terminal draws again."""
        for place in count():
            with self._changed:
                if place == len(self.chunks):
                    self._recording = False
                    return
                at, data = self.chunks[place]
                if isinstance(data, bytes):
                    super()._feed(data)
                else:
                    self._screen.resize(*data)
            yield at

    def seen(self, wanted: Callable[[list[str]], bool], since: float) -> float | None:
        """When the screen first was so, at or after a time; the rest is drawn too."""
        found = None
        for at in self.replay():
            if found is None and at >= since and wanted(self.screen_lines()):
                found = at
        return found


@dataclass
class Place:
    """A home with a server of its own."""

    folder: Path
    port: int
    env: dict[str, str]

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    def noted(self, what: str, mark: str) -> dict[str, Any] | None:
        """A line of the server's diary."""
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / "diary").read_text(encoding="utf-8").splitlines():
                found: dict[str, Any] = json.loads(line)
                if (found["what"], found["mark"]) == (what, mark):
                    return found
        return None

    def until(self, what: str, mark: str, timeout: float) -> dict[str, Any]:
        """Wait for a line of the diary."""
        end = time.monotonic() + timeout
        while (found := self.noted(what, mark)) is None:
            if time.monotonic() > end:
                raise AssertionError(f"the server did not note {what} {mark} within {timeout:.0f} s")
            time.sleep(0.01)
        return found


@contextlib.contextmanager
def place(*above: int, config: str = "") -> Iterator[Place]:
    """A server, and a home with conversations of so many characters, the newest first."""
    folder = Path(tempfile.mkdtemp(prefix="paddock-chat-"))
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("chat_server.py")), str(folder)], cwd=ROOT)
    try:
        home = folder / "home"
        home.mkdir()
        end = time.monotonic() + 20
        while not (folder / "port").exists() and time.monotonic() < end:
            time.sleep(0.01)
        found = Place(folder, int((folder / "port").read_text()), {})
        found.env = {"HOME": str(folder), "PADDOCK_HOME": str(home)}
        settings = f'[general]\ndiscover = false\n[limits]\ncpu = 0\nmemory = 0\n[providers.local]\nkind = "ollama"\nurl = "{found.url}"\n'
        (home / "config.toml").write_text(settings + config, encoding="utf-8")
        fill(home, above)
        yield found
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def fill(home: Path, above: tuple[int, ...]) -> None:
    """Store conversations."""
    from tui.config.paths import ensure_dirs, find_paths

    paths = find_paths(environ={"PADDOCK_HOME": str(home), "HOME": str(home)})
    ensure_dirs(paths)
    database = Database(paths.database)
    chats = Conversations(database)

    async def one(number: int, size: int) -> None:
        head = await chats.create("local", MODEL, title=f"above {number}")
        rows: list[Message] = []
        written, source = 0, mixed()
        while written < size:
            piece = "".join(islice(source, min(SPOKEN, size - written) // 5)) or "."
            written += max(1, len(piece))
            rows.append(Message(0, head.id, 0, Role.USER, f"question {len(rows) // 2 + 1}"))
            told = Metrics(prompt_tokens=written // 4, output_tokens=len(piece) // 4, output_seconds=1.0)
            rows.append(
                Message(0, head.id, 0, Role.ASSISTANT, piece, state=AnswerState.COMPLETE, provider="local", model=MODEL, metrics=told)
            )
        rows.append(Message(0, head.id, 0, Role.USER, f"{LAST}{number}"))
        await chats.add_messages(rows, chain=True)
        await chats.release_lease(head.id)

    async def every() -> None:
        for number, size in reversed(list(enumerate(above))):
            await one(number, size)

    asyncio.run(every())
    database.close()


def mixed() -> Iterator[str]:
    """Paragraphs, lists, tables and code, as stored answers hold."""
    chance = random.Random(7)
    while True:
        shape = chance.choice(("paragraphs", "paragraphs", "list", "table", "fence"))
        yield from islice(tokens(shape, chance.randrange(1000)), 200)
        yield "\n```\n\n" if shape == "fence" else "\n\n"


def start(env: dict[str, str], size: tuple[int, int], *, argv: list[str] | None = None, speed: int | None = None) -> Recorded:
    """The program with the Chat screen."""
    terminal = Recorded(argv or PROGRAM, env, rows=size[1], cols=size[0], speed=speed)
    terminal.wait_for("1 Providers", 60)
    wait(1.0, terminal)
    terminal.send("\x074")
    terminal.wait_for("enter sends", 60)
    return terminal


def open_first(terminal: Recorded) -> None:
    """Open the newest stored conversation."""
    terminal.send("\x0f")
    terminal.wait_for("above 0", 30)
    wait(0.3, terminal)
    terminal.send("\r")
    terminal.wait_for(f"{LAST}0", 60)


def end(terminal: Recorded) -> None:
    """Quit."""
    with contextlib.suppress(AssertionError, OSError):
        terminal.send("\x11")
        terminal.exit_code(10)
    terminal.close()


def spent(pid: int) -> float:
    """CPU seconds of all threads of a process, to the nanosecond."""
    total = 0
    for path in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((path / "schedstat").read_text().split()[0])
    return total / 1e9


@dataclass
class Cell:
    """One answer: its shape, tokens a second, how many, and characters of conversation above."""

    shape: str
    rate: int
    tokens: int
    above: int
    size: tuple[int, int] = (120, 40)
    keys: int = 0
    speed: int | None = None
    """Bytes a second of the line to the terminal."""
    probe: bool = False
    parts: bool = False
    """Look at the costs of each 1,000 tokens at 1,000 a second."""


@dataclass
class Measured:
    """What a cell gave: seconds from the last token to the screen, CPU seconds a token, bytes a token, seconds of each key and lag."""

    late: float | None
    cpu: float
    bytes: float
    keys: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    parts: list[float] = field(default_factory=list)
    """CPU seconds a token of each 1,000."""


def stream(cell: Cell) -> Measured:
    """Run a cell in a home of its own."""
    config = f"[appearance]\nlink = {cell.speed}\n" if cell.speed else ""
    with place(cell.above, config=config) as found:
        out = found.folder / "lags"
        argv = [sys.executable, str(Path(__file__)), "--app", str(out), "--inside-guard"] if cell.probe else None
        terminal = start(found.env, cell.size, argv=argv, speed=cell.speed)
        try:
            open_first(terminal)
            wait(1.5, terminal)
            measured = _stream(found, terminal, cell, terminal.process.pid if cell.probe else processes(terminal)["app"].pid)
        finally:
            end(terminal)
        if cell.probe:
            first, last, lags = measured.lags[0], measured.lags[1], json.loads(out.read_text(encoding="utf-8"))
            measured.lags = [lag for at, lag in lags if first <= at <= last]
    return measured


def _stream(found: Place, terminal: Recorded, cell: Cell, pid: int) -> Measured:
    number = next(_MARKS)
    mark, prompt = f"zq{number}", f"{cell.shape} {cell.rate} {cell.tokens} {number}"
    terminal.send(prompt)
    terminal.wait_for(prompt)
    wait(0.3, terminal)
    terminal.record()
    terminal.send("\r")
    try:
        first = found.until("first", mark, 10)["at"]
    except AssertionError:
        list(terminal.replay())
        raise AssertionError(f"nothing was sent; the screen:\n{terminal.screen_text()}") from None
    before = spent(pid)
    pressed = press(terminal, cell, first)
    parts = each_second(pid, cell, first, before) if cell.parts else []
    last = found.until("last", mark, cell.tokens / cell.rate + 60)["at"]
    time.sleep(max(0.0, last + (SETTLED if cell.speed is None else 2.0) - time.monotonic()))
    cpu = (spent(pid) - before) / cell.tokens
    written = sum(len(data) for at, data in terminal.chunks if isinstance(data, bytes) and first <= at <= last)
    shown, late = typed_at(terminal, mark, last, len(pressed))
    keys = [at - pressed[number] for number, at in shown.items()]
    return Measured(None if late is None else late - last, cpu, written / cell.tokens, keys, [first, last], parts)


def each_second(pid: int, cell: Cell, first: float, before: float) -> list[float]:
    """CPU seconds a token, second by second."""
    found = [before]
    for second in range(1, cell.tokens // cell.rate + 1):
        time.sleep(max(0.0, first + second - time.monotonic()))
        found.append(spent(pid))
    return [(after - now) / cell.rate for now, after in pairwise(found)]


def press(terminal: Recorded, cell: Cell, first: float) -> list[float]:
    """Type while the answer streams; when each key was sent."""
    chance, pressed = random.Random(cell.above), []
    for number in range(cell.keys):
        time.sleep(max(0.0, first + 0.3 + number * 0.13 + chance.random() * 0.07 - time.monotonic()))
        pressed.append(time.monotonic())
        terminal.send(letter(number))
    return pressed


def letter(number: int) -> str:
    """What is typed: no two stretches of it are the same."""
    return "qzjvxkwbpfgy"[(number * number + number // 5) % 12]


def typed_at(terminal: Recorded, mark: str, last: float, keys: int) -> tuple[dict[int, float], float | None]:
    """When each key was on the screen, and the mark of the last token after it was sent."""
    shown: dict[int, float] = {}
    late, number = None, 3
    for at in terminal.replay():
        if number >= keys and (late is not None or at < last):
            continue
        text = terminal.screen_text()
        while number < keys and "".join(map(letter, range(number + 1))) in text:
            shown[number] = at
            number += 1
        if late is None and at >= last and mark in text:
            late = at
    return shown, late


def opening(size: int, times: int = 4) -> dict[str, list[float]]:
    """Seconds from a key to the last line of a long conversation, with a short one open before."""
    found: dict[str, list[float]] = {"]": [], "enter in the list": []}
    with place(1_000, size) as home:
        terminal = start(home.env, (120, 40))
        try:
            open_first(terminal)
            wait(1.0, terminal)
            terminal.send("\t")
            wait(0.5, terminal)
            for _ in range(times):
                found["]"].append(shown_after(terminal, "]", f"{LAST}1"))
                shown_after(terminal, "[", f"{LAST}0")
            for _ in range(times):
                terminal.send("\x0f")
                terminal.wait_for("search every message", 30)
                wait(0.4, terminal)
                terminal.send("\x1b[B")
                wait(0.4, terminal)
                found["enter in the list"].append(shown_after(terminal, "\r", f"{LAST}1"))
                shown_after(terminal, "[", f"{LAST}0")
        finally:
            end(terminal)
    return found


def shown_after(terminal: Recorded, key: str, wanted: str, settle: float = 1.3) -> float:
    """Seconds from a key until a text is on the screen."""
    terminal.record()
    began = time.monotonic()
    terminal.send(key)
    time.sleep(settle)
    at = terminal.seen(lambda lines: any(wanted in line for line in lines), began)
    if at is None:
        raise AssertionError(f"{key!r} did not show {wanted}; the screen:\n{terminal.screen_text()}")
    return at - began


def resizing(size: int) -> list[float]:
    """Seconds until the conversation in view is as it stays, for each of some widths."""
    found = []
    with place(size) as home:
        terminal = start(home.env, (120, 40))
        try:
            open_first(terminal)
            wait(4.0, terminal)
            for width in (100, 130, 80, 120, 90, 110):
                terminal.record()
                began = time.monotonic()
                terminal.resize(40, width)
                time.sleep(3.0)
                drawn = [(at, terminal.screen_lines()[2:-3]) for at in terminal.replay()]
                at = next((at for at, lines in drawn if at >= began and lines == drawn[-1][1]), began)
                found.append(at - began)
        finally:
            end(terminal)
    return found


def app(out: str) -> int:
    """The program with a probe in its loop: how late it comes back, every 5 ms."""
    from tui.ui.app import TuiApp

    lags: list[tuple[float, float]] = []

    async def probe() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            lags.append((began, time.monotonic() - began - 0.005))

    real: Any = TuiApp.on_mount

    def begin(self: Any) -> None:
        self.probe = asyncio.get_running_loop().create_task(probe())
        real(self)

    TuiApp.on_mount = begin  # type: ignore[method-assign]
    atexit.register(lambda: Path(out).write_text(json.dumps(lags), encoding="utf-8"))
    from tui.__main__ import main

    sys.argv = ["tui", *sys.argv[3:]]
    return int(main() or 0)


async def bare(url: str, prompt: str) -> float:
    """CPU seconds a token of httpx and `json.loads` alone, from the first to the last."""
    import httpx

    number, began = 0, 0.0
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
    async with (
        httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as client,
        client.stream("POST", "/api/chat", json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            json.loads(line)
            began = began if number else time.process_time()
            number += 1
    return (time.process_time() - began) / number


def reading(cell: Cell) -> float:
    """`bare` in a process of its own."""
    with place() as found:
        words = [sys.executable, str(Path(__file__)), "--bare", found.url, f"{cell.shape} {cell.rate} {cell.tokens} {next(_MARKS)}"]
        return float(subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=cell.tokens / cell.rate + 60).stdout)


if __name__ == "__main__":
    if sys.argv[1] == "--bare":
        print(asyncio.run(bare(sys.argv[2], sys.argv[3])))
    else:
        sys.exit(app(sys.argv[2]))
