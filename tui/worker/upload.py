"""Files of this machine sent to a server as blobs, and a model made from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.events import JobStep
from tui.core.jobs import Job
from tui.core.threads import in_daemon_thread
from tui.providers.base import Provider
from tui.text import clean_name
from tui.worker.proof import digest_of

LOOK: Final = 0.25
"""Seconds between two looks at how much was sent."""


async def upload(provider: Provider, job: Job, fields: Mapping[str, Any]) -> AsyncIterator[JobStep]:
    """Read, send and create; yields what a pull yields. What the server has already is not sent again.

    Raises:
        PaddockError: A file cannot be read, or the server refuses.
    """
    files = job.arguments.get("files")
    if not isinstance(files, Mapping) or not files:
        raise PaddockError.of("There is no file to send", job.model, "Queue it again with a file", FailureKind.BAD_REQUEST)
    digests: dict[str, str] = {}
    for name, path in files.items():
        file = Path(str(path))
        try:
            length = file.stat().st_size
            yield JobStep("reading the file")
            digest = digests[str(name)] = await in_daemon_thread(lambda file=file: digest_of(file))  # type: ignore[misc]
        except OSError as error:
            why = "it does not exist" if isinstance(error, FileNotFoundError) else clean_name(error.strerror or "it cannot be opened", 100)
            what = f"The file {clean_name(str(file))} cannot be read: {why}"
            raise PaddockError.of(what, str(file), "Choose a file you may read", FailureKind.BAD_REQUEST) from None
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
            task.cancel()
        yield JobStep("sending", digest, length, length)
    async for step in provider.create(job.model, {**fields, "files": digests}):
        yield step
