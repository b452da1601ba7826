"""The real worker process around a provider that needs no network: a folder is the server.

A pull of `m` writes one byte a step into the file `m` until `size` bytes are there (`m.size`, default 40) and goes on
where it stopped. It pauses while `hold` exists. `listed/m` appears at success. `log` gets a line for every start.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

from tui.core.clock import Clock
from tui.core.events import JobStep
from tui.core.models import Endpoint, Model
from tui.providers.base import Provider
from tui.worker import process

MB = 1_000_000


class FolderProvider:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.folder = Path(endpoint.url.removeprefix("folder:"))

    async def pull(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        name = model.removesuffix(":latest")
        with (self.folder / "log").open("a") as log:
            log.write(f"{os.getpid()} {name}\n")
        part = self.folder / name
        total = int((self.folder / "size").read_text()) if (self.folder / "size").exists() else 40
        yield JobStep("pulling manifest")
        done = part.stat().st_size if part.exists() else 0
        while done < total:
            yield JobStep(f"pulling {name}", f"sha256:{name}", total * MB, done * MB)
            while (self.folder / "hold").exists():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.002)
            with part.open("ab") as file:
                file.write(b"x")
            done += 1
        yield JobStep("verifying sha256 digest")
        (self.folder / "listed" / name).touch()
        yield JobStep("success")

    async def models(self) -> tuple[Model, ...]:
        return tuple(Model("box", file.name, file.name) for file in (self.folder / "listed").iterdir())

    async def aclose(self) -> None:
        pass


def make(endpoint: Endpoint, resolve: Callable[[str], str], clock: Clock) -> Provider:
    return cast("Any", FolderProvider(endpoint))


if __name__ == "__main__":
    sys.exit(process.run(sys.argv[1:], make))
