"""One attempt at a job: the stream, and the proof that it is done."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from tui.core import names
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import JobStep
from tui.core.jobs import Job, JobKind
from tui.core.models import Model
from tui.core.pulls import PullMeter
from tui.providers.base import Provider

DELAYS: Final = (5.0, 15.0, 45.0, 120.0, 300.0)
"""Seconds before the retries of a failed attempt; the last is used again."""
DOWN_DELAYS: Final = (2.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds between looks at a server that does not answer; they cost no attempt."""
_FINAL: Final = (FailureKind.NOT_FOUND, FailureKind.AUTH, FailureKind.FORBIDDEN, FailureKind.BAD_REQUEST, FailureKind.UNSUPPORTED)
_LIST_TRIES: Final = 3
MISMATCH: Final = "digest mismatch"
"""What Ollama says, and we, where bytes are not those of the manifest."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")


class Attempt:
    """One attempt; `run` returns when the job is done and raises what went wrong.

    Attributes:
        answered: The server said anything at all.
        succeeded: It said `success`.
        digest: Of the model as listed afterwards.
    """

    def __init__(self, job: Job, provider: Provider, meter: PullMeter, clock: Clock, *, verify: bool = True) -> None:
        self.job = job
        self.answered = False
        self.succeeded = False
        self.digest = ""
        self._provider = provider
        self._meter = meter
        self._clock = clock
        self._verify = verify
        self._announced: set[str] = set()

    async def run(self) -> None:
        """Work the job to its end; cancelling closes the connection, and the server keeps its bytes."""
        try:
            steps = self._stream()
            try:
                async for step in steps:
                    self.answered = True
                    self._meter.feed(step, self._clock.monotonic())
                    self._announced.add(step.digest.removeprefix("sha256:"))
                    self.succeeded = step.status == "success"
            finally:
                if isinstance(steps, AsyncGenerator):
                    await steps.aclose()
            if self.job.kind is not JobKind.PUSH:
                await self._prove()
            if self.job.kind is JobKind.PULL and self._verify:
                await self._compare()
        finally:
            await self._provider.aclose()

    def _stream(self) -> AsyncIterator[JobStep]:
        job = self.job
        insecure = bool(job.arguments.get("insecure"))
        if job.kind is JobKind.PUSH:
            return self._provider.push(job.model, insecure=insecure)
        if job.kind is JobKind.CREATE:
            return self._provider.create(job.model, {key: value for key, value in job.arguments.items() if key != "insecure"})
        return self._provider.pull(job.model, insecure=insecure)

    async def _prove(self) -> None:
        """Done is what the server lists, not what it says."""
        found: Model | None = None
        for attempt in range(_LIST_TRIES):
            if attempt:
                await asyncio.sleep(1.0)
            try:
                models = await self._provider.models()
            except PaddockError:
                if attempt == _LIST_TRIES - 1:
                    raise
                continue
            found = next((model for model in models if names.same(model.key, self.job.model)), None)
            if found is not None:
                self.digest = found.digest
                return
        raise PaddockError.of(
            f"The server said success, and its list lacks {self.job.model}", self.job.endpoint.url, "Retry", FailureKind.PROTOCOL
        )

    async def _compare(self) -> None:
        """The weights that the server now has for the model must be among the layers that the registry's manifest named."""
        named = {digest for digest in self._announced if _DIGEST.match(digest)}
        if not named:
            return
        try:
            weights = (await self._provider.show(self.job.model)).weights_digest
        except PaddockError:
            return  # it is listed; what cannot be asked cannot be compared
        if weights and weights not in named:
            what = f"The server lists {self.job.model} with other weights ({weights[:12]}) than the registry named: {MISMATCH}"
            raise PaddockError.of(what, self.job.endpoint.url, "Delete the model, then retry", FailureKind.PROTOCOL)


def is_final(failure: Failure) -> bool:
    """Whether trying again cannot help."""
    return failure.kind in _FINAL or (failure.kind is FailureKind.DISK and not is_full(failure))


def is_full(failure: Failure) -> bool:
    """Whether the server's disk is full, as opposed to not writable."""
    words = f"{failure.what} {failure.details}".lower()
    return failure.kind is FailureKind.DISK and any(
        sign in words for sign in ("no space left", "quota", "enough space", "enough disk", "full")
    )


def is_mismatch(failure: Failure) -> bool:
    """Whether the bytes arrived damaged."""
    return MISMATCH in f"{failure.what} {failure.details}".lower()


def delay(number: int, delays: tuple[float, ...], jitter: Callable[[float, float], float]) -> float:
    """Seconds before retry `number` (from 1), a fifth more or less."""
    return delays[min(number, len(delays)) - 1] * jitter(0.8, 1.2)
