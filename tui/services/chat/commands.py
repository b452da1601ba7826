"""Running a program for a model: no shell, little of our environment, an end in time, and an end of all it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

from tui.text import clean_door, clean_label, clean_name, duration

MAX_OUTPUT: Final = 32_000
"""Bytes of output that the model gets."""
MAX_READ: Final = 4_000_000
"""Bytes of output after which the program is ended."""
KEPT: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""Variables that a program gets; no key that Paddock was given is among them."""
GRACE: Final = 1.0
"""Seconds between asking a program to end and killing it, and for its output after it ended."""
MARK: Final = "PADDOCK_TOOL"
"""Variable by which what a program started is known again, also after its parent ended."""
_PIECE: Final = 65_536


def environment(ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a program sees of our environment."""
    return {"PATH": os.defpath, **{name: ours[name] for name in KEPT if name in ours}, "TERM": "dumb"}


def _folder() -> str:
    try:
        home = Path.home()
    except RuntimeError:
        return "/"
    return str(home) if home.is_dir() else "/"


class _Output:
    """What a program writes, both its streams in one; the first part is kept."""

    def __init__(self) -> None:
        self.kept = b""
        self.size = 0
        self.flood = asyncio.Event()

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Take what comes until its end, or until there is too much of it."""
        while piece := await stream.read(_PIECE):
            self.size += len(piece)
            self.kept += piece[: max(0, MAX_OUTPUT - len(self.kept))]
            if self.size > MAX_READ:
                self.flood.set()
                return

    def text(self) -> str:
        """It as text, and that it was cut where it was."""
        text = clean_door(self.kept.decode("utf-8", "replace"))
        if self.size > len(self.kept):
            more = "more than " if self.flood.is_set() else ""
            text += f"\n[cut: these are the first {len(self.kept)} of {more}{self.size} bytes]"
        return text


async def run_command(line: Sequence[str], timeout: float) -> tuple[str, bool]:
    """Run a program to its end; returns what it wrote, with a last line about how it ended, and whether that was badly.

    It is the leader of a session of its own, has nothing to read and works in the user's home folder. After `timeout` seconds, when
    this coroutine is cancelled, and when it ended by itself, everything of its family that is left is killed.
    """
    mark = secrets.token_hex(16)
    ours, theirs = os.pipe()  # of our own: asyncio's would have us wait for whoever holds the other end
    with cast(BinaryIO, os.fdopen(ours, "rb", 0)) as end:
        starting = asyncio.ensure_future(_start(line, theirs, mark))
        try:
            process = await asyncio.shield(starting)
        except (OSError, ValueError) as error:
            why = clean_label(getattr(error, "strerror", None) or "it cannot be run").lower()
            return f"{clean_name(line[0], 200)} was not run: {why}", True
        except asyncio.CancelledError:  # it may run by now
            with contextlib.suppress(OSError, ValueError):
                await _kill(await starting, mark)
            raise
        finally:
            os.close(theirs)
        output, in_time = await _watch(process, end, timeout, mark)
    text = output.text()
    if not in_time:
        return f"{text}\n[ended after {duration(timeout)}: it took too long]".strip(), True
    if output.flood.is_set():
        return f"{text}\n[ended: it wrote too much]", True
    code = process.returncode or 0
    if code:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"{text}\n[it failed with {how}]".strip(), True
    return text or "[it wrote nothing]", False


async def _start(line: Sequence[str], pipe: int, mark: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        env={**environment(), MARK: mark},
        cwd=_folder(),
        start_new_session=True,
    )


async def _watch(process: asyncio.subprocess.Process, end: BinaryIO, timeout: float, mark: str) -> tuple[_Output, bool]:
    """Read until the program ended and its family with it; returns what it wrote, and whether it ended in time."""
    output, reader = _Output(), asyncio.StreamReader()
    ended = asyncio.ensure_future(process.wait())
    flood = asyncio.ensure_future(output.flood.wait())
    reading: asyncio.Future[None] | None = None
    transport: asyncio.ReadTransport | None = None
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), end)
        reading = asyncio.ensure_future(output.read(reader))
        await asyncio.wait({ended, flood}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        in_time = ended.done() or output.flood.is_set()
        await _end(process, ended, mark)
        await asyncio.wait({reading}, timeout=GRACE)
    finally:
        if not ended.done():
            await _kill(process, mark)
        for task in (reading, flood, ended):
            if task is not None:
                task.cancel()
        if transport is not None:
            transport.close()
    return output, in_time


async def _kill(process: asyncio.subprocess.Process, mark: str) -> None:
    """Kill a program and its family at once."""
    _signal(process.pid, _family(process.pid, mark), signal.SIGKILL)
    with contextlib.suppress(asyncio.CancelledError, TimeoutError):
        await asyncio.wait_for(process.wait(), GRACE)


async def _end(process: asyncio.subprocess.Process, ended: asyncio.Future[int], mark: str) -> None:
    """End what is left of a program's family: asked first where the program itself still runs, then killed."""
    family = _family(process.pid, mark)
    if not ended.done():
        _signal(process.pid, family, signal.SIGTERM)
        await asyncio.wait({ended}, timeout=GRACE)
        family |= _family(process.pid, mark)
    _signal(process.pid, family, signal.SIGKILL)
    await asyncio.wait({ended}, timeout=GRACE)


def _signal(leader: int, family: set[int], number: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.killpg(leader, number)
    for pid in family:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _family(leader: int, mark: str) -> set[int]:
    """Processes that descend from a program, also those that began a session of their own, and those whose parent ended (Linux)."""
    import psutil

    found = set()
    with contextlib.suppress(psutil.Error):
        found = {child.pid for child in psutil.Process(leader).children(recursive=True)}
    needle = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if needle in (folder / "environ").read_bytes():
                found.add(int(folder.name))
    return found - {leader}
