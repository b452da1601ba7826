"""Files of this machine sent to a server as blobs."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.events import JobStep
from tui.core.jobs import Job
from tui.core.threads import in_daemon_thread
from tui.providers.base import Provider
from tui.text import clean_name
from tui.worker.proof import digest_of

LOOK: Final = 0.25
"""Seconds between two looks at how much was sent."""


GROUPS: Final = ("files", "adapters")
"""Arguments of a job that are files to send, and fields of the create that get their digests."""


async def upload(provider: Provider, job: Job, digests: dict[str, dict[str, str]]) -> AsyncGenerator[JobStep, None]:
    """Read and send; yields what a pull yields, with a digest from when the server was asked about a file. What it has is not sent again.

    Args:
        provider: The server.
        job: Its `files` and `adapters` are paths by name.
        digests: Is given the digest of each file by group and name.

    Raises:
        PaddockError: A file cannot be read, or the server refuses.
    """
    named = [(group, job.arguments.get(group)) for group in GROUPS]
    files = [(group, name, path) for group, found in named if isinstance(found, Mapping) for name, path in found.items()]
    if not files:
        raise PaddockError.of("There is no file to send", job.model, "Queue it again with a file", FailureKind.BAD_REQUEST)
    for group, name, path in files:
        file = Path(str(path))
        yield JobStep("reading the file")
        length, digest = await _measured(file)
        digests.setdefault(group, {})[str(name)] = digest
        if await provider.has_blob(digest):
            yield JobStep("already there", digest, length, length)
            continue
        sent = [0]
        task = asyncio.ensure_future(provider.upload_blob(digest, file, lambda count, sent=sent: sent.__setitem__(0, count)))  # type: ignore[misc]
        try:
            while not task.done():
                yield JobStep("sending", digest, length, sent[0])
                await asyncio.wait({task}, timeout=LOOK)
            await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=1.0)
        yield JobStep("sending", digest, length, length)


async def _measured(file: Path) -> tuple[int, str]:
    """Length and digest; all of it is read, in a thread."""

    def measure() -> tuple[int, str]:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(None, "it is no file")  # reading a pipe or a device might never end
        return found.st_size, digest_of(file)

    try:
        return await in_daemon_thread(measure)
    except OSError as error:
        why = "it does not exist" if isinstance(error, FileNotFoundError) else error.strerror or "it cannot be opened"
        what = f"The file {clean_name(str(file))} cannot be read: {clean_name(why, 100)}"
        raise PaddockError.of(what, clean_name(str(file)), "Choose a file you may read", FailureKind.BAD_REQUEST) from None
