"""One attempt at a job: the stream, and the proof that it is done."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Final

from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import JobStep
from tui.core.jobs import Changes, Job, JobKind
from tui.core.models import ModelDetail
from tui.core.pulls import PullMeter
from tui.core.record import record
from tui.providers.base import Provider
from tui.services.changes import fields_of
from tui.worker.earlier import Earlier
from tui.worker.proof import MISMATCH, based, changed, compare, listed, prove
from tui.worker.upload import GROUPS, upload

DELAYS: Final = (5.0, 15.0, 45.0, 120.0, 300.0)
"""Seconds before the retries of a failed attempt; the last is used again."""
DOWN_DELAYS: Final = (2.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds between looks at a server that does not answer; they cost no attempt."""
_FINAL: Final = frozenset(
    {
        FailureKind.NOT_FOUND,
        FailureKind.AUTH,
        FailureKind.FORBIDDEN,
        FailureKind.BAD_REQUEST,
        FailureKind.UNSUPPORTED,
        FailureKind.REDIRECT,
        FailureKind.TLS,
        FailureKind.CONFIG,
    }
)
MOST_LAYERS: Final = 5000
"""Layers of one stream; each that is new counts as progress, is remembered, and is written down."""
_OURS: Final = frozenset({"insecure", "warm_up", "keep_changes", *GROUPS})
_log = logging.getLogger("paddock.worker")
KEPT: Final = "what you had changed was applied again"
"""Arguments of a job that are not fields of a create."""


@record(frozen=True)
class Before:
    """What an installed model was before a pull that replaces it; `detail` is None where it was not there, or as it was pulled."""

    detail: ModelDetail | None = None
    installed: bool = False


class Attempt:
    """One attempt; `run` returns when the job is done and raises what went wrong.

    Args:
        job: What to do.
        provider: Closed at the end.
        meter: Is told every line.
        clock: For the meter.
        came: Called with the bytes of every line that brought some.
        verify: Compare what is listed with what was announced.
        pulled: Digest of the same model as we pulled it last, or empty.
        before: What an earlier attempt found out about the model that this one replaces.
        earlier: Keeps what a pull replaces.

    Attributes:
        before: The same, once it is known.
        answered: The server said anything at all.
        making: A create was asked for.
        began: And answered by a line: it may have had its effect.
        succeeded: It said `success`.
        digest: Of the model as listed afterwards.
        remark: What is worth knowing of how it was proved, or empty.
        changes: What a person had changed of the model, and this update replaced.
    """

    def __init__(
        self,
        job: Job,
        provider: Provider,
        meter: PullMeter,
        clock: Clock,
        came: Callable[[int], None] = lambda _count: None,
        *,
        verify: bool = True,
        pulled: str = "",
        before: Before | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        self.job = job
        self.answered = False
        self.making = self.began = False
        self.succeeded = False
        self.digest = ""
        self.remark = ""
        self.changes: Changes | None = None
        self.before = before
        self._provider = provider
        self._meter = meter
        self._clock = clock
        self._came = came
        self._verify = verify
        self._pulled = pulled
        self._earlier = earlier if job.kind is JobKind.PULL else None
        self._announced: set[str] = set()
        self._sending = False

    @property
    def works(self) -> bool:
        """Whether a file is being read or a model made: no bytes come for as long as that takes, and asking again would begin it anew."""
        return self.job.kind not in (JobKind.PULL, JobKind.PUSH) and not self._sending

    def may_have_acted(self, failure: Failure) -> bool:
        """Whether what failed was a create that the server may have worked all the same: it is not asked for twice (P34)."""
        return self.making and (self.began or failure.kind in (FailureKind.INTERRUPTED, FailureKind.PROTOCOL))

    async def run(self) -> None:
        """Work the job to its end; cancelling closes the connection, and the server keeps its bytes."""
        try:
            pulling = self.job.kind is JobKind.PULL
            if pulling and self.before is None:
                self.before = await self._replaced()
            await self._follow()
            if self.job.kind is not JobKind.PUSH:
                self.digest = (await prove(self._provider, self.job)).digest
            if pulling and self._verify:
                self.remark = await compare(self._provider, self.job, self.digest, self._announced)
            if self.before is not None and self.before.detail is not None:
                with contextlib.suppress(PaddockError):
                    self.changes = changed(self.before.detail, await self._provider.show(self.job.model))
                if self.changes is not None and self.job.arguments.get("keep_changes"):
                    await self._apply(self.changes)
            if self._earlier is not None and self.before is not None and self.before.installed:
                with contextlib.suppress(PaddockError):
                    await self._earlier.after(self._provider)
        finally:
            await self._provider.aclose()

    async def _apply(self, changes: Changes) -> None:
        """Give the model again what the update replaced; what cannot be applied stays offered.

        `digest` stays that of the registry: by it the next update knows that a person changed the model.
        """
        steps = self._provider.create(self.job.model, fields_of(self.job.model, changes))
        try:
            async for step in steps:
                if step.status == "success":
                    self.changes = None
                    self.remark = f"{self.remark}; {KEPT}" if self.remark else KEPT
        except PaddockError:
            _log.warning("what was changed of %s could not be applied again", self.job.model)
        finally:
            if isinstance(steps, AsyncGenerator):
                await steps.aclose()

    async def _follow(self) -> None:
        job, steps = self.job, self._stream()
        try:
            async for step in steps:
                self.began = self.making
                self._sending = bool(step.digest) and not self.making
                self.answered = self.answered or job.kind is not JobKind.UPLOAD or self.making or self._sending
                count = self._meter.feed(step, self._clock.monotonic())
                if step.digest:
                    self._announced.add(step.digest)
                if len(self._announced) > MOST_LAYERS:
                    what = "The server names layers without end"
                    raise PaddockError.of(what, job.endpoint.url, "Check what answers at that address", FailureKind.PROTOCOL)
                self.succeeded = step.status == "success"
                if count:
                    self._came(count)
        finally:
            if isinstance(steps, AsyncGenerator):
                await steps.aclose()

    def _stream(self) -> AsyncIterator[JobStep]:
        job = self.job
        insecure = bool(job.arguments.get("insecure"))
        fields = {key: value for key, value in job.arguments.items() if key not in _OURS}
        if job.kind is JobKind.PULL:
            return self._provider.pull(job.model, insecure=insecure)
        if job.kind is JobKind.PUSH:
            return self._provider.push(job.model, insecure=insecure)
        return self._make(fields)

    async def _make(self, fields: dict[str, Any]) -> AsyncIterator[JobStep]:
        job, files = self.job, dict[str, dict[str, str]]()
        if job.kind is JobKind.UPLOAD:
            async with aclosing(upload(self._provider, job, files)) as sending:
                async for step in sending:
                    yield step
            fields |= files
        await based(self._provider, job)
        self.making = True
        steps = self._provider.create(job.model, fields)
        try:
            async for step in steps:
                yield step
        finally:
            if isinstance(steps, AsyncGenerator):
                await steps.aclose()

    async def _replaced(self) -> Before | None:
        """What this pull replaces, kept as an earlier version; its details where a person changed it.

        A server that cannot tell is asked for the pull all the same; None where it does not list now, so that the next attempt looks.

        Raises:
            PaddockError: The version cannot be kept now, and perhaps later.
        """
        try:
            found = await listed(self._provider, self.job.model)
        except PaddockError:
            return None
        if found is None:
            return Before()
        if self._earlier is not None:
            await self._earlier.before(self._provider, found)
        try:
            detail = await self._provider.show(self.job.model)
        except PaddockError:
            return Before(installed=True)
        return Before(detail if detail.parent or (self._pulled and found.digest not in ("", self._pulled)) else None, installed=True)


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
